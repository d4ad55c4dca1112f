/* One-to-one messages: account 2i writes to account 2i+1. Closed loop: a pair has --window messages under way, and each that arrives lets the next
 * go. Open loop (--rate): messages leave when they are due, whatever has arrived, and latency counts from when one was due, not from when the
 * generator got round to it, so that a server that stalls cannot hide it. Each text carries its number and time; whoever receives it checks that all
 * of them come, once, and in order. */
#include "crowd.h"
#include "histogram.h"
#include "scan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN_BITS = 16384, DRAIN_SECONDS = 10 };

struct pair {
    struct client *from, *to;
    uint64_t sent, received, next; /* next: the lowest number not yet seen in order */
    uint64_t seen[SEEN_BITS / 64]; /* of the last SEEN_BITS numbers, for telling a double from a late one */
};
static struct chat {
    const struct options *o;
    struct crowd crowd;
    struct pair *pairs;
    struct histogram *latency;
    char *padding;
    bool sending, measuring;
    uint64_t sent, received, measured, doubled, disordered, errors;
    uint64_t due_ns, due_pair; /* open loop: when the next message is due, and whose */
} chat;

static void send_one(struct pair *p, uint64_t at_ns)
{
    struct buf *out = net_out(p->from->net);
    char head[64];
    int n = snprintf(head, sizeof head, "b1 %" PRIu64 " %" PRIu64 " ", p->sent, at_ns);
    BUF_ADD_LIT(out, "<message type='chat' to='");
    buf_adds(out, p->to->jid);
    BUF_ADD_LIT(out, "' id='");
    buf_add(out, head + 3, strcspn(head + 3, " "));
    BUF_ADD_LIT(out, "'><body>");
    buf_add(out, head, (size_t)n);
    if (chat.o->bytes > (unsigned)n) buf_add(out, chat.padding, chat.o->bytes - (unsigned)n);
    BUF_ADD_LIT(out, "</body></message>");
    p->sent++;
    chat.sent++;
    if (chat.o->single || chat.o->rate > 0) {
        net_flush(p->from->net);
    } else {
        net_touch(p->from->net);
    }
}

/* Numbers below p->next are all accounted for: seen in order, or given up as late. */
static void check_order(struct pair *p, uint64_t number)
{
    uint64_t *word = &p->seen[number % SEEN_BITS / 64], bit = 1ULL << (number % 64);
    if (number == p->next) {
        p->next++;
    } else if (number > p->next) { /* some are late, or lost */
        for (uint64_t i = p->next; i < number; i++) p->seen[i % SEEN_BITS / 64] &= ~(1ULL << (i % 64));
        p->next = number + 1;
    } else if (p->next - number > SEEN_BITS || (*word & bit) != 0) {
        chat.doubled++;
        return;
    } else {
        chat.disordered++;
    }
    *word |= bit;
    p->received++;
    chat.received++;
}

static void on_element(struct client *c, struct str e, uint64_t now_ns)
{
    if (e.n < 9 || memcmp(e.p, "<message", 8) != 0) return;
    struct pair *p = &chat.pairs[c->index / 2];
    const char *body = memmem(e.p, e.n, "<body>b1 ", 9);
    if (body == NULL || c->index % 2 == 0) {
        if (str_is(scan_attribute(e, "type"), "error")) chat.errors++;
        return;
    }
    char *end;
    uint64_t number = strtoull(body + 9, &end, 10), at = strtoull(end, NULL, 10);
    if (number >= p->sent) {
        chat.errors++;
        return;
    }
    check_order(p, number);
    if (chat.measuring) {
        chat.measured++;
        histogram_add(chat.latency, now_ns > at ? now_ns - at : 0);
    }
    if (chat.sending && chat.o->rate == 0) send_one(p, now_ns);
}

static void send_due(uint64_t now)
{
    while (chat.due_ns <= now) {
        send_one(&chat.pairs[chat.due_pair], chat.due_ns);
        chat.due_pair = (chat.due_pair + 1) % chat.o->pairs;
        chat.due_ns += 1000000000ULL / chat.o->rate;
    }
}

/* Runs for so long, or until all has arrived when nothing more is sent. */
static void run(double seconds, const char *what)
{
    uint64_t end = net_now_ns() + (uint64_t)(seconds * 1e9), last = chat.received;
    uint64_t now, shown = net_now_ns();
    while ((now = net_now_ns()) < end && chat.crowd.gone == 0 && (chat.sending || chat.received < chat.sent)) {
        uint64_t wait = 100000000;
        if (chat.sending && chat.o->rate > 0) {
            send_due(now);
            now = net_now_ns();
            wait = chat.due_ns > now ? chat.due_ns - now : 0;
        }
        net_turn(wait < end - now || end < now ? wait : end - now);
        if (now - shown < 1000000000U) continue;
        double each_second = (double)(chat.received - last) * 1e9 / (double)(now - shown);
        progress(chat.o, "%s: %" PRIu64 " messages, %.0f a second", what, chat.received, each_second);
        last = chat.received;
        shown = now;
    }
    progress_end();
}

static void print(const struct options *o, const json_t *result)
{
    static const char *const percentiles[] = {"p50", "p90", "p99", "p99.9", "max"};
    const json_t *latency = json_object_get(result, "latency_us");
    printf("%u pairs, %s %u: %.0f messages a second\n", o->pairs, o->rate > 0 ? "rate" : "window", o->rate > 0 ? o->rate : o->window,
           json_real_value(json_object_get(result, "messages_per_second")));
    printf("  sent %" PRIu64 ", lost %" PRIu64 ", doubled %" PRIu64 ", out of order %" PRIu64 ", errors %" PRIu64 "\n  latency in us:", chat.sent,
           chat.sent - chat.received, chat.doubled, chat.disordered, chat.errors);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        printf("  %s %.0f", percentiles[i], json_real_value(json_object_get(latency, percentiles[i])));
    puts("");
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(result, "servers"), i, s)
    {
        printf("  %s: %.2f us of CPU per message (%.2f s)\n", json_string_value(json_object_get(s, "name")),
               json_real_value(json_object_get(s, "cpu_us_per_message")), json_real_value(json_object_get(s, "cpu_seconds")));
    }
}

static void set_count(json_t *result, const char *key, uint64_t n) { json_object_set_new(result, key, json_integer((json_int_t)n)); }

static json_t *result_make(const struct options *o, double seconds, json_t *servers)
{
    json_t *result = json_object();
    json_object_set_new(result, "scenario", json_string("chat"));
    set_count(result, "pairs", o->pairs);
    set_count(result, "window", o->rate > 0 ? 0 : o->window);
    set_count(result, "rate", o->rate);
    json_object_set_new(result, "single", json_boolean(o->single || o->rate > 0));
    set_count(result, "bytes", o->bytes);
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "messages_per_second", json_real((double)chat.measured / seconds));
    set_count(result, "sent", chat.sent);
    set_count(result, "lost", chat.sent - chat.received);
    set_count(result, "doubled", chat.doubled);
    set_count(result, "out_of_order", chat.disordered);
    set_count(result, "errors", chat.errors);
    json_object_set_new(result, "latency_us", crowd_latency(chat.latency));
    json_object_set_new(result, "servers", servers);
    return result;
}

static void measure(const struct options *o)
{
    struct usage before[SERVERS_MAX], after[SERVERS_MAX];
    chat.sending = true;
    chat.due_ns = net_now_ns();
    for (unsigned w = 0; o->rate == 0 && w < o->window; w++)
        for (unsigned i = 0; i < o->pairs; i++) send_one(&chat.pairs[i], net_now_ns());
    run(o->warmup, "warming up");
    server_read(o, false, before);
    uint64_t begin = net_now_ns();
    chat.measuring = true;
    run(o->seconds, "measuring");
    chat.measuring = false;
    double seconds = (double)(net_now_ns() - begin) / 1e9;
    server_read(o, false, after);
    chat.sending = false;
    run(DRAIN_SECONDS, "waiting for the last");
    json_t *result = result_make(o, seconds, crowd_usage(o, before, after, (double)chat.measured, "message"));
    crowd_show(o, result, print);
}

static int verdict(struct err *err)
{
    if (chat.crowd.gone > 0) return err_set(err, ERR_IO, "%u clients were cut; %s", chat.crowd.gone, chat.crowd.why);
    if (chat.sent != chat.received || chat.doubled + chat.disordered + chat.errors > 0)
        return err_set(err, ERR_IO, "not every message came, once, and in order: see the result");
    return 0;
}

int chat_run(const struct options *o, struct err *err)
{
    chat = (struct chat){.o = o, .latency = x_calloc(1, sizeof *chat.latency), .padding = x_malloc(o->bytes)};
    chat.pairs = x_calloc(o->pairs, sizeof *chat.pairs);
    memset(chat.padding, 'x', o->bytes);
    int rc = crowd_login(&chat.crowd, 2 * o->pairs, o, on_element, err);
    for (unsigned i = 0; i < o->pairs; i++) {
        chat.pairs[i].from = &chat.crowd.clients[(size_t)2 * i];
        chat.pairs[i].to = &chat.crowd.clients[(size_t)2 * i + 1];
    }
    if (rc == 0) {
        measure(o);
        rc = verdict(err);
    }
    crowd_logout(&chat.crowd);
    free(chat.pairs);
    free(chat.latency);
    free(chat.padding);
    return rc;
}
