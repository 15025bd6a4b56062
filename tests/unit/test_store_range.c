/* test_store_range.c -- keys in order, against a sorted list: every bound,
 * both directions, keys of any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/text.h"
#include "command/command.h"
#include "store/store.h"

enum { KEYS_MAX = 400, SHORT_MAX = 4 };

struct model {
    uint8_t key[COMMAND_KEY_BYTES_MAX];
    size_t size;
    uint64_t created;
    uint64_t modified;
};

static struct fs *fs;
static struct store *store;
static struct model models[KEYS_MAX];
static size_t model_count;
static struct rng rng;

static int setup(void **state)
{
    (void)state;
    fs = fs_memory_new();
    struct store_options options = {.fs = fs};
    rng_init(&rng, 7);
    model_count = 0;
    return store_open(&options, &store) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    fs_memory_free(fs);
    return 0;
}

static int compare(struct bytes a, struct bytes b)
{
    size_t size = min_size(a.size, b.size);
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *a, const void *b)
{
    const struct model *x = a;
    const struct model *y = b;
    return compare(bytes_of(x->key, x->size), bytes_of(y->key, y->size));
}

/* Few letters, so that many keys begin alike; 0x00 and 0xff among them. */
static size_t any_key(uint8_t *key)
{
    static const uint8_t letters[] = {0x00, 'a', 'b', '/', 0x80, 0xff};
    size_t size = 1 + rng_below(&rng, SHORT_MAX);
    for (size_t i = 0; i < size; i++) {
        key[i] = letters[rng_below(&rng, sizeof(letters))];
    }
    return size;
}

static void put(struct bytes key)
{
    struct command_writer writer;
    struct store_result result;
    struct buf command = {0};
    uint64_t index = store_applied(store) + 1;
    command_begin(&writer, &command);
    command_put(&writer, key, key); /* Its own value. */
    command_end(&writer);
    assert_int_equal(store_apply(store, index, 1, buf_bytes(&command), &result),
                     ERR_OK);
    buf_free(&command);
    for (size_t i = 0; i < model_count; i++) {
        if (bytes_equal(bytes_of(models[i].key, models[i].size), key)) {
            models[i].modified = index;
            return;
        }
    }
    struct model *model = &models[model_count++];
    memcpy(model->key, key.data, key.size);
    model->size = key.size;
    model->created = index;
    model->modified = index;
}

static void fill(void)
{
    uint8_t key[COMMAND_KEY_BYTES_MAX];
    for (int i = 0; i < 300; i++) {
        put(bytes_of(key, any_key(key)));
    }
    memset(key, 0xff, sizeof(key)); /* The greatest there can be. */
    put(bytes_of(key, sizeof(key)));
    memset(key, 'm', sizeof(key));
    put(bytes_of(key, sizeof(key)));
    qsort(models, model_count, sizeof(*models), by_key);
}

static bool inside(const struct model *model, const struct store_range *range)
{
    struct bytes key = bytes_of(model->key, model->size);
    return compare(key, range->from) >= 0 &&
           (range->to.size == 0 || compare(key, range->to) < 0);
}

static void assert_pair(const struct store_pair *pair,
                        const struct model *model, bool keys_only)
{
    struct bytes key = bytes_of(model->key, model->size);
    assert_true(bytes_equal(pair->key, key));
    if (!keys_only) {
        assert_true(bytes_equal(pair->value, key));
        assert_int_equal(pair->create_index, model->created);
        assert_int_equal(pair->modify_index, model->modified);
    }
}

static void assert_range(const struct store_range *range)
{
    struct store_pair pair;
    store_range_open(store, range);
    for (size_t i = 0; i < model_count; i++) {
        const struct model *model =
            &models[range->reverse ? model_count - 1 - i : i];
        if (inside(model, range)) {
            assert_int_equal(store_range_next(store, &pair), ERR_OK);
            assert_pair(&pair, model, range->keys_only);
        }
    }
    assert_int_equal(store_range_next(store, &pair), ERR_NOT_FOUND);
    store_range_close(store);
}

static void test_every_range_is_the_sorted_list_between_its_bounds(void **state)
{
    (void)state;
    fill();
    for (int round = 0; round < 2000; round++) {
        uint8_t from[SHORT_MAX];
        uint8_t to[SHORT_MAX];
        struct store_range range = {
            .from = bytes_of(from, rng_below(&rng, 4) ? any_key(from) : 0),
            .to = bytes_of(to, rng_below(&rng, 4) ? any_key(to) : 0),
            .reverse = rng_below(&rng, 2),
            .keys_only = rng_below(&rng, 2),
        };
        assert_range(&range);
    }
}

static void test_nothing_at_all_is_an_empty_range(void **state)
{
    (void)state;
    assert_range(&(struct store_range){0});
    assert_range(&(struct store_range){.reverse = true});
}

static void test_a_range_left_early_does_not_hold_the_store(void **state)
{
    (void)state;
    struct store_pair pair;
    fill();
    store_range_open(store, &(struct store_range){0});
    assert_int_equal(store_range_next(store, &pair), ERR_OK);
    store_range_close(store);
    store_range_close(store);
    uint8_t key[] = {'z'};
    put(bytes_of(key, 1));
    qsort(models, model_count, sizeof(*models), by_key);
    assert_int_equal(store_flush(store), ERR_OK);
    assert_range(&(struct store_range){0});
    assert_range(&(struct store_range){.keys_only = true, .reverse = true});
}

/* RFC 4648 section 10. */
static void test_base64_as_the_rfc_has_it(void **state)
{
    (void)state;
    static const char *const vectors[] = {
        "",     "",     "f",        "Zg==",  "fo",       "Zm8=",   "foo",
        "Zm9v", "foob", "Zm9vYg==", "fooba", "Zm9vYmE=", "foobar", "Zm9vYmFy"};
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i += 2) {
        struct buf out = {0};
        text_add_base64(&out, bytes_of_string(vectors[i]));
        assert_true(bytes_equal_string(buf_bytes(&out), vectors[i + 1]));
        buf_free(&out);
    }
    struct buf out = {0};
    text_add_base64(&out, bytes_of("\xff\xfe\xfb\x00", 4));
    assert_true(bytes_equal_string(buf_bytes(&out), "//77AA=="));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_every_range_is_the_sorted_list_between_its_bounds, setup,
            teardown),
        cmocka_unit_test_setup_teardown(test_nothing_at_all_is_an_empty_range,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_range_left_early_does_not_hold_the_store, setup, teardown),
        cmocka_unit_test(test_base64_as_the_rfc_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
