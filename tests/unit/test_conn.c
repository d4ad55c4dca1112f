/* Connections over loopback, plain and with TLS: echo of large streams under back-pressure with pauses and partial consumption, limits,
 * the ways a connection ends, and the texts of failed dialing. */
#include "io_fixture.h"

#include "base/log.h"
#include "base/metric.h"
#include "io/private.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct end {
    struct conn *conn;
    struct rig *rig;
    uint64_t got, sent;
    bool drain_wait, check_only;
};

/* One server end and one client end, both on worker 0 (so that nothing here needs a lock), unless a test says otherwise. */
struct rig {
    struct conn_listener *listener;
    uint16_t port;
    struct end server, client;
    const struct conn_ops *server_ops;
    struct tls_context *tls_server, *tls_client;
    bool tls, tls12;
    uint64_t total; /* bytes the client sends and wants back */
    unsigned pauses, callbacks;
    struct wheel_timer resume;
    struct err why[2];
    bool has_why[2];
    _Atomic int client_closed, server_closed, finished, connected, tls_done;
};

static void closed(struct end *e, const struct err *why)
{
    struct rig *r = e->rig;
    int i = e == &r->client;
    e->conn = NULL;
    r->has_why[i] = why != NULL;
    if (why != NULL) r->why[i] = *why;
    atomic_fetch_add(i ? &r->client_closed : &r->server_closed, 1);
}
static void on_closed(void *owner, const struct err *why) { closed(owner, why); }

/* ---- the echoing server: uses bytes in odd portions, pauses now and then, stops while its output is over the mark ---- */

static void resume_server(struct wheel_timer *t)
{
    struct rig *r = CONTAINER_OF(t, struct rig, resume);
    if (r->server.conn != NULL) conn_resume(r->server.conn);
}

static size_t echo_data(void *owner, const char *data, size_t n)
{
    struct end *e = owner;
    struct rig *r = e->rig;
    bool last = e->got + n == r->total; /* nothing comes after it that would offer a rest again */
    size_t use = n > 7 && !last ? n - n % 7 : n;
    if (++r->callbacks % 50 == 0 && !list_linked(&r->resume.node)) {
        r->pauses++;
        conn_pause(e->conn);
        worker_timer(&r->resume, 3);
        use = n / 2;
    }
    for (size_t i = 0; i < use; i++) assert_int_equal(data[i], io_byte(e->got + i));
    e->got += use;
    conn_write(e->conn, data, use);
    if (!e->drain_wait && conn_over(e->conn)) {
        e->drain_wait = true;
        conn_pause(e->conn);
    }
    return use;
}

static void echo_drain(void *owner)
{
    struct end *e = owner;
    if (!e->drain_wait) return;
    e->drain_wait = false;
    conn_resume(e->conn);
}

static void on_tls(void *owner)
{
    struct end *e = owner;
    atomic_fetch_add(&e->rig->tls_done, 1);
    assert_non_null(conn_tls_version(e->conn));
}
static const struct conn_ops echo_ops = {.on_data = echo_data, .on_drain = echo_drain, .on_tls = on_tls, .on_closed = on_closed};

static void accepted(void *arg, struct conn *conn)
{
    struct rig *r = arg;
    r->server.conn = conn;
    conn_set_owner(conn, r->server_ops, &r->server);
    conn_set_limits(conn, 65536, 16u << 20);
    assert_int_equal(strncmp(conn_peer(conn), "127.0.0.1:", 10), 0);
    struct err err;
    if (r->tls) assert_int_equal(conn_start_tls(conn, r->tls_server, true, NULL, &err), 0);
}

/* ---- the client: keeps its output filled, checks what comes back ---- */

static void client_fill(struct end *e)
{
    struct rig *r = e->rig;
    while (e->sent < r->total && !conn_over(e->conn)) {
        char chunk[5000];
        size_t n = r->total - e->sent < sizeof chunk ? (size_t)(r->total - e->sent) : sizeof chunk;
        for (size_t i = 0; i < n; i++) chunk[i] = io_byte(e->sent + i);
        if (e->sent % 3 == 0) {
            buf_add(conn_out(e->conn), chunk, n);
            conn_wrote(e->conn);
        } else {
            conn_write(e->conn, chunk, n);
        }
        e->sent += n;
    }
}
static void client_connected(void *owner)
{
    struct end *e = owner;
    struct rig *r = e->rig;
    struct err err;
    atomic_fetch_add(&r->connected, 1);
    if (r->tls && conn_start_tls(e->conn, r->tls_client, false, "localhost", &err) != 0) fail_msg("%s", err.text);
    if (r->tls12) SSL_set_max_proto_version(e->conn->ssl, TLS1_2_VERSION);
    client_fill(e);
}
static size_t client_data(void *owner, const char *data, size_t n)
{
    struct end *e = owner;
    for (size_t i = 0; i < n; i++) assert_int_equal(data[i], io_byte(e->got + i));
    e->got += n;
    if (e->got == e->rig->total) atomic_store(&e->rig->finished, 1);
    return n;
}
static void client_drain(void *owner) { client_fill(owner); }
static const struct conn_ops client_ops = {
    .on_data = client_data, .on_connected = client_connected, .on_tls = on_tls, .on_drain = client_drain, .on_closed = on_closed};

static void rig_listen(void *arg)
{
    struct rig *r = arg;
    struct err err;
    r->server.rig = r->client.rig = r;
    r->resume.fn = resume_server;
    if (r->server_ops == NULL) r->server_ops = &echo_ops;
    r->listener = conn_listen("127.0.0.1", 0, accepted, r, &err);
    if (r->listener == NULL) fail_msg("%s", err.text);
    r->port = conn_listener_port(r->listener);
    if (!r->tls) return;
    r->tls_server = tls_server_new(io_cert, io_key, "xmpp-client", &err);
    if (r->tls_server == NULL) fail_msg("%s", err.text);
    r->tls_client = tls_client_new(io_cert, true, &err);
    if (r->tls_client == NULL) fail_msg("%s", err.text);
}
static void rig_dial(void *arg)
{
    struct rig *r = arg;
    r->client.conn = conn_dial("127.0.0.1", r->port, "test", &client_ops, &r->client);
    conn_set_limits(r->client.conn, 131072, 1u << 20);
}
static void client_close(void *arg) { conn_close(((struct rig *)arg)->client.conn); }
static void rig_end(void *arg)
{
    struct rig *r = arg;
    worker_timer_cancel(&r->resume);
    conn_listener_close(r->listener);
    tls_unref(r->tls_server);
    tls_unref(r->tls_client);
}

static void echo(bool tls, uint64_t total)
{
    static struct rig r;
    memset(&r, 0, sizeof r);
    r.tls = tls;
    r.total = total;
    io_call(0, rig_listen, &r);
    io_call(0, rig_dial, &r);
    io_wait(&r.finished, 1);
    assert_int_equal(atomic_load(&r.tls_done), tls ? 2 : 0);
    assert_true(total < 1000000 || r.pauses > 3);
    io_call(0, client_close, &r);
    io_wait(&r.client_closed, 1);
    io_wait(&r.server_closed, 1);
    assert_false(r.has_why[0]); /* the server saw a proper end */
    assert_false(r.has_why[1]);
    assert_int_equal(r.server.got, total);
    io_call(0, rig_end, &r);
}
static void test_echo_plain_small(void **state) { UNIT_UNUSED(state); echo(false, 1000); }
static void test_echo_plain_large(void **state) { UNIT_UNUSED(state); echo(false, 20000000); }
static void test_echo_tls_small(void **state) { UNIT_UNUSED(state); echo(true, 1000); }
static void test_echo_tls_large(void **state) { UNIT_UNUSED(state); echo(true, 20000000); }

/* ---- limits ---- */

static size_t keep_all(void *owner, const char *data, size_t n)
{
    UNIT_UNUSED(owner);
    UNIT_UNUSED(data);
    UNIT_UNUSED(n);
    return 0;
}
static const struct conn_ops keep_ops = {.on_data = keep_all, .on_closed = on_closed};

/* The server never uses what comes: it is cut at 64 KiB. */
static void unused_input(bool tls)
{
    static struct rig r;
    memset(&r, 0, sizeof r);
    r.tls = tls;
    r.total = 300000;
    r.server_ops = &keep_ops;
    io_call(0, rig_listen, &r);
    io_call(0, rig_dial, &r);
    io_wait(&r.server_closed, 1);
    io_wait(&r.client_closed, 1);
    assert_true(r.has_why[0]);
    assert_int_equal(r.why[0].code, ERR_LIMIT);
    io_call(0, rig_end, &r);
}
static void test_unused_input_is_bounded(void **state)
{
    UNIT_UNUSED(state);
    unused_input(false);
    unused_input(true);
}

/* ---- a peer made of a plain socket, on the test's own thread ---- */

static int raw_connect(const struct rig *r)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(r->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void flood(void *arg)
{
    struct rig *r = arg;
    static const char zeros[65536];
    for (int i = 0; r->server.conn != NULL && i < 1000; i++) conn_write(r->server.conn, zeros, sizeof zeros);
}

static size_t drop_all(void *owner, const char *data, size_t n)
{
    struct end *e = owner;
    UNIT_UNUSED(data);
    e->got += n;
    atomic_store(&e->rig->finished, 1);
    return n;
}
static const struct conn_ops drop_ops = {.on_data = drop_all, .on_closed = on_closed};

static void test_slow_reader_is_cut(void **state)
{
    static struct rig r;
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    r.server_ops = &drop_ops;
    io_call(0, rig_listen, &r);
    int fd = raw_connect(&r);
    assert_int_equal(write(fd, "x", 1), 1);
    io_wait(&r.finished, 1);
    int64_t before = metric_read(METRIC_CONN_OVERRUN);
    io_call(0, flood, &r); /* 64 MB, of which 16 MiB may wait */
    io_wait(&r.server_closed, 1);
    assert_true(r.has_why[0]);
    assert_int_equal(r.why[0].code, ERR_LIMIT);
    assert_int_equal(metric_read(METRIC_CONN_OVERRUN), before + 1);
    close(fd);
    io_call(0, rig_end, &r);
}

static void test_reset_tells_why(void **state)
{
    static struct rig r;
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    r.server_ops = &drop_ops;
    io_call(0, rig_listen, &r);
    int fd = raw_connect(&r);
    assert_int_equal(write(fd, "x", 1), 1);
    io_wait(&r.finished, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    io_wait(&r.server_closed, 1);
    assert_true(r.has_why[0]);
    assert_non_null(strstr(r.why[0].text, "connection reset"));
    io_call(0, rig_end, &r);
}

static void bye(void *arg)
{
    struct rig *r = arg;
    static const char text[] = "last words";
    conn_write(r->server.conn, text, sizeof text - 1);
    conn_close(r->server.conn);
    conn_write(r->server.conn, "nothing more", 12);
    conn_close(r->server.conn);
}

/* conn_close() flushes and ends with FIN, even when the peer has sent what nobody read. */
static void test_close_flushes(void **state)
{
    static struct rig r;
    char got[64];
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    r.server_ops = &drop_ops;
    io_call(0, rig_listen, &r);
    int fd = raw_connect(&r);
    assert_int_equal(write(fd, "x", 1), 1);
    io_wait(&r.finished, 1);
    io_call(0, bye, &r);
    assert_int_equal(write(fd, "unread", 6), 6);
    size_t n = 0;
    for (ssize_t part; (part = read(fd, got + n, sizeof got - n)) > 0;) n += (size_t)part;
    assert_int_equal(n, 10);
    assert_memory_equal(got, "last words", 10);
    io_wait(&r.server_closed, 1);
    assert_false(r.has_why[0]);
    close(fd);
    io_call(0, rig_end, &r);
}

/* Something that is not TLS fails the handshake, with a text; so does a cut in the middle of it. */
static void test_bad_handshakes(void **state)
{
    static struct rig r;
    UNIT_UNUSED(state);
    for (int cut = 0; cut < 2; cut++) {
        memset(&r, 0, sizeof r);
        r.tls = true;
        io_call(0, rig_listen, &r);
        int fd = raw_connect(&r);
        const char *text = cut ? "\x16\x03\x01\x02" : "<stream:stream xmlns='jabber:client'>";
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        if (cut) close(fd);
        io_wait(&r.server_closed, 1);
        assert_true(r.has_why[0]);
        assert_non_null(strstr(r.why[0].text, "TLS handshake"));
        if (!cut) close(fd);
        io_call(0, rig_end, &r);
    }
}

/* A TLS peer that ends TCP without close_notify was cut. */
static void cut_client(void *arg)
{
    struct rig *r = arg;
    struct err why;
    err_set(&why, ERR_CONFLICT, "by the test");
    conn_abort(r->client.conn, &why);
}
static void test_tls_cut(void **state)
{
    static struct rig r;
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    r.tls = true;
    r.total = 100;
    io_call(0, rig_listen, &r);
    io_call(0, rig_dial, &r);
    io_wait(&r.finished, 1);
    io_call(0, cut_client, &r);
    io_wait(&r.client_closed, 1);
    io_wait(&r.server_closed, 1);
    assert_true(r.has_why[0]);
    assert_non_null(strstr(r.why[0].text, "without TLS close_notify"));
    assert_string_equal(r.why[1].text, "by the test");
    io_call(0, rig_end, &r);
}

static void bindings(void *arg)
{
    struct rig *r = arg;
    unsigned char a[32], b[32];
    assert_true(conn_is_tls(r->server.conn));
    if (r->tls12) {
        assert_string_equal(conn_tls_version(r->server.conn), "TLSv1.2");
        assert_false(conn_tls_exporter(r->server.conn, a));
        size_t n = conn_tls_unique(r->server.conn, a, sizeof a);
        assert_int_equal(n, 12);
        assert_int_equal(conn_tls_unique(r->client.conn, b, sizeof b), n);
        assert_memory_equal(a, b, n);
        return;
    }
    assert_string_equal(conn_tls_version(r->server.conn), "TLSv1.3");
    assert_true(conn_tls_exporter(r->server.conn, a));
    assert_true(conn_tls_exporter(r->client.conn, b));
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(conn_tls_unique(r->server.conn, a, sizeof a), 0);
}
static void channel_binding(bool tls12)
{
    static struct rig r;
    memset(&r, 0, sizeof r);
    r.tls = true;
    r.tls12 = tls12;
    r.total = 100;
    io_call(0, rig_listen, &r);
    io_call(0, rig_dial, &r);
    io_wait(&r.finished, 1);
    io_call(0, bindings, &r);
    io_call(0, client_close, &r);
    io_wait(&r.client_closed, 1);
    io_wait(&r.server_closed, 1);
    io_call(0, rig_end, &r);
}

static void test_channel_binding(void **state)
{
    UNIT_UNUSED(state);
    channel_binding(false);
    channel_binding(true);
}

/* ---- dialing ---- */

static char log_path[128];

static bool log_has(const char *text)
{
    static char all[65536];
    int fd = open(log_path, O_RDONLY);
    ssize_t n = read(fd, all, sizeof all - 1);
    close(fd);
    all[n > 0 ? n : 0] = 0;
    return strstr(all, text) != NULL;
}

struct dialed {
    struct rig rig;
    const char *host;
    uint16_t port;
    bool close_at_once;
};
static void dial_run(void *arg)
{
    struct dialed *d = arg;
    d->rig.client.rig = &d->rig;
    d->rig.client.conn = conn_dial(d->host, d->port, "test", &client_ops, &d->rig.client);
    assert_int_equal(atomic_load(&d->rig.client_closed), 0); /* never before return */
    if (d->close_at_once) conn_close(d->rig.client.conn);
}

/* A name with two addresses, of which the first refuses: the C library's own answers for both, put in a row. */
int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    if (strcmp(name, "two.test") != 0) return real(name, service, hints, out);
    int rc = real("127.0.0.2", service, hints, out);
    return rc != 0 ? rc : real("127.0.0.1", service, hints, &(*out)->ai_next);
}

static void test_dial_second_address(void **state)
{
    static struct rig r;
    static struct dialed d;
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    memset(&d, 0, sizeof d);
    r.server_ops = &drop_ops;
    io_call(0, rig_listen, &r);
    d.host = "two.test";
    d.port = r.port;
    d.rig.total = 10;
    io_call(0, dial_run, &d);
    io_wait(&r.finished, 1); /* bytes have come, so the second address was used */
    assert_int_equal(atomic_load(&d.rig.connected), 1);
    assert_int_equal(atomic_load(&d.rig.client_closed), 0);
    io_call(0, client_close, &d.rig);
    io_wait(&d.rig.client_closed, 1);
    io_wait(&r.server_closed, 1);
    io_call(0, rig_end, &r);
}

static void listener_end(void *arg) { conn_listener_close(((struct rig *)arg)->listener); }

static void test_dial_refused(void **state)
{
    static struct rig r;
    static struct dialed d;
    char text[160];
    struct err err;
    UNIT_UNUSED(state);
    snprintf(log_path, sizeof log_path, "%s/log", io_dir);
    assert_int_equal(log_start(LOG_LEVEL_INFO, "text", log_path, &err), 0);
    memset(&r, 0, sizeof r);
    io_call(0, rig_listen, &r);
    io_call(0, listener_end, &r);
    usleep(20000); /* the port is free again */
    memset(&d, 0, sizeof d);
    d.host = "127.0.0.1";
    d.port = r.port;
    io_call(0, dial_run, &d);
    io_wait(&d.rig.client_closed, 1);
    assert_int_equal(atomic_load(&d.rig.connected), 0);
    snprintf(text, sizeof text, "Unable to connect to host '127.0.0.1', port %u:(111) Connection refused", r.port);
    assert_string_equal(d.rig.why[1].text, text);
    assert_true(log_has(text));
    assert_true(log_has("Connecting on fd "));
    snprintf(text, sizeof text, " to host '127.0.0.1', port %u", r.port);
    assert_true(log_has(text));
    log_stop();
    unlink(log_path);
}

static void test_dial_no_such_name(void **state)
{
    static struct dialed d;
    UNIT_UNUSED(state);
    memset(&d, 0, sizeof d);
    d.host = "no-such-host.invalid";
    d.port = 1;
    io_call(0, dial_run, &d);
    io_wait(&d.rig.client_closed, 1);
    assert_true(d.rig.has_why[1]);
    assert_non_null(strstr(d.rig.why[1].text, "Unable to resolve host 'no-such-host.invalid'"));
}

static void test_dial_given_up(void **state)
{
    static struct dialed d;
    UNIT_UNUSED(state);
    memset(&d, 0, sizeof d);
    d.host = "localhost";
    d.port = 9;
    d.close_at_once = true;
    io_call(0, dial_run, &d);
    io_wait(&d.rig.client_closed, 1);
    assert_false(d.rig.has_why[1]);
}

/* The client checks the name in the certificate. */
static void wrong_name_connected(void *owner)
{
    struct end *e = owner;
    struct err err;
    assert_int_equal(conn_start_tls(e->conn, e->rig->tls_client, false, "example.org", &err), 0);
}
static const struct conn_ops wrong_name_ops = {.on_data = client_data, .on_connected = wrong_name_connected, .on_closed = on_closed};
static void dial_wrong_name(void *arg)
{
    struct rig *r = arg;
    r->client.conn = conn_dial("127.0.0.1", r->port, "test", &wrong_name_ops, &r->client);
}
static void test_wrong_name(void **state)
{
    static struct rig r;
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    r.tls = true;
    io_call(0, rig_listen, &r);
    io_call(0, dial_wrong_name, &r);
    io_wait(&r.client_closed, 1);
    io_wait(&r.server_closed, 1);
    assert_non_null(strstr(r.why[1].text, "hostname mismatch"));
    io_call(0, rig_end, &r);
}

static void listen_badly(void *arg)
{
    struct err err;
    UNIT_UNUSED(arg);
    assert_null(conn_listen("localhost", 0, accepted, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(conn_listen("192.0.2.77", 0, accepted, NULL, &err)); /* not ours */
    assert_int_equal(err.code, ERR_IO);
    struct conn_listener *a = conn_listen("::", 0, accepted, NULL, &err);
    assert_non_null(a);
    struct conn_listener *b = conn_listen("[::]", conn_listener_port(a), accepted, NULL, &err); /* as another worker would */
    assert_non_null(b);
    assert_int_equal(conn_listener_port(a), conn_listener_port(b));
    conn_listener_close(a);
    conn_listener_close(b);
}
static void test_listen(void **state)
{
    UNIT_UNUSED(state);
    io_call(0, listen_badly, NULL);
}

static int group_setup(void **state)
{
    struct err err;
    UNIT_UNUSED(state);
    io_make_cert();
    return workers_start(2, NULL, &err);
}
static int group_teardown(void **state)
{
    UNIT_UNUSED(state);
    workers_stop(NULL);
    io_drop_cert();
    return metric_read(METRIC_CONN_OPEN) == 0 && metric_read(METRIC_MAILBOX_DEPTH) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_plain_small),
        cmocka_unit_test(test_echo_plain_large),
        cmocka_unit_test(test_echo_tls_small),
        cmocka_unit_test(test_echo_tls_large),
        cmocka_unit_test(test_unused_input_is_bounded),
        cmocka_unit_test(test_slow_reader_is_cut),
        cmocka_unit_test(test_reset_tells_why),
        cmocka_unit_test(test_close_flushes),
        cmocka_unit_test(test_bad_handshakes),
        cmocka_unit_test(test_tls_cut),
        cmocka_unit_test(test_channel_binding),
        cmocka_unit_test(test_dial_refused),
        cmocka_unit_test(test_dial_second_address),
        cmocka_unit_test(test_dial_no_such_name),
        cmocka_unit_test(test_dial_given_up),
        cmocka_unit_test(test_wrong_name),
        cmocka_unit_test(test_listen),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
