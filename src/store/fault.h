/* Faults on demand, for tests: the n-th statement or commit from now fails (the countdown of dqlite), or commits take long. Nothing is armed
 * unless a test arms it. Callable from any thread. */
#ifndef SIGNET_STORE_FAULT_H
#define SIGNET_STORE_FAULT_H
#include <stdbool.h>

enum store_fault {
    STORE_FAULT_STATEMENT, /* a statement fails with an I/O error; BEGIN, SAVEPOINT and COMMIT count as statements too */
    STORE_FAULT_ABANDON,   /* a statement fails and the database gives up the whole transaction, as it may when the disk is full */
    STORE_FAULT_COMMIT,    /* a commit fails */
    STORE_FAULT_KINDS
};
void store_fault_arm(enum store_fault kind, unsigned nth, unsigned times); /* the nth (from 1) and the times - 1 after it fail; nth 0: disarm */
bool store_fault_armed(enum store_fault kind); /* false: it has struck as often as asked */
void store_fault_slow(unsigned commit_ms); /* each commit takes so much longer; 0: no more */
void store_fault_hold(bool hold); /* the next commit waits until false is set: what is asked meanwhile becomes one group */
bool store_fault_holding(void); /* a commit waits */

/* For backends: counts, and tells whether this one is to fail. */
bool store_fault_hit(enum store_fault kind);
void store_fault_wait(void); /* before a commit: slow and hold */

#endif
