/* What signet-recorder was told: command line first, then the config file for what it left open, then the environment for secrets. */
#ifndef SIGNET_RECORDER_OPTIONS_H
#define SIGNET_RECORDER_OPTIONS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

enum command { COMMAND_NONE, COMMAND_SERVE, COMMAND_SEARCH, COMMAND_TAIL, COMMAND_COUNT, COMMAND_HELP, COMMAND_VERSION };

struct text_list {
    char **items;
    unsigned count;
};
struct component_option {
    char *name;
    char *password_file; /* NULL: the default one, else the environment */
    char *password;      /* read by options_read_passwords */
};
struct options {
    enum command command;
    char *config;
    char *database;
    /* serve */
    struct component_option *components;
    unsigned n_components;
    struct text_list listen, connect, redact;
    char *password_file; /* for components without their own */
    char *tls_certificate, *tls_key, *tls_ca, *tls_host;
    char *redact_with;
    char *log_level, *log_format, *log_target;
    int64_t grace_ms, batch;
    /* search, tail, count */
    char *user, *with, *event, *text, *since, *until, *stanza;
    int64_t limit, lines;
    bool json, xml, follow;
};

/* 0: *o is filled; -1: the error names the option and what would be right. */
must_check int options_parse(struct options *o, int argc, char **argv, struct err *err);
must_check int options_read_passwords(struct options *o, struct err *err);
void options_free(struct options *o);
void options_help(void); /* to stdout */
/* "2026-11-22", "2026-11-22T14:34:00Z", "2026-11-22 14:34" (UTC), or a time ago: "90s", "10m", "2h", "3d". */
must_check int options_parse_time(const char *text, uint64_t *wall_ms, struct err *err);

#endif
