/* Time. Monotonic milliseconds for deadlines, wall-clock for stamps. Tests replace both. */
#ifndef SIGNET_BASE_CLOCK_H
#define SIGNET_BASE_CLOCK_H
#include <stddef.h>
#include <stdint.h>

uint64_t clock_ms(void); /* monotonic, milliseconds */
uint64_t clock_us(void); /* monotonic, microseconds */
uint64_t clock_wall_ms(void); /* Unix time, milliseconds */
void clock_fake(uint64_t mono_ms, uint64_t wall_ms); /* tests: from now on these; 0, 0 returns to the real ones */
#define CLOCK_STAMP_SIZE 32
/* XEP-0082 DateTime in UTC with milliseconds: 2026-11-22T14:34:00.123Z. Writes into out and returns it. */
char *clock_stamp(uint64_t wall_ms, char out[CLOCK_STAMP_SIZE]);
/* Parses XEP-0082 DateTime; 0 on success, -1 when it is not one. */
int clock_parse_stamp(const char *text, uint64_t *wall_ms);

#endif
