/* Any bytes as the CSV file of `signetctl user import`. Must hold: every account asked for has a JID and a password that are text; the same accounts written
 * as CSV in quotes are the same accounts. */
#include "fuzz.h"
#include "signetctl/ctl.h"
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct buf *calls; /* as CSV, each field in quotes */

static void add_field(const json_t *body, const char *name, char end)
{
    const char *text = json_text(body, name);
    MUST_HOLD(text[0] != '\0');
    buf_addc(calls, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"') buf_addc(calls, '"');
        buf_addc(calls, *text);
    }
    buf_addc(calls, '"');
    buf_addc(calls, end);
}

/* signetd, as far as an import sees it: refuses some. */
enum outcome api_call(const char *method, const char *path, json_t *take, json_t **out, struct err *err)
{
    MUST_HOLD(strcmp(method, "POST") == 0 && strcmp(path, "/v1/users") == 0 && out == NULL && json_object_size(take) == 2);
    add_field(take, "jid", ',');
    add_field(take, "password", '\n');
    bool refused = json_text(take, "jid")[0] == '!';
    json_decref(take);
    return refused ? fail(OUTCOME_REFUSED, err, "no") : OUTCOME_OK;
}

enum outcome fail(enum outcome outcome, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return outcome;
}

const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

void print_done(const struct invocation *in, const json_t *answer, const char *fmt, ...) { (void)in, (void)answer, (void)fmt; }

static void import(const char *text, size_t n, struct buf *into)
{
    char path[64];
    struct err err = {0};
    int fd = memfd_create("users.csv", 0);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const char *args[] = {path};
    calls = into;
    static FILE *nowhere;
    FILE *before = stderr;
    if (nowhere == NULL) nowhere = fopen("/dev/null", "w");
    stderr = nowhere; /* a line for each that is wrong: too many */
    enum outcome rc = user_import(&(struct invocation){.args = args}, &err);
    stderr = before;
    MUST_HOLD(rc == OUTCOME_OK || err.text[0] != '\0');
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf once = {0}, twice = {0};
    BUF_ADD_LIT(&once, "\"jid\",\"password\"\n");
    BUF_ADD_LIT(&twice, "\"jid\",\"password\"\n");
    import((const char *)data, n, &once);
    import(once.data, once.len, &twice);
    MUST_HOLD(str_eq(buf_str(&once), buf_str(&twice)));
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
