/* read.c -- levels of consistency: ?level=, ?freshness=, ?min_index=.
 *
 *     linearizable  shows every write acknowledged before it (ReadIndex; any
 *                   node can serve it)
 *     strong        the same through the log: an entry without effect is
 *                   committed and applied, on the disks of a majority
 *     weak          the leader's state, without asking the others; on other
 *                   nodes linearizable, which costs the same round trip to the
 *                   leader and promises more
 *     none          this node's state
 *     auto          none on nodes without a vote, otherwise linearizable
 *
 * At every level, entry `min_index` has been applied here. Craftd-Level names
 * the level that the answer was read at.
 *
 * Values may be large, and many may be read in one turn of the event loop.
 * Reads for which a turn has no time left are answered in later turns, in the
 * order in which they became ready. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "base/list.h"
#include "base/text.h"
#include "command/command.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum { TURN_US = 5000 };

static const char *const level_names[] = {
    [LEVEL_LINEARIZABLE] = "linearizable",
    [LEVEL_STRONG] = "strong",
    [LEVEL_WEAK] = "weak",
    [LEVEL_NONE] = "none",
    [LEVEL_AUTO] = "auto",
};

/* ---- parameters ---- */

static bool read_level(struct conn *conn)
{
    struct reading *reading = &conn->request.reading;
    struct bytes level;
    if (!api_get_param(conn, PARAM_LEVEL, &level)) {
        reading->level =
            api_flag(conn, PARAM_STALE) && !api_flag(conn, PARAM_CONSISTENT)
                ? LEVEL_NONE
                : LEVEL_LINEARIZABLE;
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (bytes_equal_string(level, level_names[i])) {
            reading->level = (enum read_level)i;
            return true;
        }
    }
    return api_bad_param(conn,
                         "level is linearizable, strong, weak, none or auto");
}

static bool read_freshness(struct conn *conn)
{
    struct reading *reading = &conn->request.reading;
    struct bytes value;
    reading->fresh_ms = UINT64_MAX;
    reading->fresh_strict = api_flag(conn, PARAM_FRESHNESS_STRICT);
    return !api_get_param(conn, PARAM_FRESHNESS, &value) ||
           text_duration_ms(value, &reading->fresh_ms) ||
           api_bad_param(conn, "freshness is a duration such as 500ms or 2s");
}

static bool read_min_index(struct conn *conn,
                           const struct http_request *request)
{
    struct reading *reading = &conn->request.reading;
    struct bytes value;
    uint64_t index = 0;
    bool good = !api_get_param(conn, PARAM_MIN_INDEX, &value) ||
                json_u64(value, &reading->index);
    value = http_header(request, "Craftd-Min-Index");
    good = good && (!value.data || json_u64(value, &index));
    /* Both given: both hold. */
    reading->index = max_u64(reading->index, index);
    return good || api_bad_param(conn, "min_index is the index of a log entry");
}

/* ---- checking ---- */

static void stale(struct conn *conn, const char *message)
{
    api_answer_problem(conn, 503, "stale", message, OUTCOME_NOT_APPLIED);
}

/* Returns whether the leader's last message is recent enough. With
 * freshness_strict, everything known to be committed must have been applied
 * too: a node that receives messages may still be behind. */
static bool is_fresh(const struct conn *conn)
{
    const struct reading *reading = &conn->request.reading;
    const struct node *node = conn->api->node;
    if (reading->fresh_ms == UINT64_MAX || node_is_leader(node)) {
        return true;
    }
    return node_last_contact_ms(node) <= reading->fresh_ms &&
           (!reading->fresh_strict ||
            node_applied(node) >= node_committed(node));
}

static void show(struct conn *conn)
{
    struct api *api = conn->api;
    api->body.size = 0;
    api->headers.size = 0;
    if (!node_is_member(api->node)) {
        api_answer_problem(conn, 503, "starting",
                           "this node is no member of a cluster yet",
                           OUTCOME_NOT_APPLIED);
    } else if (node_contradiction(api->node)) {
        api_answer_outcome(conn,
                           &(struct node_result){.outcome = NODE_QUARANTINED});
    } else if (conn->request.reading.level == LEVEL_NONE && !is_fresh(conn)) {
        char message[96] = "there was no contact with a leader since the start";
        if (node_last_contact_ms(api->node) != UINT64_MAX) {
            snprintf(message, sizeof(message),
                     "the last contact with the leader was %llu ms ago",
                     (unsigned long long)node_last_contact_ms(api->node));
        }
        stale(conn,
              node_last_contact_ms(api->node) > conn->request.reading.fresh_ms
                  ? message
                  : "not everything committed has been applied here");
    } else {
        conn->request.reading.show(conn);
    }
}

void api_add_read_headers(struct conn *conn)
{
    struct buf *headers = &conn->api->headers;
    http_add_header(headers, "Craftd-Level",
                    bytes_of_string(level_names[conn->request.reading.level]));
    uint64_t contact_ms = node_last_contact_ms(conn->api->node);
    if (!node_is_leader(conn->api->node) && contact_ms != UINT64_MAX) {
        http_add_header_u64(headers, "Craftd-Last-Contact", contact_ms);
    }
}

/* ---- waiting ---- */

static void finish_wait(struct conn *conn, const struct node_result *result)
{
    if (result->outcome == NODE_NO_LEADER) {
        char message[96];
        snprintf(message, sizeof(message),
                 "entry %llu was not applied here within the time-out",
                 (unsigned long long)conn->request.reading.index);
        conn->api->headers.size = 0;
        stale(conn, message);
    } else if (result->outcome == NODE_OK) {
        api_read_wait(conn);
    } else {
        conn->api->headers.size = 0;
        api_answer_outcome(conn, result);
    }
}

static bool has_time(struct api *api)
{
    uint64_t turn = reactor_turns(api->options.reactor);
    if (api->reads.turn != turn) {
        api->reads.turn = turn;
        api->reads.us = 0;
    }
    return api->reads.us < TURN_US;
}

/* Returns whether the state has what the read needs. False: the read waits for
 * it. */
static bool may_be_shown(struct conn *conn)
{
    struct node *node = conn->api->node;
    struct reading *reading = &conn->request.reading;
    if (node_applied(node) >= reading->index) {
        return true;
    }
    conn->busy = true;
    conn->request.finish = finish_wait;
    node_wait(node, &conn->request.call, reading->index);
    return false;
}

static void show_timed(struct conn *conn)
{
    struct api *api = conn->api;
    uint64_t start_us = node_now_us(api->node);
    show(conn);
    api->reads.us += node_now_us(api->node) - start_us;
}

static void on_read_turn(void *arg);

/* In the next turn: a timer of 0 ms could fire again in this one. */
static void wake(struct api *api)
{
    struct reactor *reactor = api->options.reactor;
    timer_arm(reactor, &api->reads.timer, reactor_now_ms(reactor) + 1,
              on_read_turn, api);
}

static void on_read_turn(void *arg)
{
    struct api *api = arg;
    while (!list_empty(&api->reads.waiting) && has_time(api)) {
        struct conn *conn = container_of(api->reads.waiting.next, struct conn,
                                         request.read_link);
        list_remove(&conn->request.read_link);
        if (may_be_shown(conn)) {
            conn->answer.index =
                max_u64(conn->answer.index, node_applied(api->node));
            show_timed(conn);
        }
    }
    if (!list_empty(&api->reads.waiting)) {
        wake(api);
    }
}

void api_read_wait(struct conn *conn)
{
    struct api *api = conn->api;
    must(conn->request.reading.show && list_empty(&conn->request.read_link));
    if (!may_be_shown(conn)) {
        return;
    }
    if (has_time(api) && list_empty(&api->reads.waiting)) {
        show_timed(conn);
        return;
    }
    conn->busy = true;
    if (list_empty(&api->reads.waiting)) {
        wake(api);
    }
    list_add(&api->reads.waiting, &conn->request.read_link);
}

void api_read_close(struct conn *conn)
{
    list_remove(&conn->request.read_link);
}

/* The index of a linearizable read, or of the entry of a strong one, is known.
 */
static void finish_index(struct conn *conn, const struct node_result *result)
{
    struct reading *reading = &conn->request.reading;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        reading->index = max_u64(reading->index, result->index);
        api_read_wait(conn);
    } else if (result->outcome == NODE_UNKNOWN) {
        /* The entry has no effect, whether it is committed or not. */
        api_answer_problem(conn, 504, "commit-timeout",
                           "no decision within the time-out",
                           OUTCOME_NOT_APPLIED);
    } else {
        api_answer_outcome(conn, result);
    }
}

static void ask_log(struct conn *conn)
{
    struct command_writer writer;
    conn->api->command.size = 0;
    command_begin(&writer, &conn->api->command);
    command_end(&writer);
    node_write(conn->api->node, &conn->request.call,
               buf_bytes(&conn->api->command));
}

/* Replace the level that was asked for by the one that it means here. */
static void settle_level(struct conn *conn)
{
    struct reading *reading = &conn->request.reading;
    const struct node *node = conn->api->node;
    if (reading->level == LEVEL_AUTO) {
        reading->level = node_is_voter(node) ? LEVEL_LINEARIZABLE : LEVEL_NONE;
    }
    if (reading->level == LEVEL_WEAK &&
        (!node_is_leader(node) || node_foreign(node))) {
        reading->level = LEVEL_LINEARIZABLE;
    }
}

void api_read_latest(struct conn *conn, void (*cb)(struct conn *conn))
{
    conn->request.reading = (struct reading){
        .level = LEVEL_LINEARIZABLE, .fresh_ms = UINT64_MAX, .show = cb};
    conn->busy = true;
    conn->request.finish = finish_index;
    node_read(conn->api->node, &conn->request.call);
}

void api_read_start(struct conn *conn, const struct http_request *request,
                    void (*cb)(struct conn *conn))
{
    struct reading *reading = &conn->request.reading;
    *reading = (struct reading){.show = cb};
    if (!read_level(conn) || !read_freshness(conn) ||
        !read_min_index(conn, request) || !api_read_timeout(conn)) {
        return;
    }
    if (reading->level != LEVEL_NONE && api_redirected(conn, request)) {
        return;
    }
    settle_level(conn);
    if (reading->level == LEVEL_NONE || reading->level == LEVEL_WEAK) {
        api_read_wait(conn);
        return;
    }
    conn->busy = true;
    conn->request.finish = finish_index;
    if (reading->level == LEVEL_STRONG) {
        ask_log(conn);
    } else {
        node_read(conn->api->node, &conn->request.call);
    }
}
