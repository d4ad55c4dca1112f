/* signetd: starts the layers from the bottom up, waits for a signal, and takes them down in order: no new connections, stanzas finish, sessions end, links
 * close gracefully, the store is flushed. */
#include "admin/api.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "broker/broker.h"
#include "io/worker.h"
#include "jsm/brake.h"
#include "jsm/jsm.h"
#include "jsm/service.h"
#include "router/route.h"
#include "signetd/certificates.h"
#include "store/store.h"
#include "tc/tc.h"
#include "xml/parser.h"
#include "xmpp/c2s.h"
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/signet/signet.conf"
#define MAX_OVERRIDES 64

struct daemon {
    const char *config_path;
    const char *overrides[MAX_OVERRIDES];
    unsigned n_overrides;
    struct config config;
    char *node;
    struct tls_context *tls;
    bool check_only, print_config;
    atomic_bool restart; /* set before the signal that stops us */
};

static void usage(FILE *out)
{
    fputs("Usage: signetd [-c FILE] [-o SECTION.OPTION=VALUE]... [--check | --print-config]\n"
          "\n"
          "The Signet XMPP service with compliance.\n"
          "\n"
          "  -c, --config FILE     the configuration file (default " DEFAULT_CONFIG ")\n"
          "  -o, --option S.O=V    overrides one option of the file\n"
          "      --check           checks the configuration and exits\n"
          "      --print-config    prints the configuration in force, secrets blanked, and exits\n"
          "  -h, --help            this text\n"
          "  -V, --version         the version\n"
          "\n"
          "Signals: TERM and INT stop orderly; HUP reopens the log and reads the certificates anew.\n",
          out);
}

/* 0: go on; otherwise the process ends with *status. */
static int parse_arguments(struct daemon *d, int argc, char **argv, int *status)
{
    enum { OPT_CHECK = 256, OPT_PRINT };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},   {"option", required_argument, NULL, 'o'}, {"check", no_argument, NULL, OPT_CHECK},
        {"print-config", no_argument, NULL, OPT_PRINT}, {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:o:hV", options, NULL)) != -1) {
        switch (c) {
        case 'c': d->config_path = optarg; break;
        case 'o':
            if (d->n_overrides == MAX_OVERRIDES) {
                fprintf(stderr, "signetd: at most %d -o options; put them into the configuration file\n", MAX_OVERRIDES);
                return *status = 2, -1;
            }
            d->overrides[d->n_overrides++] = optarg;
            break;
        case OPT_CHECK: d->check_only = true; break;
        case OPT_PRINT: d->print_config = true; break;
        case 'h': usage(stdout); return *status = 0, -1;
        case 'V': puts("signetd " SIGNET_VERSION); return *status = 0, -1;
        default: usage(stderr); return *status = 2, -1;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "signetd: '%s' is not understood; see signetd --help\n", argv[optind]);
        return *status = 2, -1;
    }
    return 0;
}

static char *node_name(const struct config *config)
{
    if (config->server_node[0] != '\0') return x_strdup(config->server_node);
    char host[256];
    if (gethostname(host, sizeof(host)) != 0 || host[0] == '\0') return x_strdup("localhost");
    host[sizeof(host) - 1] = '\0';
    return x_strdup(host);
}

/* For compliance servers that dial in with TLS. */
static int component_certificate(const struct daemon *d, struct err *err)
{
    if (*d->config.component_listen_tls == '\0') return 0;
    struct tls_context *tls = certificates_load(&d->config, false, err);
    if (tls == NULL) return -1;
    broker_set_tls(tls);
    tls_unref(tls);
    return 0;
}

static void reload_certificates(struct daemon *d)
{
    struct err err;
    struct tls_context *fresh = certificates_load(&d->config, true, &err);
    if (fresh == NULL || component_certificate(d, &err) != 0) {
        log_error("tls", "the certificates were not reloaded, the old ones stay: %s", err.text);
        tls_unref(fresh);
        return;
    }
    c2s_set_tls(fresh);
    tls_unref(d->tls);
    d->tls = fresh;
    log_notice("tls", "certificates reloaded");
    if (admin_compliance_reload(&err) != 0) log_error("tls", "those of compliance servers were not reloaded, the old ones stay: %s", err.text);
}

/* Of the settings, those of chat rooms may change while it runs. */
static void reload_settings(struct daemon *d)
{
    struct err err;
    struct config *fresh = x_calloc(1, sizeof(*fresh));
    if (config_load(fresh, d->config_path, d->overrides, d->n_overrides, &err) != 0) {
        free(fresh);
        log_error("signetd", "the configuration was not reloaded, the old one stays: %s", err.text);
    } else if (tc_reload(fresh, &err) != 0) {
        log_error("signetd", "the settings of chat rooms were not reloaded, the old ones stay: %s", err.text);
    } else {
        log_notice("signetd", "the settings of chat rooms are reloaded; the others count from the next start on");
    }
}

static struct daemon the_daemon = {.config_path = DEFAULT_CONFIG};

static void worker_begin(unsigned worker)
{
    (void)worker;
    jsm_worker_start(&the_daemon.config);
    tc_worker_start();
    broker_worker_start();
}

static void worker_end(unsigned worker)
{
    (void)worker;
    tc_worker_stop();
    jsm_worker_stop();
    xml_parsers_trim();
}

/* Listening is asked of each worker; the first error wins. */
struct listen_call {
    pthread_mutex_t lock;
    bool failed;
    struct err err;
};

static void listen_worker(uint32_t worker, void *arg)
{
    (void)worker;
    struct listen_call *call = arg;
    struct err err = {0};
    if (broker_listen(&err) == 0 && c2s_listen(&err) == 0) return;
    pthread_mutex_lock(&call->lock);
    if (!call->failed) call->err = err;
    call->failed = true;
    pthread_mutex_unlock(&call->lock);
}

static int listen_everywhere(struct err *err)
{
    struct listen_call call = {.lock = PTHREAD_MUTEX_INITIALIZER};
    worker_each(listen_worker, NULL, &call);
    if (!call.failed) return 0;
    *err = call.err;
    return -1;
}

static void stop_listening(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    c2s_listen_stop();
}

static void ask_reload(void) { kill(getpid(), SIGHUP); }
static const struct admin_ops admin_ops = {.reload = ask_reload};

/* A restart is a stop after which the process begins anew, as the same one: what supervises it sees no end. */
static void stop_service(bool restart)
{
    the_daemon.restart = restart;
    kill(getpid(), SIGTERM);
}
static const struct service_ops service_ops = {.stop = stop_service};

/* From the bottom up. What fails says so and nothing is half-started: the process ends. */
static int start(struct daemon *d, struct err *err)
{
    const struct config *config = &d->config;
    if (store_start(config, err) != 0) return -1;
    uint32_t boot = store_boot_number();
    stanza_ids_start(boot);
    if ((d->tls = certificates_load(config, true, err)) == NULL || component_certificate(d, err) != 0) return -1;
    if (router_start(config, &jsm_router_ops, err) != 0) return -1;
    if (broker_start(config, d->node, boot, err) != 0) return -1;
    intake_set_senders(&jsm_senders);
    if (tc_start(config, err) != 0) return -1;
    if (c2s_start(config, &jsm_c2s_ops, d->tls, err) != 0) return -1;
    if (workers_start((unsigned)config->server_workers, worker_begin, err) != 0) return -1;
    if (service_start(config, &service_ops, err) != 0) return -1;
    if (admin_compliance_start(err) != 0) return -1;
    if (listen_everywhere(err) != 0) return -1;
    return admin_start(config, d->node, &admin_ops, err);
}

static void run(struct daemon *d, const sigset_t *signals)
{
    for (;;) {
        int sig = 0;
        if (sigwait(signals, &sig) != 0) continue;
        if (sig != SIGHUP) {
            log_notice("signetd", "stopping on signal %d", sig);
            return;
        }
        struct err err;
        sd_notify(0, "RELOADING=1");
        if (log_reopen(&err) != 0) log_error("signetd", "the log could not be reopened: %s", err.text);
        reload_certificates(d);
        reload_settings(d);
        sd_notify(0, "READY=1");
    }
}

static void stop(struct daemon *d)
{
    sd_notify(0, d->restart ? "RELOADING=1" : "STOPPING=1"); /* who restarts stays */
    worker_each(stop_listening, NULL, NULL);
    jsm_drain((uint64_t)d->config.server_shutdown_wait * 1000, tc_close_rooms);
    admin_stop();
    broker_stop((uint64_t)d->config.server_shutdown_wait * 1000);
    if (!store_settle((uint64_t)d->config.server_shutdown_wait * 1000)) log_warn("signetd", "the store is still busy after shutdown_wait");
    workers_stop(worker_end);
    c2s_stop();
    store_stop();
    tc_stop();
    router_stop();
    tls_unref(d->tls);
}

/* Each connection is a descriptor, and what a shell gives by default is soon used up: take all that is allowed. */
static void raise_descriptors(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max) return;
    rlim_t before = files.rlim_cur;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) == 0)
        log_info("signetd", "up to %llu descriptors instead of %llu", (unsigned long long)files.rlim_max, (unsigned long long)before);
}

int main(int argc, char **argv)
{
    struct daemon *d = &the_daemon;
    struct err err = {0};
    int status = 0;
    if (parse_arguments(d, argc, argv, &status) != 0) return status;
    if (config_load(&d->config, d->config_path, d->overrides, d->n_overrides, &err) != 0) {
        fprintf(stderr, "signetd: %s\n", err.text);
        return 78; /* EX_CONFIG */
    }
    if (d->check_only || d->print_config) {
        struct buf out = {0};
        config_print(&d->config, &out);
        if (d->print_config) fwrite(out.data, 1, out.len, stdout);
        buf_free(&out);
        config_free(&d->config);
        return 0;
    }
    int level = log_level_parse(d->config.log_level);
    if (level < 0 || log_start((enum log_level)level, d->config.log_format, d->config.log_target, &err) != 0) {
        fprintf(stderr, "signetd: %s\n", level < 0 ? "log.level: one of error, warn, notice, info, debug" : err.text);
        return 78;
    }
    sigset_t signals; /* blocked in all threads, taken here */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    d->node = node_name(&d->config);
    if (start(d, &err) != 0) {
        log_error("signetd", "cannot start: %s", err.text);
        fprintf(stderr, "signetd: cannot start: %s\n", err.text);
        log_stop();
        _exit(1); /* threads may run: nothing was let in yet */
    }
    log_notice("signetd", "signetd " SIGNET_VERSION " on node %s serves %s", d->node, d->config.server_domains);
    sd_notify(0, "READY=1");
    run(d, &signals);
    stop(d);
    log_notice("signetd", "stopped");
    free(d->node);
    config_free(&d->config);
    log_stop();
    if (d->restart) {
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
        execvp(argv[0], argv); /* the program as it is installed now */
        execv("/proc/self/exe", argv);
        perror("signetd: cannot start again");
        return 1;
    }
    return 0;
}
