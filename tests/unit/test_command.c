/* test_command.c -- the codec of a client's write is strict: every byte that
 * is missing or too many is seen, and what is newer is not taken for damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/command.h"

static struct buf example(void)
{
    struct buf out = {0};
    struct command_writer writer;
    command_begin(&writer, &out);
    command_put(&writer, bytes_of_string("a"), bytes_of_string("one"));
    command_put(&writer, bytes_of_string("empty"), (struct bytes){0});
    command_delete(&writer, bytes_of_string("gone"));
    command_end(&writer);
    return out;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf out = example();
    struct command_reader reader;
    struct command_op op;
    assert_int_equal(command_open(&reader, buf_bytes(&out)), ERR_OK);
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_int_equal(op.type, COMMAND_PUT);
    assert_true(bytes_equal_string(op.key, "a"));
    assert_true(bytes_equal_string(op.value, "one"));
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_true(bytes_equal_string(op.key, "empty"));
    assert_int_equal(op.value.size, 0);
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_int_equal(op.type, COMMAND_DELETE);
    assert_true(bytes_equal_string(op.key, "gone"));
    assert_int_equal(command_next(&reader, &op), ERR_NOT_FOUND);
    buf_free(&out);
}

static void test_every_cut_and_every_extra_byte_is_refused(void **state)
{
    (void)state;
    struct buf out = example();
    assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
    for (size_t size = 0; size < out.size; size++) {
        assert_int_not_equal(command_check(bytes_of(out.data, size)), ERR_OK);
    }
    buf_add_u8(&out, 0);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    buf_free(&out);
}

static void test_newer_versions_and_operations_are_no_damage(void **state)
{
    (void)state;
    struct buf out = example();
    out.data[0] = COMMAND_VERSION + 1;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    out.data[0] = COMMAND_VERSION;
    out.data[5] = 99;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    buf_free(&out);
}

static void test_key_sizes(void **state)
{
    (void)state;
    static uint8_t key[COMMAND_KEY_BYTES_MAX];
    struct buf out = {0};
    struct command_writer writer;
    command_begin(&writer, &out);
    command_put(&writer, bytes_of(key, sizeof(key)), (struct bytes){0});
    command_end(&writer);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
    store_u16(out.data + 6, COMMAND_KEY_BYTES_MAX + 1);
    buf_add_u8(&out, 0);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    /* A key of no bytes, and nothing behind it. */
    store_u16(out.data + 6, 0);
    out.size = 5 + 7;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut_and_every_extra_byte_is_refused),
        cmocka_unit_test(test_newer_versions_and_operations_are_no_damage),
        cmocka_unit_test(test_key_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
