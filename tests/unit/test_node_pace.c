/* test_node_pace.c -- flushes and checkpoints take short slices with pauses
 * while clients write, longer ones the fuller memory is, and no pauses without
 * load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "command/command.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "support/simvfs.h"

static struct node node;
static uint64_t now_us;

static uint64_t read_us(void *self)
{
    (void)self;
    return now_us;
}

static struct simdisk *disk;

static int setup(void **state)
{
    (void)state;
    struct store_options options = {.vfs = simvfs_name};
    simvfs_install();
    disk = simdisk_new();
    simvfs_mount(0, disk);
    options.fs = simdisk_fs(disk);
    now_us = 0;
    node = (struct node){.env = {.now_us = read_us},
                         .options = {.buffer_bytes = 4 << 20},
                         .fit = {.flush = 4 << 20},
                         .space = {.free_bytes = UINT64_MAX},
                         .now_ms = 1000,
                         .apply = {.last_ms = 1000}};
    return store_open(&options, &node.store) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    store_close(node.store);
    simdisk_free(disk);
    return 0;
}

static void fill(uint64_t bytes)
{
    static uint8_t value[64 << 10];
    char key[24];
    struct buf command = {0};
    struct store_result result;
    while (store_buffered(node.store) < bytes) {
        struct command_writer writer;
        uint64_t index = store_applied(node.store) + 1;
        command.size = 0;
        command_begin(&writer, &command);
        snprintf(key, sizeof(key), "k%llu", (unsigned long long)index);
        command_put(&writer, bytes_of_string(key),
                    bytes_of(value, sizeof(value)));
        command_end(&writer);
        assert_int_equal(
            store_apply(node.store, index, 1, buf_bytes(&command), &result),
            ERR_OK);
    }
    buf_free(&command);
}

/* The pause after a slice of 250 us. */
static uint64_t pause_us(void)
{
    uint64_t start = now_us;
    pace_worked(&node, start, start + 250);
    now_us = start + 250;
    while (!pace_is_due(&node)) {
        now_us++;
    }
    return now_us - start - 250;
}

static void test_pauses_under_load(void **state)
{
    (void)state;
    assert_true(pace_is_due(&node)); /* Nothing was done before. */
    assert_in_range(pace_slice_us(&node), 100, 500);
    uint64_t empty = pause_us();
    assert_in_range(empty, 500, 1000);
    fill(2 << 20);
    uint64_t half = pause_us();
    assert_in_range(half, 50, empty / 2);
    fill(4 << 20);
    assert_int_equal(pause_us(), 0); /* Entries wait. */
    assert_in_range(pace_slice_us(&node), 3000, 5000);
}

static void test_no_pauses_without_load(void **state)
{
    (void)state;
    pace_worked(&node, 0, 250);
    now_us = 250;
    assert_false(pace_is_due(&node));
    node.now_ms += 10; /* Nothing was applied meanwhile. */
    assert_true(pace_is_due(&node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pauses_under_load, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_pauses_without_load, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
