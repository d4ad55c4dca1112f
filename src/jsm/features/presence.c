/* Presence (RFC 6121, 4): broadcast, probes, directed presence, and the unavailable presence the server makes when a session ends. */
#include "base/metric.h"
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <stdlib.h>
#include <string.h>

static bool sees_us(const struct roster_item *item) { return item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH; }
static bool seen_by_us(const struct roster_item *item) { return item->subscription == SUBSCRIPTION_TO || item->subscription == SUBSCRIPTION_BOTH; }

static struct stanza *readdressed(const struct stanza *s, const struct jid *to)
{
    struct stanza_change change = {.to = to};
    return stanza_with(s, &change);
}

/* The priority of a presence: -128 to 127 (RFC 6121, 4.7.2.3); 0 when absent; false when it is no such number. */
static bool priority_of(const struct context *cx, int *priority)
{
    *priority = 0;
    const struct xml_child *child = stanza_child(cx->stanza, "priority", NS_CLIENT);
    if (child == NULL) return true;
    struct err err;
    struct xml_node *root = stanza_tree(cx->stanza, NULL, cx->arena, &err);
    struct xml_node *node = root != NULL ? xml_node_child(root, "priority", NS_CLIENT) : NULL;
    if (node == NULL) return false;
    struct str text = xml_node_text(cx->arena, node);
    char *end;
    long value = strtol(text.p, &end, 10);
    while (*end == ' ' || *end == '\n' || *end == '\t' || *end == '\r') end++;
    if (text.n == 0 || *end != '\0' || value < -128 || value > 127) return false;
    *priority = (int)value;
    return true;
}

static void to_own_sessions(struct effects *fx, const struct user *u, const struct session *self, struct stanza *presence, bool self_too)
{
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!session_available(s) || (s == self && !self_too)) continue;
        effect_deliver(fx, s, readdressed(presence, &s->full), COPY_NONE);
    }
}

static void to_subscribers(struct effects *fx, const struct user *u, const struct stanza *presence)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&u->roster, &it, &key, &value)) {
        struct jid contact;
        struct err err;
        if (!sees_us(value) || jid_parse(fx->arena, key, &contact, &err) != 0 || blocking_matches(u, &contact)) continue;
        effect_route(fx, readdressed(presence, &contact), PARCEL_COPY);
    }
}

void presence_directed_clear(struct session *s)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&s->directed, &it, &key, &value)) free(value);
    map_free(&s->directed);
}

/* RFC 6121, 4.6.3: those who got directed presence get the unavailable one too, unless they get it as subscribers. */
static void to_directed(struct effects *fx, struct session *s, const struct stanza *unavailable, bool broadcast)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&s->directed, &it, &key, &value)) {
        struct jid to;
        struct err err;
        if (jid_parse(fx->arena, key, &to, &err) != 0) continue;
        const struct roster_item *item = roster_find(s->user, to.bare);
        if (!broadcast || item == NULL || !sees_us(item)) effect_route(fx, readdressed(unavailable, &to), PARCEL_COPY | (s->state == SESSION_ENDED ? PARCEL_ENDED : 0));
    }
    presence_directed_clear(s);
}

/* RFC 6121, 4.2.2: initial presence asks for the contacts' presence and gets the other sessions' and the pending requests. */
static void initial(const struct context *cx, struct effects *fx)
{
    struct session *self = cx->session;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&cx->user->roster, &it, &key, &value)) {
        struct roster_item *item = value;
        struct jid contact;
        struct err err;
        if (jid_parse(fx->arena, key, &contact, &err) != 0 || blocking_matches(cx->user, &contact)) continue;
        if (seen_by_us(item))
            effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_PROBE, &self->full, &contact, STR_NONE, STR("")), PARCEL_COPY);
        struct stanza *request = item->pending_in != NULL ? stanza_from_text(str_of(item->pending_in), &err) : NULL;
        if (request != NULL) effect_deliver(fx, self, request, COPY_OFFLINE);
    }
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (s != self && session_available(s)) effect_deliver(fx, self, readdressed(s->presence, &self->full), COPY_NONE);
    }
}

/* RFC 6121, 4.5.2: all who were told that it is available, and, as long as it is there, the session itself. */
static void became_unavailable(struct session *s, struct effects *fx, struct stanza *presence, bool self_too)
{
    bool broadcast = s->presence != NULL;
    if (broadcast) {
        last_note(s, presence);
        to_subscribers(fx, s->user, presence);
        to_own_sessions(fx, s->user, s, presence, self_too);
    }
    to_directed(fx, s, presence, broadcast);
    stanza_unref(s->presence);
    s->presence = NULL;
}

void presence_broadcast_apply(const struct context *cx, struct effects *fx)
{
    struct session *s = cx->session;
    struct stanza *presence = stanza_ref(cx->stanza);
    stanza_unref(s->hidden); /* this one was under way when the stream was cut */
    s->hidden = NULL;
    if (presence->type == PRESENCE_UNAVAILABLE) {
        became_unavailable(s, fx, presence, true);
        stanza_unref(presence);
        return;
    }
    int priority;
    if (!priority_of(cx, &priority)) {
        effect_error(fx, cx, "bad-request", "The priority is a whole number from -128 to 127.");
        stanza_unref(presence);
        return;
    }
    bool first = s->presence == NULL, took = !first && s->priority >= 0;
    stanza_unref(s->presence);
    s->presence = presence;
    s->priority = priority;
    to_subscribers(fx, cx->user, presence);
    to_own_sessions(fx, cx->user, s, presence, true);
    if (first) initial(cx, fx);
    if (priority >= 0) notices_show(cx, fx);
    if (priority >= 0 && !took) effect_then(fx, offline_flush, s->id);
}

/* Each is remembered, so that he learns of the end. */
const char *presence_directed_check(const struct context *cx, const char **text)
{
    const struct session *s = cx->session;
    bool one_more = cx->stanza->type == PRESENCE_AVAILABLE && map_get(&s->directed, cx->stanza->to.full) == NULL;
    if (!one_more || s->directed.count < (size_t)jsm->config->c2s_directed_presence) return NULL;
    metric_inc(METRIC_DIRECTED_OVER_LIMIT);
    *text = "This session has sent directed presence to as many addresses as this service allows.";
    return "resource-constraint";
}

void presence_directed_apply(const struct context *cx, struct effects *fx)
{
    struct str to = cx->stanza->to.full;
    if (cx->stanza->type == PRESENCE_UNAVAILABLE) {
        free(map_del(&cx->session->directed, to));
    } else if (map_get(&cx->session->directed, to) == NULL) {
        map_put(&cx->session->directed, to, str_dup(to));
    }
    effect_forward(fx, stanza_ref(cx->stanza));
}

/* RFC 6121, 4.3.2. The prober learns something only when he is subscribed. To one whose request waits for the user's decision nothing is said:
 * unsubscribed would end the request at his side, and at the user's it would wait on. */
void probe_in_apply(const struct context *cx, struct effects *fx)
{
    const struct roster_item *item = roster_find(cx->user, cx->stanza->from.bare);
    bool own = jid_bare_eq(&cx->stanza->from, &cx->user->jid);
    if (!own && (item == NULL || !sees_us(item))) {
        if (item != NULL && item->pending_in != NULL) return;
        effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBED, &cx->user->jid, &cx->stanza->from, STR_NONE, STR("")), PARCEL_COPY);
        return;
    }
    bool any = false;
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!session_available(s)) continue;
        any = true;
        effect_route(fx, readdressed(s->presence, &cx->stanza->from), PARCEL_COPY);
    }
    if (!any) effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &cx->user->jid, &cx->stanza->from, STR_NONE, STR("")), PARCEL_COPY);
}

void presence_to_contact(const struct context *cx, struct effects *fx, const struct jid *contact, bool available)
{
    if (blocking_matches(cx->user, contact)) return;
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!session_available(s)) continue;
        struct stanza *presence = available ? readdressed(s->presence, contact) : stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->full, contact, STR_NONE, STR(""));
        effect_route(fx, presence, PARCEL_COPY);
    }
}

/* The session is no more: its effects live by themselves. */
static void gone_done(struct effects *fx, const struct err *failed)
{
    (void)failed;
    effects_clear(fx);
    free(fx);
}

static struct effects *own_effects(struct session *s)
{
    struct effects *fx = x_calloc(1, sizeof(*fx));
    effects_init(fx, s->user, NULL, (struct ticket){0}, NULL, NULL);
    fx->done = gone_done;
    return fx;
}

void presence_session_gone(struct session *s, struct stanza *unavailable)
{
    struct effects *fx = own_effects(s);
    became_unavailable(s, fx, unavailable, true);
    effects_run(fx);
}

/* c2s.detached_presence. The client itself is not told: when it resumes it is what it was. */
void presence_session_detached(struct session *s)
{
    if (s->presence == NULL || strcmp(jsm->config->c2s_detached_presence, "unavailable") != 0) return;
    struct stanza *unavailable = stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->full, NULL, STR_NONE, STR(""));
    s->hidden = stanza_ref(s->presence);
    struct effects *fx = own_effects(s);
    became_unavailable(s, fx, unavailable, false);
    stanza_unref(unavailable);
    effects_run(fx);
}

/* As if it had sent its presence anew: it gets the presence of its contacts, which it was not sent meanwhile, and what was stored. */
void presence_session_resumed(struct session *s)
{
    if (s->hidden == NULL) return;
    s->presence = s->hidden;
    s->hidden = NULL;
    struct effects *fx = own_effects(s);
    struct context cx = {.stanza = s->presence, .user = s->user, .session = s, .arena = fx->arena};
    to_subscribers(fx, s->user, s->presence);
    to_own_sessions(fx, s->user, s, s->presence, false);
    initial(&cx, fx);
    if (s->priority >= 0) effect_then(fx, offline_flush, s->id);
    effects_run(fx);
}
