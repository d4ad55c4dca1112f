/* The catalogue, plans, the choice of a server, conversation keys and event ids. */
#include "unit.h"
#include "base/clock.h"
#include "broker/hold.h"
#include "broker/plan.h"

static struct err err;

static struct compliance_config *config_of(const char *text)
{
    struct compliance_config *c = compliance_config_parse(str_of(text), 3, &err);
    if (c == NULL) fail_msg("%s", err.text);
    return c;
}
static struct stanza *stanza_of(const char *text)
{
    struct stanza *s = stanza_from_text(str_of(text), &err);
    if (s == NULL) fail_msg("%s: %s", text, err.text);
    return s;
}

#define SERVER(name) "{\"name\": \"" name "\", \"host\": \"h\", \"port\": 1, \"password\": \"x\"}"
#define ASSIGN(node, server, profile) "{\"node\": \"" node "\", \"server\": \"" server "\", \"profile\": \"" profile "\"}"
static const char two_profiles[] =
    "{\"servers\": [" SERVER("wall") ", " SERVER("rec1") ", " SERVER("rec2") "], \"profiles\": ["
    "{\"name\": \"Wall\", \"rows\": [{\"event\": \"es_OUT\", \"packet\": \"message\", \"handling\": \"bounce\"}, {\"event\": \"onPacket\", \"handling\": \"pass\", "
    "\"fire_and_forget\": true}]}, "
    "{\"name\": \"SystemDefaultComplianceProfile\"}, {\"name\": \"Unassigned\", \"rows\": [{\"event\": \"es_OUT\", \"packet\": \"all\", \"handling\": \"pass\"}]}], "
    "\"assignments\": [" ASSIGN("n1.x", "rec1", "SystemDefaultComplianceProfile") ", " ASSIGN("n1.x", "rec2", "SystemDefaultComplianceProfile") ", "
    ASSIGN("n2.x", "rec2", "SystemDefaultComplianceProfile") ", " ASSIGN("n1.x", "wall", "Wall") "]}";

static void test_catalogue(void **state)
{
    (void)state;
    assert_int_equal(EVENT_COUNT, 40);
    for (int i = 0; i < EVENT_COUNT; i++) assert_int_equal(event_by_name(event_catalogue[i].name), i);
    assert_int_equal(event_by_name("es_in"), -1);
    assert_int_equal(packet_type_by_name("all"), PACKET_ALL);
    assert_int_equal(packet_type_by_name("any"), -1);
    assert_string_equal(packet_type_name(PACKET_SUBSCRIPTION), "subscription");
    static const struct {
        const char *text;
        unsigned packet;
    } rows[] = {{"<message xmlns='jabber:client'/>", PACKET_MESSAGE},
                {"<iq xmlns='jabber:client' type='get' id='1'><q xmlns='u:q'/></iq>", PACKET_IQ},
                {"<presence xmlns='jabber:client'/>", PACKET_PRESENCE},
                {"<presence xmlns='jabber:client' type='unavailable'/>", PACKET_PRESENCE},
                {"<presence xmlns='jabber:client' type='probe'/>", PACKET_PRESENCE},
                {"<presence xmlns='jabber:client' type='error'/>", PACKET_PRESENCE},
                {"<presence xmlns='jabber:client' type='subscribe'/>", PACKET_SUBSCRIPTION},
                {"<presence xmlns='jabber:client' type='unsubscribed'/>", PACKET_SUBSCRIPTION}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stanza *s = stanza_of(rows[i].text);
        assert_int_equal(packet_type_of(s), rows[i].packet);
        stanza_unref(s);
    }
}

static void test_chains(void **state)
{
    (void)state;
    struct compliance_config *c = config_of(two_profiles);
    struct plan *p = plan_compile(c, "n1.x"), *all = plan_compile(c, NULL), *other = plan_compile(c, "n3.x");
    assert_int_equal(plan_version(p), 3);
    compliance_config_free(c); /* the plan keeps nothing of it */
    struct plan_chain out = plan_chain_of(p, EVENT_es_OUT, PACKET_MESSAGE);
    assert_int_equal(out.n_steps, 2);
    assert_true(str_is(out.steps[0].profile, "Wall") && out.steps[0].bounce && out.steps[0].n_servers == 1);
    assert_true(str_is(out.steps[1].profile, SYSTEM_PROFILE) && out.steps[1].n_servers == 2);
    assert_int_equal(plan_chain_of(p, EVENT_es_OUT, PACKET_IQ).n_steps, 0); /* Unassigned is not asked */
    assert_int_equal(plan_chain_of(p, EVENT_es_IN, PACKET_MESSAGE).n_steps, 1);
    for (unsigned packet = 1; packet <= 8; packet *= 2) {
        assert_int_equal(plan_chain_of(p, EVENT_e_SESSION, packet).n_steps, 1);
        assert_int_equal(plan_chain_of(p, EVENT_onPacket, packet).n_steps, 1);
    }
    assert_true(plan_chain_of(p, EVENT_onPacket, PACKET_IQ).steps[0].fire_and_forget);
    assert_int_equal(plan_chain_of(p, EVENT_onHistory, PACKET_IQ).n_steps, 0);
    assert_int_equal(plan_chain_of(NULL, EVENT_es_OUT, PACKET_MESSAGE).n_steps, 0);
    assert_int_equal(plan_chain_of(other, EVENT_es_OUT, PACKET_MESSAGE).n_steps, 0);
    const struct plan_step *sys = &plan_chain_of(all, EVENT_es_IN, PACKET_MESSAGE).steps[0];
    assert_int_equal(sys->servers[0].n_links + sys->servers[1].n_links, 3); /* rec2 is reached from two nodes */
    plan_unref(plan_ref(p));
    plan_unref(p);
    plan_unref(all);
    plan_unref(other);
    plan_unref(NULL);
}

static bool not_in(void *arg, uint32_t link)
{
    const uint32_t *gone = arg;
    return link != *gone;
}
static bool none(void *arg, uint32_t link)
{
    (void)arg, (void)link;
    return false;
}

static void test_choice(void **state)
{
    (void)state;
    struct compliance_config *c = config_of(two_profiles);
    struct plan *p = plan_compile(c, "n1.x");
    const struct plan_step *step = &plan_chain_of(p, EVENT_es_IN, PACKET_MESSAGE).steps[0];
    uint32_t rec1 = link_id_for("op-rec1.n1-x"), rec2 = link_id_for("op-rec2.n1-x"), nobody = LINK_ID_NONE;
    unsigned on_first = 0;
    assert_string_equal(link_component(rec1), "op-rec1.n1-x");
    assert_string_equal(link_component(12345), "");
    for (int i = 0; i < 1000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "a%d@x b@x", i);
        uint32_t link = plan_choose(step, str_of(key), not_in, &nobody);
        assert_true(link == rec1 || link == rec2);
        assert_int_equal(plan_choose(step, str_of(key), not_in, &nobody), link);
        on_first += link == rec1;
        /* Only the keys of the one that left move. */
        assert_int_equal(plan_choose(step, str_of(key), not_in, &rec2), rec1);
        if (link == rec1) assert_int_equal(plan_choose(step, str_of(key), not_in, &rec2), rec1);
    }
    assert_in_range(on_first, 350, 650);
    assert_int_equal(plan_choose(step, STR("k"), none, NULL), LINK_ID_NONE);
    plan_unref(p);
    compliance_config_free(c);
}

struct moves {
    const uint32_t *links;
    unsigned gone; /* of links; NO_ONE: none */
    unsigned on[8];
};
enum { NO_ONE = 99 };
static bool still_there(void *arg, uint32_t link)
{
    const struct moves *m = arg;
    return m->gone == NO_ONE || link != m->links[m->gone];
}
static unsigned place(const struct plan_step *step, struct moves *m, const char *key, unsigned gone)
{
    m->gone = gone;
    uint32_t link = plan_choose(step, str_of(key), still_there, m);
    for (unsigned i = 0; i < 8; i++)
        if (m->links[i] == link) return i;
    fail_msg("there is no link %u", link);
    return 0;
}

/* Pearson's chi-square: how unlikely this spread is if all are equally likely. */
static double unevenness(const unsigned *on, unsigned n)
{
    double all = 0, sum = 0;
    for (unsigned i = 0; i < n; i++) all += on[i];
    for (unsigned i = 0; i < n; i++) sum += (on[i] - all / n) * (on[i] - all / n) / (all / n);
    return sum;
}

/* A million conversations over eight servers: even; who leaves leaves its keys to all others alike, and nobody else's move. Names and keys differ little. */
static void test_balance(void **state)
{
    (void)state;
    static const char text[] =
        "{\"servers\": [" SERVER("s1") ", " SERVER("s2") ", " SERVER("s3") ", " SERVER("s4") ", " SERVER("s5") ", " SERVER("s6") ", " SERVER("s7") ", " SERVER("s8")
        "], \"profiles\": [{\"name\": \"P\", \"rows\": [{\"event\": \"es_OUT\", \"packet\": \"message\", \"handling\": \"bounce\"}]}, "
        "{\"name\": \"SystemDefaultComplianceProfile\"}], \"assignments\": [" ASSIGN("n1.x", "s1", "P") ", " ASSIGN("n1.x", "s2", "P") ", " ASSIGN("n1.x", "s3", "P") ", "
        ASSIGN("n1.x", "s4", "P") ", " ASSIGN("n1.x", "s5", "P") ", " ASSIGN("n1.x", "s6", "P") ", " ASSIGN("n1.x", "s7", "P") ", " ASSIGN("n1.x", "s8", "P") "]}";
    struct compliance_config *c = config_of(text);
    struct plan *p = plan_compile(c, "n1.x");
    const struct plan_step *step = &plan_chain_of(p, EVENT_es_OUT, PACKET_MESSAGE).steps[0];
    uint32_t links[8];
    for (unsigned i = 0; i < 8; i++) links[i] = step->servers[i].links[0].id;
    struct moves m = {.links = links};
    unsigned heirs[8] = {0};
    const unsigned keys = 1000000, leaves = 3;
    uint64_t began = clock_us();
    for (unsigned i = 0; i < keys; i++) {
        char key[48];
        snprintf(key, sizeof(key), "user%u@example.com user%u@example.com", i / 1000, i % 1000);
        unsigned at = place(step, &m, key, NO_ONE), then = place(step, &m, key, leaves);
        m.on[at]++;
        if (at == leaves)
            heirs[then]++;
        else
            assert_int_equal(then, at);
    }
    print_message("%.0f ns for one of eight\n", (double)(clock_us() - began) * 1000 / keys / 2);
    heirs[leaves] = heirs[7];
    assert_true(unevenness(m.on, 8) < 24.3); /* one chance in a thousand, 7 degrees of freedom; keys and names are fixed, so it either holds or not */
    assert_true(unevenness(heirs, 7) < 22.5); /* the same, 6 */
    plan_unref(p);
    compliance_config_free(c);
}

/* Of all nodes together: first the server, then one of its links. What is of one server stays there when one of its links goes. */
static void test_server_first(void **state)
{
    (void)state;
    static const char text[] = "{\"servers\": [" SERVER("s1") ", " SERVER("s2") "], \"profiles\": [{\"name\": \"P\", \"rows\": [{\"event\": \"es_OUT\", "
                               "\"packet\": \"message\", \"handling\": \"bounce\"}]}, {\"name\": \"SystemDefaultComplianceProfile\"}], \"assignments\": [" ASSIGN("n1.x", "s1", "P")
                               ", " ASSIGN("n2.x", "s1", "P") ", " ASSIGN("n3.x", "s1", "P") ", " ASSIGN("n1.x", "s2", "P") "]}";
    struct compliance_config *c = config_of(text);
    struct plan *p = plan_compile(c, NULL);
    const struct plan_step *step = &plan_chain_of(p, EVENT_es_OUT, PACKET_MESSAGE).steps[0];
    assert_int_equal(step->n_servers, 2);
    assert_int_equal(step->servers[0].n_links, 3);
    uint32_t links[8] = {step->servers[0].links[0].id, step->servers[0].links[1].id, step->servers[0].links[2].id, step->servers[1].links[0].id};
    struct moves m = {.links = links};
    for (unsigned i = 0; i < 12000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "a%u@x b@x", i);
        unsigned at = place(step, &m, key, NO_ONE), then = place(step, &m, key, 0);
        m.on[at]++;
        if (at != 0) assert_int_equal(then, at);
        if (at == 0) assert_in_range(then, 1, 2); /* another link of the same server */
    }
    assert_in_range(m.on[3], 5700, 6300); /* servers share evenly, however many links they have */
    for (unsigned i = 0; i < 3; i++) assert_in_range(m.on[i], 1850, 2150);
    plan_unref(p);
    compliance_config_free(c);
}

static bool is_room_domain(void *owner, struct str domain) { (void)owner; return str_is(domain, "rooms.x"); }

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        enum event_id event;
        const char *stanza, *session, *room, *key;
    } rows[] = {
        {EVENT_es_OUT, "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x/b'/>", "romeo@x/a", NULL, "juliet@x romeo@x"},
        {EVENT_es_IN, "<message xmlns='jabber:client' from='juliet@x/b' to='romeo@x/a'/>", "romeo@x/a", NULL, "juliet@x romeo@x"},
        {EVENT_es_OUT, "<presence xmlns='jabber:client' from='romeo@x/a'/>", "romeo@x/a", NULL, "romeo@x"},
        {EVENT_es_OUT, "<iq xmlns='jabber:client' type='get' id='1' from='romeo@x/a' to='romeo@x'><q xmlns='u:q'/></iq>", "romeo@x/a", NULL, "romeo@x"},
        {EVENT_es_OUT, "<message xmlns='jabber:client' type='groupchat' from='romeo@x/a' to='room@far'/>", "romeo@x/a", NULL, "room@far"},
        {EVENT_es_IN, "<message xmlns='jabber:client' type='groupchat' from='room@far/nick' to='romeo@x/a'/>", "romeo@x/a", NULL, "room@far"},
        {EVENT_e_DELIVER, "<message xmlns='jabber:client' type='groupchat' from='room@far/nick' to='romeo@x/a'/>", NULL, NULL, "room@far"},
        {EVENT_es_OUT, "<presence xmlns='jabber:client' from='romeo@x/a' to='room@rooms.x/nick'/>", "romeo@x/a", NULL, "room@rooms.x"},
        {EVENT_es_IN, "<presence xmlns='jabber:client' from='room@rooms.x/nick' to='romeo@x/a'/>", "romeo@x/a", NULL, "room@rooms.x"},
        {EVENT_onBeforeSend, "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x'/>", NULL, "room@rooms.x", "room@rooms.x"},
        {EVENT_e_SESSION, "<iq xmlns='jabber:client' type='set' id='1' from='romeo@x/a' to='x'><q xmlns='u:q'/></iq>", "romeo@x/a", NULL, "romeo@x"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stanza *s = stanza_of(rows[i].stanza);
        struct question q = {.event = rows[i].event, .subject = s, .session = str_of(rows[i].session), .room = str_of(rows[i].room)};
        struct buf key = {0};
        event_key_compute(&key, &q, is_room_domain, NULL);
        assert_string_equal(buf_cstr(&key), rows[i].key);
        buf_free(&key);
        stanza_unref(s);
    }
}

static void test_events(void **state)
{
    (void)state;
    struct event_candidate candidates[] = {{STR("romeo@x/a"), 1}, {STR("romeo@x/b"), -5}};
    struct stanza *s = stanza_of("<message xmlns='jabber:client' from='juliet@x/b' to='romeo@x'><body>one</body></message>");
    struct stanza *t = stanza_of("<message xmlns='jabber:client' from='juliet@x/b' to='romeo@x'><body>another</body></message>");
    event_ids_start("node1.example.com", 0x6a1b);
    assert_string_equal(event_node(), "node1.example.com");
    struct event_facts facts = {.id = EVENT_e_PRISESSION, .subject = s, .key = STR("juliet@x romeo@x"), .candidates = candidates, .n_candidates = 2};
    struct event *e = event_new(&facts), *next = event_new(&facts), *changed = event_with_subject(e, t), *twice = event_with_subject(changed, s);
    char id[EVENT_ID_SIZE];
    assert_string_equal(event_id_text(e, id), "node1-6a1b-00000001");
    assert_string_equal(event_id_text(changed, id), "node1-6a1b-00000001");
    assert_string_equal(event_id_text(next, id), "node1-6a1b-00000002");
    assert_ptr_equal(changed->subject, t);
    assert_null(e->session.p);
    event_unref(e);
    event_unref(changed);
    assert_true(str_is(twice->key, "juliet@x romeo@x"));
    assert_true(str_is(twice->candidates[1].jid, "romeo@x/b") && twice->candidates[1].priority == -5);
    assert_true(twice->bytes > 100);
    event_unref(event_ref(twice));
    event_unref(twice);
    event_unref(next);
    event_unref(NULL);
    stanza_unref(s);
    stanza_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalogue), cmocka_unit_test(test_chains), cmocka_unit_test(test_choice), cmocka_unit_test(test_balance),
        cmocka_unit_test(test_server_first), cmocka_unit_test(test_keys), cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
