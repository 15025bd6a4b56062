/* stream.c -- connected byte streams: reading, writing, closing.
 *
 * These functions alone change stream->state: stream_new(),
 * stream_become_open(), stream_fail(), close_now(), stream_close_after_flush()
 * and linger(). */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"

enum {
    SEND_BYTES_MAX = 1 << 20, /* Bounded work per stream and turn. */
    OUTPUT_KEPT_BYTES = 65536,
    INPUT_LIMIT_BYTES = 65536,
    LINGER_BYTES_MAX = 65536,
    LINGER_MS = 2000,
    DRAIN_MS = 30000,
    DRAIN_BYTES_MAX = 1 << 30, /* All streams together. */
    DRAIN_BYTES_PER_MS = 128 << 10,
    FLUSH_STALL_MS = 30000,
};

const char *reactor_errno_text(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "connection refused";
    case ECONNRESET:
    case EPIPE:
        return "reset";
    case ETIMEDOUT:
        return "timeout";
    case EHOSTUNREACH:
        return "host unreachable";
    case ENETUNREACH:
        return "network unreachable";
    case EADDRINUSE:
        return "address in use";
    case EADDRNOTAVAIL:
        return "address not available";
    case EACCES:
    case EPERM:
        return "not permitted";
    case EMFILE:
    case ENFILE:
        return "out of descriptors";
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
        return "out of memory";
    default:
        return "network error";
    }
}

static size_t input_bytes(const struct stream *stream)
{
    return stream->input.size - stream->input_at;
}

static size_t output_bytes(const struct stream *stream)
{
    return stream->output.size - stream->output_at;
}

static bool wants_input(const struct stream *stream)
{
    if (stream->eof) {
        return false;
    }
    return stream->state == STREAM_LINGERING ||
           (stream->state == STREAM_FLUSHING && stream->draining) ||
           (stream->state == STREAM_OPEN &&
            input_bytes(stream) < stream->input_limit_bytes);
}

static void update_interest(struct stream *stream)
{
    if (stream->watch.active && stream->state != STREAM_DIALLING) {
        poller_change(stream->reactor->poller, &stream->watch,
                      (wants_input(stream) ? (unsigned)WATCH_READ : 0) |
                          (stream->blocked ? (unsigned)WATCH_WRITE : 0));
    }
}

static void drop_output(struct stream *stream)
{
    stream->output.size = 0;
    stream->output_at = 0;
    if (stream->output.capacity > OUTPUT_KEPT_BYTES) {
        buf_free(&stream->output);
    }
}

static void defer(struct stream *stream)
{
    if (list_empty(&stream->deferred_link)) {
        list_add(&stream->reactor->deferred, &stream->deferred_link);
    }
}

/* Removes the stream from the poller, the timers and the lists of the turn. */
static void disconnect(struct stream *stream)
{
    poller_remove(stream->reactor->poller, &stream->watch);
    timer_cancel(stream->reactor, &stream->timer);
    list_remove(&stream->deferred_link);
    list_remove(&stream->flush_link);
    if (stream->dial) {
        dial_stop(stream);
    }
}

/* The memory stays until the end of the turn; the descriptor is free for the
 * next connection at once, so that many that replace each other in one turn
 * never take more of them than they may. */
static void close_now(struct stream *stream)
{
    must(stream->state != STREAM_CLOSED);
    disconnect(stream);
    stream->state = STREAM_CLOSED;
    if (stream->watch.fd >= 0) {
        (void)close(stream->watch.fd);
        stream->watch.fd = -1;
    }
    list_remove(&stream->link);
    list_add(&stream->reactor->dead, &stream->link);
}

void stream_fail(struct stream *stream, const char *why)
{
    must(stream->state != STREAM_CLOSED && stream->state != STREAM_FAILED);
    disconnect(stream);
    stream->state = STREAM_FAILED;
    stream->why = why;
    defer(stream);
}

struct stream *stream_new(struct reactor *reactor, int fd)
{
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){
        .watch = {.fd = fd},
        .state = STREAM_DIALLING,
        .reactor = reactor,
        .input_limit_bytes = INPUT_LIMIT_BYTES,
    };
    list_init(&stream->link);
    list_init(&stream->deferred_link);
    list_init(&stream->flush_link);
    list_add(&reactor->streams, &stream->link);
    return stream;
}

void stream_free(struct stream *stream)
{
    must(stream->state == STREAM_CLOSED && !stream->watch.active);
    buf_free(&stream->input);
    buf_free(&stream->output);
    mem_free(stream->dial);
    mem_free(stream);
}

/* ---- reading ---- */

/* Calls on_read with the pending bytes in the stream's own buffer. */
static void offer_own_input(struct stream *stream)
{
    size_t size = input_bytes(stream);
    size_t consumed = stream->handler->on_read(
        stream, stream->input.data + stream->input_at, size, stream->arg);
    must(consumed <= size);
    if (consumed == size) {
        buf_free(&stream->input); /* Idle connections hold no input memory. */
        stream->input_at = 0;
    } else {
        stream->input_at += consumed;
    }
}

static void add_input(struct stream *stream, const uint8_t *data, size_t size)
{
    if (stream->input_at > 0) {
        buf_consume(&stream->input, stream->input_at);
        stream->input_at = 0;
    }
    buf_add(&stream->input, data, size);
}

/* Calls on_read with new bytes, which are in the reactor's shared buffer. */
static void take_input(struct stream *stream, uint8_t *data, size_t size)
{
    if (input_bytes(stream) > 0) {
        add_input(stream, data, size);
        offer_own_input(stream);
        return;
    }
    size_t consumed = stream->handler->on_read(stream, data, size, stream->arg);
    must(consumed <= size);
    if (consumed < size && stream->state == STREAM_OPEN) {
        add_input(stream, data + consumed, size - consumed);
    }
}

static void take_eof(struct stream *stream)
{
    stream->eof = true;
    if (stream->state == STREAM_LINGERING) {
        stream_fail(stream, "closed");
    } else if (stream->state == STREAM_FLUSHING) {
        return; /* The last bytes are still being sent. */
    } else if (stream->handler->on_eof) {
        stream->handler->on_eof(stream, stream->arg);
    } else {
        stream_fail(stream, "closed by peer");
    }
}

/* A leaky bucket for all draining streams. False: it is full. */
static bool may_drain(struct reactor *reactor, size_t size)
{
    uint64_t leaked =
        (reactor->now_ms - reactor->drain_ms) * DRAIN_BYTES_PER_MS;
    reactor->drain_ms = reactor->now_ms;
    reactor->drain_bytes -= min_u64(reactor->drain_bytes, leaked);
    if (reactor->drain_bytes + size > DRAIN_BYTES_MAX) {
        return false;
    }
    reactor->drain_bytes += size;
    return true;
}

static void arm_end(struct stream *stream, uint64_t after_ms);

static void drop_input(struct stream *stream, size_t size)
{
    if (stream->draining && may_drain(stream->reactor, size)) {
        return;
    }
    if (stream->draining) {
        stream->draining = false;
        if (stream->state == STREAM_LINGERING) {
            arm_end(stream, LINGER_MS);
        }
    }
    stream->lingered_bytes += size;
    if (stream->lingered_bytes > LINGER_BYTES_MAX) {
        stream_fail(stream, "closed");
    }
}

/* Reads with one recv() per turn, so that no stream starves. If bytes are left,
 * the next poll returns at once. */
static void receive(struct stream *stream)
{
    struct reactor *reactor = stream->reactor;
    ssize_t got = recv(stream->watch.fd, reactor->input, REACTOR_READ_BYTES, 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_fail(stream, reactor_errno_text(errno));
        }
    } else if (got == 0) {
        take_eof(stream);
    } else if (stream->state != STREAM_OPEN) {
        drop_input(stream, (size_t)got);
    } else {
        take_input(stream, reactor->input, (size_t)got);
    }
}

/* ---- writing ---- */

/* Sends with at most one send(). False: the stream has failed. */
static bool send_output(struct stream *stream)
{
    size_t size = min_size(output_bytes(stream), SEND_BYTES_MAX);
    ssize_t sent =
        send(stream->watch.fd, stream->output.data + stream->output_at, size,
             MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_fail(stream, reactor_errno_text(errno));
            return false;
        }
        sent = 0;
    }
    stream->output_at += (size_t)sent;
    stream->blocked = output_bytes(stream) > 0;
    if (!stream->blocked) {
        drop_output(stream);
    }
    return true;
}

static void on_timer_end(void *arg)
{
    struct stream *stream = arg;
    stream_fail(stream,
                stream->state == STREAM_FLUSHING ? "timeout" : "closed");
}

static void arm_end(struct stream *stream, uint64_t after_ms)
{
    timer_arm(stream->reactor, &stream->timer,
              stream->reactor->now_ms + after_ms, on_timer_end, stream);
}

/* The kernel has accepted all output: half-close, and wait for the peer's end.
 * A close() with unread input would send a reset, on which the peer's kernel
 * may drop our last bytes (RFC 9112 9.6). */
static void linger(struct stream *stream)
{
    must(stream->state == STREAM_FLUSHING && output_bytes(stream) == 0);
    if (stream->eof || shutdown(stream->watch.fd, SHUT_WR) < 0) {
        stream_fail(stream, "closed");
        return;
    }
    stream->state = STREAM_LINGERING;
    arm_end(stream, stream->draining ? DRAIN_MS : LINGER_MS);
}

void stream_flush(struct stream *stream)
{
    if (stream->state != STREAM_OPEN && stream->state != STREAM_FLUSHING) {
        return; /* It is not connected yet, or sends nothing any more. */
    }
    bool more = stream->state == STREAM_OPEN && !stream->blocked &&
                stream->handler->on_flush &&
                stream->handler->on_flush(&stream->output, stream->arg);
    if (!stream->blocked && output_bytes(stream) > 0 && !send_output(stream)) {
        return;
    }
    if (stream->state == STREAM_FLUSHING && output_bytes(stream) == 0) {
        linger(stream);
    }
    if (more && !stream->blocked) {
        stream_schedule_flush(stream);
    }
    update_interest(stream);
}

/* The kernel accepts bytes again. stream_flush() updates the interest at the
 * end of the turn, after on_drain() may have refilled the buffer. */
static void resume_output(struct stream *stream)
{
    size_t before = output_bytes(stream);
    if (!send_output(stream)) {
        return;
    }
    if (!stream->blocked) {
        stream_schedule_flush(stream);
        if (stream->state == STREAM_OPEN && stream->handler->on_drain) {
            stream->handler->on_drain(stream, stream->arg);
        }
    } else if (stream->state == STREAM_FLUSHING &&
               output_bytes(stream) < before) {
        arm_end(stream, FLUSH_STALL_MS);
    }
}

void stream_schedule_flush(struct stream *stream)
{
    if (list_empty(&stream->flush_link)) {
        list_add(&stream->reactor->flush, &stream->flush_link);
    }
}

/* ---- events ---- */

static bool is_live(const struct stream *stream)
{
    return stream->state == STREAM_OPEN || stream->state == STREAM_FLUSHING ||
           stream->state == STREAM_LINGERING;
}

static void take_trouble(struct stream *stream)
{
    int error = 0;
    socklen_t size = sizeof(error);
    (void)getsockopt(stream->watch.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    stream_fail(stream, error ? reactor_errno_text(error) : "closed");
}

static void on_ready(struct watch *watch, unsigned ready)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    if (ready & WATCH_WRITE) {
        resume_output(stream);
    }
    if (!is_live(stream)) {
        return;
    }
    if (wants_input(stream)) {
        /* After an error too: bytes before a reset can still be read. */
        if (ready & (WATCH_READ | WATCH_TROUBLE)) {
            receive(stream);
        }
    } else if (ready & WATCH_TROUBLE) {
        take_trouble(stream);
    }
    /* Otherwise the flush at the end of the turn updates it. */
    if (is_live(stream) && list_empty(&stream->flush_link)) {
        update_interest(stream);
    }
}

void stream_become_open(struct stream *stream)
{
    must(stream->state == STREAM_DIALLING && stream->watch.fd >= 0);
    stream->state = STREAM_OPEN;
    stream->watch.cb = on_ready;
    if (stream->watch.active) {
        update_interest(stream);
    } else if (!poller_add(stream->reactor->poller, &stream->watch,
                           WATCH_READ)) {
        stream_fail(stream, "out of memory");
        return;
    }
    if (output_bytes(stream) > 0) {
        stream_schedule_flush(stream);
    }
}

void stream_free_dropped(struct stream *stream)
{
    if (stream->state != STREAM_OPEN && stream->state != STREAM_DIALLING) {
        buf_free(&stream->input);
        stream->input_at = 0;
    }
}

/* Call the pending callback: on_close of a failed stream, or on_read after a
 * kick. */
void stream_run_deferred(struct stream *stream)
{
    if (stream->state == STREAM_FAILED) {
        if (stream->handler && stream->handler->on_close) {
            stream->handler->on_close(stream, stream->why, stream->arg);
        }
        if (stream->state != STREAM_CLOSED) {
            close_now(stream);
        }
        return;
    }
    if (stream->state == STREAM_OPEN && input_bytes(stream) > 0) {
        offer_own_input(stream);
        if (stream->state == STREAM_OPEN) {
            update_interest(stream);
        }
    }
}

/* ---- public functions ---- */

void stream_write(struct stream *stream, const void *data, size_t size)
{
    if (stream->state == STREAM_OPEN || stream->state == STREAM_DIALLING) {
        buf_add(&stream->output, data, size);
        stream_schedule_flush(stream);
    }
}

struct buf *stream_output(struct stream *stream)
{
    if (stream->state == STREAM_OPEN || stream->state == STREAM_DIALLING) {
        stream_schedule_flush(stream);
    }
    return &stream->output; /* Takes bytes in any state; some go nowhere. */
}

size_t stream_output_bytes(const struct stream *stream)
{
    return output_bytes(stream);
}

void stream_set_input_limit(struct stream *stream, size_t limit_bytes)
{
    must(limit_bytes > 0);
    stream->input_limit_bytes = limit_bytes;
    update_interest(stream);
}

void stream_kick(struct stream *stream)
{
    /* Pending bytes are counted later: in an on_read, their number is known
     * only when it returns. */
    if (stream->state == STREAM_OPEN) {
        defer(stream);
    }
}

size_t stream_input_bytes(const struct stream *stream)
{
    return input_bytes(stream);
}

bool stream_has_unread(const struct stream *stream)
{
    int bytes = 0;
    return ioctl(stream->watch.fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

void stream_close(struct stream *stream)
{
    if (stream && stream->state != STREAM_CLOSED) {
        close_now(stream);
    }
}

void stream_close_after_drain(struct stream *stream)
{
    stream->draining = true;
    stream_close_after_flush(stream);
}

void stream_close_after_flush(struct stream *stream)
{
    if (stream->state == STREAM_DIALLING) {
        stream_fail(stream, "closed"); /* There is no peer yet. */
    }
    if (stream->state != STREAM_OPEN) {
        return;
    }
    stream->state = STREAM_FLUSHING;
    arm_end(stream, FLUSH_STALL_MS);
    stream_schedule_flush(stream);
}

uint64_t stream_peer_network(const struct stream *stream)
{
    return stream->peer_network;
}

void stream_set_peer(struct stream *stream, const struct address *peer)
{
    struct address own = {.size = sizeof(own.v6)};
    if (!peer && getpeername(stream->watch.fd, &own.any, &own.size) == 0) {
        peer = &own;
    }
    if (peer) {
        stream->peer_network = addr_network(peer);
        addr_text(peer, stream->peer_text, sizeof(stream->peer_text));
    }
}

bool stream_peer_uid(const struct stream *stream, uint32_t *uid)
{
    if (stream->has_peer_uid) {
        *uid = stream->peer_uid;
    }
    return stream->has_peer_uid;
}

const char *stream_peer_text(const struct stream *stream)
{
    return stream->peer_text;
}

void stream_set_user_timeout(struct stream *stream, uint32_t timeout_ms)
{
    stream->user_timeout_ms = timeout_ms;
#if defined(TCP_USER_TIMEOUT)
    const int option = TCP_USER_TIMEOUT;
    const unsigned unit_ms = 1;
#elif defined(TCP_RXT_CONNDROPTIME) /* macOS */
    const int option = TCP_RXT_CONNDROPTIME;
    const unsigned unit_ms = 1000;
#elif defined(TCP_MAXUNACKTIME)     /* FreeBSD */
    const int option = TCP_MAXUNACKTIME;
    const unsigned unit_ms = 1000;
#else
    const int option = -1;
    const unsigned unit_ms = 1;
#endif
    if (option >= 0 && stream->watch.fd >= 0 &&
        stream->state != STREAM_CLOSED) {
        unsigned value = (timeout_ms + unit_ms - 1) / unit_ms;
        (void)setsockopt(stream->watch.fd, IPPROTO_TCP, option, &value,
                         sizeof(value));
    }
}

void stream_set_handler(struct stream *stream,
                        const struct stream_handler *handler, void *arg)
{
    must(handler && handler->on_read);
    stream->handler = handler;
    stream->arg = arg;
}
