/* A thread outside the workers that waits for an answer: of the store at start, on an admin thread. */
#ifndef SIGNET_BASE_WAITER_H
#define SIGNET_BASE_WAITER_H
#include "base/err.h"
#include <pthread.h>
#include <stdbool.h>

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done, failed;
    struct err err;
};
#define WAITER_INIT {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER}
void waiter_answer(struct waiter *w, const struct err *err); /* from the callback, the last it does; err NULL: it went well */
void waiter_done(void *arg, const struct err *err); /* the same as a store_done_fn whose arg is the waiter */
must_check int waiter_wait(struct waiter *w, struct err *err); /* the answer's error */

#endif
