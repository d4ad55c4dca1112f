/* Text conferencing (XEP-0045) as the daemon and the admin API see it. A room belongs to the worker its address hashes to, with all that is in it. */
#ifndef SIGNET_TC_TC_H
#define SIGNET_TC_TC_H
#include "base/config.h"

/* After router_start() and store_start(), before the workers: takes the domains of the service. */
must_check int tc_start(const struct config *config, struct err *err);
void tc_worker_start(void); /* on each worker, before traffic */
void tc_worker_stop(void);
/* Shutdown, from a non-worker thread; blocks: every occupant is told (status 332), requests under way have been answered before. */
void tc_close_rooms(void);
void tc_stop(void);
/* From a non-worker thread; blocks. The settings of a configuration that was read anew (SIGHUP, POST /v1/reload); take is from malloc. Compliance
 * servers are told, once for each domain of the service. ERR_INVALID: the old ones stay. */
must_check int tc_reload(struct config *take, struct err *err);
must_check int tc_settings_check(const struct config *config, struct err *err); /* what options.def cannot say of them */
void tc_settings_free(void); /* of tc_stop() */

#endif
