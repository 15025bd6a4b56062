/* store.c -- applies entries, and reads; and what happens after an error of
 * SQLite. store.h has the rules. */
#include "store/store.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/rng.h"
#include "command/command.h"
#include "store/store_internal.h"

/* ---- errors ---- */

/* SQLite's VFS has a code of its own for ENOSPC alone. For other codes the
 * errno decides, except after a sync, since the data is in doubt then. */
enum err store_code_shortage(int code, int error)
{
    switch (code) {
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return ERR_OK;
    case SQLITE_IOERR_NOMEM:
        return ERR_RESOURCES;
    default:
        break;
    }
    switch (code & 0xff) {
    case SQLITE_FULL:
        return ERR_NOSPACE;
    case SQLITE_NOMEM:
        return ERR_RESOURCES;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return fs_shortage_of(error);
    default:
        return ERR_OK;
    }
}

enum err store_error_shortage(sqlite3 *db)
{
    return store_code_shortage(sqlite3_extended_errcode(db),
                               sqlite3_system_errno(db));
}

enum err store_error(sqlite3 *db, const char *what)
{
    int code = sqlite3_errcode(db) & 0xff;
    enum err shortage = store_error_shortage(db);
    if (shortage) {
        log_debug("store", "doing=\"%s\" why=\"%s\"", what, err_name(shortage));
        return shortage;
    }
    log_error("store", "doing=\"%s\" code=%d why=\"%s\"", what,
              sqlite3_extended_errcode(db), sqlite3_errmsg(db));
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_CORRUPT
                                                           : ERR_IO;
}

/* SQLite may have rolled back by itself, which sqlite3_get_autocommit() shows.
 * Either way the database is that of the last commit; the tiers are as they
 * were. */
void store_abandon(struct store *store)
{
    sqlite3_reset(store->select);
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    store_shim_discard(store);
    store->open = false;
    if (!sqlite3_get_autocommit(store->db)) {
        die("%s: cannot roll back to the last commit after a shortage: %s",
            store->path, sqlite3_errmsg(store->db));
    }
}

enum err store_failed(struct store *store, const char *what)
{
    enum err err = store_error(store->db, what);
    if (!err_is_shortage(err)) {
        die("%s: the database failed while %s: %s", store->path, what,
            sqlite3_errmsg(store->db));
    }
    store_abandon(store);
    return err;
}

bool store_run(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    /* The error, if any, stays in the connection. */
    int reset = sqlite3_reset(statement);
    return rc == SQLITE_DONE && reset == SQLITE_OK;
}

/* ---- apply ---- */

enum err store_begin(struct store *store)
{
    /* A write to the -wal would undo a checkpoint's step, and is not part of
     * its sync; and a range shows one state. */
    must(!store->syncing && !store->range.open && !store->open);
    must(sqlite3_get_autocommit(store->db));
    if (!store_run(store->begin)) {
        return store_failed(store, "beginning a transaction");
    }
    store->open = true;
    return ERR_OK;
}

void store_bind(sqlite3_stmt *statement, int place, struct bytes bytes)
{
    /* With a NULL pointer SQLite would bind NULL instead of an empty BLOB. */
    sqlite3_bind_blob64(statement, place,
                        bytes.data ? (const void *)bytes.data : "", bytes.size,
                        SQLITE_STATIC);
}

void store_observe(struct store *store, const struct store_observer *observer)
{
    store->observer = observer;
}

void store_report(struct store *store, const struct store_change *change)
{
    if (store->observer) {
        store->observer->changed(store->observer->arg, change);
    }
}

bool store_put(struct store *store, uint64_t index, const struct command_op *op,
               uint64_t deadline, bool *created, enum result_status *status)
{
    struct store_looked old;
    enum result_status before = *status;
    if (!store_look(store, op->key, &old)) {
        return false;
    }
    deadline = deadline == STORE_KEEP_DEADLINE ? old.deadline : deadline;
    if (!store_deadline_move(store, op->key, old.deadline, deadline, status)) {
        return false;
    }
    if (*status != before) {
        return true;
    }
    struct table_row row = {
        .kind = TABLE_ROW,
        .value = op->value.data,
        .value_bytes = (uint32_t)op->value.size,
        .create_index = old.found ? old.create_index : index,
        .modify_index = index,
        .version = old.found ? old.version + store_counts(store) : 1,
    };
    store_tier_set_pair(store, op->key, &row, deadline);
    store->now.keys += !old.found;
    *created = !old.found;
    store_report(store, &(struct store_change){
                            .key = op->key,
                            .value = op->value,
                            .create_index = row.create_index,
                            .prev_index = old.modify_index,
                        });
    return true;
}

bool store_delete(struct store *store, struct bytes key, bool expired,
                  uint64_t *deleted)
{
    struct store_looked old;
    enum result_status status = RESULT_THEN;
    if (!store_look(store, key, &old) ||
        !store_deadline_move(store, key, old.deadline, 0, &status)) {
        return false;
    }
    must(status == RESULT_THEN); /* A key can always leave a lease. */
    if (old.found) {
        struct table_row row = {.kind = TABLE_TOMBSTONE};
        store_tier_set(store, TIER_PAIRS, key, &row);
        must(store->now.keys > 0);
        store->now.keys--;
        store_report(store,
                     &(struct store_change){.deleted = true,
                                            .expired = expired,
                                            .key = key,
                                            .create_index = old.create_index,
                                            .prev_index = old.modify_index});
    }
    *deleted = old.found;
    return true;
}

/* Adds an operation to the rolling hash, which is equal on all nodes at the
 * same index. */
static void roll(struct store *store, uint64_t index,
                 const struct command_op *op)
{
    uint32_t key = crc32c((uint32_t)op->type, op->key.data, op->key.size);
    uint32_t value = crc32c(key, op->value.data, op->value.size);
    store->now.hash =
        mix_u64(store->now.hash ^ mix_u64((uint64_t)key << 32 | value) ^ index);
}

static void applied(struct store *store, uint64_t index, uint64_t term)
{
    must(index == store->now.applied + 1 && term >= store->now.term);
    store->now.applied = index;
    store->now.term = term;
}

/* The operations of a version 1 command. */
static bool apply_plain(struct store *store, uint64_t index,
                        struct command_reader *reader, uint64_t *deleted)
{
    struct command_op op;
    enum result_status status = RESULT_THEN;
    while (command_next(reader, &op) == ERR_OK) {
        bool created;
        uint64_t found = 0;
        bool ok = op.type == COMMAND_PUT
                      ? store_put(store, index, &op, 0, &created, &status)
                      : store_delete(store, op.key, false, &found);
        must(status == RESULT_THEN);
        if (!ok) {
            return false;
        }
        *deleted += found;
        roll(store, index, &op);
    }
    return true;
}

static bool apply(struct store *store, uint64_t index, struct bytes command,
                  uint64_t *deleted)
{
    struct command_reader reader;
    if (command_is_restore(command)) {
        return store_restore_apply(store, index, command);
    }
    enum err err = command_open(&reader, command);
    must(err == ERR_OK); /* store_apply() has checked it. */
    return reader.version == COMMAND_VERSION
               ? apply_plain(store, index, &reader, deleted)
               : store_txn_apply(store, index, command, &reader);
}

bool store_changes_schema(const struct store *store, struct bytes command)
{
    return command_is_restore(command)
               ? store_restore_changes_schema(store, command)
               : !store->timed && command_is_stamped(command);
}

enum err store_apply(struct store *store, uint64_t index, uint64_t term,
                     struct bytes command, struct store_result *result)
{
    *result = (struct store_result){0};
    store->result.size = 0;
    must(index == store->now.applied + 1 && !store->range.open);
    must(store->undo_count == 0);
    /* Check the whole command before any of it is applied. */
    enum err err = command_check(command);
    if (!err && command_needs_stamp(command)) {
        err = ERR_CORRUPT;
    }
    if (!err && store_changes_schema(store, command)) {
        err = store_flush(store);
        if (!err && command_is_stamped(command)) {
            err = store_enable_time(store);
        }
    }
    if (err) {
        return err;
    }
    struct row before = store->now;
    uint64_t dropped = store->dropped;
    store->next_floor_ms = store->floor_ms;
    bool ok = apply(store, index, command, &result->deleted);
    if (ok) {
        applied(store, index, term);
        /* A step of a restore has changed the schema. */
        ok = !store->open || store->frozen || store_commit_now(store);
    }
    if (!ok) {
        store_undo(store, 0);
        store->now = before;
        store->dropped = dropped;
        return store_failed(store, "applying an entry");
    }
    store_undo_forget(store);
    store->floor_ms = store->next_floor_ms;
    if (store->now.restored_at == index && store->observer) {
        store->observer->replaced(store->observer->arg);
    }
    result->data = buf_bytes(&store->result);
    return ERR_OK;
}

void store_apply_noop(struct store *store, uint64_t index, uint64_t term)
{
    applied(store, index, term);
}

void store_apply_conf(struct store *store, uint64_t index, uint64_t term,
                      struct bytes conf)
{
    store->conf.size = 0;
    buf_add_bytes(&store->conf, conf);
    store->conf_dirty = true;
    store->now.conf_index = index;
    applied(store, index, term);
}

/* ---- reading ---- */

enum err store_get(struct store *store, struct bytes key, struct store_row *row)
{
    bool found;
    if (!store_read(store, key, row, &found)) {
        return store_failed(store, "reading");
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return mix_u64(hash ^ number);
}

static uint64_t hash_blobs(uint64_t hash, struct bytes a, struct bytes b)
{
    uint32_t crc = crc32c(1, a.data, a.size);
    return mix_u64(hash ^ crc32c(crc + 1, b.data, b.size));
}

struct bytes store_column(sqlite3_stmt *statement, int i)
{
    return bytes_of(sqlite3_column_blob(statement, i),
                    (size_t)sqlite3_column_bytes(statement, i));
}

static uint64_t number(sqlite3_stmt *statement, int i)
{
    return (uint64_t)sqlite3_column_int64(statement, i);
}

static sqlite3_stmt *prepare(struct store *store, const char *sql)
{
    sqlite3_stmt *all = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &all, NULL);
    must(rc == SQLITE_OK);
    return all;
}

static uint64_t hash_rows(struct store *store, const char *sql,
                          enum tier_table which, uint64_t hash)
{
    struct bytes key;
    const struct table_row *row;
    sqlite3_stmt *all = prepare(store, sql);
    struct merge merge = {.to = store_range_end((struct bytes){0})};
    store_merge_open(store, &merge, all, which);
    while (store_merge_next(&merge, &key, &row) == ERR_OK) {
        hash = hash_blobs(hash, key,
                          row ? table_value(row) : store_column(all, 1));
        hash = hash_number(hash, row ? row->create_index : number(all, 2));
        hash = hash_number(hash, row ? row->modify_index : number(all, 3));
        hash = hash_number(hash, row ? row->version : number(all, 4));
        hash = hash_number(hash, row ? table_deadline(row) : number(all, 5));
    }
    store_merge_close(&merge);
    sqlite3_finalize(all);
    return hash;
}

static uint64_t hash_answer(uint64_t hash, uint64_t at, struct bytes name,
                            struct bytes result, uint64_t digest,
                            uint64_t time_ms)
{
    hash = hash_number(hash_blobs(hash, name, result), at);
    return hash_number(hash_number(hash, digest), time_ms);
}

/* The results of one tier, in the order of their age. */
static uint64_t hash_ages(const struct store *store, const struct tier *tier,
                          uint64_t hash)
{
    struct table_walk walk =
        table_seek(&tier->tables[TIER_AGES], (struct bytes){0}, false);
    for (; table_here(&walk); table_step(&walk, false)) {
        const struct table_row *age = &table_here(&walk)->row;
        if (age->kind == TABLE_ROW && age->modify_index > store->dropped) {
            const struct table_entry *answer =
                table_find(&tier->tables[TIER_ANSWERS], table_value(age));
            hash = hash_answer(hash, age->modify_index, table_key(answer),
                               table_value(&answer->row), answer->row.version,
                               answer->row.create_index);
        }
    }
    return hash;
}

static uint64_t hash_answers(struct store *store, uint64_t hash)
{
    sqlite3_stmt *all =
        prepare(store, store->timed ? "SELECT name, result, at, digest, time "
                                      "FROM answers ORDER BY at"
                                    : "SELECT name, result, at, digest, 0 "
                                      "FROM answers ORDER BY at");
    while (sqlite3_step(all) == SQLITE_ROW) {
        uint64_t at = number(all, 2);
        if (at > store->dropped && at <= store->flushed.applied) {
            hash = hash_answer(hash, at, store_column(all, 0),
                               store_column(all, 1), number(all, 3),
                               number(all, 4));
        }
    }
    sqlite3_finalize(all);
    if (store->frozen) {
        hash = hash_ages(store, store->frozen, hash);
    }
    return hash_ages(store, store->active, hash);
}

uint64_t store_content_hash(struct store *store)
{
#define ALL_OF(deadline, table)                                                \
    "SELECT key, value, create_index, modify_index, version, " deadline        \
    " FROM " table " WHERE key >= ?1 AND key < ?2 ORDER BY key"
    bool timed = store->timed;
    uint64_t hash = hash_rows(
        store, timed ? ALL_OF("deadline", "pairs") : ALL_OF("0", "pairs"),
        TIER_PAIRS, 0);
    hash = hash_rows(
        store, timed ? ALL_OF("deadline", "staging") : ALL_OF("0", "staging"),
        TIER_STAGING, hash);
    if (timed) {
        hash = hash_rows(store, ALL_OF("deadline", "deadlines"), TIER_DEADLINES,
                         hash);
        hash = hash_number(hash, store->now.time);
    }
#undef ALL_OF
    return hash_answers(store, hash);
}

bool store_counts(const struct store *store)
{
    return store->now.counts_from > 0;
}

uint64_t store_answers(const struct store *store)
{
    return store->now.answers;
}

uint64_t store_applied(const struct store *store)
{
    return store->now.applied;
}

uint64_t store_time_ms(const struct store *store)
{
    return store->now.time;
}

uint64_t store_applied_term(const struct store *store)
{
    return store->now.term;
}

uint64_t store_hash(const struct store *store)
{
    return store->now.hash;
}

uint64_t store_flushed(const struct store *store)
{
    return store->flushed.applied;
}

uint64_t store_durable(const struct store *store)
{
    return store->in_memory ? store->flushed.applied : store->durable.applied;
}

uint64_t store_checkpoint_bytes(const struct store *store)
{
    return store->in_memory ? 0 : store_wal_bytes(store);
}

uint64_t store_wal_bytes(const struct store *store)
{
    return (uint64_t)store->wal_pages * 4096;
}

uint64_t store_pending(const struct store *store)
{
    return store->now.applied - store->flushed.applied;
}

struct bytes store_conf(const struct store *store, uint64_t *index)
{
    *index = store->now.conf_index;
    return buf_bytes(&store->conf);
}

uint64_t store_key_count(struct store *store)
{
    return store->now.keys;
}

static uint64_t pragma(struct store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    uint64_t value = 0;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        value = (uint64_t)sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return value;
}

void store_get_stats(struct store *store, struct store_stats *stats)
{
    uint64_t pages = pragma(store, "PRAGMA page_count");
    uint64_t unused = pragma(store, "PRAGMA freelist_count");
    *stats = (struct store_stats){
        .db_bytes = (pages + (uint64_t)store->wal_pages) * 4096,
        .used_bytes = (pages - unused) * 4096,
        .unused_bytes = unused * 4096,
        .commits = store->commits,
        .checkpoints = store->checkpoints,
        .written_bytes = store->written_bytes,
        .buffered_bytes =
            store->tiers[0].arena.bytes + store->tiers[1].arena.bytes,
    };
}

const char *store_version(void)
{
    return sqlite3_libversion();
}
