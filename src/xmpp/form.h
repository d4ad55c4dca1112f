/* Data forms (XEP-0004): a form is described once as data, and from that it is written, and what comes back filled in is read and checked. */
#ifndef SIGNET_XMPP_FORM_H
#define SIGNET_XMPP_FORM_H
#include "xml/parser.h"

#define NS_DATA "jabber:x:data"

enum form_field_type {
    FIELD_BOOLEAN,
    FIELD_JID_MULTI,
    FIELD_JID_SINGLE,
    FIELD_LIST_MULTI,
    FIELD_LIST_SINGLE,
    FIELD_TEXT_MULTI,
    FIELD_TEXT_PRIVATE,
    FIELD_TEXT_SINGLE,
};
struct form_option {
    const char *label, *value;
};
struct form_field {
    const char *var;
    enum form_field_type type;
    const char *label;
    bool required;
    const struct form_option *options; /* of a list; ends with value NULL */
};
#define FORM_FIELDS_MAX 32
struct form {
    const char *form_type, *title, *instructions; /* FORM_TYPE as XEP-0068 has it */
    const struct form_field *fields;
    unsigned n_fields; /* at most FORM_FIELDS_MAX */
};
struct form_value { /* of one field; the same place in an array as the field in the form */
    const struct str *values; /* NULL: the field was not there */
    unsigned n;
};
void form_write(struct buf *b, const struct form *form, const struct form_value *filled); /* type form; filled NULL: empty */
/* A submitted form, checked: its type and FORM_TYPE, required fields, one value where one may be, booleans, choices from lists. Addresses are for whoever uses
 * them to judge. Fields the form does not have are ignored. Values are in the arena. -1: *text says what is wrong. */
must_check int form_read(const struct form *form, const struct xml_node *x, struct arena *a, struct form_value values[FORM_FIELDS_MAX], const char **text);
const char *form_unknown(const struct form *form, const struct xml_node *x, struct arena *a); /* a field that the form does not have; NULL: none */
struct str form_first(const struct form_value *value); /* absent: none */
struct str form_lines(const struct form_value *value, struct arena *a); /* the values, one to a line; absent: none */

/* Results: begin, fields, end. */
void form_result_begin(struct buf *b, const struct form *form);
void form_result_field(struct buf *b, const char *var, enum form_field_type type, const char *label, const struct str *values, size_t n);
void form_result_end(struct buf *b);

#endif
