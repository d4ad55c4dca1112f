/* Sessions in memory: scripts of what clients send, what compliance servers answer, cuts, outages, failing disks and time that passes, through all of jsm,
 * router, broker and store (dispatch/world.h).
 *
 * A script has an order per line. Its first character says what happens; a ">" before it: and the loop does not turn yet.
 *   0..4 XML   client n sends a stanza. Clients: 0 romeo/a, 1 juliet/a, 2 romeo/b, 3 tybalt/a, 4 juliet/a once more. 0 and 1 are there from the start
 *   + n, - n   client n connects; ends its stream
 *   ! n k      its connection is cut; the last k stanzas have not reached it.  ~ n: it resumes, or connects anew
 *   s k r z w x n   it enables stream management; acknowledges; asks for an acknowledgement; is inactive, active; sends what is no stanza
 *   m n, M n   its stream takes no more output; takes it again
 *   a n how    the compliance server answers the nth event: p pass, s... pass with these children, S... pass with this, c... pass to this
 *              session (e_PRISESSION), h... handle, e... error, x... this
 *   A how      so are events answered from now on, at once; n: not
 *   o n, g n   compliance server n (0 or 1) is cut off; ends its streams.  u n: it is there again
 *   p n        plan n of dispatch/servers.c; on the first line: from the first order on
 *   t n        10^n ms pass
 *   f n        the nth statement from now on fails.  h, H: the store takes nothing on; goes on
 *   R attributes and children   of an iq by which a stream that is not logged in registers
 *   d D F E n  the account of client n is removed, disabled, enabled; its sessions are ended
 *
 * Must hold, besides what dispatch/ asserts on the way: in the end every IQ request has one answer, no message is lost or doubled, messages of one sender
 * come in his order, every accepted stanza is acknowledged, and when all are gone nothing is left. */
#include "base/clock.h"
#include "base/log.h"
#include "broker/broker.h"
#include "dispatch/world.h"
#include "jsm/account.h"
#include "jsm/resume.h"
#include "jsm/ticket.h"
#include "router/route.h"
#include "store/fault.h"
#include <string.h>

#define LINES_MAX 120

static void world_start(void)
{
    static struct config config;
    static const char *const options[] = {"server.domains=" DOMAIN,    "server.admins=juliet@" DOMAIN, "register.enabled=true",     "c2s.session_window=8",
                                          "c2s.unacked_stanzas=20",    "c2s.user_sessions=3",         "offline.max_messages=4",    "roster.max_items=6",
                                          "broker.link_outstanding=4", "c2s.ack_stanzas=2",           "register.accounts=0",         "broker.stats_interval=0"};
    struct err err = {0};
    loop_begin();
    MUST_HOLD(log_start(LOG_LEVEL_ERROR, "text", "/dev/null", &err) == 0);
    if (getenv("FUZZ_LOG") != NULL) MUST_HOLD(log_start(LOG_LEVEL_DEBUG, "text", "stderr", &err) == 0);
    MUST_HOLD(config_load(&config, NULL, options, sizeof options / sizeof *options, &err) == 0);
    data_start(&config);
    MUST_HOLD(router_start(&config, &jsm_router_ops, &err) == 0);
    streams_start(&config);
    servers_start(&config);
    jsm_worker_start(&config);
}

/* ---- a script ---- */

static unsigned digit(const char *text, unsigned below)
{
    while (*text == ' ') text++;
    return *text >= '0' && *text <= '9' ? (unsigned)(*text - '0') % below : 0;
}

static void account_changed(void *arg, const struct err *err) { (void)arg, (void)err; }

static void change_account(char what, const struct client *c)
{
    static const char orders[] = "dDFE";
    account_change((enum account_change)(strchr(orders, what) - orders), &c->user, 0, account_changed, NULL);
}

static void pass_time(unsigned power)
{
    uint64_t ms = 1;
    while (power-- > 0) ms *= 10;
    loop_pass(ms < 1000000 ? ms : 1000000);
}

static void obey(const char *line)
{
    struct client *c = &clients[digit(line[0] != '\0' ? line + 1 : line, CLIENTS)];
    struct buf b = {0};
    switch (line[0]) {
    case '0': case '1': case '2': case '3': case '4':
        buf_addf(&b, "1%s", line + 1);
        client_says(&clients[line[0] - '0'], buf_cstr(&b));
        break;
    case '+': client_connect(c); break;
    case '~': client_resume(c); break;
    case '!': client_cut(c, line[1] != '\0' ? digit(line + 2, 10) : 0); break;
    case '-': case 's': case 'k': case 'r': case 'z': case 'w': case 'x': client_says(c, (char[]){line[0], '\0'}); break;
    case 'm': case 'M': client_output(c, line[0] == 'm'); break;
    case 'a': server_answers(digit(line + 1, 10), line[1] != '\0' ? line + 2 : ""); break;
    case 'A': servers_mode(line[1]); break;
    case 'o': case 'g': server_fails(digit(line + 1, SERVERS), line[0] == 'g'); break;
    case 'u': server_returns(digit(line + 1, SERVERS)); break;
    case 'p': servers_plan(digit(line + 1, PLANS)); break;
    case 't': pass_time(digit(line + 1, 7)); break;
    case 'f': store_fault_arm(STORE_FAULT_STATEMENT, 1 + digit(line + 1, 10), 1); break;
    case 'h': case 'H': data_hold(line[0] == 'h'); break;
    case 'R': stranger_says(line + 1); break;
    case 'd': case 'D': case 'F': case 'E': change_account(line[0], c); break;
    default: break;
    }
    buf_free(&b);
}

static void play(char *script)
{
    unsigned lines = 0;
    for (char *line = script, *next; line != NULL && lines < LINES_MAX; line = next, lines++) {
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        if (lines == 0 && line[0] == 'p') continue; /* done already */
        bool turn = line[0] != '>';
        obey(turn ? line : line + 1);
        if (turn) loop_settle();
    }
    loop_settle();
}

static void begin(const char *script)
{
    loop_begin();
    data_begin();
    streams_begin();
    servers_begin();
    stanza_ids_start(1);
    for (unsigned i = 0; i < 2; i++) {
        client_connect(&clients[i]);
        loop_settle();
        client_says(&clients[i], "1<presence/>");
        loop_settle();
    }
    servers_plan(script[0] == 'p' ? digit(script + 1, PLANS) : 0);
    loop_settle();
}

/* ---- what must hold in the end ---- */

/* Whatever was down is there again, whoever was cut resumes, whatever waits has the time it is given. */
static void recover(void)
{
    store_fault_arm(STORE_FAULT_STATEMENT, 0, 0);
    data_hold(false);
    servers_recover();
    loop_settle();
    loop_pass(40000);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_output(&clients[i], false);
        if (clients[i].c2s == NULL && clients[i].token != NULL) client_resume(&clients[i]);
        loop_settle();
    }
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CLIENTS; i++) client_answers(&clients[i]);
        loop_pass(10000);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (clients[i].c2s != NULL) client_says(&clients[i], "w");
        loop_settle();
    }
}

static bool alive(const struct client *c, unsigned epoch) { return c->open && c->epoch == epoch && c->c2s != NULL; }

/* The answer to a request of an earlier session reaches the one that has its address now. */
static bool asked_before(const struct client *c, struct str id)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (!jid_eq(&clients[i].user, &c->user) || strcmp(clients[i].resource, c->resource) != 0) continue;
        LIST_EACH(node, &clients[i].requests)
        {
            const struct request *r = CONTAINER_OF(node, struct request, node);
            if (str_eq(r->id, id) && (&clients[i] != c || r->epoch < c->epoch)) return true;
        }
    }
    return false;
}

static void check_requests(const struct client *c)
{
    for (unsigned i = 0; i < c->n_got; i++) {
        const struct got *g = &c->got[i];
        if ((g->stanza->type != IQ_RESULT && g->stanza->type != IQ_ERROR) || g->stanza->id.p == NULL || id_excused(g->stanza->id)) continue;
        bool known = false;
        LIST_EACH(node, &c->requests)
        {
            struct request *r = CONTAINER_OF(node, struct request, node);
            if (known || r->answers > 0 || r->epoch != g->epoch || !str_eq(r->id, g->stanza->id)) continue;
            r->answers++;
            known = true;
        }
        MUST_HOLD(known || asked_before(c, g->stanza->id));
    }
    LIST_EACH(node, &c->requests)
    {
        const struct request *r = CONTAINER_OF(node, struct request, node);
        MUST_HOLD(r->answers == 1 || id_excused(r->id) || c->blocks || !alive(c, r->epoch));
    }
}

/* Nothing twice, and in order as long as nobody had to be looked for a second time. */
static void check_order(const struct client *c, bool calm)
{
    for (unsigned i = 0; i < c->n_got; i++) {
        const struct stanza *s = c->got[i].stanza;
        if (s->kind != STANZA_MESSAGE || s->type == MESSAGE_ERROR) continue;
        for (unsigned k = i + 1; k < c->n_got; k++) {
            const struct stanza *later = c->got[k].stanza;
            if (later->kind != STANZA_MESSAGE || later->type == MESSAGE_ERROR || c->got[k].epoch != c->got[i].epoch || !jid_eq(&s->from, &later->from)) continue;
            MUST_HOLD(later->sid != s->sid);
            bool conversation = jid_is_full(&s->from) && jid_eq(&s->to, &later->to); /* copies of several are in no order */
            if (calm && conversation) MUST_HOLD(later->sid > s->sid);
        }
    }
}

static void stored(uint64_t sid)
{
    struct sent_message *m = message_of(sid);
    if (m != NULL) m->excused = true;
}

/* Each has reached somebody, is stored, or has come back to its sender as an error. */
static void check_messages(void)
{
    data_offline(stored);
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned k = 0; k < clients[i].n_got; k++) {
            struct sent_message *m = clients[i].got[k].stanza->kind == STANZA_MESSAGE ? message_of(clients[i].got[k].stanza->sid) : NULL;
            if (m != NULL) m->excused = true;
        }
    }
    LIST_EACH(node, &messages)
    {
        const struct sent_message *m = CONTAINER_OF(node, struct sent_message, node);
        MUST_HOLD(m->excused || !alive(&clients[m->client], m->epoch));
    }
}

static void check(void)
{
    bool calm = true;
    for (unsigned i = 0; i < CLIENTS; i++) calm = calm && !clients[i].ended && !clients[i].sm;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        client_says(c, "r");
        loop_settle();
        if (c->c2s != NULL && c->sm) MUST_HOLD(c->covered == c->sent);
        check_requests(c);
        check_order(c, calm);
    }
    if (data_changed_accounts() == 0) check_messages(); /* else they may have gone with their account */
    MUST_HOLD(tickets_under_way() == 0);
}

/* Everybody goes, and nothing is left of them. */
static void end(void)
{
    servers_plan(0);
    loop_settle();
    for (unsigned i = 0; i < CLIENTS; i++) client_says(&clients[i], "-");
    loop_settle();
    loop_pass(700000);
    MUST_HOLD(jsm->sessions.count == 0 && jsm->users.count == 0 && list_empty(&jsm->incoming) && list_empty(&jsm->outgoing) && jsm->anew == 0);
    MUST_HOLD(broker_holds() == 0 && tickets_under_way() == 0);
    imap_free(&jsm->sessions);
    map_free(&jsm->users);
    jsm->next_session = 0;
    resume_worker_stop();
    tickets_worker_stop();
    servers_end();
    streams_end();
    data_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool started;
    if (!started) world_start();
    started = true;
    struct buf script = {0};
    buf_add(&script, data, n);
    begin(buf_cstr(&script));
    play(script.data);
    recover();
    check();
    end();
    buf_free(&script);
    return 0;
}
