/* test_kqueue_poller.c -- rules of src/reactor/kqueue.c alone, over the
 * emulation; those of every back-end are in test_reactor_poller.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"
#include "support/kqueue_over_epoll.h"
#include "sys/sys.h"

enum { LONG_MS = 20000, SHORT_MS = 30 };

/* More than the changes of one kevent() are for. */
enum { WATCHES = 300 };

static struct poller *poller;
static int pairs[WATCHES][2]; /* [0] is watched. */
static struct watch watches[WATCHES];
static int open_count;

static void on_ready(struct watch *watch, unsigned ready)
{
    (void)watch;
    (void)ready;
}

static void open_pairs(int count)
{
    while (open_count < count) {
        int *pair = pairs[open_count];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        watches[open_count++] = (struct watch){.fd = pair[0], .cb = on_ready};
    }
}

static int setup(void **state)
{
    (void)state;
    (void)alarm(30); /* A wait without limit must not be one for ever. */
    poller = poller_new();
    open_pairs(2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kqueue_refuse_memory(0, 0);
    for (int i = 0; i < open_count; i++) {
        poller_remove(poller, &watches[i]);
    }
    while (open_count > 0) {
        open_count--;
        close(pairs[open_count][0]);
        close(pairs[open_count][1]);
    }
    poller_free(poller);
    return 0;
}

static void add(int number, unsigned interest)
{
    assert_true(poller_add(poller, &watches[number], interest));
}

static void say(int number)
{
    assert_int_equal(send(pairs[number][1], "x", 1, 0), 1);
}

static unsigned ready_of(const struct watch *watch, int count)
{
    unsigned ready = 0;
    for (int i = 0; i < count; i++) {
        unsigned bits;
        if (poller_event(poller, i, &bits) == watch) {
            assert_int_equal(ready, 0); /* One event for each watch. */
            ready = bits;
        }
    }
    return ready;
}

/* Changes wait for the next kevent(), and cost none of their own. */
static void test_changes_cost_no_call(void **state)
{
    (void)state;
    add(0, WATCH_READ);
    add(1, WATCH_READ);
    int before = kqueue_calls();
    poller_change(poller, &watches[0], WATCH_WRITE);
    poller_change(poller, &watches[1], 0);
    poller_change(poller, &watches[1], WATCH_READ | WATCH_WRITE);
    assert_int_equal(kqueue_calls(), before);
    int count = poller_wait(poller, LONG_MS);
    assert_int_equal(kqueue_calls(), before + 1);
    assert_int_equal(count, 2);
    assert_int_equal(ready_of(&watches[0], count), WATCH_WRITE);
    assert_int_equal(ready_of(&watches[1], count), WATCH_WRITE);
}

/* Its memory may be gone by then. */
static void test_changes_of_a_removed_watch_are_dropped(void **state)
{
    (void)state;
    struct watch *watch = mem_alloc(sizeof(*watch));
    *watch = (struct watch){.fd = pairs[0][0], .cb = on_ready};
    assert_true(poller_add(poller, watch, WATCH_READ));
    poller_change(poller, watch, WATCH_WRITE);
    poller_remove(poller, watch);
    mem_free(watch);
    assert_int_equal(poller_wait(poller, SHORT_MS), 0);
}

/* A callback that runs between poller_wait() and the last event may remove a
 * watch, and use it for another descriptor. */
static void test_collected_event_of_a_removed_watch(void **state)
{
    (void)state;
    add(0, WATCH_READ | WATCH_WRITE);
    say(0);
    int count = poller_wait(poller, LONG_MS);
    assert_int_equal(count, 1);
    assert_int_equal(ready_of(&watches[0], count), WATCH_READ | WATCH_WRITE);
    poller_remove(poller, &watches[0]);
    watches[0].fd = pairs[1][0];
    add(0, WATCH_READ | WATCH_WRITE);
    assert_int_equal(ready_of(&watches[0], count), 0);
    count = poller_wait(poller, LONG_MS);
    assert_int_equal(ready_of(&watches[0], count), WATCH_WRITE);
}

static void test_no_memory_for_a_watch(void **state)
{
    (void)state;
    for (int skipped = 0; skipped < 2; skipped++) {
        kqueue_refuse_memory(skipped, 1);
        assert_false(poller_add(poller, &watches[0], WATCH_READ | WATCH_WRITE));
        assert_false(watches[0].active);
        say(0);
        uint64_t start_ms = sys_now_ms();
        assert_int_equal(poller_wait(poller, SHORT_MS), 0);
        assert_true(sys_now_ms() - start_ms >= SHORT_MS - 1); /* It slept. */
    }
    add(0, WATCH_READ | WATCH_WRITE);
    int count = poller_wait(poller, LONG_MS);
    assert_int_equal(ready_of(&watches[0], count), WATCH_READ | WATCH_WRITE);
}

/* Waits until the watch is ready, however long that takes. */
static unsigned wait_for(const struct watch *watch)
{
    uint64_t end_ms = sys_now_ms() + LONG_MS;
    unsigned ready = 0;
    while (ready == 0 && sys_now_ms() < end_ms) {
        ready = ready_of(watch, poller_wait(poller, -1));
    }
    return ready;
}

static void test_refused_changes_are_tried_again(void **state)
{
    (void)state;
    add(0, WATCH_READ);
    add(1, WATCH_READ);
    kqueue_refuse_memory(0, 9); /* Three at a time. */
    poller_change(poller, &watches[0], WATCH_WRITE);
    poller_change(poller, &watches[1], 0);
    /* None is lost, nor does the loop turn without a pause meanwhile. */
    uint64_t start_ms = sys_now_ms();
    int before = kqueue_calls();
    assert_int_equal(wait_for(&watches[0]), WATCH_WRITE);
    assert_true(sys_now_ms() - start_ms >= 190);
    assert_true(kqueue_calls() - before < 10);
    poller_change(poller, &watches[0], 0);
    poller_change(poller, &watches[1], WATCH_READ);
    say(1);
    assert_int_equal(wait_for(&watches[1]), WATCH_READ);
}

/* A watch that is refused something is removed. */
static void test_refused_and_removed(void **state)
{
    (void)state;
    struct watch *watch = mem_alloc(sizeof(*watch));
    *watch = (struct watch){.fd = pairs[0][0], .cb = on_ready};
    assert_true(poller_add(poller, watch, WATCH_READ));
    kqueue_refuse_memory(0, 1);
    poller_change(poller, watch, WATCH_READ | WATCH_WRITE);
    assert_int_equal(poller_wait(poller, SHORT_MS), 0);
    poller_remove(poller, watch);
    mem_free(watch);
    assert_int_equal(poller_wait(poller, SHORT_MS), 0);
    assert_int_equal(poller_wait(poller, SHORT_MS), 0);
}

/* What others do is reported while a change is refused again and again. */
static void test_others_go_on_while_one_is_refused(void **state)
{
    (void)state;
    add(0, WATCH_READ);
    add(1, WATCH_READ);
    kqueue_refuse_memory(0, 1000);
    poller_change(poller, &watches[0], WATCH_READ | WATCH_WRITE);
    say(1);
    assert_int_equal(wait_for(&watches[1]), WATCH_READ);
    kqueue_refuse_memory(0, 0);
    assert_int_equal(wait_for(&watches[0]), WATCH_WRITE);
}

static void test_more_changes_than_fit(void **state)
{
    (void)state;
    open_pairs(WATCHES);
    for (int i = 0; i < WATCHES; i++) {
        add(i, WATCH_READ);
    }
    for (int i = 0; i < WATCHES; i++) {
        poller_change(poller, &watches[i],
                      i % 2 ? WATCH_READ | WATCH_WRITE : 0);
        poller_change(poller, &watches[i], 0);
    }
    /* The first of them do not sleep, though they make nothing ready. */
    uint64_t start_ms = sys_now_ms();
    assert_int_equal(poller_wait(poller, LONG_MS), 0);
    assert_true(sys_now_ms() - start_ms < LONG_MS);
    for (int i = 0; i < WATCHES; i++) {
        poller_change(poller, &watches[i],
                      i % 2 ? WATCH_READ | WATCH_WRITE : 0);
    }
    int seen[WATCHES] = {0};
    for (int turn = 0; turn < 3; turn++) {
        int count = poller_wait(poller, LONG_MS);
        for (int i = 0; i < count; i++) {
            unsigned ready;
            seen[poller_event(poller, i, &ready) - watches]++;
            assert_int_equal(ready, WATCH_WRITE);
        }
    }
    for (int i = 0; i < WATCHES; i++) {
        assert_true((seen[i] > 0) == (i % 2 == 1));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_changes_cost_no_call),
        TEST(test_changes_of_a_removed_watch_are_dropped),
        TEST(test_collected_event_of_a_removed_watch),
        TEST(test_no_memory_for_a_watch),
        TEST(test_refused_changes_are_tried_again),
        TEST(test_refused_and_removed),
        TEST(test_others_go_on_while_one_is_refused),
        TEST(test_more_changes_than_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
