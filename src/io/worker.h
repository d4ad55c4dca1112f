/* Worker threads: one libuv loop, one mailbox, one timing wheel each. Share nothing; send messages. */
#ifndef SIGNET_IO_WORKER_H
#define SIGNET_IO_WORKER_H
#include "base/err.h"
#include "io/wheel.h"
#include <stdatomic.h>
#include <stdbool.h>

#define WORKER_NONE UINT32_MAX
struct uv_loop_s;

/* A mailbox message, embedded at the start of a larger malloc'ed struct. run() runs on the receiver and owns the message. */
struct msg {
    struct msg *next;
    void (*run)(struct msg *msg);
};
/* Starts n workers (0: one per core); start_fn runs on each before its loop turns. Returns when all run. */
must_check int workers_start(unsigned n, void (*start_fn)(unsigned worker), struct err *err);
/* Runs stop_fn on each worker, then stops loops once all handles are closed, and joins the threads. */
void workers_stop(void (*stop_fn)(unsigned worker));
unsigned worker_count(void);
uint32_t worker_id(void); /* of the calling thread; WORKER_NONE on others */
struct uv_loop_s *worker_loop(void); /* workers only, as are the next four */
struct wheel *worker_wheel(void);
uint64_t worker_now_ms(void); /* loop time of this turn, same clock as clock_ms() */
static inline void worker_timer(struct wheel_timer *t, uint64_t after_ms) { wheel_set(worker_wheel(), t, worker_now_ms() + after_ms); }
static inline void worker_timer_cancel(struct wheel_timer *t) { wheel_cancel(worker_wheel(), t); }

/* FIFO per pair of threads; from any thread, to itself too (runs later this or next turn). Wake-ups are batched. */
void worker_post(uint32_t to, struct msg *take);
/* Calls fn(worker, arg) on every worker and then done(arg) on the calling worker, or blocks when called from a non-worker thread. */
void worker_each(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg);
/* From a non-worker thread, and blocks no longer than wait_ms. 0: all have run fn, and done(arg) was called. Else so many have not, being stuck: they will, and
 * the last of them calls done(arg). */
must_check unsigned worker_each_within(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg, uint64_t wait_ms);

/* Runs once at the end of this loop turn, before the loop blocks; registering twice in a turn is a no-op. */
struct turn_hook {
    struct turn_hook *next;
    bool queued;
    void (*fn)(struct turn_hook *hook);
};
void worker_at_turn_end(struct turn_hook *hook);

struct worker_stats { uint64_t mailbox_depth, loop_lag_us_max, turns, messages; };
void worker_stats_read(uint32_t worker, struct worker_stats *out); /* any thread; relaxed atomics */

#endif
