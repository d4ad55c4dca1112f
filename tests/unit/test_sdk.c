/* libsignet: what its functions refuse, and who owns what: an event may outlive its link and its server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/evp.h>
#include "signet/compliance.h"

#define NAME "op-unit.node1-example-com"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct signet_event *kept; /* by on_event, for the test to answer */
static bool gone;

static void on_event(struct signet_event *e, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&mutex);
    kept = e;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

static void on_link(enum signet_link_state state, const char *component, const char *peer, const char *why, void *arg)
{
    (void)component, (void)peer, (void)why, (void)arg;
    pthread_mutex_lock(&mutex);
    if (state == SIGNET_LINK_GONE) gone = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

static void expect(int fd, char *out, size_t size, const char *part)
{
    size_t n = 0;
    out[0] = '\0';
    while (strstr(out, part) == NULL) {
        ssize_t got = recv(fd, out + n, size - 1 - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
        out[n] = '\0';
    }
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* A node's side of a link, up to <handshake/>. */
static int node_dial(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char in[1000], secret[100], handshake[100], hex[41] = "";
    unsigned char digest[EVP_MAX_MD_SIZE];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    say(fd, "<stream:stream xmlns='jabber:component:connect' xmlns:stream='http://etherx.jabber.org/streams' from='" NAME "'>");
    expect(fd, in, sizeof(in), " id='");
    const char *id = strstr(in, " id='") + 5;
    snprintf(secret, sizeof(secret), "%.32ssecret", id);
    assert_int_equal(EVP_Digest(secret, strlen(secret), digest, NULL, EVP_sha1(), NULL), 1);
    for (int i = 0; i < 20; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(handshake, sizeof(handshake), "<handshake>%s</handshake>", hex);
    say(fd, handshake);
    expect(fd, in, sizeof(in), "<handshake/>");
    return fd;
}

static void ask(int fd)
{
    say(fd, "<iq type='set' id='e1' from='b.example.com' to='" NAME "'><event xmlns='urn:signet:event-broker:0' name='es_OUT' id='n-1-1'>"
            "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' to='a@b'><body>hello</body></message></forwarded></event></iq>");
    pthread_mutex_lock(&mutex);
    while (kept == NULL) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static struct signet_server *server_start(void)
{
    struct signet_server *s = signet_new();
    kept = NULL;
    gone = false;
    assert_int_equal(signet_on_event(s, NULL, on_event, NULL), 0);
    signet_on_link(s, on_link, NULL);
    assert_int_equal(signet_component(s, NAME, "secret"), 0);
    assert_int_equal(signet_listen(s, "127.0.0.1:0", NULL), 0);
    assert_int_equal(signet_start(s), 0);
    return s;
}

static void test_event_outlives_its_server(void **state)
{
    (void)state;
    struct signet_server *s = server_start();
    int fd = node_dial(signet_port(s, 0));
    ask(fd);
    signet_free(s);
    assert_string_equal(kept->body, "hello");
    assert_null(kept->from);
    assert_int_equal(signet_pass_stanza(kept, signet_stanza_xml(kept)), SIGNET_GONE);
    close(fd);
}

static void test_event_outlives_its_link(void **state)
{
    (void)state;
    struct signet_server *s = server_start();
    int fd = node_dial(signet_port(s, 0));
    ask(fd);
    close(fd);
    pthread_mutex_lock(&mutex);
    while (!gone) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    assert_int_equal(signet_pass(kept), SIGNET_GONE);
    assert_int_equal(signet_stop(s, 1000), 0);
    assert_int_equal(signet_stop(s, 1000), -1);
    signet_free(s);
}

static void test_immediate_stop_does_not_wait_for_answers(void **state)
{
    (void)state;
    struct signet_server *s = server_start();
    int fd = node_dial(signet_port(s, 0));
    char rest[10];
    ask(fd);
    assert_int_equal(signet_stop(s, 0), 0);
    assert_true(recv(fd, rest, sizeof(rest), 0) <= 0); /* no </stream:stream>: the node takes it for a crash */
    assert_int_equal(signet_refuse(kept, "policy-violation", NULL), SIGNET_GONE);
    signet_free(s);
    close(fd);
}

static void refused(struct signet_server *s, int rc, const char *part)
{
    assert_int_equal(rc, -1);
    if (strstr(signet_error(s), part) == NULL) fail_msg("'%s' does not say '%s'", signet_error(s), part);
}

static void test_mistakes_are_explained(void **state)
{
    (void)state;
    struct signet_server *s = signet_new();
    refused(s, signet_start(s), "neither signet_listen() nor signet_dial()");
    refused(s, signet_on_event(s, "onBeforesend", on_event, NULL), "did you mean onBeforeSend?");
    refused(s, signet_on_event(s, "frob", on_event, NULL), "no event 'frob'");
    refused(s, signet_on_event(s, NULL, NULL, NULL), "NULL");
    refused(s, signet_component(s, "two words", "x"), "component name");
    refused(s, signet_component(s, NAME, ""), "password");
    refused(s, signet_dial(s, "127.0.0.1:1", NAME, NULL), "signet_component()");
    assert_int_equal(signet_component(s, NAME, "x"), 0);
    refused(s, signet_component(s, NAME, "x"), "already");
    static const char *const bad[] = {"", "host", "host:", "host:port", "1:2:3", "host:70000", ":5", "host:0", NULL};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) refused(s, signet_dial(s, bad[i], NAME, NULL), "'");
    refused(s, signet_listen(s, "127.0.0.1:0", &(struct signet_tls){0}), "certificate_file");
    refused(s, signet_listen(s, "127.0.0.1:0", &(struct signet_tls){.certificate_file = "/nonexistent", .key_file = "/nonexistent"}), "/nonexistent");
    refused(s, signet_set_limit(s, SIGNET_LIMIT_EVENTS, 0), "between");
    refused(s, signet_set_limit(s, (enum signet_limit)99, 1), "limit number");
    refused(s, signet_stop(s, 0), "not running");
    assert_int_equal(signet_listen(s, "[::1]:0", NULL) == 0 || strstr(signet_error(s), "::1") != NULL, 1); /* a machine may have no IPv6 */
    assert_int_equal(signet_listen(s, ":0", NULL), 0);
    assert_int_equal(signet_start(s), 0);
    refused(s, signet_start(s), "started already");
    refused(s, signet_component(s, "other", "x"), "started already");
    assert_int_equal(signet_port(s, 7), 0);
    signet_free(s);
    signet_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_outlives_its_server),
        cmocka_unit_test(test_event_outlives_its_link),
        cmocka_unit_test(test_immediate_stop_does_not_wait_for_answers),
        cmocka_unit_test(test_mistakes_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
