/* A compliance server for tests: what a message says is what is done with it. Uses every function of the public header.
 *     scripted ADDRESS:PORT listen|dial COMPONENT [ping INTERVAL_MS] [events N] [tls CERT KEY | tls CA] */
#include <signet/compliance.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct signet_server *server;

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

/* Answers 50 ms later, from a thread of its own. */
static void *answer_later(void *arg)
{
    struct signet_event *e = arg;
    usleep(50000);
    if (strstr(e->body, "stanza") != NULL)
        (void)signet_pass_stanza(e, e->xml);
    else
        (void)signet_pass(e);
    return NULL;
}

static void later(struct signet_event *e)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_later, e) == 0)
        pthread_detach(thread);
    else
        (void)signet_refuse(e, "internal-server-error", NULL);
}

static void shout(struct signet_event *e)
{
    struct signet_node *root = signet_stanza(e), *body = signet_node_child(root, "body", NULL), *x = signet_node_child(root, "x", "urn:secret");
    char loud[200];
    snprintf(loud, sizeof(loud), "<%s> & changed", signet_node_text(e, body));
    signet_node_set_text(e, body, loud);
    if (x != NULL) signet_node_remove(x);
    (void)signet_pass_stanza(e, signet_stanza_xml(e));
}

static void describe(struct signet_event *e)
{
    char out[2000];
    struct signet_node *root = signet_stanza(e);
    const char *name = NULL;
    unsigned children = 0;
    (void)signet_node_attr_at(e, root, 0, &name);
    for (struct signet_node *n = signet_node_first(root); n != NULL; n = signet_node_next(n)) children++;
    snprintf(out, sizeof(out), "%s|%s|%s|%s|%s|%llu|%s|%s|%s|%s|%s|%s|%d|%s|%s|%s|%s|%s|%s|%s|%u|%d", e->name, e->id, e->stanza_id, e->node, e->time,
             (unsigned long long)e->time_ms, e->profile, e->key, e->session ? e->session : "-", e->room ? e->room : "-", e->copy ? e->copy : "-",
             e->component, e->fire_and_forget, e->kind, e->type, e->from, e->to, e->xmpp_id, signet_node_ns(root), signet_node_attr(e, root, "type"),
             children, e->xml_length == strlen(e->xml));
    (void)signet_refuse(e, "policy-violation", out);
}

static void on_message(struct signet_event *e, void *arg)
{
    const char *b = e->body != NULL ? e->body : "";
    (void)arg;
    if (strncmp(b, "later", 5) == 0)
        later(e);
    else if (strcmp(b, "shout") == 0)
        shout(e);
    else if (strcmp(b, "describe") == 0)
        describe(e);
    else if (strcmp(b, "handle") == 0)
        (void)signet_handle(e);
    else if (strcmp(b, "reply") == 0)
        (void)signet_handle_reply(e, "<iq xmlns='jabber:client' type='result' id='x'/>");
    else if (strcmp(b, "refuse") == 0)
        (void)signet_refuse(e, "policy-violation", "not <to> be said & done");
    else if (strcmp(b, "unknown condition") == 0)
        (void)signet_refuse(e, "no-such-thing", NULL);
    else if (strcmp(b, "broken xml") == 0)
        printf("%d\n", signet_pass_stanza(e, "<message><body>"));
    else if (strcmp(b, "two") == 0)
        printf("%d\n", signet_pass_stanza(e, "<message/><message/>"));
    else if (strcmp(b, "readdress") == 0)
        printf("%d\n", signet_pass_stanza(e, "<message to='mallory@example.com'/>"));
    else if (strcmp(b, "no xmlns") == 0)
        (void)signet_pass_stanza(
            e, "<message from='romeo@example.com/balcony' to='juliet@example.com' type='chat' id='m1'><body>plain</body></message>");
    else if (strcmp(b, "never") == 0)
        signet_done(e);
    else if (strcmp(b, "stop") == 0)
        printf("stop from a callback: %d\n", signet_stop(server, 1)), (void)signet_pass(e);
    else
        (void)signet_pass(e);
    fflush(stdout);
}

static void on_prisession(struct signet_event *e, void *arg)
{
    const struct signet_candidate *best = &e->candidates[0];
    (void)arg;
    for (unsigned i = 1; i < e->n_candidates; i++) {
        if (e->candidates[i].priority > best->priority) best = &e->candidates[i];
    }
    (void)signet_pass_session(e, best->jid);
}

static void on_end(struct signet_event *e, void *arg)
{
    (void)arg;
    printf("es_END %s %d\n", e->from, e->fire_and_forget);
    fflush(stdout);
    signet_done(e);
}

static void on_link(enum signet_link_state state, const char *component, const char *peer, const char *why, void *arg)
{
    static const char *const names[] = {"CONNECTED", "ACTIVE", "GONE"};
    (void)arg, (void)peer;
    printf("link %s %s %s\n", component != NULL ? component : "?", names[state], why != NULL ? why : "");
    fflush(stdout);
}

static int failed(void)
{
    fprintf(stderr, "scripted: %s\n", signet_error(server));
    signet_free(server);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    struct signet_tls tls = {0}, *use_tls = NULL;
    int rc = 0;
    server = signet_new();
    signet_on_log(server, signet_log_stderr, NULL);
    signet_on_link(server, on_link, NULL);
    rc |= signet_set_limit(server, SIGNET_LIMIT_RECONNECT_MIN_MS, 20);
    rc |= signet_set_limit(server, SIGNET_LIMIT_HANDSHAKE_MS, 1000);
    rc |= signet_set_limit(server, SIGNET_LIMIT_LINKS, 8);
    for (int i = 4; i + 1 < argc && rc == 0; i += 2) {
        if (strcmp(argv[i], "ping") == 0) {
            rc |= signet_set_limit(server, SIGNET_LIMIT_PING_INTERVAL_MS, (uint64_t)atoi(argv[i + 1]));
            rc |= signet_set_limit(server, SIGNET_LIMIT_PING_TIMEOUT_MS, (uint64_t)atoi(argv[i + 1]));
        } else if (strcmp(argv[i], "events") == 0) {
            rc |= signet_set_limit(server, SIGNET_LIMIT_EVENTS, (uint64_t)atoi(argv[i + 1]));
        } else if (strcmp(argv[i], "cert") == 0) {
            tls.certificate_file = argv[i + 1];
        } else if (strcmp(argv[i], "key") == 0) {
            tls.key_file = argv[i + 1];
            use_tls = &tls;
        } else if (strcmp(argv[i], "ca") == 0) {
            tls.ca_file = argv[i + 1];
            use_tls = &tls;
        }
    }
    static const char *const named[] = {"es_OUT", "es_IN", "e_DELIVER", "onBeforeSend"};
    for (unsigned i = 0; i < 4 && rc == 0; i++) rc |= signet_on_event(server, named[i], on_message, NULL);
    rc |= signet_on_event(server, "e_PRISESSION", on_prisession, NULL);
    rc |= signet_on_event(server, "es_END", on_end, NULL);
    if (rc != 0) return failed();
    if (signet_on_event(server, "es_out", on_message, NULL) == 0) return 3; /* names are exact */
    say(signet_error(server));
    if (signet_component(server, argv[3], "secret") < 0 || signet_component(server, "op-second.node2-example-com", "other & secret") < 0)
        return failed();
    rc = strcmp(argv[2], "dial") == 0 ? signet_dial(server, argv[1], argv[3], use_tls) : signet_listen(server, argv[1], use_tls);
    if (rc < 0) return failed();
    printf("port %u\n", signet_port(server, 0));
    fflush(stdout);
    if (signet_run(server, 2000) < 0) return failed();
    signet_free(server);
    say("stopped");
    return 0;
}
