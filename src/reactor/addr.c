/* addr.c -- addresses as text, and as the kernel's structures. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

#include "reactor/reactor_internal.h"

static bool parse_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t digits = 0;
    for (; text[digits]; digits++) {
        if (text[digits] < '0' || text[digits] > '9' || digits == 5) {
            return false;
        }
        value = value * 10 + (uint32_t)(text[digits] - '0');
    }
    if (digits == 0 || value > 65535) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

static bool host_bytes_ok(const char *host, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)host[i];
        if (c <= ' ' || c == 0x7f || c == '[' || c == ']' || c == '/') {
            return false;
        }
    }
    return size < REACTOR_HOST_BYTES;
}

bool addr_split(const char *text, char host[REACTOR_HOST_BYTES], uint16_t *port)
{
    const char *name = text;
    size_t name_size = 0;
    const char *port_text = text;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || end[1] != ':') {
            return false;
        }
        name = text + 1;
        name_size = (size_t)(end - name);
        port_text = end + 2;
        if (!memchr(name, ':', name_size)) {
            return false; /* Only IPv6 addresses have brackets. */
        }
    } else {
        const char *colon = strrchr(text, ':');
        if (colon) {
            name_size = (size_t)(colon - text);
            port_text = colon + 1;
        }
        if (memchr(name, ':', name_size)) {
            return false; /* IPv6 without brackets: the port is ambiguous. */
        }
    }
    uint16_t parsed;
    if (!host_bytes_ok(name, name_size) || !parse_port(port_text, &parsed)) {
        return false;
    }
    if (name_size == 0) {
        name = "localhost";
        name_size = strlen(name);
    }
    memcpy(host, name, name_size);
    host[name_size] = '\0';
    *port = parsed;
    return true;
}

void addr_join(const char *host, uint16_t port, char out[REACTOR_ADDR_BYTES])
{
    (void)snprintf(out, REACTOR_ADDR_BYTES,
                   strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                   (unsigned)port);
}

bool addr_full(const char *text, char out[REACTOR_ADDR_BYTES])
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    if (!addr_split(text, host, &port)) {
        return false;
    }
    addr_join(host, port, out);
    return true;
}

static void set_v4(struct address *address, struct in_addr ip)
{
    *address = (struct address){.size = sizeof(struct sockaddr_in)};
    address->v4.sin_family = AF_INET;
    address->v4.sin_addr = ip;
}

static void set_v6(struct address *address, struct in6_addr ip)
{
    *address = (struct address){.size = sizeof(struct sockaddr_in6)};
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_addr = ip;
}

void addr_set_port(struct address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET) {
        address->v4.sin_port = htons(port);
    } else {
        must(address->any.sa_family == AF_INET6);
        address->v6.sin6_port = htons(port);
    }
}

void addr_of_ip(const uint8_t *ip, size_t ip_bytes, uint16_t port,
                struct address *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    must(ip_bytes == sizeof(v4) || ip_bytes == sizeof(v6));
    if (ip_bytes == sizeof(v4)) {
        memcpy(&v4, ip, sizeof(v4));
        set_v4(out, v4);
    } else {
        memcpy(&v6, ip, sizeof(v6));
        set_v6(out, v6);
    }
    addr_set_port(out, port);
}

/* Is it "localhost" or a name below it (RFC 6761 6.3)? An IPv6 address whose
 * zone ends like that ("::%a.localhost") is not a name. */
static bool is_localhost(const char *host)
{
    const char *suffix = ".localhost";
    size_t size = strlen(host);
    size_t suffix_size = strlen(suffix);
    if (strpbrk(host, ":%")) {
        return false;
    }
    return strcasecmp(host, suffix + 1) == 0 ||
           (size > suffix_size &&
            strcasecmp(host + size - suffix_size, suffix) == 0);
}

/* Parses a numeric host in any spelling that getaddrinfo() accepts. */
static bool parse_numeric(const char *host, struct address *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        set_v6(out, v6);
        return true;
    }
    if (inet_aton(host, &v4) != 0) {
        set_v4(out, v4);
        return true;
    }
    return false;
}

size_t addr_known(const char *host, uint16_t port, struct address *out)
{
    size_t count = 0;
    if (parse_numeric(host, &out[0])) {
        count = 1;
    } else if (is_localhost(host)) {
        set_v4(&out[count++], (struct in_addr){htonl(INADDR_LOOPBACK)});
        set_v6(&out[count++], in6addr_loopback);
    }
    for (size_t i = 0; i < count; i++) {
        addr_set_port(&out[i], port);
    }
    return count;
}

bool addr_is_any(const char *host)
{
    char name[REACTOR_HOST_BYTES];
    /* "::%eth0" is "::"; only IPv6 addresses have zones (RFC 4007 11). */
    size_t size = strchr(host, ':') ? strcspn(host, "%") : strlen(host);
    struct address address;
    if (strcmp(host, "*") == 0) {
        return true;
    }
    if (size >= sizeof(name)) {
        return false;
    }
    memcpy(name, host, size);
    name[size] = '\0';
    if (!parse_numeric(name, &address)) {
        return false;
    }
    if (address.any.sa_family == AF_INET) {
        return address.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    struct in6_addr mapped_any = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    const struct in6_addr *v6 = &address.v6.sin6_addr;
    return IN6_IS_ADDR_UNSPECIFIED(v6) ||
           memcmp(v6, &mapped_any, sizeof(mapped_any)) == 0;
}

bool addr_is_loopback(const char *host)
{
    struct address address;
    if (!parse_numeric(host, &address)) {
        return is_localhost(host);
    }
    if (address.any.sa_family == AF_INET) {
        return ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    const struct in6_addr *v6 = &address.v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) ||
           (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
}

void addr_text(const struct address *address, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (address->any.sa_family == AF_INET) {
        const struct sockaddr_in *in = &address->v4;
        (void)inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
        (void)snprintf(out, size, "%s:%u", ip, (unsigned)ntohs(in->sin_port));
        return;
    }
    const struct sockaddr_in6 *in = &address->v6;
    unsigned port = ntohs(in->sin6_port);
    /* An IPv4 address in IPv6 is written as IPv4. */
    if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
        (void)inet_ntop(AF_INET, &in->sin6_addr.s6_addr[12], ip, sizeof(ip));
        (void)snprintf(out, size, "%s:%u", ip, port);
    } else {
        (void)inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof(ip));
        (void)snprintf(out, size, "[%s]:%u", ip, port);
    }
}

uint64_t addr_network(const struct address *address)
{
    const uint8_t *bytes = (const uint8_t *)&address->v4.sin_addr;
    size_t size = 4;
    if (address->any.sa_family == AF_INET6) {
        const struct in6_addr *v6 = &address->v6.sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(v6)) {
            return 0;
        }
        bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
        bytes = &v6->s6_addr[mapped ? 12 : 0];
        size = mapped ? 4 : 8;
    }
    if (size == 4 && bytes[0] == 127) {
        return 0;
    }
    /* The number of an IPv4 address has 32 leading zero bits, which no IPv6
     * prefix in use has. */
    uint64_t network = 0;
    for (size_t i = 0; i < size; i++) {
        network = network << 8 | bytes[i];
    }
    return network;
}
