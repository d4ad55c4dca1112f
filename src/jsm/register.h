/* In-band registration (XEP-0077) before login, and what it shares with the requests of those who are logged in. */
#ifndef SIGNET_JSM_REGISTER_H
#define SIGNET_JSM_REGISTER_H
#include "jsm/jsm.h"

#define NS_REGISTER "jabber:iq:register"

void registration_begin(struct c2s *c, struct stanza *take); /* c2s_ops.on_register */

struct registration_form { /* what a request says; absent: nothing */
    bool remove;
    struct str username, password;
};
/* Of the request's <query/>, or the form in it (XEP-0077, 4); -1: neither, or a form that is none, or something beside <remove/>. In the arena. */
must_check int registration_read(const struct stanza *iq, struct arena *a, struct registration_form *out);

#endif
