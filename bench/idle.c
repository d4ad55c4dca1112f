/* Sessions that do nothing: what each costs in memory, and what all of them cost in CPU time. */
#include "crowd.h"
#include <stdio.h>

static void on_element(struct client *c, struct str e, uint64_t now_ns)
{
    (void)c;
    (void)e;
    (void)now_ns;
}

static int hold(struct crowd *w, const struct options *o, unsigned seconds, const char *what, struct err *err)
{
    uint64_t end = net_now_ns() + seconds * 1000000000ULL;
    while (net_now_ns() < end && w->gone == 0) {
        net_turn(100000000);
        progress(o, "%u sessions, %s", w->ready, what);
    }
    progress_end();
    return w->gone == 0 ? 0 : err_set(err, ERR_IO, "%u sessions were lost; %s", w->gone, w->why);
}

static void print(const struct options *o, const json_t *result)
{
    printf("%u idle sessions, logged in within %.1f s\n", o->sessions, json_real_value(json_object_get(result, "login_seconds")));
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(result, "servers"), i, s)
    {
        printf("  %s: %.0f bytes per session (PSS; RSS %.0f), %.0f us of CPU per login, %.1f ms of CPU a second for all\n",
               json_string_value(json_object_get(s, "name")), json_real_value(json_object_get(s, "pss_bytes_per_session")),
               json_real_value(json_object_get(s, "rss_bytes_per_session")), json_real_value(json_object_get(s, "cpu_us_per_login")),
               json_real_value(json_object_get(s, "cpu_ms_per_second_idle")));
    }
}

int idle_run(const struct options *o, struct err *err)
{
    struct crowd w;
    struct usage before[SERVERS_MAX], after[SERVERS_MAX], settled[SERVERS_MAX], end[SERVERS_MAX];
    server_read(o, true, before);
    int rc = crowd_login(&w, o->sessions, o, on_element, err);
    server_read(o, false, after);
    if (rc == 0) rc = hold(&w, o, o->settle, "settling", err);
    server_read(o, true, settled);
    if (rc == 0) rc = hold(&w, o, o->seconds, "idle", err);
    server_read(o, false, end);
    if (rc == 0) {
        json_t *servers = crowd_usage(o, before, after, o->sessions, "login");
        for (unsigned i = 0; i < o->n_servers; i++) {
            json_t *s = json_array_get(servers, i);
            double pss = (double)settled[i].pss_bytes - (double)before[i].pss_bytes, rss = (double)settled[i].rss_bytes - (double)before[i].rss_bytes;
            json_object_set_new(s, "pss_bytes_per_session", json_real(pss / o->sessions));
            json_object_set_new(s, "rss_bytes_per_session", json_real(rss / o->sessions));
            json_object_set_new(s, "rss_bytes_before", json_integer((json_int_t)before[i].rss_bytes));
            json_object_set_new(s, "rss_bytes", json_integer((json_int_t)settled[i].rss_bytes));
            json_object_set_new(s, "cpu_ms_per_second_idle", json_real((end[i].cpu_us - settled[i].cpu_us) / 1000 / o->seconds));
        }
        json_t *result = json_pack("{s:s, s:I, s:f, s:o}", "scenario", "idle", "sessions", (json_int_t)o->sessions, "login_seconds", w.login_seconds,
                                   "servers", servers);
        crowd_show(o, result, print);
    }
    crowd_logout(&w);
    return rc;
}
