/* peer.c -- links: dial, accept, keep alive, frames. */
#include "peer/peer.h"

#include <stdio.h>

#include "base/log.h"
#include "peer/peer_internal.h"

static void tick(void *arg);

/* ---- links ---- */

struct link *peer_link_find(struct peers *peers, raft_id id)
{
    for (int i = 0; i < LINKS_MAX && id != 0; i++) {
        if (peers->links[i].id == id) {
            return &peers->links[i];
        }
    }
    return NULL;
}

struct link *peer_link_make(struct peers *peers, raft_id id)
{
    struct link *link = peer_link_find(peers, id);
    for (int i = 0; !link && i < LINKS_MAX; i++) {
        if (peers->links[i].id == 0) {
            link = &peers->links[i];
            *link =
                (struct link){.id = id, .wait_ms = REDIAL_MIN_MS, .error = ""};
        }
    }
    if (link) {
        return link;
    }
    bool left = peer_stranger_leaves(peers, 1);
    must(left); /* There are more slots than members. */
    return peer_link_make(peers, id);
}

static const char *link_name(const struct link *link)
{
    return link->member ? link->info.name : "?";
}

static uint64_t now(const struct peers *peers)
{
    return reactor_now_ms(peers->reactor);
}

/* Delay of a dial by the node with the higher id, in favour of the other. */
static uint64_t courtesy_ms(const struct peers *peers, const struct link *link)
{
    return peers->id < link->id ? 0 : COURTESY_MS;
}

static void dial_later(struct peers *peers, struct link *link, bool refused)
{
    uint64_t low = refused ? REFUSED_MIN_MS : REDIAL_MIN_MS;
    uint64_t high = refused ? REFUSED_MAX_MS : REDIAL_MAX_MS;
    if (link->wait_ms < low) {
        link->wait_ms = low;
    }
    link->dial_ms = now(peers) + courtesy_ms(peers, link) + link->wait_ms +
                    rng_below(&peers->rng, link->wait_ms);
    link->wait_ms = min_u64(link->wait_ms * 2, high);
}

void peer_log_failure(struct peers *peers, struct link *link, const char *event,
                      const char *why)
{
    if (link->logged_ms != 0 && now(peers) < link->logged_ms + LOG_AGAIN_MS) {
        return;
    }
    link->logged_ms = now(peers);
    log_warn(event, "peer=%s number=%llu addr=%s why=\"%s\"", link_name(link),
             (unsigned long long)link->id, link->member ? link->info.addr : "-",
             why);
}

/* ---- connections ---- */

/* The stream is closed, or about to be, by the caller. */
static void conn_end(struct conn *conn, const char *why, bool refused)
{
    struct peers *peers = conn->peers;
    struct link *link = conn->link;
    peer_guest_forget(conn);
    if (link && link->conn == conn) {
        bool was_up = conn->up;
        link->conn = NULL;
        link->error = why;
        if (was_up && !link->member) {
            peer_log_stranger(conn, "peer-down", why);
        } else if (was_up) {
            log_info("peer-down", "peer=%s number=%llu why=\"%s\"",
                     link_name(link), (unsigned long long)link->id, why);
        }
        if (was_up) {
            if (now(peers) > conn->opened_ms + 1000) {
                link->wait_ms = REDIAL_MIN_MS;
            }
        } else if (!refused) {
            link->foreign = false;
            peer_log_failure(peers, link, "peer-unreachable", why);
        }
        dial_later(peers, link, refused);
        raft_id id = link->id;
        if (!link->member) {
            link->id = 0;
        }
        if (was_up) {
            peers->handler->on_down(id, peers->handler_arg);
        }
    }
    secure_forget(conn);
    mem_free(conn);
}

void peer_conn_close(struct conn *conn, const char *why)
{
    stream_close(conn->stream);
    conn_end(conn, why, false);
}

void peer_conn_refuse(struct conn *conn, const char *why)
{
    stream_close(conn->stream);
    conn_end(conn, why, true);
}

static void conn_up(struct conn *conn, struct link *link,
                    const struct wire_hello *hello)
{
    struct peers *peers = conn->peers;
    bool sealed = conn->security == SECURITY_RECORDS;
    if (link->conn && link->conn != conn) {
        peer_conn_close(link->conn, "replaced by a newer connection");
        link =
            peer_link_make(peers, hello->from_id); /* A stranger's was freed. */
        must(link != NULL);
    }
    peer_guest_forget(conn);
    peer_hello_apply(link, hello);
    conn->link = link;
    link->conn = conn;
    conn->up = true;
    conn->opened_ms = now(peers);
    peer_ip_of(stream_peer_text(conn->stream), link->ip);
    stream_set_input_limit(conn->stream, sealed ? INPUT_SEALED_BYTES_MAX
                                                : WIRE_FRAME_BYTES_MAX);
    link->error = "";
    link->foreign = false;
    link->logged_ms = 0;
    if (link->member) {
        log_info("peer-up", "peer=%s number=%llu at=%s version=%d sealed=%s",
                 link_name(link), (unsigned long long)link->id,
                 stream_peer_text(conn->stream),
                 hello->version_max < WIRE_VERSION ? hello->version_max
                                                   : WIRE_VERSION,
                 sealed ? "yes" : "no");
    } else {
        peer_log_stranger(conn, "peer-up", "no member that is known here");
    }
    peers->handler->on_up(link->id, hello, peers->handler_arg);
}

void peer_send_hello(struct conn *conn, const struct link *link,
                     enum wire_type type)
{
    struct wire_hello hello;
    peer_hello_fill(conn->peers, link, &hello);
    wire_add_hello(secure_output(conn), type, &hello);
    conn->sent_ms = now(conn->peers);
}

/* ---- handshake ---- */

static bool refuse(struct conn *conn, const struct wire_hello *hello,
                   const struct wire_refuse *why)
{
    peer_log_refused(conn, hello, why->text);
    wire_add_refuse(secure_output(conn), why);
    return false;
}

/* HELLO of the dialling side. False: close the connection after a flush. */
static bool on_hello(struct conn *conn, const struct wire_hello *hello)
{
    struct peers *peers = conn->peers;
    struct wire_refuse why;
    if (peers->id == 0 && peers->handler->on_adopt &&
        hello->version_min <= WIRE_VERSION &&
        hello->version_max >= WIRE_VERSION_MIN && hello->from_id != 0) {
        /* On success peers_set_self() has been called. */
        (void)peers->handler->on_adopt(hello, peers->handler_arg);
    }
    bool foreign = peers->id == 0 || peer_hello_is_foreign(peers, hello);
    if (foreign && hello->from_id != 0 && peers->handler->on_foreign) {
        peers->handler->on_foreign(hello, peers->handler_arg);
    }
    if (!peer_hello_check(peers, hello, &why)) {
        return refuse(conn, hello, &why);
    }
    if (!peer_link_find(peers, hello->from_id)) {
        (void)peer_stranger_leaves(peers, STRANGERS_MAX);
    }
    struct link *link = peer_link_make(peers, hello->from_id);
    peer_send_hello(conn, link, WIRE_WELCOME);
    conn_up(conn, link, hello);
    return true;
}

static bool on_welcome(struct conn *conn, const struct wire_hello *hello)
{
    struct wire_refuse why;
    if (hello->from_id != conn->link->id) {
        peer_log_failure(conn->peers, conn->link, "peer-refused",
                         "another member answers at this address");
        return false;
    }
    if (!peer_hello_check(conn->peers, hello, &why)) {
        peer_log_failure(conn->peers, conn->link, "peer-refused", why.text);
        return false;
    }
    conn_up(conn, conn->link, hello);
    return true;
}

enum next { GO_ON, CLOSE, CLOSE_AFTER_FLUSH };

static enum next on_handshake(struct conn *conn, const struct wire_frame *frame)
{
    struct wire_hello hello;
    struct wire_refuse refused;
    if (!conn->dialled && frame->type == WIRE_HELLO &&
        wire_hello(frame->payload, &hello) == ERR_OK) {
        return on_hello(conn, &hello) ? GO_ON : CLOSE_AFTER_FLUSH;
    }
    if (conn->dialled && frame->type == WIRE_WELCOME &&
        wire_hello(frame->payload, &hello) == ERR_OK) {
        return on_welcome(conn, &hello) ? GO_ON : CLOSE;
    }
    if (conn->dialled && frame->type == WIRE_REFUSE &&
        wire_refuse(frame->payload, &refused) == ERR_OK) {
        conn->link->foreign = refused.reason == WIRE_REFUSE_CLUSTER;
        peer_log_failure(conn->peers, conn->link, "peer-refused", refused.text);
    }
    return CLOSE;
}

/* ---- frames ---- */

static enum next on_frame(struct conn *conn, const struct wire_frame *frame)
{
    struct peers *peers = conn->peers;
    if (!conn->up) {
        return on_handshake(conn, frame);
    }
    switch (frame->type) {
    case WIRE_RAFT:
    case WIRE_FORWARD:
    case WIRE_FORWARD_RESP:
    case WIRE_SNAPSHOT:
    case WIRE_SNAPSHOT_RESP:
    case WIRE_REMOVED:
    case WIRE_VITALS:
        return peers->handler->on_frame(conn->link->id, frame,
                                        peers->handler_arg)
                   ? GO_ON
                   : CLOSE;
    case WIRE_PING:
        wire_add_empty(secure_output(conn), WIRE_PONG);
        return GO_ON;
    case WIRE_PONG:
        return GO_ON;
    case WIRE_HELLO:
    case WIRE_WELCOME:
    case WIRE_REFUSE:
        return CLOSE;
    }
    return GO_ON; /* A type of a later minor version: skipped. */
}

/* The beginning of an HTTP request with which `in` agrees as far as both go, or
 * NULL. An HTTP client was pointed at the Raft port, for example by --join. */
static const char *http_method(struct bytes in)
{
    static const char *const methods[] = {"GET /", "POST /", "HEAD /", "PUT /",
                                          "DELETE /"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        size_t size = min_size(strlen(methods[i]), in.size);
        if (memcmp(in.data, methods[i], size) == 0) {
            return methods[i];
        }
    }
    return NULL;
}

bool peer_http_may_begin(struct bytes in)
{
    const char *method = http_method(in);
    return method && in.size < strlen(method);
}

static void answer_http(struct conn *conn)
{
    static const char body[] =
        "{\"status\":400,\"code\":\"raft-port\",\"message\":\"this is a Raft "
        "port: the HTTP address of that node (its --http) is meant\"}\n";
    buf_printf(stream_output(conn->stream),
               "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
               "Content-Type: application/problem+json\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               sizeof(body) - 1, body);
}

/* The queued bytes are sent, then the connection closes. */
static void close_refused(struct conn *conn)
{
    conn->refused = true;
    (void)secure_flush(conn, stream_output(conn->stream));
    stream_close_after_flush(conn->stream);
}

bool peer_http_is_answered(struct conn *conn, struct bytes in)
{
    const char *method = http_method(in);
    if (!method || in.size < strlen(method)) {
        return false;
    }
    answer_http(conn);
    peer_log_refused(conn, NULL, "an HTTP request on the Raft port");
    close_refused(conn);
    return true;
}

/* Bytes that are no frame. */
static void on_garbage(struct conn *conn, struct bytes in, enum err err)
{
    bool is_guest = !conn->up && !conn->dialled;
    if (is_guest && peer_http_is_answered(conn, in)) {
        return;
    }
    if (is_guest && channel_may_be_first(in)) {
        peer_log_refused(
            conn, NULL,
            "it seals its links, and this node has no --cluster-key");
    } else {
        peer_log_garbage(conn, err_name(err));
    }
    stream_close(conn->stream);
    conn_end(conn, "malformed frame", !conn->up);
}

bool peer_frames_read(struct conn *conn, struct bytes in, size_t *used)
{
    *used = 0;
    for (;;) {
        struct wire_frame frame;
        struct bytes rest = bytes_of(in.data + *used, in.size - *used);
        enum err err = wire_frame(rest, &frame);
        if (err == ERR_NOT_FOUND) {
            return true;
        }
        if (err) {
            on_garbage(conn, rest, err);
            return false;
        }
        switch (on_frame(conn, &frame)) {
        case GO_ON:
            break;
        case CLOSE_AFTER_FLUSH:
            close_refused(conn);
            return false;
        case CLOSE:
            stream_close(conn->stream);
            conn_end(conn, "refused", !conn->up);
            return false;
        }
        *used += frame.size_bytes;
    }
}

static size_t on_read(struct stream *stream, uint8_t *data, size_t size,
                      void *arg)
{
    (void)stream;
    return secure_read(arg, data, size);
}

static bool on_flush(struct buf *output, void *arg)
{
    return secure_flush(arg, output);
}

static void on_open(struct stream *stream, void *arg)
{
    struct conn *conn = arg;
    stream_set_user_timeout(stream, SILENCE_MS);
    conn->opened_ms = now(conn->peers);
    conn->heard_ms = conn->opened_ms;
    conn->open = true;
    secure_start(conn);
}

static void on_close(struct stream *stream, const char *why, void *arg)
{
    (void)stream;
    conn_end(arg, secure_explain_close(arg, why), false);
}

static const struct stream_handler conn_handler = {
    .on_read = on_read,
    .on_open = on_open,
    .on_flush = on_flush,
    .on_close = on_close,
};

/* The address to dial now: the advertised one first, then alternately. */
static const char *address_to_dial(struct link *link)
{
    bool advertised = link->dial_advertised && link->advertised[0] != '\0';
    link->dial_advertised = !advertised;
    return advertised ? link->advertised : link->info.addr;
}

static void dial(struct peers *peers, struct link *link)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    if (!addr_split(address_to_dial(link), host, &port)) {
        peer_log_failure(peers, link, "peer-unreachable", "not an address");
        dial_later(peers, link, true);
        return;
    }
    struct conn *conn = mem_zalloc(sizeof(*conn));
    *conn = (struct conn){.peers = peers,
                          .link = link,
                          .dialled = true,
                          .opened_ms = now(peers),
                          .heard_ms = now(peers)};
    link->conn = conn;
    conn->stream = stream_dial(peers->reactor, host, port, HANDSHAKE_MS,
                               &conn_handler, conn);
    stream_set_input_limit(conn->stream, HANDSHAKE_BYTES_MAX);
}

static void on_accept(struct stream *stream, void *arg)
{
    struct peers *peers = arg;
    struct conn *conn = mem_zalloc(sizeof(*conn));
    *conn = (struct conn){.peers = peers,
                          .stream = stream,
                          .opened_ms = now(peers),
                          .heard_ms = now(peers)};
    stream_set_handler(stream, &conn_handler, conn);
    stream_set_input_limit(stream, HANDSHAKE_BYTES_MAX);
    stream_set_user_timeout(stream, SILENCE_MS);
    secure_start(conn);
    peer_guest_admit(peers, conn);
}

/* ---- time ---- */

static void keep_alive(struct peers *peers, struct link *link)
{
    struct conn *conn = link->conn;
    uint64_t limit = conn->up ? SILENCE_MS : HANDSHAKE_MS;
    if (now(peers) > conn->heard_ms + limit) {
        peer_conn_close(conn, conn->up ? "silent for too long" : "no answer");
    } else if (conn->up && now(peers) >= conn->sent_ms + PING_MS) {
        wire_add_empty(secure_output(conn), WIRE_PING);
        conn->sent_ms = now(peers);
    }
}

static void tick(void *arg)
{
    struct peers *peers = arg;
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &peers->links[i];
        if (link->id == 0) {
            continue;
        }
        if (link->conn) {
            keep_alive(peers, link);
        } else if (link->member && peers->id != 0 &&
                   now(peers) >= link->dial_ms) {
            dial(peers, link);
        }
    }
    peer_guests_tick(peers);
    secure_tick(peers);
    peer_strangers_log_rest(peers);
    timer_arm(peers->reactor, &peers->timer, now(peers) + REDIAL_MIN_MS, tick,
              peers);
}

/* ---- public functions ---- */

enum err peers_open(const struct peers_options *options, struct peers **out,
                    char *why, size_t why_size)
{
    struct peers *peers = mem_zalloc(sizeof(*peers));
    peers->options = *options;
    peers->reactor = options->reactor;
    rng_init(&peers->rng, options->seed);
    enum err err =
        listener_open(options->reactor, options->host, options->port, on_accept,
                      peers, &peers->listener, why, why_size);
    if (err) {
        mem_free(peers);
        return err;
    }
    timer_arm(peers->reactor, &peers->timer, now(peers), tick, peers);
    *out = peers;
    return ERR_OK;
}

void peers_set_handler(struct peers *peers,
                       const struct transport_handler *handler, void *arg)
{
    peers->handler = handler;
    peers->handler_arg = arg;
}

const char *peers_listening(const struct peers *peers)
{
    return listener_text(peers->listener);
}

static void drop(struct conn *conn)
{
    if (conn) {
        stream_close(conn->stream);
        secure_forget(conn);
        mem_free(conn);
    }
}

void peers_close(struct peers *peers)
{
    if (!peers) {
        return;
    }
    timer_cancel(peers->reactor, &peers->timer);
    listener_close(peers->listener);
    for (int i = 0; i < LINKS_MAX; i++) {
        drop(peers->links[i].conn);
    }
    for (int i = 0; i < GUESTS_MAX; i++) {
        drop(peers->guests[i]);
    }
    crypto_zero(&peers->keys, sizeof(peers->keys));
    mem_free(peers);
}

void peers_set_self(struct peers *peers, const uint8_t cluster[16], raft_id id,
                    const uint8_t uuid[RAFT_UUID_BYTES], uint64_t incarnation,
                    const char *name)
{
    memcpy(peers->cluster, cluster, sizeof(peers->cluster));
    peers->id = id;
    memcpy(peers->uuid, uuid, sizeof(peers->uuid));
    peers->incarnation = incarnation;
    snprintf(peers->name, sizeof(peers->name), "%s", name);
}

/* The link to a member that left stays, as one to a non-member: that node has
 * yet to learn of its removal, and may have requests to answer. The link ends
 * when the other side closes it. */
static void link_leaves(struct link *link)
{
    link->member = false;
    if (link->conn && link->conn->up) {
        return;
    }
    if (link->conn) {
        peer_conn_close(link->conn, "no longer a member");
    } else {
        link->id = 0;
    }
}

void peers_set_members(struct peers *peers, const struct raft_conf *conf)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &peers->links[i];
        if (link->id != 0 && link->member && !raft_conf_find(conf, link->id)) {
            link_leaves(link);
        }
    }
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->id == peers->id) {
            continue;
        }
        struct link *link = peer_link_make(peers, member->id);
        if (!link->member || strcmp(link->info.addr, member->addr) != 0) {
            link->wait_ms = REDIAL_MIN_MS;
            link->dial_ms = now(peers) + courtesy_ms(peers, link);
        }
        link->info = *member;
        link->member = true;
    }
}

void peers_hint(struct peers *peers, raft_id id, const char *addr)
{
    struct link *link = peer_link_find(peers, id);
    if (!link || !link->member || (link->conn && link->conn->up)) {
        return;
    }
    snprintf(link->advertised, sizeof(link->advertised), "%s", addr);
    link->dial_advertised = true;
    link->wait_ms = REDIAL_MIN_MS;
    link->dial_ms = now(peers);
}

struct buf *peer_output(struct peers *peers, raft_id id)
{
    struct link *link = peer_link_find(peers, id);
    if (!link || !link->conn || !link->conn->up ||
        stream_output_bytes(link->conn->stream) +
                secure_output_bytes(link->conn) >
            PEER_OUTPUT_BYTES_MAX) {
        return NULL;
    }
    link->conn->sent_ms = now(peers);
    return secure_output(link->conn);
}

void peers_flush(struct peers *peers)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        if (link->id != 0 && link->conn && link->conn->up) {
            stream_flush(link->conn->stream);
        }
    }
}

bool peer_is_up(const struct peers *peers, raft_id id)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        if (link->id == id) {
            return link->conn && link->conn->up;
        }
    }
    return false;
}

bool peer_is_foreign(const struct peers *peers, raft_id id)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (peers->links[i].id == id) {
            return peers->links[i].foreign;
        }
    }
    return false;
}

const char *peer_last_error(const struct peers *peers, raft_id id)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (peers->links[i].id == id) {
            return peers->links[i].error;
        }
    }
    return "";
}
