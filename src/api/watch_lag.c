/* watch_lag.c -- how far the clients of GET /watch are behind.
 *
 * A client is not behind when its watch follows the feed and the kernel has
 * taken all output. Else it has been sent the state of an earlier time. Which
 * one, is known from a mark in the output: once less waits than was written
 * behind the mark, the client has been sent all before it, and the next mark is
 * set at the end of the output. So a watch needs one mark, however much waits,
 * and the age is too high by no more than the time between two marks. What the
 * kernel holds for a slow connection is not seen. */
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/watch_internal.h"
#include "node/node.h"
#include "reactor/reactor.h"

static bool is_behind(const struct conn *conn)
{
    return conn->watch.feed.state != FEED_FOLLOWING ||
           stream_output_bytes(conn->stream) > 0;
}

static void set_mark(struct conn *conn, uint64_t index)
{
    struct watch_lag *lag = &conn->watch.lag;
    lag->mark_index = index;
    lag->mark_ms = reactor_now_ms(conn->api->options.reactor);
    lag->mark_bytes = 0;
}

static void pass_mark(struct watch_lag *lag)
{
    lag->index = lag->mark_index;
    lag->ms = lag->mark_ms;
}

void watch_lag_begin(struct conn *conn, uint64_t index)
{
    set_mark(conn, index);
    pass_mark(&conn->watch.lag);
}

void watch_lag_before(struct conn *conn)
{
    if (!is_behind(conn)) {
        watch_lag_begin(conn, feed_delivered(node_feed(conn->api->node)));
    }
}

void watch_lag_after(struct conn *conn, size_t bytes)
{
    struct conn_watch *watch = &conn->watch;
    watch->lag.mark_bytes += bytes;
    if (watch->stage == WATCH_STREAMING && watch->feed.state != FEED_CLOSED &&
        stream_output_bytes(conn->stream) <= watch->lag.mark_bytes) {
        pass_mark(&watch->lag);
        set_mark(conn,
                 feed_index_read(node_feed(conn->api->node), &watch->feed));
    }
}

/* ---- all of them ---- */

/* True if `a` is to be listed before `b`. */
static bool is_slower(const struct watch_lag_row *a,
                      const struct watch_lag_row *b)
{
    return a->ms > b->ms || (a->ms == b->ms && a->entries > b->entries);
}

static void add_row(struct watches_lag *lag, const struct watch_lag_row *row)
{
    uint32_t at = lag->row_count;
    if (at == WATCH_SLOWEST_MAX) {
        at--;
    } else {
        lag->row_count++;
    }
    for (; at > 0 && is_slower(row, &lag->rows[at - 1]); at--) {
        lag->rows[at] = lag->rows[at - 1];
    }
    lag->rows[at] = *row;
}

static bool is_listed(const struct watches_lag *lag,
                      const struct auth_identity *identity,
                      const struct watch_lag_row *row)
{
    return identity &&
           (lag->row_count < WATCH_SLOWEST_MAX ||
            is_slower(row, &lag->rows[WATCH_SLOWEST_MAX - 1])) &&
           auth_may(identity, AUTH_READ, row->conn->watch.feed.key);
}

void api_watches_get_lag(struct api *api, const struct auth_identity *identity,
                         struct watches_lag *lag)
{
    uint64_t now_ms = reactor_now_ms(api->options.reactor);
    uint64_t index = feed_index(node_feed(api->node));
    *lag = (struct watches_lag){0};
    for (struct list *at = api->watches.all.next; at != &api->watches.all;
         at = at->next) {
        const struct conn *conn = container_of(at, struct conn, watch.link);
        if (!api_is_watching(conn) || !is_behind(conn)) {
            continue;
        }
        struct watch_lag_row row = {
            .conn = conn,
            .entries = index - min_u64(index, conn->watch.lag.index),
            .ms = now_ms - conn->watch.lag.ms,
            .bytes = stream_output_bytes(conn->stream),
        };
        lag->behind++;
        lag->entries_max = max_u64(lag->entries_max, row.entries);
        lag->ms_max = max_u64(lag->ms_max, row.ms);
        lag->bytes += row.bytes;
        if (is_listed(lag, identity, &row)) {
            add_row(lag, &row);
        }
    }
}
