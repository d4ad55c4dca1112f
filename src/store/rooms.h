/* What is kept of rooms (XEP-0045): those that are persistent, with affiliations, registered nicks, subject and history. As store.h: requests of one room
 * are done in order, callbacks come on the worker that asked. */
#ifndef SIGNET_STORE_ROOMS_H
#define SIGNET_STORE_ROOMS_H
#include "store/store.h"

#define STORE_ROOM_SECRET 32
struct store_room_fields {
    struct str config; /* a JSON document; tc makes and reads it */
    uint8_t secret[STORE_ROOM_SECRET];
    uint64_t created_ms; /* wall clock */
    struct str subject; /* the message that set it, serialised with xmlns='jabber:client'; absent: none */
    uint64_t subject_ms;
    struct str vcard; /* serialised; absent: none */
};
struct store_affiliated {
    struct str jid, affiliation; /* bare JID or domain; as on the wire */
    struct str nick, reason; /* absent: none */
};
struct store_past { /* a message of the history */
    uint64_t wall_ms, sid;
    struct str stanza; /* serialised with xmlns='jabber:client' */
};
struct store_room {
    struct str room;
    struct store_room_fields fields;
    const struct store_affiliated *affiliated;
    size_t n_affiliated;
    const struct store_past *past; /* the oldest first */
    size_t n_past;
};
typedef void (*store_room_fn)(void *arg, const struct store_room *room, const struct err *err); /* room NULL and err NULL: no such room */
void store_room_load(struct str room, store_room_fn fn, void *arg);
typedef void (*store_rooms_fn)(void *arg, const struct store_room *rooms, size_t n, const struct err *err);
void store_room_list(store_rooms_fn fn, void *arg); /* all, without affiliations and history */

/* Writes: a batch is all or nothing. */
struct store_room_batch;
struct store_room_batch *store_room_batch_new(struct str room);
void store_room_batch_set(struct store_room_batch *b, const struct store_room_fields *fields); /* makes the room when there is none */
void store_room_batch_delete(struct store_room_batch *b); /* with all that is kept of it; none: no error */
void store_room_batch_affiliated(struct store_room_batch *b, const struct store_affiliated *a); /* "none" without a nick: deleted */
void store_room_batch_past_add(struct store_room_batch *b, const struct stanza *s, uint64_t wall_ms, unsigned keep); /* the last `keep` stay */
void store_room_batch_past_delete(struct store_room_batch *b, uint64_t sid); /* none: no error */
void store_room_batch_commit(struct store_room_batch *take, store_done_fn fn, void *arg); /* ERR_NOT_FOUND: no such room; fn may be NULL */
void store_room_batch_free(struct store_room_batch *b); /* one that is not committed after all; NULL is a no-op */

#endif
