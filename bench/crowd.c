/* See crowd.h. */
#include "crowd.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t shown_ns;
static bool line_open;

void progress(const struct options *o, const char *fmt, ...)
{
    uint64_t now = net_now_ns();
    va_list ap;
    if (o->quiet || now - shown_ns < 1000000000U) return;
    shown_ns = now;
    bool terminal = isatty(STDERR_FILENO) != 0;
    if (terminal) fputs("\r\033[K", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (!terminal) fputc('\n', stderr);
    line_open = terminal;
}

void progress_end(void)
{
    if (line_open) fputs("\r\033[K", stderr);
    line_open = false;
}

static crowd_element_fn element_fn;

static void on_ready(struct client *c) { ((struct crowd *)c->owner)->ready++; }
static void on_element(struct client *c, struct str e, uint64_t now_ns) { element_fn(c, e, now_ns); }

static void on_gone(struct client *c, const char *why)
{
    struct crowd *w = c->owner;
    if (w->gone++ == 0) snprintf(w->why, sizeof w->why, "client %u: %s", c->index, why);
}

int crowd_login(struct crowd *w, unsigned n, const struct options *o, crowd_element_fn fn, struct err *err)
{
    static const struct client_ops ops = {on_ready, on_element, on_gone};
    uint64_t begin = net_now_ns();
    *w = (struct crowd){.clients = x_calloc(n, sizeof *w->clients), .n = n};
    element_fn = fn;
    while (w->ready < n && w->gone == 0) {
        while (w->started < n && w->started - w->ready < o->logins) {
            w->clients[w->started].owner = w;
            client_start(&w->clients[w->started], w->started, CLIENT_PRESENT, &ops);
            w->started++;
        }
        net_turn(100000000);
        progress(o, "%u of %u logged in", w->ready, n);
    }
    w->login_seconds = (double)(net_now_ns() - begin) / 1e9;
    progress_end();
    return w->gone == 0 ? 0 : err_set(err, ERR_IO, "%s", w->why);
}

void crowd_logout(struct crowd *w)
{
    for (unsigned i = 0; i < w->started; i++) client_close(&w->clients[i]);
    net_turn(0);
    free(w->clients);
    w->clients = NULL;
}

json_t *crowd_usage(const struct options *o, const struct usage *before, const struct usage *after, double per, const char *unit)
{
    json_t *list = json_array();
    char key[64];
    snprintf(key, sizeof key, "cpu_us_per_%s", unit);
    for (unsigned i = 0; i < o->n_servers; i++) {
        double cpu = after[i].cpu_us - before[i].cpu_us;
        json_t *s = json_pack("{s:s, s:I, s:f, s:f}", "name", o->servers[i].name, "processes", (json_int_t)after[i].processes, "cpu_seconds",
                              cpu / 1e6, key, per > 0 ? cpu / per : 0.0);
        json_array_append_new(list, s);
    }
    return list;
}

static void set_us(json_t *latency, const char *key, double ns) { json_object_set_new(latency, key, json_real(ns / 1e3)); }

json_t *crowd_latency(const struct histogram *h)
{
    json_t *latency = json_object();
    set_us(latency, "mean", histogram_mean(h));
    set_us(latency, "p50", (double)histogram_percentile(h, 50));
    set_us(latency, "p90", (double)histogram_percentile(h, 90));
    set_us(latency, "p99", (double)histogram_percentile(h, 99));
    set_us(latency, "p99.9", (double)histogram_percentile(h, 99.9));
    set_us(latency, "max", (double)h->max);
    return latency;
}

void crowd_show(const struct options *o, json_t *take_result, void (*print)(const struct options *o, const json_t *result))
{
    if (o->json) {
        json_dumpf(take_result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        puts("");
    } else {
        print(o, take_result);
    }
    json_decref(take_result);
}
