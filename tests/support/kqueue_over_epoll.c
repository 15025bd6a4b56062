/* kqueue_over_epoll.c -- see kqueue_over_epoll.h.
 *
 * A kqueue is two epoll instances, one for each filter: so the filters of one
 * descriptor differ in EPOLLET, and have events of their own. Its descriptor is
 * that of the first one. */
#include "support/kqueue_over_epoll.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

enum { KQUEUES_MAX = 16, KINDS = 2, FOUND_MAX = 256 };

struct filter {
    bool exists;
    bool is_socket;
    bool clear;
    void *udata;
};

struct queue {
    bool open;
    pid_t owner;
    int epoll[KINDS];
    struct filter *filters[KINDS]; /* [kind][descriptor]. */
    size_t descriptors;            /* Places in each. */
    int first; /* The kind whose events are collected first, in turns. */
};

static struct queue queues[KQUEUES_MAX];
static int refuse_skipped;
static int refuse_count;
static int calls;

int __wrap_close(int fd);
int __real_close(int fd);

void kqueue_refuse_memory(int skipped, int count)
{
    refuse_skipped = skipped;
    refuse_count = count;
}

int kqueue_calls(void)
{
    return calls;
}

int kqueue(void)
{
    struct queue *queue = queues;
    while (queue < queues + KQUEUES_MAX && queue->open) {
        queue++;
    }
    if (queue == queues + KQUEUES_MAX) {
        errno = ENOMEM;
        return -1;
    }
    *queue = (struct queue){.open = true, .owner = getpid()};
    for (int kind = 0; kind < KINDS; kind++) {
        queue->epoll[kind] = epoll_create1(EPOLL_CLOEXEC);
        if (queue->epoll[kind] < 0) {
            if (kind > 0) {
                (void)__real_close(queue->epoll[0]);
            }
            queue->open = false;
            return -1;
        }
    }
    return queue->epoll[0];
}

static struct queue *queue_of(int kq)
{
    for (struct queue *queue = queues; queue < queues + KQUEUES_MAX; queue++) {
        if (queue->open && queue->epoll[0] == kq && queue->owner == getpid()) {
            return queue;
        }
    }
    return NULL;
}

static struct filter *filter_of(struct queue *queue, int kind, int fd)
{
    size_t place = (size_t)fd;
    if (place >= queue->descriptors) {
        size_t count = align_up(place + 1, 64);
        for (int i = 0; i < KINDS; i++) {
            queue->filters[i] =
                mem_realloc(queue->filters[i], count * sizeof(struct filter));
            memset(queue->filters[i] + queue->descriptors, 0,
                   (count - queue->descriptors) * sizeof(struct filter));
        }
        queue->descriptors = count;
    }
    return &queue->filters[kind][place];
}

/* A descriptor that is closed has no filters; a kqueue ends. */
int __wrap_close(int fd)
{
    for (struct queue *queue = queues; queue < queues + KQUEUES_MAX; queue++) {
        if (!queue->open || queue->owner != getpid()) {
            continue;
        }
        for (int kind = 0; kind < KINDS; kind++) {
            if (fd >= 0 && (size_t)fd < queue->descriptors &&
                queue->filters[kind][fd].exists) {
                queue->filters[kind][fd].exists = false;
                (void)epoll_ctl(queue->epoll[kind], EPOLL_CTL_DEL, fd, NULL);
            }
        }
        if (fd == queue->epoll[0]) {
            (void)__real_close(queue->epoll[1]);
            for (int kind = 0; kind < KINDS; kind++) {
                mem_free(queue->filters[kind]);
            }
            queue->open = false;
        }
    }
    return __real_close(fd);
}

static bool is_refused(void)
{
    if (refuse_count > 0 && refuse_skipped-- <= 0) {
        refuse_count--;
        return true;
    }
    return false;
}

static int add(struct queue *queue, int kind, const struct kevent *change)
{
    int fd = (int)change->ident;
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return EBADF;
    }
    struct filter *filter = filter_of(queue, kind, fd);
    int operation = EPOLL_CTL_MOD;
    if (!filter->exists) {
        if (is_refused()) {
            return ENOMEM;
        }
        operation = EPOLL_CTL_ADD;
        *filter = (struct filter){.exists = true,
                                  .is_socket = S_ISSOCK(file.st_mode),
                                  .clear = change->flags & EV_CLEAR};
    }
    filter->udata = change->udata;
    struct epoll_event event = {
        .events = kind == 0 ? EPOLLIN | EPOLLRDHUP : EPOLLOUT, .data.fd = fd};
    if (filter->clear) {
        event.events |= EPOLLET;
    }
    if (epoll_ctl(queue->epoll[kind], operation, fd, &event) != 0) {
        filter->exists = false;
        return errno;
    }
    return 0;
}

static int delete (struct queue *queue, int kind, const struct kevent *change)
{
    int fd = (int)change->ident;
    struct filter *filter = filter_of(queue, kind, fd);
    if (!filter->exists) {
        return ENOENT;
    }
    filter->exists = false;
    return epoll_ctl(queue->epoll[kind], EPOLL_CTL_DEL, fd, NULL) == 0 ? 0
                                                                       : errno;
}

static int apply(struct queue *queue, const struct kevent *change)
{
    enum { KNOWN = EV_ADD | EV_DELETE | EV_CLEAR };
    int kind = change->filter == EVFILT_READ ? 0 : 1;
    if ((change->filter != EVFILT_READ && change->filter != EVFILT_WRITE) ||
        (change->flags & ~KNOWN) != 0 || change->fflags != 0) {
        return EINVAL;
    }
    if (change->ident > 1 << 20) {
        return EBADF;
    }
    if (change->flags & EV_DELETE) {
        return delete (queue, kind, change);
    }
    return change->flags & EV_ADD ? add(queue, kind, change) : ENOENT;
}

/* Returns the number of errors in `events`; -1 with errno if there was no space
 * for one. */
static int apply_all(struct queue *queue, const struct kevent *changes,
                     int change_count, struct kevent *events, int events_max)
{
    int errors = 0;
    for (int i = 0; i < change_count; i++) {
        struct kevent change = changes[i];
        int error = apply(queue, &change);
        if (error == 0) {
            continue;
        }
        if (errors == events_max) {
            errno = error;
            return -1;
        }
        change.flags = EV_ERROR;
        change.data = error;
        events[errors++] = change;
    }
    return errors;
}

static struct kevent event_of(const struct queue *queue, int kind,
                              const struct epoll_event *found)
{
    int fd = found->data.fd;
    const struct filter *filter = &queue->filters[kind][fd];
    struct kevent event = {.ident = (uintptr_t)fd,
                           .filter = kind == 0 ? EVFILT_READ : EVFILT_WRITE,
                           .udata = filter->udata};
    if (filter->clear) {
        event.flags |= EV_CLEAR;
    }
    if (found->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        event.flags |= EV_EOF;
    }
    if ((found->events & EPOLLERR) && filter->is_socket) {
        event.fflags = EIO;
    }
    int bytes = 0;
    if (kind == 0) { /* Connections that wait: a number of 1. */
        event.data = ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 1;
    }
    return event;
}

static int collect(struct queue *queue, struct kevent *events, int events_max)
{
    int count = 0;
    queue->first = !queue->first;
    for (int i = 0; i < KINDS && count < events_max; i++) {
        int kind = i ^ queue->first;
        struct epoll_event found[FOUND_MAX];
        int space = events_max - count;
        int got = epoll_wait(queue->epoll[kind], found,
                             space < FOUND_MAX ? space : FOUND_MAX, 0);
        for (int j = 0; j < got; j++) {
            events[count++] = event_of(queue, kind, &found[j]);
        }
    }
    return count;
}

int kevent(int kq, const struct kevent *changes, int change_count,
           struct kevent *events, int events_max,
           const struct timespec *timeout)
{
    struct queue *queue = queue_of(kq);
    if (!queue) {
        errno = EBADF;
        return -1;
    }
    calls++;
    int errors = apply_all(queue, changes, change_count, events, events_max);
    if (errors != 0 || events_max == 0) {
        return errors;
    }
    struct pollfd both[KINDS] = {{.fd = queue->epoll[0], .events = POLLIN},
                                 {.fd = queue->epoll[1], .events = POLLIN}};
    int wait_ms = -1;
    if (timeout) { /* Rounded up: an early return would be no time-out. */
        wait_ms = (int)(timeout->tv_sec * 1000 +
                        (timeout->tv_nsec + 999999) / 1000000);
    }
    int rc = poll(both, KINDS, wait_ms);
    return rc <= 0 ? rc : collect(queue, events, events_max);
}
