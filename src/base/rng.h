/* rng.h -- xoshiro256** (Blackman and Vigna 2018), for jitter and tests,
 * not for secrets. The same seed gives the same numbers everywhere. */
#ifndef CRAFTD_BASE_RNG_H
#define CRAFTD_BASE_RNG_H

#include "base/base.h"

struct rng {
    uint64_t s[4];
};

/* splitmix64, which the authors recommend for seeding. It serves as a hash of
 * 64 bits elsewhere. */
static inline uint64_t mix_u64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        rng->s[i] = mix_u64(seed);
    }
}

static inline uint64_t rng_rotl(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rng_rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rng_rotl(s[3], 45);
    return result;
}

/* A number in [0, bound); bound > 0. Its bias, bound / 2^64, does not matter
 * for jitter. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    must(bound > 0);
    return rng_next(rng) % bound;
}

#endif
