/* Errors for people. Every fallible function returns an int that must be checked and fills a struct err: the code decides what the
 * program does, the text is what a person reads, so it names what is wrong, where, and what would be right. No allocation: an error
 * about exhausted memory must be able to say so. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (err == NULL) return -1;
    /* Formatted aside first: the arguments may point into err->text itself. */
    char text[sizeof(err->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err->code = code;
    memcpy(err->text, text, sizeof(text));
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    if (err == NULL) return -1;
    char text[sizeof(err->text)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n;
    /* What does not fit is cut at the end: the beginning says where. */
    const size_t room = sizeof(text) - 1;
    if (used > room) used = room;
    for (const char *p = ": "; *p != '\0' && used < room; p++) text[used++] = *p;
    for (const char *p = err->text; *p != '\0' && used < room; p++) text[used++] = *p;
    text[used] = '\0';
    memcpy(err->text, text, sizeof(text));
    return -1;
}

const char *err_code_name(enum err_code code)
{
    static const char *const names[] = {
        [ERR_NONE] = "none",         [ERR_INVALID] = "invalid", [ERR_NOT_FOUND] = "not-found", [ERR_EXISTS] = "exists",
        [ERR_CONFLICT] = "conflict", [ERR_DENIED] = "denied",   [ERR_LIMIT] = "limit",         [ERR_TIMEOUT] = "timeout",    [ERR_IO] = "io",
        [ERR_INTERNAL] = "internal",
    };
    size_t i = (size_t)code;
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : "internal";
}
