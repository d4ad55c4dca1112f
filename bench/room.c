/* Chat rooms (XEP-0045): each account is in every one of the rooms, and the first ones of a room write. Closed loop: a writer has --window messages under way,
 * and each that the room sends back to it lets the next go. Open loop (--rate): messages leave when they are due. What is counted is deliveries: a message
 * to a room of 200 is 200 of them.
 *
 * Whoever is in a room must see what everybody else in it sees, in the same order. The order of a room is what the first occupant to see a message makes of
 * it; the others, as long as nothing is missing, are compared with that. */
#include "crowd.h"
#include "histogram.h"
#include "scan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_BYTES = 64 << 20, DRAIN_SECONDS = 20, JOIN_SECONDS = 120 };

struct place { /* one occupant of one room */
    uint64_t seen; /* messages; where in the room's order it is */
    bool joined;
    bool broken; /* something was missing: its place in the order is not known any more */
};
struct hearing { /* of one occupant, what one writer wrote */
    uint64_t next; /* the number after the highest that came */
    uint64_t missing; /* below it */
};
struct room {
    char *jid;
    uint64_t *order; /* the last of it, a ring: writer << 40 | number */
    uint64_t n; /* messages anybody has seen */
    uint64_t *sent; /* of each writer */
    struct hearing *heard; /* by account, then by writer */
    struct place *places; /* by account */
    unsigned joined;
    bool made;
};
static struct {
    const struct options *o;
    struct crowd crowd;
    struct room *rooms;
    struct histogram *latency;
    char *padding;
    bool sending, measuring;
    uint64_t order; /* of how many messages each room's order is kept */
    unsigned joined, asked; /* places */
    uint64_t sent, delivered, measured, doubled, disordered, errors;
    uint64_t due_ns, due_turn; /* open loop: when the next message is due, and whose turn it is */
} rooms;

/* ---- joining ---- */

static void join(struct room *r, unsigned account)
{
    struct client *c = &rooms.crowd.clients[account];
    struct buf *out = net_out(c->net);
    buf_addf(out, "<presence to='%s/o%u'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>", r->jid, account);
    net_touch(c->net);
    rooms.asked++;
}

/* A room that is new waits for its owner, who takes it as it comes (XEP-0045, 10.1.2). */
static void make(struct room *r)
{
    struct client *c = &rooms.crowd.clients[0];
    buf_addf(net_out(c->net),
             "<iq type='set' to='%s' id='make'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>", r->jid);
    net_touch(c->net);
}

static struct room *room_of(struct str from)
{
    const char *number = memchr(from.p, '-', from.n), *slash = memchr(from.p, '/', from.n);
    size_t bare = slash != NULL ? (size_t)(slash - from.p) : from.n;
    unsigned long i = number != NULL ? strtoul(number + 1, NULL, 10) : rooms.o->rooms;
    struct room *r = i < rooms.o->rooms ? &rooms.rooms[i] : NULL;
    return r != NULL && strlen(r->jid) == bare && memcmp(r->jid, from.p, bare) == 0 ? r : NULL;
}

static void on_presence(struct client *c, struct room *r, struct str e, bool error)
{
    struct place *p = &r->places[c->index];
    if (error) {
        if (rooms.errors++ == 0) fprintf(stderr, "signet-bench: client %u cannot join %s: %.*s\n", c->index, r->jid, (int)(e.n < 300 ? e.n : 300), e.p);
        return;
    }
    if (p->joined || !(scan_contains(e, "code='110'") || scan_contains(e, "code=\"110\""))) return;
    p->joined = true;
    r->joined++;
    rooms.joined++;
    if (c->index != 0) return;
    if (scan_contains(e, "201"))
        make(r);
    else
        r->made = true;
}

/* ---- messages ---- */

static void send_one(struct room *r, unsigned writer, uint64_t at_ns)
{
    struct client *c = &rooms.crowd.clients[writer];
    struct buf *out = net_out(c->net);
    char head[80];
    int n = snprintf(head, sizeof head, "b1 %u %" PRIu64 " %" PRIu64 " ", writer, r->sent[writer], at_ns);
    buf_addf(out, "<message type='groupchat' to='%s' id='%" PRIu64 "'><body>", r->jid, r->sent[writer]);
    buf_add(out, head, (size_t)n);
    if (rooms.o->bytes > (unsigned)n) buf_add(out, rooms.padding, rooms.o->bytes - (unsigned)n);
    BUF_ADD_LIT(out, "</body></message>");
    r->sent[writer]++;
    rooms.sent++;
    if (rooms.o->single || rooms.o->rate > 0)
        net_flush(c->net);
    else
        net_touch(c->net);
}

/* false: it has come before. A writer's messages must come in their order to everybody, and those of all of them in one order. */
static bool check_order(struct room *r, unsigned account, uint64_t writer, uint64_t number)
{
    struct place *p = &r->places[account];
    struct hearing *h = &r->heard[(uint64_t)account * rooms.o->senders + writer];
    uint64_t id = writer << 40 | number;
    bool late = number < h->next;
    if (late && h->missing == 0) {
        rooms.doubled++;
        return false;
    }
    if (late) {
        h->missing--;
        rooms.disordered++;
    } else {
        h->missing += number - h->next;
        p->broken = p->broken || number > h->next;
        h->next = number + 1;
    }
    if (!p->broken && p->seen == r->n) /* the first to see it */
        r->order[r->n++ % rooms.order] = id;
    else if (!p->broken && (r->n - p->seen > rooms.order || r->order[p->seen % rooms.order] != id))
        rooms.disordered++;
    p->seen++;
    return true;
}

static void on_message(struct client *c, struct room *r, struct str e, uint64_t now_ns)
{
    const char *body = memmem(e.p, e.n, "<body>b1 ", 9);
    if (body == NULL) return; /* the subject */
    char *end;
    uint64_t writer = strtoull(body + 9, &end, 10), number = strtoull(end, &end, 10), at = strtoull(end, NULL, 10);
    if (writer >= rooms.o->senders || number >= r->sent[writer]) {
        rooms.errors++;
        return;
    }
    if (!check_order(r, c->index, writer, number)) return;
    rooms.delivered++;
    if (rooms.measuring) {
        rooms.measured++;
        histogram_add(rooms.latency, now_ns > at ? now_ns - at : 0);
    }
    if (writer == c->index && rooms.sending && rooms.o->rate == 0) send_one(r, (unsigned)writer, now_ns);
}

static void on_element(struct client *c, struct str e, uint64_t now_ns)
{
    struct str from = scan_attribute(e, "from");
    struct room *r = from.p != NULL ? room_of(from) : NULL;
    bool error = str_is(scan_attribute(e, "type"), "error");
    if (r == NULL) return;
    if (e.n > 9 && memcmp(e.p, "<presence", 9) == 0)
        on_presence(c, r, e, error);
    else if (error)
        rooms.errors++;
    else if (e.n > 8 && memcmp(e.p, "<message", 8) == 0)
        on_message(c, r, e, now_ns);
    else if (str_is(scan_attribute(e, "id"), "make"))
        r->made = true;
}

/* ---- the run ---- */

static int join_all(struct err *err)
{
    uint64_t until = net_now_ns() + JOIN_SECONDS * 1000000000ULL;
    unsigned places = rooms.o->rooms * rooms.o->occupants, next = 0;
    unsigned made = 0;
    while (rooms.joined < places && rooms.errors == 0 && rooms.crowd.gone == 0 && net_now_ns() < until) {
        while (next < rooms.o->rooms && rooms.asked - rooms.joined < rooms.o->logins) join(&rooms.rooms[next++], 0);
        for (; made < next && rooms.rooms[made].made && rooms.asked - rooms.joined < rooms.o->logins; made++)
            for (unsigned i = 1; i < rooms.o->occupants; i++) join(&rooms.rooms[made], i);
        net_turn(100000000);
        progress(rooms.o, "%u of %u occupants have joined", rooms.joined, places);
    }
    progress_end();
    if (rooms.crowd.gone > 0) return err_set(err, ERR_IO, "%u clients were cut; %s", rooms.crowd.gone, rooms.crowd.why);
    if (rooms.joined < places) return err_set(err, ERR_IO, "%u of %u occupants have joined within %d s", rooms.joined, places, JOIN_SECONDS);
    return 0;
}

static void send_due(uint64_t now)
{
    uint64_t turns = (uint64_t)rooms.o->rooms * rooms.o->senders;
    while (rooms.due_ns <= now) {
        send_one(&rooms.rooms[rooms.due_turn % rooms.o->rooms], (unsigned)(rooms.due_turn / rooms.o->rooms), rooms.due_ns);
        rooms.due_turn = (rooms.due_turn + 1) % turns;
        rooms.due_ns += 1000000000ULL / rooms.o->rate;
    }
}

/* Runs for so long, or until all has arrived when nothing more is sent. */
static void run(double seconds, const char *what)
{
    uint64_t end = net_now_ns() + (uint64_t)(seconds * 1e9), last = rooms.delivered;
    uint64_t now, shown = net_now_ns();
    while ((now = net_now_ns()) < end && rooms.crowd.gone == 0 && (rooms.sending || rooms.delivered < rooms.sent * rooms.o->occupants)) {
        uint64_t wait = 100000000;
        if (rooms.sending && rooms.o->rate > 0) {
            send_due(now);
            now = net_now_ns();
            wait = rooms.due_ns > now ? rooms.due_ns - now : 0;
        }
        net_turn(wait < end - now || end < now ? wait : end - now);
        if (now - shown < 1000000000U) continue;
        progress(rooms.o, "%s: %" PRIu64 " deliveries, %.0f a second", what, rooms.delivered, (double)(rooms.delivered - last) * 1e9 / (double)(now - shown));
        last = rooms.delivered;
        shown = now;
    }
    progress_end();
}

static uint64_t lost(void) { return rooms.sent * rooms.o->occupants - rooms.delivered; }

static void print(const struct options *o, const json_t *result)
{
    static const char *const percentiles[] = {"p50", "p90", "p99", "p99.9", "max"};
    const json_t *latency = json_object_get(result, "latency_us");
    printf("%u rooms of %u, %u writers each, %s %u: %.0f deliveries a second of %.0f messages\n", o->rooms, o->occupants, o->senders, o->rate > 0 ? "rate" : "window",
           o->rate > 0 ? o->rate : o->window, json_real_value(json_object_get(result, "deliveries_per_second")),
           json_real_value(json_object_get(result, "deliveries_per_second")) / o->occupants);
    printf("  sent %" PRIu64 ", deliveries lost %" PRIu64 ", doubled %" PRIu64 ", out of order %" PRIu64 ", errors %" PRIu64 "\n  latency in us:", rooms.sent, lost(), rooms.doubled,
           rooms.disordered, rooms.errors);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        printf("  %s %.0f", percentiles[i], json_real_value(json_object_get(latency, percentiles[i])));
    puts("");
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(result, "servers"), i, s)
    {
        printf("  %s: %.2f us of CPU per delivery (%.2f s); joining: %.0f us of CPU and %.0f bytes (PSS) per occupant\n", json_string_value(json_object_get(s, "name")),
               json_real_value(json_object_get(s, "cpu_us_per_delivery")), json_real_value(json_object_get(s, "cpu_seconds")),
               json_real_value(json_object_get(s, "cpu_us_per_join")), json_real_value(json_object_get(s, "pss_bytes_per_occupant")));
    }
}

static void set_count(json_t *result, const char *key, uint64_t n) { json_object_set_new(result, key, json_integer((json_int_t)n)); }

static json_t *result_make(const struct options *o, double seconds, json_t *servers)
{
    json_t *result = json_pack("{s:s}", "scenario", "room");
    set_count(result, "rooms", o->rooms);
    set_count(result, "occupants", o->occupants);
    set_count(result, "senders", o->senders);
    set_count(result, "window", o->rate > 0 ? 0 : o->window);
    set_count(result, "rate", o->rate);
    set_count(result, "bytes", o->bytes);
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "deliveries_per_second", json_real((double)rooms.measured / seconds));
    set_count(result, "sent", rooms.sent);
    set_count(result, "lost", lost());
    set_count(result, "doubled", rooms.doubled);
    set_count(result, "out_of_order", rooms.disordered);
    set_count(result, "errors", rooms.errors);
    json_object_set_new(result, "latency_us", crowd_latency(rooms.latency));
    json_object_set_new(result, "servers", servers);
    return result;
}

static void measure(const struct options *o, const struct usage *before, const struct usage *joined)
{
    struct usage begun[SERVERS_MAX], after[SERVERS_MAX];
    rooms.sending = true;
    rooms.due_ns = net_now_ns();
    for (unsigned w = 0; o->rate == 0 && w < o->window; w++)
        for (unsigned r = 0; r < o->rooms; r++)
            for (unsigned i = 0; i < o->senders; i++) send_one(&rooms.rooms[r], i, net_now_ns());
    run(o->warmup, "warming up");
    server_read(o, false, begun);
    uint64_t begin = net_now_ns();
    rooms.measuring = true;
    run(o->seconds, "measuring");
    rooms.measuring = false;
    double seconds = (double)(net_now_ns() - begin) / 1e9, places = (double)o->rooms * o->occupants;
    server_read(o, false, after);
    rooms.sending = false;
    run(DRAIN_SECONDS, "waiting for the last");
    json_t *servers = crowd_usage(o, begun, after, (double)rooms.measured, "delivery");
    for (unsigned i = 0; i < o->n_servers; i++) {
        json_t *s = json_array_get(servers, i);
        json_object_set_new(s, "cpu_us_per_join", json_real((joined[i].cpu_us - before[i].cpu_us) / places));
        json_object_set_new(s, "pss_bytes_per_occupant", json_real(((double)joined[i].pss_bytes - (double)before[i].pss_bytes) / places));
    }
    crowd_show(o, result_make(o, seconds, servers), print);
}

static int verdict(struct err *err)
{
    if (rooms.crowd.gone > 0) return err_set(err, ERR_IO, "%u clients were cut; %s", rooms.crowd.gone, rooms.crowd.why);
    if (lost() != 0 || rooms.doubled + rooms.disordered + rooms.errors > 0) return err_set(err, ERR_IO, "not everybody got every message, once, and in the same order: see the result");
    return 0;
}

static void rooms_make(const struct options *o)
{
    rooms.rooms = x_calloc(o->rooms, sizeof *rooms.rooms);
    rooms.order = ORDER_BYTES / sizeof(uint64_t) / o->rooms;
    if (rooms.order < 1024) rooms.order = 1024;
    for (unsigned i = 0; i < o->rooms; i++) {
        struct buf jid = {0};
        struct room *r = &rooms.rooms[i];
        if (o->muc != NULL)
            buf_addf(&jid, "bench-%u@%s", i, o->muc);
        else
            buf_addf(&jid, "bench-%u@conference.%s", i, o->domain);
        (void)buf_cstr(&jid);
        r->jid = jid.data;
        r->order = x_malloc(rooms.order * sizeof *r->order);
        r->sent = x_calloc(o->senders, sizeof *r->sent);
        r->heard = x_calloc((size_t)o->occupants * o->senders, sizeof *r->heard);
        r->places = x_calloc(o->occupants, sizeof *r->places);
    }
}

static void rooms_free(const struct options *o)
{
    for (unsigned i = 0; i < o->rooms; i++) {
        free(rooms.rooms[i].jid);
        free(rooms.rooms[i].order);
        free(rooms.rooms[i].sent);
        free(rooms.rooms[i].heard);
        free(rooms.rooms[i].places);
    }
    free(rooms.rooms);
    free(rooms.latency);
    free(rooms.padding);
}

int room_run(const struct options *o, struct err *err)
{
    struct usage before[SERVERS_MAX], joined[SERVERS_MAX];
    memset(&rooms, 0, sizeof rooms);
    rooms.o = o;
    rooms.latency = x_calloc(1, sizeof *rooms.latency);
    rooms.padding = x_malloc(o->bytes);
    memset(rooms.padding, 'x', o->bytes);
    rooms_make(o);
    int rc = crowd_login(&rooms.crowd, o->occupants, o, on_element, err);
    server_read(o, true, before);
    if (rc == 0) rc = join_all(err);
    server_read(o, true, joined);
    if (rc == 0) {
        measure(o, before, joined);
        rc = verdict(err);
    }
    crowd_logout(&rooms.crowd);
    rooms_free(o);
    return rc;
}
