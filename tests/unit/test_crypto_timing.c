/* test_crypto_timing.c -- crypto_equal() takes as long for a difference in the
 * first byte as for none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "support/dudect.h"

enum { BYTES = 1024 };

static uint8_t text[BYTES];
static uint8_t others[2][BYTES] = {{0}, {1}}; /* The first is equal. */

static bool stops_early(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i]) {
            return false;
        }
    }
    return true;
}

static void call_stops_early(int class)
{
    must(stops_early(text, others[class], BYTES) == (class == 0));
}

static void call_equal(int class)
{
    must(crypto_equal(text, others[class], BYTES) == (class == 0));
}

static void test_the_method_finds_a_compare_that_stops(void **state)
{
    (void)state;
    assert_true(dudect(call_stops_early) > 10.0 * DUDECT_T_MAX);
}

static void test_a_compare_takes_its_time_whatever_it_finds(void **state)
{
    (void)state;
    assert_true(dudect(call_equal) < DUDECT_T_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_method_finds_a_compare_that_stops),
        cmocka_unit_test(test_a_compare_takes_its_time_whatever_it_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
