/* The event catalogue as data, and the packet types of the spec. Everything comes from src/tables/events.def. */
#include "broker/catalogue.h"
#include <string.h>

const struct event_row event_catalogue[EVENT_COUNT] = {
#define EVENT(name, service, subject, key, kinds, answers, refusable, system, raised, refused) \
    [EVENT_##name] = {#name, SERVICE_##service, subject, KEY_##key, kinds, ANSWERS_##answers, refusable, SYSTEM_##system, raised, refused},
#include "tables/events.def"
#undef EVENT
};

static const struct {
    const char *name;
    unsigned mask;
} packet_types[] = {
    {"iq", PACKET_IQ}, {"message", PACKET_MESSAGE}, {"presence", PACKET_PRESENCE}, {"subscription", PACKET_SUBSCRIPTION}, {"all", PACKET_ALL},
};
enum { PACKET_TYPES = sizeof(packet_types) / sizeof(packet_types[0]) };

int event_by_name(const char *name)
{
    for (int i = 0; i < EVENT_COUNT; i++)
        if (strcmp(event_catalogue[i].name, name) == 0) return i;
    return -1;
}

unsigned packet_type_of(const struct stanza *s)
{
    if (s->kind == STANZA_MESSAGE) return PACKET_MESSAGE;
    if (s->kind == STANZA_IQ) return PACKET_IQ;
    bool subscription = s->type >= PRESENCE_SUBSCRIBE && s->type <= PRESENCE_UNSUBSCRIBED;
    return subscription ? PACKET_SUBSCRIPTION : PACKET_PRESENCE;
}

const char *packet_type_name(unsigned mask)
{
    for (unsigned i = 0; i < PACKET_TYPES; i++)
        if (packet_types[i].mask == mask) return packet_types[i].name;
    return "";
}

int packet_type_by_name(const char *name)
{
    for (unsigned i = 0; i < PACKET_TYPES; i++)
        if (strcmp(packet_types[i].name, name) == 0) return (int)packet_types[i].mask;
    return -1;
}
