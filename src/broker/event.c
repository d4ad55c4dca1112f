/* Events: one block of memory per event, strings and candidates included, made by the raiser and read by every thread it travels to.
 *
 * An event whose stanza was changed by an answer is a second block that borrows everything but the stanza from the first: the event, its id and its
 * context stay the same. */
#include "broker/event.h"
#include "base/clock.h"
#include "base/list.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct event_private {
    atomic_uint refs;
    struct event *first; /* whose strings are borrowed; NULL: its own follow */
};
struct event_block {
    struct event event;
    struct event_private priv;
};
enum { ENVELOPE_BYTES = 512 }; /* about what the wire adds to stanza and context */

static struct {
    char node[256], prefix[80]; /* of event ids: "label-boot-" */
    size_t prefix_len;
    atomic_uint_fast64_t seq;
} ids;

void event_ids_start(const char *node, uint32_t boot)
{
    snprintf(ids.node, sizeof(ids.node), "%s", node);
    int label = (int)strcspn(node, ".");
    snprintf(ids.prefix, sizeof(ids.prefix), "%.*s-%x-", label < 63 ? label : 63, node, boot);
    ids.prefix_len = strlen(ids.prefix);
    atomic_store(&ids.seq, 0);
}

const char *event_node(void) { return ids.node; }

const char *event_id_text(const struct event *e, char out[EVENT_ID_SIZE])
{
    memcpy(out, ids.prefix, ids.prefix_len);
    str_hex(out + ids.prefix_len, e->seq, 8);
    return out;
}

static struct str keep(char **at, struct str s)
{
    if (s.p == NULL) return STR_NONE;
    struct str kept = {*at, s.n};
    if (s.n > 0) memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

struct event *event_new(const struct event_facts *f)
{
    size_t text = f->session.n + f->room.n + f->key.n;
    for (unsigned i = 0; i < f->n_candidates; i++) text += f->candidates[i].jid.n;
    size_t candidates_size = f->n_candidates * sizeof(struct event_candidate);
    struct event_block *block = x_malloc(sizeof(*block) + candidates_size + text);
    struct event_candidate *candidates = (struct event_candidate *)(block + 1);
    char *at = (char *)candidates + candidates_size;
    struct event *e = &block->event;
    *e = (struct event){
        .id = f->id,
        .seq = atomic_fetch_add(&ids.seq, 1) + 1,
        .subject = stanza_ref(f->subject),
        .wall_ms = clock_wall_ms(),
        .session = keep(&at, f->session),
        .room = keep(&at, f->room),
        .key = keep(&at, f->key),
        .copy = f->copy,
        .candidates = candidates,
        .n_candidates = f->n_candidates,
        .bytes = sizeof(*block) + candidates_size + text + stanza_size(f->subject) + ENVELOPE_BYTES,
        .priv = &block->priv,
    };
    for (unsigned i = 0; i < f->n_candidates; i++)
        candidates[i] = (struct event_candidate){keep(&at, f->candidates[i].jid), f->candidates[i].priority};
    atomic_init(&block->priv.refs, 1);
    block->priv.first = NULL;
    return e;
}

struct event *event_with_subject(const struct event *e, const struct stanza *subject)
{
    struct event_block *block = x_malloc(sizeof(*block));
    block->event = *e;
    block->event.subject = stanza_ref(subject);
    block->event.bytes = e->bytes - stanza_size(e->subject) + stanza_size(subject);
    block->event.priv = &block->priv;
    atomic_init(&block->priv.refs, 1);
    block->priv.first = event_ref(e->priv->first != NULL ? e->priv->first : e);
    return &block->event;
}

struct event *event_ref(const struct event *e)
{
    atomic_fetch_add_explicit(&e->priv->refs, 1, memory_order_relaxed);
    return (struct event *)e;
}

void event_unref(struct event *e)
{
    if (e == NULL || atomic_fetch_sub_explicit(&e->priv->refs, 1, memory_order_acq_rel) > 1) return;
    event_unref(e->priv->first);
    stanza_unref(e->subject);
    free(CONTAINER_OF(e, struct event_block, event));
}

void event_answer_clear(struct event_answer *a)
{
    stanza_unref(a->stanza);
    free(a->session);
    free(a->text);
    a->stanza = NULL;
    a->session = a->text = NULL;
}
