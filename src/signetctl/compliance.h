/* What the files of the compliance nouns share. */
#ifndef SIGNET_SIGNETCTL_COMPLIANCE_H
#define SIGNET_SIGNETCTL_COMPLIANCE_H
#include "signetctl/ctl.h"

/* One member of the compliance configuration, "servers", "profiles" or "assignments": *answer is a new reference, the list inside it is borrowed. */
must_check enum outcome compliance_get(const char *member, json_t **answer, json_t **list, struct err *err);
json_t *compliance_named(json_t *list, const char *name); /* the element of that name, borrowed; NULL when there is none */
/* A change, with --comment when it is given. take: the body, or NULL. */
must_check enum outcome compliance_call(const struct invocation *in, const char *method, char *take_path, json_t *take, json_t **out, struct err *err);
/* A change without more to tell than what was done. take: the body, or NULL. */
must_check enum outcome compliance_change(const struct invocation *in, const char *method, char *take_path, json_t *take, const char *did,
                                          struct err *err);
/* PATCH of the second argument as the name of what is at path and the first. */
must_check enum outcome compliance_rename(const struct invocation *in, const char *path, struct err *err);
/* A change of a profile, or a profile more. When somebody sits at the terminal and there is something to warn of, it is asked first whether it is meant. */
must_check enum outcome compliance_change_warned(const struct invocation *in, const char *method, char *take_path, json_t *take, const char *did, struct err *err);

#endif
