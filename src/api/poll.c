/* poll.c -- long polling: a read that waits for a change of what it reads.
 *
 * The read is first made as any other. If it would show what its client has, it
 * waits in the change feed (node/feed.h), for that key or prefix only, so that
 * no other change wakes it. Then it is made again, without asking the leader:
 * the entry that woke it was committed after the request had come. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/poll_internal.h"
#include "api/read_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    WAIT_MS = 300 * 1000, /* With ?index= alone, as in Consul. */
    WAIT_MAX_MS = 600 * 1000,
    /* Events that are examined for one request, 0.1 ms; the default of
     * --history is less. What changed further back counts as a change. */
    EXAMINED_MAX = 16384,
    JITTER = 16, /* A wait is longer by up to this part, so that clients that
                    came together do not come again together. */
};

static uint64_t now(const struct conn *conn)
{
    return reactor_now_ms(conn->api->options.reactor);
}

static struct feed *feed_of(const struct conn *conn)
{
    return node_feed(conn->api->node);
}

/* ---- parameters ---- */

/* The value of "wait" among the preferences (RFC 7240 2): a number of seconds.
 * A malformed preference is none. */
static bool find_preference(const struct http_request *request, uint64_t *ms)
{
    static const char name[] = "wait=";
    const size_t skip = sizeof(name) - 1;
    struct bytes list = http_header(request, "Prefer");
    struct bytes one;
    while (http_list_next(&list, &one)) {
        if (one.size > skip &&
            http_equal_fold(bytes_of(one.data, skip), name) &&
            json_u64(bytes_of(one.data + skip, one.size - skip), ms)) {
            *ms = min_u64(*ms, WAIT_MAX_MS / 1000) * 1000;
            return true;
        }
    }
    return false;
}

bool api_poll_take(struct conn *conn, const struct http_request *request)
{
    struct conn_poll *poll = &conn->poll;
    struct bytes value;
    uint64_t wait_ms = WAIT_MS;
    poll->has_index = api_get_param(conn, PARAM_INDEX, &value);
    if (poll->has_index && !json_u64(value, &poll->index)) {
        return api_bad_param(conn, "index is the index of a log entry");
    }
    bool has_state =
        poll->has_index || http_header(request, "If-None-Match").size > 0;
    if (api_get_param(conn, PARAM_WAIT, &value)) {
        if (!text_duration_ms(value, &wait_ms)) {
            return api_bad_param(conn,
                                 "wait is a duration such as 500ms or 60s");
        }
        if (!has_state) {
            return api_bad_param(conn, "wait needs the state that is known: "
                                       "index= or If-None-Match");
        }
        poll->wanted = true;
    } else {
        bool prefers = find_preference(request, &wait_ms);
        poll->wanted = poll->has_index || (prefers && has_state);
    }
    if (poll->wanted) {
        wait_ms = min_u64(wait_ms, WAIT_MAX_MS);
        poll->until_ms = now(conn) + wait_ms +
                         node_random(conn->api->node) % (wait_ms / JITTER + 1);
    }
    return true;
}

/* ---- whether something has changed ---- */

static bool may_read(const struct conn *conn, struct bytes key)
{
    return auth_may(&conn->gate.identity, AUTH_READ, key);
}

static void on_event(struct feed_watch *watch, const struct feed_event *event);

static struct feed_watch watch_of(struct bytes key, bool is_prefix)
{
    return (struct feed_watch){
        .cb = on_event, .key = key, .is_prefix = is_prefix, .types = FEED_ALL};
}

bool api_poll_is_unchanged(struct conn *conn, struct bytes key, bool is_prefix,
                           uint64_t index)
{
    struct feed *feed = feed_of(conn);
    struct feed_watch watch = watch_of(key, is_prefix);
    struct feed_event event;
    uint32_t budget = EXAMINED_MAX;
    enum err err = feed_open(feed, &watch, index);
    if (err) {
        return false; /* Nobody knows. */
    }
    do {
        err = feed_next(feed, &watch, UINT64_MAX, &budget, &event);
    } while (!err && !may_read(conn, event.key));
    feed_close(feed, &watch);
    return err == ERR_NOT_FOUND;
}

/* ---- waiting ---- */

static void on_time(void *arg);

static void wake_at(struct conn *conn, uint64_t at_ms)
{
    timer_arm(conn->api->options.reactor, &conn->poll.timer, at_ms, on_time,
              conn);
}

/* A feed_cb. The read is made again in the next turn, outside of the feed. */
static void on_event(struct feed_watch *watch, const struct feed_event *event)
{
    struct conn *conn = container_of(watch, struct conn, poll.feed);
    if (!event || may_read(conn, event->key)) {
        feed_close(feed_of(conn), watch);
        wake_at(conn, now(conn));
    }
}

static void stop_waiting(struct conn *conn)
{
    struct conn_poll *poll = &conn->poll;
    if (!poll->waits) {
        return;
    }
    poll->waits = false;
    feed_close(feed_of(conn), &poll->feed);
    timer_cancel(conn->api->options.reactor, &poll->timer);
    list_remove(&conn->watch.link);
    conn->api->watches.count--;
}

static void read_again(struct conn *conn)
{
    /* The time of the wait is none of the time-out's. */
    conn->request.call.deadline_ms += now(conn) - conn->poll.since_ms;
    stop_waiting(conn);
    conn->answer.index =
        max_u64(conn->answer.index, node_applied(conn->api->node));
    api_read_wait(conn);
}

static void on_time(void *arg)
{
    struct conn *conn = arg;
    if (api_watches_may_answer(conn->api)) {
        read_again(conn);
    } else {
        wake_at(conn, now(conn) + 1); /* Many were woken by one change. */
    }
}

bool api_poll_wait(struct conn *conn, struct bytes key, bool is_prefix)
{
    struct api *api = conn->api;
    struct conn_poll *poll = &conn->poll;
    struct feed *feed = feed_of(conn);
    if (!poll->wanted || now(conn) >= poll->until_ms || api->stopping ||
        !node_is_current(api->node) || api_gate_is_outdated(conn) ||
        api->watches.count >= api_watches_max(api)) {
        return false;
    }
    poll->feed = watch_of(key, is_prefix);
    poll->since_ms = now(conn);
    poll->waits = true;
    must(feed_open(feed, &poll->feed, feed_index(feed)) == ERR_OK);
    feed_follow(feed, &poll->feed);
    list_init(&conn->watch.link);
    list_add(&api->watches.polls, &conn->watch.link);
    api->watches.count++;
    conn->busy = true;
    conn->request.group = ROUTE_WATCH; /* Its duration is no measure. */
    wake_at(conn, poll->until_ms);
    return true;
}

void api_polls_end(struct api *api)
{
    while (!list_empty(&api->watches.polls)) {
        struct conn *conn =
            container_of(api->watches.polls.next, struct conn, watch.link);
        conn->poll.until_ms = 0;
        read_again(conn);
    }
}

void api_poll_close(struct conn *conn)
{
    stop_waiting(conn);
    conn->poll = (struct conn_poll){0};
}
