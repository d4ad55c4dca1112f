/* Messages that the store has while sessions have not acknowledged them. They lie there as offline messages do, so that after a crash they are just that; while
 * we live the user's map of them says that they are under way, and an offline flush passes them by.
 *
 * A message stays in the map until its removal is on disk: a page of offline messages read before may still bring it. What is over in one turn of the loop is
 * removed in one batch per user. */
#include "jsm/kept.h"
#include "base/log.h"
#include <stdlib.h>

struct kept *kept_new(struct user *u, uint64_t sid, bool stored)
{
    struct kept *k = x_calloc(1, sizeof(*k));
    k->user = u;
    u->refs++;
    k->sid = sid;
    k->refs = 1;
    if (!stored) return k;
    k->state = KEPT_STORED;
    imap_put(&u->kept, sid, k);
    return k;
}

struct kept *kept_ref(struct kept *k)
{
    if (k != NULL) k->refs++;
    return k;
}

void kept_unref(struct kept *k)
{
    if (k == NULL || --k->refs > 0) return;
    struct user *u = k->user;
    if (imap_get(&u->kept, k->sid) == k) imap_del(&u->kept, k->sid);
    free(k);
    user_release(u);
}

void kept_write(struct kept *k, struct store_batch *b, const struct stanza *s, uint64_t wall_ms, unsigned max_messages)
{
    k->state = KEPT_WRITING;
    imap_put(&k->user->kept, k->sid, k);
    store_batch_offline_add(b, s, wall_ms, max_messages);
}

void kept_written(struct kept *k, const struct err *err) { k->state = err == NULL ? KEPT_STORED : KEPT_NOWHERE; }

bool kept_under_way(const struct user *u, uint64_t sid) { return imap_get(&u->kept, sid) != NULL; }

struct removal {
    struct user *user;
    struct list kept;
};

static void removed(void *arg, const struct err *err)
{
    struct removal *r = arg;
    if (err != NULL && err->code != ERR_NOT_FOUND)
        log_error("jsm", "delivered messages of '%s' could not be removed from the store, and will come again: %s", r->user->jid.full.p, err->text);
    struct list *node;
    while ((node = list_pop_front(&r->kept)) != NULL) kept_unref(CONTAINER_OF(node, struct kept, node));
    free(r);
}

static void remove_all(struct turn_hook *hook)
{
    (void)hook;
    while (!list_empty(&jsm->kept_over)) {
        struct removal *r = x_malloc(sizeof(*r));
        list_init(&r->kept);
        r->user = CONTAINER_OF(jsm->kept_over.next, struct kept, node)->user;
        struct store_batch *batch = store_batch_new(r->user->jid.bare);
        LIST_EACH_SAFE(node, next, &jsm->kept_over)
        {
            struct kept *k = CONTAINER_OF(node, struct kept, node);
            if (k->user != r->user) continue;
            store_batch_offline_delete(batch, k->sid);
            list_remove(node);
            list_push_back(&r->kept, node);
        }
        store_batch_commit(batch, removed, r);
    }
}

void kept_over(struct kept *k)
{
    if (k == NULL || k->over) return;
    k->over = true;
    if (k->state == KEPT_NOWHERE) return;
    list_push_back(&jsm->kept_over, &kept_ref(k)->node);
    jsm->kept_hook.fn = remove_all;
    worker_at_turn_end(&jsm->kept_hook);
}
