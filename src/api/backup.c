/* backup.c -- GET /backup: the database as a file, in pieces, as fast as the
 * client takes them. While one is being sent, what writes overwrite is kept for
 * it, as much as it has bytes at most, a snapshot that has come must wait, and
 * one of few places is taken. So a client that takes nothing for half a minute
 * is left, and so is one that takes less than a mebibyte a second while
 * somebody waits for that: a snapshot, or another backup. */
#include "api/api_internal.h"
#include "base/log.h"
#include "base/text.h"

enum {
    PIECE_BYTES = 64 << 10,
    QUEUE_BYTES = 128 << 10, /* With a piece, below what stops reading. */
    STALL_MS = 30000,
    BYTES_PER_MS = 1 << 10, /* Slower ones are left, after that time. */
};

static void on_time(void *arg);

static void wake(struct conn *conn, uint64_t in_ms)
{
    struct reactor *reactor = conn->api->options.reactor;
    timer_arm(reactor, &conn->timer, reactor_now_ms(reactor) + in_ms, on_time,
              conn);
}

void backup_close(struct conn *conn)
{
    if (conn->backup) {
        node_image_close(conn->backup);
        conn->backup = NULL;
    }
}

static void finish(struct conn *conn)
{
    backup_close(conn);
    timer_cancel(conn->api->options.reactor, &conn->timer);
    answered(conn);
}

void backup_go_on(struct conn *conn)
{
    bool any = false;
    while (conn->backup_at < conn->backup_bytes &&
           stream_output_bytes(conn->stream) < QUEUE_BYTES) {
        size_t size =
            (size_t)min_u64(PIECE_BYTES, conn->backup_bytes - conn->backup_at);
        struct buf *out = stream_output(conn->stream);
        if (node_image_read(conn->backup, buf_reserve(out, size), size)) {
            /* The length was promised: the end of it all is the only word. */
            conn->keep_alive = false;
            finish(conn);
            return;
        }
        out->size += size;
        conn->backup_at += size;
        conn->backup_moved_ms = reactor_now_ms(conn->api->options.reactor);
        any = true;
    }
    if (conn->backup_at == conn->backup_bytes) {
        finish(conn);
        return;
    }
    /* What leaves at the end of this turn makes room without a word. */
    wake(conn, any ? 1 : STALL_MS / 3);
}

static bool is_slow(const struct conn *conn, uint64_t now_ms)
{
    return now_ms >
           conn->backup_begun_ms + STALL_MS + conn->backup_at / BYTES_PER_MS;
}

static void drop_slow(struct conn *conn)
{
    conn_log_slow(conn, "backup", conn->backup_at, conn->backup_bytes,
                  conn->backup_begun_ms);
    conn_drop(conn);
}

static void on_time(void *arg)
{
    struct conn *conn = arg;
    uint64_t now_ms = reactor_now_ms(conn->api->options.reactor);
    bool full = stream_output_bytes(conn->stream) >= QUEUE_BYTES;
    if ((full && now_ms >= conn->backup_moved_ms + STALL_MS) ||
        (is_slow(conn, now_ms) && node_image_awaited(conn->api->node))) {
        drop_slow(conn);
        return;
    }
    backup_go_on(conn);
}

/* Of those that are slow, the one that has been at it longest gives its place
 * to another backup. */
static bool make_place(struct api *api)
{
    uint64_t now_ms = reactor_now_ms(api->options.reactor);
    struct conn *slow = NULL;
    for (struct list *at = api->conns.next; at != &api->conns; at = at->next) {
        struct conn *conn = container_of(at, struct conn, link);
        if (conn->backup && is_slow(conn, now_ms) &&
            (!slow || conn->backup_begun_ms < slow->backup_begun_ms)) {
            slow = conn;
        }
    }
    if (slow) {
        drop_slow(slow);
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
        answer_outcome(conn, result);
        return;
    }
    enum err err =
        result->outcome == NODE_NO_SPACE
            ? ERR_NOSPACE
            : node_image_open(api->node, &conn->backup, &index, &bytes);
    if (err == ERR_BUSY && make_place(api)) {
        err = node_image_open(api->node, &conn->backup, &index, &bytes);
    }
    if (err == ERR_NOT_FOUND) {
        answer_problem(conn, 503, "starting", "no member of a cluster yet",
                       NULL);
        return;
    }
    if (err == ERR_BUSY) {
        answer_problem(conn, 429, "overloaded", "other backups are being taken",
                       NULL);
        return;
    }
    if (err) {
        answer_problem(conn, 507, "no-space",
                       "there is no room to bring the database up to date",
                       NULL);
        return;
    }
    conn->backup_at = 0;
    conn->backup_begun_ms = reactor_now_ms(api->options.reactor);
    conn->backup_bytes = bytes;
    conn->index = index;
    node_get_status(api->node, &status);
    add_read_headers(conn);
    buf_add_string(&api->headers,
                   "Content-Disposition: attachment; filename=\"craftd-");
    text_add_hex(&api->headers, status.cluster, 4);
    buf_printf(&api->headers, "-%llu.db\"\r\nETag: \"%llu\"\r\n",
               (unsigned long long)index, (unsigned long long)index);
    answer_head(conn, 200, "application/vnd.sqlite3", bytes);
    if (conn->head_only) {
        finish(conn);
    } else {
        backup_go_on(conn);
    }
}

/* What is to be in it has been applied: now into the file. */
static void ready(struct conn *conn)
{
    conn->busy = true;
    conn->finish = start;
    node_checkpoint(conn->api->node, &conn->request);
}

void on_backup(struct conn *conn, const struct http_request *request)
{
    struct bytes format;
    if (get_param(conn, PARAM_FORMAT, &format) &&
        !bytes_equal_string(format, "sqlite")) {
        answer_problem(
            conn, 400, "bad-param",
            "a backup is in the format sqlite (GET /keys has others)", NULL);
        return;
    }
    read_start(conn, request, ready);
}
