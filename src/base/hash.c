/* Hashing. SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three finalisation rounds) serves
 * both uses: keyed from boot-time randomness for maps, where a peer chooses the keys and must not be able to make them collide; with a
 * fixed key for placement, where every node and every restart must come to the same answer. The fixed key must never change. */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

/* Little-endian whatever the machine is: hash_stable() must agree between nodes. */
static inline uint64_t load_le(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static uint64_t siphash_1_3(uint64_t k0, uint64_t k1, const void *data, size_t n)
{
    struct sip s = {k0 ^ 0x736f6d6570736575U, k1 ^ 0x646f72616e646f6dU, k0 ^ 0x6c7967656e657261U, k1 ^ 0x7465646279746573U};
    const unsigned char *p = data;
    size_t left = n;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = load_le(p, 8);
        s.v3 ^= m;
        sip_round(&s);
        s.v0 ^= m;
    }
    uint64_t last = (uint64_t)n << 56;
    if (left != 0) last |= load_le(p, left);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint64_t boot_key[2];

static void key_init(void)
{
    hash_random(boot_key, sizeof(boot_key));
}

uint64_t hash_keyed(const void *p, size_t n)
{
    pthread_once(&key_once, key_init);
    return siphash_1_3(boot_key[0], boot_key[1], p, n);
}

uint64_t hash_stable(const void *p, size_t n)
{
    return siphash_1_3(0x5369676e65742030U, 0x706c6163656d656eU, p, n);
}

uint64_t hash_mix(uint64_t a, uint64_t b)
{
    /* The finaliser of splitmix64 over an asymmetric combination: hash_mix(a, b) != hash_mix(b, a). */
    uint64_t x = a ^ (rotl(b, 31) * 0x9e3779b97f4a7c15U);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

void hash_random(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        } else if (got < 0 && errno != EINTR) {
            fprintf(stderr, "signet: no randomness from the kernel: getrandom: %s\n", strerror(errno));
            abort();
        }
    }
}

uint64_t hash_random_u64(void)
{
    uint64_t x;
    hash_random(&x, sizeof(x));
    return x;
}
