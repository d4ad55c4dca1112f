/* Is a link to be believed: windows one after the other, each judged when it is long and full enough. */
#include "broker/trust.h"

void trust_anew(struct trust *t) { t->begun_ms = t->said = t->lies = 0; }

void trust_said(struct trust *t, bool lie, uint64_t now_ms)
{
    if (t->begun_ms == 0) t->begun_ms = now_ms != 0 ? now_ms : 1;
    t->said++;
    t->lies += lie;
}

void trust_was_lie(struct trust *t)
{
    if (t->lies < t->said) t->lies++;
}

bool trust_lost(struct trust *t, uint64_t now_ms)
{
    if (t->begun_ms == 0 || now_ms - t->begun_ms < t->window_ms || t->said < t->least) return false;
    bool lost = t->lies * 100 >= t->said * TRUST_LIES_PERCENT;
    trust_anew(t);
    return lost;
}
