/* xmpp/rsm: each case of XEP-0059, 2, over a list of ten items. */
#include "unit.h"

#include "xmpp/rsm.h"

static const char *const items[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
static struct str id_of(const void *arg, uint64_t i) { return str_of(((const char *const *)arg)[i]); }

struct paged {
    int rc;
    struct rsm_page page;
    char set[300];
};

/* The answer to <query><set>ASKED</set></query> of a list of count items. */
static struct paged ask_of(const char *asked, uint64_t count, uint64_t most)
{
    struct paged out = {.rc = -2};
    struct arena *a = arena_new(0);
    struct err err;
    const char *text = NULL;
    struct rsm_request rq;
    struct xml_node *root = xml_tree_parse(a, str_of(arena_printf(a, "<set xmlns='" NS_RSM "'>%s</set>", asked)), "jabber:client", &err);
    assert_non_null(root);
    if (rsm_read(root, a, &rq, &text) == 0) {
        out.rc = rsm_page(&rq, count, most, id_of, items, &out.page);
        struct buf b = {0};
        uint64_t last = out.page.first + out.page.n;
        if (out.rc == 0) rsm_write(&b, &rq, &out.page, out.page.n > 0 ? str_of(items[out.page.first]) : STR_NONE, out.page.n > 0 ? str_of(items[last - 1]) : STR_NONE);
        snprintf(out.set, sizeof(out.set), "%s", buf_cstr(&b));
        buf_free(&b);
    } else {
        assert_non_null(text);
    }
    arena_free(a);
    return out;
}

static void page_is(const char *asked, uint64_t first, uint64_t n)
{
    struct paged p = ask_of(asked, 10, 100);
    if (p.rc != 0 || p.page.n != n || (n > 0 && p.page.first != first))
        fail_msg("%s: rc %d, %llu items from %llu", asked, p.rc, (unsigned long long)p.page.n, (unsigned long long)p.page.first);
}

static void test_pages(void **state)
{
    UNIT_UNUSED(state);
    page_is("", 0, 10);
    page_is("<max>3</max>", 0, 3);
    page_is("<max>3</max><after>c</after>", 3, 3);
    page_is("<max>3</max><after>i</after>", 9, 1);
    page_is("<max>3</max><after>j</after>", 10, 0);
    page_is("<max>3</max><before>e</before>", 1, 3);
    page_is("<max>3</max><before>b</before>", 0, 1);
    page_is("<max>3</max><before>a</before>", 0, 0);
    page_is("<max>3</max><before/>", 7, 3);
    page_is("<max>3</max><index>5</index>", 5, 3);
    page_is("<max>3</max><index>9</index>", 9, 1);
    page_is("<max>3</max><index>10</index>", 10, 0);
    page_is("<max>0</max>", 0, 0);
    assert_int_equal(ask_of("<max>50</max>", 10, 4).page.n, 4);
    assert_int_equal(ask_of("<max>3</max><after>z</after>", 10, 4).rc, -1);
    assert_int_equal(ask_of("<max>3</max><before>z</before>", 10, 4).rc, -1);
}

static void test_bad(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[] = {"<max>-1</max>", "<max/>", "<max>ten</max>", "<max>1.5</max>", "<index>x</index>", "<after/>", "<after>a</after><before/>",
                                      "<max>12345678901234567890</max>", "<index>1</index><before/>"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (ask_of(bad[i], 10, 10).rc != -2) fail_msg("%s was taken", bad[i]);
}

static void test_written(void **state)
{
    UNIT_UNUSED(state);
    const char *begin = "<set xmlns='" NS_RSM "'>";
    char want[300];
    snprintf(want, sizeof(want), "%s<first index='3' exact-index='true'>d</first><last>f</last><count exact='true'>10</count></set>", begin);
    assert_string_equal(ask_of("<max>3</max><after>c</after>", 10, 100).set, want);
    snprintf(want, sizeof(want), "%s<count exact='true'>10</count></set>", begin);
    assert_string_equal(ask_of("<max>0</max>", 10, 100).set, want);
    assert_string_equal(ask_of("<max>3</max>", 0, 100).set, ""); /* nothing in the whole: as without paging */
}

static void test_not_asked(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    struct err err;
    const char *text;
    struct rsm_request rq;
    struct rsm_page page;
    struct buf b = {0};
    struct xml_node *root = xml_tree_parse(a, STR("<set xmlns='else'/>"), "jabber:client", &err);
    assert_non_null(root);
    assert_int_equal(rsm_read(root, a, &rq, &text), 0);
    assert_false(rq.asked);
    assert_int_equal(rsm_page(&rq, 10, 100, id_of, items, &page), 0);
    assert_int_equal(page.n, 10);
    rsm_write(&b, &rq, &page, STR("a"), STR("j"));
    assert_int_equal(b.len, 0);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages), cmocka_unit_test(test_bad), cmocka_unit_test(test_written), cmocka_unit_test(test_not_asked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
