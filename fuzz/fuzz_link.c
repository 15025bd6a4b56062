/* fuzz_link.c -- a link to another node as a stream of bytes: handshake and
 * frames, of both sides, cut anywhere. The room peer/ runs here over a reactor
 * of this file, which has no sockets, and a clock that stands until an input
 * moves it.
 *
 * Input: a byte of flags (1: we have no id yet; 2: member 2 is at an address
 * that is refused; 4: there is a third member; 8: we have a cluster key, of
 * which the input knows nothing), a byte from which the cuts follow, then
 * records: u8 connection (0: the one that we dial, 1..3: accepted, on first
 * use) + 4 * kind | u16 size | bytes kind 0: bytes as they are | 1: a frame:
 * type, payload | 2: time passes, size ms | 3: the other side closes
 * Properties: whatever comes, frames are handed out only between on_up() and
 * on_down(), the input that is kept stays within its limit, nothing is left
 * when the room is closed; and the same bytes in pieces of any size have the
 * same effects. With a key nothing is handed out at all, and nothing is sent
 * but our own first message and the constant answer to HTTP requests. */
#include <stdio.h>

#include "fake_reactor.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "peer/channel.h"
#include "peer/peer.h"
#include "sys/sys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONNS = 4, STREAMS_MAX = 64, PIECE_MAX = 65536 };
enum kind { KIND_BYTES, KIND_FRAME, KIND_TIME, KIND_CLOSE };

static const uint8_t cluster[16] = "a cluster";

/* ---- the reactor ---- */

enum state { DIALLING, OPEN, FLUSHING, CLOSED };

struct stream {
    struct fake_stream fake;
    enum state state;
    struct buf input;
    struct buf output;
    size_t said; /* Output bytes that are in the digest. */
};

struct world {
    bool cut;
    bool sealed;
    uint8_t seed;
    struct timer *timer;
    uint64_t due_ms;
    timer_cb *cb;
    void *timer_arg;
    struct stream *streams[STREAMS_MAX]; /* All that there were. */
    int stream_count;
    struct stream *dialled; /* The newest. */
    struct stream *conns[CONNS];
    struct peers *peers;
    unsigned up[256]; /* Links, by the low byte of their id. */
    uint64_t digest;  /* Hash of all effects, in order. */
};

static struct world world;

static void note(const char *what, const void *data, size_t size)
{
    uint32_t crc = crc32c(0, what, strlen(what));
    crc = crc32c(crc, data, size);
    world.digest = world.digest * 0x9e3779b97f4a7c15u + crc + 1;
}

static void note_number(const char *what, uint64_t number)
{
    note(what, &number, sizeof(number));
}

void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t at_ms,
               timer_cb *cb, void *arg)
{
    (void)reactor;
    world.timer = timer;
    world.due_ms = at_ms;
    world.cb = cb;
    world.timer_arg = arg;
}

void timer_cancel(struct reactor *reactor, struct timer *timer)
{
    (void)reactor;
    must(world.timer == timer);
    world.timer = NULL;
}

const char *listener_text(const struct listener *listener)
{
    (void)listener;
    return "10.0.0.1:1";
}

void listener_close(struct listener *listener)
{
    (void)listener;
}

static struct stream *stream_make(enum state state)
{
    if (world.stream_count == STREAMS_MAX) {
        return NULL;
    }
    struct stream *stream = mem_zalloc(sizeof(*stream));
    stream->state = state;
    stream->fake.input_bytes_max = 65536;
    world.streams[world.stream_count++] = stream;
    return stream;
}

struct stream *stream_dial(struct reactor *reactor, const char *host,
                           uint16_t port, uint32_t timeout_ms,
                           const struct stream_handler *handler, void *arg)
{
    (void)reactor;
    (void)timeout_ms;
    struct stream *stream = stream_make(DIALLING);
    must(stream); /* Time does not pass for so many. */
    stream->fake.handler = handler;
    stream->fake.arg = arg;
    world.dialled = stream;
    note(host, &port, sizeof(port));
    return stream;
}

struct buf *stream_output(struct stream *stream)
{
    must(stream->state != CLOSED);
    return &stream->output;
}

size_t stream_output_bytes(const struct stream *stream)
{
    return stream->output.size - stream->said;
}

void stream_flush(struct stream *stream)
{
    if (stream->state == OPEN && stream->fake.handler->on_flush) {
        while (
            stream->fake.handler->on_flush(&stream->output, stream->fake.arg)) {
        }
    }
}

void stream_kick(struct stream *stream)
{
    (void)stream;
    must(!world.sealed); /* No first message is good. */
}

void sys_entropy(void *out, size_t size)
{
    memset(out, 5, size);
}

void stream_close(struct stream *stream)
{
    must(stream->state != CLOSED);
    stream->state = CLOSED;
    note("closed", NULL, 0);
}

void stream_close_after_flush(struct stream *stream)
{
    if (stream->state != CLOSED) {
        stream->state = FLUSHING;
        note("closing", NULL, 0);
    }
}

const char *stream_peer_text(const struct stream *stream)
{
    (void)stream;
    return "10.0.0.9:9";
}

void stream_set_user_timeout(struct stream *stream, uint32_t timeout_ms)
{
    (void)stream;
    (void)timeout_ms;
}

static void fail(struct stream *stream)
{
    stream->state = CLOSED;
    stream->fake.handler->on_close(stream, "closed by peer", stream->fake.arg);
}

/* ---- the owner of the room ---- */

static bool on_frame(raft_id from, const struct wire_frame *frame, void *arg)
{
    (void)arg;
    must(world.up[from % 256] > 0);
    note_number("frame", from);
    note("payload", frame->payload.data, frame->payload.size);
    return frame->payload.size % 7 != 3; /* Some are malformed. */
}

static const char *on_start(const struct wire_hello *hello, void *arg)
{
    (void)arg;
    must(!world.sealed);
    note_number("start", hello->from_incarnation);
    return hello->from_incarnation % 5 == 4 ? "an old copy" : NULL;
}

static void on_up(raft_id peer, const struct wire_hello *hello, void *arg)
{
    (void)arg;
    must(hello->from_id == peer && peer != 0 && !world.sealed);
    world.up[peer % 256]++;
    note_number("up", peer);
    must(peer_is_up(world.peers, peer));
    struct buf *out = peer_output(world.peers, peer);
    if (out) {
        wire_add_snapshot_resp(
            out, &(struct wire_snapshot_resp){.state = WIRE_SNAPSHOT_DONE});
    }
}

static void on_down(raft_id peer, void *arg)
{
    (void)arg;
    must(world.up[peer % 256] > 0);
    world.up[peer % 256]--;
    must(!peer_is_up(world.peers, peer));
    note_number("down", peer);
}

static bool on_adopt(const struct wire_hello *hello, void *arg)
{
    (void)arg;
    must(!world.sealed);
    note_number("adopt", hello->to_id);
    if (hello->to_id == 0 || hello->from_id == hello->to_id) {
        return false;
    }
    static const uint8_t uuid[16] = {1};
    peers_set_self(world.peers, hello->cluster, hello->to_id, uuid, 1, "n1");
    return true;
}

static void on_foreign(const struct wire_hello *hello, void *arg)
{
    (void)arg;
    must(!world.sealed);
    note("foreign", hello->cluster, sizeof(hello->cluster));
}

static const struct transport_handler handler = {.on_frame = on_frame,
                                                 .on_start = on_start,
                                                 .on_up = on_up,
                                                 .on_down = on_down,
                                                 .on_adopt = on_adopt,
                                                 .on_foreign = on_foreign};

/* ---- one input ---- */

static void note_output(void)
{
    for (int i = 0; i < world.stream_count; i++) {
        struct stream *stream = world.streams[i];
        stream_flush(stream);
        must(!world.sealed || stream->output.size == 0 ||
             stream->output.size == CHANNEL_FIRST_BYTES ||
             memcmp(stream->output.data, "HTTP/1.1 400", 12) == 0);
        if (stream_output_bytes(stream) > 0) {
            note_number("output", (uint64_t)i);
            note("bytes", stream->output.data + stream->said,
                 stream_output_bytes(stream));
        }
        stream->said = stream->output.size;
    }
}

static struct stream *conn(unsigned index)
{
    struct stream *stream = index == 0 ? world.dialled : world.conns[index];
    if (index > 0 && (!stream || stream->state == CLOSED)) {
        stream = stream_make(OPEN);
        world.conns[index] = stream;
        if (stream) {
            fake_reactor.accept(stream, fake_reactor.accept_arg);
        }
    }
    if (stream && stream->state == DIALLING) {
        stream->state = OPEN;
        stream->fake.handler->on_open(stream, stream->fake.arg);
    }
    return stream;
}

static size_t piece_size(size_t left)
{
    if (!world.cut) {
        return min_size(left, PIECE_MAX);
    }
    world.seed = (uint8_t)(world.seed * 5 + 17);
    return min_size(left, 1 + world.seed % 29);
}

/* As the reactor does: what is not consumed is offered again with more. */
static void deliver(struct stream *stream, const uint8_t *data, size_t size)
{
    while (size > 0 && stream->state == OPEN &&
           stream->input.size < stream->fake.input_bytes_max) {
        size_t room = stream->fake.input_bytes_max - stream->input.size;
        size_t piece = min_size(piece_size(size), room);
        buf_add(&stream->input, data, piece);
        data += piece;
        size -= piece;
        size_t used = stream->fake.handler->on_read(
            stream, stream->input.data, stream->input.size, stream->fake.arg);
        must(used <= stream->input.size);
        if (stream->state == OPEN) {
            buf_consume(&stream->input, used);
            must(stream->input.size <= stream->fake.input_bytes_max);
        }
    }
}

static void deliver_frame(struct stream *stream, const uint8_t *data,
                          size_t size)
{
    struct buf frame = {0};
    uint32_t body = (uint32_t)(size > 0 ? size - 1 : 0) + 4;
    buf_add_u32(&frame, body);
    buf_add_u32(&frame, crc32c(0, frame.data, 4));
    buf_add_u32(&frame, 0);
    buf_add_u8(&frame, size > 0 ? data[0] : 0);
    buf_add_u8(&frame, 1);
    buf_add_u16(&frame, 0);
    if (size > 1) {
        buf_add(&frame, data + 1, size - 1);
    }
    store_u32(frame.data + 8,
              crc32c(0, frame.data + WIRE_FRAME_HEADER_BYTES, body));
    deliver(stream, frame.data, frame.size);
    buf_free(&frame);
}

static void pass(uint64_t ms)
{
    uint64_t until_ms = fake_reactor.now_ms + ms;
    while (world.due_ms <= until_ms) {
        fake_reactor.now_ms = max_u64(fake_reactor.now_ms, world.due_ms);
        world.cb(world.timer_arg);
    }
    fake_reactor.now_ms = until_ms;
}

static void play_record(uint8_t head, const uint8_t *data, size_t size)
{
    struct stream *stream = conn(head % CONNS);
    if (!stream || stream->state == CLOSED) {
        return;
    }
    switch ((enum kind)(head / CONNS % 4)) {
    case KIND_BYTES:
        deliver(stream, data, size);
        return;
    case KIND_FRAME:
        deliver_frame(stream, data, size);
        return;
    case KIND_TIME:
        return;
    case KIND_CLOSE:
        fail(stream);
        return;
    }
}

static void play(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 3 <= size;) {
        uint8_t head = data[at];
        size_t length = load_u16(data + at + 1);
        at += 3;
        if (head / CONNS % 4 == KIND_TIME) {
            pass(length % 1024);
        } else {
            length = min_size(length, size - at);
            play_record(head, data + at, length);
            at += length;
        }
        note_output();
        if (world.stream_count > STREAMS_MAX - 24) {
            return; /* Dials take the rest. */
        }
    }
}

static void set_up(uint8_t flags)
{
    char why[64];
    static const uint8_t uuid[16] = {1};
    struct peers_options options = {
        .addr = "10.0.0.1:1", .http = "10.0.0.1:2", .nonce = 11, .seed = 1};
    enum err err = peers_open(&options, &world.peers, why, sizeof(why));
    must(err == ERR_OK);
    peers_set_handler(world.peers, &handler, NULL);
    if (flags & 8) {
        static const struct peer_keys keys = {.count = 2, .key = {{1}, {2}}};
        peers_set_keys(world.peers, &keys, false);
        world.sealed = true;
    }
    if (flags & 1) {
        return;
    }
    peers_set_self(world.peers, cluster, 1, uuid, 5, "n1");
    struct raft_conf conf = {.count = 3};
    for (uint32_t i = 0; i < conf.count; i++) {
        struct raft_member *member = &conf.members[i];
        *member = (struct raft_member){
            .id = i + 1, .suffrage = RAFT_VOTER, .uuid = {(uint8_t)(i + 1)}};
        snprintf(member->name, sizeof(member->name), "n%u", i + 1);
        snprintf(member->addr, sizeof(member->addr),
                 i == 1 && flags & 2 ? "no address" : "10.0.0.%u:1", i + 1);
    }
    conf.count = flags & 4 ? 3 : 2;
    peers_set_members(world.peers, &conf);
    pass(100);
}

static uint64_t run(bool cut, const uint8_t *data, size_t size)
{
    world = (struct world){.cut = cut, .seed = data[1]};
    fake_reactor = (struct fake_reactor){.now_ms = 1000};
    set_up(data[0]);
    play(data + 2, size - 2);
    uint64_t digest = world.digest;
    peers_close(world.peers);
    must(world.timer == NULL);
    for (int i = 0; i < world.stream_count; i++) {
        must(world.streams[i]->state == CLOSED ||
             world.streams[i]->state == FLUSHING);
        buf_free(&world.streams[i]->input);
        buf_free(&world.streams[i]->output);
        mem_free(world.streams[i]);
    }
    return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_OFF);
    if (size < 2) {
        return 0;
    }
    must(run(false, data, size) == run(true, data, size));
    return 0;
}
