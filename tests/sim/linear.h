/* linear.h -- checks whether the history of one register is linearizable.
 *
 * Wing and Gong's search with Lowe's cache of visited states ("Testing for
 * linearizability", 2017): pick an operation that began before any other
 * ended, apply it to the register, continue; backtrack at a dead end. An
 * operation of unknown outcome may have taken effect at any time after it
 * began, or never; a compare-and-set of unknown outcome wrote if its condition
 * held. Pure. */
#ifndef CRAFTD_TESTS_LINEAR_H
#define CRAFTD_TESTS_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINEAR_OPS_MAX = 1024 };

struct linear_op {
    bool write;
    bool cas;          /* A write, if the register is `expected`. */
    uint64_t expected; /* For a cas. One that was refused is a read instead. */
    uint64_t value;    /* Written or read; 0: there is none. */
    uint64_t begin;    /* Time of the request. */
    uint64_t end;      /* Time of the answer; UINT64_MAX: unknown. */
};

/* The register starts as 0. `ops` may be in any order; at most LINEAR_OPS_MAX.
 * The caller leaves out reads without an answer. False when no order of the
 * operations explains their results. */
bool linear_check(const struct linear_op *ops, size_t count);

#endif
