/* store.c -- apply, commit, read; and what happens after an error of SQLite.
 * store.h has the rules. */
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
 * Either way the state is that of the last commit. */
enum err store_failed(struct store *store, const char *what)
{
    enum err err = store_error(store->db, what);
    if (!err_is_shortage(err)) {
        die("%s: the database failed while %s: %s", store->path, what,
            sqlite3_errmsg(store->db));
    }
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    store_shim_discard(store);
    store->open = false;
    if (!sqlite3_get_autocommit(store->db) || store_load_row(store) != ERR_OK) {
        die("%s: cannot roll back to the last commit after a shortage: %s",
            store->path, sqlite3_errmsg(store->db));
    }
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
    must(!store->syncing && !store->range);
    if (store->open) {
        return ERR_OK;
    }
    must(sqlite3_get_autocommit(store->db));
    if (!store_run(store->begin)) {
        return store_failed(store, "beginning a transaction");
    }
    store->open = true;
    return ERR_OK;
}

static enum err begin(struct store *store, uint64_t index)
{
    must(index == store->now.applied + 1);
    return store_begin(store);
}

void store_bind(sqlite3_stmt *statement, int place, struct bytes bytes)
{
    /* With a NULL pointer SQLite would bind NULL instead of an empty BLOB. */
    sqlite3_bind_blob64(statement, place,
                        bytes.data ? (const void *)bytes.data : "", bytes.size,
                        SQLITE_STATIC);
}

static bool write_pair(struct store *store, sqlite3_stmt *statement,
                       uint64_t index, const struct command_op *op)
{
    store_bind(statement, 1, op->key);
    store_bind(statement, 2, op->value);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)index);
    if (statement == store->update) {
        sqlite3_bind_int(statement, 4, store_counts(store));
    }
    return store_run(statement) && sqlite3_changes(store->db) <= 1;
}

bool store_look(struct store *store, struct bytes key, struct store_looked *row)
{
    sqlite3_stmt *look = store->look;
    *row = (struct store_looked){0};
    store_bind(look, 1, key);
    int rc = sqlite3_step(look);
    if (rc == SQLITE_ROW) {
        *row = (struct store_looked){
            .found = true,
            .value_bytes = (uint64_t)sqlite3_column_int64(look, 0),
            .create_index = (uint64_t)sqlite3_column_int64(look, 1),
            .modify_index = (uint64_t)sqlite3_column_int64(look, 2),
        };
    }
    /* The error, if any, stays in the connection. */
    int reset = sqlite3_reset(look);
    return (rc == SQLITE_ROW || rc == SQLITE_DONE) && reset == SQLITE_OK;
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
               bool *created)
{
    struct store_looked old;
    if (!store_look(store, op->key, &old)) {
        return false;
    }
    *created = !old.found;
    if (!write_pair(store, old.found ? store->update : store->insert, index,
                    op)) {
        return false;
    }
    must(sqlite3_changes(store->db) == 1);
    store->now.keys += !old.found;
    store_report(store,
                 &(struct store_change){
                     .key = op->key,
                     .value = op->value,
                     .create_index = old.found ? old.create_index : index,
                     .prev_index = old.modify_index,
                 });
    return true;
}

bool store_delete(struct store *store, const struct command_op *op,
                  uint64_t *deleted)
{
    struct store_looked old;
    *deleted = 0;
    if (!store_look(store, op->key, &old)) {
        return false;
    }
    if (!old.found) {
        return true;
    }
    store_bind(store->delete, 1, op->key);
    if (!store_run(store->delete)) {
        return false;
    }
    must(sqlite3_changes(store->db) == 1);
    store->now.keys--;
    *deleted = 1;
    store_report(store, &(struct store_change){.deleted = true,
                                               .key = op->key,
                                               .create_index = old.create_index,
                                               .prev_index = old.modify_index});
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
    must(store->open);
    must(index == store->now.applied + 1 && term >= store->now.term);
    store->now.applied = index;
    store->now.term = term;
}

/* The operations of a version 1 command. */
static bool apply_plain(struct store *store, uint64_t index,
                        struct command_reader *reader, uint64_t *deleted)
{
    struct command_op op;
    while (command_next(reader, &op) == ERR_OK) {
        bool created;
        uint64_t found = 0;
        bool ok = op.type == COMMAND_PUT
                      ? store_put(store, index, &op, &created)
                      : store_delete(store, &op, &found);
        if (!ok) {
            return false;
        }
        *deleted += found;
        roll(store, index, &op);
    }
    return true;
}

enum err store_apply(struct store *store, uint64_t index, uint64_t term,
                     struct bytes command, struct store_result *result)
{
    struct command_reader reader;
    *result = (struct store_result){0};
    store->result.size = 0;
    /* Check the whole command before any of it is applied. */
    enum err err = command_check(command);
    if (!err) {
        err = begin(store, index);
    }
    bool is_restore = command_is_restore(command);
    if (!err && !is_restore) {
        err = command_open(&reader, command);
    }
    if (err) {
        return err;
    }
    bool ok = is_restore ? store_restore_apply(store, index, command)
              : reader.version == COMMAND_VERSION
                  ? apply_plain(store, index, &reader, &result->deleted)
                  : store_txn_apply(store, index, command, &reader);
    if (!ok) {
        return store_failed(store, "applying an entry");
    }
    result->data = buf_bytes(&store->result);
    applied(store, index, term);
    return ERR_OK;
}

enum err store_apply_noop(struct store *store, uint64_t index, uint64_t term)
{
    enum err err = begin(store, index);
    if (!err) {
        applied(store, index, term);
    }
    return err;
}

enum err store_apply_conf(struct store *store, uint64_t index, uint64_t term,
                          struct bytes conf)
{
    enum err err = begin(store, index);
    if (!err) {
        store->conf.size = 0;
        buf_add_bytes(&store->conf, conf);
        store->conf_dirty = true;
        store->now.conf_index = index;
        applied(store, index, term);
    }
    return err;
}

/* ---- commit ---- */

/* Writes the row of table raft, once per transaction and not per entry: a crash
 * undoes the whole transaction, so that row and pairs always agree. */
static bool save_row(struct store *store)
{
    int place = 1;
    if (store->conf_dirty) {
        store_bind(store->save, place++, buf_bytes(&store->conf));
    } else {
        sqlite3_bind_null(store->save, place++);
    }
#define X(column)                                                              \
    sqlite3_bind_int64(store->save, place++, (sqlite3_int64)store->now.column);
    RAFT_ROW(X)
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

enum err store_flush(struct store *store)
{
    if (!store->open) {
        return ERR_OK;
    }
    must(!store->range); /* A reader would keep the -wal from restarting. */
    must(store->now.applied >= store->flushed.applied);
    sqlite3_reset(store->select);
    if (!save_row(store) || !store_run(store->commit)) {
        return store_failed(store, "committing");
    }
    must(sqlite3_get_autocommit(store->db));
    store->open = false;
    store->conf_dirty = false;
    store->flushed = store->now;
    must(store->durable.applied <= store->flushed.applied);
    store->commits++;
    return ERR_OK;
}

/* ---- reading ---- */

bool store_read(struct store *store, struct bytes key, struct store_row *row,
                bool *found)
{
    sqlite3_reset(store->select);
    store_bind(store->select, 1, key);
    int rc = sqlite3_step(store->select);
    *found = rc == SQLITE_ROW;
    if (!*found) {
        sqlite3_reset(store->select);
        return rc == SQLITE_DONE;
    }
    *row = (struct store_row){
        .value = bytes_of(sqlite3_column_blob(store->select, 0),
                          (size_t)sqlite3_column_bytes(store->select, 0)),
        .create_index = (uint64_t)sqlite3_column_int64(store->select, 1),
        .modify_index = (uint64_t)sqlite3_column_int64(store->select, 2),
        .version = (uint64_t)sqlite3_column_int64(store->select, 3),
    };
    return true;
}

enum err store_get(struct store *store, struct bytes key, struct store_row *row)
{
    bool found;
    if (!store_read(store, key, row, &found)) {
        return store_failed(store, "reading");
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

/* Hashes the rows of a query: `blobs` columns of bytes, then numbers. */
static uint64_t hash_rows(struct store *store, const char *sql, int blobs,
                          uint64_t hash)
{
    sqlite3_stmt *all = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &all, NULL);
    must(rc == SQLITE_OK);
    while (sqlite3_step(all) == SQLITE_ROW) {
        uint32_t crc = 0;
        for (int i = 0; i < blobs; i++) {
            const void *blob = sqlite3_column_blob(all, i);
            crc = crc32c(crc + 1, blob, (size_t)sqlite3_column_bytes(all, i));
        }
        hash = mix_u64(hash ^ crc);
        for (int i = blobs; i < sqlite3_column_count(all); i++) {
            hash = mix_u64(hash ^ (uint64_t)sqlite3_column_int64(all, i));
        }
    }
    sqlite3_finalize(all);
    return hash;
}

uint64_t store_content_hash(struct store *store)
{
    uint64_t hash =
        hash_rows(store,
                  "SELECT key, value, create_index, modify_index, version "
                  "FROM pairs ORDER BY key",
                  2, 0);
    hash = hash_rows(store,
                     "SELECT key, value, create_index, modify_index, version "
                     "FROM staging ORDER BY key",
                     2, hash);
    return hash_rows(store,
                     "SELECT name, result, at, digest FROM answers "
                     "ORDER BY at",
                     2, hash);
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
    };
}

const char *store_version(void)
{
    return sqlite3_libversion();
}
