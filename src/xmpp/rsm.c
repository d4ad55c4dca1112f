/* Paging: numbers are checked here once for every protocol that pages. */
#include "xmpp/rsm.h"
#include "xml/writer.h"
#include <string.h>

/* XEP-0059, 7: max and index are non-negative integers. */
static bool number_of(const struct xml_node *set, struct arena *a, const char *name, bool *present, uint64_t *out)
{
    const struct xml_node *node = xml_node_child(set, name, NS_RSM);
    *present = node != NULL;
    if (node == NULL) return true;
    struct str text = xml_node_text(a, node);
    if (text.n == 0 || text.n > 9) return false;
    *out = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(text.p[i] - '0');
    }
    return true;
}

int rsm_read(const struct xml_node *parent, struct arena *a, struct rsm_request *out, const char **text)
{
    *out = (struct rsm_request){0};
    const struct xml_node *set = xml_node_child(parent, "set", NS_RSM);
    if (set == NULL) return 0;
    out->asked = true;
    *text = "In <set/>, max and index are whole numbers from 0.";
    if (!number_of(set, a, "max", &out->has_max, &out->max) || !number_of(set, a, "index", &out->has_index, &out->index)) return -1;
    const struct xml_node *after = xml_node_child(set, "after", NS_RSM), *before = xml_node_child(set, "before", NS_RSM);
    *text = "In <set/>, only one of after, before and index can be.";
    if ((after != NULL) + (before != NULL) + out->has_index > 1) return -1;
    if (after != NULL) out->after = xml_node_text(a, after);
    if (before != NULL) {
        out->backwards = true;
        struct str id = xml_node_text(a, before);
        if (id.n > 0) out->before = id;
    }
    *text = "In <set/>, after names an item.";
    if (after != NULL && out->after.n == 0) return -1;
    *text = NULL;
    return 0;
}

static bool find(uint64_t count, struct str (*id)(const void *arg, uint64_t i), const void *arg, struct str wanted, uint64_t *at)
{
    for (*at = 0; *at < count; (*at)++)
        if (str_eq(id(arg, *at), wanted)) return true;
    return false;
}

int rsm_page(const struct rsm_request *rq, uint64_t count, uint64_t most, struct str (*id)(const void *arg, uint64_t i), const void *arg, struct rsm_page *out)
{
    uint64_t max = rq->has_max && rq->max < most ? rq->max : most, at;
    *out = (struct rsm_page){.count = count};
    if (rq->after.p != NULL) {
        if (!find(count, id, arg, rq->after, &at)) return -1;
        out->first = at + 1;
    } else if (rq->backwards) {
        uint64_t end = count;
        if (rq->before.p != NULL && !find(count, id, arg, rq->before, &end)) return -1;
        out->n = end < max ? end : max;
        out->first = end - out->n;
        return 0;
    } else if (rq->has_index) {
        out->first = rq->index < count ? rq->index : count; /* XEP-0059, 2.6: beyond the end is an empty page */
    }
    uint64_t left = count - out->first;
    out->n = left < max ? left : max;
    return 0;
}

void rsm_write(struct buf *b, const struct rsm_request *rq, const struct rsm_page *page, struct str first, struct str last)
{
    if (!rq->asked || page->count == 0) return; /* nothing at all: the answer is as without paging (XEP-0059, 2.2) */
    buf_adds(b, "<set xmlns='" NS_RSM "'>");
    if (page->n > 0) { /* an empty page has no ends (XEP-0059, 2.2) */
        buf_addf(b, "<first index='%llu' exact-index='true'>", (unsigned long long)page->first);
        xml_add_text(b, first);
        buf_adds(b, "</first><last>");
        xml_add_text(b, last);
        buf_adds(b, "</last>");
    }
    buf_addf(b, "<count exact='true'>%llu</count></set>", (unsigned long long)page->count);
}
