/* xmpp/form: what is written, and what of filled-in forms is taken. */
#include "unit.h"

#include "xmpp/form.h"

static const struct form_option options[] = {{"One", "1"}, {"Two & more", "2"}, {NULL, NULL}};
static const struct form_field fields[] = {
    {"name", FIELD_TEXT_SINGLE, "It's the name", true, NULL},
    {"text", FIELD_TEXT_MULTI, NULL, false, NULL},
    {"choice", FIELD_LIST_SINGLE, NULL, false, options},
    {"yes", FIELD_BOOLEAN, NULL, false, NULL},
};
static const struct form form = {"urn:x", "A title", "Do it.", fields, 4};

static void test_written(void **state)
{
    UNIT_UNUSED(state);
    struct buf b = {0};
    struct str lines[] = {STR("a<b"), STR("c")};
    struct form_value filled[FORM_FIELDS_MAX] = {[1] = {lines, 2}};
    form_write(&b, &form, filled);
    assert_string_equal(buf_cstr(&b),
                        "<x xmlns='jabber:x:data' type='form'><title>A title</title><instructions>Do it.</instructions>"
                        "<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>"
                        "<field var='name' type='text-single' label='It&apos;s the name'><required/></field>"
                        "<field var='text' type='text-multi'><value>a&lt;b</value><value>c</value></field>"
                        "<field var='choice' type='list-single'><option label='One'><value>1</value></option><option label='Two &amp; more'><value>2</value></option></field>"
                        "<field var='yes' type='boolean'></field></x>");
    buf_reset(&b);
    form_result_begin(&b, &form);
    form_result_field(&b, "text", FIELD_TEXT_MULTI, "Lines", lines, 2);
    form_result_end(&b);
    assert_string_equal(buf_cstr(&b), "<x xmlns='jabber:x:data' type='result'><title>A title</title><field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>"
                                      "<field var='text' type='text-multi' label='Lines'><value>a&lt;b</value><value>c</value></field></x>");
    buf_free(&b);
}

#define SUBMIT(inner) "<x xmlns='jabber:x:data' type='submit'>" inner "</x>"
#define NAME "<field var='name'><value>n</value></field>"

/* NULL: taken. */
static const char *read_it(struct arena *a, const char *xml, struct form_value values[FORM_FIELDS_MAX])
{
    struct err err;
    const char *text = NULL;
    struct xml_node *root = xml_tree_parse(a, str_of(xml), "jabber:client", &err);
    assert_non_null(root);
    return form_read(&form, xml_node_child(root, "x", NS_DATA), a, values, &text) == 0 ? NULL : text;
}

static void test_taken(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct form_value values[FORM_FIELDS_MAX];
    const char *xml = SUBMIT("<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>" NAME
                             "<field var='text'><value>one</value><value/><value>two</value></field><field var='choice'><value>2</value></field>"
                             "<field var='yes'><value>true</value></field><field var='unknown'><value>x</value></field>");
    assert_null(read_it(a, xml, values));
    assert_true(str_is(form_first(&values[0]), "n"));
    assert_true(str_is(form_lines(&values[1], a), "one\n\ntwo"));
    assert_true(str_is(form_first(&values[2]), "2"));
    assert_null(read_it(a, SUBMIT(NAME "<field var='text'/>"), values));
    assert_null(form_lines(&values[1], a).p);
    assert_null(form_first(&values[3]).p);
    assert_null(read_it(a, "<x xmlns='jabber:x:data' type='cancel'>" NAME "</x>", values));
    arena_free(a);
}

static void test_refused(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[] = {
        SUBMIT(""),
        SUBMIT("<field var='name'/>"),
        SUBMIT("<field var='name'><value/></field>"),
        SUBMIT("<field var='name'><value>a</value><value>b</value></field>"),
        SUBMIT(NAME NAME),
        SUBMIT("<field var='FORM_TYPE'><value>urn:y</value></field>" NAME),
        SUBMIT(NAME "<field var='choice'><value>3</value></field>"),
        SUBMIT(NAME "<field var='yes'><value>maybe</value></field>"),
        "<x xmlns='jabber:x:data' type='form'>" NAME "</x>",
        "<x xmlns='jabber:x:data'>" NAME "</x>",
    };
    struct arena *a = arena_new(0);
    struct form_value values[FORM_FIELDS_MAX];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (read_it(a, bad[i], values) == NULL) fail_msg("%s was taken", bad[i]);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_written), cmocka_unit_test(test_taken), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
