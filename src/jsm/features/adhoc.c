/* Administration over XMPP (XEP-0133), by commands with forms (XEP-0050), for those named in server.admins. A command has one form: asked without
 * it the form is the answer, asked with it the command is carried out. So nothing is kept between the two, and the session id is only repeated. */
#include "base/hash.h"
#include "base/log.h"
#include "io/worker.h"
#include "jsm/account.h"
#include "jsm/features/features.h"
#include "router/route.h"
#include "xml/writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_COMMANDS "http://jabber.org/protocol/commands"
#define NS_ADMIN "http://jabber.org/protocol/admin#"
#define NS_DATA "jabber:x:data"
#define LIST_MAX 10000 /* accounts in one list */

struct adhoc { /* one command being carried out; in the arena of its effects */
    struct effects *fx;
    const struct command *command;
    struct str session_id;
    struct jid *accounts;
    unsigned n_accounts, at;
    struct str password, text;
    struct buf found; /* <value/> elements of a list */
};
struct field {
    const char *var, *type, *label;
};
struct command {
    const char *name, *title;
    struct field fields[3];
    void (*run)(struct adhoc *call);
    const char *result; /* of a list: the field its values stand in; NULL: a note says it is done */
};

static void call_reply(struct adhoc *call)
{
    struct effects *fx = call->fx;
    struct buf b = {0};
    buf_addf(&b, "<command xmlns='" NS_COMMANDS "' node='" NS_ADMIN "%s' status='completed'", call->command->name);
    xml_add_attr(&b, "sessionid", call->session_id);
    buf_adds(&b, ">");
    if (call->command->result != NULL) {
        buf_addf(&b, "<x xmlns='" NS_DATA "' type='result'><title>%s</title><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/admin</value>"
                     "</field><field var='%s' type='text-multi'>", call->command->title, call->command->result);
        buf_add_str(&b, buf_str(&call->found));
        buf_adds(&b, "</field></x>");
    } else {
        buf_adds(&b, "<note type='info'>Done.</note>");
    }
    buf_adds(&b, "</command>");
    effect_reply(fx, stanza_result(fx->request, buf_str(&b)));
    buf_free(&b);
}

static void call_end(struct adhoc *call, const struct err *err)
{
    struct effects *fx = call->fx;
    if (err == NULL) {
        log_notice("jsm", "'%s' has carried out %s", fx->user->jid.full.p, call->command->name);
        call_reply(call);
    } else {
        const char *condition = "internal-server-error";
        if (err->code == ERR_NOT_FOUND) condition = "item-not-found";
        if (err->code == ERR_EXISTS) condition = "conflict";
        if (err->code == ERR_INVALID) condition = "not-acceptable";
        effect_reply(fx, stanza_error(fx->request, condition, NULL, err->text));
    }
    buf_free(&call->found);
    effects_run(fx);
}

static void call_done(void *arg, const struct err *err) { call_end(arg, err); }

/* ---- the commands ---- */
static void run_add(struct adhoc *call) { account_create(&call->accounts[0], call->password, call_done, call); }
static void run_password(struct adhoc *call) { account_set_password(&call->accounts[0], call->password, call_done, call); }

/* One account after the other; the first that cannot be done ends it. */
static void next_account(void *arg, const struct err *err)
{
    static const struct {
        const char *name;
        enum account_change change;
    } changes[] = {{"delete-user", ACCOUNT_REMOVE},
                   {"disable-user", ACCOUNT_DISABLE},
                   {"reenable-user", ACCOUNT_ENABLE},
                   {"end-user-session", ACCOUNT_END_SESSIONS}};
    struct adhoc *call = arg;
    if (err != NULL || call->at == call->n_accounts) {
        call_end(call, err);
        return;
    }
    const struct jid *account = &call->accounts[call->at++];
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (strcmp(changes[i].name, call->command->name) == 0) account_change(changes[i].change, account, 0, next_account, call);
}
static void run_each(struct adhoc *call) { next_account(call, NULL); }

static void add_value(struct buf *b, struct str text)
{
    buf_adds(b, "<value>");
    xml_add_text(b, text);
    buf_adds(b, "</value>");
}

static void listed(void *arg, const struct store_account *accounts, size_t n, const struct err *err)
{
    struct adhoc *call = arg;
    bool disabled = strcmp(call->command->name, "get-disabled-users-list") == 0;
    for (size_t i = 0; err == NULL && i < n; i++)
        if (!disabled || accounts[i].disabled) add_value(&call->found, accounts[i].user);
    call_end(call, err);
}
static void run_list(struct adhoc *call) { store_account_list(call->fx->user->jid.domain, STR_NONE, LIST_MAX, listed, call); }

/* What every worker does, one after the other would be told by messages: a step per worker, then home again. */
struct tour {
    struct msg msg;
    struct adhoc *call;
    uint32_t home;
    uint32_t at;
    struct jid from;
    struct str text;
    struct buf found;
    bool announce;
};

static void tour_home(struct msg *msg)
{
    struct tour *t = CONTAINER_OF(msg, struct tour, msg);
    t->call->found = t->found;
    call_end(t->call, NULL);
    free(t);
}

static void announce_to(const struct tour *t, const struct session *s)
{
    struct buf body = {0};
    buf_adds(&body, "<body>");
    xml_add_text(&body, t->text);
    buf_adds(&body, "</body>");
    router_route(stanza_make(STANZA_MESSAGE, MESSAGE_HEADLINE, &t->from, &s->full, STR_NONE, buf_str(&body)), (struct ticket){0}, PARCEL_COPY);
    buf_free(&body);
}

static void tour_step(struct msg *msg)
{
    struct tour *t = CONTAINER_OF(msg, struct tour, msg);
    size_t it = 0;
    struct str bare;
    void *value;
    while (map_next(&jsm->users, &it, &bare, &value)) {
        bool online = false;
        LIST_EACH(node, &((struct user *)value)->sessions)
        {
            struct session *s = CONTAINER_OF(node, struct session, node);
            if (s->state != SESSION_OPEN) continue;
            online = true;
            if (t->announce && session_available(s)) announce_to(t, s);
        }
        if (online && !t->announce) add_value(&t->found, bare);
    }
    bool last = ++t->at == worker_count();
    t->msg.run = last ? tour_home : tour_step;
    worker_post(last ? t->home : t->at, &t->msg);
}

static void run_tour(struct adhoc *call)
{
    struct tour *t = x_calloc(1, sizeof(*t));
    struct err err;
    t->call = call;
    t->home = worker_id();
    t->announce = call->command->result == NULL;
    t->text = call->text;
    if (jid_parse(call->fx->arena, call->fx->user->jid.domain, &t->from, &err) != 0) {
        free(t);
        call_end(call, &err);
        return;
    }
    t->msg.run = tour_step;
    worker_post(0, &t->msg);
}

#define ACCOUNT {"accountjid", "jid-single", "The account's JID"}
#define ACCOUNTS {"accountjids", "jid-multi", "The accounts' JIDs"}
static const struct command commands[] = {
    {"add-user",
     "Add a user",
     {ACCOUNT, {"password", "text-private", "Its password"}, {"password-verify", "text-private", "The password once more"}},
     run_add,
     NULL},
    {"delete-user", "Delete users", {ACCOUNTS}, run_each, NULL},
    {"disable-user", "Disable users", {ACCOUNTS}, run_each, NULL},
    {"reenable-user", "Enable users again", {ACCOUNTS}, run_each, NULL},
    {"end-user-session", "End the sessions of users", {ACCOUNTS}, run_each, NULL},
    {"change-user-password", "Change the password of a user", {ACCOUNT, {"password", "text-private", "The new password"}}, run_password, NULL},
    {"get-registered-users-list", "List the users", {{NULL, NULL, NULL}}, run_list, "registereduserjids"},
    {"get-disabled-users-list", "List the disabled users", {{NULL, NULL, NULL}}, run_list, "disableduserjids"},
    {"get-online-users-list", "List the users who are logged in", {{NULL, NULL, NULL}}, run_tour, "onlineuserjids"},
    {"announce", "Send an announcement to all who are online", {{"announcement", "text-multi", "The announcement"}}, run_tour, NULL},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(struct str node)
{
    size_t n = sizeof(NS_ADMIN) - 1;
    for (size_t i = 0; node.n > n && memcmp(node.p, NS_ADMIN, n) == 0 && i < COMMANDS; i++)
        if (str_is((struct str){node.p + n, node.n - n}, commands[i].name)) return &commands[i];
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

/* ---- what disco says of it ---- */
bool adhoc_node(struct str node) { return adhoc_offered() && (str_is(node, NS_COMMANDS) || command_find(node) != NULL); }

void adhoc_write_items(const struct context *cx, struct buf *b)
{
    if (!is_admin(cx->arena, &cx->stanza->from)) return;
    for (size_t i = 0; i < COMMANDS; i++) {
        buf_adds(b, "<item");
        xml_add_attr(b, "jid", cx->stanza->to.bare);
        buf_addf(b, " node='" NS_ADMIN "%s' name='%s'/>", commands[i].name, commands[i].title);
    }
}

void adhoc_write_info(struct str node, struct buf *b)
{
    const struct command *command = command_find(node);
    buf_addf(b, "<identity category='automation' type='%s' name='%s'/><feature var='" NS_COMMANDS "'/><feature var='" NS_DATA "'/>",
             command != NULL ? "command-node" : "command-list", command != NULL ? command->title : "Commands");
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
    if (command == NULL) return "bad-request";
    if (!is_admin(cx->arena, &cx->user->jid)) {
        *text = "This is for administrators.";
        return "forbidden";
    }
    return command_find(xml_node_attr(command, "node")) != NULL ? NULL : "item-not-found";
}

static struct xml_node *field_of(struct xml_node *form, const char *var)
{
    for (struct xml_node *f = xml_node_child(form, "field", NS_DATA); f != NULL; f = xml_node_next(f, "field", NS_DATA))
        if (str_is(xml_node_attr(f, "var"), var)) return f;
    return NULL;
}

static struct str value_of(struct arena *a, struct xml_node *form, const char *var)
{
    struct xml_node *field = field_of(form, var), *value = field != NULL ? xml_node_child(field, "value", NS_DATA) : NULL;
    return value != NULL ? xml_node_text(a, value) : STR_NONE;
}

/* NULL: all is there. */
static const char *accounts_read(struct adhoc *call, struct xml_node *form, const char *var)
{
    struct arena *a = call->fx->arena;
    struct xml_node *field = field_of(form, var);
    unsigned n = 0;
    for (struct xml_node *v = field != NULL ? xml_node_child(field, "value", NS_DATA) : NULL; v != NULL; v = xml_node_next(v, "value", NS_DATA)) n++;
    if (n == 0) return "No account is named.";
    call->accounts = arena_zalloc(a, n * sizeof(*call->accounts));
    for (struct xml_node *v = xml_node_child(field, "value", NS_DATA); v != NULL; v = xml_node_next(v, "value", NS_DATA)) {
        struct jid *jid = &call->accounts[call->n_accounts++];
        struct err err;
        if (jid_parse(a, xml_node_text(a, v), jid, &err) != 0 || jid->local.p == NULL || !router_domain_served(jid->domain)) return "This is no account here.";
        *jid = jid_to_bare(a, jid);
    }
    return NULL;
}

static const char *form_read(struct adhoc *call, struct xml_node *form)
{
    struct arena *a = call->fx->arena;
    for (unsigned i = 0; i < 3 && call->command->fields[i].var != NULL; i++) {
        const char *var = call->command->fields[i].var;
        if (strncmp(var, "accountjid", 10) == 0) {
            const char *problem = accounts_read(call, form, var);
            if (problem != NULL) return problem;
        } else if (strcmp(var, "announcement") == 0) {
            struct xml_node *field = field_of(form, var);
            struct buf lines = {0};
            for (struct xml_node *v = field != NULL ? xml_node_child(field, "value", NS_DATA) : NULL; v != NULL; v = xml_node_next(v, "value", NS_DATA)) {
                if (lines.len > 0) buf_addc(&lines, '\n');
                buf_add_str(&lines, xml_node_text(a, v));
            }
            call->text = arena_str(a, buf_str(&lines));
            buf_free(&lines);
            if (call->text.n == 0) return "The announcement says nothing.";
        } else if (strcmp(var, "password") == 0) {
            call->password = value_of(a, form, var);
            if (call->password.n == 0) return "There is no password.";
        } else if (!str_eq(call->password, value_of(a, form, var))) {
            return "The two passwords differ.";
        }
    }
    return NULL;
}

static void call_start(struct effects *fx)
{
    struct adhoc *call = fx->wait_arg;
    call->command->run(call);
}

static void reply_form(const struct context *cx, struct effects *fx, const struct command *command)
{
    struct buf b = {0};
    char id[32];
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)hash_random_u64());
    buf_addf(&b, "<command xmlns='" NS_COMMANDS "' node='" NS_ADMIN "%s' sessionid='%s' status='executing'><actions execute='complete'><complete/></actions>"
                 "<x xmlns='" NS_DATA "' type='form'><title>%s</title><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/admin</value></field>",
             command->name, id, command->title);
    for (unsigned i = 0; i < 3 && command->fields[i].var != NULL; i++)
        buf_addf(&b, "<field var='%s' type='%s' label=\"%s\"><required/></field>", command->fields[i].var, command->fields[i].type, command->fields[i].label);
    buf_adds(&b, "</x></command>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

void adhoc_apply(const struct context *cx, struct effects *fx)
{
    struct xml_node *node = command_of(cx), *form = xml_node_child(node, "x", NS_DATA);
    const struct command *command = command_find(xml_node_attr(node, "node"));
    struct str action = xml_node_attr(node, "action");
    if (str_is(action, "cancel")) {
        struct buf b = {0};
        buf_addf(&b, "<command xmlns='" NS_COMMANDS "' node='" NS_ADMIN "%s' status='canceled'", command->name);
        xml_add_attr(&b, "sessionid", xml_node_attr(node, "sessionid"));
        buf_adds(&b, "/>");
        effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
        buf_free(&b);
        return;
    }
    if (action.p != NULL && !str_is(action, "execute") && !str_is(action, "complete") && !str_is(action, "next")) {
        effect_error(fx, cx, "bad-request", "The command has one form: execute, complete or cancel it.");
        return;
    }
    if (command->fields[0].var != NULL && form == NULL) {
        reply_form(cx, fx, command);
        return;
    }
    struct adhoc *call = arena_zalloc(fx->arena, sizeof(*call));
    call->fx = fx;
    call->command = command;
    call->session_id = xml_node_attr(node, "sessionid");
    const char *problem = form != NULL ? form_read(call, form) : NULL;
    if (problem != NULL)
        effect_error(fx, cx, "bad-request", problem);
    else
        effect_wait(fx, call_start, call);
}
