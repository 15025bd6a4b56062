/* target.c -- small grammars of the head: percent-encoding and authorities (RFC
 * 3986), query parameters, lists. */
#include <arpa/inet.h>

#include "http/http_internal.h"

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct bytes in, bool plus_is_blank, uint8_t *out,
                   size_t *out_size)
{
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        if (in.data[i] != '%') {
            bool blank = plus_is_blank && in.data[i] == '+';
            out[size++] = blank ? ' ' : in.data[i];
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

bool http_percent_decode(struct bytes in, uint8_t *out, size_t *out_size)
{
    return decode(in, false, out, out_size);
}

bool http_form_decode(struct bytes in, uint8_t *out, size_t *out_size)
{
    return decode(in, true, out, out_size);
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

bool http_query_next(struct bytes *rest, struct bytes *name,
                     struct bytes *value)
{
    while (rest->size > 0) {
        const uint8_t *at = rest->data;
        const uint8_t *stop = memchr(at, '&', rest->size);
        size_t size = stop ? (size_t)(stop - at) : rest->size;
        size_t skip = stop ? size + 1 : size;
        const uint8_t *equals = size > 0 ? memchr(at, '=', size) : NULL;
        size_t name_size = equals ? (size_t)(equals - at) : size;
        size_t value_at = equals ? name_size + 1 : size;
        *rest = bytes_of(at + skip, rest->size - skip);
        *name = bytes_of(at, name_size);
        *value = bytes_of(at + value_at, size - value_at);
        if (size > 0) {
            return true;
        }
    }
    return false;
}

/* ---- lists and names ---- */

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool http_equal_fold_bytes(struct bytes a, struct bytes b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < b.size; i++) {
        if (fold(a.data[i]) != fold(b.data[i])) {
            return false;
        }
    }
    return true;
}

bool http_equal_fold(struct bytes a, const char *text)
{
    for (size_t i = 0; i < a.size; i++) {
        if (text[i] == '\0' || fold(a.data[i]) != fold((uint8_t)text[i])) {
            return false;
        }
    }
    return text[a.size] == '\0';
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct bytes http_trim(struct bytes text)
{
    while (text.size > 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    while (text.size > 0 && is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    return text;
}

bool http_list_next(struct bytes *rest, struct bytes *element)
{
    while (rest->size > 0) {
        const uint8_t *comma = memchr(rest->data, ',', rest->size);
        size_t size = comma ? (size_t)(comma - rest->data) : rest->size;
        size_t skip = comma ? size + 1 : size;
        *element = http_trim(bytes_of(rest->data, size));
        *rest = bytes_of(rest->data + skip, rest->size - skip);
        if (element->size > 0) {
            return true;
        }
    }
    return false;
}

/* ---- host[:port] ---- */

/* RFC 3986 3.2.2, without the comma: in Host it would be the trace of two
 * joined headers. */
static bool is_reg_name(struct bytes host)
{
    static const char marks[] = "-._~!$&'()*+;=";
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i];
        bool letter =
            (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (c == '%') {
            if (host.size - i < 3 || hex(host.data[i + 1]) < 0 ||
                hex(host.data[i + 2]) < 0) {
                return false;
            }
            i += 2;
        } else if (!letter && (c == 0 || !strchr(marks, c))) {
            return false;
        }
    }
    return host.size > 0;
}

/* True if `host` is a numeric address of that family. */
static bool is_address(struct bytes host, int family)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (host.size == 0 || host.size >= sizeof(text)) {
        return false;
    }
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    return inet_pton(family, text, address) == 1;
}

bool http_authority(struct bytes text, struct http_authority *authority)
{
    const uint8_t *end = text.data + text.size;
    const uint8_t *at = text.data;
    *authority = (struct http_authority){0};
    if (text.size > 0 && *at == '[') {
        const uint8_t *close = memchr(at, ']', text.size);
        if (!close) {
            return false;
        }
        authority->host = bytes_of(at + 1, (size_t)(close - at - 1));
        authority->numeric = is_address(authority->host, AF_INET6);
        if (!authority->numeric) {
            return false;
        }
        at = close + 1;
    } else {
        const uint8_t *colon =
            text.size > 0 ? memchr(at, ':', text.size) : NULL;
        at = colon ? colon : end;
        authority->host = bytes_of(text.data, (size_t)(at - text.data));
        authority->numeric = is_address(authority->host, AF_INET);
        if (!is_reg_name(authority->host)) {
            return false;
        }
    }
    if (at == end) {
        return true;
    }
    if (*at != ':') {
        return false;
    }
    uint32_t port = 0;
    for (at++; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(*at - '0');
        if (port > UINT16_MAX) {
            return false;
        }
    }
    authority->port = (uint16_t)port;
    return true;
}

bool http_origin(struct bytes text, struct http_authority *authority,
                 uint16_t *scheme_port)
{
    static const struct {
        const char *prefix;
        uint16_t port;
    } schemes[] = {{"http://", 80}, {"https://", 443}};
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        size_t size = strlen(schemes[i].prefix);
        if (text.size > size &&
            http_equal_fold(bytes_of(text.data, size), schemes[i].prefix)) {
            text = bytes_of(text.data + size, text.size - size);
            *scheme_port = schemes[i].port;
            if (!http_authority(text, authority)) {
                return false;
            }
            authority->port = authority->port ? authority->port : *scheme_port;
            return true;
        }
    }
    return false;
}
