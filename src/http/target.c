/* target.c -- percent coding (RFC 3986) and query parameters. */
#include "http/http.h"

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http_percent_decode(struct bytes in, uint8_t *out, size_t *out_size)
{
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        if (in.data[i] != '%') {
            out[size++] = in.data[i];
            continue;
        }
        int high = in.size - i > 2 ? hex(in.data[i + 1]) : -1;
        int low = in.size - i > 2 ? hex(in.data[i + 2]) : -1;
        if (high < 0 || low < 0) {
            return false;
        }
        out[size++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    *out_size = size;
    return true;
}

void http_percent_encode(struct buf *out, struct bytes in, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < in.size; i++) {
        uint8_t c = in.data[i];
        if ((c >= '0' && c <= '9') ||
            ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '.' ||
            c == '_' || c == '~' || (c == '/' && keep_slash)) {
            buf_add_u8(out, c);
        } else {
            buf_add_u8(out, '%');
            buf_add_u8(out, (uint8_t)digits[c >> 4]);
            buf_add_u8(out, (uint8_t)digits[c & 15]);
        }
    }
}

bool http_query(struct bytes query, const char *name, struct bytes *value)
{
    size_t name_size = strlen(name);
    const uint8_t *at = query.data;
    const uint8_t *end = at ? at + query.size : at;
    while (at < end) {
        const uint8_t *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop ? stop : end;
        size_t size = (size_t)(stop - at);
        if (size >= name_size && memcmp(at, name, name_size) == 0 &&
            (size == name_size || at[name_size] == '=')) {
            size_t skip = size == name_size ? size : name_size + 1;
            *value = bytes_of(at + skip, size - skip);
            return true;
        }
        at = stop + 1;
    }
    return false;
}
