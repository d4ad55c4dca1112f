/* SCRAM keys. A password is prepared (SASLprep, RFC 4013), stretched with PBKDF2 and split into the two keys a server keeps: StoredKey proves a
 * client, ServerKey proves the server; neither gives the password back. Every buffer that held a password or what follows from it alone is cleansed.
 */
#include "xmpp/scram.h"
#include "base/hash.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <stringprep.h>

#define PASSWORD_MAX 1023 /* as a JID part; longer ones are no use and would let a client buy CPU */
#define PREPARED_MAX 4096 /* normalisation (NFKC) makes some characters longer */

static const struct {
    size_t size;
    const EVP_MD *(*digest)(void);
} scram_hashes[SCRAM_HASHES] = {
    [SCRAM_SHA1] = {20, EVP_sha1},
    [SCRAM_SHA256] = {32, EVP_sha256},
};

size_t scram_hash_size(enum scram_hash hash)
{
    return scram_hashes[hash].size;
}

static bool password_is_ascii(struct str password)
{
    for (size_t i = 0; i < password.n; i++)
        if ((unsigned char)password.p[i] < 0x20 || (unsigned char)password.p[i] > 0x7e) return false;
    return true;
}

/* Writes the prepared password, NUL-terminated, to out (PREPARED_MAX bytes). Printable ASCII is its own preparation, so it makes no further copies.
 */
static int password_prepare(struct str password, char *out, struct err *err)
{
    if (password.n == 0) return err_set(err, ERR_INVALID, "the password is empty");
    if (password.n > PASSWORD_MAX) return err_set(err, ERR_INVALID, "the password is longer than %d bytes", PASSWORD_MAX);
    if (memchr(password.p, 0, password.n)) return err_set(err, ERR_INVALID, "the password contains a NUL");
    memcpy(out, password.p, password.n);
    out[password.n] = 0;
    if (password_is_ascii(password)) return 0;
    int rc = stringprep(out, PREPARED_MAX, 0, stringprep_saslprep);
    if (rc != STRINGPREP_OK) return err_set(err, ERR_INVALID, "the password cannot be used (SASLprep, RFC 4013): %s", stringprep_strerror(rc));
    if (out[0] == 0) return err_set(err, ERR_INVALID, "nothing of the password is left after SASLprep (RFC 4013)");
    return 0;
}

static bool derive_prepared(enum scram_hash hash, const char *password, struct str salt, unsigned iterations, unsigned char *stored_key,
                            unsigned char *server_key)
{
    const EVP_MD *md = scram_hashes[hash].digest();
    int size = (int)scram_hashes[hash].size;
    unsigned char salted[32], client_key[32];
    bool ok =
        PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const unsigned char *)salt.p, (int)salt.n, (int)iterations, md, size, salted) == 1 &&
        HMAC(md, salted, size, (const unsigned char *)"Client Key", 10, client_key, NULL) != NULL &&
        EVP_Digest(client_key, (size_t)size, stored_key, NULL, md, NULL) == 1 &&
        HMAC(md, salted, size, (const unsigned char *)"Server Key", 10, server_key, NULL) != NULL;
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
    return ok;
}

int scram_derive(enum scram_hash hash, struct str password, struct str salt, unsigned iterations, unsigned char stored_key[32],
                 unsigned char server_key[32], struct err *err)
{
    if (iterations == 0 || iterations > 10000000) return err_set(err, ERR_INVALID, "%u iterations: 1 to 10000000 are possible", iterations);
    char prepared[PREPARED_MAX];
    int rc = password_prepare(password, prepared, err);
    if (rc == 0 && !derive_prepared(hash, prepared, salt, iterations, stored_key, server_key))
        rc = err_set(err, ERR_INTERNAL, "OpenSSL could not derive SCRAM keys");
    OPENSSL_cleanse(prepared, sizeof prepared);
    return rc;
}

int scram_keys_make(enum scram_hash hash, struct str password, unsigned iterations, struct scram_keys *out, struct err *err)
{
    struct scram_keys keys = {.iterations = iterations};
    hash_random(keys.salt, sizeof keys.salt);
    struct str salt = {(const char *)keys.salt, sizeof keys.salt};
    if (scram_derive(hash, password, salt, iterations, keys.stored_key, keys.server_key, err) < 0) return -1;
    *out = keys;
    return 0;
}

bool scram_keys_match(enum scram_hash hash, struct str password, const struct scram_keys *keys)
{
    unsigned char stored_key[32], server_key[32];
    struct str salt = {(const char *)keys->salt, sizeof keys->salt};
    if (scram_derive(hash, password, salt, keys->iterations, stored_key, server_key, NULL) < 0) return false;
    bool match = CRYPTO_memcmp(stored_key, keys->stored_key, scram_hashes[hash].size) == 0;
    OPENSSL_cleanse(stored_key, sizeof stored_key);
    OPENSSL_cleanse(server_key, sizeof server_key);
    return match;
}
