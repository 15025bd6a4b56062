/* watch_turn.c -- the work of all watches in one turn of the event loop.
 *
 * A change may concern thousands of watches, and thousands may have fallen
 * behind and have room again at once. Together they get a share of a turn:
 * TURN_WORK, counted in bytes of text, into which other work is converted by
 * the time that it takes. Who finds it used up waits in a queue, and goes on in
 * a later turn, in the order of arrival; requests are served in between. */
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/watch_internal.h"
#include "reactor/reactor.h"

enum {
    TURN_WORK = 4 << 20, /* About 5 ms. */
    EVENT_WORK = 256,    /* An event of the ring is examined. */
    WRITE_WORK = 2048,   /* The output of a stream is sent: a system call. */
    READ_WORK = 65536,   /* A request that waited is answered. */
};

static struct api_watches *watches_of(struct api *api)
{
    uint64_t turn = reactor_turns(api->options.reactor);
    struct api_watches *watches = &api->watches;
    if (watches->work_turn != turn) {
        watches->work_turn = turn;
        watches->work = 0;
    }
    return watches;
}

bool watch_may_work(struct api *api)
{
    return watches_of(api)->work < TURN_WORK;
}

void watch_worked(struct api *api, uint64_t events, uint64_t writes,
                  uint64_t bytes)
{
    watches_of(api)->work += events * EVENT_WORK + writes * WRITE_WORK + bytes;
}

bool api_watches_may_answer(struct api *api)
{
    if (!watch_may_work(api)) {
        return false;
    }
    watches_of(api)->work += READ_WORK;
    return true;
}

/* ---- the queue ---- */

static void on_turn(void *arg);

static void wake(struct api *api)
{
    timer_arm(api->options.reactor, &api->watches.timer,
              reactor_now_ms(api->options.reactor), on_turn, api);
}

static void on_turn(void *arg)
{
    struct api *api = arg;
    struct list *queue = &api->watches.resumed;
    while (watch_may_work(api) && !list_empty(queue)) {
        struct conn *conn =
            container_of(queue->next, struct conn, watch.resumed);
        list_remove(&conn->watch.resumed);
        watch_worked(api, 1, 0, 0); /* It may find nothing to do. */
        watch_go_on(conn);
    }
    watch_forget_text(api);
    if (!list_empty(queue)) {
        wake(api);
    }
}

void watch_queue(struct conn *conn)
{
    struct api *api = conn->api;
    if (!list_empty(&conn->watch.resumed)) {
        return;
    }
    if (list_empty(&api->watches.resumed)) {
        wake(api);
    }
    list_add(&api->watches.resumed, &conn->watch.resumed);
}

void watch_go_on_in_turn(struct conn *conn)
{
    struct api *api = conn->api;
    if (list_empty(&api->watches.resumed) && watch_may_work(api)) {
        watch_go_on(conn);
        watch_forget_text(api);
    } else {
        watch_queue(conn);
    }
}
