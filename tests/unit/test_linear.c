/* test_linear.c -- the judge is judged: histories known to be good, and
 * known to be bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../sim/linear.h"
#include "base/base.h"
#include "base/rng.h"

#define NEVER UINT64_MAX
#define WRITE(v, from, to)                                                     \
    {                                                                          \
        .write = true, .value = v, .begin = from, .end = to                    \
    }
#define CAS(old, v, from, to)                                                  \
    {                                                                          \
        .write = true, .cas = true, .expected = old, .value = v,               \
        .begin = from, .end = to                                               \
    }
#define READ(v, from, to)                                                      \
    {                                                                          \
        .value = v, .begin = from, .end = to                                   \
    }

struct history {
    const char *what;
    bool good;
    size_t count;
    struct linear_op ops[8];
};

static const struct history histories[] = {
    {"nothing", true, 0, {{0}}},
    {"read of nothing", true, 1, {READ(0, 1, 2)}},
    {"read of what nobody wrote", false, 1, {READ(5, 1, 2)}},
    {"one after the other", true, 2, {WRITE(1, 1, 2), READ(1, 3, 4)}},
    {"a stale read", false, 2, {WRITE(1, 1, 2), READ(0, 3, 4)}},
    {"a concurrent read sees either (the old)",
     true,
     2,
     {WRITE(1, 1, 10), READ(0, 2, 3)}},
    {"a concurrent read sees either (the new)",
     true,
     2,
     {WRITE(1, 1, 10), READ(1, 2, 3)}},
    {"new, then old",
     false,
     3,
     {WRITE(1, 1, 10), READ(1, 2, 3), READ(0, 4, 5)}},
    {"one of two equal cas", true, 2, {CAS(0, 1, 1, 2), CAS(1, 2, 3, 4)}},
    {"both of two equal cas", false, 2, {CAS(0, 1, 1, 9), CAS(0, 2, 1, 9)}},
    {"a cas of what is gone",
     false,
     3,
     {WRITE(1, 1, 2), WRITE(2, 3, 4), CAS(1, 3, 5, 6)}},
    {"a cas that may have been",
     true,
     3,
     {WRITE(1, 1, 2), CAS(1, 2, 3, NEVER), READ(2, 9, 10)}},
    {"a cas that cannot have been",
     false,
     3,
     {WRITE(1, 1, 2), CAS(5, 2, 3, NEVER), READ(2, 9, 10)}},
    {"a cas that may have been and was not",
     true,
     3,
     {WRITE(1, 1, 2), CAS(5, 2, 3, NEVER), READ(1, 9, 10)}},
    {"a lost write", false, 3, {WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6)}},
    {"two writes at once, in the order of the reads",
     true,
     4,
     {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(2, 10, 11), READ(2, 12, 13)}},
    {"two writes at once do not take turns",
     false,
     4,
     {WRITE(1, 1, 9), WRITE(2, 1, 9), READ(2, 10, 11), READ(1, 12, 13)}},
    {"two readers disagree on the order",
     false,
     6,
     {WRITE(1, 1, 20), WRITE(2, 1, 20), READ(1, 2, 3), READ(2, 4, 5),
      READ(1, 6, 7), READ(2, 21, 22)}},
    {"an unknown write that happened late",
     true,
     3,
     {WRITE(1, 1, NEVER), READ(0, 5, 6), READ(1, 7, 8)}},
    {"an unknown write that never happened",
     true,
     2,
     {WRITE(1, 1, NEVER), READ(0, 5, 6)}},
    {"an unknown write that un-happened",
     false,
     3,
     {WRITE(1, 1, NEVER), READ(1, 5, 6), READ(0, 7, 8)}},
    {"an unknown write seen before it was asked for",
     false,
     2,
     {READ(1, 1, 2), WRITE(1, 5, NEVER)}},
    {"a concurrent delete",
     true,
     4,
     {WRITE(1, 1, 2), WRITE(0, 3, 9), READ(1, 4, 5), READ(0, 6, 7)}},
    {"equal times are concurrent", true, 2, {WRITE(1, 1, 5), READ(0, 5, 6)}},
};

static void test_known_histories(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(histories); i++) {
        const struct history *history = &histories[i];
        if (linear_check(history->ops, history->count) != history->good) {
            fail_msg("%s: taken for %s", history->what,
                     history->good ? "bad" : "good");
        }
    }
}

/* A register of its own answers operations that overlap; what it says is
 * linearizable. One answer changed to another's value is not, nearly always:
 * the checker must find most of them, and never blame the honest one. */
static void test_honest_and_lying_registers(void **state)
{
    (void)state;
    enum { OPS = 120, RUNS = 300 };
    struct rng rng;
    rng_init(&rng, 3);
    size_t found = 0;
    for (int run = 0; run < RUNS; run++) {
        struct linear_op ops[OPS];
        uint64_t value = 0;
        for (size_t i = 0; i < OPS; i++) {
            uint64_t at = 10 * i + 100; /* Time of its effect. */
            ops[i] = (struct linear_op){.write = rng_below(&rng, 2) == 0,
                                        .begin = at - rng_below(&rng, 35),
                                        .end = at + rng_below(&rng, 35)};
            value = ops[i].write ? i + 1 : value;
            ops[i].value = value;
        }
        assert_true(linear_check(ops, OPS));
        size_t liar = OPS / 2 + rng_below(&rng, OPS / 2);
        size_t other = rng_below(&rng, OPS / 4);
        if (!ops[liar].write && ops[liar].value != ops[other].value) {
            ops[liar].value = ops[other].value;
            assert_false(linear_check(ops, OPS));
            found++;
        }
    }
    assert_true(found > RUNS / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_histories),
        cmocka_unit_test(test_honest_and_lying_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
