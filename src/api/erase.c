/* erase.c -- deleting many keys, by prefix or by pattern.
 *
 * The keys are looked up here, a slice per turn of the event loop, in a state
 * that has everything acknowledged before the request. They are deleted in
 * batches of one entry each, small enough for one turn of every node. Each
 * batch is atomic, all together are not: a key that is added meanwhile stays if
 * the walk has passed its place, and is deleted otherwise. A repeated request
 * goes on where this one ended.
 *
 * The entries delete by key and not by prefix: they delete exactly what this
 * walk has seen, their size is bounded whatever the prefix covers, and older
 * builds can apply them. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"

/* Bounds of a batch: those of a delete_prefix in a transaction, and one on the
 * bytes of the keys themselves. */
enum {
    BATCH_KEYS_MAX = RESULT_PREFIX_KEYS_MAX,
    BATCH_VALUES_BYTES_MAX = RESULT_PREFIX_BYTES_MAX,
    BATCH_BYTES_MAX = 256 << 10,
    /* On a full disk: fits into the space that is reserved for deletes; on a
     * small one only a single key may. */
    BATCH_KEYS_FULL = 16,
};

static void go_on(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    scan->page.size = 0;
    scan->by.erase.batch_bytes = 0;
    command_begin(&scan->by.erase.batch, &scan->page);
    api_scan_start(conn);
}

static void answer_erased(struct conn *conn)
{
    struct buf *body = &conn->api->body;
    uint64_t deleted = conn->answer.deleted;
    conn->answer.deleted = 0; /* It is in the answer, not a part of it. */
    api_scan_close(conn);
    body->size = 0;
    conn->api->headers.size = 0;
    if (deleted == 0 && conn->scan.by.erase.must_match) {
        api_answer_problem(conn, 404, "not-found", "no key matches",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    buf_printf(body, "{\"deleted\":%llu,\"index\":%llu}\n",
               (unsigned long long)deleted,
               (unsigned long long)conn->answer.index);
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

static void answer_late(struct conn *conn)
{
    api_scan_close(conn);
    api_answer_problem(conn, 504, "commit-timeout",
                       "the time-out ended before all keys were deleted: "
                       "repeat the request to delete the rest",
                       OUTCOME_NOT_APPLIED);
}

/* Go on with smaller batches, at the first key of the one that found no room.
 */
static void begin_again_smaller(struct scan *scan)
{
    struct command_reader reader;
    struct command_op first;
    enum err err = command_open(&reader, buf_bytes(&scan->page));
    if (!err) {
        err = command_next(&reader, &first);
    }
    must(!err); /* The batch was encoded here. */
    scan->from.size = 0;
    buf_add_bytes(&scan->from, first.key);
    scan->by.erase.batch_keys_max =
        scan->by.erase.batch_keys_max > BATCH_KEYS_FULL ? BATCH_KEYS_FULL : 1;
}

static void finish_batch(struct conn *conn, const struct node_result *result)
{
    struct scan *scan = &conn->scan;
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_NO_SPACE && scan->by.erase.batch_keys_max > 1) {
        begin_again_smaller(scan);
        go_on(conn);
        return;
    }
    if (result->outcome != NODE_OK) {
        api_scan_close(conn);
        api_answer_outcome(conn, result);
        return;
    }
    conn->answer.deleted += result->deleted;
    conn->answer.index = result->index;
    if (!scan->more) {
        answer_erased(conn);
        return;
    }
    scan->from.size = 0;
    api_scan_add_behind(&scan->from, buf_bytes(&scan->last));
    go_on(conn);
}

static void write_batch(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    command_end(&scan->by.erase.batch);
    conn->request.finish = finish_batch;
    conn->busy = true;
    node_write(conn->api->node, &conn->request.call, buf_bytes(&scan->page));
}

static enum scan_step erase_step(struct conn *conn,
                                 const struct store_pair *pair)
{
    struct scan *scan = &conn->scan;
    struct scan_erase *erase = &scan->by.erase;
    if (api_scan_is_late(conn)) {
        return SCAN_FULL;
    }
    if (!api_scan_matches(scan, pair->key)) {
        return SCAN_ON;
    }
    if (erase->batch.count == erase->batch_keys_max ||
        (erase->batch.count > 0 &&
         (erase->batch_bytes + pair->value.size > BATCH_VALUES_BYTES_MAX ||
          scan->page.size + pair->key.size > BATCH_BYTES_MAX))) {
        return SCAN_FULL;
    }
    command_delete(&erase->batch, pair->key);
    erase->batch_bytes += pair->value.size;
    return SCAN_ON;
}

static void erase_done(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    if (api_scan_is_late(conn)) {
        answer_late(conn);
    } else if (scan->by.erase.batch.count > 0) {
        write_batch(conn);
    } else {
        conn->answer.index = max_u64(conn->answer.index, scan->index);
        answer_erased(conn);
    }
}

void api_erase_start(struct conn *conn, bool must_match)
{
    struct scan *scan = &conn->scan;
    scan->step = erase_step;
    scan->done = erase_done;
    scan->perm = AUTH_WRITE;
    scan->reverse = false;
    scan->keys_only = false; /* The sizes of the values bound a batch. */
    scan->mixed = true;
    scan->pageless = false;
    scan->by.erase.batch_keys_max = BATCH_KEYS_MAX;
    scan->by.erase.must_match = must_match;
    api_read_latest(conn, go_on);
}

/* A condition is about one key, and an Idempotency-Key about one entry. */
static bool is_conditional(struct conn *conn,
                           const struct http_request *request)
{
    bool is = api_has_conditions(conn, request) ||
              http_header(request, "Idempotency-Key").data;
    if (is) {
        api_answer_problem(conn, 400, "bad-request",
                           "a deletion of many keys takes no conditions and no "
                           "Idempotency-Key (it may be repeated as it is)",
                           OUTCOME_NOT_APPLIED);
    }
    return is;
}

bool api_erase_allowed(struct conn *conn, const struct http_request *request)
{
    return api_read_timeout(conn) && !api_redirected(conn, request) &&
           !is_conditional(conn, request);
}

void api_delete_keys(struct conn *conn, const struct http_request *request)
{
    struct scan *scan = &conn->scan;
    struct bytes prefix;
    if (!api_take_text(conn, PARAM_PREFIX, &prefix)) {
        return;
    }
    if (prefix.size == 0 && !api_flag(conn, PARAM_ALL)) {
        api_answer_problem(
            conn, 400, "bad-param",
            "without a prefix all keys are deleted: confirm that with &all",
            OUTCOME_NOT_APPLIED);
        return;
    }
    if (!api_erase_allowed(conn, request)) {
        return;
    }
    api_scan_no_pattern(scan);
    scan->from.size = 0;
    scan->to.size = 0;
    buf_add_bytes(&scan->from, prefix);
    (void)api_scan_add_behind_prefix(&scan->to, prefix);
    api_erase_start(conn, false);
}
