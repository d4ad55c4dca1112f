/* The store: opening and migrating, and each operation with what it promises. Order, commits and faults are in test_store_commit.c. */
#include "store_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#define ANN "ann@x.example"
#define BOB "bob@x.example"

/* ---- opening ---- */

static void test_modes_and_boot(void **state)
{
    (void)state;
    struct stat st;
    char *given = fixture_config.server_data_dir;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a/b", fixture_dir);
    fixture_config.server_data_dir = deep;
    mode_t old = umask(0);
    for (uint32_t boot = 1; boot <= 3; boot++) {
        fixture_start();
        assert_int_equal(store_boot_number(), boot);
        static const char *const names[] = {"a/b/store.db", "a/b/store.db-wal", "a/b/store.db-shm"};
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(stat(fixture_path(names[i]), &st), 0);
            assert_int_equal(st.st_mode & 0777, 0600);
        }
        store_stop();
    }
    umask(old);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(fixture_path("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(chmod(fixture_path("a/b/store.db"), 0644), 0);
    fixture_start();
    assert_int_equal(stat(fixture_path("a/b/store.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store_stop();
    unlink(fixture_path("a/b/store.db"));
    rmdir(fixture_path("a/b"));
    rmdir(fixture_path("a"));
    fixture_config.server_data_dir = given;
}

static void expect_refusal(enum err_code code, const char *part)
{
    struct err err = {0};
    assert_int_equal(store_start(&fixture_config, &err), -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, part) == NULL) fail_msg("\"%s\" says nothing of \"%s\"", err.text, part);
}

static void test_directory_refused(void **state)
{
    (void)state;
    char *given = fixture_config.server_data_dir;
    char below[128];
    int fd = open(fixture_path("file"), O_CREAT | O_WRONLY, 0600);
    close(fd);
    snprintf(below, sizeof below, "%s/file/store", fixture_dir);
    fixture_config.server_data_dir = below;
    expect_refusal(ERR_IO, "Not a directory");
    snprintf(below, sizeof below, "%s/file", fixture_dir);
    expect_refusal(ERR_IO, "server.data_dir");
    below[0] = '\0';
    expect_refusal(ERR_INVALID, "server.data_dir");
    fixture_config.server_data_dir = given;
    unlink(fixture_path("file"));

    assert_int_equal(chmod(fixture_dir, 0777), 0);
    expect_refusal(ERR_DENIED, "everybody");
    assert_int_equal(chmod(fixture_dir, 0700), 0);

    fd = open(fixture_dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    expect_refusal(ERR_CONFLICT, "in use");
    close(fd);
    fixture_start(); /* a refused start leaves nothing behind */
    store_stop();
}

static void write_garbage(void)
{
    FILE *f = fopen(fixture_path("store.db"), "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++) fputs("no database ", f);
    fclose(f);
}

static void test_database_refused(void **state)
{
    (void)state;
    fixture_start();
    store_stop();
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %u", sqlite_n_migrations + 3);
    execute(sql);
    expect_refusal(ERR_CONFLICT, "newer version");
    snprintf(sql, sizeof sql, "PRAGMA user_version = %u", sqlite_n_migrations);
    execute(sql);
    execute("PRAGMA application_id = 7");
    expect_refusal(ERR_CONFLICT, "some other program");
    write_garbage();
    expect_refusal(ERR_IO, "damaged");
    assert_int_equal(unlink(fixture_path("store.db")), 0);
    execute("CREATE TABLE theirs (x)");
    expect_refusal(ERR_CONFLICT, "some other program");
}

/* ---- migrations ---- */

static sqlite3 *open_raw(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture_path("store.db"), &db), SQLITE_OK);
    return db;
}

/* From each older schema, with an account that was made under it. */
static void test_migrate_from_each(void **state)
{
    (void)state;
    for (unsigned from = 1; from < sqlite_n_migrations; from++) {
        struct err err = {0};
        sqlite3 *db = open_raw();
        if (sqlite_migrate(db, "x", sqlite_migrations, from, &err) != 0) fail_msg("%s", err.text);
        static const char *const insert = "INSERT INTO account (user, domain, created_ms) VALUES ('" ANN "', 'x.example', 5)";
        assert_int_equal(sqlite3_exec(db, insert, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        fixture_start();
        assert_int_equal(do_load(ANN), ERR_NONE);
        assert_true(answer.user.exists);
        assert_int_equal(answer.user.roster_version, 0);
        struct store_batch *b = store_batch_new(STR(ANN));
        set_item(b, BOB, 1);
        add_message(b, "hi", 10);
        assert_int_equal(do_commit(b), ERR_NONE);
        store_stop();
        assert_int_equal(query_int("PRAGMA user_version"), sqlite_n_migrations);
        assert_int_equal(unlink(fixture_path("store.db")), 0);
    }
}

static void test_migration_is_whole(void **state)
{
    (void)state;
    struct err err = {0};
    sqlite3 *db = open_raw();
    static const struct sqlite_migration broken[] = {{"one", "CREATE TABLE a (x)"}, {"two", "CREATE TABLE b (x); CREATE TABLE a (x)"}};
    assert_int_equal(sqlite_migrate(db, "x", broken, 2, &err), -1);
    assert_non_null(strstr(err.text, "schema 2 (two)"));
    assert_int_equal(query_int("PRAGMA user_version"), 1);
    assert_int_equal(query_int("SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0);
    static const struct sqlite_migration dangling[] = {
        {"one", "CREATE TABLE a (x)"}, {"two", "CREATE TABLE c (y PRIMARY KEY, z REFERENCES c (y)); INSERT INTO c VALUES (1, 2)"}};
    assert_int_equal(sqlite_migrate(db, "x", dangling, 2, &err), -1);
    assert_non_null(strstr(err.text, "refer to nothing"));
    static const struct sqlite_migration mended[] = {{"one", ""}, {"two", "CREATE TABLE b (x)"}};
    assert_int_equal(sqlite_migrate(db, "x", mended, 2, &err), 0);
    sqlite3_close(db);
    assert_int_equal(query_int("PRAGMA user_version"), 2);
}

/* ---- accounts ---- */

static void get_account(const char *user)
{
    store_account_get(str_of(user), on_account, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
}

static void test_account_life(void **state)
{
    (void)state;
    struct scram_keys keys[SCRAM_HASHES];
    some_keys(keys, 1);
    get_account(ANN);
    assert_int_equal(answer.n, 0);
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(do_create(ANN), ERR_EXISTS);
    assert_int_equal(do_create("nodomain"), ERR_INVALID);
    get_account(ANN);
    assert_int_equal(answer.n, 1);
    assert_true(str_is(answer.accounts->user, ANN));
    assert_false(answer.accounts->disabled);
    assert_true(answer.accounts->created_ms > 0);
    assert_int_equal(answer.accounts->last_login_ms, 0);
    assert_memory_equal(answer.accounts->keys, keys, sizeof keys);
    uint64_t generation = answer.accounts->generation;

    some_keys(keys, 9);
    keys[SCRAM_SHA1].iterations = 0;
    store_account_set_keys(STR(ANN), keys, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    store_account_set_disabled(STR(ANN), true, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    store_account_touch_login(STR(ANN), 77);
    store_account_touch_login(STR(ANN), 70); /* came late: the latest stands */
    store_account_touch_login(STR("nobody@x.example"), 70);
    get_account(ANN);
    assert_true(answer.accounts->disabled);
    assert_int_equal(answer.accounts->last_login_ms, 77);
    assert_int_equal(answer.accounts->keys[SCRAM_SHA1].iterations, 0);
    assert_memory_equal(&answer.accounts->keys[SCRAM_SHA256], &keys[SCRAM_SHA256], sizeof *keys);
    assert_int_equal(answer.accounts->generation, generation);

    store_account_delete(STR(ANN), on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    get_account(ANN);
    assert_int_equal(answer.n, 0);
    store_account_delete(STR(ANN), on_done, ask());
    assert_int_equal(wait_answer(), ERR_NOT_FOUND);
    store_account_set_keys(STR(ANN), keys, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NOT_FOUND);
    store_account_set_disabled(STR(ANN), false, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NOT_FOUND);
    assert_int_equal(do_create(ANN), ERR_NONE);
    get_account(ANN);
    assert_int_not_equal(answer.accounts->generation, generation);
}

static void test_account_list(void **state)
{
    (void)state;
    static const char *const users[] = {"c@x.example", "a@y.example", "b@x.example", "a@x.example"};
    for (unsigned i = 0; i < 4; i++) assert_int_equal(do_create(users[i]), ERR_NONE);
    store_account_list(STR_NONE, STR_NONE, 100, on_accounts, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, 4);
    assert_true(str_is(answer.accounts[0].user, "a@x.example"));
    assert_true(str_is(answer.accounts[1].user, "a@y.example"));
    assert_int_equal(answer.accounts[3].keys[SCRAM_SHA256].iterations, 4097);
    store_account_list(STR("x.example"), STR("a@x.example"), 1, on_accounts, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, 1);
    assert_true(str_is(answer.accounts[0].user, "b@x.example"));
    store_account_list(STR("z.example"), STR_NONE, 10, on_accounts, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.n, 0);
}

/* ---- rosters ---- */

static void test_roster(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    static const struct str groups[] = {{"work", 4}, {"", 0}, {"a b", 3}}, fewer[] = {{"home", 4}};
    struct store_roster_item full = {
        .jid = STR("carl@x.example"), .name = STR("Carl"), .subscription = SUBSCRIPTION_TO, .ask = true, .in_roster = true, .groups = groups,
        .n_groups = 3};
    struct store_roster_item pending = {.jid = STR(BOB), .pending_in = STR("<presence xmlns='jabber:client' type='subscribe'/>")};
    struct store_roster_item last = {
        .jid = STR("dora@x.example"), .subscription = SUBSCRIPTION_FROM, .approved = true, .in_roster = true, .groups = fewer, .n_groups = 1};
    struct store_batch *b = store_batch_new(STR(ANN));
    store_batch_roster_set(b, &full, 1);
    store_batch_roster_set(b, &pending, 2);
    store_batch_roster_set(b, &last, 3);
    assert_int_equal(do_commit(b), ERR_NONE);

    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_true(answer.user.exists);
    assert_int_equal(answer.user.roster_version, 3);
    assert_int_equal(answer.user.n_items, 3);
    const struct store_roster_item *i = answer.user.items;
    assert_true(str_eq(i[0].jid, pending.jid) && !i[0].in_roster && str_eq(i[0].pending_in, pending.pending_in) && i[0].name.p == NULL);
    assert_int_equal(i[0].n_groups, 0);
    assert_true(str_eq(i[1].jid, full.jid) && str_eq(i[1].name, full.name));
    assert_true(i[1].ask && !i[1].approved && i[1].in_roster && i[1].pending_in.p == NULL);
    assert_int_equal(i[1].subscription, SUBSCRIPTION_TO);
    assert_int_equal(i[1].n_groups, 3);
    for (unsigned g = 0; g < 3; g++) assert_true(str_eq(i[1].groups[g], groups[g]));
    assert_true(i[2].approved && i[2].subscription == SUBSCRIPTION_FROM && i[2].n_groups == 1 && str_is(i[2].groups[0], "home"));

    full.groups = fewer;
    full.n_groups = 1;
    full.name = STR_NONE;
    full.subscription = SUBSCRIPTION_BOTH;
    pending.pending_in = STR_NONE; /* nothing is left of it */
    b = store_batch_new(STR(ANN));
    store_batch_roster_set(b, &full, 4);
    store_batch_roster_set(b, &pending, 5);
    store_batch_roster_delete(b, STR("dora@x.example"), 6);
    store_batch_roster_delete(b, STR("unknown@x.example"), 7);
    assert_int_equal(do_commit(b), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.roster_version, 7);
    assert_int_equal(answer.user.n_items, 1);
    assert_true(answer.user.items[0].subscription == SUBSCRIPTION_BOTH && answer.user.items[0].name.p == NULL);
    assert_int_equal(answer.user.items[0].n_groups, 1);

    assert_int_equal(do_load("nobody@x.example"), ERR_NONE);
    assert_false(answer.user.exists);
    store_account_set_disabled(STR(ANN), true, on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_false(answer.user.exists);
}

/* ---- offline ---- */

static void load_offline(const char *user, uint64_t after, unsigned limit)
{
    store_offline_load(str_of(user), after, limit, on_offline, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
}

static void test_offline(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(do_create(BOB), ERR_NONE);
    for (int i = 0; i < 5; i++) {
        char body[16];
        snprintf(body, sizeof body, "n%d", i);
        struct store_batch *b = store_batch_new(STR(ANN));
        add_message(b, body, 5);
        assert_int_equal(do_commit(b), ERR_NONE);
    }
    struct store_batch *b = store_batch_new(STR(ANN));
    set_item(b, BOB, 9);
    add_message(b, "too many", 5);
    assert_int_equal(do_commit(b), ERR_LIMIT);
    assert_non_null(strstr(answer.err.text, "offline.max_messages"));
    b = store_batch_new(STR(BOB));
    add_message(b, "none at all", 0);
    assert_int_equal(do_commit(b), ERR_LIMIT);

    load_offline(ANN, 0, 3);
    assert_int_equal(answer.n, 3);
    uint64_t sid_of_third = answer.offline[2].sid, sid_of_second = answer.offline[1].sid;
    assert_true(sid_of_second != sid_of_third);
    assert_int_equal(answer.offline[0].wall_ms, 1000);
    struct err err;
    struct stanza *s = stanza_from_text(answer.offline[0].stanza, &err);
    assert_non_null(s);
    assert_true(str_is(s->to.full, ANN));
    assert_non_null(strstr(s->inner.p, "n0"));
    stanza_unref(s);
    load_offline(ANN, sid_of_third, 100);
    assert_int_equal(answer.n, 2);
    assert_non_null(strstr(answer.offline[0].stanza.p, "n3"));
    struct stanza *sooner = some_message("sooner"), *later = some_message("later"); /* in the order of their ids, not of their way into the store */
    sooner->sid = stanza_id_next();
    later->sid = stanza_id_next();
    b = store_batch_new(STR(ANN));
    store_batch_offline_add(b, later, 1000, 10);
    store_batch_offline_add(b, sooner, 1000, 10);
    assert_int_equal(do_commit(b), ERR_NONE);
    stanza_unref(sooner);
    stanza_unref(later);
    load_offline(ANN, sid_of_third, 100);
    assert_int_equal(answer.n, 4);
    assert_non_null(strstr(answer.offline[2].stanza.p, "sooner"));
    assert_non_null(strstr(answer.offline[3].stanza.p, "later"));
    load_offline(BOB, 0, 100);
    assert_int_equal(answer.n, 0);

    b = store_batch_new(STR(BOB));
    store_batch_offline_delete(b, sid_of_second); /* not his */
    assert_int_equal(do_commit(b), ERR_NONE);
    b = store_batch_new(STR(ANN));
    store_batch_offline_delete(b, sid_of_third);
    store_batch_offline_delete(b, sid_of_third);
    assert_int_equal(do_commit(b), ERR_NONE);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 6);
    assert_int_equal(answer.user.n_items, 0); /* the batch that was over the limit left nothing */
    assert_int_equal(answer.user.roster_version, 0);

    b = store_batch_new(STR("nobody@x.example"));
    add_message(b, "lost", 5);
    assert_int_equal(do_commit(b), ERR_NOT_FOUND);
    b = store_batch_new(STR(ANN));
    add_message(b, "never mind", 5);
    store_batch_free(b);
    store_batch_free(NULL);
    assert_int_equal(do_commit(store_batch_new(STR(ANN))), ERR_NONE);
}

/* ---- deleting a user ---- */

static void test_delete_takes_everything(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(do_create(BOB), ERR_NONE);
    static const struct str group[] = {{"g", 1}};
    struct store_roster_item item = {.jid = STR(BOB), .subscription = SUBSCRIPTION_BOTH, .in_roster = true, .groups = group, .n_groups = 1};
    struct store_batch *b = store_batch_new(STR(ANN));
    store_batch_roster_set(b, &item, 1);
    add_message(b, "for ann", 5);
    assert_int_equal(do_commit(b), ERR_NONE);

    /* ann's requests wait with others: as a mere request, and at an item */
    struct store_roster_item request = {.jid = STR(ANN), .pending_in = STR("<presence/>")};
    b = store_batch_new(STR(BOB));
    store_batch_roster_set(b, &request, 1);
    assert_int_equal(do_commit(b), ERR_NONE);
    assert_int_equal(do_create("eve@x.example"), ERR_NONE);
    request.in_roster = true;
    request.subscription = SUBSCRIPTION_TO;
    b = store_batch_new(STR("eve@x.example"));
    store_batch_roster_set(b, &request, 1);
    assert_int_equal(do_commit(b), ERR_NONE);

    store_account_delete(STR(ANN), on_done, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(do_load(BOB), ERR_NONE);
    assert_int_equal(answer.user.n_items, 0);
    assert_int_equal(do_load("eve@x.example"), ERR_NONE);
    assert_int_equal(answer.user.n_items, 1);
    assert_null(answer.user.items[0].pending_in.p);
    assert_int_equal(answer.user.items[0].subscription, SUBSCRIPTION_TO);
    assert_int_equal(query_int("SELECT count(*) FROM scram_key"), 4);
    assert_int_equal(query_int("SELECT count(*) FROM roster_group"), 0);
    assert_int_equal(query_int("SELECT count(*) FROM roster_item"), 1);
    assert_int_equal(query_int("SELECT count(*) FROM offline"), 0);
    b = store_batch_new(STR(ANN)); /* a stanza that was under way */
    add_message(b, "late", 5);
    assert_int_equal(do_commit(b), ERR_NOT_FOUND);
}

/* ---- compliance configuration ---- */

static void test_compliance(void **state)
{
    (void)state;
    store_compliance_load(0, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.version, 0);
    assert_null(answer.text.p);
    struct store_compliance_note note = {.by = STR("admin"), .what = STR("first"), .comment = STR("ticket 7")}, none = {0};
    store_compliance_save(0, STR("{\"a\":1}"), &note, 100, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.version, 1);
    assert_true(str_is(answer.text, "{\"a\":1}"));
    store_compliance_save(0, STR("{}"), &note, 100, on_text, ask());
    assert_int_equal(wait_answer(), ERR_CONFLICT);
    assert_int_equal(answer.version, 0);
    store_compliance_save(5, STR("{}"), &note, 100, on_text, ask());
    assert_int_equal(wait_answer(), ERR_CONFLICT);
    store_compliance_save(1, STR("{\"a\":2}"), &none, 100, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    store_stop();
    fixture_start();
    store_compliance_load(0, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.version, 2);
    assert_true(str_is(answer.text, "{\"a\":2}"));
    store_compliance_load(1, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.version, 1);
    assert_true(str_is(answer.text, "{\"a\":1}"));
    store_compliance_load(9, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NOT_FOUND);
    assert_int_equal(query_int("SELECT count(*) FROM compliance WHERE version = 1 AND changed_by = 'admin' AND what = 'first' AND wall_ms > 0"), 1);
}

static void on_notes(void *arg, const struct store_compliance_note *notes, size_t n, const struct err *err)
{
    struct buf seen = {0};
    for (size_t i = 0; i < n; i++)
        buf_addf(&seen, "%lld %.*s/%.*s/%.*s ", (long long)notes[i].version, (int)notes[i].by.n, notes[i].by.p, (int)notes[i].what.n, notes[i].what.p,
                 (int)notes[i].comment.n, notes[i].comment.p);
    on_text(arg, 0, buf_str(&seen), err);
    buf_free(&seen);
}

static void test_compliance_versions(void **state)
{
    (void)state;
    struct store_compliance_note note = {.by = STR("ann"), .what = STR("first"), .comment = STR("ticket 7")}, none = {0};
    store_compliance_list(10, on_notes, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.text.n, 0);
    for (int64_t base = 0; base < 5; base++) {
        store_compliance_save(base, STR("{}"), base == 3 ? &note : &none, 3, on_text, ask());
        assert_int_equal(wait_answer(), ERR_NONE);
    }
    store_compliance_list(2, on_notes, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_true(str_is(answer.text, "5 // 4 ann/first/ticket 7 "));
    store_compliance_list(10, on_notes, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_true(str_is(answer.text, "5 // 4 ann/first/ticket 7 3 // ")); /* the first two are forgotten */
    store_compliance_load(2, on_text, ask());
    assert_int_equal(wait_answer(), ERR_NOT_FOUND);
    /* a save that fails forgets nothing either: one transaction */
    store_fault_arm(STORE_FAULT_COMMIT, 1, 1);
    store_compliance_save(5, STR("{}"), &none, 1, on_text, ask());
    assert_int_not_equal(wait_answer(), ERR_NONE);
    store_fault_arm(STORE_FAULT_COMMIT, 0, 0);
    store_compliance_list(10, on_notes, ask());
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_true(str_is(answer.text, "5 // 4 ann/first/ticket 7 3 // "));
}

static void test_after_stop(void **state)
{
    (void)state;
    store_stop();
    assert_int_equal(do_create(ANN), ERR_CONFLICT);
    assert_int_equal(do_load(ANN), ERR_CONFLICT);
    arena_free(answer.arena);
    answer.arena = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_modes_and_boot, fixture_make, fixture_drop),
        cmocka_unit_test_setup_teardown(test_directory_refused, fixture_make, fixture_drop),
        cmocka_unit_test_setup_teardown(test_database_refused, fixture_make, fixture_drop),
        cmocka_unit_test_setup_teardown(test_migrate_from_each, fixture_make, fixture_drop),
        cmocka_unit_test_setup_teardown(test_migration_is_whole, fixture_make, fixture_drop),
        cmocka_unit_test_setup_teardown(test_account_life, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_account_list, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_roster, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_offline, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_delete_takes_everything, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_compliance, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_compliance_versions, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_after_stop, fixture_setup, fixture_drop),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
