/* test_peer_secure.c -- links that are sealed: two rooms with a relay between
 * them that records, changes, repeats and sends back what passes, and rooms
 * against sockets that have no key. */
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
#include "peer/channel.h"
#include "peer/peer.h"
#include "support/peersock.h"
#include "sys/sys.h"

struct side {
    struct peers *peers;
    uint16_t port;
    char addr[32];
    uint8_t uuid[16];
    int starts, ups, downs, frames, adopts, foreigners;
    struct buf got; /* Payloads of all frames. */
};

static const uint8_t cluster[16] = "the cluster's id";
static const struct peer_keys key_1 = {.count = 1, .key = {{1}}};
static const struct peer_keys key_2 = {.count = 1, .key = {{2}}};
static const struct peer_keys keys_12 = {.count = 2, .key = {{1}, {2}}};
static const struct peer_keys keys_21 = {.count = 2, .key = {{2}, {1}}};
static struct reactor *reactor;
static struct side a, b;

/* ---- the rooms ---- */

static bool on_frame(raft_id from, const struct wire_frame *frame, void *arg)
{
    struct side *side = arg;
    (void)from;
    side->frames++;
    buf_add_bytes(&side->got, frame->payload);
    return true;
}

static const char *on_start(const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    (void)hello;
    side->starts++;
    return NULL;
}

static void on_up(raft_id peer, const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    (void)peer;
    (void)hello;
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
    (void)hello;
    side->adopts++;
    return false;
}

static void on_foreign(const struct wire_hello *hello, void *arg)
{
    struct side *side = arg;
    (void)hello;
    side->foreigners++;
}

static const struct transport_handler handler = {.on_frame = on_frame,
                                                 .on_start = on_start,
                                                 .on_up = on_up,
                                                 .on_down = on_down,
                                                 .on_adopt = on_adopt,
                                                 .on_foreign = on_foreign};

static void open_side(struct side *side, raft_id id,
                      const struct peer_keys *keys, bool optional)
{
    char why[64];
    *side = (struct side){0};
    side->port = peersock_unused_port();
    snprintf(side->addr, sizeof(side->addr), "127.0.0.1:%u", side->port);
    side->uuid[0] = (uint8_t)id;
    struct peers_options options = {.reactor = reactor,
                                    .host = "127.0.0.1",
                                    .port = side->port,
                                    .nonce = id,
                                    .seed = id};
    assert_int_equal(peers_open(&options, &side->peers, why, sizeof(why)),
                     ERR_OK);
    peers_set_handler(side->peers, &handler, side);
    if (keys) {
        peers_set_keys(side->peers, keys, optional);
    }
    peers_set_self(side->peers, cluster, id, side->uuid, 5, "me");
}

/* `side` has that one other member. */
static void knows(struct side *side, raft_id id, const char *addr)
{
    struct raft_conf conf = {.count = 1};
    conf.members[0] = (struct raft_member){.id = id, .suffrage = RAFT_VOTER};
    conf.members[0].uuid[0] = (uint8_t)id;
    snprintf(conf.members[0].name, RAFT_NAME_BYTES, "n%d", (int)id);
    snprintf(conf.members[0].addr, RAFT_ADDR_BYTES, "%s", addr);
    peers_set_members(side->peers, &conf);
}

/* ---- the relay between a, which dials, and b ---- */

enum direction { TO_B, TO_A };

struct relay {
    int listener;
    char addr[32];
    int fds[2]; /* Towards b, towards a; -1: none. */
    struct buf seen[2];
    int conns;
    bool held[2]; /* Bytes in that direction are dropped. */
    size_t flip;  /* Bytes towards b before one with a changed bit; 0: none. */
};

static struct relay relay;

static void relay_open(void)
{
    uint16_t port;
    relay.fds[TO_A] = -1;
    relay.fds[TO_B] = -1;
    relay.listener = peersock_listen("127.0.0.1", &port);
    snprintf(relay.addr, sizeof(relay.addr), "127.0.0.1:%u", port);
}

static void relay_cut(void)
{
    for (int i = 0; i < 2; i++) {
        if (relay.fds[i] >= 0) {
            close(relay.fds[i]);
            relay.fds[i] = -1;
        }
    }
}

static void relay_accept(void)
{
    int fd = accept(relay.listener, NULL, NULL);
    if (fd < 0) {
        return;
    }
    relay_cut();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    relay.fds[TO_A] = fd;
    relay.fds[TO_B] = peersock_dial("127.0.0.1", b.port);
    relay.seen[TO_A].size = 0;
    relay.seen[TO_B].size = 0;
    relay.conns++;
}

/* Move data from one side to the other; false: the connection is closed. */
static bool relay_move(enum direction to)
{
    uint8_t data[65536];
    ssize_t got;
    int from = relay.fds[to == TO_B ? TO_A : TO_B];
    while ((got = recv(from, data, sizeof(data), 0)) > 0) {
        size_t before = relay.seen[to].size;
        buf_add(&relay.seen[to], data, (size_t)got);
        if (to == TO_B && relay.flip >= before &&
            relay.flip < relay.seen[to].size && relay.flip > 0) {
            data[relay.flip - before] ^= 16;
            relay.flip = 0;
        }
        if (!relay.held[to]) {
            peersock_send(relay.fds[to], data, (size_t)got, reactor);
        }
    }
    return got < 0 && errno == EAGAIN;
}

static void turn(void)
{
    reactor_turn(reactor, 2);
    if (relay.listener <= 0) {
        return;
    }
    relay_accept();
    if (relay.fds[TO_A] >= 0 && (!relay_move(TO_B) || !relay_move(TO_A))) {
        relay_cut();
    }
}

#define TURN_UNTIL(done)                                                       \
    do {                                                                       \
        uint64_t by_ms = sys_now_ms() + 10000;                                 \
        while (!(done)) {                                                      \
            if (sys_now_ms() > by_ms) {                                        \
                fail_msg("line %d: never happened: %s", __LINE__, #done);      \
            }                                                                  \
            turn();                                                            \
        }                                                                      \
    } while (0)

static void turn_for(uint64_t ms)
{
    uint64_t by_ms = sys_now_ms() + ms;
    while (sys_now_ms() < by_ms) {
        turn();
    }
}

static bool contains(const struct buf *bytes, const void *what, size_t size)
{
    for (size_t at = 0; at + size <= bytes->size; at++) {
        if (memcmp(bytes->data + at, what, size) == 0) {
            return true;
        }
    }
    return false;
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_OFF);
    signal(SIGPIPE, SIG_IGN);
    reactor = reactor_new();
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    memset(&relay, 0, sizeof(relay));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (relay.listener > 0) {
        relay_cut();
        close(relay.listener);
    }
    buf_free(&relay.seen[TO_A]);
    buf_free(&relay.seen[TO_B]);
    peers_close(a.peers);
    peers_close(b.peers);
    reactor_free(reactor);
    buf_free(&a.got);
    buf_free(&b.got);
    return 0;
}

/* ---- sockets without a room ---- */

static size_t received(int fd, struct buf *in)
{
    uint8_t data[4096];
    ssize_t got;
    while ((got = recv(fd, data, sizeof(data), 0)) > 0) {
        buf_add(in, data, (size_t)got);
    }
    return in->size;
}

static void first_message(struct channel *channel, const struct peer_keys *keys,
                          struct buf *out)
{
    uint8_t random[X25519_BYTES];
    sys_entropy(random, sizeof(random));
    channel_dial(channel, keys->key[0], random, out);
}

/* Nothing was believed by `side`. */
static void untouched(const struct side *side)
{
    assert_int_equal(side->starts, 0);
    assert_int_equal(side->ups, 0);
    assert_int_equal(side->frames, 0);
    assert_int_equal(side->adopts, 0);
    assert_int_equal(side->foreigners, 0);
}

static void send_text(struct side *from, raft_id to, const void *text,
                      size_t size)
{
    struct buf *out = peer_output(from->peers, to);
    assert_non_null(out);
    wire_add_forward(out, &(struct wire_forward){
                              .request = 1,
                              .kind = WIRE_FORWARD_COMMAND,
                              .body = bytes_of(text, size),
                          });
}

static void pair(const struct peer_keys *keys_a, const struct peer_keys *keys_b)
{
    open_side(&a, 1, keys_a, false);
    open_side(&b, 2, keys_b, false);
    relay_open();
    knows(&a, 2, relay.addr);
    knows(&b, 1, a.addr);
}

static void pair_up(void)
{
    pair(&key_1, &key_1);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
    assert_int_equal(relay.conns, 1);
}

/* ---- two that have the key ---- */

static void test_nothing_is_in_clear(void **state)
{
    (void)state;
    static const char text[] = "a text that nobody else may read";
    pair_up();
    send_text(&a, 2, text, sizeof(text));
    send_text(&b, 1, text, sizeof(text));
    TURN_UNTIL(a.frames == 1 && b.frames == 1);
    assert_true(contains(&a.got, text, sizeof(text)));
    assert_true(contains(&b.got, text, sizeof(text)));
    for (int i = 0; i < 2; i++) {
        assert_false(contains(&relay.seen[i], text, sizeof(text)));
        assert_false(contains(&relay.seen[i], cluster, sizeof(cluster)));
        assert_false(contains(&relay.seen[i], "127.0.0.1", 9));
    }
}

static void test_frames_of_all_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 32 << 10, 40000, 3 << 20, 17};
    struct buf sent = {0};
    pair_up();
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct buf text = {0};
        memset(buf_reserve(&text, sizes[i] + 1), (int)i, sizes[i] + 1);
        send_text(&a, 2, text.data, sizes[i]);
        buf_add_u64(&sent, 1);
        buf_add_u8(&sent, WIRE_FORWARD_COMMAND);
        buf_add(&sent, text.data, sizes[i]);
        buf_free(&text);
    }
    TURN_UNTIL(b.frames == (int)ARRAY_COUNT(sizes));
    assert_true(bytes_equal(buf_bytes(&sent), buf_bytes(&b.got)));
    buf_free(&sent);
}

static void test_the_queue_has_its_bound(void **state)
{
    (void)state;
    static uint8_t text[1 << 20];
    pair_up();
    for (int i = 0; i < 2 * (PEER_OUTPUT_BYTES_MAX / (int)sizeof(text)); i++) {
        if (!peer_output(a.peers, 2)) {
            assert_int_equal(i, PEER_OUTPUT_BYTES_MAX / (int)sizeof(text));
            return;
        }
        send_text(&a, 2, text, sizeof(text));
    }
    fail();
}

static void test_a_link_that_is_idle_stays(void **state)
{
    (void)state;
    pair_up();
    turn_for(3500);
    assert_int_equal(a.downs + b.downs, 0);
}

/* ---- on the way between them ---- */

static void test_a_changed_bit_ends_the_link(void **state)
{
    (void)state;
    pair_up();
    /* In the second record that is sent from now on. */
    size_t before = relay.seen[TO_B].size;
    send_text(&a, 2, "good", 4);
    TURN_UNTIL(b.frames == 1);
    relay.flip = relay.seen[TO_B].size + 30;
    assert_true(relay.flip > before);
    send_text(&a, 2, "evil", 4);
    TURN_UNTIL(a.downs == 1 && b.downs == 1);
    assert_int_equal(b.frames, 1);
    TURN_UNTIL(a.ups == 2 && b.ups == 2);
}

static void test_a_lost_record_ends_the_link(void **state)
{
    (void)state;
    pair_up();
    relay.held[TO_B] = true;
    send_text(&a, 2, "lost", 4);
    size_t before = relay.seen[TO_B].size;
    TURN_UNTIL(relay.seen[TO_B].size > before);
    relay.held[TO_B] = false;
    send_text(&a, 2, "next", 4);
    TURN_UNTIL(b.downs == 1);
    assert_int_equal(b.frames, 0);
}

static void test_a_repeated_record_ends_the_link(void **state)
{
    (void)state;
    pair_up();
    size_t before = relay.seen[TO_B].size;
    send_text(&a, 2, "once", 4);
    TURN_UNTIL(b.frames == 1);
    peersock_send(relay.fds[TO_B], relay.seen[TO_B].data + before,
                  relay.seen[TO_B].size - before, reactor);
    TURN_UNTIL(b.downs == 1);
    assert_int_equal(b.frames, 1);
}

static void test_bytes_that_open_nothing_are_silence(void **state)
{
    (void)state;
    pair_up();
    relay.held[TO_B] = true;
    uint8_t head[2];
    store_u16(head, CHANNEL_TEXT_BYTES_MAX);
    peersock_send(relay.fds[TO_B], head, sizeof(head), reactor);
    for (uint64_t by_ms = sys_now_ms() + 4500; sys_now_ms() < by_ms;) {
        if (b.downs > 0) {
            return;
        }
        turn_for(100);
        peersock_send(relay.fds[TO_B], head, 1, reactor);
    }
    fail_msg("the link lives by bytes of anybody");
}

/* ---- recordings ---- */

/* After a restart, a node does not know what it has answered before. */
static void test_a_recording_is_answered_and_not_believed(void **state)
{
    (void)state;
    pair_up();
    send_text(&a, 2, "recorded", 8);
    TURN_UNTIL(b.frames == 1);
    struct buf recorded = {0};
    struct buf in = {0};
    buf_add_bytes(&recorded, buf_bytes(&relay.seen[TO_B]));
    relay_cut();
    close(relay.listener);
    relay.listener = 0;
    TURN_UNTIL(b.downs == 1);
    peers_close(b.peers);
    buf_free(&b.got);
    open_side(&b, 2, &key_1, false);
    int fd = peersock_dial("127.0.0.9", b.port);
    peersock_send(fd, recorded.data, CHANNEL_FIRST_BYTES, reactor);
    TURN_UNTIL(received(fd, &in) > 0);
    turn_for(20);
    assert_int_equal(received(fd, &in), CHANNEL_SECOND_BYTES);
    peersock_send(fd, recorded.data + CHANNEL_FIRST_BYTES,
                  recorded.size - CHANNEL_FIRST_BYTES, reactor);
    TURN_UNTIL(peersock_is_closed(fd));
    untouched(&b);
    close(fd);
    buf_free(&recorded);
    buf_free(&in);
}

/* Returns what is received for the first message of a link. */
static size_t answer_to(const char *ip, struct bytes sent)
{
    struct buf in = {0};
    int fd = peersock_dial(ip, b.port);
    peersock_send(fd, sent.data, sent.size, reactor);
    for (uint64_t by_ms = sys_now_ms() + 1000;
         received(fd, &in) == 0 && !peersock_is_closed(fd);) {
        assert_true(sys_now_ms() < by_ms);
        turn();
    }
    close(fd);
    turn_for(60);
    size_t size = in.size;
    buf_free(&in);
    return size;
}

/* A node answers each first message once, wherever it comes from: repeating it
 * takes neither its time nor the place of others. */
static void test_a_recording_is_answered_once(void **state)
{
    (void)state;
    struct channel channel;
    struct buf first[3] = {{0}};
    open_side(&b, 2, &key_1, false);
    knows(&b, 1, "127.0.0.2:1");
    for (size_t i = 0; i < ARRAY_COUNT(first); i++) {
        first_message(&channel, &key_1, &first[i]);
        assert_int_equal(answer_to("127.0.0.9", buf_bytes(&first[i])),
                         CHANNEL_SECOND_BYTES);
    }
    for (size_t i = 0; i < ARRAY_COUNT(first); i++) {
        assert_int_equal(answer_to("127.0.0.2", buf_bytes(&first[i])), 0);
        buf_free(&first[i]);
    }
    /* With something behind it there is no answer to a new one either. */
    struct buf more = {0};
    first_message(&channel, &key_1, &more);
    buf_add_u8(&more, 0);
    assert_int_equal(answer_to("127.0.0.9", buf_bytes(&more)), 0);
    buf_free(&more);
}

/* From an address of a member, and from another one. Each is another one, as
 * whoever has seen many links has them. */
static void recordings_get_few_answers(const char *ip)
{
    enum { MANY = 8 };
    struct channel channel;
    struct buf first = {0};
    int fds[MANY];
    struct buf in[MANY] = {{0}};
    for (int i = 0; i < MANY; i++) {
        fds[i] = peersock_dial(ip, b.port);
        first.size = 0;
        first_message(&channel, &key_1, &first);
        peersock_send(fds[i], first.data, first.size, reactor);
    }
    /* In each tick, that is in 50 ms, two. */
    int most = 0;
    int before = 0;
    uint64_t start_ms = sys_now_ms();
    for (int done = 0; done < MANY;) {
        reactor_turn(reactor, 1);
        done = 0;
        for (int i = 0; i < MANY; i++) {
            done += received(fds[i], &in[i]) > 0;
        }
        most = done - before > most ? done - before : most;
        before = done;
        assert_true(sys_now_ms() < start_ms + 2000);
    }
    assert_true(most <= 2);
    assert_true(sys_now_ms() >= start_ms + 100);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(in[i].size, CHANNEL_SECOND_BYTES);
        close(fds[i]);
        buf_free(&in[i]);
    }
    buf_free(&first);
}

static void test_recordings_get_few_answers(void **state)
{
    (void)state;
    open_side(&b, 2, &key_1, false);
    knows(&b, 1, "127.0.0.2:1");
    recordings_get_few_answers("127.0.0.2");
    turn_for(60);
    recordings_get_few_answers("127.0.0.9");
}

enum { EACH = 8, CROWD = 2 * EACH };

static int dial_with_first(const char *ip)
{
    struct channel channel;
    struct buf first = {0};
    int fd = peersock_dial(ip, b.port);
    first_message(&channel, &key_1, &first);
    peersock_send(fd, first.data, first.size, reactor);
    buf_free(&first);
    return fd;
}

static int crowd_dial(int i)
{
    return dial_with_first(i < EACH ? "127.0.0.9" : "127.0.0.10");
}

/* One that comes last to such a crowd, whose places are taken again at once. */
static void is_answered_in_time(int crowd[CROWD], const char *ip)
{
    struct buf in = {0};
    int fd = dial_with_first(ip);
    for (uint64_t by_ms = sys_now_ms() + 1500; received(fd, &in) == 0;) {
        assert_true(sys_now_ms() < by_ms);
        for (int i = 0; i < CROWD; i++) {
            struct buf answer = {0};
            if (received(crowd[i], &answer) > 0 ||
                peersock_is_closed(crowd[i])) {
                close(crowd[i]);
                turn();
                crowd[i] = crowd_dial(i);
            }
            buf_free(&answer);
        }
        turn();
    }
    close(fd);
    buf_free(&in);
}

/* Who has waited longest is next, however many come after it. */
static void test_recordings_keep_nobody_waiting(void **state)
{
    (void)state;
    int crowd[CROWD];
    open_side(&b, 2, &key_1, false);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = crowd_dial(i);
    }
    turn_for(5);
    for (int i = 0; i < 4; i++) {
        is_answered_in_time(crowd, "127.0.0.8");
    }
    for (int i = 0; i < CROWD; i++) {
        close(crowd[i]);
    }
}

/* Guests come in groups, one a few milliseconds after the other. False: they
 * have not come fast enough to wait for each other. */
static bool are_answered_in_order(void)
{
    enum { GROUPS = 8, EACH_TIME = 3, MANY = GROUPS * EACH_TIME, GONE = 6 };
    struct channel channel;
    struct buf first[MANY] = {{0}};
    struct buf in[MANY] = {{0}};
    int fds[MANY];
    int gone[GONE];
    bool enough = false;
    for (int i = 0; i < MANY; i++) {
        first_message(&channel, &key_1, &first[i]);
    }
    /* When they leave, those that come later get their places in our list. */
    for (int i = 0; i < GONE; i++) {
        gone[i] = peersock_dial("127.0.0.9", b.port);
    }
    turn_for(10);
    for (int i = 0; i < MANY; i++) {
        char ip[32];
        snprintf(ip, sizeof(ip), "127.0.0.%d", 20 + i);
        fds[i] = peersock_dial(ip, b.port);
        peersock_send(fds[i], first[i].data, first[i].size, reactor);
        if (i % EACH_TIME == EACH_TIME - 1) {
            turn_for(2);
        }
        if (i >= MANY - GONE - EACH_TIME && i < MANY - EACH_TIME) {
            close(gone[i - (MANY - GONE - EACH_TIME)]);
        }
    }
    for (int done = 0; done < MANY;) {
        int last = 0;
        int first_left = MANY;
        done = 0;
        for (int i = MANY - 1; i >= 0; i--) {
            bool answered = received(fds[i], &in[i]) > 0;
            assert_true(answered || !peersock_is_closed(fds[i]));
            done += answered;
            last = answered && last == 0 ? i : last;
            first_left = answered ? first_left : i;
        }
        enough = enough || done <= MANY / 3;
        assert_true(last / EACH_TIME <= first_left / EACH_TIME + 1);
        turn();
    }
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
        buf_free(&first[i]);
        buf_free(&in[i]);
    }
    turn_for(60);
    return enough;
}

/* In the order in which they came. */
static void test_guests_are_answered_in_order(void **state)
{
    (void)state;
    open_side(&b, 2, &key_1, false);
    for (int tries = 0; !are_answered_in_order(); tries++) {
        assert_true(tries < 20);
    }
}

static void test_a_reflected_handshake(void **state)
{
    (void)state;
    /* Frames from a to b come back to a, and its answers too. */
    open_side(&a, 1, &key_1, false);
    b.port = a.port; /* The relay dials it. */
    relay_open();
    knows(&a, 2, relay.addr);
    TURN_UNTIL(relay.conns > 0 &&
               relay.seen[TO_A].size > CHANNEL_SECOND_BYTES + 30);
    turn_for(200);
    untouched(&a);
}

/* ---- who has no key, or another one ---- */

static void test_other_keys(void **state)
{
    (void)state;
    pair(&key_1, &key_2);
    turn_for(2600); /* Both have dialled. */
    untouched(&a);
    untouched(&b);
    assert_string_equal(peer_last_error(a.peers, 2),
                        "closed without an answer: it has not this "
                        "--cluster-key");
}

static void test_a_key_and_none(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pair(i == 0 ? &key_1 : NULL, i == 0 ? NULL : &key_1);
        turn_for(2600);
        untouched(&a);
        untouched(&b);
        const struct side *keyless = i == 0 ? &b : &a;
        assert_non_null(strstr(peer_last_error(keyless->peers, i == 0 ? 1 : 2),
                               "does it have a --cluster-key"));
        peers_close(a.peers);
        peers_close(b.peers);
        relay_cut();
        close(relay.listener);
    }
    a.peers = NULL;
    b.peers = NULL;
    relay.listener = 0;
}

static void test_a_hello_in_clear_learns_nothing(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\n\r\n";
    struct buf in = {0};
    struct buf out = {0};
    struct wire_hello hello = peersock_hello(cluster);
    open_side(&a, 1, &key_1, false);
    knows(&a, 2, "127.0.0.2:1");
    wire_add_hello(&out, WIRE_HELLO, &hello);
    for (size_t size = 1; size <= out.size; size += 7) {
        int fd = peersock_dial("127.0.0.9", a.port);
        peersock_send(fd, out.data, size, reactor);
        TURN_UNTIL(peersock_is_closed(fd));
        assert_int_equal(received(fd, &in), 0);
        close(fd);
    }
    /* A constant for those who mistake the port. */
    int fd = peersock_dial("127.0.0.9", a.port);
    peersock_send(fd, (const uint8_t *)http, sizeof(http) - 1, reactor);
    TURN_UNTIL(received(fd, &in) > 0);
    assert_true(contains(&in, "this is a Raft port", 19));
    close(fd);
    untouched(&a);
    buf_free(&in);
    buf_free(&out);
}

static void test_a_hello_behind_the_handshake(void **state)
{
    (void)state;
    struct channel channel;
    struct buf in = {0};
    struct buf out = {0};
    struct buf plain = {0};
    struct wire_hello hello = peersock_hello(cluster);
    open_side(&a, 1, &key_1, false);
    knows(&a, 2, "127.0.0.2:1");
    int fd = peersock_dial("127.0.0.9", a.port);
    first_message(&channel, &key_1, &out);
    peersock_send(fd, out.data, out.size, reactor);
    TURN_UNTIL(received(fd, &in) == CHANNEL_SECOND_BYTES);
    assert_true(channel_open_second(&channel, buf_bytes(&in)));
    wire_add_hello(&plain, WIRE_HELLO, &hello);
    out.size = 0;
    channel_seal(&channel, buf_bytes(&plain), &out);
    for (size_t i = 0; i < out.size; i++) { /* A byte at a time. */
        assert_int_equal(a.starts, 0);
        peersock_send(fd, out.data + i, 1, reactor);
        turn();
    }
    TURN_UNTIL(a.ups == 1);
    /* It is not in clear from now on. */
    plain.size = 0;
    wire_add_empty(&plain, WIRE_PING);
    wire_add_removed(&plain, 7);
    peersock_send(fd, plain.data, plain.size, reactor);
    TURN_UNTIL(a.downs == 1);
    assert_int_equal(a.frames, 0);
    close(fd);
    channel_forget(&channel);
    buf_free(&in);
    buf_free(&out);
    buf_free(&plain);
}

/* Somebody with the key who does not say HELLO has no room for anything else.*/
static void test_a_guest_with_the_key_is_bounded(void **state)
{
    (void)state;
    struct channel channel;
    struct buf in = {0};
    struct buf out = {0};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    static uint8_t body[1 << 20];
    struct buf frame = {0};
    open_side(&a, 1, &key_1, false);
    int fd = peersock_dial("127.0.0.9", a.port);
    first_message(&channel, &key_1, &out);
    peersock_send(fd, out.data, out.size, reactor);
    TURN_UNTIL(received(fd, &in) == CHANNEL_SECOND_BYTES);
    assert_true(channel_open_second(&channel, buf_bytes(&in)));
    wire_add_forward(&frame, &(struct wire_forward){
                                 .kind = WIRE_FORWARD_COMMAND,
                                 .body = bytes_of(body, sizeof(body)),
                             });
    memcpy(head, frame.data, sizeof(head));
    out.size = 0;
    channel_seal(&channel, bytes_of(head, sizeof(head)), &out);
    for (int i = 0; i < 64; i++) {
        channel_seal(&channel, bytes_of(body, 1024), &out);
    }
    peersock_send(fd, out.data, out.size, reactor);
    uint64_t start_ms = sys_now_ms();
    TURN_UNTIL(peersock_is_closed(fd));
    assert_true(sys_now_ms() < start_ms + 1000); /* Not for its silence. */
    close(fd);
    channel_forget(&channel);
    buf_free(&in);
    buf_free(&out);
    buf_free(&frame);
}

/* ---- the way there, and from one key to the next ---- */

static void test_optional_keys_talk_to_those_without(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_side(&a, 1, i == 0 ? &key_1 : NULL, i == 0);
        open_side(&b, 2, i == 0 ? NULL : &key_1, i == 1);
        relay_open();
        knows(&a, 2, relay.addr);
        knows(&b, 1, a.addr);
        TURN_UNTIL(a.ups == 1 && b.ups == 1);
        send_text(&a, 2, "in clear", 8);
        TURN_UNTIL(b.frames == 1);
        assert_true(contains(&relay.seen[TO_B], "in clear", 8));
        peers_close(a.peers);
        peers_close(b.peers);
        buf_free(&b.got);
        relay_cut();
        close(relay.listener);
    }
    a.peers = NULL;
    b.peers = NULL;
    relay.listener = 0;
}

static void test_optional_keys_are_used_where_there_are_two(void **state)
{
    (void)state;
    open_side(&a, 1, &key_1, true);
    open_side(&b, 2, &key_1, true);
    relay_open();
    knows(&a, 2, relay.addr);
    knows(&b, 1, a.addr);
    for (int i = 1; i < 4; i++) {
        TURN_UNTIL(a.ups == i && b.ups == i);
        assert_false(contains(&relay.seen[TO_B], cluster, sizeof(cluster)));
        relay_cut();
        TURN_UNTIL(a.downs == i && b.downs == i);
    }
}

static void test_an_optional_key_and_a_key(void **state)
{
    (void)state;
    open_side(&a, 1, &key_1, true);
    open_side(&b, 2, &key_1, false);
    relay_open();
    knows(&a, 2, relay.addr);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
    assert_false(contains(&relay.seen[TO_B], cluster, sizeof(cluster)));
}

static void test_keys_are_changed_side_by_side(void **state)
{
    (void)state;
    static const struct peer_keys *const steps[] = {&keys_12, &keys_21, &key_2};
    pair_up();
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        peers_set_keys(a.peers, steps[i], false);
        turn_for(50);
        peers_set_keys(b.peers, steps[i], false);
        turn_for(50);
        if (i < 2) {
            assert_int_equal(a.downs + b.downs, 0);
        }
    }
    /* The old key is gone, and so are links that were made with it. */
    TURN_UNTIL(a.ups == 2 && b.ups == 2);
    assert_int_equal(a.downs, 1);
    peers_set_keys(b.peers, &key_1, false);
    TURN_UNTIL(a.downs == 2);
    turn_for(300);
    assert_int_equal(a.ups, 2);
}

static void test_one_step_is_enough(void **state)
{
    (void)state;
    /* a seals with what b does not know yet; b dials when a could not. */
    pair(&keys_21, &key_1);
    TURN_UNTIL(a.ups == 1 && b.ups == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_in_clear),
        TEST(test_frames_of_all_sizes),
        TEST(test_the_queue_has_its_bound),
        TEST(test_a_link_that_is_idle_stays),
        TEST(test_a_changed_bit_ends_the_link),
        TEST(test_a_lost_record_ends_the_link),
        TEST(test_a_repeated_record_ends_the_link),
        TEST(test_bytes_that_open_nothing_are_silence),
        TEST(test_a_recording_is_answered_and_not_believed),
        TEST(test_a_recording_is_answered_once),
        TEST(test_recordings_get_few_answers),
        TEST(test_recordings_keep_nobody_waiting),
        TEST(test_guests_are_answered_in_order),
        TEST(test_a_reflected_handshake),
        TEST(test_other_keys),
        TEST(test_a_key_and_none),
        TEST(test_a_hello_in_clear_learns_nothing),
        TEST(test_a_hello_behind_the_handshake),
        TEST(test_a_guest_with_the_key_is_bounded),
        TEST(test_optional_keys_talk_to_those_without),
        TEST(test_optional_keys_are_used_where_there_are_two),
        TEST(test_an_optional_key_and_a_key),
        TEST(test_keys_are_changed_side_by_side),
        TEST(test_one_step_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
