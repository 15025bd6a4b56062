/* nth.h -- a workload that is run again and again, each time with a failure
 * at the next call (SQLite's method), until it ends without the failure.
 *
 * Counts what came of it, so that a test can tell that its failures came. */
#ifndef CRAFTD_TESTS_NTH_H
#define CRAFTD_TESTS_NTH_H

#include "support/failfs.h"

struct nth_total {
    uint64_t points; /* Failures that came. */
    uint64_t deaths; /* The rest is counted by the workload. */
    uint64_t errors;
    uint64_t refusals;
    uint64_t checkpoints; /* Of a store; a log has none. */
    uint64_t images;      /* Of the disk after a power loss. */
};

/* Since nth_begin(). */
extern struct nth_total nth_total;

/* One run; true when the failure came. */
typedef bool nth_run_cb(const struct failfs_fault *fault);
/* All runs with a failure of this kind, once and for ever; `fault` has its
 * call, error and what is done all the same. */
typedef void nth_kind_cb(struct failfs_fault fault);

void nth_begin(void);
/* For n = 1, 2, ... up to `dense`, then in larger strides. */
void nth_every(struct failfs_fault fault, uint64_t dense, uint64_t stride,
               nth_run_cb *run);
/* Every kind of call that can fail with that error, but `never`, which the
 * workload does not make; each with nothing, part or all of its work done.
 * There must be failures of each kind of call. */
void nth_every_call(enum err err, enum failfs_call never, nth_kind_cb *kind);
void nth_print(const char *name);

#endif
