/* State machines whose legal moves are data: every move is checked, logged and counted. */
#ifndef SIGNET_BASE_STATE_H
#define SIGNET_BASE_STATE_H
#include <stdbool.h>

struct state_machine {
    const char *name; /* "link", "stream" */
    const char *const *states; /* names, indexed by state */
    const unsigned *moves; /* moves[s]: bit mask of the states that may follow s */
    unsigned count;
};
/* Moves *state; an illegal move is our own bug: it is logged with both names and aborts in debug builds, is refused (false) in others. */
bool state_move(const struct state_machine *sm, const char *who, unsigned *state, unsigned to);
const char *state_name(const struct state_machine *sm, unsigned state);

#endif
