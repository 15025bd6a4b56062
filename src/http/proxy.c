/* proxy.c -- see proxy.h. */
#include "http/proxy.h"

#include <arpa/inet.h>

#include "http/http.h"

enum {
    V1_BYTES_MAX = 107, /* Without the final 0 of the text (section 2.1). */
    V2_HEAD_BYTES = 16,
    IP_TEXT_BYTES = INET6_ADDRSTRLEN,
};

static const char v1_start[] = "PROXY ";
static const uint8_t v2_start[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                   0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static bool starts_with(struct bytes data, const void *start, size_t size)
{
    return memcmp(data.data, start, min_size(data.size, size)) == 0;
}

/* ---- addresses as text ---- */

static bool parse_ip(struct bytes text, struct proxy_source *source)
{
    char copy[IP_TEXT_BYTES];
    if (text.size == 0 || text.size >= sizeof(copy) ||
        memchr(text.data, '\0', text.size)) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    source->ip_bytes = memchr(text.data, ':', text.size) ? 16 : 4;
    return inet_pton(source->ip_bytes == 16 ? AF_INET6 : AF_INET, copy,
                     source->ip) == 1;
}

static bool parse_port(struct bytes text, uint16_t *port)
{
    uint32_t value = 0;
    if (text.size == 0 || text.size > 5) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* ---- version 1 ---- */

/* The next word up to one blank, which is passed. */
static struct bytes next_word(struct bytes *rest)
{
    const uint8_t *blank =
        rest->size > 0 ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = blank ? (size_t)(blank - rest->data) : rest->size;
    struct bytes word = bytes_of(rest->data, size);
    size += blank != NULL;
    *rest = bytes_of(rest->data + size, rest->size - size);
    return word;
}

/* "TCP4 192.0.2.1 192.0.2.2 4711 80"; behind UNKNOWN anything may follow. */
static bool parse_line(struct bytes line, struct proxy_source *source)
{
    struct proxy_source there;
    struct bytes family = next_word(&line);
    if (bytes_equal_string(family, "UNKNOWN")) {
        return true;
    }
    bool is_v6 = bytes_equal_string(family, "TCP6");
    size_t ip_bytes = is_v6 ? 16 : 4;
    return (is_v6 || bytes_equal_string(family, "TCP4")) &&
           parse_ip(next_word(&line), source) && source->ip_bytes == ip_bytes &&
           parse_ip(next_word(&line), &there) && there.ip_bytes == ip_bytes &&
           parse_port(next_word(&line), &source->port) &&
           parse_port(line, &there.port);
}

static enum proxy_progress
read_v1(struct bytes data, struct proxy_source *source, size_t *consumed)
{
    size_t start = strlen(v1_start);
    size_t room = min_size(data.size, V1_BYTES_MAX);
    const uint8_t *end = memchr(data.data, '\n', room);
    if (!end) {
        return data.size < V1_BYTES_MAX ? PROXY_MORE : PROXY_ERROR;
    }
    size_t size = (size_t)(end - data.data) + 1;
    if (size < start + 2 || end[-1] != '\r' ||
        !parse_line(bytes_of(data.data + start, size - start - 2), source)) {
        return PROXY_ERROR;
    }
    *consumed = size;
    return PROXY_DONE;
}

/* ---- version 2 ---- */

static uint16_t u16_at(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* Behind the head: addresses of the source and of the destination, ports of
 * both, and what else the proxy tells. */
static enum proxy_progress
read_v2(struct bytes data, struct proxy_source *source, size_t *consumed)
{
    enum { VERSION = 0x20, LOCAL = 0, PROXIED = 1, TCP4 = 0x11, TCP6 = 0x21 };
    if (data.size < V2_HEAD_BYTES) {
        return PROXY_MORE;
    }
    const uint8_t *body = data.data + V2_HEAD_BYTES;
    unsigned command = data.data[12] ^ (unsigned)VERSION;
    unsigned family = data.data[13];
    size_t body_bytes = u16_at(data.data + 14);
    size_t ip_bytes = family == TCP4 ? 4 : family == TCP6 ? 16 : 0;
    if ((command != LOCAL && command != PROXIED) ||
        V2_HEAD_BYTES + body_bytes > PROXY_BYTES_MAX ||
        (command == PROXIED && body_bytes < 2 * ip_bytes + 4 && ip_bytes > 0)) {
        return PROXY_ERROR;
    }
    if (data.size < V2_HEAD_BYTES + body_bytes) {
        return PROXY_MORE;
    }
    /* A family that is not ours has no address for us (section 2.2). */
    if (command == PROXIED && ip_bytes > 0) {
        source->ip_bytes = ip_bytes;
        memcpy(source->ip, body, ip_bytes);
        source->port = u16_at(body + 2 * ip_bytes);
    }
    *consumed = V2_HEAD_BYTES + body_bytes;
    return PROXY_DONE;
}

enum proxy_progress proxy_read(struct bytes data, struct proxy_source *source,
                               size_t *consumed)
{
    struct proxy_source found = {.ip_bytes = 0};
    enum proxy_progress progress = PROXY_ERROR;
    if (data.size == 0) {
        return PROXY_MORE;
    }
    bool is_v1 = starts_with(data, v1_start, strlen(v1_start));
    bool is_v2 = starts_with(data, v2_start, sizeof(v2_start));
    if (is_v1) {
        progress = read_v1(data, &found, consumed);
    } else if (is_v2) {
        progress = read_v2(data, &found, consumed);
    }
    if (progress == PROXY_DONE) {
        *source = found;
    }
    return progress;
}

/* ---- X-Forwarded-For ---- */

bool proxy_forwarded_for(struct bytes value, struct proxy_source *source)
{
    struct proxy_source found = {.ip_bytes = 0};
    size_t at = value.size;
    while (at > 0 && value.data[at - 1] != ',') {
        at--;
    }
    struct bytes last = http_trim(bytes_of(value.data + at, value.size - at));
    const uint8_t *colon =
        last.size > 0 ? memchr(last.data, ':', last.size) : NULL;
    bool good = false;
    if (last.size > 0 && last.data[0] == '[') {
        const uint8_t *end = memchr(last.data, ']', last.size);
        size_t ip = end ? (size_t)(end - last.data) : 0;
        struct bytes rest = bytes_of(last.data + ip, last.size - ip);
        good =
            end && parse_ip(bytes_of(last.data + 1, ip - 1), &found) &&
            found.ip_bytes == 16 &&
            (rest.size == 1 ||
             (rest.data[1] == ':' &&
              parse_port(bytes_of(rest.data + 2, rest.size - 2), &found.port)));
    } else if (colon && memchr(last.data, '.', (size_t)(colon - last.data))) {
        size_t ip = (size_t)(colon - last.data);
        good = parse_ip(bytes_of(last.data, ip), &found) &&
               parse_port(bytes_of(colon + 1, last.size - ip - 1), &found.port);
    } else {
        good = parse_ip(last, &found);
    }
    if (good) {
        *source = found;
    }
    return good;
}

/* ---- trusted proxies ---- */

bool proxy_trust_next(struct bytes *list, struct proxy_trust *trust)
{
    static const char header[] = "header:";
    struct bytes rest = *list;
    struct bytes one;
    struct proxy_source source = {.ip_bytes = 0};
    if (!http_list_next(&rest, &one)) {
        return false;
    }
    bool by_header = one.size > strlen(header) &&
                     memcmp(one.data, header, strlen(header)) == 0;
    size_t skip = by_header ? strlen(header) : 0;
    if (!parse_ip(bytes_of(one.data + skip, one.size - skip), &source)) {
        return false;
    }
    *trust = (struct proxy_trust){.by_header = by_header,
                                  .ip_bytes = source.ip_bytes};
    memcpy(trust->ip, source.ip, sizeof(trust->ip));
    *list = rest;
    return true;
}
