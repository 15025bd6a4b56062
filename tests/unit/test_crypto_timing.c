/* test_crypto_timing.c -- crypto_equal() takes as long for a difference in the
 * first byte as for none.
 *
 * Method: dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant
 * time?", 2016). Two classes of input in random order, the time of each call,
 * the slowest tenth cut off (interrupts), and Welch's t of the two samples:
 * over 10 there is a leak, under it none that so many samples show. A machine
 * with other work can make a t of 10 by chance, but not again and again, so one
 * of some attempts is enough; a compare that stops at the first difference has
 * a t in the thousands in each of them, which a control shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/rng.h"
#include "crypto/crypto.h"

enum { SAMPLES = 20000, BYTES = 1024, ATTEMPTS = 8, T_MAX = 10 };

typedef bool compare(const void *a, const void *b, size_t size);

static uint64_t times_ns[SAMPLES];
static uint64_t sorted_ns[SAMPLES];
static uint8_t classes[SAMPLES];
static struct rng rng;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int by_time(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

static void measure(compare *equal)
{
    static uint8_t left[BYTES];
    static uint8_t right[2][BYTES]; /* Class 0 is equal, class 1 is not. */
    right[1][0] = 1;
    for (int i = 0; i < SAMPLES; i++) {
        classes[i] = (uint8_t)rng_below(&rng, 2);
        const uint8_t *other = right[classes[i]];
        uint64_t start_ns = now_ns();
        bool same = equal(left, other, BYTES);
        times_ns[i] = now_ns() - start_ns;
        assert_int_equal(same, classes[i] == 0);
    }
}

/* |t| of the two classes, over all but the slowest tenth. */
static double welch(void)
{
    double count[2] = {0};
    double mean[2] = {0};
    double squares[2] = {0};
    memcpy(sorted_ns, times_ns, sizeof(sorted_ns));
    qsort(sorted_ns, SAMPLES, sizeof(sorted_ns[0]), by_time);
    uint64_t limit_ns = sorted_ns[SAMPLES / 10 * 9];
    for (int i = 0; i < SAMPLES; i++) {
        int class = classes[i];
        if (times_ns[i] <= limit_ns) { /* Welford's mean and variance. */
            double off = (double)times_ns[i] - mean[class];
            count[class]++;
            mean[class] += off / count[class];
            squares[class] += off * ((double)times_ns[i] - mean[class]);
        }
    }
    assert_true(count[0] > SAMPLES / 4.0 && count[1] > SAMPLES / 4.0);
    double variance = squares[0] / (count[0] - 1) / count[0] +
                      squares[1] / (count[1] - 1) / count[1];
    return variance > 0 ? fabs(mean[0] - mean[1]) / sqrt(variance) : 0;
}

/* The smallest of all attempts, until one is small enough. */
static double t_of(compare *equal)
{
    double least = INFINITY;
    for (int i = 0; i < ATTEMPTS && !(least < T_MAX); i++) {
        measure(equal);
        least = fmin(least, welch());
    }
    return least;
}

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

static void test_the_method_finds_a_compare_that_stops(void **state)
{
    (void)state;
    assert_true(t_of(stops_early) > 10.0 * T_MAX);
}

static void test_a_compare_takes_its_time_whatever_it_finds(void **state)
{
    (void)state;
    assert_true(t_of(crypto_equal) < T_MAX);
}

int main(void)
{
    rng_init(&rng, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_method_finds_a_compare_that_stops),
        cmocka_unit_test(test_a_compare_takes_its_time_whatever_it_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
