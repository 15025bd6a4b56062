/* backup.c -- GET /backup: the database as a file, in pieces, as fast as the
 * client takes them. While a backup is being sent, the pages that writes
 * replace are retained for it (at most its own size), a received snapshot has
 * to wait, and one of few places is taken. So a client that takes nothing for
 * half a minute is dropped, and so is one that takes less than a mebibyte per
 * second while a snapshot or another backup waits. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "base/list.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"

/* Together with a piece of 64 KiB, this is less than the output at which a
 * connection stops reading (server.c). */
enum { QUEUE_BYTES = 128 << 10 };

static enum err pull(struct conn *conn, struct buf *out, size_t size)
{
    enum err err =
        node_image_read(conn->state.backup.image, buf_reserve(out, size), size);
    if (!err) {
        out->size += size;
    }
    return err;
}

static void close_image(struct conn *conn)
{
    node_image_close(conn->state.backup.image);
    conn->state.backup.image = NULL;
}

static bool is_awaited(const struct conn *conn)
{
    return node_image_awaited(conn->api->node);
}

static const struct body_source source = {
    .name = "backup",
    .queue_bytes = QUEUE_BYTES,
    .pull = pull,
    .close = close_image,
    .is_awaited = is_awaited,
};

/* Drop the slow client whose backup began first, to make a place. False: none
 * is slow. */
static bool make_place(struct api *api)
{
    struct conn *slow = NULL;
    for (struct list *at = api->conns.all.next; at != &api->conns.all;
         at = at->next) {
        struct conn *conn = container_of(at, struct conn, link);
        if (conn->answer.body.source == &source && api_body_is_slow(conn) &&
            (!slow ||
             conn->answer.body.begin_ms < slow->answer.body.begin_ms)) {
            slow = conn;
        }
    }
    if (slow) {
        api_body_drop_slow(slow);
    }
    return slow != NULL;
}

static void start(struct conn *conn, const struct node_result *result)
{
    struct api *api = conn->api;
    struct node_status status;
    uint64_t index;
    uint64_t bytes;
    api->body.size = 0;
    api->headers.size = 0;
    if (result->outcome != NODE_OK && result->outcome != NODE_NO_SPACE) {
        api_answer_outcome(conn, result);
        return;
    }
    enum err err = result->outcome == NODE_NO_SPACE
                       ? ERR_NOSPACE
                       : node_image_open(api->node, &conn->state.backup.image,
                                         &index, &bytes);
    if (err == ERR_BUSY) {
        api_exports_close_unread(api);
        err = node_image_open(api->node, &conn->state.backup.image, &index,
                              &bytes);
    }
    if (err == ERR_BUSY && make_place(api)) {
        err = node_image_open(api->node, &conn->state.backup.image, &index,
                              &bytes);
    }
    if (err == ERR_NOT_FOUND) {
        api_answer_problem(conn, 503, "starting",
                           "this node is no member of a cluster yet",
                           OUTCOME_NONE);
        return;
    }
    if (err == ERR_BUSY) {
        api_answer_problem(conn, 429, "overloaded",
                           "too many backups are in progress: try again later",
                           OUTCOME_NONE);
        return;
    }
    if (err) {
        api_answer_problem(conn, 507, "no-space",
                           "the disk has no room to bring the database up to "
                           "date: free some space",
                           OUTCOME_NONE);
        return;
    }
    conn->answer.index = index;
    node_get_status(api->node, &status);
    api_add_read_headers(conn);
    buf_add_string(&api->headers,
                   "Content-Disposition: attachment; filename=\"craftd-");
    text_add_hex(&api->headers, status.cluster, 4);
    buf_printf(&api->headers, "-%llu.db\"\r\nETag: \"%llu\"\r\n",
               (unsigned long long)index, (unsigned long long)index);
    api_answer_head(conn, 200, "application/vnd.sqlite3", bytes);
    if (conn->answer.head_only) {
        close_image(conn);
        api_answered(conn);
    } else {
        api_body_send(conn, &source, bytes);
    }
}

/* Everything that the backup has to hold is applied: write it to the database
 * file first. */
static void ready(struct conn *conn)
{
    conn->busy = true;
    conn->request.finish = start;
    node_checkpoint(conn->api->node, &conn->request.call);
}

void api_on_backup(struct conn *conn, const struct http_request *request)
{
    struct bytes format;
    if (api_get_param(conn, PARAM_FORMAT, &format) &&
        !bytes_equal_string(format, "sqlite")) {
        api_answer_problem(
            conn, 400, "bad-param",
            "a backup is in the format sqlite (GET /keys has others)",
            OUTCOME_NONE);
        return;
    }
    api_read_start(conn, request, ready);
}
