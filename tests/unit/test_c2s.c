/* Client streams end to end: negotiation, login, stream errors, the hand-over, slow readers, sudden ends. */
#include "c2s_fixture.h"

static void test_login_and_echo(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int moved = seen_moved, closed = seen_closed, graceful = seen_graceful;
    client_open(&c, plain_port);
    client_send(&c, "<?xml version='1.0'?><stream:stream from='Juliet@" DOMAIN "' to='CAPULET.lit' xmlns='jabber:client' xmlns:stream='" NS_STREAMS
                    "' version='1.0' xml:lang='it'>");
    const char *header = client_expect(&c, "<stream:features>");
    assert_non_null(strstr(header, "from='" DOMAIN "'"));
    assert_non_null(strstr(header, "to='juliet@" DOMAIN "'"));
    assert_non_null(strstr(header, " id='"));
    assert_non_null(strstr(header, "version='1.0'"));
    assert_non_null(strstr(header, "xml:lang='en'"));
    client_expect(&c, "<starttls xmlns='" NS_TLS "'><required/></starttls></stream:features>");
    client_send(&c, "<starttls xmlns='" NS_TLS "'/>\n");
    client_expect(&c, "<proceed xmlns='" NS_TLS "'/>");
    client_handshake(&c, 0);
    client_send(&c, HEADER);
    client_expect(&c, "<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>"
                      "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>");
    client_expect(&c, "<channel-binding type='tls-exporter'/></sasl-channel-binding></stream:features>");
    assert_true(client_login(&c, "SCRAM-SHA-256", "juliet", PASSWORD, NULL));
    assert_int_equal(seen_moved, moved + 1);
    client_bind(&c);
    client_send(&c, " \n");
    client_send(&c, "<message to='romeo@" DOMAIN "' id='1'><body>Art thou not Romeo?</body></message>");
    client_expect(&c, "<body>Art thou not Romeo?</body></message>");
    client_send(&c, "</stream:stream>");
    client_expect(&c, "</stream:stream>");
    client_expect_end(&c);
    wait_for(&seen_closed, closed + 1);
    assert_int_equal(seen_graceful, graceful + 1);
    client_close(&c);
}

static void test_direct_tls(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *mechanism;
        int version;
    } rows[] = {{"PLAIN", 0}, {"SCRAM-SHA-1", 0}, {"SCRAM-SHA-256-PLUS", 0}, {"SCRAM-SHA-1-PLUS", TLS1_2_VERSION}, {"PLAIN", TLS1_2_VERSION}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client c;
        client_open(&c, tls_port);
        client_handshake(&c, rows[i].version);
        const unsigned char *alpn;
        unsigned n;
        SSL_get0_alpn_selected(c.ssl, &alpn, &n);
        assert_int_equal(n, 11);
        client_send(&c, HEADER);
        assert_null(strstr(client_expect(&c, "</mechanisms>"), "starttls"));
        client_expect(&c, rows[i].version ? "tls-unique" : "tls-exporter");
        client_expect(&c, "</stream:features>");
        assert_true(client_login(&c, rows[i].mechanism, "juliet", PASSWORD, NULL));
        client_bind(&c);
        client_close(&c); /* and gone without a word */
    }
}

static void test_failed_logins(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_false(client_login(&c, "SCRAM-SHA-256", "juliet", "tybalt", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_false(client_login(&c, "PLAIN", "juliet", "tybalt", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_false(client_login(&c, "SCRAM-SHA-1", "nobody", PASSWORD, NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_true(client_login(&c, "SCRAM-SHA-1", "juliet", PASSWORD, NULL));
    client_bind(&c);
    client_close(&c);

    client_ready(&c);
    static const struct {
        const char *text, *condition;
    } rows[] = {
        {"<auth xmlns='" NS_SASL "' mechanism='CRAM-MD5'/>", "invalid-mechanism"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>!</auth>", "incorrect-encoding"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>cm9tZW9AY2FwdWxldC5saXQAanVsaWV0AHg=</auth>", "invalid-authzid"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGZhdWx0AHg=</auth>", "temporary-auth-failure"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "<failure xmlns='%s'><%s/></failure>", NS_SASL, rows[i].condition);
        client_send(&c, rows[i].text);
        client_expect(&c, text);
    }
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'/>");
    client_expect(&c, "<challenge xmlns='" NS_SASL "'/>");
    client_send(&c, "<abort xmlns='" NS_SASL "'/>");
    client_expect(&c, "<aborted/></failure>"); /* the fifth */
    client_expect_error(&c, "policy-violation");
    client_close(&c);
}

/* Credentials fine, but the layer above says no: back to where it was, on the other worker. */
static void test_refused_above(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_false(client_login(&c, "SCRAM-SHA-256", "tybalt", PASSWORD, NULL));
    client_expect(&c, "><temporary-auth-failure/></failure>");
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_bind(&c);
    client_close(&c);
}

/* RFC 6120, 6.5.2: told only to who knows the password, whichever way he proves it. */
static void test_account_disabled(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int auth = seen_auth;
    client_ready(&c);
    assert_false(client_login(&c, "SCRAM-SHA-256", "paris", "wrong", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_false(client_login(&c, "SCRAM-SHA-256", "paris", PASSWORD, NULL));
    client_expect(&c, "><account-disabled/></failure>");
    assert_false(client_login(&c, "PLAIN", "paris", PASSWORD, NULL));
    client_expect(&c, "><account-disabled/></failure>");
    assert_int_equal(seen_auth, auth);
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_bind(&c);
    client_close(&c);
}

static void test_injected_plain_text(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int64_t errors = metric_read(METRIC_C2S_STREAM_ERRORS);
    client_open(&c, plain_port);
    client_send(&c, HEADER);
    client_expect(&c, "</stream:features>");
    client_send(&c, "<starttls xmlns='" NS_TLS "'/><stream:stream to='" DOMAIN "'>");
    client_expect(&c, "<failure xmlns='" NS_TLS "'/></stream:stream>");
    client_expect_end(&c);
    client_close(&c);
    assert_int_equal(metric_read(METRIC_C2S_STREAM_ERRORS), errors + 1);
}

#define ROOT(attributes) "<stream:stream xmlns:stream='" NS_STREAMS "' " attributes ">"
static const struct {
    const char *text, *condition;
} stream_errors[] = {
    {"<stream:stream to='" DOMAIN "' version='1.0' xmlns='jabber:client' xmlns:stream='urn:example:streams'>", "invalid-namespace"},
    {ROOT("to='" DOMAIN "' version='1.0' xmlns='jabber:server'"), "invalid-namespace"},
    {ROOT("to='" DOMAIN "' version='1.0'"), "invalid-namespace"},
    {"<s:river to='" DOMAIN "' version='1.0' xmlns='jabber:client' xmlns:s='" NS_STREAMS "'>", "bad-format"},
    {ROOT("to='montague.lit' version='1.0' xmlns='jabber:client'"), "host-unknown"},
    {ROOT("to='juliet@" DOMAIN "' version='1.0' xmlns='jabber:client'"), "improper-addressing"},
    {ROOT("version='1.0' xmlns='jabber:client'"), "improper-addressing"},
    {ROOT("to='" DOMAIN "' xmlns='jabber:client'"), "unsupported-version"},
    {ROOT("to='" DOMAIN "' version='0.9' xmlns='jabber:client'"), "unsupported-version"},
    {ROOT("to='" DOMAIN "' version='one' xmlns='jabber:client'"), "unsupported-version"},
    {"GET / HTTP/1.1\r\n\r\n", "not-well-formed"},
    {"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "restricted-xml"},
    {HEADER "<!-- hm -->", "restricted-xml"},
    {HEADER "<a></b>", "not-well-formed"},
    {HEADER "<a:b/>", "bad-namespace-prefix"},
    {HEADER "<message to='romeo@" DOMAIN "'/>", "not-authorized"},
    {HEADER "<iq type='set' id='1' to='romeo@" DOMAIN "'><bind xmlns='" NS_BIND "'/></iq>", "not-authorized"},
    {HEADER "<enable xmlns='urn:example:sm'/>", "unsupported-stanza-type"},
    {HEADER "<response xmlns='" NS_SASL "'/>", "unsupported-stanza-type"},
};

static void test_stream_errors(void **state)
{
    UNIT_UNUSED(state);
    for (size_t i = 0; i < sizeof stream_errors / sizeof stream_errors[0]; i++) {
        struct client c;
        client_open(&c, plain_port);
        client_send(&c, stream_errors[i].text);
        const char *header = client_expect(&c, "version='1.0' xml:lang='en'>"); /* our header, always, before the error */
        assert_non_null(strstr(header, "from='" DOMAIN "'"));
        client_expect_error(&c, stream_errors[i].condition);
        client_close(&c);
    }
    /* Version 1.x and later: answered with 1.0. */
    struct client c;
    client_open(&c, plain_port);
    client_send(&c, ROOT("to='" DOMAIN "' version='1.7' xmlns='jabber:client'"));
    client_expect(&c, "</stream:features>");
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldAB4</auth>");
    client_expect(&c, "<failure xmlns='" NS_SASL "'><encryption-required/></failure>");
    client_send(&c, "</stream:stream>");
    client_expect(&c, "</stream:stream>");
    client_expect_end(&c);
    client_close(&c);
}

/* On a stream that is logged in, before bind and after. */
static void test_stanza_errors(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_send(&c, HEADER);
    client_expect(&c, "</stream:features>");
    client_send(&c, "<iq type='set' id='b0'><bind xmlns='" NS_BIND "'><resource>taken</resource></bind></iq>");
    client_expect(&c, "<conflict");
    client_send(&c, "<message to='romeo@" DOMAIN "'/>");
    client_expect_error(&c, "not-authorized");
    client_close(&c);

    static const struct {
        const char *text, *condition;
    } rows[] = {
        {"<message from='romeo@" DOMAIN "' to='a@b'/>", "invalid-from"},
        {"<message from='juliet@" DOMAIN "/orchard' to='a@b'/>", "invalid-from"},
        {"<note/>", "unsupported-stanza-type"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'/>", "unsupported-stanza-type"},
        {"<message id='kick'/>", "conflict"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wait_alone();
        int closed = seen_closed;
        client_online(&c);
        client_send(&c, "<message from='juliet@" DOMAIN "/balcony' to='a@b' id='1'/><message from='juliet@" DOMAIN "' to='a@b' id='2'/>");
        client_expect(&c, "id='2'");
        client_send(&c, "<message to='@' id='j1'/><iq type='result' to='@' id='j2'/><presence type='nonsense' id='j3'/>");
        const char *reply = client_expect(&c, "<jid-malformed");
        assert_non_null(strstr(reply, "j1"));
        reply = client_expect(&c, "<bad-request");
        assert_null(strstr(reply, "j2"));
        client_send(&c, rows[i].text);
        client_expect(&c, "</presence>");
        if (strstr(rows[i].text, "kick")) client_expect(&c, "/>");
        client_expect_error(&c, rows[i].condition);
        client_close(&c);
        wait_for(&seen_closed, closed + 1);
    }
}

static void test_oversize(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    char *text = x_malloc(40001);
    memset(text, 'x', 40000);
    text[40000] = 0;
    client_ready(&c); /* before login little is taken */
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>");
    client_send_n(&c, text, 17000);
    client_expect_error(&c, "policy-violation");
    client_close(&c);

    client_online(&c); /* c2s.stanza_bytes is 30000 here */
    client_send(&c, "<message id='1'><body>");
    client_send_n(&c, text, 29000);
    client_send(&c, "</body></message>");
    client_expect(&c, "</body></message>");
    client_send(&c, "<message id='2'><body>");
    client_send_n(&c, text, 30000);
    client_expect_error(&c, "policy-violation");
    client_close(&c);
    free(text);
}

static void test_auth_timeout(void **state)
{
    UNIT_UNUSED(state);
    struct client silent, shy, plain, bound;
    client_online(&bound);
    client_open(&silent, plain_port);
    client_open(&shy, tls_port); /* never begins its handshake */
    client_ready(&plain);
    assert_true(client_login(&plain, "PLAIN", "juliet", PASSWORD, NULL)); /* the limit moved along */
    client_expect_error(&silent, "connection-timeout");
    client_expect_end(&shy);
    client_expect_error(&plain, "connection-timeout");
    client_send(&bound, "<message id='still'/>");
    client_expect(&bound, "still");
    client_close(&silent);
    client_close(&shy);
    client_close(&plain);
    client_close(&bound);
}

/* What the client pipelined behind its last SASL message is unread when the connection moves, and comes out in order on the other worker. */
static void test_pipelined_hand_over(void **state)
{
    UNIT_UNUSED(state);
    static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1"};
    for (int i = 0; i < 12; i++) {
        struct client c;
        struct buf b = {0};
        buf_adds(&b, HEADER "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'><resource>orchard</resource></bind></iq>");
        for (int j = 0; j < 50; j++) buf_addf(&b, "<message id='n%d'><body>%0*d</body></message>", j, j * 20 + 1, j);
        client_ready(&c);
        assert_true(client_login(&c, mechanisms[i % 3], "juliet", PASSWORD, buf_cstr(&b)));
        client_expect(&c, "<jid>juliet@" DOMAIN "/orchard</jid>");
        for (int j = 0; j < 50; j++) {
            char id[32];
            snprintf(id, sizeof id, "id='n%d'", j);
            assert_null(strstr(client_expect(&c, id) + 1, "id='n0' "));
            client_expect(&c, "</message>");
        }
        client_close(&c);
        buf_free(&b);
    }
}

static void test_pause(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_online(&c);
    client_send(&c, "<message id='a'/><message id='pause'/><message id='b'/><message id='pause'/><message id='c'/> ");
    client_expect(&c, "id='a'");
    client_expect(&c, "id='b'");
    client_expect(&c, "id='c'");
    assert_int_equal(paused_early, 0);
    client_close(&c);
}

/* A client that sends and does not read: its echoes pile up to c2s.output_bytes, then it is cut off. */
static void test_slow_reader(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int closed = seen_closed;
    struct buf b = {0};
    buf_addf(&b, "<message id='big'><body>%028000d</body></message>", 0);
    client_online(&c);
    client_send_n(&c, b.data, b.len);
    client_expect(&c, "</message>");
    int sent = 0;
    while (sent < 10000 && seen_closed == closed && SSL_write(c.ssl, b.data, (int)b.len) > 0) sent++;
    wait_for(&seen_closed, closed + 1);
    assert_in_range(sent, 1, 9999);
    client_close(&c);

    /* Over the mark, but read in time: on_drain. */
    client_online(&c);
    seen_over = 0;
    seen_drained = 0; /* before: the kernel may take it all at once */
    for (sent = 0; sent < 2000 && seen_over == 0; sent++) {
        client_send_n(&c, b.data, b.len);
        if (sent > 50) usleep(1000);
    }
    assert_true(seen_over > 0);
    for (int i = 0; i < sent; i++) client_expect(&c, "</message>");
    wait_for(&seen_drained, 1);
    client_close(&c);
    buf_free(&b);
}

/* The client goes away at every step of the negotiation; nothing is left behind (the sanitizers and the last test look). */
static void test_sudden_ends(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_open(&c, plain_port);
    client_close(&c);
    client_open(&c, plain_port);
    client_send(&c, HEADER "<starttls xmlns='" NS_TLS "'/>");
    client_close(&c);
    client_open(&c, tls_port);
    client_send(&c, "\x16\x03\x01 this is no handshake");
    client_expect_end(&c);
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldABSMG0zMCBtaW5l</auth>"); /* right; gone before the answer */
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldABSMG0zMCBtaW5l</auth>");
    client_expect(&c, "<success");
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'/>");
    client_close(&c);
    client_ready(&c);
    shutdown(c.fd, SHUT_WR);
    client_expect_end(&c);
    client_close(&c);
}

/* The last one: stops the workers with streams in several states. */
static void test_shutdown(void **state)
{
    UNIT_UNUSED(state);
    struct client fresh, ready, bound;
    client_open(&fresh, plain_port);
    client_send(&fresh, HEADER);
    client_expect(&fresh, "</stream:features>");
    client_ready(&ready);
    client_online(&bound);
    workers_stop(on_stop);
    client_expect_error(&fresh, "system-shutdown");
    client_expect_error(&ready, "system-shutdown");
    client_expect_error(&bound, "system-shutdown");
    client_close(&fresh);
    client_close(&ready);
    client_close(&bound);
    assert_int_equal(metric_read(METRIC_C2S_STREAMS), 0);
}

static int setup(void **state)
{
    UNIT_UNUSED(state);
    static const char *const options[] = {"c2s.auth_timeout=4",  "c2s.channel_binding=true", "c2s.stanza_bytes=30000",
                                          "c2s.login_delay=10", "c2s.rate_bytes=0",         "c2s.rate_stanzas=0",     NULL};
    return c2s_setup(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_and_echo),
        cmocka_unit_test(test_direct_tls),
        cmocka_unit_test(test_failed_logins),
        cmocka_unit_test(test_refused_above),
        cmocka_unit_test(test_account_disabled),
        cmocka_unit_test(test_injected_plain_text),
        cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_stanza_errors),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_auth_timeout),
        cmocka_unit_test(test_pipelined_hand_over),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_sudden_ends),
        cmocka_unit_test(test_shutdown),
    };
    return cmocka_run_group_tests(tests, setup, c2s_teardown);
}
