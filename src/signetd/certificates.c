/* Which certificate for which domain. The files are named for the domains they are for, so that a tool that renews certificates only has to put two files
 * in place and send SIGHUP; a domain without files of its own shares the default certificate.
 *
 * The default one is tls.certificate; without it that of the first domain which has one; without any a self-signed one is made, so that a first start
 * works without preparation. */
#include "signetd/certificates.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DOMAINS_MAX = 1024 };

struct pair {
    char *cert, *key;
};

static char *path_in(const char *dir, const char *name, const char *ending)
{
    struct buf path = {0};
    buf_addf(&path, "%s/%s%s", dir, name, ending);
    char *out = x_strdup(buf_cstr(&path));
    buf_free(&path);
    return out;
}

static void pair_free(struct pair *p)
{
    free(p->cert);
    free(p->key);
    *p = (struct pair){0};
}

/* The files of one domain; *there tells whether it has any. One without the other is a mistake and not "none". */
static int pair_of_domain(const char *dir, const char *domain, struct pair *out, bool *there, struct err *err)
{
    *out = (struct pair){path_in(dir, domain, ".crt"), path_in(dir, domain, ".key")};
    bool cert = access(out->cert, F_OK) == 0, key = access(out->key, F_OK) == 0;
    *there = cert && key;
    if (cert == key) return 0;
    err_set(err, ERR_INVALID, "tls.domains_dir has %s but not %s; a domain needs both", cert ? out->cert : out->key, cert ? out->key : out->cert);
    pair_free(out);
    return -1;
}

static int self_signed(const struct config *config, const char *const *domains, unsigned n, struct pair *out, struct err *err)
{
    bool made = false;
    *out = (struct pair){path_in(config->server_data_dir, "self-signed", ".crt"), path_in(config->server_data_dir, "self-signed", ".key")};
    if (tls_self_signed(out->cert, out->key, domains, n, &made, err) != 0) {
        pair_free(out);
        return -1;
    }
    log_notice("tls", "%s self-signed certificate %s: clients cannot verify it; set tls.certificate and tls.key for real use",
               made ? "made a" : "using the", out->cert);
    return 0;
}

static int default_pair(const struct config *config, const char *const *domains, unsigned n, struct pair *out, struct err *err)
{
    if (*config->tls_certificate != '\0') {
        *out = (struct pair){x_strdup(config->tls_certificate), x_strdup(config->tls_key)};
        return 0;
    }
    for (unsigned i = 0; i < n && *config->tls_domains_dir != '\0'; i++) {
        bool there;
        if (pair_of_domain(config->tls_domains_dir, domains[i], out, &there, err) != 0) return -1;
        if (there) return 0;
        pair_free(out);
    }
    return self_signed(config, domains, n, out, err);
}

static int add_domains(const struct config *config, struct tls_context *tls, const char *const *domains, unsigned n, struct err *err)
{
    unsigned own = 0;
    for (unsigned i = 0; i < n; i++) {
        struct pair pair;
        bool there;
        if (pair_of_domain(config->tls_domains_dir, domains[i], &pair, &there, err) != 0) return -1;
        int rc = there ? tls_server_add(tls, domains[i], pair.cert, pair.key, err) : 0;
        if (rc == 0) log_debug("tls", "%s shows %s", domains[i], there ? pair.cert : "the default certificate");
        pair_free(&pair);
        if (rc != 0) return -1;
        own += there;
    }
    log_info("tls", "%u of %u domains have a certificate of their own in %s", own, n, config->tls_domains_dir);
    return 0;
}

static struct tls_context *load(const struct config *config, bool clients, const char *const *domains, unsigned n, struct err *err)
{
    struct pair pair;
    if (default_pair(config, domains, n, &pair, err) != 0) return NULL;
    struct tls_context *tls = tls_server_new(pair.cert, pair.key, clients ? "xmpp-client" : NULL, err);
    pair_free(&pair);
    if (tls == NULL) return NULL;
    int rc = *config->tls_domains_dir != '\0' ? add_domains(config, tls, domains, n, err) : 0;
    if (rc == 0 && !clients) rc = tls_server_ask_clients(tls, NULL, err);
    if (rc == 0 && clients && *config->tls_client_ca != '\0') rc = tls_server_ask_clients(tls, config->tls_client_ca, err);
    if (rc == 0) return tls;
    tls_unref(tls);
    return NULL;
}

struct tls_context *certificates_load(const struct config *config, bool clients, struct err *err)
{
    char *list = x_strdup(config->server_domains), *save = NULL;
    const char *domains[DOMAINS_MAX];
    unsigned n = 0;
    for (char *word = strtok_r(list, " \t", &save); word != NULL && n < DOMAINS_MAX; word = strtok_r(NULL, " \t", &save)) domains[n++] = word;
    struct tls_context *tls = load(config, clients, domains, n, err);
    free(list);
    return tls;
}
