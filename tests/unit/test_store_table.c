/* test_store_table.c -- the ordered table in memory, against a sorted list:
 * keys in any order, of any bytes; walks from any key, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "store/table.h"

enum { KEYS_MAX = 5000, KEY_BYTES = 6, SEEKS = 300 };

static struct arena arena;
static struct table table;
static struct rng rng;
static struct {
    uint8_t key[KEY_BYTES];
    size_t size;
    uint64_t version;
} model[KEYS_MAX];
static size_t model_count;

static int setup(void **state)
{
    (void)state;
    rng_init(&rng, 11);
    table_init(&table, &arena);
    model_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct bytes model_key(size_t i)
{
    return bytes_of(model[i].key, model[i].size);
}

/* Number of keys of the model that are less than `key`. */
static size_t less_than(struct bytes key)
{
    size_t low = 0;
    size_t high = model_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table_compare(model_key(middle), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void add(struct bytes key, uint64_t version)
{
    size_t at = less_than(key);
    bool there = at < model_count && bytes_equal(model_key(at), key);
    struct table_entry *found = table_find(&table, key);
    assert_true(there == (found != NULL));
    struct table_entry *entry = table_add(&table, key);
    assert_true(!there || entry == found);
    assert_true(bytes_equal(table_key(entry), key));
    if (there) {
        assert_int_equal(entry->row.version, model[at].version);
    } else {
        assert_int_equal(entry->row.kind, TABLE_HOLE);
        memmove(&model[at + 1], &model[at],
                (model_count - at) * sizeof(model[0]));
        memcpy(model[at].key, key.data, key.size);
        model[at].size = key.size;
        model_count++;
    }
    entry->row = (struct table_row){.kind = TABLE_ROW,
                                    .version = version,
                                    .value = table_copy(&table, key),
                                    .value_bytes = (uint32_t)key.size};
    model[at].version = version;
    assert_int_equal(table.count, model_count);
}

static void check_entry(const struct table_entry *entry, size_t i)
{
    assert_true(bytes_equal(table_key(entry), model_key(i)));
    assert_true(bytes_equal(table_value(&entry->row), model_key(i)));
    assert_int_equal(entry->row.version, model[i].version);
}

static void check_walks(struct bytes from)
{
    size_t at = less_than(from);
    struct table_walk walk = table_seek(&table, from, false);
    for (size_t i = at; i < model_count; i++) {
        check_entry(table_here(&walk), i);
        table_step(&walk, false);
    }
    assert_null(table_here(&walk));
    walk = table_seek(&table, from, true);
    for (size_t i = at; i > 0; i--) {
        check_entry(table_here(&walk), i - 1);
        table_step(&walk, true);
    }
    assert_null(table_here(&walk));
}

static size_t any_key(uint8_t key[KEY_BYTES])
{
    size_t size = rng_below(&rng, KEY_BYTES + 1);
    for (size_t i = 0; i < size; i++) {
        key[i] = (uint8_t)rng_below(&rng, i < 3 ? 256 : 3);
    }
    return size;
}

static void check_all(void)
{
    uint8_t key[KEY_BYTES] = {0};
    check_walks((struct bytes){0});
    memset(key, 0xff, sizeof(key));
    check_walks(bytes_of(key, sizeof(key)));
    for (int i = 0; i < SEEKS; i++) {
        check_walks(bytes_of(key, any_key(key)));
        if (model_count > 0) {
            check_walks(model_key(rng_below(&rng, model_count)));
        }
    }
}

static void test_any_order(void **state)
{
    uint8_t key[KEY_BYTES];
    (void)state;
    for (uint64_t i = 0; model_count < KEYS_MAX - 1; i++) {
        add(bytes_of(key, any_key(key)), i);
        if (model_count == 1 || model_count == 33 || model_count == 700) {
            check_all();
        }
    }
    check_all();
}

static void put_number(uint64_t number)
{
    uint8_t key[4];
    for (int i = 0; i < 4; i++) {
        key[i] = (uint8_t)(number >> (24 - 8 * i));
    }
    add(bytes_of(key, sizeof(key)), number);
}

static void test_ascending(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < KEYS_MAX; i++) {
        put_number(i);
    }
    check_all();
}

static void test_descending(void **state)
{
    (void)state;
    for (uint64_t i = KEYS_MAX; i > 0; i--) {
        put_number(i);
    }
    check_all();
}

/* From both ends to the middle: each insertion is next to the last ones. */
static void test_inward(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < KEYS_MAX / 2; i++) {
        put_number(i);
        put_number(KEYS_MAX - i);
    }
    check_all();
}

static void test_empty(void **state)
{
    (void)state;
    check_all();
    assert_null(table_find(&table, bytes_of("a", 1)));
}

/* What the arena counts is what it took: small things share a chunk. */
static void test_memory_is_counted(void **state)
{
    static uint8_t value[300000];
    (void)state;
    assert_int_equal(arena.bytes, 0);
    table_copy(&table, bytes_of(value, 100));
    uint64_t one = arena.bytes;
    assert_in_range(one, 100, 100000);
    table_copy(&table, bytes_of(value, 100));
    assert_int_equal(arena.bytes, one);
    const uint8_t *large = table_copy(&table, bytes_of(value, sizeof(value)));
    assert_in_range(arena.bytes, one + sizeof(value),
                    one + sizeof(value) + 4096);
    assert_memory_equal(large, value, sizeof(value));
    table_copy(&table, bytes_of(value, 100)); /* The small chunk goes on. */
    assert_in_range(arena.bytes, one + sizeof(value),
                    one + sizeof(value) + 4096);
    arena_free(&arena);
    assert_int_equal(arena.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ascending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inward, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_is_counted, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
