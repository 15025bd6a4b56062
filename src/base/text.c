/* text.c -- durations, sizes, numbers, hexadecimal, base64, UTF-8, the nearest
 * name. */
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

bool text_i64(struct bytes text, int64_t *value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    uint64_t sum = 0;
    if (text.size == at || text.size > 20) {
        return false;
    }
    if (text.data[at] == '0' && text.size > 1) {
        return false;
    }
    for (; at < text.size; at++) {
        uint8_t c = text.data[at];
        if (c < '0' || c > '9' || sum > (limit - (c - '0')) / 10) {
            return false;
        }
        sum = sum * 10 + (uint64_t)(c - '0');
    }
    *value = (int64_t)(negative ? 0 - sum : sum);
    return true;
}

bool text_lists_word(const char *words, struct bytes word)
{
    for (const char *at = words; *at;) {
        size_t size = strcspn(at, " ");
        if (size == word.size && memcmp(at, word.data, size) == 0) {
            return true;
        }
        at += size;
        at += *at == ' ';
    }
    return false;
}

void text_add_base64(struct buf *out, struct bytes data)
{
    static const char digit[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *to = buf_reserve(out, (data.size + 2) / 3 * 4);
    for (size_t i = 0; i < data.size; i += 3) {
        size_t left = data.size - i;
        uint32_t bits = (uint32_t)data.data[i] << 16;
        bits |= left > 1 ? (uint32_t)data.data[i + 1] << 8 : 0;
        bits |= left > 2 ? data.data[i + 2] : 0;
        *to++ = (uint8_t)digit[bits >> 18];
        *to++ = (uint8_t)digit[bits >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)digit[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)digit[bits & 63] : '=';
    }
    out->size += (data.size + 2) / 3 * 4;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_base64(struct bytes text, uint8_t *data, size_t *size)
{
    size_t out = 0;
    size_t pad = 0;
    if (text.size % 4 != 0) {
        return false;
    }
    while (pad < 2 && pad < text.size &&
           text.data[text.size - 1 - pad] == '=') {
        pad++;
    }
    for (size_t i = 0; i < text.size; i += 4) {
        uint32_t bits = 0;
        size_t digits = i + 4 == text.size ? 4 - pad : 4;
        for (size_t k = 0; k < digits; k++) {
            int value = base64_digit(text.data[i + k]);
            if (value < 0) {
                return false;
            }
            bits |= (uint32_t)value << (18 - 6 * k);
        }
        /* The unused bits must be zero, so that the encoding is unique. */
        if ((digits == 2 && bits & 0xffff) || (digits == 3 && bits & 0xff)) {
            return false;
        }
        for (size_t k = 0; k + 1 < digits; k++) {
            data[out++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    *size = out;
    return true;
}

size_t text_utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t c = at[0];
    if (c < 0x80) {
        return 1;
    }
    size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || left < size) {
        return 0;
    }
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

size_t text_control_size(const uint8_t *at, size_t left)
{
    if (at[0] < 0x20 || at[0] == 0x7f) {
        return 1;
    }
    /* U+0080 to U+009F are C2 80 to C2 9F. */
    return at[0] == 0xc2 && left > 1 && at[1] >= 0x80 && at[1] < 0xa0 ? 2 : 0;
}

bool text_is_printable(struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        const uint8_t *c = text.data + at;
        size_t size = text_utf8_sequence(c, text.size - at);
        if (size == 0 || text_control_size(c, text.size - at) > 0) {
            return false;
        }
        at += size;
    }
    return true;
}

void text_add_escaped(struct buf *out, struct bytes text, bool utf8)
{
    static const char digit[] = "0123456789ABCDEF";
    uint8_t *at = buf_reserve(out, 3 * text.size);
    uint8_t *start = at;
    size_t escaped = 0; /* Bytes from here on that are escaped in any case. */
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        size_t control = text_control_size(text.data + i, text.size - i);
        escaped = control > 0 ? control : escaped;
        if (escaped > 0 || c == '%' || (c >= 0x80 && !utf8)) {
            *at++ = '%';
            *at++ = (uint8_t)digit[c >> 4];
            *at++ = (uint8_t)digit[c & 15];
            escaped -= escaped > 0;
        } else {
            *at++ = c;
        }
    }
    out->size += (size_t)(at - start);
}

void text_mask_controls(char *text)
{
    size_t left = strlen(text);
    for (uint8_t *at = (uint8_t *)text; left > 0; at++, left--) {
        size_t control = text_control_size(at, left);
        memset(at, '?', control);
    }
}

bool text_is_word(struct bytes text)
{
    return text_is_printable(text) &&
           (text.size == 0 || (memchr(text.data, ' ', text.size) == NULL &&
                               memchr(text.data, '"', text.size) == NULL));
}

struct text_nearest text_nearest_to(struct bytes word)
{
    return (struct text_nearest){.word = word, .distance = SIZE_MAX};
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Edit distance with swaps of neighbours (optimal string alignment), row by
 * row; a row depends on the two before it. */
static size_t edit_distance(struct bytes a, struct bytes b)
{
    size_t rows[3][TEXT_NEAREST_BYTES_MAX + 1];
    must(a.size <= TEXT_NEAREST_BYTES_MAX && b.size <= TEXT_NEAREST_BYTES_MAX);
    for (size_t k = 0; k <= b.size; k++) {
        rows[0][k] = k;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        uint8_t c = lower(a.data[i - 1]);
        row[0] = i;
        for (size_t k = 1; k <= b.size; k++) {
            uint8_t d = lower(b.data[k - 1]);
            size_t best = above[k - 1] + (c != d);
            best = min_size(best, above[k] + 1);
            best = min_size(best, row[k - 1] + 1);
            if (i > 1 && k > 1 && c == lower(b.data[k - 2]) &&
                d == lower(a.data[i - 2])) {
                best = min_size(best, two_above[k - 2] + 1);
            }
            row[k] = best;
        }
    }
    return rows[a.size % 3][b.size];
}

void text_nearest_offer(struct text_nearest *nearest, struct bytes name)
{
    size_t longer =
        nearest->word.size > name.size ? nearest->word.size : name.size;
    if (longer > TEXT_NEAREST_BYTES_MAX) {
        return;
    }
    size_t distance = edit_distance(nearest->word, name);
    if (distance <= longer / 3 && distance < nearest->distance) {
        nearest->best = name;
        nearest->distance = distance;
    }
}

struct text_date text_date(uint64_t unix_s)
{
    const uint64_t last_s = 253402300799; /* The end of the year 9999. */
    uint64_t s = min_u64(unix_s, last_s);
    uint64_t day = s / 86400;
    /* Years begin in March here, so that a leap day is the last of its year:
     * 1970-01-01 is day 719468 of such a calendar. Each era of 400 years has
     * 146097 days. */
    uint64_t shifted = day + 719468;
    uint64_t of_era = shifted % 146097;
    uint64_t year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year =
        of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * of_year + 2) / 153;
    bool is_next_year = march_month >= 10;
    return (struct text_date){
        .year = (unsigned)(year_of_era + shifted / 146097 * 400 + is_next_year),
        .month = (unsigned)(is_next_year ? march_month - 10 : march_month + 2),
        .day = (unsigned)(of_year - (153 * march_month + 2) / 5 + 1),
        .weekday = (unsigned)(day % 7),
        .hour = (unsigned)(s / 3600 % 24),
        .minute = (unsigned)(s / 60 % 60),
        .second = (unsigned)(s % 60),
    };
}
