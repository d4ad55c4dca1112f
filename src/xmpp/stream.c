/* XML streams: the few things that are the same for client, server and component streams. Pure text in and out; who may send what, and when, is
 * decided by the kind of stream. */
#include "xmpp/stream.h"
#include "base/hash.h"
#include "xml/writer.h"
#include "xmpp/stanza.h"
#include <string.h>

void stream_id_make(char out[STREAM_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[(STREAM_ID_SIZE - 1) / 2];
    hash_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        out[2 * i] = digits[random[i] >> 4];
        out[2 * i + 1] = digits[random[i] & 15];
    }
    out[STREAM_ID_SIZE - 1] = 0;
}

void stream_write_header(struct buf *b, const struct stream_header *h)
{
    BUF_ADD_LIT(b, "<?xml version='1.0'?><stream:stream");
    xml_add_attr(b, "xmlns", str_of(h->content_ns));
    BUF_ADD_LIT(b, " xmlns:stream='" NS_STREAMS "'");
    xml_add_attr(b, "from", h->from);
    xml_add_attr(b, "to", h->to);
    xml_add_attr(b, "id", h->id);
    BUF_ADD_LIT(b, " version='1.0' xml:lang='en'>");
}

void stream_write_error(struct buf *b, const char *condition, const char *text)
{
    BUF_ADD_LIT(b, "<stream:error><");
    buf_adds(b, condition);
    BUF_ADD_LIT(b, " xmlns='" NS_STREAM_ERRORS "'/>");
    if (text) {
        BUF_ADD_LIT(b, "<text xmlns='" NS_STREAM_ERRORS "' xml:lang='en'>");
        xml_add_text(b, str_of(text));
        BUF_ADD_LIT(b, "</text>");
    }
    BUF_ADD_LIT(b, "</stream:error>" STREAM_END);
}

struct str stream_header_attr(const struct xml_header *h, const char *name)
{
    for (unsigned i = 0; i < h->n_attributes; i++)
        if (!h->attributes[i].ns.p && str_is(h->attributes[i].name, name)) return h->attributes[i].value;
    return STR_NONE;
}

/* "1.0", and any later one: the answer is 1.0, the lower of the two (RFC 6120, 4.7.5). No version means a client of before RFC 3920. */
static bool version_ok(struct str version)
{
    size_t i = 0;
    unsigned long major = 0;
    for (; i < version.n && version.p[i] >= '0' && version.p[i] <= '9' && i < 9; i++) major = major * 10 + (unsigned long)(version.p[i] - '0');
    if (i == 0 || i + 1 >= version.n || version.p[i] != '.') return false;
    for (i++; i < version.n; i++)
        if (version.p[i] < '0' || version.p[i] > '9') return false;
    return major >= 1;
}

const char *stream_header_problem(const struct xml_header *h, const char *content_ns, const char **text)
{
    *text = NULL;
    if (!str_is(h->ns, NS_STREAMS)) {
        *text = "the stream's namespace must be " NS_STREAMS;
        return "invalid-namespace";
    }
    if (!str_is(h->name, "stream")) {
        *text = "the root element must be <stream/>";
        return "bad-format";
    }
    if (!str_is(h->default_ns, content_ns)) {
        *text = "the default namespace is not the one served here";
        return "invalid-namespace";
    }
    if (!version_ok(stream_header_attr(h, "version"))) {
        *text = "version 1.0 is needed";
        return "unsupported-version";
    }
    return NULL;
}

const char *stream_xml_condition(enum xml_status status)
{
    switch (status) {
    case XML_FED:
    case XML_STOPPED:
    case XML_CLOSED:
        return NULL;
    case XML_NOT_WELL_FORMED:
        return "not-well-formed";
    case XML_STRAY_TEXT:
        return "bad-format";
    case XML_RESTRICTED:
        return "restricted-xml";
    case XML_TOO_BIG:
        return "policy-violation";
    case XML_BAD_ENCODING:
        return "unsupported-encoding"; /* RFC 6120, 11.6: UTF-8, or what only claims to be */
    case XML_BAD_NAMESPACE:
        return "bad-namespace-prefix";
    }
    return "undefined-condition";
}

void stream_write_features(struct buf *b, const struct stream_feature *rows, size_t n, const void *stream)
{
    BUF_ADD_LIT(b, "<stream:features>");
    for (size_t i = 0; i < n; i++)
        if (!rows[i].offered || rows[i].offered(stream)) rows[i].write(b, stream);
    BUF_ADD_LIT(b, "</stream:features>");
}
