/* addr.h -- addresses: text to parts, and parts to what the kernel takes.
 * Nothing here asks the network: only numeric hosts and localhost are known. */
#ifndef CRAFTD_REACTOR_ADDR_H
#define CRAFTD_REACTOR_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/base.h"
#include "reactor/reactor.h"

enum { REACTOR_ADDR_BYTES = REACTOR_HOST_BYTES + 8 };

/* "host:port" or "[v6]:port", as a Host header and other machines need it. */
void addr_join(const char *host, uint16_t port, char out[REACTOR_ADDR_BYTES]);
/* The same from what addr_split() takes: ":11000" is "localhost:11000". False
 * when it is none. */
bool addr_full(const char *text, char out[REACTOR_ADDR_BYTES]);

enum { ADDRESSES_MAX = 16, ADDRESSES_KNOWN_MAX = 2 };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t size;
};

/* Numeric hosts, in every spelling that getaddrinfo() takes for one ("0x7f.1",
 * as inet_aton(3)), and "localhost" (RFC 6761 6.3). Returns how many were
 * written to out[ADDRESSES_KNOWN_MAX]; 0 when a resolver has to be asked. */
size_t addr_known(const char *host, uint16_t port, struct address *out);
/* From 4 or 16 bytes in the order of the network. */
void addr_of_ip(const uint8_t *ip, size_t ip_bytes, uint16_t port,
                struct address *out);
void addr_set_port(struct address *address, uint16_t port);
/* "127.0.0.1:80", "[::1]:80"; an IPv4 address inside IPv6 (RFC 4291 2.5.5.2)
 * reads like any other. */
void addr_text(const struct address *address, char *out, size_t size);
/* The same number for addresses that one machine or site can choose from: an
 * IPv4 address, however it is written, or the first 64 bits of IPv6 (RFC 4291
 * 2.5.4). 0 for loopback. */
uint64_t addr_network(const struct address *address);

/* Connect to the Unix socket `path` at once. The descriptor, which does not
 * block; -1 with errno. */
int unix_connect(const char *path);

/* A host that means all addresses of this machine, to listen on: "*",
 * "0.0.0.0" and "::" in any spelling. It is no address for others. */
bool addr_is_any(const char *host);

#endif
