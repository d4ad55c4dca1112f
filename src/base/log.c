/* The structured log. A record is put together in the calling thread and written with one system call under one lock, so records of
 * several threads never mix and a file can be rotated (log_reopen) between two of them. Before log_start() and after log_stop() records
 * go to stderr as text: what goes wrong at start must be readable too.
 *
 * What peers send ends up in records, so everything that could forge a line or steer a terminal is escaped: control characters of both
 * blocks and bytes that are no UTF-8. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/metric.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
enum { LOG_TEXT_MAX = 16 * 1024, LOG_STACK_TEXT = 1024, LOG_THREAD_SIZE = 32 };
enum log_target { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_JOURNALD };

/* By level: the name in the configuration and in records, and syslog's number for it. */
static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3}, [LOG_LEVEL_WARN] = {"warn", 4},   [LOG_LEVEL_NOTICE] = {"notice", 5},
    [LOG_LEVEL_INFO] = {"info", 6},   [LOG_LEVEL_DEBUG] = {"debug", 7},
};
enum { LOG_LEVELS = sizeof(levels) / sizeof(levels[0]) };

static _Atomic int level_now = LOG_LEVEL_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static enum log_target target_now = LOG_TO_STDERR;
static bool json_now;
static int file_fd = -1;
static char *file_path;

static _Thread_local char thread_name[LOG_THREAD_SIZE];
static _Thread_local const char *thread_stanza;

static int log_open_file(const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        return err_set(err, ERR_IO,
                       "log.target: cannot open '%s' for writing: %s; name a file in a directory this user may write, stderr or journald", path,
                       strerror(errno));
    }
    return fd;
}

int log_start(enum log_level level, const char *format, const char *target, struct err *err)
{
    bool json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "text") != 0) return err_set(err, ERR_INVALID, "log.format: '%s' is not a format; use text or json", format);
    enum log_target to = strcmp(target, "stderr") == 0 ? LOG_TO_STDERR : strcmp(target, "journald") == 0 ? LOG_TO_JOURNALD : LOG_TO_FILE;
    if (*target == '\0') return err_set(err, ERR_INVALID, "log.target is empty; use stderr, journald or the path of a file");
    /* libsystemd calls it a success when there is no journal to write to. */
    if (to == LOG_TO_JOURNALD && access(JOURNAL_SOCKET, W_OK) != 0) {
        return err_set(err, ERR_IO, "log.target: there is no journald here (%s: %s); use stderr or the path of a file", JOURNAL_SOCKET,
                       strerror(errno));
    }
    int fd = -1;
    if (to == LOG_TO_FILE && (fd = log_open_file(target, err)) < 0) return -1;
    pthread_mutex_lock(&lock);
    if (file_fd >= 0) close(file_fd);
    free(file_path);
    file_fd = fd;
    file_path = to == LOG_TO_FILE ? x_strdup(target) : NULL;
    json_now = json;
    target_now = to;
    pthread_mutex_unlock(&lock);
    log_set_level(level);
    return 0;
}

int log_reopen(struct err *err)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    if (target_now == LOG_TO_FILE) {
        int fd = log_open_file(file_path, err);
        if (fd >= 0) {
            close(file_fd);
            file_fd = fd;
        } else {
            result = -1; /* the old file stays open: no record is lost */
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void log_stop(void)
{
    pthread_mutex_lock(&lock);
    if (file_fd >= 0) close(file_fd);
    free(file_path);
    file_fd = -1;
    file_path = NULL;
    json_now = false;
    target_now = LOG_TO_STDERR;
    pthread_mutex_unlock(&lock);
}

int log_level_parse(const char *name)
{
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (strcmp(name, levels[i].name) == 0) return i;
    }
    return -1;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_thread(const char *name)
{
    snprintf(thread_name, sizeof(thread_name), "%s", name != NULL ? name : "");
}

void log_set_stanza(const char *stanza_id)
{
    thread_stanza = stanza_id;
}

/* The length of the UTF-8 sequence at p, 0 when there is none (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF). */
static size_t log_utf8_length(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : p[0] >= 0xe0 && p[0] <= 0xef ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
    return len;
}

static void log_add_escaped(struct buf *out, const char *text, bool json)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = strlen(text);
    while (n > 0) {
        size_t len = log_utf8_length(p, n);
        bool control = (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        if (len == 0) {
            buf_addf(out, json ? "\\\\x%02x" : "\\x%02x", p[0]);
            len = 1;
        } else if (control && p[0] == '\n') {
            BUF_ADD_LIT(out, "\\n");
        } else if (control) {
            buf_addf(out, json ? "\\u%04x" : "\\x%02x", p[len - 1]);
        } else {
            if (json && (p[0] == '"' || p[0] == '\\')) buf_addc(out, '\\');
            buf_add(out, p, len);
        }
        p += len;
        n -= len;
    }
}

static void log_add_json_field(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, ",\"%s\":\"", name);
    log_add_escaped(out, value, true);
    buf_addc(out, '"');
}

static void log_render(struct buf *out, bool json, enum log_level level, const char *area, const char *text)
{
    char stamp[CLOCK_STAMP_SIZE];
    clock_stamp(clock_wall_ms(), stamp);
    if (json) {
        buf_addf(out, "{\"time\":\"%s\",\"level\":\"%s\"", stamp, levels[level].name);
        log_add_json_field(out, "area", area);
        if (thread_name[0] != '\0') log_add_json_field(out, "thread", thread_name);
        if (thread_stanza != NULL) log_add_json_field(out, "stanza", thread_stanza);
        log_add_json_field(out, "text", text);
        BUF_ADD_LIT(out, "}\n");
        return;
    }
    buf_addf(out, "%s %-6s %s", stamp, levels[level].name, area);
    if (thread_name[0] != '\0') {
        BUF_ADD_LIT(out, " [");
        log_add_escaped(out, thread_name, false);
        buf_addc(out, ']');
    }
    if (thread_stanza != NULL) {
        BUF_ADD_LIT(out, " {");
        log_add_escaped(out, thread_stanza, false);
        buf_addc(out, '}');
    }
    BUF_ADD_LIT(out, ": ");
    log_add_escaped(out, text, false);
    buf_addc(out, '\n');
}

static bool log_write(int fd, const struct buf *record)
{
    for (size_t done = 0; done < record->len;) {
        ssize_t n = write(fd, record->data + done, record->len - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static bool log_send_journald(enum log_level level, const char *area, const char *text)
{
    struct buf escaped = {0};
    log_add_escaped(&escaped, text, false);
    int rc = sd_journal_send("MESSAGE=%s", buf_cstr(&escaped), "PRIORITY=%d", levels[level].priority, "SIGNET_AREA=%s", area, "SIGNET_THREAD=%s",
                             thread_name, "SIGNET_STANZA=%s", thread_stanza != NULL ? thread_stanza : "", NULL);
    buf_free(&escaped);
    return rc == 0;
}

static void log_put(enum log_level level, const char *area, const char *text)
{
    struct buf record = {0};
    bool done = false;
    pthread_mutex_lock(&lock);
    if (target_now == LOG_TO_JOURNALD) {
        done = log_send_journald(level, area, text);
    } else {
        log_render(&record, json_now, level, area, text);
        done = log_write(target_now == LOG_TO_FILE ? file_fd : STDERR_FILENO, &record);
    }
    if (!done && target_now != LOG_TO_STDERR) {
        /* A full disk or a journal that is gone: stderr is what is left. */
        buf_reset(&record);
        log_render(&record, false, level, area, text);
        done = log_write(STDERR_FILENO, &record);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&record);
    metric_inc(done ? METRIC_LOG_RECORDS : METRIC_LOG_LOST);
}

void log_at(enum log_level level, const char *area, const char *fmt, ...)
{
    if (!log_enabled(level)) return;
    int saved_errno = errno; /* callers log between a failure and its report */
    char small[LOG_STACK_TEXT];
    char *text = small;
    va_list ap;
    va_list again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n >= (int)sizeof(small)) {
        size_t size = (size_t)n < LOG_TEXT_MAX ? (size_t)n + 1 : LOG_TEXT_MAX;
        text = x_malloc(size);
        vsnprintf(text, size, fmt, again);
    }
    va_end(again);
    va_end(ap);
    log_put(level, area, n < 0 ? fmt : text);
    if (text != small) free(text);
    errno = saved_errno;
}
