/* What an answer means for the event it answers (EVENTS.md, "Answers"): which are allowed, what a changed stanza may change, what a reply must be. Pure. */
#ifndef SIGNET_BROKER_ANSWER_H
#define SIGNET_BROKER_ANSWER_H
#include "broker/event.h"

enum meaning {
    MEANS_PASS, /* with a changed stanza, or a session named, where judgement says so */
    MEANS_HANDLE,
    MEANS_ERROR,
    MEANS_INVALID,
};
struct judgement {
    enum meaning meaning;
    struct stanza *stanza; /* a reference: MEANS_PASS: what to go on with instead, MEANS_HANDLE: the reply to the IQ; NULL: none */
    const char *session; /* the answer's, when it names a candidate; borrowed */
    const char *condition, *type; /* MEANS_ERROR: defined ones; static or the answer's */
    const char *problem; /* MEANS_INVALID: what is wrong; static or the answer's */
    enum answer_fault fault; /* and its kind */
    const char *ignored; /* a part of the answer that counts for nothing; NULL: none */
};
/* Of an answer of kind PASS, PASS_STANZA, HANDLE, ERROR or INVALID. */
void answer_judge(const struct event *e, const struct event_answer *a, struct judgement *out);

#endif
