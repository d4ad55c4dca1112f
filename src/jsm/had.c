/* A ring of stanza ids with an index over it. Both grow with what there is to remember, up to REMEMBERED: an idle session has none. */
#include "jsm/had.h"
#include <stdlib.h>

#define REMEMBERED 1024 /* more than a user's clients leave unacknowledged, and as many as are stored for one */
#define FIRST_SIZE 16

struct had {
    struct imap sids; /* to itself: a set */
    uint64_t *ring;
    uint32_t size, n, at; /* at: the oldest once it is full */
};

void had_note(struct session *s, uint64_t sid)
{
    if (s->had == NULL) s->had = x_calloc(1, sizeof(*s->had));
    struct had *h = s->had;
    if (imap_get(&h->sids, sid) != NULL) return;
    if (h->n == h->size && h->size < REMEMBERED) {
        h->size = h->size == 0 ? FIRST_SIZE : 2 * h->size;
        h->ring = x_realloc(h->ring, h->size * sizeof(*h->ring));
    }
    if (h->n < h->size) {
        h->ring[h->n++] = sid;
    } else {
        imap_del(&h->sids, h->ring[h->at]);
        h->ring[h->at] = sid;
        h->at = (h->at + 1) % h->size;
    }
    imap_put(&h->sids, sid, h);
}

bool had_it(const struct session *s, uint64_t sid) { return s->had != NULL && imap_get(&s->had->sids, sid) != NULL; }

void had_free(struct session *s)
{
    if (s->had == NULL) return;
    imap_free(&s->had->sids);
    free(s->had->ring);
    free(s->had);
    s->had = NULL;
}
