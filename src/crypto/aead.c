/* aead.c -- ChaCha20, Poly1305, and the two as one AEAD (RFC 8439). */
#include "crypto/crypto.h"

/* ---- ChaCha20 (section 2.3) ---- */

enum { CHACHA_BLOCK_BYTES = 64, CHACHA_WORDS = 16 };

/* Macros, since the words are numbers in one place and vectors in another. */
#define ROTATE_LEFT(v, bits) ((v) << (bits) | (v) >> (32 - (bits)))
#define QUARTER_ROUND(a, b, c, d)                                              \
    do {                                                                       \
        (a) += (b);                                                            \
        (d) = ROTATE_LEFT((d) ^ (a), 16);                                      \
        (c) += (d);                                                            \
        (b) = ROTATE_LEFT((b) ^ (c), 12);                                      \
        (a) += (b);                                                            \
        (d) = ROTATE_LEFT((d) ^ (a), 8);                                       \
        (c) += (d);                                                            \
        (b) = ROTATE_LEFT((b) ^ (c), 7);                                       \
    } while (0)
#define TWENTY_ROUNDS(x)                                                       \
    for (int round = 0; round < 20; round += 2) {                              \
        QUARTER_ROUND((x)[0], (x)[4], (x)[8], (x)[12]);                        \
        QUARTER_ROUND((x)[1], (x)[5], (x)[9], (x)[13]);                        \
        QUARTER_ROUND((x)[2], (x)[6], (x)[10], (x)[14]);                       \
        QUARTER_ROUND((x)[3], (x)[7], (x)[11], (x)[15]);                       \
        QUARTER_ROUND((x)[0], (x)[5], (x)[10], (x)[15]);                       \
        QUARTER_ROUND((x)[1], (x)[6], (x)[11], (x)[12]);                       \
        QUARTER_ROUND((x)[2], (x)[7], (x)[8], (x)[13]);                        \
        QUARTER_ROUND((x)[3], (x)[4], (x)[9], (x)[14]);                        \
    }

static void chacha_init(uint32_t state[CHACHA_WORDS],
                        const uint8_t key[AEAD_KEY_BYTES],
                        const uint8_t nonce[AEAD_NONCE_BYTES])
{
    /* "expand 32-byte k" */
    state[0] = 0x61707865;
    state[1] = 0x3320646e;
    state[2] = 0x79622d32;
    state[3] = 0x6b206574;
    for (size_t i = 0; i < 8; i++) {
        state[4 + i] = load_u32(key + 4 * i);
    }
    state[12] = 0; /* The block counter. */
    for (size_t i = 0; i < 3; i++) {
        state[13 + i] = load_u32(nonce + 4 * i);
    }
}

/* The key stream of the current block; the counter moves on. */
static void chacha_block(uint32_t state[CHACHA_WORDS],
                         uint8_t out[CHACHA_BLOCK_BYTES])
{
    uint32_t x[CHACHA_WORDS];
    memcpy(x, state, sizeof(x));
    TWENTY_ROUNDS(x);
    for (size_t i = 0; i < CHACHA_WORDS; i++) {
        store_u32(out + 4 * i, x[i] + state[i]);
    }
    crypto_zero(x, sizeof(x));
    state[12]++;
}

/* Four blocks at once: each vector has one word of all of them. The compiler
 * makes numbers of vectors where the machine has none. */
enum { LANES = 4, LANES_BYTES = LANES * CHACHA_BLOCK_BYTES };

typedef uint32_t lanes VECTOR(LANES * sizeof(uint32_t));

struct chacha_scratch {
    lanes start[CHACHA_WORDS];
    lanes x[CHACHA_WORDS];
    uint32_t words[CHACHA_WORDS][LANES];
    uint8_t block[CHACHA_BLOCK_BYTES];
};

static void chacha_xor_lanes(uint32_t state[CHACHA_WORDS], const uint8_t *in,
                             uint8_t *out, struct chacha_scratch *scratch)
{
    static const lanes counters = {0, 1, 2, 3};
    lanes *x = scratch->x;
    for (size_t i = 0; i < CHACHA_WORDS; i++) {
        x[i] = (lanes){state[i], state[i], state[i], state[i]};
    }
    x[12] += counters;
    memcpy(scratch->start, x, sizeof(scratch->start));
    TWENTY_ROUNDS(x);
    for (size_t i = 0; i < CHACHA_WORDS; i++) {
        x[i] += scratch->start[i];
        memcpy(scratch->words[i], &x[i], sizeof(x[i]));
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        for (size_t i = 0; i < CHACHA_WORDS; i++) {
            size_t at = lane * CHACHA_BLOCK_BYTES + 4 * i;
            store_u32(out + at, load_u32(in + at) ^ scratch->words[i][lane]);
        }
    }
    state[12] += LANES;
}

static void chacha_xor(uint32_t state[CHACHA_WORDS], struct bytes in,
                       uint8_t *out)
{
    struct chacha_scratch scratch;
    size_t at = 0;
    for (; in.size - at >= LANES_BYTES; at += LANES_BYTES) {
        chacha_xor_lanes(state, in.data + at, out + at, &scratch);
    }
    for (; at < in.size; at += CHACHA_BLOCK_BYTES) {
        size_t size = min_size(CHACHA_BLOCK_BYTES, in.size - at);
        chacha_block(state, scratch.block);
        for (size_t i = 0; i < size; i++) {
            out[at + i] = in.data[at + i] ^ scratch.block[i];
        }
    }
    crypto_zero(&scratch, sizeof(scratch));
}

/* ---- Poly1305 (section 2.5) ---- */

/* Numbers modulo 2^130 - 5 as five limbs of 26 bits: a product of two limbs,
 * five of them added, and the factor 5 fit in 64 bits. */
enum { POLY_LIMBS = 5, POLY_BLOCK_BYTES = 16, POLY_KEY_BYTES = 32 };
#define LIMB_MASK ((UINT32_C(1) << 26) - 1)

struct poly1305 {
    uint32_t r[POLY_LIMBS];
    uint32_t r5[POLY_LIMBS]; /* Times 5: what comes back from beyond the top. */
    uint32_t h[POLY_LIMBS];
    uint32_t s[4];
};

static void limbs_of(uint32_t limbs[POLY_LIMBS],
                     const uint8_t bytes[POLY_BLOCK_BYTES], uint32_t top)
{
    limbs[0] = load_u32(bytes) & LIMB_MASK;
    limbs[1] = load_u32(bytes + 3) >> 2 & LIMB_MASK;
    limbs[2] = load_u32(bytes + 6) >> 4 & LIMB_MASK;
    limbs[3] = load_u32(bytes + 9) >> 6 & LIMB_MASK;
    limbs[4] = load_u32(bytes + 12) >> 8 | top << 24;
}

static void poly_init(struct poly1305 *poly, const uint8_t key[POLY_KEY_BYTES])
{
    *poly = (struct poly1305){0};
    uint8_t clamped[POLY_BLOCK_BYTES];
    memcpy(clamped, key, sizeof(clamped));
    for (size_t i = 0; i < sizeof(clamped); i += 4) {
        clamped[i + 3] &= 15;
        if (i > 0) {
            clamped[i] &= 252;
        }
    }
    limbs_of(poly->r, clamped, 0);
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        poly->r5[i] = 5 * poly->r[i];
    }
    for (size_t i = 0; i < 4; i++) {
        poly->s[i] = load_u32(key + POLY_BLOCK_BYTES + 4 * i);
    }
    crypto_zero(clamped, sizeof(clamped));
}

static uint64_t times(uint32_t a, uint32_t b)
{
    return (uint64_t)a * b;
}

/* h = (h + block) * r. A whole block has a one bit behind it. */
static void poly_block(struct poly1305 *poly,
                       const uint8_t block[POLY_BLOCK_BYTES])
{
    const uint32_t *r = poly->r;
    const uint32_t *r5 = poly->r5;
    uint32_t m[POLY_LIMBS];
    uint32_t h[POLY_LIMBS];
    limbs_of(m, block, 1);
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        h[i] = poly->h[i] + m[i];
    }
    /* Written out: the loops cost three times as much. */
    uint64_t product[POLY_LIMBS] = {
        times(h[0], r[0]) + times(h[1], r5[4]) + times(h[2], r5[3]) +
            times(h[3], r5[2]) + times(h[4], r5[1]),
        times(h[0], r[1]) + times(h[1], r[0]) + times(h[2], r5[4]) +
            times(h[3], r5[3]) + times(h[4], r5[2]),
        times(h[0], r[2]) + times(h[1], r[1]) + times(h[2], r[0]) +
            times(h[3], r5[4]) + times(h[4], r5[3]),
        times(h[0], r[3]) + times(h[1], r[2]) + times(h[2], r[1]) +
            times(h[3], r[0]) + times(h[4], r5[4]),
        times(h[0], r[4]) + times(h[1], r[3]) + times(h[2], r[2]) +
            times(h[3], r[1]) + times(h[4], r[0]),
    };
    uint64_t carry = 0;
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        product[i] += carry;
        poly->h[i] = (uint32_t)product[i] & LIMB_MASK;
        carry = product[i] >> 26;
    }
    uint64_t low = poly->h[0] + carry * 5;
    poly->h[0] = (uint32_t)low & LIMB_MASK;
    poly->h[1] += (uint32_t)(low >> 26);
}

/* The data, padded with zeros to whole blocks as section 2.8 wants it. */
static void poly_add_padded(struct poly1305 *poly, struct bytes data)
{
    size_t at = 0;
    for (; data.size - at >= POLY_BLOCK_BYTES; at += POLY_BLOCK_BYTES) {
        poly_block(poly, data.data + at);
    }
    if (at < data.size) {
        uint8_t block[POLY_BLOCK_BYTES] = {0};
        memcpy(block, data.data + at, data.size - at);
        poly_block(poly, block);
        crypto_zero(block, sizeof(block));
    }
}

static void poly_finish(struct poly1305 *poly, uint8_t tag[AEAD_TAG_BYTES])
{
    uint32_t *h = poly->h;
    /* Carry twice, so that every limb has 26 bits. */
    for (int pass = 0; pass < 2; pass++) {
        uint32_t carry = 0;
        for (size_t i = 0; i < POLY_LIMBS; i++) {
            h[i] += carry;
            carry = h[i] >> 26;
            h[i] &= LIMB_MASK;
        }
        h[0] += carry * 5;
    }
    /* h - p when h >= p, else h; chosen without a branch. */
    uint32_t reduced[POLY_LIMBS];
    uint32_t carry = 5;
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        uint32_t sum = h[i] + carry;
        carry = sum >> 26;
        reduced[i] = sum & LIMB_MASK;
    }
    uint32_t take = 0 - carry;
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        h[i] = (h[i] & ~take) | (reduced[i] & take);
    }
    /* (h + s) modulo 2^128. */
    uint32_t words[4] = {h[0] | h[1] << 26, h[1] >> 6 | h[2] << 20,
                         h[2] >> 12 | h[3] << 14, h[3] >> 18 | h[4] << 8};
    uint64_t sum = 0;
    for (size_t i = 0; i < 4; i++) {
        sum += (uint64_t)words[i] + poly->s[i];
        store_u32(tag + 4 * i, (uint32_t)sum);
        sum >>= 32;
    }
    crypto_zero(reduced, sizeof(reduced));
    crypto_zero(words, sizeof(words));
    crypto_zero(poly, sizeof(*poly));
}

/* ---- the AEAD (section 2.8) ---- */

/* Block 0 of the key stream is the key of the tag. */
static void poly_from_chacha(struct poly1305 *poly,
                             uint32_t state[CHACHA_WORDS])
{
    uint8_t block[CHACHA_BLOCK_BYTES];
    chacha_block(state, block);
    poly_init(poly, block);
    crypto_zero(block, sizeof(block));
}

static void tag_of(struct poly1305 *poly, struct bytes ad, struct bytes sealed,
                   uint8_t tag[AEAD_TAG_BYTES])
{
    uint8_t sizes[16];
    poly_add_padded(poly, ad);
    poly_add_padded(poly, sealed);
    store_u64(sizes, ad.size);
    store_u64(sizes + 8, sealed.size);
    poly_block(poly, sizes);
    poly_finish(poly, tag);
}

void aead_seal(const uint8_t key[AEAD_KEY_BYTES],
               const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes ad,
               struct bytes text, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES])
{
    uint32_t state[CHACHA_WORDS];
    struct poly1305 poly;
    chacha_init(state, key, nonce);
    poly_from_chacha(&poly, state);
    chacha_xor(state, text, out);
    tag_of(&poly, ad, bytes_of(out, text.size), tag);
    crypto_zero(state, sizeof(state));
}

bool aead_open(const uint8_t key[AEAD_KEY_BYTES],
               const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes ad,
               struct bytes text, const uint8_t tag[AEAD_TAG_BYTES],
               uint8_t *out)
{
    uint32_t state[CHACHA_WORDS];
    struct poly1305 poly;
    uint8_t wanted[AEAD_TAG_BYTES];
    chacha_init(state, key, nonce);
    poly_from_chacha(&poly, state);
    tag_of(&poly, ad, text, wanted);
    bool authentic = crypto_equal(wanted, tag, sizeof(wanted));
    if (authentic) {
        chacha_xor(state, text, out);
    }
    crypto_zero(state, sizeof(state));
    crypto_zero(wanted, sizeof(wanted));
    return authentic;
}
