/* watch.c -- GET /watch: changes of keys as a stream that does not end.
 *
 * Every node sends what it has applied, from its change feed (node/feed.h). A
 * watch that follows is called with each event and writes it into the output of
 * its stream. When a client has not taken WATCH_BYTES_MAX, or all of them
 * together WATCHES_BYTES_MAX, its watch falls behind and goes on from the ring
 * once there is room; when the ring has dropped what it needs, it is lost.
 *
 * Everything that a turn writes for one client is one chunk (RFC 9112 7.1),
 * whose size is filled in at the end; a client of HTTP/1.0 gets no chunks, and
 * its stream ends with the connection. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "api/watch_internal.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    WATCH_BYTES_MAX = 256 << 10,
    WATCHES_BYTES_MAX = 32 << 20,
    TEXT_BYTES_MAX = 64 << 10, /* Memory kept for the text of an event. */
    PROGRESS_MS = 10000,
    KEEP_ALIVE_MS = 15000,
    STALL_MS = 30000,
    /* A client that sends no more may be gone: something is sent to it, to see
     * whether its kernel resets the connection. */
    PROBE_MS = 250,
    PROBE_AGAIN_MS = 5000,
    AGAIN_MS = 20,       /* Between two looks for room. */
    EXAMINED_MAX = 1024, /* Events of the ring that a watch examines at a time.
                          */
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

static struct feed *feed_of(const struct conn *conn)
{
    return node_feed(conn->api->node);
}

static void on_time(void *arg);

void watch_look_in(struct conn *conn, uint64_t in_ms)
{
    timer_arm(conn->api->options.reactor, &conn->clock.timer,
              now(conn->api) + in_ms, on_time, conn);
}

/* ---- output ---- */

struct buf *watch_output(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    struct buf *out = stream_output(conn->stream);
    if (list_empty(&watch->written)) {
        watch_lag_before(conn);
        watch_worked(conn->api, 0, 1, 0);
        list_add(&conn->api->watches.written, &watch->written);
        watch->chunk_at = out->size;
        if (watch->chunked) {
            api_chunk_begin(out);
        }
    }
    return out;
}

void watch_end_entry(struct conn *conn, bool is_complete)
{
    struct conn_watch *watch = &conn->watch;
    if (is_complete && watch->id_pending > 0) {
        watch_add_id(watch_output(conn), watch->format, watch->is_open,
                     watch->id_pending);
        watch->id = watch->id_pending;
        watch->id_pending = 0;
    } else if (watch->is_open) {
        watch_end_event(watch_output(conn), watch->format);
    }
    watch->is_open = false;
}

void watch_finish_writing(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    watch_end_entry(conn, watch->feed.state == FEED_FOLLOWING);
    if (list_empty(&watch->written)) {
        return;
    }
    list_remove(&watch->written);
    if (watch->chunked) {
        api_chunk_end(stream_output(conn->stream), watch->chunk_at);
    }
    size_t bytes = stream_output(conn->stream)->size - watch->chunk_at;
    conn->api->watches.bytes += bytes - watch->counted;
    watch->counted = 0;
    watch_lag_after(conn, bytes);
    watch->written_ms = now(conn->api);
}

/* Sent bytes are not subtracted one by one: once per turn at most, when the sum
 * seems too large, it is counted anew. */
static bool is_any_room(struct api *api)
{
    struct api_watches *watches = &api->watches;
    uint64_t turn = reactor_turns(api->options.reactor);
    if (watches->bytes < WATCHES_BYTES_MAX) {
        return true;
    }
    if (watches->turn != turn) {
        watches->turn = turn;
        watches->bytes = 0;
        for (struct list *at = watches->all.next; at != &watches->all;
             at = at->next) {
            watches->bytes += stream_output_bytes(
                container_of(at, struct conn, watch.link)->stream);
        }
    }
    return watches->bytes < WATCHES_BYTES_MAX;
}

bool watch_has_room(struct conn *conn)
{
    return stream_output_bytes(conn->stream) < WATCH_BYTES_MAX &&
           is_any_room(conn->api);
}

/* ---- the end ---- */

void api_watch_close(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    if (watch->stage == WATCH_NONE) {
        return;
    }
    feed_close(feed_of(conn), &watch->feed);
    list_remove(&watch->link);
    list_remove(&watch->written);
    list_remove(&watch->resumed);
    conn->api->watches.count--;
    watch->stage = WATCH_NONE;
}

bool api_is_watching(const struct conn *conn)
{
    return conn->watch.stage > WATCH_FIRST;
}

/* End the answer, whose last event has been written. */
static void end_stream(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    bool chunked = watch->chunked;
    watch_finish_writing(conn);
    if (chunked) {
        api_chunk_last(stream_output(conn->stream));
    }
    api_scan_close(conn);
    timer_cancel(conn->api->options.reactor, &conn->clock.timer);
    api_watch_close(conn);
    api_answered(conn);
}

static void count_dropped(struct api *api)
{
    api->watches.dropped++;
    api->watches.dropped_ms = now(api);
}

void watch_end_lost(struct conn *conn, const char *reason)
{
    struct conn_watch *watch = &conn->watch;
    count_dropped(conn->api);
    watch_end_entry(conn, false);
    watch_add_lost(watch_output(conn), watch->format, reason,
                   feed_floor(feed_of(conn)));
    end_stream(conn);
}

const char watch_too_slow[] =
    "the client did not keep up with the changes (--history)";
static const char replaced[] =
    "the changes went on without this watch (--history), or the data of this "
    "node was replaced: by a restore or a snapshot";

/* End it so that the client comes again, without an event. */
static void end_kindly(struct conn *conn)
{
    watch_end_entry(conn, conn->watch.feed.state == FEED_FOLLOWING);
    if (conn->watch.format == WATCH_SSE) {
        buf_add_string(watch_output(conn), "retry: 1000\n\n");
    }
    end_stream(conn);
}

void api_watches_end(struct api *api)
{
    for (struct list *at = api->watches.all.next; at != &api->watches.all;) {
        struct conn *conn = container_of(at, struct conn, watch.link);
        at = at->next;
        if (api_is_watching(conn)) {
            end_kindly(conn);
        }
    }
}

/* ---- events ---- */

bool watch_may_read(const struct conn *conn, struct bytes key)
{
    return auth_may(&conn->gate.identity, AUTH_READ, key);
}

/* The text of an event is made once for all watches that it concerns. */
static struct bytes text_of(struct api *api, enum watch_format format,
                            const struct feed_event *event)
{
    struct api_watches *watches = &api->watches;
    if (watches->text_index != event->index ||
        watches->text_key.data != event->key.data ||
        watches->text_format != format) {
        watches->text_index = event->index;
        watches->text_key = event->key;
        watches->text_format = format;
        watches->text.size = 0;
        watch_add_event(&watches->text, format, event);
    }
    return buf_bytes(&watches->text);
}

void watch_write_event(struct conn *conn, const struct feed_event *event)
{
    struct conn_watch *watch = &conn->watch;
    watch_end_entry(conn, watch->stage == WATCH_STREAMING &&
                              watch->id_pending != event->index);
    struct bytes text = text_of(conn->api, watch->format, event);
    buf_add_bytes(watch_output(conn), text);
    /* At once, since the event may be for many. */
    conn->api->watches.bytes += text.size;
    watch->counted += text.size;
    watch_worked(conn->api, 0, 0, text.size);
    watch->is_open = true;
    watch->id_pending = event->index;
    conn->api->watches.events++;
}

void watch_forget_text(struct api *api)
{
    api->watches.text_index = 0;
    if (api->watches.text.capacity > TEXT_BYTES_MAX) {
        buf_free(&api->watches.text);
    }
}

/* There is no room for the event, or no time in this turn. */
static void fall_behind(struct conn *conn, const struct feed_event *event)
{
    watch_lag_before(conn);
    watch_end_entry(conn, conn->watch.id_pending != event->index);
    feed_fall_behind(feed_of(conn), &conn->watch.feed);
    if (watch_has_room(conn)) {
        watch_queue(conn);
    } else {
        watch_look_in(conn, 1);
    }
}

/* A feed_cb: a new event for a watch that follows. */
static void on_event(struct feed_watch *feed_watch,
                     const struct feed_event *event)
{
    struct conn *conn = container_of(feed_watch, struct conn, watch.feed);
    if (!event && !node_is_current(conn->api->node)) {
        end_kindly(conn); /* Nothing is lost: another node has it. */
    } else if (!event) {
        watch_end_lost(conn, replaced);
    } else if (!watch_may_read(conn, event->key)) {
        return;
    } else if (watch_has_room(conn) && watch_may_work(conn->api)) {
        watch_write_event(conn, event);
    } else {
        fall_behind(conn, event);
    }
}

/* All events of this turn have been delivered. */
static void on_round(void *arg)
{
    struct api *api = arg;
    struct list *written = &api->watches.written;
    while (!list_empty(written)) {
        watch_finish_writing(
            container_of(written->next, struct conn, watch.written));
    }
    watch_forget_text(api);
}

enum err watch_read_ring(struct conn *conn, uint64_t upto,
                         bool (*take)(const struct conn *conn,
                                      struct bytes key))
{
    struct conn_watch *watch = &conn->watch;
    struct feed_event event;
    uint32_t budget = EXAMINED_MAX;
    enum err err = ERR_OK;
    list_remove(&watch->resumed);
    while (!err && watch_has_room(conn)) {
        err = watch_may_work(conn->api) ? feed_next(feed_of(conn), &watch->feed,
                                                    upto, &budget, &event)
                                        : ERR_BUSY;
        if (!err && take(conn, event.key)) {
            watch_write_event(conn, &event);
        }
    }
    watch_worked(conn->api, EXAMINED_MAX - budget, 0, 0);
    return err;
}

void watch_go_on_later(struct conn *conn, enum err err)
{
    struct conn_watch *watch = &conn->watch;
    bool wrote = !list_empty(&watch->written);
    watch_finish_writing(conn);
    if (err != ERR_BUSY) {
        /* The stream may send all of it at the end of this turn, and then there
         * is no on_drain(): look again in the next turn. */
        watch_look_in(conn, wrote ? 1 : AGAIN_MS);
        return;
    }
    watch_queue(conn);
    watch_look_in(conn, PROGRESS_MS); /* Is the client there? */
}

void watch_catch_up(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    enum err err = watch_read_ring(conn, UINT64_MAX, watch_may_read);
    if (err == ERR_CLOSED) {
        watch_end_lost(conn, watch_too_slow);
    } else if (err == ERR_NOT_FOUND) {
        feed_follow(feed_of(conn), &watch->feed);
        watch_finish_writing(conn);
        watch_look_in(conn, PROGRESS_MS);
    } else {
        watch_go_on_later(conn, err);
    }
}

/* ---- the answer ---- */

static const char *type_of(enum watch_format format)
{
    return format == WATCH_SSE ? "text/event-stream" : "application/x-ndjson";
}

void watch_begin_stream(struct conn *conn, uint64_t index)
{
    struct conn_watch *watch = &conn->watch;
    struct buf *headers = &conn->api->headers;
    conn->answer.index = index;
    conn->output.keep_alive = false;
    headers->size = 0;
    buf_add_string(headers, "X-Accel-Buffering: no\r\n");
    watch->chunked = !conn->request.is_http10;
    if (watch->chunked) {
        buf_add_string(headers, "Transfer-Encoding: chunked\r\n");
    }
    api_answer_stream(conn, 200, type_of(watch->format));
    watch->queued_ms = now(conn->api);
    if (watch->format == WATCH_SSE) {
        buf_add_string(watch_output(conn), "retry: 1000\n\n");
    }
}

/* ---- time ---- */

/* True if the client has taken nothing of its output for too long. */
static bool is_stalled(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    size_t queued = stream_output_bytes(conn->stream);
    if (queued == 0 || queued != watch->queued_bytes) {
        watch->queued_bytes = queued;
        watch->queued_ms = now(conn->api);
    }
    return now(conn->api) >= watch->queued_ms + STALL_MS;
}

/* A watch that follows has had nothing to send for a while: move the id on, or
 * show that the connection lives. */
static void keep_alive(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    uint64_t idle_ms = now(conn->api) - watch->written_ms;
    uint64_t index = feed_delivered(feed_of(conn));
    if (stream_output_bytes(conn->stream) > 0) {
        watch_look_in(conn, AGAIN_MS * 50);
        return;
    }
    bool probes = conn->input.eof && idle_ms >= PROBE_MS;
    if ((idle_ms >= PROGRESS_MS && index > watch->id) ||
        (watch->format == WATCH_NDJSON &&
         (probes || idle_ms >= KEEP_ALIVE_MS))) {
        watch_add_id(watch_output(conn), watch->format, false, index);
        watch->id = index;
        idle_ms = 0;
    } else if (probes || idle_ms >= KEEP_ALIVE_MS) {
        buf_add_string(watch_output(conn), ": ping\n\n");
        idle_ms = 0;
    }
    watch_finish_writing(conn);
    watch_look_in(conn, conn->input.eof         ? PROBE_AGAIN_MS
                        : idle_ms < PROGRESS_MS ? PROGRESS_MS - idle_ms
                                                : KEEP_ALIVE_MS - idle_ms);
}

void api_watch_half_closed(struct conn *conn)
{
    if (conn->watch.stage == WATCH_STREAMING &&
        conn->watch.feed.state == FEED_FOLLOWING) {
        watch_look_in(conn, PROBE_MS);
    }
}

void watch_go_on(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    if (watch->stage == WATCH_CHANGES) {
        watch_send_page(conn);
    } else if (watch->stage == WATCH_BLOCKED) {
        if (watch_has_room(conn)) {
            watch_start_page(conn);
        } else {
            watch_look_in(conn, AGAIN_MS);
        }
    } else if (watch->stage == WATCH_STREAMING &&
               watch->feed.state == FEED_BEHIND) {
        watch_catch_up(conn);
    } else if (watch->stage == WATCH_STREAMING) {
        keep_alive(conn);
    } else {
        watch_look_in(conn, PROGRESS_MS); /* A page is being read. */
    }
}

static void on_time(void *arg)
{
    struct conn *conn = arg;
    if (is_stalled(conn)) {
        count_dropped(conn->api);
        api_conn_log_slow(conn, "watch", 0, conn->watch.queued_bytes,
                          conn->watch.queued_ms);
        api_conn_drop(conn);
    } else {
        watch_go_on_in_turn(conn);
    }
}

void api_watch_drained(struct conn *conn)
{
    if (conn->watch.stage == WATCH_CHANGES ||
        conn->watch.stage == WATCH_BLOCKED ||
        (conn->watch.stage == WATCH_STREAMING &&
         conn->watch.feed.state == FEED_BEHIND)) {
        watch_go_on_in_turn(conn);
    }
}

/* ---- the request ---- */

static void answer_compacted(struct conn *conn, uint64_t since)
{
    char message[160];
    char members[64];
    unsigned long long floor = feed_floor(feed_of(conn));
    snprintf(message, sizeof(message),
             "this node has the changes after %llu, not those after %llu "
             "(--history): ask another node, or begin again with ?initial",
             floor, (unsigned long long)since);
    snprintf(members, sizeof(members), ",\"oldest_index\":%llu", floor);
    api_answer_problem_with(conn, 410, "compacted", message, OUTCOME_NONE,
                            members);
}

bool watch_may_begin(const struct conn *conn)
{
    return node_is_current(conn->api->node) && !api_gate_is_outdated(conn);
}

void watch_refuse(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_status status;
    if (node_is_current(api->node)) {
        api_answer_problem(conn, 503, "rules-changed",
                           "the rules of --auth have changed while this "
                           "request waited: send it again",
                           OUTCOME_NONE);
        return;
    }
    if (node_removed_index(api->node) > 0) {
        node_get_status(api->node, &status);
        api_answer_problem(conn, 503, "removed", api_removed_text(api, &status),
                           OUTCOME_NONE);
        return;
    }
    api_answer_outcome(
        conn, &(struct node_result){.outcome = node_contradiction(api->node)
                                                   ? NODE_QUARANTINED
                                                   : NODE_SECOND_CLUSTER});
}

/* This node may show its state: begin. */
static void start(struct conn *conn)
{
    struct api *api = conn->api;
    struct conn_watch *watch = &conn->watch;
    struct feed *feed = feed_of(conn);
    uint64_t since = conn->state.watch.since;
    bool initial = conn->state.watch.initial;
    if (!watch_may_begin(conn)) {
        watch_refuse(conn);
        return;
    }
    if (api->watches.count >= api_watches_max(api)) {
        char message[96];
        snprintf(message, sizeof(message),
                 "%u watches and waiting reads are open here already (half of "
                 "--max-conns)",
                 api->watches.count);
        api_answer_problem(conn, 429, "overloaded", message, OUTCOME_NONE);
        return;
    }
    if (!conn->state.watch.resumes) {
        since = feed_index(feed);
    }
    enum err err = feed_open(feed, &watch->feed, since);
    if (err && !initial) {
        answer_compacted(conn, since);
        return;
    }
    if (err) {
        watch->is_reset = true;
        must(feed_open(feed, &watch->feed, feed_index(feed)) == ERR_OK);
    } else {
        watch->is_reset = false;
        initial = initial && !conn->state.watch.resumes;
    }
    if (conn->answer.head_only) {
        feed_close(feed, &watch->feed);
        buf_add_string(&api->headers, "X-Accel-Buffering: no\r\n");
        conn->output.keep_alive = false;
        api_answer_stream(conn, 200, type_of(watch->format));
        api_answered(conn);
        return;
    }
    conn->busy = true;
    list_init(&watch->link);
    list_init(&watch->written);
    list_init(&watch->resumed);
    list_add(&api->watches.all, &watch->link);
    api->watches.count++;
    watch->is_open = false;
    watch->counted = 0;
    watch->id_pending = 0;
    watch->id = since;
    conn->request.text.size = 0; /* The mark: nothing was shown. */
    if (initial || watch->is_reset) {
        watch->stage = WATCH_FIRST;
        watch_start_page(conn);
        return;
    }
    watch->stage = WATCH_STREAMING;
    watch_lag_begin(conn, since);
    watch_begin_stream(conn, max_u64(since, feed_index(feed)));
    if (!conn->state.watch.resumes) {
        watch_add_id(watch_output(conn), watch->format, false, since);
    }
    watch_finish_writing(conn);
    watch_look_in(conn, PROGRESS_MS);
    watch_go_on_in_turn(conn);
}

static bool take_events(struct conn *conn, uint8_t *types)
{
    struct bytes rest;
    struct bytes name;
    *types = FEED_ALL;
    if (!api_get_param(conn, PARAM_EVENTS, &rest)) {
        return true;
    }
    *types = 0;
    while (http_list_next(&rest, &name)) {
        if (bytes_equal_string(name, "put")) {
            *types |= FEED_PUT;
        } else if (bytes_equal_string(name, "delete")) {
            *types |= FEED_DELETE;
        } else {
            *types = 0;
            break;
        }
    }
    return *types != 0 ||
           api_bad_param(conn, "events is put, delete, or both with a comma");
}

static bool take_watch_format(struct conn *conn, enum watch_format *format)
{
    struct bytes value;
    *format = WATCH_SSE;
    if (!api_get_param(conn, PARAM_FORMAT, &value) ||
        bytes_equal_string(value, "sse")) {
        return true;
    }
    *format = WATCH_NDJSON;
    return bytes_equal_string(value, "ndjson") ||
           api_bad_param(conn, "format is sse or ndjson");
}

static bool take_keys(struct conn *conn, struct feed_watch *watch)
{
    struct bytes prefix;
    struct bytes key;
    if (!api_take_text(conn, PARAM_PREFIX, &prefix) ||
        !api_take_text(conn, PARAM_KEY, &key)) {
        return false;
    }
    bool has_key = api_is_given(conn, PARAM_KEY);
    if (has_key && api_is_given(conn, PARAM_PREFIX)) {
        return api_bad_param(conn, "a watch has a key or a prefix, not both");
    }
    if (has_key && key.size == 0) {
        return api_bad_param(conn, "key names no key; prefix= with nothing is "
                                   "all of them");
    }
    watch->is_prefix = !has_key;
    watch->key = has_key ? key : prefix;
    return true;
}

/* A client that was cut off sends the id that it received last, a browser by
 * itself (WHATWG HTML 9.2.4): it is newer than what the address says. */
static bool take_since(struct conn *conn, const struct http_request *request)
{
    struct bytes value;
    struct bytes last = http_header(request, "Last-Event-ID");
    conn->state.watch.resumes = true;
    if (last.size > 0) {
        return json_u64(last, &conn->state.watch.since) ||
               api_bad_param(conn,
                             "Last-Event-ID is the id of an event of this "
                             "watch, the index of a log entry");
    }
    if (api_get_param(conn, PARAM_SINCE, &value)) {
        return json_u64(value, &conn->state.watch.since) ||
               api_bad_param(conn, "since is the index of a log entry");
    }
    conn->state.watch.resumes = false;
    return true;
}

void api_on_watch(struct conn *conn, const struct http_request *request)
{
    struct conn_watch *watch = &conn->watch;
    struct bytes index;
    must(watch->stage == WATCH_NONE && watch->feed.state == FEED_CLOSED);
    watch->feed = (struct feed_watch){.cb = on_event};
    conn->state.watch.initial = api_flag(conn, PARAM_INITIAL);
    conn->request.reading = (struct reading){
        .level = LEVEL_NONE, .fresh_ms = UINT64_MAX, .show = start};
    if (!take_keys(conn, &watch->feed) ||
        !take_events(conn, &watch->feed.types) ||
        !take_watch_format(conn, &watch->format) ||
        !take_since(conn, request) || !api_read_timeout(conn)) {
        return;
    }
    if (api_get_param(conn, PARAM_MIN_INDEX, &index) &&
        !json_u64(index, &conn->request.reading.index)) {
        (void)api_bad_param(conn, "min_index is the index of a log entry");
        return;
    }
    api_read_wait(conn);
}

/* ---- all of them ---- */

uint32_t api_watches_max(const struct api *api)
{
    return (uint32_t)max_u64(api->options.conns_max / 2, 1);
}

void api_watches_init(struct api *api)
{
    list_init(&api->watches.all);
    list_init(&api->watches.polls);
    list_init(&api->watches.written);
    list_init(&api->watches.resumed);
}

void api_watches_attach(struct api *api)
{
    feed_on_round(node_feed(api->node), on_round, api);
}

void api_watches_free(struct api *api)
{
    must(list_empty(&api->watches.all));
    timer_cancel(api->options.reactor, &api->watches.timer);
    if (api->node) {
        feed_on_round(node_feed(api->node), NULL, NULL);
    }
    buf_free(&api->watches.text);
}
