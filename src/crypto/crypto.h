/* crypto.h -- the cryptography that craftd needs, and no more.
 *
 * This is not a general library. It has the functions that authenticate and
 * encrypt links between members and that check passwords and tokens of clients:
 *
 *     sha256, hmac    FIPS 180-4, RFC 2104
 *     hkdf            RFC 5869, over HMAC-SHA-256
 *     pbkdf2          RFC 8018 section 5.2, over HMAC-SHA-256, in slices
 *     aead            ChaCha20-Poly1305, RFC 8439
 *     x25519          RFC 7748
 *
 * Rules that every function here keeps:
 *   - The room is pure: no allocation, no system call, no randomness. The
 *     caller brings keys and nonces, and never uses a nonce twice with a key.
 *   - Which instructions run and which addresses are read depends on sizes and
 *     on public values only, never on a key, a password or a plaintext. This
 *     relies on multiplication taking constant time, which does not hold on
 *     some small cores (ARM7, Cortex-M3, PowerPC 4xx).
 *   - Bytes are loaded and stored one by one: byte order and alignment of the
 *     machine do not matter.
 *   - Local secrets are overwritten with zeros before a function returns. The
 *     caller does the same, with crypto_zero(), for secrets in its memory.
 *
 * Failure is a `false` that the caller must look at; nothing else can fail.
 * Output may be the same memory as input only where a function says so. */
#ifndef CRAFTD_CRYPTO_CRYPTO_H
#define CRAFTD_CRYPTO_CRYPTO_H

#include "base/bytes.h"

enum {
    SHA256_BYTES = 32,
    SHA256_BLOCK_BYTES = 64,
    AEAD_KEY_BYTES = 32,
    AEAD_NONCE_BYTES = 12,
    AEAD_TAG_BYTES = 16,
    X25519_BYTES = 32,
    /* RFC 5869 section 2.3. */
    HKDF_BYTES_MAX = 255 * SHA256_BYTES,
};

/* ---- secrets ---- */

/* True when the `size` bytes are the same, in a time that depends on `size`
 * only. For everything that an attacker can send again with one byte changed:
 * tags, hashes of tokens, password hashes. */
MUST_CHECK bool crypto_equal(const void *a, const void *b, size_t size);

/* Overwrite memory with zeros, also when it is not read again (which memset()
 * may not do, since the compiler can remove it). */
void crypto_zero(void *memory, size_t size);

/* ---- SHA-256 ---- */

struct sha256 {
    uint32_t state[8];
    uint64_t size_bytes; /* Hashed so far. */
    uint8_t block[SHA256_BLOCK_BYTES];
};

void sha256_init(struct sha256 *hash);
void sha256_add(struct sha256 *hash, struct bytes data);
/* `hash` is zeroed: begin again with sha256_init(). */
void sha256_finish(struct sha256 *hash, uint8_t digest[SHA256_BYTES]);
void sha256(struct bytes data, uint8_t digest[SHA256_BYTES]);

/* ---- HMAC-SHA-256 ---- */

struct hmac {
    struct sha256 inner;
    struct sha256 outer;
};

/* A key of any size; one longer than a block is hashed first. */
void hmac_init(struct hmac *hmac, struct bytes key);
void hmac_add(struct hmac *hmac, struct bytes data);
/* `hmac` is zeroed. */
void hmac_finish(struct hmac *hmac, uint8_t tag[SHA256_BYTES]);
void hmac_sha256(struct bytes key, struct bytes data,
                 uint8_t tag[SHA256_BYTES]);

/* ---- keys from keys, keys from passwords ---- */

/* RFC 5869 section 2.2. An empty salt stands for 32 zeros. `prk` may be the
 * memory of `secret` or of `salt`. */
void hkdf_extract(struct bytes salt, struct bytes secret,
                  uint8_t prk[SHA256_BYTES]);
/* RFC 5869 section 2.3. `size` is at most HKDF_BYTES_MAX. */
void hkdf_expand(const uint8_t prk[SHA256_BYTES], struct bytes info,
                 uint8_t *out, size_t size);

/* The first 32 bytes of PBKDF2, computed a slice at a time so that a slow hash
 * does not hold up an event loop. Rounds are what makes guessing expensive;
 * the caller bounds them. */
struct pbkdf2 {
    struct hmac keyed; /* The password, not yet any data. */
    uint8_t u[SHA256_BYTES];
    uint8_t key[SHA256_BYTES];
    uint32_t rounds_left;
};

/* `rounds` is at least 1; the first is done here. */
void pbkdf2_init(struct pbkdf2 *pbkdf2, struct bytes password,
                 struct bytes salt, uint32_t rounds);
/* Do up to `rounds` more. True when the key is complete. */
MUST_CHECK bool pbkdf2_step(struct pbkdf2 *pbkdf2, uint32_t rounds);
/* Copy the key, after pbkdf2_step() was true. `pbkdf2` is zeroed. */
void pbkdf2_finish(struct pbkdf2 *pbkdf2, uint8_t key[SHA256_BYTES]);

/* ---- ChaCha20-Poly1305 ---- */

/* Encrypt `text` and authenticate it with `ad`. `out` takes text.size bytes and
 * may be the memory of `text`; the tag goes to `tag`. A text is shorter than
 * 256 GiB (RFC 8439 section 2.8). */
void aead_seal(const uint8_t key[AEAD_KEY_BYTES],
               const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes ad,
               struct bytes text, uint8_t *out, uint8_t tag[AEAD_TAG_BYTES]);
/* Verify and decrypt `text`; `out` as above. False when key, nonce, ad, text or
 * tag are not what was sealed; then nothing was written to `out`. */
MUST_CHECK bool aead_open(const uint8_t key[AEAD_KEY_BYTES],
                          const uint8_t nonce[AEAD_NONCE_BYTES],
                          struct bytes ad, struct bytes text,
                          const uint8_t tag[AEAD_TAG_BYTES], uint8_t *out);

/* ---- X25519 ---- */

/* The public key of `secret`: any 32 random bytes. */
void x25519_public(uint8_t out[X25519_BYTES],
                   const uint8_t secret[X25519_BYTES]);
/* The shared secret of ours and the peer's public key. False when it is all
 * zeros, because the peer sent a point of small order (RFC 7748 section 6.1):
 * then there is no secret, and the exchange has failed. */
MUST_CHECK bool x25519(uint8_t out[X25519_BYTES],
                       const uint8_t secret[X25519_BYTES],
                       const uint8_t public[X25519_BYTES]);

#endif
