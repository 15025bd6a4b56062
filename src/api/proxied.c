/* proxied.c -- accepted connections, and the address of a client behind a
 * trusted proxy (--trust-proxy).
 *
 * A connection from a proxy that speaks the PROXY protocol begins with its
 * header. It becomes a connection of the API with the address in that header,
 * so that shares of --max-conns are those of clients; until then it has no
 * place, and PROXIED_MAX of them may wait for HEADER_MS. A connection without
 * the header is closed: if it were served, a client that can use that proxy's
 * address could choose its own.
 *
 * A proxy that sends X-Forwarded-For may use one connection for several
 * clients. Each request then has its client's address, for the log and for what
 * counts by address and request; the place is the proxy's. */
#include "api/proxied_internal.h"

#include <stdio.h>

#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/routes_internal.h"
#include "base/log.h"
#include "http/proxy.h"
#include "reactor/addr.h"

enum { HEADER_MS = 3000, LOG_PAUSE_MS = 60000 };

struct waiting {
    struct list link; /* In api->proxied.waiting. */
    struct api *api;
    struct stream *stream;
    struct timer timer;
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* With --log-level=debug an operator sees that the proxy tells what it should.
 */
static void set_peer(struct stream *stream, const struct proxy_source *source)
{
    struct address address;
    if (source->ip_bytes > 0) {
        addr_of_ip(source->ip, source->ip_bytes, source->port, &address);
        stream_set_peer(stream, &address);
    } else {
        stream_set_peer(stream, NULL);
    }
    log_debug("proxied", "client=%s", stream_peer_text(stream));
}

/* ---- connections with a header of the PROXY protocol ---- */

static void release(struct waiting *waiting)
{
    timer_cancel(waiting->api->options.reactor, &waiting->timer);
    list_remove(&waiting->link);
    waiting->api->proxied.waiting_count--;
    mem_free(waiting);
}

static void refuse(struct waiting *waiting, const char *why)
{
    struct api *api = waiting->api;
    uint64_t *logged_ms = &api->proxied.logged_ms;
    if (*logged_ms == 0 || now(api) >= *logged_ms + LOG_PAUSE_MS) {
        *logged_ms = now(api);
        log_warn("proxy-header",
                 "at=%s why=\"%s: the connection is closed\" help=\"the proxy "
                 "must send the PROXY protocol, or be named as header:ADDR in "
                 "--trust-proxy\"",
                 stream_peer_text(waiting->stream), why);
    }
    stream_close(waiting->stream);
    release(waiting);
}

static void on_header_time(void *arg)
{
    refuse(arg, "no whole PROXY header in 3 s");
}

static size_t on_header_read(struct stream *stream, uint8_t *data, size_t size,
                             void *arg)
{
    struct waiting *waiting = arg;
    struct api *api = waiting->api;
    struct proxy_source source;
    size_t consumed = 0;
    switch (proxy_read(bytes_of(data, size), &source, &consumed)) {
    case PROXY_MORE:
        return 0;
    case PROXY_ERROR:
        refuse(waiting, "it does not begin with a PROXY header");
        return size;
    case PROXY_DONE:
        break;
    }
    set_peer(stream, &source);
    release(waiting);
    (void)api_serve(api, stream);
    stream_kick(stream); /* Bytes behind the header go to the new handler. */
    return consumed;
}

static void on_header_close(struct stream *stream, const char *why, void *arg)
{
    (void)stream;
    (void)why;
    release(arg);
}

static const struct stream_handler header_handler = {
    .on_read = on_header_read, .on_close = on_header_close};

static void wait_for_header(struct api *api, struct stream *stream)
{
    struct api_proxied *proxied = &api->proxied;
    if (proxied->waiting_count >= api->options.proxied_max) {
        refuse(container_of(proxied->waiting.next, struct waiting, link),
               "too many connections wait for a PROXY header");
    }
    struct waiting *waiting = mem_zalloc(sizeof(*waiting));
    waiting->api = api;
    waiting->stream = stream;
    list_init(&waiting->link);
    list_add(&proxied->waiting, &waiting->link);
    proxied->waiting_count++;
    stream_set_handler(stream, &header_handler, waiting);
    timer_arm(api->options.reactor, &waiting->timer, now(api) + HEADER_MS,
              on_header_time, waiting);
}

/* ---- who is trusted ---- */

static const struct proxied_by *proxy_of(const struct api *api,
                                         const struct stream *stream)
{
    const char *peer = stream_peer_text(stream);
    for (size_t i = 0; i < api->proxied.proxy_count; i++) {
        const struct proxied_by *proxy = &api->proxied.proxies[i];
        if (strncmp(peer, proxy->ip, strlen(proxy->ip)) == 0) {
            return proxy;
        }
    }
    return NULL;
}

void api_on_accept(struct stream *stream, void *arg)
{
    struct api *api = arg;
    const struct proxied_by *proxy = proxy_of(api, stream);
    if (proxy && !proxy->by_header) {
        wait_for_header(api, stream);
        return;
    }
    struct conn *conn = api_serve(api, stream);
    conn->by_header = proxy != NULL;
}

void api_proxied_init(struct api *api, const char *trusted)
{
    struct api_proxied *proxied = &api->proxied;
    list_init(&proxied->waiting);
    struct bytes rest = bytes_of_string(trusted ? trusted : "");
    struct proxy_trust trust;
    proxied->proxies = mem_zalloc(PROXY_TRUST_MAX * sizeof(struct proxied_by));
    while (proxied->proxy_count < PROXY_TRUST_MAX &&
           proxy_trust_next(&rest, &trust)) {
        struct proxied_by *proxy = &proxied->proxies[proxied->proxy_count++];
        struct address address;
        proxy->by_header = trust.by_header;
        addr_of_ip(trust.ip, trust.ip_bytes, 0, &address);
        addr_text(&address, proxy->ip, sizeof(proxy->ip));
        *strrchr(proxy->ip, '0') = '\0'; /* The port; the colon stays. */
    }
}

void api_proxied_close_waiting(struct api *api)
{
    struct list *waiting = &api->proxied.waiting;
    while (!list_empty(waiting)) {
        struct waiting *first =
            container_of(waiting->next, struct waiting, link);
        stream_close(first->stream);
        release(first);
    }
}

void api_proxied_free(struct api *api)
{
    api_proxied_close_waiting(api);
    mem_free(api->proxied.proxies);
}

/* ---- requests with X-Forwarded-For ---- */

/* The last of several: those before it may be the client's own. */
void api_proxied_begin(struct conn *conn, const struct http_request *request)
{
    struct proxy_source source = {.ip_bytes = 0};
    struct bytes value = {0};
    for (uint32_t i = request->header_count; i > 0 && !value.data; i--) {
        value =
            http_header_named(&request->headers[i - 1], 1, "X-Forwarded-For");
    }
    bool found = proxy_forwarded_for(value, &source);
    must(found || source.ip_bytes == 0);
    set_peer(conn->stream, &source);
}
