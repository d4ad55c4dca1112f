/* Shared by the tests of connections: workers, certificates, and a pair of ends over loopback. */
#ifndef SIGNET_TESTS_IO_FIXTURE_H
#define SIGNET_TESTS_IO_FIXTURE_H
#include "unit.h"

#include "base/buf.h"
#include "io/conn.h"
#include "io/worker.h"
#include <stdatomic.h>
#include <unistd.h>

static char io_dir[64], io_cert[128], io_key[128];

/* A certificate for localhost, trusted by the client context made with it. */
static inline void io_make_cert(void)
{
    static const char *const domains[] = {"localhost", "b\xc3\xbc" "cher.example"};
    struct err err;
    bool made;
    snprintf(io_dir, sizeof io_dir, "/tmp/signet-io-XXXXXX");
    assert_non_null(mkdtemp(io_dir));
    snprintf(io_cert, sizeof io_cert, "%s/cert.pem", io_dir);
    snprintf(io_key, sizeof io_key, "%s/key.pem", io_dir);
    if (tls_self_signed(io_cert, io_key, domains, 2, &made, &err) != 0) fail_msg("%s", err.text);
    assert_true(made);
}

static inline void io_drop_cert(void)
{
    unlink(io_cert);
    unlink(io_key);
    rmdir(io_dir);
}

/* Runs fn(arg) on a worker and waits for it. */
struct io_call {
    struct msg msg;
    void (*fn)(void *arg);
    void *arg;
    _Atomic int *done;
};
static inline void io_call_run(struct msg *msg)
{
    struct io_call *m = (struct io_call *)msg;
    m->fn(m->arg);
    atomic_store(m->done, 1);
    free(m);
}
static inline void io_call(uint32_t worker, void (*fn)(void *arg), void *arg)
{
    _Atomic int done = 0;
    struct io_call *m = x_calloc(1, sizeof *m);
    m->msg.run = io_call_run;
    m->fn = fn;
    m->arg = arg;
    m->done = &done;
    worker_post(worker, &m->msg);
    while (!atomic_load(&done)) usleep(200);
}

static inline void io_wait(_Atomic int *what, int n)
{
    for (int i = 0; i < 30000 && atomic_load(what) < n; i++) usleep(1000);
    assert_true(atomic_load(what) >= n);
}

/* The bytes both sides know: position i of a stream has this value. */
static inline char io_byte(uint64_t i) { return (char)((i * 2654435761u) >> 13); }

#endif
