/* A network of one connection and a machine of one thread, in memory: linked in place of src/io's connections and workers (every function of theirs that client
 * streams call is defined here, so the library's are not). Nothing runs by itself: later() keeps what io would run from its loop, and memory_turn() runs it. */
#ifndef SIGNET_TESTS_MEMORY_IO_H
#define SIGNET_TESTS_MEMORY_IO_H
#include "base/buf.h"
#include "io/conn.h"
#include "io/worker.h"

enum memory_binding { MEMORY_NO_BINDING, MEMORY_EXPORTER, MEMORY_UNIQUE };
struct memory { /* what the present input wants of its network; reset by memory_begin() */
    const char *peer;
    enum memory_binding binding;
    const char *identities; /* of a client certificate, as conn_tls_client_addresses(); NULL: none */
    size_t identities_n;
    bool tls_fails, move_fails;
    /* what came of it */
    struct conn *conn; /* NULL: gone */
    struct buf out; /* all that was written, in the order of the wire */
    bool tls; /* the handshake is done */
    bool over; /* the owner closed or aborted it, or was told of its end */
};
extern struct memory memory;

void memory_begin(void);
struct conn *memory_connect(void); /* as an accepted connection; at most one at a time */
void memory_input(const void *data, size_t n);
void memory_fin(void); /* the peer has gone */
void memory_turn(void); /* what is under way comes to its end */
void memory_pass(uint64_t ms); /* time goes by */
void memory_end(void);

/* fn(arg) runs in a later turn, on the worker that asked. */
void later(void (*fn)(void *arg), void *arg);

#endif
