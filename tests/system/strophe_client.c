/* An XMPP client built on libstrophe, for the tests: logs in over STARTTLS, says "ready", sends a message when one is given, prints what it gets.
 *     PASSWORD=secret ./strophe_client JID HOST PORT COUNT [TO BODY]     ends when COUNT messages have come; 0: when its own was sent
 * COUNT "orders": messages are orders (see test_clients.py); it enables stream management, as libstrophe does, and resumes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>
#include <sys/socket.h>

#define NS_ROSTER "jabber:iq:roster"

struct client {
    xmpp_ctx_t *ctx;
    xmpp_sm_state_t *sm; /* of the connection that was cut */
    int count, got, status;
    int orders, again; /* again: it was cut, and is to come back */
    const char *to, *body;
};

static void say(const char *what, const char *who, const char *more)
{
    printf("%s%s%s%s%s\n", what, who[0] != '\0' ? " " : "", who, more[0] != '\0' ? " " : "", more);
    fflush(stdout);
}

static void send_text(xmpp_conn_t *conn, struct client *c, const char *to, const char *text)
{
    xmpp_stanza_t *message = xmpp_message_new(c->ctx, "chat", to, "strophe-1");
    xmpp_message_set_body(message, text);
    xmpp_send(conn, message);
    xmpp_stanza_release(message);
}

static void send_presence(xmpp_conn_t *conn, struct client *c, const char *to, const char *type)
{
    xmpp_stanza_t *presence = xmpp_presence_new(c->ctx);
    if (to != NULL) xmpp_stanza_set_to(presence, to);
    if (type != NULL) xmpp_stanza_set_type(presence, type);
    xmpp_send(conn, presence);
    xmpp_stanza_release(presence);
}

/* ---- orders ---- */

static void add_contact(xmpp_conn_t *conn, struct client *c, const char *jid)
{
    xmpp_stanza_t *iq = xmpp_iq_new(c->ctx, "set", "add-1"), *query = xmpp_stanza_new(c->ctx), *item = xmpp_stanza_new(c->ctx);
    xmpp_stanza_set_name(query, "query");
    xmpp_stanza_set_ns(query, NS_ROSTER);
    xmpp_stanza_set_name(item, "item");
    xmpp_stanza_set_attribute(item, "jid", jid);
    xmpp_stanza_set_attribute(item, "name", "somebody");
    xmpp_stanza_add_child_ex(query, item, 0);
    xmpp_stanza_add_child_ex(iq, query, 0);
    xmpp_send(conn, iq);
    xmpp_stanza_release(iq);
    send_presence(conn, c, jid, "subscribe");
}

static int the_socket; /* libstrophe shows it nowhere but to note_socket() */

static void obey(xmpp_conn_t *conn, struct client *c, const char *from, const char *body)
{
    char answer[256];
    say("got", body, "");
    if (strcmp(body, "cut") == 0) {
        c->again = 1;
        shutdown(the_socket, SHUT_RDWR);
    } else if (strcmp(body, "end") == 0) {
        c->status = 0;
        xmpp_disconnect(conn);
    } else if (strncmp(body, "add ", 4) == 0) {
        add_contact(conn, c, body + 4);
    } else {
        snprintf(answer, sizeof answer, "heard %s", body);
        send_text(conn, c, from, answer);
    }
}

/* A roster push. */
static int on_roster(xmpp_conn_t *conn, xmpp_stanza_t *iq, void *arg)
{
    struct client *c = arg;
    xmpp_stanza_t *item = xmpp_stanza_get_child_by_name(xmpp_stanza_get_child_by_name(iq, "query"), "item");
    if (item != NULL) say("roster", xmpp_stanza_get_attribute(item, "jid"), xmpp_stanza_get_attribute(item, "subscription"));
    xmpp_stanza_t *result = xmpp_iq_new(c->ctx, "result", xmpp_stanza_get_id(iq));
    xmpp_send(conn, result);
    xmpp_stanza_release(result);
    return 1;
}

static int on_subscribe(xmpp_conn_t *conn, xmpp_stanza_t *presence, void *arg)
{
    send_presence(conn, arg, xmpp_stanza_get_from(presence), "subscribed");
    return 1;
}

static int note_socket(xmpp_conn_t *conn, void *sock)
{
    (void)conn;
    the_socket = *(int *)sock;
    return 0;
}

static int on_message(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg)
{
    struct client *c = arg;
    char *body = xmpp_message_get_body(stanza);
    const char *type = xmpp_stanza_get_type(stanza);
    if (body == NULL) return 1;
    if (c->orders) {
        obey(conn, c, xmpp_stanza_get_from(stanza), body);
        xmpp_free(c->ctx, body);
        return 1;
    }
    printf("%s %s: %s\n", type != NULL ? type : "normal", xmpp_stanza_get_from(stanza), body);
    fflush(stdout);
    xmpp_free(c->ctx, body);
    if (++c->got == c->count) {
        c->status = 0;
        xmpp_disconnect(conn);
    }
    return 1;
}

/* Its own presence has come back: the session takes messages. */
static int on_presence(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg)
{
    struct client *c = arg;
    const char *from = xmpp_stanza_get_from(stanza);
    if (from == NULL || strcmp(from, xmpp_conn_get_bound_jid(conn)) != 0) return 1;
    say("ready", "", "");
    if (c->to != NULL) send_text(conn, c, c->to, c->body);
    if (c->count == 0 && !c->orders) {
        c->status = 0;
        xmpp_disconnect(conn);
    }
    return 0;
}

static void on_connection(xmpp_conn_t *conn, xmpp_conn_event_t status, int error, xmpp_stream_error_t *stream_error, void *arg)
{
    struct client *c = arg;
    (void)stream_error;
    if (status != XMPP_CONN_CONNECT) {
        if (c->again) c->sm = xmpp_conn_get_sm_state(conn);
        else if (c->status != 0) fprintf(stderr, "disconnected: %d\n", error);
        xmpp_stop(c->ctx);
        return;
    }
    if (!xmpp_conn_is_secured(conn)) {
        fprintf(stderr, "not secured\n");
        xmpp_disconnect(conn);
        return;
    }
    xmpp_handler_add(conn, on_message, NULL, "message", NULL, c);
    xmpp_handler_add(conn, on_subscribe, NULL, "presence", "subscribe", c);
    xmpp_handler_add(conn, on_roster, NS_ROSTER, "iq", "set", c);
    if (c->again) {
        c->again = 0;
        say("resumed", "", ""); /* or not: the service knows */
        return;
    }
    xmpp_handler_add(conn, on_presence, NULL, "presence", NULL, c);
    xmpp_stanza_t *iq = xmpp_iq_new(c->ctx, "get", "roster-1"), *query = xmpp_stanza_new(c->ctx);
    xmpp_stanza_set_name(query, "query");
    xmpp_stanza_set_ns(query, NS_ROSTER);
    xmpp_stanza_add_child_ex(iq, query, 0);
    xmpp_send(conn, iq);
    xmpp_stanza_release(iq);
    send_presence(conn, c, NULL, NULL);
}

static void connect_once(struct client *c, const char *jid, const char *host, unsigned short port)
{
    xmpp_conn_t *conn = xmpp_conn_new(c->ctx);
    xmpp_conn_set_flags(conn, XMPP_CONN_FLAG_MANDATORY_TLS | XMPP_CONN_FLAG_TRUST_TLS);
    xmpp_conn_set_sockopt_callback(conn, note_socket);
    xmpp_conn_set_jid(conn, jid);
    xmpp_conn_set_pass(conn, getenv("PASSWORD"));
    if (c->sm != NULL) xmpp_conn_set_sm_state(conn, c->sm);
    c->sm = NULL;
    if (xmpp_connect_client(conn, host, port, on_connection, c) == XMPP_EOK) xmpp_run(c->ctx);
    xmpp_conn_release(conn);
}

int main(int argc, char **argv)
{
    if ((argc != 5 && argc != 7) || getenv("PASSWORD") == NULL) return 2;
    struct client c = {.count = atoi(argv[4]), .orders = strcmp(argv[4], "orders") == 0, .status = 1};
    if (argc == 7) c.to = argv[5], c.body = argv[6];
    signal(SIGPIPE, SIG_IGN); /* it writes to a connection that was cut */
    xmpp_initialize();
    c.ctx = xmpp_ctx_new(NULL, xmpp_get_default_logger(XMPP_LEVEL_WARN));
    do connect_once(&c, argv[1], argv[2], (unsigned short)atoi(argv[3]));
    while (c.again);
    xmpp_ctx_free(c.ctx);
    xmpp_shutdown();
    return c.status;
}
