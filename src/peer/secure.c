/* secure.c -- which connections are sealed, and when they are proven.
 *
 * A connection without a channel is read as frames at once. With one, nothing
 * passes on before the other side has proved the key: to the dialling side by
 * its answer, to the other side by the first record that opens, for the first
 * message may be a recording. Until that record an accepted connection is a
 * guest like any other (admission.c).
 *
 * A good first message is made for one connection and remembered, so that it is
 * refused when it is sent again; after a restart, or when FIRSTS_KEPT others
 * have come, a recording is answered once more. That costs two X25519 (half a
 * millisecond on a PC, some on a small router), so the number of answers
 * between two ticks is bounded, and those to addresses of members are counted
 * apart. Who gets none waits for the next tick; a message that was not made
 * with the key is refused after a few hashes, and counts for nothing. */
#include "peer/peer_internal.h"
#include "sys/sys.h"

enum { PLAIN_KEPT_BYTES = 65536 };

static void fresh(uint8_t random[X25519_BYTES])
{
    sys_entropy(random, X25519_BYTES);
}

/* ---- starting ---- */

static void dial_sealed(struct conn *conn)
{
    uint8_t random[X25519_BYTES];
    fresh(random);
    channel_dial(&conn->channel, conn->peers->keys.key[0], random,
                 stream_output(conn->stream));
    crypto_zero(random, sizeof(random));
    conn->security = SECURITY_SECOND;
}

void secure_start(struct conn *conn)
{
    const struct peers *peers = conn->peers;
    bool sealed = peers->keys.count > 0;
    if (!conn->dialled) {
        conn->security = sealed ? SECURITY_FIRST : SECURITY_NONE;
        return;
    }
    bool clear = !sealed || (peers->keys_optional && conn->link->dial_clear);
    conn->link->dial_clear = false;
    if (clear) {
        peer_send_hello(conn, conn->link, WIRE_HELLO);
    } else {
        dial_sealed(conn);
    }
}

/* ---- the handshake ---- */

/* The connection is closed: all its input is consumed. */
static size_t refuse_guest(struct conn *conn, const char *why, size_t size)
{
    peer_log_refused(conn, NULL, why);
    peer_conn_refuse(conn, "refused");
    return size;
}

/* A guest's first bytes are no sealed handshake. */
static size_t read_clear_guest(struct conn *conn, uint8_t *data, size_t size)
{
    if (conn->peers->keys_optional) {
        conn->security = SECURITY_NONE;
        return secure_read(conn, data, size);
    }
    if (peer_http_may_begin(bytes_of(data, size))) {
        return 0; /* The rest of the method decides. */
    }
    if (peer_http_is_answered(conn, bytes_of(data, size))) {
        return size;
    }
    return refuse_guest(
        conn, "it does not seal the link: has it the --cluster-key?", size);
}

/* Count an answer to this guest; false: it has to wait. */
static bool take_answer(struct conn *conn)
{
    struct peers *peers = conn->peers;
    char ip[REACTOR_ADDR_TEXT_BYTES];
    peer_ip_of(stream_peer_text(conn->stream), ip);
    int of_kind = 0;
    int of_address = 0;
    for (int i = 0; i < peers->answer_count; i++) {
        of_kind += peers->answers[i].known == conn->known;
        of_address += strcmp(peers->answers[i].ip, ip) == 0;
    }
    int max = conn->known ? ANSWERS_KNOWN_MAX : ANSWERS_STRANGE_MAX;
    if (of_kind >= max || of_address >= ANSWERS_ADDRESS_MAX) {
        return false;
    }
    must(peers->answer_count < ANSWERS_MAX);
    peers->answers[peers->answer_count].known = conn->known;
    memcpy(peers->answers[peers->answer_count].ip, ip, sizeof(ip));
    peers->answer_count++;
    return true;
}

static size_t answer_first(struct conn *conn, size_t size)
{
    if (!take_answer(conn)) {
        conn->security = SECURITY_BUDGET;
        return 0;
    }
    uint8_t random[X25519_BYTES];
    fresh(random);
    bool answered =
        channel_answer(&conn->channel, random, stream_output(conn->stream));
    crypto_zero(random, sizeof(random));
    if (!answered) {
        return refuse_guest(conn, "its handshake has no public key", size);
    }
    conn->security = SECURITY_RECORDS;
    /* The time for HELLO begins anew: it is sent when the answer arrives. */
    conn->opened_ms = reactor_now_ms(conn->peers->reactor);
    return size;
}

/* Returns whether this good first message has been here before, and remembers
 * it. */
static bool is_repeated(struct peers *peers, struct bytes message)
{
    uint64_t end = load_u64(message.data + message.size - sizeof(end));
    for (size_t i = 0; i < FIRSTS_KEPT; i++) {
        if (peers->firsts[i] == end) {
            return true;
        }
    }
    peers->firsts[peers->firsts_next++ % FIRSTS_KEPT] = end;
    return false;
}

static size_t read_first(struct conn *conn, uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    if (!channel_may_be_first(in)) {
        return read_clear_guest(conn, data, size);
    }
    if (size < CHANNEL_FIRST_BYTES) {
        return 0;
    }
    if (size > CHANNEL_FIRST_BYTES) {
        /* Nothing can be sealed before our answer is known. */
        return refuse_guest(conn, "bytes behind the first message", size);
    }
    if (conn->security == SECURITY_FIRST) {
        if (!channel_open_first(&conn->channel, &conn->peers->keys, in)) {
            return refuse_guest(conn, "its cluster key is none of this node's",
                                size);
        }
        if (is_repeated(conn->peers, in)) {
            return refuse_guest(conn, "a recording of an earlier handshake",
                                size);
        }
    }
    return answer_first(conn, size);
}

static size_t read_second(struct conn *conn, uint8_t *data, size_t size)
{
    if (size < CHANNEL_SECOND_BYTES) {
        return 0;
    }
    if (size > CHANNEL_SECOND_BYTES ||
        !channel_open_second(&conn->channel, bytes_of(data, size))) {
        static const char why[] =
            "what answers does not prove the cluster key of this node";
        peer_log_failure(conn->peers, conn->link, "peer-refused", why);
        peer_conn_refuse(conn, why);
        return size;
    }
    conn->security = SECURITY_RECORDS;
    peer_send_hello(conn, conn->link, WIRE_HELLO);
    return size;
}

/* ---- records ---- */

/* False: the connection is closed. *is_new: an unfinished frame that is left
 * has begun in this text. */
static bool take_text(struct conn *conn, struct bytes text, bool *is_new)
{
    bool direct = conn->opened.size == 0;
    if (!direct) {
        buf_add_bytes(&conn->opened, text);
        text = buf_bytes(&conn->opened);
    }
    size_t used;
    if (!peer_frames_read(conn, text, &used)) {
        return false;
    }
    *is_new = *is_new || direct || used > 0;
    if (direct) {
        buf_add(&conn->opened, text.data + used, text.size - used);
    } else {
        buf_consume(&conn->opened, used);
    }
    if (conn->opened.size == 0) {
        buf_free(&conn->opened); /* Idle links hold no input memory. */
    }
    return true;
}

static size_t read_records(struct conn *conn, uint8_t *data, size_t size)
{
    size_t at = 0;
    bool is_new = false;
    for (;;) {
        struct bytes text;
        size_t used;
        enum err err =
            channel_open(&conn->channel, data + at, size - at, &text, &used);
        if (err == ERR_NOT_FOUND) {
            break;
        }
        if (!err && !conn->up &&
            conn->opened.size + text.size > HANDSHAKE_BYTES_MAX) {
            err = ERR_TOO_BIG;
        }
        if (err) {
            peer_log_garbage(conn, "a record that does not open");
            peer_conn_close(conn, "malformed record");
            return size;
        }
        conn->heard_ms = reactor_now_ms(conn->peers->reactor);
        at += used;
        if (!take_text(conn, text, &is_new)) {
            return size;
        }
    }
    return peer_unfinished_set(conn, conn->opened.size, is_new) ? at : size;
}

static size_t read_clear(struct conn *conn, uint8_t *data, size_t size)
{
    size_t used;
    conn->heard_ms = reactor_now_ms(conn->peers->reactor);
    if (!peer_frames_read(conn, bytes_of(data, size), &used)) {
        return size;
    }
    return peer_unfinished_set(conn, size - used, used > 0) ? used : size;
}

size_t secure_read(struct conn *conn, uint8_t *data, size_t size)
{
    switch (conn->security) {
    case SECURITY_NONE:
        return read_clear(conn, data, size);
    case SECURITY_FIRST:
    case SECURITY_BUDGET:
        return read_first(conn, data, size);
    case SECURITY_SECOND:
        return read_second(conn, data, size);
    case SECURITY_RECORDS:
        return read_records(conn, data, size);
    }
    return size;
}

/* ---- output ---- */

/* Frames wait in `plain`, which no send can reach, so that none ever leaves
 * unsealed; all of a flush are sealed together. */
struct buf *secure_output(struct conn *conn)
{
    struct buf *output = stream_output(conn->stream); /* To be flushed. */
    return conn->security == SECURITY_RECORDS ? &conn->plain : output;
}

size_t secure_output_bytes(const struct conn *conn)
{
    return conn->plain.size - conn->plain_at;
}

bool secure_flush(struct conn *conn, struct buf *output)
{
    size_t left = secure_output_bytes(conn);
    if (left == 0) {
        return false;
    }
    size_t size = min_size(left, SEALED_FLUSH_BYTES_MAX);
    channel_seal(&conn->channel,
                 bytes_of(conn->plain.data + conn->plain_at, size), output);
    conn->plain_at += size;
    if (size == left) {
        conn->plain.size = 0;
        conn->plain_at = 0;
        if (conn->plain.capacity > PLAIN_KEPT_BYTES) {
            buf_free(&conn->plain);
        }
    } else if (conn->plain_at > conn->plain.size / 2) {
        buf_consume(&conn->plain, conn->plain_at);
        conn->plain_at = 0;
    }
    return size < left;
}

/* ---- the end of one, and of a tick ---- */

const char *secure_explain_close(struct conn *conn, const char *why)
{
    if (!conn->dialled || !conn->open || conn->up) {
        return why;
    }
    bool by_peer =
        strcmp(why, "closed by peer") == 0 || strcmp(why, "reset") == 0;
    if (by_peer && conn->peers->keys.count == 0) {
        return "closed without an answer (does it have a --cluster-key, which "
               "this node has not?)";
    }
    if (by_peer && conn->security == SECURITY_SECOND) {
        conn->link->dial_clear = conn->peers->keys_optional;
        return "closed without an answer: it has not this --cluster-key";
    }
    return why;
}

void secure_tick(struct peers *peers)
{
    struct conn *waiting[GUESTS_MAX];
    int count = 0;
    peers->answer_count = 0;
    for (int i = 0; i < GUESTS_MAX; i++) {
        struct conn *guest = peers->guests[i];
        if (guest && guest->security == SECURITY_BUDGET) {
            int at = count++;
            for (; at > 0 && waiting[at - 1]->opened_ms > guest->opened_ms;
                 at--) {
                waiting[at] = waiting[at - 1];
            }
            waiting[at] = guest;
        }
    }
    for (int i = 0; i < count; i++) { /* The oldest first. */
        stream_kick(waiting[i]->stream);
    }
}

void secure_forget(struct conn *conn)
{
    channel_forget(&conn->channel);
    buf_free(&conn->plain);
    buf_free(&conn->opened);
}

/* ---- the keys ---- */

static bool is_among(const struct peer_keys *keys,
                     const uint8_t key[PEER_KEY_BYTES])
{
    bool found = false;
    for (int i = 0; i < keys->count; i++) {
        found = crypto_equal(keys->key[i], key, PEER_KEY_BYTES) || found;
    }
    return found;
}

static void check_key(const struct peers *peers, struct conn *conn)
{
    bool sealed = conn && conn->security != SECURITY_NONE &&
                  conn->security != SECURITY_FIRST;
    if (sealed && !is_among(&peers->keys, conn->channel.key)) {
        peer_conn_close(conn, "its cluster key was removed");
    }
}

void peers_set_keys(struct peers *peers, const struct peer_keys *keys,
                    bool optional)
{
    must(keys->count >= 1 && keys->count <= PEER_KEYS_MAX);
    peers->keys = *keys;
    peers->keys_optional = optional;
    for (int i = 0; i < LINKS_MAX; i++) {
        check_key(peers, peers->links[i].conn);
    }
    for (int i = 0; i < GUESTS_MAX; i++) {
        check_key(peers, peers->guests[i]);
    }
}
