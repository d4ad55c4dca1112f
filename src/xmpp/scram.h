/* SCRAM keys (RFC 5802, RFC 7677): what is stored instead of a password. */
#ifndef SIGNET_XMPP_SCRAM_H
#define SIGNET_XMPP_SCRAM_H
#include "base/buf.h"
#include "base/err.h"

enum scram_hash { SCRAM_SHA1, SCRAM_SHA256, SCRAM_HASHES };
#define SCRAM_ITERATIONS 10000
struct scram_keys {
    unsigned iterations; /* 0: none stored */
    unsigned char salt[16];
    unsigned char stored_key[32], server_key[32]; /* 20 bytes used for SHA-1 */
};
/* Derives keys with a fresh random salt. password: UTF-8, prepared with SASLprep here; an unpreparable one is an error. Takes milliseconds of CPU:
 * never on a worker. */
must_check int scram_keys_make(enum scram_hash hash, struct str password, unsigned iterations, struct scram_keys *out, struct err *err);
/* Does the password match? Same cost. Constant-time comparison. */
bool scram_keys_match(enum scram_hash hash, struct str password, const struct scram_keys *keys);
size_t scram_hash_size(enum scram_hash hash);
/* The derivation itself, for a salt of any length: SHA(HMAC(salted, "Client Key")) and HMAC(salted, "Server Key"). Same cost. */
must_check int scram_derive(enum scram_hash hash, struct str password, struct str salt, unsigned iterations, unsigned char stored_key[32],
                            unsigned char server_key[32], struct err *err);

#endif
