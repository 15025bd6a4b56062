/* test_base_libc.c -- what a release has in place of the C library's functions
 * gives what those give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define memcmp release_memcmp
#define vfprintf release_vfprintf
#define qsort release_qsort
#define strstr release_strstr

int release_memcmp(const void *, const void *, size_t);
int release_vfprintf(FILE *restrict, const char *restrict, va_list);
void release_qsort(void *, size_t, size_t, int (*)(const void *, const void *));
char *release_strstr(const char *, const char *);
#include "../../scripts/release/libc.c"
#undef memcmp
#undef vfprintf
#undef qsort
#undef strstr

#include "base/base.h"

static int sign_of(int number)
{
    return (number > 0) - (number < 0);
}

static void test_memcmp(void **state)
{
    (void)state;
    unsigned char a[40];
    unsigned char b[40];
    for (size_t size = 0; size <= 24; size++) {
        for (size_t from = 0; from < 8; from++) {
            for (size_t at = 0; at <= size; at++) {
                memset(a, 0x80, sizeof(a));
                memset(b, 0x80, sizeof(b));
                a[from + at] = 0xff; /* The last one is behind the end. */
                b[from + size] ^= 1;
                assert_int_equal(
                    sign_of(release_memcmp(a + from, b + from, size)),
                    sign_of(memcmp(a + from, b + from, size)));
                assert_int_equal(
                    sign_of(release_memcmp(b + from, a + from, size)),
                    sign_of(memcmp(b + from, a + from, size)));
            }
        }
    }
}

static size_t comparisons;

/* The first byte decides; the others show whose items they are. */
static int compare_first(const void *a, const void *b)
{
    comparisons++;
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* Every order of up to six items of which some are equal, of several sizes. */
static void test_qsort_of_all_orders(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4, 7, 24};
    for (unsigned order = 0; order < 4 * 4 * 4 * 4 * 4 * 4; order++) {
        for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
            size_t size = sizes[i];
            for (size_t count = 0; count <= 6; count++) {
                uint8_t items[8 * 24];
                unsigned seen = 0;
                memset(items, 0xee, sizeof(items));
                for (size_t at = 0; at < count; at++) {
                    memset(items + at * size, (int)(order >> 2 * at & 3), size);
                    seen += 1U << 4 * (order >> 2 * at & 3);
                }
                release_qsort(items, count, size, compare_first);
                for (size_t at = 0; at < count; at++) {
                    assert_true(at == 0 ||
                                items[at * size - size] <= items[at * size]);
                    for (size_t byte = 1; byte < size; byte++) {
                        assert_int_equal(items[at * size + byte],
                                         items[at * size]);
                    }
                    seen -= 1U << 4 * items[at * size];
                }
                assert_int_equal(seen, 0); /* The same items. */
                assert_int_equal(items[count * size], 0xee);
            }
        }
    }
}

static void test_qsort_takes_no_order_badly(void **state)
{
    (void)state;
    enum { COUNT = 4096, LOG2 = 12 };
    static uint8_t items[COUNT];
    for (unsigned step = 0; step <= 255; step += 51) {
        for (unsigned at = 0; at < COUNT; at++) {
            items[at] = (uint8_t)(at * step / 16);
        }
        comparisons = 0;
        release_qsort(items, COUNT, 1, compare_first);
        assert_true(comparisons <= 2 * COUNT * LOG2);
        for (size_t at = 1; at < COUNT; at++) {
            assert_true(items[at - 1] <= items[at]);
        }
    }
}

static void test_strstr(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     "a",    "ab",    "aab",
                                        "aaab", "abab", "babab", "b\xff"};
    static const char *const needles[] = {"",    "a",   "b",    "ab",
                                          "aab", "bab", "abab", "\xff"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(needles); j++) {
            assert_ptr_equal(release_strstr(texts[i], needles[j]),
                             strstr(texts[i], needles[j]));
        }
    }
}

__attribute__((format(printf, 3, 4))) static int
release_print(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    memset(text, 0, size);
    FILE *file = tmpfile();
    assert_non_null(file);
    va_start(arguments, format);
    int count = release_vfprintf(file, format, arguments);
    va_end(arguments);
    rewind(file);
    assert_int_equal(fread(text, 1, size - 1, file), count);
    (void)fclose(file);
    return count;
}

#define SAME(...)                                                              \
    do {                                                                       \
        char expected[256];                                                    \
        char text[256];                                                        \
        int count = snprintf(expected, sizeof(expected), __VA_ARGS__);         \
        assert_int_equal(release_print(text, sizeof(text), __VA_ARGS__),       \
                         count);                                               \
        assert_string_equal(text, expected);                                   \
    } while (0)

static void test_integers(void **state)
{
    (void)state;
    static const long long numbers[] = {
        0, 1, -1, 9, 10, 1234567, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        long long number = numbers[i];
        unsigned long long natural = (unsigned long long)number;
        SAME("%d %u %i %x %X", (int)number, (unsigned)number, (int)number,
             (unsigned)number, (unsigned)number);
        SAME("%lld %llu %llx", number, natural, natural);
        SAME("%ld %lu %zu %jd", (long)number, (unsigned long)number,
             (size_t)number, (intmax_t)number);
        SAME("[%12d] [%-12d] [%012d] [%.3d]", (int)number, (int)number,
             (int)number, (int)number);
        SAME("[%016llx] [%020llu] [%-*d]", natural, natural, 5, (int)number);
        SAME("[%5.2d] [%02u]", (int)number, (unsigned)number);
        SAME("[%o] [%04o]", (unsigned)number, (unsigned)number);
    }
    SAME("%u %hu %hhu", 7U, (unsigned short)8, (unsigned char)9);
}

static void test_texts(void **state)
{
    (void)state;
    static const char end[3] = {'e', 'n', 'd'}; /* Without a zero. */
    SAME("100%% of %s, %.2s and %.*s", "text", "text", 3, end);
    SAME("[%8s] [%-8s] [%-5s] [%2s] [%s]", "right", "left", "exactly", "", "");
    SAME("%c%c [%3c]", 'a', 'b', 'c');
    SAME("%p", (void *)&end);
    SAME("no conversion");
}

static void test_decimals(void **state)
{
    (void)state;
    static const double numbers[] = {0,    0.04, 0.06,  0.96,          1.0,
                                     9.99, 12.3, 1e9,   999999.4,      1.0625,
                                     -2.6, 0.1,  0.375, 123456789012.3};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        SAME("[%.0f] [%.1f] [%.2f] [%.3f] [%8.2f]", numbers[i] + 0.01,
             numbers[i] + 0.001, numbers[i] + 0.0001, numbers[i] + 0.00001,
             numbers[i] + 0.0001);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memcmp),
        cmocka_unit_test(test_qsort_of_all_orders),
        cmocka_unit_test(test_qsort_takes_no_order_badly),
        cmocka_unit_test(test_strstr),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
