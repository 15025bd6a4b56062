/* upload.c -- a database of somebody's, to be restored. See store.h.
 *
 * Whatever is in it may be wrong, or meant to be: it is opened read-only in a
 * connection of its own that trusts nothing, and read row by row, a few in a
 * turn of the caller's. All of it is read twice. In the table's own order every
 * row is looked at, and a sum of them all is kept; by key, which goes through
 * the index, all must come again, each key greater than the one before. So an
 * index that has lost rows is found out.
 *
 * Limit: SQLite keeps no checksums; a bit that was changed within a value is
 * the value. */
#include "base/crc32c.h"
#include "base/log.h"
#include "base/rng.h"
#include "store/store_internal.h"

static const char upload_path[] = "db/upload.tmp";

enum { HEADER_BYTES = 100, FORMATS_AT = 18, LENGTH_MAX = 1 << 30 };

struct store_upload {
    const struct fs *fs;
    const char *vfs;
    int handle; /* While it is added to; else -1. */
    uint64_t bytes;
    sqlite3 *db;
    sqlite3_stmt *rows;
    bool by_key;
    struct buf last; /* By key: the one before. */
    uint64_t count;
    uint64_t sum;       /* Of the hashes of the rows, in any order. */
    uint64_t all_count; /* ... when all had been seen. */
    uint64_t all_sum;
};

enum err upload_sweep(const struct fs *fs)
{
    enum err err = fs->unlink(fs->self, upload_path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err store_upload_new(const struct store *store, struct store_upload **out)
{
    const struct fs *fs = store->options.fs;
    int handle = -1;
    enum err err = upload_sweep(fs);
    if (!err) {
        err = fs->open(fs->self, upload_path, FS_CREATE_NEW, &handle);
    }
    if (err) {
        return err;
    }
    struct store_upload *upload = mem_zalloc(sizeof(*upload));
    upload->fs = fs;
    upload->vfs = store->options.vfs;
    upload->handle = handle;
    *out = upload;
    return ERR_OK;
}

static void close_file(struct store_upload *upload)
{
    if (upload->handle >= 0) {
        upload->fs->close(upload->fs->self, upload->handle);
        upload->handle = -1;
    }
}

void store_upload_free(struct store_upload *upload)
{
    if (!upload) {
        return;
    }
    close_file(upload);
    sqlite3_finalize(upload->rows);
    sqlite3_close(upload->db);
    if (upload_sweep(upload->fs) != ERR_OK) {
        log_warn("store", "file=%s why=\"cannot be removed\"", upload_path);
    }
    buf_free(&upload->last);
    mem_free(upload);
}

enum err store_upload_add(struct store_upload *upload, struct bytes data)
{
    const struct fs *fs = upload->fs;
    enum err err = fs->write(fs->self, upload->handle, upload->bytes, data.data,
                             data.size);
    if (!err) {
        upload->bytes += data.size;
    }
    return err;
}

/* ---- is it one of ours? ---------------------------------------------------
 */

/* A database that was in WAL mode wants to have its -wal beside it; the copy
 * has none, and says now that it needs none. */
static enum err settle_header(struct store_upload *upload)
{
    static const uint8_t rollback[2] = {1, 1};
    const struct fs *fs = upload->fs;
    uint8_t header[HEADER_BYTES];
    size_t got = 0;
    enum err err =
        fs->read(fs->self, upload->handle, 0, header, sizeof(header), &got);
    if (err) {
        return err;
    }
    if (got < sizeof(header) || memcmp(header, "SQLite format 3", 16) != 0) {
        return ERR_CORRUPT;
    }
    return fs->write(fs->self, upload->handle, FORMATS_AT, rollback,
                     sizeof(rollback));
}

/* SQLite cannot open files that are in memory only: it takes a copy. */
static enum err open_in_memory(struct store_upload *upload)
{
    const struct fs *fs = upload->fs;
    size_t got = 0;
    unsigned char *image = sqlite3_malloc64(upload->bytes);
    if (!image) {
        return ERR_NOSPACE;
    }
    enum err err =
        fs->read(fs->self, upload->handle, 0, image, upload->bytes, &got);
    if (!err && got != upload->bytes) {
        err = ERR_IO;
    }
    if (err || sqlite3_open(":memory:", &upload->db) != SQLITE_OK) {
        sqlite3_free(image);
        return err ? err : ERR_IO;
    }
    int rc = sqlite3_deserialize(
        upload->db, "main", image, (sqlite3_int64)got, (sqlite3_int64)got,
        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
    return rc == SQLITE_OK ? ERR_OK : ERR_IO;
}

static enum err open_database(struct store_upload *upload)
{
    char path[2 * FS_PATH_BYTES];
    const struct fs *fs = upload->fs;
    if (!fs->real_path(fs->self, upload_path, path, sizeof(path))) {
        return open_in_memory(upload);
    }
    int rc = sqlite3_open_v2(path, &upload->db,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                             upload->vfs);
    if (rc == SQLITE_OK) {
        return ERR_OK;
    }
    enum err shortage = rc == SQLITE_NOMEM || !upload->db
                            ? ERR_RESOURCES
                            : fs_shortage_of(sqlite3_system_errno(upload->db));
    return shortage ? shortage : ERR_IO;
}

static void trust_nothing(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
    sqlite3_exec(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0", NULL,
                 NULL, NULL);
}

static enum err error_of(struct store_upload *upload)
{
    switch (sqlite3_errcode(upload->db) & 0xff) {
    case SQLITE_NOMEM:
        return ERR_RESOURCES;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
        /* A file that ends early is damaged rather than unreadable. */
        return sqlite3_extended_errcode(upload->db) == SQLITE_IOERR_SHORT_READ
                   ? ERR_CORRUPT
                   : ERR_IO;
    default:
        return ERR_CORRUPT;
    }
}

/* The first row's number. ERR_NOT_FOUND: no row. */
static enum err number(struct store_upload *upload, const char *sql,
                       sqlite3_int64 *value)
{
    sqlite3_stmt *select = NULL;
    enum err err = ERR_OK;
    if (sqlite3_prepare_v2(upload->db, sql, -1, &select, NULL) != SQLITE_OK) {
        return error_of(upload);
    }
    int rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int64(select, 0);
    } else {
        err = rc == SQLITE_DONE ? ERR_NOT_FOUND : error_of(upload);
    }
    sqlite3_finalize(select);
    return err;
}

/* A plain table with the columns that it has here, and nothing that would be
 * computed: what looks like a row of it is one. */
static enum err check_schema(struct store_upload *upload, const char **why)
{
    sqlite3_int64 value = 0;
    *why = "it has no tables of craftd's: it is no backup";
    enum err err = number(upload,
                          "SELECT count(*) FROM sqlite_schema WHERE "
                          "type = 'table' AND rootpage > 0 AND "
                          "name IN ('pairs', 'raft', 'migrations')",
                          &value);
    if (!err && value != 3) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        err = number(upload, "SELECT max(version) FROM migrations", &value);
    }
    if (!err && value > store_schema()) {
        *why = "it was written by a newer craftd";
        return ERR_VERSION;
    }
    if (!err) {
        err = number(upload,
                     "SELECT count(*) FROM pragma_table_xinfo('pairs') WHERE "
                     "hidden = 0 AND ((cid = 0 AND name = 'key') OR "
                     "(cid = 1 AND name = 'value') OR (cid > 1 AND name IN "
                     "('create_index', 'modify_index', 'version')))",
                     &value);
    }
    if (!err && value < 4) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        err = number(upload, "SELECT applied FROM raft", &value);
    }
    if (!err && value <= 0) {
        *why = "it holds nothing yet: it is no backup";
        err = ERR_CORRUPT;
    }
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

enum err store_upload_open(struct store_upload *upload, const char **why)
{
    *why = "it is no SQLite database";
    enum err err = settle_header(upload);
    if (!err) {
        err = open_database(upload);
    }
    close_file(upload);
    if (err) {
        return err;
    }
    trust_nothing(upload->db);
    return check_schema(upload, why);
}

/* ---- its rows -------------------------------------------------------------
 */

enum err store_upload_begin(struct store_upload *upload, bool by_key)
{
    /* Without its own index SQLite would sort all of it first. */
    const char *sql =
        by_key ? "SELECT key, value FROM pairs INDEXED BY "
                 "sqlite_autoindex_pairs_1 ORDER BY key"
               : "SELECT key, value FROM pairs NOT INDEXED ORDER BY rowid";
    sqlite3_finalize(upload->rows);
    upload->rows = NULL;
    upload->by_key = by_key;
    upload->last.size = 0;
    upload->count = 0;
    upload->sum = 0;
    int rc = sqlite3_prepare_v2(upload->db, sql, -1, &upload->rows, NULL);
    return rc == SQLITE_OK ? ERR_OK : error_of(upload);
}

static enum err end(struct store_upload *upload)
{
    if (!upload->by_key) {
        upload->all_count = upload->count;
        upload->all_sum = upload->sum;
        return ERR_NOT_FOUND;
    }
    return upload->count == upload->all_count && upload->sum == upload->all_sum
               ? ERR_NOT_FOUND
               : ERR_CORRUPT;
}

static bool comes_after(const struct buf *last, struct bytes key)
{
    size_t common = last->size < key.size ? last->size : key.size;
    int order = common > 0 ? memcmp(last->data, key.data, common) : 0;
    return order < 0 || (order == 0 && last->size < key.size);
}

enum err store_upload_next(struct store_upload *upload, struct bytes *key,
                           struct bytes *value)
{
    sqlite3_stmt *rows = upload->rows;
    int rc = rows ? sqlite3_step(rows) : SQLITE_DONE;
    if (rc == SQLITE_DONE) {
        sqlite3_finalize(rows); /* Another step would begin anew. */
        upload->rows = NULL;
        return end(upload);
    }
    if (rc != SQLITE_ROW) {
        return error_of(upload);
    }
    if (sqlite3_column_type(rows, 0) != SQLITE_BLOB ||
        sqlite3_column_type(rows, 1) != SQLITE_BLOB) {
        return ERR_CORRUPT;
    }
    *key = bytes_of(sqlite3_column_blob(rows, 0),
                    (size_t)sqlite3_column_bytes(rows, 0));
    *value = bytes_of(sqlite3_column_blob(rows, 1),
                      (size_t)sqlite3_column_bytes(rows, 1));
    if (key->size < 1 || key->size > COMMAND_KEY_BYTES_MAX ||
        value->size > COMMAND_VALUE_BYTES_MAX ||
        (upload->by_key && !comes_after(&upload->last, *key))) {
        return ERR_CORRUPT;
    }
    if (upload->by_key) {
        upload->last.size = 0;
        buf_add_bytes(&upload->last, *key);
    }
    uint32_t crc = crc32c(0, key->data, key->size);
    uint32_t both = crc32c(crc, value->data, value->size);
    upload->count++;
    upload->sum += mix_u64((uint64_t)crc << 32 | both);
    return ERR_OK;
}
