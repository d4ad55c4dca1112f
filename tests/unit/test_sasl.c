/* SASL: every mechanism against gsasl's own client, unknown users, channel binding, and everything a client can say wrong. */
#include "unit.h"
#include "base/hash.h"
#include "xmpp/sasl.h"
#include <gsasl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct scram_keys juliet[SCRAM_HASHES];
static char secret_path[64];
static Gsasl *client_library;

struct login { /* what the client does, and what came of it */
    const char *mechanism, *user, *password, *authzid;
    struct sasl_binding binding; /* the server's */
    const char *client_exporter; /* base64; NULL: none */
    bool no_initial;
    enum sasl_next next;
    char condition[64], reason[64];
    char challenge[512]; /* the first with content */
    bool client_satisfied;
};

static struct sasl_context context_of(const struct login *l)
{
    return (struct sasl_context){.domain = STR("capulet.lit"), .tls = true, .binding = l->binding};
}

/* The caller's part in the exchange: the account store and the pool. */
static enum sasl_next server_settle(struct sasl *s, enum sasl_next next)
{
    if (next == SASL_ACCOUNT) {
        assert_true(jid_present(sasl_user(s)));
        bool exists = str_is(sasl_user(s)->bare, "juliet@capulet.lit");
        next = sasl_account(s, exists, exists ? juliet : NULL);
    }
    if (next == SASL_WORK) {
        sasl_work(s);
        next = sasl_worked(s);
    }
    return next;
}

static void run(struct login *l)
{
    Gsasl_session *client;
    struct sasl_context context = context_of(l);
    struct sasl *s = sasl_new(str_of(l->mechanism), &context);
    assert_non_null(s);
    assert_int_equal(gsasl_client_start(client_library, l->mechanism, &client), GSASL_OK);
    assert_int_equal(gsasl_property_set(client, GSASL_AUTHID, l->user), GSASL_OK);
    assert_int_equal(gsasl_property_set(client, GSASL_PASSWORD, l->password), GSASL_OK);
    if (l->authzid) assert_int_equal(gsasl_property_set(client, GSASL_AUTHZID, l->authzid), GSASL_OK);
    if (l->client_exporter) assert_int_equal(gsasl_property_set(client, GSASL_CB_TLS_EXPORTER, l->client_exporter), GSASL_OK);

    enum sasl_next next = SASL_CHALLENGE;
    if (l->no_initial) {
        next = sasl_input(s, STR(""), true);
        assert_int_equal(next, SASL_CHALLENGE);
        assert_int_equal(sasl_output(s).n, 0);
    }
    bool initial = !l->no_initial;
    char *said = x_strdup("");
    while (next == SASL_CHALLENGE) {
        char *says = NULL;
        int rc = gsasl_step64(client, said, &says);
        assert_true(rc == GSASL_OK || rc == GSASL_NEEDS_MORE);
        free(said);
        next = server_settle(s, sasl_input(s, str_of(says), initial));
        initial = false;
        gsasl_free(says);
        said = str_dup(sasl_output(s));
        if (next == SASL_CHALLENGE) {
            char *text = NULL;
            size_t n;
            assert_int_equal(gsasl_base64_from(said, strlen(said), &text, &n), GSASL_OK);
            snprintf(l->challenge, sizeof l->challenge, "%.*s", (int)n, text);
            gsasl_free(text);
        }
    }
    l->next = next;
    if (next == SASL_FAILED) {
        snprintf(l->condition, sizeof l->condition, "%s", sasl_condition(s));
        snprintf(l->reason, sizeof l->reason, "%s", sasl_reason(s));
    } else {
        assert_int_equal(next, SASL_VERIFIED);
        assert_true(str_is(sasl_user(s)->bare, "juliet@capulet.lit"));
        l->client_satisfied = true;
        if (strcmp(l->mechanism, "PLAIN") != 0) { /* the client checks the server's signature */
            char *says = NULL;
            l->client_satisfied = gsasl_step64(client, said, &says) == GSASL_OK;
            gsasl_free(says);
        }
    }
    free(said);
    gsasl_finish(client);
    sasl_free(s);
}

static const char *const plain_mechanisms[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"};

static void test_right_password(void **state)
{
    UNIT_UNUSED(state);
    for (int i = 0; i < 6; i++) {
        struct login l = {.mechanism = plain_mechanisms[i % 3], .user = "juliet", .password = "R0m30 mine", .no_initial = i >= 3};
        run(&l);
        assert_int_equal(l.next, SASL_VERIFIED);
        assert_true(l.client_satisfied);
        struct login upper = {.mechanism = plain_mechanisms[i % 3], .user = "Juliet", .password = "R0m30 mine", .authzid = "juliet@capulet.lit"};
        run(&upper);
        assert_int_equal(upper.next, SASL_VERIFIED);
    }
}

static void test_wrong_password(void **state)
{
    UNIT_UNUSED(state);
    for (int i = 0; i < 3; i++) {
        struct login l = {.mechanism = plain_mechanisms[i], .user = "juliet", .password = "tybalt"};
        run(&l);
        assert_int_equal(l.next, SASL_FAILED);
        assert_string_equal(l.condition, "not-authorized");
        assert_string_equal(l.reason, "wrong password");
    }
}

static void test_authzid(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[] = {"romeo@capulet.lit", "juliet@montague.lit", "juliet@capulet.lit/balcony", "@", "juliet"};
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < sizeof bad / sizeof bad[0]; j++) {
            struct login l = {.mechanism = plain_mechanisms[i], .user = "juliet", .password = "R0m30 mine", .authzid = bad[j]};
            run(&l);
            assert_int_equal(l.next, SASL_FAILED);
            assert_string_equal(l.condition, "invalid-authzid");
        }
}

/* "r=...,s=SALT,i=N" -> "s=SALT,i=N" */
static const char *salt_of(const char *challenge)
{
    const char *p = strstr(challenge, ",s=");
    assert_non_null(p);
    return p;
}

static void test_unknown_user(void **state)
{
    UNIT_UNUSED(state);
    char first[512] = "";
    for (int i = 0; i < 3; i++) {
        struct login l = {.mechanism = "SCRAM-SHA-256", .user = "tybalt", .password = "x"};
        run(&l);
        assert_string_equal(l.condition, "not-authorized");
        assert_string_equal(l.reason, "no such account");
        if (i == 0) snprintf(first, sizeof first, "%s", salt_of(l.challenge));
        assert_string_equal(salt_of(l.challenge), first);
        if (i == 1) { /* after a restart, too */
            struct err err;
            sasl_stop();
            assert_int_equal(sasl_start(secret_path, &err), 0);
        }
    }
    struct login other = {.mechanism = "SCRAM-SHA-256", .user = "mercutio", .password = "x"};
    run(&other);
    assert_string_not_equal(salt_of(other.challenge), first);
    struct login sha1 = {.mechanism = "SCRAM-SHA-1", .user = "tybalt", .password = "x"};
    run(&sha1);
    assert_string_not_equal(salt_of(sha1.challenge), first);
    struct login real = {.mechanism = "SCRAM-SHA-256", .user = "juliet", .password = "x"};
    run(&real);
    assert_int_equal(strlen(salt_of(real.challenge)), strlen(first)); /* told apart neither by salt length nor by iterations */
    struct login plain = {.mechanism = "PLAIN", .user = "tybalt", .password = "x"};
    run(&plain);
    assert_string_equal(plain.condition, "not-authorized");
    /* Names that no JID can have go the same way. */
    struct login odd = {.mechanism = "SCRAM-SHA-256", .user = "a@b", .password = "x"};
    run(&odd);
    assert_string_equal(odd.condition, "not-authorized");
    assert_int_equal(strlen(salt_of(odd.challenge)), strlen(first));
    struct login slash = {.mechanism = "PLAIN", .user = "juliet@capulet.lit/", .password = "R0m30 mine"};
    run(&slash);
    assert_string_equal(slash.condition, "not-authorized");
}

static void test_account_without_keys(void **state)
{
    UNIT_UNUSED(state);
    struct scram_keys kept = juliet[SCRAM_SHA256];
    memset(&juliet[SCRAM_SHA256], 0, sizeof kept);
    struct login l = {.mechanism = "SCRAM-SHA-256", .user = "juliet", .password = "R0m30 mine"};
    run(&l);
    assert_string_equal(l.condition, "not-authorized");
    struct login plain = {.mechanism = "PLAIN", .user = "juliet", .password = "R0m30 mine"};
    run(&plain); /* with the SHA-1 keys */
    assert_int_equal(plain.next, SASL_VERIFIED);
    juliet[SCRAM_SHA256] = kept;
}

static void test_channel_binding(void **state)
{
    UNIT_UNUSED(state);
    struct sasl_binding binding = {.type = "tls-exporter", .n = 32};
    memset(binding.data, 'k', 32);
    char *right, *wrong;
    assert_int_equal(gsasl_base64_to((const char *)binding.data, 32, &right, NULL), GSASL_OK);
    assert_int_equal(gsasl_base64_to("kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkK", 32, &wrong, NULL), GSASL_OK);
    static const char *const plus[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"};
    for (int i = 0; i < 2; i++) {
        struct login l = {.mechanism = plus[i], .user = "juliet", .password = "R0m30 mine", .binding = binding, .client_exporter = right};
        run(&l);
        assert_int_equal(l.next, SASL_VERIFIED);
        assert_true(l.client_satisfied);
        struct login mitm = {.mechanism = plus[i], .user = "juliet", .password = "R0m30 mine", .binding = binding, .client_exporter = wrong};
        run(&mitm);
        assert_string_equal(mitm.condition, "not-authorized");
    }
    /* The client could have, and was told the server cannot: somebody removed -PLUS from the list. (gsasl's client refuses to say that itself.) */
    struct login stripped = {.binding = binding};
    struct sasl_context context = context_of(&stripped);
    struct sasl *s = sasl_new(STR("SCRAM-SHA-256"), &context);
    char *text;
    assert_int_equal(gsasl_base64_to("y,,n=juliet,r=abc", 17, &text, NULL), GSASL_OK);
    assert_int_equal(sasl_input(s, str_of(text), true), SASL_FAILED);
    assert_string_equal(sasl_condition(s), "not-authorized");
    assert_string_equal(sasl_reason(s), "channel binding refused");
    sasl_free(s);
    context.binding.type = NULL; /* whereas here it is true */
    s = sasl_new(STR("SCRAM-SHA-256"), &context);
    assert_int_equal(sasl_input(s, str_of(text), true), SASL_ACCOUNT);
    sasl_free(s);
    gsasl_free(text);
    gsasl_free(right);
    gsasl_free(wrong);
}

static void test_offered(void **state)
{
    UNIT_UNUSED(state);
    struct sasl_context context = {.domain = STR("capulet.lit"), .tls = true};
    struct buf b = {0};
    sasl_write_mechanisms(&b, &context);
    assert_string_equal(buf_cstr(&b), "<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>");
    buf_reset(&b);
    context.tls = false;
    sasl_write_mechanisms(&b, &context);
    assert_string_equal(buf_cstr(&b), "<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>");
    assert_null(sasl_new(STR("PLAIN"), &context));
    static const char *const never[] = {"ANONYMOUS", "CRAM-MD5", "EXTERNAL", "LOGIN", "", "SCRAM-SHA-256-PLUS", "scram-sha-1"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) assert_null(sasl_new(str_of(never[i]), &context));
    buf_free(&b);
}

/* First messages that get no further. raw: encoded here; else text is sent as it is. */
static void test_malformed(void **state)
{
    UNIT_UNUSED(state);
#define RAW(text) .raw = "" text, .n = sizeof(text) - 1
    static const struct {
        const char *mechanism, *raw, *text, *condition;
        size_t n;
    } rows[] = {
        {.mechanism = "SCRAM-SHA-256", .text = "=", .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", .text = "n,,n=juliet", .condition = "incorrect-encoding"},
        {.mechanism = "SCRAM-SHA-256", .text = "biwsb j0", .condition = "incorrect-encoding"},
        {.mechanism = "SCRAM-SHA-256", .text = "abc", .condition = "incorrect-encoding"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=juliet"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,m=x,n=juliet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=ju=41liet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=juliet=2,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,x=y,n=juliet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("q,,n=juliet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=jul\0iet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("n,,n=jul\xFFiet,r=abc"), .condition = "malformed-request"},
        {.mechanism = "SCRAM-SHA-256", RAW("p=tls-unique,,n=juliet,r=abc"), .condition = "not-authorized"},
        {.mechanism = "PLAIN", RAW("juliet"), .condition = "malformed-request"},
        {.mechanism = "PLAIN", RAW("\0juliet"), .condition = "malformed-request"},
        {.mechanism = "PLAIN", RAW("\0juliet\0"), .condition = "malformed-request"},
        {.mechanism = "PLAIN", RAW("\0\0secret"), .condition = "malformed-request"},
        {.mechanism = "PLAIN", RAW("\0juliet\0sec\0ret"), .condition = "malformed-request"},
        {.mechanism = "PLAIN", RAW("\0juliet\0sec\xFFret"), .condition = "not-authorized"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct login l = {0};
        struct sasl_context context = context_of(&l);
        struct sasl *s = sasl_new(str_of(rows[i].mechanism), &context);
        char *text = rows[i].text ? x_strdup(rows[i].text) : NULL;
        if (!text) assert_int_equal(gsasl_base64_to(rows[i].raw, rows[i].n, &text, NULL), GSASL_OK);
        enum sasl_next next = server_settle(s, sasl_input(s, str_of(text), true));
        if (next != SASL_FAILED || strcmp(sasl_condition(s), rows[i].condition) != 0)
            fail_msg("row %zu (%s): %s", i, rows[i].raw ? rows[i].raw : rows[i].text, next == SASL_FAILED ? sasl_condition(s) : "no failure");
        assert_int_equal(sasl_input(s, STR("biws"), false), SASL_FAILED); /* over is over */
        free(text);
        sasl_free(s);
    }
}

/* A final message that is not the one of this exchange. */
static void test_final(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *final, *condition;
    } rows[] = {
        {"", "malformed-request"},
        {"c=biws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "not-authorized"},
        {"c=biws", "malformed-request"},
        {"n,,n=juliet,r=abc", "malformed-request"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct login l = {0};
        struct sasl_context context = context_of(&l);
        struct sasl *s = sasl_new(STR("SCRAM-SHA-256"), &context);
        char *text;
        assert_int_equal(gsasl_base64_to("n,,n=juliet,r=abc", 17, &text, NULL), GSASL_OK);
        assert_int_equal(server_settle(s, sasl_input(s, str_of(text), true)), SASL_CHALLENGE);
        gsasl_free(text);
        assert_int_equal(gsasl_base64_to(rows[i].final, strlen(rows[i].final), &text, NULL), GSASL_OK);
        assert_int_equal(sasl_input(s, str_of(text), false), SASL_FAILED);
        assert_string_equal(sasl_condition(s), rows[i].condition);
        gsasl_free(text);
        sasl_free(s);
    }
}

static void test_log_text(void **state)
{
    UNIT_UNUSED(state);
    struct login l = {0};
    struct sasl_context context = context_of(&l);
    struct sasl *s = sasl_new(STR("PLAIN"), &context);
    char *text;
    static const char message[] = "\0a' from 10.0.0.1\n\0x";
    assert_int_equal(gsasl_base64_to(message, sizeof message - 1, &text, NULL), GSASL_OK);
    server_settle(s, sasl_input(s, str_of(text), true));
    assert_string_equal(sasl_user_text(s), "a??from?10.0.0.1?@capulet.lit");
    gsasl_free(text);
    sasl_free(s);
}

static void test_secret_file(void **state)
{
    UNIT_UNUSED(state);
    struct stat st;
    struct err err;
    assert_int_equal(stat(secret_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(sasl_start("/nonexistent/directory/secret", &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static int setup(void **state)
{
    UNIT_UNUSED(state);
    struct err err;
    snprintf(secret_path, sizeof secret_path, "/tmp/signet-test-sasl-%ld", (long)getpid());
    unlink(secret_path);
    for (int hash = 0; hash < SCRAM_HASHES; hash++)
        if (scram_keys_make((enum scram_hash)hash, STR("R0m30 mine"), SCRAM_ITERATIONS, &juliet[hash], &err) < 0) return -1;
    if (sasl_start(secret_path, &err) < 0) return -1;
    return gsasl_init(&client_library) == GSASL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    UNIT_UNUSED(state);
    sasl_stop();
    gsasl_done(client_library);
    unlink(secret_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_password),
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_authzid),
        cmocka_unit_test(test_unknown_user),
        cmocka_unit_test(test_account_without_keys),
        cmocka_unit_test(test_channel_binding),
        cmocka_unit_test(test_offered),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_final),
        cmocka_unit_test(test_log_text),
        cmocka_unit_test(test_secret_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
