/* test_peer.c -- links between nodes, on loopback: two rooms that talk to each
 * other, and one room against a socket that speaks, or mis-speaks, the wire
 * format by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "peer/peer.h"
#include "support/peersock.h"
#include "sys/sys.h"

struct side {
    struct peers *peers;
    uint16_t port;
    char addr[32];
    int ups, downs, frames;
    raft_id from; /* Sender of the last frame. */
    struct buf got;
    bool rejects;   /* on_frame() reports it as malformed. */
    raft_id adopts; /* The id that it adopts; 0: none. */
    uint8_t uuid[16];
    int foreigners;             /* Greetings of another cluster's members. */
    char said[RAFT_ADDR_BYTES]; /* Address in the HELLO of the last link. */
};

static const uint8_t cluster[16] = {7, 7, 7};
static struct reactor *reactor;
static struct side a, b;

/* ---- the two rooms ---- */

static bool on_frame(raft_id from, const struct wire_frame *frame, void *arg)
{
    struct side *side = arg;
    side->frames++;
    side->from = from;
    buf_add_bytes(&side->got, frame->payload);
    return !side->rejects;
}

static void on_up(raft_id peer, const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    assert_int_equal(hello->from_id, peer);
    snprintf(side->said, sizeof(side->said), "%s", hello->from_addr);
    side->ups++;
}

static void on_down(raft_id peer, void *arg)
{
    struct side *side = arg;
    (void)peer;
    side->downs++;
}

static bool on_adopt(const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    if (side->adopts != hello->to_id) {
        return false;
    }
    peers_set_self(side->peers, hello->cluster, hello->to_id, side->uuid, 1,
                   "adopted");
    return true;
}

static void on_foreign(const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    assert_true(hello->from_id != 0);
    side->foreigners++;
}

static const struct transport_handler handler = {.on_frame = on_frame,
                                                 .on_up = on_up,
                                                 .on_down = on_down,
                                                 .on_adopt = on_adopt,
                                                 .on_foreign = on_foreign};

static void open_side(struct side *side, raft_id id, uint64_t nonce)
{
    char why[64];
    *side = (struct side){.port = peersock_unused_port()};
    side->uuid[0] = (uint8_t)id;
    snprintf(side->addr, sizeof(side->addr), "127.0.0.1:%u", side->port);
    struct peers_options options = {.reactor = reactor,
                                    .host = "127.0.0.1",
                                    .port = side->port,
                                    .addr = side->addr,
                                    .nonce = nonce,
                                    .seed = id};
    assert_int_equal(peers_open(&options, &side->peers, why, sizeof(why)),
                     ERR_OK);
    peers_set_handler(side->peers, &handler, side);
    if (id != 0) {
        peers_set_self(side->peers, cluster, id, side->uuid, 5, "me");
    }
}

static struct raft_member member(raft_id id, const char *addr)
{
    struct raft_member m = {.id = id, .suffrage = RAFT_VOTER};
    m.uuid[0] = (uint8_t)id;
    snprintf(m.name, sizeof(m.name), "n%d", (int)id);
    snprintf(m.addr, sizeof(m.addr), "%s", addr);
    return m;
}

/* Set the other members in the configuration of `side`. */
static void knows(struct side *side, raft_id id, const char *addr)
{
    struct raft_conf conf = {.count = id != 0};
    conf.members[0] = member(id, addr);
    peers_set_members(side->peers, &conf);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_OFF);
    signal(SIGPIPE, SIG_IGN);
    reactor = reactor_new();
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peers_close(a.peers);
    peers_close(b.peers);
    reactor_free(reactor);
    buf_free(&a.got);
    buf_free(&b.got);
    return 0;
}

/* Turn until `done`; ten seconds are for ever. */
#define TURN_UNTIL(done)                                                       \
    do {                                                                       \
        uint64_t by_ms = sys_now_ms() + 10000;                                 \
        while (!(done)) {                                                      \
            if (sys_now_ms() > by_ms) {                                        \
                fail_msg("line %d: never happened: %s", __LINE__, #done);      \
            }                                                                  \
            reactor_turn(reactor, 5);                                          \
        }                                                                      \
    } while (0)

static void turn_for(uint64_t ms)
{
    uint64_t by_ms = sys_now_ms() + ms;
    while (sys_now_ms() < by_ms) {
        reactor_turn(reactor, 5);
    }
}

/* ---- the socket by hand ---- */

struct raw {
    int fd;
    struct buf in;
    bool ended; /* The other side closed. */
};

static void raw_dial(struct raw *raw, uint16_t port)
{
    *raw = (struct raw){.fd = peersock_dial("127.0.0.1", port)};
}

static bool raw_accept(struct raw *raw, int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return false;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *raw = (struct raw){.fd = fd};
    return true;
}

static void raw_pull(struct raw *raw)
{
    uint8_t data[65536];
    ssize_t got;
    while ((got = recv(raw->fd, data, sizeof(data), 0)) > 0) {
        buf_add(&raw->in, data, (size_t)got);
    }
    raw->ended = raw->ended || got == 0 || (errno != EAGAIN && errno != EINTR);
}

static bool raw_closed(struct raw *raw)
{
    raw_pull(raw);
    return raw->ended;
}

static void raw_send(struct raw *raw, struct buf *bytes)
{
    peersock_send(raw->fd, bytes->data, bytes->size, reactor);
    buf_free(bytes);
}

static void raw_end(struct raw *raw)
{
    close(raw->fd);
    buf_free(&raw->in);
}

/* Has a frame of this type come? */
static bool raw_got(struct raw *raw, enum wire_type type,
                    struct wire_frame *frame)
{
    raw_pull(raw);
    struct bytes left = buf_bytes(&raw->in);
    while (wire_frame(left, frame) == ERR_OK) {
        if (frame->type == type) {
            return true;
        }
        left.data += frame->size_bytes;
        left.size -= frame->size_bytes;
    }
    return false;
}

static void raw_hello(struct raw *raw, enum wire_type type,
                      const struct wire_hello *hello)
{
    struct buf out = {0};
    wire_add_hello(&out, type, hello);
    raw_send(raw, &out);
}

static void raw_up(struct raw *raw, const struct wire_hello *hello)
{
    struct wire_frame frame;
    int ups = a.ups;
    raw_dial(raw, a.port);
    raw_hello(raw, WIRE_HELLO, hello);
    TURN_UNTIL(a.ups == ups + 1 && raw_got(raw, WIRE_WELCOME, &frame));
}

static void add_response(struct buf *out, uint64_t request)
{
    struct wire_forward_resp resp = {.request = request};
    wire_add_forward_resp(out, &resp);
}

/* ---- tests ---- */

static void pair_up(void)
{
    open_side(&a, 1, 11);
    open_side(&b, 2, 22);
    knows(&a, 2, b.addr);
    knows(&b, 1, a.addr);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
}

static void test_a_link_carries_frames_both_ways_in_order(void **state)
{
    (void)state;
    enum { FRAMES = 200 };
    static uint8_t body[300000];
    pair_up();
    assert_true(peer_is_up(a.peers, 2) && peer_is_up(b.peers, 1));
    struct buf sent = {0};
    for (uint64_t i = 0; i < FRAMES; i++) {
        struct wire_forward forward = {
            .request = i,
            .kind = WIRE_FORWARD_COMMAND,
            .body = bytes_of(body, i % 20 == 3 ? sizeof(body) : i)};
        struct buf frame = {0};
        memset(body, (int)i, sizeof(body));
        wire_add_forward(&frame, &forward);
        struct wire_frame parsed;
        assert_int_equal(wire_frame(buf_bytes(&frame), &parsed), ERR_OK);
        buf_add_bytes(&sent, parsed.payload);
        struct buf *to_b = peer_output(a.peers, 2);
        struct buf *to_a = peer_output(b.peers, 1);
        assert_true(to_b && to_a);
        buf_add_bytes(to_b, buf_bytes(&frame));
        buf_add_bytes(to_a, buf_bytes(&frame));
        buf_free(&frame);
        reactor_turn(reactor, 1);
    }
    TURN_UNTIL(a.frames == FRAMES && b.frames == FRAMES);
    assert_int_equal(a.from, 2);
    assert_int_equal(b.from, 1);
    assert_true(bytes_equal(buf_bytes(&a.got), buf_bytes(&sent)));
    assert_true(bytes_equal(buf_bytes(&b.got), buf_bytes(&sent)));
    assert_int_equal(a.downs + b.downs, 0);
    buf_free(&sent);
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    struct raw raw;
    struct wire_hello hello = peersock_hello(cluster);
    struct buf bytes = {0};
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    wire_add_hello(&bytes, WIRE_HELLO, &hello);
    add_response(&bytes, 9);
    add_response(&bytes, 10);
    raw_dial(&raw, a.port);
    for (size_t i = 0; i < bytes.size; i++) {
        assert_int_equal(send(raw.fd, bytes.data + i, 1, 0), 1);
        reactor_turn(reactor, 1);
    }
    TURN_UNTIL(a.frames == 2);
    assert_int_equal(a.ups, 1);
    buf_free(&bytes);
    raw_end(&raw);
}

/* Whoever dials us and is not whom we may talk to is told why, and nothing of
 * it reaches the owner. */
/* M08, M09 and their kin. */
static void test_refused_when_it_dials(void **state)
{
    (void)state;
    struct wire_hello hellos[9];
    enum wire_refusal reasons[9];
    size_t count = 0;
#define CASE(change, reason)                                                   \
    hellos[count] = peersock_hello(cluster);                                   \
    hellos[count].change;                                                      \
    reasons[count++] = reason
    CASE(cluster[0] = 8, WIRE_REFUSE_CLUSTER);
    CASE(to_id = 3, WIRE_REFUSE_NOT_ME);
    CASE(to_uuid[0] = 9, WIRE_REFUSE_UUID);
    CASE(from_uuid[0] = 9, WIRE_REFUSE_STRANGER);
    CASE(from_id = 0, WIRE_REFUSE_STRANGER);
    CASE(from_id = 1, WIRE_REFUSE_NOT_ME);
    CASE(version_min = WIRE_VERSION + 1, WIRE_REFUSE_VERSION);
    CASE(from_incarnation = 4, WIRE_REFUSE_CLONE); /* 5 has been seen. */
    CASE(from_nonce = 78, WIRE_REFUSE_CLONE);      /* A second live copy. */
    hellos[6].version_max = WIRE_VERSION + 1;

    struct wire_hello good = peersock_hello(cluster);
    struct raw first;
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    raw_up(&first, &good);
    for (size_t i = 0; i < count; i++) {
        struct raw raw;
        struct wire_frame frame;
        struct wire_refuse refuse;
        struct buf more = {0};
        raw_dial(&raw, a.port);
        raw_hello(&raw, WIRE_HELLO, &hellos[i]);
        add_response(&more, 1);
        raw_send(&raw, &more);
        TURN_UNTIL(raw_got(&raw, WIRE_REFUSE, &frame));
        assert_int_equal(wire_refuse(frame.payload, &refuse), ERR_OK);
        assert_int_equal(refuse.reason, reasons[i]);
        assert_true(refuse.text[0] != '\0');
        TURN_UNTIL(raw_closed(&raw));
        raw_end(&raw);
    }
    assert_int_equal(a.ups, 1);
    assert_int_equal(a.downs, 0);
    assert_int_equal(a.frames, 0);
    assert_true(peer_is_up(a.peers, 2));
    assert_int_equal(a.foreigners, 1); /* The one of another cluster. */
    raw_end(&first);
}

static void refused_by(struct side *side, const struct wire_hello *hello)
{
    struct raw raw;
    struct wire_frame frame;
    raw_dial(&raw, side->port);
    raw_hello(&raw, WIRE_HELLO, hello);
    TURN_UNTIL(raw_got(&raw, WIRE_REFUSE, &frame));
    raw_end(&raw);
}

/* Whoever has no id yet hears of everybody that does not adopt it; a version
 * that is too far away is no reason to overlook another cluster. */
static void test_another_cluster_that_dials_is_reported(void **state)
{
    (void)state;
    struct wire_hello hello = peersock_hello(cluster);
    open_side(&b, 0, 22);
    b.adopts = 9;
    refused_by(&b, &hello);
    assert_int_equal(b.foreigners, 1);
    hello.from_id = 0; /* No member of anything. */
    refused_by(&b, &hello);
    assert_int_equal(b.foreigners, 1);

    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    hello = peersock_hello(cluster);
    hello.version_min = hello.version_max = WIRE_VERSION + 1;
    refused_by(&a, &hello);
    assert_int_equal(a.foreigners, 0);
    hello.cluster[0] = 8;
    refused_by(&a, &hello);
    assert_int_equal(a.foreigners, 1);
    hello = peersock_hello(cluster);
    hello.cluster[0] = 8;
    hello.from_id = 0;
    refused_by(&a, &hello);
    assert_int_equal(a.foreigners, 1);
}

/* The dialling side remembers that until the address says something else. */
static void test_an_address_of_another_cluster_is_known(void **state)
{
    (void)state;
    open_side(&a, 1, 11);
    open_side(&b, 2, 22);
    const uint8_t other[16] = {8};
    peers_set_self(b.peers, other, 2, b.uuid, 5, "me");
    knows(&a, 2, b.addr);
    TURN_UNTIL(peer_is_foreign(a.peers, 2));
    assert_int_equal(a.ups, 0);
    assert_true(b.foreigners > 0);
    peers_set_self(b.peers, cluster, 2, b.uuid, 5, "me");
    TURN_UNTIL(a.ups == 1);
    assert_false(peer_is_foreign(a.peers, 2));
    peers_set_self(b.peers, other, 2, b.uuid, 5, "me");
    peers_close(b.peers);
    b.peers = NULL;
    TURN_UNTIL(a.downs == 1);
    assert_false(peer_is_foreign(a.peers, 2));
}

/* The same when we dial: the answer is judged too, and we try again. */
static void test_refused_when_we_dial(void **state)
{
    (void)state;
    enum { CASES = 5 };
    uint16_t port;
    char addr[32];
    int listener = peersock_listen("127.0.0.1", &port);
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", port);
    open_side(&a, 1, 11);
    knows(&a, 2, addr);
    for (int i = 0; i < CASES; i++) {
        struct raw raw;
        struct wire_frame frame;
        struct buf out = {0};
        struct wire_hello welcome = peersock_hello(cluster);
        TURN_UNTIL(raw_accept(&raw, listener));
        TURN_UNTIL(raw_got(&raw, WIRE_HELLO, &frame));
        struct wire_hello said;
        assert_int_equal(wire_hello(frame.payload, &said), ERR_OK);
        assert_true(said.from_id == 1 && said.to_id == 2 &&
                    said.to_uuid[0] == 2 && said.from_nonce == 11 &&
                    said.from_incarnation == 5);
        if (i == 0) {
            welcome.cluster[0] = 1;
        } else if (i == 1) {
            welcome.from_id = 3;
        } else if (i == 2) {
            welcome.from_uuid[0] = 9;
        } else if (i == 3) {
            struct wire_refuse refuse = {.reason = WIRE_REFUSE_CLUSTER,
                                         .text = "no"};
            wire_add_refuse(&out, &refuse);
        }
        if (i < 3) {
            wire_add_hello(&out, WIRE_WELCOME, &welcome);
        } else if (i == 4) {
            add_response(&out, 1); /* Before the handshake is over. */
        }
        raw_send(&raw, &out);
        TURN_UNTIL(raw_closed(&raw));
        assert_true(peer_last_error(a.peers, 2)[0] != '\0');
        raw_end(&raw);
        knows(&a, 0, ""); /* It would wait longer each time. */
        knows(&a, 2, addr);
    }
    assert_int_equal(a.ups, 0);
    assert_int_equal(a.frames, 0);
    close(listener);
}

/* M13: the membership is old, but the member has said where it is. */
static void test_a_member_is_dialled_where_it_says_it_is(void **state)
{
    (void)state;
    uint16_t port;
    struct raw raw, dialled;
    struct wire_hello hello = peersock_hello(cluster);
    int listener = peersock_listen("127.0.0.1", &port);
    snprintf(hello.from_addr, sizeof(hello.from_addr), "127.0.0.1:%u", port);
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    raw_up(&raw, &hello);
    assert_string_equal(a.said, hello.from_addr);
    raw_end(&raw);
    TURN_UNTIL(a.downs == 1);
    TURN_UNTIL(raw_accept(&dialled, listener));
    raw_end(&dialled);
    close(listener);
}

/* A hint is worth a try, no more: who lives there must be the member, and what
 * the membership says is tried as well. */
static void test_a_hint_is_tried_and_not_believed(void **state)
{
    (void)state;
    uint16_t port;
    struct raw raw;
    struct wire_frame frame;
    struct wire_hello stranger = peersock_hello(cluster);
    int listener = peersock_listen("127.0.0.1", &port);
    char addr[32];
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", port);
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    peers_hint(a.peers, 9, addr); /* Nobody we know. */
    peers_hint(a.peers, 2, addr);
    TURN_UNTIL(raw_accept(&raw, listener));
    TURN_UNTIL(raw_got(&raw, WIRE_HELLO, &frame));
    stranger.from_uuid[0] = 9;
    raw_hello(&raw, WIRE_WELCOME, &stranger);
    TURN_UNTIL(raw_closed(&raw));
    raw_end(&raw);
    assert_int_equal(a.ups, 0);
    /* Now the member comes to live where the membership says. */
    open_side(&b, 2, 22);
    knows(&a, 2, b.addr);
    TURN_UNTIL(a.ups == 1);
    peers_hint(a.peers, 2, addr); /* It is there: no news. */
    turn_for(100);
    assert_int_equal(a.ups, 1);
    assert_true(peer_is_up(a.peers, 2));
    assert_string_equal(a.said, b.addr);
    close(listener);
}

static void test_a_newer_start_replaces_the_older(void **state)
{
    (void)state;
    struct wire_hello hello = peersock_hello(cluster);
    struct raw old, new;
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    raw_up(&old, &hello);
    hello.from_incarnation++;
    hello.from_nonce++;
    raw_up(&new, &hello);
    TURN_UNTIL(raw_closed(&old));
    assert_int_equal(a.downs, 1);
    assert_true(peer_is_up(a.peers, 2));
    struct buf out = {0};
    add_response(&out, 3);
    raw_send(&new, &out);
    TURN_UNTIL(a.frames == 1);
    raw_end(&old);
    raw_end(&new);
}

static void
test_a_silent_link_is_dropped_and_one_that_pings_is_not(void **state)
{
    (void)state;
    struct wire_hello hello = peersock_hello(cluster);
    struct raw silent, pinging;
    open_side(&a, 1, 11);
    struct raft_conf conf = {.count = 2};
    conf.members[0] = member(2, "127.0.0.1:1");
    conf.members[1] = member(3, "127.0.0.1:1");
    peers_set_members(a.peers, &conf);
    raw_up(&silent, &hello);
    hello.from_id = 3;
    hello.from_uuid[0] = 3;
    raw_up(&pinging, &hello);
    uint64_t start_ms = sys_now_ms();
    while (peer_is_up(a.peers, 2)) {
        struct buf out = {0};
        struct wire_frame frame;
        assert_true(sys_now_ms() < start_ms + 20000);
        wire_add_empty(&out, WIRE_PING);
        raw_send(&pinging, &out);
        turn_for(200);
        raw_pull(&silent);
        /* It asks before it gives up. */
        assert_true(raw_got(&pinging, WIRE_PONG, &frame));
    }
    struct wire_frame ping;
    assert_true(raw_got(&silent, WIRE_PING, &ping));
    assert_true(sys_now_ms() >= start_ms + 2500);
    assert_true(peer_is_up(a.peers, 3));
    assert_int_equal(a.downs, 1);
    raw_end(&silent);
    raw_end(&pinging);
}

static void test_garbage_ends_the_link(void **state)
{
    (void)state;
    struct wire_hello hello = peersock_hello(cluster);
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    for (int i = 0; i < 6; i++) {
        struct raw raw;
        struct buf out = {0};
        if (i < 4) {
            raw_up(&raw, &hello);
        } else {
            raw_dial(&raw, a.port);
        }
        add_response(&out, 1);
        if (i == 0 || i == 4) {
            memset(out.data, 0xff, out.size);
        } else if (i == 1) {
            out.data[out.size - 1] ^= 1; /* The checksum. */
        } else if (i == 2) {
            out.data[0] ^= 64; /* The size. */
        } else if (i == 3) {
            out.size = 0;
            wire_add_hello(&out, WIRE_HELLO, &hello); /* A second one. */
        } else {
            out.data[0] ^= 64;
        }
        raw_send(&raw, &out);
        TURN_UNTIL(raw_closed(&raw));
        assert_false(peer_is_up(a.peers, 2));
        raw_end(&raw);
    }
    assert_int_equal(a.frames, 0);
    assert_int_equal(a.downs, 4);
}

static void test_a_frame_that_the_owner_rejects_ends_the_link(void **state)
{
    (void)state;
    pair_up();
    b.rejects = true;
    add_response(peer_output(a.peers, 2), 1);
    TURN_UNTIL(b.downs == 1 && a.downs == 1);
    b.rejects = false;
    TURN_UNTIL(a.ups == 2 && b.ups == 2); /* The link comes up again. */
}

/* Read all there is, and say so. */
static bool raw_takes_more(struct raw *raw)
{
    struct buf pong = {0};
    raw->in.size = 0;
    raw_pull(raw);
    wire_add_empty(&pong, WIRE_PONG);
    raw_send(raw, &pong);
    return peer_output(a.peers, 2) != NULL;
}

/* A peer that does not read costs a bounded amount of memory, and nobody
 * waits for it. */
static void test_the_queue_of_a_link_is_bounded(void **state)
{
    (void)state;
    static uint8_t body[100000];
    struct wire_hello hello = peersock_hello(cluster);
    struct raw raw;
    struct buf *out;
    size_t queued = 0;
    open_side(&a, 1, 11);
    knows(&a, 2, "127.0.0.1:1");
    raw_up(&raw, &hello);
    while ((out = peer_output(a.peers, 2)) != NULL) {
        struct wire_forward forward = {.kind = WIRE_FORWARD_COMMAND,
                                       .body = bytes_of(body, sizeof(body))};
        wire_add_forward(out, &forward);
        queued += sizeof(body);
        assert_true(queued < (size_t)PEER_OUTPUT_BYTES_MAX * 4);
        if (queued % 1000000 == 0) {
            reactor_turn(reactor, 0); /* The kernel takes a part. */
        }
    }
    assert_true(queued >= PEER_OUTPUT_BYTES_MAX);
    TURN_UNTIL(raw_takes_more(&raw));
    assert_int_equal(a.downs, 0);
    raw_end(&raw);
}

/* It may have to answer what was asked of it, and learns of its removal. */
static void test_the_link_of_a_removed_member_stays(void **state)
{
    (void)state;
    pair_up();
    knows(&a, 0, "");
    turn_for(300);
    assert_int_equal(a.downs + b.downs, 0);
    add_response(peer_output(a.peers, 2), 1);
    add_response(peer_output(b.peers, 1), 2);
    TURN_UNTIL(a.frames == 1 && b.frames == 1);
    /* Until the other side closes it; it is not dialled again. */
    peers_close(b.peers);
    b.peers = NULL;
    TURN_UNTIL(a.downs == 1);
    turn_for(300);
    assert_int_equal(a.ups, 1);
    assert_false(peer_is_up(a.peers, 2));
    assert_string_equal(peer_last_error(a.peers, 2), "");
}

static void test_a_new_address_is_used(void **state)
{
    (void)state;
    open_side(&a, 1, 11);
    open_side(&b, 2, 22);
    knows(&a, 2, "127.0.0.1:1");
    TURN_UNTIL(peer_last_error(a.peers, 2)[0] != '\0');
    assert_int_equal(a.ups, 0);
    knows(&a, 2, b.addr);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
}

static void test_a_restarted_peer_is_dialled_again(void **state)
{
    (void)state;
    pair_up();
    peers_close(b.peers);
    TURN_UNTIL(a.downs == 1);
    uint16_t port = b.port;
    char why[64];
    struct peers_options options = {.reactor = reactor,
                                    .host = "127.0.0.1",
                                    .port = port,
                                    .nonce = 23,
                                    .seed = 5};
    assert_int_equal(peers_open(&options, &b.peers, why, sizeof(why)), ERR_OK);
    peers_set_handler(b.peers, &handler, &b);
    peers_set_self(b.peers, cluster, 2, b.uuid, 6, "me");
    TURN_UNTIL(a.ups == 2 && b.ups == 2);
}

/* A newcomer has no id; the first HELLO tells it. */
static void test_adoption(void **state)
{
    (void)state;
    open_side(&a, 1, 11);
    open_side(&b, 0, 22);
    b.uuid[0] = 9;
    b.adopts = 9;
    knows(&a, 9, b.addr);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
    assert_true(peer_is_up(b.peers, 1));
}

static void test_no_adoption_against_its_will(void **state)
{
    (void)state;
    open_side(&a, 1, 11);
    open_side(&b, 0, 22);
    b.adopts = 10; /* Another number than it will be told. */
    knows(&a, 9, b.addr);
    TURN_UNTIL(peer_last_error(a.peers, 9)[0] != '\0');
    turn_for(300);
    assert_int_equal(a.ups + b.ups, 0);
}

/* The lower id does not know of the higher one: that one dials, after a
 * while. */
static void test_the_higher_id_dials_when_nothing_comes(void **state)
{
    (void)state;
    open_side(&a, 1, 11);
    open_side(&b, 2, 22);
    uint64_t start_ms = sys_now_ms();
    knows(&b, 1, a.addr);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
    assert_true(sys_now_ms() >= start_ms + 1500);
    add_response(peer_output(a.peers, 2), 1); /* It is answered. */
    TURN_UNTIL(b.frames == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_link_carries_frames_both_ways_in_order),
        TEST(test_cut_at_every_byte),
        TEST(test_refused_when_it_dials),
        TEST(test_another_cluster_that_dials_is_reported),
        TEST(test_an_address_of_another_cluster_is_known),
        TEST(test_refused_when_we_dial),
        TEST(test_a_member_is_dialled_where_it_says_it_is),
        TEST(test_a_hint_is_tried_and_not_believed),
        TEST(test_a_newer_start_replaces_the_older),
        TEST(test_a_silent_link_is_dropped_and_one_that_pings_is_not),
        TEST(test_garbage_ends_the_link),
        TEST(test_a_frame_that_the_owner_rejects_ends_the_link),
        TEST(test_the_queue_of_a_link_is_bounded),
        TEST(test_the_link_of_a_removed_member_stays),
        TEST(test_a_new_address_is_used),
        TEST(test_a_restarted_peer_is_dialled_again),
        TEST(test_adoption),
        TEST(test_no_adoption_against_its_will),
        TEST(test_the_higher_id_dials_when_nothing_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
