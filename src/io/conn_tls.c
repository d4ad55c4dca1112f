/* TLS of a connection, through memory BIOs: bytes from the socket are put into one, records for the socket are taken from the other, and
 * OpenSSL never sees a file descriptor. Thus the whole TLS state is an SSL object that can go to another worker. */
#include "io/private.h"
#include "base/metric.h"
#include <assert.h>
#include <openssl/err.h>
#include <string.h>

static void trim_bio(BIO *bio)
{
    BUF_MEM *mem = NULL;
    BIO_get_mem_ptr(bio, &mem);
    if (mem == NULL || mem->max <= CONN_SMALL_BUF || BIO_pending(bio) > 0) return;
    BUF_MEM *small = BUF_MEM_new();
    if (small != NULL) BIO_set_mem_buf(bio, small, BIO_CLOSE); /* frees the old one */
}

/* Records OpenSSL has made, to wire. */
static void take_records(struct conn *c)
{
    BIO *bio = SSL_get_wbio(c->ssl);
    char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    if (n <= 0) return;
    buf_add(&c->wire, data, (size_t)n);
    (void)BIO_reset(bio);
    trim_bio(bio);
}

/* The session is beyond help: sends the alert OpenSSL has made, as far as the kernel takes it, and ends. */
static void tls_fail(struct conn *c, const char *what)
{
    char text[256];
    tls_error_text(c->ssl, text, sizeof text);
    take_records(c);
    if (!c->writing && c->wire.len > 0) {
        uv_buf_t b = uv_buf_init(c->wire.data, (unsigned)c->wire.len);
        (void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    }
    conn_fail(c, ERR_IO, "%s with %s failed: %s", what, c->peer, text);
}

/* Goes on with the handshake. False while it is not done, or when the connection is not to be read any more. */
static bool handshake(struct conn *c)
{
    if (c->tls_up) return true;
    ERR_clear_error();
    c->tls_begun = true;
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        c->tls_up = true;
        metric_inc(METRIC_TLS_HANDSHAKES);
        take_records(c);
        conn_touch(c);
        if (c->ops != NULL && c->ops->on_tls != NULL) c->ops->on_tls(c->owner);
        return c->state == CONN_OPEN && c->paused == 0;
    }
    int e = SSL_get_error(c->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return false;
    metric_inc(METRIC_TLS_FAILURES);
    tls_fail(c, "the TLS handshake");
    return false;
}

/* Decrypts into the worker's buffer until it is full or there is no more. Returns SSL_ERROR_NONE when it got full. */
static int decrypt(struct conn *c, char *plain, size_t *have)
{
    while (*have < WORKER_BUF_BYTES) {
        size_t got = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(c->ssl, plain + *have, WORKER_BUF_BYTES - *have, &got);
        if (rc != 1) return SSL_get_error(c->ssl, rc);
        *have += got;
    }
    return SSL_ERROR_NONE;
}

void conn_tls_pump(struct conn *c)
{
    char *plain = worker_plain_buf();
    while (c->state == CONN_OPEN && c->paused == 0 && handshake(c)) {
        size_t have = 0;
        int e = decrypt(c, plain, &have);
        if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_ZERO_RETURN) {
            tls_fail(c, "TLS");
            return;
        }
        if (have > 0) conn_offer(c, plain, have);
        if (e == SSL_ERROR_WANT_READ || c->state != CONN_OPEN) break;
        if (e == SSL_ERROR_ZERO_RETURN && c->paused == 0) { /* when paused it is seen again on resuming */
            c->peer_ended = true;
            conn_end(c);
        }
    }
    if (c->state == CONN_GONE) return;
    take_records(c);
    trim_bio(SSL_get_rbio(c->ssl));
    if (c->wire.len > 0) conn_touch(c);
}

void conn_tls_feed(struct conn *c, const char *data, size_t n)
{
    size_t written = 0;
    if (BIO_write_ex(SSL_get_rbio(c->ssl), data, n, &written) != 1 || written != n) {
        conn_fail(c, ERR_INTERNAL, "no memory for TLS input from %s", c->peer);
        return;
    }
    conn_tls_pump(c);
}

#define MARKS_MAX (CONN_ENCRYPT_BYTES / CONN_RECORD_BYTES + 2)

static struct conn_marks *marks_empty(void)
{
    static _Thread_local union {
        struct conn_marks marks;
        char room[sizeof(struct conn_marks) + MARKS_MAX * sizeof(struct conn_mark)];
    } made;
    made.marks.n = 0;
    return &made.marks;
}

/* What is encrypted leaves `out`; at most as much is moved as was written. */
static void forget_encrypted(struct conn *c)
{
    size_t done = c->out_done;
    if (done == c->out.len) {
        if (c->out.cap > CONN_SMALL_BUF) {
            buf_free(&c->out);
        } else {
            buf_reset(&c->out);
        }
    } else if (done > c->out.len / 2) {
        buf_consume(&c->out, done);
    } else {
        return;
    }
    c->out_gone += done;
    c->out_done = 0;
}

struct conn_marks *conn_tls_encrypt(struct conn *c)
{
    struct conn_marks *made = marks_empty();
    if (!c->tls_up) {
        if (!c->tls_server && !c->tls_begun && c->state == CONN_OPEN) (void)handshake(c); /* makes the ClientHello */
        if (c->state == CONN_GONE) return made;
        take_records(c);
        if (c->state == CONN_CLOSING) buf_free(&c->out); /* can never be encrypted any more */
        return made;
    }
    take_records(c);
    while (c->wire.len < CONN_ENCRYPT_BYTES && c->out_done < c->out.len) {
        size_t n = c->out.len - c->out_done;
        size_t written = 0;
        if (n > CONN_RECORD_BYTES) n = CONN_RECORD_BYTES;
        ERR_clear_error();
        if (SSL_write_ex(c->ssl, c->out.data + c->out_done, n, &written) != 1) {
            tls_fail(c, "TLS");
            return made;
        }
        c->out_done += written;
        take_records(c);
        assert(made->n < MARKS_MAX);
        made->marks[made->n++] = (struct conn_mark){.wire_end = c->wire.len, .plain_end = c->out_gone + c->out_done};
    }
    forget_encrypted(c);
    return made;
}

void conn_tls_bye(struct conn *c)
{
    c->tls_bye = true;
    if (!c->tls_up) return;
    ERR_clear_error();
    (void)SSL_shutdown(c->ssl); /* makes the alert; the peer's own is not waited for */
    take_records(c);
}

int conn_start_tls(struct conn *c, struct tls_context *ctx, bool server, const char *name, struct err *err)
{
    assert(c->worker == worker_id());
    if (c->ssl != NULL) return err_set(err, ERR_CONFLICT, "the connection to %s has TLS already", c->peer);
    if (c->state != CONN_OPEN && c->state != CONN_DIALING) return err_set(err, ERR_CONFLICT, "the connection to %s is closing", c->peer);
    if (!c->offering && c->in.len > 0) return err_set(err, ERR_INVALID, "%s sent plain bytes after asking for TLS", c->peer);
    SSL *ssl = tls_session_new(ctx, server, name, err);
    if (ssl == NULL) return -1;
    c->ssl = ssl;
    c->tls_server = server;
    c->tls_fresh = c->offering;
    c->wire = c->out; /* still plain text */
    c->out_gone += c->out.len;
    c->out = (struct buf){0};
    conn_touch(c);
    return 0;
}

bool conn_is_tls(const struct conn *c) { return c->ssl != NULL; }
const char *conn_tls_version(const struct conn *c) { return c->tls_up ? SSL_get_version(c->ssl) : NULL; }

bool conn_tls_exporter(const struct conn *c, unsigned char out[32])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    if (!c->tls_up || SSL_version(c->ssl) != TLS1_3_VERSION) return false;
    return SSL_export_keying_material(c->ssl, out, 32, label, sizeof label - 1, NULL, 0, 0) == 1; /* in 1.3 no context is an empty one */
}

/* RFC 5929: the first Finished message of the handshake: the client's, or the server's when a session was resumed. Without the extended
 * master secret (RFC 7627) it does not bind, so there is none. */
size_t conn_tls_unique(const struct conn *c, unsigned char *out, size_t max)
{
    if (!c->tls_up || SSL_version(c->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(c->ssl) != 1) return 0;
    bool ours = c->tls_server == (SSL_session_reused(c->ssl) != 0);
    unsigned char finished[EVP_MAX_MD_SIZE];
    size_t n = ours ? SSL_get_finished(c->ssl, finished, sizeof finished) : SSL_get_peer_finished(c->ssl, finished, sizeof finished);
    if (n == 0 || n > sizeof finished || n > max) return 0;
    memcpy(out, finished, n);
    return n;
}
