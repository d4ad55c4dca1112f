/* See login.h. The server's signature is not checked: nothing secret is at stake, and the server is the one under test. */
#include "login.h"
#include "base/hash.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_MAX = 512, ITERATIONS_MAX = 10000000 };

const char *const mechanism_names[MECHANISMS] = {"any", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"};

static void add_base64(struct buf *out, const void *p, size_t n)
{
    int made = EVP_EncodeBlock((unsigned char *)buf_reserve(out, n / 3 * 4 + 8), p, (int)n);
    out->len += (size_t)made;
}

/* Into b, NUL-terminated. -1: no base64. */
static int from_base64(struct str text, struct buf *b)
{
    int n = text.n % 4 != 0 ? -1 : EVP_DecodeBlock((unsigned char *)buf_reserve(b, text.n), (const unsigned char *)text.p, (int)text.n);
    if (n < 0) return -1;
    while (text.n > 0 && text.p[text.n - 1] == '=') {
        text.n--;
        n--;
    }
    b->len += (size_t)n;
    (void)buf_cstr(b);
    return 0;
}

void login_begin(struct login *l, enum mechanism mechanism, const char *user, const char *password, struct buf *out)
{
    struct buf text = {0};
    *l = (struct login){.mechanism = mechanism};
    if (mechanism == MECHANISM_PLAIN) {
        buf_addc(&text, '\0');
        buf_adds(&text, user);
        buf_addc(&text, '\0');
        buf_adds(&text, password);
    } else {
        snprintf(l->nonce, sizeof l->nonce, "%016llx%08x", (unsigned long long)hash_random_u64(), (unsigned)hash_random_u64());
        buf_addf(&text, "n=%s,r=%s", user, l->nonce);
        l->first_bare = x_strdup(buf_cstr(&text));
        buf_reset(&text);
        buf_addf(&text, "n,,%s", l->first_bare);
    }
    add_base64(out, text.data, text.len);
    buf_free(&text);
}

/* The value of a field "x=..." of the server's first message. */
static bool field(const char *message, char name, char out[FIELD_MAX])
{
    for (const char *p = message; p != NULL; p = strchr(p, ',') != NULL ? strchr(p, ',') + 1 : NULL) {
        if (p[0] != name || p[1] != '=') continue;
        int n = snprintf(out, FIELD_MAX, "%.*s", (int)strcspn(p + 2, ","), p + 2);
        return n > 0 && n < FIELD_MAX;
    }
    return false;
}

static void prove(const struct login *l, const char *password, const struct buf *salt, int iterations, const char *auth, struct buf *proof)
{
    const EVP_MD *md = l->mechanism == MECHANISM_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
    int size = EVP_MD_get_size(md);
    unsigned char salted[EVP_MAX_MD_SIZE], client_key[EVP_MAX_MD_SIZE], stored_key[EVP_MAX_MD_SIZE], signature[EVP_MAX_MD_SIZE];
    PKCS5_PBKDF2_HMAC(password, -1, (const unsigned char *)salt->data, (int)salt->len, iterations, md, size, salted);
    HMAC(md, salted, size, (const unsigned char *)"Client Key", 10, client_key, NULL);
    EVP_Digest(client_key, (size_t)size, stored_key, NULL, md, NULL);
    HMAC(md, stored_key, size, (const unsigned char *)auth, strlen(auth), signature, NULL);
    for (int i = 0; i < size; i++) client_key[i] ^= signature[i];
    add_base64(proof, client_key, (size_t)size);
}

int login_challenge(struct login *l, const char *password, struct str challenge, struct buf *out, struct err *err)
{
    char nonce[FIELD_MAX], salt_text[FIELD_MAX], count[FIELD_MAX];
    struct buf first = {0}, salt = {0}, auth = {0}, final = {0};
    long iterations = 0;
    int rc = -1;
    bool good = l->first_bare != NULL && from_base64(challenge, &first) == 0 && field(first.data, 'r', nonce) && field(first.data, 's', salt_text) &&
                field(first.data, 'i', count) && from_base64(str_of(salt_text), &salt) == 0 && strncmp(nonce, l->nonce, strlen(l->nonce)) == 0;
    if (good) iterations = strtol(count, NULL, 10);
    if (!good) {
        const char *text = first.data == NULL ? "" : first.data;
        err_set(err, ERR_INVALID, "the server's challenge is not one of %s: %.100s", mechanism_names[l->mechanism], text);
    } else if (iterations < 1 || iterations > ITERATIONS_MAX) {
        err_set(err, ERR_INVALID, "the server asks for %s iterations", count);
    } else {
        buf_addf(&final, "c=biws,r=%s", nonce);
        buf_addf(&auth, "%s,%s,%s", l->first_bare, first.data, buf_cstr(&final));
        buf_adds(&final, ",p=");
        prove(l, password, &salt, (int)iterations, buf_cstr(&auth), &final);
        add_base64(out, final.data, final.len);
        rc = 0;
    }
    buf_free(&first);
    buf_free(&salt);
    buf_free(&auth);
    buf_free(&final);
    return rc;
}

void login_end(struct login *l)
{
    free(l->first_bare);
    l->first_bare = NULL;
}
