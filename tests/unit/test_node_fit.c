/* test_node_fit.c -- sizes on disks from 6 MiB up: fixed on a large disk, small
 * shares of a small one, and without steps between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/fit.h"

enum { MIB = 1 << 20 };

/* All that is kept besides the data: two segments, the log's reserve, the log
 * kept while space is scarce, the database's reserve and the -wal. */
static uint64_t overhead(const struct fit *fit)
{
    return fit->segment * 7 / 2 + fit->log_keep_least + fit->store_reserve +
           fit->wal_kept;
}

static void test_a_large_disk(void **state)
{
    (void)state;
    struct fit unknown = fit_to_disk(UINT64_MAX, 0);
    struct fit large = fit_to_disk((uint64_t)100 << 30, (uint64_t)1 << 30);
    assert_memory_equal(&unknown, &large, sizeof(large));
    assert_int_equal(large.segment, 4 * MIB);
    assert_int_equal(large.log_keep, 16 * MIB);
    assert_int_equal(large.log_keep_least, 4 * MIB);
    assert_int_equal(large.store_reserve, 2 * MIB);
    assert_int_equal(large.checkpoint_min, MIB);
    assert_int_equal(large.checkpoint_max, 16 * MIB);
    assert_int_equal(large.wal_kept, 32 * MIB);
    assert_int_equal(large.flush, 64 * MIB);
    assert_int_equal(large.growth, 256 << 10);
}

static void test_small_disks(void **state)
{
    (void)state;
    struct fit last = fit_to_disk(0, 0);
    struct fit least = fit_to_disk(FIT_DISK_BYTES_MIN, 0);
    assert_memory_equal(&last, &least, sizeof(least));
    for (uint64_t disk = FIT_DISK_BYTES_MIN; disk < (uint64_t)4096 * MIB;
         disk += disk / 16) {
        struct fit fit = fit_to_disk(disk, 0);
        assert_true(overhead(&fit) <= disk * 27 / 100);
        assert_true(fit.segment >= 64 << 10 && fit.segment >= last.segment);
        assert_int_equal(fit.segment & (fit.segment - 1), 0);
        assert_true(fit.store_reserve >= last.store_reserve);
        assert_true(fit.checkpoint_min > 0);
        assert_true(fit.checkpoint_min <= fit.checkpoint_max);
        /* Transactions fit into the reserve; one delete needs 26 pages. */
        assert_true(fit.store_reserve >= 26 * 4120);
        assert_true(fit_start_bytes(&fit) < disk / 4);
        last = fit;
    }
}

static void test_a_small_database(void **state)
{
    (void)state;
    struct fit fit = fit_to_disk(UINT64_MAX, 2 * MIB);
    struct fit same = fit_to_disk(16 * MIB, 0);
    assert_memory_equal(&fit, &same, sizeof(fit));
    fit = fit_to_disk(UINT64_MAX, 1);
    assert_memory_equal(&fit, &same, sizeof(fit));
    fit = fit_to_disk(8 * MIB, 2 * MIB);
    same = fit_to_disk(8 * MIB, 0);
    assert_memory_equal(&fit, &same, sizeof(fit));
    fit = fit_to_disk(UINT64_MAX, UINT64_MAX);
    same = fit_to_disk(UINT64_MAX, 0);
    assert_memory_equal(&fit, &same, sizeof(fit));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_disk),
        cmocka_unit_test(test_small_disks),
        cmocka_unit_test(test_a_small_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
