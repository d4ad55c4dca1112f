/* The broker on two workers with a real compliance server on real sockets: both directions, every answer, cuts and resends, graceful ends, order, changes of the
 * configuration, the end. */
#include "unit.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "compliance_server.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define NODE     "node1.example.com"
#define WALL     "op-wall.node1-example-com"
#define PASSWORD "s3cret & <safe>"

static struct config config;
static struct compliance_config *compliance;
static char log_path[] = "/tmp/signet-test-broker-XXXXXX";

/* ---- raising ---- */

struct raised {
    struct msg msg;
    struct lane_entry entry;
    bool lane;
    enum event_id event;
    unsigned number;
    uint64_t began_ms, took_ms;
    enum verdict_kind kind;
    bool changed, outage;
    char body[64], condition[48], text[64];
    atomic_bool done;
};
static struct lane_set lanes[2];
static atomic_uint n_done;
static _Atomic unsigned out_of_order, last_number; /* of the lane on worker 0 */

static void raised_apply(struct raised *r)
{
    if (r->lane && r->number != atomic_exchange(&last_number, r->number) + 1) out_of_order++;
    lane_leave(&r->entry);
    r->took_ms = clock_ms() - r->began_ms;
    atomic_fetch_add(&n_done, 1);
    atomic_store(&r->done, true);
}

static void on_head(struct lane_entry *entry)
{
    struct raised *r = CONTAINER_OF(entry, struct raised, entry);
    if (r->took_ms != 0) raised_apply(r); /* its verdict is there */
}

static void on_verdict(void *arg, const struct verdict *v)
{
    struct raised *r = arg;
    r->kind = v->kind;
    r->changed = v->changed;
    r->outage = v->outage;
    snprintf(r->condition, sizeof r->condition, "%s", v->condition != NULL ? v->condition : "");
    snprintf(r->text, sizeof r->text, "%s", v->text != NULL ? v->text : "");
    if (v->stanza != NULL) snprintf(r->body, sizeof r->body, STR_FMT, STR_ARG(v->stanza->inner));
    r->took_ms = 1;
    if (!r->lane || lane_is_head(&r->entry)) raised_apply(r);
}

static void raise_run(struct msg *msg)
{
    struct raised *r = CONTAINER_OF(msg, struct raised, msg);
    struct verdict now;
    struct buf text = {0};
    struct err err;
    buf_addf(&text, "<message xmlns='jabber:client' type='chat' id='m%u' from='romeo@example.com/balcony' to='juliet@example.com'><body>%u</body></message>",
             r->number, r->number);
    struct stanza *s = stanza_from_text(buf_str(&text), &err);
    assert_non_null(s);
    r->began_ms = clock_ms();
    r->entry.on_head = on_head;
    if (r->lane) lane_enter(&lanes[worker_id()], STR("romeo juliet"), &r->entry);
    struct question q = {.event = r->event, .subject = s, .session = STR("romeo@example.com/balcony"), .entry = &r->entry, .done = on_verdict, .arg = r};
    if (!r->lane) q.entry = NULL;
    if (broker_raise(&q, &now)) on_verdict(r, &now);
    stanza_unref(s);
    buf_free(&text);
}

static struct raised *raise(uint32_t worker, unsigned number, bool lane)
{
    struct raised *r = x_calloc(1, sizeof *r);
    r->msg.run = raise_run;
    r->number = number;
    r->lane = lane;
    r->event = EVENT_es_OUT;
    worker_post(worker, &r->msg);
    return r;
}

static void nap(unsigned ms) { nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL); }

static void wait_done(struct raised *r)
{
    for (unsigned i = 0; i < 5000 && !atomic_load(&r->done); i++) nap(2);
    assert_true(atomic_load(&r->done));
}
/* Raises one and waits; the result lives until the next call. */
static struct raised *verdict(uint32_t worker)
{
    static struct raised copy;
    struct raised *r = raise(worker, 1, false);
    wait_done(r);
    copy.kind = r->kind;
    copy.changed = r->changed;
    copy.outage = r->outage;
    copy.took_ms = r->took_ms;
    memcpy(copy.body, r->body, sizeof copy.body);
    memcpy(copy.condition, r->condition, sizeof copy.condition);
    memcpy(copy.text, r->text, sizeof copy.text);
    free(r);
    return &copy;
}

/* ---- looking ---- */

struct look {
    const char *component;
    char state[16], error[200];
    uint64_t invalid, timeouts, events;
    unsigned n;
};
static void on_link(void *arg, const struct link_status *s)
{
    struct look *l = arg;
    l->n++;
    if (strcmp(s->component, l->component) != 0) return;
    snprintf(l->state, sizeof l->state, "%s", s->state);
    snprintf(l->error, sizeof l->error, "%s", s->last_error);
    l->invalid = s->invalid;
    l->timeouts = s->timeouts;
    l->events = s->events;
}
static struct look look(void)
{
    struct look l = {.component = WALL};
    broker_links(on_link, &l);
    return l;
}
static void wait_state(const char *state)
{
    for (unsigned i = 0; i < 5000; i++) {
        if (strcmp(look().state, state) == 0) return;
        nap(2);
    }
    fail_msg("the link is %s, not %s", look().state, state);
}
struct alarm_look {
    const char *name, *subject, *detail;
    bool active;
};
static void on_alarm(void *arg, const struct alarm_view *v)
{
    struct alarm_look *l = arg;
    if (v->active && strcmp(v->name, l->name) == 0 && strcmp(v->subject, l->subject) == 0 && strstr(v->detail, l->detail) != NULL) l->active = true;
}
static bool alarmed(const char *name, const char *detail)
{
    struct alarm_look l = {.name = name, .subject = WALL, .detail = detail};
    alarm_each(on_alarm, &l);
    return l.active;
}
static bool logged(const char *text)
{
    FILE *f = fopen(log_path, "r");
    char line[1024];
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) found = strstr(line, text) != NULL;
    if (f != NULL) fclose(f);
    return found;
}

/* ---- the configuration ---- */

static void put(bool add, const char *direction, uint16_t port, const char *password)
{
    struct err err;
    json_t *fields = json_pack("{s:s, s:s, s:i, s:s, s:s}", "name", "wall", "host", "127.0.0.1", "port", (int)port, "password", password, "direction", direction);
    if (compliance_server_put(compliance, "wall", fields, add, &err) != 0) fail_msg("%s", err.text);
    json_decref(fields);
    if (add && compliance_assign(compliance, NODE, "wall", SYSTEM_PROFILE, &err) != 0) fail_msg("%s", err.text);
    if (compliance_config_check(compliance, &err) != 0) fail_msg("%s", err.text);
    compliance->version++;
    if (broker_set_config(compliance, &err) != 0) fail_msg("%s", err.text);
}
static void take_out(void)
{
    struct err err;
    assert_int_equal(compliance_unassign(compliance, NODE, "wall", &err), 0);
    assert_int_equal(compliance_server_delete(compliance, "wall", &err), 0);
    compliance->version++;
    assert_int_equal(broker_set_config(compliance, &err), 0);
    for (unsigned i = 0; look().n > 0; i++) { /* it ends when what it was asked has been answered */
        assert_true(i < 5000);
        nap(2);
    }
}
/* A server in connect direction, ACTIVE. */
static struct server *up(enum server_answers how)
{
    struct server *s = server_listen(WALL, PASSWORD, 0);
    server_answers(s, how);
    put(true, "connect", server_port(s), PASSWORD);
    assert_true(server_wait_active(s));
    wait_state("ACTIVE");
    return s;
}
static void down(struct server *s)
{
    take_out();
    server_free(s);
}

/* ---- tests ---- */

static void test_nobody_is_asked(void **state)
{
    UNIT_UNUSED(state);
    struct raised *v = verdict(0);
    assert_int_equal(v->kind, VERDICT_PASS);
    assert_int_equal(look().n, 0);
    assert_int_equal(broker_holds(), 0);
}

static void test_every_answer(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_PASS);
    for (uint32_t worker = 0; worker < 2; worker++) {
        server_answers(s, SERVER_PASS);
        struct raised *v = verdict(worker);
        assert_int_equal(v->kind, VERDICT_PASS);
        assert_false(v->changed);
        server_answers(s, SERVER_REDACT);
        v = verdict(worker);
        assert_int_equal(v->kind, VERDICT_PASS);
        assert_true(v->changed);
        assert_string_equal(v->body, "<body>[redacted]</body>");
        server_answers(s, SERVER_HANDLE);
        assert_int_equal(verdict(worker)->kind, VERDICT_HANDLE);
        server_answers(s, SERVER_ERROR);
        v = verdict(worker);
        assert_int_equal(v->kind, VERDICT_REFUSE);
        assert_string_equal(v->condition, "policy-violation");
        assert_string_equal(v->text, "walls have ears");
        assert_false(v->outage);
        server_answers(s, SERVER_INVALID);
        v = verdict(worker);
        assert_int_equal(v->kind, VERDICT_REFUSE);
        assert_true(alarmed("compliance-invalid-answer", ""));
    }
    assert_int_equal(look().invalid, 2);
    assert_int_equal(look().events, 10);
    assert_int_equal(server_events(s), 10);
    assert_true(strncmp(server_event(s, 0), "es_OUT node1-", 13) == 0);
    assert_true(logged("Connecting on fd "));
    assert_true(logged("Component " WALL " is CONNECTED"));
    assert_true(logged("Component " WALL " is ACTIVE"));
    down(s);
    assert_true(logged("Component " WALL " is GONE"));
    assert_false(alarmed("compliance-invalid-answer", ""));
    assert_int_equal(verdict(0)->kind, VERDICT_PASS); /* nobody is asked any more */
}

static void test_timeout(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_SILENT);
    struct raised *v = verdict(1);
    assert_int_equal(v->kind, VERDICT_REFUSE);
    assert_true(v->outage);
    assert_in_range(v->took_ms, 1400, 5000);
    assert_int_equal(look().timeouts, 1);
    assert_true(alarmed("compliance-event-timeout", ""));
    assert_string_equal(look().state, "ACTIVE"); /* one event's time-out is not the link's failure */
    server_answers(s, SERVER_PASS);
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    down(s);
}

static void test_graceful_end_is_an_error_at_once(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_SILENT);
    struct raised *r[2] = {raise(0, 1, false), raise(1, 2, false)};
    assert_true(server_wait_events(s, 2));
    server_end(s);
    for (unsigned i = 0; i < 2; i++) {
        wait_done(r[i]);
        assert_int_equal(r[i]->kind, VERDICT_REFUSE);
        assert_true(r[i]->outage);
        assert_true(r[i]->took_ms < 1000);
        free(r[i]);
    }
    down(s);
}

static void test_cut_resends_the_same_events(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_SILENT);
    struct raised *r[4];
    for (unsigned i = 0; i < 3; i++) r[i] = raise(0, i + 1, false);
    assert_true(server_wait_events(s, 3));
    server_answers(s, SERVER_PASS);
    server_cut(s);
    assert_true(server_wait_over(s));
    r[3] = raise(0, 4, false);
    assert_true(server_wait_events(s, 7));
    for (unsigned i = 0; i < 4; i++) {
        wait_done(r[i]);
        assert_int_equal(r[i]->kind, VERDICT_PASS);
        free(r[i]);
    }
    for (unsigned i = 0; i < 3; i++) assert_string_equal(server_event(s, i), server_event(s, i + 3)); /* same ids, same order */
    assert_true(strcmp(server_event(s, 5), server_event(s, 6)) < 0);
    assert_true(logged("its events wait for it up to 2 s"));
    down(s);
}

static void test_outage_window_ends(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_SILENT);
    uint16_t port = server_port(s);
    server_free(s);
    wait_state("QUEUEING");
    assert_true(alarmed("compliance-link-lost", ""));
    uint64_t began = clock_ms();
    for (unsigned i = 0; i < 1000 && strcmp(look().state, "GONE") != 0 && clock_ms() - began < 4000; i++) nap(10);
    struct raised *v = verdict(0); /* may come while it is dialling; then the window is over all the same */
    if (clock_ms() - began < 2500) v = verdict(0);
    assert_int_equal(v->kind, VERDICT_REFUSE);
    s = server_listen(WALL, PASSWORD, port);
    assert_true(server_wait_active(s));
    wait_state("ACTIVE");
    assert_false(alarmed("compliance-link-lost", ""));
    assert_int_equal(verdict(1)->kind, VERDICT_PASS);
    char text[128];
    snprintf(text, sizeof text, "Unable to connect to host '127.0.0.1', port %u:(111) Connection refused", port);
    assert_true(logged(text));
    down(s);
}

static void test_random_order_keeps_the_lane(void **state)
{
    UNIT_UNUSED(state);
    enum { N = 2000 };
    static struct raised *r[N];
    struct server *s = up(SERVER_SHUFFLE);
    atomic_store(&n_done, 0);
    atomic_store(&last_number, 0);
    uint64_t began = clock_ms();
    for (unsigned i = 0; i < N; i++) r[i] = raise(0, i + 1, true);
    for (unsigned i = 0; i < 5000 && atomic_load(&n_done) < N; i++) nap(4);
    assert_int_equal(atomic_load(&n_done), N);
    print_message("# %d events in %u ms\n", N, (unsigned)(clock_ms() - began));
    assert_int_equal(out_of_order, 0);
    assert_int_equal(server_events(s), N);
    for (unsigned i = 0; i < N; i++) { /* sent in lane order too */
        char tail[16];
        snprintf(tail, sizeof tail, " %u", i + 1);
        wait_done(r[i]);
        assert_string_equal(strrchr(server_event(s, i), ' '), tail);
        assert_int_equal(r[i]->kind, VERDICT_PASS);
        free(r[i]);
    }
    down(s);
}

static void test_handshakes_refused(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = server_listen(WALL, "another", 0);
    put(true, "connect", server_port(s), PASSWORD);
    for (unsigned i = 0; i < 2000 && !alarmed("compliance-handshake-refused", "not-authorized"); i++) nap(2);
    assert_true(alarmed("compliance-handshake-refused", "not-authorized"));
    struct raised *v = verdict(0); /* never ACTIVE: at once */
    assert_int_equal(v->kind, VERDICT_REFUSE);
    assert_true(v->outage && v->took_ms < 1000);
    put(false, "connect", server_port(s), "another"); /* corrected: connects without a restart */
    wait_state("ACTIVE");
    assert_false(alarmed("compliance-handshake-refused", ""));
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    down(s);
    s = server_listen("op-other.node1-example-com", PASSWORD, 0);
    put(true, "connect", server_port(s), PASSWORD);
    for (unsigned i = 0; i < 2000 && !alarmed("compliance-handshake-refused", "host-unknown"); i++) nap(2);
    assert_true(alarmed("compliance-handshake-refused", "host-unknown"));
    down(s);
    assert_false(alarmed("compliance-handshake-refused", ""));
}

static void test_may_only_answer_and_ping(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_PASS);
    server_send(s, "<message from='" WALL "' to='juliet@example.com'><body>Hear me!</body></message>"
                   "<iq type='get' id='d1' from='" WALL "' to='event-broker.example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
                   "<iq type='get' id='x1' from='" WALL "' to='event-broker.example.com'><ping xmlns='urn:xmpp:ping'/></iq>");
    for (unsigned i = 0; i < 1000 && server_pongs(s) == 0; i++) nap(2);
    assert_int_equal(server_pongs(s), 1);
    assert_int_equal(server_refused(s), 1);
    assert_true(logged("sent what it may not"));
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    nap(600); /* idle: it is pinged */
    assert_true(server_pings(s) > 0);
    assert_string_equal(look().state, "ACTIVE");
    server_answers(s, SERVER_DEAD);
    wait_state("QUEUEING"); /* a ping that nothing answers is a cut */
    down(s);
}

static void test_accept_direction(void **state)
{
    UNIT_UNUSED(state);
    put(true, "accept", 0, PASSWORD);
    uint16_t port = (uint16_t)broker_port(false);
    assert_int_not_equal(port, 0);
    struct server *wrong = server_dial(WALL, "wrong", port), *unknown = server_dial("op-x.node1-example-com", PASSWORD, port);
    assert_true(server_wait_over(wrong) && server_wait_over(unknown));
    assert_string_equal(server_error(wrong), "not-authorized");
    assert_string_equal(server_error(unknown), "host-unknown");
    server_free(wrong);
    server_free(unknown);
    for (unsigned i = 0; i < 4; i++) { /* whichever worker accepts it, it comes to the link's */
        struct server *s = server_dial(WALL, PASSWORD, port);
        assert_true(server_wait_active(s));
        wait_state("ACTIVE");
        assert_int_equal(verdict(i % 2)->kind, VERDICT_PASS);
        server_end(s);
        assert_true(server_wait_over(s));
        wait_state("GONE");
        server_free(s);
    }
    take_out();
}

static void test_second_connection(void **state)
{
    UNIT_UNUSED(state);
    put(true, "accept", 0, PASSWORD);
    uint16_t port = (uint16_t)broker_port(false);
    struct server *first = server_dial(WALL, PASSWORD, port);
    assert_true(server_wait_active(first));
    wait_state("ACTIVE");
    struct server *second = server_dial(WALL, PASSWORD, port);
    assert_true(server_wait_over(second));
    assert_string_equal(server_error(second), "conflict");
    server_free(second);
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    server_answers(first, SERVER_DEAD); /* now it is silent: rebooted without a word, say */
    struct raised *r = raise(1, 1, false);
    assert_true(server_wait_events(first, 2));
    second = server_dial(WALL, PASSWORD, port);
    assert_true(server_wait_active(second));
    assert_true(server_wait_over(first));
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    wait_done(r);
    free(r);
    server_free(first);
    down(second);
}

static void test_direction_is_changed(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_PASS);
    put(false, "accept", 0, PASSWORD);
    assert_true(server_wait_over(s));
    struct server *other = server_dial(WALL, PASSWORD, (uint16_t)broker_port(false));
    assert_true(server_wait_active(other));
    wait_state("ACTIVE");
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    server_free(s);
    down(other);
}

static atomic_uint traced_raises, traced_passes;
static void on_trace(const struct event_trace *t)
{
    if (t->verdict == NULL)
        traced_raises++;
    else if (strcmp(t->verdict, "pass") == 0)
        traced_passes++;
}

static void test_full_queue(void **state)
{
    UNIT_UNUSED(state);
    enum { N = 8000 };
    static struct raised *r[N];
    struct server *s = up(SERVER_SILENT);
    int64_t full = metric_read(METRIC_EVENTS_QUEUE_FULL), late = metric_read(METRIC_EVENTS_TIMEOUT);
    for (unsigned i = 0; i < N; i++) r[i] = raise(i % 2, i, false);
    for (unsigned i = 0; i < N; i++) {
        wait_done(r[i]);
        assert_int_equal(r[i]->kind, VERDICT_REFUSE);
        assert_true(r[i]->outage);
        free(r[i]);
    }
    full = metric_read(METRIC_EVENTS_QUEUE_FULL) - full;
    late = metric_read(METRIC_EVENTS_TIMEOUT) - late;
    assert_true(full > 100 && late > 100);
    assert_int_equal(full + late, N);
    assert_true(logged("compliance-queue-full"));
    for (unsigned i = 0; i < 1000 && alarmed("compliance-queue-full", ""); i++) nap(2);
    assert_false(alarmed("compliance-queue-full", "")); /* those given up are not kept */
    server_answers(s, SERVER_PASS);
    assert_int_equal(verdict(0)->kind, VERDICT_PASS);
    down(s);
}

static void test_fire_and_forget(void **state)
{
    UNIT_UNUSED(state);
    struct err err;
    json_t *fields = json_pack("{s:[{s:s, s:s, s:s, s:b}]}", "rows", "event", "es_OUT", "packet", "message", "handling", "pass", "fire_and_forget", 1);
    if (compliance_profile_put(compliance, "Archive", fields, true, NULL, &err) != 0) fail_msg("%s", err.text);
    json_decref(fields);
    struct server *s = up(SERVER_SILENT);
    assert_int_equal(compliance_unassign(compliance, NODE, "wall", &err), 0);
    assert_int_equal(compliance_assign(compliance, NODE, "wall", "Archive", &err), 0);
    put(false, "connect", server_port(s), PASSWORD);
    for (uint32_t i = 0; i < 2; i++) {
        struct raised *v = verdict(i);
        assert_int_equal(v->kind, VERDICT_PASS);
        assert_true(v->took_ms < 1000);
    }
    assert_true(server_wait_events(s, 2));
    assert_string_equal(look().state, "ACTIVE"); /* another profile is no reason to connect anew */
    down(s);
    assert_int_equal(compliance_profile_delete(compliance, "Archive", &err), 0);
}

static void test_trace(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_PASS);
    broker_trace(on_trace);
    verdict(0);
    broker_trace(NULL);
    verdict(0);
    assert_int_equal(traced_raises, 1);
    assert_int_equal(traced_passes, 1);
    down(s);
}

static void test_stops_gracefully(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = up(SERVER_SHUFFLE);
    struct raised *r[10];
    for (unsigned i = 0; i < 10; i++) r[i] = raise(i % 2, i, false);
    assert_true(server_wait_events(s, 1));
    broker_stop(3000);
    for (unsigned i = 0; i < 10; i++) {
        wait_done(r[i]);
        assert_int_equal(r[i]->kind, VERDICT_PASS); /* answered before the end */
        free(r[i]);
    }
    assert_true(server_wait_over(s));
    assert_true(server_ended(s));
    struct raised *v = verdict(0);
    assert_int_equal(v->kind, VERDICT_REFUSE); /* no link: nothing goes on unasked */
    assert_true(v->outage);
    server_free(s);
}

/* ---- around them ---- */

static void start_worker(unsigned worker)
{
    UNIT_UNUSED(worker);
    struct err err;
    broker_worker_start();
    if (broker_listen(&err) != 0) abort();
}
static void stop_worker(unsigned worker)
{
    lane_set_free(&lanes[worker]);
    xml_parsers_trim();
}

static int setup(void **state)
{
    UNIT_UNUSED(state);
    static const char *const overrides[] = {"server.domains=example.com",   "component.listen=127.0.0.1:0",    "broker.event_timeout=1500", "broker.outage_window=2000",
                                            "broker.ping_interval=300",      "broker.ping_timeout=6000", "broker.connect_timeout=2000",
                                            "broker.link_queue_bytes=4194304"};
    struct err err;
    int fd = mkstemp(log_path);
    if (fd < 0) return -1;
    close(fd);
    if (log_start(LOG_LEVEL_DEBUG, "text", log_path, &err) != 0) return -1;
    if (config_load(&config, NULL, overrides, sizeof overrides / sizeof overrides[0], &err) != 0) return -1;
    compliance = compliance_config_new();
    if (broker_start(&config, NODE, 0x6a1b, &err) != 0) return -1;
    return workers_start(2, start_worker, &err);
}
static int teardown(void **state)
{
    UNIT_UNUSED(state);
    workers_stop(stop_worker);
    compliance_config_free(compliance);
    config_free(&config);
    log_stop();
    unlink(log_path);
    xml_parsers_trim();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_asked),
        cmocka_unit_test(test_every_answer),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_graceful_end_is_an_error_at_once),
        cmocka_unit_test(test_cut_resends_the_same_events),
        cmocka_unit_test(test_outage_window_ends),
        cmocka_unit_test(test_random_order_keeps_the_lane),
        cmocka_unit_test(test_handshakes_refused),
        cmocka_unit_test(test_may_only_answer_and_ping),
        cmocka_unit_test(test_accept_direction),
        cmocka_unit_test(test_second_connection),
        cmocka_unit_test(test_direction_is_changed),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_fire_and_forget),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_stops_gracefully),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
