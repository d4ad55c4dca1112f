/* The accounts: as a CSV file for `signetctl user import`, or registered with the server itself, one after the other on one stream (XEP-0077). */
#include "crowd.h"
#include "scan.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct registration {
    const struct options *o;
    struct client client;
    unsigned next, made, existed;
    bool done;
    char why[400];
};

static int write_csv(const struct options *o, struct err *err)
{
    FILE *f = strcmp(o->csv, "-") == 0 ? stdout : fopen(o->csv, "we");
    if (f == NULL) return err_set(err, ERR_IO, "%s cannot be written: %s", o->csv, strerror(errno));
    fputs("jid,password\n", f);
    for (unsigned i = 0; i < o->count; i++) {
        char user[256];
        options_user(o, i, user);
        fprintf(f, "%s@%s,\"", user, o->domain);
        for (const char *p = o->password; *p != '\0'; p++) fputs(*p == '"' ? "\"\"" : (char[]){*p, '\0'}, f);
        fputs("\"\n", f);
    }
    bool failed = ferror(f) != 0;
    if (f != stdout && fclose(f) != 0) failed = true;
    return failed ? err_set(err, ERR_IO, "%s cannot be written: %s", o->csv, strerror(errno)) : 0;
}

static void ask(struct registration *r)
{
    char user[256];
    if (r->next == r->o->count) {
        r->done = true;
        return;
    }
    options_user(r->o, r->next, user);
    buf_addf(net_out(r->client.net), "<iq type='set' id='r%u'><query xmlns='jabber:iq:register'><username>%s</username><password>", r->next, user);
    for (const char *p = r->o->password; *p != '\0'; p++) {
        const char *entity = *p == '<' ? "&lt;" : *p == '&' ? "&amp;" : NULL;
        if (entity != NULL) {
            buf_adds(net_out(r->client.net), entity);
        } else {
            buf_addc(net_out(r->client.net), *p);
        }
    }
    buf_adds(net_out(r->client.net), "</password></query></iq>");
    net_touch(r->client.net);
}

static void on_ready(struct client *c) { ask(c->owner); }

static void on_answer(struct client *c, struct str e, uint64_t now_ns)
{
    struct registration *r = c->owner;
    struct str type = scan_attribute(e, "type");
    (void)now_ns;
    if (!str_is(scan_name(e), "iq")) return;
    if (str_is(type, "result")) {
        r->made++;
    } else if (scan_contains(e, "<conflict")) {
        r->existed++;
    } else {
        snprintf(r->why, sizeof r->why, "account %u is refused: %.*s", r->next, (int)(e.n > 300 ? 300 : e.n), e.p);
        return;
    }
    r->next++;
    ask(r);
}

static void on_gone(struct client *c, const char *why)
{
    struct registration *r = c->owner;
    if (r->why[0] == '\0') snprintf(r->why, sizeof r->why, "%s", why);
}

static int in_band(const struct options *o, struct err *err)
{
    static const struct client_ops ops = {on_ready, on_answer, on_gone};
    struct registration r = {.o = o};
    r.client.owner = &r;
    client_start(&r.client, 0, CLIENT_FEATURES, &ops);
    while (!r.done && r.why[0] == '\0') {
        net_turn(100000000);
        progress(o, "%u accounts made, %u were there already", r.made, r.existed);
    }
    progress_end();
    client_close(&r.client);
    net_turn(0);
    if (r.why[0] != '\0') return err_set(err, ERR_IO, "%s", r.why);
    if (o->json) {
        printf("{\"made\": %u, \"existed\": %u}\n", r.made, r.existed);
    } else {
        printf("%u accounts made, %u were there already\n", r.made, r.existed);
    }
    return 0;
}

int accounts_run(const struct options *o, struct err *err) { return o->csv != NULL ? write_csv(o, err) : in_band(o, err); }
