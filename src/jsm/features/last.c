/* Last activity (XEP-0012): the server's uptime; when an account was last there, told to those who may see its presence. The logout is noted when
 * the last available session becomes unavailable, with its status; the note needs no answer, so nobody waits for the disk. */
#include "base/clock.h"
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <stdlib.h>

#define NS_LAST "jabber:iq:last"
#define STATUS_BYTES 1023

static void reply(const struct context *cx, struct effects *fx, uint64_t ms, struct str status)
{
    struct buf b = {0};
    buf_addf(&b, "<query xmlns='" NS_LAST "' seconds='%llu'>", (unsigned long long)(ms / 1000));
    xml_add_text(&b, status);
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

void last_server_apply(const struct context *cx, struct effects *fx) { reply(cx, fx, clock_ms() - jsm->started_ms, STR("")); }

static bool any_available(const struct user *u, const struct session *but)
{
    LIST_EACH(node, &u->sessions)
    {
        const struct session *s = CONTAINER_OF(node, struct session, node);
        if (s != but && session_available(s)) return true;
    }
    return false;
}

void last_account_apply(const struct context *cx, struct effects *fx)
{
    const struct user *u = cx->user;
    uint64_t now = clock_wall_ms();
    if (!account_visible(cx))
        effect_error(fx, cx, "forbidden", NULL);
    else if (any_available(u, NULL))
        reply(cx, fx, 0, STR(""));
    else
        reply(cx, fx, now > u->last_ms ? now - u->last_ms : 0, u->last_status != NULL ? str_of(u->last_status) : STR(""));
}

/* A request to one session, which answers itself: but only to those who may know that it is there (XEP-0012, security considerations). */
void last_session_apply(const struct context *cx, struct effects *fx)
{
    if (account_visible(cx))
        effect_forward(fx, stanza_ref(cx->stanza));
    else
        effect_error(fx, cx, "forbidden", NULL);
}

void last_note(const struct session *s, const struct stanza *unavailable)
{
    struct user *u = s->user;
    if (any_available(u, s)) return;
    struct arena *a = arena_new(0);
    struct err err;
    struct xml_node *root = stanza_child(unavailable, "status", NS_CLIENT) != NULL ? stanza_tree(unavailable, NULL, a, &err) : NULL;
    struct xml_node *node = root != NULL ? xml_node_child(root, "status", NS_CLIENT) : NULL;
    struct str status = node != NULL ? xml_node_text(a, node) : STR_NONE;
    if (status.n == 0 || status.n > STATUS_BYTES) status = STR_NONE;
    free(u->last_status);
    u->last_status = status.p != NULL ? str_dup(status) : NULL;
    u->last_ms = clock_wall_ms();
    store_account_touch_logout(u->jid.bare, u->last_ms, status);
    arena_free(a);
}
