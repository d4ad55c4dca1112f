/* What the files of io share with each other and with nobody else. */
#ifndef SIGNET_IO_PRIVATE_H
#define SIGNET_IO_PRIVATE_H
#include "io/conn.h"
#include "io/worker.h"
#include <openssl/ssl.h>
#include <uv.h>

/* One buffer for reading and one for decrypted bytes per worker: nothing is kept in them from one read to the next. */
#define WORKER_BUF_BYTES ((size_t)65536)
char *worker_read_buf(void);
char *worker_plain_buf(void);

enum {
    CONN_KEPT_MAX = 65536, /* unused input while reading goes on */
    CONN_SMALL_BUF = 4096, /* larger buffers are given back once empty: most connections are idle */
    CONN_CLOSE_MS = 5000, /* to flush after conn_close() */
    CONN_LINGER_MS = 1000, /* for the peer to answer our FIN, so that closing does not become a reset that destroys our last bytes */
    CONN_MOVE_MS = 30000, /* to flush before a move */
    CONN_DIAL_MS = 10000, /* to resolve, and to connect to each address */
    CONN_ENCRYPT_BYTES = 262144, /* turned into TLS records ahead of the kernel */
    CONN_RECORD_BYTES = 16384, /* plain text of one record: the most there may be */
};

enum conn_state {
    CONN_DIALING,
    CONN_OPEN,
    CONN_CLOSING, /* flushing; input is dropped */
    CONN_SHUT,    /* flushed, FIN under way */
    CONN_LINGER,  /* the owner has been told; waiting for the peer's FIN */
    CONN_MOVING,  /* flushing, then to another worker */
    CONN_GONE,    /* the handle is closing */
};

struct dial;
struct conn_move;

/* Which plain-text bytes are in records that end there, of what libuv is writing: a peer can use a record only when it has all of it. */
struct conn_mark {
    size_t wire_end; /* bytes of tx */
    uint64_t plain_end;
};
struct conn_marks {
    unsigned n;
    struct conn_mark marks[];
};

struct conn {
    uv_tcp_t tcp;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;
    unsigned state; /* enum conn_state */
    uint32_t worker;
    const struct conn_ops *ops; /* NULL: nobody is to be told anything any more */
    void *owner;
    unsigned paused;
    bool reading;
    bool offering; /* inside on_data */
    bool offer_due; /* resumed: kept bytes are offered and reading restarts at the end of the turn */
    bool writing; /* tx is with libuv */
    bool over; /* pending went above the high-water mark */
    bool peer_done; /* the peer's FIN was seen */
    bool peer_ended; /* the peer ended it, properly and first: that is the reason, whatever becomes of our output */
    bool finished; /* all callbacks are over; only the queued turn hook keeps the memory */
    bool tls_up; /* handshake done */
    bool tls_server;
    bool tls_begun; /* the client's first flight was made */
    bool tls_fresh; /* TLS was started inside the running on_data */
    bool tls_bye; /* close_notify was made */
    struct buf in; /* plain-text bytes the owner has not used yet */
    struct buf out; /* plain-text output; the first out_done bytes are encrypted already */
    size_t out_done;
    struct buf junk; /* what owners still write when it is too late */
    struct buf wire; /* bytes for the socket: TLS records, and plain text written before TLS began */
    struct buf tx; /* what libuv is writing */
    struct conn_marks *marks; /* of tx, with TLS; NULL: it holds nothing the owner wrote */
    uint64_t out_gone; /* plain-text bytes that have left `out` since the connection was made */
    uint64_t taken; /* of all the owner wrote, the bytes that the kernel has, but for those of tx */
    size_t out_high;
    size_t out_max;
    SSL *ssl;
    struct turn_hook hook;
    struct wheel_timer timer;
    struct dial *dial; /* while dialing */
    struct conn_move *move; /* while moving */
    struct err *why; /* why it is GONE; NULL: properly */
    char peer[64];
};

/* conn.c */
struct conn *conn_new(enum conn_state state); /* handle initialised, without a socket; owner none; conn_drop() ends it */
bool conn_to(struct conn *c, enum conn_state to);
void conn_name_peer(struct conn *c);
void conn_touch(struct conn *c); /* the turn hook will look at it */
void conn_read_off(struct conn *c);
void conn_read_on(struct conn *c); /* reads unless paused or at the end */
void conn_offer(struct conn *c, const char *data, size_t n); /* n 0: only what is kept */
void conn_drop(struct conn *c, const struct err *why); /* closes the handle now; the owner hears from the close callback */
void conn_fail(struct conn *c, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void conn_end(struct conn *c); /* flush, close_notify, FIN: what conn_close() does */
void conn_handle_closed(uv_handle_t *handle);

/* conn_tls.c */
void conn_tls_feed(struct conn *c, const char *data, size_t n); /* bytes from the socket */
void conn_tls_pump(struct conn *c); /* handshake and decryption as far as the bytes go, unless paused */
/* out to wire, at most CONN_ENCRYPT_BYTES ahead. Returns what was made, borrowed until the next call; wire_end counts within wire. */
struct conn_marks *conn_tls_encrypt(struct conn *c);
void conn_tls_bye(struct conn *c); /* close_notify to wire, once */

/* conn_move.c */
void conn_move_now(struct conn *c); /* everything is flushed */
void conn_move_lost(struct conn *c); /* the connection died before it could go */

/* dial.c */
void dial_next(struct conn *c); /* the handle of the last attempt is closed */
void dial_timeout(struct conn *c);
void dial_free(struct conn *c);

/* tls.c */
SSL *tls_session_new(struct tls_context *ctx, bool server, const char *name, struct err *err);
/* The text of the failure just seen on this session; empties OpenSSL's error queue. */
void tls_error_text(const SSL *ssl, char *out, size_t size);
must_check int tls_check_peer(const struct tls_context *t, const SSL *ssl, const char *name, struct err *err);

/* errno as text, thread-safe. */
const char *io_strerror(int errnum, char *buf, size_t size);

#endif
