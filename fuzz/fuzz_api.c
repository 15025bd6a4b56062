/* fuzz_api.c -- clients of the API: the input is what up to two connections
 * send to a node, cut into pieces, with or without patience.
 *
 * The node is the real one, a cluster of one with its files in memory; the
 * reactor is here (the linker puts it in the place of the real one), so that
 * time and the network are the input's. Properties, whatever is sent:
 *
 * 1. a request is answered once at most, and when it is with the node, within
 *    the longest time-out;
 * 2. what comes back is a row of well-formed answers, framed by their
 *    Content-Length, with the statuses that were counted;
 * 3. when a connection has gone, nothing of it is left;
 * 4. with the rules of --auth, nobody learns or changes what is below secret/.
 *
 * An input whose text begins with "#" and a line feed is one with rules; the
 * line is not sent.
 *
 * The first byte: 1 two connections, 2 half-close at the end, 4 a client that
 * takes little at a time, 8 long pauses between pieces, 16 reset at the end;
 * the upper three bits choose the size of the pieces. */
#include "fake_reactor.h"

#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "node/node.h"
#include "support/authfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CONNS_MAX = 2,
    ANSWERS_MAX = 4096,
    BODY_BYTES_MAX = 8192,
    VALUE_BYTES_MAX = 4096,
    DB_BYTES_MAX = 4 << 20,
    INPUT_BYTES_MAX = 32 << 10,
    BUSY_MS_MAX = 200000, /* ?timeout= is at most 60 s, twice for some. */
    SMALL_TAKE = 700,
    SECRET_BYTES = 24,
};

/* The key that only the holder of `root` may use, its value, and that holder:
 * made from the seed of the node, so that no input holds them. */
static const char secret_key[] = "secret/a";

/* ---- the reactor's place ---- */

struct answered {
    int status;
    bool head_only;
};

struct stream {
    struct fake_stream fake;
    struct buf in;
    struct buf out;   /* The sent part is dropped. */
    struct buf taken; /* Received by the client. */
    bool kicked;
    bool left_over; /* Bytes were left at the end of a turn. */
    bool eof_told;
    bool closing; /* After what is queued. */
    bool gone;
    bool may_answer; /* Something was read since the last answer. */
    uint32_t answer_count;
    struct answered answers[ANSWERS_MAX];
};

static struct {
    uint64_t turns;
    struct heap timers;
    struct stream streams[CONNS_MAX];
    struct rng rng;
    struct fs *fs;
    struct node *node;
    struct api *api;
    uint64_t log_last; /* Before the input: unchanged, the node is kept. */
    bool has_rules;
    char secret[SECRET_BYTES + 1];
} world;

/* Names that the linker gives. */
uint64_t __wrap_reactor_turns(const struct reactor *reactor);
uint64_t __wrap_reactor_turn_max_us(const struct reactor *reactor);
const struct histogram *
__wrap_reactor_turn_times(const struct reactor *reactor);
void __wrap_timer_arm(struct reactor *reactor, struct timer *timer,
                      uint64_t at_ms, timer_cb *cb, void *arg);
void __wrap_timer_cancel(struct reactor *reactor, struct timer *timer);
void __wrap_listener_close(struct listener *listener);
void __wrap_listener_hold(struct listener *listener, bool hold);
struct buf *__wrap_stream_output(struct stream *stream);
void __wrap_stream_write(struct stream *stream, const void *data, size_t size);
size_t __wrap_stream_output_bytes(const struct stream *stream);
size_t __wrap_stream_input_bytes(const struct stream *stream);
uint64_t __wrap_stream_peer_network(const struct stream *stream);
bool __wrap_stream_peer_uid(const struct stream *stream, uint32_t *uid);
const char *__wrap_stream_peer_text(const struct stream *stream);
bool __wrap_stream_has_unread(const struct stream *stream);
void __wrap_stream_kick(struct stream *stream);
void __wrap_stream_close(struct stream *stream);
void __wrap_stream_close_after_flush(struct stream *stream);
void __wrap_stream_close_after_drain(struct stream *stream);
enum http_progress __wrap_http_read(struct http_reader *reader, uint8_t *data,
                                    size_t size);
enum http_progress __real_http_read(struct http_reader *reader, uint8_t *data,
                                    size_t size);
enum http_progress __wrap_http_read_body(struct http_reader *reader,
                                         uint8_t *data, size_t size);
enum http_progress __real_http_read_body(struct http_reader *reader,
                                         uint8_t *data, size_t size);
void __wrap_api_metrics_count(struct conn *conn);
void __real_api_metrics_count(struct conn *conn);

uint64_t __wrap_reactor_turns(const struct reactor *reactor)
{
    (void)reactor;
    return world.turns;
}

uint64_t __wrap_reactor_turn_max_us(const struct reactor *reactor)
{
    (void)reactor;
    return 1;
}

const struct histogram *__wrap_reactor_turn_times(const struct reactor *reactor)
{
    static const struct histogram none;
    (void)reactor;
    return &none;
}

void __wrap_timer_arm(struct reactor *reactor, struct timer *timer,
                      uint64_t at_ms, timer_cb *cb, void *arg)
{
    (void)reactor;
    heap_remove(&world.timers, &timer->node);
    timer->cb = cb;
    timer->arg = arg;
    heap_insert(&world.timers, &timer->node, at_ms);
}

void __wrap_timer_cancel(struct reactor *reactor, struct timer *timer)
{
    (void)reactor;
    heap_remove(&world.timers, &timer->node);
}

void __wrap_listener_close(struct listener *listener)
{
    must(!listener);
}

void __wrap_listener_hold(struct listener *listener, bool hold)
{
    (void)hold;
    must(!listener);
}

struct buf *__wrap_stream_output(struct stream *stream)
{
    must(!stream->gone);
    return &stream->out;
}

void __wrap_stream_write(struct stream *stream, const void *data, size_t size)
{
    must(!stream->gone);
    buf_add(&stream->out, data, size);
}

size_t __wrap_stream_output_bytes(const struct stream *stream)
{
    return stream->out.size;
}

size_t __wrap_stream_input_bytes(const struct stream *stream)
{
    return stream->in.size;
}

uint64_t __wrap_stream_peer_network(const struct stream *stream)
{
    (void)stream;
    return 1;
}

bool __wrap_stream_peer_uid(const struct stream *stream, uint32_t *uid)
{
    (void)stream;
    (void)uid;
    return false;
}

const char *__wrap_stream_peer_text(const struct stream *stream)
{
    (void)stream;
    return "10.0.0.1:4711";
}

bool __wrap_stream_has_unread(const struct stream *stream)
{
    (void)stream;
    return false;
}

void __wrap_stream_kick(struct stream *stream)
{
    must(!stream->gone);
    stream->kicked = true;
}

void __wrap_stream_close(struct stream *stream)
{
    must(!stream->gone); /* Once. */
    stream->gone = true;
}

void __wrap_stream_close_after_flush(struct stream *stream)
{
    must(!stream->gone && !stream->closing);
    stream->closing = true;
}

void __wrap_stream_close_after_drain(struct stream *stream)
{
    must(!stream->gone && !stream->closing);
    stream->closing = true;
}

/* ---- answers are counted ---- */

static struct stream *stream_of(const struct http_reader *reader)
{
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *conn = world.streams[i].fake.arg;
        if (conn && !world.streams[i].gone && &conn->input.reader == reader) {
            return &world.streams[i];
        }
    }
    die("a reader of no connection");
}

enum http_progress __wrap_http_read(struct http_reader *reader, uint8_t *data,
                                    size_t size)
{
    stream_of(reader)->may_answer = true;
    return __real_http_read(reader, data, size);
}

enum http_progress __wrap_http_read_body(struct http_reader *reader,
                                         uint8_t *data, size_t size)
{
    stream_of(reader)->may_answer = true;
    return __real_http_read_body(reader, data, size);
}

/* Called once an answer. */
void __wrap_api_metrics_count(struct conn *conn)
{
    struct stream *stream = conn->stream;
    must(stream->may_answer);
    must(stream->answer_count < ANSWERS_MAX);
    stream->may_answer = false;
    stream->answers[stream->answer_count++] =
        (struct answered){conn->answer.status, conn->answer.head_only};
    __real_api_metrics_count(conn);
}

/* ---- the node ---- */

static uint64_t env_now_ms(void *self)
{
    (void)self;
    return fake_reactor.now_ms;
}

static uint64_t env_now_us(void *self)
{
    (void)self;
    return fake_reactor.now_ms * 1000;
}

static void env_entropy(void *self, void *out, size_t size)
{
    uint8_t *bytes = out;
    (void)self;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)rng_next(&world.rng);
    }
}

static struct buf *env_output(void *self, raft_id peer)
{
    (void)self;
    (void)peer;
    return NULL;
}

static void env_set_self(void *self, const uint8_t cluster[16], raft_id id,
                         const uint8_t uuid[16], uint64_t incarnation,
                         const char *name)
{
    (void)self;
    (void)cluster;
    (void)id;
    (void)uuid;
    (void)incarnation;
    (void)name;
}

static void env_set_members(void *self, const struct raft_conf *conf)
{
    (void)self;
    (void)conf;
}

static void env_hint(void *self, raft_id id, const char *addr)
{
    (void)self;
    (void)id;
    (void)addr;
}

static void env_flush(void *self)
{
    (void)self;
}

static bool never_up(void *arg, raft_id id)
{
    (void)arg;
    (void)id;
    return false;
}

static const char *no_error(void *arg, raft_id id)
{
    (void)arg;
    (void)id;
    return "connection refused";
}

static uint64_t wall_s(void *arg)
{
    (void)arg;
    return fake_reactor.now_ms / 1000;
}

static void no_process(void *arg, struct api_process *process)
{
    (void)arg;
    *process = (struct api_process){0};
}

static bool disk_of_64_mib(void *arg, uint64_t *bytes)
{
    (void)arg;
    *bytes = 64 << 20;
    return true;
}

static const char *no_trouble(void *arg)
{
    (void)arg;
    return "";
}

static void no_sandbox(void *arg, bool *seccomp, bool *landlock)
{
    (void)arg;
    *seccomp = false;
    *landlock = false;
}

static bool no_backup(void *arg, struct api_backups *backups)
{
    (void)arg;
    (void)backups;
    return false;
}

static void turn_node(void)
{
    world.turns++;
    (void)node_turn(world.node);
}

static uint64_t log_last(void)
{
    struct node_status status;
    node_get_status(world.node, &status);
    return status.raft.last;
}

static void start_node(void)
{
    static const struct node_options options = {
        .name = "n1",
        .raft_addr = "127.0.0.1:12000",
        .http_addr = "127.0.0.1:11000",
        .heartbeat_ms = 100,
        .election_min_ms = 1000,
        .election_max_ms = 2000,
        .proposals_max = 64,
        .proposals_bytes_max = 1 << 20,
        .db_bytes_max = DB_BYTES_MAX,
        .segment_bytes = 64 << 10,
        .reserve_bytes = 4096,
        .replace_after_ms = 30000,
    };
    char why[64];
    rng_init(&world.rng, 1);
    fake_reactor.now_ms = 1000000;
    world.fs = fs_memory_new();
    struct node_env env = {.now_ms = env_now_ms,
                           .now_us = env_now_us,
                           .entropy = env_entropy,
                           .fs = world.fs,
                           .transport = {.output = env_output,
                                         .set_self = env_set_self,
                                         .set_members = env_set_members,
                                         .hint = env_hint,
                                         .flush = env_flush}};
    enum err err = node_open(&options, &env, &world.node);
    must(!err);
    static const uint8_t secret[AUTH_KEY_BYTES] = {1};
    struct api_options api = {.secret = secret,
                              .host = "127.0.0.1",
                              .port = 11000,
                              .http_adv = "127.0.0.1:11000",
                              .allow_hosts = "kv.example.com",
                              .allow_origins = "https://ui.example.com",
                              .value_bytes_max = VALUE_BYTES_MAX,
                              .body_bytes_max = BODY_BYTES_MAX,
                              .db_bytes_max = DB_BYTES_MAX,
                              .conns_max = 16,
                              .conns_beyond = API_CONNS_BEYOND,
                              .conns_wanted = 16,
                              .version = "0",
                              .peer_up = never_up,
                              .peer_error = no_error,
                              .peer_foreign = never_up,
                              .now_us = env_now_us,
                              .wall_s = wall_s,
                              .process = no_process,
                              .free_bytes = disk_of_64_mib,
                              .backups = no_backup,
                              .sandbox = no_sandbox,
                              .join_trouble = no_trouble};
    err = api_open(&api, &world.api, why, sizeof(why));
    must(!err);
    api_set_node(world.api, world.node);
    for (int i = 0; i < 1000 && !node_is_leader(world.node); i++) {
        fake_reactor.now_ms += 50;
        turn_node();
    }
    must(node_is_leader(world.node));
    turn_node();
    world.log_last = log_last();
}

static void stop_node(void)
{
    api_close(world.api);
    node_close(world.node);
    fs_memory_free(world.fs);
    world.node = NULL;
    world.has_rules = false;
    must(!heap_min(&world.timers));
}

/* ---- one turn ---- */

static struct conn *conn_of(const struct stream *stream)
{
    return stream->gone ? NULL : stream->fake.arg;
}

static void close_stream(struct stream *stream, const char *why)
{
    stream->gone = true;
    stream->fake.handler->on_close(stream, why, stream->fake.arg);
}

static void deliver(struct stream *stream)
{
    stream->kicked = false;
    if (stream->gone || stream->closing || stream->in.size == 0) {
        return;
    }
    size_t size = stream->in.size;
    size_t used = stream->fake.handler->on_read(stream, stream->in.data, size,
                                                stream->fake.arg);
    must(used <= size);
    buf_consume(&stream->in, used);
}

static void run_timers(void)
{
    uint64_t now_ms = fake_reactor.now_ms;
    uint32_t rounds = world.timers.count;
    while (rounds-- > 0) {
        struct heap_node *node = heap_min(&world.timers);
        if (!node || node->key > now_ms) {
            break;
        }
        struct timer *timer = container_of(node, struct timer, node);
        heap_remove(&world.timers, node);
        timer->cb(timer->arg);
    }
}

static void flush(struct stream *stream, size_t most)
{
    if (stream->gone) {
        return;
    }
    size_t size = min_size(stream->out.size, most);
    buf_add(&stream->taken, stream->out.data, size);
    buf_consume(&stream->out, size);
    bool drained = stream->left_over && stream->out.size == 0;
    stream->left_over = stream->out.size > 0;
    if (stream->closing && stream->out.size == 0) {
        close_stream(stream, "closed");
    } else if (drained && !stream->closing) {
        stream->fake.handler->on_drain(stream, stream->fake.arg);
    }
}

static void check(const struct stream *stream)
{
    const struct conn *conn = conn_of(stream);
    if (conn) {
        must(conn->stream == stream);
        must(conn->closing == stream->closing);
        must(!(conn->busy && conn->closing));
    }
}

static void turn(size_t most)
{
    run_timers();
    for (size_t i = 0; i < CONNS_MAX; i++) {
        if (world.streams[i].kicked) {
            deliver(&world.streams[i]);
        }
    }
    turn_node();
    for (size_t i = 0; i < CONNS_MAX; i++) {
        flush(&world.streams[i], most);
        check(&world.streams[i]);
    }
}

/* Something will happen without the client. */
static bool is_waiting(const struct stream *stream)
{
    const struct conn *conn = conn_of(stream);
    return conn && (conn->busy || stream->kicked || stream->out.size > 0);
}

static void run_until_quiet(size_t most)
{
    uint64_t until_ms = fake_reactor.now_ms + BUSY_MS_MAX;
    unsigned step = 0;
    for (;;) {
        bool waiting = false;
        for (size_t i = 0; i < CONNS_MAX; i++) {
            waiting = waiting || is_waiting(&world.streams[i]);
        }
        if (!waiting) {
            return;
        }
        must(fake_reactor.now_ms < until_ms);
        /* Slowly at first: most is done in some turns. */
        fake_reactor.now_ms += step < 200 ? 1 : step < 400 ? 100 : 1000;
        step++;
        turn(most);
    }
}

/* ---- what came back ---- */

static bool is_line_text(struct bytes line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] < 0x20 && line.data[i] != '\t') {
            return false;
        }
    }
    return true;
}

/* The next line without its CRLF. False: it is not whole. */
static bool next_line(struct bytes *rest, struct bytes *line)
{
    const uint8_t *lf =
        rest->size > 0 ? memchr(rest->data, '\n', rest->size) : NULL;
    if (!lf) {
        return false;
    }
    size_t size = (size_t)(lf - rest->data);
    must(size > 0 && rest->data[size - 1] == '\r');
    *line = bytes_of(rest->data, size - 1);
    must(is_line_text(*line));
    *rest = bytes_of(lf + 1, rest->size - size - 1);
    return true;
}

/* Not by memmem(), which would tell the fuzzer what is looked for. */
static void check_secret(struct bytes taken)
{
    if (!world.has_rules) {
        return;
    }
    for (size_t i = 0; i + SECRET_BYTES <= taken.size; i++) {
        size_t same = 0;
        while (same < SECRET_BYTES &&
               (taken.data[i + same] ^ 0x55) == (world.secret[same] ^ 0x55)) {
            same++;
        }
        must(same < SECRET_BYTES);
    }
}

static bool starts_with(struct bytes text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

/* One answer; false: it is cut. */
static bool read_answer(struct bytes *rest, const struct answered *expected)
{
    struct bytes line;
    unsigned lengths = 0;
    unsigned dates = 0;
    uint64_t length = 0;
    if (!next_line(rest, &line)) {
        return false;
    }
    must(starts_with(line, "HTTP/1.1 ") && line.size > 13);
    int status = (line.data[9] - '0') * 100 + (line.data[10] - '0') * 10 +
                 (line.data[11] - '0');
    if (status == 100) {
        must(next_line(rest, &line) && line.size == 0);
        return read_answer(rest, expected);
    }
    must(status == expected->status);
    for (;;) {
        if (!next_line(rest, &line)) {
            return false;
        }
        if (line.size == 0) {
            break;
        }
        const uint8_t *colon = memchr(line.data, ':', line.size);
        must(colon && colon > line.data && colon[1] == ' ');
        dates += starts_with(line, "Date: ");
        must(!starts_with(line, "Transfer-Encoding:"));
        if (starts_with(line, "Content-Length: ")) {
            lengths++;
            for (size_t i = 16; i < line.size; i++) {
                must(line.data[i] >= '0' && line.data[i] <= '9');
                length = length * 10 + (uint64_t)(line.data[i] - '0');
            }
        }
    }
    bool bodiless = status == 204 || status == 304;
    must(dates == 1 && lengths == (bodiless ? 0 : 1));
    if (!bodiless && !expected->head_only) {
        if (rest->size < length) {
            return false;
        }
        *rest = bytes_of(rest->data + length, rest->size - (size_t)length);
    }
    return true;
}

/* `cut`: the connection ended before all was sent, or behind a 100. */
static void check_answers(const struct stream *stream)
{
    struct bytes rest = buf_bytes(&stream->taken);
    bool whole = true;
    uint32_t count = 0;
    check_secret(rest);
    while (whole && count < stream->answer_count) {
        whole = read_answer(&rest, &stream->answers[count]);
        count += whole;
    }
    if (whole && rest.size > 0) {
        /* A 100 whose request has had no answer, or one that began. */
        must(starts_with(rest, "HTTP/1.1 "));
        must(starts_with(rest, "HTTP/1.1 100") || stream->out.size > 0 ||
             stream->gone);
    }
}

/* ---- an input ---- */

static void accept_stream(struct stream *stream)
{
    struct buf in = stream->in;
    struct buf out = stream->out;
    struct buf taken = stream->taken;
    *stream = (struct stream){.in = in, .out = out, .taken = taken};
    stream->in.size = 0;
    stream->out.size = 0;
    stream->taken.size = 0;
    stream->fake.input_bytes_max = 65536;
    fake_reactor.accept(stream, fake_reactor.accept_arg);
}

static void end_stream(struct stream *stream, bool reset)
{
    if (stream->gone) {
        return;
    }
    if (!reset && !stream->eof_told) {
        stream->eof_told = true;
        stream->fake.handler->on_eof(stream, stream->fake.arg);
        run_until_quiet(SIZE_MAX);
    }
    if (!stream->gone) {
        close_stream(stream, "reset");
    }
}

static void send_some(struct stream *stream, struct bytes *rest, size_t piece)
{
    size_t room = stream->in.size < stream->fake.input_bytes_max ? SIZE_MAX : 0;
    size_t size = min_size(min_size(rest->size, piece), room);
    if (stream->gone || size == 0) {
        return;
    }
    buf_add(&stream->in, rest->data, size);
    *rest = bytes_of(rest->data + size, rest->size - size);
    deliver(stream);
}

static void run_input(uint8_t flags, struct bytes text)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7, 64, 300, 1000, 2000, 9000};
    size_t piece = pieces[flags >> 5];
    size_t most = flags & 4 ? SMALL_TAKE : SIZE_MAX;
    size_t count = flags & 1 ? 2 : 1;
    struct bytes rest[CONNS_MAX] = {text};
    if (piece == 1 && text.size > 4000) {
        piece = 7;
    }
    if (count == 2) {
        size_t half = text.size / 2;
        rest[0] = bytes_of(text.data, half);
        rest[1] = bytes_of(text.data + half, text.size - half);
    }
    for (size_t i = 0; i < CONNS_MAX; i++) {
        world.streams[i].gone = true;
        if (i < count) {
            accept_stream(&world.streams[i]);
        }
    }
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < count; i++) {
            struct stream *stream = &world.streams[i];
            size_t before = rest[i].size;
            send_some(stream, &rest[i], piece);
            if (rest[i].size == 0 && before > 0 && flags & 2 && !stream->gone &&
                !stream->closing) {
                stream->eof_told = true;
                stream->fake.handler->on_eof(stream, stream->fake.arg);
            }
            any = any || rest[i].size < before;
        }
        fake_reactor.now_ms += flags & 8 ? 4000 : 1;
        turn(most);
        if (!any) { /* Full: let it be worked off. */
            run_until_quiet(most);
            for (size_t i = 0; i < count; i++) {
                any = any || (rest[i].size > 0 && !world.streams[i].gone &&
                              !world.streams[i].closing &&
                              world.streams[i].in.size <
                                  world.streams[i].fake.input_bytes_max);
            }
        }
    }
    if (!(flags & 16)) {
        run_until_quiet(most);
    }
    for (size_t i = 0; i < count; i++) {
        end_stream(&world.streams[i], flags & 16);
        check_answers(&world.streams[i]);
    }
}

/* ---- rules ---- */

/* Nobody has a permission that covers all keys, and "root" is a secret too. */
static void set_world_rules(void)
{
    char why[AUTH_WHY_BYTES];
    char root[SECRET_BYTES + 1];
    struct buf users = {0};
    struct buf file = {0};
    struct buf request = {0};
    static const char digits[] = "abcdefghijklmnop";
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        world.secret[i] = digits[rng_next(&world.rng) % 16];
        root[i] = digits[rng_next(&world.rng) % 16];
    }
    root[SECRET_BYTES] = '\0';
    buf_printf(
        &request,
        "PUT /key/%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s",
        secret_key, SECRET_BYTES, world.secret);
    run_input(0, buf_bytes(&request));
    must(world.streams[0].answers[0].status == 201);
    add_token(&users, root, "\"all\"");
    add_user(&users, "bob", "pw", "\"read:pub/\", \"write:pub/\", \"join\"");
    add_token(&users, "t", "\"read:secret0\", \"write:secret0\"");
    add_token(&users, "op",
              "\"status\", \"snapshot\", \"leader-ops\", \"remove\", "
              "\"join\", \"lease\", \"ready\", \"read:secret/b\"");
    add_token(&users, "w", "\"write:p\", \"read:q\"");
    add_user(&users, "*", NULL, "\"read:pub/a\"");
    buf_add_u8(&file, '[');
    buf_add_bytes(&file, buf_bytes(&users));
    buf_add_u8(&file, ']');
    enum err err = api_set_rules(world.api, buf_bytes(&file), why, sizeof(why));
    must(!err);
    buf_free(&users);
    buf_free(&file);
    buf_free(&request);
    world.has_rules = true;
    world.log_last = log_last();
}

static void check_rules(void)
{
    struct store_row row;
    enum err err = node_get(world.node, bytes_of_string(secret_key), &row);
    must(!err && row.value.size == SECRET_BYTES &&
         memcmp(row.value.data, world.secret, SECRET_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    log_set_level(LOG_ERROR); /* A must() says which. */
    struct bytes text = bytes_of(data + 1, size - 1);
    bool has_rules =
        text.size >= 2 && text.data[0] == '#' && text.data[1] == '\n';
    if (world.node && has_rules != world.has_rules) {
        stop_node();
    }
    if (!world.node) {
        start_node();
        if (has_rules) {
            set_world_rules();
        }
    }
    run_input(data[0],
              has_rules ? bytes_of(text.data + 2, text.size - 2) : text);
    must(world.api->conns.count == 0);
    must(world.api->scans.page_bytes == 0);
    /* Work that continues without its client must end. */
    for (unsigned i = 0; i < 400 && world.api->restore.stage != RESTORE_NONE;
         i++) {
        fake_reactor.now_ms += 100;
        turn(SIZE_MAX);
    }
    must(world.api->restore.stage == RESTORE_NONE);
    must(list_empty(&world.api->reads.waiting));
    if (has_rules) {
        check_rules();
    }
    if (log_last() != world.log_last) {
        stop_node();
    }
    return 0;
}
