/* XEP-0133, 4.13 to 4.22: how many users are registered, disabled, online, active, idle, and who. Online is who has a session; active, whose client
 * has sent something lately (server.idle_after) and has not said that nobody looks at it (XEP-0352); idle are the others who are online. */
#include "jsm/features/admin.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum people { PEOPLE_REGISTERED, PEOPLE_DISABLED, PEOPLE_ONLINE, PEOPLE_ACTIVE, PEOPLE_IDLE, PEOPLE };
static const struct {
    const char *word; /* in the command's node */
    const char *number_var, *number_label, *list_var, *list_label;
} kinds[PEOPLE] = {
    {"#get-registered-users", "registeredusersnum", "The number of registered users", "registereduserjids", "The list of all users"},
    {"#get-disabled-users", "disabledusersnum", "The number of disabled users", "disableduserjids", "The list of all disabled users"},
    {"#get-online-users", "onlineusersnum", "The number of online users", "onlineuserjids", "The list of all online users"},
    {"#get-active-users", "activeusersnum", "The number of active users", "activeuserjids", "The list of active users"},
    {"#get-idle-users", "idleusersnum", "The number of idle users", "idleuserjids", "The list of idle users"},
};

struct people_call {
    struct adhoc_call *call;
    enum people people;
    bool listed; /* otherwise counted */
    uint64_t max, total;
    pthread_mutex_t lock; /* workers run at the same time */
    struct buf names; /* each ends with a NUL */
};

/* ---- the answer ---- */
static void answer(struct people_call *p, const struct str *names, size_t n, uint64_t total)
{
    struct adhoc_call *call = p->call;
    struct buf b = {0};
    form_result_begin(&b, &call->command->form);
    if (p->listed) {
        form_result_field(&b, kinds[p->people].list_var, FIELD_JID_MULTI, kinds[p->people].list_label, names, n);
        if (n < total) adhoc_note(call, "warn", arena_printf(call->fx->arena, "Only %zu of %llu are shown.", n, (unsigned long long)total));
    } else {
        struct str number = str_of(arena_printf(call->fx->arena, "%llu", (unsigned long long)total));
        form_result_field(&b, kinds[p->people].number_var, FIELD_TEXT_SINGLE, kinds[p->people].number_label, &number, 1);
    }
    form_result_end(&b);
    adhoc_result(call, buf_str(&b));
    buf_free(&b);
    buf_free(&p->names);
    free(p);
}

/* ---- those who are in the store ---- */
static void stored(void *arg, const struct str *users, size_t n, uint64_t total, const struct err *err)
{
    struct people_call *p = arg;
    if (err == NULL) {
        answer(p, users, n, total);
        return;
    }
    adhoc_failed(p->call, err);
    free(p);
}

/* ---- those who are in memory ---- */
static bool is_among(const struct user *u, enum people people)
{
    bool online = false, active = false;
    uint64_t now = worker_now_ms(), idle_after = (uint64_t)jsm->config->server_idle_after * 1000;
    LIST_EACH(node, &u->sessions)
    {
        const struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->state != SESSION_OPEN || !session_takes(s)) continue;
        online = true;
        active = active || (s->csi == NULL && s->heard_ms + idle_after > now);
    }
    return online && (people == PEOPLE_ONLINE || active == (people == PEOPLE_ACTIVE));
}

static void look_on_worker(uint32_t worker, void *arg)
{
    (void)worker;
    struct people_call *p = arg;
    size_t it = 0;
    struct str bare;
    void *value;
    pthread_mutex_lock(&p->lock);
    while (map_next(&jsm->users, &it, &bare, &value)) {
        if (!str_eq(((struct user *)value)->jid.domain, p->call->domain) || !is_among(value, p->people)) continue;
        p->total++;
        if (!p->listed) continue;
        buf_add_str(&p->names, bare);
        buf_addc(&p->names, '\0');
    }
    pthread_mutex_unlock(&p->lock);
}

static int by_name(const void *a, const void *b) { return str_cmp(*(const struct str *)a, *(const struct str *)b); }

static void looked(void *arg)
{
    struct people_call *p = arg;
    struct str *names = x_calloc(p->total + 1, sizeof(*names));
    size_t n = 0;
    for (size_t at = 0; at < p->names.len; at += names[n++].n + 1) names[n] = str_of(p->names.data + at);
    qsort(names, n, sizeof(*names), by_name);
    answer(p, names, n < p->max ? n : (size_t)p->max, p->total);
    free(names);
}

static void people(struct adhoc_call *call, bool listed, uint64_t max)
{
    struct people_call *p = x_calloc(1, sizeof(*p));
    p->call = call;
    p->listed = listed;
    p->max = max;
    pthread_mutex_init(&p->lock, NULL);
    for (unsigned i = 0; i < PEOPLE; i++)
        if (strstr(call->command->node, kinds[i].word) != NULL) p->people = (enum people)i;
    if (p->people == PEOPLE_REGISTERED || p->people == PEOPLE_DISABLED)
        store_account_names(call->domain, p->people == PEOPLE_DISABLED, (unsigned)max, stored, p);
    else
        worker_each(look_on_worker, looked, p);
}

void admin_count(struct adhoc_call *call) { people(call, false, 0); }

void admin_list(struct adhoc_call *call)
{
    struct str asked = form_first(&call->values[0]);
    uint64_t max = (uint64_t)jsm->config->adhoc_max_items;
    if (asked.n > 0 && !str_is(asked, "none")) { /* one of the options, so a number */
        uint64_t number = strtoull(asked.p, NULL, 10);
        if (number < max) max = number;
    }
    people(call, true, max);
}
