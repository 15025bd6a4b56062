/* dial.c -- outgoing connections: resolves the name, then tries one address
 * after another, within the time-out. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/reactor_internal.h"
#include "sys/sys.h"

struct dial {
    struct resolver resolver;
    struct stream *stream;
    uint64_t deadline_ms;
    uint16_t port;
    size_t count;
    size_t next; /* The address to try next. */
    struct address addresses[ADDRESSES_MAX];
};

void reactor_socket_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    must(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    must(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
}

int reactor_socket_new(int family)
{
#ifdef SOCK_NONBLOCK
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0) {
        reactor_socket_prepare(fd);
    }
#endif
    int on = 1;
#ifdef SO_NOSIGPIPE
    if (fd >= 0) { /* macOS, some of whose kernels ignore MSG_NOSIGNAL. */
        (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
    }
#endif
    if (fd >= 0 && family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return fd;
}

static void drop_attempt(struct stream *stream)
{
    if (stream->watch.fd >= 0) {
        poller_remove(stream->reactor->poller, &stream->watch);
        (void)close(stream->watch.fd);
        stream->watch.fd = -1;
    }
}

/* A dial of a port on this machine on which nothing listens may get the same
 * port as its own, if that is one of the ephemeral ports: then TCP connects the
 * socket to itself (RFC 9293 3.5, simultaneous open). */
static bool is_self_connected(int fd)
{
    struct address here = {.size = sizeof(here.v6)};
    struct address there = {.size = sizeof(there.v6)};
    return getsockname(fd, &here.any, &here.size) == 0 &&
           getpeername(fd, &there.any, &there.size) == 0 &&
           here.size == there.size &&
           memcmp(&here.v6, &there.v6, here.size) == 0;
}

static void try_next(struct stream *stream, const char *why);

static void on_connect_ready(struct watch *watch, unsigned ready)
{
    (void)ready;
    struct stream *stream = container_of(watch, struct stream, watch);
    const struct dial *dial = stream->dial;
    int error = 0;
    socklen_t size = sizeof(error);
    (void)getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0 && is_self_connected(watch->fd)) {
        error = ECONNREFUSED;
    }
    if (error != 0) {
        try_next(stream, reactor_errno_text(error));
        return;
    }
    timer_cancel(stream->reactor, &stream->timer);
    addr_text(&dial->addresses[dial->next - 1], stream->peer_text,
              sizeof(stream->peer_text));
    stream_become_open(stream);
    if (stream->state == STREAM_OPEN && stream->handler->on_open) {
        stream->handler->on_open(stream, stream->arg);
    }
}

static void on_attempt_timer(void *arg)
{
    try_next(arg, "timeout");
}

/* Each address gets its share of the time left, so that one that drops all
 * packets leaves time for the others. */
static void arm_attempt(struct stream *stream)
{
    const struct dial *dial = stream->dial;
    uint64_t now_ms = sys_now_ms();
    uint64_t left_ms = dial->deadline_ms - min_u64(dial->deadline_ms, now_ms);
    uint64_t share_ms = left_ms / (dial->count - dial->next + 1);
    timer_arm(stream->reactor, &stream->timer, now_ms + share_ms,
              on_attempt_timer, stream);
}

static bool start_attempt(struct stream *stream, const struct address *address)
{
    int fd = reactor_socket_new(address->any.sa_family);
    if (fd < 0) {
        return false;
    }
    stream->watch.fd = fd;
    stream->watch.cb = on_connect_ready;
    if (stream->user_timeout_ms > 0) {
        stream_set_user_timeout(stream, stream->user_timeout_ms);
    }
    if (connect(fd, &address->any, address->size) < 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        return false;
    }
    if (!poller_add(stream->reactor->poller, &stream->watch, WATCH_WRITE)) {
        errno = ENOMEM;
        return false;
    }
    return true;
}

/* Abandons the current attempt, which failed with `why`, and starts the
 * next. */
static void try_next(struct stream *stream, const char *why)
{
    struct dial *dial = stream->dial;
    drop_attempt(stream);
    while (dial->next < dial->count) {
        const struct address *address = &dial->addresses[dial->next++];
        if (start_attempt(stream, address)) {
            arm_attempt(stream);
            return;
        }
        why = reactor_errno_text(errno);
        drop_attempt(stream);
    }
    stream_fail(stream, why);
}

static void on_resolved(struct watch *watch, unsigned ready)
{
    (void)ready;
    struct resolver *resolver = container_of(watch, struct resolver, watch);
    struct dial *dial = container_of(resolver, struct dial, resolver);
    struct stream *stream = dial->stream;
    dial->count = resolver_read(resolver, dial->port, dial->addresses);
    resolver_stop(stream->reactor, resolver);
    try_next(stream, "name does not resolve");
}

static void on_resolve_timer(void *arg)
{
    stream_fail(arg, "timeout");
}

static void resolve(struct stream *stream, const char *host,
                    uint32_t timeout_ms)
{
    struct dial *dial = stream->dial;
    if (!resolver_start(stream->reactor, &dial->resolver, host, timeout_ms,
                        on_resolved)) {
        log_warn("resolver", "host=%s why=\"%s\"", host,
                 errno == EPIPE ? "the processes that resolve names were "
                                  "killed: restart the node"
                                : strerror(errno));
        stream_fail(stream, "no resolver");
        return;
    }
    timer_arm(stream->reactor, &stream->timer, dial->deadline_ms,
              on_resolve_timer, stream);
}

void dial_stop(struct stream *stream)
{
    resolver_stop(stream->reactor, &stream->dial->resolver);
}

struct stream *stream_dial(struct reactor *reactor, const char *host,
                           uint16_t port, uint32_t timeout_ms,
                           const struct stream_handler *handler, void *arg)
{
    struct stream *stream = stream_new(reactor, -1);
    stream_set_handler(stream, handler, arg);
    (void)snprintf(stream->peer_text, sizeof(stream->peer_text), "%.50s:%u",
                   host, (unsigned)port);

    struct dial *dial = mem_zalloc(sizeof(*dial));
    dial->stream = stream;
    dial->resolver.watch.fd = -1;
    dial->port = port;
    /* reactor_now_ms() may be old, if the loop is not running yet. */
    dial->deadline_ms = sys_now_ms() + timeout_ms;
    stream->dial = dial;

    dial->count = addr_known(host, port, dial->addresses);
    if (dial->count > 0) {
        try_next(stream, "");
    } else {
        resolve(stream, host, timeout_ms);
    }
    return stream;
}
