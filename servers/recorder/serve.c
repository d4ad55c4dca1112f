/* Recording. The library's thread puts events into a queue; one writer thread takes all that are there (up to --batch), stores them in one
 * transaction, and only when COMMIT has returned (synchronous=FULL: on disk) answers PASS to each. While it waits for the disk the next batch
 * gathers, so the cost of the disk's flush is shared by as many events as came meanwhile, and a lone event waits for nobody. When the archive cannot
 * be written every event is answered with an error: what Signet does then (bounce or go on) is the profile's Handling. The queue is bounded by
 * libsignet's limits on events under way. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "archive.h"
#include "redact.h"
#include "serve.h"

#define AREA "recorder"

struct record {
    struct signet_event *event;
    uint64_t received_ms;
    const char *passed_xml, *passed_body; /* in the event's own memory */
    struct record *next;
};
struct serve {
    const struct options *o;
    struct signet_server *server;
    struct archive *archive; /* NULL: could not be reopened yet */
    struct redact *redact;
    pthread_t writer;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct record *first, **last; /* the queue */
    bool stopping;
    bool failing; /* the last transaction failed: said once in the log, not for every batch */
    uint64_t stored, known, failed, lost, transactions, largest;
};

/* ---- events, on the library's thread ---- */

static void on_event(struct signet_event *event, void *arg)
{
    struct serve *s = arg;
    struct record *r = x_calloc(1, sizeof(*r));
    r->event = event;
    r->received_ms = clock_wall_ms();
    pthread_mutex_lock(&s->mutex);
    bool was_empty = s->first == NULL;
    *s->last = r;
    s->last = &r->next;
    if (was_empty) pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->mutex);
}

static void on_log(enum signet_log_level level, const char *text, void *arg)
{
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
    (void)arg;
    log_at(levels[level], "link", "%s", text);
}

/* ---- the writer ---- */

static struct record *take_batch(struct serve *s)
{
    pthread_mutex_lock(&s->mutex);
    while (s->first == NULL && !s->stopping) pthread_cond_wait(&s->more, &s->mutex);
    struct record *batch = s->first, *end = NULL;
    int64_t n = 0;
    for (struct record *r = batch; r != NULL && n < s->o->batch; r = r->next, n++) end = r;
    if (end != NULL) {
        s->first = end->next;
        end->next = NULL;
    }
    if (s->first == NULL) s->last = &s->first;
    pthread_mutex_unlock(&s->mutex);
    if ((uint64_t)n > s->largest) s->largest = (uint64_t)n;
    return batch;
}

static void answer_error(struct serve *s, struct signet_event *e, const char *condition)
{
    if (e->fire_and_forget)
        s->lost++;
    else
        s->failed++;
    (void)signet_refuse(e, condition, "the recorder could not record this; it goes no further");
}

static void fail_batch(struct serve *s, struct record *batch, const struct err *err)
{
    bool may_pass = s->archive != NULL && archive_out_of_space(s->archive);
    if (!s->failing) log_error(AREA, "cannot record, answering errors until it works again: %s", err->text);
    s->failing = true;
    for (struct record *r = batch, *next; r != NULL; r = next) {
        next = r->next;
        if (r->event != NULL) answer_error(s, r->event, may_pass ? "resource-constraint" : "internal-server-error");
        free(r);
    }
    if (s->archive == NULL) return;
    archive_rollback(s->archive);
    if (may_pass) return;
    archive_close(s->archive); /* removed, broken, unreadable: begin with a fresh look at the file */
    s->archive = NULL;
}

/* True: the whole batch is on disk, but for rows that were refused and answered. */
static bool store_batch(struct serve *s, struct record *batch, struct err *err)
{
    uint64_t stored = 0, known = 0;
    if (s->archive == NULL && archive_open(&s->archive, s->o->database, err) < 0) return false;
    if (archive_begin(s->archive, err) < 0) return false;
    for (struct record *r = batch; r != NULL; r = r->next) {
        if (redact_event(s->redact, r->event, &r->passed_body)) r->passed_xml = signet_stanza_xml(r->event);
        switch (archive_add(s->archive, r->event, r->passed_xml, r->passed_body, r->received_ms, err)) {
        case ARCHIVE_STORED:
            stored++;
            break;
        case ARCHIVE_KNOWN:
            known++;
            break;
        case ARCHIVE_REFUSED:
            log_error(AREA, "event %s: %s", r->event->id, err->text);
            answer_error(s, r->event, "internal-server-error");
            r->event = NULL;
            break;
        case ARCHIVE_FAILED:
            return false;
        }
    }
    if (archive_commit(s->archive, err) < 0) return false;
    s->stored += stored;
    s->known += known;
    s->transactions++;
    return true;
}

static void answer_batch(struct serve *s, struct record *batch)
{
    if (s->failing) log_notice(AREA, "recording works again");
    s->failing = false;
    for (struct record *r = batch, *next; r != NULL; r = next) {
        next = r->next;
        if (r->event != NULL && r->passed_xml != NULL)
            (void)signet_pass_stanza(r->event, r->passed_xml);
        else if (r->event != NULL)
            (void)signet_pass(r->event);
        free(r);
    }
}

static void *writer_main(void *arg)
{
    struct serve *s = arg;
    struct record *batch;
    log_set_thread("writer");
    while ((batch = take_batch(s)) != NULL) {
        struct err err = {0};
        if (store_batch(s, batch, &err))
            answer_batch(s, batch);
        else
            fail_batch(s, batch, &err);
    }
    return NULL;
}

/* ---- starting and stopping ---- */

static int set_up_server(struct serve *s, struct err *err)
{
    const struct options *o = s->o;
    struct signet_server *server = s->server;
    struct signet_tls listen_tls = {.certificate_file = o->tls_certificate, .key_file = o->tls_key};
    struct signet_tls dial_tls = {.ca_file = o->tls_ca, .host = o->tls_host};
    bool ok = signet_on_event(server, NULL, on_event, s) == 0;
    signet_on_log(server, on_log, s);
    for (unsigned i = 0; ok && i < o->n_components; i++) ok = signet_component(server, o->components[i].name, o->components[i].password) == 0;
    for (unsigned i = 0; ok && i < o->listen.count; i++)
        ok = signet_listen(server, o->listen.items[i], o->tls_certificate != NULL ? &listen_tls : NULL) == 0;
    for (unsigned i = 0; ok && i < o->connect.count; i++) {
        for (unsigned j = 0; ok && j < o->n_components; j++)
            ok = signet_dial(server, o->connect.items[i], o->components[j].name, o->tls_ca != NULL || o->tls_host != NULL ? &dial_tls : NULL) == 0;
    }
    return ok && signet_start(server) == 0 ? 0 : err_set(err, ERR_INVALID, "%s", signet_error(server));
}

static void wait_for_stop(struct serve *s, const sigset_t *set)
{
    int sig = 0;
    for (unsigned i = 0; i < s->o->listen.count; i++) {
        log_notice(AREA, "recording to %s; nodes dial %s (port %u)", s->o->database, s->o->listen.items[i], signet_port(s->server, i));
    }
    for (unsigned i = 0; i < s->o->connect.count; i++) log_notice(AREA, "recording to %s; dialling %s", s->o->database, s->o->connect.items[i]);
    sd_notifyf(0, "READY=1\nSTATUS=recording to %s", s->o->database);
    while (sigwait(set, &sig) == 0 && sig == SIGHUP) {
        struct err err;
        if (log_reopen(&err) < 0) log_error(AREA, "%s", err.text);
    }
    log_notice(AREA, "stopping: %s", strsignal(sig));
    sd_notify(0, "STOPPING=1");
}

static void stop_writer(struct serve *s)
{
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->writer, NULL);
}

/* The signals are blocked before any thread is made, so that only sigwait gets them. */
static int run(struct serve *s, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the archive like a full disk, not our end */
    signal(SIGPIPE, SIG_IGN);
    int rc = pthread_create(&s->writer, NULL, writer_main, s);
    if (rc != 0) return err_set(err, ERR_INTERNAL, "cannot start a thread: %s", strerror(rc));
    rc = set_up_server(s, err);
    if (rc == 0) {
        wait_for_stop(s, &set);
        (void)signet_stop(s->server, (unsigned)s->o->grace_ms);
    }
    stop_writer(s); /* after what is queued is stored, answered or not */
    if (rc == 0)    /* the signals stay blocked: asked twice to stop, it has stopped */
        log_notice(
            AREA, "recorded %llu events in %llu transactions (largest %llu); %llu sent again, %llu answered with an error, %llu fire-and-forget lost",
            (unsigned long long)s->stored, (unsigned long long)s->transactions, (unsigned long long)s->largest, (unsigned long long)s->known,
            (unsigned long long)(s->failed), (unsigned long long)s->lost);
    return rc;
}

int serve_run(const struct options *o, struct err *err)
{
    struct serve s = {.o = o, .mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    s.last = &s.first;
    int level = o->log_level != NULL ? log_level_parse(o->log_level) : LOG_LEVEL_INFO;
    if (level < 0) return err_set(err, ERR_INVALID, "log-level: '%s' is none of error, warn, notice, info, debug", o->log_level);
    if (log_start((enum log_level)level, o->log_format != NULL ? o->log_format : "text", o->log_target != NULL ? o->log_target : "stderr", err) < 0)
        return -1;
    int rc = redact_new(&s.redact, &o->redact, o->redact_with, err);
    if (rc == 0) rc = archive_open(&s.archive, o->database, err);
    if (rc == 0) {
        s.server = signet_new();
        rc = run(&s, err);
        signet_free(s.server);
    }
    archive_close(s.archive);
    redact_free(s.redact);
    log_stop();
    return rc;
}
