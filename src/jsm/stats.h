/* e_STATS: the counters of this node, told to the compliance servers that want them. */
#ifndef SIGNET_JSM_STATS_H
#define SIGNET_JSM_STATS_H

void stats_worker_start(void); /* on each worker; worker 0 tells them, as broker.stats_interval says */
void stats_worker_stop(void);

#endif
