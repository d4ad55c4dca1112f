/* The functions that src/tables/rooms.def names: a check and an apply per kind of request. Each kind is one file. */
#ifndef SIGNET_TC_ROWS_H
#define SIGNET_TC_ROWS_H
#include "tc/request.h"

/* join.c: presence to a room or nick */
const char *join_check(struct request *r);
const char *may_create(struct request *r); /* may the sender make rooms? */
void join_apply(struct request *r);
/* leave.c */
const char *leave_check(struct request *r);
void leave_apply(struct request *r);
const char *close_check(struct request *r);
void close_apply(struct request *r);
void close_refused(struct request *r);
extern const struct request_row close_row;
/* order.c */
extern const struct request_row create_row, destroy_row;
/* invite.c */
extern const struct request_row invite_row; /* an invitation the room itself has reason for */
/* owner.c */
void room_destroy(struct request *r); /* all are told, as the <destroy/> of the request has it; then there is no such room */
/* message.c */
const char *groupchat_check(struct request *r);
void groupchat_apply(struct request *r);
const char *private_check(struct request *r);
void private_apply(struct request *r);
const char *error_check(struct request *r);
void error_apply(struct request *r);

/* admin.c */
const char *admin_get_check(struct request *r);
void admin_get_apply(struct request *r);
const char *admin_set_check(struct request *r);
void admin_set_apply(struct request *r);
/* owner.c */
const char *config_get_check(struct request *r);
void config_get_apply(struct request *r);
const char *owner_set_check(struct request *r);
void owner_set_apply(struct request *r);

/* disco.c */
const char *service_info_check(struct request *r);
void service_info_apply(struct request *r);
void service_items_apply(struct request *r);
const char *room_info_check(struct request *r);
void room_info_apply(struct request *r);
void room_items_apply(struct request *r);
void ping_here_apply(struct request *r);
const char *unique_check(struct request *r);
void unique_apply(struct request *r);
/* relay.c */
const char *relay_check(struct request *r);
void relay_apply(struct request *r);
void relay_answer_apply(struct request *r);
struct str relay_invitation(struct request *r, const struct jid *invited); /* the id it is to have */
bool relay_invitation_failed(struct request *r); /* an error that came: was it of an invitation? Then who invited is told */
/* invite.c */
const char *invite_check(struct request *r);
void invite_apply(struct request *r);
/* voice.c */
const char *voice_check(struct request *r);
void voice_apply(struct request *r);
/* register.c */
const char *register_room_get_check(struct request *r);
void register_room_get_apply(struct request *r);
const char *register_room_set_check(struct request *r);
void register_room_set_apply(struct request *r);

/* moderate.c */
const char *moderate_check(struct request *r);
void moderate_apply(struct request *r);
/* vcard.c */
void room_vcard_get_apply(struct request *r);
const char *room_vcard_set_check(struct request *r);
void room_vcard_set_apply(struct request *r);

/* ---- what the kinds share ---- */
static inline const char *say(struct request *r, const char *condition, const char *text) /* in check */
{
    r->text = text;
    return condition;
}
static inline const char *say_limit(struct request *r, const char *condition, enum metric_id limit,
                                    const char *text) /* the same; counted if it comes to it */
{
    r->limit = limit;
    return say(r, condition, text);
}
struct notice;
/* An attendee goes: presence to the others as the notice has it, onLeave and onAfterChangeUser, and the room's end when nobody is left. leaving: the
 * presence he sent, or NULL. */
void leave_room(struct attendee *a, const struct notice *notice, const struct stanza *leaving, const struct request *cause);
void occupant_leave_room(struct occupant *o, const struct notice *notice, const struct request *cause); /* with all his sessions */
void room_close_when_empty(struct room *r);
struct stanza *close_request(const struct room *room); /* the service asks the room to close: the subject of onClose */
struct attendee *request_attendee(const struct request *r); /* the session that sent it, if it is in the room */

struct stanza *outgoing_message(const struct request *r); /* events.c: under the sender's nick, with the room's stamps, to nobody yet */

/* ---- history.c ---- */
void history_trim(struct room *r); /* to what the configuration keeps */
void history_remove(struct room *r, uint64_t sid);
void history_add(struct room *r, const struct stanza *message, uint64_t wall_ms);
struct history_wish { /* XEP-0045, 7.2.14; -1: not limited */
    int64_t max_chars, max_stanzas;
    uint64_t since_wall_ms;
};
void history_send(struct attendee *a, const struct history_wish *wish, const struct request *cause); /* history, then the subject; onHistory before */

#endif
