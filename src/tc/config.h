/* A room's configuration as its owners see it: the form of XEP-0045, 10.2 (fields: src/tables/room_config.def). */
#ifndef SIGNET_TC_CONFIG_H
#define SIGNET_TC_CONFIG_H
#include "tc/room.h"
#include "xmpp/form.h"

struct room_people { /* of the form's lists of addresses; set false: the form did not say */
    bool set;
    const struct jid *jids;
    unsigned n;
};
struct room_wish { /* a configuration that was sent in */
    struct room_config config;
    struct room_people admins, owners;
};
/* The fields by number, for whoever shows or names them otherwise. */
extern const unsigned config_n_fields;
const struct form_field *config_field(unsigned i);
const char *config_short_name(unsigned i); /* the variable without its prefix: "membersonly" */
void config_values(const struct room *r, struct arena *a, struct form_value values[FORM_FIELDS_MAX]); /* never the password */
void config_write_form(struct buf *b, const struct room *r, struct arena *a);
/* What a form says, upon what the room has now. -1: *text says what is wrong. On success the caller clears wish->config. */
must_check int config_read_form(const struct room *r, const struct xml_node *x, struct arena *a, struct room_wish *wish, const char **text);
void room_config_copy(struct room_config *to, const struct room_config *from);

#endif
