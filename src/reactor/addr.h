/* addr.h -- addresses as text, and as the kernel's structures. Nothing here
 * uses the network: only numeric hosts and localhost are resolved. */
#ifndef CRAFTD_REACTOR_ADDR_H
#define CRAFTD_REACTOR_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/base.h"
#include "reactor/reactor.h"

enum { REACTOR_ADDR_BYTES = REACTOR_HOST_BYTES + 8 };

/* Write "host:port", or "[v6]:port" for a host with colons. */
void addr_join(const char *host, uint16_t port, char out[REACTOR_ADDR_BYTES]);
/* Complete an address that addr_split() accepts: ":11000" and "11000" become
 * "localhost:11000". False: it does not accept it. */
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

/* Resolve a numeric host, in every spelling that getaddrinfo() accepts
 * ("0x7f.1", as inet_aton(3)), or "localhost" and names below it (RFC
 * 6761 6.3). Returns the number of addresses in out[ADDRESSES_KNOWN_MAX]; 0:
 * the name requires a resolver. */
size_t addr_known(const char *host, uint16_t port, struct address *out);
/* Make an address of 4 or 16 bytes in network byte order. */
void addr_of_ip(const uint8_t *ip, size_t ip_bytes, uint16_t port,
                struct address *out);
void addr_set_port(struct address *address, uint16_t port);
/* Write "127.0.0.1:80" or "[::1]:80", cut at `size` bytes. An IPv4 address in
 * IPv6 (RFC 4291 2.5.5.2) is written as IPv4. */
void addr_text(const struct address *address, char *out, size_t size);
/* A number for the network in which one machine or site can choose its address:
 * the IPv4 address itself, also one in IPv6, or the first 64 bits of an IPv6
 * address (RFC 4291 2.5.4). 0: loopback. */
uint64_t addr_network(const struct address *address);

/* A socket for a stream of that family, AF_INET, AF_INET6 or AF_UNIX:
 * non-blocking, close-on-exec, TCP_NODELAY, and without SIGPIPE where that is
 * up to the socket. The caller closes it. -1 with errno. */
int reactor_socket_new(int family);
/* Connect to the Unix socket `path`. Returns a non-blocking descriptor, which
 * the caller closes; -1 with errno. */
int addr_connect_unix(const char *path);

/* True when `host` stands for all addresses of this machine: "*", or "0.0.0.0"
 * or "::" in any spelling. Nobody can connect to such a host. */
bool addr_is_any(const char *host);

#endif
