/* The open-port protocol's elements: how an event looks on the wire, and what a compliance server may say.
 *
 * Writing goes straight into the link's output buffer from the event's own slices: no tree, no copy in between. Reading decides the commonest answer,
 * an empty iq result or an empty <pass/>, from the element's index alone; only answers that carry something are parsed into a tree.
 *
 * Numbers: an event's iq id is "e" and a number in hexadecimal, a ping's is "p" and a number. */
#include "broker/protocol.h"
#include "base/clock.h"
#include "xml/writer.h"
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static const char *const copy_names[] = {NULL, "carbon", "muc", "offline"};

static void write_candidates(struct buf *out, const struct event *e)
{
    for (unsigned i = 0; i < e->n_candidates; i++) {
        BUF_ADD_LIT(out, "<session");
        xml_add_attr(out, "jid", e->candidates[i].jid);
        buf_addf(out, " priority='%d'/>", e->candidates[i].priority);
    }
}

static void write_iq(struct buf *out, const char *before, uint64_t number)
{
    char id[STR_HEX_SIZE];
    buf_adds(out, before);
    buf_add(out, id, (size_t)(str_hex(id, number, 1) - id));
    buf_addc(out, '\'');
}

void protocol_write_event(struct buf *out, const struct protocol_names *names, uint64_t number, const struct event_request *request)
{
    const struct event *e = request->event;
    bool awaited = request->hold != 0;
    char id[EVENT_ID_SIZE], sid[STANZA_ID_SIZE], stamp[CLOCK_STAMP_SIZE];
    if (awaited)
        write_iq(out, "<iq type='set' id='e", number);
    else
        BUF_ADD_LIT(out, "<message");
    xml_add_attr(out, "from", str_of(names->broker));
    xml_add_attr(out, "to", str_of(names->component));
    BUF_ADD_LIT(out, "><event xmlns='" NS_EVENT_BROKER "'");
    xml_add_attr(out, "name", str_of(event_catalogue[e->id].name));
    xml_add_attr(out, "id", str_of(event_id_text(e, id)));
    xml_add_attr(out, "node", str_of(event_node()));
    xml_add_attr(out, "stanza", str_of(stanza_id_text(e->subject->sid, sid)));
    xml_add_attr(out, "time", str_of(clock_stamp(e->wall_ms, stamp)));
    xml_add_attr(out, "profile", request->profile);
    xml_add_attr(out, "key", e->key);
    xml_add_attr(out, "session", e->session);
    xml_add_attr(out, "room", e->room);
    xml_add_attr(out, "copy", str_of(copy_names[e->copy]));
    if (request->shadow) BUF_ADD_LIT(out, " shadow='true'");
    BUF_ADD_LIT(out, "><forwarded xmlns='" NS_FORWARD "'>");
    stanza_write(out, e->subject, NS_CLIENT);
    BUF_ADD_LIT(out, "</forwarded>");
    write_candidates(out, e);
    BUF_ADD_LIT(out, "</event>");
    if (awaited)
        BUF_ADD_LIT(out, "</iq>");
    else
        BUF_ADD_LIT(out, "</message>");
}

void protocol_write_ping(struct buf *out, const struct protocol_names *names, uint64_t number)
{
    write_iq(out, "<iq type='get' id='p", number);
    xml_add_attr(out, "from", str_of(names->broker));
    xml_add_attr(out, "to", str_of(names->component));
    BUF_ADD_LIT(out, "><ping xmlns='" NS_PING "'/></iq>");
}

/* ---- reading ---- */

static enum answer_kind answer_invalid(struct event_answer *a, enum answer_fault fault, const char *text)
{
    a->fault = fault;
    a->text = x_strdup(text);
    return ANSWER_INVALID;
}

/* The one stanza inside <pass/> or <handle/>: NULL when there is none; *problem is set when there is something else. */
static struct stanza *answer_stanza(const struct xml_node *n, const char **problem, struct err *err)
{
    const struct xml_node *child = xml_node_child(n, NULL, NULL);
    const char *condition;
    *problem = NULL;
    if (child == NULL) return NULL;
    if (xml_node_next(child, NULL, NULL) != NULL) {
        *problem = "more than one element in the answer";
        return NULL;
    }
    if (!str_is(child->ns, NS_CLIENT)) {
        *problem = "the stanza in the answer is not of namespace " NS_CLIENT;
        return NULL;
    }
    struct stanza *s = stanza_from_node(child, &condition, err);
    if (s == NULL) *problem = err->text;
    return s;
}

static enum answer_kind read_pass(const struct xml_node *n, struct event_answer *a)
{
    const char *problem;
    struct err err;
    struct str session = xml_node_attr(n, "session");
    a->stanza = answer_stanza(n, &problem, &err);
    if (problem != NULL) return answer_invalid(a, ANSWER_FAULT_MALFORMED, problem);
    if (session.p != NULL) a->session = str_dup(session);
    return a->stanza != NULL ? ANSWER_PASS_STANZA : ANSWER_PASS;
}

static enum answer_kind read_handle(const struct xml_node *n, struct event_answer *a)
{
    const char *problem;
    struct err err;
    a->stanza = answer_stanza(n, &problem, &err);
    return problem != NULL ? answer_invalid(a, ANSWER_FAULT_MALFORMED, problem) : ANSWER_HANDLE;
}

static enum answer_kind read_result(const struct xml_element *e, struct arena *arena, struct event_answer *a)
{
    struct err err;
    const struct xml_node *root = xml_tree_parse(arena, e->inner, e->content_ns.p != NULL ? arena_str(arena, e->content_ns).p : "", &err);
    if (root == NULL) return answer_invalid(a, ANSWER_FAULT_MALFORMED, err.text);
    const struct xml_node *n = xml_node_child(root, NULL, NULL);
    if (n == NULL) return ANSWER_PASS;
    if (xml_node_next(n, NULL, NULL) != NULL) return answer_invalid(a, ANSWER_FAULT_MALFORMED, "more than one element in the result");
    if (!str_is(n->ns, NS_EVENT_BROKER)) return answer_invalid(a, ANSWER_FAULT_MALFORMED, "the result is not of namespace " NS_EVENT_BROKER);
    if (str_is(n->name, "pass")) return read_pass(n, a);
    if (str_is(n->name, "handle")) return read_handle(n, a);
    return answer_invalid(a, ANSWER_FAULT_MALFORMED, "the result is neither pass nor handle");
}

static void read_condition(const struct xml_node *error, struct event_answer *a)
{
    for (const struct xml_node *n = xml_node_child(error, NULL, NS_STANZAS); n != NULL; n = xml_node_next(n, NULL, NS_STANZAS)) {
        char name[sizeof a->condition];
        if (n->name.n >= sizeof name) continue;
        memcpy(name, n->name.p, n->name.n);
        name[n->name.n] = '\0';
        if (stanza_condition_type(name) == NULL) continue; /* "text", or nothing RFC 6120 knows: undefined-condition stays */
        memcpy(a->condition, name, n->name.n + 1);
        return;
    }
}

static enum answer_kind read_error(const struct xml_element *e, struct arena *arena, struct event_answer *a)
{
    static const char *const types[] = {"auth", "cancel", "continue", "modify", "wait"};
    static const char unknown[] = "undefined-condition";
    struct err err;
    memcpy(a->condition, unknown, sizeof unknown);
    const char *ns = e->content_ns.p != NULL ? arena_str(arena, e->content_ns).p : "";
    const struct xml_node *root = xml_tree_parse(arena, e->inner, ns, &err);
    if (root == NULL) return answer_invalid(a, ANSWER_FAULT_MALFORMED, err.text);
    const struct xml_node *error = xml_node_child(root, "error", NULL);
    if (error == NULL) return ANSWER_ERROR;
    struct str type = xml_node_attr(error, "type");
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++)
        if (str_is(type, types[i])) memcpy(a->type, types[i], strlen(types[i]) + 1);
    read_condition(error, a);
    const struct xml_node *text = xml_node_child(error, "text", NS_STANZAS);
    if (text != NULL) {
        struct str words = xml_node_text(arena, text);
        if (words.n > 0) a->text = str_dup(words);
    }
    return ANSWER_ERROR;
}

/* PASS with nothing in it, told from the element's index: no tree is built for the answer that nearly all answers are. */
static bool is_bare_pass(const struct xml_element *e)
{
    static const char shortest[] = "<pass xmlns='" NS_EVENT_BROKER "'/>";
    if (e->n_children == 0) return true;
    const struct xml_child *c = &e->children[0];
    return e->n_children == 1 && c->length == sizeof shortest - 1 && str_is(c->name, "pass") && str_is(c->ns, NS_EVENT_BROKER) &&
           memcmp(e->inner.p + c->offset + c->length - 2, "/>", 2) == 0;
}

static enum answer_kind read_answer(const struct xml_element *e, bool result, size_t answer_bytes, struct event_answer *a)
{
    if (e->inner.n > answer_bytes) return answer_invalid(a, ANSWER_FAULT_OVERSIZED, "the answer is larger than broker.answer_bytes");
    if (result && is_bare_pass(e)) return ANSWER_PASS;
    struct arena *arena = arena_new(0);
    enum answer_kind kind = result ? read_result(e, arena, a) : read_error(e, arena, a);
    arena_free(arena);
    return kind;
}

/* "e7f3a": the letter, then a hexadecimal number without sign, prefix or spare zeros, as we wrote it. */
static bool parse_number(struct str id, char letter, uint64_t *number)
{
    uint64_t n = 0;
    if (id.p == NULL || id.n < 2 || id.n > 17 || id.p[0] != letter) return false;
    for (size_t i = 1; i < id.n; i++) {
        char c = id.p[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
        if (digit == 16) return false;
        n = n << 4 | digit;
    }
    *number = n;
    return true;
}

/* from: whom the request was sent to, for that is who libraries expect the reply from; absent: the broker. */
static void write_reply(struct buf *out, const struct protocol_names *names, struct str id, struct str from, struct str to, const char *condition)
{
    buf_addf(out, "<iq type='%s'", condition != NULL ? "error" : "result");
    xml_add_attr(out, "id", id);
    xml_add_attr(out, "from", from.p != NULL ? from : str_of(names->broker));
    xml_add_attr(out, "to", to.p != NULL ? to : str_of(names->component));
    if (condition == NULL)
        BUF_ADD_LIT(out, "/>");
    else
        buf_addf(out, "><error type='%s'><%s xmlns='" NS_STANZAS "'/></error></iq>", stanza_condition_type(condition), condition);
}

static struct str domain_of(struct str jid)
{
    const char *end = memchr(jid.p, '/', jid.n);
    size_t n = end != NULL ? (size_t)(end - jid.p) : jid.n;
    const char *at = memchr(jid.p, '@', n);
    return at != NULL ? (struct str){at + 1, n - (size_t)(at + 1 - jid.p)} : (struct str){jid.p, n};
}

enum protocol_input protocol_read(const struct protocol_names *names, const struct xml_element *e, size_t answer_bytes, struct buf *out, uint64_t *number,
                                  struct event_answer *answer, const char **why)
{
    struct str type = xml_element_attr(e, "type"), id = xml_element_attr(e, "id"), from = xml_element_attr(e, "from"), to = xml_element_attr(e, "to");
    bool iq = str_is(e->name, "iq"), addressed = true;
    /* Libraries keep their connection alive by pinging their own domain, the component's name: on an ordinary server that is the server. */
    bool to_itself = to.p != NULL && str_is(to, names->component);
    memset(answer, 0, sizeof *answer);
    *why = "not an iq: a link may only answer and ping";
    if (!iq) return PROTOCOL_REFUSED;
    if (from.p != NULL && !str_is(domain_of(from), names->component)) {
        *why = "its `from` is not the component's";
        addressed = false;
    } else if (to.p != NULL && !to_itself && !str_is(domain_of(to), names->broker)) {
        *why = "it is addressed to somebody else than the event broker";
        addressed = false;
    }
    if (str_is(type, "get") || str_is(type, "set")) {
        bool ping = str_is(type, "get") && e->n_children == 1 && str_is(e->children[0].name, "ping") && str_is(e->children[0].ns, NS_PING);
        if (addressed) *why = "a request other than a ping: a link may only answer and ping";
        write_reply(out, names, id, to, from, addressed && ping ? NULL : "not-allowed");
        return addressed && ping ? PROTOCOL_PING : PROTOCOL_REFUSED;
    }
    bool result = str_is(type, "result");
    if (to_itself) *why = "an answer that is addressed to its sender";
    if (!addressed || to_itself) return PROTOCOL_REFUSED;
    *why = "an iq without a type";
    if (!result && !str_is(type, "error")) return PROTOCOL_REFUSED;
    if (parse_number(id, 'p', number)) return PROTOCOL_PONG;
    *why = "an answer to nothing that was asked";
    if (!parse_number(id, 'e', number)) return PROTOCOL_REFUSED;
    answer->kind = read_answer(e, result, answer_bytes, answer);
    return PROTOCOL_ANSWER;
}
