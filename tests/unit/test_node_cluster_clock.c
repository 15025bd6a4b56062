/* test_node_cluster_clock.c -- cluster time goes on from the last stamp, never
 * back, and a clock that jumps cannot drive it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/cluster_clock.h"

static void test_it_continues_from_the_stamp(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 0, 777);
    assert_int_equal(clock.time_ms, 1); /* A stamp is not 0. */
    cluster_clock_start(&clock, 5000, 1000000);
    assert_int_equal(clock.time_ms, 5000);
    cluster_clock_advance(&clock, 1000001);
    cluster_clock_advance(&clock, 1000001);
    cluster_clock_advance(&clock, 1000900);
    assert_int_equal(clock.time_ms, 5900);
}

static void test_it_never_goes_back(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 5000, 1000);
    cluster_clock_advance(&clock, 1500);
    cluster_clock_advance(&clock, 20);
    assert_int_equal(clock.time_ms, 5500);
    /* It follows the clock as that is now. */
    cluster_clock_advance(&clock, 120);
    assert_int_equal(clock.time_ms, 5600);
}

static void test_a_jump_counts_as_one_step(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_start(&clock, 1, 0);
    cluster_clock_advance(&clock, CLUSTER_CLOCK_STEP_MS);
    assert_int_equal(clock.time_ms, 1 + CLUSTER_CLOCK_STEP_MS);
    cluster_clock_advance(&clock, UINT64_MAX);
    assert_int_equal(clock.time_ms, 1 + 2 * CLUSTER_CLOCK_STEP_MS);
    cluster_clock_advance(&clock, UINT64_MAX);
    assert_int_equal(clock.time_ms, 1 + 2 * CLUSTER_CLOCK_STEP_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_continues_from_the_stamp),
        cmocka_unit_test(test_it_never_goes_back),
        cmocka_unit_test(test_a_jump_counts_as_one_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
