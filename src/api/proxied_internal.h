/* proxied_internal.h -- clients behind a trusted proxy: proxied.c. */
#ifndef CRAFTD_API_PROXIED_INTERNAL_H
#define CRAFTD_API_PROXIED_INTERNAL_H

#include "base/list.h"
#include "http/http.h"
#include "reactor/reactor.h"

struct api;
struct conn;

/* A proxy of --trust-proxy. */
struct proxied_by {
    bool by_header; /* It sends X-Forwarded-For, not the PROXY protocol. */
    char ip[REACTOR_ADDR_TEXT_BYTES]; /* As in stream_peer_text(), and ':'. */
};

struct api_proxied {
    struct proxied_by *proxies;
    size_t proxy_count;
    /* Connections whose PROXY header is not whole, the oldest first. */
    struct list waiting;
    uint32_t waiting_count;
    uint64_t logged_ms; /* Time of the last warning; 0: none. */
};

/* `trusted` is --trust-proxy, NULL or well-formed. */
void api_proxied_init(struct api *api, const char *trusted);
/* Close what waits. More may come until the listeners are closed. */
void api_proxied_close_waiting(struct api *api);
void api_proxied_free(struct api *api);
/* A request of a connection that has `by_header`: its client is who the proxy
 * says, or the proxy itself when it says nothing. */
void api_proxied_begin(struct conn *conn, const struct http_request *request);

#endif
