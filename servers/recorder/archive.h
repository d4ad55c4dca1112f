/* The archive: one SQLite database, written by serve, read by the other commands at the same time. */
#ifndef SIGNET_RECORDER_ARCHIVE_H
#define SIGNET_RECORDER_ARCHIVE_H
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include "signet/compliance.h"
#include "base/err.h"

struct archive;
/* For writing: makes the file (mode 0600) and its tables when they are not there. WAL, synchronous=FULL: what was committed survives a loss of power.
 */
must_check int archive_open(struct archive **out, const char *path, struct err *err);
void archive_close(struct archive *a); /* NULL: no-op */

enum archive_result {
    ARCHIVE_STORED,
    ARCHIVE_KNOWN,   /* this event for this profile is there already */
    ARCHIVE_REFUSED, /* this one row cannot be stored (too big); the transaction goes on */
    ARCHIVE_FAILED,  /* the transaction is lost: archive_rollback() */
};
must_check int archive_begin(struct archive *a, struct err *err);
/* passed_xml, passed_body: what was let through instead; NULL: the event's own. */
enum archive_result archive_add(struct archive *a, const struct signet_event *e, const char *passed_xml, const char *passed_body,
                                uint64_t received_ms, struct err *err);
must_check int archive_commit(struct archive *a, struct err *err); /* 0: it is on disk */
void archive_rollback(struct archive *a);
bool archive_out_of_space(const struct archive *a); /* was the last failure one that may pass (disk full, locked, no memory)? */

/* For reading only; an error when there is no archive. */
must_check int archive_open_reader(sqlite3 **out, const char *path, struct err *err);
bool archive_has_words(sqlite3 *db); /* is there a full-text index? */

#endif
