/* Is a link to be believed at all? Of what a compliance server says within a window, nearly all may be wrong only when it is broken or somebody else: then it
 * is better closed, and its events left to others, than asked on and on. Pure; one per link. */
#ifndef SIGNET_BROKER_TRUST_H
#define SIGNET_BROKER_TRUST_H
#include <stdbool.h>
#include <stdint.h>

enum { TRUST_LIES_PERCENT = 95 };
struct trust { /* all zero: nothing was said yet */
    uint64_t window_ms; /* how long a window is at least */
    uint32_t least; /* and how much is said in it */
    uint64_t begun_ms; /* of the window; 0: none has begun */
    uint64_t said, lies; /* in it */
};
/* The link has said something: an answer to what it was asked, or a lie. */
void trust_said(struct trust *t, bool lie, uint64_t now_ms);
void trust_was_lie(struct trust *t); /* an answer that was counted as good has turned out to be one */
/* When a window is full: true: nearly all in it were lies. Else, and then, another one begins with what is said next. */
bool trust_lost(struct trust *t, uint64_t now_ms);
void trust_anew(struct trust *t); /* a new connection */

#endif
