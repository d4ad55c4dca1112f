/* Component streams on real sockets: the dialling side against a small compliance server and against a TLS peer of a few lines, the accepting side against
 * raw text. */
#include "unit.h"
#include "compliance_server.h"
#include "io/worker.h"
#include "xmpp/component.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NAME     "op-wall.node1-example-com"
#define PASSWORD "s3cret"

static const struct component_limits limits = {.element_bytes = 10000, .out_high_bytes = 1 << 16, .out_max_bytes = 1 << 20, .open_ms = 700, .close_ms = 700};

/* ---- an owner that notes what it is told ---- */

struct probe {
    struct msg msg;
    struct component *component;
    const char *name, *host, *password;
    uint16_t port;
    struct tls_context *tls;
    atomic_uint connected, open, verified, elements, closing, over;
    bool graceful, theirs;
    char condition[64], text[200];
    atomic_uint closed_by_us;
};

static const char *p_password_of(void *owner, struct str name, const char **condition)
{
    UNIT_UNUSED(owner);
    UNIT_UNUSED(condition);
    return str_is(name, NAME) ? PASSWORD : NULL;
}
static void p_connected(void *owner) { ((struct probe *)owner)->connected++; }
static const struct component_ops probe_ops;
static void p_moved(void *arg, struct component *c)
{
    struct probe *p = arg;
    p->component = c;
    assert_int_equal(worker_id(), 1);
    if (c == NULL) return;
    component_set_owner(c, &probe_ops, p);
    component_admit(c);
}
static void p_verified(void *owner)
{
    struct probe *p = owner;
    p->verified++;
    component_move(p->component, 1, p_moved, p);
}
static void p_open(void *owner)
{
    struct probe *p = owner;
    buf_adds(component_out(p->component), "<iq type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>");
    component_wrote(p->component);
    p->open++;
}
static void p_element(void *owner, const struct xml_element *e)
{
    UNIT_UNUSED(e);
    ((struct probe *)owner)->elements++;
}
static void p_closing(void *owner) { ((struct probe *)owner)->closing++; }
static void p_end(void *owner, const struct component_end *end)
{
    struct probe *p = owner;
    p->component = NULL;
    p->graceful = end->graceful;
    p->theirs = end->theirs;
    snprintf(p->condition, sizeof p->condition, "%s", end->condition != NULL ? end->condition : "");
    snprintf(p->text, sizeof p->text, "%s", end->text);
    p->over++;
}
static const struct component_ops probe_ops = {.on_connected = p_connected,
                                               .password_of = p_password_of,
                                               .on_verified = p_verified,
                                               .on_open = p_open,
                                               .on_element = p_element,
                                               .on_closing = p_closing,
                                               .on_end = p_end};

static void dial_run(struct msg *msg)
{
    struct probe *p = CONTAINER_OF(msg, struct probe, msg);
    struct component_target target = {.name = NAME, .host = p->host, .password = p->password, .port = p->port, .tls = p->tls};
    p->component = component_dial(&target, &limits, &probe_ops, p);
}
static void close_run(struct msg *msg)
{
    struct probe *p = CONTAINER_OF(msg, struct probe, msg);
    if (p->component != NULL) component_close(p->component);
    p->closed_by_us++;
}
static void nap(unsigned ms) { nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL); }
static void wait_for(atomic_uint *what)
{
    for (unsigned i = 0; i < 5000 && atomic_load(what) == 0; i++) nap(2);
    assert_true(atomic_load(what) > 0);
}
static struct probe *dial(const char *host, uint16_t port, const char *password, struct tls_context *tls)
{
    struct probe *p = x_calloc(1, sizeof *p);
    p->msg.run = dial_run;
    p->host = host;
    p->port = port;
    p->password = password;
    p->tls = tls;
    worker_post(0, &p->msg);
    return p;
}
static void close_it(struct probe *p, uint32_t worker)
{
    p->msg.run = close_run;
    worker_post(worker, &p->msg);
    wait_for(&p->closed_by_us);
}

/* ---- dialling ---- */

static void test_opens_and_ends_gracefully(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = server_listen(NAME, PASSWORD, 0);
    struct probe *p = dial("127.0.0.1", server_port(s), PASSWORD, NULL);
    wait_for(&p->open);
    wait_for(&p->elements); /* the answer to its ping */
    close_it(p, 0);
    wait_for(&p->over);
    assert_true(p->graceful);
    assert_true(server_wait_over(s) && server_ended(s));
    assert_int_equal(p->closing, 0);
    free(p);
    p = dial("127.0.0.1", server_port(s), PASSWORD, NULL); /* and from the other side */
    wait_for(&p->open);
    server_end(s);
    wait_for(&p->over);
    assert_true(p->graceful && p->closing == 1);
    free(p);
    p = dial("127.0.0.1", server_port(s), PASSWORD, NULL); /* and not so gracefully */
    wait_for(&p->open);
    server_cut(s);
    wait_for(&p->over);
    assert_false(p->graceful);
    assert_string_equal(p->condition, "");
    free(p);
    server_free(s);
}

static void test_refused_by_the_server(void **state)
{
    UNIT_UNUSED(state);
    struct server *s = server_listen(NAME, "another", 0);
    struct probe *p = dial("127.0.0.1", server_port(s), PASSWORD, NULL);
    wait_for(&p->over);
    assert_string_equal(p->condition, "not-authorized");
    assert_true(p->theirs && p->connected == 1 && p->open == 0 && !p->graceful);
    free(p);
    server_free(s);
    s = server_listen("op-other.node1-example-com", PASSWORD, 0);
    p = dial("127.0.0.1", server_port(s), PASSWORD, NULL);
    wait_for(&p->over);
    assert_string_equal(p->condition, "host-unknown");
    uint16_t port = server_port(s);
    free(p);
    server_free(s);
    p = dial("127.0.0.1", port, PASSWORD, NULL); /* nobody listens */
    wait_for(&p->over);
    assert_int_equal(p->connected, 0);
    assert_string_equal(p->condition, "");
    free(p);
}

static void test_too_large_and_broken(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[][2] = {{"<iq", "policy-violation"}, {"<iq></message>", "not-well-formed"}, {"<!-- x --><iq/>", "restricted-xml"}};
    for (unsigned i = 0; i < 3; i++) {
        struct server *s = server_listen(NAME, PASSWORD, 0);
        struct probe *p = dial("127.0.0.1", server_port(s), PASSWORD, NULL);
        wait_for(&p->open);
        struct buf b = {0};
        buf_adds(&b, bad[i][0]);
        for (unsigned n = 0; i == 0 && n < 20000; n++) buf_adds(&b, n == 0 ? "><x>" : "y");
        server_send(s, buf_cstr(&b));
        buf_free(&b);
        wait_for(&p->over);
        assert_string_equal(p->condition, bad[i][1]);
        assert_false(p->theirs);
        assert_true(server_wait_over(s));
        assert_string_equal(server_error(s), bad[i][1]);
        free(p);
        server_free(s);
    }
}

/* ---- a peer on a worker: TLS, or silence ---- */

static struct conn_listener *listeners[2]; /* TLS; accept direction */
static atomic_uint ports[2];
static struct tls_context *server_tls;
static atomic_bool peer_silent;

static size_t peer_data(void *owner, const char *data, size_t n)
{
    struct conn *c = *(struct conn **)owner;
    if (peer_silent) return n;
    if (memmem(data, n, "<stream:stream", 14) != NULL) {
        const char header[] = "<stream:stream xmlns='jabber:component:connect' xmlns:stream='http://etherx.jabber.org/streams' to='" NAME "' id='1'>";
        assert_true(conn_is_tls(c));
        conn_write(c, header, sizeof header - 1);
    }
    if (memmem(data, n, "<handshake>", 11) != NULL) conn_write(c, "<handshake/>", 12);
    if (memmem(data, n, "</stream:stream>", 16) != NULL) {
        conn_write(c, "</stream:stream>", 16);
        conn_close(c);
    }
    return n;
}
static void peer_closed(void *owner, const struct err *why)
{
    UNIT_UNUSED(why);
    free(owner);
}
static const struct conn_ops peer_ops = {.on_data = peer_data, .on_closed = peer_closed};

static void on_peer(void *arg, struct conn *conn)
{
    UNIT_UNUSED(arg);
    struct err err;
    struct conn **owner = x_malloc(sizeof *owner);
    *owner = conn;
    conn_set_owner(conn, &peer_ops, owner);
    if (conn_start_tls(conn, server_tls, true, NULL, &err) != 0) conn_abort(conn, &err);
}

static char dir[] = "/tmp/signet-test-component-XXXXXX", cert[80], key[80];

static void test_tls(void **state)
{
    UNIT_UNUSED(state);
    struct err err;
    struct tls_context *trusting = tls_client_new(cert, true, &err), *other = tls_client_new(NULL, true, &err);
    assert_non_null(trusting);
    assert_non_null(other);
    struct probe *p = dial("localhost", (uint16_t)ports[0], PASSWORD, trusting);
    wait_for(&p->open);
    close_it(p, 0);
    wait_for(&p->over);
    assert_true(p->graceful);
    free(p);
    p = dial("127.0.0.1", (uint16_t)ports[0], PASSWORD, trusting); /* the certificate is not for that name */
    wait_for(&p->over);
    assert_int_equal(p->connected, 0);
    free(p);
    p = dial("localhost", (uint16_t)ports[0], PASSWORD, other); /* nor signed by anybody known */
    wait_for(&p->over);
    assert_int_equal(p->connected, 0);
    free(p);
    peer_silent = true;
    p = dial("localhost", (uint16_t)ports[0], PASSWORD, trusting);
    wait_for(&p->over);
    assert_string_equal(p->text, "no handshake in time");
    assert_int_equal(p->connected, 1);
    peer_silent = false;
    free(p);
    tls_unref(trusting);
    tls_unref(other);
}

/* ---- being dialled ---- */

static struct probe *accepted;

static void on_accept(void *arg, struct conn *conn)
{
    UNIT_UNUSED(arg);
    accepted->component = component_accept(conn, &limits, &probe_ops, accepted);
}

#define HEADER(ns, to) "<?xml version='1.0'?><stream:stream xmlns='" ns "' xmlns:stream='http://etherx.jabber.org/streams' to='" to "'>"

/* Talks to the accepting side: sends what it is given, with $ replaced by the right digest once the id is known; returns all that came. */
static char *talk(const char *first, const char *second)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ports[1]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 3};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct buf in = {0};
    char data[4096], digest[COMPONENT_HANDSHAKE_SIZE];
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(send(fd, first, strlen(first), MSG_NOSIGNAL) > 0);
    for (bool told = second == NULL;;) {
        ssize_t n = recv(fd, data, sizeof data, 0);
        if (n <= 0) break;
        buf_add(&in, data, (size_t)n);
        const char *id = strstr(buf_cstr(&in), " id='");
        if (told || id == NULL || strchr(id + 5, '\'') == NULL) continue;
        component_handshake((struct str){id + 5, (size_t)(strchr(id + 5, '\'') - (id + 5))}, PASSWORD, digest);
        struct buf out = {0};
        for (const char *p = second; *p != '\0'; p++) {
            if (*p == '$')
                buf_adds(&out, digest);
            else
                buf_addc(&out, *p);
        }
        assert_true(send(fd, out.data, out.len, MSG_NOSIGNAL) > 0);
        buf_free(&out);
        told = true;
    }
    close(fd);
    buf_cstr(&in);
    return in.data;
}
static struct probe *expect(void)
{
    accepted = x_calloc(1, sizeof *accepted);
    return accepted;
}
static void check_refused(const char *first, const char *second, const char *condition)
{
    struct probe *p = expect();
    char want[128], *got = talk(first, second);
    snprintf(want, sizeof want, "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", condition);
    if (strstr(got, want) == NULL) fail_msg("not %s but %s", condition, got);
    assert_true(strstr(got, "</stream:error></stream:stream>") != NULL);
    wait_for(&p->over);
    assert_string_equal(p->condition, condition);
    assert_int_equal(p->verified, 0);
    free(got);
    free(p);
}

static void test_accepts(void **state)
{
    UNIT_UNUSED(state);
    struct probe *p = expect(); /* elements sent in one go with the handshake are read where the stream was moved to */
    char *got = talk(HEADER("jabber:component:accept", NAME), "<handshake> $\n</handshake><iq id='1'/><iq id='2'/></stream:stream>");
    wait_for(&p->over);
    assert_true(p->verified == 1 && p->open == 1 && p->elements == 2 && p->closing == 1 && p->graceful);
    assert_non_null(strstr(got, " from='" NAME "' id='"));
    assert_non_null(strstr(got, "<handshake/><iq type='get' id='p1'>"));
    assert_string_equal(got + strlen(got) - 16, "</stream:stream>");
    free(got);
    free(p);
}

static void test_refuses(void **state)
{
    UNIT_UNUSED(state);
    check_refused(HEADER("jabber:component:accept", "op-x.node1"), NULL, "host-unknown");
    check_refused("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>", NULL, "host-unknown");
    check_refused(HEADER("jabber:client", NAME), NULL, "invalid-namespace");
    check_refused("<stream xmlns='jabber:component:accept' to='" NAME "'>", NULL, "invalid-namespace");
    check_refused(HEADER("jabber:component:accept", NAME), "<handshake>0000000000000000000000000000000000000000</handshake>", "not-authorized");
    check_refused(HEADER("jabber:component:accept", NAME), "<handshake/>", "not-authorized");
    check_refused(HEADER("jabber:component:accept", NAME), "<handshake>$0</handshake>", "not-authorized");
    check_refused(HEADER("jabber:component:accept", NAME), "<iq/>", "not-authorized");
    check_refused(HEADER("jabber:component:accept", NAME), "<handshake>$</nonsense>", "not-well-formed");
    struct probe *p = expect();
    free(talk("<?xml version='1.0'?>", NULL)); /* nothing more: not for ever */
    wait_for(&p->over);
    assert_string_equal(p->text, "no handshake in time");
    free(p);
}

/* ---- around them ---- */

static void start_worker(unsigned worker)
{
    struct err err;
    if (worker != 0) return;
    listeners[0] = conn_listen("127.0.0.1", 0, on_peer, NULL, &err);
    listeners[1] = conn_listen("127.0.0.1", 0, on_accept, NULL, &err);
    for (unsigned i = 0; i < 2; i++) ports[i] = conn_listener_port(listeners[i]);
}
static void stop_worker(unsigned worker)
{
    for (unsigned i = 0; worker == 0 && i < 2; i++) conn_listener_close(listeners[i]);
    xml_parsers_trim();
}
static int setup(void **state)
{
    UNIT_UNUSED(state);
    static const char *const domains[] = {"localhost"};
    struct err err;
    bool made;
    if (mkdtemp(dir) == NULL) return -1;
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    if (tls_self_signed(cert, key, domains, 1, &made, &err) != 0) return -1;
    server_tls = tls_server_new(cert, key, NULL, &err);
    if (server_tls == NULL) return -1;
    return workers_start(2, start_worker, &err);
}
static int teardown(void **state)
{
    UNIT_UNUSED(state);
    workers_stop(stop_worker);
    tls_unref(server_tls);
    unlink(cert);
    unlink(key);
    rmdir(dir);
    xml_parsers_trim();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_and_ends_gracefully), cmocka_unit_test(test_refused_by_the_server), cmocka_unit_test(test_too_large_and_broken),
        cmocka_unit_test(test_tls),                       cmocka_unit_test(test_accepts),               cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
