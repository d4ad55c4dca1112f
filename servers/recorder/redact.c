/* Bodies and subjects keep their place with the matches barred. What says the same in another form (XHTML, fallback text, a link's description) is
 * not rewritten but removed whole when it matches: a rest of the secret in some extension would make the bar a lie. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "redact.h"

struct redact {
    regex_t *patterns;
    unsigned count;
    char *bar;
};

/* Only where the answer may change the stanza; elsewhere a stanza in the answer would be ignored or be a fault. */
static const struct {
    const char *name, *answers;
} event_rows[] = {
#define EVENT(name, service, subject, key, kinds, answers, ...) {#name, #answers},
#include "tables/events.def"
#undef EVENT
};

int redact_new(struct redact **out, const struct text_list *patterns, const char *bar, struct err *err)
{
    *out = NULL;
    if (patterns->count == 0) return 0;
    struct redact *r = x_calloc(1, sizeof(*r));
    r->bar = x_strdup(bar != NULL ? bar : "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88");
    r->patterns = x_calloc(patterns->count, sizeof(*r->patterns));
    for (; r->count < patterns->count; r->count++) {
        int rc = regcomp(&r->patterns[r->count], patterns->items[r->count], REG_EXTENDED | REG_ICASE);
        if (rc == 0 && regexec(&r->patterns[r->count], "", 0, NULL, 0) != 0) continue;
        char problem[200] = "it matches nothing at all, and so everywhere";
        if (rc != 0)
            regerror(rc, &r->patterns[r->count], problem, sizeof(problem));
        else
            regfree(&r->patterns[r->count]);
        (void)err_set(err, ERR_INVALID, "redact '%s': %s", patterns->items[r->count], problem);
        redact_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void redact_free(struct redact *r)
{
    if (r == NULL) return;
    for (unsigned i = 0; i < r->count; i++) regfree(&r->patterns[i]);
    free(r->patterns);
    free(r->bar);
    free(r);
}

static bool matches(const struct redact *r, const char *text)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (regexec(&r->patterns[i], text, 0, NULL, 0) == 0) return true;
    }
    return false;
}

/* Every match of one pattern in b barred. */
static void bar_matches(const struct redact *r, const regex_t *pattern, struct buf *b)
{
    struct buf out = {0};
    const char *rest = buf_cstr(b);
    regmatch_t m;
    int flags = 0;
    while (*rest != '\0' && regexec(pattern, rest, 1, &m, flags) == 0) {
        buf_add(&out, rest, (size_t)m.rm_so);
        if (m.rm_eo > m.rm_so) {
            buf_adds(&out, r->bar);
            rest += m.rm_eo;
        } else { /* an empty match ("x*") bars nothing: step over one character */
            rest += m.rm_so;
            if (*rest == '\0') break;
            do buf_addc(&out, *rest++);
            while (((unsigned char)*rest & 0xc0) == 0x80);
        }
        flags = REG_NOTBOL;
    }
    buf_adds(&out, rest);
    buf_free(b);
    *b = out;
}

static bool is(const struct signet_node *n, const char *name)
{
    return signet_node_name(n) != NULL && strcmp(signet_node_name(n), name) == 0;
}

static bool bar_texts(struct redact *r, struct signet_event *e, struct signet_node *parent)
{
    bool changed = false;
    for (struct signet_node *n = signet_node_first(parent); n != NULL; n = signet_node_next(n)) {
        if (is(n, "body") || is(n, "subject")) {
            const char *text = signet_node_text(e, n);
            if (!matches(r, text)) continue;
            struct buf b = {0};
            buf_adds(&b, text);
            for (unsigned i = 0; i < r->count; i++) bar_matches(r, &r->patterns[i], &b);
            signet_node_set_text(e, n, buf_cstr(&b));
            buf_free(&b);
            changed = true;
        } else if (signet_node_name(n) != NULL) {
            changed |= bar_texts(r, e, n);
        }
    }
    return changed;
}

static bool shows(struct redact *r, struct signet_event *e, struct signet_node *n)
{
    const char *value;
    if (signet_node_name(n) == NULL) return false; /* its text was looked at with its parent's */
    if (matches(r, signet_node_text(e, n))) return true;
    for (unsigned i = 0; (value = signet_node_attr_at(e, n, i, NULL)) != NULL; i++) {
        if (matches(r, value)) return true;
    }
    for (struct signet_node *c = signet_node_first(n); c != NULL; c = signet_node_next(c)) {
        if (shows(r, e, c)) return true;
    }
    return false;
}

bool redact_event(struct redact *r, struct signet_event *e, const char **body)
{
    size_t i = 0, n = sizeof(event_rows) / sizeof(event_rows[0]);
    *body = NULL;
    if (r == NULL || e->fire_and_forget || strcmp(e->kind, "message") != 0) return false;
    while (i < n && strcmp(event_rows[i].name, e->name) != 0) i++;
    if (i < n && strcmp(event_rows[i].answers, "ANY") != 0) return false;
    struct signet_node *stanza = signet_stanza(e);
    bool changed = bar_texts(r, e, stanza);
    for (struct signet_node *c = signet_node_first(stanza); c != NULL; c = signet_node_next(c)) {
        if (is(c, "body") || is(c, "subject") || !shows(r, e, c)) continue;
        signet_node_remove(c);
        changed = true;
    }
    const struct signet_node *first = signet_node_child(stanza, "body", NULL);
    if (changed && first != NULL) *body = signet_node_text(e, first);
    return changed;
}
