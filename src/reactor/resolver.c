/* resolver.c -- getaddrinfo() may block for as long as it likes, load
 * libraries and leak; so a child process calls it, writes the answer into a
 * pipe and ends: a child of ours, or of the resolving process where there is
 * one (resolver_process.c). There is no thread and no SIGCHLD handler: a child
 * is reaped by its pid once its pipe has been read to the end. (The program
 * must not ignore SIGCHLD: the kernel would reap for us, and a pid to kill
 * could be somebody else's.) */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "sys/sys.h"

/* The answer goes through the pipe in one write() of at most PIPE_BUF bytes:
 * it arrives whole or not at all. */
struct answer_entry {
    uint32_t family;
    uint32_t scope;
    uint8_t ip[16];
};
_Static_assert(sizeof(struct answer_entry) * ADDRESSES_MAX <= _POSIX_PIPE_BUF,
               "an answer is written at once");

struct child {
    struct list link; /* In reactor->children. */
    pid_t pid;
};

/* ---- in the child ---- */

static bool entry_of(const struct addrinfo *info, struct answer_entry *entry)
{
    *entry = (struct answer_entry){0};
    if (info->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, info->ai_addr, sizeof(in));
        entry->family = AF_INET;
        memcpy(entry->ip, &in.sin_addr, 4);
        return true;
    }
    if (info->ai_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, info->ai_addr, sizeof(in));
        entry->family = AF_INET6;
        entry->scope = in.sin6_scope_id;
        memcpy(entry->ip, &in.sin6_addr, 16);
        return true;
    }
    return false;
}

NORETURN static void look_up(const char *host, int out)
{
    struct answer_entry entries[ADDRESSES_MAX];
    size_t count = 0;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) == 0) {
        for (struct addrinfo *i = found; i && count < ADDRESSES_MAX;
             i = i->ai_next) {
            count += entry_of(i, &entries[count]);
        }
    }
    ssize_t rc = write(out, entries, count * sizeof(entries[0]));
    _exit(rc < 0 ? 1 : 0);
}

void resolver_be_child(const char *host, uint32_t timeout_ms, int out)
{
    /* Whatever becomes of the parent, this process ends. */
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(timeout_ms / 1000 + 1);
    enum { OUT_FD = 3 };
    if (!sys_keep_only(out, OUT_FD)) {
        _exit(1);
    }
    look_up(host, OUT_FD);
}

/* ---- in the parent ---- */

static bool make_pipe(int ends[2])
{
    if (pipe(ends) < 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        must(fcntl(ends[i], F_SETFD, FD_CLOEXEC) == 0);
    }
    must(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    return true;
}

/* No signal may run our handlers in the child: they write into a pipe that it
 * shares with us. */
static bool fork_child(const char *host, uint32_t timeout_ms, int out,
                       pid_t *pid)
{
    sigset_t all, before;
    sigfillset(&all);
    must(sigprocmask(SIG_SETMASK, &all, &before) == 0);
    *pid = fork();
    if (*pid == 0) {
        signals_reset_in_child();
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        resolver_be_child(host, timeout_ms, out);
    }
    int error = errno;
    must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    errno = error;
    return *pid > 0;
}

bool resolver_start(struct reactor *reactor, struct resolver *resolver,
                    const char *host, uint32_t timeout_ms, watch_cb *cb)
{
    *resolver = (struct resolver){.watch = {.fd = -1, .cb = cb}};
    if (reactor->resolver_count >= RESOLVERS_MAX) {
        errno = EAGAIN;
        return false;
    }
    int ends[2];
    if (!make_pipe(ends)) {
        return false;
    }
    pid_t pid = 0;
    bool started = reactor->resolver_socket >= 0
                       ? resolver_ask(reactor, host, timeout_ms, ends[1])
                       : fork_child(host, timeout_ms, ends[1], &pid);
    int error = errno;
    (void)close(ends[1]);
    if (!started) {
        (void)close(ends[0]);
        errno = error;
        return false;
    }
    resolver->pid = pid;
    resolver->watch.fd = ends[0];
    reactor->resolver_count++;
    if (cb && !poller_add(reactor->poller, &resolver->watch, WATCH_READ)) {
        resolver_stop(reactor, resolver);
        errno = ENOMEM;
        return false;
    }
    return true;
}

/* The child has spoken to name servers, through a library: what it says is
 * checked like any other input. */
size_t resolver_decode(const uint8_t *data, size_t size, uint16_t port,
                       struct address *out)
{
    size_t count = 0;
    struct answer_entry entry;
    for (size_t at = 0; size - at >= sizeof(entry) && count < ADDRESSES_MAX;
         at += sizeof(entry)) {
        memcpy(&entry, data + at, sizeof(entry));
        struct address *address = &out[count];
        *address = (struct address){0};
        if (entry.family == AF_INET) {
            struct sockaddr_in *in = &address->v4;
            address->size = sizeof(*in);
            in->sin_family = AF_INET;
            memcpy(&in->sin_addr, entry.ip, 4);
        } else if (entry.family == AF_INET6) {
            struct sockaddr_in6 *in = &address->v6;
            address->size = sizeof(*in);
            in->sin6_family = AF_INET6;
            in->sin6_scope_id = entry.scope;
            memcpy(&in->sin6_addr, entry.ip, 16);
        } else {
            continue; /* Nothing that could be connected to. */
        }
        addr_set_port(address, port);
        count++;
    }
    return count;
}

size_t resolver_read(struct resolver *resolver, uint16_t port,
                     struct address *out)
{
    uint8_t answer[sizeof(struct answer_entry) * ADDRESSES_MAX];
    ssize_t got = read(resolver->watch.fd, answer, sizeof(answer));
    return got > 0 ? resolver_decode(answer, (size_t)got, port, out) : 0;
}

static bool reaped(pid_t pid, int flags)
{
    pid_t rc;
    do {
        rc = waitpid(pid, NULL, flags);
    } while (rc < 0 && errno == EINTR);
    return rc != 0; /* -1: somebody was faster. */
}

static void on_reap_timer(void *arg)
{
    struct reactor *reactor = arg;
    struct list *next;
    for (struct list *l = reactor->children.next; l != &reactor->children;
         l = next) {
        next = l->next;
        struct child *child = container_of(l, struct child, link);
        if (reaped(child->pid, WNOHANG)) {
            list_remove(&child->link);
            mem_free(child);
            reactor->resolver_count--;
        }
    }
    if (!list_empty(&reactor->children)) {
        timer_arm(reactor, &reactor->reap_timer,
                  reactor->now_ms + REAP_RETRY_MS, on_reap_timer, reactor);
    }
}

void resolver_stop(struct reactor *reactor, struct resolver *resolver)
{
    if (resolver->watch.fd < 0) {
        return;
    }
    poller_remove(reactor->poller, &resolver->watch);
    (void)close(resolver->watch.fd);
    resolver->watch.fd = -1;
    if (resolver->pid == 0) { /* The resolving process reaps its own. */
        reactor->resolver_count--;
        return;
    }

    /* Not reaped yet, so the pid is still its own. */
    (void)kill(resolver->pid, SIGKILL);
    if (reaped(resolver->pid, WNOHANG)) {
        reactor->resolver_count--;
        return;
    }
    struct child *child = mem_alloc(sizeof(*child));
    child->pid = resolver->pid;
    list_init(&child->link);
    list_add(&reactor->children, &child->link);
    timer_arm(reactor, &reactor->reap_timer, reactor->now_ms + REAP_RETRY_MS,
              on_reap_timer, reactor);
}

void resolver_reap_all(struct reactor *reactor)
{
    while (!list_empty(&reactor->children)) {
        struct child *child =
            container_of(reactor->children.next, struct child, link);
        list_remove(&child->link);
        (void)reaped(child->pid, 0); /* Killed before: it ends at once. */
        mem_free(child);
    }
}
