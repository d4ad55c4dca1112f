/* Keeping verdicts, and turning a refusal into what its originator or addressee gets. */
#include "broker/verdict.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void verdict_keep(struct kept_verdict *k, const struct verdict *v)
{
    memset(k, 0, sizeof(*k));
    k->kind = v->kind;
    k->outage = v->outage;
    if (v->stanza != NULL) k->stanza = stanza_ref(v->stanza);
    if (v->kind == VERDICT_PASS) return; /* nearly all are */
    snprintf(k->condition, sizeof(k->condition), "%s", v->condition != NULL ? v->condition : "undefined-condition");
    snprintf(k->type, sizeof(k->type), "%s", v->type != NULL ? v->type : "");
    if (v->text != NULL) k->text = x_strdup(v->text);
}

void verdict_clear(struct kept_verdict *k)
{
    stanza_unref(k->stanza);
    free(k->text);
    memset(k, 0, sizeof(*k));
}

/* A HANDLE's reply is the compliance server's text under the addressing the requester expects. */
static struct stanza *handled_reply(const struct kept_verdict *k, const struct stanza *iq)
{
    struct stanza_change change = {.from = &iq->to, .to = &iq->from, .id = &iq->id};
    if (k->stanza->kind != STANZA_IQ || (k->stanza->type != IQ_RESULT && k->stanza->type != IQ_ERROR)) return NULL;
    return stanza_with(k->stanza, &change);
}

struct stanza *verdict_reply(const struct kept_verdict *k, const struct stanza *s)
{
    if (stanza_is_error(s) || s->type == IQ_RESULT) return NULL;
    switch (k->kind) {
    case VERDICT_PASS:
        return NULL;
    case VERDICT_REFUSE:
        return stanza_error(s, k->condition, k->type[0] != '\0' ? k->type : NULL, k->text);
    case VERDICT_HANDLE:
    case VERDICT_DISCARD:
        if (!stanza_is_request(s)) return NULL;
        if (k->kind == VERDICT_HANDLE && k->stanza != NULL) {
            struct stanza *reply = handled_reply(k, s);
            if (reply != NULL) return reply;
        }
        return stanza_error(s, "not-allowed", NULL, "This request was not allowed by policy.");
    }
    return NULL;
}

struct stanza *verdict_substitute(const struct kept_verdict *k, const struct stanza *s)
{
    if (s->type != IQ_RESULT && s->type != IQ_ERROR) return NULL;
    const char *condition = k->kind == VERDICT_REFUSE ? k->condition : "not-allowed";
    const char *type = stanza_condition_type(condition);
    struct buf inner = {0};
    buf_addf(&inner, "<error type='%s'><%s xmlns='" NS_STANZAS "'/></error>", type != NULL ? type : "cancel", type != NULL ? condition : "undefined-condition");
    struct stanza *error = stanza_make(STANZA_IQ, IQ_ERROR, &s->from, &s->to, s->id, buf_str(&inner));
    buf_free(&inner);
    return error;
}

struct stanza *presence_stripped(const struct stanza *s)
{
    struct str none = STR("");
    struct stanza_change change = {.inner = &none};
    return stanza_with(s, &change);
}
