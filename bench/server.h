/* What the processes under test use: CPU time and memory from /proc, of each process named and of all its descendants. */
#ifndef SIGNET_BENCH_SERVER_H
#define SIGNET_BENCH_SERVER_H
#include "options.h"

struct usage {
    double cpu_us; /* user and system, threads and ended children included */
    uint64_t rss_bytes, pss_bytes; /* PSS 0: may not be read (another user's process) */
    unsigned processes; /* 0: it is gone */
};
/* usage: one for each of o->servers. memory: reading it costs the server some time, so only when asked for. */
void server_read(const struct options *o, bool memory, struct usage usage[SERVERS_MAX]);

#endif
