/* xmpp/stanza: what goes in comes out; what is no stanza is refused with the right condition; bytes are shared, not copied; error replies. */
#include "unit.h"

#include <malloc.h>
#include <pthread.h>
#include "xml/writer.h"
#include "xmpp/stanza.h"

/* ---- making stanzas the way a stream does ---- */

struct feeding {
    struct stanza *s;
    const char *condition;
    struct err err;
};

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    UNIT_UNUSED(owner);
    UNIT_UNUSED(h);
    return XML_GO_ON;
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct feeding *f = owner;
    stanza_unref(f->s);
    f->s = stanza_from_element(e, &f->condition, &f->err);
    return XML_GO_ON;
}

static const struct xml_parser_ops ops = {on_header, on_element};

static struct stanza *from_stream(const char *ns, const char *text, const char **condition)
{
    struct feeding f = {0};
    struct xml_parser *p = xml_parser_new(&xml_limits_default, &ops, &f);
    struct buf b = {0};
    buf_addf(&b, "<stream:stream xmlns='%s' xmlns:stream='http://etherx.jabber.org/streams'>%s", ns, text);
    assert_int_equal(xml_parser_feed(p, b.data, b.len, NULL), XML_FED);
    buf_free(&b);
    xml_parser_free(p);
    if (f.s == NULL) {
        assert_non_null(f.condition);
        assert_true(strlen(f.err.text) > 10);
    }
    if (condition != NULL) *condition = f.condition;
    return f.s;
}

static struct stanza *stanza_of(const char *text)
{
    struct err err;
    struct stanza *s = stanza_from_text(str_of(text), &err);
    if (s == NULL) fail_msg("%s: %s", text, err.text);
    return s;
}

static void stanza_is(const struct stanza *s, const char *want)
{
    struct buf b = {0};
    stanza_write(&b, s, NULL);
    assert_string_equal(buf_cstr(&b), want);
    assert_true(stanza_size(s) >= b.len);
    buf_free(&b);
}

static void test_round_trips(void **state)
{
    UNIT_UNUSED(state);
    static const char *const same[] = {
        "<message/>",
        "<message from='romeo@example.com/balcony' to='juliet@example.com' id='1' type='chat' xml:lang='de'><body>Hi &amp; bye</body></message>",
        "<message type='groupchat'/>",
        "<message type='headline'/>",
        "<message type='error'/>",
        "<presence/>",
        "<presence type='unavailable'><status>x</status></presence>",
        "<presence to='a@b' type='probe'/>",
        "<presence to='a@b' type='subscribe'/>",
        "<presence to='a@b' type='subscribed'/>",
        "<presence to='a@b' type='unsubscribe'/>",
        "<presence to='a@b' type='unsubscribed'/>",
        "<presence to='a@b' type='error'/>",
        "<iq id='&lt;1&apos;' type='get'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq id='1' type='set'><a/></iq>",
        "<iq id='1' type='result'/>",
        "<iq id='' type='result'/>",
        "<iq id='1' type='error'><a/><error/></iq>",
        "<message other='1' xmlns:p='u' p:other='2'>text<a/>text</message>",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct stanza *s = stanza_of(same[i]), *with, *node;
        stanza_is(s, same[i]);
        with = stanza_with(s, &(struct stanza_change){0});
        stanza_is(with, same[i]);
        struct arena *a = arena_new(0);
        struct xml_node *root = xml_tree_parse(a, str_of(same[i]), NS_CLIENT, NULL);
        const char *condition;
        node = stanza_from_node(root->first, &condition, NULL);
        stanza_is(node, same[i]);
        arena_free(a);
        stanza_unref(s);
        stanza_is(with, same[i]); /* outlives what it was made from */
        stanza_unref(with);
        stanza_unref(node);
    }
    struct stanza *s = stanza_of("<message to='A@B/C' type='chat'/>");
    struct buf b = {0};
    stanza_write(&b, s, "jabber:client");
    assert_string_equal(buf_cstr(&b), "<message xmlns='jabber:client' to='a@b/C' type='chat'/>");
    buf_free(&b);
    stanza_unref(s);
}

static void test_types(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_of("<message type='what'/>");
    assert_int_equal(s->type, MESSAGE_NORMAL);
    stanza_unref(s);
    s = stanza_of("<message type='normal'/>");
    assert_int_equal(s->type, MESSAGE_NORMAL);
    stanza_is(s, "<message/>");
    stanza_unref(s);
    assert_string_equal(stanza_kind_name(STANZA_IQ), "iq");
    assert_string_equal(stanza_type_name(MESSAGE_NORMAL), "normal");
    assert_string_equal(stanza_type_name(IQ_RESULT), "result");
    assert_null(stanza_type_name(PRESENCE_AVAILABLE));
}

static void test_refused(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *text, *condition;
    } cases[] = {
        {"<iq type='what' id='1'/>", "bad-request"},
        {"<iq id='1'><a/></iq>", "bad-request"},
        {"<iq type='get'><a/></iq>", "bad-request"},
        {"<iq type='get' id='1'/>", "bad-request"},
        {"<iq type='set' id='1'>text</iq>", "bad-request"},
        {"<iq type='set' id='1'><a/><b/></iq>", "bad-request"},
        {"<iq type='result' id='1'><a/><b/></iq>", "bad-request"},
        {"<presence type='what'/>", "bad-request"},
        {"<presence type='available'/>", "bad-request"},
        {"<message to='@'/>", "jid-malformed"},
        {"<message to=''/>", "jid-malformed"},
        {"<presence from='a@b@c'/>", "jid-malformed"},
        {"<other/>", "bad-request"},
        {"<message xmlns='urn:other'/>", "bad-request"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *condition;
        struct stanza *s = from_stream(NS_CLIENT, cases[i].text, &condition);
        if (s != NULL) fail_msg("%s is a stanza", cases[i].text);
        assert_string_equal(condition, cases[i].condition);
        struct err err = {0};
        assert_null(stanza_from_text(str_of(cases[i].text), &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    static const char *const texts[] = {
        "", " ", "text", "<message/><message/>", "<message>", "<message/>x", "</x>", "<!DOCTYPE a><message/>", "<message/></x>"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err err = {0};
        if (stanza_from_text(str_of(texts[i]), &err) != NULL) fail_msg("%s is a stanza", texts[i]);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

/* ---- children ---- */

static void test_children(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_of("<message>t<body>a</body> <x xmlns='u'/><x xmlns='v' a='1'>b<y/></x></message>");
    assert_int_equal(s->n_children, 3);
    assert_true(str_is(stanza_child_bytes(s, stanza_child(s, "body", NS_CLIENT)), "<body>a</body>"));
    assert_true(str_is(stanza_child_bytes(s, stanza_child(s, "x", NULL)), "<x xmlns='u'/>"));
    assert_true(str_is(stanza_child_bytes(s, stanza_child(s, NULL, "v")), "<x xmlns='v' a='1'>b<y/></x>"));
    assert_null(stanza_child(s, "x", NS_CLIENT));
    assert_null(stanza_child(s, "y", NULL));
    struct arena *a = arena_new(0);
    struct xml_node *x = stanza_tree(s, stanza_child(s, "x", "v"), a, NULL);
    assert_true(str_is(x->name, "x"));
    assert_true(str_is(xml_node_attr(x, "a"), "1"));
    assert_non_null(xml_node_child(x, "y", "v"));
    struct xml_node *all = stanza_tree(s, NULL, a, NULL);
    assert_null(all->name.p);
    assert_true(str_is(xml_node_text(a, xml_node_child(all, "body", NS_CLIENT)), "a"));
    arena_free(a);
    stanza_unref(s);
}

/* Streams of components: their content namespace is ours by another name. */
static void test_other_content_namespaces(void **state)
{
    UNIT_UNUSED(state);
    static const char *const spaces[] = {"jabber:client", "jabber:server", "jabber:component:accept", "jabber:component:connect"};
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        char text[600], want[600];
        struct stanza *s = from_stream(spaces[i], "<message><body>a</body><x xmlns='u'><y/></x></message>", NULL);
        stanza_is(s, "<message><body>a</body><x xmlns='u'><y/></x></message>");
        assert_non_null(stanza_child(s, "body", NS_CLIENT));
        stanza_unref(s);
        /* Named outright, by a prefix, hidden behind a character reference; at the top and deep down. */
        snprintf(text, sizeof(text), "<message><body xmlns='%s'>a</body><x xmlns='u'><message xmlns='%s'><body/></message></x></message>", spaces[i],
                 spaces[i]);
        s = from_stream(spaces[i], text, NULL);
        if (i > 0) stanza_is(s, "<message><body>a</body><x xmlns='u'><message xmlns='jabber:client'><body/></message></x></message>");
        assert_non_null(stanza_child(s, "body", NS_CLIENT));
        stanza_unref(s);
        snprintf(text, sizeof(text), "<message><p:body xmlns:p='%s'>a</p:body></message>", spaces[i]);
        s = from_stream(spaces[i], text, NULL);
        if (i > 0) stanza_is(s, "<message><body>a</body></message>");
        stanza_unref(s);
        snprintf(text, sizeof(text), "<iq type='get' id='1'><x xmlns='u'><b xmlns='&#x6A;%s'/></x></iq>", spaces[i] + 1);
        snprintf(want, sizeof(want), "<iq id='1' type='get'><x xmlns='u'><b xmlns='jabber:client'/></x></iq>");
        s = from_stream(spaces[i], text, NULL);
        if (i > 0) stanza_is(s, want);
        stanza_unref(s);
        snprintf(text, sizeof(text), "<message><x xmlns='u'><message xmlns='jabber:client'><body/></message></x></message>");
        s = from_stream(spaces[i], text, NULL);
        stanza_is(s, text);
        stanza_unref(s);
        /* A node from an answer. */
        struct arena *a = arena_new(0);
        snprintf(text, sizeof(text), "<message xmlns='%s' to='a@b'><body>a</body><x xmlns='u'><q xmlns='%s'/></x></message>", spaces[i], spaces[i]);
        struct xml_node *root = xml_tree_parse(a, str_of(text), "other", NULL);
        s = stanza_from_node(root->first, NULL, NULL);
        stanza_is(s, "<message to='a@b'><body>a</body><x xmlns='u'><q xmlns='jabber:client'/></x></message>");
        arena_free(a);
        stanza_unref(s);
    }
}

static void test_prefixes_of_the_stream(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s =
        from_stream(NS_CLIENT, "<c:message xmlns:c='jabber:client' xmlns:q='u' to='a@b' q:z='1'><c:body>a</c:body><q:x/></c:message>", NULL);
    stanza_is(s, "<message to='a@b' xmlns:q='u' q:z='1'><body>a</body><x xmlns='u'/></message>");
    assert_non_null(stanza_child(s, "x", "u"));
    stanza_unref(s);
    /* Of the stream's namespace, in a stanza of another one: kept what it is. */
    s = from_stream("jabber:component:accept", "<c:message xmlns:c='jabber:client'><x/></c:message>", NULL);
    stanza_is(s, "<message><x xmlns='jabber:component:accept'/></message>");
    assert_non_null(stanza_child(s, "x", "jabber:component:accept"));
    stanza_unref(s);
}

/* ---- changes ---- */

static void test_with(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct jid from, none = {0};
    assert_int_equal(jid_parse(a, STR("romeo@example.com/orchard"), &from, NULL), 0);
    struct stanza *s = stanza_of("<message to='juliet@example.com' id='1' o='2' type='chat'><body>a</body></message>");
    struct str id = STR("new"), no_id = STR_NONE, inner = STR("<x xmlns='u'/><y/>");
    enum stanza_type type = MESSAGE_HEADLINE;
    uint64_t sid = 77;
    struct stanza *one = stanza_with(s, &(struct stanza_change){.from = &from, .id = &id, .sid = &sid});
    stanza_is(one, "<message from='romeo@example.com/orchard' to='juliet@example.com' id='new' type='chat' o='2'><body>a</body></message>");
    assert_int_equal(one->sid, 77);
    assert_ptr_equal(one->inner.p, s->inner.p);
    assert_ptr_equal(one->children, s->children);
    struct stanza *two = stanza_with(one, &(struct stanza_change){.to = &none, .id = &no_id, .type = &type});
    stanza_unref(s);
    stanza_unref(one);
    stanza_is(two, "<message from='romeo@example.com/orchard' type='headline' o='2'><body>a</body></message>");
    assert_int_equal(two->sid, 77);
    struct stanza *three = stanza_with(two, &(struct stanza_change){.inner = &inner});
    stanza_unref(two);
    stanza_is(three, "<message from='romeo@example.com/orchard' type='headline' o='2'><x xmlns='u'/><y/></message>");
    assert_non_null(stanza_child(three, "x", "u"));
    assert_non_null(stanza_child(three, "y", NS_CLIENT));
    stanza_unref(three);
    arena_free(a);
}

static void test_make(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_make(STANZA_IQ, IQ_SET, NULL, NULL, STR("i"), STR("<query xmlns='jabber:iq:roster'><item jid='a@b'/></query>"));
    stanza_is(s, "<iq id='i' type='set'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>");
    assert_non_null(stanza_child(s, "query", "jabber:iq:roster"));
    stanza_unref(s);
    /* Our own mistake, kept from the stream. */
    s = stanza_make(STANZA_MESSAGE, MESSAGE_CHAT, NULL, NULL, STR_NONE, STR("<body>"));
    stanza_is(s, "<message type='chat'/>");
    stanza_unref(s);
    s = stanza_of("<iq type='get' id='1' from='a@b/c' to='d@e'><q xmlns='u'/></iq>");
    struct stanza *r = stanza_result(s, STR("<q xmlns='u'>x</q>"));
    stanza_is(r, "<iq from='d@e' to='a@b/c' id='1' type='result'><q xmlns='u'>x</q></iq>");
    stanza_unref(r);
    r = stanza_result(s, STR_NONE);
    stanza_is(r, "<iq from='d@e' to='a@b/c' id='1' type='result'/>");
    stanza_unref(r);
    stanza_unref(s);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
    UNIT_UNUSED(state);
    static const struct { /* RFC 6120, 8.3.3 */
        const char *condition, *type;
    } all[] = {
        {"bad-request", "modify"},
        {"conflict", "cancel"},
        {"feature-not-implemented", "cancel"},
        {"forbidden", "auth"},
        {"gone", "cancel"},
        {"internal-server-error", "cancel"},
        {"item-not-found", "cancel"},
        {"jid-malformed", "modify"},
        {"not-acceptable", "modify"},
        {"not-allowed", "cancel"},
        {"not-authorized", "auth"},
        {"policy-violation", "modify"},
        {"recipient-unavailable", "wait"},
        {"redirect", "modify"},
        {"registration-required", "auth"},
        {"remote-server-not-found", "cancel"},
        {"remote-server-timeout", "wait"},
        {"resource-constraint", "wait"},
        {"service-unavailable", "cancel"},
        {"subscription-required", "auth"},
        {"undefined-condition", "cancel"},
        {"unexpected-request", "wait"},
    };
    struct stanza *s = stanza_of("<message from='a@b/c' to='d@e' id='1' type='chat'><body>secret</body></message>");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char want[500];
        assert_string_equal(stanza_condition_type(all[i].condition), all[i].type);
        struct stanza *e = stanza_error(s, all[i].condition, NULL, NULL);
        snprintf(
            want, sizeof(want),
            "<message from='d@e' to='a@b/c' id='1' type='error'><error type='%s'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
            all[i].type, all[i].condition);
        stanza_is(e, want);
        assert_string_equal(stanza_error_condition(e), all[i].condition);
        assert_true(stanza_is_error(e));
        assert_null(stanza_error(e, "bad-request", NULL, NULL)); /* nothing answers an error */
        stanza_unref(e);
    }
    struct stanza *e = stanza_error(s, "policy-violation", "cancel", "No <b> & no 'c'");
    stanza_is(
        e, "<message from='d@e' to='a@b/c' id='1' type='error'><error type='cancel'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
           "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>No &lt;b&gt; &amp; no 'c'</text></error></message>");
    stanza_unref(e);
    stanza_unref(s);
    assert_null(stanza_condition_type("no-such-thing"));
    s = stanza_of("<iq type='result' id='1'/>");
    assert_null(stanza_error(s, "bad-request", NULL, NULL));
    assert_string_equal(stanza_error_condition(s), "undefined-condition");
    stanza_unref(s);
    s = stanza_of("<iq type='error' id='1'><q xmlns='u'/><error type='auth'><own xmlns='v'/><forbidden "
                  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    assert_string_equal(stanza_error_condition(s), "forbidden");
    stanza_unref(s);
    s = stanza_of("<presence type='subscribe' from='a@b' to='c@d'/>");
    e = stanza_error(s, "not-allowed", NULL, NULL);
    assert_int_equal(e->type, PRESENCE_ERROR);
    stanza_unref(e);
    stanza_unref(s);
}

/* ---- cost, ids, threads ---- */

static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks;
}

static void test_a_chat_message_is_small(void **state)
{
    UNIT_UNUSED(state);
    const char *text = "<message from='romeo@example.com/balcony' to='juliet@example.com' id='4d9f12ab' type='chat'>"
                       "<body>Art thou not Romeo, and a Montague?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    struct stanza *s = stanza_of(text); /* warms the pool */
    size_t before = allocated();
    struct stanza *t = stanza_of(text);
    size_t cost = allocated() - before;
    if (before > 0) assert_true(cost > 0); /* sanitizers' allocators don't count */
    assert_true(cost < 2048);
    stanza_unref(s);
    stanza_unref(t);
}

static void test_ids(void **state)
{
    UNIT_UNUSED(state);
    char text[STANZA_ID_SIZE], other[STANZA_ID_SIZE];
    stanza_ids_start(0x6a1b);
    uint64_t a = stanza_id_next(), b = stanza_id_next();
    assert_true(b > a && a != 0);
    assert_string_equal(stanza_id_text(a, text), "6a1b-00000001");
    assert_string_equal(stanza_id_text(b, other), "6a1b-00000002");
    stanza_ids_start(0x6a1c);
    assert_true(stanza_id_next() > b);
    assert_true(strlen(stanza_id_text(UINT64_MAX, text)) < STANZA_ID_SIZE);
}

static void *hold_and_drop(void *arg)
{
    struct stanza *s = arg;
    for (unsigned i = 0; i < 20000; i++) {
        struct stanza *mine = stanza_ref(s);
        struct stanza *with = i % 64 == 0 ? stanza_with(mine, &(struct stanza_change){0}) : NULL;
        stanza_unref(mine);
        stanza_unref(with);
    }
    stanza_unref(s);
    return NULL;
}

static void test_shared_between_threads(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_of("<message><body>a</body></message>");
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, stanza_ref(s)), 0);
    stanza_unref(s);
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    stanza_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_other_content_namespaces),
        cmocka_unit_test(test_prefixes_of_the_stream),
        cmocka_unit_test(test_with),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_a_chat_message_is_small),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_shared_between_threads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    xml_parsers_trim();
    return failed;
}
