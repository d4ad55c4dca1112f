/* Listening sockets. libuv 1.44 cannot ask for SO_REUSEPORT, so the sockets are made here; each worker has its own on the same port and the
 * kernel spreads new connections over them. */
#include "io/private.h"
#include "base/log.h"
#include "base/metric.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024, COMPLAIN_MS = 10000 };

struct conn_listener {
    uv_tcp_t tcp;
    conn_accept_fn fn;
    void *arg;
    uint16_t port;
    bool closed;
    uint64_t complained_ms;
};

static void on_freed(uv_handle_t *handle) { free(handle->data); }

static void accept_one(struct conn_listener *l)
{
    struct conn *c = conn_new(CONN_OPEN);
    int rc = uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&c->tcp);
    if (rc != 0) {
        conn_drop(c, NULL);
        return;
    }
    metric_inc(METRIC_CONN_ACCEPTED);
    uv_tcp_nodelay(&c->tcp, 1);
    conn_name_peer(c);
    l->fn(l->arg, c);
    if (c->ops == NULL) { /* nobody wanted it */
        if (c->state == CONN_OPEN) conn_drop(c, NULL);
        return;
    }
    conn_read_on(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct conn_listener *l = server->data;
    if (l->closed) return;
    if (status == 0) {
        accept_one(l);
        return;
    }
    metric_inc(METRIC_CONN_ACCEPT_FAILED);
    if (l->complained_ms != 0 && worker_now_ms() - l->complained_ms < COMPLAIN_MS) return;
    l->complained_ms = worker_now_ms();
    log_warn("io", "Connections to port %u cannot be accepted: %s", l->port, uv_strerror(status));
}

/* "127.0.0.1", "::", "[::1]" */
static int parse_address(const char *text, uint16_t port, struct sockaddr_storage *ss, socklen_t *len, struct err *err)
{
    char bare[INET6_ADDRSTRLEN] = "";
    size_t n = strlen(text);
    bool brackets = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (brackets) {
        text++;
        n -= 2;
    }
    if (n < sizeof bare) memcpy(bare, text, n);
    memset(ss, 0, sizeof *ss);
    struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;
    if (inet_pton(AF_INET6, bare, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *len = sizeof *v6;
    } else if (!brackets && inet_pton(AF_INET, bare, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof *v4;
    } else {
        return err_set(err, ERR_INVALID, "\"%s\" is no address to listen on; \"127.0.0.1\", \"::\" or \"[::1]\" would be", text);
    }
    return 0;
}

/* The descriptor, listening, or -1 with errno set. */
static int listening_socket(const struct sockaddr_storage *ss, socklen_t len)
{
    const int on = 1, off = 0;
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        (ss->ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, (const struct sockaddr *)ss, len) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) return 0;
    return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

struct conn_listener *conn_listen(const char *address, uint16_t port, conn_accept_fn fn, void *arg, struct err *err)
{
    struct sockaddr_storage ss;
    socklen_t len;
    if (parse_address(address, port, &ss, &len, err) != 0) return NULL;
    int fd = listening_socket(&ss, len);
    bool any6 = ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&ss)->sin6_addr);
    if (fd < 0 && any6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) { /* a machine without IPv6: "everywhere" is IPv4 */
        if (parse_address("0.0.0.0", port, &ss, &len, err) != 0) return NULL;
        fd = listening_socket(&ss, len);
    }
    if (fd < 0) {
        char text[128];
        err_set(err, ERR_IO, "cannot listen on %s, port %u: %s", address, port, io_strerror(errno, text, sizeof text));
        return NULL;
    }
    struct conn_listener *l = x_calloc(1, sizeof *l);
    l->fn = fn;
    l->arg = arg;
    l->port = bound_port(fd);
    uv_tcp_init(worker_loop(), &l->tcp);
    l->tcp.data = l;
    int rc = uv_tcp_open(&l->tcp, fd);
    if (rc != 0) close(fd);
    if (rc == 0) rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (rc == 0) return l;
    err_set(err, ERR_IO, "cannot listen on %s, port %u: %s", address, port, uv_strerror(rc));
    uv_close((uv_handle_t *)&l->tcp, on_freed);
    return NULL;
}

uint16_t conn_listener_port(const struct conn_listener *l) { return l->port; }

void conn_listener_close(struct conn_listener *l)
{
    if (l == NULL || l->closed) return;
    l->closed = true;
    uv_close((uv_handle_t *)&l->tcp, on_freed);
}
