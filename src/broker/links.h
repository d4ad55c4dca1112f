/* The links that live on one worker, while configurations come and go. On that worker only. */
#ifndef SIGNET_BROKER_LINKS_H
#define SIGNET_BROKER_LINKS_H
#include "base/list.h"
#include "base/map.h"
#include "broker/setup.h"
#include "io/wheel.h"

struct links {
    struct imap by_id; /* struct link_io */
    struct list retired; /* those of by_id that the configuration has no more */
    struct wheel_timer timer; /* to see whether a retired one can go */
    const struct link_io_settings *settings;
    uint32_t (*oldest_era)(void); /* holds_oldest_era() of the worker it is called on */
    bool asking, stopped;
};
void links_init(struct links *links, const struct link_io_settings *settings, uint32_t (*oldest_era)(void));
void links_free(struct links *links);
struct link_io *links_find(const struct links *links, uint32_t id); /* NULL: it is not here */
void links_each(const struct links *links, void (*fn)(void *arg, uint32_t id, const struct link_io *l), void *arg);
/* A configuration comes: what it has anew begins to connect, what it has otherwise connects anew, what was retired is back. `intake_here`: where what is sent
 * to a link of this worker is counted; NULL: it lives on another. Nobody asks the new ones before the plan does. */
void links_begin(struct links *links, const struct setup *s, struct intake *(*intake_here)(uint32_t link));
unsigned links_coming(const struct links *links); /* new ones whose first attempt to connect is under way */
/* It has come: what it has no more is retired. before: the setup that the links went by until then, NULL: none. */
void links_retire(struct links *links, struct setup *before, const struct setup *s);
void links_stop(struct links *links, const char *why); /* all, for good */

#endif
