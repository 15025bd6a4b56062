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

/* ---- accepting ---- */

static void update_interest(struct listener *listener)
{
    bool accepts = !listener->paused && !listener->held;
    for (size_t i = 0; i < listener->socket_count; i++) {
        poller_change(listener->reactor->poller, &listener->sockets[i].watch,
                      accepts ? WATCH_READ : 0);
    }
}

static void on_pause_end(void *arg)
{
    struct listener *listener = arg;
    listener->paused = false;
    update_interest(listener);
}

void listener_hold(struct listener *listener, bool hold)
{
    if (listener->held != hold) {
        listener->held = hold;
        update_interest(listener);
    }
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS ||
           error == ENOMEM;
}

/* Errors of the first connection in the queue, which is gone then (accept(2)),
 * while the next one may be fine. */
static bool is_of_connection(int error)
{
    static const int errors[] = {
        EINTR,     ECONNABORTED, EPROTO,     ENETDOWN,    ENOPROTOOPT,
        EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
#ifdef ENONET
        ENONET,
#endif
    };
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        if (errors[i] == error) {
            return true;
        }
    }
    return false;
}

/* The socket stays readable while accepting fails, and the loop would spin
 * without a pause. A shortage may end at any time; what else fails (a security
 * module or a filter forbids it) likely does so for long. */
static void pause_accepting(struct listener *listener, int error)
{
    struct reactor *reactor = listener->reactor;
    uint64_t count;
    if (log_limit(&listener->pause_log, reactor->now_ms, ACCEPT_LOG_MS,
                  &count)) {
        log_warn("accept-paused", "at=%s why=\"%s\" count=%llu", listener->text,
                 strerror(error), (unsigned long long)count);
    }
    if (is_shortage(error) || listener->pause_ms == 0) {
        listener->pause_ms = ACCEPT_PAUSE_MS;
    } else {
        listener->pause_ms =
            min_u64(2 * listener->pause_ms, ACCEPT_PAUSE_MAX_MS);
    }
    listener->paused = true;
    update_interest(listener);
    timer_arm(reactor, &listener->pause, reactor->now_ms + listener->pause_ms,
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
        reactor_socket_prepare(fd);
    }
    return fd;
#endif
}

static void add_stream(struct listener *listener, int fd,
                       const struct address *peer)
{
    struct stream *stream = stream_new(listener->reactor, fd);
    if (listener->is_unix) {
        stream->has_peer_uid = listener_peer_uid(fd, &stream->peer_uid);
        (void)snprintf(stream->peer_text, sizeof(stream->peer_text), "uid:%u",
                       (unsigned)stream->peer_uid);
    } else {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        stream->peer_network = addr_network(peer);
        addr_text(peer, stream->peer_text, sizeof(stream->peer_text));
    }
    stream_become_open(stream);
    if (stream->state == STREAM_OPEN) {
        listener->cb(stream, listener->arg);
        must(stream->handler || stream->state == STREAM_CLOSED);
    }
}

/* Returns true when the next connection may be accepted. */
static bool handle_failure(struct listener *listener, int error)
{
    if (error == EAGAIN) {
        return false;
    }
    listener->failures++;
    if (is_of_connection(error) &&
        listener->failures < REACTOR_ACCEPTS_PER_TURN) {
        return true;
    }
    pause_accepting(listener, error);
    return false;
}

static void on_listener_ready(struct watch *watch, unsigned ready)
{
    (void)ready;
    struct listener *listener =
        container_of(watch, struct listening_socket, watch)->listener;
    for (int i = 0;
         i < REACTOR_ACCEPTS_PER_TURN && watch->active && !listener->held;
         i++) {
        struct address peer = {0};
        int fd = accept_one(watch->fd, &peer);
        if (fd >= 0) {
            listener->failures = 0;
            listener->pause_ms = 0;
            add_stream(listener, fd, &peer);
        } else if (!handle_failure(listener, errno)) {
            return;
        }
    }
}

/* ---- opening ---- */

/* Resolves a name, and blocks for RESOLVE_MS at most: listeners are opened
 * before the loop runs. */
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

/* Finds the addresses of `host`. *all: listen on all of them (those of "::",
 * "*" and "localhost"); else on the first one that can be bound (those of a
 * name). */
static size_t addresses_of(struct reactor *reactor, const char *host,
                           uint16_t port, struct address *out, bool *all)
{
    bool any = host[0] == '\0' || addr_is_any(host);
    *all = true;
    if (any && (addr_known(host, port, out) == 0 ||
                (out->any.sa_family == AF_INET6 &&
                 IN6_IS_ADDR_UNSPECIFIED(&out->v6.sin6_addr)))) {
        must(addr_known("::", port, out) == 1);
        must(addr_known("0.0.0.0", port, out + 1) == 1);
        return 2;
    }
    if (any) { /* All IPv4 addresses, perhaps spelled as IPv6. */
        return addr_known("0.0.0.0", port, out);
    }
    size_t count = addr_known(host, port, out);
    if (count == 0) {
        *all = false;
        count = resolve_now(reactor, host, port, out);
    }
    return count;
}

static int listen_on(const struct address *address)
{
    int fd = reactor_socket_new(address->any.sa_family);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->any.sa_family == AF_INET6) {
        /* IPv4 gets a socket of its own, independently of the system's
         * default. */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, &address->any, address->size) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void address_of(int fd, struct address *here)
{
    *here = (struct address){.size = sizeof(here->v6)};
    must(getsockname(fd, &here->any, &here->size) == 0);
}

/* Does the machine lack IPv6, or IPv4? Then the other family suffices. */
static bool is_family_missing(int error)
{
    return error == EAFNOSUPPORT || error == EPROTONOSUPPORT ||
           error == EADDRNOTAVAIL;
}

/* Binds all addresses, or the first one that can be bound. Returns their
 * number; 0 with errno. If one of all is in use, none is bound: its clients
 * would reach another program. */
static size_t bind_addresses(struct address *addresses, size_t count, bool all,
                             int *fds)
{
    size_t bound = 0;
    int error = 0;
    for (size_t i = 0; i < count && (all || bound == 0); i++) {
        int fd = listen_on(&addresses[i]);
        if (fd < 0) {
            error = errno;
            if (error == EADDRINUSE || (all && !is_family_missing(error))) {
                break;
            }
            char text[REACTOR_ADDR_TEXT_BYTES];
            addr_text(&addresses[i], text, sizeof(text));
            log_debug("listen", "addr=%s why=\"%s\"", text,
                      reactor_errno_text(error));
            continue;
        }
        struct address here;
        address_of(fd, &here);
        fds[bound++] = fd;
        error = 0;
        if (i + 1 < count && all) { /* Port 0: both have the same port. */
            addr_set_port(&addresses[i + 1], ntohs(here.any.sa_family == AF_INET
                                                       ? here.v4.sin_port
                                                       : here.v6.sin6_port));
        }
    }
    if (bound > 0 && (error == 0 || is_family_missing(error))) {
        return bound;
    }
    for (size_t i = 0; i < bound; i++) {
        (void)close(fds[i]);
    }
    errno = error;
    return 0;
}

static bool is_loopback(const struct address *address)
{
    return address->any.sa_family == AF_INET
               ? ntohl(address->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
               : IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* Sets the text and the port. `name` is the host if it was resolved, or
 * NULL. */
static void describe(struct listener *listener, const char *name)
{
    size_t used = 0;
    for (size_t i = 0; i < listener->socket_count; i++) {
        struct address here;
        address_of(listener->sockets[i].watch.fd, &here);
        listener->port =
            ntohs(here.any.sa_family == AF_INET ? here.v4.sin_port
                                                : here.v6.sin6_port);
        if (used > 0) {
            listener->text[used++] = ',';
        }
        addr_text(&here, listener->text + used, sizeof(listener->text) - used);
        used += strlen(listener->text + used);
        if (name && is_loopback(&here)) {
            log_warn("listen",
                     "host=%s addr=%s why=\"the name leads to a loopback "
                     "address (see /etc/hosts), which other machines cannot "
                     "reach: give an address, or 0.0.0.0\"",
                     name, listener->text);
        }
    }
}

bool listener_can_resolve(struct reactor *reactor, const char *host)
{
    struct address addresses[ADDRESSES_MAX];
    bool all;
    return addresses_of(reactor, host, 0, addresses, &all) > 0;
}

struct listener *listener_new(struct reactor *reactor, const int *fds,
                              size_t count, listener_cb *cb, void *arg)
{
    struct listener *self = mem_alloc(sizeof(*self));
    *self = (struct listener){
        .reactor = reactor,
        .cb = cb,
        .arg = arg,
        .socket_count = count,
    };
    bool watched = true;
    for (size_t i = 0; i < count; i++) {
        self->sockets[i] = (struct listening_socket){
            .watch = {.fd = fds[i], .cb = on_listener_ready}, .listener = self};
        watched =
            poller_add(reactor->poller, &self->sockets[i].watch, WATCH_READ) &&
            watched;
    }
    list_init(&self->link);
    list_add(&reactor->listeners, &self->link);
    if (!watched) {
        listener_close(self);
        return NULL;
    }
    return self;
}

enum err listener_open(struct reactor *reactor, const char *host, uint16_t port,
                       listener_cb *cb, void *arg, struct listener **listener,
                       char *why, size_t why_size)
{
    enum { PORT_TRIES = 16 };
    struct address addresses[ADDRESSES_MAX];
    int fds[ADDRESSES_KNOWN_MAX];
    bool all;
    size_t count = addresses_of(reactor, host, port, addresses, &all);
    if (count == 0) {
        (void)snprintf(why, why_size, "name does not resolve");
        return ERR_NOT_FOUND;
    }
    size_t bound = bind_addresses(addresses, count, all, fds);
    /* The port that the kernel chose in one family may be in use in the
     * other. */
    for (int i = 1;
         bound == 0 && port == 0 && errno == EADDRINUSE && i < PORT_TRIES;
         i++) {
        addr_set_port(&addresses[count - 1], 0);
        bound = bind_addresses(addresses, count, all, fds);
    }
    if (bound == 0) {
        (void)snprintf(why, why_size, "%s", reactor_errno_text(errno));
        return errno == EADDRINUSE ? ERR_BUSY : ERR_IO;
    }
    struct listener *self = listener_new(reactor, fds, bound, cb, arg);
    if (!self) {
        (void)snprintf(why, why_size, "out of memory");
        return ERR_IO;
    }
    describe(self, all ? NULL : host);
    *listener = self;
    return ERR_OK;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

const char *listener_text(const struct listener *listener)
{
    return listener->text;
}

void listener_close(struct listener *listener)
{
    if (!listener) {
        return;
    }
    struct reactor *reactor = listener->reactor;
    timer_cancel(reactor, &listener->pause);
    for (size_t i = 0; i < listener->socket_count; i++) {
        poller_remove(reactor->poller, &listener->sockets[i].watch);
        /* At once: the port is free again. */
        (void)close(listener->sockets[i].watch.fd);
    }
    if (listener->is_unix) {
        listener_remove_path(listener);
    }
    list_remove(&listener->link);
    list_add(&reactor->listeners_dead, &listener->link);
}
