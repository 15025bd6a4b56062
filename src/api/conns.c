/* conns.c -- connections: admission, eviction, time-outs, memory for input.
 *
 * Places. --max-conns connections are served. When more than nine tenths of
 * the places are taken, each new connection evicts the one that has been idle
 * longest. A connection that finds no place is a guest: it is held for its
 * first request, which is answered if it is a probe (health, status, metrics)
 * and refused with 429 if not, and is closed then. There are at most
 * conns_beyond guests; further connections wait in the kernel's queue, and
 * meanwhile guests that send nothing are dropped after GUEST_MIN_MS.
 *
 * A share per address. One IPv4 address, or one IPv6 network of 64 bits, may
 * hold three quarters of the places; a connection beyond that evicts the one of
 * the same address that has been idle longest, or is a guest. Three quarters
 * are less than nine tenths, so one address alone evicts no connection of
 * others. They are enough for a proxy, behind which all clients have its
 * address; loopback, where proxies and tests on the same machine are, has no
 * such limit.
 *
 * Input. A request that is not complete waits in the stream. Beyond
 * INPUT_BYTES_SMALL it counts against one budget of all connections: when that
 * is used up, the request that has been in transit longest is refused, if that
 * is more than PATIENCE_MS, otherwise the one that needs more. One address may
 * use three quarters of the budget, as of the places. While a request is being
 * answered, no more than INPUT_BYTES_SMALL and one read is taken from the
 * kernel. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/metrics_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "base/list.h"
#include "base/log.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"

enum {
    IDLE_MS = 75000,
    GUEST_MS = 2000,
    GUEST_MIN_MS = 100,
    PROBE_MS = 250,
    PROBE_AGAIN_MS = 5000,
    EVICT_STEPS_MAX = 16,
    INPUT_BYTES_SMALL = 64 << 10,
    PATIENCE_MS = 5000,
};

_Static_assert(INPUT_BYTES_SMALL > HTTP_HEAD_BYTES_MAX + HTTP_HEADERS_BYTES_MAX,
               "a head has to fit");

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* ---- idle connections ---- */

/* Connections from one address. */
struct conn_host {
    struct list link; /* In one of api->conns.hosts. */
    uint64_t network; /* stream_peer_network() */
    uint32_t conn_count;
    uint32_t guest_count;
    uint64_t input_bytes;   /* Its part of api->conns.input_bytes. */
    struct list idle_conns; /* struct conn, by host_idle_link. */
};

void api_conn_mark_active(struct conn *conn)
{
    list_remove(&conn->place.idle_link);
    list_remove(&conn->place.host_idle_link);
}

void api_conn_mark_idle(struct conn *conn)
{
    api_conn_mark_active(conn);
    if (!conn->place.is_guest) {
        conn->place.idle_turn = reactor_turns(conn->api->options.reactor);
        list_add(&conn->api->conns.idle, &conn->place.idle_link);
        list_add(&conn->place.host->idle_conns, &conn->place.host_idle_link);
    }
}

static uint32_t places_taken(const struct api *api)
{
    return api->conns.count - api->conns.guest_count;
}

/* Drop the first connection of the list that is really idle. One with unread
 * input, or an answer that has not been sent, moves to the end of the list. A
 * connection that became idle in this turn could not be read yet, and neither
 * could those behind it in the list. */
static void evict(struct list *idle, bool of_host)
{
    for (int i = 0; i < EVICT_STEPS_MAX && !list_empty(idle); i++) {
        struct conn *conn =
            of_host
                ? container_of(idle->next, struct conn, place.host_idle_link)
                : container_of(idle->next, struct conn, place.idle_link);
        if (conn->place.idle_turn ==
            reactor_turns(conn->api->options.reactor)) {
            return;
        }
        if (stream_output_bytes(conn->stream) == 0 &&
            (conn->closing || !stream_has_unread(conn->stream))) {
            api_conn_drop(conn);
            return;
        }
        api_conn_mark_idle(conn);
    }
}

/* ---- addresses ---- */

static struct list *hosts_of(struct api *api, uint64_t network)
{
    uint64_t mixed = (network ^ (network >> 32)) * 0x9e3779b97f4a7c15U;
    return &api->conns.hosts[(mixed >> 32) % api->conns.host_list_count];
}

static struct conn_host *host_take(struct api *api, uint64_t network)
{
    struct list *hosts = hosts_of(api, network);
    for (struct list *at = hosts->next; at != hosts; at = at->next) {
        struct conn_host *host = container_of(at, struct conn_host, link);
        if (host->network == network) {
            host->conn_count++;
            return host;
        }
    }
    struct conn_host *host = mem_alloc(sizeof(*host));
    *host = (struct conn_host){.network = network, .conn_count = 1};
    list_init(&host->idle_conns);
    list_add(hosts, &host->link);
    return host;
}

static void host_release(struct conn_host *host)
{
    must(host->conn_count > 0);
    if (--host->conn_count == 0) {
        must(host->guest_count == 0 && host->input_bytes == 0 &&
             list_empty(&host->idle_conns));
        list_remove(&host->link);
        mem_free(host);
    }
}

static uint32_t share_of(const struct api *api)
{
    return api->options.conns_max - api->options.conns_max / 4;
}

/* Returns whether the host would exceed its share with `more` places than it
 * has now; guests have no place. */
static bool is_over_share(const struct api *api, const struct conn_host *host,
                          uint32_t more)
{
    uint32_t places = host->conn_count - host->guest_count + more;
    return host->network != 0 && places > share_of(api);
}

/* ---- guests ---- */

static void on_guest_time(void *arg);

/* Stop accepting while there are conns_beyond guests: the descriptors that
 * are left are reserved for files and peers. */
static void hold_listeners(struct api *api)
{
    bool full = api->conns.guest_count >= api->options.conns_beyond;
    bool any = false;
    for (size_t i = 0; i < ARRAY_COUNT(api->listeners); i++) {
        if (api->listeners[i]) {
            listener_hold(api->listeners[i], full);
            any = true;
        }
    }
    if (any && full && api->conns.guest_timer.node.place == 0) {
        timer_arm(api->options.reactor, &api->conns.guest_timer,
                  now(api) + GUEST_MIN_MS, on_guest_time, api);
    }
}

/* Connections wait to be accepted, so drop guests that have sent no request in
 * their time, and those that only have to be closed. */
static void on_guest_time(void *arg)
{
    struct api *api = arg;
    bool full = api->conns.guest_count >= api->options.conns_beyond;
    for (struct list *at = api->conns.guests.next;
         full && at != &api->conns.guests;) {
        struct conn *conn = container_of(at, struct conn, place.guest_link);
        at = at->next;
        if (!conn->busy && now(api) >= conn->place.accept_ms + GUEST_MIN_MS &&
            (conn->closing || !stream_has_unread(conn->stream))) {
            api_conn_drop(conn);
        }
    }
    hold_listeners(api);
}

static void become_guest(struct conn *conn)
{
    struct api *api = conn->api;
    conn->place.is_guest = true;
    api->conns.guest_count++;
    conn->place.host->guest_count++;
    list_add(&api->conns.guests, &conn->place.guest_link);
    api_conn_set_deadline(conn, now(api) + GUEST_MS);
    if (!api->conns.full_logged) {
        api->conns.full_logged = true;
        log_warn("connections-full",
                 "taken=%u max=%u at=%s why=\"probes are "
                 "still answered, other requests refused\"",
                 places_taken(api), api->options.conns_max,
                 stream_peer_text(conn->stream));
    }
}

static void leave_guests(struct conn *conn)
{
    if (conn->place.is_guest) {
        conn->place.is_guest = false;
        conn->api->conns.guest_count--;
        conn->place.host->guest_count--;
        list_remove(&conn->place.guest_link);
    }
}

/* The guest has a request now, so an idle connection is evicted for it. */
bool api_conn_is_guest(struct conn *conn)
{
    struct api *api = conn->api;
    if (!conn->place.is_guest) {
        return false;
    }
    if (is_over_share(api, conn->place.host, 1)) {
        evict(&conn->place.host->idle_conns, true);
    }
    if (places_taken(api) >= api->options.conns_max) {
        evict(&api->conns.idle, false);
    }
    if (places_taken(api) < api->options.conns_max &&
        !is_over_share(api, conn->place.host, 1)) {
        leave_guests(conn);
        hold_listeners(api);
    }
    return conn->place.is_guest;
}

void api_conn_refuse_guest(struct conn *conn)
{
    struct api *api = conn->api;
    char message[96];
    bool over_share = is_over_share(api, conn->place.host, 1);
    snprintf(message, sizeof(message),
             "there are %u connections %salready (%s)",
             over_share ? share_of(api) : api->options.conns_max,
             over_share ? "from this address " : "",
             over_share ? "three quarters of --max-conns" : "--max-conns");
    api_answer_problem(conn, 429, "overloaded", message, OUTCOME_NOT_APPLIED);
}

static void admit(struct conn *conn)
{
    struct api *api = conn->api;
    uint32_t max = api->options.conns_max;
    if (places_taken(api) > max - max / 10) {
        evict(&api->conns.idle, false);
    } else {
        api->conns.full_logged = false;
    }
    if (is_over_share(api, conn->place.host, 0)) {
        evict(&conn->place.host->idle_conns, true);
    }
    if (places_taken(api) > max || is_over_share(api, conn->place.host, 0)) {
        become_guest(conn);
    } else {
        api_conn_set_deadline(conn, now(api) + IDLE_MS);
        api_conn_mark_idle(conn);
    }
    hold_listeners(api);
}

/* ---- time-outs ---- */

static void on_time(void *arg);

/* The timer is not moved with every request: if it fires before the deadline it
 * is armed again. */
void api_conn_set_deadline(struct conn *conn, uint64_t at_ms)
{
    conn->clock.deadline_ms = at_ms;
    if (conn->clock.timer.node.place == 0 ||
        conn->clock.timer.node.key > at_ms) {
        timer_arm(conn->api->options.reactor, &conn->clock.timer, at_ms,
                  on_time, conn);
    }
}

void api_conn_refuse_partial(struct conn *conn, int status, const char *code,
                             const char *message)
{
    api_body_close(conn);
    conn->output.keep_alive = false;
    conn->input.is_partial = true;
    conn->answer.head_only = http_head_done(&conn->input.reader) &&
                             conn->input.reader.request.verb == HTTP_VERB_HEAD;
    conn->answer.index = 0;
    conn->api->headers.size = 0;
    api_answer_problem(conn, status, code, message, OUTCOME_NOT_APPLIED);
}

/* Returns whether a request is in progress and the disappearance of its client
 * would not be noticed, because its input has ended already or no more of it is
 * read.
 */
static bool is_deaf(const struct conn *conn)
{
    return conn->busy && !conn->request.is_http10 &&
           !api_body_is_sending(conn) && !api_is_watching(conn) &&
           (conn->input.eof || conn->input.counted_bytes >= INPUT_BYTES_SMALL);
}

void api_conn_watch_client(struct conn *conn)
{
    if (is_deaf(conn)) {
        api_conn_set_deadline(conn, now(conn->api) + PROBE_MS);
    }
}

/* Send an interim answer: the kernel of a client that is gone resets the
 * connection. */
static uint64_t probe(struct conn *conn)
{
    if (!is_deaf(conn)) {
        return IDLE_MS;
    }
    buf_add_string(stream_output(conn->stream),
                   "HTTP/1.1 100 Continue\r\n\r\n");
    return PROBE_AGAIN_MS;
}

static void on_time(void *arg)
{
    struct conn *conn = arg;
    if (now(conn->api) < conn->clock.deadline_ms) {
        api_conn_set_deadline(conn, conn->clock.deadline_ms);
    } else if (conn->busy) {
        api_conn_set_deadline(conn, now(conn->api) + probe(conn));
    } else if (http_in_request(&conn->input.reader) && !conn->closing) {
        api_conn_refuse_partial(conn, 408, "request-timeout",
                                http_head_done(&conn->input.reader)
                                    ? "the body made no progress for 30s"
                                    : "the headers took longer than 10s");
    } else {
        size_t left = stream_output_bytes(conn->stream);
        if (left > 0) {
            api_conn_log_slow(conn, "answer", conn->output.answer_bytes - left,
                              conn->output.answer_bytes,
                              conn->clock.deadline_ms - IDLE_MS);
        }
        api_conn_drop(conn);
    }
}

void api_conn_may_idle(struct conn *conn)
{
    api_conn_set_deadline(conn, now(conn->api) + IDLE_MS);
}

void api_conn_log_slow(const struct conn *conn, const char *what, uint64_t sent,
                       uint64_t total, uint64_t since_ms)
{
    uint64_t took_ms = max_u64(now(conn->api) - since_ms, 1);
    log_warn("slow-reader",
             "what=%s at=%s sent=%llu of=%llu seconds=%llu "
             "bytes_per_second=%llu limit=%d why=\"%s\"",
             what, stream_peer_text(conn->stream), (unsigned long long)sent,
             (unsigned long long)total, (unsigned long long)took_ms / 1000,
             (unsigned long long)(sent * 1000 / took_ms), 1 << 20,
             "the client reads too slowly: the connection is closed");
}

/* ---- input ---- */

static void set_input_bytes(struct conn *conn, size_t size)
{
    must(conn->place.host->input_bytes >= conn->input.counted_bytes);
    must(conn->api->conns.input_bytes >= conn->place.host->input_bytes);
    conn->api->conns.input_bytes += size;
    conn->api->conns.input_bytes -= conn->input.counted_bytes;
    conn->place.host->input_bytes += size;
    conn->place.host->input_bytes -= conn->input.counted_bytes;
    conn->input.counted_bytes = size;
}

static bool is_large(const struct conn *conn)
{
    return conn->input.is_receiving &&
           conn->input.counted_bytes > INPUT_BYTES_SMALL;
}

/* Without this limit, an address that replaces its refused bodies by new ones
 * would leave nothing of the budget to others. */
static bool is_over_input_share(const struct conn_host *host, uint64_t budget)
{
    return host->network != 0 && host->input_bytes > budget - budget / 4;
}

/* The budget, or the address's share of it, is used up: refuse one of the large
 * requests. */
static void make_input_room(struct conn *conn)
{
    struct api *api = conn->api;
    struct conn *victim = conn;
    bool of_host =
        is_over_input_share(conn->place.host, api->options.budget_bytes);
    uint64_t patient_ms = now(api) - min_u64(now(api), PATIENCE_MS);
    for (struct list *at = api->conns.all.next; at != &api->conns.all;
         at = at->next) {
        struct conn *other = container_of(at, struct conn, link);
        if (is_large(other) &&
            (!of_host || other->place.host == conn->place.host) &&
            other->input.receive_ms < patient_ms &&
            other->input.receive_ms < victim->input.receive_ms) {
            victim = other;
        }
    }
    set_input_bytes(victim, 0);
    victim->input.is_receiving = false;
    api_conn_refuse_partial(victim, 429, "overloaded",
                            of_host ? "the requests being received from this "
                                      "address take its share of memory already"
                                    : "the requests being received take all of "
                                      "their memory already");
}

void api_conn_count_input(struct conn *conn, size_t size)
{
    struct api *api = conn->api;
    bool receiving = !conn->busy && !conn->closing && size > 0 &&
                     http_in_request(&conn->input.reader);
    if (receiving && !conn->input.is_receiving) {
        conn->input.receive_ms = now(api);
    }
    conn->input.is_receiving = receiving;
    set_input_bytes(conn, conn->closing ? 0 : size);
    api_conn_watch_client(conn);
    if (is_large(conn) &&
        (api->conns.input_bytes > api->options.budget_bytes ||
         is_over_input_share(conn->place.host, api->options.budget_bytes))) {
        make_input_room(conn);
    }
    bool wide =
        receiving && !conn->closing && http_head_done(&conn->input.reader);
    if (wide != conn->input.is_wide) {
        conn->input.is_wide = wide;
        stream_set_input_limit(conn->stream,
                               wide ? INPUT_BYTES_SMALL +
                                          2 * api->options.body_bytes_max
                                    : INPUT_BYTES_SMALL);
    }
}

/* ---- the connection ---- */

static struct conn *conn_take(struct api *api)
{
    if (list_empty(&api->conns.unused)) {
        return mem_alloc(sizeof(struct conn));
    }
    struct conn *conn = container_of(api->conns.unused.next, struct conn, link);
    list_remove(&conn->link);
    return conn;
}

struct conn *api_conn_open(struct api *api, struct stream *stream,
                           const struct stream_handler *handler,
                           node_request_cb *cb)
{
    struct conn *conn = conn_take(api);
    memset(conn, 0, sizeof(*conn));
    conn->api = api;
    conn->stream = stream;
    conn->request.verb = HTTP_VERB_OTHER;
    conn->request.group = ROUTE_OTHER;
    conn->request.call.cb = cb;
    conn->place.accept_ms = now(api);
    list_init(&conn->link);
    list_init(&conn->place.idle_link);
    list_init(&conn->place.host_idle_link);
    list_init(&conn->place.guest_link);
    list_init(&conn->scan.link);
    list_init(&conn->request.read_link);
    list_init(&conn->keepalive.link);
    list_add(&api->conns.all, &conn->link);
    api->conns.count++;
    http_reader_init(&conn->input.reader, api->options.body_bytes_max);
    conn->input.reader.streams = api_route_streams;
    stream_set_handler(stream, handler, conn);
    stream_set_input_limit(stream, INPUT_BYTES_SMALL);
    conn->place.host = host_take(api, stream_peer_network(stream));
    admit(conn);
    return conn;
}

void api_conn_free(struct conn *conn)
{
    struct api *api = conn->api;
    api_body_close(conn);
    api_watch_close(conn);
    api_poll_close(conn);
    api_scan_free(conn);
    api_read_close(conn);
    api_keepalive_close(conn);
    api_gate_close(conn);
    timer_cancel(api->options.reactor, &conn->clock.timer);
    if (api->node) {
        node_cancel(api->node, &conn->request.call);
    }
    http_reader_free(&conn->input.reader);
    buf_free(&conn->request.key);
    buf_free(&conn->request.text);
    buf_free(&conn->request.params.text);
    node_request_free(&conn->request.call);
    set_input_bytes(conn, 0);
    api_conn_mark_active(conn);
    leave_guests(conn);
    host_release(conn->place.host);
    list_remove(&conn->link);
    api->conns.count--;
    hold_listeners(api);
    conn->stream = NULL;
    list_add(&api->conns.unused, &conn->link);
}

void api_conn_close_when_sent(struct conn *conn)
{
    conn->closing = true;
    api_conn_mark_idle(conn);
    timer_cancel(conn->api->options.reactor, &conn->clock.timer);
    if (conn->input.is_partial) {
        stream_close_after_drain(conn->stream);
    } else {
        stream_close_after_flush(conn->stream);
    }
}

void api_conn_drop(struct conn *conn)
{
    stream_close(conn->stream);
    api_conn_free(conn);
}

/* ---- all of them ---- */

void api_conns_init(struct api *api)
{
    list_init(&api->conns.all);
    list_init(&api->conns.idle);
    list_init(&api->conns.guests);
    list_init(&api->conns.unused);
    api->conns.host_list_count = api->options.conns_max;
    api->conns.hosts =
        mem_alloc(api->conns.host_list_count * sizeof(api->conns.hosts[0]));
    for (uint32_t i = 0; i < api->conns.host_list_count; i++) {
        list_init(&api->conns.hosts[i]);
    }
}

void api_conns_free(struct api *api)
{
    while (!list_empty(&api->conns.all)) {
        api_conn_drop(container_of(api->conns.all.next, struct conn, link));
    }
    while (!list_empty(&api->conns.unused)) {
        struct conn *conn =
            container_of(api->conns.unused.next, struct conn, link);
        list_remove(&conn->link);
        mem_free(conn);
    }
    timer_cancel(api->options.reactor, &api->conns.guest_timer);
    mem_free(api->conns.hosts);
}
