/* test_store_row_cache.c -- the cache of rows, against all rows that were ever
 * put into it: what it gives is true, and it gives what it has room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "store/row_cache.h"

enum { KEYS = 4000, ROUNDS = 200000, SMALL_KEYS = 300 };

static struct row_cache *cache;
static struct rng rng;
/* Versions, 0: the row was removed, or never put. */
static uint64_t versions[KEYS];

static int setup(void **state)
{
    (void)state;
    rng_init(&rng, 5);
    cache = row_cache_new(ROW_CACHE_BYTES_MIN);
    memset(versions, 0, sizeof(versions));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    row_cache_free(cache);
    return 0;
}

/* Keys of many lengths: the longest ones are not kept. */
static struct bytes key_of(size_t i, char room[400])
{
    int size = snprintf(room, 400, "%zu/", i);
    size_t more = i % 7 == 0 ? i % 280 : i % 20;
    memset(room + size, 'k', more);
    return bytes_of(room, (size_t)size + more);
}

static struct cached_row row_of(size_t i, uint64_t version)
{
    return (struct cached_row){.value_bytes = i,
                               .create_index = i + 1,
                               .modify_index = i + version,
                               .version = version,
                               .deadline = i ^ version};
}

static void put(size_t i)
{
    char room[400];
    struct cached_row row = row_of(i, versions[i] + 1);
    row_cache_put(cache, key_of(i, room), &row);
    versions[i]++;
}

static void drop(size_t i)
{
    char room[400];
    row_cache_remove(cache, key_of(i, room));
    versions[i] = 0;
}

/* Is the row there? Then it is the last one that was put. */
static bool is_found(size_t i)
{
    char room[400];
    struct cached_row row;
    if (!row_cache_find(cache, key_of(i, room), &row)) {
        return false;
    }
    struct cached_row expected = row_of(i, versions[i]);
    assert_true(versions[i] > 0);
    assert_memory_equal(&row, &expected, sizeof(row));
    return true;
}

/* Several times as many rows as fit. */
static void test_what_is_found_is_true(void **state)
{
    (void)state;
    size_t found = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t key = rng_below(&rng, KEYS);
        switch (rng_below(&rng, 8)) {
        case 0:
            drop(key);
            assert_false(is_found(key));
            break;
        case 1:
        case 2:
            put(key);
            break;
        default:
            found += is_found(key);
        }
    }
    assert_true(found > ROUNDS / 50);
    row_cache_clear(cache);
    for (size_t i = 0; i < KEYS; i++) {
        assert_false(is_found(i));
    }
}

/* A slot has 16 bits of the hash of a key, and its bucket is a few more: among
 * so many keys of one length some share all of them with a row that is there.
 */
static void test_the_key_is_compared(void **state)
{
    (void)state;
    enum { PUT = 256, OTHERS = 4 << 20 };
    struct cached_row row;
    for (uint64_t i = 0; i < OTHERS; i++) {
        struct bytes key = bytes_of(&i, sizeof(i));
        if (i < PUT) {
            row = row_of(i, 1);
            row_cache_put(cache, key, &row);
        } else {
            assert_false(row_cache_find(cache, key, &row));
        }
    }
}

/* Rows that are put again do not push others out. */
static void test_rows_that_fit_stay(void **state)
{
    (void)state;
    size_t found = 0;
    char room[400];
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < SMALL_KEYS; i++) {
            put(i);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < SMALL_KEYS; i++) {
        found += is_found(i);
        kept += key_of(i, room).size <= ROW_CACHE_KEY_BYTES_MAX;
    }
    assert_true(kept < SMALL_KEYS);
    /* A bucket may have had too many. */
    assert_in_range(found, kept - kept / 20, kept);
}

/* The newest rows are there, whatever was put before. */
static void test_the_oldest_rows_are_evicted(void **state)
{
    (void)state;
    size_t found = 0;
    for (size_t i = 0; i < KEYS; i++) {
        put(i);
    }
    for (size_t i = KEYS - 200; i < KEYS; i++) {
        found += is_found(i);
    }
    assert_true(found > 180);
    for (size_t i = 0; i < 1000; i++) {
        assert_false(is_found(i));
    }
}

static void test_the_memory_that_was_asked_for_is_used(void **state)
{
    (void)state;
    size_t found = 0;
    char key[32];
    struct cached_row row = {.version = 1};
    row_cache_free(cache);
    cache = row_cache_new(1 << 20);
    for (int i = 0; i < 13000; i++) { /* 64 bytes each. */
        snprintf(key, sizeof(key), "k%014d", i);
        row_cache_put(cache, bytes_of_string(key), &row);
    }
    for (int i = 0; i < 13000; i++) {
        snprintf(key, sizeof(key), "k%014d", i);
        found += row_cache_find(cache, bytes_of_string(key), &row);
    }
    assert_true(found > 12000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_key_is_compared, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_found_is_true, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rows_that_fit_stay, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_rows_are_evicted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_the_memory_that_was_asked_for_is_used, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
