/* What one client may take of the service: its rate, its time and bytes before login, its address's connections (see guard.h for those and for failed
 * logins), and the space that is sent to it when it has been quiet.
 *
 * Rate: a bucket each for bytes and stanzas that holds c2s.rate_burst seconds' worth and is filled as time goes by. What has come is always handled; when a
 * bucket is overdrawn, the connection is not read until it is level again. TCP passes this on to the client, which sends more slowly without knowing why, and
 * nothing is kept in memory for it. A client that fills the pipe all the same, from one stop to the next without a second's rest, for
 * c2s.rate_patience is no client in a hurry but one that was made to send: it is closed. */
#include "base/alarm.h"
#include "base/log.h"
#include "c2s_private.h"
#include "xmpp/guard.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define REST_MS  1000 /* that long below its rate, and a client is a good one again */
#define LEAST_MS 50   /* of a stop: more often it would cost more than it saves */
#define SWEEP_MS 1000

void c2s_cut(struct c2s *c, enum metric_id limit, const char *text)
{
    if (c->state == C2S_CLOSING) return;
    metric_inc(limit);
    c2s_close(c, "policy-violation", text);
}

/* ---- rate ---- */

/* Fills one bucket with what came in since_ms. rate 0: no limit, always full enough. */
static void bucket_fill(int64_t *bucket, int64_t rate, uint64_t since_ms)
{
    int64_t full = rate * 1000 * c2s_shared.config->c2s_rate_burst;
    uint64_t longest = (uint64_t)c2s_shared.config->c2s_rate_burst * 1000;
    *bucket += rate * (int64_t)(since_ms < longest ? since_ms : longest);
    if (*bucket > full) *bucket = full;
}

static void rate_fill(struct c2s_rate *r)
{
    uint64_t now = worker_now_ms();
    if (now == r->filled_ms) return;
    bucket_fill(&r->bytes, c2s_shared.config->c2s_rate_bytes, now - r->filled_ms);
    bucket_fill(&r->stanzas, c2s_shared.config->c2s_rate_stanzas, now - r->filled_ms);
    r->filled_ms = now;
}

static uint64_t bucket_level_ms(int64_t bucket, int64_t rate)
{
    return rate > 0 && bucket < 0 ? (uint64_t)((-bucket + rate - 1) / rate) : 0;
}

static void rate_over(struct wheel_timer *timer)
{
    struct c2s *c = CONTAINER_OF(timer, struct c2s, rate.timer);
    c->rate.stopped = false;
    c->rate.resumed_ms = worker_now_ms();
    c2s_resume(c);
}

static void rate_stop(struct c2s *c, uint64_t for_ms)
{
    struct c2s_rate *r = &c->rate;
    uint64_t now = worker_now_ms(), patience = (uint64_t)c2s_shared.config->c2s_rate_patience * 1000;
    if (r->over_since_ms == 0 || now - r->resumed_ms > REST_MS) r->over_since_ms = now;
    if (patience > 0 && now - r->over_since_ms >= patience) {
        c2s_cut(c, METRIC_C2S_CUT_RATE, "more than this service takes from one client, for too long");
        return;
    }
    r->stopped = true;
    c2s_pause(c);
    worker_timer(&r->timer, for_ms > LEAST_MS ? for_ms : LEAST_MS);
}

static void rate_check(struct c2s *c)
{
    struct c2s_rate *r = &c->rate;
    if (r->stopped) return;
    uint64_t bytes_ms = bucket_level_ms(r->bytes, c2s_shared.config->c2s_rate_bytes);
    uint64_t stanzas_ms = bucket_level_ms(r->stanzas, c2s_shared.config->c2s_rate_stanzas);
    if (bytes_ms == 0 && stanzas_ms == 0) return;
    metric_inc(bytes_ms > stanzas_ms ? METRIC_C2S_THROTTLED_BYTES : METRIC_C2S_THROTTLED_STANZAS);
    rate_stop(c, bytes_ms > stanzas_ms ? bytes_ms : stanzas_ms);
}

void c2s_took_bytes(struct c2s *c, size_t n)
{
    c->heard = true;
    if (c->state != C2S_BOUND) {
        c->unbound_bytes += n;
        if (c->unbound_bytes > (size_t)c2s_shared.config->c2s_auth_bytes) {
            c2s_cut(c, METRIC_C2S_CUT_AUTH_BYTES, "too much was sent before a resource was bound");
            return;
        }
    }
    if (c->rate.exempt || n == 0) return;
    rate_fill(&c->rate);
    if (c2s_shared.config->c2s_rate_bytes > 0) c->rate.bytes -= (int64_t)n * 1000;
    rate_check(c);
}

void c2s_took_stanza(struct c2s *c)
{
    if (c->state == C2S_CLOSING || c->rate.exempt || c2s_shared.config->c2s_rate_stanzas == 0) return;
    rate_fill(&c->rate);
    c->rate.stanzas -= 1000;
    if (c->rate.stanzas < 0) rate_check(c);
}

/* ---- begin and end ---- */

/* 127.0.0.0/8 and ::1 */
static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static void delay_over(struct wheel_timer *timer)
{
    c2s_delay_over(CONTAINER_OF(timer, struct c2s, delay));
}

void c2s_limits_begin(struct c2s *c)
{
    const struct config *config = c2s_shared.config;
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    c->plain_ok = config->c2s_plain_loopback && is_loopback(address);
    c->rate.exempt = guard_trusted(address);
    c->rate.filled_ms = worker_now_ms();
    c->rate.bytes = config->c2s_rate_bytes * 1000 * config->c2s_rate_burst;
    c->rate.stanzas = config->c2s_rate_stanzas * 1000 * config->c2s_rate_burst;
    conn_set_peer_timeout(c->conn, (unsigned)config->c2s_peer_timeout * 1000);
    enum guard_answer answer = guard_connect(address);
    c->counted = answer == GUARD_OK;
    if (answer == GUARD_OK) {
        c2s_limits_unverified(c);
        return;
    }
    const char *text = answer == GUARD_FULL ? "too many connections from this address" : "too many failed logins from this address";
    if (!c->direct_tls) {
        c2s_cut(c, answer == GUARD_FULL ? METRIC_C2S_CUT_CONNECTIONS : METRIC_C2S_CUT_BLOCKED, text);
        return;
    }
    metric_inc(answer == GUARD_FULL ? METRIC_C2S_CUT_CONNECTIONS : METRIC_C2S_CUT_BLOCKED);
    log_info("c2s", "%s: refused: %s", c->peer, text);
    c2s_end(c, false, text); /* without TLS nothing can be said, and a handshake would be work */
}

/* ---- before the login ---- */

/* What a worker has room for: its share of c2s.unauthenticated, and no more than half of the descriptors there are. */
static unsigned door_room(void)
{
    struct rlimit files;
    uint64_t room = (uint64_t)c2s_shared.config->c2s_unauthenticated;
    if (room == 0) return 0;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && room > files.rlim_cur / 2) room = files.rlim_cur / 2;
    uint64_t share = (room + worker_count() - 1) / worker_count();
    return share > 0 ? (unsigned)share : 1;
}

static void crowd_alarm(struct c2s_worker *w)
{
    char name[32];
    bool crowded = w->crowded ? w->door.n > w->door.room / 2 : w->door.n >= w->door.room;
    if (crowded == w->crowded) return;
    w->crowded = crowded;
    snprintf(name, sizeof name, "worker %u", worker_id());
    if (crowded)
        alarm_raise(ALARM_UNAUTHENTICATED, name, "%u connections that have not logged in, from %zu addresses; there is room for no more", w->door.n,
                    w->door.groups.count);
    else
        alarm_clear(ALARM_UNAUTHENTICATED, name);
}

/* A farewell keeps its connection until the peer has it, so not everybody gets one. */
static void turn_away(struct c2s *c)
{
    static const char text[] = "too many connections that have not logged in";
    struct c2s_worker *w = c2s_worker();
    if (c->state == C2S_CLOSING) return;
    metric_inc(METRIC_C2S_CUT_UNAUTHENTICATED);
    c->turned_away = true;
    c->curt = ++w->turned_away > w->door.room / 4 + 1 || (c->direct_tls && !c->tls_version);
    if (c->curt)
        c2s_end(c, false, text);
    else
        c2s_close(c, "resource-constraint", text);
}

void c2s_limits_unverified(struct c2s *c)
{
    char address[64], key[GUARD_KEY_SIZE];
    struct c2s_worker *w = c2s_worker();
    c2s_peer_address(c, address, sizeof address);
    if (c->state == C2S_CLOSING || c->waits.group || !guard_key(address, key)) return;
    unsigned before = w->door.n;
    struct door_place *out = door_enter(&w->door, str_of(key), &c->waits);
    metric_add(METRIC_C2S_UNAUTHENTICATED, (int64_t)w->door.n - before);
    crowd_alarm(w);
    if (out) turn_away(CONTAINER_OF(out, struct c2s, waits));
}

void c2s_limits_verified(struct c2s *c)
{
    struct c2s_worker *w = c2s_worker();
    if (!c->waits.group) return;
    door_leave(&w->door, &c->waits);
    metric_add(METRIC_C2S_UNAUTHENTICATED, -1);
    crowd_alarm(w);
}

void c2s_limits_register(struct c2s *c)
{
    c->rate.timer.fn = rate_over;
    c->delay.fn = delay_over;
    c->rate.stopped = false;
}

void c2s_limits_unregister(struct c2s *c)
{
    worker_timer_cancel(&c->rate.timer);
    worker_timer_cancel(&c->delay);
    c2s_limits_verified(c);
}

void c2s_limits_free(struct c2s *c)
{
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    if (c->counted) guard_disconnect(address);
    if (c->turned_away) c2s_worker()->turned_away--;
    free(c->identities);
}

/* ---- keepalive ---- */

/* RFC 6120, 4.6.1: the space says nothing; that it is not acknowledged tells that nobody is there. */
void c2s_keepalive(struct c2s *c)
{
    uint64_t every = (uint64_t)c2s_shared.config->c2s_keepalive * 1000;
    if (every == 0) return;
    if (!c->heard && conn_pending(c->conn) == 0) {
        conn_write(c->conn, " ", 1);
        metric_inc(METRIC_C2S_KEEPALIVES);
    }
    c->heard = false;
    worker_timer(&c->timer, every);
}

/* ---- forgetting ---- */

static struct wheel_timer sweeper; /* the first worker's */

static void on_sweep(struct wheel_timer *timer)
{
    guard_sweep();
    worker_timer(timer, SWEEP_MS);
}

void c2s_limits_start(void)
{
    struct door *door = &c2s_worker()->door;
    if (!door->sized) door_open(door, door_room());
    if (worker_id() != 0 || sweeper.fn) return;
    sweeper.fn = on_sweep;
    worker_timer(&sweeper, SWEEP_MS);
}

void c2s_limits_stop(void)
{
    if (worker_id() != 0 || !sweeper.fn) return;
    worker_timer_cancel(&sweeper);
    sweeper = (struct wheel_timer){0};
}
