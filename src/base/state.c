/* State machines whose legal moves are data. There is one place where a state changes, so there is one place that can check, log and
 * count it; a machine's table is its documentation. */
#include "base/state.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"

const char *state_name(const struct state_machine *sm, unsigned state)
{
    return state < sm->count && sm->states[state] != NULL ? sm->states[state] : "?";
}

bool state_move(const struct state_machine *sm, const char *who, unsigned *state, unsigned to)
{
    assert(sm->count <= sizeof(sm->moves[0]) * 8);
    unsigned from = *state;
    if (from >= sm->count || to >= sm->count || (sm->moves[from] & (1U << to)) == 0) {
        metric_inc(METRIC_STATE_ILLEGAL);
        log_error(sm->name, "%s: illegal move from %s to %s (%u to %u): this is a bug of Signet", who, state_name(sm, from), state_name(sm, to), from,
                  to);
#ifndef NDEBUG
        abort();
#else
        return false;
#endif
    }
    *state = to;
    metric_inc(METRIC_STATE_MOVES);
    log_debug(sm->name, "%s: %s to %s", who, state_name(sm, from), state_name(sm, to));
    return true;
}
