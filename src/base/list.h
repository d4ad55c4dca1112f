/* Intrusive doubly linked lists. A node is in at most one list; a zeroed node is in none. */
#ifndef SIGNET_BASE_LIST_H
#define SIGNET_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(struct list *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline bool list_linked(const struct list *node) { return node->next != NULL; }
static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_push_back(struct list *head, struct list *node) { list_insert_before(head, node); }
static inline void list_push_front(struct list *head, struct list *node) { list_insert_before(head->next, node); }
static inline void list_remove(struct list *node) /* no-op when in no list */
{
    if (node->next == NULL) return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}
static inline struct list *list_pop_front(struct list *head) /* NULL when empty */
{
    if (list_empty(head)) return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}
#define LIST_EACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_EACH_SAFE(it, tmp, head) \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

#endif
