/* scan.c -- walking over many keys without holding the loop.
 *
 * All walks that are under way share one slice of a turn, each in its turn.
 * The write transaction goes on beside them, so what a walk sees may be newer
 * in the next turn. A page shows one state: when something was applied between
 * two of its slices, it ends there, and the client goes on behind it. A walk
 * that may be mixed (a count) goes on, and tells.
 *
 * A page is gathered in memory and sent in pieces as the client takes them.
 * All pages together are bounded: when much is on its way, new pages are
 * small; when even more is, as with large values that nobody takes, there are
 * none until some have gone. */
#include "api/api_internal.h"
#include "json/json.h"

enum {
    TURN_US = 5000,
    CLOCK_PAIRS = 16, /* How many small pairs between two looks at the clock. */
    CLOCK_BYTES = 4096,
    PAGE_BYTES_MAX = 4 << 20,
    PAGE_BYTES_SMALL = 64 << 10,
    PAGES_BYTES_MAX = 32 << 20,
    PAGES_BYTES_FULL = 128 << 20,
    PIECE_BYTES = 64 << 10,
    QUEUE_BYTES = 256 << 10, /* In the stream, and one piece. */
    STALL_MS = 30000,
    BYTES_PER_MS = 1 << 10, /* Slower ones are left, after that time. */
};

/* ---- keys -----------------------------------------------------------------
 */

void scan_add_behind(struct buf *out, struct bytes key)
{
    buf_add_bytes(out, key);
    buf_add_u8(out, 0);
}

bool scan_add_behind_prefix(struct buf *out, struct bytes prefix)
{
    while (prefix.size > 0 && prefix.data[prefix.size - 1] == 0xff) {
        prefix.size--;
    }
    if (prefix.size == 0) {
        return false;
    }
    buf_add_bytes(out, prefix);
    out->data[out->size - 1]++;
    return true;
}

/* ---- what step() may ask --------------------------------------------------
 */

void scan_no_pattern(struct scan *scan)
{
    mem_free(scan->pattern);
    scan->pattern = NULL;
}

/* At worst, a byte of a key takes as long as it takes to read two. */
bool scan_matches(struct scan *scan, struct bytes key)
{
    if (!scan->pattern) {
        return true;
    }
    scan->spent = 2 * key.size;
    return pattern_matches(scan->pattern, key);
}

bool scan_is_late(struct conn *conn)
{
    if (reactor_now_ms(conn->api->options.reactor) >=
        conn->request.deadline_ms) {
        conn->scan.late = true;
    }
    return conn->scan.late;
}

/* ---- the page -------------------------------------------------------------
 */

static void count_page(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    conn->api->page_bytes += scan->page.size;
    conn->api->page_bytes -= scan->page_counted;
    scan->page_counted = scan->page.size;
}

void scan_close(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    list_remove(&scan->link);
    scan->sending = false;
    scan->page.size = 0;
    count_page(conn);
    scan_no_pattern(scan);
    if (scan->page.capacity > PAGE_BYTES_SMALL) {
        buf_free(&scan->page);
    }
}

void scan_free(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    scan_close(conn);
    struct buf *const bufs[] = {&scan->from,   &scan->to,        &scan->page,
                                &scan->prefix, &scan->separator, &scan->last,
                                &scan->query};
    for (size_t i = 0; i < ARRAY_COUNT(bufs); i++) {
        buf_free(bufs[i]);
    }
}

/* ---- sending --------------------------------------------------------------
 */

static void on_send_time(void *arg);

static void wake(struct conn *conn, uint64_t in_ms)
{
    struct reactor *reactor = conn->api->options.reactor;
    timer_arm(reactor, &conn->timer, reactor_now_ms(reactor) + in_ms,
              on_send_time, conn);
}

void scan_go_on(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    bool any = false;
    while (scan->sent < scan->page.size &&
           stream_output_bytes(conn->stream) < QUEUE_BYTES) {
        size_t size = min_size(PIECE_BYTES, scan->page.size - scan->sent);
        stream_write(conn->stream, scan->page.data + scan->sent, size);
        scan->sent += size;
        scan->send_moved_ms = reactor_now_ms(conn->api->options.reactor);
        any = true;
    }
    if (scan->sent < scan->page.size) {
        /* What leaves at the end of this turn makes room without a word: look
         * again in a later one. */
        wake(conn, any ? 1 : STALL_MS / 3);
        return;
    }
    scan_close(conn);
    timer_cancel(conn->api->options.reactor, &conn->timer);
    answered(conn);
}

static void on_send_time(void *arg)
{
    struct conn *conn = arg;
    struct scan *scan = &conn->scan;
    uint64_t now_ms = reactor_now_ms(conn->api->options.reactor);
    bool full = stream_output_bytes(conn->stream) >= QUEUE_BYTES;
    if ((full && now_ms >= scan->send_moved_ms + STALL_MS) ||
        now_ms > scan->send_begun_ms + STALL_MS + scan->sent / BYTES_PER_MS) {
        conn_drop(conn);
    } else {
        scan_go_on(conn);
    }
}

void scan_answer(struct conn *conn, const char *type)
{
    struct scan *scan = &conn->scan;
    conn->index = scan->index;
    if (conn->head_only || scan->page.size <= PAGE_BYTES_SMALL) {
        answer(conn, 200, type, buf_bytes(&scan->page));
        scan_close(conn);
        return;
    }
    if (is_to_indent(conn, type)) {
        struct buf indented = {0};
        json_add_indented(&indented, buf_bytes(&scan->page));
        buf_free(&scan->page);
        scan->page = indented;
    }
    count_page(conn);
    scan->sent = 0;
    scan->sending = true;
    scan->send_begun_ms = reactor_now_ms(conn->api->options.reactor);
    scan->send_moved_ms = scan->send_begun_ms;
    answer_head(conn, 200, type, scan->page.size);
    scan_go_on(conn);
}

/* ---- slices ---------------------------------------------------------------
 */

static void on_turn(void *arg);

static void wake_all(struct api *api, uint64_t in_ms)
{
    struct reactor *reactor = api->options.reactor;
    timer_arm(reactor, &api->scan_timer, reactor_now_ms(reactor) + in_ms,
              on_turn, api);
}

/* Where the next slice begins: behind what was taken last. */
static void move_on(struct scan *scan)
{
    struct bytes key = buf_bytes(&scan->last);
    if (scan->reverse) {
        scan->to.size = 0;
        buf_add_bytes(&scan->to, key);
    } else {
        scan->from.size = 0;
        scan_add_behind(&scan->from, key);
    }
}

/* The same behind all that begin with it. False: nothing can be there. */
static bool jump(struct scan *scan)
{
    if (scan->reverse) {
        move_on(scan);
        return true;
    }
    scan->from.size = 0;
    return scan_add_behind_prefix(&scan->from, buf_bytes(&scan->last));
}

static void open_range(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct node_range range = {.from = buf_bytes(&scan->from),
                               .to = buf_bytes(&scan->to),
                               .reverse = scan->reverse,
                               .keys_only = scan->keys_only};
    node_range_open(conn->api->node, &range);
}

enum progress { AGAIN, DONE, NO_SPACE };

/* One pair, if there is one. The bounds of an open range stay as they are. */
static enum progress one_pair(struct conn *conn, size_t *cost)
{
    struct scan *scan = &conn->scan;
    struct node_pair pair;
    enum err err = node_range_next(conn->api->node, &pair);
    if (err) {
        return err == ERR_NOT_FOUND ? DONE : NO_SPACE;
    }
    *cost += pair.value.size + CLOCK_BYTES / CLOCK_PAIRS;
    enum scan_step step = scan->step(conn, &pair);
    *cost += scan->spent;
    scan->spent = 0;
    switch (step) {
    case SCAN_FULL:
        scan->more = true;
        return DONE;
    case SCAN_ON:
        scan->jumped = false;
        scan->last.size = 0;
        buf_add_bytes(&scan->last, pair.key);
        return AGAIN;
    case SCAN_JUMP:
        scan->jumped = true;
        *cost += CLOCK_BYTES / 4; /* A search costs more than a step. */
        node_range_close(conn->api->node);
        if (!jump(scan)) {
            return DONE;
        }
        open_range(conn);
        return AGAIN;
    }
    return DONE;
}

static enum progress walk(struct conn *conn, uint64_t until_us)
{
    struct node *node = conn->api->node;
    size_t cost = 0;
    open_range(conn);
    enum progress progress = one_pair(conn, &cost);
    while (progress == AGAIN) {
        if (cost >= CLOCK_BYTES) {
            if (node_now_us(node) >= until_us) {
                break;
            }
            cost = 0;
        }
        progress = one_pair(conn, &cost);
    }
    node_range_close(node);
    return progress;
}

static void begin(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    scan->begun = true;
    scan->first_index = node_applied(conn->api->node);
    scan->index = scan->first_index;
    scan->page_max = conn->api->page_bytes < PAGES_BYTES_MAX ? PAGE_BYTES_MAX
                                                             : PAGE_BYTES_SMALL;
}

/* Out of the list, and answered. */
static void end(struct conn *conn, bool ok)
{
    list_remove(&conn->scan.link);
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (ok) {
        conn->scan.done(conn);
        return;
    }
    scan_close(conn);
    answer_problem(conn, 507, "no-space",
                   "the disk is full, and reading would have to write",
                   "not-applied");
}

/* A count gathers nothing. */
static bool is_room(const struct conn *conn)
{
    return conn->scan.counting || conn->api->page_bytes < PAGES_BYTES_FULL;
}

static void refuse(struct conn *conn)
{
    list_remove(&conn->scan.link);
    scan_close(conn);
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    answer_problem(conn, 429, "overloaded",
                   "too much of other lists is waiting to be taken",
                   "not-applied");
}

static void slice(struct conn *conn, uint64_t until_us)
{
    struct scan *scan = &conn->scan;
    uint64_t applied = node_applied(conn->api->node);
    if (!scan->begun && applied < conn->reading_at.index) {
        list_remove(&scan->link);
        read_wait(conn); /* Comes back by scan_start(). */
        return;
    }
    if (!scan->begun && !is_room(conn)) {
        refuse(conn);
        return;
    }
    if (!scan->begun) {
        begin(conn);
    } else if (applied != scan->index && !scan->mixed) {
        scan->more = true;
        end(conn, true);
        return;
    }
    scan->index = applied;
    switch (walk(conn, until_us)) {
    case AGAIN:
        if (!scan->jumped) {
            move_on(scan);
        }
        count_page(conn);
        list_remove(&scan->link); /* To the end: the others' turn. */
        list_add(&conn->api->scans, &scan->link);
        return;
    case DONE:
        count_page(conn);
        end(conn, true);
        return;
    case NO_SPACE:
        end(conn, false);
        return;
    }
}

static void on_turn(void *arg)
{
    struct api *api = arg;
    uint64_t until_us = node_now_us(api->node) + TURN_US;
    do {
        if (list_empty(&api->scans)) {
            return;
        }
        slice(container_of(api->scans.next, struct conn, scan.link), until_us);
    } while (node_now_us(api->node) < until_us);
    if (!list_empty(&api->scans)) {
        wake_all(api, 1); /* Not now: it could be called again in this turn. */
    }
}

void scan_start(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct api *api = conn->api;
    conn->busy = true;
    scan->begun = false;
    scan->jumped = false;
    scan->more = false;
    list_add(&api->scans, &scan->link);
    if (api->scan_timer.node.place == 0) {
        wake_all(api, 0);
    }
}
