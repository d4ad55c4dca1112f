/* Asking for voice in a moderated room (XEP-0045, 7.13, 8.6): a form to the room, which asks its moderators; one of them sends it back. */
#include "tc/change.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include "xmpp/form.h"

enum { VOICE_ROLE, VOICE_JID, VOICE_NICK, VOICE_ALLOW, VOICE_FIELDS };
static const struct form_field fields[VOICE_FIELDS] = {
    [VOICE_ROLE] = {"muc#role", FIELD_TEXT_SINGLE, "Role wanted", false, NULL},
    [VOICE_JID] = {"muc#jid", FIELD_JID_SINGLE, "Address", false, NULL},
    [VOICE_NICK] = {"muc#roomnick", FIELD_TEXT_SINGLE, "Nick", false, NULL},
    [VOICE_ALLOW] = {"muc#request_allow", FIELD_BOOLEAN, "Give voice?", false, NULL},
};
static const struct form voice_form = {NS_MUC "#request", "Voice is asked for", "Fill in the form to give this person voice, or do nothing.", fields,
                                       VOICE_FIELDS};

struct voice {
    struct form_value values[FORM_FIELDS_MAX];
    bool answers; /* a moderator's */
    bool allows;
};

static bool is_true(struct str v) { return str_is(v, "1") || str_is(v, "true"); }

static const char *read_form(struct request *r, struct voice *v)
{
    struct err err;
    const struct xml_node *x = stanza_tree(r->stanza, stanza_child(r->stanza, "x", NS_DATA), r->arena, &err);
    if (x == NULL || form_read(&voice_form, x, r->arena, v->values, &r->text) != 0) return "bad-request";
    v->answers = v->values[VOICE_ALLOW].values != NULL;
    v->allows = is_true(form_first(&v->values[VOICE_ALLOW]));
    return NULL;
}

static void want_voice(struct request *r, struct str nick)
{
    if (r->n_parts > 0) return;
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_MUC_ADMIN "'><item");
    xml_add_attr(&b, "nick", nick);
    buf_adds(&b, " role='participant'/></query>");
    struct stanza *iq = stanza_make(STANZA_IQ, IQ_SET, &r->stanza->from, &r->room->jid, r->stanza->id, buf_str(&b));
    buf_free(&b);
    part_add(r, iq);
}

const char *voice_check(struct request *r)
{
    struct voice *v = r->data = arena_zalloc(r->arena, sizeof(*v));
    const struct attendee *a = request_attendee(r);
    if (a == NULL) return say(r, "not-acceptable", "You are not in this room.");
    const char *condition = read_form(r, v);
    if (condition != NULL) return condition;
    if (!v->answers) {
        if (!str_is(form_first(&v->values[VOICE_ROLE]), "participant"))
            return say(r, "bad-request", "What can be asked for is the role 'participant'.");
        return a->occupant->role == ROLE_VISITOR ? NULL : say(r, "not-allowed", "You have voice already.");
    }
    if (a->occupant->role != ROLE_MODERATOR) return say(r, "forbidden", "Only moderators give voice.");
    if (!v->allows) return NULL;
    want_voice(r, form_first(&v->values[VOICE_NICK]));
    return parts_check(r);
}

static bool is_moderator(const void *arg, const struct attendee *a)
{
    (void)arg;
    return a->occupant->role == ROLE_MODERATOR;
}

void voice_apply(struct request *r)
{
    const struct voice *v = r->data;
    const struct attendee *a = request_attendee(r);
    if (v->answers) {
        if (v->allows) parts_tell(r);
        return;
    }
    struct str no = STR("0"), role = STR("participant");
    const struct form_value filled[VOICE_FIELDS] = {
        [VOICE_ROLE] = {&role, 1},
        [VOICE_JID] = {&a->full.full, r->room->config.whois != WHOIS_NOBODY},
        [VOICE_NICK] = {&a->occupant->jid.resource, 1},
        [VOICE_ALLOW] = {&no, 1},
    };
    struct buf b = {0};
    form_write(&b, &voice_form, filled);
    send_to_all(r->room, stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->room->jid, NULL, STR_NONE, buf_str(&b)), (struct crowd){is_moderator, NULL},
                r);
    buf_free(&b);
}
