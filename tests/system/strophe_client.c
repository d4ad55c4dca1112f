/* An XMPP client built on libstrophe, for the tests: logs in over STARTTLS, says "ready", sends a message when one is given, prints what it gets.
 *     PASSWORD=secret ./strophe_client JID HOST PORT COUNT [TO BODY]     ends when COUNT messages have come; 0: when its own was sent */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>

struct client {
    xmpp_ctx_t *ctx;
    int count, got, status;
    const char *to, *body;
};

static int on_message(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg)
{
    struct client *c = arg;
    char *body = xmpp_message_get_body(stanza);
    const char *type = xmpp_stanza_get_type(stanza);
    if (body == NULL) return 1;
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
    puts("ready");
    fflush(stdout);
    if (c->to != NULL) {
        xmpp_stanza_t *message = xmpp_message_new(c->ctx, "chat", c->to, "strophe-1");
        xmpp_message_set_body(message, c->body);
        xmpp_send(conn, message);
        xmpp_stanza_release(message);
    }
    if (c->count == 0) {
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
        if (c->status != 0) fprintf(stderr, "disconnected: %d\n", error);
        xmpp_stop(c->ctx);
        return;
    }
    if (!xmpp_conn_is_secured(conn)) {
        fprintf(stderr, "not secured\n");
        xmpp_disconnect(conn);
        return;
    }
    xmpp_handler_add(conn, on_message, NULL, "message", NULL, c);
    xmpp_handler_add(conn, on_presence, NULL, "presence", NULL, c);
    xmpp_stanza_t *presence = xmpp_presence_new(c->ctx);
    xmpp_send(conn, presence);
    xmpp_stanza_release(presence);
}

int main(int argc, char **argv)
{
    if ((argc != 5 && argc != 7) || getenv("PASSWORD") == NULL) return 2;
    struct client c = {.count = atoi(argv[4]), .status = 1, .to = argc == 7 ? argv[5] : NULL, .body = argc == 7 ? argv[6] : NULL};
    xmpp_initialize();
    c.ctx = xmpp_ctx_new(NULL, xmpp_get_default_logger(XMPP_LEVEL_WARN));
    xmpp_conn_t *conn = xmpp_conn_new(c.ctx);
    xmpp_conn_set_flags(conn, XMPP_CONN_FLAG_MANDATORY_TLS | XMPP_CONN_FLAG_TRUST_TLS);
    xmpp_conn_set_jid(conn, argv[1]);
    xmpp_conn_set_pass(conn, getenv("PASSWORD"));
    if (xmpp_connect_client(conn, argv[2], (unsigned short)atoi(argv[3]), on_connection, &c) == XMPP_EOK) xmpp_run(c.ctx);
    xmpp_conn_release(conn);
    xmpp_ctx_free(c.ctx);
    xmpp_shutdown();
    return c.status;
}
