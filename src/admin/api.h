/* The admin API: HTTP + JSON on a Unix socket (admin.socket), used by signetctl and later by the console; and Prometheus metrics (metrics.listen).
 * Runs on libmicrohttpd's own thread: it never touches worker state but asks by mailbox and gathers. */
#ifndef SIGNET_ADMIN_API_H
#define SIGNET_ADMIN_API_H
#include "base/config.h"
#include "base/err.h"

struct admin_ops { /* what only the daemon can do */
    void (*reload)(void); /* as SIGHUP */
};
must_check int admin_start(const struct config *config, const char *node, const struct admin_ops *ops, struct err *err);
void admin_stop(void);
/* Loads the stored compliance configuration (or makes the first one) and puts it in force; before clients are let in. Blocks. */
must_check int admin_compliance_start(struct err *err);
/* Reads the TLS files of compliance servers anew, for the connections to come. */
must_check int admin_compliance_reload(struct err *err);

#endif
