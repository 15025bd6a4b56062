/* tier.c -- what was applied and is not in the database yet.
 *
 * Entries are applied to the active tier alone (store.h). A lookup goes through
 * the active tier, the frozen one, and the database; the first one that knows
 * the key decides, and a tombstone decides that there is no row. The frozen
 * tier has every key that the open transaction has changed, so that it does not
 * matter how far its flush has come.
 *
 * Every change of the entry that is being applied is recorded, so that a list
 * of operations, or the whole entry, can be undone. A key that was new becomes
 * a hole then. */
#include "store/store_internal.h"

enum {
    UNDO_KEPT = 4096,
    /* What a changed key costs in the -wal besides its value: leaves of the
     * table and of its index, and their neighbours now and then. */
    KEY_COST_BYTES = 3 * 4096,
};

struct undo {
    struct table_entry *entry;
    struct table_row before;
};

void store_tier_init(struct tier *tier)
{
    for (int i = 0; i < TIER_TABLES; i++) {
        table_init(&tier->tables[i], &tier->arena);
    }
}

void store_tier_free(struct tier *tier)
{
    arena_free(&tier->arena);
    buf_free(&tier->conf);
    *tier = (struct tier){0};
    store_tier_init(tier);
}

static const struct table_row *row_in(const struct table *table,
                                      struct bytes key)
{
    const struct table_entry *entry = table_find(table, key);
    return entry && entry->row.kind != TABLE_HOLE ? &entry->row : NULL;
}

const struct table_row *store_tier_row(const struct store *store,
                                       enum tier_table which, struct bytes key)
{
    const struct table_row *row = row_in(&store->active->tables[which], key);
    return row || !store->frozen ? row
                                 : row_in(&store->frozen->tables[which], key);
}

/* ---- changes ---- */

static void record(struct store *store, struct table_entry *entry)
{
    if (store->undo_count == store->undo_capacity) {
        store->undo_capacity =
            store->undo_capacity ? 2 * store->undo_capacity : 64;
        store->undo = mem_realloc(store->undo, store->undo_capacity *
                                                   sizeof(store->undo[0]));
    }
    store->undo[store->undo_count++] =
        (struct undo){.entry = entry, .before = entry->row};
}

static void set(struct store *store, enum tier_table which, struct bytes key,
                const struct table_row *row, uint64_t deadline)
{
    struct tier *tier = store->active;
    struct table *table = &tier->tables[which];
    struct table_entry *entry = table_add(table, key);
    record(store, entry);
    if (entry->row.kind == TABLE_HOLE) {
        tier->cost_bytes += KEY_COST_BYTES;
    }
    tier->cost_bytes += row->value_bytes;
    entry->row = *row;
    table_set_value(table, &entry->row, table_value(row), deadline);
}

void store_tier_set(struct store *store, enum tier_table which,
                    struct bytes key, const struct table_row *row)
{
    set(store, which, key, row, 0);
}

void store_tier_set_pair(struct store *store, struct bytes key,
                         const struct table_row *row, uint64_t deadline)
{
    set(store, TIER_PAIRS, key, row, deadline);
}

void store_undo(struct store *store, size_t mark)
{
    must(mark <= store->undo_count);
    while (store->undo_count > mark) {
        const struct undo *undo = &store->undo[--store->undo_count];
        undo->entry->row = undo->before;
    }
}

void store_undo_forget(struct store *store)
{
    store->undo_count = 0;
    if (store->undo_capacity > UNDO_KEPT) {
        mem_free(
            store
                ->undo); /* An entry with very many operations made it large. */
        store->undo = NULL;
        store->undo_capacity = 0;
    }
}

/* ---- lookups ---- */

/* True when the statement is to be run again: it failed for a shortage in the
 * transaction of a flush, which was abandoned. */
static bool again(struct store *store, sqlite3_stmt *statement, int rc)
{
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        return false;
    }
    bool shortage = store_error_shortage(store->db) != ERR_OK;
    sqlite3_reset(statement);
    if (!store->open || !shortage) {
        return false;
    }
    store_abandon(store);
    return true;
}

/* Runs a query for one row. SQLite may have to write in order to read: to make
 * space in its cache while a flush is in progress. */
static int query_row(struct store *store, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    return again(store, statement, rc) ? sqlite3_step(statement) : rc;
}

/* Ends a query without losing its error, which stays in the connection. */
static bool end_query(sqlite3_stmt *statement, int rc)
{
    int reset = sqlite3_reset(statement);
    return (rc == SQLITE_ROW || rc == SQLITE_DONE) && reset == SQLITE_OK;
}

bool store_look(struct store *store, struct bytes key,
                struct store_looked *looked)
{
    const struct table_row *row = store_tier_row(store, TIER_PAIRS, key);
    *looked = (struct store_looked){0};
    if (row) {
        if (row->kind == TABLE_ROW) {
            *looked = (struct store_looked){.found = true,
                                            .value_bytes = row->value_bytes,
                                            .create_index = row->create_index,
                                            .modify_index = row->modify_index,
                                            .version = row->version,
                                            .deadline = table_deadline(row)};
        }
        return true;
    }
    struct cached_row cached;
    if (row_cache_find(store->row_cache, key, &cached)) {
        *looked = (struct store_looked){.found = true,
                                        .value_bytes = cached.value_bytes,
                                        .create_index = cached.create_index,
                                        .modify_index = cached.modify_index,
                                        .version = cached.version,
                                        .deadline = cached.deadline};
        return true;
    }
    sqlite3_stmt *look = store->look;
    store_bind(look, 1, key);
    int rc = query_row(store, look);
    if (rc == SQLITE_ROW) {
        *looked = (struct store_looked){
            .found = true,
            .value_bytes = (uint64_t)sqlite3_column_int64(look, 0),
            .create_index = (uint64_t)sqlite3_column_int64(look, 1),
            .modify_index = (uint64_t)sqlite3_column_int64(look, 2),
            .version = (uint64_t)sqlite3_column_int64(look, 3),
            .deadline = (uint64_t)sqlite3_column_int64(look, 4),
        };
    }
    return end_query(look, rc);
}

static void set_end(struct store_row *row, uint64_t deadline)
{
    row->lease = store_lease_of(deadline);
    row->deadline_ms = row->lease ? 0 : deadline;
}

bool store_read(struct store *store, struct bytes key, struct store_row *row,
                bool *found)
{
    sqlite3_stmt *select = store->select;
    const struct table_row *ours = store_tier_row(store, TIER_PAIRS, key);
    sqlite3_reset(select);
    if (ours) {
        *found = ours->kind == TABLE_ROW;
        *row = (struct store_row){.value = table_value(ours),
                                  .create_index = ours->create_index,
                                  .modify_index = ours->modify_index,
                                  .version = ours->version};
        set_end(row, table_deadline(ours));
        return true;
    }
    store_bind(select, 1, key);
    int rc = query_row(store, select);
    *found = rc == SQLITE_ROW;
    if (!*found) {
        sqlite3_reset(select);
        return rc == SQLITE_DONE;
    }
    *row = (struct store_row){
        .value = bytes_of(sqlite3_column_blob(select, 0),
                          (size_t)sqlite3_column_bytes(select, 0)),
        .create_index = (uint64_t)sqlite3_column_int64(select, 1),
        .modify_index = (uint64_t)sqlite3_column_int64(select, 2),
        .version = (uint64_t)sqlite3_column_int64(select, 3),
    };
    set_end(row, (uint64_t)sqlite3_column_int64(select, 4));
    return true;
}

bool store_deadline_find(struct store *store, struct bytes key,
                         uint8_t room[STORE_LEASE_BYTES], struct bytes *value)
{
    const struct table_row *row = store_tier_row(store, TIER_DEADLINES, key);
    sqlite3_stmt *find = store->find_deadline;
    *value = (struct bytes){0};
    if (row) {
        *value = row->kind == TABLE_ROW ? table_value(row) : *value;
        return true;
    }
    store_bind(find, 1, key);
    int rc = query_row(store, find);
    if (rc == SQLITE_ROW) {
        struct bytes found = store_column(find, 0);
        size_t size =
            found.size < STORE_LEASE_BYTES ? found.size : STORE_LEASE_BYTES;
        if (size > 0) {
            memcpy(room, found.data, size);
        }
        *value = bytes_of(room, size);
    }
    return end_query(find, rc);
}

bool store_is_staged(struct store *store, struct bytes key, bool *yes)
{
    *yes = store_tier_row(store, TIER_STAGING, key) != NULL;
    if (*yes) {
        return true;
    }
    store_bind(store->find_staged, 1, key);
    int rc = query_row(store, store->find_staged);
    *yes = rc == SQLITE_ROW;
    return end_query(store->find_staged, rc);
}

/* ---- results of named commands ----
 *
 * They are found by name, and the oldest one is dropped when there are too
 * many. Those up to index store->dropped are dropped already, whether or not
 * their rows are still there. */

struct found_answer {
    bool found;
    uint64_t digest;
    uint64_t time_ms;
};

/* Finds a result, and adds it to `out` unless that is NULL. */
static bool look_up_answer(struct store *store, struct bytes name,
                           struct found_answer *answer, struct buf *out)
{
    const struct table_row *row = store_tier_row(store, TIER_ANSWERS, name);
    sqlite3_stmt *find = store->find_answer;
    *answer = (struct found_answer){0};
    if (row && row->modify_index > store->dropped) {
        *answer = (struct found_answer){true, row->version, row->create_index};
        if (out) {
            buf_add_bytes(out, table_value(row));
        }
    }
    if (row) {
        return true;
    }
    store_bind(find, 1, name);
    int rc = query_row(store, find);
    if (rc == SQLITE_ROW &&
        (uint64_t)sqlite3_column_int64(find, 2) > store->dropped) {
        *answer =
            (struct found_answer){true, (uint64_t)sqlite3_column_int64(find, 0),
                                  (uint64_t)sqlite3_column_int64(find, 3)};
        if (out) {
            buf_add_bytes(out, store_column(find, 1));
        }
    }
    return end_query(find, rc);
}

bool store_answer_find(struct store *store, struct bytes name, bool *found,
                       uint64_t *digest)
{
    struct found_answer answer;
    if (!look_up_answer(store, name, &answer, &store->result)) {
        return false;
    }
    *found = answer.found;
    *digest = answer.digest;
    return true;
}

/* A result by its age. */
struct aged {
    uint64_t index; /* Of its entry; 0: there is none. */
    uint64_t time_ms;
};

/* The oldest result in a tier. */
static struct aged oldest_in(const struct store *store, const struct tier *tier)
{
    uint8_t after[STORE_AGE_BYTES];
    if (!tier) {
        return (struct aged){0};
    }
    store_age_key(store->dropped + 1, after);
    struct table_walk walk = table_seek(&tier->tables[TIER_AGES],
                                        bytes_of(after, sizeof(after)), false);
    const struct table_entry *entry = table_here(&walk);
    while (entry && entry->row.kind == TABLE_HOLE) {
        table_step(&walk, false);
        entry = table_here(&walk);
    }
    return entry
               ? (struct aged){entry->row.modify_index, entry->row.create_index}
               : (struct aged){0};
}

/* The same over all. Rows of the database that the open transaction has added
 * are in the frozen tier as well, and its oldest are added first. */
static bool oldest_answer(struct store *store, struct aged *aged)
{
    sqlite3_stmt *oldest = store->oldest_answer;
    sqlite3_bind_int64(oldest, 1, (sqlite3_int64)store->dropped);
    int rc = query_row(store, oldest);
    *aged = (struct aged){0};
    if (rc == SQLITE_ROW) {
        aged->index = (uint64_t)sqlite3_column_int64(oldest, 0);
        aged->time_ms = (uint64_t)sqlite3_column_int64(oldest, 1);
    }
    if (!end_query(oldest, rc)) {
        return false;
    }
    if (aged->index == 0) {
        *aged = oldest_in(store, store->frozen);
    }
    if (aged->index == 0) {
        *aged = oldest_in(store, store->active);
    }
    must(aged->index > store->dropped);
    return true;
}

static void drop_oldest(struct store *store, uint64_t index)
{
    must(store->now.answers > 0);
    store->dropped = index;
    store->now.answers--;
}

/* Drops the oldest result if it is too old. */
static bool expire_oldest(struct store *store, bool *dropped)
{
    struct aged aged;
    *dropped = false;
    if (store->now.answers == 0) {
        return true;
    }
    if (!oldest_answer(store, &aged)) {
        return false;
    }
    *dropped = aged.time_ms + STORE_ANSWER_AGE_MS <= store->now.time;
    if (*dropped) {
        drop_oldest(store, aged.index);
    }
    return true;
}

/* True if there is a result under `name` that is too old. */
static bool is_too_old(struct store *store, struct bytes name, bool *yes)
{
    struct found_answer answer;
    if (!look_up_answer(store, name, &answer, NULL)) {
        return false;
    }
    *yes =
        answer.found && answer.time_ms + STORE_ANSWER_AGE_MS <= store->now.time;
    return true;
}

bool store_answers_expire(struct store *store, struct bytes name)
{
    enum { AT_LEAST = 2 }; /* More than one command adds. */
    bool too_old = false;
    bool dropped = true;
    for (int i = 0; i < AT_LEAST && dropped; i++) {
        if (!expire_oldest(store, &dropped)) {
            return false;
        }
    }
    if (!is_too_old(store, name, &too_old)) {
        return false;
    }
    while (too_old) { /* All before it are older still. */
        if (!expire_oldest(store, &dropped) ||
            !is_too_old(store, name, &too_old)) {
            return false;
        }
        must(dropped);
    }
    return true;
}

bool store_answer_add(struct store *store, uint64_t index, struct bytes name,
                      uint64_t digest)
{
    uint8_t age[STORE_AGE_BYTES];
    if (store->now.answers >= STORE_ANSWERS_MAX) {
        struct aged aged;
        if (!oldest_answer(store, &aged)) {
            return false;
        }
        drop_oldest(store, aged.index);
    }
    struct table_row row = {.kind = TABLE_ROW,
                            .value = store->result.data,
                            .value_bytes = (uint32_t)store->result.size,
                            .create_index = store->now.time,
                            .modify_index = index,
                            .version = digest};
    store_tier_set(store, TIER_ANSWERS, name, &row);
    row.value = name.data;
    row.value_bytes = (uint32_t)name.size;
    store_age_key(index, age);
    store_tier_set(store, TIER_AGES, bytes_of(age, sizeof(age)), &row);
    store->now.answers++;
    return true;
}

void store_age_key(uint64_t index, uint8_t key[STORE_AGE_BYTES])
{
    for (int i = 0; i < STORE_AGE_BYTES; i++) {
        key[i] = (uint8_t)(index >> (8 * (STORE_AGE_BYTES - 1 - i)));
    }
}
