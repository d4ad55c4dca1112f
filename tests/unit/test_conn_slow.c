/* The time-outs of connections, both at the same time: a peer that does not read when we close, and an address that never answers.
 * Ten seconds. And how much of its output a slow peer's connection has taken. */
#include "io_fixture.h"

#include "base/clock.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct end {
    struct conn *conn;
    uint16_t port;
    bool has_why;
    struct err why;
    uint64_t began_ms, ended_ms;
    _Atomic int connected, closed;
};

static size_t no_data(void *owner, const char *data, size_t n)
{
    UNIT_UNUSED(owner);
    UNIT_UNUSED(data);
    return n;
}
static void on_connected(void *owner) { atomic_store(&((struct end *)owner)->connected, 1); }
static void on_closed(void *owner, const struct err *why)
{
    struct end *e = owner;
    e->has_why = why != NULL;
    if (why != NULL) e->why = *why;
    e->ended_ms = clock_ms();
    atomic_store(&e->closed, 1);
}
static const struct conn_ops ops = {.on_data = no_data, .on_connected = on_connected, .on_closed = on_closed};

static void dial(void *arg)
{
    struct end *e = arg;
    e->began_ms = clock_ms();
    e->conn = conn_dial("127.0.0.1", e->port, "test", &ops, e);
    conn_set_limits(e->conn, 1u << 20, 64u << 20);
}
static void write_and_close(void *arg)
{
    struct end *e = arg;
    char *big = x_calloc(1, 32u << 20);
    conn_write(e->conn, big, 32u << 20);
    free(big);
    conn_close(e->conn);
}

/* Listens, but nobody accepts: the kernel completes one connection and leaves the next without an answer. */
static int silent_listener(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void test_time_outs(void **state)
{
    static struct end first, late;
    UNIT_UNUSED(state);
    int fd = silent_listener(&first.port);
    late.port = first.port;
    io_call(0, dial, &first); /* fills the queue of one */
    io_wait(&first.connected, 1);
    io_call(0, dial, &late); /* its SYN is dropped */
    io_call(0, write_and_close, &first);
    io_wait(&first.closed, 1);
    assert_true(first.has_why);
    assert_int_equal(first.why.code, ERR_IO);
    assert_non_null(strstr(first.why.text, "in time"));
    io_wait(&late.closed, 1);
    assert_int_equal(atomic_load(&late.connected), 0);
    assert_non_null(strstr(late.why.text, ":(110) Connection timed out"));
    assert_true(first.ended_ms - first.began_ms >= 5000 && first.ended_ms - first.began_ms < 9000);
    assert_true(late.ended_ms - late.began_ms >= 10000 && late.ended_ms - late.began_ms < 15000);
    close(fd);
}

enum { MUCH = 32 << 20 };
struct position {
    struct end *end;
    uint64_t written, taken;
};
static void ask_position(void *arg)
{
    struct position *p = arg;
    conn_flush(p->end->conn);
    p->written = conn_written(p->end->conn);
    p->taken = conn_taken(p->end->conn);
}
static void write_much(void *arg)
{
    char *big = x_calloc(1, MUCH);
    conn_write(((struct end *)arg)->conn, big, MUCH);
    free(big);
}
static void close_and_ask(void *arg)
{
    conn_close(((struct position *)arg)->end->conn);
    ask_position(arg);
}

static size_t read_up_to(int fd, size_t have, size_t n)
{
    static char bytes[1 << 16];
    while (have < n) {
        ssize_t got = recv(fd, bytes, n - have < sizeof bytes ? n - have : sizeof bytes, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    return have;
}

/* What the peer has read, the kernel had taken; what the kernel has taken, was written; when the peer has all, all was taken. */
static void test_taken(void **state)
{
    static struct end e;
    struct position at = {.end = &e};
    UNIT_UNUSED(state);
    int fd = silent_listener(&e.port);
    io_call(0, dial, &e);
    io_wait(&e.connected, 1);
    int peer = accept(fd, NULL, NULL);
    io_call(0, write_much, &e);
    io_call(0, ask_position, &at);
    assert_int_equal(at.written, MUCH);
    assert_true(at.taken > 0 && at.taken < MUCH);
    uint64_t before = at.taken;
    size_t have = read_up_to(peer, 0, MUCH / 2);
    io_call(0, ask_position, &at);
    assert_true(at.taken >= have && at.taken > before && at.taken < MUCH);
    read_up_to(peer, have, MUCH);
    io_call(0, ask_position, &at);
    assert_int_equal(at.taken, MUCH);
    io_call(0, close_and_ask, &at);
    assert_true(at.written == UINT64_MAX && at.taken == MUCH);
    close(peer);
    io_wait(&e.closed, 1);
    close(fd);
}

static int group_setup(void **state)
{
    struct err err;
    UNIT_UNUSED(state);
    return workers_start(1, NULL, &err);
}
static int group_teardown(void **state)
{
    UNIT_UNUSED(state);
    workers_stop(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken), cmocka_unit_test(test_time_outs)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
