/* What extensions keep in the store: documents, the block list, the last logout. */
#include "store_fixture.h"

#define ANN "ann@x.example"

static void on_document(void *arg, struct str xml, const struct err *err) { on_text(arg, 0, xml, err); }

static struct str document(const char *area, const char *name)
{
    store_document_load(STR(ANN), area, str_of(name), on_document, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    return answer.text;
}

static enum err_code put(const char *area, const char *name, struct str xml, unsigned max)
{
    struct store_batch *b = store_batch_new(STR(ANN));
    store_batch_document_set(b, area, str_of(name), xml, max);
    return do_commit(b);
}

static void test_documents(void **state)
{
    (void)state;
    assert_null(document("vcard", "").p); /* no account, no document */
    assert_int_equal(put("vcard", "", STR("<vCard/>"), 1), ERR_NOT_FOUND);
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_null(document("vcard", "").p);
    assert_int_equal(put("vcard", "", STR("<vCard>1</vCard>"), 1), ERR_NONE);
    assert_int_equal(put("vcard", "", STR("<vCard>2</vCard>"), 1), ERR_NONE); /* replaces: the limit counts the others */
    assert_true(str_is(document("vcard", ""), "<vCard>2</vCard>"));

    assert_int_equal(put("private", "a", STR("<a/>"), 2), ERR_NONE);
    assert_int_equal(put("private", "b", STR("<b/>"), 2), ERR_NONE);
    assert_int_equal(put("private", "c", STR("<c/>"), 2), ERR_LIMIT);
    assert_null(document("private", "c").p);
    assert_int_equal(put("private", "a", STR_NONE, 2), ERR_NONE);
    assert_int_equal(put("private", "c", STR("<c/>"), 2), ERR_NONE);
    assert_true(str_is(document("private", "c"), "<c/>"));
    assert_null(document("private", "a").p);
    store_account_delete(STR(ANN), on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(query_int("SELECT count(*) FROM document"), 0);
}

static enum err_code block(struct str jid, bool blocked)
{
    struct store_batch *b = store_batch_new(STR(ANN));
    store_batch_blocked_set(b, jid, blocked);
    return do_commit(b);
}

static void test_blocked(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(block(STR("bob@x.example"), true), ERR_NONE);
    assert_int_equal(block(STR("bob@x.example"), true), ERR_NONE);
    assert_int_equal(block(STR("y.example"), true), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.n_blocked, 2);
    assert_int_equal(block(STR("bob@x.example"), false), ERR_NONE);
    assert_int_equal(query_int("SELECT count(*) FROM blocked"), 1);
    assert_int_equal(block(STR("z.example"), true), ERR_NONE);
    assert_int_equal(block(STR_NONE, false), ERR_NONE);
    assert_int_equal(query_int("SELECT count(*) FROM blocked"), 0);
}

static void test_logout(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_not_equal(answer.user.last_ms, 0); /* never logged in: when it was made */
    store_account_touch_logout(STR(ANN), 4711, STR("Heading Home"));
    assert_int_equal(do_load(ANN), ERR_NONE); /* reads of one user come after his writes */
    assert_int_equal(answer.user.last_ms, 4711);
    assert_int_equal(query_int("SELECT last_status = 'Heading Home' FROM account"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_documents, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_blocked, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_logout, fixture_setup, fixture_drop),
    };
    int rc = cmocka_run_group_tests_name("store-extensions", tests, NULL, NULL);
    arena_free(answer.arena);
    return rc;
}
