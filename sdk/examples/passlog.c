/* A compliance server that lets everything pass and writes down what is said.
 *     cc passlog.c $(pkg-config --cflags --libs libsignet) -o passlog
 *     PASSWORD=secret ./passlog 0.0.0.0:7999 op-passlog.node1-example-com */
#include <signet/compliance.h>
#include <stdio.h>
#include <stdlib.h>

static void on_event(struct signet_event *e, void *arg)
{
    (void)arg;
    if (e->body != NULL) {
        printf("%s %s %s -> %s: %s\n", e->time, e->name, e->from, e->to, e->body);
        fflush(stdout);
    }
    signet_pass(e);
}

static int failed(struct signet_server *s)
{
    fprintf(stderr, "passlog: %s\n", signet_error(s));
    signet_free(s);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3 || getenv("PASSWORD") == NULL) {
        fprintf(stderr, "usage: PASSWORD=... passlog ADDRESS:PORT COMPONENT\n");
        return 2;
    }
    struct signet_server *s = signet_new();
    signet_on_log(s, signet_log_stderr, NULL);
    if (signet_on_event(s, NULL, on_event, NULL) < 0) return failed(s);
    if (signet_component(s, argv[2], getenv("PASSWORD")) < 0) return failed(s);
    if (signet_listen(s, argv[1], NULL) < 0) return failed(s);
    if (signet_run(s, 5000) < 0) return failed(s); /* until SIGTERM or SIGINT; then the events under way are answered */
    signet_free(s);
    return 0;
}
