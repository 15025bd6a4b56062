/* proxy.h -- the address of a client, as a proxy in front of us tells it. Pure.
 *
 * The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt, of
 * 2020), is a header before the first byte of the client. X-Forwarded-For is a
 * list to which each proxy appends the address that it was asked from.
 *
 * Whoever can send either can pretend to be anybody, so the caller reads them
 * from proxies that the configuration names only, and never guesses which of
 * the two a proxy sends: behind one that sends neither, the client would. */
#ifndef CRAFTD_HTTP_PROXY_H
#define CRAFTD_HTTP_PROXY_H

#include "base/base.h"
#include "base/bytes.h"

struct proxy_source {
    size_t ip_bytes; /* 4 or 16; 0: none is told, as in a health check of the
                        proxy's own. Then the address is the proxy's. */
    uint8_t ip[16];
    uint16_t port;
};

enum proxy_progress {
    PROXY_MORE, /* The header is not whole. */
    PROXY_DONE,
    PROXY_ERROR, /* It is none, or of another version. */
};

/* Longest header that is read; one of version 2 has more than addresses when
 * the proxy tells about TLS. */
enum { PROXY_BYTES_MAX = 2048 };

/* Read the header at the beginning of `data`. With PROXY_DONE, `source` and the
 * size of the header are set. PROXY_MORE is never returned for PROXY_BYTES_MAX
 * bytes. */
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

/* Take the first of a list with commas. False at the end of the list, and where
 * something else stands: `list` then is not empty. */
MUST_CHECK bool proxy_trust_next(struct bytes *list, struct proxy_trust *trust);

/* The last address of an X-Forwarded-For, which the proxy next to us has
 * written: "192.0.2.1", "2001:db8::1", also with a port ("192.0.2.1:4711",
 * "[2001:db8::1]:4711"). False: it is none. */
MUST_CHECK bool proxy_forwarded_for(struct bytes value,
                                    struct proxy_source *source);

#endif
