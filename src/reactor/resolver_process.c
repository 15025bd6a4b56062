/* resolver_process.c -- a process that starts the children of resolver.c in
 * our stead.
 *
 * What a C library does to resolve a name (files that others replace,
 * libraries, sockets of several families, a process of its own) is more than a
 * sandbox of the node should allow. So this process is forked before the
 * sandbox is entered, and has one of its own. It gets a name and the writing
 * end of a pipe, starts a child for them, and ends when the node's end of their
 * socket is closed, however the node ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "sys/descriptor.h"
#include "sys/sys.h"

/* A lookup whose caller has given up goes on until its time is over; so there
 * may be more children here than lookups there. */
enum { CHILDREN_MAX = 2 * RESOLVERS_MAX, SOCKET_FD = 3 };

struct lookup {
    uint32_t timeout_ms;
    char host[REACTOR_HOST_BYTES];
};

/* ---- in the process ---- */

static void on_child(int signal_number)
{
    (void)signal_number; /* It interrupts receive(). */
}

/* Receives one lookup. The socket is a stream, since Unix sockets that keep the
 * bounds of messages and report the end do not exist everywhere (macOS); each
 * message has the size of a lookup, so that what is missing follows.
 * Returns the descriptor that came with the lookup; -1 without one. `*size`: 0
 * at the end; negative, with errno: EINTR before the first byte, or another
 * error. */
static int receive(int from, struct lookup *lookup, ssize_t *size)
{
    int fd;
    *size = descriptor_receive(from, lookup, sizeof(*lookup), &fd);
    while (*size > 0 && (size_t)*size < sizeof(*lookup)) {
        ssize_t more = recv(from, (char *)lookup + *size,
                            sizeof(*lookup) - (size_t)*size, 0);
        if (more > 0) {
            *size += more;
        } else if (more == 0 || errno != EINTR) {
            *size = 0;
        }
    }
    return fd;
}

/* The pipe of a lookup that cannot be served is closed: the node reads the end
 * of it, and no address. */
static void serve(const struct lookup *lookup, int out, uint32_t *children)
{
    bool is_whole = memchr(lookup->host, '\0', sizeof(lookup->host)) != NULL;
    pid_t pid = is_whole && *children < CHILDREN_MAX ? fork() : -1;
    if (pid == 0) {
        (void)signal(SIGCHLD, SIG_DFL);
        resolver_be_child(lookup->host, lookup->timeout_ms, out);
    }
    *children += pid > 0;
}

NORETURN static void run(void)
{
    uint32_t children = 0;
    struct lookup lookup;
    struct sigaction action = {.sa_handler = on_child}; /* No SA_RESTART. */
    must(sigaction(SIGCHLD, &action, NULL) == 0);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
            children--;
        }
        ssize_t size;
        int out = receive(SOCKET_FD, &lookup, &size);
        if (size == 0 || (size < 0 && errno != EINTR)) {
            _exit(0);
        }
        if (out >= 0) {
            serve(&lookup, out, &children);
            (void)close(out);
        }
    }
}

/* The sandbox of the node, which cannot start a process, keeps it from
 * replacing one that was killed. So the process that it started only waits for
 * another that serves, and starts the next one; they share the socket. If it is
 * killed itself, the other one goes on. */
NORETURN static void keep_serving(void)
{
    enum { PAUSE_MS = 100 };
    for (;;) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            run();
        }
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        if (pid > 0 && WIFEXITED(status)) {
            _exit(0); /* The node has ended. */
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

/* A signal for the whole group (Ctrl-C) is for the node, which hands over
 * before it ends. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
}

/* ---- in the node ---- */

bool reactor_start_resolver(struct reactor *reactor, reactor_prepare_cb *cb,
                            void *arg)
{
    int ends[2];
    must(reactor->resolver_socket < 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        ignore_signals();
        signals_reset_in_child();
        if (!sys_keep_only(ends[1], SOCKET_FD) || (cb && !cb(arg))) {
            _exit(1);
        }
        keep_serving();
    }
    int error = errno;
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        errno = error;
        return false;
    }
    reactor_socket_prepare(ends[0]);
    /* A lookup is sent whole, or not at all. Linux does so without, and refuses
     * this. */
    int whole = sizeof(struct lookup);
    (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDLOWAT, &whole, sizeof(whole));
    reactor->resolver_socket = ends[0];
    reactor->resolver_process = pid;
    return true;
}

bool resolver_ask(struct reactor *reactor, const char *host,
                  uint32_t timeout_ms, int out)
{
    struct lookup lookup = {.timeout_ms = timeout_ms};
    must(strlen(host) < sizeof(lookup.host));
    (void)snprintf(lookup.host, sizeof(lookup.host), "%s", host);
    ssize_t sent =
        descriptor_send(reactor->resolver_socket, &lookup, sizeof(lookup), out);
    if (sent >= 0 && sent < (ssize_t)sizeof(lookup)) {
        /* Nothing can follow half of one: there is no process from now on. */
        (void)shutdown(reactor->resolver_socket, SHUT_RDWR);
        errno = EPIPE;
    }
    return sent == (ssize_t)sizeof(lookup);
}

void resolver_end(struct reactor *reactor)
{
    if (reactor->resolver_socket >= 0) {
        (void)close(reactor->resolver_socket);
        reactor->resolver_socket = -1;
        pid_t rc;
        do {
            rc = waitpid(reactor->resolver_process, NULL, 0);
        } while (rc < 0 && errno == EINTR);
    }
}
