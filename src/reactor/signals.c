/* signals.c -- turns signals into events, by a pipe of this process to itself:
 * a handler may do little more than set a flag and write a byte. Dispositions
 * are the process's, so one reactor at a time owns them. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"

static volatile sig_atomic_t arrived[SIGNALS_MAX];
static volatile sig_atomic_t pipe_out = -1;
static struct reactor *owner;

static void on_signal(int signal_number)
{
    int saved = errno;
    arrived[signal_number] = 1;
    /* If the pipe is full, the loop reads the flags anyway. */
    ssize_t rc = write(pipe_out, "", 1);
    (void)rc;
    errno = saved;
}

static void on_pipe(struct watch *watch, unsigned ready)
{
    (void)ready;
    struct reactor *reactor = container_of(watch, struct reactor, signal_watch);
    char drop[64];
    while (read(watch->fd, drop, sizeof(drop)) > 0) {
    }
    /* The flags are read after the pipe was emptied: a signal in between writes
     * a byte again, and is handled in the next turn. */
    for (int i = 0; i < SIGNALS_MAX; i++) {
        if (arrived[i]) {
            arrived[i] = 0;
            if (reactor->signals[i].cb) {
                reactor->signals[i].cb(i, reactor->signals[i].arg);
            }
        }
    }
}

static void open_pipe(struct reactor *reactor)
{
    must(!owner);
    int ends[2];
    if (pipe(ends) < 0) {
        die("pipe for signals: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        must(fcntl(ends[i], F_SETFD, FD_CLOEXEC) == 0);
        must(fcntl(ends[i], F_SETFL, O_NONBLOCK) == 0);
    }
    owner = reactor;
    pipe_out = ends[1];
    reactor->signal_watch = (struct watch){.fd = ends[0], .cb = on_pipe};
    if (!poller_add(reactor->poller, &reactor->signal_watch, WATCH_READ)) {
        die("no room to watch for signals");
    }
}

static void set_disposition(int signal_number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    must(sigaction(signal_number, &action, NULL) == 0);
}

void signals_init(struct reactor *reactor)
{
    reactor->signal_watch.fd = -1;
}

void reactor_on_signal(struct reactor *reactor, int signal_number,
                       reactor_signal_cb *cb, void *arg)
{
    must(signal_number > 0 && signal_number < SIGNALS_MAX && cb);
    if (reactor->signal_watch.fd < 0) {
        open_pipe(reactor);
    }
    reactor->signals[signal_number] =
        (struct signal_slot){.cb = cb, .arg = arg};
    set_disposition(signal_number, on_signal);
}

void signals_free(struct reactor *reactor)
{
    if (owner != reactor) {
        return;
    }
    for (int i = 1; i < SIGNALS_MAX; i++) {
        if (reactor->signals[i].cb) {
            set_disposition(i, SIG_DFL);
            arrived[i] = 0;
        }
    }
    poller_remove(reactor->poller, &reactor->signal_watch);
    (void)close(reactor->signal_watch.fd);
    (void)close(pipe_out);
    pipe_out = -1;
    owner = NULL;
}

void signals_reset_in_child(void)
{
    for (int i = 1; owner && i < SIGNALS_MAX; i++) {
        if (owner->signals[i].cb) {
            set_disposition(i, SIG_DFL);
        }
    }
}
