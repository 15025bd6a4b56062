/* test_store_writeback.c -- what a flush writes is on its way to the disk
 * before a checkpoint syncs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/storedir.h"

enum {
    ROWS = 2000,
    VALUE_BYTES = 2000,
    CACHE_BYTES = 256 << 10,
    PIECE_BYTES_MAX = 1 << 20,
    PIECE_BYTES_MIN = 64 << 10,
};

/* The kernel's files, and how often writeback of each was started. */
static struct fs counting;
static uint64_t started[16];
static void (*start)(void *self, int handle);

static void start_writeback(void *self, int handle)
{
    assert_in_range(handle, 0, ARRAY_COUNT(started) - 1);
    started[handle]++;
    start(self, handle);
}

static uint64_t most_started(void)
{
    uint64_t most = 0;
    for (size_t i = 0; i < ARRAY_COUNT(started); i++) {
        most = max_u64(most, started[i]);
    }
    return most;
}

static void test_pieces_of_a_flush_are_written_back(void **state)
{
    static char value[VALUE_BYTES + 1];
    struct store *store;
    struct store_options options = {.fs = &counting,
                                    .cache_bytes = CACHE_BYTES};
    (void)state;
    if (!storedir_fs->start_writeback) {
        skip(); /* This system has no such call. */
    }
    counting = *storedir_fs;
    start = storedir_fs->start_writeback;
    counting.start_writeback = start_writeback;
    memset(value, 'v', VALUE_BYTES);
    assert_int_equal(store_open(&options, &store), ERR_OK);
    for (int row = 0; row < ROWS; row++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%d", row);
        storedir_put(store, key, value);
    }
    assert_true(store_freeze(store));
    uint64_t before_commit = 0;
    while (store_is_frozen(store)) {
        before_commit = most_started();
        assert_int_equal(store_flush_step(store, ROWS / 20), ERR_OK);
    }
    /* A part of every megabyte, and not all of it at COMMIT. */
    uint64_t bytes = (uint64_t)ROWS * VALUE_BYTES;
    assert_true(most_started() >= bytes / PIECE_BYTES_MAX);
    assert_true(before_commit >= most_started() / 2);
    /* A system call for each frame would be too many. */
    assert_true(most_started() <= bytes / PIECE_BYTES_MIN);
    uint64_t flushed = most_started();
    assert_int_equal(store_checkpoint(store), ERR_OK);
    assert_int_equal(most_started(), flushed);
    store_close(store);
}

static int begin(void **state)
{
    (void)state;
    return storedir_make();
}

static int end(void **state)
{
    (void)state;
    return storedir_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pieces_of_a_flush_are_written_back,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
