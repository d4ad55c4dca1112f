/* xml/parser's trees and index, xml/writer: what is written and read again is the same. */
#include "unit.h"

#include "xml/parser.h"
#include "xml/writer.h"

static void written_is(const char *bytes, const char *default_ns, const char *for_ns, const char *want)
{
    struct arena *a = arena_new(0);
    struct err err;
    struct buf b = {0};
    struct xml_node *n = xml_tree_parse(a, str_of(bytes), default_ns, &err);
    if (n == NULL) fail_msg("%s: %s", bytes, err.text);
    xml_add_node(&b, n, for_ns);
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
    arena_free(a);
}

static void test_round_trips(void **state)
{
    UNIT_UNUSED(state);
    static const char *const same[] = {
        "",
        "text",
        "<a/>",
        "a<b/>c",
        "<a b='1' c='2'>x<d/>y</a>",
        "<a xmlns='u'><b/><c xmlns='v'><d xmlns=''/></c></a>",
        "<a xml:lang='de'/>",
        "<a xmlns:p='u' p:b='1'/>",
        "&lt;&amp;&gt;",
        "<a b='&apos;&quot;&lt;&#9;&#10;&#13;'/>",
        "\xc3\xa4\xf0\x9f\x98\x80",
        "<a>&#13;\n\t</a>",
        "<a xmlns:p='u' p:b='1' p:c='2' xmlns:q='v' q:b='3'/>",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) written_is(same[i], "jabber:client", "jabber:client", same[i]);
    written_is("<a/>", "jabber:client", "u", "<a xmlns='jabber:client'/>");
    written_is("<a/>", "", "", "<a/>");
    written_is("<a/>", "", "u", "<a xmlns=''/>");
    written_is("<p:a xmlns:p='u'><p:b/><c/></p:a>", "d", "d", "<a xmlns='u'><b/><c xmlns='d'/></a>");
    written_is("<![CDATA[<&]]>x<a></a>", "d", "d", "&lt;&amp;x<a/>");
    /* Prefixes that look like those we make up, or that clash, are replaced. */
    written_is("<a xmlns:ns1='u' b='1' ns1:b='2'/>", "d", "d", "<a b='1' xmlns:ns1='u' ns1:b='2'/>");
    written_is("<a xmlns:ns1='u' xmlns:x='v' ns1:b='2' x:b='3'/>", "d", "d", "<a xmlns:ns0='u' ns0:b='2' xmlns:x='v' x:b='3'/>");
}

static void test_refused(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[] = {
        "<a>",          "</x>",  "</x><x>",    "<a></b>", "<!-- c -->", "<a><!-- c --></a>", "<?p i?>",
        "<!DOCTYPE a>", "&foo;", "<p:a/>",     "\xff",    "\x01",       "<a b='1' b='2'/>",  "]]>",
        "<a",           "&",     "<![CDATA[ ",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct arena *a = arena_new(0);
        struct err err = {0};
        struct xml_child *children;
        unsigned n;
        if (xml_tree_parse(a, str_of(bad[i]), "u", &err) != NULL) fail_msg("%s is a tree", bad[i]);
        assert_int_equal(err.code, ERR_INVALID);
        assert_true(strlen(err.text) > 10);
        if (xml_children_index(a, str_of(bad[i]), "u", &children, &n, &err) == 0) fail_msg("%s has an index", bad[i]);
        arena_free(a);
    }
    struct buf b = {0};
    struct arena *a = arena_new(0);
    for (unsigned i = 0; i < 1000; i++) buf_adds(&b, "<a>");
    for (unsigned i = 0; i < 1000; i++) buf_adds(&b, "</a>");
    assert_null(xml_tree_parse(a, buf_str(&b), "u", NULL));
    buf_free(&b);
    arena_free(a);
}

static void test_look_inside(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct xml_node *root = xml_tree_parse(a, STR("<a x='1' xml:x='2'>one<b/><b xmlns='v' n='2'/>t&amp;wo<b n='3'>\n</b></a>tail"), "u", NULL);
    assert_non_null(root);
    assert_null(root->name.p);
    struct xml_node *n = xml_node_child(root, "a", "u");
    assert_non_null(n);
    assert_ptr_equal(n->parent, root);
    assert_true(str_is(xml_node_attr(n, "x"), "1"));
    assert_null(xml_node_attr(n, "y").p);
    assert_true(str_is(xml_node_text(a, n), "onet&wo"));
    assert_true(str_is(xml_node_text(a, root), "tail"));
    struct xml_node *b = xml_node_child(n, NULL, "v");
    assert_true(str_is(xml_node_attr(b, "n"), "2"));
    assert_true(str_is(xml_node_text(a, b), ""));
    assert_true(str_is(xml_node_attr(xml_node_next(b, "b", NULL), "n"), "3"));
    assert_null(xml_node_next(b, "b", "v"));
    assert_null(xml_node_child(n, "c", NULL));
    arena_free(a);
}

static void test_build(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct xml_node *q = xml_node_new(a, "query", "jabber:iq:roster");
    xml_node_set(a, q, "ver", STR("1"));
    xml_node_set(a, q, "none", STR_NONE);
    xml_node_set(a, q, "ver", STR("2"));
    xml_node_set(a, q, "xml:lang", STR("en"));
    xml_node_set(a, q, "xml:lang", STR("de"));
    struct xml_node *item = xml_node_add(a, q, "item", NULL);
    xml_node_set(a, item, "jid", STR("o'neil@<x>"));
    xml_node_add_text(a, xml_node_add(a, item, "group", NULL), STR("A & B"));
    xml_node_add_text(a, item, STR(""));
    xml_node_add(a, q, "x", "other");
    struct buf b = {0};
    xml_add_node(&b, q, "jabber:client");
    assert_string_equal(buf_cstr(&b),
                        "<query xmlns='jabber:iq:roster' ver='2' xml:lang='de'><item jid='o&apos;neil@&lt;x&gt;'><group>A &amp; B</group></item>"
                        "<x xmlns='other'/></query>");
    buf_free(&b);
    arena_free(a);
}

static void test_index(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct xml_child *c;
    unsigned n;
    struct str bytes = STR("t<a/> <b xmlns='u'><c/></b>x<p:d xmlns:p='v' ></p:d >");
    assert_int_equal(xml_children_index(a, bytes, "jabber:client", &c, &n, NULL), 0);
    assert_int_equal(n, 3);
    static const char *const want[] = {"<a/>", "<b xmlns='u'><c/></b>", "<p:d xmlns:p='v' ></p:d >"};
    for (unsigned i = 0; i < n; i++) assert_true(str_is((struct str){bytes.p + c[i].offset, c[i].length}, want[i]));
    assert_true(str_is(c[0].ns, "jabber:client"));
    assert_true(str_is(c[2].name, "d"));
    assert_true(str_is(c[2].ns, "v"));
    assert_int_equal(xml_children_index(a, STR(""), "u", &c, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(xml_children_index(a, STR("just text"), "u", &c, &n, NULL), 0);
    assert_int_equal(n, 0);
    arena_free(a);
}

static void test_escape(void **state)
{
    UNIT_UNUSED(state);
    struct buf b = {0};
    xml_add_text(&b, STR("a<b>&'\"\t\n\r\x01z"));
    assert_string_equal(buf_cstr(&b), "a&lt;b&gt;&amp;'\"\t\n&#13;\xef\xbf\xbdz");
    buf_reset(&b);
    xml_add_attr_value(&b, STR("a<b>&'\"\t\n\r\x1fz"));
    assert_string_equal(buf_cstr(&b), "a&lt;b&gt;&amp;&apos;&quot;&#9;&#10;&#13;\xef\xbf\xbdz");
    buf_reset(&b);
    xml_add_attr(&b, "x", STR_NONE);
    xml_add_attr(&b, "y", STR(""));
    assert_string_equal(buf_cstr(&b), " y=''");
    buf_free(&b);
}

static void test_text_ok(void **state)
{
    UNIT_UNUSED(state);
    assert_true(xml_text_ok(STR("")));
    assert_true(xml_text_ok(STR_NONE));
    assert_true(xml_text_ok(STR("a\t\n\r\x7f \xc2\x80\xc3\xa4\xe2\x82\xac\xef\xbf\xbd\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf")));
    static const char *const bad[] = {"\x01",
                                      "\x1f",
                                      "\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xef\xbf\xbe",
                                      "\xef\xbf\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "ok\xe2\x82"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) assert_false(xml_text_ok(str_of(bad[i])));
    assert_false(xml_text_ok((struct str){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_refused), cmocka_unit_test(test_look_inside), cmocka_unit_test(test_build),
        cmocka_unit_test(test_index),       cmocka_unit_test(test_escape),  cmocka_unit_test(test_text_ok),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    xml_parsers_trim();
    return failed;
}
