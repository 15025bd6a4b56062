/* reactor.c -- the turn, its timers and its lists. */
#include "reactor/reactor.h"

#include <limits.h>

#include "reactor/reactor_internal.h"
#include "sys/sys.h"

/* Closed streams and listeners are freed only here, when no collected event can
 * point to them any more. */
static void free_dead(struct reactor *reactor)
{
    while (!list_empty(&reactor->dead)) {
        struct stream *stream =
            container_of(reactor->dead.next, struct stream, link);
        list_remove(&stream->link);
        stream_free(stream);
    }
    while (!list_empty(&reactor->listeners_dead)) {
        struct listener *listener =
            container_of(reactor->listeners_dead.next, struct listener, link);
        list_remove(&listener->link);
        mem_free(listener);
    }
}

struct reactor *reactor_new(void)
{
    static const uint64_t turn_us[] = {100,   250,    500,    1000,
                                       2500,  5000,   10000,  25000,
                                       50000, 100000, 250000, 1000000};
    struct reactor *reactor = mem_zalloc(sizeof(*reactor));
    reactor->poller = poller_new();
    reactor->now_ms = sys_now_ms();
    reactor->hook_at_ms = UINT64_MAX;
    histogram_init(&reactor->turn_us, turn_us, ARRAY_COUNT(turn_us));
    list_init(&reactor->streams);
    list_init(&reactor->deferred);
    list_init(&reactor->flush);
    list_init(&reactor->dead);
    list_init(&reactor->listeners);
    list_init(&reactor->listeners_dead);
    list_init(&reactor->children);
    reactor->resolver_socket = -1;
    signals_init(reactor);
    return reactor;
}

void reactor_free(struct reactor *reactor)
{
    if (!reactor) {
        return;
    }
    while (!list_empty(&reactor->streams)) {
        stream_close(container_of(reactor->streams.next, struct stream, link));
    }
    while (!list_empty(&reactor->listeners)) {
        listener_close(
            container_of(reactor->listeners.next, struct listener, link));
    }
    free_dead(reactor);
    resolver_reap_all(reactor);
    resolver_end(reactor);
    for (size_t i = 0; i < reactor->wake_count; i++) {
        poller_remove(reactor->poller, &reactor->wakes[i].watch);
    }
    signals_free(reactor);
    struct heap_node *node;
    while ((node = heap_min(&reactor->timers))) {
        heap_remove(&reactor->timers, node); /* The owner sees it idle. */
    }
    heap_free(&reactor->timers);
    poller_free(reactor->poller);
    mem_free(reactor);
}

uint64_t reactor_now_ms(const struct reactor *reactor)
{
    return reactor->now_ms;
}

uint64_t reactor_turns(const struct reactor *reactor)
{
    return reactor->turns;
}

uint64_t reactor_turn_max_us(const struct reactor *reactor)
{
    return reactor->turn_max_us;
}

const struct histogram *reactor_turn_times(const struct reactor *reactor)
{
    return &reactor->turn_us;
}

void reactor_set_hook(struct reactor *reactor, reactor_hook_cb *cb, void *arg)
{
    reactor->hook = cb;
    reactor->hook_arg = arg;
    reactor->hook_at_ms = cb ? 0 : UINT64_MAX;
}

static void on_wake(struct watch *watch, unsigned ready)
{
    (void)ready;
    const struct wake *wake = container_of(watch, struct wake, watch);
    if (wake->cb) {
        wake->cb(wake->arg);
    }
}

void reactor_wake_on(struct reactor *reactor, int fd, reactor_wake_cb *cb,
                     void *arg)
{
    must(fd >= 0 && reactor->wake_count < REACTOR_WAKES_MAX);
    struct wake *wake = &reactor->wakes[reactor->wake_count++];
    *wake =
        (struct wake){.watch = {.fd = fd, .cb = on_wake}, .cb = cb, .arg = arg};
    if (!poller_add(reactor->poller, &wake->watch, WATCH_READ)) {
        die("no room to watch for completions");
    }
}

void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t at_ms,
               timer_cb *cb, void *arg)
{
    must(cb);
    heap_remove(&reactor->timers, &timer->node);
    timer->cb = cb;
    timer->arg = arg;
    heap_insert(&reactor->timers, &timer->node, at_ms);
}

void timer_cancel(struct reactor *reactor, struct timer *timer)
{
    heap_remove(&reactor->timers, &timer->node);
}

/* Longest time that the poll may sleep; 0 while a list has work that causes no
 * event. */
static int sleep_ms(const struct reactor *reactor, uint64_t wait_ms)
{
    if (reactor->stopping || !list_empty(&reactor->deferred) ||
        !list_empty(&reactor->flush) || !list_empty(&reactor->dead)) {
        return 0;
    }
    uint64_t until_ms = reactor->hook_at_ms;
    const struct heap_node *first = heap_min(&reactor->timers);
    if (first) {
        until_ms = min_u64(until_ms, first->key);
    }
    if (until_ms != UINT64_MAX) {
        uint64_t now_ms = sys_now_ms();
        wait_ms = until_ms <= now_ms ? 0 : min_u64(wait_ms, until_ms - now_ms);
    }
    if (wait_ms == UINT64_MAX) {
        return -1;
    }
    return (int)min_u64(wait_ms, INT_MAX);
}

static void deliver_events(struct reactor *reactor, int count)
{
    for (int i = 0; i < count; i++) {
        unsigned ready;
        struct watch *watch = poller_event(reactor->poller, i, &ready);
        /* An earlier callback of this turn may have closed it, or changed its
         * interest. */
        if (!watch->active) {
            continue;
        }
        ready &= watch->interest | WATCH_TROUBLE;
        if (ready) {
            watch->cb(watch, ready);
        }
    }
}

/* Runs at most the number of timers that were armed at the start, since one may
 * arm itself again for now. */
static void run_timers(struct reactor *reactor)
{
    for (uint32_t left = reactor->timers.count; left > 0; left--) {
        struct heap_node *first = heap_min(&reactor->timers);
        if (!first || first->key > reactor->now_ms) {
            break;
        }
        heap_remove(&reactor->timers, first);
        struct timer *timer = container_of(first, struct timer, node);
        timer->cb(timer->arg);
    }
}

/* Runs one round: callbacks that these defer run in the next turn. */
static void run_deferred(struct reactor *reactor)
{
    if (list_empty(&reactor->deferred)) {
        return;
    }
    struct list round;
    list_init(&round);
    list_splice(&round, &reactor->deferred);
    while (!list_empty(&round)) {
        struct stream *stream =
            container_of(round.next, struct stream, deferred_link);
        list_remove(&stream->deferred_link);
        stream_run_deferred(stream);
    }
}

/* Runs one round: streams that have more to send do so in the next turn. */
static void flush_written(struct reactor *reactor)
{
    struct list round;
    list_init(&round);
    list_splice(&round, &reactor->flush);
    while (!list_empty(&round)) {
        struct stream *stream =
            container_of(round.next, struct stream, flush_link);
        list_remove(&stream->flush_link);
        stream_flush(stream);
        stream_free_dropped(stream);
    }
}

void reactor_turn(struct reactor *reactor, uint64_t wait_ms)
{
    int count = poller_wait(reactor->poller, sleep_ms(reactor, wait_ms));
    uint64_t start_ns = sys_now_ns();
    reactor->now_ms = start_ns / 1000000;
    reactor->turns++;

    deliver_events(reactor, count);
    run_timers(reactor);
    run_deferred(reactor);
    if (reactor->hook) {
        reactor->hook_at_ms = reactor->hook(reactor->hook_arg);
    }
    flush_written(reactor);
    free_dead(reactor);

    uint64_t took_us = (sys_now_ns() - start_ns) / 1000;
    reactor->turn_max_us = max_u64(reactor->turn_max_us, took_us);
    histogram_add(&reactor->turn_us, took_us);
}

void reactor_run(struct reactor *reactor)
{
    while (!reactor->stopping) {
        reactor_turn(reactor, UINT64_MAX);
    }
    reactor->stopping = false;
}

void reactor_stop(struct reactor *reactor)
{
    reactor->stopping = true;
}
