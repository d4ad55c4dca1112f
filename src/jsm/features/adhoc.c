/* Ad-hoc commands (XEP-0050): who may use them, their sessions and stages. A command has at most one form: its execution is asked for, the form comes
 * back (status executing), and with it filled in the command is carried out (status completed). Between the two a session is kept, for a time and
 * for the one who began it. Its id carries a keyed hash of whom and what it is for, so an id that was given out once and is over is known from one
 * that never was (session-expired, bad-sessionid) without a memory of old ones. */
#include "jsm/features/adhoc.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "io/worker.h"
#include "xml/writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_XML "http://www.w3.org/XML/1998/namespace"

/* ---- sessions: of a worker, as the users who have them ---- */
#define SESSION_ID_SIZE 40
struct adhoc_session {
    uint64_t number;
    struct wheel_timer timer;
    const struct adhoc_command *command;
    char *requester; /* full JID */
};
static _Thread_local struct imap adhoc_open;
static _Thread_local uint64_t adhoc_number;

static void session_id_text(char out[SESSION_ID_SIZE], uint64_t number, struct str requester, const struct adhoc_command *command)
{
    struct buf b = {0};
    buf_addf(&b, "%llu " STR_FMT " %s", (unsigned long long)number, STR_ARG(requester), command->node);
    snprintf(out, SESSION_ID_SIZE, "%llx-%016llx", (unsigned long long)number, (unsigned long long)hash_keyed(b.data, b.len));
    buf_free(&b);
}

static void session_drop(struct adhoc_session *s)
{
    worker_timer_cancel(&s->timer);
    imap_del(&adhoc_open, s->number);
    metric_add(METRIC_ADHOC_SESSIONS, -1);
    free(s->requester);
    free(s);
}

static void session_timed_out(struct wheel_timer *timer) { session_drop(CONTAINER_OF(timer, struct adhoc_session, timer)); }

void adhoc_worker_stop(void)
{
    size_t it = 0;
    uint64_t key;
    void *value;
    while (imap_next(&adhoc_open, &it, &key, &value)) session_drop(value);
    imap_free(&adhoc_open);
}

static bool session_room(struct str requester)
{
    int64_t n = 0;
    size_t it = 0;
    uint64_t key;
    void *value;
    while (imap_next(&adhoc_open, &it, &key, &value)) n += str_is(requester, ((struct adhoc_session *)value)->requester);
    return n < jsm->config->adhoc_sessions;
}

static void session_begin(const struct adhoc_command *command, struct str requester, char id[SESSION_ID_SIZE])
{
    struct adhoc_session *s = x_calloc(1, sizeof(*s));
    s->number = ++adhoc_number;
    s->command = command;
    s->requester = str_dup(requester);
    s->timer.fn = session_timed_out;
    imap_put(&adhoc_open, s->number, s);
    metric_add(METRIC_ADHOC_SESSIONS, 1);
    worker_timer(&s->timer, (uint64_t)jsm->config->adhoc_session_timeout * 1000);
    session_id_text(id, s->number, requester, command);
}

/* *known: it was given to him for this command, be it over or not. */
static struct adhoc_session *session_find(const struct adhoc_command *command, struct str requester, struct str id, bool *known)
{
    char text[SESSION_ID_SIZE] = "";
    unsigned long long number = 0;
    if (id.n < SESSION_ID_SIZE) {
        char copy[SESSION_ID_SIZE];
        memcpy(copy, id.p, id.n);
        copy[id.n] = '\0';
        number = strtoull(copy, NULL, 16);
        session_id_text(text, number, requester, command);
    }
    *known = number != 0 && str_is(id, text);
    return *known ? imap_get(&adhoc_open, number) : NULL;
}

/* ---- the table of commands ---- */
unsigned adhoc_commands(void) { return n_admin_commands; }
const char *adhoc_command_node(unsigned i) { return admin_commands[i].node; }
const char *adhoc_command_title(unsigned i) { return admin_commands[i].form.title; }

static const struct adhoc_command *command_find(struct str node)
{
    for (unsigned i = 0; i < n_admin_commands; i++)
        if (str_is(node, admin_commands[i].node)) return &admin_commands[i];
    return NULL;
}

/* ---- who may ---- */
bool adhoc_offered(void) { return jsm->config->server_admins[0] != '\0'; }

static bool is_admin(struct arena *a, const struct jid *user)
{
    const char *p = jsm->config->server_admins;
    while (*p != '\0') {
        size_t n = strcspn(p, " ");
        struct jid admin;
        struct err err;
        if (n > 0 && jid_parse(a, arena_str(a, (struct str){p, n}), &admin, &err) == 0 && jid_bare_eq(&admin, user)) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

bool adhoc_allowed(const struct context *cx) { return cx->session != NULL && is_admin(cx->arena, &cx->user->jid); }

/* ---- what disco says of it ---- */
enum adhoc_node adhoc_node(struct str node)
{
    if (!adhoc_offered()) return ADHOC_NO_NODE;
    return str_is(node, NS_COMMANDS) ? ADHOC_LIST : command_find(node) != NULL ? ADHOC_COMMAND : ADHOC_NO_NODE;
}

void adhoc_write_info(struct str node, struct buf *b)
{
    const struct adhoc_command *command = command_find(node);
    buf_addf(b, "<identity category='automation' type='%s'", command != NULL ? "command-node" : "command-list");
    xml_add_attr(b, "name", str_of(command != NULL ? command->form.title : "Commands"));
    buf_adds(b, "/><feature var='" NS_COMMANDS "'/><feature var='" NS_DATA "'/>");
}

/* ---- answers ---- */
static void reply(struct effects *fx, const struct adhoc_command *command, struct str session_id, const char *status, struct str inner)
{
    struct buf b = {0};
    buf_adds(&b, "<command xmlns='" NS_COMMANDS "'");
    xml_add_attr(&b, "node", str_of(command->node));
    xml_add_attr(&b, "sessionid", session_id);
    buf_addf(&b, " status='%s'>", status);
    buf_add_str(&b, inner);
    buf_adds(&b, "</command>");
    struct stanza *result = stanza_result(fx->request, buf_str(&b));
    stanza_set_lang(result, STR("en")); /* XEP-0050, 3.6: in which language it is answered */
    effect_reply(fx, result);
    buf_free(&b);
}

void adhoc_note(struct adhoc_call *call, const char *type, const char *text)
{
    buf_addf(&call->notes, "<note type='%s'>", type);
    if (xml_text_ok(str_of(text))) xml_add_text(&call->notes, str_of(text));
    buf_adds(&call->notes, "</note>");
}

/* A call may end while it is being started: the effects then go on when that has returned. */
struct go_on {
    struct msg msg;
    struct effects *fx;
};

static void effects_go_on(struct msg *msg)
{
    struct effects *fx = CONTAINER_OF(msg, struct go_on, msg)->fx;
    free(CONTAINER_OF(msg, struct go_on, msg));
    effects_run(fx);
}

static void call_end(struct adhoc_call *call)
{
    buf_free(&call->notes);
    if (!call->starting) {
        effects_run(call->fx);
        return;
    }
    struct go_on *later = x_calloc(1, sizeof(*later));
    later->msg.run = effects_go_on;
    later->fx = call->fx;
    worker_post(worker_id(), &later->msg);
}

static void call_over(struct adhoc_call *call, struct str form)
{
    struct buf inner = {0};
    buf_add_str(&inner, form);
    buf_add_str(&inner, buf_str(&call->notes));
    reply(call->fx, call->command, call->session_id, "completed", buf_str(&inner));
    buf_free(&inner);
    call_end(call);
}

void adhoc_done(struct adhoc_call *call)
{
    log_notice("jsm", "'%s' has carried out %s", call->fx->user->jid.full.p, call->command->node);
    if (call->notes.len == 0) adhoc_note(call, "info", "Operation finished successfully.");
    call_over(call, STR(""));
}

void adhoc_result(struct adhoc_call *call, struct str form) { call_over(call, form); }

void adhoc_fail(struct adhoc_call *call, const char *text)
{
    adhoc_note(call, "error", text);
    call_over(call, STR(""));
}

void adhoc_failed(struct adhoc_call *call, const struct err *err)
{
    log_info("jsm", "%s of '%s' failed: %s", call->command->node, call->fx->user->jid.full.p, err->text);
    if (err->code == ERR_NOT_FOUND || err->code == ERR_INVALID || err->code == ERR_LIMIT) {
        adhoc_fail(call, err->text);
        return;
    }
    bool conflict = err->code == ERR_EXISTS || err->code == ERR_CONFLICT;
    effect_reply(call->fx, stanza_error(call->fx->request, conflict ? "conflict" : "internal-server-error", NULL, err->text));
    call_end(call);
}

/* ---- the request ---- */
static struct xml_node *command_of(const struct context *cx)
{
    struct err err;
    struct xml_node *root = stanza_tree(cx->stanza, NULL, cx->arena, &err);
    return root != NULL ? xml_node_child(root, "command", NS_COMMANDS) : NULL;
}

const char *adhoc_check(const struct context *cx, const char **text)
{
    if (!adhoc_offered()) return "service-unavailable";
    struct xml_node *command = command_of(cx);
    *text = "A command is named by its node.";
    if (command == NULL || xml_node_attr(command, "node").n == 0) return "bad-request";
    *text = "This is for administrators.";
    if (!adhoc_allowed(cx)) return "forbidden";
    if (command_find(xml_node_attr(command, "node")) != NULL) return NULL;
    *text = "This command is not offered here.";
    for (const char *const *node = admin_not_offered; *node != NULL; node++)
        if (str_is(xml_node_attr(command, "node"), *node)) return "feature-not-implemented"; /* XEP-0133, 5 */
    *text = "There is no such command.";
    return "item-not-found";
}

/* XEP-0050, 3.6: English is what there is. A language is asked for by the request itself, not by the stream it comes on. */
static bool language_ok(const struct context *cx, const struct xml_node *command)
{
    struct str lang = cx->stanza->lang;
    if (cx->session->c2s != NULL && str_eq(lang, c2s_lang(cx->session->c2s))) lang = STR_NONE;
    for (unsigned i = 0; i < command->n_attributes; i++)
        if (str_is(command->attributes[i].name, "lang") && str_is(command->attributes[i].ns, NS_XML)) lang = command->attributes[i].value;
    if (lang.n < 2) return lang.n == 0;
    bool english = (lang.p[0] | 0x20) == 'e' && (lang.p[1] | 0x20) == 'n';
    return english && (lang.n == 2 || lang.p[2] == '-');
}

enum action { ACTION_EXECUTE, ACTION_CANCEL, ACTION_PREV, ACTION_NEXT, ACTION_COMPLETE, ACTIONS };

static enum action action_of(const struct xml_node *command)
{
    static const char *const names[ACTIONS] = {"execute", "cancel", "prev", "next", "complete"};
    struct str action = xml_node_attr(command, "action");
    if (action.p == NULL) return ACTION_EXECUTE;
    for (unsigned i = 0; i < ACTIONS; i++)
        if (str_is(action, names[i])) return (enum action)i;
    return ACTIONS;
}

static void refuse(const struct context *cx, struct effects *fx, const char *specific, const char *text)
{
    const char *condition = strcmp(specific, "session-expired") == 0 ? "not-allowed" : "bad-request";
    effect_reply(fx, stanza_error_with(cx->stanza, condition, NULL, text, specific, NS_COMMANDS));
}

static struct str domain_of(const struct context *cx) { return jid_present(&cx->stanza->to) ? cx->stanza->to.domain : cx->user->jid.domain; }

static void call_start(struct effects *fx)
{
    struct adhoc_call *call = fx->wait_arg;
    call->starting = true;
    call->command->run(call);
    call->starting = false;
}

static struct adhoc_call *call_new(const struct context *cx, struct effects *fx, const struct adhoc_command *command)
{
    struct adhoc_call *call = arena_zalloc(fx->arena, sizeof(*call));
    call->fx = fx;
    call->command = command;
    call->domain = arena_str(fx->arena, domain_of(cx));
    return call;
}

static void send_form(const struct context *cx, struct effects *fx, const struct adhoc_command *command)
{
    if (!session_room(cx->stanza->from.full)) {
        effect_reply(fx, stanza_error(cx->stanza, "resource-constraint", "wait", "Too many commands are begun and not completed."));
        return;
    }
    char id[SESSION_ID_SIZE];
    struct buf b = {0};
    struct form_value filled[FORM_FIELDS_MAX] = {{NULL, 0}};
    session_begin(command, cx->stanza->from.full, id);
    if (command->filled != NULL) command->filled(cx->arena, domain_of(cx), filled);
    buf_adds(&b, "<actions execute='complete'><complete/></actions>");
    form_write(&b, &command->form, filled);
    reply(fx, command, str_of(id), "executing", buf_str(&b));
    buf_free(&b);
}

/* A form that came with the request; session: the one it belongs to, over once the form is accepted. */
static void take_form(const struct context *cx, struct effects *fx, const struct adhoc_command *command, const struct xml_node *x,
                      struct adhoc_session *session)
{
    struct adhoc_call *call = call_new(cx, fx, command);
    const char *text;
    if (form_read(&command->form, x, fx->arena, call->values, &text) != 0) {
        refuse(cx, fx, "bad-payload", text);
        return;
    }
    char id[SESSION_ID_SIZE];
    session_id_text(id, session != NULL ? session->number : ++adhoc_number, cx->stanza->from.full, command);
    call->session_id = arena_str(fx->arena, str_of(id));
    if (session != NULL) session_drop(session);
    effect_wait(fx, call_start, call);
}

/* XEP-0050, 3.3: no session is named, so one begins; or, without a form, begins and ends. */
static void begin(const struct context *cx, struct effects *fx, const struct adhoc_command *command, enum action action, const struct xml_node *x)
{
    if (action == ACTION_CANCEL) {
        refuse(cx, fx, "bad-sessionid", "The session to be canceled is not named.");
    } else if (action == ACTION_PREV || action == ACTION_NEXT || (action == ACTION_COMPLETE && x == NULL && command->form.n_fields > 0)) {
        refuse(cx, fx, "bad-action", "A command is begun with the action execute.");
    } else if (command->form.n_fields == 0) {
        char id[SESSION_ID_SIZE];
        struct adhoc_call *call = call_new(cx, fx, command);
        session_id_text(id, ++adhoc_number, cx->stanza->from.full, command);
        call->session_id = arena_str(fx->arena, str_of(id));
        effect_wait(fx, call_start, call);
    } else if (x == NULL) {
        send_form(cx, fx, command);
    } else {
        take_form(cx, fx, command, x, NULL);
    }
}

/* XEP-0050, 3.4: the second and last stage. */
static void go_on(const struct context *cx, struct effects *fx, struct adhoc_session *session, enum action action, const struct xml_node *x)
{
    const struct adhoc_command *command = session->command;
    if (action == ACTION_CANCEL) {
        char id[SESSION_ID_SIZE];
        session_id_text(id, session->number, cx->stanza->from.full, command);
        session_drop(session);
        reply(fx, command, str_of(id), "canceled", STR(""));
    } else if (action == ACTION_PREV || action == ACTION_NEXT) {
        refuse(cx, fx, "bad-action", "This is the only form of the command: complete or cancel it.");
    } else if (x == NULL) {
        refuse(cx, fx, "bad-payload", "The form is missing.");
    } else {
        take_form(cx, fx, command, x, session);
    }
}

void adhoc_apply(const struct context *cx, struct effects *fx)
{
    const struct xml_node *node = command_of(cx), *x = xml_node_child(node, "x", NS_DATA);
    const struct adhoc_command *command = command_find(xml_node_attr(node, "node"));
    enum action action = action_of(node);
    struct str id = xml_node_attr(node, "sessionid");
    bool known = false;
    struct adhoc_session *session = id.p != NULL ? session_find(command, cx->stanza->from.full, id, &known) : NULL;
    if (action == ACTIONS)
        refuse(cx, fx, "malformed-action", "An action is execute, cancel, prev, next or complete.");
    else if (!language_ok(cx, node))
        refuse(cx, fx, "bad-locale", "Commands speak English (xml:lang='en') only.");
    else if (id.p == NULL)
        begin(cx, fx, command, action, x);
    else if (session != NULL)
        go_on(cx, fx, session, action, x);
    else if (known)
        refuse(cx, fx, "session-expired", "This session is over: it was completed or canceled, or took too long.");
    else
        refuse(cx, fx, "bad-sessionid", "There is no such session of this command.");
}
