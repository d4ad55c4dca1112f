/* What concerns all users of a domain, and the service as a whole: announcements, the message of the day and the welcome message (XEP-0133), the
 * stop of the service. For ad-hoc commands and the admin API alike. */
#ifndef SIGNET_JSM_SERVICE_H
#define SIGNET_JSM_SERVICE_H
#include "base/config.h"
#include "store/store.h"

struct service_ops { /* what only the daemon can do; any thread */
    void (*stop)(bool restart); /* orderly; returns at once */
};
/* Once the workers run and before clients are let in: checks the settings only jsm understands (server.admins, contact), loads the notices. Blocks. */
must_check int service_start(const struct config *config, const struct service_ops *ops, struct err *err);
void service_worker_stop(void);

enum notice { NOTICE_MOTD, NOTICE_WELCOME, NOTICES };
char *notice_text(enum notice kind, struct str domain, uint64_t *version); /* to be freed; NULL: none is set. version may be NULL */
/* text absent: deletes it. anew: it is news to everybody, also to those who have seen the one before. fn as of a store request. */
void notice_set(enum notice kind, struct str domain, struct str text, bool anew, store_done_fn fn, void *arg);
/* A headline to every session of the domain's users (absent: of all domains'), from their domain. motd: it is the message of the day, of this version,
 * and counts as seen; 0: it is an announcement. done as of worker_each(): from a worker, called there; from other threads this blocks. text is borrowed
 * until then. */
void service_announce(struct str domain, struct str text, uint64_t motd, void (*done)(void *arg), void *arg);

/* Stops the service after a while, orderly. ERR_CONFLICT when it is to stop already, unless this is at once. Any thread. */
must_check int service_stop_in(bool restart, unsigned delay_s, struct err *err);

#endif
