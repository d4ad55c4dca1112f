/* signet-bench: loads any XMPP server and measures what it costs. */
#include "crowd.h"
#include <stdio.h>
#include <sys/resource.h>

/* Each session is a descriptor. */
static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(const struct options *o, struct err *err)
{
    raise_files();
    client_setup(o);
    if (o->command == COMMAND_ACCOUNTS && o->csv != NULL) return accounts_run(o, err);
    static int (*const runs[])(const struct options *, struct err *) = {
        [COMMAND_ACCOUNTS] = accounts_run, [COMMAND_CHAT] = chat_run, [COMMAND_ROOM] = room_run, [COMMAND_IDLE] = idle_run};
    int rc = net_start(o->host, (uint16_t)o->port, err);
    if (rc == 0) rc = runs[o->command](o, err);
    net_stop();
    return rc;
}

/* Exit: 0 fine, 1 it did not work, 2 it was asked wrongly. */
int main(int argc, char **argv)
{
    struct options o;
    struct err err = {0};
    int rc = options_parse(&o, argc, argv, &err) < 0 ? 2 : 0;
    if (rc == 0 && o.command == COMMAND_HELP) {
        options_help();
    } else if (rc == 0 && o.command == COMMAND_VERSION) {
        printf("signet-bench %s\n", SIGNET_VERSION);
    } else if (rc == 0) {
        rc = run(&o, &err) < 0 ? 1 : 0;
    }
    if (rc != 0) fprintf(stderr, "signet-bench: %s\n", err.text);
    return rc;
}
