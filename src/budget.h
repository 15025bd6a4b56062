/* budget.h -- how the memory of the machine, or of the process's group, is
 * divided.
 *
 * On a machine with 1 GiB or more every part has its full size, which the
 * limits in README.md are. On a smaller one each part is a share, so that all
 * of them together, with what the program needs anyway, take about two thirds
 * of the memory, and the kernel's page cache has some too. Pure. */
#ifndef CRAFTD_BUDGET_H
#define CRAFTD_BUDGET_H

#include "base/base.h"

/* Bounds of --cache. */
enum { BUDGET_CACHE_MIN = 256 << 10, BUDGET_CACHE_MAX = 1 << 30 };

/* In bytes. */
struct budget {
    uint64_t cache;     /* SQLite's page cache. */
    uint64_t rows;      /* The store's cache of rows, without their values. */
    uint64_t requests;  /* Bodies being received; answers not taken; pages of
                           lists: this much for each of the three. */
    uint64_t buffer;    /* Applied entries that are not in the database yet; up
                           to twice this. */
    uint64_t entries;   /* Payloads of the newest entries of the log. */
    uint64_t proposals; /* Commands that wait for a leader or a commit. */
    uint64_t feed;      /* Changes kept for watches (--history). */
    uint64_t in_memory; /* Upper bound on the database of --inmem. */
};

/* `memory_bytes`: as of sys_memory(). `cache_bytes`: --cache,
 * `buffer_bytes`: --write-buffer; 0: not given. `body_bytes_max`: --max-body,
 * for which proposals and feed have room. */
struct budget budget_of(uint64_t memory_bytes, uint64_t cache_bytes,
                        uint64_t buffer_bytes, uint64_t body_bytes_max);

#endif
