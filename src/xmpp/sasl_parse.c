/* Who wants to log in? The first message of SCRAM (RFC 5802, 7) and PLAIN (RFC 4616, 2) read just far enough to know, since the account must be
 * fetched before gsasl, which then checks the whole of it, sees the message. */
#include "sasl_private.h"
#include <string.h>

/* The bytes up to the next comma, which is skipped; absent when there is no comma. */
static struct str scram_field(struct str *rest)
{
    const char *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    if (!comma) return STR_NONE;
    struct str field = {rest->p, (size_t)(comma - rest->p)};
    rest->p = comma + 1;
    rest->n -= field.n + 1;
    return field;
}

/* saslname: "=2C" is a comma, "=3D" an equals sign, and no other equals sign may stand there. */
static int scram_name(struct arena *a, struct str coded, struct str *out)
{
    char *to = arena_alloc(a, coded.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < coded.n; i++) {
        if (coded.p[i] != '=') {
            to[n++] = coded.p[i];
            continue;
        }
        if (coded.n - i < 3) return -1;
        if (memcmp(coded.p + i, "=2C", 3) == 0)
            to[n++] = ',';
        else if (memcmp(coded.p + i, "=3D", 3) == 0)
            to[n++] = '=';
        else
            return -1;
        i += 2;
    }
    to[n] = 0;
    if (n == 0) return -1;
    *out = (struct str){to, n};
    return 0;
}

int sasl_parse_scram(struct arena *a, struct str message, struct sasl_first *out)
{
    *out = (struct sasl_first){0};
    if (message.n == 0 || memchr(message.p, 0, message.n)) return -1;
    struct str rest = message;
    struct str flag = scram_field(&rest);
    struct str authzid = scram_field(&rest);
    struct str name = scram_field(&rest);
    if (!flag.p || !authzid.p || !name.p) return -1;

    if (str_is(flag, "n") || str_is(flag, "y")) {
        out->binding_flag = flag.p[0];
    } else if (flag.n > 2 && flag.p[0] == 'p' && flag.p[1] == '=') {
        out->binding_flag = 'p';
        out->binding_type = arena_str(a, (struct str){flag.p + 2, flag.n - 2});
    } else {
        return -1;
    }
    if (authzid.n) {
        if (authzid.n < 3 || memcmp(authzid.p, "a=", 2) != 0) return -1;
        if (scram_name(a, (struct str){authzid.p + 2, authzid.n - 2}, &out->authzid) < 0) return -1;
    }
    if (name.n < 3 || memcmp(name.p, "n=", 2) != 0) return -1; /* "m=", a mandatory extension, too: none is known */
    return scram_name(a, (struct str){name.p + 2, name.n - 2}, &out->user);
}

int sasl_parse_plain(struct arena *a, struct str message, struct sasl_first *out)
{
    *out = (struct sasl_first){0};
    const char *first = message.n ? memchr(message.p, 0, message.n) : NULL;
    if (!first) return -1;
    const char *end = message.p + message.n;
    const char *second = memchr(first + 1, 0, (size_t)(end - first - 1));
    if (!second || second == first + 1) return -1;
    if (second + 1 == end || memchr(second + 1, 0, (size_t)(end - second - 1))) return -1;
    if (first > message.p) out->authzid = arena_str(a, (struct str){message.p, (size_t)(first - message.p)});
    out->user = arena_str(a, (struct str){first + 1, (size_t)(second - first - 1)});
    return 0;
}
