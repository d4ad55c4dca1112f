/* Commands (XEP-0050) and how those of XEP-0133 stand on them. A command is a row of a table: a form (or none), what its fields hold now, and a
 * function that carries it out, which may wait and then ends the call by exactly one of adhoc_*(). */
#ifndef SIGNET_JSM_FEATURES_ADHOC_H
#define SIGNET_JSM_FEATURES_ADHOC_H
#include "jsm/features/features.h"
#include "xmpp/form.h"

#define NS_COMMANDS "http://jabber.org/protocol/commands"
#define NS_ADMIN "http://jabber.org/protocol/admin"

struct adhoc_command;
struct adhoc_call { /* one being carried out; lives in the arena of its effects */
    struct effects *fx;
    const struct adhoc_command *command;
    struct str session_id, domain; /* the domain administered */
    struct form_value values[FORM_FIELDS_MAX]; /* as the fields of the command's form */
    struct buf notes; /* notes said already */
    bool starting; /* run() has not returned */
    void *state; /* the command's own */
};
struct adhoc_command {
    const char *node;
    struct form form; /* the title is the command's; no fields: it is carried out at once */
    void (*filled)(struct arena *a, struct str domain, struct form_value *values); /* what the fields hold now; may be NULL */
    void (*run)(struct adhoc_call *call);
};
extern const struct adhoc_command admin_commands[]; /* admin.c */
extern const unsigned n_admin_commands;
extern const char *const admin_not_offered[]; /* nodes that XEP-0133 defines; ends with NULL */

/* ---- the end of a call ---- */
void adhoc_done(struct adhoc_call *call); /* completed, said by a note */
void adhoc_result(struct adhoc_call *call, struct str form); /* completed, with a result form */
void adhoc_note(struct adhoc_call *call, const char *type, const char *text); /* to be said when it is completed; type info, warn or error */
void adhoc_failed(struct adhoc_call *call, const struct err *err); /* completed with an error note (XEP-0050, 3.5), or an error of XEP-0133, 5 */
void adhoc_fail(struct adhoc_call *call, const char *text); /* completed with an error note */

/* ---- what service discovery asks ---- */
enum adhoc_node { ADHOC_NO_NODE, ADHOC_LIST, ADHOC_COMMAND };
bool adhoc_offered(void);
bool adhoc_allowed(const struct context *cx); /* to the sender, whose session it is */
enum adhoc_node adhoc_node(struct str node);
void adhoc_write_info(struct str node, struct buf *b);
unsigned adhoc_commands(void);
const char *adhoc_command_node(unsigned i);
const char *adhoc_command_title(unsigned i);

#endif
