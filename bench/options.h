/* The command line of signet-bench. */
#ifndef SIGNET_BENCH_OPTIONS_H
#define SIGNET_BENCH_OPTIONS_H
#include "base/err.h"
#include "login.h"
#include <stdbool.h>
#include <sys/types.h>

enum command { COMMAND_HELP, COMMAND_VERSION, COMMAND_ACCOUNTS, COMMAND_CHAT, COMMAND_ROOM, COMMAND_IDLE };
enum tls_mode { TLS_NONE, TLS_STARTTLS, TLS_DIRECT };
enum { SERVERS_MAX = 8 };
struct options {
    enum command command;
    const char *host, *domain, *user, *password, *csv, *muc;
    unsigned port, count, pairs, sessions, window, rate, seconds, warmup, settle, bytes, logins, rooms, occupants, senders;
    enum tls_mode tls;
    enum mechanism mechanism;
    bool in_band, single, json, quiet;
    struct { /* processes whose CPU time and memory are read, each with its descendants */
        pid_t pid;
        const char *name;
    } servers[SERVERS_MAX];
    unsigned n_servers;
};
must_check int options_parse(struct options *o, int argc, char **argv, struct err *err); /* strings stay argv's */
void options_help(void);
void options_user(const struct options *o, unsigned index, char out[256]); /* --user with the number in it */

#endif
