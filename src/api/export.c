/* export.c -- GET /export: all keys and values at one index, one JSON object a
 * line.
 *
 * A read transaction would keep the -wal from being started over, and pages of
 * a list show one state each. So an export reads an image of the database
 * (store.h), as a backup does, but by keys: writes and checkpoints go on, and
 * pages that they replace are saved meanwhile, in at most as much space as the
 * database has. A client that takes nothing for half a minute is dropped, and
 * one that takes less than a mebibyte per second is, while a snapshot waits
 * (body.c). Pieces are made as the client takes them, for at most 2 ms per turn
 * of the event loop; so neither size nor pace matter to anybody else.
 *
 * The image of an index stays open for a minute after its last client has left,
 * unless a snapshot waits or another export or backup needs its place. So a
 * client that was cut off resumes with ?index= and ?after=, the last key it
 * has, here; afterwards it is answered 410. Two indexes can be read at a time,
 * by EXPORT_READERS_MAX clients in all.
 *
 * Every line has the members that an item of GET /keys has, in the order of
 * the keys' bytes; later versions may add some. The last line is
 * {"end":true,"index":I,"keys":N}: without it, the export is not complete. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/export_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    QUEUE_BYTES = 128 << 10,
    PULL_US = 2000,             /* Upper bound on the time of a piece, ... */
    PULL_CHECK_BYTES = 4 << 10, /* ... whose clock is read that often. */
    EXPORT_READERS_MAX = 8,
    LINGER_MS = 60000, /* Life of a view without readers. */
    LOOK_MS = 1000,
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* ---- views ---- */

static void close_view(struct export_view *view)
{
    must(view->image && view->readers == 0);
    node_image_close(view->image);
    *view = (struct export_view){0};
}

void api_exports_close_unread(struct api *api)
{
    for (size_t i = 0; i < EXPORT_VIEWS_MAX; i++) {
        struct export_view *view = &api->exports.views[i];
        if (view->image && view->readers == 0) {
            close_view(view);
        }
    }
}

void api_exports_free(struct api *api)
{
    timer_cancel(api->options.reactor, &api->exports.timer);
    api_exports_close_unread(api);
}

/* Close views that nobody has resumed for a while, or that something waits
 * for. */
static void on_time(void *arg)
{
    struct api *api = arg;
    bool awaited = node_image_awaited(api->node);
    bool any = false;
    for (size_t i = 0; i < EXPORT_VIEWS_MAX; i++) {
        struct export_view *view = &api->exports.views[i];
        if (view->image && view->readers == 0 &&
            (awaited || now(api) >= view->left_ms + LINGER_MS)) {
            close_view(view);
        }
        any = any || view->image;
    }
    if (any) {
        timer_arm(api->options.reactor, &api->exports.timer, now(api) + LOOK_MS,
                  on_time, api);
    }
}

/* The view of that index; NULL: there is none. */
static struct export_view *find_view(struct api *api, uint64_t index)
{
    for (size_t i = 0; i < EXPORT_VIEWS_MAX; i++) {
        struct export_view *view = &api->exports.views[i];
        if (view->image && view->index == index && !view->is_lost) {
            return view;
        }
    }
    return NULL;
}

/* A place for a view; the one that was left first is closed for it. NULL: all
 * have readers. */
static struct export_view *find_place(struct api *api)
{
    struct export_view *oldest = NULL;
    for (size_t i = 0; i < EXPORT_VIEWS_MAX; i++) {
        struct export_view *view = &api->exports.views[i];
        if (!view->image) {
            return view;
        }
        if (view->readers == 0 &&
            (!oldest || view->left_ms < oldest->left_ms)) {
            oldest = view;
        }
    }
    if (oldest) {
        close_view(oldest);
    }
    return oldest;
}

/* Open a view of the last checkpoint. Errors as of node_image_open(). */
static enum err open_view(struct api *api, struct export_view **out)
{
    struct export_view *view = find_place(api);
    struct export_view opened = {0};
    if (!view) {
        return ERR_BUSY;
    }
    enum err err = node_image_open_rows(api->node, &opened.image, &opened.index,
                                        &opened.keys);
    if (err == ERR_BUSY) {
        api_exports_close_unread(api);
        err = node_image_open_rows(api->node, &opened.image, &opened.index,
                                   &opened.keys);
    }
    if (!err) {
        *view = opened;
        *out = view;
        timer_arm(api->options.reactor, &api->exports.timer, now(api) + LOOK_MS,
                  on_time, api);
    }
    return err;
}

/* ---- the body ---- */

static void add_line(struct buf *out, const struct store_pair *pair)
{
    buf_add_u8(out, '{');
    api_add_pair_members(out, pair);
    buf_add(out, "}\n", 2);
}

static void add_end(struct buf *out, const struct export_view *view)
{
    buf_printf(out, "{\"end\":true,\"index\":%llu,\"keys\":%llu}\n",
               (unsigned long long)view->index, (unsigned long long)view->keys);
}

/* Add lines until there are `size` bytes, or the time is over. The last key is
 * kept in conn->request.text. */
static enum err pull(struct conn *conn, struct buf *out, size_t size)
{
    const struct node *node = conn->api->node;
    struct export_view *view = conn->state.export.view;
    struct buf *last = &conn->request.text;
    struct store_pair pair;
    size_t start = out->size;
    size_t checked = start;
    uint64_t until_us = node_now_us(node) + PULL_US;
    enum err err = ERR_OK;
    node_image_seek(view->image, buf_bytes(last));
    while (!err && out->size - start < size) {
        if (out->size - checked >= PULL_CHECK_BYTES) {
            if (node_now_us(node) >= until_us) {
                break;
            }
            checked = out->size;
        }
        err = node_image_next(view->image, &pair);
        if (!err) {
            add_line(out, &pair);
            last->size = 0;
            buf_add_bytes(last, pair.key);
        }
    }
    if (err == ERR_NOT_FOUND) {
        conn->state.export.is_over = true;
        add_end(out, view);
        err = ERR_OK;
    }
    view->is_lost = view->is_lost || err;
    return err;
}

static void leave_view(struct conn *conn)
{
    struct api *api = conn->api;
    struct export_view *view = conn->state.export.view;
    must(view->readers > 0 && api->exports.readers > 0);
    conn->state.export.view = NULL;
    view->readers--;
    api->exports.readers--;
    view->left_ms = now(api);
    if (view->readers == 0 && view->is_lost) {
        close_view(view);
    }
}

static bool is_awaited(const struct conn *conn)
{
    return node_image_awaited(conn->api->node);
}

static bool is_over(const struct conn *conn)
{
    return conn->state.export.is_over;
}

static const struct body_source source = {
    .name = "export",
    .queue_bytes = QUEUE_BYTES,
    .pull = pull,
    .close = leave_view,
    .is_awaited = is_awaited,
    .is_over = is_over,
};

/* ---- the request ---- */

static void send_view(struct conn *conn, struct export_view *view)
{
    struct api *api = conn->api;
    static const char type[] = "application/x-ndjson";
    if (api->exports.readers >= EXPORT_READERS_MAX) {
        api_answer_problem(conn, 429, "overloaded",
                           "too many exports are in progress: try again later",
                           OUTCOME_NONE);
        return;
    }
    conn->answer.index = view->index;
    api->headers.size = 0;
    if (!conn->state.export.resumes) {
        api_add_read_headers(conn);
    }
    buf_printf(&api->headers, "Craftd-Keys: %llu\r\n",
               (unsigned long long)view->keys);
    if (conn->answer.head_only) {
        api_answer_stream(conn, 200, type);
        view->left_ms = now(api);
        api_answered(conn);
        return;
    }
    conn->busy = true;
    conn->state.export.view = view;
    view->readers++;
    api->exports.readers++;
    api_body_stream(conn, &source, type);
}

static void answer_gone(struct conn *conn)
{
    api_answer_problem(conn, 410, "export-gone",
                       "this node does not have the state of that index any "
                       "more: begin again, without index and after",
                       OUTCOME_NONE);
}

static void answer_error(struct conn *conn, enum err err)
{
    if (err == ERR_NOT_FOUND) {
        api_answer_problem(conn, 503, "starting",
                           "this node is no member of a cluster yet",
                           OUTCOME_NONE);
    } else if (err == ERR_BUSY) {
        api_answer_problem(conn, 429, "overloaded",
                           "exports of other states or backups are in "
                           "progress: try again later",
                           OUTCOME_NONE);
    } else {
        api_answer_problem(conn, 507, "no-space",
                           "the disk has no room to bring the database up to "
                           "date: free some space",
                           OUTCOME_NONE);
    }
}

/* The database has everything that the export has to show. */
static void start(struct conn *conn, const struct node_result *result)
{
    struct export_view *view = NULL;
    enum err err = ERR_OK;
    if (result->outcome != NODE_OK && result->outcome != NODE_NO_SPACE) {
        api_answer_outcome(conn, result);
        return;
    }
    if (result->outcome == NODE_NO_SPACE) {
        err = ERR_NOSPACE;
    } else {
        view = find_view(conn->api, result->index);
    }
    if (!err && !view) {
        err = open_view(conn->api, &view);
    }
    if (err) {
        answer_error(conn, err);
    } else if (conn->state.export.resumes &&
               view->index != conn->state.export.index) {
        answer_gone(conn);
    } else {
        send_view(conn, view);
    }
}

static void ready(struct conn *conn)
{
    conn->busy = true;
    conn->request.finish = start;
    node_checkpoint(conn->api->node, &conn->request.call);
}

void api_on_export(struct conn *conn, const struct http_request *request)
{
    struct bytes after;
    struct bytes value;
    uint64_t index = 0;
    bool resumes = api_get_param(conn, PARAM_INDEX, &value);
    if (!api_take_text(conn, PARAM_AFTER, &after)) {
        return;
    }
    if (resumes && !json_u64(value, &index)) {
        (void)api_bad_param(conn, "index is the index of a log entry: that of "
                                  "the export to be resumed (Craftd-Index)");
        return;
    }
    if (after.size > 0 && !resumes) {
        (void)api_bad_param(conn, "after needs the index of the export that is "
                                  "to be resumed: index=");
        return;
    }
    conn->state.export.resumes = resumes;
    conn->state.export.index = index;
    conn->request.text.size = 0;
    buf_add_bytes(&conn->request.text, after);
    struct export_view *view = resumes ? find_view(conn->api, index) : NULL;
    if (view) {
        send_view(conn, view);
    } else if (resumes && index != node_applied(conn->api->node)) {
        answer_gone(conn);
    } else {
        api_read_start(conn, request, ready);
    }
}
