/* What extensions keep in the store: documents, the block list, the last logout; notices; names. */
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

static void on_notices(void *arg, const struct store_notice *notices, size_t n, const struct err *err)
{
    struct answer *a = arg;
    a->n = n;
    a->version = n > 0 ? (int64_t)notices[0].version : 0;
    a->text = n > 0 ? arena_str(a->arena, notices[0].text) : STR_NONE;
    answered(a, err);
}

static void set_notice(struct str text, bool anew)
{
    store_notice_set(STR("x.example"), "motd", text, anew, on_notices, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
}

/* The version grows with each new notice, also over a deletion; an edit keeps it. */
static void test_notices(void **state)
{
    (void)state;
    store_notice_load(on_notices, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, 0);
    set_notice(STR("one"), true);
    assert_int_equal(answer.version, 1);
    set_notice(STR("one, corrected"), false);
    assert_int_equal(answer.version, 1);
    set_notice(STR_NONE, false);
    set_notice(STR("two"), true);
    assert_int_equal(answer.version, 2);
    store_stop(); /* it is on disk */
    fixture_start();
    store_notice_load(on_notices, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, 1);
    assert_int_equal(answer.version, 2);
    assert_true(str_is(answer.text, "two"));
}

static void test_noticed(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_false(answer.user.greeted);
    assert_int_equal(answer.user.motd_seen, 0);
    struct store_batch *b = store_batch_new(STR(ANN));
    store_batch_noticed(b, 3);
    assert_int_equal(do_commit(b), ERR_NONE);
    b = store_batch_new(STR(ANN));
    store_batch_noticed(b, 2); /* never back */
    assert_int_equal(do_commit(b), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_true(answer.user.greeted);
    assert_int_equal(answer.user.motd_seen, 3);
}

static void on_names(void *arg, const struct str *users, size_t n, uint64_t total, const struct err *err)
{
    struct answer *a = arg;
    a->n = n;
    a->version = (int64_t)total;
    a->text = n > 0 ? arena_str(a->arena, users[0]) : STR_NONE;
    answered(a, err);
}

static void names_are(bool disabled, unsigned limit, size_t n, int64_t total, const char *first)
{
    store_account_names(STR("x.example"), disabled, limit, on_names, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, n);
    assert_int_equal(answer.version, total);
    if (first != NULL) assert_true(str_is(answer.text, first));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const users[] = {"c@x.example", "a@x.example", "b@x.example", "d@y.example"};
    names_are(false, 10, 0, 0, NULL);
    for (size_t i = 0; i < 4; i++) assert_int_equal(do_create(users[i]), ERR_NONE);
    store_account_set_disabled(STR("b@x.example"), true, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    names_are(false, 2, 2, 3, "a@x.example");
    names_are(true, 10, 1, 1, "b@x.example");
    names_are(true, 0, 0, 1, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_documents, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_blocked, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_logout, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_notices, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_noticed, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_drop),
    };
    int rc = cmocka_run_group_tests_name("store-extensions", tests, NULL, NULL);
    arena_free(answer.arena);
    return rc;
}
