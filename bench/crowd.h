/* The clients of a scenario: logs them in, so many at a time, with progress; and what scenarios share. */
#ifndef SIGNET_BENCH_CROWD_H
#define SIGNET_BENCH_CROWD_H
#include "client.h"
#include "histogram.h"
#include "server.h"
#include <jansson.h>

struct crowd {
    struct client *clients;
    unsigned n, started, ready, gone;
    double login_seconds;
    char why[300]; /* of the first that went */
};
typedef void (*crowd_element_fn)(struct client *c, struct str element, uint64_t now_ns);
/* Logs in accounts 0 to n-1. on_element gets what comes to a client that is ready; client.owner is the crowd. -1: one could not. */
must_check int crowd_login(struct crowd *w, unsigned n, const struct options *o, crowd_element_fn on_element, struct err *err);
void crowd_logout(struct crowd *w); /* ends the streams properly and frees */

/* One line on standard error, overwritten on a terminal, at most once a second. */
void progress(const struct options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void progress_end(void);
/* CPU time and memory of the servers between two readings, for the result. per: what CPU time is divided by; unit: its name, "message". */
json_t *crowd_usage(const struct options *o, const struct usage *before, const struct usage *after, double per, const char *unit);
json_t *crowd_latency(const struct histogram *h); /* mean, percentiles and maximum in microseconds, for the result */
/* The result as JSON when --json is given, else as print says it. take_result is consumed. */
void crowd_show(const struct options *o, json_t *take_result, void (*print)(const struct options *o, const json_t *result));

must_check int accounts_run(const struct options *o, struct err *err);
must_check int chat_run(const struct options *o, struct err *err);
must_check int room_run(const struct options *o, struct err *err);
must_check int idle_run(const struct options *o, struct err *err);

#endif
