/* The loop: what src/io/worker.h promises, for one worker on the only thread there is. Time stands still until the script lets it pass. */
#include "base/clock.h"
#include "io/offload.h"
#include "io/worker.h"
#include "world.h"
#include <sys/random.h>

#define TURNS_MAX 20000 /* a script that needs more goes round in circles */
#define START_MS  1000000
#define START_WALL_MS 1795000000000

static struct {
    struct wheel *wheel;
    uint64_t now_ms, random;
    struct msg *first, **last;
    struct turn_hook *hooks;
} loop = {.last = &loop.first};

/* Everything random is the same in each run: keys of hash tables, tokens, ids. */
ssize_t getrandom(void *out, size_t n, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < n; i++) {
        loop.random ^= loop.random << 13, loop.random ^= loop.random >> 7, loop.random ^= loop.random << 17;
        ((unsigned char *)out)[i] = (unsigned char)(loop.random >> 24);
    }
    return (ssize_t)n;
}

uint32_t worker_id(void) { return 0; }
unsigned worker_count(void) { return 1; }
struct wheel *worker_wheel(void) { return loop.wheel; }
uint64_t worker_now_ms(void) { return loop.now_ms; }

void worker_post(uint32_t to, struct msg *take)
{
    MUST_HOLD(to == 0);
    take->next = NULL;
    *loop.last = take;
    loop.last = &take->next;
}

void worker_at_turn_end(struct turn_hook *hook)
{
    if (hook->queued) return;
    hook->queued = true;
    hook->next = loop.hooks;
    loop.hooks = hook;
}

struct call {
    struct msg msg;
    void (*fn)(void *arg);
    void *arg;
};

static void call_run(struct msg *msg)
{
    struct call call = *CONTAINER_OF(msg, struct call, msg);
    free(msg);
    call.fn(call.arg);
}

void loop_post(void (*fn)(void *arg), void *arg)
{
    struct call *call = x_calloc(1, sizeof *call);
    *call = (struct call){.msg.run = call_run, .fn = fn, .arg = arg};
    worker_post(0, &call->msg);
}

struct each {
    void (*fn)(uint32_t worker, void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void each_run(void *arg)
{
    struct each *e = arg;
    e->fn(0, e->arg);
    if (e->done != NULL) loop_post(e->done, e->arg);
    free(e);
}

void worker_each(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg)
{
    struct each *e = x_malloc(sizeof *e);
    *e = (struct each){fn, done, arg};
    loop_post(each_run, e);
}

unsigned worker_each_within(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg, uint64_t wait_ms)
{
    (void)fn, (void)done, (void)arg, (void)wait_ms;
    MUST_HOLD(false); /* for other threads than workers, and there are none */
    return 0;
}

void worker_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    loop_post(work, arg);
    loop_post(done, arg);
}

bool loop_turn(void)
{
    bool any = loop.first != NULL;
    struct msg **end = loop.last; /* what is posted meanwhile is for the next turn */
    while (loop.first != NULL) {
        struct msg *msg = loop.first;
        bool last = &msg->next == end;
        loop.first = msg->next;
        if (loop.first == NULL) loop.last = &loop.first;
        msg->run(msg);
        if (last) break;
    }
    while (loop.hooks != NULL) {
        struct turn_hook *hook = loop.hooks;
        loop.hooks = hook->next;
        hook->queued = false;
        hook->fn(hook);
        any = true;
    }
    return any;
}

void loop_settle(void)
{
    for (unsigned turns = 0; loop_turn(); turns++) MUST_HOLD(turns < TURNS_MAX);
}

void loop_pass(uint64_t ms)
{
    uint64_t until = loop.now_ms + ms, end = until;
    for (;;) {
        uint64_t next = wheel_next_ms(loop.wheel);
        if (next < loop.now_ms + 10) next = loop.now_ms + 10;
        until = next < end ? next : end;
        loop.now_ms = until;
        clock_fake(until, START_WALL_MS + until - START_MS);
        wheel_advance(loop.wheel, until);
        loop_settle();
        if (until >= end) return;
    }
}

/* Each script begins at the same moment, with the same randomness. */
void loop_begin(void)
{
    if (loop.wheel != NULL) MUST_HOLD(wheel_next_ms(loop.wheel) == UINT64_MAX);
    wheel_free(loop.wheel);
    loop.random = 88172645463325252U;
    loop.now_ms = START_MS;
    clock_fake(START_MS, START_WALL_MS);
    loop.wheel = wheel_new(START_MS);
}
