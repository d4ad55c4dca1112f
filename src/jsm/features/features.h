/* The features' functions that the stanza table and the session manager name. Each feature is one file here. */
#ifndef SIGNET_JSM_FEATURES_FEATURES_H
#define SIGNET_JSM_FEATURES_FEATURES_H
#include "jsm/dispatch.h"

void nothing_apply(const struct context *cx, struct effects *fx);
/* ping.c */
void ping_apply(const struct context *cx, struct effects *fx);
const char *bind_check(const struct context *cx, const char **text);
void session_apply(const struct context *cx, struct effects *fx);
/* disco.c */
const char *disco_check(const struct context *cx, const char **text);
void disco_info_apply(const struct context *cx, struct effects *fx);
void disco_items_apply(const struct context *cx, struct effects *fx);
bool account_visible(const struct context *cx); /* may the requester know of this account's presence? */
/* version.c, time.c */
void version_apply(const struct context *cx, struct effects *fx);
void time_apply(const struct context *cx, struct effects *fx);
/* last.c */
void last_server_apply(const struct context *cx, struct effects *fx);
void last_account_apply(const struct context *cx, struct effects *fx);
void last_session_apply(const struct context *cx, struct effects *fx);
void last_note(const struct session *s, const struct stanza *unavailable); /* the session becomes unavailable: perhaps the user's logout */
/* vcard.c */
void vcard_get_apply(const struct context *cx, struct effects *fx);
const char *vcard_set_check(const struct context *cx, const char **text);
void vcard_set_apply(const struct context *cx, struct effects *fx);
void vcard_server_apply(const struct context *cx, struct effects *fx);
void vcard_foreign_apply(const struct context *cx, struct effects *fx);
/* private.c */
const char *private_get_check(const struct context *cx, const char **text);
void private_get_apply(const struct context *cx, struct effects *fx);
const char *private_set_check(const struct context *cx, const char **text);
void private_set_apply(const struct context *cx, struct effects *fx);
void private_foreign_apply(const struct context *cx, struct effects *fx);
/* roster.c */
void roster_get_apply(const struct context *cx, struct effects *fx);
const char *roster_set_check(const struct context *cx, const char **text);
void roster_set_apply(const struct context *cx, struct effects *fx);
void roster_foreign_apply(const struct context *cx, struct effects *fx);
/* adhoc.c */
void adhoc_worker_stop(void); /* commands begun on this worker are forgotten */
const char *adhoc_check(const struct context *cx, const char **text);
void adhoc_apply(const struct context *cx, struct effects *fx);
/* register.c */
void register_get_apply(const struct context *cx, struct effects *fx);
const char *register_check(const struct context *cx, const char **text);
void register_set_apply(const struct context *cx, struct effects *fx);
/* Is there no room for this contact? listed: for one that shall stand in the roster; otherwise for a subscription request that waits for the user. */
void roster_write(struct buf *b, const struct store_roster_item *items, size_t n); /* <query/> with those that are in the roster */
bool roster_full(const struct user *u, struct str bare, bool listed);
const char *roster_refuse_full(const struct context *cx, const char **text); /* the condition of that; counted once per stanza */
/* presence.c */
void presence_broadcast_apply(const struct context *cx, struct effects *fx);
const char *presence_directed_check(const struct context *cx, const char **text);
void presence_directed_apply(const struct context *cx, struct effects *fx);
void probe_in_apply(const struct context *cx, struct effects *fx);
void presence_session_gone(struct session *s, struct stanza *unavailable); /* the server's own unavailable presence to all who saw the session */
void presence_session_detached(struct session *s); /* it has lost its stream, and may be resumed */
void presence_session_resumed(struct session *s);
void presence_directed_clear(struct session *s);
void presence_to_contact(const struct context *cx, struct effects *fx, const struct jid *contact, bool available); /* of each available session of the user */
/* blocking.c */
bool blocking_matches(const struct user *u, const struct jid *jid); /* has this user blocked that address? */
extern const struct stanza_row blocking_in_row, blocking_out_row; /* for stanzas from and to somebody blocked, instead of their own rows */
void blocking_fill(struct user *u, const struct store_user *data); /* data NULL: empties it */
void blocking_list_apply(const struct context *cx, struct effects *fx);
const char *block_check(const struct context *cx, const char **text);
void block_apply(const struct context *cx, struct effects *fx);
const char *unblock_check(const struct context *cx, const char **text);
void unblock_apply(const struct context *cx, struct effects *fx);
/* carbons.c */
void carbons_enable_apply(const struct context *cx, struct effects *fx);
void carbons_disable_apply(const struct context *cx, struct effects *fx);
/* jsm/service.c */
/* The session is there: the welcome message and the message of the day, when they are new to its user. */
void notices_show(const struct context *cx, struct effects *fx);
/* stanza_id.c */
struct stanza *stanza_id_stamp(const struct stanza *s, const struct jid *account); /* a new reference */
/* subscription.c */
const char *subscription_check(const struct context *cx, const char **text);
void subscription_out_apply(const struct context *cx, struct effects *fx);
void subscription_in_apply(const struct context *cx, struct effects *fx);
bool subscription_stands(const struct user *u, const struct stanza *s); /* what a subscribe that has arrived asks for is there or asked for, or a subscribed grants */
extern const struct stanza_row subscribed_refused_row; /* for a subscribed that e_DELIVER refused */
/* offline.c */
bool message_is_chat_state(const struct stanza *s); /* and nothing else (XEP-0085) */
bool node_is_chat_state(const struct xml_node *message); /* the same of one that was parsed */
bool offline_storable(const struct stanza *s); /* XEP-0160, XEP-0334 */
bool offline_content(const struct stanza *s); /* one for a person: its sender is told when nobody gets it */
void offline_flush(uint64_t session); /* delivers what is stored, each through es_IN, before anything live */
bool offline_waits(const struct user *u, const struct stanza *s); /* a flush goes on which this message must come after: u->flush_waits */
/* An outage left earlier messages of its sender in the store though a session takes messages: this one is kept behind them. */
bool offline_is_behind(const struct user *u, const struct stanza *s);
void offline_leave(struct user *u, struct str sender); /* an outage has left one of his there now: those behind it wait, and it is tried again */
void offline_left_clear(struct user *u); /* the user is not needed any more */

#endif
