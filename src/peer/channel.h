/* channel.h -- the sealed channel of one link: a handshake that proves the
 * cluster key, then records. Pure: bytes in, bytes out.
 *
 *     dialling side -> 8 bytes "craftd\0\1" | 48 bytes, first message
 *     other side    -> 48 bytes, second message
 *     both          -> records: u16 size of what follows, little-endian |
 *                      text, sealed | tag of 16 bytes
 *
 * The handshake is NNpsk0 of crypto/noise.h with empty payloads; the eight
 * bytes are its prologue, and their last one is the version of this format.
 * No message names its key, its sender or its direction: one that was made with
 * another key, or for another direction or link, does not open. The texts of
 * all records of a direction are one stream, the frames of wire/wire.h;
 * boundaries of records mean nothing. Frames never begin with the eight bytes:
 * as a size they are over WIRE_FRAME_BYTES_MAX.
 *
 * The first message can be a recording. So the side that receives it must do
 * no more than answer until a record has opened, which proves that the other
 * side has the key now. Records open in the order in which they were sealed,
 * each once, and only in the direction in which they were sent. */
#ifndef CRAFTD_PEER_CHANNEL_H
#define CRAFTD_PEER_CHANNEL_H

#include "base/base.h"
#include "base/bytes.h"
#include "crypto/noise.h"
#include "peer/peer.h"

enum {
    CHANNEL_MAGIC_BYTES = 8,
    CHANNEL_FIRST_BYTES = CHANNEL_MAGIC_BYTES + NOISE_HANDSHAKE_BYTES,
    CHANNEL_SECOND_BYTES = NOISE_HANDSHAKE_BYTES,
    CHANNEL_TEXT_BYTES_MAX = 32 << 10, /* Text of one record. */
    CHANNEL_HEADER_BYTES = 2,
    CHANNEL_RECORD_BYTES_MAX =
        CHANNEL_HEADER_BYTES + CHANNEL_TEXT_BYTES_MAX + AEAD_TAG_BYTES,
};

/* Zeroed by channel_forget(), which every channel ends with. */
struct channel {
    uint8_t key[NOISE_KEY_BYTES]; /* The cluster key of the handshake. */
    struct noise_handshake handshake;
    struct noise_cipher send;
    struct noise_cipher receive;
};

/* Dialling side: append the first message to `out`. `random` holds fresh random
 * bytes; the caller overwrites it with zeros. */
void channel_dial(struct channel *channel, const uint8_t key[NOISE_KEY_BYTES],
                  const uint8_t random[X25519_BYTES], struct buf *out);
/* Dialling side: verify the answer, of CHANNEL_SECOND_BYTES. True: the other
 * side has the key, and records can be sealed and opened. */
MUST_CHECK bool channel_open_second(struct channel *channel,
                                    struct bytes message);

/* True when `in`, which may be empty, starts a first message, or may do so with
 * more bytes. */
bool channel_may_be_first(struct bytes in);
/* Other side: verify the first message, of CHANNEL_FIRST_BYTES, with each of
 * the keys. False: it was made with none of them. Some hashes, no X25519. */
MUST_CHECK bool channel_open_first(struct channel *channel,
                                   const struct peer_keys *keys,
                                   struct bytes message);
/* Other side, after that: append the answer to `out`. Records can be sealed and
 * opened then. Costs two X25519. False: the public key in the first message is
 * of small order. `random` as for channel_dial(). */
MUST_CHECK bool channel_answer(struct channel *channel,
                               const uint8_t random[X25519_BYTES],
                               struct buf *out);

/* Append `text` to `out` as records; no text, no record. */
void channel_seal(struct channel *channel, struct bytes text, struct buf *out);
/* Open the first record in the `size` bytes at `data`, where it lies: *text is
 * a view of it, and *used the size of the record. ERR_NOT_FOUND: it is not
 * complete yet. ERR_TOO_BIG, ERR_CORRUPT: the bytes are no record, or not the
 * next one of the other side; nothing that follows will open either. */
MUST_CHECK enum err channel_open(struct channel *channel, uint8_t *data,
                                 size_t size, struct bytes *text, size_t *used);

void channel_forget(struct channel *channel);

#endif
