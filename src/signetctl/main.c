/* signetctl: administration of a running signetd from the command line. This file reads the command line by the table src/tables/commands.def,
 * finds the command's function and turns what came of it into an exit code. No option takes a password: a command line is seen by everybody on the
 * machine. */
#include "signetctl/ctl.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/signet/admin.sock"

enum scope { SCOPE_ALL, SCOPE_ONCE, SCOPE_MANY };
static const struct {
    const char *name, *value, *help;
    enum scope scope;
} switches[SWITCHES] = {
#define SWITCH(id, scope, name, value, help) {name, value, help, SCOPE_##scope},
#define COMMAND(noun, verb, arguments, switches, function, help)
#include "tables/commands.def"
#undef SWITCH
#undef COMMAND
};

struct command {
    const char *noun, *verb, *arguments;
    uint64_t switches;
    command_fn run;
    const char *help;
};
static const struct command commands[] = {
#define SWITCH(id, scope, name, value, help)
#define COMMAND(noun, verb, arguments, switches, function, help) {noun, verb, arguments, switches, function, help},
#include "tables/commands.def"
#undef SWITCH
#undef COMMAND
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

enum outcome fail(enum outcome outcome, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    *err = (struct err){.code = outcome == OUTCOME_USAGE ? ERR_INVALID : ERR_IO};
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return outcome;
}

/* ---- help ---- */
static unsigned count_words(const char *text)
{
    unsigned n = 0;
    for (bool inside = false; *text != '\0'; text++) {
        n += *text != ' ' && !inside;
        inside = *text != ' ';
    }
    return n;
}

/* noun verb ARGUMENTS, the present parts only */
static void add_line(struct buf *out, const struct command *c, bool arguments)
{
    buf_adds(out, c->noun);
    if (*c->verb != '\0') buf_addf(out, " %s", c->verb);
    if (arguments && *c->arguments != '\0') buf_addf(out, " %s", c->arguments);
}

/* Fills lines up to column 96, each beginning after `indent` blanks; the first begins where the output is. */
static void print_filled(FILE *out, const char *text, int indent)
{
    int at = indent;
    while (*text != '\0') {
        int n = (int)strcspn(text, " ");
        if (at > indent && at + 1 + n > 96) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_switches(FILE *out, uint64_t mask)
{
    for (unsigned i = 0; i < SWITCHES; i++) {
        if ((mask & (1ULL << i)) == 0) continue;
        int n = fprintf(out, "  --%s%s%s", switches[i].name, *switches[i].value != '\0' ? " " : "", switches[i].value);
        fprintf(out, "%*s", n < 29 ? 30 - n : 1, "");
        print_filled(out, switches[i].help, 30);
    }
}

static uint64_t global_switches(void)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < SWITCHES; i++) mask |= switches[i].scope == SCOPE_ALL ? 1ULL << i : 0;
    return mask;
}

static void print_command_help(FILE *out, const struct command *c)
{
    struct buf line = {0};
    add_line(&line, c, true);
    fprintf(out, "Usage: signetctl %s%s\n\n", buf_cstr(&line), c->switches != 0 ? " [OPTION...]" : "");
    buf_free(&line);
    print_filled(out, c->help, 0);
    fputs("\nOptions:\n", out);
    print_switches(out, c->switches | global_switches());
}

/* The words begin the command: "compliance server", "user". */
static bool begins_with(const struct command *c, const struct invocation *in, unsigned n)
{
    struct buf line = {0};
    add_line(&line, c, false);
    const char *at = buf_cstr(&line);
    bool fits = true;
    for (unsigned i = 0; fits && i < n; i++) {
        size_t length = strcspn(at, " ");
        fits = length > 0 && length == strlen(in->words[i]) && memcmp(at, in->words[i], length) == 0;
        at += length + (at[length] == ' ');
    }
    buf_free(&line);
    return fits;
}

static void print_overview(FILE *out, const struct invocation *in)
{
    fputs("Usage: signetctl COMMAND [ARGUMENT...] [OPTION...]\n\nAdministration of a running signetd.\n\n", out);
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (!begins_with(&commands[i], in, in->n_words)) continue;
        struct buf line = {0};
        add_line(&line, &commands[i], true);
        fprintf(out, "  %-42s ", buf_cstr(&line));
        const char *stop = strstr(commands[i].help, ". ");
        char *first = stop != NULL ? str_dup((struct str){commands[i].help, (size_t)(stop - commands[i].help) + 1}) : x_strdup(commands[i].help);
        print_filled(out, first, 45);
        free(first);
        buf_free(&line);
    }
    fputs("\nOptions of every command; signetctl COMMAND --help tells those it has besides:\n", out);
    print_switches(out, global_switches());
    fputs("\nExit codes: 0 done, 1 refused by signetd, 2 wrong usage, 3 signetd does not answer.\n", out);
}

/* ---- reading the command line ---- */
static enum outcome take_option(struct invocation *in, char **argv, int argc, int *at, struct err *err)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    size_t n = equals != NULL ? (size_t)(equals - text) : strlen(text);
    unsigned id = 0;
    while (id < SWITCHES && (strlen(switches[id].name) != n || memcmp(switches[id].name, text, n) != 0)) id++;
    if (id == SWITCHES && n >= 8 && memcmp(text, "password", 8) == 0)
        return fail(OUTCOME_USAGE, err,
                    "a password is never given on the command line, where others can see it; use --password-file, --password-stdin or "
                    "--password-ask");
    if (id == SWITCHES) return fail(OUTCOME_USAGE, err, "there is no option --%.*s; see signetctl --help", (int)(n < 64 ? n : 64), text);
    if (switches[id].scope != SCOPE_MANY && (in->given & (1ULL << id)) != 0) return fail(OUTCOME_USAGE, err, "--%s is given twice", switches[id].name);
    in->given |= 1ULL << id;
    if (*switches[id].value == '\0') return equals == NULL ? OUTCOME_OK : fail(OUTCOME_USAGE, err, "--%s takes no value", switches[id].name);
    if (equals == NULL && *at + 1 == argc)
        return fail(OUTCOME_USAGE, err, "--%s needs a value: --%s %s", switches[id].name, switches[id].name, switches[id].value);
    in->values[id] = equals != NULL ? equals + 1 : argv[++*at];
    if (id == SWITCH_EVENT) in->events[in->n_events++] = in->values[id];
    if (id == SWITCH_SET) in->sets[in->n_sets++] = in->values[id];
    return OUTCOME_OK;
}

static enum outcome read_command_line(struct invocation *in, int argc, char **argv, struct err *err)
{
    bool options = true;
    in->events = x_calloc((size_t)argc + 1, sizeof(*in->events));
    in->sets = x_calloc((size_t)argc + 1, sizeof(*in->sets));
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && strcmp(argv[i], "-h") == 0) {
            in->given |= OPT_HELP;
        } else if (options && strncmp(argv[i], "--", 2) == 0) {
            enum outcome rc = take_option(in, argv, argc, &i, err);
            if (rc != OUTCOME_OK) return rc;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            return fail(OUTCOME_USAGE, err, "there is no option %.64s; see signetctl --help", argv[i]);
        } else if (in->n_words == MAX_WORDS) {
            return fail(OUTCOME_USAGE, err, "too many arguments, from '%.64s' on", argv[i]);
        } else {
            in->words[in->n_words++] = argv[i];
        }
    }
    return OUTCOME_OK;
}

/* How many words of the line are words of some command: "user ad x" has one. */
static unsigned known_words(const struct invocation *in)
{
    for (unsigned n = in->n_words; n > 0; n--)
        for (unsigned i = 0; i < COMMANDS; i++)
            if (begins_with(&commands[i], in, n)) return n;
    return 0;
}

static enum outcome unknown_command(const struct invocation *in, struct err *err)
{
    unsigned known = known_words(in);
    struct buf has = {0}, said = {0};
    for (unsigned i = 0; i < known; i++) buf_addf(&said, "%s%s", i > 0 ? " " : "", in->words[i]);
    if (known == 0) {
        buf_free(&said);
        return fail(OUTCOME_USAGE, err, "there is no command '%.64s'; see signetctl --help", in->words[0]);
    }
    size_t skip = said.len + 1;
    struct buf last = {0};
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (!begins_with(&commands[i], in, known)) continue;
        struct buf line = {0};
        add_line(&line, &commands[i], false);
        const char *rest = buf_cstr(&line) + skip;
        size_t n = strcspn(rest, " ");
        if (n != last.len || memcmp(buf_cstr(&last), rest, n) != 0) buf_addf(&has, "%s%.*s", has.len > 0 ? ", " : "", (int)n, rest);
        buf_free(&last);
        buf_add(&last, rest, n);
        buf_free(&line);
    }
    buf_free(&last);
    enum outcome rc = known == in->n_words ? fail(OUTCOME_USAGE, err, "'%s' needs one of: %s", buf_cstr(&said), buf_cstr(&has))
                                           : fail(OUTCOME_USAGE, err, "'%s' has no '%.64s'; it has: %s", buf_cstr(&said), in->words[known],
                                                  buf_cstr(&has));
    buf_free(&has);
    buf_free(&said);
    return rc;
}

static enum outcome find_command(struct invocation *in, struct err *err)
{
    unsigned own = 0;
    for (unsigned i = 0; i < COMMANDS && in->command == NULL; i++) {
        own = count_words(commands[i].noun) + count_words(commands[i].verb);
        if (own <= in->n_words && begins_with(&commands[i], in, own)) in->command = &commands[i];
    }
    const struct command *c = in->command;
    if (c == NULL) return unknown_command(in, err);
    if ((in->given & OPT_HELP) != 0) return OUTCOME_OK;
    struct buf line = {0};
    add_line(&line, c, true);
    enum outcome rc = OUTCOME_OK;
    unsigned given = in->n_words - own, most = count_words(c->arguments), needed = most - (strchr(c->arguments, '[') != NULL);
    if (given < needed || given > most) rc = fail(OUTCOME_USAGE, err, "too %s arguments; it is: signetctl %s", given < needed ? "few" : "many", buf_cstr(&line));
    buf_free(&line);
    in->args = in->words + own;
    for (unsigned i = own; rc == OUTCOME_OK && i < in->n_words; i++)
        if (*in->words[i] == '\0') rc = fail(OUTCOME_USAGE, err, "an argument is empty: %s", c->arguments);
    uint64_t strange = in->given & ~(c->switches | global_switches());
    for (unsigned i = 0; rc == OUTCOME_OK && i < SWITCHES; i++)
        if ((strange & (1ULL << i)) != 0)
            rc = fail(OUTCOME_USAGE, err, "%s%s%s does not take --%s", c->noun, *c->verb != '\0' ? " " : "", c->verb, switches[i].name);
    return rc;
}

static enum outcome run(struct invocation *in, int argc, char **argv, struct err *err)
{
    enum outcome rc = read_command_line(in, argc, argv, err);
    if (rc != OUTCOME_OK) return rc;
    if ((in->given & OPT_VERSION) != 0) {
        puts("signetctl " SIGNET_VERSION);
        return OUTCOME_OK;
    }
    bool help = (in->given & OPT_HELP) != 0;
    if (in->n_words == 0 && !help) {
        print_overview(stderr, in);
        return fail(OUTCOME_USAGE, err, "no command");
    }
    rc = in->n_words > 0 ? find_command(in, err) : OUTCOME_OK;
    if (help && in->command != NULL) {
        print_command_help(stdout, in->command);
        return OUTCOME_OK;
    }
    if (help && known_words(in) == in->n_words) {
        print_overview(stdout, in);
        return OUTCOME_OK;
    }
    if (rc != OUTCOME_OK) return rc;
    const char *path = in->values[SWITCH_SOCKET];
    if (path == NULL) path = getenv("SIGNET_ADMIN_SOCKET");
    api_start(path != NULL && *path != '\0' ? path : DEFAULT_SOCKET);
    rc = in->command->run(in, err);
    api_stop();
    return rc;
}

int main(int argc, char **argv)
{
    struct invocation in = {0};
    struct err err = {0};
    setlocale(LC_ALL, "");
    enum outcome rc = run(&in, argc, argv, &err);
    free(in.events);
    free(in.sets);
    if (rc != OUTCOME_OK) fprintf(stderr, "signetctl: %s\n", err.text);
    if ((fflush(stdout) != 0 || ferror(stdout)) && rc == OUTCOME_OK) {
        perror("signetctl: the output could not be written");
        return OUTCOME_REFUSED;
    }
    return (int)rc;
}
