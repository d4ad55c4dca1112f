/* The condition variable of those who wait for an answer. */
#include "base/waiter.h"

void waiter_answer(struct waiter *w, const struct err *err)
{
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->failed = err != NULL;
    if (err != NULL) w->err = *err;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void waiter_done(void *arg, const struct err *err) { waiter_answer(arg, err); }

int waiter_wait(struct waiter *w, struct err *err)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done) pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
    if (!w->failed) return 0;
    *err = w->err;
    return -1;
}
