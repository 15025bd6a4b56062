/* restore.c -- POST /restore: a backup becomes the content of the cluster.
 *
 * The body is written to a file as it is received, and all its rows are
 * checked, a slice per turn of the event loop. Only then entries are proposed:
 * the rows are staged in the state machine, apart from the data, in one batch
 * at a time so that other writes come between; and a last entry replaces the
 * data by them. Before that entry nothing of the restore is visible, and it can
 * be abandoned.
 *
 * A step whose outcome is unknown is repeated: the state machine applies each
 * once (command.h). So the leader may change meanwhile; the outcome of the
 * restore is unknown only when the last step remains without an answer. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/restore_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "base/list.h"
#include "base/log.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"

enum {
    BATCH_ROWS_MAX = 1000,
    BATCH_BYTES_MAX = 256 << 10,
    ROW_BYTES = 48, /* Overhead of a row in the database. */
    SLICE_US = 2000,
    AGAIN_MS = 200,
    FREE_CHECK_BYTES = 1 << 20,
    IN_MEMORY_BYTES_MAX = 1 << 30,
    DISK_TEXT_BYTES = 192,
};

static void go_on(void *arg);

static void wake(struct restore *restore, uint64_t in_ms)
{
    struct reactor *reactor = restore->api->options.reactor;
    timer_arm(reactor, &restore->timer, reactor_now_ms(reactor) + in_ms, go_on,
              restore);
}

/* ---- ending it ---- */

static void drop_upload(struct restore *restore)
{
    store_upload_free(restore->upload);
    restore->upload = NULL;
    timer_cancel(restore->api->options.reactor, &restore->timer);
}

static void write_step(struct restore *restore);

/* Abandon the restore without an answer. If the cluster has rows of it, ask it
 * to drop them. */
static void abandon(struct restore *restore)
{
    struct reactor *reactor = restore->api->options.reactor;
    bool is_staged = restore->stage >= RESTORE_BEGIN;
    restore->conn = NULL;
    drop_upload(restore);
    restore->stage = is_staged ? RESTORE_ABORT : RESTORE_NONE;
    if (is_staged) {
        restore->deadline_ms = reactor_now_ms(reactor) + restore->patience_ms;
        write_step(restore);
    }
}

static void fail_outcome(struct restore *restore,
                         const struct node_result *result)
{
    struct conn *conn = restore->conn;
    abandon(restore);
    if (conn) {
        api_answer_outcome(conn, result);
    }
}

static void fail(struct restore *restore, int status, const char *code,
                 const char *message)
{
    struct conn *conn = restore->conn;
    bool received = restore->stage != RESTORE_RECEIVE;
    abandon(restore);
    if (conn) {
        conn->api->body.size = 0;
        conn->api->headers.size = 0;
        conn->output.keep_alive = conn->output.keep_alive && received;
        api_answer_problem(conn, status, code, message, OUTCOME_NOT_APPLIED);
    }
}

static void row_too_large(struct restore *restore)
{
    char message[96];
    snprintf(message, sizeof(message),
             "the backup has a value over %llu bytes (--max-value)",
             (unsigned long long)restore->api->options.value_bytes_max);
    fail(restore, 413, "too-large", message);
}

/* Answer an error of the uploaded file. */
static void fail_err(struct restore *restore, enum err err, const char *why)
{
    if (err == ERR_NOSPACE) {
        fail(restore, 507, "no-space",
             "there is no room for the upload: free space on the disk");
    } else if (err == ERR_RESOURCES) {
        fail(restore, 429, "overloaded",
             "the process is out of descriptors or memory (ulimit -n, "
             "--max-conns)");
    } else if (err == ERR_CORRUPT || err == ERR_VERSION) {
        fail(restore, 415, "not-sqlite", why);
    } else if (err == ERR_TOO_BIG) {
        row_too_large(restore);
    } else {
        fail(restore, 500, "internal", "the uploaded file cannot be read back");
    }
}

static void succeed(struct restore *restore, const struct result *result)
{
    struct conn *conn = restore->conn;
    restore->conn = NULL;
    restore->stage = RESTORE_NONE;
    drop_upload(restore);
    if (!conn) {
        return;
    }
    struct buf *body = &conn->api->body;
    body->size = 0;
    conn->api->headers.size = 0;
    conn->answer.index = max_u64(result->index, node_applied(conn->api->node));
    buf_printf(body, "{\"index\":%llu,\"keys\":%llu}\n",
               (unsigned long long)result->index,
               (unsigned long long)result->keys);
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

/* ---- the steps ---- */

/* Write the current step, or write it again: restore->command. */
static void write_step(struct restore *restore)
{
    struct command_writer writer;
    struct command_restore step = {.id = restore->id};
    must(restore->stage >= RESTORE_BEGIN);
    if (restore->stage != RESTORE_ROWS) {
        restore->command.size = 0;
        step.step = restore->stage == RESTORE_BEGIN    ? COMMAND_RESTORE_BEGIN
                    : restore->stage == RESTORE_COMMIT ? COMMAND_RESTORE_COMMIT
                                                       : COMMAND_RESTORE_ABORT;
        step.keys = restore->applied_rows;
        step.hash = restore->hash;
        command_restore(&writer, &restore->command, &step);
    }
    restore->request.deadline_ms = restore->deadline_ms;
    node_write(restore->api->node, &restore->request,
               buf_bytes(&restore->command));
}

static void next_step(struct restore *restore, enum restore_stage stage)
{
    restore->stage = stage;
    restore->uncertain = false;
    restore->deadline_ms =
        reactor_now_ms(restore->api->options.reactor) + restore->patience_ms;
}

/* Put the next rows into restore->command. A row that does not fit is the first
 * of the next batch. ERR_NOT_FOUND: there are no more rows. */
static enum err gather(struct restore *restore)
{
    struct command_writer writer;
    enum err err = ERR_OK;
    restore->command.size = 0;
    command_restore(&writer, &restore->command,
                    &(struct command_restore){.step = COMMAND_RESTORE_ROWS,
                                              .id = restore->id,
                                              .keys = restore->applied_rows});
    for (int looked = 0; looked < BATCH_ROWS_MAX; looked++) {
        if (!restore->has_row) {
            err = store_upload_next(restore->upload, &restore->key,
                                    &restore->value);
        }
        if (err) {
            break;
        }
        if (!restore->has_row && store_upload_is_leased(restore->upload)) {
            continue;
        }
        restore->has_row =
            writer.count > 0 &&
            restore->command.size + restore->key.size + restore->value.size >
                BATCH_BYTES_MAX;
        if (restore->has_row) {
            break;
        }
        command_restore_row(&writer, restore->key, restore->value);
    }
    command_end(&writer);
    restore->batch_rows = writer.count;
    return err == ERR_NOT_FOUND && writer.count > 0 ? ERR_OK : err;
}

static void send_rows(struct restore *restore)
{
    enum err err = gather(restore);
    if (err == ERR_NOT_FOUND) {
        next_step(restore, RESTORE_COMMIT);
        write_step(restore);
    } else if (err) {
        fail_err(restore, err, "the backup is damaged: its index of keys");
    } else if (restore->batch_rows == 0) {
        wake(restore, 0); /* All of these rows are to be left out. */
    } else {
        next_step(restore, RESTORE_ROWS);
        write_step(restore);
    }
}

static void superseded(struct restore *restore)
{
    fail(restore, 409, "superseded",
         "another restore has begun, or this one was aborted as too slow");
}

static void step_done(struct restore *restore, const struct result *result)
{
    bool done = result->status == RESULT_RESTORE;
    enum err err;
    switch (restore->stage) {
    case RESTORE_BEGIN:
        err = store_upload_begin(restore->upload, true);
        if (err) {
            fail_err(restore, err, "the backup has no index of its keys");
            return;
        }
        next_step(restore, RESTORE_ROWS);
        wake(restore, 0);
        return;
    case RESTORE_ROWS:
        /* An earlier attempt may have been applied without an answer. */
        if (!done &&
            !(restore->uncertain &&
              result->keys == restore->applied_rows + restore->batch_rows)) {
            superseded(restore);
            return;
        }
        restore->hash =
            command_restore_hash(restore->hash, buf_bytes(&restore->command));
        restore->applied_rows += restore->batch_rows;
        restore->batch_rows = 0;
        wake(restore, 0);
        return;
    case RESTORE_COMMIT:
        if (done) {
            succeed(restore, result);
        } else if (restore->uncertain) {
            /* It was applied, and another restore has followed; or it was
             * not applied. */
            fail_outcome(restore,
                         &(struct node_result){.outcome = NODE_UNKNOWN});
        } else {
            superseded(restore);
        }
        return;
    case RESTORE_NONE:
    case RESTORE_RECEIVE:
    case RESTORE_CHECK:
    case RESTORE_ABORT:
        break;
    }
    restore->stage = RESTORE_NONE;
}

/* The step was not applied, or its outcome is unknown. */
static void step_failed(struct restore *restore,
                        const struct node_result *result)
{
    uint64_t now_ms = reactor_now_ms(restore->api->options.reactor);
    bool later =
        result->outcome != NODE_NO_SPACE && result->outcome != NODE_TOO_BIG &&
        result->outcome != NODE_SECOND_CLUSTER && !restore->api->stopping &&
        now_ms + AGAIN_MS < restore->deadline_ms;
    restore->uncertain = restore->uncertain || result->outcome == NODE_UNKNOWN;
    if (later) {
        restore->is_repeat_due = true;
        wake(restore, AGAIN_MS);
    } else if (restore->stage == RESTORE_ABORT) {
        restore->stage = RESTORE_NONE; /* The leader aborts it in time. */
    } else if (restore->stage == RESTORE_COMMIT && restore->uncertain) {
        fail_outcome(restore, &(struct node_result){.outcome = NODE_UNKNOWN});
    } else {
        /* The steps before the last one change nothing visible. */
        struct node_result clear = *result;
        if (clear.outcome == NODE_UNKNOWN) {
            clear.outcome = NODE_NO_LEADER;
        }
        fail_outcome(restore, &clear);
    }
}

static void on_step(struct node_request *request,
                    const struct node_result *result)
{
    struct restore *restore = container_of(request, struct restore, request);
    struct result_reader reader;
    if (result->outcome != NODE_OK) {
        step_failed(restore, result);
        return;
    }
    enum err err = result_open(&reader, result->data);
    must(err == ERR_OK); /* The node has checked what came from elsewhere. */
    step_done(restore, &reader.head);
}

/* ---- checking it ---- */

static bool has_room(const struct restore *restore)
{
    struct node_status status;
    uint64_t max = restore->api->options.db_bytes_max;
    node_get_status(restore->api->node, &status);
    return max == 0 || status.used_bytes + restore->row_bytes < max;
}

static void finish_check(struct restore *restore)
{
    if (!has_room(restore)) {
        char message[128];
        snprintf(message, sizeof(message),
                 "the data and the backup together are over %llu bytes "
                 "(--max-db): delete keys first",
                 (unsigned long long)restore->api->options.db_bytes_max);
        fail(restore, 507, "no-space", message);
        return;
    }
    next_step(restore, RESTORE_BEGIN);
    write_step(restore);
}

static void check_some(struct restore *restore)
{
    struct api *api = restore->api;
    uint64_t until_us = api->options.now_us(api->options.arg) + SLICE_US;
    do {
        struct bytes key;
        struct bytes value;
        enum err err = store_upload_next(restore->upload, &key, &value);
        if (err == ERR_NOT_FOUND) {
            finish_check(restore);
            return;
        }
        if (!err && api_key_wrong(key)) {
            err = ERR_CORRUPT;
        }
        if (err) {
            fail_err(restore, err, "the backup is damaged");
            return;
        }
        if (value.size > api->options.value_bytes_max) {
            row_too_large(restore);
            return;
        }
        restore->row_bytes += key.size * 2 + value.size + ROW_BYTES;
    } while (api->options.now_us(api->options.arg) < until_us);
    wake(restore, 0);
}

static void open_upload(struct restore *restore)
{
    const char *why = "";
    enum err err = store_upload_open(
        restore->upload, restore->api->options.value_bytes_max, &why);
    if (!err) {
        err = store_upload_begin(restore->upload, false);
    }
    if (err) {
        fail_err(restore, err, why);
        return;
    }
    restore->opened = true;
    wake(restore, 0);
}

static void go_on(void *arg)
{
    struct restore *restore = arg;
    if (restore->is_repeat_due) {
        restore->is_repeat_due = false;
        write_step(restore);
    } else if (restore->api->stopping) {
        fail(restore, 503, "stopping", "this node is stopping");
    } else if (restore->stage == RESTORE_ROWS) {
        send_rows(restore);
    } else if (restore->opened) {
        check_some(restore);
    } else {
        open_upload(restore);
    }
}

/* ---- the request ---- */

/* True if the disk has room for a backup of `bytes` bytes, of which `received`
 * are on it already. False: `message` says what is missing. */
static bool disk_has_room(const struct api *api, uint64_t bytes,
                          uint64_t received, char message[DISK_TEXT_BYTES])
{
    uint64_t free_bytes;
    uint64_t needed = node_restore_bytes(api->node, bytes) - received;
    if (!api->options.free_bytes ||
        !api->options.free_bytes(api->options.arg, &free_bytes) ||
        free_bytes >= needed) {
        return true;
    }
    snprintf(message, DISK_TEXT_BYTES,
             "the disk has no room for the upload, the database made of it and "
             "the log: %llu bytes are needed, %llu are free",
             (unsigned long long)needed, (unsigned long long)free_bytes);
    return false;
}

/* Upper bound on the body: it is no larger than the database may be. */
static uint64_t bytes_max(const struct api *api)
{
    uint64_t free_bytes;
    if (api->options.db_bytes_max > 0) {
        return api->options.db_bytes_max;
    }
    return api->options.free_bytes &&
                   api->options.free_bytes(api->options.arg, &free_bytes)
               ? UINT64_MAX
               : IN_MEMORY_BYTES_MAX;
}

static void too_large(struct conn *conn)
{
    char message[96];
    snprintf(message, sizeof(message), "the backup is over %llu bytes (%s)",
             (unsigned long long)bytes_max(conn->api),
             conn->api->options.db_bytes_max > 0 ? "--max-db"
                                                 : "the node is in memory");
    api_answer_problem(conn, 413, "too-large", message, OUTCOME_NOT_APPLIED);
}

static bool is_slow(const struct restore *restore)
{
    return restore->stage == RESTORE_RECEIVE &&
           api_body_is_slow_upload(restore->conn, restore->begin_ms,
                                   restore->received_bytes);
}

static void end_slow(struct restore *restore)
{
    uint64_t took_ms =
        reactor_now_ms(restore->api->options.reactor) - restore->begin_ms;
    log_warn("slow-upload",
             "at=%s received=%llu seconds=%llu bytes_per_second=%llu limit=%d "
             "why=\"another restore takes its place\"",
             stream_peer_text(restore->conn->stream),
             (unsigned long long)restore->received_bytes,
             (unsigned long long)took_ms / 1000,
             (unsigned long long)(restore->received_bytes * 1000 / took_ms),
             BODY_UPLOAD_BYTES_PER_S);
    api_conn_refuse_partial(restore->conn, 408, "request-timeout",
                            "the upload was slower than 64 kB/s, and another "
                            "restore has taken its place");
    restore->api->headers.size = 0;
    restore->api->body.size = 0;
}

/* Returns whether the head of the request allows the restore. False: answered.
 */
static bool is_allowed(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct node_status status;
    char message[DISK_TEXT_BYTES];
    if (!api_read_timeout(conn) || api_redirected(conn, request)) {
        return false;
    }
    if (api_has_conditions(conn, request) ||
        http_header(request, "Idempotency-Key").data) {
        api_answer_problem(
            conn, 400, "bad-request",
            "a restore takes no conditions and no Idempotency-Key",
            OUTCOME_NOT_APPLIED);
        return false;
    }
    if (api->restore.stage != RESTORE_NONE && !is_slow(&api->restore)) {
        api_answer_problem(conn, 429, "overloaded",
                           "another restore is running at this node",
                           OUTCOME_NOT_APPLIED);
        return false;
    }
    if (request->content_length > bytes_max(api)) {
        too_large(conn);
        return false;
    }
    node_get_status(api->node, &status);
    if (status.no_space || status.over_quota) {
        api_answer_outcome(conn,
                           &(struct node_result){.outcome = NODE_NO_SPACE});
        return false;
    }
    if (!disk_has_room(api, request->content_length, 0, message)) {
        api_answer_problem(conn, 507, "no-space", message, OUTCOME_NOT_APPLIED);
        return false;
    }
    if (api->restore.stage != RESTORE_NONE) {
        end_slow(&api->restore);
    }
    return true;
}

static void take(struct conn *conn, struct bytes piece)
{
    struct restore *restore = &conn->api->restore;
    uint64_t before = restore->received_bytes;
    char message[DISK_TEXT_BYTES];
    must(restore->conn == conn && restore->stage == RESTORE_RECEIVE);
    restore->received_bytes += piece.size;
    if (restore->received_bytes > bytes_max(conn->api)) {
        abandon(restore);
        conn->output.keep_alive = false;
        too_large(conn);
        return;
    }
    /* The bytes received so far are no longer free. */
    if (before / FREE_CHECK_BYTES !=
            restore->received_bytes / FREE_CHECK_BYTES &&
        !disk_has_room(conn->api, restore->received_bytes,
                       restore->received_bytes, message)) {
        fail(restore, 507, "no-space", message);
        return;
    }
    enum err err = store_upload_add(restore->upload, piece);
    if (err) {
        fail_err(restore, err, "");
    }
}

static void complete(struct conn *conn)
{
    struct restore *restore = &conn->api->restore;
    must(restore->conn == conn && restore->stage == RESTORE_RECEIVE);
    conn->busy = true;
    restore->stage = RESTORE_CHECK;
    wake(restore, 0);
}

static void close_sink(struct conn *conn)
{
    struct restore *restore = &conn->api->restore;
    if (restore->conn == conn) {
        node_cancel(conn->api->node, &restore->request);
        restore->is_repeat_due = false;
        abandon(restore);
    }
}

static const struct body_sink sink = {
    .take = take,
    .complete = complete,
    .close = close_sink,
};

static void begin(struct conn *conn)
{
    struct api *api = conn->api;
    struct restore *restore = &api->restore;
    struct store_upload *upload = NULL;
    must(restore->stage == RESTORE_NONE);
    enum err err = node_upload_new(api->node, &upload);
    if (err) {
        api_answer_problem(conn, err == ERR_NOT_FOUND ? 503 : 507,
                           err == ERR_NOT_FOUND ? "starting" : "no-space",
                           err == ERR_NOT_FOUND
                               ? "this node is no member of a cluster yet"
                               : "there is no room for the upload",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    /* The memory of these two is kept for the next restore. */
    struct node_request request = restore->request;
    struct buf command = restore->command;
    *restore = (struct restore){
        .api = api,
        .conn = conn,
        .stage = RESTORE_RECEIVE,
        .begin_ms = conn->request.start_ms,
        .upload = upload,
        .request = request,
        .command = command,
        .id = node_random(api->node),
        .patience_ms = conn->request.call.deadline_ms - conn->request.start_ms,
    };
    restore->request.cb = on_step;
    api_body_receive(conn, &sink);
}

void api_on_restore(struct conn *conn, const struct http_request *request)
{
    must(request->streamed);
    if (is_allowed(conn, request)) {
        begin(conn);
    }
}

void api_restore_free(struct api *api)
{
    struct restore *restore = &api->restore;
    if (restore->stage != RESTORE_NONE) {
        node_cancel(api->node, &restore->request);
        drop_upload(restore);
        restore->stage = RESTORE_NONE;
    }
    if (restore->api) {
        node_request_free(&restore->request);
        buf_free(&restore->command);
    }
}
