/* What is held: presence, the last of each address, and messages that carry nothing but a chat state, the last of each sender, or carbon copies of
 * such, the last of each conversation and direction. Anything else goes at once, and what was held before it, so that the order stays. */
#include "jsm/csi.h"
#include "base/metric.h"
#include "jsm/carbons.h"
#include "jsm/features/features.h"
#include <stdlib.h>

struct csi { /* of an inactive session */
    struct list held; /* in order */
    struct map latest; /* kind and sender -> struct held */
    unsigned n;
    bool draining; /* all of it is being written */
};
struct held {
    struct list node;
    struct stanza *stanza;
    char *key;
};

/* What may wait, and *key: of all with the same the last is enough. */
static bool can_wait(const struct session *s, const struct stanza *out, struct buf *key)
{
    bool presence = out->type == PRESENCE_AVAILABLE || out->type == PRESENCE_UNAVAILABLE;
    if (presence ? !jid_eq(&out->from, &s->full) : out->kind == STANZA_MESSAGE && message_is_chat_state(out)) {
        buf_addc(key, presence ? 'p' : 'm');
        buf_add_str(key, out->from.full);
        return true;
    }
    if (out->kind != STANZA_MESSAGE) return false;
    struct arena *a = arena_new(0);
    const struct xml_node *copied = carbons_inner(out, a);
    bool waits = copied != NULL && node_is_chat_state(copied);
    if (waits) {
        buf_addc(key, 'c');
        buf_add_str(key, xml_node_attr(copied, "from"));
        buf_addc(key, ' ');
        buf_add_str(key, xml_node_attr(copied, "to"));
    }
    arena_free(a);
    return waits;
}

static void held_free(struct csi *c, struct held *h)
{
    list_remove(&h->node);
    map_del(&c->latest, str_of(h->key));
    c->n--;
    stanza_unref(h->stanza);
    free(h->key);
    free(h);
}

void csi_set(struct session *s, bool active)
{
    if (!active && s->csi == NULL) {
        s->csi = x_calloc(1, sizeof(*s->csi));
        list_init(&s->csi->held);
    }
    if (s->csi != NULL) s->csi->draining = active;
    if (active && s->csi != NULL && s->csi->n == 0) csi_free(s);
}

bool csi_hold(struct session *s, const struct stanza *out)
{
    struct csi *c = s->csi;
    if (c == NULL || c->draining) return false;
    struct buf key = {0};
    if (!can_wait(s, out, &key) || c->n >= (unsigned)jsm->config->csi_max_held) {
        c->draining = c->n > 0;
        buf_free(&key);
        return false;
    }
    struct held *h = map_get(&c->latest, buf_str(&key));
    if (h != NULL) {
        held_free(c, h);
        metric_inc(METRIC_CSI_REPLACED);
    }
    h = x_calloc(1, sizeof(*h));
    h->stanza = stanza_ref(out);
    h->key = str_dup(buf_str(&key));
    buf_free(&key);
    map_put(&c->latest, str_of(h->key), h);
    list_push_back(&c->held, &h->node);
    c->n++;
    metric_inc(METRIC_CSI_HELD);
    return true;
}

struct stanza *csi_next(struct session *s)
{
    struct csi *c = s->csi;
    if (c == NULL || !c->draining) return NULL;
    if (list_empty(&c->held)) {
        c->draining = false;
        return NULL;
    }
    struct held *h = CONTAINER_OF(c->held.next, struct held, node);
    struct stanza *out = stanza_ref(h->stanza);
    held_free(c, h);
    return out;
}

void csi_free(struct session *s)
{
    if (s->csi == NULL) return;
    while (!list_empty(&s->csi->held)) held_free(s->csi, CONTAINER_OF(s->csi->held.next, struct held, node));
    map_free(&s->csi->latest);
    free(s->csi);
    s->csi = NULL;
}
