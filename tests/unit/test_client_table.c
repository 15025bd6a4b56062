/* test_client_table.c -- tables for a terminal and for a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/table_internal.h"

static const char *const heads[] = {"ID", "ADDRESS", "HINT"};

static void expect(struct client_table *table, unsigned width,
                   const char *expected)
{
    struct buf out = {0};
    client_table_write(table, width, &out);
    buf_add_u8(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_free(&out);
}

static void test_a_terminal_and_a_pipe(void **state)
{
    (void)state;
    struct client_table table;
    client_table_init(&table, heads, ARRAY_COUNT(heads));
    expect(&table, 0, "");
    expect(&table, 80, "ID  ADDRESS  HINT\n");
    client_table_add(&table, "node1");
    client_table_add(&table, "10.0.0.1:12000");
    client_table_add(&table, "");
    client_table_add(&table, "n2");
    client_table_add(&table, "h:1");
    client_table_add(&table, "a hint\tof\nlines");
    expect(&table, 0, "node1\t10.0.0.1:12000\t-\nn2\th:1\ta hint?of?lines\n");
    expect(&table, 80,
           "ID     ADDRESS         HINT\n"
           "node1  10.0.0.1:12000  -\n"
           "n2     h:1             a hint?of?lines\n");
    client_table_free(&table);
}

/* Every line fits, and nobody takes a cut cell for a whole one. */
static void test_a_narrow_terminal(void **state)
{
    (void)state;
    struct client_table table;
    client_table_init(&table, heads, ARRAY_COUNT(heads));
    client_table_add(&table, "node1");
    client_table_add(&table, "10.0.0.1:12000");
    client_table_add(&table, "the disk is full: only deletes are accepted");
    expect(&table, 40,
           "ID     ADDRESS         HINT\n"
           "node1  10.0.0.1:12000  the disk is full~\n");
    expect(&table, 30,
           "ID     ADDRESS      HINT\n"
           "node1  10.0.0.1:1~  the disk ~\n");
    expect(&table, 0,
           "node1\t10.0.0.1:12000\tthe disk is full: only deletes are "
           "accepted\n");
    /* Narrower than any table: columns keep a few characters. */
    expect(&table, 5, "ID     ADDRE~  HINT\nnode1  10.0.~  the d~\n");
    client_table_free(&table);
}

static void test_widths(void **state)
{
    (void)state;
    assert_int_equal(client_text_width(""), 0);
    assert_int_equal(client_text_width("abc"), 3);
    assert_int_equal(client_text_width("M\xc3\xbcnchen"), 7);
    assert_int_equal(client_text_width("u\xcc\x88"), 1); /* Combining. */
    assert_int_equal(client_text_width("\xe6\x9d\xb1\xe4\xba\xac"), 4);
    assert_int_equal(client_text_width("\xf0\x9f\x98\x80"), 2);
    assert_int_equal(client_text_width("\xff\xc3"), 2); /* No UTF-8. */
    struct client_table table;
    client_table_init(&table, heads, ARRAY_COUNT(heads));
    client_table_add(&table, "M\xc3\xbcnchen-am-Fluss");
    client_table_add(&table,
                     "\xe6\x9d\xb1\xe4\xba\xac\xe6\x9d\xb1\xe4\xba\xac");
    client_table_add(&table, "x");
    expect(&table, 80,
           "ID                ADDRESS   HINT\n"
           "M\xc3\xbcnchen-am-Fluss  "
           "\xe6\x9d\xb1\xe4\xba\xac\xe6\x9d\xb1\xe4\xba\xac  x\n");
    /* A wide character is not cut in half. */
    expect(&table, 18,
           "ID      ADDRE~  HINT\n"
           "M\xc3\xbcnch~  \xe6\x9d\xb1\xe4\xba\xac~   x\n");
    client_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_terminal_and_a_pipe),
        cmocka_unit_test(test_a_narrow_terminal),
        cmocka_unit_test(test_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
