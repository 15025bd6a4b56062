/* range.c -- keys in order: two tiers and the database, merged.
 *
 * The least key of the three comes next (the greatest in reverse), with the row
 * of the first that has it: the active tier, the frozen one, the database. A
 * tombstone hides the key. So a range shows one state, that of the last entry
 * applied, however far a flush has come.
 *
 * A range always has both bounds, [from, to), so that one statement per
 * direction is enough. One without an end gets COMMAND_KEY_BYTES_MAX + 1 bytes
 * of 0xff as its end, which are greater than every key. Keys alone are read
 * from the index, without the rows. */
#include "command/command.h"
#include "store/store_internal.h"

enum { END_BYTES = COMMAND_KEY_BYTES_MAX + 1 };

#define ROWS(deadline, order)                                                  \
    "SELECT key, value, create_index, modify_index, " deadline " FROM pairs "  \
    "WHERE key >= ?1 AND key < ?2 ORDER BY key" order
#define KEYS(order)                                                            \
    "SELECT key FROM pairs WHERE key >= ?1 AND key < ?2 ORDER BY key" order
/* By whether the schema has deadlines. */
static const char *const sql[2][STORE_RANGES] = {
    {ROWS("0", ""), ROWS("0", " DESC"), KEYS(""), KEYS(" DESC")},
    {ROWS("deadline", ""), ROWS("deadline", " DESC"), KEYS(""), KEYS(" DESC")},
};

enum err store_ranges_prepare(struct store *store)
{
    for (size_t i = 0; i < STORE_RANGES; i++) {
        const char *text = sql[store->timed][i];
        if (sqlite3_prepare_v3(store->db, text, -1, SQLITE_PREPARE_PERSISTENT,
                               &store->ranges[i], NULL) != SQLITE_OK) {
            return store_error(store->db, text);
        }
    }
    return ERR_OK;
}

void store_ranges_free(struct store *store)
{
    for (size_t i = 0; i < STORE_RANGES; i++) {
        sqlite3_finalize(store->ranges[i]);
        store->ranges[i] = NULL;
    }
}

/* ---- merging ---- */

struct bytes store_range_end(struct bytes to)
{
    static uint8_t end[END_BYTES];
    if (to.size > 0) {
        return to;
    }
    memset(end, 0xff, sizeof(end));
    return bytes_of(end, sizeof(end));
}

static void seek(struct merge *merge, int i, const struct tier *tier,
                 enum tier_table which)
{
    merge->walks[i] = (struct table_walk){0};
    if (tier) {
        merge->walks[i] = table_seek(&tier->tables[which],
                                     merge->reverse ? merge->to : merge->from,
                                     merge->reverse);
    }
}

void store_merge_open(struct store *store, struct merge *merge,
                      sqlite3_stmt *statement, enum tier_table which)
{
    must(!merge->open);
    merge->open = true;
    merge->statement = statement;
    merge->used = true;
    store_bind(statement, 1, merge->from);
    store_bind(statement, 2, merge->to);
    seek(merge, 0, store->active, which);
    seek(merge, 1, store->frozen, which);
}

void store_merge_close(struct merge *merge)
{
    if (merge->open) {
        sqlite3_reset(merge->statement);
        sqlite3_clear_bindings(merge->statement);
        merge->open = false;
    }
}

static bool is_inside(const struct merge *merge, struct bytes key)
{
    return merge->reverse ? table_compare(key, merge->from) >= 0
                          : table_compare(key, merge->to) < 0;
}

/* The entry of a tier that comes next; NULL: none in the range. */
static const struct table_entry *peek(struct merge *merge, int i)
{
    struct table_walk *walk = &merge->walks[i];
    const struct table_entry *entry = table_here(walk);
    while (entry && entry->row.kind == TABLE_HOLE) {
        table_step(walk, merge->reverse);
        entry = table_here(walk);
    }
    return entry && is_inside(merge, table_key(entry)) ? entry : NULL;
}

/* Reads the database's next key, unless it is there. False: SQLite failed. */
static bool read_database(struct merge *merge)
{
    if (!merge->used) {
        return true;
    }
    int rc = sqlite3_step(merge->statement);
    merge->used = false;
    merge->ended = rc != SQLITE_ROW;
    if (rc == SQLITE_ROW) {
        merge->key = store_column(merge->statement, 0);
    }
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

/* Does `key` come before `other`? */
static bool is_before(const struct merge *merge, struct bytes key,
                      struct bytes other)
{
    int order = table_compare(key, other);
    return merge->reverse ? order > 0 : order < 0;
}

enum err store_merge_next(struct merge *merge, struct bytes *key,
                          const struct table_row **row)
{
    must(merge->open);
    for (;;) {
        if (!read_database(merge)) {
            return ERR_IO;
        }
        const struct table_entry *entry = NULL;
        const struct table_entry *here[2];
        for (int i = 0; i < 2; i++) {
            here[i] = peek(merge, i);
            if (here[i] && (!entry || is_before(merge, table_key(here[i]),
                                                table_key(entry)))) {
                entry = here[i];
            }
        }
        bool database = !merge->ended;
        if (!entry && !database) {
            return ERR_NOT_FOUND;
        }
        if (!entry ||
            (database && is_before(merge, merge->key, table_key(entry)))) {
            merge->used = true;
            *key = merge->key;
            *row = NULL;
            return ERR_OK;
        }
        *key = table_key(entry);
        *row = &entry->row;
        merge->used = database && bytes_equal(merge->key, *key);
        for (int i = 0; i < 2; i++) {
            if (here[i] && bytes_equal(table_key(here[i]), *key)) {
                table_step(&merge->walks[i], merge->reverse);
            }
        }
        if (entry->row.kind == TABLE_ROW) {
            return ERR_OK;
        }
    }
}

/* ---- the range of the public header ---- */

void store_range_open(struct store *store, const struct store_range *range)
{
    must(!store->range.open);
    size_t which = (range->keys_only ? 2u : 0u) + (range->reverse ? 1u : 0u);
    store->range = (struct merge){.from = range->from,
                                  .to = store_range_end(range->to),
                                  .reverse = range->reverse};
    store_merge_open(store, &store->range, store->ranges[which], TIER_PAIRS);
}

enum err store_range_next(struct store *store, struct store_pair *pair)
{
    struct merge *range = &store->range;
    const struct table_row *row;
    uint64_t deadline;
    *pair = (struct store_pair){0};
    enum err err = store_merge_next(range, &pair->key, &row);
    if (err == ERR_IO) {
        store_range_close(store);
        return store_failed(store, "reading");
    }
    if (err || sqlite3_column_count(range->statement) == 1) {
        return err;
    }
    if (row) {
        pair->value = table_value(row);
        pair->create_index = row->create_index;
        pair->modify_index = row->modify_index;
        deadline = table_deadline(row);
    } else {
        sqlite3_stmt *from = range->statement;
        pair->value = store_column(from, 1);
        pair->create_index = (uint64_t)sqlite3_column_int64(from, 2);
        pair->modify_index = (uint64_t)sqlite3_column_int64(from, 3);
        deadline = (uint64_t)sqlite3_column_int64(from, 4);
    }
    pair->lease = store_lease_of(deadline);
    pair->deadline_ms = pair->lease ? 0 : deadline;
    return ERR_OK;
}

void store_range_close(struct store *store)
{
    store_merge_close(&store->range);
}
