/* Redaction, for tests and demonstrations: matches in messages become a bar. */
#ifndef SIGNET_RECORDER_REDACT_H
#define SIGNET_RECORDER_REDACT_H
#include "signet/compliance.h"
#include "base/err.h"
#include "options.h"

struct redact;
must_check int redact_new(struct redact **out, const struct text_list *patterns, const char *bar, struct err *err); /* no patterns: NULL, and 0 */
void redact_free(struct redact *r);                                                                                 /* NULL: no-op */
/* Changes the event's stanza in place. True: something was changed; *body is then the first body's new text (or NULL), living as long as the event.
 */
bool redact_event(struct redact *r, struct signet_event *e, const char **body);

#endif
