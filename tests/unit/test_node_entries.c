/* test_node_entries.c -- the window over the end of the log against a plain
 * array: adding, cutting, beginning anew and forgetting, at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "node/entries.h"

enum { INDEX_MAX = 20000 };

struct model {
    uint64_t term;
    size_t size;
    uint8_t byte;
};

static struct model model[INDEX_MAX];
static uint8_t payload[3 * ENTRIES_CHUNK_BYTES];

static void check(const struct entries *entries)
{
    uint64_t bytes = 0;
    struct entry entry;
    assert_false(entries_get(entries, entries->first - 1, &entry));
    assert_false(entries_get(entries, entries->last + 1, &entry));
    for (uint64_t i = entries->first; i <= entries->last; i++) {
        assert_true(entries_get(entries, i, &entry));
        assert_int_equal(entry.term, model[i].term);
        assert_int_equal(entry.payload.size, model[i].size);
        if (model[i].size > 0) {
            assert_int_equal(entry.payload.data[0], model[i].byte);
            assert_int_equal(entry.payload.data[model[i].size - 1],
                             model[i].byte);
        }
        bytes += model[i].size;
    }
    assert_int_equal(entries->bytes, bytes);
}

static void put(struct entries *entries, struct rng *rng, uint64_t index,
                uint64_t term)
{
    size_t size = (size_t)rng_below(rng, 300);
    if (rng_below(rng, 200) == 0) {
        size = sizeof(payload); /* A chunk of its own. */
    }
    uint8_t byte = (uint8_t)rng_next(rng);
    memset(payload, byte, size);
    model[index] = (struct model){term, size, byte};
    entries_put(entries, index, term, RAFT_ENTRY_NORMAL,
                bytes_of(payload, size));
}

static void test_against_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct entries entries;
        struct rng rng;
        uint64_t term = 1;
        rng_init(&rng, seed);
        entries_init(&entries, 1 + rng_below(&rng, 50));
        for (int step = 0; step < 3000; step++) {
            uint64_t back = rng_below(&rng, 100) == 0 ? rng_below(&rng, 40) : 0;
            uint64_t index = back < entries.last ? entries.last + 1 - back : 1;
            term += back > 0;
            put(&entries, &rng, index, term);
            if (rng_below(&rng, 50) == 0) {
                entries_trim(&entries, entries.last - rng_below(&rng, 20));
            }
            if (step % 97 == 0) {
                check(&entries);
            }
        }
        check(&entries);
        entries_free(&entries);
    }
}

static void test_trim_keeps_what_is_not_durable(void **state)
{
    (void)state;
    struct entries entries;
    entries_init(&entries, 1);
    for (uint64_t i = 1; i <= 100; i++) {
        entries_put(&entries, i, 1, RAFT_ENTRY_NORMAL,
                    bytes_of(payload, ENTRIES_CHUNK_BYTES));
    }
    entries_trim(&entries, 10);
    assert_int_equal(entries.first, 11);
    entries_trim(&entries, 100);
    assert_true(entries.bytes <= ENTRIES_BYTES_KEPT);
    assert_int_equal(entries.last, 100);
    entries_free(&entries);
}

static void test_an_empty_window_can_be_freed(void **state)
{
    (void)state;
    struct entries never = {0};
    entries_free(&never);
    struct entries entries;
    entries_init(&entries, 7);
    assert_int_equal(entries.last, 6);
    entries_free(&entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_trim_keeps_what_is_not_durable),
        cmocka_unit_test(test_an_empty_window_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
