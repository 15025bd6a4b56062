/* open.c -- opens and closes a database: connection, schema, statements, and
 * the row of the applied index. */
#include <stdio.h>

#include "base/log.h"
#include "store/store_internal.h"

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    struct store *store = arg;
    store->wal_pages = pages;
    return SQLITE_OK;
}

enum err store_load_row(struct store *store)
{
    sqlite3_stmt *load = NULL;
#define X(column) ", " #column
    static const char plain[] = "SELECT conf" RAFT_ROW(X) " FROM raft";
    static const char timed[] =
        "SELECT conf" RAFT_ROW(X) RAFT_ROW_TIMED(X) " FROM raft";
#undef X
    int rc = sqlite3_prepare_v2(store->db, store->timed ? timed : plain, -1,
                                &load, NULL);
    if (rc != SQLITE_OK || sqlite3_step(load) != SQLITE_ROW) {
        enum err err = store_error(store->db, "reading the raft row");
        sqlite3_finalize(load);
        return err;
    }
    int place = 1;
#define X(column)                                                              \
    store->now.column = (uint64_t)sqlite3_column_int64(load, place++);
    RAFT_ROW(X)
    if (store->timed) {
        RAFT_ROW_TIMED(X)
    }
#undef X
    store->flushed = store->now;
    store->conf_dirty = false;
    store->conf.size = 0;
    buf_add(&store->conf, sqlite3_column_blob(load, 0),
            (size_t)sqlite3_column_bytes(load, 0));
    sqlite3_finalize(load);
    return ERR_OK;
}

/* A statement for a schema with deadlines, and the same for one without. */
#define TIMED_OR(timed_sql, plain_sql)                                         \
    (store->timed ? (timed_sql) : (plain_sql))
/* Columns of pairs up to its deadline, which no key has in the older schema. */
#define PAIR(value, rest)                                                      \
    TIMED_OR("SELECT " value                                                   \
             ", create_index, modify_index, version, deadline " rest,          \
             "SELECT " value ", create_index, modify_index, version, 0 " rest)

static enum err prepare(struct store *store)
{
    /* Parameters are numbered from left to right. The last one is the applied
     * index that the row must have, that of the last commit. */
#define X(column) ", " #column "=?"
    static const char save[] =
        "UPDATE raft SET conf=coalesce(?, conf)" RAFT_ROW(X) " WHERE applied=?";
    static const char save_timed[] =
        "UPDATE raft SET conf=coalesce(?, conf)" RAFT_ROW(X)
            RAFT_ROW_TIMED(X) " WHERE applied=?";
#undef X
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&store->begin, "BEGIN IMMEDIATE"},
        {&store->commit, "COMMIT"},
        /* Unlike REPLACE, an update leaves the index of the keys alone. */
        {&store->put,
         TIMED_OR("INSERT INTO pairs VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
                  "ON CONFLICT(key) DO UPDATE SET value=?2, create_index=?3, "
                  "modify_index=?4, version=?5, deadline=?6",
                  "INSERT INTO pairs VALUES(?1, ?2, ?3, ?4, ?5) "
                  "ON CONFLICT(key) DO UPDATE SET value=?2, create_index=?3, "
                  "modify_index=?4, version=?5")},
        {&store->delete, "DELETE FROM pairs WHERE key=?1"},
        {&store->select, PAIR("value", "FROM pairs WHERE key=?1")},
        {&store->save, TIMED_OR(save_timed, save)},
        /* length() of a blob does not read the blob. */
        {&store->look, PAIR("length(value)", "FROM pairs WHERE key=?1")},
        {&store->measure,
         PAIR("key, length(value)",
              "FROM pairs WHERE key>=?1 AND key<?2 ORDER BY key")},
        {&store->find_staged, "SELECT 1 FROM staging WHERE key=?1"},
        {&store->find_answer,
         TIMED_OR("SELECT digest, result, at, time FROM answers WHERE name=?1",
                  "SELECT digest, result, at, 0 FROM answers WHERE name=?1")},
        {&store->oldest_answer,
         TIMED_OR(
             "SELECT at, time FROM answers WHERE at>?1 ORDER BY at LIMIT 1",
             "SELECT at, 0 FROM answers WHERE at>?1 ORDER BY at LIMIT 1")},
        /* A name may be used again after its result was dropped. */
        {&store->add_answer,
         TIMED_OR("INSERT OR REPLACE INTO answers VALUES(?1, ?2, ?3, ?4, ?5)",
                  "INSERT OR REPLACE INTO answers VALUES(?1, ?2, ?3, ?4)")},
        {&store->drop_answer,
         "DELETE FROM answers WHERE at<=?1 AND "
         "at IN (SELECT at FROM answers ORDER BY at LIMIT 256)"},
        {&store->stage, "INSERT INTO staging(key, value, create_index, "
                        "modify_index) VALUES(?1, ?2, ?3, ?3)"},
        {&store->put_deadline,
         TIMED_OR("INSERT INTO deadlines(key, value, create_index, "
                  "modify_index) VALUES(?1, ?2, 0, 0) "
                  "ON CONFLICT(key) DO UPDATE SET value=?2",
                  NULL)},
        {&store->drop_deadline,
         TIMED_OR("DELETE FROM deadlines WHERE key=?1", NULL)},
        {&store->find_deadline,
         TIMED_OR("SELECT value FROM deadlines WHERE key=?1", NULL)},
        {&store->deadline_range,
         TIMED_OR("SELECT key, value FROM deadlines "
                  "WHERE key>=?1 AND key<?2 ORDER BY key",
                  NULL)},
    };
    for (size_t i = 0; i < ARRAY_COUNT(list); i++) {
        if (!list[i].sql) {
            continue;
        }
        if (sqlite3_prepare_v3(store->db, list[i].sql, -1,
                               SQLITE_PREPARE_PERSISTENT, list[i].statement,
                               NULL) != SQLITE_OK) {
            return store_error(store->db, list[i].sql);
        }
    }
    return store_ranges_prepare(store);
}

static void finalize(struct store *store)
{
    sqlite3_stmt **const statements[] = {
        &store->begin,         &store->commit,        &store->put,
        &store->delete,        &store->stage,         &store->add_answer,
        &store->drop_answer,   &store->select,        &store->save,
        &store->look,          &store->find_staged,   &store->find_answer,
        &store->oldest_answer, &store->measure,       &store->put_deadline,
        &store->drop_deadline, &store->find_deadline, &store->deadline_range};
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        sqlite3_finalize(*statements[i]);
        *statements[i] = NULL;
    }
    store_ranges_free(store);
}

enum err store_enable_time(struct store *store)
{
    must(!store->timed && !store->open && !store->range.open);
    must(store_pending(store) == 0 && !store->syncing);
    sqlite3_reset(store->select); /* A running statement locks the schema. */
    enum err err = store_migrate_to(store->db, STORE_SCHEMA_TIMED);
    if (err) {
        store_shim_discard(store); /* It was rolled back. */
        return err;
    }
    finalize(store);
    store->timed = true;
    if (prepare(store) != ERR_OK) {
        die("%s: no statements for the migrated database: %s", store->path,
            sqlite3_errmsg(store->db));
    }
    return ERR_OK;
}

/* With secure_delete=ON, the default of some distributions, SQLite overwrites
 * every page that it frees, so that to delete a large value takes as much space
 * in the -wal as to write it: a full disk has no room for that. FAST clears
 * what was deleted only in pages that are written anyway.
 *
 * This connection is the only user of the file. With locking_mode=EXCLUSIVE
 * the index of the -wal is in memory, and no other program can open the
 * database. On macOS a sync must go through the cache of the drive (fullfsync),
 * as those of sys/sync.c do, since the log is cut after a checkpoint; elsewhere
 * that is no difference. */
static enum err configure(struct store *store)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
             "PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;"
             "PRAGMA page_size=4096; PRAGMA locking_mode=EXCLUSIVE;"
             "PRAGMA journal_mode=%s; PRAGMA synchronous=NORMAL;"
             "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;"
             "PRAGMA journal_size_limit=%llu;"
             "PRAGMA secure_delete=FAST;"
             "PRAGMA trusted_schema=OFF; PRAGMA cache_size=-%llu",
             store->in_memory ? "MEMORY" : "WAL",
             (unsigned long long)store->options.wal_bytes_kept,
             (unsigned long long)store->options.cache_bytes / 1024);
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return store_error(store->db, "configuring");
    }
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_autocheckpoint(store->db, 0);
    sqlite3_wal_hook(store->db, on_wal, store);
    return ERR_OK;
}

/* Makes `image` the content of a database in memory. */
static enum err take_image(struct store *store, unsigned char *image,
                           uint64_t bytes)
{
    enum { READ_VERSION_AT = 18, WRITE_VERSION_AT = 19, ROLLBACK = 1 };
    if (bytes > WRITE_VERSION_AT) {
        /* A database in memory has no -wal. */
        image[READ_VERSION_AT] = ROLLBACK;
        image[WRITE_VERSION_AT] = ROLLBACK;
    }
    sqlite3_int64 limit = INT64_MAX;
    int rc = sqlite3_deserialize(
        store->db, "main", image, (sqlite3_int64)bytes, (sqlite3_int64)bytes,
        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
    if (rc != SQLITE_OK) {
        return store_error(store->db, "taking over a snapshot");
    }
    sqlite3_file_control(store->db, "main", SQLITE_FCNTL_SIZE_LIMIT, &limit);
    return ERR_OK;
}

static enum err open_database(struct store *store, bool foreign,
                              unsigned char *image, uint64_t image_bytes)
{
    static bool configured;
    if (!configured) {
        /* One thread: no mutexes, no bookkeeping of memory. */
        sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        configured = true;
    }
    int rc = sqlite3_open_v2(store->path, &store->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                 SQLITE_OPEN_NOMUTEX,
                             store->options.vfs);
    if (rc != SQLITE_OK) {
        sqlite3_free(image);
        enum err shortage = store_code_shortage(
            rc, store->db ? sqlite3_system_errno(store->db) : 0);
        log_error("store", "file=%s why=\"%s\"", store->path,
                  shortage    ? err_name(shortage)
                  : store->db ? sqlite3_errmsg(store->db)
                              : "no memory");
        return shortage ? shortage : ERR_IO;
    }
    enum err err = image ? take_image(store, image, image_bytes) : ERR_OK;
    if (!err && foreign) {
        err = store_schema_check_foreign(store->db);
    }
    if (!err) {
        err = configure(store);
    }
    if (!err) {
        err = store_view_drop(store->db);
    }
    if (!err) {
        err = store_migrate(store->db, &store->timed);
    }
    if (!err) {
        err = prepare(store);
    }
    if (!err) {
        err = store_load_row(store);
    }
    if (!err && !store->in_memory) {
        err = store_shim_install(store);
    }
    if (!err && !store->in_memory) {
        err = store_images_sweep(store->options.fs);
    }
    return err;
}

enum err store_open_generation(const struct store_options *options,
                               const struct generation *generation,
                               bool foreign, unsigned char *image,
                               uint64_t image_bytes, struct store **out)
{
    struct store *store = mem_zalloc(sizeof(*store));
    store->options = *options;
    if (store->options.reserve_bytes == 0) {
        store->options.reserve_bytes = STORE_RESERVE_BYTES;
    }
    if (store->options.checkpoint_pages == 0) {
        store->options.checkpoint_pages = STORE_CHECKPOINT_PAGES;
    }
    if (store->options.cache_bytes == 0) {
        store->options.cache_bytes = STORE_CACHE_BYTES;
    }
    if (store->options.row_cache_bytes == 0) {
        store->options.row_cache_bytes = STORE_ROW_CACHE_BYTES;
    }
    if (store->options.wal_bytes_kept == 0) {
        store->options.wal_bytes_kept = STORE_WAL_BYTES_KEPT;
    }
    store->db_file.handle = -1;
    store->wal_file.handle = -1;
    store->generation = *generation;
    store->row_cache = row_cache_new((size_t)store->options.row_cache_bytes);
    store->active = &store->tiers[0];
    store_tier_init(&store->tiers[0]);
    store_tier_init(&store->tiers[1]);
    store_generation_database(options->fs, generation->number, store->path,
                              sizeof(store->path));
    store->in_memory = strcmp(store->path, ":memory:") == 0;
    reserve_init(&store->reserve, options->fs, "db/reserve.tmp",
                 store->in_memory ? 0 : store->options.reserve_bytes);
    store->waste = true; /* The first sweep finds out. */
    enum err err = open_database(store, foreign, image, image_bytes);
    if (err) {
        store_close(store);
        return err;
    }
    store_checkpoint_run(store); /* An earlier process may have left a -wal. */
    must(!store->open && store->now.applied == store->flushed.applied);
    must(store->durable.applied <= store->flushed.applied);
    *out = store;
    return ERR_OK;
}

enum err store_open(const struct store_options *options, struct store **out)
{
    struct generation generation;
    enum err err = store_generation_current(options->fs, &generation);
    /* Remove a snapshot that was not put in place, and databases that one has
     * replaced. */
    if (!err) {
        err = store_generation_sweep(options->fs, generation.number);
    }
    if (!err) {
        err = store_generation_sync(options->fs, generation.number);
    }
    if (!err) {
        err = store_upload_sweep(options->fs);
    }
    return err ? err
               : store_open_generation(options, &generation, false, NULL, 0,
                                       out);
}

void store_close(struct store *store)
{
    if (!store) {
        return;
    }
    bool completed = store_checkpoint_sync_completed(store, true);
    must(completed);
    if (store_flush(store) != ERR_OK) {
        log_warn("store", "why=\"the last entries are not committed; the log "
                          "has them\"");
    }
    store_discard(store);
}

void store_discard(struct store *store)
{
    must(!store_is_held(store));
    bool completed = store_checkpoint_sync_completed(store, true);
    must(completed); /* It used a handle. */
    finalize(store);
    sqlite3_close(store->db);
    store_shim_free(store);
    reserve_close(&store->reserve);
    store_tier_free(&store->tiers[0]);
    store_tier_free(&store->tiers[1]);
    row_cache_free(store->row_cache);
    mem_free(store->undo);
    buf_free(&store->conf);
    buf_free(&store->result);
    buf_free(&store->keys);
    buf_free(&store->due);
    buf_free(&store->lease_keys);
    mem_free(store);
}
