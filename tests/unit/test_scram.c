/* SCRAM keys against the examples of RFC 5802 and RFC 7677, and preparation of passwords. */
#include "unit.h"
#include "xmpp/scram.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

struct example { /* a whole exchange of an RFC; password "pencil" */
    enum scram_hash hash;
    const char *salt, *auth_message, *proof, *verifier;
};
static const struct example examples[] = {
    {SCRAM_SHA1, "QSXCR+Q6sek8bf92",
     "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
     "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {SCRAM_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==",
     "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static size_t decode(const char *text, unsigned char *out)
{
    int n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)strlen(text));
    assert_true(n > 0);
    for (const char *p = text + strlen(text); p > text && p[-1] == '='; p--) n--;
    return (size_t)n;
}

static void test_rfc_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *x = &examples[i];
        const EVP_MD *md = x->hash == SCRAM_SHA1 ? EVP_sha1() : EVP_sha256();
        size_t size = scram_hash_size(x->hash);
        unsigned char salt[64], proof[64], verifier[64], stored[32], server[32], signature[32], client[32], hashed[32];
        struct str salt_str = {(const char *)salt, decode(x->salt, salt)};
        assert_int_equal(decode(x->proof, proof), size);
        assert_int_equal(decode(x->verifier, verifier), size);
        struct err err;
        assert_int_equal(scram_derive(x->hash, STR("pencil"), salt_str, 4096, stored, server, &err), 0);

        HMAC(md, server, (int)size, (const unsigned char *)x->auth_message, strlen(x->auth_message), signature, NULL);
        assert_memory_equal(signature, verifier, size);
        HMAC(md, stored, (int)size, (const unsigned char *)x->auth_message, strlen(x->auth_message), signature, NULL);
        for (size_t j = 0; j < size; j++) client[j] = (unsigned char)(proof[j] ^ signature[j]);
        EVP_Digest(client, size, hashed, NULL, md, NULL);
        assert_memory_equal(hashed, stored, size);
    }
}

static void test_make_and_match(void **state)
{
    (void)state;
    struct err err;
    for (int hash = 0; hash < SCRAM_HASHES; hash++) {
        struct scram_keys a, b;
        assert_int_equal(scram_keys_make((enum scram_hash)hash, STR("pencil"), 100, &a, &err), 0);
        assert_int_equal(scram_keys_make((enum scram_hash)hash, STR("pencil"), 100, &b, &err), 0);
        assert_memory_not_equal(a.salt, b.salt, sizeof a.salt);
        assert_memory_not_equal(a.stored_key, b.stored_key, scram_hash_size((enum scram_hash)hash));
        assert_true(scram_keys_match((enum scram_hash)hash, STR("pencil"), &a));
        assert_false(scram_keys_match((enum scram_hash)hash, STR("pencil "), &a));
        assert_false(scram_keys_match((enum scram_hash)hash, STR(""), &a));
        a.iterations = 0;
        assert_false(scram_keys_match((enum scram_hash)hash, STR("pencil"), &a));
    }
}

static void test_preparation(void **state)
{
    (void)state;
    struct err err;
    struct scram_keys keys;
    char long_one[1100];
    memset(long_one, 'x', sizeof long_one);
    /* RFC 4013, 3: a soft hyphen is mapped to nothing, a no-break space to a space, U+2168 (roman nine) to "IX". */
    assert_int_equal(scram_keys_make(SCRAM_SHA256, STR("I\xC2\xADX"), 10, &keys, &err), 0);
    assert_true(scram_keys_match(SCRAM_SHA256, STR("IX"), &keys));
    assert_true(scram_keys_match(SCRAM_SHA256, STR("\xE2\x85\xA8"), &keys));
    assert_int_equal(scram_keys_make(SCRAM_SHA256, STR("p\xC3\xA4ss w\xC3\xB6rt"), 10, &keys, &err), 0);
    assert_true(scram_keys_match(SCRAM_SHA256, STR("pa\xCC\x88ss\xC2\xA0w\xC3\xB6rt"), &keys));

    static const struct str bad[] = {{"", 0},
                                     {"a\0b", 3},
                                     {"a\nb", 3},
                                     {"\xC2\xAD", 2},
                                     {"\xFF\xFE", 2},
                                     {"\xD8\xA7"
                                      "1",
                                      3}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(scram_keys_make(SCRAM_SHA256, bad[i], 10, &keys, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    assert_int_equal(scram_keys_make(SCRAM_SHA256, (struct str){long_one, sizeof long_one}, 10, &keys, &err), -1);
    assert_int_equal(scram_keys_make(SCRAM_SHA256, STR("pencil"), 0, &keys, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_make_and_match),
        cmocka_unit_test(test_preparation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
