/* Fault injection for tests. A kind that is not armed costs one relaxed load. */
#include "store/fault.h"
#include <stdatomic.h>
#include <time.h>

static struct {
    atomic_uint countdown; /* 0: not armed */
    atomic_uint times;
} faults[STORE_FAULT_KINDS];
static atomic_uint delay_ms;
static atomic_bool hold, holding;

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

void store_fault_hold(bool on)
{
    atomic_store(&hold, on);
}

bool store_fault_holding(void)
{
    return atomic_load(&holding);
}

static void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

void store_fault_wait(void)
{
    unsigned ms = atomic_load_explicit(&delay_ms, memory_order_relaxed);
    if (ms > 0) wait_ms(ms);
    if (!atomic_load_explicit(&hold, memory_order_relaxed)) return;
    atomic_store(&holding, true);
    while (atomic_load(&hold)) wait_ms(1);
    atomic_store(&holding, false);
}
