/* linear.h -- is the history of one register linearizable?
 *
 * Wing and Gong's search with Lowe's memory of what was tried ("Testing for
 * linearizability", 2017): pick an operation that began before any other
 * ended, apply it to the register, go on; step back when stuck. An operation
 * whose outcome is not known may have happened at any time after it began, or
 * never; a compare-and-set of which this holds wrote if it could. Pure. */
#ifndef CRAFTD_TESTS_LINEAR_H
#define CRAFTD_TESTS_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINEAR_OPS_MAX = 1024 };

struct linear_op {
    bool write;
    bool cas;          /* A write, if the register is `expected`. */
    uint64_t expected; /* Of a cas. One that was refused is a read instead. */
    uint64_t value;    /* Written or read; 0: there is none. */
    uint64_t begin;    /* When it was asked for. */
    uint64_t end;      /* When it was answered; UINT64_MAX: not known. */
};

/* The register begins as 0. `ops` in any order; at most LINEAR_OPS_MAX. Reads
 * that were not answered are left out by the caller. False when no order
 * explains what was seen. */
bool linear_check(const struct linear_op *ops, size_t count);

#endif
