/* reactor.h -- the event loop: one thread, many descriptors.
 *
 * One turn: sleep until something is ready or due -> read what is readable
 * and call on_read -> due timers -> the after-poll hook (the program's one
 * place to sync, apply and answer) -> flush every stream written to in this
 * turn, one send each -> free what was closed. Times are milliseconds of
 * sys_now_ms(); reactor_now_ms() is read once a turn. A busy connection costs
 * one recv() and one send() a turn, and no call that changes its interest.
 *
 * Rules that hold everywhere: callbacks are called from the turn only, never
 * from inside the call that asked for them; a stream closed in a callback is
 * freed at the end of the turn, and no event that was already collected for
 * it is delivered (a descriptor number may be in use again by then); work a
 * turn is bounded: one read of at most REACTOR_READ_BYTES a stream, at most
 * REACTOR_ACCEPTS_PER_TURN accepts a listening socket, one round of timers and
 * kicks: what their callbacks ask for anew is for the next turn. Nothing of
 * epoll or kqueue is visible here.
 *
 * What a turn cannot deliver any more (a send that failed at its end, a kick
 * from the hook) is delivered by the next one, which then does not sleep.
 *
 * Memory: a connection without pending bytes owns no input buffer; its output
 * buffer is kept between uses while it is small (64 KiB). */
#ifndef CRAFTD_REACTOR_REACTOR_H
#define CRAFTD_REACTOR_REACTOR_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/heap.h"

enum {
    REACTOR_READ_BYTES = 65536,
    REACTOR_ACCEPTS_PER_TURN = 64,
    REACTOR_HOST_BYTES = 256,
    REACTOR_ADDR_TEXT_BYTES = 64,
    REACTOR_UNIX_PATH_BYTES = 104, /* Of all systems the least. */
};

struct reactor;

struct reactor *reactor_new(void);
/* Closes every stream and listener without a callback, kills what still
 * resolves, makes armed timers idle. Not from inside the turn. */
void reactor_free(struct reactor *reactor);
/* Start a process that resolves names from now on, in place of children of this
 * one: for a program that enters a sandbox in which it cannot fork. Call it
 * early, since the process has a copy of this one's memory; it keeps the
 * standard descriptors only. There, `cb` (may be NULL) is called once, to give
 * up rights; when it returns false the process ends, and no name resolves.
 * False, with errno: it cannot be started; nothing has changed. */
typedef bool reactor_prepare_cb(void *arg);
MUST_CHECK bool reactor_start_resolver(struct reactor *reactor,
                                       reactor_prepare_cb *cb, void *arg);
/* Turn until reactor_stop(). */
void reactor_run(struct reactor *reactor);
/* End reactor_run() after the current turn, flush included; called before
 * it, it returns at once. */
void reactor_stop(struct reactor *reactor);
uint64_t reactor_now_ms(const struct reactor *reactor);
/* One turn that sleeps at most `wait_ms`; for tests and reactor_run(). */
void reactor_turn(struct reactor *reactor, uint64_t wait_ms);

/* Turns so far, this one included: for budgets that are of one turn. */
uint64_t reactor_turns(const struct reactor *reactor);

/* Called once a turn, after all events, timers and kicks of it. Returns the
 * deadline by which it wants to be called again even if nothing happens
 * (absolute ms; 0 = at once, UINT64_MAX = never). */
typedef uint64_t reactor_hook_cb(void *arg);
void reactor_set_hook(struct reactor *reactor, reactor_hook_cb *cb, void *arg);

/* Wake the loop while `fd` is readable; the hook must make it unreadable. At
 * most one descriptor; borrowed, to be kept open until reactor_free(). */
void reactor_wake_on(struct reactor *reactor, int fd);

/* Longest time one turn took, without its sleep, since start. */
uint64_t reactor_turn_max_ms(const struct reactor *reactor);

/* Called from the turn when `signal_number` arrived; several that arrive
 * between two turns are one call. Dispositions belong to the process: only
 * one reactor at a time may use this. reactor_free() restores the defaults.
 * SIGCHLD must be left alone (not ignored either): the resolvers are reaped
 * by their pids. */
typedef void reactor_signal_cb(int signal_number, void *arg);
void reactor_on_signal(struct reactor *reactor, int signal_number,
                       reactor_signal_cb *cb, void *arg);

/* Timers. Zero-initialised memory of the caller is an idle timer; it must
 * outlive its being armed. */
typedef void timer_cb(void *arg);
struct timer {
    struct heap_node node;
    timer_cb *cb;
    void *arg;
};
/* (Re-)arm for `at_ms`; not called earlier. It is idle again when `cb` is
 * called. */
void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t at_ms,
               timer_cb *cb, void *arg);
/* Safe on an idle timer. */
void timer_cancel(struct reactor *reactor, struct timer *timer);

/* ---- addresses ---- */

/* Split "host:port", "[v6]:port", ":port" and a bare "port" (host is then
 * "localhost", as in hraftd). Port 0 is allowed. False when it is none of
 * these; host and port are then untouched. */
bool addr_split(const char *text, char host[REACTOR_HOST_BYTES],
                uint16_t *port);
/* A host that only this machine reaches: 127.0.0.0/8, ::1 (RFC 6890), localhost
 * (RFC 6761 6.3). Other names are not looked up: false. */
bool addr_is_loopback(const char *host);

/* ---- streams: connected byte streams ---- */

struct stream;

struct stream_handler {
    /* `data` holds all bytes that were not consumed so far, contiguous and
     * writable during the call. Returns how many of them are consumed; the
     * others come again together with new ones. Not called again before new
     * bytes arrive or stream_kick(). Bytes over the input limit are left in
     * the kernel. `data` is valid during the call only. */
    size_t (*on_read)(struct stream *stream, uint8_t *data, size_t size,
                      void *arg);
    /* The other side will send no more (half-close). The stream is still
     * writable, and pending input can still be kicked. NULL: the stream is
     * closed and on_close called. */
    void (*on_eof)(struct stream *stream, void *arg);
    /* Dialled streams only: connected. May be NULL. */
    void (*on_open)(struct stream *stream, void *arg);
    /* What was queued is about to be sent, at the end of the turn or by
     * stream_flush(): the last moment to append to `output`, the stream's own,
     * which is all that may be done here. True: there is more, which would take
     * too long for this turn; it is called again in the next one, or when the
     * kernel has room. Not called while the kernel has none. May be NULL. */
    bool (*on_flush)(struct buf *output, void *arg);
    /* The output buffer became empty after stream_write() had left bytes in
     * it at the end of a turn. May be NULL. */
    void (*on_drain)(struct stream *stream, void *arg);
    /* Gone: reset, failed dial, or stream_close_after_flush() done. `why` is
     * a short constant text ("connection refused", "reset", "timeout",
     * "name does not resolve", "eof", "closed"). Called exactly once, unless
     * the owner called stream_close(). The stream must not be used after. */
    void (*on_close)(struct stream *stream, const char *why, void *arg);
};

/* Queue bytes; they leave at the end of the turn, or once a dialled stream is
 * connected. They are copied. Never fails: ask stream_output_bytes() before,
 * to bound the queue. Ignored on a stream that failed or is being closed. */
void stream_write(struct stream *stream, const void *data, size_t size);
/* The output buffer itself, to format into without a copy: add at its end,
 * change what was added since this call, nothing before. Bytes added leave at
 * the end of the turn; ask anew in the next one. Its `size` is not what is
 * queued (the front may have left already): see stream_output_bytes(). */
struct buf *stream_output(struct stream *stream);
/* Send what is queued now rather than at the end of the turn. A failure is
 * reported in the next turn. */
void stream_flush(struct stream *stream);
/* Bytes queued and not yet taken by the kernel. */
size_t stream_output_bytes(const struct stream *stream);
/* Reading pauses while this many bytes or more are pending, so that pending
 * input is at most this limit and one read (REACTOR_READ_BYTES). The default is
 * 64 KiB. An on_read that waits for more than the limit waits for ever. */
void stream_set_input_limit(struct stream *stream, size_t limit_bytes);
/* Call on_read again this turn (or the next, when called from on_read by way
 * of a kick or from the hook) with what is pending, if anything, though
 * nothing new arrived. */
void stream_kick(struct stream *stream);
/* Bytes that wait for on_read. */
size_t stream_input_bytes(const struct stream *stream);
/* True when the kernel holds bytes that have not been read: a system call. */
bool stream_has_unread(const struct stream *stream);
/* Stop without on_close; what is queued is dropped. The stream must not be
 * used after. NULL is fine. */
void stream_close(struct stream *stream);
/* Send what is queued, then half-close, drop what still comes in (at most
 * 64 KiB and 2 s, so that the other side sees our last words and no reset:
 * RFC 9112 9.6), close and call on_close ("closed"). No other callback is
 * called any more. Given up ("timeout") when no byte leaves for 30 s.
 * stream_close() may still cut it short. */
void stream_close_after_flush(struct stream *stream);
/* The same for a stream whose other side may be in the middle of sending and
 * reads nothing before it is done: input is dropped from now on, and for up to
 * 30 s after the half-close, so that it can finish and then read our last
 * words. All such streams together drop 1 GiB, and 128 MiB more per second;
 * over that they end as after stream_close_after_flush(). */
void stream_close_after_drain(struct stream *stream);
/* "127.0.0.1:4711" or "[::1]:4711" of the other side; while dialling, the
 * name as given (cut when long). Lives as long as the stream. */
const char *stream_peer_text(const struct stream *stream);
/* The same number for all accepted streams from one network of the other side:
 * one IPv4 address, or 64 bits of IPv6. 0: this machine's loopback. */
uint64_t stream_peer_network(const struct stream *stream);
/* For streams that a proxy forwards: the other side is at `peer` (addr.h) from
 * now on, for the two above. NULL: the proxy again, where the socket is
 * connected to. */
struct address;
void stream_set_peer(struct stream *stream, const struct address *peer);
/* True for streams accepted from a Unix socket: *uid is the user of the process
 * that connected, and their text is "uid:1000". */
bool stream_peer_uid(const struct stream *stream, uint32_t *uid);
/* Close unless the kernel sees an acknowledgement within this time
 * (TCP_USER_TIMEOUT where there is one). */
void stream_set_user_timeout(struct stream *stream, uint32_t timeout_ms);

/* Connect to host:port. The name is resolved anew on every dial, off the
 * loop (a short-lived child process; numeric addresses and "localhost",
 * RFC 6761 section 6.3, are answered at once), and all addresses (at most 16)
 * are tried in turn, each with its share of the time left. on_close is called
 * when it fails or takes longer than `timeout_ms`; "no resolver" when no child
 * could be started or 32 are at work. Never NULL. */
struct stream *stream_dial(struct reactor *reactor, const char *host,
                           uint16_t port, uint32_t timeout_ms,
                           const struct stream_handler *handler, void *arg);

/* ---- listeners ---- */

struct listener;

/* Called per accepted connection. Set handler (which must outlive the stream;
 * on_read is required) and arg on it with stream_set_handler() in this call,
 * or stream_close() it. */
typedef void listener_cb(struct stream *stream, void *arg);
void stream_set_handler(struct stream *stream,
                        const struct stream_handler *handler, void *arg);

/* Listen on host:port (SO_REUSEADDR, never SO_REUSEPORT). An empty host, "*"
 * and
 * "::" are all addresses of IPv4 and IPv6, "0.0.0.0" those of IPv4, and
 * "localhost" is 127.0.0.1 and ::1: where the machine has one of the families
 * only, that one; where one of two is taken, ERR_BUSY. Of a name with several
 * addresses the first that can be bound, with a warning when that is loopback.
 * A name that is neither numeric nor "localhost" is waited for, 5 s at most:
 * open before running.
 * When descriptors run out (EMFILE, ENFILE) accepting pauses for 100 ms.
 *
 * On failure `why` (a few words: "address in use") is set:
 * ERR_NOT_FOUND  the name does not resolve
 * ERR_BUSY       the address is in use
 * ERR_IO         else */
MUST_CHECK enum err listener_open(struct reactor *reactor, const char *host,
                                  uint16_t port, listener_cb *cb, void *arg,
                                  struct listener **listener, char *why,
                                  size_t why_size);
/* Listen on a Unix socket, whose file `path` (shorter than
 * REACTOR_UNIX_PATH_BYTES) is made with `mode` and removed by listener_close().
 * A file that a process has left behind which does not listen any more is
 * replaced. Of functions below, listener_port() is 0.
 *
 * ERR_BUSY  somebody listens there, or the file is no socket
 * ERR_IO    else */
MUST_CHECK enum err listener_open_unix(struct reactor *reactor,
                                       const char *path, unsigned mode,
                                       listener_cb *cb, void *arg,
                                       struct listener **listener, char *why,
                                       size_t why_size);
/* True when listener_open() would find an address for `host` now; waits as it
 * does. False after a signal too. */
bool listener_can_resolve(struct reactor *reactor, const char *host);
/* The port in use (of interest after port 0). */
uint16_t listener_port(const struct listener *listener);
/* The bound addresses: "127.0.0.1:11000,[::1]:11000". Valid until the listener
 * is closed. */
const char *listener_text(const struct listener *listener);
/* Stop to accept, or go on: new connections wait in the kernel's queue
 * meanwhile. For owners whose places are taken. */
void listener_hold(struct listener *listener, bool hold);
/* The port is free at once; accepted streams live on. NULL is fine. */
void listener_close(struct listener *listener);

#endif
