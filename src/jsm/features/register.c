/* In-band registration (XEP-0077) of one who is logged in: as what he is registered, another password, the end of the account. */
#include "jsm/register.h"
#include "base/log.h"
#include "jsm/account.h"
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <string.h>

/* The name alone, or the whole address (as the form of XEP-0077, 3.3, has it). */
static bool is_own(const struct context *cx, struct str username)
{
    struct str local;
    struct jid jid;
    struct err err;
    if (memchr(username.p, '@', username.n) != NULL) return jid_parse(cx->arena, username, &jid, &err) == 0 && jid_eq(&jid, &cx->user->jid);
    return jid_prep_local(cx->arena, username, &local, &err) == 0 && str_eq(local, cx->user->jid.local);
}

const char *register_check(const struct context *cx, const char **text)
{
    struct registration_form form;
    if (!jsm->config->register_enabled) return "service-unavailable";
    if (cx->stanza->type == IQ_GET) return NULL;
    *text = "A request names the own username and a new password, or <remove/> alone.";
    if (registration_read(cx->stanza, cx->arena, &form) != 0) return "bad-request";
    if (form.remove) return NULL;
    if (form.username.n == 0 || form.password.n == 0) return "bad-request";
    *text = "A password is changed over TLS only.";
    if (cx->session->c2s != NULL && !c2s_secure(cx->session->c2s)) return "not-authorized"; /* XEP-0077, 3.3 */
    *text = "Only the own password can be changed.";
    if (!is_own(cx, form.username)) return "not-allowed";
    struct err err;
    if (account_password_check(jsm->config, form.password, &err) == 0) return NULL;
    *text = arena_str(cx->arena, str_of(err.text)).p;
    return "not-acceptable";
}

void register_get_apply(const struct context *cx, struct effects *fx)
{
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_REGISTER "'><registered/><instructions>You are registered: a new password may be set, or the account removed."
                 "</instructions><username>");
    xml_add_text(&b, cx->user->jid.local);
    buf_adds(&b, "</username><password/></query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

static void answer(struct effects *fx, const struct err *err)
{
    if (err == NULL) {
        effect_reply(fx, stanza_result(fx->request, STR("")));
    } else {
        log_info("jsm", "the account '%s' stays as it is: %s", fx->user->jid.full.p, err->text);
        effect_reply(fx, stanza_error(fx->request, err->code == ERR_INVALID ? "not-acceptable" : "internal-server-error", NULL, NULL));
    }
}

static void password_set(void *arg, const struct err *err)
{
    answer(arg, err);
    effects_run(arg);
}

static void password_wait(struct effects *fx)
{
    const struct str *password = fx->wait_arg;
    account_set_password(&fx->user->jid, *password, password_set, fx);
}

static void kick_removed(uint64_t session)
{
    struct session *s = session_get(session);
    if (s != NULL) session_kick(s, "not-authorized", "The account was removed.");
}

static void removed(void *arg, const struct err *err)
{
    struct effects *fx = arg;
    answer(fx, err);
    if (err == NULL) effect_after(fx, kick_removed);
    effects_run(fx);
}

static void removal_wait(struct effects *fx) { account_remove(&fx->user->jid, fx->session, removed, fx); }

void register_set_apply(const struct context *cx, struct effects *fx)
{
    struct registration_form form;
    if (registration_read(cx->stanza, fx->arena, &form) != 0) {
        effect_error(fx, cx, "bad-request", NULL);
    } else if (form.remove) {
        effect_wait(fx, removal_wait, NULL);
    } else {
        struct str *password = arena_zalloc(fx->arena, sizeof(*password));
        *password = form.password;
        effect_wait(fx, password_wait, password);
    }
}
