/* What a database must do for the store. Private to src/store.
 *
 * A backend is used by one thread at a time, with blocking calls: first by the one that starts the store, then by the store's own thread.
 * Results are allocated in the arena given. Look-ups return 1 (found), 0 (not there) or -1 (failed, err is set); the others 0 or -1.
 * Every call between begin() and commit() belongs to that transaction; reads may also run outside of one. */
#ifndef SIGNET_STORE_BACKEND_H
#define SIGNET_STORE_BACKEND_H
#include "base/arena.h"
#include "store/rooms.h"
#include "store/store.h"

enum store_step_kind {
    STEP_ROSTER_SET,
    STEP_ROSTER_DELETE,
    STEP_OFFLINE_ADD,
    STEP_OFFLINE_DELETE,
    STEP_DOCUMENT_SET,
    STEP_BLOCKED_SET,
    STEP_NOTICED,
};
struct store_document { /* xml absent: it is deleted */
    struct str area, name, xml;
    unsigned max; /* of the area */
};
struct store_step { /* of a batch */
    enum store_step_kind kind;
    uint64_t roster_version; /* both roster kinds */
    union {
        struct store_roster_item item;
        struct str jid;
        struct {
            struct stanza *stanza; /* a reference */
            uint64_t wall_ms;
            unsigned max;
        } add;
        uint64_t sid;
        struct store_document document;
        struct {
            struct str jid; /* absent: all */
            bool blocked;
        } blocked;
        uint64_t motd_seen;
    } u;
};
enum store_room_step_kind { ROOM_STEP_SET, ROOM_STEP_DELETE, ROOM_STEP_AFFILIATED, ROOM_STEP_PAST_ADD, ROOM_STEP_PAST_DELETE };
struct store_room_step { /* of a batch of one room */
    struct store_room_step *next;
    enum store_room_step_kind kind;
    union {
        struct store_room_fields fields;
        struct store_affiliated affiliated;
        struct {
            struct stanza *stanza; /* a reference */
            uint64_t wall_ms;
            unsigned keep;
        } past;
        uint64_t sid;
    } u;
};
struct store_compliance {
    int64_t version;
    struct str json;
};

struct store_backend {
    const char *name;
    int (*open)(const struct config *config, uint32_t *boot, struct err *err); /* migrates; *boot: starts of this store, this one included */
    void (*close)(void); /* after a failed open too */

    int (*begin)(struct err *err);
    int (*commit)(struct err *err); /* 0: it is on disk. -1: nothing of it remains, rollback() must follow */
    void (*rollback)(void); /* the whole transaction; harmless when there is none */
    int (*mark)(struct err *err); /* a place within the transaction to come back to; one at a time */
    int (*keep)(struct err *err); /* forgets the mark */
    int (*undo)(struct err *err); /* back to the mark and forgets it; -1: the whole transaction is lost, rollback() must follow */

    int (*account_get)(struct str user, struct arena *a, struct store_account *out, struct err *err); /* look-up */
    int (*account_list)(struct str domain, struct str after, unsigned limit, struct arena *a, struct store_account **out, size_t *n, struct err *err);
    int (*account_names)(struct str domain, bool disabled, unsigned limit, struct arena *a, struct str **out, size_t *n, uint64_t *total, struct err *err);
    int (*account_create)(struct str user, const struct scram_keys keys[SCRAM_HASHES], uint64_t wall_ms, struct err *err);
    int (*account_set_keys)(struct str user, const struct scram_keys keys[SCRAM_HASHES], struct err *err);
    int (*account_set_disabled)(struct str user, bool disabled, struct err *err);
    int (*account_set_login)(struct str user, uint64_t wall_ms, struct err *err);
    int (*account_set_logout)(struct str user, uint64_t wall_ms, struct str status, struct err *err);
    int (*account_delete)(struct str user, struct err *err);

    int (*user_load)(struct str user, struct arena *a, struct store_user *out, struct err *err);
    int (*offline_load)(struct str user, uint64_t after_sid, unsigned limit, struct arena *a, struct store_offline_item **out, size_t *n,
                        struct err *err);
    int (*document_load)(struct str user, struct str area, struct str name, struct arena *a, struct str *xml, struct err *err); /* look-up */
    int (*batch)(struct str user, const struct store_step *steps, unsigned n, struct err *err);

    int (*notice_load)(struct arena *a, struct store_notice **out, size_t *n, struct err *err);
    int (*notice_set)(struct str domain, struct str kind, struct str text, bool anew, uint64_t *version, struct err *err);

    int (*room_load)(struct str room, struct arena *a, struct store_room *out, struct err *err); /* look-up */
    int (*room_list)(struct arena *a, struct store_room **out, size_t *n, struct err *err); /* address and config only */
    int (*room_batch)(struct str room, const struct store_room_step *steps, struct err *err);

    int (*compliance_load)(int64_t version, struct arena *a, struct store_compliance *out, struct err *err); /* look-up; version 0: the newest */
    int (*compliance_add)(struct str json, const struct store_compliance_note *note, unsigned keep, struct err *err);
    int (*compliance_list)(unsigned limit, struct arena *a, struct store_compliance_note **out, size_t *n, struct err *err);
};
extern const struct store_backend store_sqlite;

#endif
