/* xml/parser: what a stream says comes out the same however it was cut into reads; what XMPP does not allow does not come out at all; what leaves the
 * stream means the same outside it. */
#include "unit.h"

#include "xml/parser.h"
#include "xml/writer.h"

#define HEADER "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.com' version='1.0'>"

/* ---- a reader that writes down everything it is told ---- */

struct reader {
    struct xml_parser *p;
    struct buf log;
    enum xml_status status;
    const char *stop_at; /* local name of the element that is answered with XML_STOP */
    const char *restart_at, *free_at;
    size_t left; /* bytes unused after XML_STOPPED or XML_CLOSED */
};

static void log_attributes(struct buf *b, const struct xml_attribute *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_addf(b, " {" STR_FMT "}" STR_FMT ":" STR_FMT "=[" STR_FMT "]", STR_ARG(a[i].ns), STR_ARG(a[i].prefix), STR_ARG(a[i].name),
                 STR_ARG(a[i].value));
}

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    struct reader *r = owner;
    buf_addf(&r->log, "header {" STR_FMT "}" STR_FMT " default=" STR_FMT, STR_ARG(h->ns), STR_ARG(h->name), STR_ARG(h->default_ns));
    log_attributes(&r->log, h->attributes, h->n_attributes);
    buf_addc(&r->log, '\n');
    return r->stop_at != NULL && str_is(h->name, r->stop_at) ? XML_STOP : XML_GO_ON;
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct reader *r = owner;
    buf_addf(&r->log, "element {" STR_FMT "}" STR_FMT, STR_ARG(e->ns), STR_ARG(e->name));
    log_attributes(&r->log, e->attributes, e->n_attributes);
    buf_adds(&r->log, " inner=[");
    buf_add_str(&r->log, e->inner);
    buf_adds(&r->log, "]");
    for (unsigned i = 0; i < e->n_children; i++) {
        const struct xml_child *c = &e->children[i];
        assert_true((size_t)c->offset + c->length <= e->inner.n);
        buf_addf(&r->log, " {" STR_FMT "}" STR_FMT "@%u+%u", STR_ARG(c->ns), STR_ARG(c->name), c->offset, c->length);
    }
    buf_addc(&r->log, '\n');
    if (r->restart_at != NULL && str_is(e->name, r->restart_at)) xml_parser_restart(r->p);
    if (r->free_at != NULL && str_is(e->name, r->free_at)) xml_parser_free(r->p);
    return r->stop_at != NULL && str_is(e->name, r->stop_at) ? XML_STOP : XML_GO_ON;
}

static const struct xml_parser_ops ops = {on_header, on_element};

static void reader_start(struct reader *r, const struct xml_limits *limits)
{
    *r = (struct reader){0};
    r->p = xml_parser_new(limits != NULL ? limits : &xml_limits_default, &ops, r);
}

/* Feeds in pieces; chunk 0: pieces of pseudo-random size. Each piece is fed from memory of its own, so that a stale pointer shows. */
static void reader_feed(struct reader *r, struct str s, size_t chunk, unsigned seed)
{
    for (size_t at = 0; at < s.n && r->status == XML_FED;) {
        size_t n = chunk;
        if (chunk == 0) {
            seed = seed * 1103515245U + 12345U;
            n = 1 + (seed >> 16) % 97;
        }
        if (n > s.n - at) n = s.n - at;
        char *copy = x_malloc(n);
        memcpy(copy, s.p + at, n);
        size_t used = 0;
        r->status = xml_parser_feed(r->p, copy, n, &used);
        free(copy);
        assert_true(used <= n);
        if (r->status == XML_FED) assert_int_equal(used, n);
        at += used;
        r->left = s.n - at;
    }
}

static void reader_end(struct reader *r)
{
    xml_parser_free(r->p);
    buf_free(&r->log);
}

static void one(struct str s, const struct xml_limits *limits, size_t chunk, unsigned seed, struct buf *log, enum xml_status *status, size_t *left)
{
    struct reader r;
    reader_start(&r, limits);
    reader_feed(&r, s, chunk, seed);
    buf_add_str(log, buf_str(&r.log));
    *status = r.status;
    *left = r.status == XML_CLOSED ? r.left : 0;
    reader_end(&r);
}

/* Runs the bytes at once and then in every other way: all must agree. Returns the status; the log is in *out when wanted. */
static enum xml_status all_ways(struct str s, const struct xml_limits *limits, struct buf *out)
{
    struct buf whole = {0};
    enum xml_status status, again;
    size_t left, left_again;
    one(s, limits, s.n + 1, 0, &whole, &status, &left);
    static const size_t chunks[] = {1, 2, 3, 7, 64, 1000, 0, 0, 0, 0, 0};
    for (unsigned i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        if (s.n > 50000 && chunks[i] != 0 && chunks[i] < 64) continue;
        struct buf pieces = {0};
        one(s, limits, chunks[i], i, &pieces, &again, &left_again);
        assert_string_equal(buf_cstr(&pieces), buf_cstr(&whole));
        assert_int_equal(again, status);
        assert_int_equal(left_again, left);
        buf_free(&pieces);
    }
    if (out != NULL) buf_add_str(out, buf_str(&whole));
    buf_free(&whole);
    return status;
}

static void says(const char *input, enum xml_status status, const char *log)
{
    struct buf b = {0};
    enum xml_status got = all_ways(str_of(input), NULL, &b);
    if (log != NULL) assert_string_equal(buf_cstr(&b), log);
    if (got != status) print_message("input: %s\n", input);
    assert_int_equal(got, status);
    buf_free(&b);
}

#define HEADER_LOG "header {http://etherx.jabber.org/streams}stream default=jabber:client {}:to=[example.com] {}:version=[1.0]\n"

/* ---- well-behaved streams ---- */

static void test_stream(void **state)
{
    UNIT_UNUSED(state);
    says("<?xml version='1.0'?>" HEADER "<message to='a@b' id='1' xml:lang='en'><body>Hi &amp; bye</body></message>\n \n<presence/>"
         "<iq type='get' id='x'><query xmlns='jabber:iq:roster'/></iq></stream:stream>   ",
         XML_CLOSED,
         HEADER_LOG "element {jabber:client}message {}:to=[a@b] {}:id=[1] {http://www.w3.org/XML/1998/namespace}xml:lang=[en]"
                    " inner=[<body>Hi &amp; bye</body>] {jabber:client}body@0+25\n"
                    "element {jabber:client}presence inner=[]\n"
                    "element {jabber:client}iq {}:type=[get] {}:id=[x] inner=[<query xmlns='jabber:iq:roster'/>] {jabber:iq:roster}query@0+33\n");
    says("  \n" HEADER, XML_FED, HEADER_LOG);
    says("<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n" HEADER "<a/>", XML_FED, HEADER_LOG "element {jabber:client}a inner=[]\n");
    says("\xef\xbb\xbf" HEADER, XML_FED, HEADER_LOG);
    says("<a xmlns='x'/>", XML_CLOSED, "header {x}a default=x\n");
    says("<a/>", XML_CLOSED, "header {}a default=\n");
    says(HEADER "</stream:stream><more/>", XML_CLOSED, HEADER_LOG);
}

static void test_text_and_cdata(void **state)
{
    UNIT_UNUSED(state);
    says(HEADER "<auth xmlns='urn:x' mechanism='PLAIN'>AGp1=</auth>", XML_FED, HEADER_LOG "element {urn:x}auth {}:mechanism=[PLAIN] inner=[AGp1=]\n");
    says(HEADER "<m>a<![CDATA[<b> & ]] > ]]>c<b/>d\r\n&#13;e</m>", XML_FED,
         HEADER_LOG "element {jabber:client}m inner=[a<![CDATA[<b> & ]] > ]]>c<b/>d\r\n&#13;e] {jabber:client}b@25+4\n");
    says(HEADER "<m a='&lt;&#x1F600;&apos;&#10;'>\xf0\x9f\x98\x80</m>", XML_FED,
         HEADER_LOG "element {jabber:client}m {}:a=[<\xf0\x9f\x98\x80'\n] inner=[\xf0\x9f\x98\x80]\n");
}

static void test_stop_and_go_on(void **state)
{
    UNIT_UNUSED(state);
    struct reader r;
    const char *rest = HEADER "<starttls xmlns='t'/>\x16\x03\x01 not XML";
    for (size_t chunk = 1; chunk < 300; chunk += 13) {
        reader_start(&r, NULL);
        r.stop_at = "starttls";
        reader_feed(&r, str_of(rest), chunk, 0);
        assert_int_equal(r.status, XML_STOPPED);
        assert_int_equal(r.left, strlen("\x16\x03\x01 not XML"));
        assert_true(xml_parser_between(r.p));
        xml_parser_restart(r.p);
        r.status = XML_FED;
        r.stop_at = NULL;
        reader_feed(&r, str_of("<?xml version='1.0'?>" HEADER "<a/>"), chunk, 0);
        assert_int_equal(r.status, XML_FED);
        assert_string_equal(buf_cstr(&r.log), HEADER_LOG "element {t}starttls inner=[]\n" HEADER_LOG "element {jabber:client}a inner=[]\n");
        reader_end(&r);
    }
    /* Stopped without a restart, the rest is fed later and means what it meant. */
    struct str all = STR(HEADER "<one/> <two><x/></two><three/>");
    reader_start(&r, NULL);
    r.stop_at = "one";
    reader_feed(&r, all, 10000, 0);
    assert_int_equal(r.status, XML_STOPPED);
    r.status = XML_FED;
    reader_feed(&r, (struct str){all.p + all.n - r.left, r.left}, 10000, 0);
    assert_int_equal(r.status, XML_FED);
    assert_non_null(strstr(buf_cstr(&r.log), "two inner=[<x/>] {jabber:client}x@0+4\nelement {jabber:client}three"));
    reader_end(&r);
    /* A header may be stopped at too. */
    reader_start(&r, NULL);
    r.stop_at = "stream";
    reader_feed(&r, STR(HEADER "<a/>"), 10000, 0);
    assert_int_equal(r.status, XML_STOPPED);
    assert_int_equal(r.left, 4);
    reader_end(&r);
}

static void test_callback_restarts_or_frees(void **state)
{
    UNIT_UNUSED(state);
    struct reader r;
    for (size_t chunk = 1; chunk < 400; chunk += 17) {
        reader_start(&r, NULL);
        r.restart_at = "again";
        reader_feed(&r, STR(HEADER "<again/>" HEADER "<a/>"), chunk, 0);
        assert_int_equal(r.status, XML_FED);
        assert_string_equal(buf_cstr(&r.log), HEADER_LOG "element {jabber:client}again inner=[]\n" HEADER_LOG "element {jabber:client}a inner=[]\n");
        reader_end(&r);

        reader_start(&r, NULL);
        r.free_at = "gone";
        reader_feed(&r, STR(HEADER "<gone/><a/>"), chunk, 0);
        assert_int_equal(r.status, XML_STOPPED);
        assert_int_equal(r.left, 4);
        buf_free(&r.log);
    }
}

static void test_between(void **state)
{
    UNIT_UNUSED(state);
    struct reader r;
    reader_start(&r, NULL);
    assert_true(xml_parser_between(r.p));
    reader_feed(&r, STR(HEADER), 1, 0);
    assert_true(xml_parser_between(r.p));
    reader_feed(&r, STR("<mess"), 1, 0);
    assert_false(xml_parser_between(r.p));
    reader_feed(&r, STR("age/>"), 1, 0);
    assert_true(xml_parser_between(r.p));
    reader_feed(&r, STR("  \n "), 1, 0);
    assert_true(xml_parser_between(r.p));
    reader_end(&r);
}

static void test_failed_takes_no_more(void **state)
{
    UNIT_UNUSED(state);
    struct reader r;
    size_t used = 99;
    reader_start(&r, NULL);
    reader_feed(&r, STR(HEADER "<a></b>"), 1000, 0);
    assert_int_equal(r.status, XML_NOT_WELL_FORMED);
    assert_non_null(strstr(xml_parser_problem(r.p), "mismatched tag"));
    assert_int_equal(xml_parser_feed(r.p, "<c/>", 4, &used), XML_NOT_WELL_FORMED);
    assert_int_equal(used, 0);
    xml_parser_restart(r.p);
    assert_int_equal(xml_parser_feed(r.p, HEADER, strlen(HEADER), &used), XML_FED);
    assert_string_equal(xml_parser_problem(r.p), "");
    reader_end(&r);
}

/* ---- hostile ones ---- */

static void test_refused(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *input;
        enum xml_status status;
    } cases[] = {
        {"<!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;&lol;'>]>" HEADER "<m>&lol2;</m>", XML_RESTRICTED},
        {"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'>" HEADER, XML_RESTRICTED},
        {"<!DOCTYPE a>" HEADER, XML_RESTRICTED},
        {HEADER "<!DOCTYPE a>", XML_RESTRICTED},
        {HEADER "<m><!ENTITY a 'b'></m>", XML_RESTRICTED},
        {HEADER "<!-- a comment -->", XML_RESTRICTED},
        {HEADER "<m><!-- a comment --></m>", XML_RESTRICTED},
        {"<!-- a comment -->" HEADER, XML_RESTRICTED},
        {HEADER "<?php exit ?>", XML_RESTRICTED},
        {HEADER "<m><b><?php exit ?></b></m>", XML_RESTRICTED},
        {"<?php exit ?>" HEADER, XML_RESTRICTED},
        {HEADER "<m>&foo;</m>", XML_RESTRICTED},
        {HEADER "<m a='&foo;'/>", XML_RESTRICTED},
        {HEADER "&foo;", XML_RESTRICTED},
        {HEADER "<?xml version='1.0'?>", XML_NOT_WELL_FORMED},
        {HEADER "text", XML_STRAY_TEXT},
        {HEADER "<a/>text<b/>", XML_STRAY_TEXT},
        {HEADER "&lt;", XML_STRAY_TEXT},
        {HEADER "<![CDATA[]]>", XML_STRAY_TEXT}, /* no white space, so that what follows cannot look like a stanza */
        {HEADER "<![CDATA[<a/>]]>", XML_STRAY_TEXT},
        {HEADER "<a", XML_FED},
        {HEADER "<a b='<'/>", XML_NOT_WELL_FORMED},
        {HEADER "<a b='1' b='2'/>", XML_NOT_WELL_FORMED},
        {HEADER "<a></b>", XML_NOT_WELL_FORMED},
        {HEADER "</a>", XML_NOT_WELL_FORMED},
        {HEADER "<a>]]></a>", XML_NOT_WELL_FORMED},
        {HEADER "<a>\x01</a>", XML_NOT_WELL_FORMED},
        {HEADER "<a>&#1;</a>", XML_NOT_WELL_FORMED},
        {HEADER "<a>&#0;</a>", XML_NOT_WELL_FORMED},
        {HEADER "<a:b:c/>", XML_NOT_WELL_FORMED},
        {HEADER "<a:/>", XML_NOT_WELL_FORMED},
        {"GET / HTTP/1.1\r\n\r\n", XML_NOT_WELL_FORMED},
        {HEADER "<a>\xff</a>", XML_BAD_ENCODING},
        {HEADER "<a>ab\xc3(cd</a>", XML_BAD_ENCODING},
        {HEADER "<a>\xc0\xaf</a>", XML_BAD_ENCODING},
        {HEADER "<a>\xed\xa0\x80</a>", XML_BAD_ENCODING},
        {HEADER "<a b='\xe4'/>", XML_BAD_ENCODING},
        {HEADER "<a>\xf4\x90\x80\x80</a>", XML_BAD_ENCODING},
        {"\xff\xfe<\1a\1", XML_BAD_ENCODING},
        {"\xfe\xff", XML_BAD_ENCODING},
        {"<?xml version='1.0' encoding='ISO-8859-1'?>" HEADER, XML_BAD_ENCODING},
        {"<?xml version='1.0' encoding='UTF-16'?>" HEADER, XML_BAD_ENCODING},
        {HEADER "<q:a/>", XML_BAD_NAMESPACE},
        {HEADER "<a q:b='1'/>", XML_BAD_NAMESPACE},
        {"<stream:stream xmlns='jabber:client'>", XML_BAD_NAMESPACE},
        {HEADER "<a xmlns:q=''/>", XML_BAD_NAMESPACE},
        {HEADER "<a xmlns:xml='urn:x'/>", XML_BAD_NAMESPACE},
        {HEADER "<a xmlns:xmlns='urn:x'/>", XML_BAD_NAMESPACE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) says(cases[i].input, cases[i].status, NULL);
    assert_int_equal(all_ways(STR("<\0s\0"), NULL, NULL), XML_BAD_ENCODING);
    assert_int_equal(all_ways(STR("\0<"), NULL, NULL), XML_BAD_ENCODING);
    assert_int_equal(all_ways(STR(HEADER "<a>\0</a>"), NULL, NULL), XML_NOT_WELL_FORMED);
}

static void repeat(struct buf *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++) buf_adds(b, text);
}

static enum xml_status sized(const char *before, const char *part, size_t times, const char *after)
{
    struct buf b = {0};
    buf_adds(&b, HEADER);
    buf_adds(&b, before);
    repeat(&b, part, times);
    buf_adds(&b, after);
    enum xml_status status = all_ways(buf_str(&b), NULL, NULL);
    buf_free(&b);
    return status;
}

static void test_limits(void **state)
{
    UNIT_UNUSED(state);
    assert_int_equal(sized("<a b='", "x", 16000, "'/>"), XML_FED);
    assert_int_equal(sized("<a b='", "x", 17000, "'/>"), XML_TOO_BIG);
    assert_int_equal(sized("<a b='", "x", 17000, ""), XML_TOO_BIG); /* before its end is seen */
    assert_int_equal(sized("<", "x", 17000, ""), XML_TOO_BIG);
    assert_int_equal(sized("<!--", "x", 17000, "-->"), XML_TOO_BIG);
    assert_int_equal(sized("<m>", "x", 262000, "</m>"), XML_FED);
    assert_int_equal(sized("<m>", "x", 262144, "</m>"), XML_TOO_BIG);
    assert_int_equal(sized("<m>", "x", 270000, ""), XML_TOO_BIG);
    assert_int_equal(sized("<m><b>", "<a/>", 70000, ""), XML_TOO_BIG);
    assert_int_equal(sized("<m><![CDATA[", "x", 270000, ""), XML_TOO_BIG);
    assert_int_equal(sized("", "<a>", 64, ""), XML_FED);
    assert_int_equal(sized("", "<a>", 65, ""), XML_TOO_BIG);
    assert_int_equal(sized("<m>", "<a/>", 256, "</m>"), XML_FED);
    assert_int_equal(sized("<m>", "<a/>", 257, "</m>"), XML_TOO_BIG);
    assert_int_equal(sized("", " ", 300000, "<a/>"), XML_FED); /* white-space keep-alives are free */
    assert_int_equal(sized("", "<a/>", 100000, ""), XML_FED);  /* over many renewals */
    struct buf b = {0};
    for (unsigned i = 0; i < 64; i++) buf_addf(&b, " a%u=''", i);
    assert_int_equal(sized("<m", buf_cstr(&b), 1, "/>"), XML_FED);
    assert_int_equal(sized("<m xmlns:q='urn:q'", buf_cstr(&b), 1, "/>"), XML_TOO_BIG);
    assert_int_equal(sized("<m z=''", buf_cstr(&b), 1, "/>"), XML_TOO_BIG);
    buf_free(&b);
    buf_adds(&b, "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='");
    repeat(&b, "x", 5000);
    buf_adds(&b, "'>");
    assert_int_equal(all_ways(buf_str(&b), NULL, NULL), XML_TOO_BIG);
    buf_free(&b);
}

/* Whatever the limit, at once and byte by byte agree on which side of it the input is. */
static void test_limits_do_not_depend_on_chunks(void **state)
{
    UNIT_UNUSED(state);
    static const char *const inputs[] = {
        HEADER "<m to='b'><body>text</body><x xmlns='y'/></m><n/>",
        HEADER "<m><b>\xc3\xa4\xe2\x82\xac</b></m>",
        HEADER "<m><b>ab\xf0\x9f\x98(</b></m>",
        HEADER "<m><b>ab</c></m>",
        HEADER "<m><!-- 12345678 --></m>",
        HEADER "<!-- 12345678 -->",
        HEADER "<m><q:b/></m>",
        HEADER "<m><b q:b='>' c='1'/></m>",
        HEADER "<m><b c='1' d='2' c='1'/></m>",
        HEADER "<m>abcd&#1;</m>",
        HEADER "<m a='&#1;' b='1'></m>",
        "<?xml version='1.0' encoding='x'?>",
        "abcdefghijklmnop qr",
        HEADER "<m>a&foo;</m></stream:stream>",
        HEADER "<m><![CDATA[abc]]></m></stream:stream>",
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        struct xml_limits limits = xml_limits_default;
        for (limits.stanza_bytes = 1; limits.stanza_bytes < 60; limits.stanza_bytes++) all_ways(str_of(inputs[i]), &limits, NULL);
        limits = xml_limits_default;
        for (limits.tag_bytes = 1; limits.tag_bytes < 140; limits.tag_bytes++) all_ways(str_of(inputs[i]), &limits, NULL);
    }
}

/* An endless stanza costs no more than the limit before it is refused. */
static void test_stanza_limit_change(void **state)
{
    UNIT_UNUSED(state);
    struct reader r;
    reader_start(&r, NULL);
    xml_parser_set_stanza_limit(r.p, 1000);
    reader_feed(&r, STR(HEADER "<m>"), 1000, 0);
    char text[400];
    memset(text, 'x', sizeof(text));
    size_t used;
    assert_int_equal(xml_parser_feed(r.p, text, sizeof(text), &used), XML_FED);
    assert_int_equal(xml_parser_feed(r.p, text, sizeof(text), &used), XML_FED);
    assert_int_equal(xml_parser_feed(r.p, text, sizeof(text), &used), XML_TOO_BIG);
    reader_end(&r);
}

/* ---- namespaces ---- */

static void inner_is(const char *header, const char *stanza, const char *inner)
{
    struct buf b = {0}, want = {0};
    buf_adds(&b, header);
    buf_adds(&b, stanza);
    struct buf log = {0};
    assert_int_equal(all_ways(buf_str(&b), NULL, &log), XML_FED);
    buf_addf(&want, " inner=[%s]", inner);
    if (strstr(buf_cstr(&log), buf_cstr(&want)) == NULL) fail_msg("%s: wanted %s, got %s", stanza, inner, buf_cstr(&log));
    buf_free(&b);
    buf_free(&want);
    buf_free(&log);
}

static void test_what_stays_raw(void **state)
{
    UNIT_UNUSED(state);
    inner_is(HEADER, "<m xmlns='jabber:client'><b>x</b></m>", "<b>x</b>");
    inner_is(HEADER, "<m><b  a=\"1\" ><c xmlns='u'><d/></c ></b></m>", "<b  a=\"1\" ><c xmlns='u'><d/></c ></b>");
    inner_is(HEADER, "<m><p:b xmlns:p='u' p:a='1'><p:c/></p:b></m>", "<p:b xmlns:p='u' p:a='1'><p:c/></p:b>");
    inner_is(HEADER, "<m xml:lang='de'><b xml:lang='en'/></m>", "<b xml:lang='en'/>");
    inner_is(HEADER, "<m><b xmlns='u'><c xmlns='jabber:client'/></b></m>", "<b xmlns='u'><c xmlns='jabber:client'/></b>");
    inner_is(HEADER, "<m><b xmlns='u'><c xmlns=''/><d/></b></m>", "<b xmlns='u'><c xmlns=''/><d/></b>");
    /* Declared on the stanza but not used: harmless. */
    inner_is(HEADER, "<m xmlns:p='u'>t<b/></m>", "t<b/>");
    inner_is("<s:s xmlns:s='u'>", "<auth xmlns='sasl'>AA==</auth>", "AA==");
    inner_is("<stream xmlns='http://etherx.jabber.org/streams'>", "<m xmlns='jabber:client'><b/></m>", "<b/>");
}

static void test_what_is_rewritten(void **state)
{
    UNIT_UNUSED(state);
    /* Prefix from the stanza, from the header, on an attribute only, deep down. */
    inner_is(HEADER, "<m xmlns:p='u'><p:b/></m>", "<b xmlns='u'/>");
    inner_is(HEADER, "<m><stream:b/></m>", "<b xmlns='http://etherx.jabber.org/streams'/>");
    inner_is(HEADER, "<m xmlns:p='u'><b p:a='1'/></m>", "<b xmlns:p='u' p:a='1'/>");
    inner_is(HEADER, "<m xmlns:p='u'><b/>t&lt;<c>&amp;<p:d>x</p:d></c><e/></m>", "<b/>t&lt;<c>&amp;<d xmlns='u'>x</d></c><e/>");
    inner_is("<s:s xmlns:s='h' xmlns:p='u&amp;v' xmlns='jabber:client'>", "<m><p:b><p:c/><d/></p:b></m>",
             "<b xmlns='u&amp;v'><c/><d xmlns='jabber:client'/></b>");
    /* The stanza itself has a prefix: what has none inside is in another namespace than the stanza's. */
    inner_is("<s:s xmlns:s='h' xmlns:c='jabber:client'>", "<c:m><c:b>x</c:b></c:m>", "<b>x</b>");
    inner_is("<s:s xmlns:s='h' xmlns:c='jabber:client'>", "<c:m><b>x</b></c:m>", "<b xmlns=''>x</b>");
    inner_is(HEADER, "<p:m xmlns:p='u'><b/></p:m>", "<b xmlns='jabber:client'/>");
    /* A redeclared prefix goes out of scope again. */
    inner_is(HEADER, "<m xmlns:p='u'><b><p:c xmlns:p='v'/><p:d/></b></m>", "<b><c xmlns='v'/><d xmlns='u'/></b>");
    /* CDATA and references in a rewritten child. */
    inner_is(HEADER, "<m xmlns:p='u'><p:b a='&lt;&#9;'>1<![CDATA[<&]]>&#13;</p:b></m>", "<b xmlns='u' a='&lt;&#9;'>1&lt;&amp;&#13;</b>");
    /* Two prefixes of one element. */
    inner_is(HEADER, "<m xmlns:p='u' xmlns:q='v'><b p:a='1' q:a='2' xml:lang='x'/></m>", "<b xmlns:p='u' p:a='1' xmlns:q='v' q:a='2' xml:lang='x'/>");
}

static void test_rewriting_is_bounded(void **state)
{
    UNIT_UNUSED(state);
    /* A long namespace behind a short prefix, used again and again. */
    struct buf b = {0};
    buf_adds(&b, HEADER "<m xmlns:p='");
    repeat(&b, "u", 10000);
    buf_adds(&b, "'><b>");
    repeat(&b, "<p:c/>", 20000);
    buf_adds(&b, "</b></m>");
    assert_int_equal(all_ways(buf_str(&b), NULL, NULL), XML_TOO_BIG);
    buf_free(&b);
    buf_adds(&b, HEADER "<m><b>");
    for (unsigned i = 0; i < 60; i++) buf_addf(&b, "<c xmlns:a%u='1' xmlns:b%u='1' xmlns:c%u='1' xmlns:d%u='1' xmlns:e%u='1'>", i, i, i, i, i);
    assert_int_equal(all_ways(buf_str(&b), NULL, NULL), XML_TOO_BIG);
    buf_free(&b);
}

static void test_many_streams_at_once(void **state)
{
    UNIT_UNUSED(state);
    /* More half-read stanzas than the pool keeps; names of one stream never reach another. */
    struct reader readers[40];
    for (unsigned i = 0; i < 40; i++) {
        char text[300];
        reader_start(&readers[i], NULL);
        snprintf(text, sizeof(text), "<r%u:s xmlns:r%u='urn:%u' xmlns='d%u'><r%u:m><r%u:b", i, i, i, i, i, i);
        reader_feed(&readers[i], str_of(text), 5, 0);
    }
    for (unsigned i = 0; i < 40; i++) {
        char text[300];
        snprintf(text, sizeof(text), "/><c/></r%u:m>", i);
        reader_feed(&readers[i], str_of(text), 5, 0);
        assert_int_equal(readers[i].status, XML_FED);
        snprintf(text, sizeof(text), "header {urn:%u}s default=d%u\nelement {urn:%u}m inner=[<b/><c xmlns='d%u'/>] {urn:%u}b@0+4 {d%u}c@4+", i, i, i,
                 i, i, i);
        assert_non_null(strstr(buf_cstr(&readers[i].log), text));
        reader_end(&readers[i]);
    }
    xml_parsers_trim();
}

/* Streams whose headers declare the same are read by the same expat parsers, one after the other: none may see anything of another, whatever state
 * the other was left in. */
static void test_parsers_change_hands(void **state)
{
    UNIT_UNUSED(state);
    static const char *const odd[] = {
        "<message xmlns:p='urn:p'><p:x xmlns='urn:inner'/></message>", /* declares */
        "<message><body>half",                                        /* stays open */
        "<message></presence>",                                       /* not well-formed */
        "<p:message/>",                                               /* undeclared */
        "<!-- no -->",                                                /* refused */
        "</stream:stream>",                                           /* closed */
        "<message/> \r",                                              /* ends in what may be half a line's end */
        "<message/>\xc3",                                             /* and in half a letter */
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct reader other, r;
        reader_start(&other, NULL);
        reader_start(&r, NULL);
        reader_feed(&other, STR(HEADER "<iq/>"), 1000, 0);
        reader_feed(&r, STR(HEADER "<iq/>"), 1000, 0);
        reader_feed(&other, str_of(odd[i]), 1000, 0);
        if (i == 1) xml_parser_free(other.p); /* the loan is given back with a stanza half-read */
        buf_reset(&r.log);
        reader_feed(&r, STR("<message to='a'><body>b</body></message>"), 1000, 0);
        assert_int_equal(r.status, XML_FED);
        assert_string_equal(buf_cstr(&r.log), "element {jabber:client}message {}:to=[a] inner=[<body>b</body>] {jabber:client}body@0+14\n");
        reader_feed(&r, STR("<p:iq xmlns='urn:inner'/>"), 1000, 0);
        assert_int_equal(r.status, XML_BAD_NAMESPACE);
        if (i == 1) other.p = NULL;
        reader_end(&other);
        reader_end(&r);
    }
    /* Long after the parser has been renewed, positions are still right. */
    struct reader a, b;
    reader_start(&a, NULL);
    reader_start(&b, NULL);
    reader_feed(&a, STR(HEADER), 1000, 0);
    reader_feed(&b, STR(HEADER), 1000, 0);
    for (unsigned i = 0; i < 5000; i++) {
        struct reader *r = i % 3 == 0 ? &a : &b;
        buf_reset(&r->log);
        reader_feed(r, STR("<message to='a'><body>b</body></message>"), i % 7 == 0 ? 0 : 1000, i);
        assert_int_equal(r->status, XML_FED);
        assert_string_equal(buf_cstr(&r->log), "element {jabber:client}message {}:to=[a] inner=[<body>b</body>] {jabber:client}body@0+14\n");
    }
    reader_end(&a);
    reader_end(&b);
    xml_parsers_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_text_and_cdata),
        cmocka_unit_test(test_stop_and_go_on),
        cmocka_unit_test(test_callback_restarts_or_frees),
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_failed_takes_no_more),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_do_not_depend_on_chunks),
        cmocka_unit_test(test_stanza_limit_change),
        cmocka_unit_test(test_what_stays_raw),
        cmocka_unit_test(test_what_is_rewritten),
        cmocka_unit_test(test_rewriting_is_bounded),
        cmocka_unit_test(test_many_streams_at_once),
        cmocka_unit_test(test_parsers_change_hands),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    xml_parsers_trim();
    return failed;
}
