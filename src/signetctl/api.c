/* Requests to signetd's admin API: HTTP and JSON over its Unix socket. What goes wrong on the way is told apart from what signetd refuses, with what
 * to do. */
#include "signetctl/ctl.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define MAX_ANSWER (256 * 1024 * 1024)
static struct {
    CURL *curl;
    char *socket_path;
    long wait_seconds;
    bool warned; /* of what the next answer warns of */
    char problem[CURL_ERROR_SIZE];
} api;

void api_start(const char *socket_path)
{
    api.socket_path = x_strdup(socket_path);
    api.wait_seconds = 60;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    api.curl = curl_easy_init();
    if (api.curl == NULL) abort(); /* out of memory */
}

void api_stop(void)
{
    curl_easy_cleanup(api.curl);
    curl_global_cleanup();
    free(api.socket_path);
}

void api_set_wait(long seconds) { api.wait_seconds = seconds; }

char *api_path(const char *literal, ...)
{
    struct buf path = {0};
    va_list ap;
    va_start(ap, literal);
    bool escaped = false;
    for (const char *part = literal; part != NULL; part = va_arg(ap, const char *), escaped = !escaped) {
        if (!escaped) {
            buf_adds(&path, part);
            continue;
        }
        char *text = curl_easy_escape(api.curl, part, (int)strlen(part));
        if (text == NULL) abort(); /* out of memory */
        buf_adds(&path, text);
        curl_free(text);
    }
    va_end(ap);
    char *out = x_strdup(buf_cstr(&path));
    buf_free(&path);
    return out;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct buf *answer = arg;
    if (answer->len + size * n > MAX_ANSWER) return 0;
    buf_add(answer, data, size * n);
    return size * n;
}

/* Why nothing could be asked, and what to do about it. */
static enum outcome unreachable(CURLcode code, struct err *err)
{
    long number = 0;
    curl_easy_getinfo(api.curl, CURLINFO_OS_ERRNO, &number);
    const char *path = api.socket_path;
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return fail(OUTCOME_UNREACHABLE, err, "cannot connect to '%.150s...': the path of a socket has at most %zu bytes", path,
                    sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return fail(OUTCOME_UNREACHABLE, err, "signetd did not answer on %s within %ld seconds; see its log", path, api.wait_seconds);
    if (code != CURLE_COULDNT_CONNECT)
        return fail(OUTCOME_UNREACHABLE, err, "signetd broke off on %s: %s; see whether it still runs, and its log", path,
                    *api.problem != '\0' ? api.problem : curl_easy_strerror(code));
    switch (number) {
    case ENOENT:
        return fail(OUTCOME_UNREACHABLE, err,
                    "there is no socket %s; start signetd (systemctl start signet), or name the admin.socket of its configuration with --socket or "
                    "SIGNET_ADMIN_SOCKET", path);
    case EACCES:
    case EPERM:
        return fail(OUTCOME_UNREACHABLE, err, "you may not open the socket %s; run signetctl as root, as signetd's user or as a member of its group",
                    path);
    case ECONNREFUSED:
    case ENOTSOCK:
        return fail(OUTCOME_UNREACHABLE, err, "nobody listens on %s; signetd has ended: start it (systemctl start signet) and see its log", path);
    default:
        return fail(OUTCOME_UNREACHABLE, err, "cannot connect to signetd on %s: %s", path,
                    number != 0 ? strerror((int)number) : *api.problem != '\0' ? api.problem : curl_easy_strerror(code));
    }
}

static enum outcome transfer(const char *method, const char *path, const char *body, struct buf *answer, long *status, struct err *err)
{
    CURL *c = api.curl;
    struct buf url = {0};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    buf_addf(&url, "http://signetd%s", path);
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, api.socket_path);
    curl_easy_setopt(c, CURLOPT_URL, buf_cstr(&url));
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* a thing may be named ".." */
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* none, whatever the environment says */
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, api.wait_seconds);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, api.problem);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    if (body != NULL) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body); /* not copied */
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    }
    api.problem[0] = '\0';
    CURLcode code = curl_easy_perform(c);
    if (code == CURLE_OK) curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    buf_free(&url);
    return code == CURLE_OK ? OUTCOME_OK : unreachable(code, err);
}

static void wipe_texts(json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach (object, key, value)
        if (json_is_string(value)) explicit_bzero((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static enum outcome refused(const json_t *answer, long status, struct err *err)
{
    const char *text = json_text(answer, "text");
    if (*text != '\0') return fail(OUTCOME_REFUSED, err, "%s", text);
    return fail(OUTCOME_REFUSED, err, "signetd refused it with HTTP status %ld and did not say why", status);
}

void api_warned(void) { api.warned = true; }

static void print_warnings(const json_t *answer)
{
    if (api.warned) return;
    size_t i;
    json_t *warning;
    json_array_foreach (json_object_get(answer, "warnings"), i, warning)
        if (json_is_string(warning)) fprintf(stderr, "signetctl: warning: %s\n", json_string_value(warning));
}

enum outcome api_call(const char *method, const char *path, json_t *take, json_t **out, struct err *err)
{
    struct buf answer = {0};
    json_error_t problem;
    long status = 0;
    char *body = take != NULL ? json_dumps(take, JSON_COMPACT) : NULL;
    if (take != NULL) wipe_texts(take);
    json_decref(take);
    if (take != NULL && body == NULL) abort(); /* out of memory */
    enum outcome rc = transfer(method, path, body, &answer, &status, err);
    if (body != NULL) explicit_bzero(body, strlen(body));
    free(body);
    json_t *json = rc == OUTCOME_OK ? json_loadb(answer.data != NULL ? answer.data : "", answer.len, 0, &problem) : NULL;
    buf_free(&answer);
    if (rc == OUTCOME_OK && status >= 400)
        rc = refused(json, status, err);
    else if (rc == OUTCOME_OK && !json_is_object(json))
        rc = fail(OUTCOME_REFUSED, err, "what answers on %s is not signetd: no JSON object came", api.socket_path);
    if (rc == OUTCOME_OK) print_warnings(json);
    if (rc == OUTCOME_OK && out != NULL)
        *out = json;
    else
        json_decref(json);
    return rc;
}

enum outcome api_show(const struct invocation *in, char *take_path, void (*print)(const json_t *answer), struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = api_call("GET", take_path, NULL, &answer, err);
    free(take_path);
    if (rc == OUTCOME_OK && (in->given & OPT_JSON) != 0)
        json_print(answer, JSON_INDENT(2));
    else if (rc == OUTCOME_OK)
        print(answer);
    json_decref(answer);
    return rc;
}

enum outcome api_text(const char *path, struct buf *out, struct err *err)
{
    long status = 0;
    enum outcome rc = transfer("GET", path, NULL, out, &status, err);
    if (rc != OUTCOME_OK || status < 400) return rc;
    json_t *json = json_loadb(out->data != NULL ? out->data : "", out->len, 0, NULL);
    rc = refused(json, status, err);
    json_decref(json);
    return rc;
}
