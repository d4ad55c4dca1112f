/* Writing, reading and checking data forms. */
#include "xmpp/form.h"
#include "xml/writer.h"

static const char *const type_names[] = {
    [FIELD_BOOLEAN] = "boolean",         [FIELD_JID_MULTI] = "jid-multi",   [FIELD_JID_SINGLE] = "jid-single",     [FIELD_LIST_MULTI] = "list-multi",
    [FIELD_LIST_SINGLE] = "list-single", [FIELD_TEXT_MULTI] = "text-multi", [FIELD_TEXT_PRIVATE] = "text-private", [FIELD_TEXT_SINGLE] = "text-single",
};

static void element(struct buf *b, const char *name, struct str text)
{
    buf_addf(b, "<%s>", name);
    xml_add_text(b, text);
    buf_addf(b, "</%s>", name);
}

static void field_begin(struct buf *b, const char *var, enum form_field_type type, const char *label)
{
    buf_adds(b, "<field");
    xml_add_attr(b, "var", str_of(var));
    xml_add_attr(b, "type", str_of(type_names[type]));
    xml_add_attr(b, "label", str_of(label));
    buf_adds(b, ">");
}

static void form_begin(struct buf *b, const char *type, const struct form *form, bool asks)
{
    buf_addf(b, "<x xmlns='" NS_DATA "' type='%s'>", type);
    element(b, "title", str_of(form->title));
    if (asks && form->instructions != NULL) element(b, "instructions", str_of(form->instructions));
    buf_adds(b, "<field var='FORM_TYPE' type='hidden'>");
    element(b, "value", str_of(form->form_type));
    buf_adds(b, "</field>");
}

void form_write(struct buf *b, const struct form *form, const struct form_value *filled)
{
    form_begin(b, "form", form, true);
    for (unsigned i = 0; i < form->n_fields; i++) {
        const struct form_field *field = &form->fields[i];
        field_begin(b, field->var, field->type, field->label);
        if (field->required) buf_adds(b, "<required/>");
        for (unsigned v = 0; filled != NULL && v < filled[i].n; v++) element(b, "value", filled[i].values[v]);
        for (const struct form_option *o = field->options; o != NULL && o->value != NULL; o++) {
            buf_adds(b, "<option");
            xml_add_attr(b, "label", str_of(o->label));
            buf_adds(b, ">");
            element(b, "value", str_of(o->value));
            buf_adds(b, "</option>");
        }
        buf_adds(b, "</field>");
    }
    buf_adds(b, "</x>");
}

/* ---- results ---- */
void form_result_begin(struct buf *b, const struct form *form) { form_begin(b, "result", form, false); }

void form_result_field(struct buf *b, const char *var, enum form_field_type type, const char *label, const struct str *values, size_t n)
{
    field_begin(b, var, type, label);
    for (size_t i = 0; i < n; i++) element(b, "value", values[i]);
    buf_adds(b, "</field>");
}

void form_result_end(struct buf *b) { buf_adds(b, "</x>"); }

/* ---- what comes back ---- */
static const struct xml_node *field_find(const struct xml_node *x, const char *var, bool *twice)
{
    const struct xml_node *found = NULL;
    for (const struct xml_node *f = xml_node_child(x, "field", NS_DATA); f != NULL; f = xml_node_next(f, "field", NS_DATA)) {
        if (!str_is(xml_node_attr(f, "var"), var)) continue;
        *twice = found != NULL;
        found = f;
    }
    return found;
}

static void values_read(const struct xml_node *field, struct arena *a, struct form_value *out)
{
    *out = (struct form_value){0};
    for (const struct xml_node *v = xml_node_child(field, "value", NS_DATA); v != NULL; v = xml_node_next(v, "value", NS_DATA)) out->n++;
    struct str *values = arena_zalloc(a, (out->n + 1) * sizeof(*values));
    unsigned i = 0;
    for (const struct xml_node *v = xml_node_child(field, "value", NS_DATA); v != NULL; v = xml_node_next(v, "value", NS_DATA)) values[i++] = xml_node_text(a, v);
    out->values = values;
}

static bool said(const struct form_value *value)
{
    for (unsigned i = 0; i < value->n; i++)
        if (value->values[i].n > 0) return true;
    return false;
}

static bool is_choice(const struct form_field *field, struct str value)
{
    for (const struct form_option *o = field->options; o != NULL && o->value != NULL; o++)
        if (str_is(value, o->value)) return true;
    return field->options == NULL;
}

static bool is_boolean(struct str value) { return str_is(value, "0") || str_is(value, "1") || str_is(value, "true") || str_is(value, "false"); }

/* NULL: it is as the field wants it. */
static const char *value_problem(const struct form_field *field, const struct form_value *value, struct arena *a)
{
    if (!said(value)) return field->required ? arena_printf(a, "The field '%s' is required.", field->var) : NULL;
    bool many = field->type == FIELD_JID_MULTI || field->type == FIELD_LIST_MULTI || field->type == FIELD_TEXT_MULTI;
    if (!many && value->n > 1) return arena_printf(a, "The field '%s' has one value.", field->var);
    bool list = field->type == FIELD_LIST_MULTI || field->type == FIELD_LIST_SINGLE;
    for (unsigned i = 0; i < value->n; i++) {
        if (list && !is_choice(field, value->values[i])) return arena_printf(a, "The field '%s' has a value that is none of its options.", field->var);
        if (field->type == FIELD_BOOLEAN && !is_boolean(value->values[i])) return arena_printf(a, "The field '%s' is true or false.", field->var);
    }
    return NULL;
}

int form_read(const struct form *form, const struct xml_node *x, struct arena *a, struct form_value values[FORM_FIELDS_MAX], const char **text)
{
    bool twice = false;
    struct str type = xml_node_attr(x, "type");
    *text = "A form that is filled in is of type 'submit'.";
    if (!str_is(type, "submit") && !str_is(type, "cancel")) return -1; /* XEP-0050, 3.4.1: cancel counts as submit */
    const struct xml_node *form_type = field_find(x, "FORM_TYPE", &twice);
    struct form_value named = {0};
    if (form_type != NULL) values_read(form_type, a, &named);
    *text = arena_printf(a, "The form's FORM_TYPE is '%s'.", form->form_type);
    if (twice || (form_type != NULL && !str_is(form_first(&named), form->form_type))) return -1;
    for (unsigned i = 0; i < form->n_fields; i++) {
        const struct xml_node *field = field_find(x, form->fields[i].var, &twice);
        values[i] = (struct form_value){0};
        if (field != NULL) values_read(field, a, &values[i]);
        *text = twice ? arena_printf(a, "The field '%s' stands there twice.", form->fields[i].var) : value_problem(&form->fields[i], &values[i], a);
        if (*text != NULL) return -1;
    }
    return 0;
}

const char *form_unknown(const struct form *form, const struct xml_node *x, struct arena *a)
{
    for (const struct xml_node *f = xml_node_child(x, "field", NS_DATA); f != NULL; f = xml_node_next(f, "field", NS_DATA)) {
        struct str var = xml_node_attr(f, "var");
        unsigned i = 0;
        while (i < form->n_fields && !str_is(var, form->fields[i].var)) i++;
        if (i == form->n_fields && !str_is(var, "FORM_TYPE")) return arena_printf(a, STR_FMT, STR_ARG(var));
    }
    return NULL;
}

struct str form_first(const struct form_value *value) { return value->n > 0 ? value->values[0] : STR_NONE; }

struct str form_lines(const struct form_value *value, struct arena *a)
{
    if (!said(value)) return STR_NONE;
    struct buf lines = {0};
    for (unsigned i = 0; i < value->n; i++) {
        if (i > 0) buf_addc(&lines, '\n');
        buf_add_str(&lines, value->values[i]);
    }
    struct str text = arena_str(a, buf_str(&lines));
    buf_free(&lines);
    return text;
}
