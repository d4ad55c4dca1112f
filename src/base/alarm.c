/* Alarms: conditions an operator must do something about. One entry per alarm and subject, whose repetition counts instead of flooding
 * the log; an entry that was cleared stays for a while, so that "what happened last night" has an answer.
 *
 * Subjects are things an administrator set up (a compliance server, a certificate, the store), not what peers send, so active entries are
 * as many as the configuration has things; only the cleared ones need a bound. */
#include "base/alarm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"

enum { ALARM_CLEARED_KEPT = 256, ALARM_DETAIL_SIZE = 512 };

static const struct alarm_row {
    const char *severity, *name, *text, *cause, *remedy;
} rows[ALARM_COUNT] = {
#define ALARM(id, severity, name, text, cause, remedy) [ALARM_##id] = {severity, name, text, cause, remedy},
#include "tables/alarms.def"
#undef ALARM
};

struct alarm_entry {
    struct list node; /* all entries, the longest unchanged first */
    enum alarm_id id;
    char *subject;
    char detail[ALARM_DETAIL_SIZE]; /* of the last occurrence */
    uint64_t since_wall_ms, last_wall_ms, count;
    bool active;
};

/* All under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list entries = {&entries, &entries};
static struct map by_subject; /* "id subject" -> entry */
static unsigned cleared;

static struct alarm_entry *alarm_find(enum alarm_id id, const char *subject, struct buf *key)
{
    buf_addf(key, "%u %s", (unsigned)id, subject);
    return map_get(&by_subject, buf_str(key));
}

static void alarm_drop_oldest_cleared(void)
{
    LIST_EACH_SAFE(it, next, &entries)
    {
        struct alarm_entry *e = CONTAINER_OF(it, struct alarm_entry, node);
        if (e->active) continue;
        struct buf key = {0};
        buf_addf(&key, "%u %s", (unsigned)e->id, e->subject);
        map_del(&by_subject, buf_str(&key));
        buf_free(&key);
        list_remove(&e->node);
        free(e->subject);
        free(e);
        cleared--;
        return;
    }
}

void alarm_raise(enum alarm_id id, const char *subject, const char *fmt, ...)
{
    char detail[ALARM_DETAIL_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    if (subject == NULL) subject = "";
    struct buf key = {0};
    uint64_t now = clock_wall_ms();
    pthread_mutex_lock(&lock);
    struct alarm_entry *e = alarm_find(id, subject, &key);
    bool fresh = e == NULL || !e->active;
    if (e == NULL) {
        e = x_calloc(1, sizeof(*e));
        e->id = id;
        e->subject = x_strdup(subject);
        list_push_back(&entries, &e->node);
        map_put(&by_subject, buf_str(&key), e);
    } else if (fresh) {
        cleared--;
    }
    if (fresh) {
        e->active = true;
        e->since_wall_ms = now;
        e->count = 0;
        list_remove(&e->node);
        list_push_back(&entries, &e->node);
    }
    e->last_wall_ms = now;
    e->count++;
    memcpy(e->detail, detail, sizeof(detail));
    pthread_mutex_unlock(&lock);
    buf_free(&key);
    metric_inc(METRIC_ALARMS_RAISED);
    if (!fresh) {
        log_debug("alarm", "%s again: %s: %s", rows[id].name, subject, detail);
        return;
    }
    metric_inc(METRIC_ALARMS_ACTIVE);
    enum log_level level = strcmp(rows[id].severity, "critical") == 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN;
    log_at(level, "alarm", "%s raised: %s: %s (%s) Likely: %s Do: %s", rows[id].name, subject, rows[id].text, detail, rows[id].cause,
           rows[id].remedy);
}

void alarm_clear(enum alarm_id id, const char *subject)
{
    if (subject == NULL) subject = "";
    struct buf key = {0};
    uint64_t count = 0;
    uint64_t now = clock_wall_ms();
    pthread_mutex_lock(&lock);
    struct alarm_entry *e = alarm_find(id, subject, &key);
    bool was_active = e != NULL && e->active;
    if (was_active) {
        e->active = false;
        e->last_wall_ms = now;
        count = e->count;
        list_remove(&e->node);
        list_push_back(&entries, &e->node);
        if (++cleared > ALARM_CLEARED_KEPT) alarm_drop_oldest_cleared();
    }
    pthread_mutex_unlock(&lock);
    buf_free(&key);
    if (!was_active) return;
    metric_add(METRIC_ALARMS_ACTIVE, -1);
    log_notice("alarm", "%s cleared: %s (raised %llu times)", rows[id].name, subject, (unsigned long long)count);
}

void alarm_each(alarm_view_fn fn, void *arg)
{
    pthread_mutex_lock(&lock);
    LIST_EACH(it, &entries)
    {
        const struct alarm_entry *e = CONTAINER_OF(it, struct alarm_entry, node);
        const struct alarm_row *row = &rows[e->id];
        struct alarm_view view = {
            .id = e->id,
            .name = row->name,
            .severity = row->severity,
            .subject = e->subject,
            .detail = e->detail,
            .cause = row->cause,
            .remedy = row->remedy,
            .since_wall_ms = e->since_wall_ms,
            .last_wall_ms = e->last_wall_ms,
            .count = e->count,
            .active = e->active,
        };
        fn(arg, &view);
    }
    pthread_mutex_unlock(&lock);
}
