/* flush.c -- the frozen tier into the database, a slice at a time.
 *
 * A flush is one transaction, however many slices it takes: rows in the order
 * of their keys, so that each page is visited once, and at last the row of
 * table raft as of the tier's last entry. A crash undoes all of it, and the log
 * has the entries. A shortage does the same, but here the tier stays, and so
 * does everything that is read: the flush starts again later.
 *
 * SQLite's cache is small, so that it writes most of the pages to its -wal
 * while the slices run, and COMMIT itself has little left to write. */
#include "base/log.h"
#include "store/store_internal.h"

/* Bytes of values after which a slice ends early. */
enum { SLICE_BYTES = 256 << 10 };

/* ---- the row of table raft ---- */

/* Writes it. It is written once per transaction: a crash undoes the whole
 * transaction, so that row and pairs always agree. */
static bool save_row(struct store *store, const struct row *row,
                     const struct bytes *conf)
{
    int place = 1;
    if (conf) {
        store_bind(store->save, place++, *conf);
    } else {
        sqlite3_bind_null(store->save, place++);
    }
#define X(column)                                                              \
    sqlite3_bind_int64(store->save, place++, (sqlite3_int64)row->column);
    RAFT_ROW(X)
    if (store->timed) {
        RAFT_ROW_TIMED(X)
    }
#undef X
    sqlite3_bind_int64(store->save, place,
                       (sqlite3_int64)store->flushed.applied);
    must(place == sqlite3_bind_parameter_count(store->save));
    if (!store_run(store->save)) {
        return false;
    }
    must(sqlite3_changes(store->db) == 1);
    return true;
}

/* Commits the open transaction, with which the database is at `row`. */
static bool commit(struct store *store, const struct row *row,
                   const struct bytes *conf)
{
    must(store->open && !store->range.open);
    must(row->applied >= store->flushed.applied);
    sqlite3_reset(store->select); /* A reader keeps the -wal from restarting. */
    if (!save_row(store, row, conf) || !store_run(store->commit)) {
        return false;
    }
    must(sqlite3_get_autocommit(store->db));
    store->open = false;
    store->flushed = *row;
    must(store->durable.applied <= store->flushed.applied);
    store->commits++;
    return true;
}

bool store_commit_now(struct store *store)
{
    struct bytes conf = buf_bytes(&store->conf);
    must(!store->frozen && store->active->tables[TIER_PAIRS].count == 0);
    if (!commit(store, &store->now, store->conf_dirty ? &conf : NULL)) {
        return false;
    }
    store->conf_dirty = false;
    return true;
}

/* ---- freezing ---- */

bool store_freeze(struct store *store)
{
    if (store->frozen || store_pending(store) == 0) {
        return store->frozen;
    }
    struct tier *tier = store->active;
    must(store->undo_count == 0 && !store->open);
    tier->row = store->now;
    tier->dropped = store->dropped;
    tier->has_conf = store->conf_dirty;
    if (store->conf_dirty) {
        buf_add_bytes(&tier->conf, buf_bytes(&store->conf));
    }
    store->conf_dirty = false;
    store->frozen = tier;
    store->active =
        tier == &store->tiers[0] ? &store->tiers[1] : &store->tiers[0];
    must(store->active->arena.bytes == 0);
    return true;
}

bool store_is_frozen(const struct store *store)
{
    return store->frozen;
}

bool store_is_flushing(const struct store *store)
{
    return store->open;
}

uint64_t store_buffered(const struct store *store)
{
    return store->active->arena.bytes;
}

uint64_t store_flush_cost(const struct store *store)
{
    return store->active->cost_bytes;
}

/* ---- rows ---- */

/* If the transaction fails, what is cached is wrong: but the frozen tier hides
 * it, until the row has been flushed all the same. */
static void cache_pair(struct store *store, const struct table_entry *entry)
{
    const struct table_row *row = &entry->row;
    if (row->kind != TABLE_ROW) {
        row_cache_remove(store->row_cache, table_key(entry));
        return;
    }
    row_cache_put(store->row_cache, table_key(entry),
                  &(struct cached_row){.value_bytes = row->value_bytes,
                                       .create_index = row->create_index,
                                       .modify_index = row->modify_index,
                                       .version = row->version,
                                       .deadline = table_deadline(row)});
}

static bool flush_pair(struct store *store, const struct table_entry *entry)
{
    const struct table_row *row = &entry->row;
    bool is_row = row->kind == TABLE_ROW;
    sqlite3_stmt *statement = is_row ? store->put : store->delete;
    cache_pair(store, entry);
    store_bind(statement, 1, table_key(entry));
    if (is_row) {
        store_bind(statement, 2, table_value(row));
        sqlite3_bind_int64(statement, 3, (sqlite3_int64)row->create_index);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->modify_index);
        sqlite3_bind_int64(statement, 5, (sqlite3_int64)row->version);
        if (store->timed) {
            sqlite3_bind_int64(statement, 6,
                               (sqlite3_int64)table_deadline(row));
        }
    }
    return store_run(statement);
}

static bool flush_staged(struct store *store, const struct table_entry *entry)
{
    must(entry->row.kind == TABLE_ROW);
    store_bind(store->stage, 1, table_key(entry));
    store_bind(store->stage, 2, table_value(&entry->row));
    sqlite3_bind_int64(store->stage, 3, (sqlite3_int64)entry->row.modify_index);
    return store_run(store->stage);
}

static bool flush_deadline(struct store *store, const struct table_entry *entry)
{
    bool is_row = entry->row.kind == TABLE_ROW;
    sqlite3_stmt *statement =
        is_row ? store->put_deadline : store->drop_deadline;
    store_bind(statement, 1, table_key(entry));
    if (is_row) {
        store_bind(statement, 2, table_value(&entry->row));
    }
    return store_run(statement);
}

static bool flush_answer(struct store *store, const struct table_entry *age)
{
    const struct tier *tier = store->frozen;
    const struct table_entry *answer =
        table_find(&tier->tables[TIER_ANSWERS], table_value(&age->row));
    uint64_t index = age->row.modify_index;
    if (index <= tier->dropped) {
        return true;
    }
    must(answer && answer->row.modify_index == index);
    sqlite3_bind_int64(store->add_answer, 1, (sqlite3_int64)index);
    store_bind(store->add_answer, 2, table_key(answer));
    sqlite3_bind_int64(store->add_answer, 3,
                       (sqlite3_int64)answer->row.version);
    store_bind(store->add_answer, 4, table_value(&answer->row));
    if (store->timed) {
        sqlite3_bind_int64(store->add_answer, 5,
                           (sqlite3_int64)answer->row.create_index);
    }
    return store_run(store->add_answer);
}

static bool flush_entry(struct store *store, const struct table_entry *entry)
{
    if (entry->row.kind == TABLE_HOLE) {
        return true;
    }
    switch (store->flush.table) {
    case TIER_PAIRS:
        return flush_pair(store, entry);
    case TIER_STAGING:
        return flush_staged(store, entry);
    case TIER_DEADLINES:
        return flush_deadline(store, entry);
    case TIER_AGES:
        return flush_answer(store, entry);
    case TIER_ANSWERS: /* By their ages. */
    case TIER_TABLES:
        break;
    }
    return true;
}

/* ---- the transaction ---- */

static void start_table(struct store *store, enum tier_table which)
{
    store->flush.table = which;
    if (which < TIER_TABLES) {
        store->flush.walk =
            table_seek(&store->frozen->tables[which], (struct bytes){0}, false);
    }
}

/* Flushes up to `rows` rows. Afterwards flush.table is TIER_TABLES if none is
 * left. */
static bool flush_rows(struct store *store, uint64_t rows)
{
    uint64_t bytes = 0;
    while (rows > 0 && bytes < SLICE_BYTES &&
           store->flush.table != TIER_TABLES) {
        const struct table_entry *entry = table_here(&store->flush.walk);
        if (!entry) {
            start_table(store, store->flush.table + 1);
            continue;
        }
        if (!flush_entry(store, entry)) {
            return false;
        }
        table_step(&store->flush.walk, false);
        bytes += entry->row.value_bytes;
        rows--;
    }
    return true;
}

/* Deletes a slice of the results that were dropped. */
static bool flush_dropped(struct store *store)
{
    sqlite3_bind_int64(store->drop_answer, 1,
                       (sqlite3_int64)store->frozen->dropped);
    bool ok = store_run(store->drop_answer);
    if (ok && sqlite3_changes(store->db) == 0) {
        store->flush.dropped = store->frozen->dropped;
    }
    return ok;
}

static bool finish(struct store *store)
{
    struct tier *tier = store->frozen;
    struct bytes conf = buf_bytes(&tier->conf);
    if (!commit(store, &tier->row, tier->has_conf ? &conf : NULL)) {
        return false;
    }
    store_tier_free(tier);
    store->frozen = NULL;
    return true;
}

enum err store_flush_step(struct store *store, uint64_t rows)
{
    must(rows > 0);
    if (!store->frozen) {
        return ERR_OK;
    }
    if (!store->open) {
        enum err err = store_begin(store);
        if (err) {
            return err;
        }
        start_table(store, TIER_PAIRS);
        store->flush.dropped = 0; /* An earlier attempt may have failed. */
    }
    bool ok;
    if (store->flush.table != TIER_TABLES) {
        ok = flush_rows(store, rows);
    } else if (store->flush.dropped < store->frozen->dropped) {
        ok = flush_dropped(store);
    } else {
        ok = finish(store);
    }
    if (!ok) {
        return store_failed(store, "flushing");
    }
    return ERR_OK;
}

enum err store_flush(struct store *store)
{
    /* A tier that was frozen before, and then what came after it. */
    while (store_freeze(store)) {
        enum err err = store_flush_step(store, UINT64_MAX);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}
