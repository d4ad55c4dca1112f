/* A small compliance server for tests. */
#include "compliance_server.h"
#include "base/clock.h"
#include "xml/writer.h"
#include "xmpp/component.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_EB "urn:signet:event-broker:0"
enum { EVENTS_MAX = 20000, WAIT_MS = 10000, LATE_MAX = 64 };

struct server {
    pthread_t thread;
    pthread_mutex_t lock;
    bool dials, stop, cut, end, active, over, ended;
    enum server_answers how;
    char component[128], password[128], error[64];
    int listener, fd;
    uint16_t port;
    struct buf out; /* to be written by the thread */
    struct xml_parser *xml;
    char *events[EVENTS_MAX];
    unsigned n_events, refused, pings, pongs;
    char *late[LATE_MAX]; /* ids to be passed in random order */
    unsigned n_late, seed;
    uint64_t late_since;
};

static void reply(struct server *s, const char *type, struct str id, const char *inner)
{
    buf_addf(&s->out, "<iq type='%s' from='%s' to='event-broker.example.com' id='" STR_FMT "'>%s</iq>", type, s->component, STR_ARG(id), inner);
}

static void answer_late(struct server *s)
{
    if (s->n_late < LATE_MAX && (s->n_late == 0 || clock_ms() - s->late_since < 20)) return;
    while (s->n_late > 0) {
        unsigned i = (unsigned)rand_r(&s->seed) % s->n_late;
        buf_addf(&s->out, "<iq type='result' from='%s' id='%s'/>", s->component, s->late[i]);
        free(s->late[i]);
        s->late[i] = s->late[--s->n_late];
    }
}

static void answer(struct server *s, struct str id, const struct xml_node *stanza)
{
    struct buf b = {0};
    switch (s->how) {
    case SERVER_PASS: buf_addf(&s->out, "<iq type='result' from='%s' id='" STR_FMT "'/>", s->component, STR_ARG(id)); break;
    case SERVER_REDACT:
        buf_adds(&b, "<pass xmlns='" NS_EB "'><message xmlns='jabber:client'");
        for (unsigned i = 0; i < stanza->n_attributes; i++) {
            char name[32];
            snprintf(name, sizeof name, STR_FMT, STR_ARG(stanza->attributes[i].name));
            xml_add_attr(&b, name, stanza->attributes[i].value);
        }
        buf_adds(&b, "><body>[redacted]</body></message></pass>");
        reply(s, "result", id, buf_cstr(&b));
        break;
    case SERVER_HANDLE: reply(s, "result", id, "<handle xmlns='" NS_EB "'/>"); break;
    case SERVER_ERROR:
        reply(s, "error", id,
              "<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
              "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>walls have ears</text></error>");
        break;
    case SERVER_INVALID: reply(s, "result", id, "<perhaps xmlns='" NS_EB "'/>"); break;
    case SERVER_SHUFFLE:
        if (s->n_late == 0) s->late_since = clock_ms();
        s->late[s->n_late++] = str_dup(id);
        answer_late(s);
        break;
    case SERVER_SILENT:
    case SERVER_DEAD: break;
    }
    buf_free(&b);
}

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    struct server *s = owner;
    struct str id = STR_NONE, from = STR_NONE;
    for (unsigned i = 0; i < h->n_attributes; i++) {
        if (str_is(h->attributes[i].name, "id")) id = h->attributes[i].value;
        if (str_is(h->attributes[i].name, "from")) from = h->attributes[i].value;
    }
    if (s->dials) {
        char digest[COMPONENT_HANDSHAKE_SIZE];
        component_handshake(id, s->password, digest);
        buf_addf(&s->out, "<handshake>%s</handshake>", digest);
    } else {
        buf_addf(&s->out, "<stream:stream xmlns='jabber:component:connect' xmlns:stream='http://etherx.jabber.org/streams' to='%s' id='5eed'>", s->component);
        if (!str_is(from, s->component)) {
            buf_adds(&s->out, "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>");
            s->cut = true;
        }
    }
    return XML_GO_ON;
}

static void on_event(struct server *s, const struct xml_element *e, struct arena *a)
{
    struct err err;
    struct str id = xml_element_attr(e, "id");
    const struct xml_node *root = xml_tree_parse(a, e->inner, arena_str(a, e->content_ns).p, &err);
    const struct xml_node *event = root != NULL ? xml_node_child(root, "event", NS_EB) : NULL;
    const struct xml_node *forwarded = event != NULL ? xml_node_child(event, "forwarded", "urn:xmpp:forward:0") : NULL;
    const struct xml_node *stanza = forwarded != NULL ? xml_node_child(forwarded, NULL, "jabber:client") : NULL;
    if (stanza == NULL || s->n_events == EVENTS_MAX) return;
    const struct xml_node *body = xml_node_child(stanza, "body", NULL);
    struct str text = body != NULL ? xml_node_text(a, body) : STR("");
    s->events[s->n_events++] =
        x_strdup(arena_printf(a, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(xml_node_attr(event, "name")), STR_ARG(xml_node_attr(event, "id")), STR_ARG(text)));
    if (str_is(e->name, "iq")) answer(s, id, stanza);
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct server *s = owner;
    struct str type = xml_element_attr(e, "type");
    struct arena *a = arena_new(0);
    if (str_is(e->name, "handshake") && s->dials) {
        s->active = true;
    } else if (str_is(e->name, "handshake")) {
        char digest[COMPONENT_HANDSHAKE_SIZE];
        component_handshake(STR("5eed"), s->password, digest);
        if (str_is(e->inner, digest)) {
            buf_adds(&s->out, "<handshake/>");
            s->active = true;
        } else {
            buf_adds(&s->out, "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>");
            s->cut = true;
        }
    } else if (str_is(e->name, "error") && e->n_children > 0) {
        snprintf(s->error, sizeof s->error, STR_FMT, STR_ARG(e->children[0].name));
    } else if (str_is(e->name, "iq") && str_is(type, "get")) {
        s->pings++;
        if (s->how != SERVER_DEAD) reply(s, "result", xml_element_attr(e, "id"), "");
    } else if (str_is(e->name, "iq") && str_is(type, "error")) {
        s->refused++;
    } else if (str_is(e->name, "iq") && str_is(type, "result")) {
        s->pongs++;
    } else {
        on_event(s, e, a);
    }
    arena_free(a);
    return XML_GO_ON;
}

static const struct xml_parser_ops xml_ops = {on_header, on_element};

/* ---- the thread ---- */

static void drop(struct server *s)
{
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    s->active = s->cut = s->end = false;
    s->over = true;
    xml_parser_free(s->xml);
    s->xml = NULL;
    buf_reset(&s->out);
    while (s->n_late > 0) free(s->late[--s->n_late]);
}

static void begin(struct server *s, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->fd = fd;
    s->over = s->ended = false;
    s->error[0] = '\0';
    s->xml = xml_parser_new(&xml_limits_default, &xml_ops, s);
}

static void flush(struct server *s)
{
    while (s->out.len > 0 && s->fd >= 0) {
        ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
        if (n <= 0) break;
        buf_consume(&s->out, (size_t)n);
    }
}

/* With the lock held, but not while it waits. */
static void turn(struct server *s)
{
    struct pollfd p = {.fd = s->fd >= 0 ? s->fd : s->listener, .events = POLLIN};
    pthread_mutex_unlock(&s->lock);
    int ready = poll(&p, 1, 5);
    char data[65536];
    ssize_t n = ready > 0 && s->fd >= 0 ? recv(s->fd, data, sizeof data, 0) : 1;
    int fd = ready > 0 && s->fd < 0 ? accept(s->listener, NULL, NULL) : -1;
    pthread_mutex_lock(&s->lock);
    if (fd >= 0) {
        begin(s, fd);
    } else if (ready > 0 && s->fd >= 0 && n > 0) {
        size_t used;
        enum xml_status status = xml_parser_feed(s->xml, data, (size_t)n, &used);
        if (status == XML_CLOSED) {
            s->ended = s->error[0] == '\0';
            buf_adds(&s->out, "</stream:stream>");
            s->cut = true;
        }
    }
    answer_late(s);
    flush(s);
    if (s->end && s->fd >= 0) {
        buf_adds(&s->out, "</stream:stream>");
        flush(s);
        s->end = false;
    }
    if ((n <= 0 || s->cut) && s->fd >= 0) drop(s);
}

static void *run(void *arg)
{
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stop && !(s->dials && s->over)) turn(s);
    if (s->fd >= 0) drop(s);
    pthread_mutex_unlock(&s->lock);
    xml_parsers_trim();
    return NULL;
}

static struct server *server_new(const char *component, const char *password)
{
    struct server *s = x_calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->fd = s->listener = -1;
    s->seed = 7;
    snprintf(s->component, sizeof s->component, "%s", component);
    snprintf(s->password, sizeof s->password, "%s", password);
    return s;
}

struct server *server_listen(const char *component, const char *password, uint16_t port)
{
    struct server *s = server_new(component, password);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int one = 1;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s->listener, (struct sockaddr *)&at, size) != 0 || listen(s->listener, 8) != 0) abort();
    getsockname(s->listener, (struct sockaddr *)&at, &size);
    s->port = ntohs(at.sin_port);
    pthread_create(&s->thread, NULL, run, s);
    return s;
}

struct server *server_dial(const char *component, const char *password, uint16_t port)
{
    struct server *s = server_new(component, password);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    s->dials = true;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) abort();
    begin(s, fd);
    buf_addf(&s->out, "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='%s'>", component);
    pthread_create(&s->thread, NULL, run, s);
    return s;
}

void server_free(struct server *s)
{
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    if (s->listener >= 0) close(s->listener);
    for (unsigned i = 0; i < s->n_events; i++) free(s->events[i]);
    buf_free(&s->out);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- orders and questions ---- */

uint16_t server_port(const struct server *s) { return s->port; }

#define LOCKED(statement) \
    do { \
        pthread_mutex_lock(&s->lock); \
        statement; \
        pthread_mutex_unlock(&s->lock); \
    } while (0)

void server_answers(struct server *s, enum server_answers how) { LOCKED(s->how = how); }
void server_end(struct server *s) { LOCKED(s->end = true); }
void server_cut(struct server *s) { LOCKED(s->cut = s->fd >= 0); }
void server_send(struct server *s, const char *xml) { LOCKED(buf_adds(&s->out, xml)); }

static unsigned server_number(struct server *s, const unsigned *of)
{
    unsigned n;
    LOCKED(n = *of);
    return n;
}
unsigned server_events(struct server *s) { return server_number(s, &s->n_events); }
unsigned server_refused(struct server *s) { return server_number(s, &s->refused); }
unsigned server_pings(struct server *s) { return server_number(s, &s->pings); }
unsigned server_pongs(struct server *s) { return server_number(s, &s->pongs); }
const char *server_error(struct server *s) { return s->error; }

bool server_ended(struct server *s)
{
    bool ended;
    LOCKED(ended = s->ended);
    return ended;
}

const char *server_event(struct server *s, unsigned i)
{
    const char *event;
    LOCKED(event = i < s->n_events ? s->events[i] : "(none)");
    return event;
}

static bool wait_until(struct server *s, const bool *flag, unsigned events)
{
    uint64_t until = clock_ms() + WAIT_MS;
    for (;;) {
        bool done;
        LOCKED(done = flag != NULL ? *flag : s->n_events >= events);
        if (done || clock_ms() > until) return done;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}
bool server_wait_active(struct server *s) { return wait_until(s, &s->active, 0); }
bool server_wait_over(struct server *s) { return wait_until(s, &s->over, 0); }
bool server_wait_events(struct server *s, unsigned n) { return wait_until(s, NULL, n); }
