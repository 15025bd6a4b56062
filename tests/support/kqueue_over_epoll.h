/* kqueue_over_epoll.h -- kqueue(2) over epoll(7), so that src/reactor/kqueue.c
 * can be tested on Linux. It follows FreeBSD's manual page as far as
 * kqueue/sys/event.h declares it:
 *
 *   - A filter is known by descriptor and kind. EV_ADD of one that exists
 *     changes its udata, and looks at its condition again; EV_CLEAR stays as it
 *     was. EV_DELETE of one that does not exist is ENOENT.
 *   - Level-triggered without EV_CLEAR; with it, an event for each change of
 * the state, and for the state at EV_ADD.
 *   - The two filters of a descriptor have two events.
 *   - EV_EOF: read filter: the other side has closed its direction, or the
 *     connection has failed; write filter: it has failed. After a failure of a
 *     socket fflags is its error.
 *   - A change that fails is an event with EV_ERROR and the errno in data, and
 *     kevent() returns with nothing else, at once; without space for events it
 *     returns -1, and the changes after it are not made.
 *   - close() of a descriptor removes its filters, even while a child process
 *     has a copy. A child does not inherit a kqueue.
 *
 * Link with -Wl,--wrap=close. Sockets and pipes only. Different here: fflags is
 * EIO whatever the socket's error, which Linux would clear when asked for it;
 * `data` of the write filter is 0; a write filter does not report the end of
 * our own direction after shutdown(). */
#ifndef CRAFTD_SUPPORT_KQUEUE_OVER_EPOLL_H
#define CRAFTD_SUPPORT_KQUEUE_OVER_EPOLL_H

/* The next `count` EV_ADDs of new filters fail with ENOMEM, after `skipped`
 * that do not. */
void kqueue_refuse_memory(int skipped, int count);
/* Calls of kevent() so far. */
int kqueue_calls(void);

#endif
