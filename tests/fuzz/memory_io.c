/* See memory_io.h. What a connection may do is checked as it is done: a write after the end, a resume without a pause, TLS with plain text left over. */
#include "memory_io.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "fuzz.h"
#include "io/offload.h"
#include "io/wheel.h"

#define STEPS_MAX 100000 /* of one turn: more is a loop without end */

struct conn {
    const struct conn_ops *ops;
    void *owner;
    struct buf in, wrote; /* wrote: what conn_out() handed out, until conn_wrote() */
    unsigned paused;
    size_t over_at;
    bool handshake, moving;
};
struct job {
    struct job *next;
    uint32_t worker;
    void (*fn)(void *arg);
    void *arg;
};

struct memory memory;
static struct job *first, **last = &first;
static uint32_t present;
static uint64_t now = 1000000;
static struct wheel *wheel;

void later(void (*fn)(void *arg), void *arg)
{
    struct job *job = x_calloc(1, sizeof *job);
    *job = (struct job){.worker = present, .fn = fn, .arg = arg};
    *last = job;
    last = &job->next;
}

/* ---- workers ---- */

uint32_t worker_id(void) { return present; }
unsigned worker_count(void) { return 2; }
struct wheel *worker_wheel(void) { return wheel; }
uint64_t worker_now_ms(void) { return now; }

struct pool_job {
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void pool_run(void *arg)
{
    struct pool_job *job = arg;
    job->work(job->arg);
    job->done(job->arg);
    free(job);
}

void worker_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct pool_job *job = x_calloc(1, sizeof *job);
    *job = (struct pool_job){work, done, arg};
    later(pool_run, job);
}

/* ---- the connection ---- */

static void conn_free(struct conn *c)
{
    buf_free(&c->in);
    buf_free(&c->wrote);
    free(c);
}

static struct conn *conn_new(void)
{
    MUST_HOLD(memory.conn == NULL);
    memory.conn = x_calloc(1, sizeof *memory.conn);
    return memory.conn;
}

static bool is_open(const struct conn *c)
{
    return c == memory.conn && !memory.over;
}

void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner)
{
    c->ops = ops;
    c->owner = owner;
}

void conn_set_limits(struct conn *c, size_t high, size_t max)
{
    MUST_HOLD(high <= max);
    c->over_at = high;
}

void conn_set_peer_timeout(struct conn *c, unsigned ms) { (void)c, (void)ms; }
const char *conn_peer(const struct conn *c) { (void)c; return memory.peer; }
size_t conn_pending(const struct conn *c) { (void)c; return 0; }
/* What is written has gone at once. */
uint64_t conn_written(const struct conn *c) { return is_open(c) ? 0 : UINT64_MAX; }
uint64_t conn_taken(const struct conn *c) { (void)c; return 0; }
void conn_flush(struct conn *c) { (void)c; }
bool conn_over(const struct conn *c) { (void)c; return false; }
struct buf *conn_out(struct conn *c) { return &c->wrote; }

void conn_wrote(struct conn *c)
{
    MUST_HOLD(!c->handshake); /* it would break the handshake */
    if (is_open(c)) buf_add_str(&memory.out, buf_str(&c->wrote));
    buf_reset(&c->wrote);
}

void conn_write(struct conn *c, const void *p, size_t n)
{
    buf_add(&c->wrote, p, n);
    conn_wrote(c);
}

void conn_pause(struct conn *c) { c->paused++; }

void conn_resume(struct conn *c)
{
    MUST_HOLD(c->paused > 0);
    c->paused--;
}

static void tell_closed(void *arg)
{
    struct conn *c = arg;
    memory.conn = NULL;
    c->ops->on_closed(c->owner, NULL);
    conn_free(c);
}

void conn_close(struct conn *c)
{
    MUST_HOLD(is_open(c));
    memory.over = true;
    later(tell_closed, c);
}

void conn_abort(struct conn *c, const struct err *why)
{
    (void)why;
    conn_close(c);
}

static void handshake_done(void *arg)
{
    struct conn *c = arg;
    if (!is_open(c)) return;
    c->handshake = false;
    if (memory.tls_fails) {
        struct err err;
        err_set(&err, ERR_INVALID, "the handshake failed");
        memory.over = true;
        memory.conn = NULL;
        c->ops->on_closed(c->owner, &err);
        conn_free(c);
        return;
    }
    memory.tls = true;
    c->ops->on_tls(c->owner);
}

int conn_start_tls(struct conn *c, struct tls_context *ctx, bool server, const char *name, struct err *err)
{
    (void)name, (void)err;
    MUST_HOLD(ctx != NULL && server && !memory.tls && !c->handshake);
    c->handshake = true;
    later(handshake_done, c);
    return 0;
}

bool conn_is_tls(const struct conn *c) { (void)c; return memory.tls; }
const char *conn_tls_version(const struct conn *c) { (void)c; return memory.tls ? "TLSv1.3" : NULL; }

bool conn_tls_exporter(const struct conn *c, unsigned char out[32])
{
    (void)c;
    MUST_HOLD(memory.tls);
    memset(out, 'x', 32);
    return memory.binding == MEMORY_EXPORTER;
}

size_t conn_tls_unique(const struct conn *c, unsigned char *out, size_t max)
{
    (void)c;
    MUST_HOLD(memory.tls && max >= 12);
    memset(out, 'u', 12);
    return memory.binding == MEMORY_UNIQUE ? 12 : 0;
}

unsigned conn_tls_client_addresses(const struct conn *c, struct buf *out)
{
    (void)c;
    unsigned n = 0;
    for (size_t at = 0; at < memory.identities_n; at += strlen(memory.identities + at) + 1) n++;
    buf_add(out, memory.identities, memory.identities_n);
    return n;
}

struct move {
    struct conn *from;
    uint32_t worker;
    conn_moved_fn fn;
    void *arg;
};

static void move_run(void *arg)
{
    struct move *m = arg;
    struct conn *from = m->from, *to = NULL;
    memory.conn = NULL;
    present = m->worker;
    if (memory.move_fails) {
        memory.over = true;
    } else {
        to = conn_new();
        buf_add_str(&to->in, buf_str(&from->in));
        to->paused = 1;
    }
    m->fn(m->arg, to);
    conn_free(from);
    free(m);
}

void conn_move(struct conn *c, uint32_t worker, conn_moved_fn fn, void *arg)
{
    MUST_HOLD(is_open(c) && c->wrote.len == 0);
    struct move *m = x_calloc(1, sizeof *m);
    *m = (struct move){c, worker, fn, arg};
    c->paused++;
    c->moving = true;
    later(move_run, m);
}

/* Not used here, but the library's would bring the rest of io with them. */
struct conn_listener *conn_listen(const char *address, uint16_t port, conn_accept_fn fn, void *arg, struct err *err)
{
    (void)address, (void)port, (void)fn, (void)arg;
    err_set(err, ERR_INTERNAL, "there are no listeners in memory");
    return NULL;
}
uint16_t conn_listener_port(const struct conn_listener *l) { (void)l; return 0; }
void conn_listener_close(struct conn_listener *l) { (void)l; }
struct tls_context *tls_ref(struct tls_context *t) { return t; }
void tls_unref(struct tls_context *t) { (void)t; }

/* ---- what the harness does ---- */

void memory_begin(void)
{
    buf_free(&memory.out);
    memory = (struct memory){.peer = "192.0.2.1:50000"};
    present = 0;
    clock_fake(now, now);
    if (wheel == NULL) wheel = wheel_new(now);
}

struct conn *memory_connect(void) { return conn_new(); }

void memory_input(const void *data, size_t n)
{
    if (memory.conn != NULL) buf_add(&memory.conn->in, data, n);
}

/* Offers what there is to read; false: there was nothing, or the reader is stopped. */
static bool offer(void)
{
    struct conn *c = memory.conn;
    if (c == NULL || memory.over || c->paused > 0 || c->handshake || c->in.len == 0) return false;
    size_t had = c->in.len;
    char *copy = x_malloc(had); /* of its own, so that reading past it shows */
    memcpy(copy, c->in.data, had);
    size_t used = c->ops->on_data(c->owner, copy, had);
    free(copy);
    MUST_HOLD(used <= had);
    if (c != memory.conn) return true;
    MUST_HOLD(memory.over || c->wrote.len == 0); /* nothing was left behind without conn_wrote() */
    if (!memory.over) MUST_HOLD(!c->handshake || used == had);
    buf_consume(&c->in, used);
    return used > 0;
}

static bool run_one(void)
{
    struct job *job = first;
    if (job == NULL) return false;
    first = job->next;
    if (first == NULL) last = &first;
    uint32_t before = present;
    present = job->worker;
    job->fn(job->arg);
    if (job->fn != move_run) present = before;
    free(job);
    return true;
}

void memory_turn(void)
{
    for (unsigned i = 0; run_one() || offer(); i++) MUST_HOLD(i < STEPS_MAX);
}

void memory_pass(uint64_t ms)
{
    for (uint64_t until = now + ms; now < until;) {
        now += until - now < 500 ? until - now : 500;
        clock_fake(now, now);
        wheel_advance(wheel, now);
        memory_turn();
    }
}

void memory_fin(void)
{
    struct conn *c = memory.conn;
    if (c == NULL || memory.over) return;
    if (c->moving) { /* nobody has it: the new owner is told that there is none */
        memory.move_fails = true;
        return;
    }
    memory.over = true;
    tell_closed(c);
}

void memory_end(void)
{
    memory_turn();
    MUST_HOLD(memory.conn == NULL && first == NULL);
    buf_free(&memory.out);
}
