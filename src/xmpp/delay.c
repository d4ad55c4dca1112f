/* Delay stamps (XEP-0203). A message has at most one of ours: what goes back into the store, or on to another session, leaves its stamp behind. */
#include "xmpp/delay.h"
#include "base/clock.h"

#define NS_DELAY "urn:xmpp:delay"

struct stanza *delay_stamp(const struct stanza *s, struct str domain, uint64_t wall_ms)
{
    char stamp[CLOCK_STAMP_SIZE];
    struct buf inner = {0};
    buf_add_str(&inner, s->inner);
    buf_addf(&inner, "<delay xmlns='" NS_DELAY "' from='" STR_FMT "' stamp='%s'/>", STR_ARG(domain), clock_stamp(wall_ms, stamp));
    struct str bytes = buf_str(&inner);
    struct stanza_change change = {.inner = &bytes};
    struct stanza *out = stanza_with(s, &change);
    buf_free(&inner);
    return out;
}

struct stanza *delay_unstamp(const struct stanza *s)
{
    const struct xml_child *last = s->n_children > 0 ? &s->children[s->n_children - 1] : NULL;
    if (last == NULL || !str_is(last->name, "delay") || !str_is(last->ns, NS_DELAY)) return stanza_ref(s);
    struct str inner = {s->inner.p, (size_t)(stanza_child_bytes(s, last).p - s->inner.p)};
    struct stanza_change change = {.inner = &inner};
    return stanza_with(s, &change);
}
