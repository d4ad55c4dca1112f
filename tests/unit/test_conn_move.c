/* Handing connections over while bytes are under way, plain and with TLS: the server end goes round the workers again and again during an echo,
 * and not a byte may be lost, doubled or late. Then the deaths: before the move, during it. Also run under TSan. */
#include "io_fixture.h"

#include "base/metric.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { WORKERS = 3, TOTAL = 6000000, CLIENT_WORKER = 2 };

struct rig {
    struct conn_listener *listener;
    uint16_t port;
    struct tls_context *tls_server, *tls_client;
    bool tls;
    uint32_t client_worker;
    /* the server end: belongs to the worker that has it now */
    struct conn *server;
    uint64_t server_got;
    unsigned callbacks, moves;
    bool moving, wait_drain;
    /* the client end */
    struct conn *client;
    uint64_t sent, got;
    _Atomic int finished, server_closed, client_closed, moved, lost;
    bool server_why;
};

static void on_moved(void *arg, struct conn *conn);

static size_t server_data(void *owner, const char *data, size_t n)
{
    struct rig *r = owner;
    assert_false(r->moving);
    size_t use = ++r->callbacks % 2 || r->server_got + n == TOTAL ? n : n / 2 + 1;
    for (size_t i = 0; i < use; i++) assert_int_equal(data[i], io_byte(r->server_got + i));
    r->server_got += use;
    conn_write(r->server, data, use);
    if (r->callbacks % 5 == 0 && r->server_got < TOTAL) {
        r->moving = true;
        conn_move(r->server, r->callbacks % 4 == 0 ? worker_id() : (worker_id() + 1) % WORKERS, on_moved, r); /* to itself, too */
        r->server = NULL;
    }
    return use;
}
static void server_closed(void *owner, const struct err *why)
{
    struct rig *r = owner;
    r->server_why = why != NULL;
    atomic_store(&r->server_closed, 1);
}
static const struct conn_ops server_ops = {.on_data = server_data, .on_closed = server_closed};

static void on_moved(void *arg, struct conn *conn)
{
    struct rig *r = arg;
    assert_true(r->moving);
    r->moving = false;
    r->server = conn;
    r->moves++;
    atomic_store(&r->moved, 1);
    if (conn == NULL) {
        atomic_store(&r->lost, 1);
        return;
    }
    assert_int_equal(strncmp(conn_peer(conn), "127.0.0.1:", 10), 0);
    assert_true(conn_is_tls(conn) == r->tls);
    assert_true((conn_tls_version(conn) != NULL) == r->tls);
    conn_set_owner(conn, &server_ops, r);
    conn_resume(conn);
}

static void accepted(void *arg, struct conn *conn)
{
    struct rig *r = arg;
    struct err err;
    r->server = conn;
    conn_set_owner(conn, &server_ops, r);
    conn_set_limits(conn, 1u << 20, 64u << 20);
    if (r->tls) assert_int_equal(conn_start_tls(conn, r->tls_server, true, NULL, &err), 0);
}

static void client_fill(void *owner)
{
    struct rig *r = owner;
    while (r->sent < TOTAL && !conn_over(r->client)) {
        char chunk[3000];
        size_t n = TOTAL - r->sent < sizeof chunk ? (size_t)(TOTAL - r->sent) : sizeof chunk;
        for (size_t i = 0; i < n; i++) chunk[i] = io_byte(r->sent + i);
        conn_write(r->client, chunk, n);
        r->sent += n;
    }
}
static void client_connected(void *owner)
{
    struct rig *r = owner;
    struct err err;
    if (r->tls) assert_int_equal(conn_start_tls(r->client, r->tls_client, false, "localhost", &err), 0);
    client_fill(r);
}
static size_t client_data(void *owner, const char *data, size_t n)
{
    struct rig *r = owner;
    for (size_t i = 0; i < n; i++) assert_int_equal(data[i], io_byte(r->got + i));
    r->got += n;
    if (r->got == TOTAL) {
        atomic_store(&r->finished, 1);
        conn_close(r->client);
    }
    return n;
}
static void client_closed(void *owner, const struct err *why)
{
    struct rig *r = owner;
    assert_null(why);
    atomic_store(&r->client_closed, 1);
}
static const struct conn_ops client_ops = {
    .on_data = client_data, .on_connected = client_connected, .on_drain = client_fill, .on_closed = client_closed};

static void rig_listen(void *arg)
{
    struct rig *r = arg;
    struct err err;
    r->listener = conn_listen("127.0.0.1", 0, accepted, r, &err);
    assert_non_null(r->listener);
    r->port = conn_listener_port(r->listener);
    if (!r->tls) return;
    r->tls_server = tls_server_new(io_cert, io_key, NULL, &err);
    r->tls_client = tls_client_new(io_cert, true, &err);
    assert_true(r->tls_server != NULL && r->tls_client != NULL);
}
static void rig_dial(void *arg)
{
    struct rig *r = arg;
    r->client = conn_dial("localhost", r->port, "test", &client_ops, r);
    conn_set_limits(r->client, 100000, 1u << 20);
}
static void rig_end(void *arg)
{
    struct rig *r = arg;
    conn_listener_close(r->listener);
    tls_unref(r->tls_server);
    tls_unref(r->tls_client);
}

static void run_moves(bool tls)
{
    static struct rig r;
    memset(&r, 0, sizeof r);
    r.tls = tls;
    int64_t before = metric_read(METRIC_CONN_MOVES);
    io_call(0, rig_listen, &r);
    io_call(CLIENT_WORKER, rig_dial, &r);
    io_wait(&r.finished, 1);
    io_wait(&r.client_closed, 1);
    io_wait(&r.server_closed, 1);
    assert_false(r.server_why);
    assert_int_equal(r.server_got, TOTAL);
    assert_true(r.moves >= 5);
    assert_int_equal(metric_read(METRIC_CONN_MOVES) - before, r.moves);
    io_call(0, rig_end, &r);
}
static void test_moves_plain(void **state) { UNIT_UNUSED(state); run_moves(false); }
static void test_moves_tls(void **state) { UNIT_UNUSED(state); run_moves(true); }

/* ---- deaths ---- */

static size_t ignore_data(void *owner, const char *data, size_t n)
{
    UNIT_UNUSED(data);
    struct rig *r = owner;
    r->server_got += n;
    return n;
}
static const struct conn_ops quiet_ops = {.on_data = ignore_data, .on_closed = server_closed};

static void accepted_quiet(void *arg, struct conn *conn)
{
    struct rig *r = arg;
    r->server = conn;
    conn_set_owner(conn, &quiet_ops, r);
    conn_set_limits(conn, 1u << 20, 256u << 20);
    atomic_store(&r->finished, 1);
}
static void quiet_listen(void *arg)
{
    struct rig *r = arg;
    struct err err;
    r->listener = conn_listen("127.0.0.1", 0, accepted_quiet, r, &err);
    r->port = conn_listener_port(r->listener);
}

/* More output than the kernel takes, then the move: it must wait. */
static void move_with_output(void *arg)
{
    struct rig *r = arg;
    char *big = x_calloc(1, 32u << 20);
    conn_write(r->server, big, 32u << 20);
    free(big);
    r->moving = true;
    conn_move(r->server, 1, on_moved, r);
}
static void move_when_closing(void *arg)
{
    struct rig *r = arg;
    conn_abort(r->server, NULL);
    r->moving = true;
    conn_move(r->server, 1, on_moved, r);
}

static int raw_connect(const struct rig *r)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(r->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void test_died_meanwhile(void **state)
{
    UNIT_UNUSED(state);
    for (int early = 0; early < 2; early++) {
        static struct rig r;
        const struct linger now = {.l_onoff = 1, .l_linger = 0};
        memset(&r, 0, sizeof r);
        io_call(0, quiet_listen, &r);
        int fd = raw_connect(&r);
        io_wait(&r.finished, 1);
        io_call(0, early ? move_when_closing : move_with_output, &r);
        if (!early) {
            usleep(50000);
            assert_int_equal(atomic_load(&r.moved), 0);
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        close(fd);
        io_wait(&r.moved, 1);
        assert_int_equal(atomic_load(&r.lost), 1);
        assert_int_equal(atomic_load(&r.server_closed), 0); /* the old owner hears nothing */
        io_call(0, rig_end, &r);
    }
}

/* Read slowly, the same 32 MB arrive whole, and then the connection does move. */
static void server_bye(void *arg) { conn_close(((struct rig *)arg)->server); }
static void test_waits_for_output(void **state)
{
    static struct rig r;
    static char part[65536];
    UNIT_UNUSED(state);
    memset(&r, 0, sizeof r);
    io_call(0, quiet_listen, &r);
    int fd = raw_connect(&r);
    io_wait(&r.finished, 1);
    io_call(0, move_with_output, &r);
    size_t n = 0;
    while (n < 32u << 20) {
        ssize_t got = read(fd, part, sizeof part);
        assert_true(got > 0);
        n += (size_t)got;
    }
    io_wait(&r.moved, 1);
    assert_int_equal(atomic_load(&r.lost), 0);
    io_call(1, server_bye, &r);
    assert_int_equal(read(fd, part, sizeof part), 0);
    io_wait(&r.server_closed, 1);
    close(fd);
    io_call(0, rig_end, &r);
}

static int group_setup(void **state)
{
    struct err err;
    UNIT_UNUSED(state);
    io_make_cert();
    return workers_start(WORKERS, NULL, &err);
}
static int group_teardown(void **state)
{
    UNIT_UNUSED(state);
    workers_stop(NULL);
    io_drop_cert();
    return metric_read(METRIC_CONN_OPEN) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves_plain),
        cmocka_unit_test(test_moves_tls),
        cmocka_unit_test(test_died_meanwhile),
        cmocka_unit_test(test_waits_for_output),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
