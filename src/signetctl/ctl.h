/* What the commands of signetctl share: how a command was called, what may come of it, asking signetd, printing tables, and passwords.
 * The commands themselves are the functions named in src/tables/commands.def; their files are named for their nouns. */
#ifndef SIGNET_SIGNETCTL_CTL_H
#define SIGNET_SIGNETCTL_CTL_H
#include "base/buf.h"
#include "base/err.h"
#include <jansson.h>
#include <stdint.h>

enum outcome { /* the exit codes */
    OUTCOME_OK = 0,
    OUTCOME_REFUSED = 1, /* signetd said no; the text is its own */
    OUTCOME_USAGE = 2, /* the command line is wrong */
    OUTCOME_UNREACHABLE = 3, /* signetd does not answer */
};

enum switch_id {
#define SWITCH(id, scope, name, value, help) SWITCH_##id,
#define COMMAND(noun, verb, arguments, switches, function, help)
#include "tables/commands.def"
#undef SWITCH
    SWITCHES
};
enum switch_mask { /* wider than an int, as GNU C17 allows */
#define SWITCH(id, scope, name, value, help) OPT_##id = 1ULL << SWITCH_##id,
#include "tables/commands.def"
#undef SWITCH
#undef COMMAND
};

_Static_assert(SWITCHES <= 64, "one bit of enum switch_mask each");

#define MAX_WORDS 8 /* of a command with its arguments */
struct invocation {
    const struct command *command;
    const char *words[MAX_WORDS]; /* what is not an option */
    unsigned n_words;
    const char *const *args; /* the words behind the command's own: as many as its row says, none empty; NULL for one that may be left out and is */
    uint64_t given; /* a mask of the options given */
    const char *values[SWITCHES]; /* the last one given */
    const char **events; /* every --event */
    unsigned n_events;
    const char **sets; /* every --set */
    unsigned n_sets;
};

/* On any outcome but OUTCOME_OK, err has a text for the user. */
typedef enum outcome (*command_fn)(const struct invocation *in, struct err *err);
#define SWITCH(id, scope, name, value, help)
#define COMMAND(noun, verb, arguments, switches, function, help) must_check enum outcome function(const struct invocation *in, struct err *err);
#include "tables/commands.def"
#undef SWITCH
#undef COMMAND
/* Fills err and returns outcome, which is not OUTCOME_OK. */
must_check enum outcome fail(enum outcome outcome, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- api.c: asking signetd ---- */
void api_start(const char *socket_path);
void api_stop(void);
/* A path of literal and escaped parts by turns, NULL at the end: api_path("/v1/users/", jid, "/password", NULL). The caller frees it. */
char *api_path(const char *literal, ...) __attribute__((sentinel));
/* take: the body, NULL for none; its texts are wiped. *out (unless NULL): a new reference to an object; the answer's "warnings" have been printed. */
must_check enum outcome api_call(const char *method, const char *path, json_t *take, json_t **out, struct err *err);
void api_warned(void); /* the warnings of the answers to come have been printed already */
/* GET, then the answer as JSON when --json is given, else what print makes of it. take_path: from malloc; freed. */
must_check enum outcome api_show(const struct invocation *in, char *take_path, void (*print)(const json_t *answer), struct err *err);
must_check enum outcome api_text(const char *path, struct buf *out, struct err *err); /* GET of what is not JSON */
void api_set_wait(long seconds); /* how long an answer may take; at first 60 */

/* ---- table.c: output for people ---- */
struct table { /* zero-initialised but for columns and head */
    unsigned columns;
    const char *head[14]; /* none: no head is printed */
    char **cells;
    size_t n_cells, cap;
};
void table_add(struct table *t, const char *text); /* NULL: "-". Control characters are replaced */
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_fact(struct table *t, const char *name, const char *value); /* a row of two columns */
void table_print(struct table *t); /* and frees the cells */
const char *json_text(const json_t *object, const char *name); /* "" when it is not a text */
long long json_number(const json_t *object, const char *name); /* 0 when it is not a number */
void json_print(const json_t *value, size_t flags); /* to stdout, with a line end */
/* With --json the answer as it is, else a line for people (NULL: nothing). */
void print_done(const struct invocation *in, const json_t *answer, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- secret.c: passwords and confirmations ---- */
#define SECRET_MAX 1024
/* As the options say; without one: asks on the terminal. what: "password of romeo@localhost". The caller wipes and frees *out. */
must_check enum outcome secret_get(const struct invocation *in, const char *what, char **out, struct err *err);
void secret_free(char *secret); /* wipes it; NULL is a no-op */
must_check enum outcome confirm(const struct invocation *in, const char *question, struct err *err); /* --yes, or "yes" typed at the terminal */

#endif
