/* Result sets in pages (XEP-0059): what was asked, which items are that page, what is said of it. For lists in memory rsm_page() does all; a store
 * that pages itself uses the request and fills the page. */
#ifndef SIGNET_XMPP_RSM_H
#define SIGNET_XMPP_RSM_H
#include "xml/parser.h"

#define NS_RSM "http://jabber.org/protocol/rsm"

struct rsm_request {
    bool asked; /* false: there was no <set/> */
    bool has_max, has_index;
    uint64_t max, index;
    bool backwards; /* <before/>: the page ends before an item, or (before absent or empty) is the last one */
    struct str after, before; /* an item's id; absent: none */
};
struct rsm_page {
    uint64_t first, n; /* items [first, first + n) are the page */
    uint64_t count; /* of all */
};
/* parent: the element that may hold <set/>. -1: *text says what is wrong (answer: bad-request). Strings are in the arena. */
must_check int rsm_read(const struct xml_node *parent, struct arena *a, struct rsm_request *out, const char **text);
/* The page of count ordered items whose ids are given by id(arg, i); at most `most` items. -1: the item named is not there (answer: item-not-found). */
must_check int rsm_page(const struct rsm_request *rq, uint64_t count, uint64_t most, struct str (*id)(const void *arg, uint64_t i), const void *arg,
                        struct rsm_page *out);
/* <set/>, when it was asked for; first and last are the ids of the page's ends. */
void rsm_write(struct buf *b, const struct rsm_request *rq, const struct rsm_page *page, struct str first, struct str last);

#endif
