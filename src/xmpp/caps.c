/* Entity capabilities: everything is sorted by its bytes and hashed, so the order in which it is described and written does not count. */
#include "xmpp/caps.h"
#include "xml/writer.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

void caps_write(struct buf *b, const struct caps_info *info)
{
    for (unsigned i = 0; i < info->n_identities; i++) {
        const struct caps_identity *identity = &info->identities[i];
        buf_adds(b, "<identity");
        xml_add_attr(b, "category", str_of(identity->category));
        xml_add_attr(b, "type", str_of(identity->type));
        xml_add_attr(b, "xml:lang", str_of(identity->lang));
        xml_add_attr(b, "name", str_of(identity->name));
        buf_adds(b, "/>");
    }
    for (unsigned i = 0; i < info->n_features; i++) {
        buf_adds(b, "<feature");
        xml_add_attr(b, "var", str_of(info->features[i]));
        buf_adds(b, "/>");
    }
    for (unsigned i = 0; i < info->n_forms; i++) {
        const struct caps_form *form = &info->forms[i];
        buf_adds(b, "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>");
        xml_add_text(b, str_of(form->form_type));
        buf_adds(b, "</value></field>");
        for (unsigned f = 0; f < form->n_fields; f++) {
            buf_adds(b, "<field");
            xml_add_attr(b, "var", str_of(form->fields[f].var));
            xml_add_attr(b, "type", str_of(form->fields[f].type));
            buf_adds(b, ">");
            for (unsigned v = 0; v < form->fields[f].n_values; v++) {
                buf_adds(b, "<value>");
                xml_add_text(b, str_of(form->fields[f].values[v]));
                buf_adds(b, "</value>");
            }
            buf_adds(b, "</field>");
        }
        buf_adds(b, "</x>");
    }
}

/* ---- the verification string ---- */
static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorts n texts, each made by text_of(arg, i) into a buffer, and appends them. */
static void add_sorted(struct buf *out, unsigned n, void (*text_of)(const void *arg, unsigned i, struct buf *text), const void *arg)
{
    char **texts = x_calloc(n + 1, sizeof(*texts));
    for (unsigned i = 0; i < n; i++) {
        struct buf text = {0};
        text_of(arg, i, &text);
        texts[i] = x_strdup(buf_cstr(&text));
        buf_free(&text);
    }
    qsort(texts, n, sizeof(*texts), by_bytes);
    for (unsigned i = 0; i < n; i++) {
        buf_adds(out, texts[i]);
        free(texts[i]);
    }
    free(texts);
}

static void text_of_identity(const void *arg, unsigned i, struct buf *text)
{
    const struct caps_identity *identity = (const struct caps_identity *)arg + i;
    buf_addf(text, "%s/%s/%s/%s<", identity->category, identity->type, identity->lang ? identity->lang : "", identity->name ? identity->name : "");
}

static void text_of_plain(const void *arg, unsigned i, struct buf *text) { buf_addf(text, "%s<", ((const char *const *)arg)[i]); }

static void text_of_field(const void *arg, unsigned i, struct buf *text)
{
    const struct caps_field *field = (const struct caps_field *)arg + i;
    buf_addf(text, "%s<", field->var);
    add_sorted(text, field->n_values, text_of_plain, field->values);
}

static void text_of_form(const void *arg, unsigned i, struct buf *text)
{
    const struct caps_form *form = (const struct caps_form *)arg + i;
    buf_addf(text, "%s<", form->form_type);
    add_sorted(text, form->n_fields, text_of_field, form->fields);
}

void caps_ver(const struct caps_info *info, char out[CAPS_VER_SIZE])
{
    struct buf text = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    add_sorted(&text, info->n_identities, text_of_identity, info->identities);
    add_sorted(&text, info->n_features, text_of_plain, info->features);
    add_sorted(&text, info->n_forms, text_of_form, info->forms);
    buf_cstr(&text);
    if (EVP_Digest(text.data, text.len, digest, NULL, EVP_sha1(), NULL) != 1) abort(); /* SHA-1 is always there */
    EVP_EncodeBlock((unsigned char *)out, digest, 20);
    buf_free(&text);
}
