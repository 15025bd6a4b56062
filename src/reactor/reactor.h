/* reactor.h -- the event loop: one thread, many descriptors.
 *
 * A turn: sleep until a descriptor is ready or a timer due -> read from ready
 * streams, and call on_read -> run due timers -> call the hook (the program's
 * one place to sync, apply and answer) -> flush every stream that was written
 * to in this turn, one send each -> free what was closed. Times are
 * milliseconds of sys_now_ms(); reactor_now_ms() is updated once per turn. A
 * busy connection costs one recv() and one send() per turn, and no call that
 * changes its interest.
 *
 * Rules for all functions:
 *   - Callbacks are called from the turn, never from inside the call that
 *     requests them (except on_flush, by stream_flush()).
 *   - A stream that is closed in a callback is freed at the end of the turn.
 *     Events that were already collected for it are not delivered, since its
 *     descriptor number may be in use again.
 *   - The work of a turn is bounded: one read of at most REACTOR_READ_BYTES
 *     per stream, at most REACTOR_ACCEPTS_PER_TURN accepts per listening
 *     socket, one round of timers and kicks. Those that callbacks add run in
 *     the next turn, as does the callback for a send that failed at the end of
 *     the turn, or for a kick from the hook; the next turn does not sleep then.
 *   - epoll and kqueue are not visible here.
 *
 * Memory: a connection without pending bytes owns no input buffer; its output
 * buffer is kept between uses while it is small (64 KiB). */
#ifndef CRAFTD_REACTOR_REACTOR_H
#define CRAFTD_REACTOR_REACTOR_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/heap.h"
#include "base/histogram.h"

enum {
    REACTOR_READ_BYTES = 65536,
    REACTOR_WAKES_MAX = 2,
    REACTOR_ACCEPTS_PER_TURN = 64,
    REACTOR_HOST_BYTES = 256,     /* Upper bound of a host, with its final 0. */
    REACTOR_ADDR_TEXT_BYTES = 64, /* The same of a numeric address and port. */
    REACTOR_UNIX_PATH_BYTES = 104, /* The least of all systems' limits. */
};

struct reactor;

struct reactor *reactor_new(void);
/* Close every stream and listener without a callback, kill the processes that
 * resolve names, and make armed timers idle. Do not call it from a callback.
 * NULL is fine. */
void reactor_free(struct reactor *reactor);
/* Start a process that resolves names from now on, in place of children of this
 * one: for a program that enters a sandbox in which it cannot fork. Call it
 * early, since the process has a copy of this one's memory; it keeps the
 * standard descriptors only. It calls `cb` (may be NULL) once, to drop rights;
 * when that returns false the process ends, and no name resolves.
 * False, with errno: it cannot be started; nothing has changed. */
typedef bool reactor_prepare_cb(void *arg);
MUST_CHECK bool reactor_start_resolver(struct reactor *reactor,
                                       reactor_prepare_cb *cb, void *arg);
/* Run turns until reactor_stop(). */
void reactor_run(struct reactor *reactor);
/* Make reactor_run() return after the current turn, flush included; if it is
 * not running, its next call returns at once. */
void reactor_stop(struct reactor *reactor);
/* Start time of the current turn. */
uint64_t reactor_now_ms(const struct reactor *reactor);
/* Run one turn, which sleeps at most `wait_ms` (UINT64_MAX: without limit). */
void reactor_turn(struct reactor *reactor, uint64_t wait_ms);

/* Number of turns so far, with the current one, for budgets per turn. */
uint64_t reactor_turns(const struct reactor *reactor);

/* Called once per turn, after its events, timers and kicks. Returns the time
 * (in milliseconds of sys_now_ms()) of the next turn at the latest; 0: at once,
 * UINT64_MAX: when an event or timer occurs. */
typedef uint64_t reactor_hook_cb(void *arg);
void reactor_set_hook(struct reactor *reactor, reactor_hook_cb *cb, void *arg);

/* Run turns while `fd` is readable: `cb` (may be NULL) is called then, and it
 * or the hook must make `fd` unreadable. REACTOR_WAKES_MAX descriptors at most,
 * which are borrowed and stay open until reactor_free(). */
typedef void reactor_wake_cb(void *arg);
void reactor_wake_on(struct reactor *reactor, int fd, reactor_wake_cb *cb,
                     void *arg);

/* Duration of the longest turn so far, without its sleep. */
uint64_t reactor_turn_max_us(const struct reactor *reactor);
/* Durations of all turns so far, without their sleep: their sum is the time
 * that the event loop was at work. */
const struct histogram *reactor_turn_times(const struct reactor *reactor);

/* Called from the turn after `signal_number` has arrived, once for all of that
 * number between two turns. Dispositions belong to the process: only one
 * reactor at a time may use this. reactor_free() restores the defaults. SIGCHLD
 * must have its default disposition: resolvers are reaped by their pids. */
typedef void reactor_signal_cb(int signal_number, void *arg);
void reactor_on_signal(struct reactor *reactor, int signal_number,
                       reactor_signal_cb *cb, void *arg);

/* A timer, in the caller's memory. A zero-initialised one is idle. It must not
 * move or be freed while it is armed. */
typedef void timer_cb(void *arg);
struct timer {
    struct heap_node node;
    timer_cb *cb;
    void *arg;
};
/* Arm, or arm again: `cb` is called at `at_ms` or later. The timer is idle
 * during that call. */
void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t at_ms,
               timer_cb *cb, void *arg);
/* Safe on an idle timer. */
void timer_cancel(struct reactor *reactor, struct timer *timer);

/* ---- addresses ---- */

/* Split "host:port", "[v6]:port", ":port" or a port alone (the host is
 * "localhost" then, as in hraftd). Port 0 is allowed. False: it is none of
 * these; host and port are unchanged. */
bool addr_split(const char *text, char host[REACTOR_HOST_BYTES],
                uint16_t *port);
/* True when only this machine can connect to `host`: 127.0.0.0/8, also in IPv6,
 * ::1 (RFC 6890), or localhost and names below it (RFC 6761 6.3). Other names
 * are not resolved: false. */
bool addr_is_loopback(const char *host);

/* ---- streams: connected byte streams ---- */

struct stream;

struct stream_handler {
    /* `data` has all bytes that were not consumed yet, contiguous; it is
     * writable, and valid during the call only. Returns the number of bytes
     * consumed. The others are passed again, together with new ones, when new
     * bytes arrive or after stream_kick(). Bytes over the input limit stay in
     * the kernel. */
    size_t (*on_read)(struct stream *stream, uint8_t *data, size_t size,
                      void *arg);
    /* The peer has closed its direction (half-close). The stream is still
     * writable, and stream_kick() works for pending input. NULL: the stream is
     * closed, and on_close called. */
    void (*on_eof)(struct stream *stream, void *arg);
    /* A dialled stream is connected. May be NULL. */
    void (*on_open)(struct stream *stream, void *arg);
    /* Queued bytes are about to be sent, at the end of the turn or by
     * stream_flush(): the last moment to append to `output`, the stream's own,
     * which is all that may be done here. True: there is more, which would take
     * too long for this turn; it is called again in the next one, or when the
     * kernel accepts bytes again. Not called while it does not. May be NULL. */
    bool (*on_flush)(struct buf *output, void *arg);
    /* The output buffer has become empty, after bytes had been left in it at
     * the end of a turn. May be NULL. */
    void (*on_drain)(struct stream *stream, void *arg);
    /* The stream has ended: a reset, a failed dial, or the end of
     * stream_close_after_flush(). `why` is a short constant ("connection
     * refused", "reset", "timeout", "name does not resolve", "closed by peer",
     * "closed"). Called exactly once, unless the owner called stream_close().
     * The stream must not be used afterwards. */
    void (*on_close)(struct stream *stream, const char *why, void *arg);
};

/* Queue a copy of the bytes. They are sent at the end of the turn, or once a
 * dialled stream is connected. It never fails: the caller bounds the queue, by
 * stream_output_bytes(). Ignored on a stream that has failed or is being
 * closed. */
void stream_write(struct stream *stream, const void *data, size_t size);
/* The output buffer itself, to format into without a copy: append to it, and
 * change only bytes that were appended since this call. They are sent at the
 * end of the turn; call it again in the next one. Its `size` is not the number
 * of queued bytes, since some may have been sent: see stream_output_bytes(). */
struct buf *stream_output(struct stream *stream);
/* Send queued bytes now rather than at the end of the turn. A failure is
 * reported in the next turn. */
void stream_flush(struct stream *stream);
/* Number of bytes queued that the kernel has not accepted yet. */
size_t stream_output_bytes(const struct stream *stream);
/* Reading pauses while `limit_bytes` (over 0) or more are pending, so that
 * pending input is less than the limit plus one read (REACTOR_READ_BYTES). The
 * default is 64 KiB. An on_read that needs more bytes than the limit may never
 * get them. */
void stream_set_input_limit(struct stream *stream, size_t limit_bytes);
/* Call on_read again with the pending bytes, if any, although no new ones have
 * arrived: in this turn, or in the next one if called from the hook or from an
 * on_read that a kick caused. */
void stream_kick(struct stream *stream);
/* Number of bytes pending for on_read. */
size_t stream_input_bytes(const struct stream *stream);
/* True if the kernel has bytes that were not read yet. One system call. */
bool stream_has_unread(const struct stream *stream);
/* Close without on_close; queued bytes are dropped. The stream must not be used
 * afterwards. NULL is fine. */
void stream_close(struct stream *stream);
/* Send queued bytes (a stream that is still dialling drops them), half-close,
 * drop input (at most 64 KiB and 2 s, so that the peer reads our last bytes
 * rather than a reset: RFC 9112 9.6), close, and call on_close ("closed"). No
 * other callback is called from now on. If no byte can be sent for 30 s it is
 * aborted ("timeout"). stream_close() may end it at any time. */
void stream_close_after_flush(struct stream *stream);
/* The same for a stream whose peer may be sending a large body, and may read
 * nothing before its end: input is dropped from now on, and for up to 30 s
 * after the half-close, so that the peer can finish, and then reads our last
 * bytes. All such streams together drop at most 1 GiB, and 128 KiB more per
 * millisecond; over that they end as after stream_close_after_flush(). */
void stream_close_after_drain(struct stream *stream);
/* "127.0.0.1:4711" or "[::1]:4711" of the other side; while dialling, the
 * name as given (cut when long). Lives as long as the stream. */
const char *stream_peer_text(const struct stream *stream);
/* Number of the network of an accepted stream's peer: equal for one IPv4
 * address, or for one /64 of IPv6. 0: the loopback of this machine. */
uint64_t stream_peer_network(const struct stream *stream);
/* Set the address that the two functions above report, for a stream that a
 * proxy forwards: `peer` (addr.h), which is copied. NULL: that of the socket
 * again, the proxy's. */
struct address;
void stream_set_peer(struct stream *stream, const struct address *peer);
/* True for streams accepted from a Unix socket: *uid is the user of the process
 * that connected, and their text is "uid:1000". */
bool stream_peer_uid(const struct stream *stream, uint32_t *uid);
/* Close unless the kernel sees an acknowledgement within this time: by
 * TCP_USER_TIMEOUT, or what stands for it on macOS and FreeBSD, in seconds. No
 * effect elsewhere. */
void stream_set_user_timeout(struct stream *stream, uint32_t timeout_ms);

/* Connect to host:port; `handler` must outlive the stream. The name is resolved
 * on every dial, off the event loop, by a short-lived child process; numeric
 * addresses and "localhost" (RFC 6761 section 6.3) need none. All addresses (at
 * most 16) are tried in turn, each with its share of the time left. on_close is
 * called if it fails or takes longer than `timeout_ms`; "no resolver": no child
 * could be started, or 32 are running. Never NULL. */
struct stream *stream_dial(struct reactor *reactor, const char *host,
                           uint16_t port, uint32_t timeout_ms,
                           const struct stream_handler *handler, void *arg);

/* ---- listeners ---- */

struct listener;

/* Called for each accepted connection. In this call set a handler, which
 * outlives the stream and has on_read, by stream_set_handler(), or
 * stream_close() it. */
typedef void listener_cb(struct stream *stream, void *arg);
void stream_set_handler(struct stream *stream,
                        const struct stream_handler *handler, void *arg);

/* Listen on host:port (SO_REUSEADDR, never SO_REUSEPORT).
 *
 * An empty host, "*" and "::" are all addresses of IPv4 and IPv6, "0.0.0.0"
 * those of IPv4, and "localhost" is 127.0.0.1 and ::1. If the machine lacks
 * one of the families, the other suffices; if one of two addresses is in use,
 * that is ERR_BUSY. A name with several addresses is bound to the first one
 * that can be bound, with a warning if that is loopback. Resolving a name may
 * block for 5 s: open listeners before reactor_run(). When
 * accepting fails, it pauses for 100 ms; if that is not for lack of descriptors
 * or kernel memory, for twice as long each time, up to 3.2 s. One line a minute
 * reports it.
 *
 * `arg` is passed to `cb`. On failure `why` is a few words ("address in use"):
 *   ERR_NOT_FOUND  the name does not resolve
 *   ERR_BUSY       the address is in use
 *   ERR_IO         any other error */
MUST_CHECK enum err listener_open(struct reactor *reactor, const char *host,
                                  uint16_t port, listener_cb *cb, void *arg,
                                  struct listener **listener, char *why,
                                  size_t why_size);
/* Listen on a Unix socket, whose file `path` (shorter than
 * REACTOR_UNIX_PATH_BYTES) is made with `mode` and removed by listener_close().
 * A socket file on which no process listens any more is replaced.
 * listener_port() is 0.
 *   ERR_BUSY  a process listens there, or the file is not a socket
 *   ERR_IO    any other error */
MUST_CHECK enum err listener_open_unix(struct reactor *reactor,
                                       const char *path, unsigned mode,
                                       listener_cb *cb, void *arg,
                                       struct listener **listener, char *why,
                                       size_t why_size);
/* True if listener_open() would find an address for `host` now. It blocks as
 * that does. False after a signal too. */
bool listener_can_resolve(struct reactor *reactor, const char *host);
/* The port in use, which the kernel has chosen for port 0. */
uint16_t listener_port(const struct listener *listener);
/* The bound addresses: "127.0.0.1:11000,[::1]:11000". Valid until the listener
 * is closed. */
const char *listener_text(const struct listener *listener);
/* Pause accepting, or resume. New connections wait in the kernel's queue
 * meanwhile. */
void listener_hold(struct listener *listener, bool hold);
/* Stop listening: the port is free at once. Accepted streams stay open. NULL is
 * fine. */
void listener_close(struct listener *listener);

#endif
