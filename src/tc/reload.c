/* New settings while rooms are in use: SIGHUP, signetctl reload. The options of the section tc count from then on, for what is asked then: nobody is
 * put out of a room that has become smaller, and no room is ended. Which domains there are is settled at start. */
#include "base/log.h"
#include "broker/broker.h"
#include "tc/room.h"
#include "tc/tc.h"
#include "xml/writer.h"
#include <stdlib.h>
#include <string.h>

int tc_settings_check(const struct config *config, struct err *err)
{
    static const char *const who[] = {"everybody", "local", "admins"};
    for (unsigned i = 0; i < sizeof(who) / sizeof(who[0]); i++)
        if (strcmp(who[i], config->tc_room_creation) == 0) return 0;
    return err_set(err, ERR_INVALID, "tc.room_creation: \"%s\" is none of everybody, local, admins", config->tc_room_creation);
}

/* ---- onServiceReconfig: the settings, as a form ---- */
static void write_text(struct buf *b, const char *name, const char *value)
{
    buf_addf(b, "<field var='%s'><value>", name);
    xml_add_text(b, str_of(value));
    buf_adds(b, "</value></field>");
}

static void write_number(struct buf *b, const char *name, int64_t value)
{
    buf_addf(b, "<field var='%s'><value>%lld</value></field>", name, (long long)value);
}

static void write_settings(struct buf *b, const struct config *c)
{
#define WRITE_INT write_number
#define WRITE_BOOL write_number
#define WRITE_TEXT write_text
#define WRITE_LIST write_text
#define OPTION(section, name, type, def, min, max, unit, help)                                                                                       \
    if (strcmp(#section, "tc") == 0) WRITE_##type(b, #section "." #name, c->section##_##name);
#include "tables/options.def"
#undef OPTION
}

#define NS_TC "urn:signet:tc:0"
struct reconfigured {
    struct msg msg;
    const char *domain; /* as long as the router */
};

static void reconfigured(struct msg *msg)
{
    struct reconfigured *n = CONTAINER_OF(msg, struct reconfigured, msg);
    struct arena *a = arena_new(0);
    struct buf b = {0};
    struct jid service;
    struct err err;
    buf_adds(&b, "<reconfigure xmlns='" NS_TC "'><x xmlns='jabber:x:data' type='result'>");
    write_settings(&b, tc_settings);
    buf_adds(&b, "</x></reconfigure>");
    if (tc != NULL && jid_parse(a, str_of(n->domain), &service, &err) == 0) {
        struct stanza *iq = stanza_make(STANZA_IQ, IQ_SET, &service, &service, STR("reconfig"), buf_str(&b));
        struct question q = {.event = EVENT_onServiceReconfig, .subject = iq, .room = service.full};
        struct verdict now;
        broker_raise(&q, &now);
        stanza_unref(iq);
    }
    buf_free(&b);
    arena_free(a);
    free(n);
}

/* Each of the domains has a worker, as each room has. */
static void tell_all(void)
{
    const char *domain;
    for (unsigned i = 0; (domain = router_domain(i)) != NULL; i++) {
        if (!router_domain_of_rooms(str_of(domain))) continue;
        struct reconfigured *n = x_calloc(1, sizeof(*n));
        n->msg.run = reconfigured;
        n->domain = domain;
        worker_post(router_owner_of(str_of(domain)), &n->msg);
    }
}

static void passed_by(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
}

/* ---- taking them over ---- */
static struct config *reloaded; /* NULL: those of the start are in force */

static void needs_restart(const char *option, bool changed)
{
    if (changed) log_warn("tc", "%s has changed; that counts from the next start on", option);
}

int tc_reload(struct config *take, struct err *err)
{
    const struct config *was = tc_settings;
    struct config *old = reloaded;
    if (!was->tc_enabled || tc_settings_check(take, err) != 0) {
        needs_restart("tc.enabled", take->tc_enabled != was->tc_enabled);
        bool off = !was->tc_enabled;
        config_free(take);
        free(take);
        return off ? 0 : -1;
    }
    needs_restart("tc.enabled", !take->tc_enabled);
    needs_restart("tc.domains", strcmp(take->tc_domains, was->tc_domains) != 0);
    free(take->server_admins); /* as the rest of the service has it */
    free(take->tc_domains);
    take->server_admins = x_strdup(was->server_admins);
    take->tc_domains = x_strdup(was->tc_domains);
    take->tc_enabled = true;
    tc_settings = reloaded = take;
    tell_all();
    worker_each(passed_by, NULL, NULL); /* then no worker has the old ones in hand any more */
    if (old != NULL) config_free(old);
    free(old);
    return 0;
}

void tc_settings_free(void)
{
    if (reloaded != NULL) config_free(reloaded);
    free(reloaded);
    reloaded = NULL;
}
