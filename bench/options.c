/* One table: it parses, bounds and explains. */
#include "options.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, FLAG, TLS, MECHANISM, SERVER };
static const struct row {
    const char *name, *value, *help;
    enum kind kind;
    size_t at;
    unsigned min, max;
} rows[] = {
#define AT(field) offsetof(struct options, field)
    {"host", "HOST", "where the server listens (localhost)", TEXT, AT(host), 0, 0},
    {"port", "PORT", "and its port (5222; with --tls direct 5223)", NUMBER, AT(port), 1, 65535},
    {"domain", "DOMAIN", "the XMPP domain of the accounts (localhost)", TEXT, AT(domain), 0, 0},
    {"tls", "MODE", "none, starttls or direct (starttls); certificates are not verified", TLS, 0, 0, 0},
    {"mechanism", "NAME", "PLAIN, SCRAM-SHA-1, SCRAM-SHA-256 or any: the best one offered (any)", MECHANISM, 0, 0, 0},
    {"user", "PATTERN", "names of the accounts; %u is a number from 0 on (bench%u)", TEXT, AT(user), 0, 0},
    {"password", "PASSWORD", "the password of all of them (bench-password)", TEXT, AT(password), 0, 0},
    {"logins", "N", "logins under way at once (20)", NUMBER, AT(logins), 1, 10000},
    {"server", "PID[=NAME]", "a process to read CPU time and memory of, with its descendants; may be repeated", SERVER, 0, 0, 0},
    {"count", "N", "accounts: how many (200)", NUMBER, AT(count), 1, 10000000},
    {"csv", "FILE", "accounts: write them for `signetctl user import`; - is standard output", TEXT, AT(csv), 0, 0},
    {"in-band", NULL, "accounts: register them with the server (XEP-0077)", FLAG, AT(in_band), 0, 0},
    {"pairs", "N", "chat: conversations, each from one account to the next (100)", NUMBER, AT(pairs), 1, 1000000},
    {"window", "N", "chat, room: messages of a pair, or of a writer in a room, under way at once (10)", NUMBER, AT(window), 1, 10000},
    {"rate", "N", "chat, room: messages a second of all together, whatever comes back (0: closed loop)", NUMBER, AT(rate), 0, 10000000},
    {"single", NULL, "chat, room: every stanza in a packet of its own; with --rate always", FLAG, AT(single), 0, 0},
    {"bytes", "N", "chat, room: length of a message's text (64)", NUMBER, AT(bytes), 48, 60000},
    {"rooms", "N", "room: chat rooms; everybody is in each of them (1)", NUMBER, AT(rooms), 1, 100000},
    {"occupants", "N", "room: accounts in each room (200)", NUMBER, AT(occupants), 1, 100000},
    {"senders", "N", "room: how many of them write (5)", NUMBER, AT(senders), 1, 10000},
    {"muc", "DOMAIN", "room: the domain of the chat rooms (conference. and that of the accounts)", TEXT, AT(muc), 0, 0},
    {"seconds", "N", "chat, room, idle: how long is measured (10)", NUMBER, AT(seconds), 1, 86400},
    {"warmup", "N", "chat, room: seconds before that (2)", NUMBER, AT(warmup), 0, 3600},
    {"sessions", "N", "idle: how many (1000)", NUMBER, AT(sessions), 1, 10000000},
    {"settle", "N", "idle: seconds from the last login to the reading of the memory (5)", NUMBER, AT(settle), 0, 3600},
    {"json", NULL, "print the result as JSON", FLAG, AT(json), 0, 0},
    {"quiet", NULL, "show no progress", FLAG, AT(quiet), 0, 0},
#undef AT
};

static const struct {
    const char *name, *help;
} commands[] = {
    [COMMAND_HELP] = {"--help", NULL},
    [COMMAND_VERSION] = {"--version", NULL},
    [COMMAND_ACCOUNTS] = {"accounts", "make the accounts"},
    [COMMAND_CHAT] = {"chat", "one-to-one messages, in a closed loop (--window) or at a fixed rate (--rate)"},
    [COMMAND_ROOM] = {"room", "messages to chat rooms, and what joining one costs"},
    [COMMAND_IDLE] = {"idle", "hold sessions that do nothing, and see what each costs"},
};
static const char *const tls_names[] = {[TLS_NONE] = "none", [TLS_STARTTLS] = "starttls", [TLS_DIRECT] = "direct"};

void options_help(void)
{
    puts("usage: signet-bench COMMAND [option ...]\n\nLoad and measure an XMPP server.\n");
    for (size_t i = COMMAND_ACCOUNTS; i <= COMMAND_IDLE; i++) printf("  %-10s %s\n", commands[i].name, commands[i].help);
    puts("");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s %s", rows[i].name, rows[i].value == NULL ? "" : rows[i].value);
        printf("  %-22s %s\n", left, rows[i].help);
    }
    puts("\nExit status: 0 all arrived, once and in order; 1 it did not, or the server could not be used; 2 wrong usage. More: signet-bench(1).");
}

static int parse_name(const char *value, const char *const *names, unsigned n, const char *option, unsigned *out, struct err *err)
{
    char all[100] = "";
    for (unsigned i = 0; i < n; i++) {
        if (strcasecmp(value, names[i]) == 0) {
            *out = i;
            return 0;
        }
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    return err_set(err, ERR_INVALID, "--%s '%s': one of %s would be right", option, value, all);
}

static int parse_number(const struct row *row, const char *value, unsigned *out, struct err *err)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || n < row->min || n > row->max)
        return err_set(err, ERR_INVALID, "--%s '%s': a number from %u to %u would be right", row->name, value, row->min, row->max);
    *out = (unsigned)n;
    return 0;
}

static int parse_server(struct options *o, char *value, struct err *err)
{
    const struct row bounds = {.name = "server", .min = 1, .max = 1U << 30};
    char *name = strchr(value, '=');
    unsigned pid = 0;
    if (o->n_servers == SERVERS_MAX) return err_set(err, ERR_LIMIT, "--server: at most %d are possible", SERVERS_MAX);
    if (name != NULL) *name++ = '\0';
    if (parse_number(&bounds, value, &pid, err) < 0) return -1;
    o->servers[o->n_servers].pid = (pid_t)pid;
    o->servers[o->n_servers++].name = name != NULL ? name : value;
    return 0;
}

static int parse_value(struct options *o, const struct row *row, char *value, struct err *err)
{
    char *field = (char *)o + row->at;
    unsigned choice = 0;
    switch (row->kind) {
    case TEXT:
        *(const char **)(void *)field = value;
        return 0;
    case NUMBER:
        return parse_number(row, value, (unsigned *)(void *)field, err);
    case FLAG:
        *(bool *)(void *)field = true;
        return 0;
    case TLS:
        if (parse_name(value, tls_names, TLS_DIRECT + 1, "tls", &choice, err) < 0) return -1;
        o->tls = (enum tls_mode)choice;
        return 0;
    case MECHANISM:
        if (parse_name(value, mechanism_names, MECHANISMS, "mechanism", &choice, err) < 0) return -1;
        o->mechanism = (enum mechanism)choice;
        return 0;
    case SERVER:
        return parse_server(o, value, err);
    }
    return -1;
}

static int parse_option(struct options *o, char **argv, int *i, struct err *err)
{
    char *argument = argv[*i];
    size_t n = strcspn(argument, "=");
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (strncmp(argument, "--", 2) != 0 || strlen(rows[r].name) != n - 2 || strncmp(argument + 2, rows[r].name, n - 2) != 0) continue;
        if (rows[r].kind == FLAG && argument[n] != '\0') return err_set(err, ERR_INVALID, "--%s takes no value", rows[r].name);
        if (rows[r].kind == FLAG) return parse_value(o, &rows[r], NULL, err);
        char *value = argument[n] == '=' ? argument + n + 1 : argv[++*i];
        if (value == NULL) return err_set(err, ERR_INVALID, "--%s needs a value: %s", rows[r].name, rows[r].value);
        return parse_value(o, &rows[r], value, err);
    }
    return err_set(err, ERR_INVALID, "'%s' is not understood; see signet-bench --help", argument);
}

int options_parse(struct options *o, int argc, char **argv, struct err *err)
{
    *o = (struct options){.host = "localhost", .domain = "localhost", .user = "bench%u", .password = "bench-password", .count = 200, .pairs = 100,
                          .sessions = 1000, .window = 10, .seconds = 10, .warmup = 2, .settle = 5, .rooms = 1, .occupants = 200, .senders = 5, .bytes = 64, .logins = 20, .tls = TLS_STARTTLS};
    size_t command = 0;
    while (argc > 1 && command <= COMMAND_IDLE && strcmp(argv[1], commands[command].name) != 0) command++;
    if (argc < 2 || command > COMMAND_IDLE) return err_set(err, ERR_INVALID, "a command is needed: accounts, chat, room or idle; see signet-bench --help");
    o->command = (enum command)command;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], commands[COMMAND_HELP].name) != 0) continue;
        o->command = COMMAND_HELP;
        return 0;
    }
    for (int i = 2; i < argc; i++)
        if (parse_option(o, argv, &i, err) < 0) return -1;
    const char *number = strstr(o->user, "%u");
    if (number == NULL || strchr(number + 1, '%') != NULL || strchr(o->user, '%') != number || strlen(o->user) > 200)
        return err_set(err, ERR_INVALID, "--user '%s': a name with one %%u in it would be right", o->user);
    if (o->command == COMMAND_ACCOUNTS && (o->csv != NULL) == o->in_band)
        return err_set(err, ERR_INVALID, "accounts: either --csv FILE or --in-band is needed");
    if (o->command == COMMAND_ROOM && o->senders > o->occupants)
        return err_set(err, ERR_INVALID, "room: %u writers (--senders) in a room of %u (--occupants); at most all of them can write", o->senders, o->occupants);
    if (o->port == 0) o->port = o->tls == TLS_DIRECT ? 5223 : 5222;
    return 0;
}

void options_user(const struct options *o, unsigned index, char out[256])
{
    const char *number = strstr(o->user, "%u");
    snprintf(out, 256, "%.*s%u%s", (int)(number - o->user), o->user, index, number + 2);
}
