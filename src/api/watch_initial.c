/* watch_initial.c -- the initial set of GET /watch: the keys as they are, and
 * the changes meanwhile.
 *
 * The initial set is read by scan.c in pages, each of which shows one state.
 * Between two pages changes go on. `mark` is the last key of the pages so far:
 * a change of a key up to the mark is sent, since its page has been; one behind
 * it is skipped, since a page to come has it. A page of state I first gets the
 * changes up to I, by the mark before it. So after each page the client knows
 * all keys up to the mark as of I, and no event is older than what it was
 * shown. With the last page, that is everything: event `sync`, with id I.
 * Events before it have no id, since nothing can be resumed there. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/scan_internal.h"
#include "api/watch_internal.h"
#include "node/node.h"
#include "reactor/reactor.h"

enum {
    PAGE_BYTES = 64 << 10,
    PAGE_MS = 60000, /* A page that takes longer is given up. */
};

static bool is_behind_mark(const struct conn *conn, struct bytes key)
{
    struct bytes mark = buf_bytes(&conn->request.text);
    size_t size = min_size(key.size, mark.size);
    int order = size > 0 ? memcmp(key.data, mark.data, size) : 0;
    return order > 0 || (order == 0 && key.size > mark.size);
}

static bool was_sent(const struct conn *conn, struct bytes key)
{
    return watch_may_read(conn, key) && !is_behind_mark(conn, key);
}

static enum scan_step take_pair(struct conn *conn,
                                const struct store_pair *pair)
{
    struct scan *scan = &conn->scan;
    size_t before = scan->page.size;
    if (!(conn->watch.feed.types & FEED_PUT)) {
        return SCAN_ON;
    }
    watch_add_pair(&scan->page, conn->watch.format, pair->key, pair->value,
                   pair->modify_index, pair->create_index);
    if (before > 0 && scan->page.size > PAGE_BYTES) {
        scan->page.size = before;
        return SCAN_FULL;
    }
    return SCAN_ON;
}

static void sync_stream(struct conn *conn, uint64_t index)
{
    struct conn_watch *watch = &conn->watch;
    watch_add_sync(watch_output(conn), watch->format, index);
    watch->id = index;
    watch->stage = WATCH_STREAMING;
    api_scan_close(conn);
    buf_free(&conn->scan.page);
    watch_catch_up(conn);
}

/* The changes before it are as many as came since the page before, and each of
 * them is one of a key that was sent: they wait for room as any other. */
void watch_send_page(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    struct scan *scan = &conn->scan;
    enum err err = watch_read_ring(conn, scan->index, was_sent);
    watch_end_entry(conn, false);
    watch->id_pending = 0;
    if (err == ERR_CLOSED) {
        watch_end_lost(conn, watch_too_slow);
        return;
    }
    if (err != ERR_NOT_FOUND) {
        watch_go_on_later(conn, err);
        return;
    }
    buf_add_bytes(watch_output(conn), buf_bytes(&scan->page));
    scan->page.size = 0;
    if (!scan->more) {
        sync_stream(conn, scan->index);
        return;
    }
    if (scan->last.size > 0) {
        conn->request.text.size = 0;
        buf_add_bytes(&conn->request.text, buf_bytes(&scan->last));
    }
    watch->stage = WATCH_BLOCKED;
    watch_finish_writing(conn);
    watch_look_in(conn, 1);
}

/* The first page is not shown, so the answer is an error. */
static void refuse_first(struct conn *conn)
{
    api_watch_close(conn);
    if (conn->scan.late) {
        api_scan_answer_late(conn);
    } else {
        api_scan_close(conn);
        watch_refuse(conn);
    }
}

/* A page is complete, or cannot be read. */
static void end_page(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    struct scan *scan = &conn->scan;
    uint64_t index = scan->index;
    if (watch->stage == WATCH_FIRST && (scan->late || !watch_may_begin(conn))) {
        refuse_first(conn);
        return;
    }
    if (scan->late || node_contradiction(conn->api->node)) {
        (void)api_watch_page_failed(conn);
        return;
    }
    if (watch->stage == WATCH_FIRST) {
        watch_lag_begin(conn, index);
        watch_begin_stream(conn, index);
        watch->stage = WATCH_PAGES;
        if (watch->is_reset) {
            watch_add_reset(watch_output(conn), watch->format, index);
        }
    }
    watch->stage = WATCH_CHANGES;
    watch_send_page(conn);
    watch_forget_text(conn->api);
}

bool api_watch_page_failed(struct conn *conn)
{
    if (!api_is_watching(conn)) {
        api_watch_close(conn);
        return false;
    }
    watch_end_lost(conn,
                   "the initial set could not be read: this node has too much "
                   "to do, or no space");
    return true;
}

void watch_start_page(struct conn *conn)
{
    struct conn_watch *watch = &conn->watch;
    struct scan *scan = &conn->scan;
    struct bytes mark = buf_bytes(&conn->request.text);
    uint64_t cost = scan->cost;
    watch->stage = watch->stage == WATCH_FIRST ? WATCH_FIRST : WATCH_PAGES;
    scan->step = take_pair;
    scan->done = end_page;
    scan->fail = api_watch_page_failed;
    scan->perm = AUTH_READ;
    scan->reverse = false;
    scan->mixed = false;
    scan->pageless = false;
    scan->keys_only = false;
    scan->page.size = 0;
    scan->last.size = 0;
    scan->from.size = 0;
    scan->to.size = 0;
    if (mark.size > 0) {
        api_scan_add_behind(&scan->from, mark);
    } else {
        buf_add_bytes(&scan->from, watch->feed.key);
    }
    if (watch->feed.is_prefix) {
        (void)api_scan_add_behind_prefix(&scan->to, watch->feed.key);
    } else {
        api_scan_add_behind(&scan->to, watch->feed.key);
    }
    conn->request.call.deadline_ms =
        reactor_now_ms(conn->api->options.reactor) + PAGE_MS;
    api_scan_start(conn);
    if (watch->stage != WATCH_FIRST) {
        scan->cost = cost; /* All pages are one walk, and a long one. */
    }
}
