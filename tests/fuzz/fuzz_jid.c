/* Any bytes as a JID. Must hold: what is accepted is within its limits, is text, and is its own canonical form. */
#include "fuzz.h"
#include "xml/writer.h"
#include "xmpp/jid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(0);
    struct jid jid, again;
    struct err err = {0};
    if (jid_parse(a, (struct str){(const char *)data, n}, &jid, &err) < 0) {
        MUST_HOLD(err.code == ERR_INVALID && err.text[0] != '\0' && !jid_present(&jid));
    } else {
        MUST_HOLD(jid.domain.n > 0 && jid.domain.n <= 1023 && jid.local.n <= 1023 && jid.resource.n <= 1023);
        MUST_HOLD((jid.local.p == NULL || jid.local.n > 0) && (jid.resource.p == NULL || jid.resource.n > 0));
        MUST_HOLD(jid.full.p[jid.full.n] == '\0' && xml_text_ok(jid.full));
        MUST_HOLD(jid_parse(a, jid.full, &again, &err) == 0 && jid_eq(&jid, &again));
        struct jid bare = jid_to_bare(a, &jid);
        MUST_HOLD(jid_bare_eq(&bare, &jid) && !jid_is_full(&bare));
    }
    arena_free(a);
    return 0;
}
