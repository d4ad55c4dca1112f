/* Compliance servers: they answer in any order, twice, late, never, with changes allowed and not. What they have in mind is gone with their
 * connection. */
#include "world.h"
#include <stdlib.h>
#include <string.h>

/* Each lane's events come in lane order, event by event, whichever chains they go through, when they come for the first time; those that were moved
 * from a lost link too, as long as that is all that happens: with a second link lost or found meanwhile, later ones may be where they come to.
 * (Place numbers grow from schedule to schedule.) */
static void arrival_check(struct sim_link *l, const struct wire *wire)
{
    static unsigned last[LINKS][USERS * (USERS + SESSIONS * TARGETS)][ASK_KINDS][SESSIONS];
    struct ask *a = ask_of(wire->event);
    unsigned bit = 1u << l->index;
    if (a->arrived[wire->step] & bit) return;
    a->arrived[wire->step] = (unsigned char)(a->arrived[wire->step] | bit);
    if (a->lane == NULL || a->unordered || (a->sends[wire->step] > 1 && !w.lost_once)) return;
    unsigned *before = &last[l->index][a->lane->id][a->kind][a->session];
    CHECK(*before <= a->place, "%s of place %u came to %s after that of place %u", event_catalogue[a->event].name, a->place, link_names[l->index],
        *before);
    *before = a->place;
}

static void answer_put(struct sim_link *l, const struct wire_answer *a)
{
    struct wire_answer *copy = x_malloc(sizeof(*copy));
    *copy = *a;
    copy->node = (struct list){0};
    list_push_back(&l->to_link, &copy->node);
}

static bool lies(void) { return (w.without & WITHOUT_LIES) == 0 && !w.silent; }

bool server_take_one(struct sim_link *l)
{
    struct list *node = list_pop_front(&l->to_server);
    if (node == NULL) return false;
    struct wire *wire = CONTAINER_OF(node, struct wire, node);
    l->n_to_server--;
    if (!wire->ping) arrival_check(l, wire);
    if (wire->ping) answer_put(l, &(struct wire_answer){.pong = true, .number = wire->number});
    bool kept_quiet = w.silent && !wire->ping && same_conversation(wire->event->subject) && !(w.half_silent && chance(500));
    bool answers = !wire->ping && wire->hold != 0 && !kept_quiet && !(lies() && chance(15)); /* else never */
    if (answers) {
        list_push_back(&l->in_server, &wire->node);
        return true;
    }
    event_unref(wire->event);
    free(wire);
    return true;
}

bool link_hear_one(struct sim_link *l)
{
    struct list *node = list_pop_front(&l->to_link);
    if (node == NULL) return false;
    struct wire_answer *a = CONTAINER_OF(node, struct wire_answer, node);
    struct event_request request;
    uint64_t stamp;
    link_heard(l->link, w.now_ms);
    l->heard_ms = w.now_ms;
    if (a->pong) {
        link_pong(l->link, a->number, w.now_ms);
    } else if (link_answer(l->link, a->number, &request, &stamp, w.now_ms)) {
        CHECK(ask_of(request.event)->number[l->index] == a->number && a->number <= l->number, "%s takes an answer to what was not sent",
            link_names[l->index]);
        struct mail m = {.kind = MAIL_ANSWER, .answer = a->answer, .allowed = a->allowed};
        m.answer.hold = request.hold;
        m.answer.turn = request.turn;
        m.answer.link = l->id;
        post(l->worker, request.worker, &m);
        event_request_clear(&request);
    } else {
        event_answer_clear(&a->answer);
    }
    free(a);
    return true;
}

/* ---- what a server says ---- */

static struct stanza *redacted(const struct stanza *s, bool allowed)
{
    static const struct str inner = {"<body>***</body>", 16}, id = {"another", 7};
    return stanza_with(s, allowed ? &(struct stanza_change){.inner = &inner} : &(struct stanza_change){.inner = &inner, .id = &id});
}

static void say(const struct wire *wire, struct wire_answer *out, enum answer_kind kind, bool allowed)
{
    struct event_answer *a = &out->answer;
    a->kind = kind;
    out->allowed = allowed;
    if (kind == ANSWER_PASS_STANZA) a->stanza = redacted(wire->event->subject, allowed);
    if (kind == ANSWER_ERROR) memcpy(a->condition, "policy-violation", sizeof("policy-violation"));
    if (kind == ANSWER_INVALID) a->text = x_strdup("too large");
    if ((kind == ANSWER_PASS || kind == ANSWER_PASS_STANZA) && allowed) ask_of(wire->event)->recorded[wire->step] = true;
    bool names = wire->event->id == EVENT_e_PRISESSION && kind == ANSWER_PASS && chance(500);
    static const char *const sessions[] = {"session0", "session1", "nobody"};
    if (names) a->session = x_strdup(sessions[draw(3)]);
}

static void answer(struct sim_link *l, struct wire *wire, enum answer_kind kind, bool allowed)
{
    struct wire_answer a = {.number = wire->number};
    say(wire, &a, kind, allowed);
    answer_put(l, &a);
    list_remove(&wire->node);
    event_unref(wire->event);
    free(wire);
}

unsigned server_has(const struct sim_link *l)
{
    unsigned n = 0;
    LIST_EACH (node, &l->in_server) n++;
    return n;
}

void server_answers(struct sim_link *l, unsigned nth, enum answer_kind kind)
{
    struct list *node = l->in_server.next;
    for (; nth > 0 && node != &l->in_server; nth--) node = node->next;
    CHECK(node != &l->in_server, "%s was not asked that much", link_names[l->index]);
    answer(l, CONTAINER_OF(node, struct wire, node), kind, true);
}

bool server_answer_one(struct sim_link *l)
{
    if (list_empty(&l->in_server)) return false;
    struct list *node = l->in_server.next;
    for (uint64_t skip = draw(6); skip > 0 && node->next != &l->in_server; skip--) node = node->next; /* any order */
    struct wire *wire = CONTAINER_OF(node, struct wire, node);
    uint64_t what = draw(1000);
    uint64_t number = wire->number;
    enum answer_kind kind = ANSWER_PASS;
    if (what >= 820) kind = ANSWER_PASS_STANZA;
    if (what >= 900) kind = ANSWER_HANDLE;
    if (what >= 930) kind = ANSWER_ERROR;
    if (what >= 970) kind = ANSWER_PASS_STANZA;
    if (what >= 985) kind = ANSWER_INVALID;
    answer(l, wire, kind, kind != ANSWER_PASS_STANZA || what < 970);
    if (!lies() || !chance(40)) return true;
    if (chance(300)) number = draw(number + 5); /* to another event, of an earlier connection perhaps, or to none; or to this one twice,
        and differently */
    answer_put(l, &(struct wire_answer){.number = number, .answer = {.kind = ANSWER_HANDLE}});
    return true;
}

/* From a link, of a hold: as if the link had made a mistake. It is to an earlier turn, or from a link that was not asked, or its hold is no more. */
void stray_answer(struct sim_link *l)
{
    if (w.asked == 0 || !lies()) return;
    const struct ask *a = &w.asks[1 + draw(w.asked)];
    if (a->hold == 0) return;
    struct event_answer stray = {.kind = chance(500) ? ANSWER_HANDLE : ANSWER_ERROR, .hold = a->hold, .turn = (unsigned)draw(a->turns + 1),
        .link = l->id};
    post(l->worker, a->worker, &(struct mail){.kind = MAIL_ANSWER, .answer = stray, .stray = true});
}
