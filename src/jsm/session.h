/* Sessions and users: the state of one worker. A session is apart from its stream; a user is there while anything needs him. */
#ifndef SIGNET_JSM_SESSION_H
#define SIGNET_JSM_SESSION_H
#include "base/list.h"
#include "base/map.h"
#include "broker/gate.h"
#include "broker/lane.h"
#include "broker/window.h"
#include "io/worker.h"
#include "jsm/jsm.h"
#include "store/store.h"

enum session_state { SESSION_BINDING, SESSION_OPEN, SESSION_ENDING, SESSION_ENDED, SESSION_STATES };
struct session {
    uint64_t id;
    struct list node; /* in user->sessions, from its bind on */
    struct user *user;
    struct arena *arena; /* holds `full` */
    struct jid full;
    struct c2s *c2s; /* NULL: the stream is gone */
    struct list written; /* struct unacked: what matters of what the stream's kernel buffer has not taken yet */
    struct list settling; /* in jsm->settling or jsm->slow, while there is such */
    struct resume *resume; /* stream management; NULL: not enabled */
    bool detached; /* the stream was cut, the session may be resumed: it takes stanzas as before */
    unsigned state; /* enum session_state */
    uint64_t since_wall_ms;
    /* presence */
    struct stanza *presence; /* the last available one without `to`; NULL: not available */
    struct stanza *hidden; /* that presence, while others are told that it is unavailable as it has no stream; NULL: they are not */
    int priority;
    bool roster_versions; /* ... with a version (RFC 6121, 2.6): pushes carry it */
    bool interested; /* has asked for the roster: gets pushes (RFC 6121, 2.1.6) */
    bool carbons; /* gets copies of the user's other sessions' messages (XEP-0280) */
    struct had *had; /* the messages it had as others of its user had; NULL: none */
    struct csi *csi; /* NULL: the client is active (XEP-0352) */
    bool blocking_interested; /* has asked for the block list: gets pushes (XEP-0191) */
    uint64_t heard_ms; /* when its client sent something last (worker_now_ms) */
    struct map directed; /* JIDs this session sent available presence to and is not subscribed by; value = key's own copy */
    /* sending */
    struct lane_set sending;
    struct gate gate; /* outgoing stanzas */
    struct window window; /* of its tickets */
    bool reading_stopped; /* by the window or a brake */
    struct list brakes; /* struct brake: what it waits for */
    uint32_t turns; /* what it may send where others wait, before it waits too (brake.c) */
    struct list ticket_waits; /* struct ticket_wait: what waits for other copies of a stanza to be done */
    struct list arriving; /* what features deliver to it, in their order (dispatch.c) */
    /* ending */
    bool end_graceful;
    bool end_told; /* es_END is raised */
    struct list end_waits; /* struct session_wait: what waits for this session to be gone */
};
struct session_wait {
    struct list node;
    void (*fn)(struct session_wait *wait);
};

struct roster_item {
    char *jid, *name; /* name NULL: none */
    enum subscription subscription;
    bool ask, approved, in_roster;
    char *pending_in; /* serialised subscribe stanza; NULL: none */
    char **groups;
    unsigned n_groups;
};
struct user_wait {
    struct list node;
    void (*fn)(struct user_wait *wait);
};
struct left { /* offline messages that an outage left in the store though there was a session for them (offline.c) */
    struct map senders; /* a set of bare JIDs */
    bool all; /* the store could not be read */
    struct wheel_timer retry;
};
enum user_state { USER_LOADING, USER_READY, USER_UNKNOWN, USER_FAILED };
struct user {
    struct jid jid; /* bare */
    struct arena *arena;
    unsigned refs; /* sessions and stanzas under way */
    enum user_state state;
    bool gone; /* the account was deleted: late stanzas die */
    struct list sessions;
    struct list load_waits; /* until the user is loaded */
    struct list flush_waits; /* until the offline flush is over: live stanzas come after it */
    struct list flushes; /* offline flushes, one at a time */
    struct left left;
    struct imap kept; /* stanza id -> struct kept: in the store, and on its way to sessions */
    struct map roster; /* bare JID -> struct roster_item */
    uint64_t roster_version;
    uint64_t writes, writes_before_load; /* batches given to the store */
    struct lane_set receiving;
    struct map blocked; /* a set of JIDs (XEP-0191) */
    uint64_t *carbon_ids; /* hashes of the last sent messages that were copied; NULL: none yet */
    unsigned carbon_next;
    uint64_t last_ms; /* when he was last there (XEP-0012) */
    char *last_status; /* of his logout; NULL: none */
    uint64_t motd_seen; /* the version of the message of the day that was shown last */
    bool greeted; /* has been there before */
};

struct jsm_worker { /* one per worker thread */
    const struct config *config;
    uint64_t started_ms;
    struct map users;
    struct imap sessions;
    uint64_t next_session;
    struct list incoming; /* stanzas under way to users of this worker */
    struct list outgoing; /* stanzas under way from sessions of this worker */
    struct list settling, slow; /* sessions that were written to in this turn, and those whose output waited at the end of one (unacked.c) */
    struct turn_hook settle_hook;
    struct wheel_timer slow_timer;
    struct list braked; /* struct brake, in the order in which their sessions came to wait */
    struct list kept_over; /* struct kept: to be removed from the store */
    struct turn_hook kept_hook;
    unsigned anew; /* of incoming: unacknowledged messages of sessions that ended */
    bool draining; /* what sessions still send is refused */
    bool returning; /* and what arrives goes back to its sender */
};
extern _Thread_local struct jsm_worker *jsm;

/* ---- users ---- */
struct user *user_hold(const struct jid *jid); /* found or made (and then loading); one reference more */
void user_release(struct user *u);
struct user *user_find(struct str bare); /* no reference; NULL: not in memory */
void user_when_loaded(struct user *u, struct user_wait *wait); /* fn runs now when loaded already */
void user_reload(struct user *u); /* a commit failed: memory follows the store again */
struct roster_item *roster_find(const struct user *u, struct str bare); /* NULL: none */
struct roster_item *roster_make(struct user *u, struct str bare); /* found or made (in_roster false) */
void roster_drop(struct user *u, struct str bare);
void roster_set_groups(struct roster_item *item, const struct str *groups, unsigned n);
#define ROSTER_GROUPS_MAX 256
/* The item as the store has it; all is borrowed, of the item and of groups. */
struct store_roster_item roster_row(const struct roster_item *item, struct str groups[ROSTER_GROUPS_MAX]);
void roster_save(struct store_batch *b, struct user *u, const struct roster_item *item); /* a new roster version */

/* ---- sessions ---- */
struct session *session_new(struct user *u, struct c2s *c2s, struct str resource); /* in state BINDING; the user is held */
void session_open(struct session *s);
enum { SESSION_WORKER_SHIFT = 48 };
static inline uint32_t session_worker(uint64_t id) { return (uint32_t)(id >> SESSION_WORKER_SHIFT) - 1; }
struct session *session_get(uint64_t id); /* of this worker; NULL: gone */
struct session *session_by_resource(const struct user *u, struct str resource);
uint64_t *user_session_ids(const struct user *u, size_t *n); /* to end several: the end of one may bring that of others. To be freed */
static inline bool session_available(const struct session *s) { return s->presence != NULL && s->state == SESSION_OPEN; }
/* What is sent to it reaches it, now or when it resumes. A stream that is closing swallows what is written, and tells of its end only from the loop. */
bool session_takes(const struct session *s);
bool session_takes_messages(const struct session *s); /* to the bare JID (RFC 6121, 8.5.2.1.1) */
/* The stream is gone or shall go: once what is under way has finished, unavailable presence and es_END, then the session is freed. */
void session_end(struct session *s, bool graceful);
void session_abandon(struct session *s); /* shutdown: raises es_END of one that has ended but waits for stanzas which will not finish */
void session_kick(struct session *s, const char *condition, const char *text); /* closes the stream, then session_end */
void session_finished_one(struct session *s); /* an outgoing stanza is done: barriers and a pending end may go on */
void session_read_control(struct session *s); /* stops or restarts the reader, by the number of open tickets and the brake */

#endif
