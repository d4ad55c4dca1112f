/* A link with its connection.
 *
 * The pure link decides; this file carries its decisions out and tells it what happened. A stream that the link has no more use for (cut, replaced, ended) is
 * not waited for: it gets other callbacks, which own nothing, and ends by itself. So the link_io may go, or have its next stream, at any moment.
 *
 * A second stream that proves the name of an ACTIVE link is the contender: the link is probed, and either it shows a sign of life and the contender is
 * refused with conflict, or it is cut and the contender takes its place. */
#include "broker/link_io.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/plan.h"
#include "broker/protocol.h"
#include "broker/seldom.h"
#include "broker/trust.h"
#include "io/worker.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_MS = 5000, CALM_MS = 60000 };

struct link_io {
    struct link *link;
    struct component *component; /* NULL: none */
    struct component *contender; /* waits for the probe's outcome */
    struct link_spec spec;
    const struct link_io_settings *settings;
    struct link_limits limits; /* these three: the settings with what the spec says instead */
    struct component_limits component_limits;
    size_t answer_bytes;
    struct protocol_names names;
    struct wheel_timer timer;
    bool kept; /* what the workers were told last */
    bool stopping; /* by link_io_stop(): nothing is lost */
    bool first; /* its first attempt to connect has not come to an end */
    bool was_full, troubled, slow; /* alarms may be up */
    uint64_t trouble_ms; /* when link_io_trouble() was called last */
    uint64_t slow_ms; /* when senders waited last */
    struct intake *intake; /* what is on its way here */
    struct seldom said; /* what it did wrong */
    uint64_t faults[ANSWER_FAULTS]; /* and how often */
    struct trust trust;
    uint64_t distrusted_until_ms; /* it was closed for lying; 0: or has come back since */
    bool lied; /* the alarm is up */
    uint64_t since_wall_ms;
    unsigned gauge_state; /* the state's gauge it is counted in */
    int64_t gauge_outstanding, gauge_waiting, gauge_bytes;
    struct link_stats seen; /* what the counters know already */
};

static _Atomic unsigned streams;
unsigned link_io_streams(void) { return atomic_load(&streams); }

/* ---- metrics and the timer, brought up to date after each call into the link ---- */

static void settle_gauge(enum metric_id id, int64_t *known, int64_t now)
{
    if (now != *known) metric_add(id, now - *known);
    *known = now;
}

static void settle_counter(enum metric_id id, uint64_t *known, uint64_t now)
{
    if (now != *known) metric_add(id, (int64_t)(now - *known));
    *known = now;
}

static void settle_alarms(struct link_io *l)
{
    if (l->was_full && link_bytes(l->link) < l->limits.queue_bytes / 2) {
        l->was_full = false;
        alarm_clear(ALARM_QUEUE_FULL, l->spec.component);
    }
    if (l->slow && worker_now_ms() - l->slow_ms > CALM_MS) {
        l->slow = false;
        alarm_clear(ALARM_COMPLIANCE_SLOW, l->spec.component);
    }
    if (l->troubled && worker_now_ms() - l->trouble_ms > CALM_MS) {
        alarm_clear(ALARM_EVENT_TIMEOUT, l->spec.component);
        alarm_clear(ALARM_INVALID_ANSWER, l->spec.component);
        l->troubled = false;
    }
}

/* Those who send hear of it, and have to wait, or need not any more. */
static void settle_intake(struct link_io *l)
{
    bool active = link_state(l->link) == LINK_ACTIVE;
    intake_settle(l->intake, &(struct intake_level){.events = link_backlog(l->link),
                                                   .bytes = link_backlog_bytes(l->link),
                                                   .most_events = link_room_for(l->link),
                                                   .most_bytes = l->limits.queue_bytes / 2,
                                                   .away = !active});
    if (!active || intake_waiting(l->intake) == 0) return;
    l->slow_ms = worker_now_ms();
    if (!l->slow) alarm_raise(ALARM_COMPLIANCE_SLOW, l->spec.component, "%u events are under way, and sessions wait to send more", link_outstanding(l->link));
    l->slow = true;
}

static void settle(struct link_io *l)
{
    const struct link_stats *s = link_stats(l->link);
    settle_intake(l);
    settle_gauge(METRIC_LINK_OUTSTANDING, &l->gauge_outstanding, link_outstanding(l->link));
    settle_gauge(METRIC_LINK_WAITING, &l->gauge_waiting, link_waiting(l->link));
    settle_gauge(METRIC_LINK_BYTES, &l->gauge_bytes, (int64_t)link_bytes(l->link));
    settle_counter(METRIC_LINK_RESENT, &l->seen.resent, s->resent);
    settle_counter(METRIC_LINK_RETURNED, &l->seen.returned, s->returned);
    settle_counter(METRIC_LINK_FORGOTTEN, &l->seen.forgotten, s->forgotten);
    settle_counter(METRIC_ANSWERS_LATE, &l->seen.late, s->late);
    settle_counter(METRIC_ANSWERS_UNKNOWN, &l->seen.unknown, s->unknown);
    settle_alarms(l);
    /* Signs of life only put the due time off: the timer is left alone unless it would come too late. Early ticks do no harm. */
    uint64_t due = link_due(l->link);
    if (due == UINT64_MAX)
        worker_timer_cancel(&l->timer);
    else if (!list_linked(&l->timer.node) || l->timer.due_ms > due)
        wheel_set(worker_wheel(), &l->timer, due);
}

static enum metric_id state_gauge(enum link_state state)
{
    switch (state) {
    case LINK_ACTIVE: return METRIC_LINKS_ACTIVE;
    case LINK_QUEUEING: return METRIC_LINKS_QUEUEING;
    case LINK_GONE: return METRIC_LINKS_GONE;
    default: return METRIC_LINKS_CONNECTING;
    }
}

/* ---- streams that are nobody's any more ---- */

static void nobody_element(void *owner, const struct xml_element *e) { (void)owner, (void)e; }
static void nobody_open(void *owner) { (void)owner; }
static void nobody_end(void *owner, const struct component_end *end)
{
    (void)owner, (void)end;
    atomic_fetch_sub(&streams, 1);
}
static const struct component_ops nobody = {.on_element = nobody_element, .on_open = nobody_open, .on_end = nobody_end};

void link_io_refuse(struct component *take, const char *condition, const char *text)
{
    atomic_fetch_add(&streams, 1);
    component_set_owner(take, &nobody, NULL);
    component_refuse(take, condition, text);
}

/* Lets go of the present stream. NULL why: it is ending already. */
static struct component *let_go(struct link_io *l)
{
    struct component *c = l->component;
    l->component = NULL;
    if (c != NULL) component_set_owner(c, &nobody, NULL);
    return c;
}

/* ---- the contender ---- */

static void contender_end(void *owner, const struct component_end *end)
{
    struct link_io *l = owner;
    (void)end;
    atomic_fetch_sub(&streams, 1);
    l->contender = NULL;
}
static const struct component_ops contender_ops = {.on_element = nobody_element, .on_open = nobody_open, .on_end = contender_end};

static const struct component_ops link_component_ops;

static void admit(struct link_io *l, struct component *c)
{
    component_set_limits(c, &l->component_limits);
    l->component = c;
    l->distrusted_until_ms = 0;
    component_set_owner(c, &link_component_ops, l);
    link_connected(l->link, worker_now_ms());
    component_admit(c); /* on_open makes the link ACTIVE */
}

/* Is the probe decided? */
static void contend(struct link_io *l)
{
    struct component *c = l->contender;
    if (c == NULL || (link_state(l->link) == LINK_ACTIVE && link_probing(l->link))) return;
    l->contender = NULL;
    if (link_state(l->link) == LINK_ACTIVE) {
        log_warn("broker", "Component %s: a second connection from %s was refused, the first one is alive", l->spec.component, component_peer(c));
        component_set_owner(c, &nobody, NULL);
        component_refuse(c, "conflict", "this component has a living link");
    } else {
        admit(l, c);
    }
}

void link_io_arrived(struct link_io *l, struct component *take)
{
    atomic_fetch_add(&streams, 1);
    if (worker_now_ms() < l->distrusted_until_ms) {
        component_set_owner(take, &nobody, NULL);
        component_refuse(take, "policy-violation", "the last connection of this name was closed since nearly all it said was not allowed; come again later");
        return;
    }
    if (l->spec.dials || l->contender != NULL) {
        component_set_owner(take, &nobody, NULL);
        component_refuse(take, l->spec.dials ? "host-unknown" : "conflict", l->spec.dials ? NULL : "another connection is just asking for this name");
    } else if (link_state(l->link) == LINK_ACTIVE) {
        l->contender = take;
        component_set_owner(take, &contender_ops, l);
        link_probe(l->link, PROBE_MS, worker_now_ms());
    } else {
        admit(l, take);
    }
    settle(l);
}

/* ---- what the link wants ---- */

static void do_dial(void *owner)
{
    struct link_io *l = owner;
    struct component_target target = {
        .name = l->spec.component, .host = l->spec.host, .password = l->spec.password, .port = l->spec.port, .tls = l->spec.tls, .tls_name = l->spec.tls_name};
    atomic_fetch_add(&streams, 1);
    l->component = component_dial(&target, &l->component_limits, &link_component_ops, l);
}

static uint64_t do_send(void *owner, uint64_t number, const struct event_request *request, bool resent)
{
    struct link_io *l = owner;
    if (!resent) metric_inc(METRIC_LINK_SENT);
    if (l->component == NULL) return 0;
    protocol_write_event(component_out(l->component), &l->names, number, request);
    component_wrote(l->component);
    if (component_over(l->component)) link_blocked(l->link, true);
    return clock_us();
}

static void do_ping(void *owner, uint64_t number)
{
    struct link_io *l = owner;
    if (l->component == NULL) return;
    protocol_write_ping(component_out(l->component), &l->names, number);
    component_wrote(l->component);
}

static void do_cut(void *owner, const char *why)
{
    struct component *c = let_go(owner);
    if (c != NULL) component_abort(c, why);
}

static void do_returned(void *owner, struct event_request *take)
{
    struct link_io *l = owner;
    struct event_answer a = {.kind = ANSWER_RETURNED, .hold = take->hold, .turn = take->turn, .link = l->spec.id};
    l->settings->answer(take->worker, &a);
    event_request_clear(take);
}

static void do_dropped(void *owner, struct event_request *take)
{
    struct link_io *l = owner;
    if (take->hold == 0 && link_state(l->link) != LINK_ACTIVE) metric_inc(METRIC_LINK_DROPPED);
    event_request_clear(take);
}

static void tell_loss(struct link_io *l, enum link_state from, enum link_state to, const char *why)
{
    const char *name = l->spec.component;
    if (from == LINK_CONNECTED || from == LINK_ACTIVE) log_notice("broker", "Component %s is GONE", name);
    if (to == LINK_QUEUEING && from == LINK_ACTIVE)
        log_warn("broker", "Component %s: %s; its events wait for it up to %llu s", name, why, (unsigned long long)l->settings->link.outage_window_ms / 1000);
    else
        log_info("broker", "Component %s: %s", name, why);
    if (from == LINK_ACTIVE && !l->stopping) metric_inc(METRIC_LINK_LOSSES);
    if (!l->stopping) alarm_raise(ALARM_LINK_LOST, name, "%s", why);
}

static void do_moved(void *owner, enum link_state from, enum link_state to, const char *why)
{
    struct link_io *l = owner;
    metric_add(state_gauge((enum link_state)l->gauge_state), -1);
    metric_add(state_gauge(to), 1);
    l->gauge_state = to;
    if (to != LINK_CONNECTING && to != LINK_CONNECTED) l->first = false;
    if (from != to) l->since_wall_ms = clock_wall_ms();
    if (to == LINK_CONNECTED) {
        log_notice("broker", "Component %s is CONNECTED", l->spec.component);
    } else if (to == LINK_ACTIVE) {
        log_notice("broker", "Component %s is ACTIVE", l->spec.component);
        trust_anew(&l->trust);
        alarm_clear(ALARM_LINK_LOST, l->spec.component);
        alarm_clear(ALARM_HANDSHAKE_REFUSED, l->spec.component);
        alarm_clear(ALARM_PASSED_UNLOGGED, l->spec.component);
        alarm_clear(ALARM_PASSED_UNLOGGED, l->spec.profile); /* no link was concerned then: its subject is the profile */
    } else if (to == LINK_GONE || to == LINK_QUEUEING) {
        tell_loss(l, from, to, why);
    }
    if (link_keeps(l->link) != l->kept) {
        l->kept = !l->kept;
        l->settings->keeps(l->spec.id, l->kept);
    }
}

static const struct link_ops link_io_ops = {do_dial, do_send, do_ping, do_cut, do_returned, do_dropped, do_moved};

/* ---- what the stream says ---- */

static void on_connected(void *owner)
{
    struct link_io *l = owner;
    link_connected(l->link, worker_now_ms());
    settle(l);
}

static void on_open(void *owner)
{
    struct link_io *l = owner;
    link_active(l->link, worker_now_ms());
    settle(l);
}

static void on_heard(void *owner)
{
    struct link_io *l = owner;
    link_heard(l->link, worker_now_ms());
    if (l->contender != NULL) contend(l);
}

/* ---- what is wrong with what it says ---- */

static const enum metric_id fault_metrics[] = {
#define ANSWER_FAULT(id, name, lie, text, becomes) [ANSWER_FAULT_##id] = METRIC_FAULT_##id,
#include "tables/answer_faults.def"
#undef ANSWER_FAULT
};

static void count_fault(struct link_io *l, enum answer_fault fault)
{
    l->faults[fault]++;
    metric_inc(fault_metrics[fault]);
}

static void lost(struct link_io *l, bool graceful, const char *why);

/* Closes the link when it has said nearly nothing but lies for a whole window. Its events are for others then, as after a graceful end. */
static void believe(struct link_io *l)
{
    uint64_t now = worker_now_ms(), said = l->trust.said, lies = l->trust.lies;
    if (l->component == NULL || l->trust.least == 0) return;
    bool judged = l->trust.begun_ms != 0, lost_trust = trust_lost(&l->trust, now);
    if (!lost_trust) {
        if (l->lied && judged && l->trust.begun_ms == 0) alarm_clear(ALARM_COMPLIANCE_LIES, l->spec.component);
        l->lied = l->lied && !(judged && l->trust.begun_ms == 0);
        return;
    }
    char why[160];
    snprintf(why, sizeof why, "of %llu things it said %llu were not allowed", (unsigned long long)said, (unsigned long long)lies);
    log_error("broker", "Component %s is closed: %s; it may come again in %llu s", l->spec.component, why, (unsigned long long)l->settings->lies_pause_ms / 1000);
    alarm_raise(ALARM_COMPLIANCE_LIES, l->spec.component, "%s", why);
    l->lied = true;
    l->distrusted_until_ms = now + l->settings->lies_pause_ms;
    component_refuse(let_go(l), "policy-violation", why);
    lost(l, true, why);
    link_pause(l->link, l->settings->lies_pause_ms, now);
}

/* An answer nobody waits for. Late is a matter of time, and the time-out had its alarm; an answer to what was never asked is a fault of its own. */
static void tell_unexpected(struct link_io *l, uint64_t number)
{
    uint64_t quiet;
    enum answer_fault fault = link_answer_fault(l->link, number);
    bool lie = answer_fault_is_lie(fault);
    count_fault(l, fault);
    trust_said(&l->trust, lie, worker_now_ms());
    if (lie) {
        alarm_raise(ALARM_INVALID_ANSWER, l->spec.component, "it answered what it was not asked, or twice");
        l->troubled = true;
        l->trouble_ms = worker_now_ms();
    }
    if (!seldom_say(&l->said, answer_fault_name(fault), worker_now_ms(), &quiet)) return;
    log_at(lie ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "broker", "Component %s answered event %llu: %s (%llu more like it since the last line of this kind)", l->spec.component,
           (unsigned long long)number, answer_fault_text(fault), (unsigned long long)quiet);
}

static void on_answer(struct link_io *l, uint64_t number, struct event_answer *a)
{
    static const enum metric_id kinds[] = {METRIC_ANSWERS_PASS, METRIC_ANSWERS_PASS_STANZA, METRIC_ANSWERS_HANDLE, METRIC_ANSWERS_ERROR, METRIC_ANSWERS_INVALID};
    struct event_request request;
    uint64_t stamp;
    if (!link_answer(l->link, number, &request, &stamp, worker_now_ms())) {
        tell_unexpected(l, number);
        event_answer_clear(a);
        return;
    }
    metric_inc(kinds[a->kind]);
    trust_said(&l->trust, false, worker_now_ms());
    metric_observe_us(METRIC_LINK_ROUND_TRIP, clock_us() - stamp);
    a->hold = request.hold;
    a->turn = request.turn;
    a->link = l->spec.id;
    l->settings->answer(request.worker, a);
    event_request_clear(&request);
}

static void tell_refused(struct link_io *l, struct str name, const char *why)
{
    uint64_t quiet;
    if (!seldom_say(&l->said, why, worker_now_ms(), &quiet)) return;
    log_warn("broker", "Component %s sent what it may not: <" STR_FMT "/>, %s (%llu more like it since the last line of this kind)", l->spec.component, STR_ARG(name), why,
             (unsigned long long)quiet);
}

static void on_element(void *owner, const struct xml_element *e)
{
    struct link_io *l = owner;
    struct event_answer answer;
    uint64_t number = 0;
    const char *why;
    switch (protocol_read(&l->names, e, l->answer_bytes, component_out(l->component), &number, &answer, &why)) {
    case PROTOCOL_ANSWER: on_answer(l, number, &answer); break;
    case PROTOCOL_PONG: link_pong(l->link, number, worker_now_ms()); break;
    case PROTOCOL_PING: component_wrote(l->component); break;
    case PROTOCOL_REFUSED:
        component_wrote(l->component);
        metric_inc(METRIC_LINK_REFUSED);
        count_fault(l, ANSWER_FAULT_UNASKED);
        trust_said(&l->trust, true, worker_now_ms());
        tell_refused(l, e->name, why);
        break;
    }
    believe(l);
    settle(l);
}

static void on_drain(void *owner)
{
    struct link_io *l = owner;
    link_blocked(l->link, false);
    settle(l);
}

static void lost(struct link_io *l, bool graceful, const char *why)
{
    link_lost(l->link, graceful, why, worker_now_ms());
    contend(l);
    settle(l);
}

static void on_closing(void *owner)
{
    struct link_io *l = owner;
    let_go(l);
    lost(l, true, "the compliance server ended its stream");
}

static void tell_refusal(struct link_io *l, const struct component_end *end)
{
    const char *name = l->spec.component;
    metric_inc(METRIC_LINK_HANDSHAKES_REFUSED);
    if (strcmp(end->condition, "host-unknown") == 0)
        alarm_raise(ALARM_HANDSHAKE_REFUSED, name, "host-unknown: the compliance server at %s, port %u does not know the component name %s", l->spec.host, l->spec.port,
                    name);
    else if (strcmp(end->condition, "not-authorized") == 0)
        alarm_raise(ALARM_HANDSHAKE_REFUSED, name, "not-authorized: the compliance server at %s, port %u has another password for this component", l->spec.host,
                    l->spec.port);
    else
        alarm_raise(ALARM_HANDSHAKE_REFUSED, name, "%s: %s", end->condition, end->text);
}

static void on_end(void *owner, const struct component_end *end)
{
    struct link_io *l = owner;
    l->component = NULL;
    atomic_fetch_sub(&streams, 1);
    if (link_state(l->link) == LINK_CONNECTED && end->condition != NULL) tell_refusal(l, end);
    lost(l, end->graceful, end->text);
}

static const struct component_ops link_component_ops = {.on_connected = on_connected,
                                                        .on_open = on_open,
                                                        .on_element = on_element,
                                                        .on_heard = on_heard,
                                                        .on_drain = on_drain,
                                                        .on_closing = on_closing,
                                                        .on_end = on_end};

/* ---- from the broker ---- */

static void on_timer(struct wheel_timer *timer)
{
    struct link_io *l = CONTAINER_OF(timer, struct link_io, timer);
    link_tick(l->link, worker_now_ms());
    contend(l);
    settle(l);
}

static void take_spec(struct link_io *l, const struct link_spec *spec)
{
    l->spec = *spec;
    l->names = (struct protocol_names){.broker = l->settings->broker, .component = l->spec.component};
    l->limits = l->settings->link;
    l->component_limits = l->settings->component;
    l->answer_bytes = spec->answer_bytes != 0 ? spec->answer_bytes : l->settings->answer_bytes;
    if (spec->outstanding != 0) l->limits.outstanding = spec->outstanding;
    if (spec->queue_bytes != 0) l->limits.queue_bytes = spec->queue_bytes;
    if (spec->answer_bytes != 0) l->component_limits.element_bytes = link_io_element_bytes(spec->answer_bytes);
    l->component_limits.out_max_bytes = l->component_limits.out_high_bytes + l->limits.queue_bytes;
}

size_t link_io_element_bytes(size_t answer_bytes) { return answer_bytes * 4 + 65536; }

struct link_io *link_io_new(const struct link_spec *spec, const struct link_io_settings *settings, struct intake *intake)
{
    struct link_io *l = x_calloc(1, sizeof *l);
    l->settings = settings;
    l->intake = intake;
    take_spec(l, spec);
    l->timer.fn = on_timer;
    l->since_wall_ms = clock_wall_ms();
    l->trust = (struct trust){.window_ms = settings->lies_window_ms, .least = settings->lies_least};
    l->link = link_new(spec->component, spec->dials, &l->limits, hash_random_u64(), &link_io_ops, l);
    l->gauge_state = LINK_GONE;
    l->first = true;
    metric_inc(METRIC_LINKS_GONE);
    link_start(l->link, worker_now_ms());
    settle(l);
    return l;
}

static bool same_text(const char *a, const char *b) { return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0); }

void link_io_update(struct link_io *l, const struct link_spec *spec)
{
    const struct link_spec old = l->spec;
    bool anew = old.dials != spec->dials || !same_text(old.password, spec->password) ||
                old.wants_tls != spec->wants_tls || (spec->dials && (!same_text(old.host, spec->host) || old.port != spec->port)) ||
                (spec->wants_tls && (!same_text(old.tls_ca, spec->tls_ca) || !same_text(old.tls_name, spec->tls_name) || !same_text(old.tls_cert, spec->tls_cert)));
    take_spec(l, spec);
    link_set_limits(l->link, &l->limits);
    if (l->component != NULL && !anew) component_set_limits(l->component, &l->component_limits);
    if (!anew) {
        settle(l);
        return;
    }
    log_info("broker", "Component %s: its configuration was changed, connecting anew", l->spec.component);
    struct component *c = let_go(l);
    if (c != NULL) component_close(c);
    link_restart(l->link, spec->dials, worker_now_ms());
    contend(l);
    settle(l);
}

void link_io_stop(struct link_io *l, const char *why)
{
    struct component *c = let_go(l), *contender = l->contender;
    l->contender = NULL;
    if (contender != NULL) {
        component_set_owner(contender, &nobody, NULL);
        component_refuse(contender, "host-unknown", NULL);
    }
    if (c != NULL) component_close(c);
    l->stopping = true;
    link_stop(l->link, why);
    settle(l);
    worker_timer_cancel(&l->timer);
    metric_add(METRIC_LINKS_GONE, -1);
    static const enum alarm_id alarms[] = {ALARM_LINK_LOST, ALARM_HANDSHAKE_REFUSED, ALARM_QUEUE_FULL, ALARM_COMPLIANCE_SLOW, ALARM_EVENT_TIMEOUT,
                                           ALARM_INVALID_ANSWER, ALARM_COMPLIANCE_LIES, ALARM_PASSED_UNLOGGED};
    for (unsigned i = 0; i < sizeof alarms / sizeof alarms[0]; i++) alarm_clear(alarms[i], l->spec.component);
    link_free(l->link);
    free(l);
}

void link_io_offer(struct link_io *l, struct event_request *take)
{
    enum link_offer offer = link_offer(l->link, take, worker_now_ms());
    if (offer != LINK_TAKEN) {
        if (take->hold != 0) {
            struct event_answer a = {
                .kind = offer == LINK_FULL ? ANSWER_QUEUE_FULL : ANSWER_RETURNED, .hold = take->hold, .turn = take->turn, .link = l->spec.id};
            l->settings->answer(take->worker, &a);
        } else {
            metric_inc(METRIC_LINK_DROPPED);
            if (offer == LINK_FULL) {
                alarm_raise(ALARM_QUEUE_FULL, l->spec.component, "an event of which nobody waits was dropped");
                l->was_full = true;
            }
        }
        event_request_clear(take);
    }
    settle(l);
}

void link_io_forget(struct link_io *l, uint32_t worker, uint64_t hold)
{
    if (link_forget(l->link, worker, hold)) settle(l);
}

void link_io_trouble(struct link_io *l, bool full, enum answer_fault fault)
{
    if (!full && fault != ANSWER_FAULTS) {
        count_fault(l, fault);
        if (answer_fault_is_lie(fault)) trust_was_lie(&l->trust);
        believe(l);
    }
    if (full) {
        l->was_full = true;
    } else {
        l->troubled = true;
        l->trouble_ms = worker_now_ms();
    }
    settle(l);
}

bool link_io_busy(const struct link_io *l) { return link_state(l->link) == LINK_ACTIVE && link_outstanding(l->link) + link_waiting(l->link) > 0; }
bool link_io_active(const struct link_io *l) { return link_state(l->link) == LINK_ACTIVE; }
bool link_io_coming(const struct link_io *l) { return l->first && l->spec.dials && link_state(l->link) != LINK_GONE; }
const struct link_spec *link_io_spec(const struct link_io *l) { return &l->spec; }

void link_io_status(const struct link_io *l, struct link_status *out)
{
    const struct link_stats *s = link_stats(l->link);
    *out = (struct link_status){
        .component = l->spec.component,
        .server = l->spec.server,
        .profile = l->spec.profile,
        .state = link_state_name(link_state(l->link)),
        .last_error = link_last_error(l->link),
        .direction = l->spec.dials ? "connect" : "accept",
        .since_wall_ms = l->since_wall_ms,
        .events = s->events,
        .answers = s->answers,
        .outstanding = link_outstanding(l->link),
        .queued = link_waiting(l->link),
        .queued_bytes = link_bytes(l->link),
        .outstanding_max = l->limits.outstanding,
        .queued_bytes_max = l->limits.queue_bytes,
        .answer_bytes_max = l->answer_bytes,
    };
    memcpy(out->faults, l->faults, sizeof out->faults);
}
