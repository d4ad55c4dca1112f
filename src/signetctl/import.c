/* Many accounts at once, from a CSV file (RFC 4180): a JID and a password in each line. What is wrong with one line is said with its number, and
 * the other lines are done all the same. Lines hold passwords: they are wiped. */
#include "signetctl/ctl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { PROGRESS_EVERY = 10 };

struct import {
    const char *path;
    unsigned long line;
    size_t added, failed;
    bool progress; /* the terminal shows how far we are */
    bool shown;
};

/* Cuts the next field off: plain, or in quotes with "" for one. NULL: the quotes do not end. */
static char *field_next(char **rest)
{
    char *in = *rest, *out = *rest, *field = *rest;
    if (*in == '"') {
        for (in++; *in != '\0'; in++) {
            if (*in == '"' && *++in != '"') break;
            *out++ = *in;
        }
        if (in[-1] != '"' || (*in != '\0' && *in != ',')) return NULL;
    } else {
        while (*in != '\0' && *in != ',') *out++ = *in++;
    }
    *rest = *in == ',' ? in + 1 : NULL;
    *out = '\0';
    return field;
}

static void progress_clear(struct import *im)
{
    if (im->shown) fputs("\r\033[K", stderr);
    im->shown = false;
}

static void progress(struct import *im)
{
    if (!im->progress || im->line % PROGRESS_EVERY != 0) return;
    fprintf(stderr, "\rline %lu: %zu added, %zu not", im->line, im->added, im->failed);
    im->shown = true;
}

static void line_failed(struct import *im, const char *why)
{
    progress_clear(im);
    fprintf(stderr, "%s:%lu: %s\n", im->path, im->line, why);
    im->failed++;
}

/* OUTCOME_OK: goes on with the next line, whatever became of this one. */
static enum outcome line_import(struct import *im, char *line, struct err *err)
{
    char *rest = line, *jid = field_next(&rest), *password = jid != NULL && rest != NULL ? field_next(&rest) : NULL;
    if (password == NULL || rest != NULL || *jid == '\0' || *password == '\0') {
        line_failed(im, "a line is JID,PASSWORD; a field with a comma or a quote in it stands in quotes, and its quotes are doubled");
        return OUTCOME_OK;
    }
    if (im->line == 1 && strcasecmp(jid, "jid") == 0 && strcasecmp(password, "password") == 0) return OUTCOME_OK;
    json_t *body = json_pack("{s:s, s:s}", "jid", jid, "password", password);
    if (body == NULL) {
        line_failed(im, "it is not UTF-8 text");
        return OUTCOME_OK;
    }
    enum outcome rc = api_call("POST", "/v1/users", body, NULL, err);
    if (rc == OUTCOME_OK) {
        im->added++;
    } else if (rc == OUTCOME_REFUSED) {
        line_failed(im, err->text);
        rc = OUTCOME_OK;
    }
    return rc;
}

static enum outcome lines_import(struct import *im, FILE *f, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    enum outcome rc = OUTCOME_OK;
    while (rc == OUTCOME_OK && (n = getline(&line, &room, f)) >= 0) {
        im->line++;
        char *text = line;
        if (im->line == 1 && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3; /* the mark some programs begin UTF-8 with */
        text[strcspn(text, "\r\n")] = '\0';
        if (*text != '\0') rc = line_import(im, text, err);
        progress(im);
        explicit_bzero(line, room);
    }
    if (rc == OUTCOME_OK && ferror(f)) rc = fail(OUTCOME_USAGE, err, "%s: cannot be read: %s", im->path, strerror(errno));
    free(line);
    progress_clear(im);
    return rc;
}

enum outcome user_import(const struct invocation *in, struct err *err)
{
    struct import im = {.path = in->args[0], .progress = isatty(STDERR_FILENO) != 0};
    bool standard_input = strcmp(im.path, "-") == 0;
    FILE *f = standard_input ? stdin : fopen(im.path, "re");
    if (f == NULL) return fail(OUTCOME_USAGE, err, "%s: cannot be read: %s", im.path, strerror(errno));
    enum outcome rc = lines_import(&im, f, err);
    if (!standard_input) fclose(f);
    if (rc != OUTCOME_OK) return rc;
    json_t *answer = json_pack("{s:I, s:I}", "added", (json_int_t)im.added, "failed", (json_int_t)im.failed);
    print_done(in, answer, "%zu accounts added", im.added);
    json_decref(answer);
    return im.failed == 0 ? OUTCOME_OK : fail(OUTCOME_REFUSED, err, "%zu lines of %s were not imported", im.failed, im.path);
}
