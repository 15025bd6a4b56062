/* test_store_image_rows.c -- the keys of an image in order: one state, on disk
 * and in memory, while the database changes, and without space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"

enum { KEYS = 300, TERM = 3, VALUE_BYTES = 600 };

static struct buf command;

/* Write or delete `count` keys; each entry has another value. */
static void change(struct store *store, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        uint64_t index = store_applied(store) + 1;
        struct command_writer writer;
        struct store_result result;
        char key[32];
        char value[VALUE_BYTES] = {0};
        snprintf(key, sizeof(key), "key-%llu",
                 (unsigned long long)(index * 7 % KEYS));
        snprintf(value, sizeof(value), "value-%llu", (unsigned long long)index);
        command.size = 0;
        command_begin(&writer, &command);
        if (index % 5 == 0) {
            command_delete(&writer, bytes_of_string(key));
        } else {
            command_put(&writer, bytes_of_string(key),
                        bytes_of(value, sizeof(value)));
        }
        command_end(&writer);
        assert_int_equal(
            store_apply(store, index, TERM, buf_bytes(&command), &result),
            ERR_OK);
    }
    assert_int_equal(store_flush(store), ERR_OK);
}

static void apply(struct store *store, uint64_t count)
{
    change(store, count);
    assert_int_equal(store_checkpoint(store), ERR_OK);
}

static struct store *open_on(struct simdisk *disk)
{
    struct store *store;
    struct store_options options = {.vfs = simvfs_name};
    simvfs_mount(0, disk);
    options.fs = simdisk_fs(disk);
    assert_int_equal(store_open(&options, &store), ERR_OK);
    return store;
}

static void add_pair(struct buf *out, const struct store_pair *pair)
{
    buf_add_bytes(out, pair->key);
    buf_add_bytes(out, pair->value);
    buf_printf(out, " %llu %llu\n", (unsigned long long)pair->modify_index,
               (unsigned long long)pair->create_index);
}

/* All rows of the store now, as text. */
static uint64_t rows_now(struct store *store, struct buf *out)
{
    struct store_range range = {0};
    struct store_pair pair;
    uint64_t count = 0;
    enum err err;
    store_range_open(store, &range);
    while (!(err = store_range_next(store, &pair))) {
        add_pair(out, &pair);
        count++;
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    store_range_close(store);
    return count;
}

/* Read all rows of a new image in pieces of `piece`, seeking before each,
 * while the store goes on: they are those at its index. */
static void read_all(struct store *store, uint64_t piece)
{
    struct store_image *image;
    struct buf expected = {0};
    struct buf got = {0};
    struct buf last = {0};
    struct store_pair pair;
    uint64_t keys = 0;
    enum err err = ERR_OK;
    uint64_t count = rows_now(store, &expected);
    assert_int_equal(store_image_open(store, &image), ERR_OK);
    assert_int_equal(image->index, store_applied(store));
    assert_int_equal(store_image_rows_begin(image, &keys), ERR_OK);
    assert_int_equal(keys, count);
    while (!err) {
        apply(store, 40);
        store_image_rows_seek(image, buf_bytes(&last));
        for (uint64_t i = 0; !err && i < piece; i++) {
            err = store_image_rows_next(image, &pair);
            if (!err) {
                add_pair(&got, &pair);
                last.size = 0;
                buf_add_bytes(&last, pair.key);
            }
        }
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_int_equal(got.size, expected.size);
    assert_memory_equal(got.data, expected.data, got.size);
    assert_true(image->index < store_applied(store));
    store_image_close(image);
    buf_free(&expected);
    buf_free(&got);
    buf_free(&last);
}

static void test_rows_stay_what_they_were(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = open_on(disk);
    apply(store, 500);
    read_all(store, 1);
    read_all(store, 7);
    read_all(store, 100);
    assert_false(store_is_held(store));
    store_close(store);
    simdisk_free(disk);
}

static void test_rows_of_a_store_in_memory(void **state)
{
    (void)state;
    struct fs *fs = fs_memory_new();
    struct store *store;
    struct store_options options = {.fs = fs};
    assert_int_equal(store_open(&options, &store), ERR_OK);
    apply(store, 500);
    read_all(store, 13);
    store_close(store);
    fs_memory_free(fs);
}

/* Two images of different states, and one that is read as a file. */
static void test_rows_of_two_states(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = open_on(disk);
    struct store_image *images[2];
    struct buf expected[2] = {0};
    struct buf got = {0};
    struct store_pair pair;
    uint64_t keys;
    for (size_t i = 0; i < 2; i++) {
        apply(store, 300);
        rows_now(store, &expected[i]);
        assert_int_equal(store_image_open(store, &images[i]), ERR_OK);
        assert_int_equal(store_image_rows_begin(images[i], &keys), ERR_OK);
    }
    apply(store, 300);
    for (size_t i = 0; i < 2; i++) {
        enum err err;
        got.size = 0;
        while (!(err = store_image_rows_next(images[i], &pair))) {
            add_pair(&got, &pair);
        }
        assert_int_equal(err, ERR_NOT_FOUND);
        assert_int_equal(got.size, expected[i].size);
        assert_memory_equal(got.data, expected[i].data, got.size);
        store_image_close(images[i]);
        buf_free(&expected[i]);
    }
    buf_free(&got);
    store_close(store);
    simdisk_free(disk);
}

/* Without room for the pages that a checkpoint replaces the image is lost: its
 * rows end with an error, never with those of another state. */
static void test_no_space_for_old_pages(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    unsigned lost = 0;
    log_set_level(LOG_OFF);
    for (uint64_t n = 1;; n++) {
        struct store *store = open_on(disk);
        struct store_image *image;
        struct buf expected = {0};
        struct buf got = {0};
        struct store_pair pair;
        uint64_t keys;
        enum err err;
        apply(store, 300);
        rows_now(store, &expected);
        assert_int_equal(store_image_open(store, &image), ERR_OK);
        assert_int_equal(store_image_rows_begin(image, &keys), ERR_OK);
        change(store, 400);
        simdisk_fail(disk, n, ERR_NOSPACE);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        bool failed = simdisk_failed(disk);
        simdisk_fail(disk, 0, ERR_OK);
        while (!(err = store_image_rows_next(image, &pair))) {
            add_pair(&got, &pair);
        }
        assert_true(got.size <= expected.size);
        assert_memory_equal(got.data, expected.data, got.size);
        if (err == ERR_NOT_FOUND) {
            assert_int_equal(got.size, expected.size);
        } else {
            assert_int_equal(err, ERR_NOSPACE);
            lost++;
        }
        store_image_close(image);
        buf_free(&expected);
        buf_free(&got);
        store_close(store);
        if (!failed) {
            break;
        }
    }
    log_set_level(LOG_INFO);
    assert_true(lost > 10);
    simdisk_free(disk);
}

static int install(void **state)
{
    (void)state;
    simvfs_install();
    return 0;
}

static int tidy(void **state)
{
    (void)state;
    buf_free(&command);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_stay_what_they_were),
        cmocka_unit_test(test_rows_of_a_store_in_memory),
        cmocka_unit_test(test_rows_of_two_states),
        cmocka_unit_test(test_no_space_for_old_pages),
    };
    return cmocka_run_group_tests(tests, install, tidy);
}
