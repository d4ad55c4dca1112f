/* Reading the archive: search, tail, count. Output to stdout. */
#ifndef SIGNET_RECORDER_FIND_H
#define SIGNET_RECORDER_FIND_H
#include "base/err.h"
#include "options.h"

must_check int find_search(const struct options *o, struct err *err);
must_check int find_tail(const struct options *o, struct err *err);
must_check int find_count(const struct options *o, struct err *err);

#endif
