/* flush.c -- the frozen tier into the database, a slice at a time.
 *
 * A flush is one transaction, however many slices it takes, and at last writes
 * the row of table raft as of the tier's last entry. A crash undoes all of it,
 * and the log has the entries. A shortage does the same, but here the tier
 * stays, and so does everything that is read: the flush starts again later.
 *
 * Rows of table pairs lie in the order of their rowids, which is that in which
 * their keys were inserted first. Rows that are updated are sorted by it, so
 * that each page is visited once, and is written to the -wal soon after. Rows
 * that are inserted or deleted follow in the order of their keys, that of the
 * index; SQLite writes their pages when its cache is full. So COMMIT itself has
 * little left to write. */
#include "base/log.h"
#include "store/store_internal.h"

enum {
    /* Bytes of values after which a slice ends early. */
    SLICE_BYTES = 256 << 10,
    /* Entries that are collected in the time in which one row is written. */
    COLLECTED_PER_ROW = 32,
    /* Changed pages are written to the -wal when there are this many. */
    PAGE_BYTES = 4096,
    CHANGED_BYTES = 64 * PAGE_BYTES,
    DIGIT_BITS = 8,
    DIGITS = 1 << DIGIT_BITS,
};

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

static void bind_row(const struct store *store, sqlite3_stmt *statement,
                     const struct table_entry *entry)
{
    const struct table_row *row = &entry->row;
    store_bind(statement, 1, table_key(entry));
    store_bind(statement, 2, table_value(row));
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)row->create_index);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->modify_index);
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)row->version);
    if (store->timed) {
        sqlite3_bind_int64(statement, 6, (sqlite3_int64)table_deadline(row));
    }
}

static bool flush_pair(struct store *store, const struct table_entry *entry)
{
    if (entry->row.kind == TABLE_TOMBSTONE) {
        store_bind(store->delete, 1, table_key(entry));
        return store_run(store->delete);
    }
    if (entry->row.rowid != 0) {
        return true; /* It was updated before. */
    }
    bind_row(store, store->put, entry);
    return store_run(store->put);
}

static bool update_pair(struct store *store, const struct flush_row *row)
{
    bind_row(store, store->update, row->entry);
    sqlite3_bind_int64(store->update, 7, row->rowid);
    if (!store_run(store->update)) {
        return false;
    }
    must(sqlite3_changes(store->db) == 1);
    return true;
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

static void start(struct store *store)
{
    uint64_t pairs = store->frozen->tables[TIER_PAIRS].count;
    mem_free(store->flush.rows); /* Of a flush that was rolled back. */
    store->flush = (struct flush){.stage = FLUSH_COLLECT};
    store->flush.rows = mem_alloc(2 * pairs * sizeof(store->flush.rows[0]));
    start_table(store, TIER_PAIRS);
}

/* The next entry of the walk through one table; NULL: it is complete. */
static const struct table_entry *next_entry(struct flush *flush)
{
    const struct table_entry *entry = table_here(&flush->walk);
    if (entry) {
        table_step(&flush->walk, false);
    }
    return entry;
}

static void collect(struct store *store, uint64_t rows)
{
    struct flush *flush = &store->flush;
    for (uint64_t i = 0; i / COLLECTED_PER_ROW < rows; i++) {
        const struct table_entry *entry = next_entry(flush);
        if (!entry) {
            flush->stage = FLUSH_SORT;
            return;
        }
        if (entry->row.kind == TABLE_ROW && entry->row.rowid != 0) {
            flush->rows[flush->count++] =
                (struct flush_row){entry->row.rowid, entry};
        }
    }
}

static unsigned digit_of(const struct flush_row *row, unsigned shift)
{
    return (unsigned)((uint64_t)row->rowid >> shift) & (DIGITS - 1);
}

/* Sorts by one more digit, the least significant one first, while an earlier
 * order is kept. Negative rowids, which craftd's databases do not have, come
 * last. */
static void sort(struct store *store)
{
    struct flush *flush = &store->flush;
    size_t starts[DIGITS + 1] = {0};
    size_t pairs = store->frozen->tables[TIER_PAIRS].count;
    struct flush_row *from = flush->rows;
    struct flush_row *to = from + pairs;
    uint64_t above = 0; /* Bits of rowids that are not sorted yet. */
    for (size_t i = 0; i < flush->count; i++) {
        starts[digit_of(&from[i], flush->sorted_bits) + 1]++;
        above |= (uint64_t)from[i].rowid >> flush->sorted_bits;
    }
    if (above == 0) {
        flush->stage = FLUSH_UPDATE;
        return;
    }
    for (size_t i = 1; i < DIGITS; i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < flush->count; i++) {
        to[starts[digit_of(&from[i], flush->sorted_bits)]++] = from[i];
    }
    memcpy(from, to, flush->count * sizeof(from[0]));
    flush->sorted_bits += DIGIT_BITS;
    if (flush->sorted_bits >= 64) {
        flush->stage = FLUSH_UPDATE;
    }
}

/* Writes the changed pages that no statement uses to the -wal, so that COMMIT
 * has little to write. */
static bool write_changed_pages(struct store *store)
{
    int rc = sqlite3_db_cacheflush(store->db);
    sqlite3_reset(store->pins[0]);
    sqlite3_reset(store->pins[1]);
    store->flush.changed_bytes = 0;
    if (rc == SQLITE_OK || rc == SQLITE_BUSY) {
        return true; /* SQLITE_BUSY: a page is in use. */
    }
    /* Only a statement leaves its error in the connection. One that succeeds
     * means that the pages are still in the cache, and nothing is lost. */
    return store_run(store->touch);
}

/* Moves a statement to a row, whose page is then in use. */
static bool pin(struct store *store, int i, const struct flush_row *row)
{
    sqlite3_bind_int64(store->pins[i], 1, row->rowid);
    int rc = sqlite3_step(store->pins[i]);
    must(rc != SQLITE_DONE);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(store->pins[1 - i]);
        sqlite3_reset(store->pins[i]); /* The last error is its. */
    }
    return rc == SQLITE_ROW;
}

/* The same without the pages of the last row and the next one: a page that is
 * changed after it was written is written again, in its place, and COMMIT then
 * has to renew the checksums of all frames behind it. If a page is split, its
 * neighbour changes too. */
static bool write_updated_pages(struct store *store)
{
    const struct flush_row *next = &store->flush.rows[store->flush.next];
    must(store->flush.next > 0 && store->flush.next < store->flush.count);
    return pin(store, 0, next - 1) && pin(store, 1, next) &&
           write_changed_pages(store);
}

static bool update_rows(struct store *store, uint64_t rows)
{
    struct flush *flush = &store->flush;
    uint64_t bytes = 0;
    for (; rows > 0 && bytes < SLICE_BYTES && flush->next < flush->count;
         rows--) {
        const struct flush_row *row = &flush->rows[flush->next];
        if (!update_pair(store, row)) {
            return false;
        }
        bytes += row->entry->row.value_bytes;
        flush->changed_bytes += PAGE_BYTES + row->entry->row.value_bytes;
        flush->next++;
    }
    bool last = flush->next == flush->count;
    if (flush->changed_bytes >= CHANGED_BYTES && !last &&
        !write_updated_pages(store)) {
        return false;
    }
    if (last) {
        flush->stage = FLUSH_WALK;
        start_table(store, TIER_PAIRS);
    }
    return true;
}

static bool walk_rows(struct store *store, uint64_t rows)
{
    struct flush *flush = &store->flush;
    uint64_t bytes = 0;
    while (rows > 0 && bytes < SLICE_BYTES) {
        const struct table_entry *entry = next_entry(flush);
        if (!entry) {
            start_table(store, flush->table + 1);
            if (flush->table == TIER_TABLES) {
                flush->stage = FLUSH_DROP;
                return true;
            }
            continue;
        }
        if (!flush_entry(store, entry)) {
            return false;
        }
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
    mem_free(store->flush.rows);
    store->flush.rows = NULL;
    return true;
}

enum err store_flush_step(struct store *store, uint64_t rows)
{
    bool ok = true;
    must(rows > 0);
    if (!store->frozen) {
        return ERR_OK;
    }
    if (!store->open) {
        enum err err = store_begin(store);
        if (err) {
            return err;
        }
        start(store);
    }
    switch (store->flush.stage) {
    case FLUSH_COLLECT:
        collect(store, rows);
        break;
    case FLUSH_SORT:
        sort(store);
        break;
    case FLUSH_UPDATE:
        ok = update_rows(store, rows);
        break;
    case FLUSH_WALK:
        ok = walk_rows(store, rows);
        break;
    case FLUSH_DROP:
        if (store->flush.dropped < store->frozen->dropped) {
            ok = flush_dropped(store);
        } else {
            store->flush.stage = FLUSH_WRITE;
        }
        break;
    case FLUSH_WRITE:
        ok = write_changed_pages(store);
        store->flush.stage = FLUSH_COMMIT;
        break;
    case FLUSH_COMMIT:
        ok = finish(store);
        break;
    }
    return ok ? ERR_OK : store_failed(store, "flushing");
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
