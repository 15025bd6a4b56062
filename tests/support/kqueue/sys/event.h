/* event.h -- <sys/event.h> for src/reactor/kqueue.c on Linux: the part of
 * kqueue(2) that it uses, in the layout of FreeBSD, done by
 * tests/support/kqueue_over_epoll.c. */
#ifndef CRAFTD_SUPPORT_SYS_EVENT_H
#define CRAFTD_SUPPORT_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
};

enum { EVFILT_READ = -1, EVFILT_WRITE = -2 };
enum {
    EV_ADD = 0x0001,
    EV_DELETE = 0x0002,
    EV_CLEAR = 0x0020,
    EV_ERROR = 0x4000,
    EV_EOF = 0x8000,
};

#define EV_SET(event, i, f, fl, ff, d, u)                                      \
    (*(event) = (struct kevent){.ident = (i),                                  \
                                .filter = (f),                                 \
                                .flags = (unsigned short)(fl),                 \
                                .fflags = (ff),                                \
                                .data = (d),                                   \
                                .udata = (u)})

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count,
           struct kevent *events, int events_max,
           const struct timespec *timeout);

#endif
