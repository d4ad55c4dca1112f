/* The store's promises on order and durability: group commit, each failure alone, nothing answered that isn't on disk, nothing dropped. */
#include "store_fixture.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/metric.h"
#include "io/worker.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define ANN "ann@x.example"
#define N_THREADS 8
#define PER_THREAD 125

/* ---- counting many answers ---- */

static atomic_uint n_ok, n_failed;
static enum err_code last_code;

static void count_done(void *arg, const struct err *err)
{
    (void)arg;
    if (err != NULL) last_code = err->code;
    atomic_fetch_add(err == NULL ? &n_ok : &n_failed, 1);
}

static void count_reset(void)
{
    atomic_store(&n_ok, 0);
    atomic_store(&n_failed, 0);
    last_code = ERR_NONE;
}

static void count_wait(unsigned total)
{
    for (unsigned i = 0; atomic_load(&n_ok) + atomic_load(&n_failed) < total; i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
}

static void offline_add(const char *user, const char *body, unsigned max)
{
    struct store_batch *b = store_batch_new(str_of(user));
    add_message(b, body, max);
    store_batch_commit(b, count_done, NULL);
}

/* What is asked between these two becomes one group. The first adds a message for ANN and leaves the store's thread waiting in its commit. */
static void begin_group(void)
{
    store_fault_hold(true);
    offline_add(ANN, "busy", 1000000);
    for (int i = 0; !store_fault_holding(); i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
}

static void end_group(void)
{
    store_fault_hold(false);
}

static uint64_t commits(void)
{
    struct store_stats s;
    store_stats_read(&s);
    return s.commits;
}

/* ---- group commit ---- */

static void *writer(void *arg)
{
    char body[32];
    for (int i = 0; i < PER_THREAD; i++) {
        snprintf(body, sizeof body, "t%d-%d", (int)(intptr_t)arg, i);
        offline_add(ANN, body, 1000000);
    }
    xml_parsers_trim();
    return NULL;
}

static void test_many_writes_few_commits(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    struct store_stats before, after;
    store_stats_read(&before);
    int64_t observed = metric_read(METRIC_STORE_COMMIT_TIME);
    count_reset();
    store_fault_slow(5);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)(intptr_t)i), 0);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    count_wait(N_THREADS * PER_THREAD);
    assert_int_equal(n_ok, N_THREADS * PER_THREAD);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, N_THREADS * PER_THREAD);
    store_stats_read(&after);
    assert_int_equal(after.requests - before.requests, N_THREADS * PER_THREAD + 1);
    assert_true(after.commits - before.commits <= N_THREADS * PER_THREAD / 10);
    assert_int_equal(metric_read(METRIC_STORE_COMMIT_TIME) - observed, after.commits - before.commits);
    assert_int_equal(after.failures, before.failures);
    assert_true(after.busy_us > before.busy_us);
}

static void test_order_of_one_user(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    begin_group();
    uint64_t before = commits();
    for (uint64_t v = 1; v <= 200; v++) {
        struct store_batch *b = store_batch_new(STR(ANN));
        set_item(b, "bob@x.example", v);
        store_batch_commit(b, count_done, NULL);
        if (v == 150) store_user_load(STR(ANN), on_user, ask());
    }
    end_group();
    count_wait(201);
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(answer.user.roster_version, 150); /* a read sees what was asked before it, and no more */
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.roster_version, 200);
    assert_int_equal(commits() - before, 2);
}

static void test_one_fails_alone(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    begin_group();
    uint64_t before = commits();
    struct scram_keys keys[SCRAM_HASHES];
    some_keys(keys, 1);
    for (int i = 0; i < 5; i++) {
        offline_add(ANN, "kept", 1000);
        offline_add(ANN, "over", 1); /* ERR_LIMIT */
        store_account_create(STR(ANN), keys, count_done, NULL); /* ERR_EXISTS */
    }
    offline_add("nobody@x.example", "lost", 5);
    end_group();
    count_wait(17);
    assert_int_equal(n_ok, 6);
    assert_int_equal(n_failed, 11);
    assert_int_equal(last_code, ERR_NOT_FOUND);
    assert_int_equal(commits() - before, 2);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 6);
}

/* ---- faults ---- */

/* One batch of many statements; with the nth of them failing, all of it or nothing is there. */
static void sweep(enum store_fault kind)
{
    assert_int_equal(do_create(ANN), ERR_NONE);
    static const struct str groups[] = {{"g", 1}, {"h", 1}};
    unsigned good = 0;
    for (unsigned nth = 1; good < 3; nth++) {
        assert_true(nth < 100);
        char jid[32];
        snprintf(jid, sizeof jid, "c%u@x.example", nth);
        struct store_roster_item item = {.jid = str_of(jid), .subscription = SUBSCRIPTION_TO, .in_roster = true, .groups = groups, .n_groups = 2};
        struct store_batch *b = store_batch_new(STR(ANN));
        store_batch_roster_set(b, &item, nth);
        add_message(b, "x", 1000);
        store_fault_arm(kind, nth, 1);
        enum err_code code = do_commit(b);
        bool struck = !store_fault_armed(kind);
        store_fault_arm(kind, 0, 0);
        assert_int_equal(code, struck ? ERR_IO : ERR_NONE);
        if (!struck) good++;
        assert_int_equal(do_load(ANN), ERR_NONE);
        assert_int_equal(answer.user.n_items, good);
        assert_int_equal(answer.user.offline_count, good);
        assert_int_equal(answer.user.roster_version, struck ? 0 : nth);
    }
}

static void test_statement_sweep(void **state)
{
    (void)state;
    sweep(STORE_FAULT_STATEMENT);
}

static void test_abandon_sweep(void **state)
{
    (void)state;
    sweep(STORE_FAULT_ABANDON);
}

static void test_failed_commit(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    store_fault_arm(STORE_FAULT_COMMIT, 2, 1); /* the group's, not that of begin_group */
    begin_group();
    offline_add(ANN, "one", 1000);
    offline_add(ANN, "two", 1000);
    store_user_load(STR(ANN), on_user, ask()); /* inside the transaction: it must not tell of what was never stored */
    offline_add(ANN, "three", 1000);
    end_group();
    count_wait(4);
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_int_equal(n_ok, 1);
    assert_int_equal(n_failed, 3);
    assert_int_equal(last_code, ERR_IO);
    assert_int_equal(answer.user.offline_count, 1);
    offline_add(ANN, "again", 1000);
    count_wait(5);
    assert_int_equal(n_ok, 2);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 2);
    struct store_stats s;
    store_stats_read(&s);
    assert_true(s.failures >= 3);
}

/* The database gives up the transaction in the midst of a group: those before it fail too, those after it go into a new one. */
static void test_abandoned_within_group(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    begin_group();
    offline_add(ANN, "one", 1000);
    store_user_load(STR(ANN), on_user, ask());
    offline_add(ANN, "two", 1000);
    /* BEGIN; SAVEPOINT, id, count, insert, RELEASE; the load: account, items, groups; SAVEPOINT, id, count: the twelfth */
    store_fault_arm(STORE_FAULT_ABANDON, 12 + 1, 1); /* and the COMMIT of begin_group */
    offline_add(ANN, "three", 1000);
    end_group();
    count_wait(4);
    assert_int_equal(wait_answer(), ERR_NONE);
    assert_false(store_fault_armed(STORE_FAULT_ABANDON));
    assert_int_equal(answer.user.offline_count, 1);
    assert_int_equal(n_ok, 2);
    assert_int_equal(n_failed, 2);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 2);
    /* a read that makes the database give up takes nothing wrong with it either */
    count_reset();
    begin_group();
    offline_add(ANN, "four", 1000);
    store_user_load(STR(ANN), on_user, ask());
    offline_add(ANN, "five", 1000);
    store_fault_arm(STORE_FAULT_ABANDON, 8 + 1, 1);
    end_group();
    count_wait(3);
    (void)wait_answer();
    assert_false(store_fault_armed(STORE_FAULT_ABANDON));
    unsigned kept = n_ok;
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 2 + kept);
}

/* ---- a lock, a slow disk ---- */

static void test_locked_by_another(void **state)
{
    (void)state;
    store_stop();
    fixture_config.store_lock_wait = 100;
    fixture_start();
    assert_int_equal(do_create(ANN), ERR_NONE);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture_path("store.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    count_reset();
    uint64_t start = clock_ms();
    for (int i = 0; i < 50; i++) offline_add(ANN, "x", 1000);
    assert_int_equal(do_load(ANN), ERR_NONE); /* reading goes on */
    count_wait(50);
    assert_int_equal(n_failed, 50);
    assert_int_equal(last_code, ERR_IO);
    assert_true(clock_ms() - start < 3000); /* not each for itself */
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct store_batch *b = store_batch_new(STR(ANN));
    add_message(b, "now", 1000);
    assert_int_equal(do_commit(b), ERR_NONE);
}

/* Threads that may wait do, at store.queue_requests; nothing is lost. */
static void test_queue_is_bounded(void **state)
{
    (void)state;
    store_stop();
    fixture_config.store_queue_requests = 100;
    fixture_config.store_group_requests = 30;
    fixture_start();
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    store_fault_slow(10);
    for (int i = 0; i < 500; i++) {
        offline_add(ANN, "x", 1000);
        struct store_stats s;
        store_stats_read(&s);
        assert_true(s.queue_depth <= 100);
    }
    count_wait(500);
    assert_int_equal(n_ok, 500);
    store_fault_slow(0);
    assert_int_equal(do_load(ANN), ERR_NONE);
    assert_int_equal(answer.user.offline_count, 500);
    store_stop();
    struct store_stats s;
    store_stats_read(&s);
    assert_int_equal(s.queue_depth, 0);
    assert_int_equal(metric_read(METRIC_STORE_QUEUE), 0);
}

static void test_stop_commits(void **state)
{
    (void)state;
    assert_int_equal(do_create(ANN), ERR_NONE);
    count_reset();
    store_fault_slow(20);
    for (int i = 0; i < 300; i++) offline_add(ANN, "x", 1000);
    store_stop();
    assert_int_equal(n_ok, 300);
    assert_int_equal(query_int("SELECT offline_count FROM account"), 300);
}

/* ---- kill -9 ---- */

static int ack_fd;

static void report_ack(void *arg, const struct err *err)
{
    uint32_t id = (uint32_t)(uintptr_t)arg;
    if (err != NULL || write(ack_fd, &id, sizeof id) != (ssize_t)sizeof id) _exit(3);
}

/* Writes rosters until it is killed, and reports what has been acknowledged. */
static void child_write_forever(void)
{
    struct err err;
    if (store_start(&fixture_config, &err) != 0) _exit(2);
    for (uint32_t id = 1;; id++) {
        char jid[32];
        snprintf(jid, sizeof jid, "c%u@x.example", id);
        struct store_batch *b = store_batch_new(STR(ANN));
        set_item(b, jid, id);
        store_batch_commit(b, report_ack, (void *)(uintptr_t)id);
    }
}

static void test_kill_9(void **state)
{
    (void)state;
    fixture_start();
    assert_int_equal(do_create(ANN), ERR_NONE);
    store_stop();
    uint32_t acked = 0;
    for (int round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            ack_fd = fds[1];
            child_write_forever();
        }
        close(fds[1]);
        uint32_t id, last = 0;
        for (int n = 0; n < 40 + 97 * round; n++) {
            assert_int_equal(read(fds[0], &id, sizeof id), sizeof id);
            assert_int_equal(id, last + 1);
            last = id;
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        while (read(fds[0], &id, sizeof id) == (ssize_t)sizeof id) last = id; /* acknowledged until it died */
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        if (last > acked) acked = last;

        fixture_start();
        assert_int_equal(do_load(ANN), ERR_NONE);
        assert_true(answer.user.n_items >= acked);
        assert_true(answer.user.roster_version >= last);
        store_stop();
        char sql[128]; /* all of them: an id is a part of the JID */
        snprintf(sql, sizeof sql, "SELECT count(*) FROM roster_item WHERE CAST(substr(jid, 2) AS INTEGER) <= %u", acked);
        assert_int_equal(query_int(sql), acked);
    }
}

/* ---- workers ---- */

#define N_WORKERS 4
#define PER_WORKER 400

/* Each worker writes for a user of its own and reads between; answers must come on that worker, in order, never before the call returns. */
struct asker {
    struct msg msg;
    uint32_t worker;
    char user[32];
    unsigned asked, answered, calling;
};
static struct asker askers[N_WORKERS];
static atomic_uint askers_done;

static void asker_seen(struct asker *a)
{
    if (worker_id() != a->worker || a->calling) abort();
    if (++a->answered == 2 * PER_WORKER) atomic_fetch_add(&askers_done, 1);
}

static void asker_written(void *arg, const struct err *err)
{
    if (err != NULL) abort();
    asker_seen(arg);
}

static void asker_loaded(void *arg, const struct store_user *user, const struct err *err)
{
    struct asker *a = arg;
    asker_seen(a);
    if (err != NULL || user->roster_version != a->answered / 2) abort();
}

static void asker_run(struct msg *msg)
{
    struct asker *a = (struct asker *)(void *)msg;
    a->worker = worker_id();
    for (uint64_t v = 1; v <= PER_WORKER; v++) {
        a->calling = 1;
        struct store_batch *b = store_batch_new(str_of(a->user));
        set_item(b, ANN, v);
        store_batch_commit(b, asker_written, a);
        store_user_load(str_of(a->user), asker_loaded, a);
        a->calling = 0;
    }
}

static void no_op(unsigned worker)
{
    (void)worker;
}

static void count_slow_alarms(void *arg, const struct alarm_view *view)
{
    unsigned *n = arg;
    if (view->id != ALARM_STORE_SLOW) return;
    n[0] += (unsigned)view->count;
    n[1] += view->active;
}

/* Workers never wait: their requests go beyond store.queue_requests, and an alarm tells of it. */
static void test_workers(void **state)
{
    (void)state;
    struct err err;
    store_stop();
    fixture_config.store_queue_requests = 100;
    fixture_start();
    assert_int_equal(workers_start(N_WORKERS, no_op, &err), 0);
    for (uint32_t i = 0; i < N_WORKERS; i++) {
        memset(&askers[i], 0, sizeof askers[i]);
        snprintf(askers[i].user, sizeof askers[i].user, "w%u@x.example", i);
        assert_int_equal(do_create(askers[i].user), ERR_NONE);
    }
    store_fault_slow(5);
    uint64_t before = commits();
    for (uint32_t i = 0; i < N_WORKERS; i++) {
        askers[i].msg.run = asker_run;
        worker_post(i, &askers[i].msg);
    }
    for (int i = 0; atomic_load(&askers_done) < N_WORKERS; i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
    assert_true(commits() - before < N_WORKERS * PER_WORKER);
    unsigned slow[2] = {0, 0};
    alarm_each(count_slow_alarms, slow);
    assert_true(slow[0] >= 1);
    store_stop();
    slow[1] = 0;
    alarm_each(count_slow_alarms, slow);
    assert_int_equal(slow[1], 0);
    workers_stop(no_op);
}

static void late_run(struct msg *msg)
{
    free(msg);
    offline_add(ANN, "late", 1000);
    xml_parsers_trim();
}

/* What an ended worker had asked is still done; its answer finds nobody. */
static void test_worker_ends_before_answer(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(do_create(ANN), ERR_NONE);
    assert_int_equal(workers_start(1, no_op, &err), 0);
    count_reset();
    store_fault_hold(true);
    struct msg *m = x_calloc(1, sizeof *m);
    m->run = late_run;
    worker_post(0, m);
    for (int i = 0; !store_fault_holding(); i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
    workers_stop(no_op);
    store_fault_hold(false);
    store_stop();
    assert_int_equal(n_ok, 0);
    assert_int_equal(query_int("SELECT offline_count FROM account"), 1);
}

static void drop_answer(void)
{
    arena_free(answer.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill_9, fixture_make, fixture_drop), /* first: it forks, while there is one thread */
        cmocka_unit_test_setup_teardown(test_many_writes_few_commits, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_order_of_one_user, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_one_fails_alone, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_statement_sweep, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_abandon_sweep, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_failed_commit, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_abandoned_within_group, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_locked_by_another, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_stop_commits, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_workers, fixture_setup, fixture_drop),
        cmocka_unit_test_setup_teardown(test_worker_ends_before_answer, fixture_setup, fixture_drop),
    };
    int rc = cmocka_run_group_tests_name("store-commit", tests, NULL, NULL);
    drop_answer();
    return rc;
}
