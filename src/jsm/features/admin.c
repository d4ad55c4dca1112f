/* Service administration (XEP-0133): the forms of its commands; the commands themselves are rows of tables/adhoc.def. Not offered, because there is
 * nothing behind them: passwords (4.6: only keys are kept), black and white lists (4.11, 4.12: other servers are not reached), the administrators (4.29:
 * they stand in the configuration). */
#include "jsm/features/admin.h"

#define NODE(name) NS_ADMIN "#" name
#define FORM(title, instructions, fields) {NS_ADMIN, title, instructions, fields, sizeof(fields) / sizeof((fields)[0])}
#define NO_FORM(title) {NS_ADMIN, title, NULL, NULL, 0}

static const struct form_option item_options[] = {{"25", "25"},   {"50", "50"},   {"75", "75"},     {"100", "100"},
                                                  {"150", "150"}, {"200", "200"}, {"None", "none"}, {NULL, NULL}};
static const struct form_option delay_options[] = {{"30 seconds", "30"}, {"60 seconds", "60"}, {"90 seconds", "90"}, {"2 minutes", "120"},
                                                   {"3 minutes", "180"}, {"4 minutes", "240"}, {"5 minutes", "300"}, {NULL, NULL}};

static const struct form_field add_fields[] = {
    {"accountjid", FIELD_JID_SINGLE, "The Jabber ID for the account to be added", true, NULL},
    {"password", FIELD_TEXT_PRIVATE, "The password for this account", true, NULL},
    {"password-verify", FIELD_TEXT_PRIVATE, "Retype password", true, NULL},
};
static const struct form_field delete_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) to delete", true, NULL}};
static const struct form_field disable_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) to disable", true, NULL}};
static const struct form_field reenable_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) to re-enable", true, NULL}};
static const struct form_field end_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) for which to end sessions", true, NULL}};
static const struct form_field password_fields[] = {
    {"accountjid", FIELD_JID_SINGLE, "The Jabber ID for this account", true, NULL},
    {"password", FIELD_TEXT_PRIVATE, "The password for this account", true, NULL},
};
static const struct form_field roster_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) for which to retrieve the roster", true, NULL}};
static const struct form_field lastlogin_fields[] = {
    {"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) for which to retrieve the last login time", true, NULL},
};
static const struct form_field stats_fields[] = { /* one of them: clients know the command by either */
    {"accountjid", FIELD_JID_SINGLE, "The Jabber ID for statistics", false, NULL},
    {"accountjids", FIELD_JID_MULTI, "The same, in the other field that clients know", false, NULL},
};
static const struct form_field list_fields[] = {{"max_items", FIELD_LIST_SINGLE, "Maximum number of items to show", false, item_options}};
static const struct form_field announce_fields[] = {{"announcement", FIELD_TEXT_MULTI, "Announcement", true, NULL}};
static const struct form_field motd_fields[] = {{"motd", FIELD_TEXT_MULTI, "Message of the Day", true, NULL}};
static const struct form_field welcome_fields[] = {{"welcome", FIELD_TEXT_MULTI, "Welcome Message", true, NULL}};
static const struct form_field restart_fields[] = {
    {"delay", FIELD_LIST_SINGLE, "Time delay before restarting", false, delay_options},
    {"announcement", FIELD_TEXT_MULTI, "Announcement", false, NULL},
};
static const struct form_field shutdown_fields[] = {
    {"delay", FIELD_LIST_SINGLE, "Time delay before shutting down", false, delay_options},
    {"announcement", FIELD_TEXT_MULTI, "Announcement", false, NULL},
};

const struct adhoc_command admin_commands[] = {
#define ADHOC(name, form, filled, run) {NODE(name), form, filled, run},
#include "tables/adhoc.def"
#undef ADHOC
};
const unsigned n_admin_commands = sizeof(admin_commands) / sizeof(admin_commands[0]);

const char *const admin_not_offered[] = {
    NODE("get-user-password"), NODE("edit-blacklist"),      NODE("add-to-blacklist-in"),  NODE("add-to-blacklist-out"), NODE("edit-whitelist"),
    NODE("add-to-whitelist"),  NODE("add-to-whitelist-in"), NODE("add-to-whitelist-out"), NODE("edit-admin"),           NULL,
};
