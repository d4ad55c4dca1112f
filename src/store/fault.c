/* Fault injection for tests. A kind that is not armed costs one relaxed load. */
#include "store/fault.h"
#include <stdatomic.h>

static struct {
    atomic_uint countdown; /* 0: not armed */
    atomic_uint times;
} faults[STORE_FAULT_KINDS];
static atomic_uint delay_ms;

void store_fault_arm(enum store_fault kind, unsigned nth, unsigned times)
{
    atomic_store(&faults[kind].times, times);
    atomic_store(&faults[kind].countdown, times == 0 ? 0 : nth);
}

bool store_fault_armed(enum store_fault kind)
{
    return atomic_load(&faults[kind].countdown) != 0;
}

void store_fault_slow(unsigned commit_ms)
{
    atomic_store(&delay_ms, commit_ms);
}

bool store_fault_hit(enum store_fault kind)
{
    unsigned n = atomic_load_explicit(&faults[kind].countdown, memory_order_relaxed);
    if (n == 0) return false;
    if (n > 1) {
        atomic_store(&faults[kind].countdown, n - 1);
        return false;
    }
    if (atomic_fetch_sub(&faults[kind].times, 1) <= 1) atomic_store(&faults[kind].countdown, 0);
    return true;
}

unsigned store_fault_delay_ms(void)
{
    return atomic_load_explicit(&delay_ms, memory_order_relaxed);
}
