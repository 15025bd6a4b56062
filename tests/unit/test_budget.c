/* test_budget.c -- how memory is divided, from 8 MiB up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "budget.h"

enum { MIB = 1 << 20, BODY = 4 * MIB };

static void test_a_large_memory(void **state)
{
    (void)state;
    struct budget budget = budget_of((uint64_t)1 << 30, 0, 0, BODY);
    assert_int_equal(budget.cache, 4 * MIB);
    assert_int_equal(budget.rows, 8 * MIB);
    assert_int_equal(budget.requests, 128 * MIB);
    assert_int_equal(budget.buffer, 4 * MIB);
    assert_int_equal(budget.entries, 2 * MIB);
    assert_int_equal(budget.proposals, 16 * MIB);
    assert_int_equal(budget.feed, 8 * MIB);
    assert_int_equal(budget.in_memory, 256 * MIB);
    struct budget unknown = budget_of(UINT64_MAX, 0, 0, BODY);
    unknown.in_memory = budget.in_memory;
    assert_memory_equal(&budget, &unknown, sizeof(budget));
}

static void test_small_memories(void **state)
{
    (void)state;
    struct budget last = budget_of(0, 0, 0, MIB);
    for (uint64_t memory = 8 * MIB; memory < (uint64_t)2048 * MIB;
         memory += memory / 8) {
        struct budget budget = budget_of(memory, 0, 0, MIB);
        uint64_t all = budget.cache + 2 * budget.buffer + budget.entries +
                       budget.proposals + budget.feed + budget.requests +
                       budget.rows;
        assert_true(all <= memory * 2 / 3);
        assert_true(budget.cache >= BUDGET_CACHE_MIN);
        assert_true(budget.cache <= max_u64(memory / 8, 512 << 10));
        assert_true(budget.cache >= last.cache);
        assert_true(budget.requests >= last.requests);
        last = budget;
    }
    /* A body of the allowed size has room. */
    assert_int_equal(budget_of(16 * MIB, 0, 0, BODY).proposals, BODY);
}

static void test_a_cache_that_was_asked_for(void **state)
{
    (void)state;
    assert_int_equal(budget_of(16 * MIB, 64 * MIB, 0, BODY).cache, 64 * MIB);
    assert_int_equal(budget_of(UINT64_MAX, MIB, 0, BODY).cache, MIB);
    assert_int_equal(budget_of(UINT64_MAX, MIB, 0, BODY).rows, 2 * MIB);
}

static void test_a_write_buffer_that_was_asked_for(void **state)
{
    (void)state;
    assert_int_equal(budget_of(16 * MIB, 0, 64 * MIB, BODY).buffer, 64 * MIB);
    struct budget budget = budget_of(UINT64_MAX, 0, MIB, BODY);
    struct budget plain = budget_of(UINT64_MAX, 0, 0, BODY);
    assert_int_equal(budget.buffer, MIB);
    assert_true(plain.buffer > MIB);
    plain.buffer = MIB; /* No other part depends on it. */
    assert_memory_equal(&budget, &plain, sizeof(budget));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_memory),
        cmocka_unit_test(test_small_memories),
        cmocka_unit_test(test_a_cache_that_was_asked_for),
        cmocka_unit_test(test_a_write_buffer_that_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
