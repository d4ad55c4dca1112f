/* Error replies and what they say (RFC 6120, 8.3), and the stanza ids. */
#include <stdio.h>
#include <string.h>
#include "xml/writer.h"
#include "xmpp/stanza_private.h"

static const struct {
    const char *name, *type;
} conditions[] = {
#define CONDITION(name, type) {name, type},
#include "tables/conditions.def"
#undef CONDITION
};
#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

const char *stanza_condition_type(const char *condition)
{
    for (size_t i = 0; i < N_CONDITIONS; i++)
        if (strcmp(conditions[i].name, condition) == 0) return conditions[i].type;
    return NULL;
}

struct stanza *stanza_error(const struct stanza *s, const char *condition, const char *type, const char *text)
{
    return stanza_error_with(s, condition, type, text, NULL, NULL);
}

struct stanza *stanza_error_with(const struct stanza *s, const char *condition, const char *type, const char *text, const char *own, const char *own_ns)
{
    static const enum stanza_type of_kind[] = {[STANZA_MESSAGE] = MESSAGE_ERROR, [STANZA_PRESENCE] = PRESENCE_ERROR, [STANZA_IQ] = IQ_ERROR};
    if (stanza_is_error(s) || s->type == IQ_RESULT) return NULL;
    const char *standard = stanza_condition_type(condition);
    if (standard == NULL) condition = "undefined-condition", standard = "cancel";
    struct buf b = {0};
    BUF_ADD_LIT(&b, "<error");
    xml_add_attr(&b, "type", str_of(type != NULL ? type : standard));
    buf_addf(&b, "><%s xmlns='" NS_STANZAS "'/>", condition);
    if (text != NULL) {
        BUF_ADD_LIT(&b, "<text xmlns='" NS_STANZAS "' xml:lang='en'>");
        if (xml_text_ok(str_of(text))) xml_add_text(&b, str_of(text));
        BUF_ADD_LIT(&b, "</text>");
    }
    if (own != NULL) buf_addf(&b, "<%s xmlns='%s'/>", own, own_ns);
    BUF_ADD_LIT(&b, "</error>");
    struct stanza *reply = stanza_make(s->kind, of_kind[s->kind], &s->to, &s->from, s->id, buf_str(&b));
    reply->sid = s->sid;
    buf_free(&b);
    return reply;
}

const char *stanza_error_condition(const struct stanza *s)
{
    const char *found = "undefined-condition";
    const struct xml_child *error = stanza_child(s, "error", NS_CLIENT);
    if (error == NULL) return found;
    struct arena *a = arena_new(0);
    struct xml_node *n = stanza_tree(s, error, a, NULL);
    if (n != NULL)
        for (size_t i = 0; i < N_CONDITIONS; i++)
            if (xml_node_child(n, conditions[i].name, NS_STANZAS) != NULL) found = conditions[i].name;
    arena_free(a);
    return found;
}

/* The boot number above, a counter below: 44 bits last five years at 100,000 stanzas a second, 20 bits a restart every five minutes for ten years. */
#define COUNTER_BITS 44
#define BOOT_MASK    ((1U << (64 - COUNTER_BITS)) - 1)

static _Atomic uint64_t next_id = 1;

void stanza_ids_start(uint32_t boot)
{
    atomic_store(&next_id, (uint64_t)(boot & BOOT_MASK) << COUNTER_BITS | 1);
}

uint64_t stanza_id_next(void)
{
    return atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
}

const char *stanza_id_text(uint64_t sid, char out[STANZA_ID_SIZE])
{
    char *end = str_hex(out, sid >> COUNTER_BITS, 1);
    *end = '-';
    str_hex(end + 1, sid & ((1ULL << COUNTER_BITS) - 1), 8);
    return out;
}

int stanza_id_parse(const char *text, uint64_t *sid)
{
    unsigned boot;
    unsigned long long count;
    int end = 0;
    if (sscanf(text, "%8x-%16llx%n", &boot, &count, &end) != 2 || text[end] != '\0' || boot > BOOT_MASK || count >> COUNTER_BITS != 0) return -1;
    *sid = (uint64_t)boot << COUNTER_BITS | count;
    return 0;
}
