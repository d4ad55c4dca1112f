/* What an answer means for the event it answers.
 *
 * PASS is judged by what the event allows in it; refusals are judged here only as to their form: whether an event can be refused at all is the hold's to
 * say, since time-outs and outages ask the same. */
#include "broker/answer.h"
#include <string.h>

static const struct {
    const char *name, *text;
    bool lie;
} faults[] = {
#define ANSWER_FAULT(id, name, lie, text, becomes) [ANSWER_FAULT_##id] = {name, text, lie},
#include "tables/answer_faults.def"
#undef ANSWER_FAULT
};
const char *answer_fault_name(enum answer_fault fault) { return faults[fault].name; }
const char *answer_fault_text(enum answer_fault fault) { return faults[fault].text; }
bool answer_fault_is_lie(enum answer_fault fault) { return faults[fault].lie; }

static void invalid(struct judgement *out, enum answer_fault fault, const char *problem)
{
    out->meaning = MEANS_INVALID;
    out->problem = problem;
    out->fault = fault;
}

/* ---- comparing ---- */

static bool attributes_equal(const struct xml_node *a, const struct xml_node *b)
{
    if (a->n_attributes != b->n_attributes) return false;
    for (unsigned i = 0; i < a->n_attributes; i++) {
        const struct xml_attribute *x = &a->attributes[i];
        bool found = false;
        for (unsigned j = 0; j < b->n_attributes && !found; j++) {
            const struct xml_attribute *y = &b->attributes[j];
            found = str_eq(x->name, y->name) && str_eq(x->value, y->value) && (x->ns.p == NULL ? y->ns.p == NULL : str_eq(x->ns, y->ns));
        }
        if (!found) return false;
    }
    return true;
}

static bool nodes_equal(const struct xml_node *a, const struct xml_node *b)
{
    if ((a->name.p == NULL) != (b->name.p == NULL)) return false;
    if (a->name.p == NULL && !str_eq(a->text, b->text)) return false;
    if (a->name.p != NULL && (!str_eq(a->name, b->name) || !str_eq(a->ns, b->ns) || !attributes_equal(a, b))) return false;
    const struct xml_node *x = a->first, *y = b->first;
    for (; x != NULL && y != NULL; x = x->next, y = y->next)
        if (!nodes_equal(x, y)) return false;
    return x == NULL && y == NULL;
}

/* Libraries serialise anew, so an echo is compared as XML, not as bytes. */
static bool content_equal(const struct stanza *a, const struct stanza *b)
{
    if (str_eq(a->inner, b->inner)) return true;
    struct arena *arena = arena_new(0);
    const struct xml_node *x = xml_tree_parse(arena, a->inner, NS_CLIENT, NULL), *y = xml_tree_parse(arena, b->inner, NS_CLIENT, NULL);
    bool equal = x != NULL && y != NULL;
    const struct xml_node *i = equal ? x->first : NULL, *j = equal ? y->first : NULL;
    for (; i != NULL && j != NULL && equal; i = i->next, j = j->next) equal = nodes_equal(i, j);
    equal = equal && i == NULL && j == NULL;
    arena_free(arena);
    return equal;
}

static bool same_optional(struct str a, struct str b) { return a.p == NULL || b.p == NULL ? a.p == b.p : str_eq(a, b); }

static const char *header_difference(const struct stanza *before, const struct stanza *after)
{
    if (before->kind != after->kind) return "the stanza in the answer is of another kind";
    if (before->type != after->type) return "the stanza in the answer has another type";
    if (!same_optional(before->from.full, after->from.full)) return "the stanza in the answer has another from";
    if (!same_optional(before->to.full, after->to.full)) return "the stanza in the answer has another to";
    if (!same_optional(before->id, after->id)) return "the stanza in the answer has another id";
    return NULL;
}

/* ---- PASS ---- */

static void judge_session(const struct event *e, const struct event_answer *a, struct judgement *out)
{
    if (a->session == NULL) return;
    for (unsigned i = 0; i < e->n_candidates && e->id == EVENT_e_PRISESSION; i++)
        if (str_is(e->candidates[i].jid, a->session)) out->session = a->session;
    if (out->session == NULL) out->ignored = "it names a session that is no candidate";
}

static void judge_pass(const struct event *e, const struct event_answer *a, struct judgement *out)
{
    const char *difference;
    out->meaning = MEANS_PASS;
    judge_session(e, a, out);
    if (a->stanza == NULL) return;
    switch (event_catalogue[e->id].answers) {
    case ANSWERS_ANY:
        difference = header_difference(e->subject, a->stanza);
        if (difference != NULL)
            invalid(out, ANSWER_FAULT_READDRESSED, difference);
        else
            out->stanza = stanza_with(a->stanza, &(struct stanza_change){.sid = &e->subject->sid, .origin = &e->subject->origin});
        break;
    case ANSWERS_PASS_UNMODIFIED:
        if (header_difference(e->subject, a->stanza) != NULL || !content_equal(e->subject, a->stanza))
            invalid(out, ANSWER_FAULT_FORBIDDEN, "the stanza in the answer was changed, and this event allows only an unchanged one");
        break;
    case ANSWERS_PASS_EMPTY: invalid(out, ANSWER_FAULT_FORBIDDEN, "there is a stanza in the answer, and this event allows none"); break;
    case ANSWERS_PASS:
    case ANSWERS_NONE: out->ignored = "there is a stanza in the answer, and this event has no use for it"; break;
    }
}

/* ---- refusals ---- */

/* A HANDLE's reply: an answer to the IQ asked about, between the same two. Addresses it leaves out are filled in. */
static void judge_handle(const struct event *e, const struct event_answer *a, struct judgement *out)
{
    const struct stanza *s = e->subject, *reply = a->stanza;
    out->meaning = MEANS_HANDLE;
    if (reply == NULL) return;
    if (!stanza_is_request(s)) {
        out->ignored = "there is a reply in the answer, and the event's stanza is no iq get or set";
        return;
    }
    bool is_reply = reply->kind == STANZA_IQ && !stanza_is_request(reply) && same_optional(s->id, reply->id);
    bool from_ok = !jid_present(&reply->from) || same_optional(reply->from.full, s->to.full);
    bool to_ok = !jid_present(&reply->to) || same_optional(reply->to.full, s->from.full);
    if (!is_reply || !from_ok || !to_ok) {
        invalid(out, ANSWER_FAULT_READDRESSED, "the reply in the answer does not answer the event's iq: result or error, same id, addresses swapped");
        return;
    }
    out->stanza = stanza_with(reply, &(struct stanza_change){.from = &s->to, .to = &s->from, .sid = &s->sid, .origin = &s->origin});
}

static void judge_error(const struct event_answer *a, struct judgement *out)
{
    static const char *const types[] = {"auth", "cancel", "continue", "modify", "wait"};
    out->meaning = MEANS_ERROR;
    out->condition = stanza_condition_type(a->condition) != NULL ? a->condition : "undefined-condition";
    out->type = stanza_condition_type(out->condition);
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(a->type, types[i]) == 0) out->type = types[i];
    if (out->type == NULL) out->type = "cancel";
}

void answer_judge(const struct event *e, const struct event_answer *a, struct judgement *out)
{
    *out = (struct judgement){0};
    switch (a->kind) {
    case ANSWER_PASS:
    case ANSWER_PASS_STANZA: judge_pass(e, a, out); break;
    case ANSWER_HANDLE: judge_handle(e, a, out); break;
    case ANSWER_ERROR: judge_error(a, out); break;
    default: invalid(out, a->fault, a->text != NULL ? a->text : "not an answer"); break;
    }
}
