/* Output for people: columns as wide as their longest cell. What signetd tells may come from anybody (a resource, a description): control characters
 * are replaced, so that no name can move the cursor of a terminal. */
#include "signetctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *printable(const char *text)
{
    char *out = x_strdup(text);
    for (unsigned char *p = (unsigned char *)out; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) *p = '?';
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) p[0] = p[1] = '?'; /* U+0080 to U+009F */
    }
    return out;
}

static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void table_add(struct table *t, const char *text)
{
    if (t->n_cells == t->cap) {
        t->cap = t->cap != 0 ? 2 * t->cap : 64;
        t->cells = x_realloc(t->cells, t->cap * sizeof(*t->cells));
    }
    t->cells[t->n_cells++] = printable(text != NULL && *text != '\0' ? text : "-");
}

void table_addf(struct table *t, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    table_add(t, buf_cstr(&text));
    buf_free(&text);
}

void table_fact(struct table *t, const char *name, const char *value)
{
    t->columns = 2;
    table_add(t, name);
    table_add(t, value);
}

static void print_row(const struct table *t, const char *const *row, const size_t *widths)
{
    for (unsigned c = 0; c < t->columns; c++) {
        bool last = c + 1 == t->columns;
        printf("%s%*s", row[c], last ? 0 : (int)(widths[c] - width(row[c]) + 2), "");
    }
    putchar('\n');
}

void table_print(struct table *t)
{
    size_t *widths = x_calloc(t->columns + 1U, sizeof(*widths));
    for (unsigned c = 0; c < t->columns && t->head[0] != NULL; c++) widths[c] = width(t->head[c]);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = width(t->cells[i]);
        if (w > widths[i % t->columns]) widths[i % t->columns] = w;
    }
    if (t->head[0] != NULL) print_row(t, t->head, widths);
    for (size_t i = 0; i + t->columns <= t->n_cells; i += t->columns) print_row(t, (const char *const *)t->cells + i, widths);
    for (size_t i = 0; i < t->n_cells; i++) free(t->cells[i]);
    free(t->cells);
    free(widths);
    *t = (struct table){0};
}

const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

long long json_number(const json_t *object, const char *name) { return json_integer_value(json_object_get(object, name)); }

void json_print(const json_t *value, size_t flags)
{
    json_dumpf(value, stdout, flags);
    putchar('\n');
}

void print_done(const struct invocation *in, const json_t *answer, const char *fmt, ...)
{
    if ((in->given & OPT_JSON) != 0) {
        json_print(answer, JSON_INDENT(2));
    } else if (fmt != NULL) {
        va_list ap;
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
}
