/* entries.h -- the newest entries of the log in memory, so that entries which
 * are to be written, sent or applied are mostly not read from the disk.
 *
 * A contiguous window first..last. Entries are added at its end, cut off from
 * its end (truncation), and dropped from its start once durable, when it holds
 * more than bytes_kept or ENTRIES_COUNT_KEPT. Payloads lie in chunks
 * that are filled in order and freed in order: no allocation per entry. */
#ifndef CRAFTD_NODE_ENTRIES_H
#define CRAFTD_NODE_ENTRIES_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"

enum {
    ENTRIES_CHUNK_BYTES = 64 << 10,
    ENTRIES_BYTES_KEPT = 2 << 20, /* Unless the user sets bytes_kept. */
    ENTRIES_COUNT_KEPT = 8192,
};

struct entry {
    uint64_t term;
    enum raft_entry_type type;
    struct bytes payload; /* Valid until the entry is cut off or dropped. */
};

struct entries_chunk;
struct entries_slot {
    uint64_t term;
    struct entries_chunk *chunk;
    uint32_t offset;
    uint32_t size;
    uint8_t type;
};

/* READ-ONLY for users. Empty when last == first - 1. */
struct entries {
    uint64_t first;
    uint64_t last;
    uint64_t bytes; /* Size of all payloads in the window. */
    /* PUBLIC: set after entries_init(). */
    uint64_t bytes_kept;
    /* PRIVATE */
    struct entries_slot *slots; /* Ring, by index & (capacity - 1). */
    uint64_t capacity;
    struct entries_chunk *tail;
    struct entries_chunk *spare;
};

/* The next entry to be added has index `first` (over 0). */
void entries_init(struct entries *entries, uint64_t first);
/* Free the memory. Fine for one that is all zero. */
void entries_free(struct entries *entries);

/* Add entry `index` (at most last + 1) after cutting off all entries from
 * `index` on. With an index below `first` the window is emptied and starts
 * there. The payload is copied. */
void entries_put(struct entries *entries, uint64_t index, uint64_t term,
                 enum raft_entry_type type, struct bytes payload);

/* False, and *entry is not set, when `index` is outside the window. */
bool entries_get(const struct entries *entries, uint64_t index,
                 struct entry *entry);

/* Drop entries up to `durable`, oldest first, while the window holds more than
 * bytes_kept or ENTRIES_COUNT_KEPT. */
void entries_trim(struct entries *entries, uint64_t durable);

#endif
