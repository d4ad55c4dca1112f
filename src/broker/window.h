/* The window of a session: each stanza it sent has a number, and is accounted for until its last copy has been written, stored, refused or handled. From it come
 * the stop of its reader and the count it is told as handled (XEP-0198). Pure state. */
#ifndef SIGNET_BROKER_WINDOW_H
#define SIGNET_BROKER_WINDOW_H
#include <stdbool.h>
#include <stdint.h>

struct window {
    uint32_t *copies; /* a ring: copies still open per number */
    uint32_t size; /* of the ring, a power of two */
    uint64_t first, next; /* [first, next) are accepted, all before `first` are finished */
    uint32_t open; /* numbers in the ring whose copies are not done */
    bool stopped; /* its reader */
};
void window_init(struct window *w);
void window_free(struct window *w);
uint64_t window_open(struct window *w); /* a new number, with one copy open */
uint32_t window_copies(const struct window *w, uint64_t number); /* how many are open; 0: it is finished, or was never given */
void window_more(struct window *w, uint64_t number, uint32_t copies); /* that many further ones; no-op when it is finished */
bool window_done(struct window *w, uint64_t number); /* one copy is; false: there was none */
enum window_reading { WINDOW_READING_STAYS, WINDOW_READING_STOPS, WINDOW_READING_GOES_ON };
enum window_reading window_reading(struct window *w, uint32_t limit); /* it stops at the limit, and goes on when a quarter of that is free again */

#endif
