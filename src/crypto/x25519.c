/* x25519.c -- Diffie-Hellman over Curve25519 (RFC 7748).
 *
 * A field element is ten signed limbs of 26 and 25 bits by turns: limb i has
 * the weight 2^ceil(25.5 i), modulo 2^255 - 19. Products of 32-bit limbs are
 * added up in 64 bits, so the code is the same on 32-bit machines. After a
 * multiplication a limb is below 2^25 (2^24) and a little, after one addition
 * or subtraction of such below 2^26 (2^25); a sum of ten products of these,
 * each times 38 at most, is below 2^60. So operands of a multiplication may
 * have been added once, and no more. */
#include "crypto/crypto.h"

enum { LIMBS = 10 };

struct element {
    int32_t limb[LIMBS];
};

static const struct element zero;
static const struct element one = {.limb = {1}};

static unsigned limb_bits(size_t i)
{
    return i % 2 == 0 ? 26 : 25;
}

/* Bring limbs back to their width, rounded to the nearest so that they stay
 * small on both sides of zero. A right shift of a negative number is an
 * arithmetic one with gcc and clang. */
static int64_t carry_out(int64_t *limb, unsigned bits)
{
    int64_t carry = (*limb + ((int64_t)1 << (bits - 1))) >> bits;
    *limb -= carry * ((int64_t)1 << bits);
    return carry;
}

static void reduce(struct element *out, int64_t limbs[LIMBS])
{
    for (size_t i = 0; i + 1 < LIMBS; i++) {
        limbs[i + 1] += carry_out(&limbs[i], limb_bits(i));
    }
    limbs[0] += 19 * carry_out(&limbs[LIMBS - 1], limb_bits(LIMBS - 1));
    limbs[1] += carry_out(&limbs[0], limb_bits(0));
    for (size_t i = 0; i < LIMBS; i++) {
        out->limb[i] = (int32_t)limbs[i];
    }
}

static void add(struct element *out, const struct element *a,
                const struct element *b)
{
    for (size_t i = 0; i < LIMBS; i++) {
        out->limb[i] = a->limb[i] + b->limb[i];
    }
}

static void subtract(struct element *out, const struct element *a,
                     const struct element *b)
{
    for (size_t i = 0; i < LIMBS; i++) {
        out->limb[i] = a->limb[i] - b->limb[i];
    }
}

static void multiply(struct element *out, const struct element *a,
                     const struct element *b)
{
    int64_t sum[LIMBS] = {0};
    int32_t wrapped[LIMBS]; /* For limbs beyond the top: 2^255 is 19. */
    for (size_t j = 0; j < LIMBS; j++) {
        wrapped[j] = 19 * b->limb[j];
    }
    for (size_t i = 0; i < LIMBS; i++) {
        /* The weights of two odd limbs are half a bit too high each. */
        int32_t even = a->limb[i];
        int32_t odd = i % 2 == 1 ? 2 * even : even;
        for (size_t j = 0; j < LIMBS - i; j++) {
            sum[i + j] += (int64_t)(j % 2 == 1 ? odd : even) * b->limb[j];
        }
        for (size_t j = LIMBS - i; j < LIMBS; j++) {
            sum[i + j - LIMBS] +=
                (int64_t)(j % 2 == 1 ? odd : even) * wrapped[j];
        }
    }
    reduce(out, sum);
}

static void square(struct element *out, const struct element *a)
{
    multiply(out, a, a);
}

static void multiply_small(struct element *out, const struct element *a,
                           int32_t factor)
{
    int64_t product[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        product[i] = (int64_t)a->limb[i] * factor;
    }
    reduce(out, product);
}

/* 1/a = a^(p - 2), p - 2 = 2^255 - 21: all bits are ones but 2 and 4. */
static void invert(struct element *out, const struct element *a)
{
    struct element power = *a; /* The top bit. */
    for (int bit = 253; bit >= 0; bit--) {
        square(&power, &power);
        if (bit != 2 && bit != 4) {
            multiply(&power, &power, a);
        }
    }
    *out = power;
}

/* Swap when `bit` is 1, do the same work when it is 0. */
static void swap_if(uint32_t bit, struct element *a, struct element *b)
{
    uint32_t mask = 0 - bit;
    for (size_t i = 0; i < LIMBS; i++) {
        uint32_t difference =
            ((uint32_t)a->limb[i] ^ (uint32_t)b->limb[i]) & mask;
        a->limb[i] = (int32_t)((uint32_t)a->limb[i] ^ difference);
        b->limb[i] = (int32_t)((uint32_t)b->limb[i] ^ difference);
    }
}

/* The top bit is ignored; numbers from p up are taken modulo p (section 5). */
static void decode(struct element *out, const uint8_t bytes[X25519_BYTES])
{
    int64_t limbs[LIMBS];
    unsigned at = 0; /* In bits. */
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t chunk = 0;
        for (unsigned k = 0; k < 5 && at / 8 + k < X25519_BYTES; k++) {
            chunk |= (uint64_t)bytes[at / 8 + k] << 8 * k;
        }
        uint64_t mask = ((uint64_t)1 << limb_bits(i)) - 1;
        limbs[i] = (int64_t)(chunk >> at % 8 & mask);
        at += limb_bits(i);
    }
    reduce(out, limbs);
}

/* The one number in [0, p). */
static void encode(uint8_t bytes[X25519_BYTES], const struct element *a)
{
    int64_t limbs[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        limbs[i] = a->limb[i];
    }
    /* The quotient by p is -1, 0 or 1: the carry that 19 more would give. */
    int64_t quotient = (19 * limbs[LIMBS - 1] + (1 << 24)) >> 25;
    for (size_t i = 0; i < LIMBS; i++) {
        quotient = (limbs[i] + quotient) >> limb_bits(i);
    }
    limbs[0] += 19 * quotient;
    int64_t carry = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        limbs[i] += carry;
        carry = limbs[i] >> limb_bits(i);
        limbs[i] -= carry * ((int64_t)1 << limb_bits(i));
    }
    uint64_t bits = 0;
    unsigned have = 0;
    size_t at = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        bits |= (uint64_t)limbs[i] << have;
        have += limb_bits(i);
        for (; have >= 8; have -= 8) {
            bytes[at++] = (uint8_t)bits;
            bits >>= 8;
        }
    }
    bytes[at] = (uint8_t)bits;
    must(at == X25519_BYTES - 1);
}

/* The Montgomery ladder of section 5, in its names. */
static void ladder(uint8_t out[X25519_BYTES],
                   const uint8_t secret[X25519_BYTES], const struct element *u)
{
    enum { A24 = 121665, TOP_BIT = 254 };
    uint8_t k[X25519_BYTES];
    memcpy(k, secret, sizeof(k));
    k[0] &= 248;
    k[31] &= 127;
    k[31] |= 64;

    struct element x2 = one;
    struct element z2 = zero;
    struct element x3 = *u;
    struct element z3 = one;
    uint32_t swap = 0;
    for (int t = TOP_BIT; t >= 0; t--) {
        uint32_t bit = k[t / 8] >> t % 8 & 1;
        swap_if(swap ^ bit, &x2, &x3);
        swap_if(swap ^ bit, &z2, &z3);
        swap = bit;

        struct element a, aa, b, bb, e, c, d, da, cb;
        add(&a, &x2, &z2);
        square(&aa, &a);
        subtract(&b, &x2, &z2);
        square(&bb, &b);
        subtract(&e, &aa, &bb);
        add(&c, &x3, &z3);
        subtract(&d, &x3, &z3);
        multiply(&da, &d, &a);
        multiply(&cb, &c, &b);
        add(&x3, &da, &cb);
        square(&x3, &x3);
        subtract(&z3, &da, &cb);
        square(&z3, &z3);
        multiply(&z3, &z3, u);
        multiply(&x2, &aa, &bb);
        multiply_small(&z2, &e, A24);
        add(&z2, &z2, &aa);
        multiply(&z2, &z2, &e);
    }
    swap_if(swap, &x2, &x3);
    swap_if(swap, &z2, &z3);
    invert(&z2, &z2);
    multiply(&x2, &x2, &z2);
    encode(out, &x2);
    crypto_zero(k, sizeof(k));
    crypto_zero(&x2, sizeof(x2));
    crypto_zero(&z2, sizeof(z2));
    crypto_zero(&x3, sizeof(x3));
    crypto_zero(&z3, sizeof(z3));
}

void x25519_public(uint8_t out[X25519_BYTES],
                   const uint8_t secret[X25519_BYTES])
{
    static const struct element base = {.limb = {9}};
    ladder(out, secret, &base);
}

bool x25519(uint8_t out[X25519_BYTES], const uint8_t secret[X25519_BYTES],
            const uint8_t public[X25519_BYTES])
{
    static const uint8_t zeros[X25519_BYTES];
    struct element u;
    decode(&u, public);
    ladder(out, secret, &u);
    return !crypto_equal(out, zeros, sizeof(zeros));
}
