/* The event catalogue (src/tables/events.def) as data. */
#ifndef SIGNET_BROKER_CATALOGUE_H
#define SIGNET_BROKER_CATALOGUE_H
#include "xmpp/stanza.h"

enum event_service { SERVICE_JSM, SERVICE_TC };
enum event_key { KEY_PAIR, KEY_USER, KEY_ROOM };
enum event_answers { ANSWERS_ANY, ANSWERS_PASS, ANSWERS_PASS_UNMODIFIED, ANSWERS_PASS_EMPTY, ANSWERS_NONE };
enum event_system { SYSTEM_NO, SYSTEM_PASS, SYSTEM_BOUNCE, SYSTEM_BOUNCE_MESSAGES }; /* its row in SystemDefaultComplianceProfile */
/* Packet types of the spec, as a mask. */
enum { PACKET_IQ = 1, PACKET_MESSAGE = 2, PACKET_PRESENCE = 4, PACKET_SUBSCRIPTION = 8, PACKET_ALL = 15 };
enum event_id {
#define EVENT(name, ...) EVENT_##name,
#include "tables/events.def"
#undef EVENT
    EVENT_COUNT
};
struct event_row {
    const char *name;
    enum event_service service;
    const char *subject;
    enum event_key key;
    unsigned kinds;
    enum event_answers answers;
    bool refusable;
    enum event_system system;
    const char *raised, *refused; /* for people: when, and what a refusal does ("": it cannot be refused) */
};
extern const struct event_row event_catalogue[EVENT_COUNT];
int event_by_name(const char *name); /* -1: none */
unsigned packet_type_of(const struct stanza *s); /* one PACKET_* bit: subscribe* are PACKET_SUBSCRIPTION, other presence PACKET_PRESENCE */
const char *packet_type_name(unsigned mask); /* "iq" ... "all" */
int packet_type_by_name(const char *name); /* mask, or -1 */

#endif
