/* Alarms: rows of src/tables/alarms.def. Raised and cleared per subject, de-duplicated, counted, logged. Thread-safe. */
#ifndef SIGNET_BASE_ALARM_H
#define SIGNET_BASE_ALARM_H
#include "base/buf.h"

enum alarm_id {
#define ALARM(id, severity, name, text, cause, remedy) ALARM_##id,
#include "tables/alarms.def"
#undef ALARM
    ALARM_COUNT
};
/* subject: what it is about ("op-wall.node1-example-com"); detail: this occurrence. Raising again only counts. */
void alarm_raise(enum alarm_id id, const char *subject, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void alarm_clear(enum alarm_id id, const char *subject);
struct alarm_view {
    enum alarm_id id;
    const char *name, *severity, *subject, *detail, *cause, *remedy;
    uint64_t since_wall_ms, last_wall_ms, count;
    bool active;
};
typedef void (*alarm_view_fn)(void *arg, const struct alarm_view *view);
void alarm_each(alarm_view_fn fn, void *arg); /* under the lock: fn must not raise */

#endif
