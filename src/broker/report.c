/* What happens to events, as counters, alarms and log lines: one row of src/tables/hold_news.def each. */
#include "base/log.h"
#include "broker/hold.h"
#include "broker/seldom.h"
#include <stdio.h>

static const struct {
    const char *name;
    enum metric_id metric;
    enum alarm_id alarm; /* ALARM_COUNT: none */
    enum log_level level;
    const char *text;
} news_rows[] = {
#define HOLD_NEWS(id, name, metric, alarm, level, text) [HOLD_##id] = {name, metric, alarm, level, text},
#include "tables/hold_news.def"
#undef HOLD_NEWS
};

const char *hold_news_text(enum hold_news news) { return news_rows[news].text; }
const char *hold_news_name(enum hold_news news) { return news_rows[news].name; }

/* What a compliance server does wrong it does often: the lines that are left out are there at level debug. */
static void report_log(const struct hold_report *r, const char *subject, struct seldom *said, uint64_t now_ms)
{
    char id[EVENT_ID_SIZE] = "", kind[SELDOM_KIND_SIZE], left_out[64] = "";
    enum log_level level = news_rows[r->news].level;
    uint64_t quiet = 0;
    if (said != NULL && level != LOG_LEVEL_DEBUG) {
        (void)snprintf(kind, sizeof kind, "%s %s", news_rows[r->news].name, r->detail != NULL ? r->detail : "");
        if (!seldom_say(said, kind, now_ms, &quiet)) level = LOG_LEVEL_DEBUG;
        if (quiet > 0) (void)snprintf(left_out, sizeof left_out, " (%llu more since the last line of this kind)", (unsigned long long)quiet);
    }
    if (!log_enabled(level)) return;
    if (r->event != NULL) (void)event_id_text(r->event, id);
    log_at(level, "broker", "%s%s%s: %s%s%s%s%s%s", r->event != NULL ? event_catalogue[r->id].name : "answer", r->event != NULL ? " " : "", id, news_rows[r->news].text,
           subject[0] != '\0' ? ", " : "", subject, r->detail != NULL ? ": " : "", r->detail != NULL ? r->detail : "", left_out);
}

void hold_report_count(const struct hold_report *r, struct seldom *said, uint64_t now_ms)
{
    bool asks_nobody = r->event == NULL && (r->news == HOLD_RAISED || r->news == HOLD_VERDICT);
    if (asks_nobody) return;
    const char *subject = r->link != LINK_ID_NONE ? link_component(r->link) : r->profile != NULL ? r->profile : "";
    metric_inc(news_rows[r->news].metric);
    if (r->news == HOLD_RAISED) metric_add(METRIC_EVENTS_WAITING, 1);
    if (r->news == HOLD_VERDICT) {
        metric_add(METRIC_EVENTS_WAITING, -1);
        metric_observe_us(METRIC_EVENTS_TIME, r->took_us);
    }
    if (news_rows[r->news].alarm != ALARM_COUNT)
        alarm_raise(news_rows[r->news].alarm, subject, "%s %s", event_catalogue[r->id].name, r->detail != NULL ? r->detail : news_rows[r->news].text);
    if (log_enabled(news_rows[r->news].level)) report_log(r, subject, said, now_ms);
}
