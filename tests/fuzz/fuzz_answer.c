/* What a compliance server may send: elements of a component stream, read as answers. Must hold: an answer is of a kind that can be acted on and has what its
 * kind promises, only that; what goes back is well-formed and tells of a request only. */
#include <string.h>
#include "broker/protocol.h"
#include "fuzz.h"

static const struct protocol_names names = {"event-broker.example.com", "op-wall.node1-example-com"};

static void check_answer(const struct event_answer *a)
{
    MUST_HOLD(a->kind == ANSWER_PASS || a->kind == ANSWER_PASS_STANZA || a->kind == ANSWER_HANDLE || a->kind == ANSWER_ERROR || a->kind == ANSWER_INVALID);
    MUST_HOLD(a->kind != ANSWER_PASS_STANZA || a->stanza != NULL);
    MUST_HOLD(a->stanza == NULL || a->kind == ANSWER_PASS_STANZA || a->kind == ANSWER_HANDLE);
    MUST_HOLD(a->session == NULL || a->kind == ANSWER_PASS || a->kind == ANSWER_PASS_STANZA);
    MUST_HOLD((a->kind == ANSWER_ERROR) == (stanza_condition_type(a->condition) != NULL));
    MUST_HOLD(a->kind != ANSWER_INVALID || a->text != NULL);
    if (a->stanza == NULL) return;
    struct buf b = {0};
    struct err err;
    stanza_write(&b, a->stanza, NS_CLIENT);
    struct stanza *again = stanza_from_text(buf_str(&b), &err);
    MUST_HOLD(again != NULL && again->kind == a->stanza->kind && again->type == a->stanza->type);
    stanza_unref(again);
    buf_free(&b);
}

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    (void)owner, (void)h;
    return XML_GO_ON;
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    (void)owner;
    struct buf out = {0};
    struct event_answer a;
    uint64_t number = 0;
    const char *why = NULL;
    enum protocol_input input = protocol_read(&names, e, 5000, &out, &number, &a, &why);
    if (input == PROTOCOL_ANSWER) check_answer(&a);
    MUST_HOLD(input != PROTOCOL_REFUSED || why != NULL);
    MUST_HOLD(out.len == 0 || input == PROTOCOL_PING || input == PROTOCOL_REFUSED);
    MUST_HOLD(input != PROTOCOL_PING || out.len > 0);
    if (out.len > 0) {
        struct arena *arena = arena_new(0);
        struct err err;
        const struct xml_node *root = xml_tree_parse(arena, buf_str(&out), "jabber:component:accept", &err);
        MUST_HOLD(root != NULL && root->first != NULL && root->first == root->last && str_is(root->first->name, "iq"));
        arena_free(arena);
    }
    event_answer_clear(&a);
    buf_free(&out);
    return XML_GO_ON;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct xml_parser_ops ops = {on_header, on_element};
    static const char header[] = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>";
    struct xml_limits limits = xml_limits_default;
    limits.stanza_bytes = 10000;
    struct xml_parser *p = xml_parser_new(&limits, &ops, NULL);
    size_t used;
    if (xml_parser_feed(p, header, sizeof header - 1, &used) == XML_FED) (void)xml_parser_feed(p, (const char *)data, n, &used);
    xml_parser_free(p);
    return 0;
}
