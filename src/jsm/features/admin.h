/* The commands of XEP-0133, between the files that carry them out. */
#ifndef SIGNET_JSM_FEATURES_ADMIN_H
#define SIGNET_JSM_FEATURES_ADMIN_H
#include "jsm/features/adhoc.h"

/* admin_users.c: single accounts */
void admin_add_user(struct adhoc_call *call);
void admin_delete_user(struct adhoc_call *call);
void admin_disable_user(struct adhoc_call *call);
void admin_reenable_user(struct adhoc_call *call);
void admin_end_user_session(struct adhoc_call *call);
void admin_change_password(struct adhoc_call *call);
/* admin_facts.c: what is known of them */
void admin_get_roster(struct adhoc_call *call);
void admin_get_lastlogin(struct adhoc_call *call);
void admin_user_stats(struct adhoc_call *call);
/* admin_lists.c: numbers and lists of users; which of them the command's node says */
void admin_count(struct adhoc_call *call);
void admin_list(struct adhoc_call *call);
/* admin_service.c */
void admin_announce(struct adhoc_call *call);
void admin_set_motd(struct adhoc_call *call);
void admin_edit_motd(struct adhoc_call *call);
void admin_delete_motd(struct adhoc_call *call);
void admin_set_welcome(struct adhoc_call *call);
void admin_delete_welcome(struct adhoc_call *call);
void admin_restart(struct adhoc_call *call);
void admin_shutdown(struct adhoc_call *call);
void admin_motd_filled(struct arena *a, struct str domain, struct form_value *values);
void admin_welcome_filled(struct arena *a, struct str domain, struct form_value *values);

/* The accounts named by a field, as bare JIDs of the service's domains (full: resources are kept). NULL: one is not, and the call has ended with why. */
struct jid *admin_accounts(struct adhoc_call *call, const struct form_value *value, bool full, unsigned *n);

#endif
