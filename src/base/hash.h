/* Hashing: a keyed one for maps and a stable one for placement, the same on every node and after every restart. */
#ifndef SIGNET_BASE_HASH_H
#define SIGNET_BASE_HASH_H
#include "base/buf.h"

uint64_t hash_keyed(const void *p, size_t n); /* SipHash-1-3, key from boot-time randomness; for maps only */
uint64_t hash_stable(const void *p, size_t n); /* fixed key; for workers and rendezvous hashing */
uint64_t hash_mix(uint64_t a, uint64_t b); /* of two hashes; for rendezvous hashing: the score of candidate b for key a, the highest is chosen */
void hash_random(void *out, size_t n); /* cryptographic randomness (getrandom); aborts when there is none */
uint64_t hash_random_u64(void);

#endif
