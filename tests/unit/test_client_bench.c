/* test_client_bench.c -- the figures of craftd bench, and what it makes of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/bench_internal.h"

static void test_quantiles(void **state)
{
    (void)state;
    struct bench_times times = {0};
    assert_int_equal(bench_quantile_us(&times, 500), 0);
    for (uint64_t us = 1; us <= 10000; us++) {
        bench_add_time(&times, us);
    }
    static const uint64_t permille[] = {1, 10, 500, 990, 999};
    for (size_t i = 0; i < ARRAY_COUNT(permille); i++) {
        uint64_t exact = permille[i] * 10;
        uint64_t got = bench_quantile_us(&times, permille[i]);
        assert_true(got >= exact && got <= exact + exact / 32 + 1);
    }
    assert_int_equal(bench_quantile_us(&times, 1000), 10000);
    assert_int_equal(times.max_us, 10000);
    /* One slow request in a thousand is not in p99, and one in a hundred is. */
    struct bench_times rare = {0};
    for (int i = 0; i < 1000; i++) {
        bench_add_time(&rare, i % 500 == 0 ? 900000 : 63);
    }
    assert_int_equal(bench_quantile_us(&rare, 990), 63);
    assert_int_equal(bench_quantile_us(&rare, 999), 900000);
    bench_add_time(&rare, UINT64_MAX);
    assert_true(bench_quantile_us(&rare, 1000) == UINT64_MAX);
}

static const char *explain(struct buf *out, struct bench_use use)
{
    out->size = 0;
    use.wall_us = 1000;
    bench_explain(out, &use);
    buf_add_u8(out, '\0');
    return (const char *)out->data;
}

static void test_the_limit_in_words(void **state)
{
    (void)state;
    struct buf out = {0};
    static const struct {
        struct bench_use use;
        const char *said;
    } rows[] = {
        {{.client_us = 800, .has_node = true, .node_us = 900}, "this client"},
        {{.client_us = 700}, "unknown"},
        {{.has_node = true, .node_us = 760, .syncs_us = 900},
         "CPU: the node's one thread was busy 76%"},
        {{.has_node = true, .node_us = 700, .syncs_us = 510}, "disk: "},
        {{.has_node = true, .node_us = 700, .syncs_us = 400},
         "network or other nodes"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_non_null(strstr(explain(&out, rows[i].use), rows[i].said));
    }
    buf_free(&out);
}

static void test_metrics(void **state)
{
    (void)state;
    struct bench_use use = {0};
    static const char text[] =
        "# TYPE process_cpu_seconds_total counter\n"
        "process_cpu_seconds_total 12.5\n"
        "craftd_storage_fsync_duration_seconds_summary 9\n"
        "craftd_storage_fsync_duration_seconds_sum 0.000250\n";
    assert_true(bench_read_metrics(bytes_of_string(text), &use));
    assert_int_equal(use.node_us, 12500000);
    assert_int_equal(use.syncs_us, 250);
    assert_true(bench_read_metrics(
        bytes_of_string("process_cpu_seconds_total 1"), &use));
    assert_int_equal(use.syncs_us, 0);
    assert_false(bench_read_metrics(
        bytes_of_string("process_cpu_seconds_total -1\n"), &use));
    assert_false(bench_read_metrics(bytes_of_string("nothing"), &use));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_the_limit_in_words),
        cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
