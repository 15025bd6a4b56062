/* test_node_files.c -- the header of the small files of a directory, and
 * whether they are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/files.h"

enum { FORMAT = 7, BYTES = FILE_HEADER_BYTES + 5 };

static const char magic[FILE_MAGIC_BYTES] = "CRAFTDXX";

static void seal(uint8_t data[BYTES])
{
    memset(data, 0xa5, BYTES);
    file_seal(data, BYTES, magic, FORMAT);
}

static void test_a_sealed_file_is_recognised(void **state)
{
    (void)state;
    uint8_t data[BYTES];
    seal(data);
    assert_int_equal(file_check(data, BYTES, magic, FORMAT), ERR_OK);
    for (size_t i = FILE_HEADER_BYTES; i < BYTES; i++) {
        assert_int_equal(data[i], 0xa5); /* The content stays. */
    }
    assert_int_equal(file_check(data, BYTES, magic, FORMAT + 1), ERR_VERSION);
    assert_int_equal(file_check(data, BYTES, "CRAFTDYY", FORMAT), ERR_MISMATCH);
}

static void test_every_changed_byte_is_noticed(void **state)
{
    (void)state;
    uint8_t data[BYTES];
    for (size_t i = 0; i < BYTES; i++) {
        seal(data);
        data[i] ^= 0x10;
        assert_int_equal(file_check(data, BYTES, magic, FORMAT),
                         i < FILE_MAGIC_BYTES ? ERR_MISMATCH : ERR_CORRUPT);
    }
}

static void test_a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    uint8_t data[BYTES];
    seal(data);
    for (size_t size = 0; size < BYTES; size++) {
        assert_int_equal(file_check(data, size, magic, FORMAT),
                         size < FILE_HEADER_BYTES ? ERR_MISMATCH : ERR_CORRUPT);
    }
}

static void test_a_removed_file_is_gone(void **state)
{
    (void)state;
    struct fs *fs = fs_memory_new();
    bool there = true;
    assert_int_equal(file_exists(fs, "X", &there), ERR_OK);
    assert_false(there);
    assert_int_equal(file_remove(fs, "X"), ERR_OK);
    assert_int_equal(fs_replace(fs, ".", "X", "x", 1), ERR_OK);
    assert_int_equal(file_exists(fs, "X", &there), ERR_OK);
    assert_true(there);
    assert_int_equal(file_remove(fs, "X"), ERR_OK);
    assert_int_equal(file_exists(fs, "X", &there), ERR_OK);
    assert_false(there);
    fs_memory_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sealed_file_is_recognised),
        cmocka_unit_test(test_every_changed_byte_is_noticed),
        cmocka_unit_test(test_a_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_a_removed_file_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
