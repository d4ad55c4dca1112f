/* The configuration. Options are rows of src/tables/options.def; this file turns the table into a struct, and a text file into its values.
 * A configuration that is not understood completely is refused: a misspelt option that is silently ignored is how compliance gets lost.
 * So every error says where, what, and what would be right.
 *
 * The syntax is libinih's, with what it does by default and what would surprise turned off: cutting lines at 200 bytes, cutting values at " ;"
 * (passwords have them), and joining indented lines. The file is read whole and served to the parser line by line, which also gives
 * us the line numbers that the library's handler lacks. */
#include "base/config.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, CONFIG_LINE_MAX = 65536 };
enum option_type { OPTION_INT, OPTION_BOOL, OPTION_TEXT, OPTION_LIST };

struct option {
    const char *section, *name;
    enum option_type type;
    size_t offset; /* in struct config */
    int64_t default_number;
    const char *default_text;
    int64_t min, max;
    const char *unit;
};

#define DEFAULT_INT(def)  .default_number = (def)
#define DEFAULT_BOOL(def) .default_number = (def)
#define DEFAULT_TEXT(def) .default_text = (def)
#define DEFAULT_LIST(def) .default_text = (def)
static const struct option options[] = {
#define OPTION(section_, name_, type_, def_, min_, max_, unit_, help_)                                                                               \
    {.section = #section_,                                                                                                                           \
     .name = #name_,                                                                                                                                 \
     .type = OPTION_##type_,                                                                                                                         \
     .offset = offsetof(struct config, section_##_##name_),                                                                                          \
     DEFAULT_##type_(def_),                                                                                                                          \
     .min = (min_),                                                                                                                                  \
     .max = (max_),                                                                                                                                  \
     .unit = (unit_)},
#include "tables/options.def"
#undef OPTION
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

/* Texts that are one of a few words. */
static const struct {
    const char *section, *name;
    const char *words[6];
} choices[] = {
    {"c2s", "detached_presence", {"available", "unavailable"}},
    {"c2s", "resource_conflict", {"replace", "refuse", "rename"}},
    {"log", "level", {"error", "warn", "notice", "info", "debug"}},
    {"log", "format", {"text", "json"}},
};

/* One config_load(): where we are in the file, and what was given already. */
struct loading {
    struct config *config;
    struct err *err;
    const char *path;
    const char *next; /* of the file's text */
    const char *line; /* the one that is being read */
    unsigned line_number;
    bool line_open; /* its newline was not handed out yet */
    bool failed;
    unsigned given_at[OPTIONS]; /* line number, 0: not in the file */
};

static const char *config_text(const struct config *c, const struct option *o)
{
    return *(char *const *)(const void *)((const char *)c + o->offset);
}

static void config_set_text(struct config *c, const struct option *o, const char *value)
{
    char **field = (char **)(void *)((char *)c + o->offset);
    free(*field);
    *field = x_strdup(value);
}

static int64_t config_number(const struct config *c, const struct option *o)
{
    const void *field = (const char *)c + o->offset;
    return o->type == OPTION_BOOL ? *(const bool *)field : *(const int64_t *)field;
}

static void config_set_number(struct config *c, const struct option *o, int64_t value)
{
    void *field = (char *)c + o->offset;
    if (o->type == OPTION_BOOL) {
        *(bool *)field = value != 0;
    } else {
        *(int64_t *)field = value;
    }
}

/* Edits that turn a into b: insertions, deletions, replacements and swaps of neighbours, one each. Names are shorter than 64 bytes. */
static unsigned config_distance(const char *a, const char *b)
{
    unsigned rows[3][65];
    size_t a_n = strnlen(a, 64);
    size_t b_n = strnlen(b, 64);
    for (size_t j = 0; j <= b_n; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_n; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_n; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && rows[(i - 2) % 3][j - 2] + 1 < best) best = rows[(i - 2) % 3][j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a_n % 3][b_n];
}

/* Near enough to be a slip of the keyboard. */
static bool config_is_near(const char *given, unsigned distance)
{
    size_t n = strlen(given);
    return distance <= (n < 6 ? 2 : n / 3);
}

static int config_unknown_section(const char *section, struct err *err)
{
    const char *nearest = NULL;
    unsigned best = 64;
    struct buf all = {0};
    for (unsigned i = 0; i < OPTIONS; i++) {
        bool first = true;
        for (unsigned j = 0; j < i && first; j++) first = strcmp(options[j].section, options[i].section) != 0;
        if (!first) continue;
        buf_addf(&all, "%s[%s]", all.len != 0 ? ", " : "", options[i].section);
        unsigned d = config_distance(section, options[i].section);
        if (d < best) {
            best = d;
            nearest = options[i].section;
        }
    }
    int rc = nearest != NULL && config_is_near(section, best)
                 ? err_set(err, ERR_INVALID, "there is no section [%s]; did you mean [%s]?", section, nearest)
                 : err_set(err, ERR_INVALID, "there is no section [%s]; the sections are %s", section, buf_cstr(&all));
    buf_free(&all);
    return rc;
}

static int config_unknown_option(const char *section, const char *name, struct err *err)
{
    const struct option *nearest = NULL;
    const struct option *elsewhere = NULL;
    unsigned best = 64;
    struct buf all = {0};
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].section, section) != 0) {
            if (elsewhere == NULL && strcmp(options[i].name, name) == 0) elsewhere = &options[i];
            continue;
        }
        buf_addf(&all, "%s%s", all.len != 0 ? ", " : "", options[i].name);
        unsigned d = config_distance(name, options[i].name);
        if (d < best) {
            best = d;
            nearest = &options[i];
        }
    }
    int rc;
    if (nearest != NULL && config_is_near(name, best)) {
        rc = err_set(err, ERR_INVALID, "there is no option '%s' in [%s]; did you mean '%s'?", name, section, nearest->name);
    } else if (elsewhere != NULL) {
        rc = err_set(err, ERR_INVALID, "there is no option '%s' in [%s]; did you mean the one of [%s]?", name, section, elsewhere->section);
    } else {
        rc = err_set(err, ERR_INVALID, "there is no option '%s' in [%s]; it has %s", name, section, buf_cstr(&all));
    }
    buf_free(&all);
    return rc;
}

static const struct option *config_find(const char *section, const char *name, struct err *err)
{
    bool known = false;
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].section, section) != 0) continue;
        known = true;
        if (strcmp(options[i].name, name) == 0) return &options[i];
    }
    (void)(known ? config_unknown_option(section, name, err) : config_unknown_section(section, err));
    return NULL;
}

/* People put comments behind values; we do not cut them off, since a value may have these characters. */
static const char *config_comment_hint(const char *value)
{
    return strstr(value, " ;") != NULL || strstr(value, " #") != NULL ? " (a comment needs a line of its own)" : "";
}

static int config_set_int(struct config *c, const struct option *o, const char *value, struct err *err)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    const char *space = *o->unit != '\0' ? " " : "";
    if (*value == '\0' || *end != '\0' || errno != 0 || number < o->min || number > o->max) {
        return err_set(err, ERR_INVALID, "%s.%s: '%s' is not a whole number from %" PRId64 " to %" PRId64 "%s%s, for instance %" PRId64 "%s",
                       o->section, o->name, value, o->min, o->max, space, o->unit, o->default_number, config_comment_hint(value));
    }
    config_set_number(c, o, number);
    return 0;
}

static int config_set_bool(struct config *c, const struct option *o, const char *value, struct err *err)
{
    static const char *const words[2][4] = {{"no", "false", "off", "0"}, {"yes", "true", "on", "1"}};
    for (unsigned i = 0; i < 8; i++) {
        if (strcmp(value, words[i / 4][i % 4]) != 0) continue;
        config_set_number(c, o, i / 4);
        return 0;
    }
    return err_set(err, ERR_INVALID, "%s.%s: '%s' is neither yes nor no%s", o->section, o->name, value, config_comment_hint(value));
}

static int config_check_choice(const struct option *o, const char *value, struct err *err)
{
    for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (strcmp(choices[i].section, o->section) != 0 || strcmp(choices[i].name, o->name) != 0) continue;
        struct buf all = {0};
        bool found = false;
        for (const char *const *word = choices[i].words; *word != NULL; word++) {
            found = found || strcmp(*word, value) == 0;
            buf_addf(&all, "%s%s", all.len == 0 ? "" : word[1] != NULL ? ", " : " or ", *word);
        }
        int rc = found ? 0
                       : err_set(err, ERR_INVALID, "%s.%s: '%s' is not one of its words; use %s%s", o->section, o->name, value, buf_cstr(&all),
                                 config_comment_hint(value));
        buf_free(&all);
        return rc;
    }
    return 0;
}

static int config_set(struct config *c, const struct option *o, const char *value, struct err *err)
{
    if (o->type == OPTION_INT) return config_set_int(c, o, value, err);
    if (o->type == OPTION_BOOL) return config_set_bool(c, o, value, err);
    if (config_check_choice(o, value, err) != 0) return -1;
    config_set_text(c, o, value);
    return 0;
}

/* fgets() for libinih: the rest of the present line, or the next one, at most size - 1 bytes. */
static char *config_read_line(char *out, int size, void *stream)
{
    struct loading *l = stream;
    if (*l->next == '\0' || size < 2) return NULL;
    if (!l->line_open) {
        l->line = l->next;
        l->line_number++;
    }
    size_t n = 0;
    while (n < (size_t)size - 1 && l->next[n] != '\0') {
        if (l->next[n++] == '\n') break;
    }
    memcpy(out, l->next, n);
    out[n] = '\0';
    l->next += n;
    l->line_open = out[n - 1] != '\n';
    return out;
}

static int config_on_value(void *user, const char *section, const char *name, const char *value)
{
    struct loading *l = user;
    if (l->failed) return 0;
    l->failed = true;
    if (*section == '\0') {
        err_set(l->err, ERR_INVALID, "option '%s' stands before any section; put a line like [%s] above it", name, options[0].section);
        return 0;
    }
    const struct option *o = config_find(section, name, l->err);
    if (o == NULL) return 0;
    unsigned *given_at = &l->given_at[o - options];
    if (*given_at != 0) {
        err_set(l->err, ERR_INVALID, "%s.%s is given twice, first in line %u; keep one%s", section, name, *given_at,
                o->type == OPTION_LIST ? " (several values are separated by spaces)" : "");
        return 0;
    }
    if (config_set(l->config, o, value, l->err) != 0) return 0;
    *given_at = l->line_number;
    l->failed = false;
    return 1;
}

static int config_read_file(const char *path, struct buf *text, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) return err_set(err, ERR_IO, "%s: cannot open the configuration file: %s", path, strerror(errno));
    size_t n;
    do {
        n = fread(buf_reserve(text, 65536), 1, 65536, f);
        text->len += n;
    } while (n > 0 && text->len <= CONFIG_FILE_MAX);
    int failed = ferror(f) ? errno : 0;
    fclose(f);
    if (failed != 0) return err_set(err, ERR_IO, "%s: cannot read the configuration file: %s", path, strerror(failed));
    if (text->len > CONFIG_FILE_MAX) return err_set(err, ERR_LIMIT, "%s: larger than %d bytes: not a configuration file", path, CONFIG_FILE_MAX);
    return 0;
}

/* What the parser would cut silently. */
static int config_check_lines(const char *path, const struct buf *text, struct err *err)
{
    unsigned number = 1;
    for (size_t at = 0; at < text->len; number++) {
        const char *line = text->data + at;
        const char *end = memchr(line, '\n', text->len - at);
        size_t n = end != NULL ? (size_t)(end - line) : text->len - at;
        if (memchr(line, '\0', n) != NULL) return err_set(err, ERR_INVALID, "%s:%u: there is a NUL byte; the file must be UTF-8 text", path, number);
        if (n >= CONFIG_LINE_MAX - 2)
            return err_set(err, ERR_INVALID, "%s:%u: the line has %zu bytes; the most is %d", path, number, n, CONFIG_LINE_MAX - 3);
        at += n + 1;
    }
    return 0;
}

static int config_load_file(struct loading *l)
{
    struct buf text = {0};
    int rc = config_read_file(l->path, &text, l->err);
    if (rc == 0) rc = config_check_lines(l->path, &text, l->err);
    if (rc == 0) {
        ini_use_stack = false;
        ini_allow_realloc = true;
        ini_max_line = CONFIG_LINE_MAX;
        ini_allow_inline_comments = false;
        ini_allow_multiline = false;
        ini_stop_on_first_error = true;
        l->next = buf_cstr(&text);
        rc = ini_parse_stream(config_read_line, l, config_on_value, l);
        if (rc < 0) {
            err_set(l->err, ERR_INTERNAL, "%s: out of memory", l->path);
        } else if (rc > 0 && !l->failed) {
            err_set(l->err, ERR_INVALID, "'%.*s' is not understood; a line is [section], name = value, or a comment after # or ;",
                    (int)strcspn(l->line, "\r\n") < 80 ? (int)strcspn(l->line, "\r\n") : 80, l->line);
        }
        if (rc > 0) err_prefix(l->err, "%s:%u", l->path, l->line_number);
    }
    buf_free(&text);
    return rc == 0 ? 0 : -1;
}

static int config_override(struct config *c, const char *text, struct err *err)
{
    const char *dot = strchr(text, '.');
    const char *equals = strchr(text, '=');
    int rc = -1;
    if (dot == NULL || equals == NULL || equals < dot) {
        err_set(err, ERR_INVALID, "it must be section.name=value, for instance log.level=debug");
    } else {
        char *section = str_dup((struct str){text, (size_t)(dot - text)});
        char *name = str_dup((struct str){dot + 1, (size_t)(equals - dot - 1)});
        const struct option *o = config_find(section, name, err);
        if (o != NULL) rc = config_set(c, o, equals + 1, err);
        free(section);
        free(name);
    }
    return rc == 0 ? 0 : err_prefix(err, "override '%s'", text);
}

/* What no single row can say. */
static int config_check_whole(const struct loading *l)
{
    const struct config *c = l->config;
    const char *where = l->path != NULL ? l->path : "configuration";
    if (c->server_domains[strspn(c->server_domains, " \t")] == '\0') {
        return err_set(l->err, ERR_INVALID, "%s: server.domains is empty; name at least one domain, for instance example.com", where);
    }
    if ((*c->tls_certificate == '\0') != (*c->tls_key == '\0')) {
        const char *have = *c->tls_key == '\0' ? "certificate" : "key";
        const char *need = *c->tls_key == '\0' ? "key" : "certificate";
        return err_set(l->err, ERR_INVALID, "%s: tls.%s is set but tls.%s is not; set both, or none to get a self-signed certificate", where, have,
                       need);
    }
    return 0;
}

int config_load(struct config *c, const char *path, const char *const *overrides, unsigned n_overrides, struct err *err)
{
    struct loading l = {.config = c, .err = err, .path = path};
    *c = (struct config){0};
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (options[i].default_text != NULL) {
            config_set_text(c, &options[i], options[i].default_text);
        } else {
            config_set_number(c, &options[i], options[i].default_number);
        }
    }
    int rc = path != NULL ? config_load_file(&l) : 0;
    for (unsigned i = 0; rc == 0 && i < n_overrides; i++) rc = config_override(c, overrides[i], err);
    if (rc == 0) rc = config_check_whole(&l);
    if (rc != 0) config_free(c);
    return rc;
}

void config_free(struct config *c)
{
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (options[i].default_text != NULL) free(*(char **)(void *)((char *)c + options[i].offset));
    }
    *c = (struct config){0};
}

static void config_print_option(const struct config *c, const struct option *o, struct buf *out)
{
    buf_addf(out, "%s = ", o->name);
    if (o->type == OPTION_INT) {
        buf_addf(out, "%" PRId64, config_number(c, o));
    } else if (o->type == OPTION_BOOL) {
        buf_adds(out, config_number(c, o) != 0 ? "yes" : "no");
    } else if (strstr(o->name, "password") != NULL || strstr(o->name, "secret") != NULL) {
        buf_adds(out, *config_text(c, o) != '\0' ? "********" : "");
    } else {
        buf_adds(out, config_text(c, o));
    }
    buf_addc(out, '\n');
}

void config_print(const struct config *c, struct buf *out)
{
    /* Rows of one section need not stand together in the table. */
    bool printed[OPTIONS] = {false};
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (printed[i]) continue;
        buf_addf(out, "%s[%s]\n", i != 0 ? "\n" : "", options[i].section);
        for (unsigned j = i; j < OPTIONS; j++) {
            if (strcmp(options[j].section, options[i].section) != 0) continue;
            config_print_option(c, &options[j], out);
            printed[j] = true;
        }
    }
}
