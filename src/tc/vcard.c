/* A room's vCard, and in it its avatar (XEP-0486): set by owners, seen by all. */
#include "tc/vcard.h"
#include "tc/keep.h"
#include "tc/presence.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include <openssl/evp.h>
#include <stdlib.h>

#define NS_VCARD "vcard-temp"

void room_vcard_get_apply(struct request *r)
{
    struct str card = r->room->vcard != NULL ? str_of(r->room->vcard) : STR("<vCard xmlns='" NS_VCARD "'/>");
    send_reply(r, stanza_result(r->stanza, card));
}

const char *room_vcard_set_check(struct request *r)
{
    if (room_affiliation(r->room, r->stanza->from.bare) != AFFILIATION_OWNER && !service_admin(&r->stanza->from))
        return say(r, "forbidden", "Only owners change the vCard of a room.");
    const struct xml_child *card = stanza_child(r->stanza, "vCard", NS_VCARD);
    if (card->length > (size_t)tc_settings->vcard_max_bytes) return say(r, "policy-violation", "This is more than the service stores.");
    return NULL;
}

/* All learn that the room has changed; who wants to know asks again (XEP-0045, 10.2.1). */
static void changed(struct request *r)
{
    free(r->data);
    send_reply(r, stanza_result(r->stanza, STR("")));
    send_to_all(
        r->room,
        stanza_make(STANZA_MESSAGE, MESSAGE_GROUPCHAT, &r->room->jid, NULL, STR_NONE, STR("<x xmlns='" NS_MUC_USER "'><status code='104'/></x>")),
        (struct crowd){0}, r);
}

static void undo(struct request *r)
{
    free(r->room->vcard);
    r->room->vcard = r->data;
}

void room_vcard_set_apply(struct request *r)
{
    const struct xml_child *card = stanza_child(r->stanza, "vCard", NS_VCARD);
    r->data = r->room->vcard; /* until the new one is committed */
    r->room->vcard = str_dup(stanza_child_bytes(r->stanza, card));
    keep_room(r);
    request_then(r, changed, undo);
}

const char *room_avatar_hash(const struct room *room, struct arena *a)
{
    struct err err;
    const struct xml_node *root = room->vcard != NULL ? xml_tree_parse(a, str_of(room->vcard), NS_CLIENT, &err) : NULL;
    const struct xml_node *card = root != NULL ? xml_node_child(root, "vCard", NS_VCARD) : NULL;
    const struct xml_node *photo = card != NULL ? xml_node_child(card, "PHOTO", NS_VCARD) : NULL;
    const struct xml_node *binval = photo != NULL ? xml_node_child(photo, "BINVAL", NS_VCARD) : NULL;
    if (binval == NULL) return NULL;
    struct str text = xml_node_text(a, binval);
    unsigned char *bytes = arena_alloc(a, text.n + 4), md[EVP_MAX_MD_SIZE];
    int n = 0, rest = 0;
    unsigned md_n = 0;
    EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    EVP_DecodeInit(ctx);
    bool good = EVP_DecodeUpdate(ctx, bytes, &n, (const unsigned char *)text.p, (int)text.n) >= 0 && EVP_DecodeFinal(ctx, bytes + n, &rest) >= 0;
    EVP_ENCODE_CTX_free(ctx);
    if (!good || n + rest == 0 || EVP_Digest(bytes, (size_t)(n + rest), md, &md_n, EVP_sha1(), NULL) != 1) return NULL;
    char *hex = arena_alloc(a, 2 * md_n + 1);
    for (unsigned i = 0; i < md_n; i++) str_hex(hex + 2 * i, md[i], 2);
    return hex;
}
