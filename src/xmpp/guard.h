/* Who has failed to log in too often, and who has how many connections: kept per address and per account, shared by all workers.
 * An address is an IPv4 address or an IPv6 /64, since that is what one customer of a provider has. Thread-safe; in memory only, bounded. */
#ifndef SIGNET_XMPP_GUARD_H
#define SIGNET_XMPP_GUARD_H
#include "base/config.h"

must_check int guard_start(const struct config *config, struct err *err); /* config is borrowed */
void guard_stop(void);

/* address: as c2s_peer_address() gives it. Trusted ones (c2s.trusted_addresses) are neither counted nor blocked. */
bool guard_trusted(const char *address);
#define GUARD_KEY_SIZE 64
bool guard_key(const char *address, char out[GUARD_KEY_SIZE]); /* what an address is counted as; false: not at all */
enum guard_answer { GUARD_OK, GUARD_FULL, GUARD_BLOCKED };
enum guard_answer guard_connect(const char *address); /* GUARD_OK: counted until guard_disconnect() */
void guard_disconnect(const char *address);
bool guard_address_blocked(const char *address);
bool guard_account_blocked(struct str account); /* bare JID; whether there is such an account does not matter */

/* A login failed. account may be absent: no name was given. Returns how often logins to this account have failed within the window, this one included; the
 * address or the account may be blocked from now on. */
unsigned guard_failed(const char *address, struct str account);
void guard_succeeded(struct str account); /* the account's failures are forgotten, the address's are not */
uint64_t guard_delay_ms(unsigned failures); /* how long the answer to that failure waits */
void guard_sweep(void); /* now and then: ends blocks, forgets what is old */

#endif
