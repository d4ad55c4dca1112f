/* The HTTP side of the admin API: a Unix socket that only the owner and group may open, a route table, JSON in and out, errors as
 * {"error": code, "text": what, where, what would be right}. One thread per connection, so handlers may wait for workers and the store. */
#include "admin/private.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_BODY (1024 * 1024)
#define MAX_CONNECTIONS 64
struct admin_facts admin;
static struct MHD_Daemon *api_daemon, *metrics_daemon;

/* ---- fields ---- */
const char *body_text(struct request *rq, const char *name, struct err *err)
{
    const char *text = json_string_value(json_object_get(rq->body, name));
    if (text == NULL) err_set(err, ERR_INVALID, "the request's body needs the text field \"%s\"", name);
    return text;
}

void json_stamp(json_t *object, const char *name, uint64_t wall_ms)
{
    char stamp[CLOCK_STAMP_SIZE];
    json_object_set_new(object, name, wall_ms != 0 ? json_string(clock_stamp(wall_ms, stamp)) : json_null());
}

/* ---- answering ---- */
static unsigned status_of(enum err_code code)
{
    switch (code) {
    case ERR_INVALID: return MHD_HTTP_BAD_REQUEST;
    case ERR_NOT_FOUND: return MHD_HTTP_NOT_FOUND;
    case ERR_EXISTS:
    case ERR_CONFLICT: return MHD_HTTP_CONFLICT;
    case ERR_DENIED: return MHD_HTTP_FORBIDDEN;
    case ERR_LIMIT: return MHD_HTTP_CONTENT_TOO_LARGE;
    case ERR_TIMEOUT: return MHD_HTTP_GATEWAY_TIMEOUT;
    default: return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static enum MHD_Result send_bytes(struct MHD_Connection *c, unsigned status, const char *type, const char *data, size_t n)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(n, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    enum MHD_Result rc = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result send_json(struct MHD_Connection *c, unsigned status, json_t *take)
{
    char *text = json_dumps(take, JSON_INDENT(2));
    json_decref(take);
    if (text == NULL) return MHD_NO;
    enum MHD_Result rc = send_bytes(c, status, "application/json", text, strlen(text));
    free(text);
    return rc;
}

json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json != NULL) return json;
    char *ascii = x_strdup(text); /* it quotes bytes that are no UTF-8, or was cut within a character */
    for (char *c = ascii; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    json = json_string(ascii);
    free(ascii);
    return json;
}

static enum MHD_Result send_error(struct MHD_Connection *c, unsigned status, const char *code, const char *text)
{
    return send_json(c, status, json_pack("{s:s, s:o}", "error", code, "text", json_text(text)));
}

/* ---- routing ---- */
static bool route_fits(struct request *rq, const char *pattern)
{
    unsigned part = 0;
    const char *path = rq->path;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '*') {
            if (*path++ != *pattern) return false;
            continue;
        }
        size_t n = strcspn(path, "/");
        if (n == 0 || part == ADMIN_MAX_PARTS) return false;
        rq->parts[part] = arena_strndup(rq->arena, path, n);
        MHD_http_unescape(rq->parts[part++]);
        path += n;
    }
    return *path == '\0';
}

static const struct route *find_route(struct request *rq, bool *path_known)
{
    const struct route *tables[] = {status_routes, user_routes, service_routes, compliance_routes, version_routes, room_routes};
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (const struct route *r = tables[t]; r->method != NULL; r++) {
            if (!route_fits(rq, r->pattern)) continue;
            *path_known = true;
            if (strcmp(r->method, rq->method) == 0) return r;
        }
    }
    return NULL;
}

/* Paths are taken apart before they are decoded: a full JID has a '/' of its own. So nothing is decoded before that, and arguments are decoded here. */
static size_t unescape_later(void *cls, struct MHD_Connection *c, char *text)
{
    (void)cls;
    (void)c;
    return strlen(text);
}

static const char *query_value(struct request *rq, const char *name)
{
    const char *value = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
    if (value == NULL) return NULL;
    char *text = arena_strndup(rq->arena, value, strlen(value));
    MHD_http_unescape(text);
    return text;
}

/* The Unix user on the other side of the socket: who is to be named for what he changes. */
static const char *caller(struct MHD_Connection *c, struct arena *a)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (info == NULL || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return "";
    struct passwd entry, *found = NULL;
    char text[2048], number[16];
    if (getpwuid_r(peer.uid, &entry, text, sizeof(text), &found) != 0 || found == NULL) {
        snprintf(number, sizeof(number), "%u", (unsigned)peer.uid);
        return arena_strndup(a, number, strlen(number));
    }
    return arena_strndup(a, found->pw_name, strlen(found->pw_name));
}

static enum MHD_Result answer(struct MHD_Connection *c, const char *method, const char *path, const struct buf *body)
{
    struct request rq = {.method = method, .path = path, .arena = arena_new(0), .query = query_value, .connection = c};
    rq.by = caller(c, rq.arena);
    struct err err = {0};
    bool path_known = false;
    enum MHD_Result rc;
    json_error_t problem;
    const struct route *route = find_route(&rq, &path_known);
    if (body->len > 0) rq.body = json_loadb(body->data, body->len, JSON_REJECT_DUPLICATES, &problem);
    if (route == NULL) {
        rc = send_error(c, path_known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND, path_known ? "method" : "not-found",
                        path_known ? "this path does not take this method" : "the admin API has no such path");
    } else if (body->len > 0 && !json_is_object(rq.body)) {
        rc = send_error(c, MHD_HTTP_BAD_REQUEST, "invalid", rq.body == NULL ? problem.text : "the body is one JSON object");
    } else if (route->handle(&rq, &err) != 0) {
        rc = send_error(c, status_of(err.code), err_code_name(err.code), err.text);
    } else if (rq.text.data != NULL) {
        rc = send_bytes(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", rq.text.data, rq.text.len);
    } else {
        rc = send_json(c, MHD_HTTP_OK, rq.out != NULL ? rq.out : json_object());
    }
    buf_free(&rq.text);
    json_decref(rq.body);
    arena_free(rq.arena);
    return rc;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *n, void **state)
{
    (void)cls;
    (void)version;
    struct buf *body = *state;
    if (body == NULL) {
        *state = x_calloc(1, sizeof(*body));
        return MHD_YES;
    }
    if (*n > 0) {
        if (body->len <= MAX_BODY) buf_add(body, data, *n);
        *n = 0;
        return MHD_YES;
    }
    if (body->len > MAX_BODY) return send_error(c, MHD_HTTP_CONTENT_TOO_LARGE, "limit", "a request's body has at most 1 MiB");
    return answer(c, method, url, body);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    (void)cls;
    (void)c;
    (void)code;
    struct buf *body = *state;
    if (body == NULL) return;
    if (body->data != NULL) explicit_bzero(body->data, body->cap); /* may hold a password */
    buf_free(body);
    free(body);
}

/* ---- the metrics listener: one path, no secrets, reading only ---- */
static enum MHD_Result on_metrics(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data, size_t *n, void **state)
{
    (void)cls;
    (void)version;
    (void)data;
    (void)n;
    (void)state;
    if (strcmp(method, "GET") != 0) return send_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "method", "only GET");
    if (strcmp(url, "/metrics") != 0) return send_error(c, MHD_HTTP_NOT_FOUND, "not-found", "metrics are at /metrics");
    struct buf out = {0};
    metric_render(&out);
    enum MHD_Result rc = send_bytes(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
    buf_free(&out);
    return rc;
}

__attribute__((format(printf, 2, 0))) static void on_http_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char text[512];
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug("admin", "%s", text);
}

/* ---- sockets ---- */
static int unix_socket(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(err, ERR_INVALID, "admin.socket: '%s' is longer than %zu bytes, the most a Unix socket's path can have", path, sizeof(address.sun_path) - 1);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_set(err, ERR_IO, "admin.socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        close(fd);
        return err_set(err, ERR_CONFLICT, "admin.socket: another signetd answers on '%s'; stop it, or set another admin.socket", path);
    }
    struct stat there;
    if (lstat(path, &there) == 0 && !S_ISSOCK(there.st_mode)) {
        close(fd);
        return err_set(err, ERR_EXISTS, "admin.socket: '%s' is there and is no socket; name another path", path);
    }
    unlink(path);
    mode_t old = umask(0117); /* 0660 */
    int rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    umask(old);
    if (rc != 0 || listen(fd, 64) != 0) {
        int e = errno;
        close(fd);
        return err_set(err, ERR_IO, "admin.socket: cannot listen on '%s': %s; its folder must exist and be writable by signetd", path, strerror(e));
    }
    return fd;
}

static int tcp_socket(const char *listen_on, struct err *err)
{
    char host[256];
    const char *colon = strrchr(listen_on, ':');
    if (colon == NULL || (size_t)(colon - listen_on) >= sizeof(host)) return err_set(err, ERR_INVALID, "metrics.listen: '%s' is not ADDRESS:PORT, e.g. 127.0.0.1:9469", listen_on);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - listen_on), listen_on);
    char *name = host;
    if (name[0] == '[') {
        name++;
        name[strcspn(name, "]")] = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV}, *list = NULL;
    if (getaddrinfo(name, colon + 1, &hints, &list) != 0) return err_set(err, ERR_INVALID, "metrics.listen: '%s' is not ADDRESS:PORT, e.g. 127.0.0.1:9469", listen_on);
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int rc = fd < 0 ? -1 : bind(fd, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (rc == 0 && listen(fd, 64) == 0) return fd;
    int e = errno;
    if (fd >= 0) close(fd);
    return err_set(err, ERR_IO, "metrics.listen: cannot listen on %s: %s", listen_on, strerror(e));
}

/* By poll(): with select(), the default, nobody is served any more once clients hold the first thousand descriptors. */
static struct MHD_Daemon *http_start(int fd, MHD_AccessHandlerCallback handler, unsigned flags)
{
    return MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ERROR_LOG | flags, 0, NULL, NULL, handler, NULL, MHD_OPTION_EXTERNAL_LOGGER, on_http_log, NULL,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_UNESCAPE_CALLBACK, unescape_later, NULL,
                            MHD_OPTION_NOTIFY_COMPLETED, handler == on_request ? on_completed : NULL, NULL,
                            MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, 120u, MHD_OPTION_END);
}

int admin_start(const struct config *config, const char *node, const struct admin_ops *ops, struct err *err)
{
    admin = (struct admin_facts){.config = config, .node = node, .ops = ops, .started_wall_ms = clock_wall_ms()};
    int fd = unix_socket(config->admin_socket, err);
    if (fd < 0) return -1;
    api_daemon = http_start(fd, on_request, MHD_USE_THREAD_PER_CONNECTION);
    if (api_daemon == NULL) return err_set(err, ERR_IO, "admin.socket: the HTTP service did not start");
    if (config->metrics_listen[0] == '\0') return 0;
    fd = tcp_socket(config->metrics_listen, err);
    if (fd < 0) return -1;
    metrics_daemon = http_start(fd, on_metrics, 0);
    if (metrics_daemon == NULL) return err_set(err, ERR_IO, "metrics.listen: the HTTP service did not start");
    return 0;
}

void admin_stop(void)
{
    trace_stop();
    if (api_daemon != NULL) MHD_stop_daemon(api_daemon);
    if (metrics_daemon != NULL) MHD_stop_daemon(metrics_daemon);
    if (api_daemon != NULL) unlink(admin.config->admin_socket);
    api_daemon = metrics_daemon = NULL;
}
