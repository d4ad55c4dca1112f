/* Between sasl.c (the exchange) and sasl_parse.c (reading the first message). */
#ifndef SIGNET_XMPP_SASL_PRIVATE_H
#define SIGNET_XMPP_SASL_PRIVATE_H
#include "xmpp/sasl.h"

struct sasl_first { /* what a first message says, decoded */
    struct str user, authzid; /* in the arena; authzid absent: none given */
    char binding_flag; /* SCRAM: 'n', 'y', 'p' */
    struct str binding_type; /* with 'p' */
};
/* 0, or -1: malformed. */
must_check int sasl_parse_scram(struct arena *a, struct str message, struct sasl_first *out);
must_check int sasl_parse_plain(struct arena *a, struct str message, struct sasl_first *out);

#endif
