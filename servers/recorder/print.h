/* One recorded event, for people or as JSON. */
#ifndef SIGNET_RECORDER_PRINT_H
#define SIGNET_RECORDER_PRINT_H
#include <sqlite3.h>
#include "options.h"

/* Column 0 is seq, 1 time_ms (for ordering); the rest are the fields of print.c's table, in its order. */
#define PRINT_COLUMNS                                                                                                                                \
    "seq, time_ms, event_id, stanza_id, event, node, time, profile, key, session, room, copy, kind, type, \"from\", \"to\", body, passed_body, "     \
    "component,"                                                                                                                                     \
    " fire_and_forget, received_ms, xml, passed_xml"
int64_t print_row(sqlite3_stmt *row, const struct options *o); /* returns seq */

#endif
