/* How many events may be on their way to one compliance server before those who send them have to wait: as many as it answers well within the time it has.
 * Pure state: times and answers come in, a number goes out. */
#ifndef SIGNET_BROKER_PACE_H
#define SIGNET_BROKER_PACE_H
#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint32_t limit; /* what comes out: events */
    uint32_t most; /* limit never exceeds it */
    uint64_t patience_ms; /* answers that take longer tell of too many events */
    uint64_t front; /* about the number of the event that was answered last */
    uint64_t since_ms, sum_ms; /* of the answers counted in `answers` */
    uint32_t answers;
};
void pace_init(struct pace *p, uint32_t most, uint64_t answer_ms); /* answer_ms: the time an answer may take */
void pace_bound(struct pace *p, uint32_t most); /* another `most`. What it kept down begins anew, what the server kept down stays */
/* The event of this number was answered, waited_ms after it was given to the link. newest: the number given last; held: events not answered. */
void pace_answered(struct pace *p, uint64_t number, uint64_t waited_ms, uint64_t newest, uint32_t held, uint64_t now_ms);
/* How many events are in the server's way: of those held, the ones given since what it has answered. One it lets lie while it answers later ones is in
 * nobody's way. */
uint32_t pace_backlog(const struct pace *p, uint64_t newest, uint32_t held);

#endif
