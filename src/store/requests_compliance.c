/* Requests about the compliance configuration: its versions. As those of requests.c. */
#include "base/clock.h"
#include "store/request.h"

/* ---- one version ---- */
struct compliance {
    struct store_request r;
    int64_t version; /* save: the base */
    unsigned keep;
    struct str json;
    struct store_compliance_note note;
    store_text_fn fn;
    void *arg;
    struct store_compliance out;
};

static int compliance_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct compliance *q = REQUEST_OF(r, compliance);
    q->out = (struct store_compliance){0};
    int found = backend->compliance_load(q->version, r->arena, &q->out, err);
    if (found == 0 && q->version != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no version %lld of the compliance configuration, or none any more", (long long)q->version);
    return found < 0 ? -1 : 0;
}

static int compliance_save_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct compliance *q = REQUEST_OF(r, compliance);
    q->out = (struct store_compliance){0};
    struct store_compliance newest = {0};
    if (backend->compliance_load(0, r->arena, &newest, err) < 0) return -1;
    if (newest.version != q->version) {
        return err_set(err, ERR_CONFLICT,
                       "the change was made to version %lld of the compliance configuration, but the newest is version %lld: look at that first",
                       (long long)q->version, (long long)newest.version);
    }
    q->note.version = q->version + 1;
    if (backend->compliance_add(q->json, &q->note, q->keep, err) != 0) return -1;
    q->out = (struct store_compliance){q->version + 1, q->json};
    return 0;
}

static void compliance_done(struct store_request *r)
{
    struct compliance *q = REQUEST_OF(r, compliance);
    if (r->failed) q->out = (struct store_compliance){0};
    if (q->fn != NULL) q->fn(q->arg, q->out.version, q->out.json, store_request_err(r));
}

static const struct store_op compliance_load_op = {"compliance load", false, compliance_load_run, compliance_done, NULL};
static const struct store_op compliance_save_op = {"compliance save", true, compliance_save_run, compliance_done, NULL};

void store_compliance_load(int64_t version, store_text_fn fn, void *arg)
{
    struct compliance *q = REQUEST_NEW(compliance, &compliance_load_op);
    q->version = version;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

static struct str kept_text(struct arena *a, struct str text) { return text.p != NULL ? arena_str(a, text) : STR(""); }

void store_compliance_save(int64_t base, struct str json, const struct store_compliance_note *note, unsigned keep, store_text_fn fn, void *arg)
{
    struct compliance *q = REQUEST_NEW(compliance, &compliance_save_op);
    q->version = base;
    q->keep = keep;
    q->json = arena_str(q->r.arena, json);
    q->note = (struct store_compliance_note){.wall_ms = clock_wall_ms(),
                                             .by = kept_text(q->r.arena, note->by),
                                             .what = kept_text(q->r.arena, note->what),
                                             .comment = kept_text(q->r.arena, note->comment)};
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

/* ---- the versions kept ---- */
struct compliance_list {
    struct store_request r;
    unsigned limit;
    store_compliance_notes_fn fn;
    void *arg;
    struct store_compliance_note *out;
    size_t n;
};

static int compliance_list_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct compliance_list *q = REQUEST_OF(r, compliance_list);
    return backend->compliance_list(q->limit, r->arena, &q->out, &q->n, err);
}

static void compliance_list_done(struct store_request *r)
{
    struct compliance_list *q = REQUEST_OF(r, compliance_list);
    q->fn(q->arg, r->failed ? NULL : q->out, r->failed ? 0 : q->n, store_request_err(r));
}

static const struct store_op compliance_list_op = {"compliance list", false, compliance_list_run, compliance_list_done, NULL};

void store_compliance_list(unsigned limit, store_compliance_notes_fn fn, void *arg)
{
    struct compliance_list *q = REQUEST_NEW(compliance_list, &compliance_list_op);
    q->limit = limit;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}
