/* The client's side of SASL: SCRAM-SHA-256, SCRAM-SHA-1 (RFC 5802, RFC 7677) and PLAIN (RFC 4616). Channel binding is not used. */
#ifndef SIGNET_BENCH_LOGIN_H
#define SIGNET_BENCH_LOGIN_H
#include "base/buf.h"
#include "base/err.h"

enum mechanism { MECHANISM_ANY, MECHANISM_PLAIN, MECHANISM_SCRAM_SHA_1, MECHANISM_SCRAM_SHA_256, MECHANISMS };
extern const char *const mechanism_names[MECHANISMS];
struct login {
    enum mechanism mechanism;
    char nonce[25];
    char *first_bare;
};
/* Appends the initial response in base64. user and password: printable ASCII. */
void login_begin(struct login *l, enum mechanism mechanism, const char *user, const char *password, struct buf *out);
/* challenge: base64, as it came. Appends the response in base64. */
must_check int login_challenge(struct login *l, const char *password, struct str challenge, struct buf *out, struct err *err);
void login_end(struct login *l);

#endif
