/* entries.h -- the recent end of the log in memory: what is still to be
 * written, sent or applied is found here, without reading the disk.
 *
 * A contiguous window first..last. Entries are added at its end, cut off from
 * its end (truncation), and forgotten from its beginning once durable, when
 * it holds more than ENTRIES_BYTES_KEPT. Payloads lie in chunks that are
 * filled in order and freed in order: no allocation per entry. */
#ifndef CRAFTD_NODE_ENTRIES_H
#define CRAFTD_NODE_ENTRIES_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"

enum {
    ENTRIES_CHUNK_BYTES = 64 << 10,
    ENTRIES_BYTES_KEPT = 2 << 20,
    ENTRIES_COUNT_KEPT = 8192,
};

struct entry {
    uint64_t term;
    enum raft_entry_type type;
    struct bytes payload; /* Valid until the entry is cut or forgotten. */
};

struct entries_chunk;
struct entries_slot {
    uint64_t term;
    struct entries_chunk *chunk;
    uint32_t offset;
    uint32_t size;
    uint8_t type;
};

/* READ-ONLY for users. Empty: last == first - 1. */
struct entries {
    uint64_t first;
    uint64_t last;
    uint64_t bytes; /* Of all payloads held. */
    /* PRIVATE */
    struct entries_slot *slots; /* Ring, by index & (capacity - 1). */
    uint64_t capacity;
    struct entries_chunk *tail;
    struct entries_chunk *spare;
};

/* The next entry to be added has index `first`. */
void entries_init(struct entries *entries, uint64_t first);
void entries_free(struct entries *entries);

/* Add entry `index`, cutting off what was there from `index` on. index is at
 * most last + 1; below `first` the window begins anew. The payload is
 * copied. */
void entries_put(struct entries *entries, uint64_t index, uint64_t term,
                 enum raft_entry_type type, struct bytes payload);

/* False when `index` is outside the window. */
bool entries_get(const struct entries *entries, uint64_t index,
                 struct entry *entry);

/* Forget entries up to `durable`, oldest first, as long as more is held than
 * is worth keeping. */
void entries_trim(struct entries *entries, uint64_t durable);

#endif
