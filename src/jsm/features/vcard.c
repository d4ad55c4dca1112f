/* vCards (XEP-0054): everybody reads them, the owner writes his. They are kept as they came and read from the store when asked for. The server has
 * one too: its name, its address, and where its administrators are reached (the mail addresses of contact.admin). */
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <string.h>

#define AREA "vcard"

static void found(struct effects *fx, struct str xml)
{
    const struct stanza *iq = fx->request;
    if (xml.p != NULL)
        effect_reply(fx, stanza_result(iq, xml));
    else if (fx->session != 0) /* the owner's own */
        effect_reply(fx, stanza_error(iq, "item-not-found", NULL, NULL));
    else /* the same as for a user who does not exist */
        effect_reply(fx, stanza_error(iq, "service-unavailable", NULL, NULL));
}

void vcard_get_apply(const struct context *cx, struct effects *fx)
{
    (void)cx;
    effect_document(fx, AREA, STR(""), found);
}

static void add_element(struct buf *b, const char *name, struct str text)
{
    buf_addf(b, "<%s>", name);
    xml_add_text(b, text);
    buf_addf(b, "</%s>", name);
}

void vcard_server_apply(const struct context *cx, struct effects *fx)
{
    struct buf b = {0};
    buf_adds(&b, "<vCard xmlns='vcard-temp'>");
    add_element(&b, "FN", cx->stanza->to.domain);
    add_element(&b, "JABBERID", cx->stanza->to.domain);
    add_element(&b, "DESC", STR("Signet, an XMPP service"));
    for (const char *p = jsm->config->contact_admin; (p = strstr(p, "mailto:")) != NULL;) {
        p += strlen("mailto:");
        size_t n = strcspn(p, " ?");
        buf_adds(&b, "<EMAIL><INTERNET/>");
        add_element(&b, "USERID", (struct str){p, n});
        buf_adds(&b, "</EMAIL>");
    }
    buf_adds(&b, "</vCard>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

const char *vcard_set_check(const struct context *cx, const char **text)
{
    if (cx->stanza->children[0].length <= (size_t)jsm->config->vcard_max_bytes) return NULL;
    *text = "This vCard is larger than the service allows.";
    return "policy-violation";
}

void vcard_set_apply(const struct context *cx, struct effects *fx)
{
    struct str xml = stanza_child_bytes(cx->stanza, &cx->stanza->children[0]);
    store_batch_document_set(effect_store(fx, cx->user), AREA, STR(""), xml, 1);
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
}

void vcard_foreign_apply(const struct context *cx, struct effects *fx) { effect_error(fx, cx, "forbidden", "A vCard is written by its owner."); }
