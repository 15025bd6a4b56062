/* reactor_internal.h -- what the files of this room share.
 *
 * The kernel's readiness interface is behind the poller_* functions, which one
 * file implements (epoll.c; kqueue.c on the BSDs). The rest of the room uses
 * watches and the WATCH_* bits. Readiness is level-triggered. */
#ifndef CRAFTD_REACTOR_REACTOR_INTERNAL_H
#define CRAFTD_REACTOR_REACTOR_INTERNAL_H

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/log.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"

/* ---- the back-end ---- */

enum {
    WATCH_READ = 1,
    WATCH_WRITE = 2,
    WATCH_TROUBLE = 4, /* Error or hang-up; reported with any interest. */
};

struct watch;
typedef void watch_cb(struct watch *watch, unsigned ready);

/* A descriptor that is polled, embedded in its owner. The memory must stay
 * until the end of the turn after poller_remove(): collected events may point
 * to it. */
struct watch {
    int fd;
    bool active;       /* Registered; events are delivered only then. */
    unsigned interest; /* WATCH_READ | WATCH_WRITE; the kernel knows it before
                        * it sleeps next. */
    watch_cb *cb;
    /* PRIVATE to kqueue.c. */
    unsigned filters;    /* Those that the kernel has. */
    int place;           /* Its event's, among those of this turn. */
    struct list changed; /* In a list of the poller. */
};

struct poller;

struct poller *poller_new(void);
void poller_free(struct poller *poller);
/* False: the kernel has no memory for another watch. */
MUST_CHECK bool poller_add(struct poller *poller, struct watch *watch,
                           unsigned interest);
/* Change the interest. No system call if it is the same. A change never
 * fails. */
void poller_change(struct poller *poller, struct watch *watch,
                   unsigned interest);
/* Stop polling. Call it before the descriptor is closed: a forked child may
 * have a copy, for which the kernel would continue to report events. Safe on a
 * watch that is not registered. */
void poller_remove(struct poller *poller, struct watch *watch);
/* Sleep at most `wait_ms` (-1: without limit). Returns the number of events, to
 * be read with poller_event(); 0 after a signal as well. There is at most one
 * event of each watch, and it may have been collected before the watch was
 * removed, or its interest changed: look at `active` and `interest` first. */
int poller_wait(struct poller *poller, int wait_ms);
struct watch *poller_event(const struct poller *poller, int place,
                           unsigned *ready);

/* ---- the reactor ---- */

enum {
    SIGNALS_MAX = 65,
    ACCEPT_PAUSE_MS = 100,
    ACCEPT_PAUSE_MAX_MS = 3200,
    ACCEPT_LOG_MS = 60000,
    RESOLVERS_MAX = 32,
    REAP_RETRY_MS = 20,
};

struct signal_slot {
    reactor_signal_cb *cb; /* NULL: the signal is not handled. */
    void *arg;
};

/* A descriptor of reactor_wake_on(). */
struct wake {
    struct watch watch;
    reactor_wake_cb *cb; /* NULL: the turn itself is the effect. */
    void *arg;
};

struct reactor {
    struct poller *poller;
    struct heap timers;
    uint64_t now_ms;
    struct histogram turn_us; /* Durations of turns, without their sleep. */
    uint64_t turn_max_us;
    uint64_t turns;
    bool stopping;

    reactor_hook_cb *hook;
    void *hook_arg;
    uint64_t hook_at_ms; /* Time of the next turn that the hook requires. */

    /* Streams, each in at most one place per list. */
    struct list streams;  /* All streams that are not closed yet. */
    struct list deferred; /* Streams with a pending callback: on_read after a
                           * kick, or on_close after a failure. */
    struct list flush;    /* Streams written to in this turn. */
    struct list dead;     /* Closed streams; freed at the end of the turn. */
    struct list listeners;
    struct list listeners_dead;

    /* Level of the bucket of bytes that draining streams have dropped, and when
     * it was last computed. */
    uint64_t drain_bytes;
    uint64_t drain_ms;

    struct wake wakes[REACTOR_WAKES_MAX];
    size_t wake_count;
    struct watch signal_watch; /* Reading end of the self-pipe; -1: none. */
    struct signal_slot signals[SIGNALS_MAX];

    struct list children; /* Resolvers to be reaped: ended or killed. */
    uint32_t resolver_count;
    int resolver_socket; /* To the resolving process; -1: there is none. */
    pid_t resolver_process;
    struct timer reap_timer;

    /* Input of the stream that is being read: a stream owns input memory only
     * while it has pending bytes. */
    uint8_t input[REACTOR_READ_BYTES];
};

/* ---- streams ---- */

/* DIALLING  resolving or connecting; writes are kept    -> OPEN FAILED CLOSED
 * OPEN      connected                     -> FLUSHING FAILED CLOSED
 * FLUSHING  closing after flush, output left            -> LINGERING FAILED
 * CLOSED LINGERING half-closed by us, dropping what comes in   -> FAILED CLOSED
 *           (FLUSHING drops it too when draining)
 * FAILED    over; on_close is pending                   -> CLOSED
 * CLOSED    freed at the end of the turn */
enum stream_state {
    STREAM_DIALLING,
    STREAM_OPEN,
    STREAM_FLUSHING,
    STREAM_LINGERING,
    STREAM_FAILED,
    STREAM_CLOSED,
};

struct dial;

struct stream {
    struct watch watch;
    enum stream_state state;
    bool eof;      /* The peer has closed its direction. */
    bool blocked;  /* The kernel does not accept all bytes at the moment. */
    bool draining; /* After stream_close_after_drain(), within its limit. */
    struct reactor *reactor;
    const struct stream_handler *handler;
    void *arg;

    struct list link;          /* In reactor->streams, then ->dead. */
    struct list deferred_link; /* In reactor->deferred. */
    struct list flush_link;    /* In reactor->flush. */

    /* Bytes [at, size) of a buffer are pending; those before were handled. */
    struct buf input;
    size_t input_at;
    size_t input_limit_bytes;
    struct buf output;
    size_t output_at;

    struct timer timer; /* Dial attempt, stalled flush, or linger. */
    size_t lingered_bytes;
    uint32_t user_timeout_ms; /* 0: the system's own. */
    const char *why;          /* For on_close. */
    struct dial *dial;        /* Owned; NULL when accepted. */
    uint64_t peer_network;    /* addr_network(), of accepted ones. */
    bool has_peer_uid;        /* Accepted from a Unix socket, ... */
    uint32_t peer_uid;        /* ... by a process of this user. */
    char peer_text[REACTOR_ADDR_TEXT_BYTES];
};

struct stream *stream_new(struct reactor *reactor, int fd);
/* End the stream for the reason `why`, a constant: on_close is called later in
 * this turn, or in the next one. */
void stream_fail(struct stream *stream, const char *why);
/* A few constant words for an errno of a network call. */
const char *reactor_errno_text(int error);
void stream_become_open(struct stream *stream);
void stream_schedule_flush(struct stream *stream);
/* Called by the turn. */
void stream_run_deferred(struct stream *stream);
void stream_free(struct stream *stream);
/* Free pending input that is not passed to on_read any more. */
void stream_free_dropped(struct stream *stream);

/* ---- listeners ---- */

struct listening_socket {
    struct watch watch;
    struct listener *listener;
};

struct listener {
    /* One for each family, or the only one. */
    struct listening_socket sockets[ADDRESSES_KNOWN_MAX];
    size_t socket_count;
    struct list link; /* In reactor->listeners, then ->listeners_dead. */
    struct reactor *reactor;
    listener_cb *cb;
    void *arg;
    uint16_t port;
    bool is_unix; /* Then the file of its only socket is `path`, which ... */
    char path[REACTOR_UNIX_PATH_BYTES];
    dev_t device; /* ... is ours while it is this one. */
    ino_t inode;
    char text[ADDRESSES_KNOWN_MAX * REACTOR_ADDR_TEXT_BYTES];
    struct log_limit pause_log;
    uint32_t failures;  /* Since a connection was accepted last. */
    uint64_t pause_ms;  /* Length of the last pause since then. */
    struct timer pause; /* Armed while `paused`. */
    bool paused;        /* Accepting pauses, since it fails. */
    bool held;          /* Accepting pauses by listener_hold(). */
};

/* Watch these descriptors, which it owns from now on. NULL: the kernel has no
 * memory for it; they are closed. */
struct listener *listener_new(struct reactor *reactor, const int *fds,
                              size_t count, listener_cb *cb, void *arg);
/* Remove the file of a Unix socket, unless somebody has put another there. */
void listener_remove_path(const struct listener *listener);
/* The user of the process that connected to a Unix socket. False: the system
 * does not know; *uid is UINT32_MAX. */
bool listener_peer_uid(int fd, uint32_t *uid);

/* ---- addresses and dialling ---- */

/* A child process that looks one name up. */
struct resolver {
    struct watch watch; /* Reading end of its pipe; fd -1: none. */
    pid_t pid;          /* 0: a child of the resolving process. */
};
/* False (with errno) when there is no process or descriptor to be had. The
 * child ends by itself a second after `timeout_ms` at the latest. `cb` may be
 * NULL: then the reactor does not watch, and the caller polls the pipe. */
MUST_CHECK bool resolver_start(struct reactor *reactor,
                               struct resolver *resolver, const char *host,
                               uint32_t timeout_ms, watch_cb *cb);
/* A child's answer, untrusted -> at most ADDRESSES_MAX addresses; entries of
 * other families and what is no whole entry do not count. */
size_t resolver_decode(const uint8_t *data, size_t size, uint16_t port,
                       struct address *out);
/* Read the answer, once the pipe is readable. Returns the number of
 * addresses. */
size_t resolver_read(struct resolver *resolver, uint16_t port,
                     struct address *out);
/* Kill the child if it still runs, and reap it now or later. Never blocks. */
void resolver_stop(struct reactor *reactor, struct resolver *resolver);
void resolver_reap_all(struct reactor *reactor);
/* In a child: resolve `host`, write the answer to `out`, and end, a second
 * after `timeout_ms` at the latest. */
NORETURN void resolver_be_child(const char *host, uint32_t timeout_ms, int out);
/* Have the resolving process start a child. False (with errno): it is gone, or
 * busy. `out` stays the caller's. */
MUST_CHECK bool resolver_ask(struct reactor *reactor, const char *host,
                             uint32_t timeout_ms, int out);
/* End the resolving process, if there is one. */
void resolver_end(struct reactor *reactor);

/* Stop resolving. The memory stays until stream_free(): an event that was
 * collected already may point into it. */
void dial_stop(struct stream *stream);
/* Make it non-blocking and close-on-exec. */
void reactor_socket_prepare(int fd);

/* ---- signals ---- */

void signals_init(struct reactor *reactor);
void signals_free(struct reactor *reactor);
/* For a forked child: our handlers must not run in it. */
void signals_reset_in_child(void);

#endif
