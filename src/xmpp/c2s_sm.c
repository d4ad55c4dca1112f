/* Stream management on the wire (XEP-0198): <enable/>, <resume/>, <r/>, <a/> and what answers them. Counting, the queue of what was not acknowledged and
 * the tokens belong to the layer above; here is only what may come when, and how it is written.
 *
 * <resume/> stands where bind would: the stream is parked like one that binds, until c2s_sm_resumed() or c2s_sm_failed(). */
#include "base/log.h"
#include "c2s_private.h"
#include "xml/writer.h"

bool c2s_sm_offered(const void *stream)
{
    const struct c2s *c = stream;
    return c->state == C2S_READY && c2s_shared.ops->on_sm_enable != NULL;
}

void c2s_sm_write_feature(struct buf *b, const void *stream)
{
    (void)stream;
    BUF_ADD_LIT(b, "<sm xmlns='" NS_SM "'/>");
}

/* xs:unsignedInt */
static bool number_in(struct str text, uint32_t *out)
{
    uint64_t value = 0;
    if (text.n == 0 || text.n > 10) return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

void c2s_sm_failed(struct c2s *c, const char *condition, const uint32_t *h)
{
    if (c->state == C2S_CLOSING) return;
    if (h)
        c2s_write(c, "<failed xmlns='" NS_SM "' h='%u'><%s xmlns='%s'/></failed>", *h, condition, NS_STANZAS);
    else
        c2s_write(c, "<failed xmlns='" NS_SM "'><%s xmlns='%s'/></failed>", condition, NS_STANZAS);
    if (c->state != C2S_BINDING) return;
    c2s_move_to(c, C2S_READY);
    c2s_resume(c);
}

void c2s_sm_enabled(struct c2s *c, const char *token, uint32_t max_s)
{
    if (token)
        c2s_write(c, "<enabled xmlns='" NS_SM "' id='%s' resume='true' max='%u'/>", token, max_s);
    else
        c2s_write(c, "<enabled xmlns='" NS_SM "'/>");
}

void c2s_sm_resumed(struct c2s *c, const struct jid *full, const char *token, uint32_t h)
{
    if (c->state != C2S_BINDING) return;
    c2s_bound(c, full);
    c2s_write(c, "<resumed xmlns='" NS_SM "' previd='%s' h='%u'/>", token, h);
}

void c2s_sm_ack(struct c2s *c, uint32_t h)
{
    if (c->state == C2S_BOUND) c2s_write(c, "<a xmlns='" NS_SM "' h='%u'/>", h);
}

void c2s_sm_request(struct c2s *c)
{
    if (c->state == C2S_BOUND) c2s_write(c, "<r xmlns='" NS_SM "'/>");
}

void c2s_sm_too_high(struct c2s *c, uint32_t h, uint32_t sent)
{
    if (c->state == C2S_CLOSING) return;
    c2s_write(c,
              "<stream:error><undefined-condition xmlns='" NS_STREAM_ERRORS "'/><handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>"
              "</stream:error>",
              h, sent);
    log_info("c2s", "%s: the client acknowledges %u stanzas and was sent %u", c->peer, h, sent);
    c2s_close(c, NULL, NULL);
}

/* ---- what the client sends ---- */

void c2s_on_enable(struct c2s *c, const struct xml_element *e)
{
    struct str resume = xml_element_attr(e, "resume");
    uint32_t max_s = UINT32_MAX;
    struct str max = xml_element_attr(e, "max");
    if (!c2s_shared.ops->on_sm_enable || c->state != C2S_BOUND)
        c2s_sm_failed(c, "unexpected-request", NULL);
    else if (max.p && !number_in(max, &max_s))
        c2s_sm_failed(c, "bad-request", NULL);
    else
        c2s_shared.ops->on_sm_enable(c, str_is(resume, "true") || str_is(resume, "1"), max_s);
}

void c2s_on_resume(struct c2s *c, const struct xml_element *e)
{
    uint32_t h = 0;
    struct str previd = xml_element_attr(e, "previd");
    if (!c2s_shared.ops->on_sm_resume || c->state != C2S_READY) {
        c2s_sm_failed(c, "unexpected-request", NULL);
    } else if (!previd.p || !number_in(xml_element_attr(e, "h"), &h)) {
        c2s_sm_failed(c, "bad-request", NULL);
    } else {
        c2s_move_to(c, C2S_BINDING);
        c2s_pause(c);
        c2s_shared.ops->on_sm_resume(c, previd, h);
    }
}

void c2s_on_ack_request(struct c2s *c, const struct xml_element *e)
{
    (void)e;
    if (c->state != C2S_BOUND || !c2s_shared.ops->on_sm_request || !c2s_shared.ops->on_sm_request(c)) c2s_sm_failed(c, "unexpected-request", NULL);
}

void c2s_on_ack(struct c2s *c, const struct xml_element *e)
{
    uint32_t h = 0;
    if (!number_in(xml_element_attr(e, "h"), &h))
        c2s_close(c, "invalid-xml", "'h' of <a/> is no number");
    else if (c->state != C2S_BOUND || !c2s_shared.ops->on_sm_ack || !c2s_shared.ops->on_sm_ack(c, h))
        c2s_sm_failed(c, "unexpected-request", NULL);
}

/* The client ends its stream: the last it hears is how much of it was handled. */
void c2s_sm_farewell(struct c2s *c)
{
    if (c->state == C2S_BOUND && c2s_shared.ops->on_sm_request) (void)c2s_shared.ops->on_sm_request(c);
}
