/* RFC 8264, 8: what a code point is worth follows from its Unicode properties, in an order of questions; class_of() asks them in that order. Only some need more
 * than the code point: what is allowed in the right company (RFC 5892, appendix A), and strings that run from right to left (RFC 5893). */
#include "xmpp/precis.h"
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

enum worth { WORTH_ALWAYS, WORTH_FREEFORM, WORTH_IN_CONTEXT, WORTH_NEVER };

struct text { /* malloc'ed */
    uint32_t *p;
    size_t n;
};

/* ---- single code points ---- */

static const struct {
    uint32_t first, last;
    enum worth worth;
} exceptions[] = {
    /* RFC 5892, 2.6 */
    {0x00DF, 0x00DF, WORTH_ALWAYS},     {0x03C2, 0x03C2, WORTH_ALWAYS},     {0x06FD, 0x06FE, WORTH_ALWAYS},     {0x0F0B, 0x0F0B, WORTH_ALWAYS},
    {0x3007, 0x3007, WORTH_ALWAYS},     {0x00B7, 0x00B7, WORTH_IN_CONTEXT}, {0x0375, 0x0375, WORTH_IN_CONTEXT}, {0x05F3, 0x05F4, WORTH_IN_CONTEXT},
    {0x30FB, 0x30FB, WORTH_IN_CONTEXT}, {0x0660, 0x0669, WORTH_IN_CONTEXT}, {0x06F0, 0x06F9, WORTH_IN_CONTEXT}, {0x0640, 0x0640, WORTH_NEVER},
    {0x07FA, 0x07FA, WORTH_NEVER},      {0x302E, 0x302F, WORTH_NEVER},      {0x3031, 0x3035, WORTH_NEVER},      {0x303B, 0x303B, WORTH_NEVER},
    /* Join controls; then the conjoining letters of old Hangul. */
    {0x200C, 0x200D, WORTH_IN_CONTEXT}, {0x1100, 0x11FF, WORTH_NEVER},      {0xA960, 0xA97C, WORTH_NEVER},      {0xD7B0, 0xD7FB, WORTH_NEVER},
};

static bool has_compatible(uint32_t c)
{
    uint32_t room[32];
    size_t n = sizeof room / sizeof room[0];
    uint32_t *other = u32_normalize(UNINORM_NFKC, &c, 1, room, &n);
    bool differs = other == NULL || n != 1 || other[0] != c;
    if (other != room) free(other);
    return differs;
}

static enum worth class_of(uint32_t c)
{
    const uint32_t letter_digits = UC_CATEGORY_MASK_Ll | UC_CATEGORY_MASK_Lu | UC_CATEGORY_MASK_Lo | UC_CATEGORY_MASK_Nd | UC_CATEGORY_MASK_Lm |
                                   UC_CATEGORY_MASK_Mn | UC_CATEGORY_MASK_Mc;
    const uint32_t others = UC_CATEGORY_MASK_Lt | UC_CATEGORY_MASK_Nl | UC_CATEGORY_MASK_No | UC_CATEGORY_MASK_Me | UC_CATEGORY_MASK_Zs | UC_CATEGORY_MASK_S |
                            UC_CATEGORY_MASK_P;
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (c >= exceptions[i].first && c <= exceptions[i].last) return exceptions[i].worth;
    if (uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cn)) return WORTH_NEVER; /* not assigned, or no character */
    if (c > 0x20 && c < 0x7F) return WORTH_ALWAYS;
    if (uc_is_property_default_ignorable_code_point(c) || uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cc)) return WORTH_NEVER;
    bool assigned = uc_is_general_category_withtable(c, letter_digits | others);
    if (assigned && has_compatible(c)) return WORTH_FREEFORM;
    if (uc_is_general_category_withtable(c, letter_digits)) return WORTH_ALWAYS;
    return assigned ? WORTH_FREEFORM : WORTH_NEVER;
}

/* ---- in company ---- */

static bool is_script(uint32_t c, const char *name)
{
    const uc_script_t *script = uc_script(c);
    return script != NULL && strcmp(script->name, name) == 0;
}

static bool has_between(const struct text *t, uint32_t first, uint32_t last)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->p[i] >= first && t->p[i] <= last) return true;
    return false;
}

/* RFC 5892, A.1: a letter that joins to the right before it, one that joins to the left behind it, transparent ones between. */
static bool breaks_a_joint(const struct text *t, size_t at)
{
    size_t before = at, behind = at + 1;
    while (before > 0 && uc_joining_type(t->p[before - 1]) == UC_JOINING_TYPE_T) before--;
    while (behind < t->n && uc_joining_type(t->p[behind]) == UC_JOINING_TYPE_T) behind++;
    if (before == 0 || behind == t->n) return false;
    int left = uc_joining_type(t->p[before - 1]), right = uc_joining_type(t->p[behind]);
    return (left == UC_JOINING_TYPE_L || left == UC_JOINING_TYPE_D) && (right == UC_JOINING_TYPE_R || right == UC_JOINING_TYPE_D);
}

static bool context_ok(const struct text *t, size_t at)
{
    uint32_t c = t->p[at], before = at > 0 ? t->p[at - 1] : 0, behind = at + 1 < t->n ? t->p[at + 1] : 0;
    switch (c) {
    case 0x200C: /* zero width non-joiner */
        return (at > 0 && uc_combining_class(before) == UC_CCC_VR) || breaks_a_joint(t, at);
    case 0x200D: /* zero width joiner */
        return at > 0 && uc_combining_class(before) == UC_CCC_VR;
    case 0x00B7: /* middle dot of Catalan */
        return before == 'l' && behind == 'l';
    case 0x0375: /* Greek numeral sign */
        return behind != 0 && is_script(behind, "Greek");
    case 0x05F3: /* Hebrew punctuation */
    case 0x05F4:
        return at > 0 && is_script(before, "Hebrew");
    case 0x30FB: /* Katakana middle dot */
        for (size_t i = 0; i < t->n; i++)
            if (is_script(t->p[i], "Hiragana") || is_script(t->p[i], "Katakana") || is_script(t->p[i], "Han")) return true;
        return false;
    default: /* Arabic-Indic digits, of one kind only */
        return c <= 0x0669 ? !has_between(t, 0x06F0, 0x06F9) : !has_between(t, 0x0660, 0x0669);
    }
}

static int class_check(const struct text *t, enum precis_profile profile, struct err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        enum worth worth = class_of(t->p[i]);
        bool ok = worth == WORTH_ALWAYS || (worth == WORTH_FREEFORM && profile == PRECIS_OPAQUE_STRING) || (worth == WORTH_IN_CONTEXT && context_ok(t, i));
        if (!ok) return err_set(err, ERR_INVALID, "it has a character that is not allowed there, U+%04X", (unsigned)t->p[i]);
    }
    return 0;
}

#define B(class) (1u << UC_BIDI_##class)

/* RFC 5893, 2, for strings that have anything written from right to left. */
static bool bidi_ok(const struct text *t)
{
    unsigned seen = 0, last = 0;
    for (size_t i = 0; i < t->n; i++) {
        unsigned class = 1u << uc_bidi_class(t->p[i]);
        seen |= class;
        if (class != B(NSM)) last = class;
    }
    if ((seen & (B(R) | B(AL) | B(AN))) == 0) return true;
    unsigned first = 1u << uc_bidi_class(t->p[0]), anywhere = B(EN) | B(ES) | B(CS) | B(ET) | B(ON) | B(BN) | B(NSM);
    if (first == B(L)) return (seen & ~(anywhere | B(L))) == 0 && (last & (B(L) | B(EN))) != 0;
    if ((first & (B(R) | B(AL))) == 0) return false;
    return (seen & ~(anywhere | B(R) | B(AL) | B(AN))) == 0 && (last & (B(R) | B(AL) | B(EN) | B(AN))) != 0 && (seen & (B(EN) | B(AN))) != (B(EN) | B(AN));
}

/* ---- mappings ---- */

static void text_replace(struct text *t, uint32_t *p, size_t n)
{
    if (p == NULL) abort(); /* out of memory */
    free(t->p);
    *t = (struct text){p, n};
}

/* Fullwidth and halfwidth letters become ordinary ones, each a single one. */
static void map_width(struct text *t)
{
    for (size_t i = 0; i < t->n; i++) {
        ucs4_t other[UC_DECOMPOSITION_MAX_LENGTH];
        int tag;
        if (uc_decomposition(t->p[i], &tag, other) == 1 && (tag == UC_DECOMP_WIDE || tag == UC_DECOMP_NARROW)) t->p[i] = other[0];
    }
}

static void map_spaces(struct text *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (uc_is_general_category_withtable(t->p[i], UC_CATEGORY_MASK_Zs)) t->p[i] = ' ';
}

static void map_case(struct text *t)
{
    size_t n;
    uint32_t *p = u32_tolower(t->p, t->n, NULL, NULL, NULL, &n);
    text_replace(t, p, n);
}

static void compose(struct text *t)
{
    size_t n;
    uint32_t *p = u32_normalize(UNINORM_NFC, t->p, t->n, NULL, &n);
    text_replace(t, p, n);
}

static int enforce(struct text *t, enum precis_profile profile, struct err *err)
{
    if (profile == PRECIS_USERNAME_CASE_MAPPED) map_width(t);
    if (class_check(t, profile, err) < 0) return -1;
    if (profile == PRECIS_USERNAME_CASE_MAPPED)
        map_case(t);
    else
        map_spaces(t);
    compose(t);
    if (profile == PRECIS_USERNAME_CASE_MAPPED && !bidi_ok(t)) return err_set(err, ERR_INVALID, "it mixes directions of writing (RFC 5893)");
    return 0;
}

int precis_enforce(struct arena *a, enum precis_profile profile, struct str text, struct str *out, struct err *err)
{
    struct text t = {0}, again = {0};
    if (text.n == 0) return err_set(err, ERR_INVALID, "it is empty");
    t.p = u8_to_u32((const uint8_t *)text.p, text.n, NULL, &t.n);
    int rc = t.p == NULL ? err_set(err, ERR_INVALID, "it is not UTF-8 text") : enforce(&t, profile, err);
    if (rc == 0) { /* RFC 8264, 7: what is not the same a second time would be two addresses */
        again = (struct text){x_malloc(t.n * sizeof *t.p), t.n};
        memcpy(again.p, t.p, t.n * sizeof *t.p);
        rc = enforce(&again, profile, err);
        if (rc == 0 && (again.n != t.n || memcmp(again.p, t.p, t.n * sizeof *t.p) != 0)) rc = err_set(err, ERR_INVALID, "it has no stable form");
    }
    size_t n = 0;
    uint8_t *bytes = rc == 0 ? u32_to_u8(t.p, t.n, NULL, &n) : NULL;
    if (rc == 0 && bytes == NULL) rc = err_set(err, ERR_INVALID, "it is not Unicode text");
    if (rc == 0) *out = arena_str(a, (struct str){(const char *)bytes, n});
    free(bytes);
    free(again.p);
    free(t.p);
    return rc;
}
