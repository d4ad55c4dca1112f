/* Options are one table: command line, config file and --help are all read from it. */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include "base/buf.h"
#include "base/clock.h"
#include "options.h"

#define DEFAULT_CONFIG "/etc/signet/recorder.conf"
#define ON(command)    (1u << COMMAND_##command)
#define ON_READING     (ON(SEARCH) | ON(TAIL) | ON(COUNT))
#define ON_FINDING     (ON(SEARCH) | ON(COUNT))

enum option_type { TEXT, LIST, NUMBER, FLAG, COMPONENT, PASSWORD_FILE };
static const struct row {
    const char *name; /* --name on the command line, name = in the file (flags: command line only) */
    enum option_type type;
    size_t offset;
    unsigned commands;
    int64_t def, min, max; /* NUMBER */
    const char *value, *help;
} rows[] = {
    {"config", TEXT, offsetof(struct options, config), ON(SERVE) | ON_READING, 0, 0, 0, "FILE",
     "read options from FILE (default: " DEFAULT_CONFIG ", when it is there)"},
    {"database", TEXT, offsetof(struct options, database), ON(SERVE) | ON_READING, 0, 0, 0, "FILE",
     "the archive, an SQLite database; serve makes it when it is not there"},
    {"listen", LIST, offsetof(struct options, listen), ON(SERVE), 0, 0, 0, "ADDR:PORT",
     "nodes dial us here (their direction connect); may be repeated"},
    {"connect", LIST, offsetof(struct options, connect), ON(SERVE), 0, 0, 0, "HOST:PORT",
     "dial this node's component port (its direction accept); may be repeated"},
    {"component", COMPONENT, 0, ON(SERVE), 0, 0, 0, "NAME", "a component name the node was given; may be repeated"},
    {"password-file", PASSWORD_FILE, 0, ON(SERVE), 0, 0, 0, "FILE",
     "first line: the password of the --component before it, or of all when it comes first;\n"
     "else the environment's SIGNET_RECORDER_PASSWORD"},
    {"tls-certificate", TEXT, offsetof(struct options, tls_certificate), ON(SERVE), 0, 0, 0, "FILE", "TLS on --listen: certificate chain (PEM)"},
    {"tls-key", TEXT, offsetof(struct options, tls_key), ON(SERVE), 0, 0, 0, "FILE", "TLS on --listen: private key (PEM)"},
    {"tls-ca", TEXT, offsetof(struct options, tls_ca), ON(SERVE), 0, 0, 0, "FILE",
     "TLS on --connect: the CA that signed the node's certificate (PEM)"},
    {"tls-host", TEXT, offsetof(struct options, tls_host), ON(SERVE), 0, 0, 0, "NAME",
     "TLS on --connect: the name in that certificate (default: HOST)"},
    {"redact", LIST, offsetof(struct options, redact), ON(SERVE), 0, 0, 0, "REGEX",
     "for tests and demonstrations: replace matches in messages (POSIX extended, case\n"
     "is ignored); both the original and what was let through are recorded; repeatable"},
    {"redact-with", TEXT, offsetof(struct options, redact_with), ON(SERVE), 0, 0, 0, "TEXT", "what stands in its place (default: a bar)"},
    {"batch", NUMBER, offsetof(struct options, batch), ON(SERVE), 1000, 1, 100000, "N", "at most N events in one transaction (default 1000)"},
    {"grace-ms", NUMBER, offsetof(struct options, grace_ms), ON(SERVE), 5000, 0, 600000, "MS", "time for events under way at a stop (default 5000)"},
    {"log-level", TEXT, offsetof(struct options, log_level), ON(SERVE), 0, 0, 0, "LEVEL", "error, warn, notice, info (default) or debug"},
    {"log-format", TEXT, offsetof(struct options, log_format), ON(SERVE), 0, 0, 0, "FORMAT", "text (default) or json"},
    {"log-target", TEXT, offsetof(struct options, log_target), ON(SERVE), 0, 0, 0, "TARGET",
     "stderr (default), journald or a file; reopened at SIGHUP"},
    {"user", TEXT, offsetof(struct options, user), ON_FINDING, 0, 0, 0, "JID", "events this user sent, got, or whose session they are about"},
    {"with", TEXT, offsetof(struct options, with), ON_FINDING, 0, 0, 0, "JID", "and this user or room is on the other side"},
    {"event", TEXT, offsetof(struct options, event), ON_FINDING, 0, 0, 0, "NAME", "only this event: es_OUT, es_IN, onBeforeSend, ..."},
    {"text", TEXT, offsetof(struct options, text), ON_FINDING, 0, 0, 0, "WORDS", "all these words are in the body; word* finds beginnings"},
    {"since", TEXT, offsetof(struct options, since), ON_FINDING, 0, 0, 0, "TIME",
     "not before: 2026-11-22, 2026-11-22T14:34:00Z (UTC), or ago: 90s, 10m, 2h, 3d"},
    {"until", TEXT, offsetof(struct options, until), ON_FINDING, 0, 0, 0, "TIME", "before this time"},
    {"stanza", TEXT, offsetof(struct options, stanza), ON_FINDING, 0, 0, 0, "ID",
     "all events of one stanza, by stanza id; or one event, by event id"},
    {"limit", NUMBER, offsetof(struct options, limit), ON(SEARCH), 100, 0, INT64_MAX, "N", "the newest N (default 100; 0: all)"},
    {"lines", NUMBER, offsetof(struct options, lines), ON(TAIL), 10, 0, INT64_MAX, "N", "the last N (default 10); also -n N"},
    {"follow", FLAG, offsetof(struct options, follow), ON(TAIL), 0, 0, 0, NULL, "and then each new one as it is recorded; also -f"},
    {"json", FLAG, offsetof(struct options, json), ON(SEARCH) | ON(TAIL), 0, 0, 0, NULL, "one JSON object per line, with everything recorded"},
    {"xml", FLAG, offsetof(struct options, xml), ON(SEARCH) | ON(TAIL), 0, 0, 0, NULL, "show the stanzas too"},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static const struct {
    const char *name, *help;
} commands[] = {
    [COMMAND_SERVE] = {"serve", "be the compliance server: record every event, answer PASS when it is on disk"},
    [COMMAND_SEARCH] = {"search", "show recorded events, oldest first"},
    [COMMAND_TAIL] = {"tail", "show the latest events"},
    [COMMAND_COUNT] = {"count", "print how many events are recorded"},
};

static const struct row *find_row(const char *name, size_t n)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strlen(rows[i].name) == n && strncmp(rows[i].name, name, n) == 0) return &rows[i];
    }
    return NULL;
}

static void *field(struct options *o, const struct row *r)
{
    return (char *)o + r->offset;
}

static bool is_set(struct options *o, const struct row *r)
{
    if (r->type == TEXT) return *(char **)field(o, r) != NULL;
    if (r->type == LIST) return ((struct text_list *)field(o, r))->count > 0;
    if (r->type == NUMBER) return *(int64_t *)field(o, r) >= 0; /* -1: not given */
    return r->type == COMPONENT && o->n_components > 0;
}

static struct component_option *add_component(struct options *o, const char *name)
{
    o->components = x_realloc(o->components, (o->n_components + 1) * sizeof(*o->components));
    struct component_option *c = &o->components[o->n_components++];
    *c = (struct component_option){.name = x_strdup(name)};
    return c;
}

static int set_number(struct options *o, const struct row *r, const char *value, struct err *err)
{
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || n < r->min || n > r->max)
        return err_set(err, ERR_INVALID, "%s: '%s' is not a number between %lld and %lld", r->name, value, (long long)r->min, (long long)r->max);
    *(int64_t *)field(o, r) = n;
    return 0;
}

static void replace(char **where, const char *value)
{
    free(*where);
    *where = x_strdup(value);
}

static int set_value(struct options *o, const struct row *r, const char *value, struct err *err)
{
    if (r->type != FLAG && *value == '\0') return err_set(err, ERR_INVALID, "%s needs a value (%s)", r->name, r->value);
    switch (r->type) {
    case NUMBER:
        return set_number(o, r, value, err);
    case FLAG:
        *(bool *)field(o, r) = true;
        break;
    case TEXT:
        replace(field(o, r), value);
        break;
    case LIST: {
        struct text_list *l = field(o, r);
        l->items = x_realloc(l->items, (l->count + 1) * sizeof(*l->items));
        l->items[l->count++] = x_strdup(value);
        break;
    }
    case COMPONENT:
        (void)add_component(o, value);
        break;
    case PASSWORD_FILE:
        replace(o->n_components > 0 ? &o->components[o->n_components - 1].password_file : &o->password_file, value);
        break;
    }
    return 0;
}

/* ---- the config file ---- */

struct file_reader {
    struct options *o;
    struct err *err;
    bool given[N_ROWS]; /* set on the command line: the file does not change or add to it */
    bool components_given, failed;
    struct component_option *component; /* of the section being read */
    char section[300];
};

static int fail_line(struct file_reader *f, const char *what, const char *name)
{
    if (!f->failed) err_set(f->err, ERR_INVALID, "'%s': %s", name, what);
    f->failed = true;
    return 0;
}

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct file_reader *f = arg;
    if (strncmp(section, "component ", 10) == 0) {
        if (f->components_given) return 1;
        if (strcmp(f->section, section) != 0) f->component = add_component(f->o, section + 10);
        snprintf(f->section, sizeof(f->section), "%s", section);
        if (strcmp(name, "password-file") != 0) return fail_line(f, "a [component NAME] section knows password-file only", name);
        replace(&f->component->password_file, value);
        return 1;
    }
    if (strcmp(section, "recorder") != 0) return fail_line(f, "there is no such section; there are [recorder] and [component NAME]", section);
    const struct row *r = find_row(name, strlen(name));
    if (r == NULL || r->type == FLAG || r->offset == offsetof(struct options, config))
        return fail_line(f, "there is no such option in the file", name);
    if (r->type == COMPONENT) return fail_line(f, "components are sections of their own: [component NAME]", name);
    if (r->type == PASSWORD_FILE) {
        if (f->o->password_file == NULL) replace(&f->o->password_file, value);
        return 1;
    }
    if (f->given[r - rows]) return 1;
    if (set_value(f->o, r, value, f->err) == 0) return 1;
    f->failed = true;
    return 0;
}

static int read_config(struct options *o, struct err *err)
{
    const char *path = o->config != NULL ? o->config : DEFAULT_CONFIG;
    struct file_reader f = {.o = o, .err = err, .components_given = o->n_components > 0};
    if (o->config == NULL && access(path, F_OK) != 0) return 0;
    for (size_t i = 0; i < N_ROWS; i++) f.given[i] = is_set(o, &rows[i]);
    ini_use_stack = 0; /* the library's defaults cut lines at 200 bytes and values at " ;" */
    ini_allow_realloc = 1;
    ini_max_line = 65536;
    ini_allow_inline_comments = 0;
    ini_allow_multiline = 0;
    ini_stop_on_first_error = 1;
    int rc = ini_parse(path, on_line, &f);
    if (rc == -1) return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (f.failed) return err_prefix(err, "%s:%d: ", path, rc);
    return rc != 0 ? err_set(err, ERR_INVALID, "%s:%d: not a section, 'name = value' or comment", path, rc) : 0;
}

/* ---- the command line ---- */

static enum command command_of(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return COMMAND_HELP;
    if (strcmp(word, "--version") == 0) return COMMAND_VERSION;
    for (unsigned i = COMMAND_SERVE; i <= COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, word) == 0) return (enum command)i;
    }
    return COMMAND_NONE;
}

static int parse_argument(struct options *o, int argc, char **argv, int *i, struct err *err)
{
    const char *word = argv[*i];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        o->command = COMMAND_HELP;
        return 0;
    }
    if (o->command == COMMAND_TAIL && strncmp(word, "-n", 2) == 0) word = word[2] == '\0' ? "--lines" : word;
    if (o->command == COMMAND_TAIL && strcmp(word, "-f") == 0) word = "--follow";
    if (o->command == COMMAND_TAIL && strncmp(word, "-n", 2) == 0) return set_value(o, find_row("lines", 5), word + 2, err);
    if (strncmp(word, "--", 2) != 0) return err_set(err, ERR_INVALID, "'%s' is not an option; see signet-recorder --help", word);
    size_t n = strcspn(word + 2, "=");
    const struct row *r = find_row(word + 2, n);
    if (n == 8 && strncmp(word + 2, "password", 8) == 0)
        return err_set(
            err, ERR_INVALID,
            "passwords are not taken from the command line, where everybody can read them: use --password-file FILE or SIGNET_RECORDER_PASSWORD");
    if (r == NULL || (r->commands & (1u << o->command)) == 0)
        return err_set(err, ERR_INVALID, "%s has no option %.*s; see signet-recorder --help", commands[o->command].name, (int)n + 2, word);
    const char *value = word[2 + n] == '=' ? word + 3 + n : NULL;
    if (r->type == FLAG) return value != NULL ? err_set(err, ERR_INVALID, "--%s takes no value", r->name) : set_value(o, r, "", err);
    if (value == NULL) {
        if (*i + 1 >= argc) return err_set(err, ERR_INVALID, "--%s needs a value (%s)", r->name, r->value);
        value = argv[++*i];
    }
    return set_value(o, r, value, err);
}

static int check_serve(const struct options *o, struct err *err)
{
    if (o->listen.count == 0 && o->connect.count == 0)
        return err_set(err, ERR_INVALID, "serve needs --listen ADDR:PORT (the node dials us) or --connect HOST:PORT (we dial the node)");
    if (o->n_components == 0) return err_set(err, ERR_INVALID, "serve needs --component NAME, the component name the node was given for this server");
    if ((o->tls_certificate == NULL) != (o->tls_key == NULL)) return err_set(err, ERR_INVALID, "--tls-certificate and --tls-key go together");
    return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct err *err)
{
    *o = (struct options){.command = argc > 1 ? command_of(argv[1]) : COMMAND_HELP};
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].type == NUMBER) *(int64_t *)field(o, &rows[i]) = -1;
    }
    if (o->command == COMMAND_HELP || o->command == COMMAND_VERSION) return 0;
    if (o->command == COMMAND_NONE)
        return err_set(err, ERR_INVALID, "there is no command '%s': serve, search, tail or count; see signet-recorder --help", argv[1]);
    for (int i = 2; i < argc; i++) {
        if (parse_argument(o, argc, argv, &i, err) < 0) return -1;
        if (o->command == COMMAND_HELP) return 0;
    }
    if (read_config(o, err) < 0) return -1;
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].type == NUMBER && !is_set(o, &rows[i])) *(int64_t *)field(o, &rows[i]) = rows[i].def;
    }
    if (o->database == NULL)
        return err_set(err, ERR_INVALID, "%s needs --database FILE (or database = in the config file)", commands[o->command].name);
    return o->command == COMMAND_SERVE ? check_serve(o, err) : 0;
}

static int read_password(const char *path, char **out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, ERR_IO, "cannot read the password file %s: %s", path, strerror(errno));
    char text[1025];
    ssize_t n = read(fd, text, sizeof(text) - 1);
    int problem = errno;
    close(fd);
    if (n < 0) return err_set(err, ERR_IO, "cannot read the password file %s: %s", path, strerror(problem));
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    int rc = *text == '\0' ? err_set(err, ERR_INVALID, "the first line of the password file %s is empty", path) : 0;
    if (rc == 0) *out = x_strdup(text);
    OPENSSL_cleanse(text, sizeof(text));
    return rc;
}

int options_read_passwords(struct options *o, struct err *err)
{
    const char *env = getenv("SIGNET_RECORDER_PASSWORD");
    for (unsigned i = 0; i < o->n_components; i++) {
        struct component_option *c = &o->components[i];
        const char *file = c->password_file != NULL ? c->password_file : o->password_file;
        if (file != NULL) {
            if (read_password(file, &c->password, err) < 0) return -1;
        } else if (env != NULL && *env != '\0') {
            c->password = x_strdup(env);
        } else {
            return err_set(err, ERR_INVALID, "component %s has no password: give --password-file FILE after it, or set SIGNET_RECORDER_PASSWORD",
                           c->name);
        }
    }
    return 0;
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].type == TEXT) free(*(char **)field(o, &rows[i]));
        if (rows[i].type != LIST) continue;
        struct text_list *l = field(o, &rows[i]);
        for (unsigned j = 0; j < l->count; j++) free(l->items[j]);
        free(l->items);
    }
    for (unsigned i = 0; i < o->n_components; i++) {
        struct component_option *c = &o->components[i];
        if (c->password != NULL) OPENSSL_cleanse(c->password, strlen(c->password));
        free(c->password);
        free(c->password_file);
        free(c->name);
    }
    free(o->components);
    free(o->password_file);
}

int options_parse_time(const char *text, uint64_t *wall_ms, struct err *err)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    for (unsigned i = 0; i < 4; i++) {
        if (end != text && errno == 0 && n < 1000000 && end[0] == units[i].unit && end[1] == '\0') {
            uint64_t now = clock_wall_ms(), ago = n * units[i].ms;
            *wall_ms = now > ago ? now - ago : 0;
            return 0;
        }
    }
    if (clock_parse_stamp(text, wall_ms) == 0) return 0;
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"};
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {0};
        const char *rest = strptime(text, formats[i], &tm);
        if (rest == NULL || *rest != '\0') continue;
        time_t t = timegm(&tm);
        *wall_ms = t > 0 ? (uint64_t)t * 1000 : 0;
        return 0;
    }
    return err_set(err, ERR_INVALID, "'%s' is not a time: 2026-11-22, 2026-11-22T14:34:00Z (UTC), or a time ago like 90s, 10m, 2h, 3d", text);
}

void options_help(void)
{
    printf("signet-recorder: a compliance server for Signet that archives every event\n\n");
    for (unsigned i = COMMAND_SERVE; i <= COMMAND_COUNT; i++) {
        printf("signet-recorder %s [options]\n    %s\n", commands[i].name, commands[i].help);
        for (size_t j = 0; j < N_ROWS; j++) {
            if ((rows[j].commands & (1u << i)) == 0) continue;
            char left[64];
            snprintf(left, sizeof(left), "--%s%s%s", rows[j].name, rows[j].value != NULL ? " " : "", rows[j].value != NULL ? rows[j].value : "");
            const char *help = rows[j].help, *line_end = strchr(help, '\n');
            printf("      %-24s %.*s\n", left, line_end ? (int)(line_end - help) : INT_MAX, help);
            if (line_end != NULL) printf("      %-24s %s\n", "", line_end + 1);
        }
        printf("\n");
    }
    printf("See signet-recorder(1) for the config file and examples.\n");
}
