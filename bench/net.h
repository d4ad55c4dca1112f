/* The load generator's own connections: one epoll loop, plain TCP and TLS, output gathered until the end of the turn or written stanza by stanza.
 * It shares nothing with the server under test (src/io), so that a flaw there cannot hide itself. One thread. */
#ifndef SIGNET_BENCH_NET_H
#define SIGNET_BENCH_NET_H
#include "base/buf.h"
#include "base/err.h"

struct net_conn;
struct net_ops {
    void (*on_open)(void *owner); /* connected; with TLS: its handshake is done */
    size_t (*on_data)(void *owner, const char *data, size_t n); /* returns what was used; the rest is offered again with more */
    void (*on_closed)(void *owner, const char *why); /* the last call, never from inside a call of the owner's */
};
must_check int net_start(const char *host, uint16_t port, struct err *err); /* where all connections go */
void net_stop(void);
struct net_conn *net_open(const struct net_ops *ops, void *owner);
void net_start_tls(struct net_conn *c, const char *name); /* the server's certificate is not verified; on_open comes again */
struct buf *net_out(struct net_conn *c); /* to append to; goes out at the end of the turn */
void net_touch(struct net_conn *c); /* after appending */
void net_flush(struct net_conn *c); /* now: a packet of its own */
void net_close(struct net_conn *c); /* at the end of this turn, after writing; no further callback */
/* Waits for at most so long, then calls back. */
void net_turn(uint64_t wait_ns);
uint64_t net_now_ns(void);

#endif
