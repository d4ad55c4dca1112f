/* See scan.h. A tag ends at the first '>' outside of quotes; CDATA sections are skipped as a whole; comments are no XMPP. */
#include "scan.h"
#include <string.h>

/* Past the '>' of the tag at p[at]; 0: not there yet. */
static size_t tag_end(const char *p, size_t n, size_t at)
{
    char quote = '\0';
    for (size_t i = at + 1; i < n; i++) {
        char c = p[i];
        if (quote != '\0') {
            if (c == quote) quote = '\0';
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '>') {
            return i + 1;
        }
    }
    return 0;
}

static enum scan_result element(const char *p, size_t n, size_t at, size_t *end)
{
    unsigned depth = 0;
    for (size_t i = at; i < n;) {
        const char *open = memchr(p + i, '<', n - i);
        if (open == NULL) return SCAN_MORE;
        i = (size_t)(open - p);
        if (i + 1 >= n) return SCAN_MORE;
        if (p[i + 1] == '!') {
            const char *close = n - i < 12 ? NULL : memmem(p + i, n - i, "]]>", 3);
            if (close == NULL) return SCAN_MORE;
            i = (size_t)(close - p) + 3;
            continue;
        }
        size_t past = tag_end(p, n, i);
        if (past == 0) return SCAN_MORE;
        if (p[i + 1] == '/') {
            if (depth == 0) return SCAN_BROKEN;
            depth--;
        } else if (p[past - 2] != '/') {
            depth++;
        }
        i = past;
        if (depth == 0) {
            *end = i;
            return SCAN_ELEMENT;
        }
    }
    return SCAN_MORE;
}

enum scan_result scan_next(const char *p, size_t n, bool in_stream, struct str *out, size_t *used)
{
    size_t at = 0, end = 0;
    *out = STR_NONE;
    while (at < n && (p[at] == ' ' || p[at] == '\n' || p[at] == '\r' || p[at] == '\t')) at++;
    *used = at;
    if (at + 1 >= n) return SCAN_MORE;
    if (p[at] != '<') return SCAN_BROKEN;
    if (p[at + 1] == '?') {
        end = tag_end(p, n, at);
        if (end == 0) return SCAN_MORE;
        size_t further = 0;
        enum scan_result r = scan_next(p + end, n - end, in_stream, out, &further);
        *used = end + further;
        return r;
    }
    if (in_stream && p[at + 1] != '/') {
        enum scan_result r = element(p, n, at, &end);
        if (r != SCAN_ELEMENT) return r;
        *out = (struct str){p + at, end - at};
        *used = end;
        return r;
    }
    end = tag_end(p, n, at);
    if (end == 0) return SCAN_MORE;
    *out = (struct str){p + at, end - at};
    *used = end;
    return in_stream ? SCAN_END : SCAN_HEADER;
}

struct str scan_name(struct str element)
{
    size_t n = 1;
    while (n < element.n && strchr(" \t\r\n/>", element.p[n]) == NULL) n++;
    return n >= element.n ? STR_NONE : (struct str){element.p + 1, n - 1};
}

struct str scan_attribute(struct str element, const char *name)
{
    size_t end = tag_end(element.p, element.n, 0), n = strlen(name);
    for (size_t i = 1; i + n + 2 < end; i++) {
        if (strchr(" \t\r\n", element.p[i]) == NULL || memcmp(element.p + i + 1, name, n) != 0 || element.p[i + 1 + n] != '=') continue;
        const char *value = element.p + i + n + 3;
        const char *close = memchr(value, value[-1], end - (size_t)(value - element.p));
        return close == NULL ? STR_NONE : (struct str){value, (size_t)(close - value)};
    }
    return STR_NONE;
}

struct str scan_text(struct str element, const char *name, size_t *at)
{
    size_t n = strlen(name);
    for (size_t i = *at; i + n + 1 < element.n; i++) {
        if (element.p[i] != '<') continue;
        const char *start = element.p + i + 1, *end = element.p + element.n;
        const char *colon = start;
        while (colon < end && strchr(" \t\r\n/>:", *colon) == NULL) colon++;
        if (colon < end && *colon == ':') start = colon + 1;
        if ((size_t)(end - start) <= n || memcmp(start, name, n) != 0 || strchr(" \t\r\n>", start[n]) == NULL) continue;
        const char *text = memchr(start, '>', (size_t)(end - start));
        if (text == NULL || text[-1] == '/') continue;
        text++;
        const char *close = memchr(text, '<', (size_t)(end - text));
        if (close == NULL) return STR_NONE;
        *at = (size_t)(close - element.p);
        return (struct str){text, (size_t)(close - text)};
    }
    *at = element.n;
    return STR_NONE;
}

bool scan_contains(struct str element, const char *text) { return memmem(element.p, element.n, text, strlen(text)) != NULL; }
