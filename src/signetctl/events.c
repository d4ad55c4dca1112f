/* Events: the catalogue, and watching them as they are asked and answered. Watching is long polling: each request waits until something came.
 * And the way of one stanza through its stages. */
#include "signetctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 20000

static void print_catalogue(const json_t *answer)
{
    json_t *event;
    size_t i;
    struct table t = {.columns = 6, .head = {"EVENT", "SERVICE", "PACKETS", "ANSWERS", "CAN STOP IT", "WHEN"}};
    json_array_foreach (json_object_get(answer, "events"), i, event) {
        table_add(&t, json_text(event, "name"));
        table_add(&t, json_text(event, "service"));
        table_add(&t, json_text(event, "packets"));
        table_add(&t, json_text(event, "answers"));
        table_add(&t, json_is_true(json_object_get(event, "refusable")) ? "yes" : "no");
        table_add(&t, json_text(event, "raised"));
    }
    table_print(&t);
}

enum outcome events_list(const struct invocation *in, struct err *err) { return api_show(in, x_strdup("/v1/events"), print_catalogue, err); }

/* The row of the catalogue, borrowed from it; NULL: fails with outcome, which tells. */
static const json_t *event_named(const json_t *catalogue, const char *name, enum outcome outcome, enum outcome *rc, struct err *err)
{
    size_t i;
    json_t *event;
    json_array_foreach (json_object_get(catalogue, "events"), i, event)
        if (strcmp(json_text(event, "name"), name) == 0) return event;
    *rc = fail(outcome, err, "there is no event '%.64s'; signetctl events list names them", name);
    return NULL;
}

/* A word of the catalogue in words for people; what is not in the list stays as it is. */
static const char *in_words(const char *const list[][2], const char *word)
{
    for (; (*list)[0] != NULL; list++)
        if (strcmp((*list)[0], word) == 0) return (*list)[1];
    return word;
}

static void print_facts(const json_t *event)
{
    static const char *const answers[][2] = {{"any", "PASS, PASS with a changed stanza, HANDLE, error"}, {"pass", "PASS; a stanza in it is ignored"},
        {"pass-unmodified", "PASS, empty or with the stanza unchanged"}, {"pass-empty", "PASS with nothing in it"}, {"none", "none is waited for"}, {NULL}};
    static const char *const keys[][2] = {{"pair", "the two bare JIDs, or the room"}, {"user", "the user's bare JID"}, {"room", "the room"}, {NULL}};
    static const char *const system_rows[][2] = {{"", "no"}, {"pass", "yes, Handling pass"}, {"bounce", "yes, Handling bounce"},
        {"messages, bounce", "yes, for messages, Handling bounce"}, {NULL}};
    struct table t = {0};
    table_fact(&t, "event", json_text(event, "name"));
    table_fact(&t, "service", json_text(event, "service"));
    table_fact(&t, "when", json_text(event, "raised"));
    table_fact(&t, "carries", json_text(event, "subject"));
    if (*json_text(event, "packets") != '\0') table_fact(&t, "packet types", json_text(event, "packets"));
    bool refusable = json_is_true(json_object_get(event, "refusable")), only_pass = strcmp(json_text(event, "answers"), "pass") == 0;
    struct buf allowed = {0};
    buf_addf(&allowed, "%s%s", in_words(answers, json_text(event, "answers")), refusable && only_pass ? "; HANDLE; error" : "");
    table_fact(&t, "answers", buf_cstr(&allowed));
    buf_free(&allowed);
    table_fact(&t, "can be stopped", refusable ? "yes" : "no: everything but PASS counts as PASS, with an alarm");
    if (refusable) table_fact(&t, "when stopped", json_text(event, "refused"));
    table_fact(&t, "balanced by", in_words(keys, json_text(event, "key")));
    table_fact(&t, "in SystemDefaultComplianceProfile", in_words(system_rows, json_text(event, "system_profile")));
    table_print(&t);
}

enum outcome events_show(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = api_call("GET", "/v1/events", NULL, &answer, err);
    const json_t *event = rc == OUTCOME_OK ? event_named(answer, in->args[0], OUTCOME_REFUSED, &rc, err) : NULL;
    if (event != NULL && (in->given & OPT_JSON) != 0)
        json_print(event, JSON_INDENT(2));
    else if (event != NULL)
        print_facts(event);
    json_decref(answer);
    return rc;
}

/* A name that does not exist would be waited for forever. */
static enum outcome check_names(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL;
    if (in->n_events == 0) return OUTCOME_OK;
    enum outcome rc = api_call("GET", "/v1/events", NULL, &answer, err);
    for (unsigned i = 0; rc == OUTCOME_OK && i < in->n_events; i++) (void)event_named(answer, in->events[i], OUTCOME_USAGE, &rc, err);
    json_decref(answer);
    return rc;
}

static bool wanted(const struct invocation *in, const char *event)
{
    for (unsigned i = 0; i < in->n_events; i++)
        if (strcmp(in->events[i], event) == 0) return true;
    return in->n_events == 0;
}

static void print_event(const struct invocation *in, const json_t *event)
{
    if (!wanted(in, json_text(event, "event"))) return;
    if ((in->given & OPT_JSON) != 0) {
        json_print(event, JSON_COMPACT);
        return;
    }
    /* A table of one row has the widths of that row alone: the columns here are fixed, the long one last. */
    const char *verdict = json_text(event, "verdict");
    struct table t = {.columns = 1};
    struct buf line = {0};
    buf_addf(&line, "%s  %-25s  ", json_text(event, "time"), json_text(event, "event"));
    if (*verdict == '\0')
        buf_addf(&line, "%-24s", *json_text(event, "id") != '\0' ? "raised" : "asked of nobody"); /* no profile lists it: no event was made */
    else
        buf_addf(&line, "%-11s %9.1f ms", verdict, (double)json_number(event, "took_us") / 1000.0);
    buf_addf(&line, "  %s  %s  stanza %s  event %s", *json_text(event, "component") != '\0' ? json_text(event, "component") : "-",
             *json_text(event, "key") != '\0' ? json_text(event, "key") : "-", json_text(event, "stanza"), json_text(event, "id"));
    table_add(&t, buf_cstr(&line));
    table_print(&t);
    buf_free(&line);
}

enum outcome events_watch(const struct invocation *in, struct err *err)
{
    long long after = 0;
    enum outcome rc = check_names(in, err);
    api_set_wait(WAIT_MS / 1000 + 15);
    if (rc == OUTCOME_OK && isatty(STDERR_FILENO)) fputs("watching events; Ctrl-C ends it\n", stderr);
    while (rc == OUTCOME_OK) {
        json_t *answer = NULL, *event;
        size_t i;
        char path[96];
        struct timespec began, ended;
        snprintf(path, sizeof(path), "/v1/events/trace?after=%lld&wait_ms=%d", after, WAIT_MS);
        clock_gettime(CLOCK_MONOTONIC, &began);
        rc = api_call("GET", path, NULL, &answer, err);
        if (rc != OUTCOME_OK) break;
        json_t *events = json_object_get(answer, "events");
        long long lost = json_number(answer, "lost");
        if (lost > 0) fprintf(stderr, "signetctl: %lld events came faster than they could be shown and were left out\n", lost);
        json_array_foreach (events, i, event) print_event(in, event);
        after = json_number(answer, "next");
        clock_gettime(CLOCK_MONOTONIC, &ended);
        /* An empty answer at once comes from a signetd that is stopping: no reason to ask it thousands of times. */
        if (json_array_size(events) == 0 && ended.tv_sec - began.tv_sec < 2) nanosleep(&(struct timespec){.tv_nsec = 200000000L}, NULL);
        json_decref(answer);
        if (fflush(stdout) != 0) break; /* nobody reads any more */
    }
    return rc;
}

static void print_stages(const json_t *answer)
{
    json_t *stage;
    size_t i;
    struct table t = {.columns = 5, .head = {"TIME", "AFTER", "WORKER", "STAGE", "WHAT"}};
    json_array_foreach (json_object_get(answer, "stages"), i, stage) {
        table_add(&t, json_text(stage, "time"));
        table_addf(&t, "%.3f ms", (double)json_number(stage, "us") / 1000.0);
        table_addf(&t, "%lld", json_number(stage, "worker"));
        table_add(&t, json_text(stage, "stage"));
        table_add(&t, json_text(stage, "what"));
    }
    table_print(&t);
}

enum outcome trace_show(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/trace/", in->args[0], NULL), print_stages, err);
}
