/* dudect.c -- see dudect.h. */
#include "support/dudect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"

enum { SAMPLES = 20000, ATTEMPTS = 8 };

static uint64_t times_ns[SAMPLES];
static uint64_t sorted_ns[SAMPLES];
static uint8_t classes[SAMPLES];

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

static void measure(struct rng *rng, void (*call)(int class))
{
    for (int i = 0; i < SAMPLES; i++) {
        classes[i] = (uint8_t)rng_below(rng, 2);
        uint64_t start_ns = now_ns();
        call(classes[i]);
        times_ns[i] = now_ns() - start_ns;
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
    must(count[0] > SAMPLES / 4.0 && count[1] > SAMPLES / 4.0);
    double variance = squares[0] / (count[0] - 1) / count[0] +
                      squares[1] / (count[1] - 1) / count[1];
    return variance > 0 ? fabs(mean[0] - mean[1]) / sqrt(variance) : 0;
}

double dudect(void (*call)(int class))
{
    struct rng rng;
    double least = INFINITY;
    rng_init(&rng, 1);
    for (int i = 0; i < ATTEMPTS && !(least < DUDECT_T_MAX); i++) {
        measure(&rng, call);
        least = fmin(least, welch());
    }
    return least;
}
