/* nth.h -- runs a workload again and again, each time with a failure at the
 * next call (SQLite's method), until it ends without the failure.
 *
 * Counts the results, so that a test can check that its failures happened. */
#ifndef CRAFTD_TESTS_NTH_H
#define CRAFTD_TESTS_NTH_H

#include "support/failfs.h"

struct nth_total {
    uint64_t points; /* Injected failures that happened. */
    uint64_t deaths; /* This and the rest are counted by the workload. */
    uint64_t errors;
    uint64_t refusals;
    uint64_t checkpoints; /* Of a store; a log has none. */
    uint64_t images;      /* Disks after a power loss. */
};

/* Totals since nth_begin(). */
extern struct nth_total nth_total;

/* One run; returns true when the failure happened. */
typedef bool nth_run_cb(const struct failfs_fault *fault);
/* All runs with a failure of this kind, once and for ever; `fault` has its
 * call, error and effect. */
typedef void nth_kind_cb(struct failfs_fault fault);

void nth_begin(void);
/* Run for n = 1, 2, ... up to `dense`, then in larger strides. */
void nth_every(struct failfs_fault fault, uint64_t dense, uint64_t stride,
               nth_run_cb *run);
/* Reset the totals, then call `kind` for every kind of call that can fail with
 * that error, except `never`, which the workload does not make; each with
 * nothing, part or all of its work done. Each kind of call must have failed at
 * least once. */
void nth_every_call(enum err err, enum failfs_call never, nth_kind_cb *kind);
/* Every fdatasync fails in turn, and the kernel drops the pages: it has
 * forgotten that there is something to write, and the next process reads data
 * that is not on the disk. Nothing may be built on such data. Some process must
 * die. */
void nth_dropped_syncs(nth_run_cb *run);
void nth_print(const char *name);

#endif
