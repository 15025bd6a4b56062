/* epoll.c -- readiness on Linux (epoll(7)). Level-triggered: an event that a
 * turn does not handle, or that does not fit into the array, is reported
 * again. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"

enum { EVENTS_PER_WAIT = 512 };

struct poller {
    int fd;
    struct epoll_event events[EVENTS_PER_WAIT];
};

struct poller *poller_new(void)
{
    struct poller *poller = mem_alloc(sizeof(*poller));
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        die("epoll: %s", strerror(errno));
    }
    return poller;
}

void poller_free(struct poller *poller)
{
    (void)close(poller->fd);
    mem_free(poller);
}

static int control(struct poller *poller, int operation, struct watch *watch,
                   unsigned interest)
{
    struct epoll_event event = {.data.ptr = watch};
    if (interest & WATCH_READ) {
        event.events |= EPOLLIN;
    }
    if (interest & WATCH_WRITE) {
        event.events |= EPOLLOUT;
    }
    return epoll_ctl(poller->fd, operation, watch->fd, &event);
}

bool poller_add(struct poller *poller, struct watch *watch, unsigned interest)
{
    must(!watch->active && watch->fd >= 0 && watch->cb);
    if (control(poller, EPOLL_CTL_ADD, watch, interest) < 0) {
        must(errno == ENOMEM || errno == ENOSPC);
        return false;
    }
    watch->active = true;
    watch->interest = interest;
    return true;
}

void poller_change(struct poller *poller, struct watch *watch,
                   unsigned interest)
{
    must(watch->active);
    if (watch->interest != interest) {
        int rc = control(poller, EPOLL_CTL_MOD, watch, interest);
        must(rc == 0);
        watch->interest = interest;
    }
}

void poller_remove(struct poller *poller, struct watch *watch)
{
    if (watch->active) {
        int rc = control(poller, EPOLL_CTL_DEL, watch, 0);
        must(rc == 0);
        watch->active = false;
        watch->interest = 0;
    }
}

int poller_wait(struct poller *poller, int wait_ms)
{
    int count =
        epoll_wait(poller->fd, poller->events, EVENTS_PER_WAIT, wait_ms);
    must(count >= 0 || errno == EINTR);
    return count > 0 ? count : 0;
}

struct watch *poller_event(const struct poller *poller, int place,
                           unsigned *ready)
{
    must(place >= 0 && place < EVENTS_PER_WAIT);
    const struct epoll_event *event = &poller->events[place];
    *ready = 0;
    if (event->events & EPOLLIN) {
        *ready |= WATCH_READ;
    }
    if (event->events & EPOLLOUT) {
        *ready |= WATCH_WRITE;
    }
    if (event->events & (EPOLLERR | EPOLLHUP)) {
        *ready |= WATCH_TROUBLE;
    }
    return event->data.ptr;
}
