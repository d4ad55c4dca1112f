/* The store: what src/store/store.c does with its thread, done on the loop, a request per turn. All requests of a script run in one transaction, each that
 * writes under a mark of its own; a rollback ends it. */
#include "base/log.h"
#include "store/fault.h"
#include "store/request.h"
#include "world.h"
#include "io/worker.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const struct store_backend *backend;
    struct config *config;
    struct store_request *first, **last;
    bool held, under_way;
    unsigned accounts;
    char dir[64];
} data = {.backend = &store_sqlite, .last = &data.first};

static void data_next(void *arg);

static void data_go_on(void)
{
    if (data.first == NULL || data.held || data.under_way) return;
    data.under_way = true;
    loop_post(data_next, NULL);
}

static void run(struct store_request *r)
{
    struct err undo;
    if (!r->op->writes) {
        r->failed = r->op->run(r, data.backend, &r->err) != 0;
        return;
    }
    bool marked = data.backend->mark(&r->err) == 0;
    r->failed = !(marked && r->op->run(r, data.backend, &r->err) == 0 && data.backend->keep(&r->err) == 0);
    if (r->failed) MUST_HOLD(data.backend->undo(&undo) == 0);
}

static void data_next(void *arg)
{
    (void)arg;
    data.under_way = false;
    struct store_request *r = data.first;
    data.first = r->next;
    if (data.first == NULL) data.last = &data.first;
    run(r);
    data_go_on();
    r->op->done(r);
    store_request_free(r);
}

void store_request_submit(struct store_request *take)
{
    take->worker = 0;
    take->next = NULL;
    *data.last = take;
    data.last = &take->next;
    static const char *const changes[] = {"account create", "account set disabled", "account delete"};
    for (unsigned i = 0; i < 3; i++) data.accounts += strcmp(take->op->name, changes[i]) == 0;
    data_go_on();
}

void store_request_free(struct store_request *r)
{
    if (r->op->release != NULL) r->op->release(r);
    arena_free(r->arena);
}

void data_hold(bool hold)
{
    data.held = hold;
    data_go_on();
}

unsigned data_changed_accounts(void) { return data.accounts; }

/* OpenSSL's, in its place: keys are slow to derive, on purpose. Here any that differ with the password do. */
int PKCS5_PBKDF2_HMAC(const char *password, int length, const unsigned char *salt, int salt_length, int iterations, const EVP_MD *digest, int size,
                      unsigned char *out)
{
    (void)salt, (void)salt_length, (void)iterations, (void)digest;
    memset(out, length > 0 ? (unsigned char)password[0] : 0, (size_t)size);
    return 1;
}

void data_offline(void (*fn)(uint64_t sid))
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct arena *a = arena_new(0);
        struct store_offline_item *items;
        size_t n = 0;
        struct err err;
        if (data.backend->offline_load(clients[i].user.bare, 0, 100, a, &items, &n, &err) != 0) n = 0;
        for (size_t m = 0; m < n; m++) fn(items[m].sid);
        arena_free(a);
    }
}

void data_begin(void)
{
    struct err err;
    data.accounts = 0;
    MUST_HOLD(data.backend->begin(&err) == 0);
}

void data_end(void)
{
    MUST_HOLD(data.first == NULL && !data.held && !data.under_way);
    store_fault_arm(STORE_FAULT_STATEMENT, 0, 0);
    data.backend->rollback();
}

static void data_close(void)
{
    data.backend->close();
    struct buf b = {0};
    static const char *const files[] = {"/store.db", "/store.db-wal", "/store.db-shm", ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        buf_reset(&b);
        buf_addf(&b, "%s%s", data.dir, files[i]);
        (void)remove(buf_cstr(&b));
    }
    buf_free(&b);
    config_free(data.config);
}

void data_start(struct config *config)
{
    struct err err = {0};
    uint32_t boot = 0;
    data.config = config;
    memcpy(data.dir, "/tmp/signet-fuzz-XXXXXX", sizeof "/tmp/signet-fuzz-XXXXXX");
    if (mkdtemp(data.dir) == NULL) abort();
    free(config->server_data_dir);
    config->server_data_dir = x_strdup(data.dir);
    MUST_HOLD(data.backend->open(config, &boot, &err) == 0);
    atexit(data_close);
    static const char *const users[] = {"romeo@" DOMAIN, "juliet@" DOMAIN, "tybalt@" DOMAIN};
    struct scram_keys keys[SCRAM_HASHES];
    for (unsigned hash = 0; hash < SCRAM_HASHES; hash++) MUST_HOLD(scram_keys_make((enum scram_hash)hash, STR("secret"), 4096, &keys[hash], &err) == 0);
    MUST_HOLD(data.backend->begin(&err) == 0);
    for (unsigned i = 0; i < 3; i++) MUST_HOLD(data.backend->account_create(str_of(users[i]), keys, 1795000000000, &err) == 0);
    for (unsigned i = 0; i < 2; i++) {
        struct store_step step = {
            .kind = STEP_ROSTER_SET, .roster_version = 1, .u.item = {.jid = str_of(users[1 - i]), .subscription = SUBSCRIPTION_BOTH, .in_roster = true}};
        MUST_HOLD(data.backend->batch(str_of(users[i]), &step, 1, &err) == 0);
    }
    MUST_HOLD(data.backend->commit(&err) == 0);
}
