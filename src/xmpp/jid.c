/* JIDs, prepared as they are parsed, so that two that are the same are the same bytes. Nearly all are plain ASCII and take one pass over a table of
 * character classes; the rest goes through PRECIS and IDNA. */
#include "xmpp/jid.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include "xml/writer.h"
#include "xmpp/precis.h"

#define PART_MAX  1023
#define LABEL_MAX 63
#define TEXT_MAX  (3 * PART_MAX + 2)

static bool ascii_local_ok(unsigned char c)
{
    return c > 0x20 && c < 0x7f && strchr("\"&'/:<>@", c) == NULL;
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

static struct str copy_lower(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++) out[i] = ascii_lower(s.p[i]);
    out[s.n] = '\0';
    return (struct str){out, s.n};
}

static int check_length(struct str s, const char *part, struct err *err)
{
    if (s.n == 0) return err_set(err, ERR_INVALID, "the %s of the JID is empty", part);
    if (s.n > PART_MAX) return err_set(err, ERR_INVALID, "the %s of the JID is longer than %d bytes", part, PART_MAX);
    return 0;
}

/* What is not all ASCII. */
static int prep(struct arena *a, struct str text, enum precis_profile profile, const char *part, struct str *out, struct err *err)
{
    if (!xml_text_ok(text)) return err_set(err, ERR_INVALID, "the %s of the JID is not UTF-8 text", part);
    if (precis_enforce(a, profile, text, out, err) < 0) return err_prefix(err, "the %s of the JID cannot be used", part);
    return check_length(*out, part, err);
}

int jid_prep_local(struct arena *a, struct str text, struct str *out, struct err *err)
{
    if (check_length(text, "local part", err) < 0) return -1;
    if (is_ascii(text)) {
        for (size_t i = 0; i < text.n; i++)
            if (!ascii_local_ok((unsigned char)text.p[i]))
                return err_set(err, ERR_INVALID,
                               "the local part of the JID has a character that is not allowed there: one of \" & ' / : < > @, a space, or "
                               "a control character");
        *out = copy_lower(a, text);
        return 0;
    }
    struct str prepared;
    if (prep(a, text, PRECIS_USERNAME_CASE_MAPPED, "local part", &prepared, err) < 0) return -1;
    for (size_t i = 0; i < prepared.n; i++) { /* RFC 7622, 3.3.1, whatever the profile thinks */
        unsigned char c = (unsigned char)prepared.p[i];
        if (c < 0x80 && !ascii_local_ok(c)) return err_set(err, ERR_INVALID, "the local part of the JID has a character that is not allowed there");
    }
    *out = prepared;
    return 0;
}

int jid_prep_resource(struct arena *a, struct str text, struct str *out, struct err *err)
{
    if (check_length(text, "resource", err) < 0) return -1;
    if (!is_ascii(text)) return prep(a, text, PRECIS_OPAQUE_STRING, "resource", out, err);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 0x20 || text.p[i] == 0x7f) return err_set(err, ERR_INVALID, "the resource of the JID has a control character");
    *out = arena_str(a, text);
    return 0;
}

/* "[::1]" (RFC 7622, 3.2, by RFC 6120's way of writing IPv6 literals), in its one canonical form. */
static int prep_ipv6(struct arena *a, struct str text, struct str *out, struct err *err)
{
    char literal[INET6_ADDRSTRLEN + 2];
    struct in6_addr address;
    if (text.n >= 4 && text.n - 2 < INET6_ADDRSTRLEN && text.p[text.n - 1] == ']') {
        memcpy(literal, text.p + 1, text.n - 2);
        literal[text.n - 2] = '\0';
        if (strlen(literal) == text.n - 2 && inet_pton(AF_INET6, literal, &address) == 1) {
            inet_ntop(AF_INET6, &address, literal, INET6_ADDRSTRLEN);
            *out = str_of(arena_printf(a, "[%s]", literal));
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "the domain of the JID begins like an IPv6 address in brackets, but is none");
}

enum domain_shape { DOMAIN_PLAIN, DOMAIN_NEEDS_IDNA, DOMAIN_BAD };

/* Letters, digits, hyphens, underscores in labels of 1 to 63; labels with "--" in third place may be A-labels and go to IDNA. */
static enum domain_shape domain_shape(struct str s)
{
    enum domain_shape shape = DOMAIN_PLAIN;
    if (!is_ascii(s)) return DOMAIN_NEEDS_IDNA;
    for (size_t i = 0, start = 0; i <= s.n; i++) {
        if (i == s.n || s.p[i] == '.') {
            size_t n = i - start;
            if (n == 0 || n > LABEL_MAX || s.p[start] == '-' || s.p[i - 1] == '-') return DOMAIN_BAD;
            if (n >= 4 && s.p[start + 2] == '-' && s.p[start + 3] == '-') shape = DOMAIN_NEEDS_IDNA;
            start = i + 1;
            continue;
        }
        char c = ascii_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')) return DOMAIN_BAD;
    }
    return shape;
}

/* To A-labels, which checks, and back to U-labels, which are the canonical form (RFC 7622, 3.2.1). */
static int prep_idna(struct arena *a, struct str text, struct str *out, struct err *err)
{
    if (!xml_text_ok(text)) return err_set(err, ERR_INVALID, "the domain of the JID is not UTF-8 text");
    char *in = str_dup(text), *ascii = NULL, *unicode = NULL, *again = NULL;
    int rc = idn2_to_ascii_8z(in, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc == IDN2_OK && strlen(ascii) > 1 && ascii[strlen(ascii) - 1] == '.') ascii[strlen(ascii) - 1] = '\0'; /* from another kind of dot */
    if (rc == IDN2_OK) rc = idn2_to_unicode_8z8z(ascii, &unicode, 0);
    if (rc == IDN2_OK) rc = idn2_to_ascii_8z(unicode, &again, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    int result = 0;
    if (rc != IDN2_OK)
        result = err_set(err, ERR_INVALID, "the domain of the JID is no domain name: %s", idn2_strerror(rc));
    else if (domain_shape(str_of(ascii)) == DOMAIN_BAD || strcmp(ascii, again) != 0) /* some A-labels decode to what encodes to others */
        result = err_set(err, ERR_INVALID, "the domain of the JID is no domain name");
    else if ((result = check_length(str_of(unicode), "domain", err)) == 0)
        *out = arena_str(a, str_of(unicode));
    idn2_free(again);
    idn2_free(ascii);
    idn2_free(unicode);
    free(in);
    return result;
}

int jid_prep_domain(struct arena *a, struct str text, struct str *out, struct err *err)
{
    if (text.n > 1 && text.p[text.n - 1] == '.') text.n--;
    if (check_length(text, "domain", err) < 0) return -1;
    if (text.p[0] == '[') return prep_ipv6(a, text, out, err);
    switch (domain_shape(text)) {
    case DOMAIN_PLAIN:
        *out = copy_lower(a, text);
        return 0;
    case DOMAIN_NEEDS_IDNA:
        return prep_idna(a, text, out, err);
    case DOMAIN_BAD:
        break;
    }
    return err_set(err, ERR_INVALID,
                   "the domain of the JID is no domain name: labels of letters, digits and hyphens, 1 to 63 each, with dots between");
}

/* One string of the three prepared parts. */
static struct jid assemble(struct arena *a, struct str local, struct str domain, struct str resource)
{
    size_t n_bare = (local.p != NULL ? local.n + 1 : 0) + domain.n;
    size_t n = n_bare + (resource.p != NULL ? resource.n + 1 : 0);
    char *out = arena_alloc(a, n + 1), *at = out;
    struct jid jid = {.full = {out, n}, .bare = {out, n_bare}};
    if (local.p != NULL) {
        memcpy(at, local.p, local.n);
        jid.local = (struct str){at, local.n};
        at += local.n;
        *at++ = '@';
    }
    memcpy(at, domain.p, domain.n);
    jid.domain = (struct str){at, domain.n};
    at += domain.n;
    if (resource.p != NULL) {
        *at++ = '/';
        memcpy(at, resource.p, resource.n);
        jid.resource = (struct str){at, resource.n};
        at += resource.n;
    }
    *at = '\0';
    return jid;
}

/* Everything ASCII and nothing to complain about: one allocation. */
static bool parse_plain(struct arena *a, struct str local, struct str domain, struct str resource, struct jid *out)
{
    if (local.n > PART_MAX || domain.n > PART_MAX || resource.n > PART_MAX || domain.n == 0 || domain.p[0] == '[') return false;
    if ((local.p != NULL && local.n == 0) || (resource.p != NULL && resource.n == 0)) return false;
    if (domain.n > 1 && domain.p[domain.n - 1] == '.') domain.n--;
    if (domain_shape(domain) != DOMAIN_PLAIN) return false;
    for (size_t i = 0; i < local.n; i++)
        if (!ascii_local_ok((unsigned char)local.p[i])) return false;
    for (size_t i = 0; i < resource.n; i++)
        if ((unsigned char)resource.p[i] < 0x20 || (unsigned char)resource.p[i] >= 0x7f) return false;
    *out = assemble(a, local, domain, resource);
    char *bare = (char *)out->full.p; /* our own, just made */
    for (size_t i = 0; i < out->bare.n; i++) bare[i] = ascii_lower(bare[i]);
    return true;
}

int jid_parse(struct arena *a, struct str text, struct jid *out, struct err *err)
{
    *out = (struct jid){0};
    if (text.n == 0) return err_set(err, ERR_INVALID, "the JID is empty");
    if (text.n > TEXT_MAX) return err_set(err, ERR_INVALID, "the JID is longer than %d bytes", TEXT_MAX);
    /* RFC 7622, 3.1: first cut off the resource at the first slash, then the local part at the first "@" of what is left. */
    struct str local = STR_NONE, domain = text, resource = STR_NONE;
    const char *slash = memchr(text.p, '/', text.n);
    if (slash != NULL) {
        domain.n = (size_t)(slash - text.p);
        resource = (struct str){slash + 1, text.n - domain.n - 1};
    }
    const char *at = domain.n > 0 ? memchr(domain.p, '@', domain.n) : NULL;
    if (at != NULL) {
        local = (struct str){domain.p, (size_t)(at - domain.p)};
        domain = (struct str){at + 1, domain.n - local.n - 1};
    }
    if (parse_plain(a, local, domain, resource, out)) return 0;
    if (local.p != NULL && jid_prep_local(a, local, &local, err) < 0) return -1;
    if (jid_prep_domain(a, domain, &domain, err) < 0) return -1;
    if (resource.p != NULL && jid_prep_resource(a, resource, &resource, err) < 0) return -1;
    *out = assemble(a, local, domain, resource);
    return 0;
}

struct jid jid_with_resource(struct arena *a, const struct jid *jid, struct str resource)
{
    return jid_present(jid) ? assemble(a, jid->local, jid->domain, resource) : (struct jid){0};
}

struct jid jid_copy(struct arena *a, const struct jid *jid)
{
    return jid_with_resource(a, jid, jid->resource);
}

struct jid jid_to_bare(struct arena *a, const struct jid *jid)
{
    return jid_with_resource(a, jid, STR_NONE);
}

bool jid_eq(const struct jid *a, const struct jid *b)
{
    return str_eq(a->full, b->full);
}

bool jid_bare_eq(const struct jid *a, const struct jid *b)
{
    return str_eq(a->bare, b->bare);
}
