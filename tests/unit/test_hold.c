/* Holds: every row of the "Answers" table of the event catalogue, with links and a clock of the test's own. */
#include "unit.h"
#include "base/list.h"
#include "broker/hold.h"

struct sent {
    uint32_t link;
    struct event_request request;
};
struct fixture {
    struct holds *h;
    uint64_t now_us;
    struct sent sent[64];
    unsigned n_sent;
    unsigned news[HOLD_NEWS_COUNT];
    unsigned wakes, forgets;
    char last_verdict[48];
    struct buf told; /* verdicts, as "PASS ", "REFUSE(policy-violation,cancel) " */
    struct stanza *subject;
    bool raise_again; /* in done() */
};
static struct fixture f;

static uint64_t now_us(void *o) { (void)o; return f.now_us; }
static void on_send(void *o, uint32_t link, struct event_request *take)
{
    (void)o;
    assert_true(f.n_sent < 64);
    f.sent[f.n_sent++] = (struct sent){link, *take};
}
static void on_forget(void *o, uint32_t link, uint64_t hold)
{
    (void)o, (void)link, (void)hold;
    f.forgets++;
}
static void on_wake(void *o) { (void)o; f.wakes++; }
static void on_report(void *o, const struct hold_report *r)
{
    (void)o;
    f.news[r->news]++;
    if (r->verdict != NULL) snprintf(f.last_verdict, sizeof(f.last_verdict), "%s", r->verdict);
    hold_report_count(r, NULL, 0);
}
static const struct hold_ops ops = {now_us, on_send, on_forget, on_wake, on_report, NULL};

static struct question question(enum event_id event);
static void tell(struct buf *out, const struct verdict *v)
{
    static const char *const names[] = {"PASS", "HANDLE", "REFUSE", "DISCARD"};
    buf_adds(out, names[v->kind]);
    if (v->changed) buf_adds(out, "*");
    if (v->kind == VERDICT_REFUSE) buf_addf(out, "(%s,%s%s%s)", v->condition, v->type, v->text != NULL ? "," : "", v->text != NULL ? v->text : "");
    if (v->outage) buf_adds(out, "!");
    if (v->kind == VERDICT_HANDLE && v->stanza != NULL) buf_addf(out, "+%.*s", STR_ARG(v->stanza->id));
    if (v->session != NULL) buf_addf(out, "@%s", v->session);
    buf_adds(out, " ");
}
static void done(void *arg, const struct verdict *v)
{
    (void)arg;
    tell(&f.told, v);
    if (v->kind == VERDICT_PASS && !v->changed) assert_ptr_equal(v->stanza, f.subject);
    if (!f.raise_again) return;
    f.raise_again = false;
    struct question q = question(EVENT_es_IN);
    struct verdict now;
    assert_false(holds_raise(f.h, &q, &now));
}

static struct question question(enum event_id event)
{
    return (struct question){.event = event, .subject = f.subject, .session = STR("romeo@x/a"), .done = done};
}
static void subject(const char *text)
{
    struct err err;
    stanza_unref(f.subject);
    f.subject = stanza_from_text(str_of(text), &err);
    if (f.subject == NULL) fail_msg("%s", err.text);
}
#define MESSAGE "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m1'><body>art</body></message>"
#define IQ_SUBJECT "<iq xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='get' id='i1'><query xmlns='u:q'/></iq>"

#define SERVER(name) "{\"name\": \"" name "\", \"host\": \"h\", \"port\": 1, \"password\": \"x\"}"
#define ASSIGN(server, profile) "{\"node\": \"n.x\", \"server\": \"" server "\", \"profile\": \"" profile "\"}"
static struct plan *plan_of(const char *rows_one, const char *rows_two)
{
    struct buf b = {0};
    struct err err;
    buf_addf(&b, "{\"servers\": [" SERVER("a1") ", " SERVER("a2") ", " SERVER("b1") "], \"profiles\": [{\"name\": \"One\", \"rows\": [%s]}, {\"name\": \"Two\", \"rows\": [%s]}], "
             "\"assignments\": [" ASSIGN("a1", "One") ", " ASSIGN("a2", "One") ", " ASSIGN("b1", "Two") "]}", rows_one, rows_two);
    struct compliance_config *c = compliance_config_parse(buf_str(&b), 1, &err);
    if (c == NULL) fail_msg("%s", err.text);
    struct plan *p = plan_compile(c, "n.x");
    compliance_config_free(c);
    buf_free(&b);
    return p;
}
#define ROW(event, handling, ff) "{\"event\": \"" event "\", \"handling\": \"" handling "\", \"fire_and_forget\": " ff "}"
static uint32_t a1, a2, b1;

static void start(const char *rows_one, const char *rows_two)
{
    memset(&f, 0, sizeof(f));
    f.now_us = 1000000;
    f.h = holds_new(0, 30000, &ops, NULL);
    struct plan *p = plan_of(rows_one, rows_two);
    holds_set_plan(f.h, p);
    plan_unref(p);
    a1 = link_id_for("op-a1.n-x");
    a2 = link_id_for("op-a2.n-x");
    b1 = link_id_for("op-b1.n-x");
    holds_link(f.h, a1, true);
    holds_link(f.h, b1, true);
    subject(MESSAGE);
}
static void finish(void)
{
    for (unsigned i = 0; i < f.n_sent; i++) event_request_clear(&f.sent[i].request);
    assert_int_equal(holds_count(f.h), 0);
    holds_free(f.h);
    stanza_unref(f.subject);
    buf_free(&f.told);
}
static void raise_waits(enum event_id event)
{
    struct question q = question(event);
    struct verdict now;
    assert_false(holds_raise(f.h, &q, &now));
}
static void raise_now(enum event_id event, const char *verdict)
{
    struct question q = question(event);
    struct verdict now;
    struct buf b = {0};
    assert_true(holds_raise(f.h, &q, &now));
    tell(&b, &now);
    assert_string_equal(buf_cstr(&b), verdict);
    buf_free(&b);
}
/* Answers the last event sent. inner: the stanza, or NULL. */
static void answer(enum answer_kind kind, const char *inner)
{
    struct err err;
    const struct sent *s = &f.sent[f.n_sent - 1];
    struct event_answer a = {.kind = kind, .hold = s->request.hold, .turn = s->request.turn, .link = s->link};
    if (inner != NULL) a.stanza = stanza_from_text(str_of(inner), &err);
    if (inner != NULL && a.stanza == NULL) fail_msg("%s", err.text);
    holds_answer(f.h, &a);
}
static void answer_error(const char *condition, const char *type, const char *text)
{
    const struct sent *s = &f.sent[f.n_sent - 1];
    struct event_answer a = {.kind = ANSWER_ERROR, .hold = s->request.hold, .turn = s->request.turn, .link = s->link, .text = text != NULL ? x_strdup(text) : NULL};
    snprintf(a.condition, sizeof(a.condition), "%s", condition);
    snprintf(a.type, sizeof(a.type), "%s", type);
    holds_answer(f.h, &a);
}
static void told(const char *expected)
{
    assert_string_equal(buf_cstr(&f.told), expected);
    buf_reset(&f.told);
}

static void test_nobody_asked(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), "");
    raise_now(EVENT_es_IN, "PASS ");
    assert_int_equal(f.news[HOLD_RAISED], 1);
    assert_false(holds_planned(f.h, EVENT_es_IN, f.subject));
    assert_true(holds_planned(f.h, EVENT_es_OUT, f.subject));
    assert_int_equal(holds_due_ms(f.h), UINT64_MAX);
    holds_set_plan(f.h, NULL);
    raise_now(EVENT_es_OUT, "PASS ");
    finish();
}

static void test_chain_of_passes(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    assert_int_equal(f.n_sent, 1);
    assert_int_equal(f.sent[0].link, a1);
    assert_true(str_is(f.sent[0].request.profile, "One") && str_is(f.sent[0].request.event->key, "juliet@x romeo@x"));
    assert_int_equal(holds_count(f.h), 1);
    answer(ANSWER_PASS, NULL);
    told("");
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.sent[1].link, b1);
    assert_true(str_is(f.sent[1].request.profile, "Two"));
    assert_int_equal(f.sent[1].request.event->seq, f.sent[0].request.event->seq);
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    answer(ANSWER_PASS, NULL); /* twice: only counted */
    assert_int_equal(f.news[HOLD_LATE], 1);
    assert_string_equal(f.last_verdict, "pass");
    finish();
}

static void test_changed_stanza(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    uint64_t sid = f.subject->sid;
    answer(ANSWER_PASS_STANZA, "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m1'><body>***</body></message>");
    const struct stanza *next = f.sent[1].request.event->subject;
    assert_true(str_is(next->inner, "<body>***</body>")); /* what the next profile is asked about */
    assert_int_equal(next->sid, sid);
    answer(ANSWER_PASS, NULL);
    told("PASS* ");
    static const char *const changed[] = {
        "<message xmlns='jabber:client' from='mercutio@x/a' to='juliet@x' type='chat' id='m1'/>", "<message xmlns='jabber:client' from='romeo@x/a' to='nurse@x' type='chat' id='m1'/>",
        "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' id='m1'/>",                "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m2'/>",
        "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat'/>",            "<presence xmlns='jabber:client' from='romeo@x/a' to='juliet@x' id='m1'/>",
    };
    for (unsigned i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        raise_waits(EVENT_es_OUT);
        answer(ANSWER_PASS_STANZA, changed[i]);
        told("REFUSE(internal-server-error,cancel)! ");
        assert_int_equal(f.news[HOLD_INVALID], i + 1);
        assert_string_equal(f.last_verdict, "invalid");
    }
    finish();
}

static void test_handle(void **state)
{
    (void)state;
    start(ROW("es_OUT", "pass", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_HANDLE, NULL);
    told("HANDLE "); /* Two is not asked */
    assert_int_equal(f.n_sent, 1);
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_HANDLE, "<iq xmlns='jabber:client' type='result' id='m1'/>");
    told("HANDLE ");
    assert_int_equal(f.news[HOLD_IGNORED], 1); /* no iq, no reply */
    subject(IQ_SUBJECT);
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_HANDLE, "<iq xmlns='jabber:client' type='result' id='i1'/>");
    told("HANDLE+i1 ");
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_HANDLE, "<iq xmlns='jabber:client' type='result' id='other'/>");
    assert_int_equal(f.news[HOLD_INVALID], 1); /* Handling pass: Two is asked now */
    assert_int_equal(f.sent[f.n_sent - 1].link, b1);
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    finish();
}

static void test_errors(void **state)
{
    (void)state;
    start(ROW("es_OUT", "pass", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    answer_error("policy-violation", "", NULL); /* discarded */
    told("");
    assert_int_equal(f.news[HOLD_UNLOGGED], 0);
    answer_error("policy-violation", "modify", "no secrets");
    told("REFUSE(policy-violation,modify,no secrets) ");
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_PASS, NULL);
    answer_error("forbidden", "nonsense", NULL);
    told("REFUSE(forbidden,auth) ");
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_PASS, NULL);
    answer_error("no-such-thing", "", NULL);
    told("REFUSE(undefined-condition,cancel) ");
    finish();
}

static void test_timeout(void **state)
{
    (void)state;
    start(ROW("es_OUT", "pass", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    assert_int_equal(holds_due_ms(f.h), 31000);
    f.now_us += 29999999;
    holds_tick(f.h);
    assert_int_equal(f.n_sent, 1);
    f.now_us += 1;
    holds_tick(f.h);
    assert_int_equal(f.n_sent, 2); /* each profile has its own time */
    assert_int_equal(f.news[HOLD_UNLOGGED], 1);
    assert_int_equal(f.forgets, 1);
    assert_int_equal(holds_due_ms(f.h), 61000);
    struct event_answer late = {.kind = ANSWER_HANDLE, .hold = f.sent[0].request.hold, .turn = 0, .link = a1};
    holds_answer(f.h, &late); /* for another step */
    assert_int_equal(f.news[HOLD_LATE], 1);
    struct event_answer other = {.kind = ANSWER_HANDLE, .hold = f.sent[0].request.hold, .turn = 1, .link = a1};
    holds_answer(f.h, &other); /* from another link */
    struct event_answer unknown = {.kind = ANSWER_PASS, .hold = 777, .link = a1};
    holds_answer(f.h, &unknown);
    assert_int_equal(f.news[HOLD_LATE], 3);
    f.now_us += 30000000;
    holds_tick(f.h);
    told("REFUSE(internal-server-error,cancel)! ");
    assert_int_equal(f.news[HOLD_TIMEOUT], 2);
    assert_string_equal(f.last_verdict, "timeout");
    finish();
}

static void test_not_refusable(void **state)
{
    (void)state;
    start(ROW("onLeave", "bounce", "false") ", " ROW("onAfterJoin", "bounce", "false") ", " ROW("onAfterRoomCreate", "bounce", "false"), "");
    raise_waits(EVENT_onLeave);
    answer(ANSWER_HANDLE, NULL);
    raise_waits(EVENT_onLeave);
    answer_error("forbidden", "", NULL);
    assert_int_equal(f.news[HOLD_OVERRULED], 2);
    raise_waits(EVENT_onLeave);
    answer(ANSWER_PASS_STANZA, MESSAGE); /* pass: ignored and counted */
    assert_int_equal(f.news[HOLD_IGNORED], 1);
    raise_waits(EVENT_onAfterJoin);
    answer(ANSWER_PASS_STANZA, MESSAGE); /* pass-empty */
    assert_int_equal(f.news[HOLD_INVALID], 1);
    raise_waits(EVENT_onAfterRoomCreate); /* pass-unmodified: an echo, as XML */
    answer(ANSWER_PASS_STANZA, "<message xmlns='jabber:client' id=\"m1\" from='romeo@x/a' to='juliet@x' type='chat'><body xmlns='jabber:client'>a&#x72;t</body></message>");
    assert_int_equal(f.news[HOLD_INVALID], 1);
    raise_waits(EVENT_onAfterRoomCreate);
    answer(ANSWER_PASS_STANZA, "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m1'><body>thou</body></message>");
    assert_int_equal(f.news[HOLD_INVALID], 2);
    raise_waits(EVENT_onLeave);
    f.now_us += 30000000;
    holds_tick(f.h);
    told("PASS PASS PASS PASS PASS PASS PASS ");
    holds_link(f.h, a1, false);
    raise_now(EVENT_onLeave, "PASS ");
    assert_int_equal(f.news[HOLD_UNLOGGED], 4);
    finish();
}

/* The specification's table 3: what is "the only valid response" to each event. A: it says nothing, so any is. P: PASS. U: PASS with no modification.
 * E: PASS with nothing in it. N: the component should not respond. */
static const struct {
    enum event_id event;
    char only;
} table_3[] = {{EVENT_onServicePacket, 'A'},      {EVENT_onBeforeRoomCreate, 'A'},     {EVENT_onAfterRoomCreate, 'U'},         {EVENT_onServiceDiscoInfo, 'P'},
               {EVENT_onServiceReconfig, 'N'},    {EVENT_onDestroy, 'P'},              {EVENT_onClose, 'A'},                   {EVENT_onPacket, 'A'},
               {EVENT_onMetaInfoGet, 'P'},        {EVENT_onBeforeMetaInfoSet, 'A'},    {EVENT_onAfterMetaInfoSet, 'E'},        {EVENT_onExamineRoom, 'P'},
               {EVENT_onBeforeChangeUser, 'A'},   {EVENT_onAfterChangeUser, 'E'},      {EVENT_onBeforeChangeAffiliation, 'A'}, {EVENT_onAfterChangeAffiliation, 'E'},
               {EVENT_onBeforeRemoveAffiliation, 'A'}, {EVENT_onAfterRemoveAffiliation, 'U'}, {EVENT_onBeforeJoin, 'A'},        {EVENT_onAfterJoin, 'E'},
               {EVENT_onLeave, 'P'},              {EVENT_onBeforeSubject, 'A'},        {EVENT_onAfterSubject, 'E'},            {EVENT_onBeforeInvite, 'A'},
               {EVENT_onAfterInvite, 'E'},        {EVENT_onHistory, 'P'},              {EVENT_onBeforeSend, 'A'},              {EVENT_onBeforeBroadcast, 'A'}};
enum { TABLE_3 = sizeof(table_3) / sizeof(table_3[0]) };

static void check_table_3(enum event_id event, char only, bool bounce)
{
    static const char changed[] = "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m1'><body>thou</body></message>";
    if (only == 'N') {
        raise_now(event, "PASS ");
        return;
    }
    const unsigned *news = f.news;
    unsigned invalid = news[HOLD_INVALID], ignored = news[HOLD_IGNORED], overruled = news[HOLD_OVERRULED];
    static const enum answer_kind kinds[] = {ANSWER_PASS, ANSWER_PASS_STANZA, ANSWER_PASS_STANZA, ANSWER_HANDLE};
    for (unsigned i = 0; i < 5; i++) {
        raise_waits(event);
        if (i < 4)
            answer(kinds[i], i == 1 ? MESSAGE : i == 2 ? changed : NULL);
        else
            answer_error("forbidden", "", NULL);
    }
    if (only == 'A') {
        told(bounce ? "PASS PASS* PASS* HANDLE REFUSE(forbidden,auth) " : "PASS PASS* PASS* HANDLE PASS ");
    } else {
        told("PASS PASS PASS PASS PASS ");
        assert_int_equal(news[HOLD_OVERRULED] - overruled, 2);
    }
    assert_int_equal(news[HOLD_IGNORED] - ignored, only == 'P' ? 2 : 0);
    assert_int_equal(news[HOLD_INVALID] - invalid, only == 'E' ? 2 : only == 'U' ? 1 : 0);
}

static void test_table_3(void **state)
{
    (void)state;
    assert_int_equal(TABLE_3, 28);
    for (unsigned i = 0; i < 2 * TABLE_3; i++) {
        char row[120];
        enum event_id event = table_3[i / 2].event;
        snprintf(row, sizeof(row), "{\"event\": \"%s\", \"handling\": \"%s\"}", event_catalogue[event].name, i % 2 == 0 ? "bounce" : "pass");
        start(row, "");
        check_table_3(event, table_3[i / 2].only, i % 2 == 0);
        finish();
    }
}

static void test_fire_and_forget(void **state)
{
    (void)state;
    start(ROW("es_OUT", "pass", "true") ", " ROW("es_IN", "bounce", "true") ", " ROW("onLeave", "bounce", "true"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.sent[0].request.hold, 0);
    assert_int_not_equal(f.sent[1].request.hold, 0);
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    raise_now(EVENT_es_IN, "DISCARD ");
    assert_int_equal(f.n_sent, 3);
    assert_string_equal(f.last_verdict, "discard");
    raise_now(EVENT_onLeave, "PASS "); /* cannot be refused */
    holds_link(f.h, a1, false);
    raise_now(EVENT_es_IN, "REFUSE(internal-server-error,cancel)! "); /* not even sent: the originator learns of it */
    assert_int_equal(f.n_sent, 4);
    finish();
}

#define SHADOW(event, handling) "{\"event\": \"" event "\", \"handling\": \"" handling "\", \"shadow\": true}"

/* Whatever the answer, the event has gone on at once and unchanged, and what would have been is told. */
static void test_shadow_answers(void **state)
{
    (void)state;
    static const struct {
        enum answer_kind kind;
        const char *handling, *stanza;
        enum hold_news news;
    } rows[] = {
        {ANSWER_PASS, "bounce", NULL, HOLD_SHADOW_PASS},
        {ANSWER_PASS_STANZA, "bounce", "<message xmlns='jabber:client' from='romeo@x/a' to='juliet@x' type='chat' id='m1'><body>no</body></message>", HOLD_SHADOW_CHANGE},
        {ANSWER_PASS_STANZA, "bounce", "<message xmlns='jabber:client' from='romeo@x/a' to='paris@x' type='chat' id='m1'><body>no</body></message>", HOLD_SHADOW_OUTAGE},
        {ANSWER_HANDLE, "bounce", NULL, HOLD_SHADOW_HANDLE},
        {ANSWER_HANDLE, "pass", NULL, HOLD_SHADOW_HANDLE},
        {ANSWER_ERROR, "bounce", NULL, HOLD_SHADOW_REFUSE},
        {ANSWER_ERROR, "pass", NULL, HOLD_SHADOW_PASS},
        {ANSWER_INVALID, "bounce", NULL, HOLD_SHADOW_OUTAGE},
        {ANSWER_INVALID, "pass", NULL, HOLD_SHADOW_UNLOGGED},
        {ANSWER_QUEUE_FULL, "bounce", NULL, HOLD_SHADOW_OUTAGE},
        {ANSWER_RETURNED, "pass", NULL, HOLD_SHADOW_UNLOGGED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start(strcmp(rows[i].handling, "bounce") == 0 ? SHADOW("es_OUT", "bounce") : SHADOW("es_OUT", "pass"), "");
        raise_now(EVENT_es_OUT, "PASS ");
        assert_int_equal(f.n_sent, 1);
        assert_true(f.sent[0].request.shadow);
        assert_int_not_equal(f.sent[0].request.hold, 0); /* it is asked, not told */
        answer(rows[i].kind, rows[i].stanza);
        if (f.news[rows[i].news] != 1) fail_msg("row %zu: not %s", i, hold_news_name(rows[i].news));
        assert_string_equal(f.last_verdict, hold_news_text(rows[i].news));
        assert_int_equal(f.news[HOLD_UNLOGGED], 0);
        told("");
        finish();
    }
}

static void test_shadow_in_a_chain(void **state)
{
    (void)state;
    start(SHADOW("es_OUT", "bounce") ", " SHADOW("onLeave", "bounce"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    assert_int_equal(f.n_sent, 2); /* the second does not wait for the first */
    assert_false(f.sent[1].request.shadow);
    assert_int_equal(f.sent[0].link, a1);
    answer(ANSWER_PASS, NULL); /* the second's */
    told("PASS ");
    assert_int_equal(holds_count(f.h), 1);
    struct event_answer refusal = {.kind = ANSWER_HANDLE, .hold = f.sent[0].request.hold, .turn = f.sent[0].request.turn, .link = a1};
    holds_answer(f.h, &refusal);
    assert_int_equal(f.news[HOLD_SHADOW_HANDLE], 1);
    refusal = (struct event_answer){.kind = ANSWER_HANDLE, .hold = f.sent[0].request.hold, .turn = f.sent[0].request.turn, .link = a1};
    holds_answer(f.h, &refusal); /* twice */
    assert_int_equal(f.news[HOLD_LATE], 1);
    raise_now(EVENT_onLeave, "PASS ");
    answer(ANSWER_HANDLE, NULL); /* cannot be refused */
    assert_int_equal(f.news[HOLD_OVERRULED], 1);
    assert_int_equal(f.news[HOLD_SHADOW_PASS], 1);
    finish();
}

static void test_shadow_without_answer(void **state)
{
    (void)state;
    start(SHADOW("es_OUT", "bounce"), "");
    raise_now(EVENT_es_OUT, "PASS ");
    assert_int_equal(holds_due_ms(f.h), 31000); /* it has a deadline of its own */
    f.now_us += 30000000;
    holds_tick(f.h);
    assert_int_equal(f.news[HOLD_TIMEOUT], 1);
    assert_int_equal(f.forgets, 1);
    assert_int_equal(f.news[HOLD_SHADOW_OUTAGE], 1);
    holds_link(f.h, a2, true);
    holds_link(f.h, a1, false);
    raise_now(EVENT_es_OUT, "PASS ");
    raise_now(EVENT_es_OUT, "PASS ");
    holds_link(f.h, a1, true);
    holds_link(f.h, a2, false); /* both move, in their order */
    assert_int_equal(f.n_sent, 5);
    assert_int_equal(f.sent[3].request.hold, f.sent[1].request.hold);
    assert_int_equal(f.sent[4].request.hold, f.sent[2].request.hold);
    assert_true(f.sent[4].request.shadow);
    holds_link(f.h, a1, false); /* none left */
    assert_int_equal(f.news[HOLD_SHADOW_OUTAGE], 3);
    raise_now(EVENT_es_OUT, "PASS "); /* not even asked */
    assert_int_equal(f.news[HOLD_SHADOW_OUTAGE], 4);
    assert_int_equal(f.news[HOLD_NO_SERVER], 3);
    assert_int_equal(f.news[HOLD_UNLOGGED], 0);
    finish();
}

static void test_nobody_waits(void **state)
{
    (void)state;
    start(ROW("es_END", "pass", "false") ", " ROW("onServiceReconfig", "bounce", "false"), ROW("es_END", "pass", "false"));
    struct question q = question(EVENT_es_END);
    struct verdict now;
    q.done = NULL;
    assert_true(holds_raise(f.h, &q, &now));
    assert_int_equal(now.kind, VERDICT_PASS);
    assert_int_equal(holds_count(f.h), 1); /* the chain goes on by itself */
    answer(ANSWER_PASS, NULL);
    assert_int_equal(f.n_sent, 2);
    answer(ANSWER_PASS, NULL);
    raise_now(EVENT_onServiceReconfig, "PASS "); /* no answer is expected */
    assert_int_equal(f.sent[2].request.hold, 0);
    holds_link(f.h, a1, false);
    holds_link(f.h, b1, false);
    assert_true(holds_raise(f.h, &q, &now));
    told("");
    finish();
}

static void test_links_lost(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_IN", "pass", "false"));
    holds_link(f.h, a2, true);
    raise_waits(EVENT_es_OUT);
    uint32_t first = f.sent[0].link, second = first == a1 ? a2 : a1;
    holds_link(f.h, first, false); /* routed anew at once, same event, same deadline */
    assert_int_equal(f.forgets, 1);
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.sent[1].link, second);
    assert_int_equal(f.sent[1].request.event->seq, f.sent[0].request.event->seq);
    assert_int_equal(holds_due_ms(f.h), 31000);
    struct event_answer returned = {.kind = ANSWER_RETURNED, .hold = f.sent[0].request.hold, .link = first};
    holds_answer(f.h, &returned); /* comes after: makes no difference */
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.news[HOLD_LATE], 0);
    returned = (struct event_answer){.kind = ANSWER_RETURNED, .hold = f.sent[0].request.hold, .turn = 1, .link = second};
    holds_answer(f.h, &returned); /* before the view changed: no other server left */
    told("REFUSE(internal-server-error,cancel)! ");
    holds_link(f.h, second, false);
    raise_now(EVENT_es_OUT, "REFUSE(internal-server-error,cancel)! ");
    holds_link(f.h, b1, false);
    raise_now(EVENT_es_IN, "PASS ");
    assert_int_equal(f.news[HOLD_UNLOGGED], 1);
    holds_link(f.h, b1, true);
    raise_waits(EVENT_es_IN);
    answer(ANSWER_QUEUE_FULL, NULL);
    told("PASS ");
    assert_int_equal(f.news[HOLD_QUEUE_FULL], 1);
    finish();
}

/* Its server is lost, so is the next, and the first is there again: what that one gave back then is no news, though it is waited for there now. */
static void test_returned_of_an_earlier_turn(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_IN", "pass", "false"));
    holds_link(f.h, a2, true);
    raise_waits(EVENT_es_OUT);
    uint32_t first = f.sent[0].link, second = first == a1 ? a2 : a1;
    holds_link(f.h, first, false);
    holds_link(f.h, first, true);
    holds_link(f.h, second, false);
    assert_int_equal(f.n_sent, 3);
    assert_int_equal(f.sent[2].link, first);
    struct event_answer returned = {.kind = ANSWER_RETURNED, .hold = f.sent[0].request.hold, .turn = f.sent[0].request.turn, .link = first};
    holds_answer(f.h, &returned);
    told("");
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    finish();
}

static void test_plan_kept(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_OUT", "bounce", "false"));
    raise_waits(EVENT_es_OUT);
    struct plan *p = plan_of("", "");
    holds_set_plan(f.h, p);
    plan_unref(p);
    raise_now(EVENT_es_OUT, "PASS "); /* the new one */
    answer(ANSWER_PASS, NULL);
    assert_int_equal(f.n_sent, 2); /* the old one */
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    finish();
}

static void test_primary_session(void **state)
{
    (void)state;
    start(ROW("e_PRISESSION", "bounce", "false"), ROW("e_PRISESSION", "bounce", "false"));
    struct event_candidate candidates[] = {{STR("juliet@x/b"), 1}, {STR("juliet@x/c"), 2}};
    struct question q = question(EVENT_e_PRISESSION);
    struct verdict now;
    q.candidates = candidates;
    q.n_candidates = 2;
    assert_false(holds_raise(f.h, &q, &now));
    static const char *const names[] = {"juliet@x/b", "juliet@x/c"};
    for (unsigned i = 0; i < 2; i++) {
        struct event_answer a = {.kind = ANSWER_PASS, .hold = f.sent[i].request.hold, .turn = i, .link = f.sent[i].link, .session = x_strdup(names[i])};
        holds_answer(f.h, &a);
    }
    told("PASS@juliet@x/c "); /* the last one to name one wins */
    assert_false(holds_raise(f.h, &q, &now));
    struct event_answer a = {.kind = ANSWER_PASS, .hold = f.sent[2].request.hold, .link = f.sent[2].link, .session = x_strdup("mallory@x/c")};
    holds_answer(f.h, &a);
    assert_int_equal(f.news[HOLD_IGNORED], 1);
    answer(ANSWER_PASS, NULL);
    told("PASS ");
    finish();
}

struct laned {
    struct lane_entry entry;
    bool done;
};
static void laned_done(void *arg, const struct verdict *v)
{
    ((struct laned *)arg)->done = true;
    done(arg, v);
}

static void test_lane_order(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), ROW("es_OUT", "bounce", "false"));
    struct lane_set set = {0};
    struct laned entries[3] = {0};
    struct verdict now;
    for (unsigned i = 0; i < 3; i++) {
        struct question q = question(EVENT_es_OUT);
        lane_enter(&set, STR("juliet@x"), &entries[i].entry);
        lane_stage(&entries[i].entry, 1);
        q.entry = &entries[i].entry;
        q.done = laned_done;
        q.arg = &entries[i];
        assert_false(holds_raise(f.h, &q, &now));
    }
    assert_int_equal(f.n_sent, 3); /* pipelined */
    for (unsigned i = 3; i-- > 0;) { /* answered in the other order */
        struct event_answer a = {.kind = ANSWER_PASS, .hold = f.sent[i].request.hold, .link = f.sent[i].link};
        assert_int_equal(f.n_sent, 3);
        holds_answer(f.h, &a);
    }
    assert_int_equal(f.n_sent, 6); /* sent to Two in lane order, once the first was */
    for (unsigned i = 0; i < 3; i++) assert_int_equal(f.sent[i + 3].request.hold, f.sent[i].request.hold);
    for (unsigned i = 3; i < 6; i++) {
        struct event_answer a = {.kind = ANSWER_PASS, .hold = f.sent[i].request.hold, .turn = 1, .link = f.sent[i].link};
        holds_answer(f.h, &a);
        assert_true(entries[i - 3].done);
        lane_leave(&entries[i - 3].entry);
    }
    told("PASS PASS PASS ");
    lane_set_free(&set);
    finish();
}

/* All links gone: verdicts of those that waited for their turn are known inside somebody else's lane_leave(), and told later. */
static void test_verdicts_are_not_told_from_a_raisers_stack(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false"), "");
    struct lane_set set = {0};
    struct laned first = {0}, second = {0};
    struct question q = question(EVENT_es_OUT);
    struct verdict now;
    lane_enter(&set, STR("juliet@x"), &first.entry);
    lane_enter(&set, STR("juliet@x"), &second.entry);
    q.entry = &second.entry;
    q.done = laned_done;
    q.arg = &second;
    assert_false(holds_raise(f.h, &q, &now)); /* the first has yet to ask */
    assert_int_equal(f.n_sent, 0);
    holds_link(f.h, a1, false);
    lane_leave(&first.entry);
    assert_false(second.done);
    assert_int_equal(f.wakes, 1);
    holds_run(f.h);
    assert_true(second.done);
    told("REFUSE(internal-server-error,cancel)! ");
    lane_leave(&second.entry);
    lane_set_free(&set);
    finish();
}

static void test_done_raises_again(void **state)
{
    (void)state;
    start(ROW("es_OUT", "bounce", "false") ", " ROW("es_IN", "bounce", "false"), "");
    f.raise_again = true;
    raise_waits(EVENT_es_OUT);
    answer(ANSWER_PASS, NULL);
    assert_int_equal(f.n_sent, 2);
    answer(ANSWER_PASS, NULL);
    told("PASS PASS ");
    raise_waits(EVENT_es_OUT); /* two fail together, the first raises again in done() */
    raise_waits(EVENT_es_OUT);
    f.raise_again = true;
    holds_link(f.h, a2, false);
    f.now_us += 30000000;
    holds_tick(f.h);
    answer(ANSWER_PASS, NULL);
    told("REFUSE(internal-server-error,cancel)! REFUSE(internal-server-error,cancel)! PASS ");
    finish();
}

int main(void)
{
    event_ids_start("n.x", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_asked),     cmocka_unit_test(test_chain_of_passes), cmocka_unit_test(test_changed_stanza),
        cmocka_unit_test(test_handle),           cmocka_unit_test(test_errors),          cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_not_refusable),    cmocka_unit_test(test_table_3),         cmocka_unit_test(test_fire_and_forget),
        cmocka_unit_test(test_shadow_answers),
        cmocka_unit_test(test_shadow_in_a_chain),
        cmocka_unit_test(test_shadow_without_answer),
        cmocka_unit_test(test_nobody_waits),     cmocka_unit_test(test_links_lost),      cmocka_unit_test(test_returned_of_an_earlier_turn),
        cmocka_unit_test(test_plan_kept),        cmocka_unit_test(test_primary_session),
        cmocka_unit_test(test_lane_order),       cmocka_unit_test(test_verdicts_are_not_told_from_a_raisers_stack),
        cmocka_unit_test(test_done_raises_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
