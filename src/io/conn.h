/* A byte connection: TCP, TLS when started. Belongs to one worker; may move to another.
 * Output is gathered and written once per loop turn. Bounded: see conn_set_limits. */
#ifndef SIGNET_IO_CONN_H
#define SIGNET_IO_CONN_H
#include "base/buf.h"
#include "base/err.h"
#include "io/tls.h"
#include <stdint.h>
#include <sys/socket.h>

struct conn;
struct conn_ops {
    /* Bytes came. Returns how many were used; the rest is kept and offered again with the next bytes or on conn_resume().
     * May pause, write, start TLS, move or close the connection. While reading goes on, all must be used or kept < 64 KiB. */
    size_t (*on_data)(void *owner, const char *data, size_t n);
    void (*on_connected)(void *owner); /* outgoing only; may be NULL */
    void (*on_tls)(void *owner); /* TLS handshake done; may be NULL */
    void (*on_drain)(void *owner); /* output fell below half its high-water mark after conn_over() was true; may be NULL */
    /* The peer sent FIN (why NULL), the connection failed, or conn_close() was called. Last callback; the conn is freed after it returns.
     * Never runs inside a call made by the owner, except from conn_close() itself: it always comes from the loop. */
    void (*on_closed)(void *owner, const struct err *why);
};
struct conn_listener;
typedef void (*conn_accept_fn)(void *arg, struct conn *conn); /* on the accepting worker; must call conn_set_owner() */

/* Listens on this worker's loop with SO_REUSEPORT. port 0: any free one, told by listener_port(). address: "127.0.0.1", "::", "[::1]". */
must_check struct conn_listener *conn_listen(const char *address, uint16_t port, conn_accept_fn fn, void *arg, struct err *err);
uint16_t conn_listener_port(const struct conn_listener *l);
void conn_listener_close(struct conn_listener *l);

/* Dials host:port (name or address, getaddrinfo on the pool, each address in turn). Result by on_connected or on_closed.
 * Logs the spec's "Connecting on fd N to host 'H', port P" and "Unable to connect to host 'H', port P:(errno) text" under log_area. */
struct conn *conn_dial(const char *host, uint16_t port, const char *log_area, const struct conn_ops *ops, void *owner);
void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner);
void conn_set_limits(struct conn *c, size_t out_high_bytes, size_t out_max_bytes); /* beyond max: closed with ERR_LIMIT */

/* Cuts the connection when the peer has not acknowledged, or not taken, what was sent for so long; 0: as the system does. */
void conn_set_peer_timeout(struct conn *c, unsigned ms);

void conn_write(struct conn *c, const void *p, size_t n); /* copies; ignored when closing */
struct buf *conn_out(struct conn *c); /* the plain-text output buffer, to append to directly; then call conn_wrote() */
void conn_wrote(struct conn *c); /* schedules the write at the end of this turn */
size_t conn_pending(const struct conn *c); /* bytes not yet taken by the kernel */
/* Positions in the stream of all plain-text bytes the owner wrote: where it stands (UINT64_MAX: what is written is dropped), and up to where the kernel has
 * them. With TLS, only whole records count. The second may be asked until on_closed returns. When writing failed, it is at least so much. */
uint64_t conn_written(const struct conn *c);
uint64_t conn_taken(const struct conn *c);
void conn_flush(struct conn *c); /* writes now, not at the end of this turn, what the kernel takes */
bool conn_over(const struct conn *c); /* more pending than the high-water mark */
void conn_pause(struct conn *c); /* stop offering data; counts: each pause needs a resume */
void conn_resume(struct conn *c); /* offers kept bytes (from the loop, never before return) and reads on */
void conn_close(struct conn *c); /* flushes what is pending (at most 5 s), sends TLS close_notify and FIN, then on_closed with why NULL */
void conn_abort(struct conn *c, const struct err *why); /* at once, RST if unsent; on_closed comes from the loop */

/* TLS begins with the next byte. Kept plain-text bytes must be none (the caller refuses injected ones). name: on the client side for SNI and
 * verification, on the server side the domain whose certificate is shown unless SNI names another; may be NULL there. */
must_check int conn_start_tls(struct conn *c, struct tls_context *ctx, bool server, const char *name, struct err *err);
bool conn_is_tls(const struct conn *c);
/* RFC 9266 "EXPORTER-Channel-Binding" 32 bytes; false when not TLS 1.3 (use conn_tls_unique then). */
bool conn_tls_exporter(const struct conn *c, unsigned char out[32]);
size_t conn_tls_unique(const struct conn *c, unsigned char *out, size_t max); /* 0: none */
/* Adds the addresses a verified client certificate names, each with a NUL behind it: XMPP addresses (id-on-xmppAddr), then e-mail addresses. Returns how many. */
unsigned conn_tls_client_addresses(const struct conn *c, struct buf *out);
/* Is the certificate of this client issued under what a tls_client_new() trusts, and for this name (NULL: any)? For listeners of tls_server_ask_clients(t, NULL). */
must_check int conn_tls_check_client(const struct conn *c, const struct tls_context *authorities, const char *name, struct err *err);
const char *conn_tls_version(const struct conn *c); /* "TLSv1.3" or NULL */
const char *conn_peer(const struct conn *c); /* "192.0.2.1:52110", "[2001:db8::1]:5222" */

/* Hand-over: reading stops, output is flushed, the fd is dup'ed to the other loop; TLS state and unread bytes travel along. fn runs on the target
 * worker with the new conn (paused once; set owner, then conn_resume) or with NULL when the connection died meanwhile; the old owner gets no callback
 * any more. Moving to the same worker works too. */
typedef void (*conn_moved_fn)(void *arg, struct conn *conn);
void conn_move(struct conn *c, uint32_t worker, conn_moved_fn fn, void *arg);

#endif
