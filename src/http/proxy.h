/* proxy.h -- the address of a client, as reported by a proxy in front of us.
 * Pure.
 *
 * The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt, of
 * 2020), is a header before the first byte of the client. X-Forwarded-For is a
 * list to which each proxy appends the address that it was asked from.
 *
 * A client that can send either can pretend to have any address. So the caller
 * reads them only from proxies that the configuration names, and only the one
 * of the two that it names for that proxy: the other might be the client's. */
#ifndef CRAFTD_HTTP_PROXY_H
#define CRAFTD_HTTP_PROXY_H

#include "base/base.h"
#include "base/bytes.h"

struct proxy_source {
    size_t ip_bytes; /* 4 or 16; 0: no address is given, as in a health check of
                        the proxy's own. Then the address is the proxy's. */
    uint8_t ip[16];
    uint16_t port;
};

enum proxy_progress {
    PROXY_MORE, /* The header is not complete. */
    PROXY_DONE,
    PROXY_ERROR, /* It is malformed, too long, or of another version. */
};

/* Longest header that is read; one of version 2 may have more than addresses,
 * such as the proxy's data about TLS. */
enum { PROXY_BYTES_MAX = 2048 };

/* Read the header at the start of `data`. With PROXY_DONE, *source and
 * *consumed, the size of the header in bytes, are set. PROXY_MORE is never
 * returned for PROXY_BYTES_MAX bytes. */
MUST_CHECK enum proxy_progress
proxy_read(struct bytes data, struct proxy_source *source, size_t *consumed);

/* One of a list of proxies: "192.0.2.1" sends the PROXY protocol,
 * "header:192.0.2.1" X-Forwarded-For. */
enum { PROXY_TRUST_MAX = 16 };
struct proxy_trust {
    bool by_header;
    size_t ip_bytes; /* 4 or 16 */
    uint8_t ip[16];
};

/* Take the next proxy of a comma-separated list. False: the list is at its end
 * (empty), or its next element is none, and *list still starts with it. */
MUST_CHECK bool proxy_trust_next(struct bytes *list, struct proxy_trust *trust);

/* The last address of an X-Forwarded-For, which the proxy next to us has
 * written: "192.0.2.1", "2001:db8::1", also with a port ("192.0.2.1:4711",
 * "[2001:db8::1]:4711"). False: it is none. */
MUST_CHECK bool proxy_forwarded_for(struct bytes value,
                                    struct proxy_source *source);

#endif
