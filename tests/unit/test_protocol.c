/* The protocol against its documentation: every marked example of docs/protocol.md is compared with what we write, or given to what reads. Then the answers
 * that no documentation would show. */
#include "base/clock.h"
#include "broker/protocol.h"
#include "xml/writer.h"
#include "xmpp/component.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

#ifndef DOCS_DIR
#define DOCS_DIR "docs"
#endif

static const struct protocol_names names = {"event-broker.example.com", "op-wall.node1-example-com"};

struct example {
    char *what, *xml; /* "answer pass", the block */
};
static struct example examples[64];
static unsigned n_examples;

/* White space between tags goes, runs of it become one blank: the documents are laid out for reading. */
static char *tightened(const char *p, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        bool blank = p[i] == ' ' || p[i] == '\n';
        if (!blank) {
            buf_addc(&b, p[i]);
            continue;
        }
        while (i + 1 < n && (p[i + 1] == ' ' || p[i + 1] == '\n')) i++;
        if (b.len > 0 && b.data[b.len - 1] == '>' && i + 1 < n && p[i + 1] == '<') continue;
        if (i + 1 < n) buf_addc(&b, ' ');
    }
    buf_cstr(&b);
    return b.data;
}

static int load_examples(void **state)
{
    (void)state;
    FILE *file = fopen(DOCS_DIR "/protocol.md", "r");
    if (file == NULL) return -1;
    struct buf doc = {0};
    size_t n;
    while ((n = fread(buf_reserve(&doc, 4096), 1, 4096, file)) > 0) doc.len += n;
    fclose(file);
    const char *p = buf_cstr(&doc);
    while ((p = strstr(p, "<!-- example: ")) != NULL) {
        p += strlen("<!-- example: ");
        const char *end = strstr(p, " -->\n```xml\n");
        if (end == NULL || n_examples == sizeof examples / sizeof examples[0]) return -1;
        const char *xml = end + strlen(" -->\n```xml\n"), *over = strstr(xml, "\n```");
        if (over == NULL) return -1;
        examples[n_examples].what = str_dup((struct str){p, (size_t)(end - p)});
        examples[n_examples++].xml = tightened(xml, (size_t)(over - xml));
        p = over;
    }
    buf_free(&doc);
    event_ids_start("node1.example.com", 0x6a1b);
    return n_examples > 0 ? 0 : -1;
}
static int free_examples(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_examples; i++) {
        free(examples[i].what);
        free(examples[i].xml);
    }
    xml_parsers_trim();
    return 0;
}
static const char *example(const char *what)
{
    for (unsigned i = 0; i < n_examples; i++)
        if (strcmp(examples[i].what, what) == 0) return examples[i].xml;
    fail_msg("docs/protocol.md has no example \"%s\"", what);
    return NULL;
}

/* ---- writing ---- */

/* As it left, or as it arrived: with the stanza id that it was given. */
static struct stanza *subject(bool arrived)
{
    struct err err;
    uint64_t sid = 0;
    stanza_ids_start(0x6a1b);
    for (unsigned i = 0; i < 0x12c; i++) sid = stanza_id_next();
#define LEFT "<message xmlns='jabber:client' type='chat' id='m1' from='romeo@example.com/balcony' to='juliet@example.com'><body>Art thou not Romeo?</body>"
#define SID "<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='6a1b-0000012c'/>"
    struct stanza *s = stanza_from_text(arrived ? STR(LEFT SID "</message>") : STR(LEFT "</message>"), &err);
    assert_non_null(s);
    struct stanza *with = stanza_with(s, &(struct stanza_change){.sid = &sid});
    stanza_unref(s);
    return with;
}

static void check_written(struct event *e, uint64_t number, uint64_t hold, const char *what)
{
    struct buf out = {0};
    struct event_request r = {.event = e, .hold = hold, .profile = STR("EthicalWall")};
    protocol_write_event(&out, &names, number, &r);
    assert_string_equal(buf_cstr(&out), example(what));
    buf_free(&out);
}

static void test_events_are_as_documented(void **state)
{
    (void)state;
    const struct event_candidate candidates[] = {{STR("juliet@example.com/chamber"), 5}, {STR("juliet@example.com/orchard"), 0}};
    struct event e = {.id = EVENT_es_OUT, .seq = 0x1f3, .subject = subject(false), .key = STR("juliet@example.com romeo@example.com")};
    assert_int_equal(clock_parse_stamp("2026-11-22T14:34:00.123Z", &e.wall_ms), 0);
    e.session = STR("romeo@example.com/balcony");
    check_written(&e, 0x7f3a, 1, "event awaited");
    stanza_unref(e.subject);
    e.subject = subject(true);
    e.id = EVENT_e_PRISESSION;
    e.seq++;
    e.session = STR_NONE;
    e.candidates = candidates;
    e.n_candidates = 2;
    check_written(&e, 0x7f3b, 1, "event candidates");
    e.id = EVENT_es_IN;
    e.seq++;
    e.n_candidates = 0;
    e.session = STR("juliet@example.com/chamber");
    check_written(&e, 1, 0, "event forgotten");
    stanza_unref(e.subject);
    struct buf out = {0};
    protocol_write_ping(&out, &names, 2);
    assert_string_equal(buf_cstr(&out), example("ping"));
    buf_free(&out);
}

static void test_what_is_written_is_escaped(void **state)
{
    (void)state;
    struct buf out = {0};
    struct event e = {
        .id = EVENT_es_OUT, .seq = 1, .subject = subject(false), .key = STR("o'brien@example.com <&>"), .room = STR("o'hall@rooms.example.com"), .copy = COPY_MUC};
    struct event_request r = {.event = &e, .hold = 1, .profile = STR("R&D 'wall'")};
    protocol_write_event(&out, &names, 1, &r);
    assert_non_null(strstr(buf_cstr(&out), " key='o&apos;brien@example.com &lt;&amp;&gt;'"));
    assert_non_null(strstr(buf_cstr(&out), " profile='R&amp;D &apos;wall&apos;'"));
    assert_non_null(strstr(buf_cstr(&out), " room='o&apos;hall@rooms.example.com' copy='muc'>"));
    stanza_unref(e.subject);
    buf_free(&out);
}

/* ---- reading ---- */

struct reading {
    size_t answer_bytes;
    enum protocol_input input;
    uint64_t number;
    struct event_answer answer;
    struct buf out;
    const char *why;
    unsigned elements;
};
static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    (void)owner, (void)h;
    return XML_GO_ON;
}
static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct reading *r = owner;
    r->elements++;
    r->input = protocol_read(&names, e, r->answer_bytes, &r->out, &r->number, &r->answer, &r->why);
    return XML_GO_ON;
}
static struct reading read_text(const char *text)
{
    static const struct xml_parser_ops ops = {on_header, on_element};
    struct reading r = {.answer_bytes = 100000};
    struct xml_limits limits = xml_limits_default;
    struct xml_parser *p = xml_parser_new(&limits, &ops, &r);
    struct buf in = {0};
    size_t used;
    buf_adds(&in, "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>");
    buf_adds(&in, text);
    assert_int_equal(xml_parser_feed(p, in.data, in.len, &used), XML_FED);
    assert_int_equal(r.elements, 1);
    buf_free(&in);
    xml_parser_free(p);
    return r;
}
static void reading_clear(struct reading *r)
{
    event_answer_clear(&r->answer);
    buf_free(&r->out);
}

/* "pass", "pass-stanza", "pass-features", "handle", "handle-stanza", "error CONDITION", "invalid", "pass SESSION" */
static void check_answer(const char *want, const char *xml)
{
    struct reading r = read_text(xml);
    const struct event_answer *a = &r.answer;
    const char *word = strchr(want, ' ');
    assert_int_equal(r.input, PROTOCOL_ANSWER);
    assert_true(r.number >= 0x7f3a && r.number <= 0x7f3d);
    if (strncmp(want, "pass-stanza", 11) == 0) {
        assert_int_equal(a->kind, ANSWER_PASS_STANZA);
        assert_true(str_is(stanza_child(a->stanza, "body", NS_CLIENT)->name, "body"));
        assert_true(str_is(a->stanza->id, "m1"));
    } else if (strcmp(want, "pass-features") == 0) {
        assert_int_equal(a->kind, ANSWER_PASS_STANZA);
        assert_non_null(stanza_child(a->stanza, "query", "http://jabber.org/protocol/disco#info"));
        assert_true(a->stanza->kind == STANZA_IQ && a->stanza->type == IQ_RESULT);
    } else if (strncmp(want, "pass", 4) == 0) {
        assert_int_equal(a->kind, ANSWER_PASS);
        if (word != NULL)
            assert_string_equal(a->session, word + 1);
        else
            assert_null(a->session);
    } else if (strncmp(want, "handle", 6) == 0) {
        assert_int_equal(a->kind, ANSWER_HANDLE);
        assert_int_equal(a->stanza != NULL, strcmp(want, "handle-stanza") == 0);
    } else if (strncmp(want, "error", 5) == 0) {
        assert_int_equal(a->kind, ANSWER_ERROR);
        assert_string_equal(a->condition, word + 1);
        assert_string_equal(a->type, "cancel");
        assert_string_equal(a->text, "Research and Trading may not talk.");
    } else {
        assert_string_equal(want, "invalid");
        assert_int_equal(a->kind, ANSWER_INVALID);
        assert_non_null(a->text);
    }
    reading_clear(&r);
}

static void test_answers_are_as_documented(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (unsigned i = 0; i < n_examples; i++) {
        const struct example *x = &examples[i];
        struct reading r;
        if (strncmp(x->what, "answer ", 7) == 0) {
            check_answer(x->what + 7, x->xml);
            seen++;
        } else if (strcmp(x->what, "refused") == 0) {
            r = read_text(x->xml);
            assert_int_equal(r.input, PROTOCOL_REFUSED);
            assert_int_equal(r.out.len > 0, strncmp(x->xml, "<iq", 3) == 0);
            reading_clear(&r);
            seen++;
        }
    }
    assert_int_equal(seen, 11);
    struct reading pong = read_text(example("pong"));
    assert_int_equal(pong.input, PROTOCOL_PONG);
    assert_int_equal(pong.number, 2);
    reading_clear(&pong);
    struct reading ping = read_text(example("their ping"));
    assert_int_equal(ping.input, PROTOCOL_PING);
    assert_string_equal(buf_cstr(&ping.out), example("our pong"));
    reading_clear(&ping);
    /* Libraries ping their own domain, and want the answer from there. */
    struct reading own = read_text("<iq type='get' id='x9' from='op-wall.node1-example-com' to='op-wall.node1-example-com'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_int_equal(own.input, PROTOCOL_PING);
    assert_string_equal(buf_cstr(&own.out), "<iq type='result' id='x9' from='op-wall.node1-example-com' to='op-wall.node1-example-com'/>");
    reading_clear(&own);
    struct reading answer = read_text("<iq type='result' id='e1' from='op-wall.node1-example-com' to='op-wall.node1-example-com'/>");
    assert_int_equal(answer.input, PROTOCOL_REFUSED);
    reading_clear(&answer);
}

static void test_handshake_is_as_documented(void **state)
{
    (void)state;
    char digest[COMPONENT_HANDSHAKE_SIZE], want[80];
    for (unsigned i = 0; i < n_examples; i++) {
        if (strncmp(examples[i].what, "handshake ", 10) != 0) continue;
        const char *id = examples[i].what + 10, *password = strchr(id, ' ') + 1;
        component_handshake((struct str){id, (size_t)(password - 1 - id)}, password, digest);
        snprintf(want, sizeof want, "<handshake>%s</handshake>", digest);
        assert_string_equal(want, examples[i].xml);
        return;
    }
    fail_msg("no handshake example");
}

#define FROM " from='op-wall.node1-example-com'"
#define TO " to='event-broker.example.com'"
#define EB " xmlns='urn:signet:event-broker:0'"
#define MESSAGE "<message xmlns='jabber:client' type='chat' id='m1' from='a@example.com' to='b@example.com'>"

static void test_odd_answers(void **state)
{
    (void)state;
    static const struct {
        enum protocol_input input;
        enum answer_kind kind;
        const char *xml;
    } rows[] = {
        {PROTOCOL_ANSWER, ANSWER_PASS, "<iq type='result' id='e1'/>"}, /* a stream can have but one sender */
        {PROTOCOL_ANSWER, ANSWER_PASS, "<iq type='result' id='e1' from='bot@op-wall.node1-example-com/x'" TO "><pass" EB "></pass></iq>"},
        {PROTOCOL_ANSWER, ANSWER_PASS, "<iq type='result' id='e1'" FROM TO "><p:pass xmlns:p='urn:signet:event-broker:0'/></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass/></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass" EB "/><pass" EB "/></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass" EB ">" MESSAGE "</message>" MESSAGE "</message></pass></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass" EB "><message xmlns='jabber:server'/></pass></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass" EB "><presence xmlns='jabber:client' type='gossip'/></pass></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><pass" EB "><message xmlns='jabber:client' to='@@@'/></pass></iq>"},
        {PROTOCOL_ANSWER, ANSWER_INVALID, "<iq type='result' id='e1'" FROM TO "><handle" EB "><x/></handle></iq>"},
        {PROTOCOL_ANSWER, ANSWER_ERROR, "<iq type='error' id='e1'" FROM TO "/>"},
        {PROTOCOL_ANSWER, ANSWER_ERROR, "<iq type='error' id='e1'" FROM TO "><error type='odd'><because xmlns='urn:x'/></error></iq>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='7f3a'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='e'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='e-1'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='e11111111111111111'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq id='e1'" FROM TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='e1' from='op-other.node1-example-com'" TO "/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='result' id='e1'" FROM " to='juliet@example.com'/>"},
        {PROTOCOL_REFUSED, 0, "<iq type='set' id='e1'" FROM TO "><ping xmlns='urn:xmpp:ping'/></iq>"},
        {PROTOCOL_REFUSED, 0, "<iq type='get' id='e1'" FROM " to='juliet@example.com'><ping xmlns='urn:xmpp:ping'/></iq>"},
        {PROTOCOL_REFUSED, 0, "<presence" FROM " to='juliet@example.com'/>"},
        {PROTOCOL_REFUSED, 0, "<event xmlns='urn:signet:event-broker:0'/>"},
        {PROTOCOL_PONG, 0, "<iq type='error' id='p1'" FROM TO "><error type='cancel'/></iq>"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reading r = read_text(rows[i].xml);
        if (r.input != rows[i].input || r.answer.kind != rows[i].kind)
            fail_msg("read as %d, %d (%s): %s", (int)r.input, (int)r.answer.kind, r.why, rows[i].xml);
        if (r.answer.kind == ANSWER_ERROR) assert_string_equal(r.answer.condition, "undefined-condition");
        if (r.answer.kind == ANSWER_ERROR) assert_string_equal(r.answer.type, "");
        reading_clear(&r);
    }
}

static void test_large_answer_is_invalid(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_adds(&b, "<iq type='result' id='e1'" FROM TO "><pass" EB ">" MESSAGE "<body>");
    for (unsigned i = 0; i < 100000; i++) buf_addc(&b, 'x');
    buf_adds(&b, "</body></message></pass></iq>");
    struct reading r = read_text(buf_cstr(&b));
    assert_int_equal(r.answer.kind, ANSWER_INVALID);
    assert_null(r.answer.stanza);
    reading_clear(&r);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_are_as_documented),  cmocka_unit_test(test_what_is_written_is_escaped), cmocka_unit_test(test_answers_are_as_documented),
        cmocka_unit_test(test_handshake_is_as_documented), cmocka_unit_test(test_odd_answers),                cmocka_unit_test(test_large_answer_is_invalid),
    };
    return cmocka_run_group_tests(tests, load_examples, free_examples);
}
