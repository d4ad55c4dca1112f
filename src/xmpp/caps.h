/* What an entity is and can do: the contents of a disco#info answer (XEP-0030, with forms as XEP-0128 has them), and the verification string made
 * of them (XEP-0115, 5.1). One description serves both, so that they cannot differ. */
#ifndef SIGNET_XMPP_CAPS_H
#define SIGNET_XMPP_CAPS_H
#include "base/buf.h"

#define NS_CAPS "http://jabber.org/protocol/caps"

struct caps_identity {
    const char *category, *type;
    const char *lang, *name; /* NULL: none */
};
struct caps_field { /* of a form */
    const char *var, *type;
    const char *const *values;
    unsigned n_values;
};
struct caps_form {
    const char *form_type;
    const struct caps_field *fields; /* without FORM_TYPE */
    unsigned n_fields;
};
struct caps_info { /* all borrowed */
    const struct caps_identity *identities;
    unsigned n_identities;
    const char *const *features; /* each at most once */
    unsigned n_features;
    const struct caps_form *forms;
    unsigned n_forms;
};
void caps_write(struct buf *b, const struct caps_info *info); /* the children of <query/> */
#define CAPS_VER_SIZE 29
void caps_ver(const struct caps_info *info, char out[CAPS_VER_SIZE]); /* SHA-1, in base64 */

#endif
