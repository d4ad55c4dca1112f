/* Rooms and those in them: the state of one worker, touched by no other.
 *
 * A room is in memory while somebody is in it or something is under way for it; a persistent one comes from the store when it is needed. What changes
 * it is a request (request.h), in the order of the room's lane. */
#ifndef SIGNET_TC_ROOM_H
#define SIGNET_TC_ROOM_H
#include "base/list.h"
#include "base/map.h"
#include "broker/lane.h"
#include "router/route.h"
#include "store/rooms.h"

#define NS_MUC "http://jabber.org/protocol/muc"
#define NS_MUC_USER NS_MUC "#user"
#define NS_MUC_ADMIN NS_MUC "#admin"
#define NS_MUC_OWNER NS_MUC "#owner"
#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"

/* ---- XEP-0045, 5 ---- */
enum affiliation { AFFILIATION_NONE, AFFILIATION_OUTCAST, AFFILIATION_MEMBER, AFFILIATION_ADMIN, AFFILIATION_OWNER, AFFILIATIONS };
enum role { ROLE_NONE, ROLE_VISITOR, ROLE_PARTICIPANT, ROLE_MODERATOR, ROLES };
const char *affiliation_name(enum affiliation a); /* as on the wire */
const char *role_name(enum role r);
int affiliation_by_name(struct str name); /* -1: none of them */
int role_by_name(struct str name);

enum room_whois { WHOIS_MODERATORS, WHOIS_ANYONE, WHOIS_NOBODY }; /* semi-anonymous, non-anonymous, fully anonymous */
struct room_config { /* XEP-0045, 15.5.4, what makes sense on a server */
    char *name, *description, *lang; /* NULL: none */
    char *password; /* NULL: none */
    char *maker; /* the bare JID of whoever made the room: not the owners' to set */
    bool persistent, public, members_only, moderated, password_protected;
    bool logged; /* only said: who logs are the compliance servers */
    bool change_subject; /* participants may */
    bool allow_invites; /* members of a members-only room may */
    enum room_whois whois; /* who learns real addresses */
    unsigned private_messages; /* a mask of 1 << enum role: who may send them */
    unsigned presence_of; /* a mask: whose presence is broadcast */
    unsigned member_list; /* a mask: who may see it */
    unsigned max_occupants; /* 0: as many as the service allows */
    unsigned history; /* messages kept for those who come later */
};
void room_config_default(struct room_config *c);
void room_config_clear(struct room_config *c);

struct affiliated { /* somebody whose affiliation is not none, or who has registered a nick */
    struct jid jid; /* bare */
    struct arena *arena;
    enum affiliation affiliation;
    char *nick; /* registered (XEP-0045, 7.10); NULL: none */
    char *reason; /* NULL: none was given */
};

struct occupant { /* one nick */
    struct room *room;
    struct arena *arena; /* has the addresses */
    struct jid jid; /* room@service/nick */
    struct jid user; /* the bare real JID */
    enum role role;
    struct list attendees; /* its sessions, the oldest first */
    struct attendee *shown; /* whose presence the others see; one of attendees */
    bool known; /* the others have seen him, though the presence of his role may not be broadcast any more: they see him go too */
    char id[48]; /* XEP-0421 */
};
struct attendee { /* one session of an occupant */
    struct list node;
    struct occupant *occupant;
    struct arena *arena;
    struct jid full; /* the real JID */
    struct stanza *presence; /* as it came */
    bool history_asked; /* onHistory is not answered yet: what comes for it waits behind its history */
    struct list waiting; /* struct copy */
    uint64_t joined_ms;
};

struct past { /* a message of the room's history */
    struct list node;
    struct stanza *stanza; /* as it was broadcast */
    uint64_t wall_ms;
};

enum room_state {
    ROOM_LOADING,
    ROOM_ABSENT, /* there is no such room */
    ROOM_OPEN,
    ROOM_LOCKED, /* made for its owner, who is yet to configure it (XEP-0045, 10.1.3) */
    ROOM_FAILED, /* the store could not say */
};
struct room_wait {
    struct list node;
    void (*fn)(struct room_wait *wait);
};
struct room {
    struct jid jid; /* bare */
    struct arena *arena;
    unsigned refs; /* requests under way and occupants */
    enum room_state state;
    struct list load_waits;
    struct lane_set lane; /* one lane: requests are carried out in the order in which they came */
    struct room_config config;
    struct map affiliated; /* bare JID -> struct affiliated */
    struct map occupants; /* nick -> struct occupant */
    struct map attendees; /* full real JID -> struct attendee */
    struct list history; /* struct past, the oldest first */
    unsigned n_history;
    struct list relays; /* IQ under way between occupants (relay.c) */
    unsigned n_relays;
    uint64_t last_relay;
    struct stanza *subject; /* the message that set it; NULL: none yet */
    uint64_t subject_wall_ms;
    char *vcard; /* serialised; NULL: none */
    uint8_t secret[32]; /* occupant ids are made with it */
    uint64_t created_wall_ms;
    bool ending; /* onClose is asked */
    bool lingers; /* empty, temporary, and a compliance server would not have it closed: it refers to itself */
};

/* ---- a worker's rooms (room.c) ---- */
struct room_service { /* one per worker thread */
    struct map rooms; /* bare JID -> struct room */
    struct list requests; /* all under way */
    bool closing;
};
extern _Thread_local struct room_service *tc;
extern const struct config *_Atomic tc_settings; /* tc_reload() changes which: read it anew each time, and only on workers once they run */

struct room *room_hold(const struct jid *jid); /* found or made; one reference more */
void room_release(struct room *r);
void room_when_loaded(struct room *r, struct room_wait *wait); /* fn runs now when it is loaded already */
bool room_exists(const struct room *r); /* open or locked */
void room_create(struct room *r, const struct jid *owner); /* bare; ROOM_ABSENT -> ROOM_LOCKED */
/* It is no more: its data is gone, later requests find none. Whoever is in it has been told. */
void room_vanish(struct room *r);
void room_linger(struct room *r, bool lingers);
void relays_drop(struct room *r); /* relay.c */
void rooms_worker_stop(void);

/* ---- affiliations (affiliation.c) ---- */
enum affiliation room_affiliation(const struct room *r, struct str bare);
struct affiliated *room_affiliated(const struct room *r, struct str bare); /* NULL: none */
void room_set_affiliation(struct room *r, const struct jid *jid, enum affiliation affiliation, struct str reason); /* in memory */
void room_set_nick(struct room *r, const struct jid *jid, struct str nick); /* registered; absent: none any more */
struct standing { /* all a room knows of somebody, kept while a change of it is committed */
    enum affiliation affiliation;
    struct str nick, reason;
};
struct standing room_standing(const struct room *r, struct str bare, struct arena *a);
void room_set_standing(struct room *r, const struct jid *jid, const struct standing *s);
void room_forget_affiliations(struct room *r);
bool service_admin(const struct jid *jid); /* of server.admins: as good as an owner everywhere */
bool room_lists_full(const struct room *r, size_t more); /* tc.max_people would be exceeded */
enum role room_default_role(const struct room *r, enum affiliation a); /* XEP-0045, 5.1.2 */

/* ---- occupants (occupant.c) ---- */
struct occupant *occupant_by_nick(const struct room *r, struct str nick); /* NULL: nobody */
struct attendee *attendee_by_jid(const struct room *r, const struct jid *full); /* NULL: not here */
struct occupant *occupant_by_user(const struct room *r, struct str bare); /* the first one of that user; NULL: none */
/* A session comes in under a nick: of an occupant that is there (the same user) or a new one. */
struct attendee *attendee_enter(struct room *r, struct str nick, const struct jid *full, const struct stanza *presence, enum role role);
void attendee_presence(struct attendee *a, const struct stanza *presence); /* the last one of it counts for the occupant */
void occupant_rename(struct occupant *o, struct str nick);
void attendee_leave(struct attendee *a); /* with its last session the occupant goes too; frees both */
void copies_send(struct attendee *a); /* send.c: its history is sent, what waited behind it follows */
void copies_drop(struct attendee *a);
unsigned room_occupants(const struct room *r);

#endif
