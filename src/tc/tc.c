/* The service: its domains, its workers' rooms, its beginning and end. */
#include "tc/tc.h"
#include "base/log.h"
#include "base/waiter.h"
#include "store/rooms.h"
#include "tc/directory.h"
#include "tc/keep.h"
#include "tc/presence.h"
#include "tc/rows.h"
#include <stdlib.h>
#include <string.h>

static const struct router_ops ops = {.arrive = request_arrive};

/* ---- domains ---- */
static int take_domain(const char *domain, struct err *err) { return router_add_service(domain, &ops, err); }

static int each_word(const char *list, const char *before, struct err *err)
{
    char *words = x_strdup(list), *save = NULL;
    int rc = 0;
    for (char *word = strtok_r(words, " \t", &save); word != NULL && rc == 0; word = strtok_r(NULL, " \t", &save)) {
        struct buf b = {0};
        buf_addf(&b, "%s%s", before, word);
        rc = take_domain(buf_cstr(&b), err);
        buf_free(&b);
    }
    free(words);
    return rc;
}

static int take_domains(struct err *err)
{
    int rc =
        tc_settings->tc_domains[0] != '\0' ? each_word(tc_settings->tc_domains, "", err) : each_word(tc_settings->server_domains, "conference.", err);
    return rc == 0 ? 0 : err_prefix(err, "tc.domains");
}

/* ---- the rooms there are ---- */
static void listed(void *arg, const struct store_room *rooms, size_t n, const struct err *err)
{
    struct err problem;
    for (size_t i = 0; i < n; i++) {
        struct room_config config = {0};
        if (keep_config_read(&config, rooms[i].fields.config, &problem) != 0)
            log_error("tc", "room '" STR_FMT "' cannot be read from the store: %s", STR_ARG(rooms[i].room), problem.text);
        directory_add(rooms[i].room, &config);
        room_config_clear(&config);
    }
    waiter_answer(arg, err);
}

static struct room_service *service_new(void)
{
    struct room_service *s = x_calloc(1, sizeof(*s));
    list_init(&s->requests);
    return s;
}

int tc_start(const struct config *config, struct err *err)
{
    tc_settings = config;
    if (!config->tc_enabled) return 0;
    if (tc_settings_check(config, err) != 0) return -1;
    if (take_domains(err) != 0) return -1;
    struct waiter w = WAITER_INIT;
    store_room_list(listed, &w);
    return waiter_wait(&w, err);
}

void tc_worker_start(void) { tc = service_new(); }

void tc_worker_stop(void)
{
    if (tc == NULL) return;
    rooms_worker_stop();
    free(tc);
    tc = NULL;
}

/* ---- the end ---- */
static void close_room(struct room *r)
{
    const struct notice n = {.gone = true, .no_content = true, .alone = true, .codes = {332}};
    size_t it = 0;
    struct str key;
    void *value;
    r->refs++;
    r->ending = true; /* that it is empty then is no other end */
    struct stanza *iq = close_request(r);
    room_raise_after(r, EVENT_onClose, iq); /* nobody waits: it cannot be refused now */
    stanza_unref(iq);
    while (map_next(&r->occupants, &it, &key, &value)) {
        occupant_leave_room(value, &n, NULL);
        it = 0;
    }
    room_linger(r, false);
    room_release(r);
}

static void close_on_worker(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    if (tc == NULL) return;
    tc->closing = true;
    requests_return();
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&tc->rooms, &it, &key, &value)) {
        struct room *r = value;
        if (!room_exists(r) || (r->occupants.count == 0 && !r->lingers)) continue;
        close_room(r);
        it = 0;
    }
}

void tc_close_rooms(void) { worker_each(close_on_worker, NULL, NULL); }

void tc_stop(void)
{
    directory_clear();
    tc_settings_free();
}
