/* The timing wheel.
 *
 * Eleven levels of 64 slots cover every 64-bit millisecond. A timer's level is the highest base-64 digit in which its due time differs from
 * the wheel's present time, its slot is that digit. So all timers of a level come before all of the levels above, a level's occupied slots are
 * found with one bit mask, and nothing ever wraps round. Time jumps from one occupied slot to the next: when it reaches a slot of an upper
 * level, that slot's timers are spread over the levels below, at most once per level and timer.
 *
 * Timers set for the present or the past wait in `late` for the next advance; so a timer that sets itself again at once cannot keep an
 * advance from ending. */
#include "io/wheel.h"
#include "base/buf.h"
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

enum { LEVELS = 11, DIGIT_BITS = 6, SLOTS = 1 << DIGIT_BITS };

struct wheel {
    uint64_t now;
    uint64_t used[LEVELS]; /* bit s: slot s of that level is not empty */
    struct list slot[LEVELS][SLOTS];
    struct list late;
    struct list firing; /* the late ones of the advance under way */
    bool advancing;
};

struct wheel *wheel_new(uint64_t now_ms)
{
    struct wheel *w = x_calloc(1, sizeof *w);
    w->now = now_ms;
    for (int l = 0; l < LEVELS; l++) {
        for (int s = 0; s < SLOTS; s++) list_init(&w->slot[l][s]);
    }
    list_init(&w->late);
    list_init(&w->firing);
    return w;
}

/* Forgets the timers still set, so that their owners may outlive the wheel and "not set" stays true of them. */
static void forget_all(struct list *head)
{
    while (list_pop_front(head) != NULL) continue;
}

void wheel_free(struct wheel *w)
{
    if (w == NULL) return;
    assert(!w->advancing);
    for (int l = 0; l < LEVELS; l++) {
        for (int s = 0; s < SLOTS; s++) forget_all(&w->slot[l][s]);
    }
    forget_all(&w->late);
    free(w);
}

/* Takes the timer out of its list and, if that was the last one of a slot, clears the slot's bit. */
static void unlink_timer(struct wheel *w, struct wheel_timer *t)
{
    struct list *next = t->node.next;
    bool was_last = next == t->node.prev; /* then both are the list's head */
    list_remove(&t->node);
    uintptr_t at = (uintptr_t)next;
    uintptr_t first = (uintptr_t)&w->slot[0][0];
    if (!was_last || at < first || at >= first + sizeof w->slot) return;
    size_t i = (at - first) / sizeof(struct list);
    w->used[i / SLOTS] &= ~(UINT64_C(1) << (i % SLOTS));
}

static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t diff = t->due_ms ^ w->now;
    unsigned level = (unsigned)(63 - __builtin_clzll(diff)) / DIGIT_BITS;
    unsigned s = (unsigned)(t->due_ms >> (level * DIGIT_BITS)) & (SLOTS - 1);
    list_push_back(&w->slot[level][s], &t->node);
    w->used[level] |= UINT64_C(1) << s;
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms)
{
    wheel_cancel(w, t);
    t->due_ms = due_ms;
    if (due_ms <= w->now) {
        list_push_back(&w->late, &t->node);
    } else {
        place(w, t);
    }
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
    if (list_linked(&t->node)) unlink_timer(w, t);
}

/* The first occupied slot: the time at which it begins, exact for level 0. Returns its level, or LEVELS when the wheel is empty. */
static unsigned first_slot(const struct wheel *w, uint64_t *start, unsigned *slot)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        if (w->used[level] == 0) continue;
        unsigned shift = level * DIGIT_BITS;
        *slot = (unsigned)__builtin_ctzll(w->used[level]);
        uint64_t above = shift + DIGIT_BITS >= 64 ? 0 : w->now >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        *start = above | (uint64_t)*slot << shift;
        return level;
    }
    return LEVELS;
}

static void fire(struct wheel *w, struct list *head)
{
    while (!list_empty(head)) {
        struct wheel_timer *t = CONTAINER_OF(head->next, struct wheel_timer, node);
        unlink_timer(w, t);
        t->fn(t);
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    assert(!w->advancing);
    w->advancing = true;
    struct list *node;
    while ((node = list_pop_front(&w->late)) != NULL) list_push_back(&w->firing, node);
    fire(w, &w->firing);
    for (;;) {
        uint64_t start = 0;
        unsigned s = 0;
        unsigned level = first_slot(w, &start, &s);
        if (level == LEVELS || start > now_ms) break;
        struct list *head = &w->slot[level][s];
        w->now = start;
        if (level == 0) {
            fire(w, head); /* what they set for `start` or before goes to `late` */
            continue;
        }
        w->used[level] &= ~(UINT64_C(1) << s);
        while ((node = list_pop_front(head)) != NULL) {
            struct wheel_timer *t = CONTAINER_OF(node, struct wheel_timer, node);
            if (t->due_ms == start) {
                list_push_back(&w->firing, node);
            } else {
                place(w, t);
            }
        }
        fire(w, &w->firing);
    }
    if (now_ms > w->now) w->now = now_ms;
    w->advancing = false;
}

uint64_t wheel_next_ms(const struct wheel *w)
{
    uint64_t start = UINT64_MAX;
    unsigned s = 0;
    if (!list_empty(&w->late)) return w->now; /* overdue: at once */
    return first_slot(w, &start, &s) == LEVELS ? UINT64_MAX : start;
}
