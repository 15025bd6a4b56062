/* test_base.c -- the words every room uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"

static void test_crc32c_known_answers(void **state)
{
    (void)state;
    /* RFC 3720 B.4, and the usual check value. */
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t up[32];
    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
    }
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43u);
    assert_int_equal(crc32c(0, up, 32), 0x46dd794eu);
}

/* The tables are several times slower: a processor with the instruction must
 * not use them because the compiler was told of an older one. */
static void test_crc32c_uses_the_instruction_where_there_is_one(void **state)
{
    (void)state;
#if defined(__aarch64__) && defined(__linux__)
    bool has = (getauxval(AT_HWCAP) & (1u << 7)) != 0;
    assert_int_equal(crc32c_by_cpu(), has);
#elif defined(__x86_64__) || defined(__i386__)
    char line[8192];
    bool has = false;
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) {
        skip();
    }
    while (!has && fgets(line, sizeof(line), file)) {
        has = strstr(line, " sse4_2 ") != NULL;
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(crc32c_by_cpu(), has);
#else
    assert_false(crc32c_by_cpu());
#endif
}

static void test_crc32c_portable_is_the_same_at_every_length(void **state)
{
    (void)state;
    uint8_t data[300];
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)rng_next(&rng);
    }
    for (size_t size = 0; size <= sizeof(data); size++) {
        uint32_t whole = crc32c(7, data, size);
        assert_int_equal(whole, crc32c_portable(7, data, size));
        size_t half = size / 2;
        uint32_t parts =
            crc32c(crc32c(7, data, half), data + half, size - half);
        assert_int_equal(whole, parts);
    }
}

struct item {
    struct heap_node node;
    uint64_t key;
};

static void test_heap_orders_and_removes_from_the_middle(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct item items[COUNT];
    struct heap heap = {0};
    struct rng rng;
    rng_init(&rng, 42);
    for (int i = 0; i < COUNT; i++) {
        items[i].key = rng_below(&rng, 100);
        heap_insert(&heap, &items[i].node, items[i].key);
    }
    for (int i = 0; i < COUNT; i += 3) {
        heap_remove(&heap, &items[i].node);
        heap_remove(&heap, &items[i].node); /* Harmless. */
    }
    uint64_t last = 0;
    unsigned left = 0;
    struct heap_node *min;
    while ((min = heap_min(&heap)) != NULL) {
        assert_true(min->key >= last);
        last = min->key;
        heap_remove(&heap, min);
        left++;
    }
    assert_int_equal(left, COUNT - (COUNT + 2) / 3);
    heap_free(&heap);
}

static void test_list_splice_keeps_order(void **state)
{
    (void)state;
    struct list a;
    struct list b;
    struct list links[4];
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++) {
        list_init(&links[i]);
        list_add(i < 2 ? &a : &b, &links[i]);
    }
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    int i = 0;
    for (struct list *at = a.next; at != &a; at = at->next) {
        assert_ptr_equal(at, &links[i]);
        i++;
    }
    assert_int_equal(i, 4);
    list_remove(&links[1]);
    list_remove(&links[1]);
    assert_ptr_equal(links[0].next, &links[2]);
}

static void test_cursor_past_the_end_fails_and_gives_zeros(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7};
    struct cursor c = cursor_of(bytes_of(data, sizeof(data)));
    assert_int_equal(cursor_u32(&c), 0x04030201);
    assert_int_equal(cursor_u16(&c), 0x0605);
    assert_false(c.failed);
    assert_int_equal(cursor_u64(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    struct cursor none = cursor_of((struct bytes){0});
    assert_int_equal(cursor_left(&none), 0);
    assert_int_equal(cursor_bytes(&none, 0).size, 0);
    assert_false(none.failed);
}

static void test_buf_grows_consumes_and_prints(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++) {
        buf_add_u64(&buf, (uint64_t)i);
    }
    assert_int_equal(buf.size, 8000);
    buf_consume(&buf, 7992);
    assert_int_equal(load_u64(buf.data), 999);
    buf_consume(&buf, 8);
    char long_text[600];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    buf_printf(&buf, "%s%d", long_text, 7);
    assert_int_equal(buf.size, 600);
    assert_int_equal(buf.data[599], '7');
    buf_free(&buf);
    assert_null(buf.data);
}

static bool is_number(const char *text, int64_t value)
{
    int64_t got = 0;
    return text_i64(bytes_of_string(text), &got) && got == value;
}

static void test_numbers_are_written_in_one_way(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "-",
                                        "-0",
                                        "00",
                                        "01",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1x",
                                        "1e3",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999"};
    assert_true(is_number("0", 0));
    assert_true(is_number("-1", -1));
    assert_true(is_number("9223372036854775807", INT64_MAX));
    assert_true(is_number("-9223372036854775808", INT64_MIN));
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        int64_t value;
        assert_false(text_i64(bytes_of_string(wrong[i]), &value));
    }
}

static void test_word_of_a_list(void **state)
{
    (void)state;
    assert_true(text_lists_word("a bc d", bytes_of_string("a")));
    assert_true(text_lists_word("a bc d", bytes_of_string("bc")));
    assert_true(text_lists_word("a bc d", bytes_of_string("d")));
    assert_false(text_lists_word("a bc d", bytes_of_string("b")));
    assert_false(text_lists_word("a bc d", bytes_of_string("c")));
    assert_false(text_lists_word("a bc d", bytes_of_string("bcd")));
    assert_false(text_lists_word("a bc d", bytes_of_string("a bc")));
    assert_false(text_lists_word("a bc d", bytes_of_string("")));
    assert_false(text_lists_word("", bytes_of_string("a")));
}

/* C0, DEL, and C1 in UTF-8 (C2 80 to C2 9F). */
static void test_control_characters_are_not_shown(void **state)
{
    (void)state;
    struct buf out = {0};
    char masked[] = "a\x1b[1m\x7f\xc2\x80\xc2\x9f\xc2\xa0\xc2";
    text_add_escaped(
        &out, bytes_of_string("a%\x1b[\x7f\xc2\x9b\xc3\x9b\xc2\xa0"), true);
    buf_add_u8(&out, '|');
    text_add_escaped(&out, bytes_of_string("\xc2\x9b\xc3\x9b\xc2"), false);
    assert_true(bytes_equal_string(
        buf_bytes(&out), "a%25%1B[%7F%C2%9B\xc3\x9b\xc2\xa0|%C2%9B%C3%9B%C2"));
    text_mask_controls(masked);
    assert_string_equal(masked, "a?[1m?????\xc2\xa0\xc2");
    buf_free(&out);
}

static void test_base64(void **state)
{
    (void)state;
    /* RFC 4648 section 10. */
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfd", "//79"}};
    static const char *const wrong[] = {
        "Z",    "Zg",   "Zg=",  "Zh==", "Zm9=",
        "=m9v", "Zg=v", "Z===", "Zm 9", "Zg==Zg=="};
    uint8_t data[16];
    size_t size;
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        struct buf out = {0};
        text_add_base64(&out, bytes_of_string(pairs[i][0]));
        assert_true(bytes_equal_string(buf_bytes(&out), pairs[i][1]));
        assert_true(text_base64(buf_bytes(&out), out.data, &size));
        assert_true(bytes_equal_string(bytes_of(out.data, size), pairs[i][0]));
        buf_free(&out);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_false(text_base64(bytes_of_string(wrong[i]), data, &size));
    }
}

/* A bound belongs to its bucket ("le"), one more to the next. */
static void test_histogram_counts_at_the_bounds(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {10, 20, 30};
    struct histogram h;
    histogram_init(&h, bounds, 3);
    assert_int_equal(histogram_count(&h), 0);
    assert_int_equal(histogram_quantile(&h, 990), 0);
    const uint64_t values[] = {0, 10, 11, 20, 21, 30, 31, UINT64_C(1) << 40};
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        histogram_add(&h, values[i]);
        sum += values[i];
    }
    for (size_t i = 0; i <= 3; i++) {
        assert_int_equal(h.counts[i], 2);
    }
    assert_int_equal(histogram_count(&h), 8);
    assert_int_equal(h.sum, sum);
}

static void test_histogram_quantile_is_an_upper_bound(void **state)
{
    (void)state;
    struct histogram h;
    histogram_init_latency(&h);
    histogram_add(&h, 2000);
    assert_int_equal(histogram_quantile(&h, 0), 2500);
    assert_int_equal(histogram_quantile(&h, 1000), 2500);
    for (int i = 0; i < 98; i++) {
        histogram_add(&h, 50);
    }
    /* 99 of 99: one of them took 2 ms, and 99 % round up to all. */
    assert_int_equal(histogram_quantile(&h, 500), 100);
    assert_int_equal(histogram_quantile(&h, 990), 2500);
    histogram_add(&h, 50);
    assert_int_equal(histogram_quantile(&h, 990), 100);
    assert_int_equal(histogram_quantile(&h, 999), 2500);
    histogram_add(&h, UINT64_C(3600) * 1000000);
    assert_int_equal(histogram_quantile(&h, 1000), UINT64_MAX);
}

static const char *nearest_of(const char *word, const char *const *names,
                              size_t count, char *out, size_t room)
{
    struct text_nearest nearest = text_nearest_to(bytes_of_string(word));
    for (size_t i = 0; i < count; i++) {
        text_nearest_offer(&nearest, bytes_of_string(names[i]));
    }
    snprintf(out, room, "%.*s", (int)nearest.best.size,
             nearest.best.size > 0 ? (const char *)nearest.best.data : "");
    return out;
}

static void test_nearest_name_of_a_typing_error(void **state)
{
    (void)state;
    static const char *const names[] = {"cas",    "prefix",    "timeout",
                                        "level",  "min_index", "all",
                                        "status", "ls"};
    static const char *const cases[][2] = {
        {"caz", "cas"},
        {"prefx", "prefix"},
        {"prefixx", "prefix"},
        {"perfix", "prefix"},
        {"PREFIX", "prefix"},
        {"timeuot", "timeout"},
        {"stats", "status"},
        {"min-index", "min_index"},
        {"minindex", "min_index"},
        {"lvel", "level"},
        {"sl", ""},
        {"", ""},
        {"x", ""},
        {"acquire", ""},
        {"al", "all"},
        {"xyz", ""},
        {"cas", "cas"},
        {"prefixprefix", ""},
    };
    char got[80];
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_string_equal(nearest_of(cases[i][0], names, ARRAY_COUNT(names),
                                       got, sizeof(got)),
                            cases[i][1]);
    }
    /* Words too long to compare are near to nothing, themselves included. */
    char word[TEXT_NEAREST_BYTES_MAX + 2];
    memset(word, 'a', sizeof(word));
    word[TEXT_NEAREST_BYTES_MAX + 1] = '\0';
    const char *long_names[] = {word};
    assert_string_equal(nearest_of(word, long_names, 1, got, sizeof(got)), "");
    word[TEXT_NEAREST_BYTES_MAX] = '\0';
    assert_string_equal(nearest_of(word, long_names, 1, got, sizeof(got)),
                        word);
}

static void test_dates_are_those_of_the_c_library(void **state)
{
    (void)state;
    /* Every 25 hours and a little, over more than a cycle of leap years. */
    for (uint64_t s = 0; s < 500ULL * 366 * 86400; s += 91237) {
        time_t at = (time_t)s;
        struct tm tm;
        struct text_date date = text_date(s);
        assert_non_null(gmtime_r(&at, &tm));
        assert_int_equal(date.year, tm.tm_year + 1900);
        assert_int_equal(date.month, tm.tm_mon);
        assert_int_equal(date.day, tm.tm_mday);
        assert_int_equal((date.weekday + 4) % 7, tm.tm_wday);
        assert_int_equal(date.hour, tm.tm_hour);
        assert_int_equal(date.minute, tm.tm_min);
        assert_int_equal(date.second, tm.tm_sec);
    }
    struct text_date last = text_date(UINT64_MAX);
    assert_int_equal(last.year, 9999);
    assert_int_equal(last.second, 59);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_written_in_one_way),
        cmocka_unit_test(test_word_of_a_list),
        cmocka_unit_test(test_control_characters_are_not_shown),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_dates_are_those_of_the_c_library),
        cmocka_unit_test(test_crc32c_known_answers),
        cmocka_unit_test(test_crc32c_uses_the_instruction_where_there_is_one),
        cmocka_unit_test(test_crc32c_portable_is_the_same_at_every_length),
        cmocka_unit_test(test_heap_orders_and_removes_from_the_middle),
        cmocka_unit_test(test_list_splice_keeps_order),
        cmocka_unit_test(test_cursor_past_the_end_fails_and_gives_zeros),
        cmocka_unit_test(test_buf_grows_consumes_and_prints),
        cmocka_unit_test(test_histogram_counts_at_the_bounds),
        cmocka_unit_test(test_histogram_quantile_is_an_upper_bound),
        cmocka_unit_test(test_nearest_name_of_a_typing_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
