/* fuzz_peer.c -- the sealed channel of a link, under an attacker who sits on
 * the wire: the input says what the two sides seal, and what the attacker makes
 * of it.
 *
 * Input: records of a byte of kind and direction (1: from the side that
 * answers) and a u16 argument:
 *     kind 0: seal that many bytes (modulo CHANNEL_TEXT_BYTES_MAX + 64) |
 *     1: pass that many bytes on | 2: flip a bit of the next bytes |
 *     3: drop that many | 4: repeat that many that passed | 5: pass that many
 *     of the other direction
 * before them a byte: what the attacker does to the handshake (0: nothing, else
 * a flip in one of its bits).
 * Properties: a changed handshake gives no channel; what opens is a prefix of
 * what the other side sealed; and when nothing was changed, all of it opens. */
#include "peer/channel.h"
#include "peer/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STREAM_BYTES_MAX = 128 << 10 };

struct direction {
    struct channel *from;
    struct channel *to;
    struct buf sealed; /* Written by `from`. */
    size_t at;         /* Bytes that the attacker has taken. */
    struct buf wire;   /* Bytes that have arrived at `to`. */
    size_t opened_at;  /* Bytes that were opened. */
    size_t text_bytes; /* Sealed so far; text is a fixed sequence. */
    size_t opened_bytes;
    bool changed;
    bool dead; /* A record did not open. */
};

static const struct peer_keys keys = {.count = 2, .key = {{1}, {2}}};
static const uint8_t random_a[X25519_BYTES] = {3};
static const uint8_t random_b[X25519_BYTES] = {4};

static uint8_t text_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

static void seal(struct direction *direction, size_t size)
{
    struct buf text = {0};
    if (direction->text_bytes + size > STREAM_BYTES_MAX) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        buf_add_u8(&text, text_at(direction->text_bytes + i));
    }
    channel_seal(direction->from, buf_bytes(&text), &direction->sealed);
    direction->text_bytes += size;
    buf_free(&text);
}

/* All that can be opened. */
static void open_all(struct direction *direction)
{
    while (!direction->dead && direction->wire.size > direction->opened_at) {
        struct bytes text;
        size_t used;
        enum err err = channel_open(
            direction->to, direction->wire.data + direction->opened_at,
            direction->wire.size - direction->opened_at, &text, &used);
        if (err == ERR_NOT_FOUND) {
            return;
        }
        direction->dead = err != ERR_OK;
        if (err) {
            must(direction->changed);
            return;
        }
        must(text.size > 0 && text.size <= CHANNEL_TEXT_BYTES_MAX);
        must(direction->opened_bytes + text.size <= direction->text_bytes);
        for (size_t i = 0; i < text.size; i++) {
            must(text.data[i] == text_at(direction->opened_bytes + i));
        }
        direction->opened_bytes += text.size;
        direction->opened_at += used;
    }
}

static struct bytes take(struct direction *direction, size_t size)
{
    size = min_size(size, direction->sealed.size - direction->at);
    if (size == 0) {
        return bytes_of(NULL, 0);
    }
    struct bytes taken = bytes_of(direction->sealed.data + direction->at, size);
    direction->at += size;
    return taken;
}

static void play(struct direction *direction, struct direction *other,
                 uint8_t kind, size_t argument)
{
    struct bytes taken;
    switch (kind) {
    case 0:
        seal(direction, argument % (CHANNEL_TEXT_BYTES_MAX + 64));
        return;
    case 1:
        taken = take(direction, argument);
        buf_add_bytes(&direction->wire, taken);
        break;
    case 2:
        taken = take(direction, argument / 8 + 1);
        if (taken.size > 0) {
            buf_add_bytes(&direction->wire, taken);
            direction->wire.data[direction->wire.size - 1] ^=
                (uint8_t)(1 << argument % 8);
            direction->changed = true;
        }
        break;
    case 3:
        taken = take(direction, argument);
        direction->changed = direction->changed || taken.size > 0;
        return;
    case 4:
        argument = min_size(argument, direction->at);
        if (argument == 0) {
            return;
        }
        buf_add(&direction->wire,
                direction->sealed.data + direction->at - argument, argument);
        direction->changed = direction->changed || argument > 0;
        break;
    default:
        argument = min_size(argument, other->sealed.size);
        buf_add(&direction->wire, other->sealed.data, argument);
        direction->changed = direction->changed || argument > 0;
        break;
    }
    open_all(direction);
}

/* False: there is no channel, as it must be when a bit was flipped. */
static bool shake(struct channel *a, struct channel *b, uint8_t flip)
{
    struct buf message = {0};
    bool open = true;
    channel_dial(a, keys.key[flip % 2], random_a, &message);
    if (flip > 0 && flip <= 2 * NOISE_HANDSHAKE_BYTES) {
        message.data[CHANNEL_MAGIC_BYTES + flip % NOISE_HANDSHAKE_BYTES] ^=
            flip;
    }
    open = channel_open_first(b, &keys, buf_bytes(&message));
    message.size = 0;
    open = open && channel_answer(b, random_b, &message);
    if (open && flip > 2 * NOISE_HANDSHAKE_BYTES) {
        message.data[flip % CHANNEL_SECOND_BYTES] ^= flip;
    }
    open = open && channel_open_second(a, buf_bytes(&message));
    must(open == (flip == 0));
    buf_free(&message);
    return open;
}

/* The same, once: the fixed public keys give the same channel every time. */
static bool open_channels(struct channel *a, struct channel *b, uint8_t flip)
{
    static struct channel open_a;
    static struct channel open_b;
    if (flip > 0) {
        return shake(a, b, flip);
    }
    if (open_a.key[0] == 0) {
        (void)shake(&open_a, &open_b, 0);
    }
    *a = open_a;
    *b = open_b;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel a = {0};
    struct channel b = {0};
    struct direction both[2] = {{.from = &a, .to = &b}, {.from = &b, .to = &a}};
    if (size > 0 && open_channels(&a, &b, data[0])) {
        for (size_t at = 1; at + 3 <= size; at += 3) {
            unsigned side = data[at] & 1;
            play(&both[side], &both[!side], data[at] / 2 % 6,
                 load_u16(data + at + 1));
        }
        for (int i = 0; i < 2; i++) {
            struct direction *direction = &both[i];
            if (!direction->changed) {
                play(direction, direction, 1, direction->sealed.size);
                must(!direction->dead);
                must(direction->opened_bytes == direction->text_bytes);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        buf_free(&both[i].sealed);
        buf_free(&both[i].wire);
    }
    channel_forget(&a);
    channel_forget(&b);
    return 0;
}
