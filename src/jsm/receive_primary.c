/* The recipient's side, when a message is for the user and several of his sessions take messages: e_PRISESSION, by which a compliance server may name the one
 * that gets it (EVENTS.md). It is raised once for each stanza, just before the first choice among several, in the order of the lane; a choice that has to be
 * made anew since sessions have gone keeps to the answer as far as it can be followed. */
#include "base/stages.h"
#include "jsm/features/features.h"
#include "jsm/incoming.h"
#include <stdlib.h>

#define FEW_CANDIDATES 16

struct session *incoming_primary(const struct incoming *in)
{
    LIST_EACH(node, &in->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (in->primary != NULL && str_is(s->full.full, in->primary) && session_takes_messages(s)) return s;
    }
    return NULL;
}

static unsigned count(const struct user *u)
{
    unsigned n = 0;
    LIST_EACH(node, &u->sessions) n += session_takes_messages(CONTAINER_OF(node, struct session, node));
    return n;
}

/* The highest priority first; of equal ones the session that is there for longest. */
static void fill(const struct user *u, struct event_candidate *candidates)
{
    unsigned n = 0;
    LIST_EACH(node, &u->sessions)
    {
        const struct session *s = CONTAINER_OF(node, struct session, node);
        if (!session_takes_messages(s)) continue;
        unsigned at = n++;
        for (; at > 0 && candidates[at - 1].priority < s->priority; at--) candidates[at] = candidates[at - 1];
        candidates[at] = (struct event_candidate){s->full.full, s->priority};
    }
}

/* What the answer put in its place is for the same sessions: it is the same kind of message to the same address. */
static void becomes(struct incoming *in, struct stanza *changed)
{
    if (changed == in->stanza) return;
    in->copied = in->copied && carbons_eligible(in->user, changed, CARBON_RECEIVED);
    in->rewritten = true;
    struct stanza *stamped = stanza_id_stamp(changed, &in->user->jid);
    stanza_unref(in->stanza);
    in->stanza = stamped;
}

void incoming_primary_turn(struct incoming *in)
{
    if (in->returned)
        incoming_finish(in);
    else
        incoming_refused(in);
}

static void primary_done(void *arg, const struct verdict *v)
{
    struct incoming *in = arg;
    stages_mark(in->stanza->sid, STAGE_PRIMARY_VERDICT);
    if (v->kind == VERDICT_PASS) {
        becomes(in, v->stanza);
        if (v->session != NULL) in->primary = x_strdup(v->session);
        incoming_choose(in);
        return;
    }
    verdict_clear(&in->verdict);
    verdict_keep(&in->verdict, v);
    lane_quiet(&in->lane); /* those behind need not wait to ask */
    in->step = IN_PRIMARY_TURN;
    if (lane_is_head(&in->lane)) incoming_primary_turn(in);
}

/* Refused at once, by an outage: told as any other answer, though the caller is on the stack. */
static bool raise_with(struct incoming *in, const struct event_candidate *candidates, unsigned n)
{
    struct question q = {
        .event = EVENT_e_PRISESSION,
        .subject = in->stanza,
        .candidates = candidates,
        .n_candidates = n,
        .entry = in->lane.lane != NULL ? &in->lane : NULL,
        .done = primary_done,
        .arg = in,
    };
    struct verdict now;
    if (!broker_raise(&q, &now)) return true;
    if (now.kind == VERDICT_PASS) return false;
    primary_done(in, &now);
    return true;
}

bool incoming_ask_primary(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    bool due = s->kind == STANZA_MESSAGE && (s->type == MESSAGE_CHAT || s->type == MESSAGE_NORMAL) && !in->primary_asked;
    unsigned n = due ? count(in->user) : 0;
    if (n < 2) return false;
    in->primary_asked = true;
    bool planned = broker_planned(EVENT_e_PRISESSION, s);
    struct event_candidate few[FEW_CANDIDATES], *candidates = n <= FEW_CANDIDATES ? few : x_calloc(n, sizeof(*candidates));
    if (planned) {
        fill(in->user, candidates);
        incoming_ensure_lane(in);
    }
    incoming_stage(in, ASKS_PRISESSION);
    in->step = IN_PRIMARY_ASKED;
    bool waits = raise_with(in, candidates, planned ? n : 0);
    if (candidates != few) free(candidates);
    return waits;
}
