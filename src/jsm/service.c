/* Notices are few and read at each login, changed by administrators: so they are kept in one list behind a lock, and follow what the store has
 * committed. An account remembers the version of the message of the day it has seen, and that it has been greeted, in the commit that precedes their
 * delivery: nobody is told twice. */
#include "jsm/service.h"
#include "base/log.h"
#include "base/waiter.h"
#include "io/worker.h"
#include "jsm/features/features.h"
#include "router/route.h"
#include "xml/writer.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[NOTICES] = {[NOTICE_MOTD] = "motd", [NOTICE_WELCOME] = "welcome"};

/* ---- the list ---- */
struct notice_row {
    struct list node;
    enum notice kind;
    char *domain, *text; /* text NULL: none */
    uint64_t version;
};
static struct {
    pthread_mutex_t lock;
    struct list rows;
    const struct service_ops *ops;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .rows = {&service.rows, &service.rows}};

static struct notice_row *row_find(enum notice kind, struct str domain)
{
    LIST_EACH(node, &service.rows)
    {
        struct notice_row *row = CONTAINER_OF(node, struct notice_row, node);
        if (row->kind == kind && str_is(domain, row->domain)) return row;
    }
    return NULL;
}

static void row_set(const struct store_notice *notice)
{
    enum notice kind = str_is(notice->kind, kind_names[NOTICE_MOTD]) ? NOTICE_MOTD : NOTICE_WELCOME;
    pthread_mutex_lock(&service.lock);
    struct notice_row *row = row_find(kind, notice->domain);
    if (row == NULL) {
        row = x_calloc(1, sizeof(*row));
        row->kind = kind;
        row->domain = str_dup(notice->domain);
        list_push_back(&service.rows, &row->node);
    }
    if (notice->version < row->version) { /* two changes at once: the later one is here already */
        pthread_mutex_unlock(&service.lock);
        return;
    }
    free(row->text);
    row->text = notice->text.p != NULL ? str_dup(notice->text) : NULL;
    row->version = notice->version;
    pthread_mutex_unlock(&service.lock);
}

char *notice_text(enum notice kind, struct str domain, uint64_t *version)
{
    pthread_mutex_lock(&service.lock);
    const struct notice_row *row = row_find(kind, domain);
    char *text = row != NULL && row->text != NULL ? x_strdup(row->text) : NULL;
    if (version != NULL) *version = row != NULL ? row->version : 0;
    pthread_mutex_unlock(&service.lock);
    return text;
}

struct notice_call {
    store_done_fn fn;
    void *arg;
};

static void notice_stored(void *arg, const struct store_notice *notices, size_t n, const struct err *err)
{
    struct notice_call *call = arg;
    for (size_t i = 0; i < n; i++) row_set(&notices[i]);
    call->fn(call->arg, err);
    free(call);
}

void notice_set(enum notice kind, struct str domain, struct str text, bool anew, store_done_fn fn, void *arg)
{
    struct notice_call *call = x_calloc(1, sizeof(*call));
    call->fn = fn;
    call->arg = arg;
    store_notice_set(domain, kind_names[kind], text, anew, notice_stored, call);
}

/* ---- telling ---- */
static struct stanza *message_of(struct arena *a, struct str domain, const struct jid *to, enum stanza_type type, struct str text)
{
    struct jid from;
    struct err err;
    if (jid_parse(a, domain, &from, &err) != 0) return NULL;
    struct buf body = {0};
    buf_adds(&body, "<body>");
    xml_add_text(&body, text);
    buf_adds(&body, "</body>");
    struct stanza *message = stanza_make(STANZA_MESSAGE, type, &from, to, STR_NONE, buf_str(&body));
    buf_free(&body);
    return message;
}

void notices_show(const struct context *cx, struct effects *fx)
{
    struct user *u = cx->user;
    uint64_t version;
    char *motd = notice_text(NOTICE_MOTD, u->jid.domain, &version);
    bool news = motd != NULL && version > u->motd_seen;
    if (!u->greeted) {
        char *welcome = notice_text(NOTICE_WELCOME, u->jid.domain, NULL);
        struct stanza *m = welcome != NULL ? message_of(fx->arena, u->jid.domain, &cx->session->full, MESSAGE_NORMAL, str_of(welcome)) : NULL;
        if (m != NULL) effect_deliver(fx, cx->session, m, COPY_NONE);
        free(welcome);
    }
    if (news) {
        struct stanza *m = message_of(fx->arena, u->jid.domain, &cx->session->full, MESSAGE_HEADLINE, str_of(motd));
        if (m != NULL) effect_deliver(fx, cx->session, m, COPY_NONE);
    }
    if (news || !u->greeted) {
        if (news) u->motd_seen = version;
        u->greeted = true;
        store_batch_noticed(effect_store(fx, u), u->motd_seen);
    }
    free(motd);
}

struct announcement {
    struct str domain, text;
    uint64_t motd;
    void (*done)(void *arg);
    void *arg;
};

/* Delivery may end a session, so they are looked up one by one. */
static void announce_to_user(const struct announcement *call, struct user *u)
{
    size_t n, told = 0;
    uint64_t *ids = user_session_ids(u, &n);
    struct arena *a = arena_new(0);
    u->refs++;
    for (size_t i = 0; i < n; i++) {
        struct session *s = session_get(ids[i]);
        if (s == NULL || s->state != SESSION_OPEN) continue;
        struct stanza *message = message_of(a, u->jid.domain, &s->full, MESSAGE_HEADLINE, call->text);
        if (message == NULL) continue;
        router_route(message, (struct ticket){0}, PARCEL_COPY);
        told++;
    }
    if (told > 0 && call->motd > u->motd_seen && !u->gone) {
        struct store_batch *seen = store_batch_new(u->jid.bare);
        u->motd_seen = call->motd;
        store_batch_noticed(seen, call->motd);
        store_batch_commit(seen, NULL, NULL);
    }
    user_release(u);
    arena_free(a);
    free(ids);
}

static void announce_on_worker(uint32_t worker, void *arg)
{
    (void)worker;
    const struct announcement *call = arg;
    struct str bare;
    size_t it = 0;
    void *value;
    while (map_next(&jsm->users, &it, &bare, &value)) {
        struct user *u = value;
        if (call->domain.p == NULL || str_eq(call->domain, u->jid.domain)) announce_to_user(call, u);
    }
}

static void announced(void *arg)
{
    struct announcement *call = arg;
    void (*done)(void *arg) = call->done;
    void *done_arg = call->arg;
    free(call);
    if (done != NULL) done(done_arg);
}

void service_announce(struct str domain, struct str text, uint64_t motd, void (*done)(void *arg), void *arg)
{
    struct announcement *call = x_calloc(1, sizeof(*call));
    *call = (struct announcement){.domain = domain, .text = text, .motd = motd, .done = done, .arg = arg};
    worker_each(announce_on_worker, announced, call);
}

/* ---- the stop ---- */
static struct {
    struct wheel_timer timer; /* of worker 0, as restart */
    bool restart;
    atomic_bool pending;
} stopping;
struct stop_msg {
    struct msg msg;
    uint64_t delay_ms;
    bool restart;
};

static void stop_now(struct wheel_timer *timer)
{
    (void)timer;
    service.ops->stop(stopping.restart);
}

static void stop_begin(struct msg *msg)
{
    struct stop_msg *m = CONTAINER_OF(msg, struct stop_msg, msg);
    stopping.restart = m->restart;
    stopping.timer.fn = stop_now;
    worker_timer(&stopping.timer, m->delay_ms);
    free(m);
}

int service_stop_in(bool restart, unsigned delay_s, struct err *err)
{
    if (atomic_exchange(&stopping.pending, true) && delay_s > 0) return err_set(err, ERR_CONFLICT, "the service is to stop already");
    log_notice("jsm", "the service %s in %u s", restart ? "restarts" : "stops", delay_s);
    struct stop_msg *m = x_calloc(1, sizeof(*m));
    m->delay_ms = (uint64_t)delay_s * 1000;
    m->restart = restart;
    m->msg.run = stop_begin;
    worker_post(0, &m->msg);
    return 0;
}

/* ---- start and end ---- */
static int check_uris(const char *option, const char *list, struct err *err)
{
    for (const char *p = list + strspn(list, " "); *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        const char *colon = memchr(p, ':', n);
        if (colon == NULL || colon == p || colon == p + n - 1)
            return err_set(err, ERR_INVALID, "contact.%s: '%.*s' is no URI; write mailto:user@example.com, xmpp:user@example.com or https://...", option,
                           (int)n, p);
        p += n;
    }
    return 0;
}

static int check_admins(const char *list, struct err *err)
{
    struct arena *a = arena_new(0);
    int rc = 0;
    for (const char *p = list + strspn(list, " "); rc == 0 && *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        struct jid jid;
        struct err why;
        if (jid_parse(a, arena_str(a, (struct str){p, n}), &jid, &why) != 0 || jid.local.p == NULL || jid.resource.p != NULL)
            rc = err_set(err, ERR_INVALID, "server.admins: '%.*s' is no account; write user@domain", (int)n, p);
        p += n;
    }
    arena_free(a);
    return rc;
}

static void loaded(void *arg, const struct store_notice *notices, size_t n, const struct err *err)
{
    for (size_t i = 0; i < n; i++) row_set(&notices[i]);
    waiter_answer(arg, err);
}

int service_start(const struct config *config, const struct service_ops *ops, struct err *err)
{
    service.ops = ops;
    if (check_admins(config->server_admins, err) != 0) return -1;
    const char *const lists[][2] = {
        {"abuse", config->contact_abuse},       {"admin", config->contact_admin},   {"feedback", config->contact_feedback}, {"sales", config->contact_sales},
        {"security", config->contact_security}, {"status", config->contact_status}, {"support", config->contact_support},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (check_uris(lists[i][0], lists[i][1], err) != 0) return -1;
    struct waiter w = WAITER_INIT;
    store_notice_load(loaded, &w);
    return waiter_wait(&w, err);
}

/* Worker 0 ends what is kept for all: the timer is its, and no other worker asks for notices any more once it is told to stop. */
void service_worker_stop(void)
{
    if (worker_id() != 0) return;
    worker_timer_cancel(&stopping.timer);
    pthread_mutex_lock(&service.lock);
    struct list *node;
    while ((node = list_pop_front(&service.rows)) != NULL) {
        struct notice_row *row = CONTAINER_OF(node, struct notice_row, node);
        free(row->domain);
        free(row->text);
        free(row);
    }
    pthread_mutex_unlock(&service.lock);
}
