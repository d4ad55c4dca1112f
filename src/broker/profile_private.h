/* Private to src/broker/profile*.c: the pieces of the compliance configuration that its JSON form and its edits share. */
#ifndef SIGNET_BROKER_PROFILE_PRIVATE_H
#define SIGNET_BROKER_PROFILE_PRIVATE_H
#include "broker/profile.h"

/* One element more at the end of an array, zeroed. */
struct compliance_server *config_add_server(struct compliance_config *c);
struct compliance_profile *config_add_profile(struct compliance_config *c);
struct compliance_assignment *config_add_assignment(struct compliance_config *c);
void profile_add_row(struct compliance_profile *p, const struct profile_row *row);
void profile_make_system(struct compliance_profile *p); /* name, description, rows, read_only; p is zeroed */
void profile_copy(struct compliance_profile *to, const struct compliance_profile *from);
void profile_clear(struct compliance_profile *p); /* frees what it holds and zeroes it */
void server_clear(struct compliance_server *s);
void server_copy(struct compliance_server *to, const struct compliance_server *from);
/* Four rows of one event with all packet types, alike in Handling and Fire and Forget, are one row with `all`. */
void profile_merge_rows(struct compliance_profile *p);
must_check int profile_check(const struct compliance_profile *p, struct err *err);
must_check int server_check(const struct compliance_server *s, struct err *err);
char *component_name(const char *server, const char *node); /* malloc'ed */

/* profile_json.c: the fields given replace those of s or p; `name` among them is put into *name (borrowed from json; NULL: absent). */
must_check int server_from_json(struct compliance_server *s, const json_t *fields, const char **name, struct err *err);
must_check int profile_from_json(struct compliance_profile *p, const json_t *fields, const char **name, struct err *err);
/* add: what is absent takes its default; else it stays. */
must_check int row_from_json(const json_t *o, struct profile_row *row, bool add, struct err *err);
/* profile_edit.c: what is allowed but seldom meant. Of rows that stand in old alike nothing is said. old, warnings: may be NULL. */
void profile_warn(const struct compliance_profile *p, const struct compliance_profile *old, json_t *warnings);
json_t *row_json(const struct profile_row *row);

#endif
