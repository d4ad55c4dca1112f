/* Secrets: each row of secrets.def in each carrier, blank for compliance servers, and back where an answer left it blank. */
#include "broker/secret.h"
#include "unit.h"
#include "xml/writer.h"

static struct stanza *stanza_of(const char *text)
{
    struct err err;
    struct stanza *s = stanza_from_text(str_of(text), &err);
    if (s == NULL) fail_msg("%s: %s", text, err.text);
    return s;
}

/* As our own writer has it, whoever wrote it before. */
static char *written(const struct stanza *s)
{
    struct err err;
    struct arena *a = arena_new(0);
    struct buf text = {0};
    const struct xml_node *root = stanza_tree(s, NULL, a, &err);
    assert_non_null(root);
    buf_addf(&text, "%s %s ", stanza_kind_name(s->kind), s->to.full.p != NULL ? s->to.full.p : "");
    for (const struct xml_node *n = root->first; n != NULL; n = n->next) xml_add_node(&text, n, NS_CLIENT);
    char *copy = str_dup(buf_str(&text));
    buf_free(&text);
    arena_free(a);
    return copy;
}

static void same(struct stanza *take_a, struct stanza *take_b)
{
    assert_non_null(take_a);
    char *a = written(take_a), *b = written(take_b);
    assert_string_equal(a, b);
    free(a);
    free(b);
    stanza_unref(take_a);
    stanza_unref(take_b);
}

static void is_stanza(struct stanza *take, const char *text) { same(take, stanza_of(text)); }

#define MESSAGE(inner)  "<message xmlns='jabber:client' to='b@example.com'>" inner "</message>"
#define PRESENCE(inner) "<presence xmlns='jabber:client' to='b@example.com'>" inner "</presence>"
#define IQ(inner)       "<iq xmlns='jabber:client' type='set' id='1' to='b@example.com'>" inner "</iq>"
#define RESULT(inner)   "<iq xmlns='jabber:client' type='result' id='1' to='b@example.com'>" inner "</iq>"
#define REGISTER        "<query xmlns='jabber:iq:register'>"
#define COMMAND         "<command xmlns='http://jabber.org/protocol/commands'><x xmlns='jabber:x:data' type='submit'>"
#define OWNER           "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>"
#define MUC             "<x xmlns='http://jabber.org/protocol/muc'>"
#define INVITATION      "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='c@example.com'/>"
#define CAPS            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:n' ver='v'/>"
#define CARBON(inner)   "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>" inner "</forwarded></received>"

/* A stanza with %s where its secret is, and how the secret is written; blank: what stands there instead, NULL: nothing. */
static const struct {
    const char *stanza, *secret, *blank;
} places[] = {
    {IQ(REGISTER "<username>a</username>%s</query>"), "<password>pw</password>", "<password/>"},
    {RESULT(REGISTER "<registered/>%s</query>"), "<password>pw</password>", "<password/>"},
    {IQ(REGISTER "<x xmlns='jabber:x:data' type='submit'>%s</x></query>"), "<field var='password'><value>pw</value></field>", "<field var='password'/>"},
    {IQ(REGISTER "<x xmlns='jabber:x:data' type='submit'>%s</x></query>"), "<field var='old_password'><value>pw</value></field>", "<field var='old_password'/>"},
    {IQ("<query xmlns='jabber:iq:auth'><username>a</username>%s</query>"), "<password>pw</password>", "<password/>"},
    {IQ("<query xmlns='jabber:iq:auth'><username>a</username>%s</query>"), "<digest>pw</digest>", "<digest/>"},
    {IQ(COMMAND "<field var='accountjid'><value>a@example.com</value></field>%s</x></command>"), "<field var='password'><value>pw</value></field>", "<field var='password'/>"},
    {IQ(COMMAND "%s</x></command>"), "<field var='password-verify' type='text-private'><required/><value>pw</value></field>",
     "<field var='password-verify' type='text-private'><required/></field>"},
    {RESULT(COMMAND "%s</x></command>"), "<field var='password'><value>pw</value></field>", "<field var='password'/>"},
    {IQ(OWNER "<field var='muc#roomconfig_roomname'><value>n</value></field>%s</x></query>"), "<field var='muc#roomconfig_roomsecret'><value>pw</value></field>",
     "<field var='muc#roomconfig_roomsecret'/>"},
    {RESULT(OWNER "%s</x></query>"), "<field var='muc#roomconfig_roomsecret' type='text-private'><value>pw</value></field>",
     "<field var='muc#roomconfig_roomsecret' type='text-private'/>"},
    {IQ("<query xmlns='http://jabber.org/protocol/muc#owner'><destroy jid='d@example.com'>%s</destroy></query>"), "<password>pw</password>", "<password/>"},
    {PRESENCE(MUC "%s</x>"), "<password>pw</password>", "<password/>"},
    {PRESENCE("<status>pw</status>" CAPS MUC "<history maxchars='0'/>%s</x>"), "<password>pw</password>", "<password/>"},
    {PRESENCE("<x xmlns='http://jabber.org/protocol/muc#user'><destroy jid='d@example.com'>%s</destroy></x>"), "<password>pw</password>", "<password/>"},
    {MESSAGE(INVITATION "%s</x>"), "<password>pw</password>", "<password/>"},
    {MESSAGE("<body>pw</body>%s"), "<x xmlns='jabber:x:conference' jid='r@example.com' password='pw'/>", "<x xmlns='jabber:x:conference' jid='r@example.com' password=''/>"},
    {MESSAGE(CARBON("<message xmlns='jabber:client' from='a@example.com'>" INVITATION "%s</x></message>")), "<password>pw</password>", "<password/>"},
    {MESSAGE("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>%s</message></forwarded>"), "<x xmlns='jabber:x:conference' jid='r@example.com' password='pw'/>",
     "<x xmlns='jabber:x:conference' jid='r@example.com' password=''/>"},
    {IQ("<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='r@example.com'>%s</conference></storage></query>"), "<password>pw</password>", "<password/>"},
    {IQ("<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='r@example.com'><conference xmlns='urn:xmpp:bookmarks:1'>%s</conference></item>"
        "</publish></pubsub>"),
     "<password>pw</password>", "<password/>"},
};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

static struct stanza *with(unsigned place, const char *secret)
{
    struct buf text = {0};
    const char *hole = strstr(places[place].stanza, "%s");
    buf_addf(&text, "%.*s%s%s", (int)(hole - places[place].stanza), places[place].stanza, secret, hole + 2);
    struct err err;
    struct stanza *s = stanza_from_text(buf_str(&text), &err);
    assert_non_null(s);
    buf_free(&text);
    return s;
}

/* "pw" replaced in a secret as it is written. */
static const char *other_value(unsigned place, char text[200])
{
    const char *secret = places[place].secret, *value = strstr(secret, "pw");
    snprintf(text, 200, "%.*sother%s", (int)(value - secret), secret, value + 2);
    return text;
}

static void test_every_place(void **state)
{
    UNIT_UNUSED(state);
    for (unsigned i = 0; i < PLACES; i++) {
        struct stanza *s = with(i, places[i].secret), *blank = secret_blank(s), *changed;
        assert_non_null(blank);
        same(stanza_ref(blank), with(i, places[i].blank));
        same(secret_restore(s, blank), stanza_ref(s)); /* an echo */
        char text[200];
        changed = with(i, other_value(i, text));
        same(secret_restore(s, changed), stanza_ref(changed)); /* set to something */
        stanza_unref(changed);
        changed = with(i, "");
        same(secret_restore(s, changed), stanza_ref(changed)); /* removed */
        assert_null(secret_blank(changed));
        same(secret_restore(changed, blank), stanza_ref(blank)); /* the original has none */
        same(secret_restore(NULL, blank), stanza_ref(blank));
        stanza_unref(changed);
        stanza_unref(blank);
        stanza_unref(s);
    }
}

static void test_what_is_no_secret(void **state)
{
    UNIT_UNUSED(state);
    static const char *const texts[] = {
        MESSAGE("<body>password</body>"),
        MESSAGE("<password>pw</password>"),
        MESSAGE("<x xmlns='jabber:x:conference' jid='r@example.com'/>"), /* an invitation to a room without a password */
        MESSAGE("<x xmlns='jabber:x:data'><field var='password'><value>pw</value></field></x>"),
        PRESENCE("<status>gone</status>" CAPS),
        PRESENCE(MUC "</x>"),
        PRESENCE("<password xmlns='jabber:iq:register'>pw</password>"),
        IQ("<query xmlns='jabber:iq:roster'><item jid='password@example.com'/></query>"),
        IQ(REGISTER "<remove/></query>"),
        IQ(OWNER "<field var='muc#roomconfig_passwordprotectedroom'><value>1</value></field></x></query>"),
        "<iq xmlns='jabber:client' type='result' id='1'/>",
    };
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct stanza *s = stanza_of(texts[i]);
        assert_null(secret_blank(s));
        struct stanza *restored = secret_restore(s, s);
        assert_ptr_equal(restored, s); /* not even written anew */
        stanza_unref(restored);
        stanza_unref(s);
    }
}

static void test_several_fields(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_of(IQ(REGISTER "<username>a</username><password>p1</password><x xmlns='jabber:x:data' type='submit'>"
                                             "<field var='old_password'><value>p2</value></field><field var='password'><value>p3</value><value>p4</value></field></x></query>"));
    is_stanza(secret_blank(s), IQ(REGISTER "<username>a</username><password/><x xmlns='jabber:x:data' type='submit'>"
                                           "<field var='old_password'/><field var='password'/></x></query>"));
    struct stanza *blank = secret_blank(s);
    same(secret_restore(s, blank), stanza_ref(s)); /* an echo */
    stanza_unref(blank);
    /* In another order, one changed, a field of its own between them, and the blank written in another way. */
    struct stanza *changed = stanza_of(IQ(REGISTER "<x xmlns='jabber:x:data' type='submit'><field var='password'><value></value></field><field var='reason'><value>r</value></field>"
                                                   "<field var='old_password'><value>q</value></field></x><password></password><username>b</username></query>"));
    is_stanza(secret_restore(s, changed), IQ(REGISTER "<x xmlns='jabber:x:data' type='submit'><field var='password'><value>p3</value><value>p4</value></field>"
                                                      "<field var='reason'><value>r</value></field><field var='old_password'><value>q</value></field></x>"
                                                      "<password>p1</password><username>b</username></query>"));
    stanza_unref(changed);
    stanza_unref(s);
}

/* Several of one kind are told apart by their order; when it can't be known which is which, a blank stays one. */
static void test_several_of_one_kind(void **state)
{
    UNIT_UNUSED(state);
#define ROOM(name, password) "<x xmlns='jabber:x:conference' jid='" name "@example.com' password='" password "'/>"
    struct stanza *s = stanza_of(MESSAGE(ROOM("r1", "p1") ROOM("r2", "p2") ROOM("r3", "p3")));
    is_stanza(secret_blank(s), MESSAGE(ROOM("r1", "") ROOM("r2", "") ROOM("r3", "")));
    struct stanza *changed = stanza_of(MESSAGE("<body>b</body>" ROOM("r1", "") ROOM("r2", "q") ROOM("r3", "")));
    is_stanza(secret_restore(s, changed), MESSAGE("<body>b</body>" ROOM("r1", "p1") ROOM("r2", "q") ROOM("r3", "p3")));
    stanza_unref(changed);
    changed = stanza_of(MESSAGE(ROOM("r2", "") ROOM("r3", "")));
    is_stanza(secret_restore(s, changed), MESSAGE(ROOM("r2", "") ROOM("r3", "")));
    stanza_unref(changed);
    stanza_unref(s);
#undef ROOM
}

/* Escapes survive, and a carrier of another stanza's kind is none. */
static void test_characters(void **state)
{
    UNIT_UNUSED(state);
    struct stanza *s = stanza_of(PRESENCE(MUC "<password>a&amp;b&lt;c'\"</password></x>"));
    struct stanza *blank = secret_blank(s);
    is_stanza(secret_restore(s, blank), PRESENCE(MUC "<password>a&amp;b&lt;c'\"</password></x>"));
    stanza_unref(blank);
    stanza_unref(s);
}

/* One who fills a message with them keeps nobody busy. */
static void test_very_many(void **state)
{
    UNIT_UNUSED(state);
    struct buf text = {0};
    buf_adds(&text, "<message xmlns='jabber:client'><x xmlns='http://jabber.org/protocol/muc#user'>");
    for (unsigned i = 0; i < 8000; i++) buf_addf(&text, "<password>p%u</password>", i);
    buf_adds(&text, "</x></message>");
    struct err err;
    struct stanza *s = stanza_from_text(buf_str(&text), &err), *blank = secret_blank(s);
    assert_int_equal(blank->inner.n, strlen("<x xmlns='http://jabber.org/protocol/muc#user'></x>") + 8000 * strlen("<password/>"));
    same(secret_restore(s, blank), stanza_ref(s));
    stanza_unref(blank);
    stanza_unref(s);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_place),         cmocka_unit_test(test_what_is_no_secret), cmocka_unit_test(test_several_fields),
                                       cmocka_unit_test(test_several_of_one_kind), cmocka_unit_test(test_characters),        cmocka_unit_test(test_very_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
