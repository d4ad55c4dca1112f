/* JIDs (RFC 7622, prepared with the PRECIS profiles UsernameCaseMapped and OpaqueString; the domain with IDNA). Parsing prepares, so equality is byte equality. */
#ifndef SIGNET_XMPP_JID_H
#define SIGNET_XMPP_JID_H
#include "base/arena.h"
#include "base/err.h"

/* Borrowed parts of one canonical string "local@domain/resource". local or resource absent (p NULL): none. Zeroed: no JID. */
struct jid {
    struct str full; /* the whole, NUL-terminated */
    struct str bare; /* "local@domain" or "domain": a prefix of full, not NUL-terminated when there is a resource */
    struct str local, domain, resource;
};
/* Parses, prepares and copies into the arena. Each part at most 1023 bytes. The error's text is fit for jid-malformed. */
must_check int jid_parse(struct arena *a, struct str text, struct jid *out, struct err *err);
/* jid's bare form with another resource (absent: bare), in the arena. resource must be prepared already. */
struct jid jid_with_resource(struct arena *a, const struct jid *jid, struct str resource);
struct jid jid_copy(struct arena *a, const struct jid *jid);
struct jid jid_to_bare(struct arena *a, const struct jid *jid); /* with full NUL-terminated */
bool jid_eq(const struct jid *a, const struct jid *b);
bool jid_bare_eq(const struct jid *a, const struct jid *b);
static inline bool jid_present(const struct jid *j) { return j->domain.p != NULL; }
static inline bool jid_is_full(const struct jid *j) { return j->resource.p != NULL; }
/* Prepares one part into the arena. */
must_check int jid_prep_local(struct arena *a, struct str text, struct str *out, struct err *err);
must_check int jid_prep_domain(struct arena *a, struct str text, struct str *out, struct err *err);
must_check int jid_prep_resource(struct arena *a, struct str text, struct str *out, struct err *err);

#endif
