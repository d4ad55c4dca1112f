/* The compliance configuration: every rule is kept, every refusal says why, nothing is lost between JSON and memory. */
#include "unit.h"
#include "broker/profile.h"

static struct err err;

static json_t *fields(const char *text)
{
    json_error_t problem;
    json_t *o = json_loads(text, 0, &problem);
    if (o == NULL) fail_msg("%s: %s", text, problem.text);
    return o;
}
static int put_server(struct compliance_config *c, const char *name, const char *text, bool add)
{
    json_t *o = fields(text);
    int rc = compliance_server_put(c, name, o, add, &err);
    json_decref(o);
    return rc;
}
static int put_profile(struct compliance_config *c, const char *name, const char *text, bool add, json_t *warnings)
{
    json_t *o = fields(text);
    int rc = compliance_profile_put(c, name, o, add, warnings, &err);
    json_decref(o);
    return rc;
}
static const char one_server[] = "{\"host\": \"10.53.52.205\", \"port\": 7999, \"password\": \"secret\"}";
static void refused(int rc, enum err_code code, const char *says)
{
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, says) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void test_system_profile(void **state)
{
    (void)state;
    static const struct {
        const char *event;
        unsigned packets;
        bool bounce;
    } rows[] = {{"e_SESSION", PACKET_ALL, false},   {"es_OUT", PACKET_MESSAGE, true},  {"es_IN", PACKET_MESSAGE, true},
                {"es_END", PACKET_ALL, false},      {"onBeforeRoomCreate", PACKET_ALL, true}, {"onBeforeJoin", PACKET_ALL, true},
                {"onBeforeInvite", PACKET_ALL, true}, {"onBeforeSend", PACKET_ALL, true},   {"onLeave", PACKET_ALL, false}};
    struct compliance_config *c = compliance_config_new();
    const struct compliance_profile *p = compliance_profile_find(c, "SystemDefaultComplianceProfile");
    assert_non_null(p);
    assert_true(p->read_only);
    assert_int_equal(p->n_rows, 9);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(p->rows[i].event, event_by_name(rows[i].event));
        assert_int_equal(p->rows[i].packets, rows[i].packets);
        assert_int_equal(p->rows[i].bounce, rows[i].bounce);
        assert_false(p->rows[i].fire_and_forget);
    }
    refused(put_profile(c, SYSTEM_PROFILE, "{\"rows\": []}", false, NULL), ERR_CONFLICT, "read-only");
    refused(compliance_profile_delete(c, SYSTEM_PROFILE, &err), ERR_CONFLICT, "cannot be deleted");
    assert_int_equal(compliance_config_check(c, &err), 0);
    compliance_config_free(c);
}

static void test_servers(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    assert_int_equal(put_server(c, "gwydlvm131", one_server, true), 0);
    refused(put_server(c, "gwydlvm131", one_server, true), ERR_EXISTS, "already");
    refused(put_server(c, "GWYDLVM131", one_server, true), ERR_EXISTS, "already"); /* names become host names */
    refused(put_server(c, "none", one_server, false), ERR_NOT_FOUND, "none");
    static const char *const bad_names[] = {"", "a.b", "a b", "-a", "a-", "a_b", "\xc3\xa4", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (unsigned i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++)
        refused(put_server(c, bad_names[i], one_server, true), ERR_INVALID, "is not a server name");
    refused(put_server(c, "b", "{\"host\": \"a b\", \"port\": 1, \"password\": \"x\"}", true), ERR_INVALID, "backslash");
    refused(put_server(c, "b", "{\"host\": \"[::1]\", \"port\": 1, \"password\": \"x\"}", true), ERR_INVALID, "a host may have");
    assert_int_equal(put_server(c, "b", "{\"host\": \"A9.\\\\-_\", \"port\": 1, \"password\": \"x\"}", true), 0);
    refused(put_server(c, "d", "{\"host\": \"h\", \"port\": 1}", true), ERR_INVALID, "no password");
    refused(put_server(c, "d", "{\"host\": \"h\", \"password\": \"x\"}", true), ERR_INVALID, "no port");
    refused(put_server(c, "d", "{\"port\": 1, \"password\": \"x\"}", true), ERR_INVALID, "no host");
    refused(put_server(c, "d", "{\"host\": \"h\", \"port\": 65536, \"password\": \"x\"}", true), ERR_INVALID, "65535");
    refused(put_server(c, "d", "{\"host\": \"h\", \"port\": 1, \"password\": \"x\", \"colour\": 1}", true), ERR_INVALID, "colour");
    refused(put_server(c, "d", "{\"direction\": \"both\", \"password\": \"x\"}", true), ERR_INVALID, "accept");
    assert_int_equal(put_server(c, "d", "{\"direction\": \"accept\", \"password\": \"x\"}", true), 0);
    assert_int_equal(put_server(c, "d", "{\"tls\": true, \"tls_ca\": \"/ca.pem\", \"description\": \"wall\"}", false), 0);
    const struct compliance_server *d = compliance_server_find(c, "d");
    assert_string_equal(d->password, "x"); /* absent fields keep their value */
    assert_string_equal(d->tls_ca, "/ca.pem");
    assert_true(d->tls && d->direction == LINK_ACCEPT);
    refused(put_server(c, "d", "{\"password\": \"\"}", false), ERR_INVALID, "no password");
    assert_string_equal(compliance_server_find(c, "d")->password, "x"); /* a refused edit changes nothing */
    assert_int_equal(put_server(c, "d", "{\"name\": \"e\"}", false), 0);
    assert_null(compliance_server_find(c, "d"));
    assert_int_equal(compliance_server_delete(c, "e", &err), 0);
    refused(compliance_server_delete(c, "e", &err), ERR_NOT_FOUND, "e");
    compliance_config_free(c);
}

#define ROW(event, packet, handling) "{\"event\": \"" event "\", \"packet\": \"" packet "\", \"handling\": \"" handling "\"}"
static void test_profiles(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    json_t *warnings = json_array();
    refused(put_profile(c, "with space", "{}", true, NULL), ERR_INVALID, "only letters and digits");
    refused(put_profile(c, "a-b", "{}", true, NULL), ERR_INVALID, "only letters and digits");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_IN", "message", "pass") ", " ROW("es_IN", "message", "bounce") "]}", true, NULL), ERR_INVALID, "twice");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_IN", "all", "pass") ", " ROW("es_IN", "iq", "pass") "]}", true, NULL), ERR_INVALID, "includes all other");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_IN", "iq", "pass") ", " ROW("es_IN", "all", "pass") "]}", true, NULL), ERR_INVALID, "includes all other");
    refused(put_profile(c, "W", "{\"rows\": [{\"event\": \"onLeave\", \"handling\": \"pass\"}, {\"event\": \"onLeave\", \"handling\": \"bounce\"}]}", true, NULL), ERR_INVALID,
            "twice");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("onLeave", "iq", "pass") "]}", true, NULL), ERR_INVALID, "TC event");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_in", "iq", "pass") "]}", true, NULL), ERR_INVALID, "not an event");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_IN", "iq", "drop") "]}", true, NULL), ERR_INVALID, "bounce");
    refused(put_profile(c, "W", "{\"rows\": [" ROW("es_IN", "stanza", "pass") "]}", true, NULL), ERR_INVALID, "packet type");
    assert_int_equal(c->n_profiles, 1);

    assert_int_equal(put_profile(c, "Four",
                                 "{\"rows\": [" ROW("es_IN", "iq", "pass") ", " ROW("es_IN", "message", "pass") ", " ROW("es_OUT", "iq", "pass") ", "
                                     ROW("es_IN", "presence", "pass") ", " ROW("es_IN", "subscription", "pass") "]}", true, warnings), 0);
    const struct compliance_profile *p = compliance_profile_find(c, "Four");
    assert_int_equal(p->n_rows, 2);
    assert_int_equal(p->rows[0].packets, PACKET_ALL);
    assert_int_equal(p->rows[1].event, EVENT_es_OUT);
    assert_int_equal(put_profile(c, "Unlike",
                                 "{\"rows\": [" ROW("es_IN", "iq", "bounce") ", " ROW("es_IN", "message", "pass") ", " ROW("es_IN", "presence", "pass") ", "
                                     ROW("es_IN", "subscription", "pass") "]}", true, warnings), 0);
    assert_int_equal(compliance_profile_find(c, "Unlike")->n_rows, 4);
    assert_int_equal(json_array_size(warnings), 0);

    assert_int_equal(put_profile(c, "Warned",
                                 "{\"rows\": [" ROW("e_SESSION", "message", "pass") ", {\"event\": \"es_OUT\", \"packet\": \"message\", \"handling\": \"bounce\", "
                                 "\"fire_and_forget\": true}]}", true, warnings), 0);
    assert_int_equal(json_array_size(warnings), 2);
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 0)), "never match"));
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 1)), "discarded"));
    json_decref(warnings);

    assert_string_equal(c->profiles[0].name, SYSTEM_PROFILE); /* priority: the order of adding */
    assert_int_equal(compliance_profile_move(c, "Warned", -1, &err), 0);
    assert_string_equal(c->profiles[2].name, "Warned");
    assert_int_equal(compliance_profile_move(c, "Warned", -100, &err), 0);
    assert_string_equal(c->profiles[0].name, "Warned");
    assert_int_equal(compliance_profile_move(c, SYSTEM_PROFILE, 100, &err), 0);
    assert_string_equal(c->profiles[3].name, SYSTEM_PROFILE);
    refused(compliance_profile_move(c, "none", 1, &err), ERR_NOT_FOUND, "none");
    assert_int_equal(compliance_profile_delete(c, "Unlike", &err), 0);
    assert_int_equal(c->n_profiles, 3);
    assert_int_equal(compliance_config_check(c, &err), 0);
    compliance_config_free(c);
}

static void test_assignments(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    assert_int_equal(put_server(c, "gwydlvm131", one_server, true), 0);
    assert_int_equal(put_server(c, "second", one_server, true), 0);
    assert_int_equal(put_profile(c, "Wall", "{\"rows\": [" ROW("es_OUT", "message", "bounce") "]}", true, NULL), 0);
    refused(compliance_assign(c, "n.example.com", "none", SYSTEM_PROFILE, &err), ERR_NOT_FOUND, "none");
    refused(compliance_assign(c, "n.example.com", "second", "None", &err), ERR_NOT_FOUND, "None");
    refused(compliance_assign(c, "n..com", "second", "Wall", &err), ERR_INVALID, "not a node");
    refused(compliance_assign(c, "", "second", "Wall", &err), ERR_INVALID, "not a node");
    assert_int_equal(c->n_assignments, 0);
    assert_int_equal(compliance_assign(c, "gwydlvm1153.cisco.com", "gwydlvm131", SYSTEM_PROFILE, &err), 0);
    assert_string_equal(c->assignments[0].component, "op-gwydlvm131.gwydlvm1153-cisco-com");
    refused(compliance_assign(c, "gwydlvm1153.cisco.com", "gwydlvm131", SYSTEM_PROFILE, &err), ERR_EXISTS, "already");
    refused(compliance_assign(c, "n2.cisco.com", "gwydlvm131", "Wall", &err), ERR_CONFLICT, "one profile");
    assert_int_equal(compliance_assign(c, "n2.cisco.com", "gwydlvm131", SYSTEM_PROFILE, &err), 0);
    refused(compliance_assign(c, "n2-cisco.com", "gwydlvm131", SYSTEM_PROFILE, &err), ERR_CONFLICT, "component name");
    assert_int_equal(c->n_assignments, 2);
    refused(compliance_assign(c, "n2.cisco.com", "gwydlvm131", "Wall", &err), ERR_EXISTS, "already");
    refused(compliance_reassign(c, "n3.cisco.com", "gwydlvm131", "Wall", &err), ERR_NOT_FOUND, "not assigned");
    refused(compliance_reassign(c, "n2.cisco.com", "gwydlvm131", "None", &err), ERR_NOT_FOUND, "None");
    assert_int_equal(compliance_reassign(c, "n2.cisco.com", "gwydlvm131", "Wall", &err), 0); /* changes the server's profile everywhere */
    assert_string_equal(c->assignments[0].profile, "Wall");
    assert_string_equal(c->assignments[1].profile, "Wall");
    assert_int_equal(compliance_assign(c, "n2.cisco.com", "second", "Wall", &err), 0); /* a profile may have many servers */
    refused(compliance_server_delete(c, "second", &err), ERR_CONFLICT, "assigned");
    refused(put_server(c, "second", "{\"name\": \"third\"}", false), ERR_CONFLICT, "cannot be renamed");
    refused(compliance_profile_delete(c, "Wall", &err), ERR_CONFLICT, "assigned");
    refused(put_profile(c, "Wall", "{\"name\": \"Moat\"}", false, NULL), ERR_CONFLICT, "cannot be renamed");
    assert_int_equal(put_profile(c, "Wall", "{\"description\": \"rows stay\"}", false, NULL), 0);
    assert_int_equal(compliance_profile_find(c, "Wall")->n_rows, 1);
    assert_int_equal(compliance_config_check(c, &err), 0);
    while (c->n_assignments > 0) assert_int_equal(compliance_unassign(c, c->assignments[0].node, c->assignments[0].server, &err), 0);
    refused(compliance_unassign(c, "n2.cisco.com", "second", &err), ERR_NOT_FOUND, "not assigned");
    assert_int_equal(put_profile(c, "Wall", "{\"name\": \"Moat\"}", false, NULL), 0);
    assert_non_null(compliance_profile_find(c, "Moat"));
    compliance_config_free(c);
}

/* What a server's row says of TLS and limits. Absent fields keep their values, "" and null take them away, 0 is the node's default. */
static void test_server_extras(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    assert_int_equal(put_server(c, "w", one_server, true), 0);
    static const struct {
        const char *fields, *says;
    } wrong[] = {
        {"{\"tls_cert\": \"/c.pem\"}", "tls_key is missing"},
        {"{\"tls_key\": \"/k.pem\"}", "tls_cert is missing"},
        {"{\"direction\": \"accept\", \"tls_cert\": \"/c\", \"tls_key\": \"/k\"}", "direction connect"},
        {"{\"direction\": \"accept\", \"tls_name\": \"a\"}", "needs tls_ca"},
        {"{\"tls_name\": \"a b\"}", "host name or IP address"},
        {"{\"tls_name\": 1}", "must be a string"},
        {"{\"link_outstanding\": -1}", "must be a number"},
        {"{\"link_outstanding\": 1000001}", "from 1 to 1000000"},
        {"{\"link_outstanding\": \"5\"}", "must be a number"},
        {"{\"link_queue_bytes\": 65535}", "from 65536 to 4294967296"},
        {"{\"answer_bytes\": 1023}", "from 1024 to 67108864"},
        {"{\"answer_bytes\": 1.5}", "must be a number"},
    };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) refused(put_server(c, "w", wrong[i].fields, false), ERR_INVALID, wrong[i].says);
    assert_int_equal(put_server(c, "w", "{\"tls\": true, \"tls_name\": \"2001:db8::1\", \"tls_cert\": \"/c\", \"tls_key\": \"/k\", \"link_outstanding\": 7}", false), 0);
    assert_int_equal(put_server(c, "w", "{\"link_queue_bytes\": 4294967296, \"answer_bytes\": 1024, \"tls_name\": \"wall.example.com\"}", false), 0);
    const struct compliance_server *w = compliance_server_find(c, "w");
    assert_string_equal(w->tls_name, "wall.example.com");
    assert_string_equal(w->tls_cert, "/c");
    assert_string_equal(w->tls_key, "/k");
    assert_int_equal(w->link_outstanding, 7);
    assert_true(w->link_queue_bytes == 4294967296 && w->answer_bytes == 1024);
    assert_string_equal(w->password, "secret");
    struct compliance_config *copy = compliance_config_copy(c);
    assert_string_equal(compliance_server_find(copy, "w")->tls_key, "/k");
    compliance_config_free(copy);
    assert_int_equal(put_server(c, "w", "{\"tls_name\": \"\", \"tls_cert\": null, \"tls_key\": \"\", \"link_outstanding\": 0, \"answer_bytes\": null}", false), 0);
    w = compliance_server_find(c, "w");
    assert_true(w->tls_name == NULL && w->tls_cert == NULL && w->tls_key == NULL && w->link_outstanding == 0 && w->answer_bytes == 0);
    assert_true(w->link_queue_bytes == 4294967296);
    compliance_config_free(c);
}

/* One row is added, changed, taken away, and the others stay. */
static void test_rows(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    json_t *in_iq = fields(ROW("es_IN", "iq", "pass")), *in_all = fields(ROW("es_IN", "all", "pass")), *leave = fields("{\"event\": \"onLeave\", \"handling\": \"pass\"}");
    json_t *forget = fields("{\"fire_and_forget\": true}"), *bounce = fields("{\"handling\": \"bounce\"}"), *to_all = fields("{\"packet\": \"all\"}");
    json_t *warnings = json_array();
    assert_int_equal(put_profile(c, "Wall", "{\"rows\": [" ROW("es_IN", "message", "bounce") "]}", true, NULL), 0);
    assert_int_equal(compliance_row_add(c, "Wall", in_iq, NULL, &err), 0);
    assert_int_equal(compliance_row_add(c, "Wall", leave, NULL, &err), 0);
    refused(compliance_row_add(c, "Wall", in_iq, NULL, &err), ERR_INVALID, "twice");
    refused(compliance_row_add(c, "Wall", in_all, NULL, &err), ERR_INVALID, "includes all other");
    refused(compliance_row_add(c, "Wall", leave, NULL, &err), ERR_INVALID, "twice");
    refused(compliance_row_add(c, SYSTEM_PROFILE, in_iq, NULL, &err), ERR_CONFLICT, "read-only");
    refused(compliance_row_add(c, "None", in_iq, NULL, &err), ERR_NOT_FOUND, "None");
    refused(compliance_row_change(c, "Wall", "es_IN", "message", to_all, NULL, &err), ERR_INVALID, "includes all other");
    assert_int_equal(compliance_row_change(c, "Wall", "es_IN", "message", forget, warnings, &err), 0);
    assert_int_equal(json_array_size(warnings), 1); /* bounce and forget */
    const struct compliance_profile *p = compliance_profile_find(c, "Wall");
    assert_int_equal(p->n_rows, 3);
    assert_true(p->rows[0].bounce && p->rows[0].fire_and_forget && !p->rows[1].fire_and_forget);
    assert_int_equal(compliance_row_change(c, "Wall", "onLeave", "all", bounce, warnings, &err), 0);
    assert_int_equal(json_array_size(warnings), 1); /* what was known is not told again */
    assert_true(compliance_profile_find(c, "Wall")->rows[2].bounce);
    refused(compliance_row_delete(c, "Wall", "es_OUT", "all", &err), ERR_NOT_FOUND, "does not stand in it");
    refused(compliance_row_delete(c, "Wall", "es_IN", "presence", &err), ERR_NOT_FOUND, "other packet types");
    refused(compliance_row_delete(c, "Wall", "es_in", "all", &err), ERR_INVALID, "not an event");
    refused(compliance_row_delete(c, "Wall", "es_IN", "all of it", &err), ERR_INVALID, "packet type");
    refused(compliance_row_delete(c, SYSTEM_PROFILE, "es_IN", "message", &err), ERR_CONFLICT, "read-only");
    assert_int_equal(compliance_row_delete(c, "Wall", "es_IN", "message", &err), 0);
    assert_int_equal(compliance_row_delete(c, "Wall", "onLeave", NULL, &err), 0);
    assert_int_equal(compliance_row_change(c, "Wall", "es_IN", "iq", to_all, NULL, &err), 0);
    p = compliance_profile_find(c, "Wall");
    assert_int_equal(p->n_rows, 1);
    assert_true(p->rows[0].event == EVENT_es_IN && p->rows[0].packets == PACKET_ALL && !p->rows[0].bounce);
    refused(compliance_row_delete(c, "Wall", "es_IN", "iq", &err), ERR_NOT_FOUND, "with packet type all");
    json_t *all[] = {in_iq, in_all, leave, forget, bounce, to_all, warnings};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) json_decref(all[i]);
    compliance_config_free(c);
}

static void test_json(void **state)
{
    (void)state;
    struct compliance_config *c = compliance_config_new();
    assert_int_equal(put_server(c, "wall", "{\"host\": \"h\", \"port\": 7999, \"password\": \"p\xc3\xa4ss'\\\"<&\", \"tls\": true, \"tls_ca\": \"/x\"}", true), 0);
    assert_int_equal(put_profile(c, "Wall", "{\"description\": \"d\", \"rows\": [" ROW("es_OUT", "message", "bounce") ", {\"event\": \"onLeave\", \"handling\": \"pass\"}]}",
                                 true, NULL), 0);
    assert_int_equal(compliance_assign(c, "n.example.com", "wall", "Wall", &err), 0);
    assert_int_equal(compliance_profile_move(c, "Wall", -1, &err), 0);
    json_t *json = compliance_config_json(c, true), *shown = compliance_config_json(c, false);
    char *text = json_dumps(json, 0), *shown_text = json_dumps(shown, 0);
    assert_null(strstr(shown_text, "\xc3\xa4ss"));
    assert_non_null(strstr(shown_text, "\"password_set\": true"));
    struct compliance_config *again = compliance_config_parse(str_of(text), 7, &err), *copy = compliance_config_copy(c);
    assert_non_null(again);
    assert_int_equal(again->version, 7);
    json_t *json_again = compliance_config_json(again, true), *json_copy = compliance_config_json(copy, true);
    assert_true(json_equal(json, json_again));
    assert_true(json_equal(json, json_copy));
    assert_string_equal(again->profiles[0].name, "Wall"); /* the priority is kept */
    json_t *all[] = {json, shown, json_again, json_copy};
    for (unsigned i = 0; i < 4; i++) json_decref(all[i]);
    free(text);
    free(shown_text);
    compliance_config_free(c);
    compliance_config_free(again);
    compliance_config_free(copy);
}

static void test_json_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "not JSON"},
        {"[]", "object"},
        {"{\"server\": []}", "no field"},
        {"{\"servers\": {}}", "array"},
        {"{\"servers\": [{\"host\": \"h\", \"port\": 1, \"password\": \"x\"}]}", "no name"},
        {"{\"servers\": [{\"name\": 1}]}", "string"},
        {"{\"servers\": [{\"name\": \"a\\u0000b\"}]}", "not JSON"},
        {"{\"profiles\": [{\"name\": \"A\"}, {\"name\": \"A\"}]}", "two compliance profiles"},
        {"{\"profiles\": [{\"rows\": []}]}", "no name"},
        {"{\"profiles\": [3]}", "object"},
        {"{\"profiles\": [{\"name\": \"A\", \"rows\": [{\"event\": \"es_IN\", \"handling\": \"pass\", \"fire_and_forget\": 1}]}]}", "true or false"},
        {"{\"profiles\": [{\"name\": \"A\", \"rows\": [{\"event\": \"es_IN\", \"handling\": \"pass\", \"fire_and_forget\": true, \"shadow\": true}]}]}", "choose one"},
        {"{\"assignments\": [{\"node\": \"n\", \"server\": \"s\", \"profile\": \"p\"}]}", "no compliance server"},
        {"{\"assignments\": [{\"node\": \"n\", \"server\": \"s\"}]}", "needs node"},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct compliance_config *c = compliance_config_parse(str_of(bad[i][0]), 1, &err);
        assert_null(c);
        if (strstr(err.text, bad[i][1]) == NULL) fail_msg("%s: \"%s\" does not say \"%s\"", bad[i][0], err.text, bad[i][1]);
    }
    /* The built-in profile cannot be changed from outside, nor left out. */
    struct compliance_config *c = compliance_config_parse(STR("{\"profiles\": [{\"name\": \"SystemDefaultComplianceProfile\", \"rows\": []}]}"), 1, &err);
    assert_non_null(c);
    assert_int_equal(c->profiles[0].n_rows, 9);
    compliance_config_free(c);
    c = compliance_config_parse(STR("{}"), 1, &err);
    assert_non_null(compliance_profile_find(c, SYSTEM_PROFILE));
    compliance_config_free(c);
}

/* ---- what differs ---- */

static void expect_line(const struct compliance_config *from, const struct compliance_config *to, const char *line)
{
    struct buf b = {0};
    json_t *changes = compliance_config_diff(from, to);
    compliance_diff_line(changes, &b);
    assert_string_equal(buf_cstr(&b), line);
    char *all = json_dumps(changes, 0);
    assert_null(strstr(all, "secret"));
    free(all);
    json_decref(changes);
    buf_free(&b);
}

static void test_diff(void **state)
{
    (void)state;
    struct compliance_config *a = compliance_config_new();
    json_t *server = fields(one_server), *port = fields("{\"port\": 8000, \"password\": \"secret of now\"}");
    expect_line(a, a, "");
    assert_int_equal(compliance_server_put(a, "wall", server, true, &err), 0);
    assert_int_equal(put_profile(a, "Talk", "{\"rows\": [{\"event\": \"es_IN\", \"packet\": \"message\", \"handling\": \"bounce\"}]}", true, NULL), 0);
    struct compliance_config *b = compliance_config_copy(a);
    expect_line(a, b, "");
    assert_int_equal(compliance_server_put(b, "wall", port, false, &err), 0);
    expect_line(a, b, "server wall, port: 7999 -> 8000; server wall, password changed");
    expect_line(b, a, "server wall, port: 8000 -> 7999; server wall, password changed");
    assert_int_equal(put_profile(b, "Talk", "{\"rows\": [{\"event\": \"es_IN\", \"packet\": \"message\", \"handling\": \"pass\", \"fire_and_forget\": true}]}", false, NULL), 0);
    assert_int_equal(compliance_server_delete(b, "wall", &err), 0);
    expect_line(a, b, "server wall deleted; profile Talk, row es_IN message: bounce -> pass, fire and forget");
    assert_int_equal(compliance_profile_move(b, "Talk", -1, &err), 0);
    assert_int_equal(put_profile(b, "Talk", "{\"rows\": []}", false, NULL), 0);
    assert_int_equal(compliance_server_put(b, "gate", server, true, &err), 0);
    expect_line(a, b, "server gate added; server wall deleted; profile Talk, row es_IN message: bounce -> -; routing priority: " SYSTEM_PROFILE ", Talk -> Talk, " SYSTEM_PROFILE);
    json_decref(server);
    json_decref(port);
    compliance_config_free(a);
    compliance_config_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_profile), cmocka_unit_test(test_servers),     cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_server_extras),  cmocka_unit_test(test_rows),
        cmocka_unit_test(test_assignments),    cmocka_unit_test(test_json),        cmocka_unit_test(test_json_refused),
        cmocka_unit_test(test_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
