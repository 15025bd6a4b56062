/* restore.c -- applies the steps of a restore, and deletes replaced tables.
 *
 * The rows of a backup arrive as entries, in order, and are collected in table
 * staging. COMMIT has their number and their hash; if both match, staging is
 * renamed to pairs. Renaming a table writes one row of the schema, and no page
 * of the table. A step can arrive twice or late, since its proposer may not
 * have received the result: it is done once.
 *
 * The indexes of a row are that of the entry that added it. So they differ from
 * those of every earlier version of its key.
 *
 * Keys of a backup have no deadline, and leases end: nobody holds what a backup
 * says. Results of named commands are kept: each command was applied once, and
 * the restore replaced its effects as any later write would.
 *
 * Tables named waste_<index> were replaced, or belong to an aborted restore.
 * They are not part of the replicated state: each node deletes them in slices
 * when it is idle, so that a restart finds what is left of them. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "command/result.h"
#include "store/store_internal.h"

enum {
    SWEEP_ROWS = 128,
    SWEEP_BYTES = 256 << 10,
    SQL_BYTES = 320,
    NAME_BYTES = 64,
};

static bool run_sql(struct store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* Changes the schema, in a transaction that store_apply() commits. Nothing is
 * buffered, so that the tables have all rows. */
static bool change_schema(struct store *store, const char *sql)
{
    must(store_pending(store) == 0 && !store->open && !store->syncing);
    sqlite3_reset(store->select); /* A running statement prevents renaming. */
    if (!store_run(store->begin)) {
        return false;
    }
    store->open = true;
    store->waste = true;
    return run_sql(store, sql);
}

static const char *staging_sql(const struct store *store)
{
    return store->timed ? STAGING_TIMED_SQL : STAGING_SQL;
}

/* ---- the steps ---- */

static void end_restore(struct store *store)
{
    store->now.restore_id = 0;
    store->now.staged = 0;
    store->now.staged_hash = 0;
}

/* Aborts the restore in progress, if any: staging is empty afterwards. */
static bool drop_staging(struct store *store, uint64_t index)
{
    char sql[SQL_BYTES];
    bool any = store->now.staged > 0;
    end_restore(store);
    if (!any) {
        return true;
    }
    snprintf(sql, sizeof(sql), "ALTER TABLE staging RENAME TO waste_%llu;%s",
             (unsigned long long)index, staging_sql(store));
    return change_schema(store, sql);
}

static bool begin(struct store *store, uint64_t index, uint64_t id)
{
    if (store->now.restore_id == id) {
        return true;
    }
    if (!drop_staging(store, index)) {
        return false;
    }
    store->now.restore_id = id;
    return true;
}

static bool stage(struct store *store, uint64_t index,
                  struct command_restore *step)
{
    struct bytes key;
    struct bytes value;
    while (command_restore_next(step, &key, &value) == ERR_OK) {
        bool is_staged;
        if (!store_is_staged(store, key, &is_staged)) {
            return false;
        }
        if (is_staged) {
            continue; /* It is counted once: the commit fails then. */
        }
        struct table_row row = {.kind = TABLE_ROW,
                                .value = value.data,
                                .value_bytes = (uint32_t)value.size,
                                .create_index = index,
                                .modify_index = index,
                                .version = 1};
        store_tier_set(store, TIER_STAGING, key, &row);
        store->now.staged++;
    }
    return true;
}

static bool swap(struct store *store, uint64_t index)
{
    char sql[4 * SQL_BYTES];
    struct row *now = &store->now;
    int size = snprintf(sql, sizeof(sql),
                        "ALTER TABLE pairs RENAME TO waste_%llu;"
                        "ALTER TABLE staging RENAME TO pairs;%s",
                        (unsigned long long)index, staging_sql(store));
    if (now->timed_keys + now->leases > 0) {
        size += snprintf(sql + size, sizeof(sql) - (size_t)size,
                         "ALTER TABLE deadlines RENAME TO waste_%llut;%s",
                         (unsigned long long)index, DEADLINES_SQL);
    }
    must((size_t)size < sizeof(sql));
    now->timed_keys = 0;
    now->leases = 0;
    must(now->restore_id != 0);
    now->restored_id = now->restore_id;
    now->restored_at = index;
    now->restored_keys = now->staged;
    now->keys = now->staged;
    end_restore(store);
    if (!change_schema(store, sql)) {
        return false;
    }
    row_cache_clear(store->row_cache);
    return true;
}

bool store_restore_changes_schema(const struct store *store,
                                  struct bytes command)
{
    const struct row *now = &store->now;
    struct command_restore step;
    if (command_restore_open(&step, command) != ERR_OK) {
        return false;
    }
    switch (step.step) {
    case COMMAND_RESTORE_BEGIN:
        return now->restore_id != step.id && now->staged > 0;
    case COMMAND_RESTORE_ROWS:
        return false;
    case COMMAND_RESTORE_COMMIT:
        return now->restore_id == step.id && now->staged == step.keys;
    case COMMAND_RESTORE_ABORT:
        return now->restore_id == step.id && now->staged > 0;
    }
    return false;
}

/* Does the step that fits the state, and sets head->status. False: SQLite
 * failed. */
static bool take_step(struct store *store, uint64_t index,
                      struct command_restore *step, struct bytes command,
                      struct result *head)
{
    struct row *now = &store->now;
    bool ours = now->restore_id == step->id;
    bool fits = ours && now->staged == step->keys;
    head->status = RESULT_RESTORE;
    switch (step->step) {
    case COMMAND_RESTORE_BEGIN:
        return begin(store, index, step->id);
    case COMMAND_RESTORE_ROWS:
        if (!fits) {
            break;
        }
        now->staged_hash = command_restore_hash(now->staged_hash, command);
        return stage(store, index, step);
    case COMMAND_RESTORE_COMMIT:
        if (now->restored_id == step->id) {
            head->index = now->restored_at; /* It was done before. */
            return true;
        }
        if (!fits || now->staged_hash != step->hash) {
            break;
        }
        return swap(store, index);
    case COMMAND_RESTORE_ABORT:
        if (!ours) {
            break;
        }
        return drop_staging(store, index);
    }
    head->status = RESULT_SUPERSEDED;
    return true;
}

bool store_restore_apply(struct store *store, uint64_t index,
                         struct bytes command)
{
    struct row *now = &store->now;
    struct result head = {.index = index};
    struct result_writer writer;
    struct command_restore step;
    enum err err = command_restore_open(&step, command);
    must(err == ERR_OK); /* store_apply() has checked it. */
    if (now->counts_from == 0) {
        now->counts_from = index; /* As a version 2 command does. */
    }
    if (!take_step(store, index, &step, command, &head)) {
        return false;
    }
    head.keys = now->restore_id == step.id    ? now->staged
                : now->restored_id == step.id ? now->restored_keys
                                              : 0;
    result_begin(&writer, &store->result, &head);
    uint32_t asked = crc32c(0, command.data, command.size);
    uint32_t came = crc32c(0, store->result.data, store->result.size);
    now->hash =
        mix_u64(now->hash ^ mix_u64((uint64_t)asked << 32 | came) ^ index);
    return true;
}

uint64_t store_restoring(const struct store *store, uint64_t *staged)
{
    *staged = store->now.staged;
    return store->now.restore_id;
}

/* ---- tables that are not needed any more ---- */

/* Runs a query for one name. *found: there is one. */
static bool query(struct store *store, const char *sql, char name[NAME_BYTES],
                  bool *found)
{
    sqlite3_stmt *select = NULL;
    *found = false;
    if (sqlite3_prepare_v2(store->db, sql, -1, &select, NULL) != SQLITE_OK) {
        return false;
    }
    int rc = sqlite3_step(select);
    if (rc == SQLITE_ROW && sqlite3_column_type(select, 0) != SQLITE_NULL) {
        snprintf(name, NAME_BYTES, "%s",
                 (const char *)sqlite3_column_text(select, 0));
        *found = true;
    }
    int end = sqlite3_finalize(select);
    return (rc == SQLITE_ROW || rc == SQLITE_DONE) && end == SQLITE_OK;
}

/* Finds the end of one slice, the rowid of its last row. *any: it has a row. */
static bool find_slice(struct store *store, const char *table,
                       sqlite3_int64 *last, bool *any)
{
    char sql[SQL_BYTES];
    sqlite3_stmt *select = NULL;
    uint64_t bytes = 0;
    int rc = SQLITE_ROW;
    *any = false;
    /* length() does not read the blob. */
    snprintf(
        sql, sizeof(sql),
        "SELECT rowid, length(value) FROM \"%.60s\" NOT INDEXED ORDER BY rowid "
        "LIMIT %d",
        table, SWEEP_ROWS);
    if (sqlite3_prepare_v2(store->db, sql, -1, &select, NULL) != SQLITE_OK) {
        return false;
    }
    while (bytes < SWEEP_BYTES && (rc = sqlite3_step(select)) == SQLITE_ROW) {
        *last = sqlite3_column_int64(select, 0);
        bytes += (uint64_t)sqlite3_column_int64(select, 1);
        *any = true;
    }
    int end = sqlite3_finalize(select);
    return (rc == SQLITE_ROW || rc == SQLITE_DONE) && end == SQLITE_OK;
}

static bool sweep(struct store *store, const char *table)
{
    char sql[SQL_BYTES];
    sqlite3_int64 last = 0;
    bool any;
    must(store->open);
    if (!find_slice(store, table, &last, &any)) {
        return false;
    }
    if (any) {
        snprintf(sql, sizeof(sql), "DELETE FROM \"%.60s\" WHERE rowid <= %lld",
                 table, (long long)last);
    } else {
        snprintf(sql, sizeof(sql), "DROP TABLE \"%.60s\"", table);
    }
    return run_sql(store, sql);
}

enum err store_sweep(struct store *store)
{
    char table[NAME_BYTES];
    bool found = false;
    must(!store->open);
    if (!store->waste) {
        return ERR_NOT_FOUND;
    }
    sqlite3_reset(store->select);
    enum err err = store_begin(store);
    if (err) {
        return err;
    }
    bool ok = query(store,
                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND "
                    "name GLOB 'waste_[0-9]*' AND length(name) < 30 LIMIT 1",
                    table, &found) &&
              (!found || sweep(store, table));
    if (ok) {
        ok = store_run(store->commit);
        store->open = !ok;
    }
    if (!ok) {
        return store_failed(store, "deleting a replaced table");
    }
    store->waste = found;
    return found ? ERR_OK : ERR_NOT_FOUND;
}
