/* Writing XML into buffers. All text is escaped here and nowhere else. */
#ifndef SIGNET_XML_WRITER_H
#define SIGNET_XML_WRITER_H
#include "xml/parser.h"

void xml_add_text(struct buf *b, struct str text); /* escapes & < > */
void xml_add_attr_value(struct buf *b, struct str text); /* escapes & < > ' " and tab, newline, return */
void xml_add_attr(struct buf *b, const char *name, struct str value); /* " name='value'"; nothing when the value is absent */
/* Attributes of one element, with declarations of the prefixes they need. */
void xml_add_attributes(struct buf *b, const struct xml_attribute *attributes, unsigned n);
/* Serialises a node (element or text) for a place where the default namespace is default_ns and no prefix is declared. */
void xml_add_node(struct buf *b, const struct xml_node *n, const char *default_ns);
/* Is the text storable in XML 1.0 (UTF-8, no control characters)? */
bool xml_text_ok(struct str text);

/* Building small trees in an arena (results, forms). */
struct xml_node *xml_node_new(struct arena *a, const char *name, const char *ns);
struct xml_node *xml_node_add(struct arena *a, struct xml_node *parent, const char *name, const char *ns); /* ns NULL: the parent's */
void xml_node_add_text(struct arena *a, struct xml_node *parent, struct str text);
void xml_node_set(struct arena *a, struct xml_node *n, const char *name, struct str value); /* absent value: no-op */

#endif
