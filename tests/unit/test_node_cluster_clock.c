/* test_node_cluster_clock.c -- cluster time goes on from the last stamp, never
 * back, and a clock that jumps cannot drive it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/cluster_clock.h"

#define NO_LIMIT UINT64_MAX

static void test_it_continues_from_the_stamp(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 0, 777);
    assert_int_equal(clock.time_ms, 1); /* A stamp is not 0. */
    cluster_clock_start(&clock, 5000, 1000000);
    assert_int_equal(clock.time_ms, 5000);
    cluster_clock_advance(&clock, 1000001, NO_LIMIT);
    cluster_clock_advance(&clock, 1000001, NO_LIMIT);
    cluster_clock_advance(&clock, 1000900, NO_LIMIT);
    assert_int_equal(clock.time_ms, 5900);
}

static void test_it_never_goes_back(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 5000, 1000);
    cluster_clock_advance(&clock, 1500, NO_LIMIT);
    cluster_clock_advance(&clock, 20, NO_LIMIT);
    assert_int_equal(clock.time_ms, 5500);
    /* It follows the clock as that is now. */
    cluster_clock_advance(&clock, 120, NO_LIMIT);
    assert_int_equal(clock.time_ms, 5600);
}

static void test_a_jump_counts_as_one_step(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 1, 0);
    cluster_clock_advance(&clock, CLUSTER_CLOCK_STEP_MS, NO_LIMIT);
    assert_int_equal(clock.time_ms, 1 + CLUSTER_CLOCK_STEP_MS);
    cluster_clock_advance(&clock, UINT64_MAX, NO_LIMIT);
    assert_int_equal(clock.time_ms, 1 + 2 * CLUSTER_CLOCK_STEP_MS);
    cluster_clock_advance(&clock, UINT64_MAX, NO_LIMIT);
    assert_int_equal(clock.time_ms, 1 + 2 * CLUSTER_CLOCK_STEP_MS);
}

static void test_it_stands_still_at_its_limit(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 5000, 0);
    cluster_clock_advance(&clock, 900, 6000);
    cluster_clock_advance(&clock, 1900, 6000);
    cluster_clock_advance(&clock, 2900, 6000);
    assert_int_equal(clock.time_ms, 6000);
    /* It continues from there, and does not go back to a lower limit. */
    cluster_clock_advance(&clock, 3000, 7000);
    assert_int_equal(clock.time_ms, 6100);
    cluster_clock_advance(&clock, 3100, 50);
    assert_int_equal(clock.time_ms, 6100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_continues_from_the_stamp),
        cmocka_unit_test(test_it_never_goes_back),
        cmocka_unit_test(test_a_jump_counts_as_one_step),
        cmocka_unit_test(test_it_stands_still_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
