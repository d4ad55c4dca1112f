/* e_STATS. What is told are the metrics, in the form of XEP-0039: the row routed_total{to="same-worker"} is the statistic "routed_total/same-worker", a histogram
 * is two, "event_seconds/count" and "event_seconds/sum". Metrics are summed over all threads by whoever reads them, so worker 0 can speak for the node. */
#include "jsm/stats.h"
#include "base/clock.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "jsm/session.h"
#include "xml/writer.h"
#include <string.h>

#define NS_STATS "http://jabber.org/protocol/stats"

static struct wheel_timer timer; /* of worker 0 */

/* The values of the labels: of to="same-worker",kind="x" they are /same-worker/x. */
static void name_write(struct buf *b, const struct metric_view *m, const char *part)
{
    buf_addf(b, "<stat name='%s", m->name);
    for (const char *p = m->label; (p = strchr(p, '"')) != NULL; p++) {
        size_t n = strcspn(++p, "\"");
        buf_addc(b, '/');
        xml_add_text(b, (struct str){p, n});
        p += n;
    }
    buf_addf(b, "%s' units='", part);
}

static void stat_write(void *arg, const struct metric_view *m)
{
    struct buf *b = arg;
    if (m->type == METRIC_HISTOGRAM) {
        name_write(b, m, "/count");
        buf_addf(b, "number' value='%lld'/>", (long long)m->value);
        name_write(b, m, "/sum");
        buf_addf(b, "seconds' value='%llu.%06u'/>", (unsigned long long)(m->sum_us / 1000000), (unsigned)(m->sum_us % 1000000));
        return;
    }
    name_write(b, m, "");
    buf_addf(b, "%s' value='%lld'/>", strstr(m->name, "_bytes") != NULL ? "bytes" : "number", (long long)m->value);
}

static struct stanza *stats_subject(void)
{
    struct buf inner = {0};
    struct err err;
    struct arena *arena = arena_new(0);
    struct jid domain;
    struct stanza *subject = NULL;
    buf_adds(&inner, "<query xmlns='" NS_STATS "'>");
    buf_addf(&inner, "<stat name='time/uptime' units='seconds' value='%llu'/>", (unsigned long long)((clock_ms() - jsm->started_ms) / 1000));
    metric_each(stat_write, &inner);
    buf_adds(&inner, "</query>");
    const char *domains = jsm->config->server_domains;
    if (jid_parse(arena, (struct str){domains, strcspn(domains, " \t")}, &domain, &err) == 0)
        subject = stanza_make(STANZA_IQ, IQ_SET, &domain, NULL, STR("stats"), buf_str(&inner));
    buf_free(&inner);
    arena_free(arena);
    return subject;
}

static void stats_tell(struct wheel_timer *due)
{
    worker_timer(due, (uint64_t)jsm->config->broker_stats_interval);
    if (jsm->draining || !broker_lists(EVENT_e_STATS, PACKET_IQ)) return;
    struct stanza *subject = stats_subject();
    struct verdict now;
    struct question q = {.event = EVENT_e_STATS, .subject = subject};
    if (subject != NULL) broker_raise(&q, &now);
    stanza_unref(subject);
}

void stats_worker_start(void)
{
    if (worker_id() != 0 || jsm->config->broker_stats_interval == 0) return;
    timer = (struct wheel_timer){.fn = stats_tell};
    worker_timer(&timer, (uint64_t)jsm->config->broker_stats_interval);
}

void stats_worker_stop(void)
{
    if (worker_id() == 0) worker_timer_cancel(&timer);
}
