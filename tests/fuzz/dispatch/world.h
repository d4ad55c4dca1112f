/* A world in memory for fuzz_dispatch.c: all of jsm, router and broker and the SQLite store, on a loop, a clock, client streams, component streams and a
 * source of randomness that this folder provides in their place. One thread, one worker, nothing that happens by itself: so a script has the same outcome
 * each time, and thousands run in a second.
 *
 * loop.c     src/io's worker: mailbox, turn hooks, timers, offloading; the clock
 * data.c     src/store's thread: requests are run on SQLite one by one; nothing is ever committed, so that a rollback makes the next script's world
 * streams.c  src/xmpp's client streams, and the clients at their other end
 * servers.c  src/xmpp's component streams, and the compliance servers at their other end */
#ifndef SIGNET_TESTS_FUZZ_WORLD_H
#define SIGNET_TESTS_FUZZ_WORLD_H
#include "../fuzz.h"
#include "base/config.h"
#include "base/list.h"
#include "xmpp/c2s.h"

#define DOMAIN "example.com"
struct text_item { /* of the lists below */
    struct list node;
    char *text;
};

/* ---- loop.c ---- */
void loop_begin(void); /* a new script; no timer may be set any more */
void loop_post(void (*fn)(void *arg), void *arg); /* in the next turn */
bool loop_turn(void); /* one turn; false: there was nothing to do */
void loop_settle(void); /* until there is nothing to do */
void loop_pass(uint64_t ms); /* time passes; timers run */

/* ---- data.c ---- */
void data_start(struct config *config); /* makes the accounts */
void data_begin(void);
void data_end(void); /* nothing has happened */
void data_hold(bool hold); /* requests wait until false is set */
unsigned data_changed_accounts(void); /* since data_begin(): requests that made, removed or disabled accounts */
void data_offline(void (*fn)(uint64_t sid)); /* every message that is stored now */

/* ---- streams.c ---- */
enum { CLIENTS = 5 };
struct got { /* what a client was sent */
    struct stanza *stanza;
    unsigned epoch;
};
struct request { /* an IQ get or set of a client */
    struct list node;
    struct str id;
    unsigned epoch;
    unsigned answers; /* when they are counted */
};
struct sent_message { /* that must not be lost */
    struct list node;
    uint64_t sid;
    unsigned client, epoch;
    bool excused; /* reached a client that lost it, or a compliance server took it */
};
struct client {
    unsigned slot;
    struct jid user;
    const char *resource;
    struct c2s *c2s; /* NULL: no stream */
    unsigned epoch; /* counts sessions; what belongs to an earlier one is past */
    bool open; /* the present session is bound, with or without a stream */
    bool blocks; /* has asked to block somebody, who may be just answering it */
    bool ended; /* some session of it has ended, or a stream was cut */
    char *token; /* it can be resumed; NULL: no */
    bool sm;
    uint32_t covered, sent; /* stanzas sent on this session: acknowledged by the server, in all */
    struct list unacked; /* text_items after `covered` */
    struct list inbox; /* text_items that the server has not read yet */
    bool reading;
    struct got *got;
    unsigned n_got, counted_from, acked; /* the first that counts for stream management, and how many it has acknowledged */
    struct list requests;
    struct list asked; /* text_items: answers to IQ requests it was sent */
};
extern struct client clients[CLIENTS];
extern struct list messages; /* struct sent_message */

void streams_start(const struct config *config);
void streams_begin(void);
void streams_end(void); /* frees what was noted of the script; all streams must be gone */
void client_connect(struct client *c); /* logs in, binds, waits for nothing */
void client_resume(struct client *c); /* logs in and resumes; binds when it cannot */
void client_cut(struct client *c, unsigned lost); /* the last `lost` stanzas have not reached it */
void client_says(struct client *c, const char *line); /* an order, see fuzz_dispatch.c; read when the server reads */
void client_answers(struct client *c); /* every IQ request it was sent */
void client_output(struct client *c, bool full); /* its stream takes no more output */
void stranger_says(const char *iq); /* a stream that is not logged in, and registers */
bool id_excused(struct str id); /* an answer may come from another client, as often as that one likes */
struct sent_message *message_of(uint64_t sid); /* NULL: none that must not be lost */

/* ---- servers.c ---- */
enum { SERVERS = 2, PLANS = 7 };
void servers_start(const struct config *config);
void servers_begin(void);
void servers_end(void);
void servers_plan(unsigned plan); /* 0: nobody is asked */
void servers_mode(char mode); /* how events are answered at once: p pass, h handle, e error, n not */
void server_answers(unsigned nth, const char *how); /* the nth event not answered yet; see fuzz_dispatch.c */
void server_fails(unsigned server, bool gracefully);
void server_returns(unsigned server);
void servers_recover(void); /* all are there and let everything pass */
/* Only then can be told what was let through: one server, asked for messages at es_IN, during all of the script, with answers that were understood. */
bool servers_asked_for_all(void);
bool server_passed(uint64_t sid, struct str session); /* its es_IN was answered with PASS */

#endif
