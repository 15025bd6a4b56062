/* inflate.c -- RFC 1951 and 1952, small rather than quick: codes are decoded
 * bit by bit, with two numbers per length instead of tables per prefix. Section
 * numbers below are those of RFC 1951. */
#include "base/inflate.h"

enum {
    CODE_BITS_MAX = 15,
    LITERALS_MAX = 288,
    DISTANCES_MAX = 32, /* 30 and 31 have codes in a fixed block, 3.2.6. */
    LENGTH_CODES = 19,
    END_OF_BLOCK = 256,
    HEADER_BYTES = 10,
    TRAILER_BYTES = 8,
};

struct inflate {
    struct cursor in;
    uint32_t bits; /* Read from `in` and not used: `bit_count` low bits. */
    unsigned bit_count;
    uint8_t *out;
    size_t size;
    size_t size_max;
};

/* A canonical prefix code, 3.2.2: symbols in the order of their codes. */
struct code {
    uint16_t count[CODE_BITS_MAX + 1]; /* Symbols with that length. */
    uint16_t symbol[LITERALS_MAX];
};

/* Take up to 16 bits, the first is the lowest. Zeros behind the end, where
 * in.failed is set. */
static unsigned take_bits(struct inflate *self, unsigned count)
{
    while (self->bit_count < count) {
        self->bits |= (uint32_t)cursor_u8(&self->in) << self->bit_count;
        self->bit_count += 8;
    }
    unsigned value = self->bits & ((1U << count) - 1);
    self->bits >>= count;
    self->bit_count -= count;
    return value;
}

/* Order `count` symbols by length, then value. False: the lengths are those of
 * no complete code. One code of one bit alone is allowed (3.2.7), as is none at
 * all: a block of literals needs no distance. */
static bool make_code(struct code *code, const uint8_t *lengths, unsigned count)
{
    unsigned start[CODE_BITS_MAX + 1] = {0};
    unsigned used = 0;
    int left = 1; /* Codes of the current length that are free. */
    *code = (struct code){0};
    for (unsigned i = 0; i < count; i++) {
        code->count[lengths[i]]++;
        used += lengths[i] != 0;
    }
    for (unsigned bits = 1; bits <= CODE_BITS_MAX; bits++) {
        left = 2 * left - code->count[bits];
        if (left < 0) {
            return false;
        }
        if (bits < CODE_BITS_MAX) {
            start[bits + 1] = start[bits] + code->count[bits];
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (lengths[i] != 0) {
            code->symbol[start[lengths[i]]++] = (uint16_t)i;
        }
    }
    code->count[0] = 0;
    return left == 0 || used == 0 || (used == 1 && code->count[1] == 1);
}

/* The next symbol; a code that stands for none: -1. */
static int take_symbol(struct inflate *self, const struct code *code)
{
    int value = 0; /* The bits so far, the first is the highest. */
    int first = 0; /* The lowest code of this length ... */
    int index = 0; /* ... and the place of its symbol. */
    for (unsigned bits = 1; bits <= CODE_BITS_MAX; bits++) {
        value |= (int)take_bits(self, 1);
        int count = code->count[bits];
        if (value - first < count) {
            return code->symbol[index + value - first];
        }
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    return -1;
}

/* 3.2.4. */
static bool copy_stored(struct inflate *self)
{
    self->bits = self->bit_count = 0; /* Fewer than 8: no byte is lost. */
    unsigned size = cursor_u16(&self->in);
    unsigned complement = cursor_u16(&self->in);
    struct bytes text = cursor_bytes(&self->in, size);
    if (self->in.failed || (size ^ complement) != 0xffff ||
        size > self->size_max - self->size) {
        return false;
    }
    memcpy(self->out + self->size, text.data, text.size);
    self->size += text.size;
    return true;
}

/* Repeat `length` bytes from `distance` bytes ago; they may overlap. */
static bool repeat(struct inflate *self, unsigned length, unsigned distance)
{
    if (distance > self->size || length > self->size_max - self->size) {
        return false;
    }
    for (; length > 0; length--, self->size++) {
        self->out[self->size] = self->out[self->size - distance];
    }
    return true;
}

/* 3.2.5: `symbol` counts from the first length. The tables of the section, as a
 * rule: four lengths, or two distances, share a number of extra bits. */
static bool take_repeat(struct inflate *self, unsigned symbol,
                        const struct code *distances)
{
    unsigned length = 3 + symbol;
    if (symbol > 28) {
        return false;
    }
    if (symbol == 28) {
        length = 258;
    } else if (symbol >= 8) {
        unsigned extra = symbol / 4 - 1;
        length = 3 + ((4 + symbol % 4) << extra) + take_bits(self, extra);
    }
    int code = take_symbol(self, distances);
    if (code < 0 || code > 29) {
        return false;
    }
    unsigned distance = 1 + (unsigned)code;
    if (code >= 4) {
        unsigned extra = (unsigned)code / 2 - 1;
        distance =
            1 + ((2 + (unsigned)code % 2) << extra) + take_bits(self, extra);
    }
    return repeat(self, length, distance);
}

static bool take_block(struct inflate *self, const struct code *literals,
                       const struct code *distances)
{
    for (;;) {
        int symbol = take_symbol(self, literals);
        if (symbol < 0 || self->in.failed) {
            return false;
        }
        if (symbol == END_OF_BLOCK) {
            return true;
        }
        if (symbol > END_OF_BLOCK) {
            if (!take_repeat(self, (unsigned)symbol - 257, distances)) {
                return false;
            }
        } else if (self->size < self->size_max) {
            self->out[self->size++] = (uint8_t)symbol;
        } else {
            return false;
        }
    }
}

/* 3.2.6. */
static bool take_fixed(struct inflate *self)
{
    uint8_t lengths[LITERALS_MAX];
    struct code literals;
    struct code distances;
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    must(make_code(&literals, lengths, LITERALS_MAX));
    memset(lengths, 5, DISTANCES_MAX);
    must(make_code(&distances, lengths, DISTANCES_MAX));
    return take_block(self, &literals, &distances);
}

/* Take the lengths of `count` codes, themselves coded with `code`, 3.2.7. */
static bool take_lengths(struct inflate *self, const struct code *code,
                         uint8_t *lengths, unsigned count)
{
    unsigned done = 0;
    while (done < count) {
        int symbol = take_symbol(self, code);
        uint8_t value = 0;
        unsigned times = 1;
        if (symbol < 0 || self->in.failed || (symbol == 16 && done == 0)) {
            return false;
        }
        if (symbol < 16) {
            value = (uint8_t)symbol;
        } else if (symbol == 16) {
            value = lengths[done - 1];
            times = 3 + take_bits(self, 2);
        } else {
            times =
                symbol == 17 ? 3 + take_bits(self, 3) : 11 + take_bits(self, 7);
        }
        if (times > count - done) {
            return false;
        }
        memset(lengths + done, value, times);
        done += times;
    }
    return true;
}

/* 3.2.7. */
static bool take_dynamic(struct inflate *self)
{
    static const uint8_t order[LENGTH_CODES] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS_MAX + DISTANCES_MAX] = {0};
    struct code literals;
    struct code distances;
    unsigned literal_count = 257 + take_bits(self, 5);
    unsigned distance_count = 1 + take_bits(self, 5);
    unsigned length_count = 4 + take_bits(self, 4);
    for (unsigned i = 0; i < length_count; i++) {
        lengths[order[i]] = (uint8_t)take_bits(self, 3);
    }
    if (literal_count > 286 || distance_count > 30 ||
        !make_code(&literals, lengths, LENGTH_CODES) ||
        !take_lengths(self, &literals, lengths,
                      literal_count + distance_count)) {
        return false;
    }
    return make_code(&literals, lengths, literal_count) &&
           make_code(&distances, lengths + literal_count, distance_count) &&
           take_block(self, &literals, &distances);
}

static bool take_blocks(struct inflate *self)
{
    bool is_last;
    bool ok;
    do {
        is_last = take_bits(self, 1);
        unsigned type = take_bits(self, 2);
        ok = !self->in.failed && (type == 0   ? copy_stored(self)
                                  : type == 1 ? take_fixed(self)
                                  : type == 2 ? take_dynamic(self)
                                              : false);
    } while (ok && !is_last);
    return ok && !self->in.failed;
}

/* RFC 1952, section 8. */
static uint32_t crc32(struct bytes text)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < text.size; i++) {
        crc ^= text.data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320 & (0 - (crc & 1)));
        }
    }
    return ~crc;
}

size_t gunzip_size(struct bytes gzip)
{
    return gzip.size < HEADER_BYTES + TRAILER_BYTES
               ? 0
               : load_u32(gzip.data + gzip.size - 4);
}

enum err gunzip(struct bytes gzip, size_t size_max, struct buf *out)
{
    /* Magic, deflate, no optional field; time and system may be any. */
    static const uint8_t header[] = {0x1f, 0x8b, 8, 0};
    if (gzip.size < HEADER_BYTES + TRAILER_BYTES ||
        memcmp(gzip.data, header, sizeof(header)) != 0) {
        return ERR_CORRUPT;
    }
    size_t size = gunzip_size(gzip);
    if (size > size_max) {
        return ERR_TOO_BIG;
    }
    const uint8_t *trailer = gzip.data + gzip.size - TRAILER_BYTES;
    struct inflate self = {
        .in = {.at = gzip.data + HEADER_BYTES, .end = trailer},
        .out = buf_reserve(out, size + 1), /* Never NULL. */
        .size_max = size,
    };
    if (!take_blocks(&self) || cursor_left(&self.in) > 0 || self.size != size ||
        crc32(bytes_of(self.out, size)) != load_u32(trailer)) {
        return ERR_CORRUPT;
    }
    out->size += size;
    return ERR_OK;
}
