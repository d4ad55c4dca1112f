/* Service administration (XEP-0133): the table of its commands, in the order of the XEP. Not offered, because there is nothing behind them: passwords
 * (4.6: only keys are kept), black and white lists (4.11, 4.12: other servers are not reached), the administrators (4.29: they stand in the configuration). */
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
static const struct form_field lastlogin_fields[] = {{"accountjids", FIELD_JID_MULTI, "The Jabber ID(s) for which to retrieve the last login time", true, NULL}};
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
    {NODE("add-user"), FORM("Add User", "Fill out this form to add a user.", add_fields), NULL, admin_add_user},
    {NODE("delete-user"), FORM("Delete User", "Fill out this form to delete a user.", delete_fields), NULL, admin_delete_user},
    {NODE("disable-user"), FORM("Disable User", "Fill out this form to disable a user.", disable_fields), NULL, admin_disable_user},
    {NODE("reenable-user"), FORM("Re-Enable User", "Fill out this form to re-enable a user.", reenable_fields), NULL, admin_reenable_user},
    {NODE("end-user-session"), FORM("End User Session", "Fill out this form to end a user's session.", end_fields), NULL, admin_end_user_session},
    {NODE("change-user-password"), FORM("Change User Password", "Fill out this form to change a user's password.", password_fields), NULL, admin_change_password},
    {NODE("get-user-roster"), FORM("Get User Roster", "Fill out this form to get a user's roster.", roster_fields), NULL, admin_get_roster},
    {NODE("get-user-lastlogin"), FORM("Get User Last Login Time", "Fill out this form to get a user's last login time.", lastlogin_fields), NULL, admin_get_lastlogin},
    {NODE("user-stats"), FORM("Get User Statistics", "Fill out this form to gather user statistics.", stats_fields), NULL, admin_user_stats},
    {NODE("get-registered-users-num"), NO_FORM("Get Number of Registered Users"), NULL, admin_count},
    {NODE("get-disabled-users-num"), NO_FORM("Get Number of Disabled Users"), NULL, admin_count},
    {NODE("get-online-users-num"), NO_FORM("Get Number of Online Users"), NULL, admin_count},
    {NODE("get-active-users-num"), NO_FORM("Get Number of Active Users"), NULL, admin_count},
    {NODE("get-idle-users-num"), NO_FORM("Get Number of Idle Users"), NULL, admin_count},
    {NODE("get-registered-users-list"), FORM("Get List of Registered Users", "Fill out this form to request the registered users of this service.", list_fields), NULL, admin_list},
    {NODE("get-disabled-users-list"), FORM("Get List of Disabled Users", "Fill out this form to request the disabled users of this service.", list_fields), NULL, admin_list},
    {NODE("get-online-users-list"), FORM("Get List of Online Users", "Fill out this form to request the online users of this service.", list_fields), NULL, admin_list},
    {NODE("get-active-users"), FORM("Get List of Active Users", "Fill out this form to request the active users of this service.", list_fields), NULL, admin_list},
    {NODE("get-idle-users"), FORM("Get List of Idle Users", "Fill out this form to request the idle users of this service.", list_fields), NULL, admin_list},
    {NODE("announce"), FORM("Send Announcement to Online Users", "Fill out this form to make an announcement to all active users of this service.", announce_fields), NULL,
     admin_announce},
    {NODE("set-motd"), FORM("Set Message of the Day", "Fill out this form to set the message of the day.", motd_fields), NULL, admin_set_motd},
    {NODE("edit-motd"), FORM("Edit Message of the Day", "Fill out this form to edit the message of the day.", motd_fields), admin_motd_filled, admin_edit_motd},
    {NODE("delete-motd"), NO_FORM("Delete Message of the Day"), NULL, admin_delete_motd},
    {NODE("set-welcome"), FORM("Set Welcome Message", "Fill out this form to set the welcome message for this service.", welcome_fields), admin_welcome_filled, admin_set_welcome},
    {NODE("delete-welcome"), NO_FORM("Delete Welcome Message"), NULL, admin_delete_welcome},
    {NODE("restart"), FORM("Restart Service", "Fill out this form to restart the service.", restart_fields), NULL, admin_restart},
    {NODE("shutdown"), FORM("Shut Down Service", "Fill out this form to shut down the service.", shutdown_fields), NULL, admin_shutdown},
};
const unsigned n_admin_commands = sizeof(admin_commands) / sizeof(admin_commands[0]);

const char *const admin_not_offered[] = {NODE("get-user-password"), NODE("edit-blacklist"),    NODE("add-to-blacklist-in"),  NODE("add-to-blacklist-out"), NODE("edit-whitelist"),
                                         NODE("add-to-whitelist"),  NODE("add-to-whitelist-in"), NODE("add-to-whitelist-out"), NODE("edit-admin"),           NULL};
