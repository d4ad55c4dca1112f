/* xmpp/jid: a table of JIDs with their canonical form, and a table of those that are none. */
#include "unit.h"

#include "xmpp/jid.h"

static void test_good(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *text, *full, *bare, *local, *domain, *resource;
    } cases[] = {
        {"juliet@example.com", "juliet@example.com", "juliet@example.com", "juliet", "example.com", NULL},
        {"juliet@example.com/foo", "juliet@example.com/foo", "juliet@example.com", "juliet", "example.com", "foo"},
        {"juliet@example.com/foo bar", "juliet@example.com/foo bar", "juliet@example.com", "juliet", "example.com", "foo bar"},
        {"juliet@example.com/foo@bar", "juliet@example.com/foo@bar", "juliet@example.com", "juliet", "example.com", "foo@bar"},
        {"foo\\20bar@example.com", "foo\\20bar@example.com", "foo\\20bar@example.com", "foo\\20bar", "example.com", NULL},
        {"example.com", "example.com", "example.com", NULL, "example.com", NULL},
        {"example.com/foobar", "example.com/foobar", "example.com", NULL, "example.com", "foobar"},
        {"a.example.com/b@example.net", "a.example.com/b@example.net", "a.example.com", NULL, "a.example.com", "b@example.net"},
        {"a@b/c/d", "a@b/c/d", "a@b", "a", "b", "c/d"},
        {"Romeo@Example.COM/Balcony", "romeo@example.com/Balcony", "romeo@example.com", "romeo", "example.com", "Balcony"},
        {"localhost", "localhost", "localhost", NULL, "localhost", NULL},
        {"admin@LOCALHOST.", "admin@localhost", "admin@localhost", "admin", "localhost", NULL},
        {"a@127.0.0.1/r", "a@127.0.0.1/r", "a@127.0.0.1", "a", "127.0.0.1", "r"},
        {"a@[::1]", "a@[::1]", "a@[::1]", "a", "[::1]", NULL},
        {"a@[2001:DB8:0:0::1]/x", "a@[2001:db8::1]/x", "a@[2001:db8::1]", "a", "[2001:db8::1]", "x"},
        {"a@my_host", "a@my_host", "a@my_host", "a", "my_host", NULL},
        {"a!#$%*+-=?^_`{|}~b@x", "a!#$%*+-=?^_`{|}~b@x", "a!#$%*+-=?^_`{|}~b@x", "a!#$%*+-=?^_`{|}~b", "x", NULL},
        /* beyond ASCII */
        {"Fu\xc3\x9f"
         "ball@example.com",
         "fu\xc3\x9f" "ball@example.com", "fu\xc3\x9f" "ball@example.com", "fu\xc3\x9f" "ball", "example.com", NULL},
        {"\xc3\x84rger@example.com", "\xc3\xa4rger@example.com", "\xc3\xa4rger@example.com", "\xc3\xa4rger", "example.com", NULL},
        {"a\xcc\x88@x", "\xc3\xa4@x", "\xc3\xa4@x", "\xc3\xa4", "x", NULL},
        {"\xef\xbc\xa1@x", "a@x", "a@x", "a", "x", NULL}, /* fullwidth A */
        {"\xcf\x80@example.com", "\xcf\x80@example.com", "\xcf\x80@example.com", "\xcf\x80", "example.com", NULL},
        {"king@example.com/\xe2\x99\x9a", "king@example.com/\xe2\x99\x9a", "king@example.com", "king", "example.com", "\xe2\x99\x9a"},
        {"a@x/\xf0\x9f\x93\xb1", "a@x/\xf0\x9f\x93\xb1", "a@x", "a", "x", "\xf0\x9f\x93\xb1"},
        {"a@x/\xc3\x84", "a@x/\xc3\x84", "a@x", "a", "x", "\xc3\x84"},
        {"a@B\xc3\xbc"
         "cher.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a",
         "b\xc3\xbc"
         "cher.example",
         NULL},
        {"a@B\xc3\x9c"
         "CHER.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a",
         "b\xc3\xbc"
         "cher.example",
         NULL},
        {"a@xn--bcher-kva.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a@b\xc3\xbc"
         "cher.example",
         "a",
         "b\xc3\xbc"
         "cher.example",
         NULL},
        {"a@XN--bcher-kva.example/r",
         "a@b\xc3\xbc"
         "cher.example/r",
         "a@b\xc3\xbc"
         "cher.example",
         "a",
         "b\xc3\xbc"
         "cher.example",
         "r"},
        {"a@b\xc3\xbc"
         "cher\xe3\x80\x82",
         "a@b\xc3\xbc"
         "cher",
         "a@b\xc3\xbc"
         "cher",
         "a",
         "b\xc3\xbc"
         "cher",
         NULL},
        {"a@x\xe3\x80\x82y", "a@x.y", "a@x.y", "a", "x.y", NULL}, /* ideographic full stop */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *a = arena_new(0);
        struct jid j;
        struct err err = {0};
        if (jid_parse(a, str_of(cases[i].text), &j, &err) < 0) fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal(j.full.p, cases[i].full); /* NUL-terminated */
        assert_true(str_is(j.full, cases[i].full));
        assert_true(str_is(j.bare, cases[i].bare));
        assert_true(str_eq(j.local, str_of(cases[i].local)));
        assert_true(str_is(j.domain, cases[i].domain));
        assert_true(str_eq(j.resource, str_of(cases[i].resource)));
        assert_int_equal(jid_is_full(&j), cases[i].resource != NULL);
        struct jid again; /* prepared is a fixed point */
        assert_int_equal(jid_parse(a, j.full, &again, NULL), 0);
        assert_true(jid_eq(&j, &again));
        arena_free(a);
    }
}

static void test_bad(void **state)
{
    UNIT_UNUSED(state);
    static const char *const cases[] = {
        "",
        "@",
        "/",
        "@example.com",
        "juliet@",
        "juliet@/foo",
        "example.com/",
        "a@example.com/",
        "\"juliet\"@example.com",
        "foo bar@example.com",
        "a&b@x",
        "a'b@x",
        "a:b@x",
        "a<b@x",
        "a>b@x",
        "a@b@c",
        "a@/x",
        " a@x",
        "a@ x",
        "a@x y",
        "a@x..y",
        "a@.x",
        "a@-x",
        "a@x-",
        "a@x!",
        "a@[::1",
        "a@[zz]",
        "a@[]",
        "a@[1.2.3.4]",
        "a\x01@x",
        "a\x7f@x",
        "a@x/\x01",
        "a@x/\n",
        "a@x/\x7f",
        "\xff@x",
        "a@\xff",
        "a@x/\xff",
        "\xef\xbc\xa0"
        "b@x" /* fullwidth @ */,
        "a\xc2\xa0"
        "b@x" /* no-break space */,
        "\xe2\x80\xae@x" /* right-to-left override */,
        "a@xn--a",
        "a@x/\xe2\x80\xa8",
        "a@\xe2\x98\x83\xe2\x80\xae",
        "a@x/a\xee\x80\x80",
        ".",
        "a@.",
        "\xcd\x8f@x" /* maps to nothing */,
        "a@x\xc2\xa0y",
        "a@xn--bcmple..",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *a = arena_new(0);
        struct jid j;
        struct err err = {0};
        if (jid_parse(a, str_of(cases[i]), &j, &err) == 0) fail_msg("%s is a JID: %s", cases[i], j.full.p);
        assert_false(jid_present(&j));
        assert_int_equal(err.code, ERR_INVALID);
        assert_true(strlen(err.text) > 10);
        arena_free(a);
    }
    struct arena *a = arena_new(0);
    struct jid j;
    assert_int_equal(jid_parse(a, STR_NONE, &j, NULL), -1);
    assert_int_equal(jid_parse(a, (struct str){"a\0b@x", 5}, &j, NULL), -1);
    assert_int_equal(jid_parse(a, (struct str){"a@x\0y", 5}, &j, NULL), -1);
    assert_int_equal(jid_parse(a, (struct str){"a@x/\0", 5}, &j, NULL), -1);
    arena_free(a);
}

/* RFC 7622, 3.3.1 and 3.4.1, by RFC 8264 and 8265; the numbers are those of its examples. full NULL: no JID. */
static void test_precis(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *text, *full;
    } cases[] = {
        {"fu\xc3\x9f" "ball@example.com", "fu\xc3\x9f" "ball@example.com"}, /* sharp s stays (RFC 7622, 3.5, 7) */
        {"\xcf\x80@example.com", "\xcf\x80@example.com"}, /* 8 */
        {"\xce\xa3@example.com/foo", "\xcf\x83@example.com/foo"}, /* 9: a capital sigma */
        {"\xcf\x83@example.com/foo", "\xcf\x83@example.com/foo"}, /* 10 */
        {"\xcf\x82@example.com/foo", "\xcf\x82@example.com/foo"}, /* 11: the final one is another */
        {"king@example.com/\xe2\x99\x9a", "king@example.com/\xe2\x99\x9a"}, /* 12: a symbol in a resource */
        {"juliet@example.com/ foo", "juliet@example.com/ foo"}, /* 18, as corrected: a space at the start of a resource */
        {"henry\xe2\x85\xa3@example.com", NULL}, /* 20: a roman numeral, HasCompat */
        {"henry@example.com/\xe2\x85\xa3", "henry@example.com/\xe2\x85\xa3"}, /* but not in a resource */
        {"\xe2\x99\x9a@example.com", NULL}, /* 21: a symbol */
        {"\xf0\x9f\x93\xb1@example.com", NULL}, /* emoji */
        {"\xef\xbd\xb1@x", "\xe3\x82\xa2@x"}, /* halfwidth katakana */
        {"a@x/\xef\xbd\xb1", "a@x/\xef\xbd\xb1"}, /* halfwidth katakana stays in a resource */
        {"A\xcc\x88@x", "\xc3\xa4@x"}, /* capitals beyond ASCII, composed */
        {"a@x/A\xcc\x88", "a@x/\xc3\x84"}, /* composed in resources too */
        {"\xc4\xb0@x", "i\xcc\x87@x"}, /* a capital I with a dot: two characters, as lower case has it */
        {"a@x/a\xc2\xa0" "b", "a@x/a b"}, /* no-break space in a resource: a space */
        {"a@x/\xe3\x80\x80", "a@x/ "}, /* ideographic space */
        {"a\xef\xac\x81@x", NULL}, /* ligature */
        {"a\xc2\xb2@x", NULL}, /* superscript */
        {"a\xcd\xb8@x", NULL}, /* unassigned */
        {"a@x/\xcd\xb8", NULL}, /* unassigned in a resource */
        {"a@x/\xef\xb7\x90", NULL}, /* noncharacter */
        {"a\xc2\xad" "b@x", NULL}, /* soft hyphen */
        {"a@x/\xc2\xad", NULL}, /* and in a resource */
        {"a@x/\xe2\x80\xa8", NULL}, /* line separator */
        {"a@x/\xc2\x85", NULL}, /* C1 control */
        {"\xe1\x84\x92@x", NULL}, /* old hangul */
        {"\xed\x95\x9c@x", "\xed\x95\x9c@x"}, /* hangul */
        {"\xd9\x80@x", NULL}, /* tatweel */
        {"\xe3\x80\x87@x", "\xe3\x80\x87@x"}, /* ideographic zero */
        {"l\xc2\xb7l@x", "l\xc2\xb7l@x"}, /* middle dot between l and l */
        {"a\xc2\xb7l@x", NULL}, /* and nowhere else */
        {"l\xc2\xb7@x", NULL}, /* nor at the end */
        {"\xcd\xb5\xce\xb1@x", "\xcd\xb5\xce\xb1@x"}, /* greek numeral sign */
        {"\xcd\xb5" "a@x", NULL}, /* without greek */
        {"\xd7\x90\xd7\xb3@x", "\xd7\x90\xd7\xb3@x"}, /* geresh */
        {"\xd7\xb3\xd7\x90@x", NULL}, /* geresh first */
        {"\xe3\x82\xa2\xe3\x83\xbb@x", "\xe3\x82\xa2\xe3\x83\xbb@x"}, /* katakana dot */
        {"a\xe3\x83\xbb" "b@x", NULL}, /* katakana dot with latin */
        {"\xd8\xa7\xd9\xa1@x", "\xd8\xa7\xd9\xa1@x"}, /* arabic-indic digits */
        {"\xd8\xa7\xd9\xa1\xdb\xb1@x", NULL}, /* mixed with the extended ones */
        {"\xd8\xa7\xdb\xb1@x", "\xd8\xa7\xdb\xb1@x"}, /* extended ones */
        {"\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7@x", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7@x"}, /* joiner behind a virama */
        {"a\xe2\x80\x8d" "b@x", NULL}, /* joiner elsewhere */
        {"\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8c\xe0\xa4\xb7@x", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8c\xe0\xa4\xb7@x"}, /* non-joiner behind a virama */
        {"\xd8\xa8\xe2\x80\x8c\xd8\xa8@x", "\xd8\xa8\xe2\x80\x8c\xd8\xa8@x"}, /* non-joiner between joining letters */
        {"a\xe2\x80\x8c" "b@x", NULL}, /* non-joiner elsewhere */
        {"\xd8\xa8\xe2\x80\x8c@x", NULL}, /* and at the end */
        {"\xd7\x90\xd7\x91@x", "\xd7\x90\xd7\x91@x"}, /* hebrew */
        {"\xd7\x90" "1@x", "\xd7\x90" "1@x"}, /* hebrew, then a digit */
        {"1\xd7\x90@x", NULL}, /* a digit first */
        {"a\xd7\x90@x", NULL}, /* hebrew in latin */
        {"\xd7\x90" "a\xd7\x90@x", NULL}, /* latin in hebrew */
        {"\xd7\x90\xd6\xb0@x", "\xd7\x90\xd6\xb0@x"}, /* ends in a mark */
        {"\xd7\x90-@x", NULL}, /* ends in punctuation */
        {"\xd8\xa7" "1\xd9\xa1@x", NULL}, /* two kinds of digits */
        {"a@x/a\xd7\x90" "1", "a@x/a\xd7\x90" "1"}, /* resources may mix */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *a = arena_new(0);
        struct jid j;
        struct err err = {0};
        int rc = jid_parse(a, str_of(cases[i].text), &j, &err);
        if (rc < 0 && cases[i].full != NULL) fail_msg("%s: %s", cases[i].text, err.text);
        if (rc == 0 && cases[i].full == NULL) fail_msg("%s is a JID: %s", cases[i].text, j.full.p);
        if (rc == 0) assert_string_equal(j.full.p, cases[i].full);
        arena_free(a);
    }
}

static void test_lengths(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct jid j;
    struct buf b = {0};
    for (unsigned extra = 0; extra < 2; extra++) {
        int want = extra == 0 ? 0 : -1;
        for (unsigned part = 0; part < 2; part++) {
            for (unsigned wide = 0; wide < 2; wide++) {
                buf_reset(&b);
                if (part == 1) buf_adds(&b, "a@x/");
                for (unsigned n = wide ? 2 : 0; n < 1023 + extra; n++) buf_addc(&b, 'a');
                if (wide) buf_adds(&b, "\xc3\xa4");
                if (part == 0) buf_adds(&b, "@x");
                assert_int_equal(jid_parse(a, buf_str(&b), &j, NULL), want);
            }
        }
        buf_reset(&b);
        for (unsigned n = 0; n < 63 + extra; n++) buf_addc(&b, 'd');
        assert_int_equal(jid_parse(a, buf_str(&b), &j, NULL), want);
        buf_reset(&b);
        for (unsigned n = 0; n < 512; n++) buf_adds(&b, n < 511 ? "d." : extra == 0 ? "d" : "dd");
        assert_int_equal(jid_parse(a, buf_str(&b), &j, NULL), want);
    }
    /* Grows while prepared: 512 times U+00DF is 1024 bytes of "ss". */
    buf_reset(&b);
    for (unsigned n = 0; n < 510; n++) buf_adds(&b, "\xc3\x9f");
    buf_adds(&b, "@x");
    assert_int_equal(jid_parse(a, buf_str(&b), &j, NULL), 0);
    buf_reset(&b);
    for (unsigned n = 0; n < 200; n++) buf_adds(&b, "\xef\xb7\xba"); /* one letter becomes 18 */
    buf_adds(&b, "@x");
    assert_int_equal(jid_parse(a, buf_str(&b), &j, NULL), -1);
    buf_free(&b);
    arena_free(a);
}

static void test_change_and_compare(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct jid full, other, none = {0};
    assert_int_equal(jid_parse(a, STR("romeo@example.com/balcony"), &full, NULL), 0);
    assert_int_equal(jid_parse(a, STR("ROMEO@example.com/orchard"), &other, NULL), 0);
    assert_false(jid_eq(&full, &other));
    assert_true(jid_bare_eq(&full, &other));
    struct jid bare = jid_to_bare(a, &full);
    assert_string_equal(bare.full.p, "romeo@example.com");
    assert_false(jid_is_full(&bare));
    struct jid with = jid_with_resource(a, &bare, STR("orchard"));
    assert_true(jid_eq(&with, &other));
    struct jid copy = jid_copy(a, &with);
    assert_true(jid_eq(&copy, &with));
    assert_ptr_not_equal(copy.full.p, with.full.p);
    assert_false(jid_present(&none));
    struct jid none_too = jid_copy(a, &none);
    assert_false(jid_present(&none_too));
    assert_false(jid_eq(&none, &full));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_precis),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_change_and_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
