/* range.c -- keys in order.
 *
 * A range always has both bounds, [from, to), so that one statement per
 * direction is enough. One without an end gets COMMAND_KEY_BYTES_MAX + 1 bytes
 * of 0xff as its end, which are greater than every key. Keys alone are read
 * from the index, without the rows. */
#include "command/command.h"
#include "store/store_internal.h"

enum { END_BYTES = COMMAND_KEY_BYTES_MAX + 1 };

static const char *const sql[STORE_RANGES] = {
    "SELECT key, value, create_index, modify_index FROM pairs "
    "WHERE key >= ?1 AND key < ?2 ORDER BY key",
    "SELECT key, value, create_index, modify_index FROM pairs "
    "WHERE key >= ?1 AND key < ?2 ORDER BY key DESC",
    "SELECT key FROM pairs WHERE key >= ?1 AND key < ?2 ORDER BY key",
    "SELECT key FROM pairs WHERE key >= ?1 AND key < ?2 ORDER BY key DESC",
};

enum err store_ranges_prepare(struct store *store)
{
    for (size_t i = 0; i < STORE_RANGES; i++) {
        if (sqlite3_prepare_v3(store->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->ranges[i], NULL) != SQLITE_OK) {
            return store_error(store->db, sql[i]);
        }
    }
    return ERR_OK;
}

void store_ranges_free(struct store *store)
{
    for (size_t i = 0; i < STORE_RANGES; i++) {
        sqlite3_finalize(store->ranges[i]);
    }
}

void store_range_open(struct store *store, const struct store_range *range)
{
    static uint8_t end[END_BYTES];
    struct bytes to = range->to;
    must(!store->range);
    if (to.size == 0) {
        memset(end, 0xff, sizeof(end));
        to = bytes_of(end, sizeof(end));
    }
    size_t which = (range->keys_only ? 2u : 0u) + (range->reverse ? 1u : 0u);
    store->range = store->ranges[which];
    sqlite3_bind_blob64(store->range, 1,
                        range->from.data ? (const void *)range->from.data : "",
                        range->from.size, SQLITE_STATIC);
    sqlite3_bind_blob64(store->range, 2, to.data, to.size, SQLITE_STATIC);
}

static struct bytes column(sqlite3_stmt *statement, int i)
{
    return bytes_of(sqlite3_column_blob(statement, i),
                    (size_t)sqlite3_column_bytes(statement, i));
}

enum err store_range_step(struct store *store, struct store_pair *pair)
{
    must(store->range);
    int rc = sqlite3_step(store->range);
    if (rc != SQLITE_ROW) {
        return rc == SQLITE_DONE ? ERR_NOT_FOUND : ERR_IO;
    }
    *pair = (struct store_pair){.key = column(store->range, 0)};
    if (sqlite3_column_count(store->range) > 1) {
        pair->value = column(store->range, 1);
        pair->create_index = (uint64_t)sqlite3_column_int64(store->range, 2);
        pair->modify_index = (uint64_t)sqlite3_column_int64(store->range, 3);
    }
    return ERR_OK;
}

enum err store_range_next(struct store *store, struct store_pair *pair)
{
    enum err err = store_range_step(store, pair);
    if (err && err != ERR_NOT_FOUND) {
        store_range_close(store);
        return store_failed(store, "reading");
    }
    return err;
}

void store_range_close(struct store *store)
{
    if (store->range) {
        sqlite3_reset(store->range);
        sqlite3_clear_bindings(store->range);
        store->range = NULL;
    }
}
