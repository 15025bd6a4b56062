/* listener.c -- incoming connections. */
#ifdef __linux__
#define _GNU_SOURCE /* accept4() */
#endif
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/reactor_internal.h"

enum { BACKLOG = 4096, RESOLVE_MS = 5000 };

/* ---- accepting ---------------------------------------------------------- */

static void on_pause_end(void *arg)
{
    struct listener *listener = arg;
    poller_change(listener->reactor->poller, &listener->watch, WATCH_READ);
}

/* The kernel goes on saying "readable" while there is no descriptor to accept
 * with: without a pause the loop would spin. */
static void pause_accepting(struct listener *listener, int error)
{
    struct reactor *reactor = listener->reactor;
    if (!listener->pause_logged) {
        listener->pause_logged = true;
        log_warn("accept-paused", "port=%u why=\"%s\"",
                 (unsigned)listener->port, why_of_errno(error));
    }
    poller_change(reactor->poller, &listener->watch, 0);
    timer_arm(reactor, &listener->pause, reactor->now_ms + ACCEPT_PAUSE_MS,
              on_pause_end, listener);
}

static int accept_one(int listening, struct address *peer)
{
    peer->size = sizeof(peer->v6);
    struct sockaddr *from = &peer->any;
#ifdef __linux__
    return accept4(listening, from, &peer->size, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int fd = accept(listening, from, &peer->size);
    if (fd >= 0) {
        socket_prepare(fd);
    }
    return fd;
#endif
}

static void welcome(struct listener *listener, int fd,
                    const struct address *peer)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct stream *stream = stream_new(listener->reactor, fd);
    addr_text(peer, stream->peer_text, sizeof(stream->peer_text));
    stream_become_open(stream);
    if (stream->state == STREAM_OPEN) {
        listener->cb(stream, listener->arg);
        must(stream->handler || stream->state == STREAM_CLOSED);
    }
}

static void on_listener_ready(struct watch *watch, unsigned ready)
{
    (void)ready;
    struct listener *listener = container_of(watch, struct listener, watch);
    for (int i = 0; i < REACTOR_ACCEPTS_PER_TURN && watch->active; i++) {
        struct address peer = {0};
        int fd = accept_one(watch->fd, &peer);
        if (fd >= 0) {
            listener->pause_logged = false;
            welcome(listener, fd, &peer);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            pause_accepting(listener, errno);
            return;
        default:
            break; /* That connection died in the queue (accept(2)): next. */
        }
    }
}

/* ---- opening ------------------------------------------------------------ */

/* Blocks for RESOLVE_MS at most: listeners are opened before the loop runs. */
static size_t resolve_now(struct reactor *reactor, const char *host,
                          uint16_t port, struct address *out)
{
    struct resolver resolver;
    if (!resolver_start(reactor, &resolver, host, RESOLVE_MS, NULL)) {
        return 0;
    }
    struct pollfd pipe = {.fd = resolver.watch.fd, .events = POLLIN};
    size_t count = 0;
    if (poll(&pipe, 1, RESOLVE_MS) == 1) {
        count = resolver_read(&resolver, port, out);
    }
    resolver_stop(reactor, &resolver);
    return count;
}

/* All addresses: one socket for both families where the kernel has IPv6, and
 * IPv4 alone as the second choice. */
static size_t any_address(uint16_t port, struct address *out)
{
    must(addr_known("::", port, out) == 1);
    must(addr_known("0.0.0.0", port, out + 1) == 1);
    return 2;
}

static int listen_on(const struct address *address, bool both_families)
{
    int fd = socket_new(address->any.sa_family);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int v6_only = !both_families;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->any.sa_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only,
                         sizeof(v6_only));
    }
    if (bind(fd, &address->any, address->size) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct address here = {.size = sizeof(here.v6)};
    must(getsockname(fd, &here.any, &here.size) == 0);
    return ntohs(here.any.sa_family == AF_INET ? here.v4.sin_port
                                               : here.v6.sin6_port);
}

enum err listener_open(struct reactor *reactor, const char *host, uint16_t port,
                       listener_cb *cb, void *arg, struct listener **listener,
                       char *why, size_t why_size)
{
    struct address addresses[ADDRESSES_MAX];
    bool any = host[0] == '\0';
    size_t count =
        any ? any_address(port, addresses) : addr_known(host, port, addresses);
    if (count == 0) {
        count = resolve_now(reactor, host, port, addresses);
    }
    if (count == 0) {
        (void)snprintf(why, why_size, "name does not resolve");
        return ERR_NOT_FOUND;
    }
    int fd = -1;
    for (size_t i = 0; i < count && fd < 0; i++) {
        fd = listen_on(&addresses[i], any);
        if (fd < 0 && errno == EADDRINUSE) {
            break; /* Not to end up where nobody looks for us. */
        }
    }
    if (fd < 0) {
        (void)snprintf(why, why_size, "%s", why_of_errno(errno));
        return errno == EADDRINUSE ? ERR_BUSY : ERR_IO;
    }
    struct listener *self = mem_alloc(sizeof(*self));
    *self = (struct listener){
        .watch = {.fd = fd, .cb = on_listener_ready},
        .reactor = reactor,
        .cb = cb,
        .arg = arg,
        .port = port_of(fd),
    };
    if (!poller_add(reactor->poller, &self->watch, WATCH_READ)) {
        (void)close(fd);
        mem_free(self);
        (void)snprintf(why, why_size, "out of memory");
        return ERR_IO;
    }
    list_init(&self->link);
    list_add(&reactor->listeners, &self->link);
    *listener = self;
    return ERR_OK;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

void listener_close(struct listener *listener)
{
    if (!listener) {
        return;
    }
    struct reactor *reactor = listener->reactor;
    timer_cancel(reactor, &listener->pause);
    poller_remove(reactor->poller, &listener->watch);
    (void)close(listener->watch.fd); /* At once: the port is free again. */
    list_remove(&listener->link);
    list_add(&reactor->listeners_dead, &listener->link);
}
