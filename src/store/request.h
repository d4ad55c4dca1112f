/* A request to the store, on its way through the queue. Private to src/store. */
#ifndef SIGNET_STORE_REQUEST_H
#define SIGNET_STORE_REQUEST_H
#include "base/list.h"
#include "store/backend.h"

struct store_request;
struct store_op { /* what a kind of request does; the table is in requests.c */
    const char *name;
    bool writes;
    /* On the store's thread, within a transaction when it writes. A read may be run again when the transaction it looked into was lost. */
    int (*run)(struct store_request *r, const struct store_backend *backend, struct err *err);
    void (*done)(struct store_request *r); /* calls the caller's callback, where he wants it */
    void (*release)(struct store_request *r); /* gives back what isn't in the arena; NULL: nothing */
};
/* Embedded at the start of each kind's own struct, which lies in the arena with all it points to. */
struct store_request {
    struct store_request *next;
    const struct store_op *op;
    struct arena *arena;
    uint32_t worker; /* who asked; WORKER_NONE: another thread */
    bool failed;
    struct err err; /* when failed */
};
/* A zeroed request of the given struct, in an arena of its own. */
#define REQUEST_NEW(type, its_op) CONTAINER_OF(store_request_new(sizeof(struct type), (its_op)), struct type, r)
#define REQUEST_OF(request, type) CONTAINER_OF((request), struct type, r)
struct store_request *store_request_new(size_t size, const struct store_op *op);
/* Queues it (store.c); it is freed after its done(). */
void store_request_submit(struct store_request *take);
void store_request_free(struct store_request *r);
static inline const struct err *store_request_err(const struct store_request *r) { return r->failed ? &r->err : NULL; }

#endif
