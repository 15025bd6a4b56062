/* text.c -- durations, sizes, hexadecimal. */
#include "base/text.h"

static bool digits(struct bytes text, size_t *used, uint64_t *value)
{
    *value = 0;
    *used = 0;
    while (*used < text.size && text.data[*used] >= '0' &&
           text.data[*used] <= '9') {
        if (*value > UINT64_MAX / 100) {
            return false;
        }
        *value = *value * 10 + (uint64_t)(text.data[*used] - '0');
        ++*used;
    }
    return *used > 0;
}

static bool scale(uint64_t *value, uint64_t unit, uint64_t limit)
{
    if (*value > limit / unit) {
        return false;
    }
    *value *= unit;
    return true;
}

bool text_duration_ms(struct bytes text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1},    {"s", 1000},    {"", 1000},
                 {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    const uint64_t limit = 3660ull * 86400000;
    size_t used;
    uint64_t value;
    if (!digits(text, &used, &value)) {
        return false;
    }
    struct bytes rest = bytes_of(text.data + used, text.size - used);
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (bytes_equal_string(rest, units[i].unit)) {
            *ms = value;
            return scale(ms, units[i].ms, limit);
        }
    }
    return false;
}

bool text_size_bytes(struct bytes text, uint64_t *bytes)
{
    static const char units[] = "kMG";
    size_t used;
    uint64_t value;
    if (!digits(text, &used, &value) || text.size - used > 1) {
        return false;
    }
    uint64_t unit = 1;
    if (used < text.size) {
        const char *place = strchr(units, text.data[used]);
        if (!place || text.data[used] == 0) {
            return false;
        }
        unit = (uint64_t)1 << (10 * (place - units + 1));
    }
    *bytes = value;
    return scale(bytes, unit, (uint64_t)1 << 50);
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_hex(struct bytes text, uint8_t *out, size_t size)
{
    if (text.size != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        int high = hex(text.data[2 * i]);
        int low = hex(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void text_add_hex(struct buf *out, const uint8_t *data, size_t size)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        buf_add_u8(out, (uint8_t)digit[data[i] >> 4]);
        buf_add_u8(out, (uint8_t)digit[data[i] & 15]);
    }
}
