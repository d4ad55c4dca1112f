/* Errors for people: a code for the program, a text that says what, where and what would be right. */
#ifndef SIGNET_BASE_ERR_H
#define SIGNET_BASE_ERR_H

#define must_check __attribute__((warn_unused_result))

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID,   /* the input is wrong; the text says what would be right */
    ERR_NOT_FOUND, /* the thing named does not exist */
    ERR_EXISTS,    /* the thing named exists already */
    ERR_CONFLICT,  /* legal input, but not in the present state (assigned, in use, read-only) */
    ERR_DENIED,    /* not allowed to this caller */
    ERR_LIMIT,     /* a bound was reached; the text names the setting */
    ERR_TIMEOUT,   /* not done in its time; the text says what becomes of it */
    ERR_IO,        /* the operating system or a peer failed */
    ERR_INTERNAL,  /* our own bug or an exhausted resource */
};

struct err {
    enum err_code code;
    char text[480];
};

/* Fills *err (which may be NULL) and returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text that is there. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *err_code_name(enum err_code code); /* "invalid", "not-found", ... for the admin API */

#endif
