/* Counting connections and failed logins.
 *
 * One table for addresses and one for accounts. An entry is there while it has connections, or failures that are not forgotten yet; those with failures stand
 * in a list, the one that failed last at its end. So forgetting looks at the head only, and when the table is full the head goes: somebody who can
 * fill it with failures from other addresses gains what he could have had from those anyway.
 *
 * Blocks all last equally long, so they end in the order in which they began: another list. The alarm stands while there is any block.
 *
 * One lock for all of it, taken once per connection and per failed login, never while something waits. */
#include "xmpp/guard.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FREE_FAILURES = 3, /* people mistype: the answers to these do not wait */ NETWORKS_MAX = 256 };

struct entry {
    struct list failed;  /* in table.failed while failures > 0 */
    struct list blocked; /* in table.blocked while it is */
    unsigned connections, failures;
    uint64_t window_end_ms, forget_ms, blocked_until_ms; /* blocked_until_ms 0: not blocked */
    char key[];
};
static struct table {
    const char *what; /* "address" */
    struct map entries;
    struct list failed, blocked;
    size_t n_failed;
    enum metric_id blocks;
} addresses = {.what = "address", .blocks = METRIC_LOGIN_BLOCKS_ADDRESS}, accounts = {.what = "account", .blocks = METRIC_LOGIN_BLOCKS_ACCOUNT};

static struct network {
    unsigned char address[16]; /* IPv4 mapped into IPv6 */
    unsigned bits;
} trusted[NETWORKS_MAX];
static unsigned n_trusted;
static const struct config *config;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- addresses ---- */

static bool address_parse(const char *text, unsigned char out[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    char bare[INET6_ADDRSTRLEN];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(text, "%"), text); /* fe80::1%eth0 */
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, bare, out + 12) == 1 || inet_pton(AF_INET6, bare, out) == 1;
}

static bool network_holds(const struct network *n, const unsigned char address[16])
{
    unsigned bytes = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->address, address, bytes) != 0) return false;
    return rest == 0 || ((n->address[bytes] ^ address[bytes]) >> (8 - rest)) == 0;
}

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" */
static int network_add(const char *text, size_t n, struct err *err)
{
    char copy[64];
    struct network *to = &trusted[n_trusted];
    if (n_trusted == NETWORKS_MAX) return err_set(err, ERR_LIMIT, "c2s.trusted_addresses: more than %d", NETWORKS_MAX);
    snprintf(copy, sizeof copy, "%.*s", (int)n, text);
    char *slash = strchr(copy, '/');
    if (slash) *slash++ = 0;
    unsigned most = strchr(copy, ':') ? 128 : 32;
    char *end = slash;
    unsigned long bits = slash ? strtoul(slash, &end, 10) : most;
    if (n >= sizeof copy || !address_parse(copy, to->address) || bits > most || (slash && (end == slash || *end)))
        return err_set(err, ERR_INVALID, "c2s.trusted_addresses: '%.*s' is no address or network; right would be 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32",
                       (int)n, text);
    to->bits = (unsigned)bits + 128 - most;
    n_trusted++;
    return 0;
}

bool guard_trusted(const char *address)
{
    unsigned char parsed[16];
    if (n_trusted == 0 || !address_parse(address, parsed)) return false;
    for (unsigned i = 0; i < n_trusted; i++)
        if (network_holds(&trusted[i], parsed)) return true;
    return false;
}

bool guard_key(const char *address, char out[GUARD_KEY_SIZE])
{
    unsigned char parsed[16];
    if (guard_trusted(address) || !address_parse(address, parsed)) return false;
    if (!strchr(address, ':')) {
        snprintf(out, GUARD_KEY_SIZE, "%.*s", INET6_ADDRSTRLEN, address);
        return true;
    }
    memset(parsed + 8, 0, 8);
    if (!inet_ntop(AF_INET6, parsed, out, INET6_ADDRSTRLEN)) return false;
    memcpy(out + strlen(out), "/64", 4);
    return true;
}

/* ---- entries; the lock is held ---- */

static struct entry *entry_get(const struct table *t, struct str key)
{
    return map_get(&t->entries, key);
}

static struct entry *entry_make(struct table *t, struct str key)
{
    struct entry *e = entry_get(t, key);
    if (e) return e;
    e = x_calloc(1, sizeof *e + key.n + 1);
    memcpy(e->key, key.p, key.n);
    map_put(&t->entries, key, e);
    return e;
}

static void entry_unblock(struct table *t, struct entry *e)
{
    if (e->blocked_until_ms == 0) return;
    e->blocked_until_ms = 0;
    list_remove(&e->blocked);
    metric_add(METRIC_LOGIN_BLOCKED, -1);
    log_notice("c2s", "the %s '%s' may log in again", t->what, e->key);
    if (list_empty(&t->blocked)) alarm_clear(ALARM_LOGIN_ATTACK, t->what);
}

/* Frees it when nothing is left to remember. */
static void entry_forget_failures(struct table *t, struct entry *e)
{
    entry_unblock(t, e);
    if (e->failures > 0) {
        list_remove(&e->failed);
        t->n_failed--;
        metric_add(METRIC_LOGIN_FAILURES_TRACKED, -1);
    }
    e->failures = 0;
    if (e->connections > 0) return;
    map_del(&t->entries, str_of(e->key));
    free(e);
}

static void table_sweep(struct table *t, uint64_t now)
{
    while (!list_empty(&t->blocked)) {
        struct entry *e = CONTAINER_OF(t->blocked.next, struct entry, blocked);
        if (e->blocked_until_ms > now) break;
        entry_unblock(t, e);
    }
    while (!list_empty(&t->failed)) {
        struct entry *e = CONTAINER_OF(t->failed.next, struct entry, failed);
        if (e->forget_ms > now) break;
        entry_forget_failures(t, e);
    }
}

static bool table_blocked(const struct table *t, struct str key)
{
    const struct entry *e = entry_get(t, key);
    return e && e->blocked_until_ms > clock_ms();
}

static void entry_block(struct table *t, struct entry *e, uint64_t now)
{
    e->blocked_until_ms = now + (uint64_t)config->c2s_block_time * 1000;
    list_push_back(&t->blocked, &e->blocked);
    metric_inc(t->blocks);
    metric_add(METRIC_LOGIN_BLOCKED, 1);
    log_warn("c2s", "the %s '%s' is blocked for %lld s after %u failed logins", t->what, e->key, (long long)config->c2s_block_time, e->failures);
    alarm_raise(ALARM_LOGIN_ATTACK, t->what, "%u failed logins of the %s '%s'; blocked for %lld s", e->failures, t->what, e->key,
                (long long)config->c2s_block_time);
}

static unsigned entry_failed(struct table *t, struct str key, int64_t limit)
{
    uint64_t now = clock_ms(), window = (uint64_t)config->c2s_login_window * 1000, block = (uint64_t)config->c2s_block_time * 1000;
    table_sweep(t, now);
    struct entry *e = entry_make(t, key);
    if (e->failures > 0) {
        list_remove(&e->failed);
        if (now >= e->window_end_ms) e->failures = 0;
    } else {
        t->n_failed++;
        metric_add(METRIC_LOGIN_FAILURES_TRACKED, 1);
    }
    list_push_back(&t->failed, &e->failed);
    if (e->failures++ == 0) e->window_end_ms = now + window;
    e->forget_ms = now + (window > block ? window : block);
    if (limit > 0 && e->failures >= limit && e->blocked_until_ms == 0) entry_block(t, e, now);
    unsigned failures = e->failures;
    if (t->n_failed > (size_t)config->c2s_failures_tracked) {
        metric_inc(METRIC_LOGIN_FAILURES_FORGOTTEN);
        entry_forget_failures(t, CONTAINER_OF(t->failed.next, struct entry, failed));
    }
    return failures;
}

/* ---- what streams ask ---- */

enum guard_answer guard_connect(const char *address)
{
    char key[GUARD_KEY_SIZE];
    if (!guard_key(address, key)) return GUARD_OK;
    enum guard_answer answer = GUARD_OK;
    pthread_mutex_lock(&lock);
    struct entry *e = entry_make(&addresses, str_of(key));
    if (e->blocked_until_ms > clock_ms())
        answer = GUARD_BLOCKED;
    else if (config->c2s_address_connections > 0 && e->connections >= config->c2s_address_connections)
        answer = GUARD_FULL;
    else
        e->connections++;
    pthread_mutex_unlock(&lock);
    return answer;
}

void guard_disconnect(const char *address)
{
    char key[GUARD_KEY_SIZE];
    if (!guard_key(address, key)) return;
    pthread_mutex_lock(&lock);
    struct entry *e = entry_get(&addresses, str_of(key));
    if (e && e->connections > 0 && --e->connections == 0 && e->failures == 0) entry_forget_failures(&addresses, e);
    pthread_mutex_unlock(&lock);
}

bool guard_address_blocked(const char *address)
{
    char key[GUARD_KEY_SIZE];
    if (!guard_key(address, key)) return false;
    pthread_mutex_lock(&lock);
    bool blocked = table_blocked(&addresses, str_of(key));
    pthread_mutex_unlock(&lock);
    return blocked;
}

bool guard_account_blocked(struct str account)
{
    if (!account.n) return false;
    pthread_mutex_lock(&lock);
    bool blocked = table_blocked(&accounts, account);
    pthread_mutex_unlock(&lock);
    return blocked;
}

unsigned guard_failed(const char *address, struct str account)
{
    char key[GUARD_KEY_SIZE];
    unsigned failures = 0;
    pthread_mutex_lock(&lock);
    if (guard_key(address, key)) entry_failed(&addresses, str_of(key), config->c2s_address_failures);
    if (account.n) failures = entry_failed(&accounts, account, config->c2s_account_failures);
    pthread_mutex_unlock(&lock);
    return failures;
}

void guard_succeeded(struct str account)
{
    pthread_mutex_lock(&lock);
    struct entry *e = entry_get(&accounts, account);
    if (e) entry_forget_failures(&accounts, e);
    pthread_mutex_unlock(&lock);
}

uint64_t guard_delay_ms(unsigned failures)
{
    uint64_t delay = (uint64_t)config->c2s_login_delay, most = (uint64_t)config->c2s_login_delay_max;
    if (failures <= FREE_FAILURES) return 0;
    for (unsigned i = FREE_FAILURES + 1; i < failures && delay < most; i++) delay *= 2;
    return delay < most ? delay : most;
}

void guard_sweep(void)
{
    pthread_mutex_lock(&lock);
    if (config) {
        table_sweep(&addresses, clock_ms());
        table_sweep(&accounts, clock_ms());
    }
    pthread_mutex_unlock(&lock);
}

/* ---- start and stop ---- */

int guard_start(const struct config *given, struct err *err)
{
    config = given;
    n_trusted = 0;
    for (const char *p = config->c2s_trusted_addresses; *p;) {
        size_t n = strcspn(p, " \t");
        if (n && network_add(p, n, err) < 0) return -1;
        p += n;
        p += strspn(p, " \t");
    }
    list_init(&addresses.failed);
    list_init(&addresses.blocked);
    list_init(&accounts.failed);
    list_init(&accounts.blocked);
    return 0;
}

static void table_free(struct table *t)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&t->entries, &it, &key, &value)) {
        struct entry *e = value;
        entry_unblock(t, e);
        if (e->failures > 0) metric_add(METRIC_LOGIN_FAILURES_TRACKED, -1);
        free(e);
    }
    map_free(&t->entries);
    t->entries = (struct map){0};
    t->n_failed = 0;
}

void guard_stop(void)
{
    pthread_mutex_lock(&lock);
    table_free(&addresses);
    table_free(&accounts);
    config = NULL;
    pthread_mutex_unlock(&lock);
}
