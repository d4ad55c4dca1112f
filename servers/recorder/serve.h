#ifndef SIGNET_RECORDER_SERVE_H
#define SIGNET_RECORDER_SERVE_H
#include "base/err.h"
#include "options.h"

/* Records until SIGTERM or SIGINT, then stops gracefully. */
must_check int serve_run(const struct options *o, struct err *err);

#endif
