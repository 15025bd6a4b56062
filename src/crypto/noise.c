/* noise.c -- Noise_NNpsk0_25519_ChaChaPoly_SHA256. The section numbers are
 * those of the Noise Protocol Framework, revision 34. */
#include "crypto/noise.h"

/* ---- the cipher (5.1) ---- */

/* Section 12: four zero bytes, then the counter. */
static void nonce_bytes(uint8_t out[AEAD_NONCE_BYTES], uint64_t nonce)
{
    memset(out, 0, 4);
    store_u64(out + 4, nonce);
}

static void set_key(struct noise_cipher *cipher,
                    const uint8_t key[AEAD_KEY_BYTES])
{
    memcpy(cipher->key, key, sizeof(cipher->key));
    cipher->nonce = 0;
    cipher->bytes = 0;
    cipher->frames = 0;
}

/* Sections 4.2 and 11.3: the next key is zeros, sealed under the largest
 * nonce. The nonces go on. */
static void rekey(struct noise_cipher *cipher)
{
    static const uint8_t zeros[AEAD_KEY_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t key[AEAD_KEY_BYTES];
    uint8_t tag[AEAD_TAG_BYTES];
    nonce_bytes(nonce, UINT64_MAX);
    aead_seal(cipher->key, nonce, bytes_of(NULL, 0),
              bytes_of(zeros, sizeof(zeros)), key, tag);
    memcpy(cipher->key, key, sizeof(cipher->key));
    cipher->bytes = 0;
    cipher->frames = 0;
    crypto_zero(key, sizeof(key));
}

static void count(struct noise_cipher *cipher, size_t size)
{
    cipher->nonce++;
    cipher->frames++;
    cipher->bytes += size;
    if (cipher->bytes >= NOISE_REKEY_BYTES ||
        cipher->frames >= NOISE_REKEY_FRAMES) {
        rekey(cipher);
    }
}

void noise_seal(struct noise_cipher *cipher, struct bytes ad, struct bytes text,
                uint8_t *out)
{
    uint8_t nonce[AEAD_NONCE_BYTES];
    /* Not reached in centuries; a nonce that repeats gives the key away. */
    must(cipher->nonce < UINT64_MAX);
    nonce_bytes(nonce, cipher->nonce);
    aead_seal(cipher->key, nonce, ad, text, out, out + text.size);
    count(cipher, text.size);
}

bool noise_open(struct noise_cipher *cipher, struct bytes ad,
                struct bytes frame, uint8_t *out)
{
    uint8_t nonce[AEAD_NONCE_BYTES];
    if (frame.size < AEAD_TAG_BYTES || cipher->nonce == UINT64_MAX) {
        return false;
    }
    struct bytes text = bytes_of(frame.data, frame.size - AEAD_TAG_BYTES);
    nonce_bytes(nonce, cipher->nonce);
    if (!aead_open(cipher->key, nonce, ad, text, frame.data + text.size, out)) {
        return false;
    }
    count(cipher, text.size);
    return true;
}

/* ---- the symmetric state (5.2) ---- */

static void mix_hash(struct noise_handshake *handshake, struct bytes data)
{
    struct sha256 hash;
    sha256_init(&hash);
    sha256_add(&hash, bytes_of(handshake->hash, sizeof(handshake->hash)));
    sha256_add(&hash, data);
    sha256_finish(&hash, handshake->hash);
}

/* Noise's HKDF (4.3) is RFC 5869 with the chaining key as salt. */
static void derive(struct noise_handshake *handshake, struct bytes material,
                   uint8_t *out, size_t size)
{
    uint8_t prk[SHA256_BYTES];
    hkdf_extract(
        bytes_of(handshake->chaining_key, sizeof(handshake->chaining_key)),
        material, prk);
    hkdf_expand(prk, bytes_of(NULL, 0), out, size);
    crypto_zero(prk, sizeof(prk));
}

static void mix_key(struct noise_handshake *handshake,
                    const uint8_t material[32])
{
    uint8_t keys[2 * SHA256_BYTES];
    derive(handshake, bytes_of(material, 32), keys, sizeof(keys));
    memcpy(handshake->chaining_key, keys, SHA256_BYTES);
    set_key(&handshake->cipher, keys + SHA256_BYTES);
    crypto_zero(keys, sizeof(keys));
}

static void mix_key_and_hash(struct noise_handshake *handshake,
                             const uint8_t psk[NOISE_KEY_BYTES])
{
    uint8_t keys[3 * SHA256_BYTES];
    derive(handshake, bytes_of(psk, NOISE_KEY_BYTES), keys, sizeof(keys));
    memcpy(handshake->chaining_key, keys, SHA256_BYTES);
    mix_hash(handshake, bytes_of(keys + SHA256_BYTES, SHA256_BYTES));
    set_key(&handshake->cipher, keys + (size_t)2 * SHA256_BYTES);
    crypto_zero(keys, sizeof(keys));
}

static void seal_and_hash(struct noise_handshake *handshake,
                          struct bytes payload, uint8_t *out)
{
    struct bytes hash = bytes_of(handshake->hash, sizeof(handshake->hash));
    noise_seal(&handshake->cipher, hash, payload, out);
    mix_hash(handshake, bytes_of(out, payload.size + AEAD_TAG_BYTES));
}

static bool open_and_hash(struct noise_handshake *handshake,
                          struct bytes sealed, uint8_t *payload)
{
    struct bytes hash = bytes_of(handshake->hash, sizeof(handshake->hash));
    struct noise_handshake next = *handshake;
    /* The hash is of the sealed bytes, which `payload` may overwrite. */
    mix_hash(&next, sealed);
    bool opened = noise_open(&handshake->cipher, hash, sealed, payload);
    if (opened) {
        memcpy(handshake->hash, next.hash, sizeof(next.hash));
    }
    crypto_zero(&next, sizeof(next));
    return opened;
}

/* ---- the handshake (5.3, 9.2 and 9.3) ---- */

void noise_init(struct noise_handshake *handshake,
                const uint8_t key[NOISE_KEY_BYTES], struct bytes prologue)
{
    *handshake = (struct noise_handshake){0};
    /* The name is longer than a hash, so it is hashed. */
    sha256(bytes_of_string("Noise_NNpsk0_25519_ChaChaPoly_SHA256"),
           handshake->hash);
    memcpy(handshake->chaining_key, handshake->hash, SHA256_BYTES);
    mix_hash(handshake, prologue);
    mix_key_and_hash(handshake, key); /* -> psk */
}

/* Token "e": with a shared key the public key goes into the chaining key
 * too. */
static void mix_public(struct noise_handshake *handshake,
                       const uint8_t public[X25519_BYTES])
{
    mix_hash(handshake, bytes_of(public, X25519_BYTES));
    mix_key(handshake, public);
}

static void write_public(struct noise_handshake *handshake,
                         const uint8_t random[X25519_BYTES], uint8_t *out)
{
    memcpy(handshake->secret, random, X25519_BYTES);
    x25519_public(handshake->public, random);
    memcpy(out, handshake->public, X25519_BYTES);
    mix_public(handshake, handshake->public);
}

/* Token "ee". */
static bool mix_shared(struct noise_handshake *handshake,
                       const uint8_t peer[X25519_BYTES])
{
    uint8_t shared[X25519_BYTES];
    bool secret = x25519(shared, handshake->secret, peer);
    if (secret) {
        mix_key(handshake, shared);
    }
    crypto_zero(shared, sizeof(shared));
    return secret;
}

static struct bytes behind_public(struct bytes message)
{
    return bytes_of(message.data + X25519_BYTES, message.size - X25519_BYTES);
}

void noise_write_first(struct noise_handshake *handshake,
                       const uint8_t random[X25519_BYTES], struct bytes payload,
                       uint8_t *out)
{
    write_public(handshake, random, out);
    seal_and_hash(handshake, payload, out + X25519_BYTES);
}

bool noise_read_first(struct noise_handshake *handshake, struct bytes message,
                      uint8_t *payload)
{
    if (message.size < NOISE_HANDSHAKE_BYTES) {
        return false;
    }
    /* Kept for the answer, where our own key pair comes into being. */
    memcpy(handshake->public, message.data, X25519_BYTES);
    mix_public(handshake, handshake->public);
    return open_and_hash(handshake, behind_public(message), payload);
}

bool noise_write_second(struct noise_handshake *handshake,
                        const uint8_t random[X25519_BYTES],
                        struct bytes payload, uint8_t *out)
{
    uint8_t peer[X25519_BYTES];
    memcpy(peer, handshake->public, sizeof(peer));
    write_public(handshake, random, out);
    if (!mix_shared(handshake, peer)) {
        return false;
    }
    seal_and_hash(handshake, payload, out + X25519_BYTES);
    return true;
}

bool noise_read_second(struct noise_handshake *handshake, struct bytes message,
                       uint8_t *payload)
{
    if (message.size < NOISE_HANDSHAKE_BYTES) {
        return false;
    }
    mix_public(handshake, message.data);
    return mix_shared(handshake, message.data) &&
           open_and_hash(handshake, behind_public(message), payload);
}

void noise_split(struct noise_handshake *handshake, bool initiator,
                 struct noise_cipher *send, struct noise_cipher *receive,
                 uint8_t hash[SHA256_BYTES])
{
    uint8_t keys[2 * SHA256_BYTES];
    derive(handshake, bytes_of(NULL, 0), keys, sizeof(keys));
    set_key(initiator ? send : receive, keys);
    set_key(initiator ? receive : send, keys + SHA256_BYTES);
    if (hash) {
        memcpy(hash, handshake->hash, SHA256_BYTES);
    }
    crypto_zero(keys, sizeof(keys));
    crypto_zero(handshake, sizeof(*handshake));
}
