/* test_peer_admission.c -- a crowd at the Raft port: who says nothing, or never
 * ends what it says, keeps no member out and takes no memory. The whole of
 * 127/8 is this machine, so a crowd can come from many addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "peer/peer.h"
#include "support/peersock.h"
#include "sys/sys.h"

enum { SELF = 1, MEMBER = 2, CROWD = 200 };

static const uint8_t cluster[16] = {7};
static const uint8_t self_uuid[16] = {1};
static struct reactor *reactor;
static struct peers *peers;
static uint16_t port;
static int ups, frames;
static int crowd[CROWD];
static int crowd_count;

/* ---- the room ---- */

static bool on_frame(raft_id from, const struct wire_frame *frame, void *arg)
{
    (void)from;
    (void)frame;
    (void)arg;
    frames++;
    return true;
}

static void on_up(raft_id peer, const struct wire_hello *hello, void *arg)
{
    (void)peer;
    (void)hello;
    (void)arg;
    ups++;
}

static void on_down(raft_id peer, void *arg)
{
    (void)peer;
    (void)arg;
}

static const struct transport_handler handler = {
    .on_frame = on_frame, .on_up = on_up, .on_down = on_down};

/* Nothing listens at the address of member 2: only it dials. */
static int setup(void **state)
{
    (void)state;
    char why[64];
    log_set_level(LOG_OFF);
    signal(SIGPIPE, SIG_IGN);
    reactor = reactor_new();
    port = peersock_unused_port();
    struct peers_options options = {
        .reactor = reactor, .host = "127.0.0.1", .port = port, .nonce = 1};
    assert_int_equal(peers_open(&options, &peers, why, sizeof(why)), ERR_OK);
    peers_set_handler(peers, &handler, NULL);
    peers_set_self(peers, cluster, SELF, self_uuid, 5, "n1");
    struct raft_conf conf = {.count = 2};
    conf.members[0] = (struct raft_member){.id = SELF, .suffrage = RAFT_VOTER};
    conf.members[1] =
        (struct raft_member){.id = MEMBER, .suffrage = RAFT_VOTER};
    conf.members[1].uuid[0] = MEMBER;
    snprintf(conf.members[1].addr, RAFT_ADDR_BYTES, "127.0.0.2:1");
    peers_set_members(peers, &conf);
    ups = 0;
    frames = 0;
    crowd_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < crowd_count; i++) {
        close(crowd[i]);
    }
    peers_close(peers);
    reactor_free(reactor);
    return 0;
}

/* The reactor's time is the test's (--wrap), so that a slow machine does not
 * make who is silent late. */
static uint64_t clock_ms = 1000;

/* Names that the linker gives. */
uint64_t __wrap_sys_now_ms(void);
uint64_t __wrap_sys_now_ns(void);
uint64_t __real_sys_now_ms(void);

uint64_t __wrap_sys_now_ms(void)
{
    return clock_ms;
}

uint64_t __wrap_sys_now_ns(void)
{
    return clock_ms * 1000000;
}

static void turn_for(uint64_t ms)
{
    for (uint64_t turns = 0; turns < max_u64(ms, 3); turns++) {
        clock_ms += turns < ms;
        reactor_turn(reactor, 0);
    }
}

/* Sent data may not have been read yet; no time passes for the reactor. */
#define TURN_UNTIL(done)                                                       \
    do {                                                                       \
        uint64_t by_ms = __real_sys_now_ms() + 10000;                          \
        while (!(done) && __real_sys_now_ms() < by_ms) {                       \
            turn_for(0);                                                       \
        }                                                                      \
        assert_true(done);                                                     \
    } while (0)

/* ---- the crowd ---- */

static int dial_from(const char *ip)
{
    int fd = peersock_dial(ip, port);
    turn_for(2);
    return fd;
}

static int join_crowd(const char *ip)
{
    must(crowd_count < CROWD);
    crowd[crowd_count] = dial_from(ip);
    return crowd[crowd_count++];
}

static int crowd_left(void)
{
    int left = 0;
    for (int i = 0; i < crowd_count; i++) {
        left += !peersock_is_closed(crowd[i]);
    }
    return left;
}

static void say_hello(int fd, raft_id from)
{
    struct buf out = {0};
    struct wire_hello hello = {.version_min = WIRE_VERSION,
                               .version_max = WIRE_VERSION,
                               .from_id = from,
                               .from_uuid = {(uint8_t)from},
                               .from_incarnation = 5,
                               .from_nonce = 77,
                               .to_id = SELF};
    memcpy(hello.cluster, cluster, sizeof(cluster));
    wire_add_hello(&out, WIRE_HELLO, &hello);
    peersock_send(fd, out.data, out.size, reactor);
    buf_free(&out);
    turn_for(5);
}

/* ---- tests ---- */

static void a_crowd_comes(int count)
{
    char ip[32];
    for (int i = 0; i < count; i++) {
        snprintf(ip, sizeof(ip), "127.0.1.%d", 1 + i % 50);
        join_crowd(ip);
    }
}

static void test_the_oldest_silent_guest_goes(void **state)
{
    (void)state;
    a_crowd_comes(40);
    assert_true(crowd_left() <= 32);
    assert_true(peersock_is_closed(crowd[0]));
    int guest = dial_from("127.0.0.77");
    say_hello(guest, 50);
    TURN_UNTIL(ups == 1);
    close(guest);
}

static void test_one_address_has_few_places(void **state)
{
    (void)state;
    for (int i = 0; i < 31; i++) {
        join_crowd("127.0.0.79");
    }
    assert_int_equal(crowd_left(), 8);
    assert_true(peersock_is_closed(crowd[22]));
}

/* Whatever the crowd from elsewhere does. */
static void test_addresses_of_members_have_places_of_their_own(void **state)
{
    (void)state;
    a_crowd_comes(40);
    int member = dial_from("127.0.0.2");
    a_crowd_comes(40);
    assert_false(peersock_is_closed(member));
    say_hello(member, MEMBER);
    TURN_UNTIL(ups == 1);
    close(member);
}

/* The source address counts too: a member's entry may have a host name. */
static void test_a_member_is_known_by_where_it_was(void **state)
{
    (void)state;
    int member = dial_from("127.0.0.3");
    say_hello(member, MEMBER);
    close(member);
    a_crowd_comes(40);
    member = dial_from("127.0.0.3");
    a_crowd_comes(40);
    say_hello(member, MEMBER);
    TURN_UNTIL(ups == 2);
    close(member);
}

static void test_in_a_crowd_hello_has_to_come_soon(void **state)
{
    (void)state;
    a_crowd_comes(8);
    turn_for(400);
    assert_int_equal(crowd_left(), 8);
    join_crowd("127.0.2.1");
    turn_for(100);
    assert_int_equal(crowd_left(), 1); /* The others had been there longer. */
    turn_for(400);
    assert_int_equal(crowd_left(), 1); /* Alone it has more time. */
    turn_for(2000);
    assert_int_equal(crowd_left(), 0);
}

static void test_the_oldest_stranger_goes(void **state)
{
    (void)state;
    int member = dial_from("127.0.0.2");
    say_hello(member, MEMBER);
    for (int i = 0; i < 20; i++) {
        say_hello(join_crowd("127.0.0.1"), (raft_id)(100 + i));
    }
    TURN_UNTIL(ups == 21);
    TURN_UNTIL(crowd_left() == 15);
    assert_true(peersock_is_closed(crowd[0]));
    assert_false(peersock_is_closed(crowd[19]));
    assert_false(peersock_is_closed(member));
    close(member);
}

/* Frames without an end: those of strangers share the room of one, the one
 * that began first goes, and a member's is not touched. */
static void test_unfinished_frames_share_a_bound(void **state)
{
    (void)state;
    enum { PIECE = 12 << 20 };
    static uint8_t piece[PIECE];
    struct buf whole = {0};
    struct wire_forward forward = {.kind = WIRE_FORWARD_COMMAND,
                                   .body = bytes_of(piece, PIECE)};
    wire_add_forward(&whole, &forward);
    int member = dial_from("127.0.0.2");
    say_hello(member, MEMBER);
    peersock_send(member, whole.data, PIECE, reactor);
    for (int i = 0; i < 6; i++) {
        int fd = join_crowd("127.0.0.1");
        say_hello(fd, (raft_id)(100 + i));
        peersock_send(fd, whole.data, PIECE, reactor);
        TURN_UNTIL(crowd_left() == (i == 0 ? 1 : 2)); /* 24 of 32 MiB. */
    }
    assert_true(peersock_is_closed(crowd[3]));
    assert_false(peersock_is_closed(crowd[5]));
    assert_int_equal(frames, 0);
    peersock_send(member, whole.data + PIECE, whole.size - PIECE, reactor);
    TURN_UNTIL(frames == 1);
    peersock_send(crowd[5], whole.data + PIECE, whole.size - PIECE, reactor);
    TURN_UNTIL(frames == 2);
    buf_free(&whole);
    close(member);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_oldest_silent_guest_goes),
        TEST(test_one_address_has_few_places),
        TEST(test_addresses_of_members_have_places_of_their_own),
        TEST(test_a_member_is_known_by_where_it_was),
        TEST(test_in_a_crowd_hello_has_to_come_soon),
        TEST(test_the_oldest_stranger_goes),
        TEST(test_unfinished_frames_share_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
