/* kqueue.c -- readiness on macOS and the BSDs (kqueue(2)).
 *
 * A watch is a read filter and, with WATCH_WRITE, a write filter. What differs
 * from epoll(7) is hidden here:
 *
 *   Errors    epoll reports an error or a reset without any interest; here they
 *             are part of a filter's event. So the read filter is always there.
 *             While nobody wants the bytes it has EV_CLEAR: bytes, and the end
 *             of the peer's direction, then cause an event each time they
 *             arrive, which is dropped, and not one in every turn.
 *   EV_CLEAR  EV_ADD does not change that flag of a filter that exists, so the
 *             filter is deleted and added. EV_ADD reports what is there
 * already. Events    Each filter has its own. They are merged into one for each
 * watch, and poller_remove() drops it: a callback may close the descriptor and
 * register another one for the same watch, as a dial does for the next address,
 * and must not get an event of the old one. Changes   They are passed with the
 * kevent() that sleeps next, without a system call of their own, and computed
 * only then: an interest that has changed back costs nothing. Memory    A
 * change may need some, and be refused. It is tried again after the next wait,
 * which is at most RETRY_MS long then. */
#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"

enum { EVENTS_PER_WAIT = 512, CHANGES_PER_WATCH = 3, RETRY_MS = 100 };

/* watch->filters: the filters that the kernel has. */
enum {
    FILTER_READ = 1,  /* Level-triggered. */
    FILTER_ERROR = 2, /* The read filter with EV_CLEAR. */
    FILTER_WRITE = 4,
};

struct collected {
    struct watch *watch;
    unsigned ready; /* 0 after poller_remove(). */
};

struct poller {
    int fd;
    struct list changed; /* Watches whose filters may differ from what their
                          * interest requires. */
    struct list refused; /* The same, after the kernel had no memory. */
    int collected_count;
    struct collected collected[EVENTS_PER_WAIT];
    struct kevent changes[EVENTS_PER_WAIT];
    struct kevent events[EVENTS_PER_WAIT];
};

static const struct timespec at_once = {0};

struct poller *poller_new(void)
{
    struct poller *poller = mem_zalloc(sizeof(*poller));
    list_init(&poller->changed);
    list_init(&poller->refused);
    poller->fd = kqueue();
    if (poller->fd < 0) {
        die("kqueue: %s", strerror(errno));
    }
    must(fcntl(poller->fd, F_SETFD, FD_CLOEXEC) == 0);
    return poller;
}

void poller_free(struct poller *poller)
{
    (void)close(poller->fd);
    mem_free(poller);
}

/* ---- changes ---- */

static unsigned required_filters(const struct watch *watch)
{
    unsigned filters =
        watch->interest & WATCH_READ ? FILTER_READ : FILTER_ERROR;
    return watch->interest & WATCH_WRITE ? filters | FILTER_WRITE : filters;
}

static void set_change(struct kevent *change, struct watch *watch, short filter,
                       unsigned short flags)
{
#if defined(__NetBSD__) && __NetBSD_Version__ < 1000000000
    intptr_t data = (intptr_t)watch;
#else
    void *data = watch;
#endif
    EV_SET(change, (uintptr_t)watch->fd, filter, flags, 0, 0, data);
}

/* Writes the changes that give the watch these filters to `out`, which has
 * space for CHANGES_PER_WATCH. Returns their number. */
static int change_filters(struct watch *watch, unsigned filters,
                          struct kevent *out)
{
    enum { READS = FILTER_READ | FILTER_ERROR };
    unsigned changed = watch->filters ^ filters;
    int count = 0;
    if ((changed & READS) && (watch->filters & READS)) {
        set_change(&out[count++], watch, EVFILT_READ, EV_DELETE);
    }
    if ((changed & READS) && (filters & READS)) {
        set_change(&out[count++], watch, EVFILT_READ,
                   filters & FILTER_READ ? EV_ADD : EV_ADD | EV_CLEAR);
    }
    if (changed & FILTER_WRITE) {
        set_change(&out[count++], watch, EVFILT_WRITE,
                   filters & FILTER_WRITE ? EV_ADD : EV_DELETE);
    }
    watch->filters = filters;
    return count;
}

/* Changes the filters now. Without space for events, kevent() stops at the
 * first change that fails, and returns -1 with its errno. */
static int change_now(struct poller *poller, struct watch *watch,
                      unsigned filters)
{
    struct kevent changes[CHANGES_PER_WATCH];
    int count = change_filters(watch, filters, changes);
    return count == 0 ? 0
                      : kevent(poller->fd, changes, count, NULL, 0, &at_once);
}

bool poller_add(struct poller *poller, struct watch *watch, unsigned interest)
{
    must(!watch->active && watch->fd >= 0 && watch->cb);
    list_init(&watch->changed);
    watch->filters = 0;
    watch->interest = interest;
    if (change_now(poller, watch, required_filters(watch)) < 0) {
        must(errno == ENOMEM);
        /* The first of two filters may have been added. */
        watch->filters = FILTER_ERROR;
        (void)change_now(poller, watch, 0);
        watch->interest = 0;
        return false;
    }
    watch->active = true;
    return true;
}

void poller_change(struct poller *poller, struct watch *watch,
                   unsigned interest)
{
    must(watch->active);
    if (watch->interest != interest) {
        watch->interest = interest;
        if (list_empty(&watch->changed)) {
            list_add(&poller->changed, &watch->changed);
        }
    }
}

void poller_remove(struct poller *poller, struct watch *watch)
{
    if (!watch->active) {
        return;
    }
    list_remove(&watch->changed);
    int rc = change_now(poller, watch, 0);
    must(rc == 0);
    watch->active = false;
    watch->interest = 0;
    if (watch->place < poller->collected_count &&
        poller->collected[watch->place].watch == watch) {
        poller->collected[watch->place].ready = 0;
    }
}

/* Takes watches off the list of changed ones while their changes fit. Returns
 * the number of changes. */
static int take_changes(struct poller *poller)
{
    int count = 0;
    while (!list_empty(&poller->changed) &&
           count + CHANGES_PER_WATCH <= EVENTS_PER_WAIT) {
        struct watch *watch =
            container_of(poller->changed.next, struct watch, changed);
        list_remove(&watch->changed);
        count += change_filters(watch, required_filters(watch),
                                &poller->changes[count]);
    }
    return count;
}

/* ---- events ---- */

/* A change was refused: that of a delete cannot fail, so it was an EV_ADD. */
static void on_refused(struct poller *poller, struct watch *watch,
                       const struct kevent *event)
{
    must(event->data == ENOMEM);
    watch->filters &= event->filter == EVFILT_READ
                          ? ~(unsigned)(FILTER_READ | FILTER_ERROR)
                          : ~(unsigned)FILTER_WRITE;
    if (list_empty(&watch->changed)) {
        list_add(&poller->refused, &watch->changed);
    }
}

static unsigned ready_of(const struct watch *watch, const struct kevent *event)
{
    unsigned ready = 0;
    if (event->filter == EVFILT_WRITE) {
        ready = WATCH_WRITE;
    } else if (watch->filters & FILTER_READ) {
        ready = WATCH_READ;
    }
    /* An end without an error is for recv() to find. */
    bool failed = (event->flags & EV_EOF) && event->fflags != 0;
    return failed ? ready | WATCH_TROUBLE : ready;
}

static void collect(struct poller *poller, struct watch *watch, unsigned ready)
{
    if (ready == 0) {
        return; /* Bytes, or an end, that nobody wants to know about. */
    }
    if (watch->place >= poller->collected_count ||
        poller->collected[watch->place].watch != watch) {
        watch->place = poller->collected_count++;
        poller->collected[watch->place] = (struct collected){.watch = watch};
    }
    poller->collected[watch->place].ready |= ready;
}

int poller_wait(struct poller *poller, int wait_ms)
{
    int change_count = take_changes(poller);
    if (!list_empty(&poller->changed)) {
        wait_ms = 0; /* The rest follows in the next turn. */
    } else if (!list_empty(&poller->refused) &&
               (wait_ms < 0 || wait_ms > RETRY_MS)) {
        wait_ms = RETRY_MS;
    }
    struct timespec wait = {.tv_sec = wait_ms / 1000,
                            .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    int count =
        kevent(poller->fd, poller->changes, change_count, poller->events,
               EVENTS_PER_WAIT, wait_ms < 0 ? NULL : &wait);
    /* A signal ends the wait; the changes have been made before it. */
    must(count >= 0 || errno == EINTR);
    list_splice(&poller->changed, &poller->refused);
    poller->collected_count = 0;
    for (int i = 0; i < count; i++) {
        const struct kevent *event = &poller->events[i];
        struct watch *watch = (struct watch *)event->udata;
        if (event->flags & EV_ERROR) {
            on_refused(poller, watch, event);
        } else {
            collect(poller, watch, ready_of(watch, event));
        }
    }
    return poller->collected_count;
}

struct watch *poller_event(const struct poller *poller, int place,
                           unsigned *ready)
{
    must(place >= 0 && place < poller->collected_count);
    *ready = poller->collected[place].ready;
    return poller->collected[place].watch;
}
