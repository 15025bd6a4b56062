/* aead.c -- ChaCha20, Poly1305, and the two as one AEAD (RFC 8439). */
#include "crypto/crypto.h"

/* ---- ChaCha20 (section 2.3) ---- */

enum { CHACHA_BLOCK_BYTES = 64, CHACHA_WORDS = 16 };

static uint32_t rotate_left(uint32_t v, unsigned bits)
{
    return v << bits | v >> (32 - bits);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotate_left(*d ^ *a, 16);
    *c += *d;
    *b = rotate_left(*b ^ *c, 12);
    *a += *b;
    *d = rotate_left(*d ^ *a, 8);
    *c += *d;
    *b = rotate_left(*b ^ *c, 7);
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
    for (int i = 0; i < 10; i++) {
        quarter_round(&x[0], &x[4], &x[8], &x[12]);
        quarter_round(&x[1], &x[5], &x[9], &x[13]);
        quarter_round(&x[2], &x[6], &x[10], &x[14]);
        quarter_round(&x[3], &x[7], &x[11], &x[15]);
        quarter_round(&x[0], &x[5], &x[10], &x[15]);
        quarter_round(&x[1], &x[6], &x[11], &x[12]);
        quarter_round(&x[2], &x[7], &x[8], &x[13]);
        quarter_round(&x[3], &x[4], &x[9], &x[14]);
    }
    for (size_t i = 0; i < CHACHA_WORDS; i++) {
        store_u32(out + 4 * i, x[i] + state[i]);
    }
    crypto_zero(x, sizeof(x));
    state[12]++;
}

static void chacha_xor(uint32_t state[CHACHA_WORDS], struct bytes in,
                       uint8_t *out)
{
    uint8_t stream[CHACHA_BLOCK_BYTES];
    for (size_t at = 0; at < in.size; at += CHACHA_BLOCK_BYTES) {
        size_t size = min_size(CHACHA_BLOCK_BYTES, in.size - at);
        chacha_block(state, stream);
        for (size_t i = 0; i < size; i++) {
            out[at + i] = in.data[at + i] ^ stream[i];
        }
    }
    crypto_zero(stream, sizeof(stream));
}

/* ---- Poly1305 (section 2.5) ---- */

/* Numbers modulo 2^130 - 5 as five limbs of 26 bits: a product of two limbs,
 * five of them added, and the factor 5 fit in 64 bits. */
enum { POLY_LIMBS = 5, POLY_BLOCK_BYTES = 16, POLY_KEY_BYTES = 32 };
#define LIMB_MASK ((UINT32_C(1) << 26) - 1)

struct poly1305 {
    uint32_t r[POLY_LIMBS];
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
    for (size_t i = 0; i < 4; i++) {
        poly->s[i] = load_u32(key + POLY_BLOCK_BYTES + 4 * i);
    }
    crypto_zero(clamped, sizeof(clamped));
}

/* h = (h + block) * r. A whole block has a one bit behind it. */
static void poly_block(struct poly1305 *poly,
                       const uint8_t block[POLY_BLOCK_BYTES])
{
    uint32_t *h = poly->h;
    const uint32_t *r = poly->r;
    uint32_t m[POLY_LIMBS];
    limbs_of(m, block, 1);
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        h[i] += m[i];
    }

    uint64_t product[POLY_LIMBS];
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        product[i] = 0;
        for (size_t j = 0; j < POLY_LIMBS; j++) {
            /* Limbs beyond the top come back multiplied by 5. */
            uint64_t factor =
                j <= i ? r[i - j] : (uint64_t)5 * r[POLY_LIMBS + i - j];
            product[i] += h[j] * factor;
        }
    }

    uint64_t carry = 0;
    for (size_t i = 0; i < POLY_LIMBS; i++) {
        product[i] += carry;
        h[i] = (uint32_t)product[i] & LIMB_MASK;
        carry = product[i] >> 26;
    }
    uint64_t low = h[0] + carry * 5;
    h[0] = (uint32_t)low & LIMB_MASK;
    h[1] += (uint32_t)(low >> 26);
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
