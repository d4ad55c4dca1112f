/* xmpp/caps: the verification strings of XEP-0115's own examples. */
#include "unit.h"

#include "xmpp/caps.h"

#define N(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

/* XEP-0115, 5.2: features in an order that is not theirs. */
static void test_simple(void **state)
{
    UNIT_UNUSED(state);
    static const struct caps_identity identities[] = {{"client", "pc", NULL, "Exodus 0.9.1"}};
    static const char *const features[] = {"http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#items", "http://jabber.org/protocol/caps",
                                           "http://jabber.org/protocol/disco#info"};
    struct caps_info info = {.identities = identities, .n_identities = N(identities), .features = features, .n_features = N(features)};
    char ver[CAPS_VER_SIZE];
    caps_ver(&info, ver);
    assert_string_equal(ver, "QgayPKawpkPSDYmwT/WM94uAlu0=");
}

/* XEP-0115, 5.3: two identities in two languages, and a form. */
static void test_complex(void **state)
{
    UNIT_UNUSED(state);
    static const struct caps_identity identities[] = {{"client", "pc", "en", "Psi 0.11"}, {"client", "pc", "el", "\xce\xa8 0.11"}};
    static const char *const features[] = {"http://jabber.org/protocol/caps", "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
                                           "http://jabber.org/protocol/muc"};
    static const char *const ip[] = {"ipv6", "ipv4"}, *const os[] = {"Mac"}, *const os_version[] = {"10.5.1"}, *const software[] = {"Psi"}, *const version[] = {"0.11"};
    static const struct caps_field fields[] = {{"ip_version", NULL, ip, 2}, {"os", NULL, os, 1}, {"os_version", NULL, os_version, 1},
                                               {"software", NULL, software, 1}, {"software_version", NULL, version, 1}};
    static const struct caps_form forms[] = {{"urn:xmpp:dataforms:softwareinfo", fields, N(fields)}};
    struct caps_info info = {identities, N(identities), features, N(features), forms, N(forms)};
    char ver[CAPS_VER_SIZE];
    caps_ver(&info, ver);
    assert_string_equal(ver, "q07IKJEyjvHSyhy//CH0CxmKi8w=");
}

static void test_written(void **state)
{
    UNIT_UNUSED(state);
    static const struct caps_identity identities[] = {{"server", "im", "en", "It's"}};
    static const char *const features[] = {"a&b"}, *const values[] = {"mailto:x@example.com", "<y>"};
    static const struct caps_field fields[] = {{"abuse-addresses", "list-multi", values, 2}};
    static const struct caps_form forms[] = {{"http://jabber.org/network/serverinfo", fields, 1}};
    struct caps_info info = {identities, 1, features, 1, forms, 1};
    struct buf b = {0};
    caps_write(&b, &info);
    assert_string_equal(buf_cstr(&b), "<identity category='server' type='im' xml:lang='en' name='It&apos;s'/><feature var='a&amp;b'/>"
                                      "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>"
                                      "<field var='abuse-addresses' type='list-multi'><value>mailto:x@example.com</value><value>&lt;y&gt;</value></field></x>");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_simple), cmocka_unit_test(test_complex), cmocka_unit_test(test_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
