/* nth.c -- see nth.h. */
#include "support/nth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct nth_total nth_total;

void nth_begin(void)
{
    nth_total = (struct nth_total){0};
}

void nth_every(struct failfs_fault fault, uint64_t dense, uint64_t stride,
               nth_run_cb *run)
{
    fault.n = 1;
    while (run(&fault)) {
        nth_total.points++;
        fault.n += fault.n < dense ? 1 : stride;
    }
}

static bool can_fail_so(const struct failfs_fault *fault)
{
    if (fault->err == ERR_NOSPACE && !failfs_takes_space(fault->call)) {
        return false;
    }
    if (fault->err == ERR_RESOURCES &&
        (!failfs_takes_resources(fault->call) || fault->done == FAILFS_ALL)) {
        return false;
    }
    switch (fault->done) {
    case FAILFS_PART:
        return fault->call == FAILFS_WRITE;
    case FAILFS_ALL:
        return failfs_has_effect(fault->call);
    case FAILFS_NOTHING:
    case FAILFS_DROPPED:
        return true;
    }
    return false;
}

void nth_every_call(enum err err, enum failfs_call never, nth_kind_cb *kind)
{
    nth_begin();
    for (int call = 0; call < FAILFS_CALL_COUNT; call++) {
        struct failfs_fault fault = {.call = (enum failfs_call)call,
                                     .err = err};
        uint64_t before = nth_total.points;
        if (fault.call == never || !can_fail_so(&fault)) {
            continue;
        }
        for (int done = FAILFS_NOTHING; done <= FAILFS_ALL; done++) {
            fault.done = (enum failfs_done)done;
            if (can_fail_so(&fault)) {
                kind(fault);
            }
        }
        printf("%s %s: %llu points\n", err_name(err), failfs_name(fault.call),
               (unsigned long long)(nth_total.points - before));
        assert_true(nth_total.points > before);
    }
    nth_print(err_name(err));
}

void nth_dropped_syncs(nth_run_cb *run)
{
    struct failfs_fault fault = {
        .call = FAILFS_FDATASYNC, .err = ERR_IO, .done = FAILFS_DROPPED};
    nth_begin();
    nth_every(fault, 0, 1, run);
    nth_print("pages dropped");
    assert_true(nth_total.deaths > 0);
}

void nth_print(const char *name)
{
    printf("%s: %llu points, %llu deaths, %llu errors, %llu refusals, "
           "%llu checkpoints, %llu power losses\n",
           name, (unsigned long long)nth_total.points,
           (unsigned long long)nth_total.deaths,
           (unsigned long long)nth_total.errors,
           (unsigned long long)nth_total.refusals,
           (unsigned long long)nth_total.checkpoints,
           (unsigned long long)nth_total.images);
}
