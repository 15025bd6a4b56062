/* test_reactor_poller.c -- what the rest of the reactor may expect of its
 * back-end, whichever it is: epoll.c, and in build/kqueue/ kqueue.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "sys/sys.h"

enum { LONG_MS = 20000, SHORT_MS = 30 };

static struct poller *poller;
static int ends[2]; /* A connected pair of sockets; ends[0] is watched. */
static struct watch watch;

static void on_ready(struct watch *w, unsigned ready)
{
    (void)w;
    (void)ready;
}

static void listen_here(int fd, struct sockaddr_in *at)
{
    socklen_t size = sizeof(*at);
    *at = (struct sockaddr_in){.sin_family = AF_INET,
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)at, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)at, &size), 0);
}

static void connect_pair(int pair[2])
{
    struct sockaddr_in at;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    listen_here(listening, &at);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&at, sizeof(at)), 0);
    pair[0] = accept(listening, NULL, NULL);
    close(listening);
    reactor_socket_prepare(pair[0]);
}

static int setup(void **state)
{
    (void)state;
    poller = poller_new();
    connect_pair(ends);
    watch = (struct watch){.fd = ends[0], .cb = on_ready};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    poller_remove(poller, &watch);
    poller_free(poller);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void add(unsigned interest)
{
    assert_true(poller_add(poller, &watch, interest));
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void drain(int fd)
{
    char drop[64];
    while (recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0) {
    }
}

static void reset_connection(void)
{
    struct linger at_once = {.l_onoff = 1};
    assert_int_equal(
        setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(ends[1]);
    ends[1] = -1;
}

/* What is ready, of the only watch, before `end_ms`. A wait may return without
 * an event, since some are dropped. */
static unsigned ready_before(uint64_t end_ms)
{
    unsigned ready = 0;
    uint64_t now_ms;
    while (ready == 0 && (now_ms = sys_now_ms()) < end_ms) {
        int count = poller_wait(poller, (int)(end_ms - now_ms));
        assert_in_range(count, 0, 1);
        if (count == 1) {
            assert_ptr_equal(poller_event(poller, 0, &ready), &watch);
            ready &= watch.interest | WATCH_TROUBLE;
        }
    }
    return ready;
}

static void expect(unsigned ready)
{
    assert_int_equal(ready_before(sys_now_ms() + LONG_MS), ready);
}

static void expect_nothing(void)
{
    assert_int_equal(ready_before(sys_now_ms() + SHORT_MS), 0);
}

static void test_level_triggered(void **state)
{
    (void)state;
    add(WATCH_READ);
    expect_nothing();
    say(ends[1], "abc");
    expect(WATCH_READ);
    expect(WATCH_READ);
    drain(ends[0]);
    expect_nothing();
    poller_change(poller, &watch, WATCH_WRITE);
    expect(WATCH_WRITE);
    expect(WATCH_WRITE);
    poller_change(poller, &watch, 0);
    expect_nothing();
}

static void test_both_at_once_are_one_event(void **state)
{
    (void)state;
    add(WATCH_READ | WATCH_WRITE);
    say(ends[1], "abc");
    unsigned ready;
    do { /* The bytes may take a moment. */
        ready = ready_before(sys_now_ms() + LONG_MS);
    } while (ready == WATCH_WRITE);
    assert_int_equal(ready, WATCH_READ | WATCH_WRITE);
}

/* Neither bytes nor the end of the other direction, and the loop sleeps. */
static void test_what_nobody_wants_is_no_event(void **state)
{
    (void)state;
    add(0);
    say(ends[1], "abc");
    expect_nothing();
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    expect_nothing();
    uint64_t start_ms = sys_now_ms();
    assert_int_equal(poller_wait(poller, 100), 0);
    assert_true(sys_now_ms() - start_ms >= 99);
}

static void test_wanted_again(void **state)
{
    (void)state;
    add(WATCH_READ);
    for (int i = 0; i < 3; i++) {
        poller_change(poller, &watch, 0);
        say(ends[1], "abc"); /* Seen, and nobody wants it. */
        expect_nothing();
        poller_change(poller, &watch, WATCH_READ);
        expect(WATCH_READ);
        expect(WATCH_READ);
        drain(ends[0]);
        expect_nothing();
    }
    poller_change(poller, &watch, 0);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    expect_nothing();
    poller_change(poller, &watch, WATCH_READ);
    expect(WATCH_READ);
    char byte;
    assert_int_equal(recv(ends[0], &byte, 1, 0), 0);
}

static void test_changed_and_changed_back(void **state)
{
    (void)state;
    add(WATCH_READ);
    expect_nothing();
    poller_change(poller, &watch, WATCH_WRITE);
    poller_change(poller, &watch, WATCH_READ);
    expect_nothing();
    say(ends[1], "abc");
    expect(WATCH_READ);
    poller_change(poller, &watch, 0);
    poller_change(poller, &watch, WATCH_READ);
    expect(WATCH_READ);
}

/* Nobody has asked for it, and without it a stream that is not read from would
 * never end. */
static void test_reset_without_interest(void **state)
{
    (void)state;
    add(0);
    say(ends[1], "abc");
    expect_nothing();
    reset_connection();
    expect(WATCH_TROUBLE);
}

static void test_reset_after_the_end_of_a_direction(void **state)
{
    (void)state;
    add(WATCH_READ);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    expect(WATCH_READ);
    poller_change(poller, &watch, 0);
    expect_nothing();
    reset_connection();
    expect(WATCH_TROUBLE);
}

static void test_reset_before_it_is_watched(void **state)
{
    (void)state;
    reset_connection();
    usleep(20000);
    add(0);
    expect(WATCH_TROUBLE);
}

static void test_reset_with_interest(void **state)
{
    (void)state;
    add(WATCH_READ);
    reset_connection();
    expect(WATCH_READ | WATCH_TROUBLE);
    poller_change(poller, &watch, WATCH_WRITE);
    expect(WATCH_WRITE | WATCH_TROUBLE);
}

static void test_refused_connection(void **state)
{
    (void)state;
    struct sockaddr_in at;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    listen_here(listening, &at);
    close(listening);
    int fd = reactor_socket_new(AF_INET);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), -1);
    assert_int_equal(errno, EINPROGRESS);
    watch.fd = fd;
    add(WATCH_WRITE);
    expect(WATCH_WRITE | WATCH_TROUBLE);
    poller_remove(poller, &watch);
    close(fd);
}

/* A child may have a copy of the descriptor, which keeps the socket open. */
static void test_removed_is_forgotten(void **state)
{
    (void)state;
    add(WATCH_READ | WATCH_WRITE);
    poller_change(poller, &watch, WATCH_READ);
    poller_remove(poller, &watch);
    poller_remove(poller, &watch);
    int copy = dup(ends[0]);
    close(ends[0]);
    say(ends[1], "abc");
    expect_nothing();
    /* Another file under the same number, with the same watch. */
    int pair[2];
    connect_pair(pair);
    assert_int_equal(dup2(pair[0], ends[0]), ends[0]);
    close(pair[0]);
    add(WATCH_READ);
    expect_nothing();
    say(pair[1], "abc");
    expect(WATCH_READ);
    close(copy);
    close(pair[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_level_triggered),
        TEST(test_both_at_once_are_one_event),
        TEST(test_what_nobody_wants_is_no_event),
        TEST(test_wanted_again),
        TEST(test_changed_and_changed_back),
        TEST(test_reset_without_interest),
        TEST(test_reset_after_the_end_of_a_direction),
        TEST(test_reset_before_it_is_watched),
        TEST(test_reset_with_interest),
        TEST(test_refused_connection),
        TEST(test_removed_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
