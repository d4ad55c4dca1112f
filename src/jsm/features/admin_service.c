/* XEP-0133, 4.23 to 4.31: announcements, the message of the day, the welcome message, the end of the service. */
#include "jsm/features/admin.h"
#include "jsm/service.h"
#include <stdlib.h>

static void announced(void *arg) { adhoc_done(arg); }

void admin_announce(struct adhoc_call *call) { service_announce(call->domain, form_lines(&call->values[0], call->fx->arena), 0, announced, call); }

/* ---- notices ---- */
static void filled(enum notice kind, struct arena *a, struct str domain, struct form_value *value)
{
    char *text = notice_text(kind, domain, NULL);
    if (text == NULL) return;
    struct str left = arena_str(a, str_of(text));
    free(text);
    struct str *lines = arena_zalloc(a, (left.n + 1) * sizeof(*lines));
    unsigned n = 0;
    for (const char *p = left.p, *end = left.p + left.n; p <= end; n++) {
        const char *stop = p;
        while (stop < end && *stop != '\n') stop++;
        lines[n] = (struct str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    *value = (struct form_value){lines, n};
}

void admin_motd_filled(struct arena *a, struct str domain, struct form_value *values) { filled(NOTICE_MOTD, a, domain, &values[0]); }
void admin_welcome_filled(struct arena *a, struct str domain, struct form_value *values) { filled(NOTICE_WELCOME, a, domain, &values[0]); }

static void done(void *arg, const struct err *err)
{
    if (err == NULL)
        adhoc_done(arg);
    else
        adhoc_failed(arg, err);
}

static void motd_stored(void *arg, const struct err *err)
{
    struct adhoc_call *call = arg;
    uint64_t version;
    if (err != NULL) {
        adhoc_failed(call, err);
        return;
    }
    free(notice_text(NOTICE_MOTD, call->domain, &version));
    service_announce(call->domain, form_lines(&call->values[0], call->fx->arena), version, announced, call);
}

static void change(struct adhoc_call *call, enum notice kind, bool anew, store_done_fn fn)
{
    notice_set(kind, call->domain, call->command->form.n_fields > 0 ? form_lines(&call->values[0], call->fx->arena) : STR_NONE, anew, fn, call);
}

void admin_set_motd(struct adhoc_call *call) { change(call, NOTICE_MOTD, true, motd_stored); }

/* Whoever has seen it is not told again; without one there is nothing to be corrected, and it is set. */
void admin_edit_motd(struct adhoc_call *call)
{
    char *text = notice_text(NOTICE_MOTD, call->domain, NULL);
    if (text == NULL)
        admin_set_motd(call);
    else
        change(call, NOTICE_MOTD, false, done);
    free(text);
}

void admin_delete_motd(struct adhoc_call *call) { change(call, NOTICE_MOTD, false, done); }
void admin_set_welcome(struct adhoc_call *call) { change(call, NOTICE_WELCOME, true, done); }
void admin_delete_welcome(struct adhoc_call *call) { change(call, NOTICE_WELCOME, false, done); }

/* ---- the end ---- */
static void stop(struct adhoc_call *call, bool restart)
{
    struct str delay = form_first(&call->values[0]), text = form_lines(&call->values[1], call->fx->arena);
    struct err err;
    if (service_stop_in(restart, delay.n > 0 ? (unsigned)strtoul(delay.p, NULL, 10) : 0, &err) != 0)
        adhoc_failed(call, &err);
    else if (text.p != NULL)
        service_announce(call->domain, text, 0, announced, call);
    else
        adhoc_done(call);
}

void admin_restart(struct adhoc_call *call) { stop(call, true); }
void admin_shutdown(struct adhoc_call *call) { stop(call, false); }
