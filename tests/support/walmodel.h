/* walmodel.h -- a model of a log: expected by a test, or found by recovery. */
#ifndef CRAFTD_TESTS_WALMODEL_H
#define CRAFTD_TESTS_WALMODEL_H

#include "wal/wal.h"

enum {
    WALMODEL_ENTRIES_MAX = 400,
    WALMODEL_SEGMENT_BYTES = 16 << 10,
    WALMODEL_BODY_BYTES_MAX = 30000,
};

struct walmodel {
    uint64_t term;
    uint64_t vote;
    uint64_t base; /* The log starts after this index. */
    uint64_t base_term;
    uint64_t first; /* Found: index of the first entry; 0 = none. */
    uint64_t limit; /* Expected: entries before it may have been dropped. */
    uint64_t last;
    bool odd; /* Found: entries out of order, or with wrong payloads. */
    struct {
        uint64_t term;
        size_t size;
    } entries[WALMODEL_ENTRIES_MAX + 1]; /* [index] */
};

/* Small segments; one identity for all tests. */
struct wal_options walmodel_options(const struct fs *fs);
/* The payload of the entry in every test. Static. */
struct bytes walmodel_body(uint64_t index, uint64_t term, size_t size_bytes);
/* Append the next entry to `wal` and to its model. */
void walmodel_append(struct walmodel *next, struct wal *wal, uint64_t term,
                     size_t size_bytes);
/* wal_open(); `found` becomes the recovered log. `found->limit` is left 0. */
MUST_CHECK enum err walmodel_open(const struct fs *fs, struct walmodel *found,
                                  struct wal **wal);
/* True when `found` has the entries that `wanted` must have, and no others. */
bool walmodel_same_log(const struct walmodel *found,
                       const struct walmodel *wanted);
bool walmodel_same_vote(const struct walmodel *a, const struct walmodel *b);

#endif
