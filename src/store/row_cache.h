/* row_cache.h -- what was last written of rows in the database, without their
 * values. Pure.
 *
 * Applying a write needs the old row's indexes, version and size. A lookup in
 * SQLite costs more than all the rest of it, and reads a page of the file when
 * the row's page is not in the page cache, as with keys in random order. So
 * each row that a flush writes is remembered here, until its place is needed
 * for others: they are evicted in the order in which they came.
 *
 * It holds rows that exist, no others: what is not found may be in the database
 * all the same. Its user keeps it true: a row that changes in the database
 * changes here, one that is deleted there is removed here, and what changes
 * the database otherwise clears all.
 *
 * The memory is taken at the start, but used only as it fills. Every operation
 * takes bounded time whatever the keys are. */
#ifndef CRAFTD_STORE_ROW_CACHE_H
#define CRAFTD_STORE_ROW_CACHE_H

#include "base/base.h"
#include "base/bytes.h"

enum {
    ROW_CACHE_BYTES_MIN = 64 << 10,
    ROW_CACHE_KEY_BYTES_MAX = 256 /* Rows of longer keys are not kept. */
};

struct row_cache;

struct cached_row {
    uint64_t value_bytes;
    uint64_t create_index;
    uint64_t modify_index;
    uint64_t version;
    uint64_t deadline;
};

/* A cache that takes about this much memory, ROW_CACHE_BYTES_MIN at least. */
struct row_cache *row_cache_new(size_t bytes);
void row_cache_free(struct row_cache *cache); /* NULL is fine. */

/* The row of `key`; false: it is not known. */
bool row_cache_find(const struct row_cache *cache, struct bytes key,
                    struct cached_row *row);
/* Add the row of `key`, or replace it. */
void row_cache_put(struct row_cache *cache, struct bytes key,
                   const struct cached_row *row);
void row_cache_remove(struct row_cache *cache, struct bytes key);
void row_cache_clear(struct row_cache *cache);

#endif
