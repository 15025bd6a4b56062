/* test_node_catch_up.c -- the rate of a node that is behind, and when a line of
 * the log is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/catch_up.h"

/* Looks once a second from `*now_ms` on. Returns the number of lines due. */
static int look(struct catch_up *at, enum catch_up_kind kind, uint64_t done,
                uint64_t total, uint64_t *now_ms)
{
    *now_ms += CATCH_UP_LOOK_MS;
    return catch_up_look(at, kind, done, total, *now_ms);
}

static void test_a_steady_rate(void **state)
{
    (void)state;
    struct catch_up at = {0};
    uint64_t now_ms = 1000;
    int lines = 0;
    for (uint64_t i = 0; i <= 20; i++) {
        lines += look(&at, CATCH_UP_SNAPSHOT, i * 100, 2500, &now_ms);
    }
    assert_int_equal(lines, 4); /* After 5, 10, 15 and 20 seconds. */
    assert_int_equal(at.per_second, 100);
    assert_int_equal(at.looks, 21);
    assert_int_equal(catch_up_left_s(&at), 5);
    (void)look(&at, CATCH_UP_SNAPSHOT, 2100, 2501, &now_ms);
    assert_int_equal(catch_up_left_s(&at), 5); /* 4.01, rounded up. */
    (void)look(&at, CATCH_UP_NONE, 0, 0, &now_ms);
    assert_int_equal(at.looks, 0);
    assert_int_equal(catch_up_left_s(&at), 0);
}

static void test_it_stands_still(void **state)
{
    (void)state;
    struct catch_up at = {0};
    uint64_t now_ms = 0;
    (void)look(&at, CATCH_UP_ENTRIES, 7, 100, &now_ms);
    int lines = 0;
    for (int i = 0; i < 10; i++) {
        lines += look(&at, CATCH_UP_ENTRIES, 7, 100, &now_ms);
    }
    assert_int_equal(lines, 2); /* It is said all the more. */
    assert_true(catch_up_left_s(&at) == UINT64_MAX);
    /* The rest may grow: the leader goes on. */
    (void)look(&at, CATCH_UP_ENTRIES, 107, 400, &now_ms);
    assert_int_equal(at.per_second, 25);
    assert_int_equal(catch_up_left_s(&at), 12);
}

/* Another snapshot, or entries behind a snapshot: with a rate of its own. */
static void test_it_begins_again(void **state)
{
    (void)state;
    struct catch_up at = {0};
    uint64_t now_ms = 0;
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(look(&at, CATCH_UP_SNAPSHOT, i * 1000, 9000, &now_ms),
                         0);
    }
    assert_int_equal(look(&at, CATCH_UP_SNAPSHOT, 10, 9000, &now_ms), 0);
    assert_int_equal(at.looks, 1);
    assert_int_equal(at.per_second, 0);
    assert_int_equal(look(&at, CATCH_UP_SNAPSHOT, 20, 9000, &now_ms), 0);
    assert_int_equal(at.per_second, 10);
    assert_int_equal(look(&at, CATCH_UP_ENTRIES, 30, 40, &now_ms), 0);
    assert_int_equal(at.looks, 1);
    /* A clock that stands still divides by nothing. */
    assert_false(catch_up_look(&at, CATCH_UP_ENTRIES, 35, 40, now_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_steady_rate),
        cmocka_unit_test(test_it_stands_still),
        cmocka_unit_test(test_it_begins_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
