/* One timing wheel per worker: adding, moving and cancelling a timer are O(1) and allocate nothing. No libuv inside. */
#ifndef SIGNET_IO_WHEEL_H
#define SIGNET_IO_WHEEL_H
#include "base/list.h"
#include <stdint.h>

struct wheel;
struct wheel_timer { /* embedded in its owner; zero-initialised is "not set" */
    struct list node;
    uint64_t due_ms;
    void (*fn)(struct wheel_timer *timer); /* set by the owner; runs with the timer already off the wheel */
};
struct wheel *wheel_new(uint64_t now_ms);
void wheel_free(struct wheel *w);
void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms); /* (re)schedules; due in the past fires at the next advance */
void wheel_cancel(struct wheel *w, struct wheel_timer *t); /* no-op when not set */
void wheel_advance(struct wheel *w, uint64_t now_ms); /* fires what is due, in order of due time (10 ms grain); never early */
uint64_t wheel_next_ms(const struct wheel *w); /* a time not later than the next due one; UINT64_MAX when empty */

#endif
