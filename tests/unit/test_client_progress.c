/* test_client_progress.c -- the numbers of a progress line, without a terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/progress_internal.h"

static void expect_text(struct buf *out, const char *expected)
{
    buf_add_u8(out, '\0');
    assert_string_equal((const char *)out->data, expected);
    buf_free(out);
}

static void expect_size(uint64_t bytes, const char *expected)
{
    struct buf out = {0};
    client_add_size(&out, bytes);
    expect_text(&out, expected);
}

static void expect_duration(uint64_t seconds, const char *expected)
{
    struct buf out = {0};
    client_add_duration(&out, seconds);
    expect_text(&out, expected);
}

static void expect_line(const struct progress *progress, const char *expected)
{
    struct buf out = {0};
    progress_text(progress, &out);
    expect_text(&out, expected);
}

static void test_sizes(void **state)
{
    (void)state;
    expect_size(0, "0 B");
    expect_size(1023, "1023 B");
    expect_size(1024, "1.0 KiB");
    expect_size(1536, "1.5 KiB");
    expect_size((1 << 20) - 1, "1023.9 KiB");
    expect_size(1 << 20, "1.0 MiB");
    expect_size((uint64_t)5 << 40, "5.0 TiB");
    expect_size(UINT64_MAX, "15.9 EiB");
}

static void test_durations(void **state)
{
    (void)state;
    expect_duration(0, "0 s");
    expect_duration(59, "59 s");
    expect_duration(60, "1 min 0 s");
    expect_duration(3599, "59 min 59 s");
    expect_duration(3600 + 61, "1 h 1 min");
}

static void test_a_line_is_due_from_time_to_time(void **state)
{
    (void)state;
    struct progress progress = {
        .total = 10 << 20, .start_ms = 1000, .line_ms = 1000};
    assert_false(progress_is_due(&progress, 100, 1000));
    assert_false(progress_is_due(&progress, 100, 1000 + PROGRESS_FIRST_MS - 1));
    assert_true(progress_is_due(&progress, 1 << 20, 1500));
    expect_line(&progress, "1.0 MiB of 10.0 MiB, 10%, 2.0 MiB/s, 5 s left");
    assert_false(progress_is_due(&progress, 2 << 20, 1699));
    assert_true(progress_is_due(&progress, 2 << 20, 1700));
    /* 5 MiB/s since the last line are smoothed: (3 * 2 + 5) / 4. */
    expect_line(&progress, "2.0 MiB of 10.0 MiB, 20%, 2.7 MiB/s, 3 s left");
    assert_true(progress_is_due(&progress, 10 << 20, 11700));
    expect_line(&progress, "10.0 MiB of 10.0 MiB, 100%, 2.2 MiB/s");
}

/* The next server gets everything again, at a rate of its own. */
static void test_it_may_start_again(void **state)
{
    (void)state;
    struct progress progress = {.start_ms = 0, .line_ms = 0};
    assert_true(progress_is_due(&progress, 1 << 20, 1000));
    assert_false(progress_is_due(&progress, 1024, 5000));
    assert_true(progress_is_due(&progress, 2048, 5500));
    expect_line(&progress, "2.0 KiB, 2.0 KiB/s");
}

static void test_items_and_unknown_totals(void **state)
{
    (void)state;
    struct progress progress = {.items = "keys", .total = 4000};
    assert_true(progress_is_due(&progress, 1000, 1000));
    expect_line(&progress, "1000 of 4000 keys, 25%, 1000/s, 3 s left");
    progress.total = 0;
    expect_line(&progress, "1000 keys, 1000/s");
    /* Without a rate nobody knows the time that is left. */
    progress = (struct progress){.total = 5000};
    assert_true(progress_is_due(&progress, 0, 1000));
    expect_line(&progress, "0 B of 4.8 KiB, 0%, 0 B/s");
    /* More than was announced. */
    progress = (struct progress){.items = "keys", .total = 10};
    assert_true(progress_is_due(&progress, 20, 1000));
    expect_line(&progress, "20 of 10 keys, 100%, 20/s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_a_line_is_due_from_time_to_time),
        cmocka_unit_test(test_it_may_start_again),
        cmocka_unit_test(test_items_and_unknown_totals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
