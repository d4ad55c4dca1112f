/* Compliance configurations of the simulation: what each profile says is drawn (or said), written as JSON, and compiled as the product does it. What
 * was drawn is kept beside the plan, so that the plan is not believed but held against it. A pool of them is made once: compiling is the dearest
 * part of a schedule. */
#include "world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 384 };
const char *const profile_names[PROFILES] = {"A", "B", "C", "D"};
const char *const link_names[LINKS] = {"op-a1.n1-x", "op-a2.n1-x", "op-a2.n2-x", "op-b1.n1-x", "op-b2.n1-x", "op-c1.n1-x", "op-d1.n1-x"};
static const struct {
    const char *node, *server;
    unsigned profile;
} assignments[LINKS] = {{"n1.x", "a1", 0}, {"n1.x", "a2", 0}, {"n2.x", "a2", 0}, {"n1.x", "b1", 1}, {"n1.x", "b2", 1}, {"n1.x", "c1", 2}, {"n1.x",
    "d1", 3}};
static const char *const packet_names[PACKETS] = {"iq", "message", "presence", "subscription"};
static struct setting *pool[POOL];

static const struct {
    enum event_id event;
    unsigned packets; /* those it happens with here */
} events[] = {
    {EVENT_es_OUT, PACKET_ALL},  {EVENT_e_SERVER, PACKET_IQ},  {EVENT_e_DELIVER, PACKET_ALL & ~PACKET_IQ}, {EVENT_e_PRISESSION, PACKET_MESSAGE},
    {EVENT_es_IN, PACKET_ALL},   {EVENT_e_OFFLINE, PACKET_MESSAGE}, {EVENT_es_END, PACKET_PRESENCE}, {EVENT_onLeave, PACKET_ALL},
};
enum { EVENTS = sizeof(events) / sizeof(events[0]) };

/* ---- as JSON ---- */

static void row_json(struct buf *b, enum event_id event, const char *packet, const struct rule *r)
{
    buf_addf(b, "%s{\"event\": \"%s\", ", b->data[b->len - 1] == '[' ? "" : ", ", event_catalogue[event].name);
    if (packet != NULL) buf_addf(b, "\"packet\": \"%s\", ", packet);
    buf_addf(b, "\"handling\": \"%s\", \"fire_and_forget\": %s}", r->bounce ? "bounce" : "pass", r->fire ? "true" : "false");
}

static void rows_json(struct buf *b, const struct setting *s, unsigned profile)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        const struct rule *rules = s->rules[profile][events[i].event];
        bool room = event_catalogue[events[i].event].service == SERVICE_TC;
        for (unsigned p = 0; p < (room ? 1 : PACKETS); p++)
            if (rules[p].listed) row_json(b, events[i].event, room ? NULL : packet_names[p], &rules[p]);
    }
}

static void setting_compile(struct setting *s)
{
    struct buf b = {0};
    struct err err;
    buf_adds(&b, "{\"servers\": [");
    for (unsigned i = 0; i < LINKS; i++)
        if (i == 0 || strcmp(assignments[i].server, assignments[i - 1].server) != 0)
            buf_addf(&b, "%s{\"name\": \"%s\", \"host\": \"h\", \"port\": 1, \"password\": \"x\"}", i == 0 ? "" : ", ", assignments[i].server);
    buf_adds(&b, "], \"profiles\": [{\"name\": \"SystemDefaultComplianceProfile\"}");
    for (unsigned i = 0; i < PROFILES; i++) {
        buf_addf(&b, ", {\"name\": \"%s\", \"rows\": [", profile_names[s->order[i]]);
        rows_json(&b, s, s->order[i]);
        buf_adds(&b, "]}");
    }
    buf_adds(&b, "], \"assignments\": [");
    for (unsigned i = 0, n = 0; i < LINKS; i++) {
        if ((s->links[assignments[i].profile] & 1u << i) == 0) continue;
        buf_addf(&b, "%s{\"node\": \"%s\", \"server\": \"%s\", \"profile\": \"%s\"}", n++ == 0 ? "" : ", ", assignments[i].node,
            assignments[i].server,
                 profile_names[assignments[i].profile]);
    }
    buf_adds(&b, "]}");
    struct compliance_config *c = compliance_config_parse(buf_str(&b), 1, &err);
    CHECK(c != NULL, "%s: %s", buf_cstr(&b), err.text);
    s->plan = plan_compile(c, NULL);
    compliance_config_free(c);
    buf_free(&b);
}

/* ---- drawn ---- */

static void rule_draw(struct rule *r)
{
    bool bounce = chance(750);
    *r = (struct rule){.listed = true, .bounce = bounce, .fire = chance(bounce ? 40 : 200)};
}

static void event_draw(struct setting *s, unsigned profile, unsigned i, unsigned density)
{
    struct rule *rules = s->rules[profile][events[i].event];
    bool room = event_catalogue[events[i].event].service == SERVICE_TC;
    if (!chance(density)) return;
    bool same = room || chance(500); /* for all packet types */
    rule_draw(&rules[0]);
    for (unsigned p = 1; p < PACKETS; p++) {
        if (same)
            rules[p] = rules[0];
        else if (chance(600))
            rule_draw(&rules[p]);
    }
    if (!same && chance(400)) rules[0].listed = false;
}

static struct setting *setting_make(void)
{
    static const unsigned densities[] = {100, 300, 500, 800};
    struct setting *s = x_calloc(1, sizeof(*s));
    unsigned density = densities[draw(4)];
    for (unsigned i = 0; i < PROFILES; i++) {
        s->order[i] = i;
        for (unsigned e = 0; e < EVENTS; e++) event_draw(s, i, e, density);
    }
    for (unsigned i = PROFILES - 1; i > 0; i--) {
        unsigned j = (unsigned)draw(i + 1), was = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = was;
    }
    unsigned assigned = chance(300) ? 400 : 850;
    for (unsigned i = 0; i < LINKS; i++)
        if (chance(assigned)) s->links[assignments[i].profile] |= 1u << i;
    setting_compile(s);
    return s;
}

const struct setting *setting_draw(void)
{
    if (pool[0] == NULL) {
        uint64_t random = w.random;
        w.random = 1;
        for (unsigned i = 0; i < POOL; i++) pool[i] = setting_make();
        w.random = random;
    }
    return pool[draw(POOL)];
}

void settings_free(void)
{
    for (unsigned i = 0; i < POOL && pool[i] != NULL; i++) setting_free(pool[i]);
}

void setting_free(struct setting *s)
{
    plan_unref(s->plan);
    free(s);
}

/* ---- said ---- */

static void row_said(struct setting *s, unsigned profile, char *row)
{
    char *rest = NULL;
    const char *event = strtok_r(row, " ", &rest), *packet = strtok_r(NULL, " ", &rest), *handling = strtok_r(NULL, " ", &rest),
        *forget = strtok_r(NULL, " ", &rest);
    int id = event_by_name(event), mask = packet_type_by_name(packet);
    CHECK(id >= 0 && mask > 0 && handling != NULL, "a row that is none: %s", event);
    for (unsigned p = 0; p < PACKETS; p++)
        if ((unsigned)mask & 1u << p) s->rules[profile][id][p] = (struct rule){true, strcmp(handling, "bounce") == 0, forget != NULL};
}

struct setting *setting_said(const char *rows[PROFILES], unsigned links, bool backwards)
{
    struct setting *s = x_calloc(1, sizeof(*s));
    for (unsigned i = 0; i < PROFILES; i++) {
        s->order[i] = backwards ? PROFILES - 1 - i : i;
        if (rows[i] == NULL) continue;
        char *copy = x_strdup(rows[i]), *rest = NULL;
        for (char *row = strtok_r(copy, ";", &rest); row != NULL; row = strtok_r(NULL, ";", &rest)) row_said(s, i, row);
        free(copy);
    }
    for (unsigned i = 0; i < LINKS; i++)
        if (links & 1u << i) s->links[assignments[i].profile] |= 1u << i;
    setting_compile(s);
    return s;
}

/* ---- what it says ---- */

bool rule_of(const struct setting *s, unsigned profile, enum event_id event, const struct stanza *subject, struct rule *out)
{
    unsigned packet = 0;
    if (event_catalogue[event].service == SERVICE_JSM)
        while ((packet_type_of(subject) & 1u << packet) == 0) packet++;
    *out = s->rules[profile][event][packet];
    return out->listed && s->links[profile] != 0;
}
