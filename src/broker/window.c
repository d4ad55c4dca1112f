/* The window of a session: a ring of counts, which grows only when a reader could not be stopped in time. */
#include "broker/window.h"
#include "base/list.h"
#include "base/map.h"
#include <stdlib.h>

enum { SIZE_AT_FIRST = 16 };

void window_init(struct window *w) { *w = (struct window){.size = SIZE_AT_FIRST, .copies = x_calloc(SIZE_AT_FIRST, sizeof(*w->copies))}; }

void window_free(struct window *w)
{
    free(w->copies);
    w->copies = NULL;
    w->open = 0;
}

static uint32_t *copies_of(const struct window *w, uint64_t number)
{
    bool accounted = w->copies != NULL && number >= w->first && number < w->next;
    return accounted ? &w->copies[number & (w->size - 1)] : NULL;
}

static void window_grow(struct window *w)
{
    uint32_t size = w->size * 2;
    uint32_t *copies = x_calloc(size, sizeof(*copies));
    for (uint64_t i = w->first; i < w->next; i++) copies[i & (size - 1)] = w->copies[i & (w->size - 1)];
    free(w->copies);
    w->copies = copies;
    w->size = size;
}

uint64_t window_open(struct window *w)
{
    if (w->next - w->first == w->size) window_grow(w);
    uint64_t number = w->next++;
    w->copies[number & (w->size - 1)] = 1;
    w->open++;
    return number;
}

uint32_t window_copies(const struct window *w, uint64_t number)
{
    const uint32_t *copies = copies_of(w, number);
    return copies != NULL ? *copies : 0;
}

void window_more(struct window *w, uint64_t number, uint32_t more)
{
    uint32_t *copies = copies_of(w, number);
    if (copies != NULL && *copies > 0) *copies += more;
}

bool window_done(struct window *w, uint64_t number)
{
    uint32_t *copies = copies_of(w, number);
    if (copies == NULL || *copies == 0) return false;
    if (--*copies > 0) return true;
    w->open--;
    while (w->first < w->next && w->copies[w->first & (w->size - 1)] == 0) w->first++;
    return true;
}

enum window_reading window_reading(struct window *w, uint32_t limit)
{
    bool stop = w->stopped ? w->open > limit - (limit + 3) / 4 : w->open >= limit;
    if (stop == w->stopped) return WINDOW_READING_STAYS;
    w->stopped = stop;
    return stop ? WINDOW_READING_STOPS : WINDOW_READING_GOES_ON;
}
