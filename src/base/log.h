/* The structured log: one line per record, text or JSON, to stderr, a file or journald. Thread-safe. */
#ifndef SIGNET_BASE_LOG_H
#define SIGNET_BASE_LOG_H
#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* format: "text" or "json"; target: "stderr", "journald" or a file's path (opened for append, reopened by log_reopen). */
must_check int log_start(enum log_level level, const char *format, const char *target, struct err *err);
must_check int log_reopen(struct err *err);
void log_stop(void);
int log_level_parse(const char *name); /* -1: not a level */
void log_set_level(enum log_level level);
_Bool log_enabled(enum log_level level);
void log_set_thread(const char *name); /* "worker-1", "store": shown in each record of the calling thread */
void log_set_stanza(const char *stanza_id); /* shown in records of this thread until set to NULL; borrowed */
/* area: the folder or module: "c2s", "broker", "store". One line; control characters in the text are escaped. */
void log_at(enum log_level level, const char *area, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_error(area, ...) log_at(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...) log_at(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_notice(area, ...) log_at(LOG_LEVEL_NOTICE, area, __VA_ARGS__)
#define log_info(area, ...) log_at(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) \
    do { \
        if (log_enabled(LOG_LEVEL_DEBUG)) log_at(LOG_LEVEL_DEBUG, area, __VA_ARGS__); \
    } while (0)

#endif
