/* Offloading: one uv_work_t per job. The pool is libuv's own (4 threads unless UV_THREADPOOL_SIZE says otherwise) and is shared by all workers; a job
 * that waits there costs its worker nothing. */
#include "io/offload.h"
#include "base/buf.h"
#include "base/log.h"
#include "io/worker.h"
#include <stdlib.h>
#include <uv.h>

struct offload {
    uv_work_t request;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void offload_work(uv_work_t *request)
{
    struct offload *o = request->data;
    o->work(o->arg);
}

static void offload_done(uv_work_t *request, int status)
{
    struct offload *o = request->data;
    (void)status; /* nothing is ever cancelled */
    o->done(o->arg);
    free(o);
}

void worker_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct offload *o = x_calloc(1, sizeof *o);
    o->request.data = o;
    o->work = work;
    o->done = done;
    o->arg = arg;
    int rc = uv_queue_work(worker_loop(), &o->request, offload_work, offload_done);
    if (rc != 0) { /* only for bad arguments */
        log_error("io", "the thread pool takes no work: %s", uv_strerror(rc));
        abort();
    }
}
