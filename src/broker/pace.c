/* How many events a compliance server is given before those who send them have to wait.
 *
 * An event that waits in the server's queue until its time is up is lost work: the sender is refused, and the server, when it gets there, answers for
 * nothing. A fixed bound can't prevent it: ten thousand events are two seconds' work to one server and ten minutes' to another. So the bound follows the
 * server, as TCP's window follows a network. It begins small; each answer that came quickly, while the bound was in use, lets in one event more; and when
 * answers take longer than a quarter of the time they have, it becomes what the server has shown to answer within that quarter.
 *
 * What the server lets lie while it answers others (a conversation somebody has to look at) is neither waited for nor counted. Servers need not answer in
 * order, so the place of the last answer is smoothed; but little, so that one answer is enough to tell that what is older is not waited for. */
#include "broker/pace.h"

enum { FIRST = 1000, LEAST = 16, ENOUGH_ANSWERS = 16, ENOUGH_MS = 200, SMOOTH = 3 };

void pace_init(struct pace *p, uint32_t most, uint64_t answer_ms)
{
    *p = (struct pace){.most = most, .limit = most < FIRST ? most : FIRST, .patience_ms = answer_ms / 4};
}

void pace_bound(struct pace *p, uint32_t most)
{
    uint32_t first = most < FIRST ? most : FIRST;
    if (p->limit > most || (p->limit == p->most && p->limit < first)) p->limit = p->limit > most ? most : first;
    p->most = most;
}

uint32_t pace_backlog(const struct pace *p, uint64_t newest, uint32_t held)
{
    uint64_t behind = newest > p->front ? newest - p->front : 0;
    return behind < held ? (uint32_t)behind : held;
}

/* Enough answers have come to tell how many the server gives in a second. */
static void pace_measure(struct pace *p, uint64_t took_ms)
{
    if (p->sum_ms / p->answers <= p->patience_ms) return;
    uint64_t manages = (uint64_t)p->answers * p->patience_ms * 3 / 4 / took_ms;
    if (manages < LEAST) manages = LEAST;
    if (manages < p->limit) p->limit = (uint32_t)manages;
}

void pace_answered(struct pace *p, uint64_t number, uint64_t waited_ms, uint64_t newest, uint32_t held, uint64_t now_ms)
{
    bool in_use = (uint64_t)pace_backlog(p, newest, held + 1) * 2 >= p->limit;
    if (in_use && waited_ms <= p->patience_ms / 2 && p->limit < p->most) p->limit++;
    if (held == 0)
        p->front = newest;
    else if (number > p->front)
        p->front += (number - p->front + SMOOTH - 1) / SMOOTH;
    else
        p->front -= (p->front - number) / SMOOTH;
    bool idle = p->answers == 0 && now_ms > p->since_ms + waited_ms; /* nothing was asked for a while, so nothing was answered */
    if (idle) p->since_ms = now_ms - waited_ms;
    p->answers++;
    p->sum_ms += waited_ms;
    if (p->answers < ENOUGH_ANSWERS || now_ms < p->since_ms + ENOUGH_MS) return;
    pace_measure(p, now_ms - p->since_ms);
    p->answers = 0;
    p->sum_ms = 0;
    p->since_ms = now_ms;
}
