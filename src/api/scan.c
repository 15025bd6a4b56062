/* scan.c -- walks over many keys that do not block the event loop.
 *
 * Walks share one slice per turn of the event loop. It is as long as everything
 * else since the slice before took, within TURN_US_MIN and TURN_US_MAX. A new
 * walk is served at once, in order of arrival, until it has cost LIGHT_BYTES;
 * most are done by then. The cost is counted, not timed: a process that has to
 * wait for its processor does not make a short list a long one. WORKING_MAX of
 * the others work at a time, in round robin, WAITING_MAX wait in order of
 * arrival, and further ones are refused: divided among all, the time would not
 * be enough for any of them. Slices go to new walks and to working ones
 * alternately.
 *
 * A walk is cancelled when its client is gone (server.c detects that) or the
 * time of its request is over.
 *
 * Writes are applied meanwhile, so a walk may see a newer state in the next
 * turn. A page shows one state: if something was applied between two of its
 * slices, the page ends there, and the client asks for the next one. A walk
 * that may be mixed (a count) goes on, and its answer says so.
 *
 * A page is gathered in memory and sent in pieces as the client takes them. All
 * pages together are bounded: above a quarter of api_options.budget_bytes new
 * pages are small, above all of it, as with large values that clients do not
 * take, new walks are refused. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/read_internal.h"
#include "api/scan_internal.h"
#include "base/list.h"
#include "node/node.h"
#include "pattern/pattern.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    TURN_US_MIN = 100,
    TURN_US_MAX = 1000,
    LIGHT_BYTES = 512 << 10, /* 1 or 2 ms: 2000 small pairs. */
    WORKING_MAX = 2,
    WAITING_MAX = 64,
    CLOCK_PAIRS = 16, /* Small pairs between two readings of the clock. */
    CLOCK_BYTES = 4096,
    PAGE_BYTES_MAX = 4 << 20,
    PAGE_BYTES_SMALL = 64 << 10,
    QUEUE_BYTES = 256 << 10, /* Bound on a page's bytes in the stream. */
};

/* ---- keys ---- */

void api_scan_add_behind(struct buf *out, struct bytes key)
{
    buf_add_bytes(out, key);
    buf_add_u8(out, 0);
}

bool api_scan_add_behind_prefix(struct buf *out, struct bytes prefix)
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

/* ---- for step() ---- */

void api_scan_no_pattern(struct scan *scan)
{
    mem_free(scan->pattern);
    scan->pattern = NULL;
}

/* In the worst case, matching a byte takes as long as reading two. */
bool api_scan_matches(struct scan *scan, struct bytes key)
{
    if (!scan->pattern) {
        return true;
    }
    scan->spent = 2 * key.size;
    return pattern_matches(scan->pattern, key);
}

void api_scan_answer_late(struct conn *conn)
{
    api_scan_close(conn);
    api_answer_problem(conn, 504, "timeout",
                       "the list was not complete within the time-out: ask for "
                       "less, or raise ?timeout=",
                       OUTCOME_NONE);
}

bool api_scan_is_late(struct conn *conn)
{
    if (reactor_now_ms(conn->api->options.reactor) >=
        conn->request.call.deadline_ms) {
        conn->scan.late = true;
    }
    return conn->scan.late;
}

/* ---- the page ---- */

static void count_page(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    must(conn->api->scans.page_bytes >= scan->page_counted);
    conn->api->scans.page_bytes += scan->page.size;
    conn->api->scans.page_bytes -= scan->page_counted;
    scan->page_counted = scan->page.size;
}

static void leave(struct conn *conn);

void api_scan_close(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    leave(conn);
    scan->page.size = 0;
    count_page(conn);
    api_scan_no_pattern(scan);
    if (scan->page.capacity > PAGE_BYTES_SMALL) {
        buf_free(&scan->page);
    }
}

void api_scan_free(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    api_scan_close(conn);
    struct buf *const bufs[] = {&scan->from, &scan->to, &scan->page,
                                &scan->last, &scan->query};
    for (size_t i = 0; i < ARRAY_COUNT(bufs); i++) {
        buf_free(bufs[i]);
    }
}

/* ---- sending ---- */

static enum err pull(struct conn *conn, struct buf *out, size_t size)
{
    struct scan *scan = &conn->scan;
    must(size <= scan->page.size - scan->sent);
    buf_add(out, scan->page.data + scan->sent, size);
    scan->sent += size;
    return ERR_OK;
}

static const struct body_source source = {
    .name = "list",
    .queue_bytes = QUEUE_BYTES,
    .pull = pull,
    .close = api_scan_close,
};

void api_scan_answer(struct conn *conn, const char *type)
{
    struct scan *scan = &conn->scan;
    conn->answer.index = scan->index;
    if (conn->answer.head_only || scan->page.size <= PAGE_BYTES_SMALL) {
        api_answer(conn, 200, type, buf_bytes(&scan->page));
        api_scan_close(conn);
        return;
    }
    if (api_is_to_indent(conn, type)) {
        struct buf indented = {0};
        json_add_indented(&indented, buf_bytes(&scan->page));
        buf_free(&scan->page);
        scan->page = indented;
    }
    count_page(conn);
    scan->sent = 0;
    api_answer_head(conn, 200, type, scan->page.size);
    api_body_send(conn, &source, scan->page.size);
}

/* ---- slices ---- */

static void on_turn(void *arg);

static void wake_all(struct api *api, uint64_t in_ms)
{
    struct reactor *reactor = api->options.reactor;
    timer_arm(reactor, &api->scans.timer, reactor_now_ms(reactor) + in_ms,
              on_turn, api);
}

/* Start the next slice behind the key that was taken last. */
static void move_on(struct scan *scan)
{
    struct bytes key = buf_bytes(&scan->last);
    if (scan->reverse) {
        scan->to.size = 0;
        buf_add_bytes(&scan->to, key);
    } else {
        scan->from.size = 0;
        api_scan_add_behind(&scan->from, key);
    }
}

/* Start it behind all keys that begin with the prefix that was taken last.
 * False: there can be none. */
static bool jump(struct scan *scan)
{
    if (scan->reverse) {
        move_on(scan);
        return true;
    }
    scan->from.size = 0;
    return api_scan_add_behind_prefix(&scan->from, buf_bytes(&scan->last));
}

static void open_range(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct store_range range = {.from = buf_bytes(&scan->from),
                                .to = buf_bytes(&scan->to),
                                .reverse = scan->reverse,
                                .keys_only = scan->keys_only};
    node_range_open(conn->api->node, &range);
}

enum progress { AGAIN, DONE, NO_SPACE };

/* The pair is not for the sender: the walk goes on where the next one may be
 * that is. False: there is none. */
static bool skip(struct conn *conn, struct bytes key)
{
    struct scan *scan = &conn->scan;
    struct buf *bound = scan->reverse ? &scan->to : &scan->from;
    struct bytes prefix;
    bool found = auth_next_prefix(&conn->gate.identity, scan->perm, key,
                                  scan->reverse, &prefix);
    node_range_close(conn->api->node);
    if (!found) {
        return false;
    }
    scan->jumped = true;
    bound->size = 0;
    if (!scan->reverse) {
        buf_add_bytes(bound, prefix);
    } else if (!api_scan_add_behind_prefix(bound, prefix)) {
        return false;
    }
    open_range(conn);
    return true;
}

/* Take one pair, if there is one. The bounds of the range must not change while
 * it is open. */
static enum progress one_pair(struct conn *conn, size_t *cost)
{
    struct scan *scan = &conn->scan;
    struct store_pair pair;
    enum err err = node_range_next(conn->api->node, &pair);
    if (err) {
        return err == ERR_NOT_FOUND ? DONE : NO_SPACE;
    }
    *cost += pair.value.size + CLOCK_BYTES / CLOCK_PAIRS;
    if (!auth_may(&conn->gate.identity, scan->perm, pair.key)) {
        *cost += CLOCK_BYTES / 4; /* As for a jump. */
        return skip(conn, pair.key) ? AGAIN : DONE;
    }
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
    struct scan *scan = &conn->scan;
    size_t cost = 0;
    open_range(conn);
    enum progress progress = one_pair(conn, &cost);
    while (progress == AGAIN) {
        if (cost >= CLOCK_BYTES) {
            scan->cost += cost;
            cost = 0;
            if (node_now_us(node) >= until_us) {
                break;
            }
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
    scan->page_max =
        conn->api->scans.page_bytes < conn->api->options.budget_bytes / 4
            ? PAGE_BYTES_MAX
            : PAGE_BYTES_SMALL;
}

/* The walk is over: answer it. */
static void end(struct conn *conn, bool ok)
{
    leave(conn);
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (ok) {
        conn->scan.done(conn);
        return;
    }
    bool answered = conn->scan.fail && conn->scan.fail(conn);
    api_scan_close(conn);
    if (answered) {
        return;
    }
    api_answer_problem(conn, 507, "no-space",
                       "the disk is full, and this read would have to write to "
                       "it: free some space",
                       OUTCOME_NOT_APPLIED);
}

static bool is_room(const struct conn *conn)
{
    return conn->scan.pageless ||
           conn->api->scans.page_bytes < conn->api->options.budget_bytes;
}

static void refuse(struct conn *conn, const char *message)
{
    leave(conn);
    bool answered = conn->scan.fail && conn->scan.fail(conn);
    api_scan_close(conn);
    if (answered) {
        return;
    }
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    api_answer_problem(conn, 429, "overloaded", message, OUTCOME_NOT_APPLIED);
}

/* ---- scheduling ---- */

static void enter(struct conn *conn, enum scan_stage stage)
{
    struct api *api = conn->api;
    must(conn->scan.stage == SCAN_IDLE && stage != SCAN_IDLE);
    conn->scan.stage = stage;
    api->scans.counts[stage]++;
    list_add(&api->scans.by_stage[stage], &conn->scan.link);
}

/* Does nothing when no walk is in progress. */
static void leave(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    if (scan->stage != SCAN_IDLE) {
        must(conn->api->scans.counts[scan->stage] > 0);
        conn->api->scans.counts[scan->stage]--;
        list_remove(&scan->link);
        scan->stage = SCAN_IDLE;
    }
}

/* Put the walk behind the others of its stage or, once it has cost LIGHT_BYTES,
 * of the next stage. */
static void enter_again(struct conn *conn)
{
    struct api *api = conn->api;
    struct scan *scan = &conn->scan;
    enum scan_stage stage = scan->stage;
    if (stage == SCAN_NEW && scan->cost < LIGHT_BYTES) {
        return; /* It stays the first. */
    }
    leave(conn);
    if (stage == SCAN_WORKING ||
        (api->scans.counts[SCAN_WORKING] < WORKING_MAX &&
         api->scans.counts[SCAN_WAITING] == 0)) {
        enter(conn, SCAN_WORKING);
    } else if (api->scans.counts[SCAN_WAITING] < WAITING_MAX) {
        enter(conn, SCAN_WAITING);
    } else {
        char message[96];
        snprintf(message, sizeof(message),
                 "%d long lists are being read here already, and %d wait: try "
                 "again later",
                 WORKING_MAX, WAITING_MAX);
        refuse(conn, message);
    }
}

static struct conn *first_of(struct api *api, enum scan_stage stage)
{
    struct list *list = &api->scans.by_stage[stage];
    return list_empty(list) ? NULL
                            : container_of(list->next, struct conn, scan.link);
}

/* WAITING_MAX is small enough to check all of them in every turn. */
static void end_late_ones(struct api *api)
{
    struct list *list = &api->scans.by_stage[SCAN_WAITING];
    for (struct list *at = list->next; at != list;) {
        struct conn *conn = container_of(at, struct conn, scan.link);
        at = at->next;
        if (api_scan_is_late(conn)) {
            end(conn, true);
        }
    }
}

static void fill_places(struct api *api)
{
    struct conn *conn;
    while (api->scans.counts[SCAN_WORKING] < WORKING_MAX &&
           (conn = first_of(api, SCAN_WAITING))) {
        leave(conn);
        enter(conn, SCAN_WORKING);
    }
}

static void slice(struct conn *conn, uint64_t until_us)
{
    struct scan *scan = &conn->scan;
    struct node *node = conn->api->node;
    uint64_t applied = node_applied(node);
    if (!scan->begun && applied < conn->request.reading.index) {
        leave(conn);
        api_read_wait(conn); /* It calls api_scan_start() again. */
        return;
    }
    if (!scan->begun && !is_room(conn)) {
        refuse(conn,
               "too many other lists wait for their clients: try again later");
        return;
    }
    if (api_scan_is_late(conn)) {
        end(conn, true);
        return;
    }
    if (!scan->begun) {
        begin(conn);
    } else if (scan->last.size == 0) {
        scan->first_index = applied; /* Nothing of it has been shown. */
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
        enter_again(conn);
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
    uint64_t turn = reactor_turns(api->options.reactor);
    if (turn == api->scans.turn) {
        wake_all(api, 0); /* One slice per turn; other work comes first. */
        return;
    }
    api->scans.turn = turn;
    uint64_t now_us = node_now_us(api->node);
    uint64_t until_us =
        now_us +
        min_u64(max_u64(now_us - api->scans.end_us, TURN_US_MIN), TURN_US_MAX);
    enum scan_stage first = turn % 2 ? SCAN_NEW : SCAN_WORKING;
    struct conn *conn;
    end_late_ones(api);
    do {
        fill_places(api);
        conn = first_of(api, first);
        if (!conn) {
            conn = first_of(api, first == SCAN_NEW ? SCAN_WORKING : SCAN_NEW);
        }
        if (conn) {
            slice(conn, until_us);
        }
        now_us = node_now_us(api->node);
    } while (conn && now_us < until_us);
    api->scans.end_us = now_us;
    if (first_of(api, SCAN_NEW) || first_of(api, SCAN_WORKING) ||
        first_of(api, SCAN_WAITING)) {
        wake_all(api, 0);
    }
}

void api_scan_start(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct api *api = conn->api;
    must(scan->step && scan->done);
    conn->busy = true;
    scan->begun = false;
    scan->jumped = false;
    scan->more = false;
    scan->late = false;
    scan->cost = 0;
    enter(conn, SCAN_NEW);
    if (api->scans.timer.node.place == 0) {
        wake_all(api, 0);
    }
}
