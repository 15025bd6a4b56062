/* channel.c -- the sealed channel of one link. */
#include "peer/channel.h"

static const uint8_t magic[CHANNEL_MAGIC_BYTES] = {'c', 'r', 'a',  'f',
                                                   't', 'd', '\0', 1};

/* ---- handshake ---- */

static void begin(struct channel *channel, const uint8_t key[NOISE_KEY_BYTES])
{
    memcpy(channel->key, key, sizeof(channel->key));
    noise_init(&channel->handshake, key, bytes_of(magic, sizeof(magic)));
}

static void open_directions(struct channel *channel, bool initiator)
{
    noise_split(&channel->handshake, initiator, &channel->send,
                &channel->receive, NULL);
}

void channel_dial(struct channel *channel, const uint8_t key[NOISE_KEY_BYTES],
                  const uint8_t random[X25519_BYTES], struct buf *out)
{
    begin(channel, key);
    buf_add(out, magic, sizeof(magic));
    noise_write_first(&channel->handshake, random, bytes_of(NULL, 0),
                      buf_reserve(out, NOISE_HANDSHAKE_BYTES));
    out->size += NOISE_HANDSHAKE_BYTES;
}

bool channel_open_second(struct channel *channel, struct bytes message)
{
    uint8_t nothing;
    must(message.size == CHANNEL_SECOND_BYTES);
    if (!noise_read_second(&channel->handshake, message, &nothing)) {
        return false;
    }
    open_directions(channel, true);
    return true;
}

bool channel_may_be_first(struct bytes in)
{
    size_t size = min_size(in.size, sizeof(magic));
    return size == 0 || memcmp(in.data, magic, size) == 0;
}

bool channel_open_first(struct channel *channel, const struct peer_keys *keys,
                        struct bytes message)
{
    must(message.size == CHANNEL_FIRST_BYTES && channel_may_be_first(message));
    struct bytes sealed =
        bytes_of(message.data + sizeof(magic), NOISE_HANDSHAKE_BYTES);
    uint8_t nothing;
    bool opened = false;
    for (int i = 0; i < keys->count && !opened; i++) {
        begin(channel, keys->key[i]);
        opened = noise_read_first(&channel->handshake, sealed, &nothing);
    }
    return opened;
}

bool channel_answer(struct channel *channel, const uint8_t random[X25519_BYTES],
                    struct buf *out)
{
    uint8_t *message = buf_reserve(out, CHANNEL_SECOND_BYTES);
    if (!noise_write_second(&channel->handshake, random, bytes_of(NULL, 0),
                            message)) {
        return false;
    }
    out->size += CHANNEL_SECOND_BYTES;
    open_directions(channel, false);
    return true;
}

/* ---- records ---- */

void channel_seal(struct channel *channel, struct bytes text, struct buf *out)
{
    for (size_t at = 0; at < text.size;) {
        size_t size = min_size(text.size - at, CHANNEL_TEXT_BYTES_MAX);
        uint8_t *record =
            buf_reserve(out, CHANNEL_HEADER_BYTES + size + AEAD_TAG_BYTES);
        store_u16(record, (uint16_t)(size + AEAD_TAG_BYTES));
        noise_seal(&channel->send, bytes_of(NULL, 0),
                   bytes_of(text.data + at, size),
                   record + CHANNEL_HEADER_BYTES);
        out->size += CHANNEL_HEADER_BYTES + size + AEAD_TAG_BYTES;
        at += size;
    }
}

enum err channel_open(struct channel *channel, uint8_t *data, size_t size,
                      struct bytes *text, size_t *used)
{
    if (size < CHANNEL_HEADER_BYTES) {
        return ERR_NOT_FOUND;
    }
    size_t sealed = load_u16(data);
    if (sealed > CHANNEL_TEXT_BYTES_MAX + AEAD_TAG_BYTES) {
        return ERR_TOO_BIG;
    }
    if (sealed <= AEAD_TAG_BYTES) {
        return ERR_CORRUPT;
    }
    if (size - CHANNEL_HEADER_BYTES < sealed) {
        return ERR_NOT_FOUND;
    }
    uint8_t *record = data + CHANNEL_HEADER_BYTES;
    if (!noise_open(&channel->receive, bytes_of(NULL, 0),
                    bytes_of(record, sealed), record)) {
        return ERR_CORRUPT;
    }
    *text = bytes_of(record, sealed - AEAD_TAG_BYTES);
    *used = CHANNEL_HEADER_BYTES + sealed;
    return ERR_OK;
}

void channel_forget(struct channel *channel)
{
    crypto_zero(channel, sizeof(*channel));
}
