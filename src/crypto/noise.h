/* noise.h -- an authenticated, encrypted channel from one shared key.
 *
 * The handshake is the pattern NNpsk0 of the Noise Protocol Framework
 * (revision 34), with X25519, ChaCha20-Poly1305 and SHA-256:
 *
 *     -> psk, e       both parts: a public key of 32 bytes, then the sealed
 *     <- e, ee        payload with its tag of 16 bytes
 *
 * Guarantee: each side has proved that it has the key (the responder by
 * its answer, the initiator by its first message and again by its first sealed
 * frame); both messages' payloads are sealed; whoever learns the key later
 * cannot read recorded messages. There is no guarantee against replay of the
 * first message: it can be recorded and sent again to a responder, so a
 * responder must neither trust nor remember anything of its payload until the
 * first frame of the channel has been opened.
 *
 * A first message that was not made with the key is refused after five hashes,
 * two key derivations and one tag, before any X25519: strangers cost little.
 *
 * `prologue` is what both sides must agree on without sending it; a message
 * that was made for another prologue does not open. The caller brings 32 fresh
 * random bytes for each handshake. Nothing is allocated. After a `false` the
 * handshake is dead: zero it and close the connection. */
#ifndef CRAFTD_CRYPTO_NOISE_H
#define CRAFTD_CRYPTO_NOISE_H

#include "crypto/crypto.h"

enum {
    NOISE_KEY_BYTES = 32, /* The shared key. */
    /* Bytes that a handshake message adds to its payload. */
    NOISE_HANDSHAKE_BYTES = X25519_BYTES + AEAD_TAG_BYTES,
    /* A direction gets a new key after this many bytes of text or this number
     * of frames. Both sides count the same. */
    NOISE_REKEY_BYTES = 1 << 30,
    NOISE_REKEY_FRAMES = 1 << 24,
};

/* One direction of a channel. */
struct noise_cipher {
    uint8_t key[AEAD_KEY_BYTES];
    uint64_t nonce;  /* Nonce of the next frame. */
    uint64_t bytes;  /* Bytes of text under the current key ... */
    uint64_t frames; /* ... and number of frames under it. */
};

struct noise_handshake {
    struct noise_cipher cipher;
    uint8_t chaining_key[SHA256_BYTES];
    uint8_t hash[SHA256_BYTES];
    uint8_t secret[X25519_BYTES];
    uint8_t public[X25519_BYTES];
};

/* Both sides: start a handshake. `key` and `prologue` are not borrowed. */
void noise_init(struct noise_handshake *handshake,
                const uint8_t key[NOISE_KEY_BYTES], struct bytes prologue);

/* Initiator: the first message, of payload.size + NOISE_HANDSHAKE_BYTES. */
void noise_write_first(struct noise_handshake *handshake,
                       const uint8_t random[X25519_BYTES], struct bytes payload,
                       uint8_t *out);
/* Responder: open it; message.size - NOISE_HANDSHAKE_BYTES go to `payload`. */
MUST_CHECK bool noise_read_first(struct noise_handshake *handshake,
                                 struct bytes message, uint8_t *payload);
/* Responder: the answer. False: the peer's public key is of small order. */
MUST_CHECK bool noise_write_second(struct noise_handshake *handshake,
                                   const uint8_t random[X25519_BYTES],
                                   struct bytes payload, uint8_t *out);
/* Initiator: open the answer; as noise_read_first(). */
MUST_CHECK bool noise_read_second(struct noise_handshake *handshake,
                                  struct bytes message, uint8_t *payload);
/* Both, after the second message: make the two directions of the channel. The
 * handshake is zeroed. `hash`, if not NULL, gets a value that identifies this
 * channel: no other handshake has the same. */
void noise_split(struct noise_handshake *handshake, bool initiator,
                 struct noise_cipher *send, struct noise_cipher *receive,
                 uint8_t hash[SHA256_BYTES]);

/* Seal one frame: text.size + AEAD_TAG_BYTES go to `out`, which may be the
 * memory of `text`. `ad` is authenticated, not sent. Frames open in the order
 * in which they were sealed, each once. */
void noise_seal(struct noise_cipher *cipher, struct bytes ad, struct bytes text,
                uint8_t *out);
/* Open one; frame.size - AEAD_TAG_BYTES go to `out`, which may be the memory
 * of `frame`. False: it is not the next frame of the other side, or shorter
 * than a tag. The cipher is as before, and the connection has to be closed. */
MUST_CHECK bool noise_open(struct noise_cipher *cipher, struct bytes ad,
                           struct bytes frame, uint8_t *out);

#endif
