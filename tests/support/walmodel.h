/* walmodel.h -- a log as a test expects it, and as recovery finds it. */
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
    uint64_t base; /* All up to it is void, and the log begins behind it. */
    uint64_t base_term;
    uint64_t first; /* Found: the first entry that is there; 0 = none. */
    uint64_t limit; /* Wanted: entries before it may have been dropped. */
    uint64_t last;
    bool odd; /* Found: entries out of order, or with other bodies. */
    struct {
        uint64_t term;
        size_t size;
    } entries[WALMODEL_ENTRIES_MAX + 1]; /* [index] */
};

/* Small segments; one identity for all tests. */
struct wal_options walmodel_options(const struct fs *fs);
/* The body that the entry has in every test. Static. */
struct bytes walmodel_body(uint64_t index, uint64_t term, size_t size_bytes);
/* Append the next entry to `wal`, and to what is expected of it. */
void walmodel_append(struct walmodel *next, struct wal *wal, uint64_t term,
                     size_t size_bytes);
/* wal_open(), with what is found. `found->limit` is left 0. */
MUST_CHECK enum err walmodel_open(const struct fs *fs, struct walmodel *found,
                                  struct wal **wal);
/* `found` holds the entries that `wanted` has to hold, and no others. */
bool walmodel_same_log(const struct walmodel *found,
                       const struct walmodel *wanted);
bool walmodel_same_vote(const struct walmodel *a, const struct walmodel *b);

#endif
