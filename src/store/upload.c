/* upload.c -- a backup that a client sent, to be restored. upload.h has the
 * rules.
 *
 * The file is untrusted: it is opened read-only in a guarded connection of its
 * own (schema.c), and read row by row, so that no call takes longer than one
 * row of the greatest size. All rows are read twice. In the table's own order
 * they are counted and summed. By key, through the index, the same number and
 * sum must result, and each key must be greater than the one before. That
 * detects an index that lacks rows.
 *
 * Limit: SQLite has no checksums, so a bit that flipped within a value is not
 * detected. */
#include "base/crc32c.h"
#include "base/log.h"
#include "base/rng.h"
#include "store/store_internal.h"

static const char upload_path[] = "db/upload.tmp";

enum {
    FORMATS_AT = 18,
    ROW_STEPS_MAX = 1000, /* Instructions of SQLite, for one row. */
    ROW_BYTES_MIN = 8,    /* Overhead of a row in a file. */
    ROW_BYTES_MAX = 1024, /* Upper bound of that, rounded up generously. */
};

struct store_upload {
    const struct fs *fs;
    const char *vfs;
    int handle;      /* Open until store_upload_open(); then -1. */
    bool is_foreign; /* The file is not db/upload.tmp, and stays as it is. */
    uint64_t bytes;  /* Size of the file. */
    struct readonly readonly;
    sqlite3 *db;
    struct guard guard;
    sqlite3_stmt *rows;
    bool by_key;
    bool is_leased; /* The last row has a lease. */
    sqlite3_int64 last_rowid;
    struct buf last;     /* With by_key: the key read last. */
    uint64_t count;      /* Rows read so far. */
    uint64_t seen_bytes; /* Lower bound of the bytes that these take. */
    uint64_t sum;        /* Sum of their hashes. */
    uint64_t all_count;  /* Number of all rows, in the table's order. */
    uint64_t all_sum;    /* Sum of their hashes. */
};

enum err store_upload_sweep(const struct fs *fs)
{
    enum err err = fs->unlink(fs->self, upload_path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err store_upload_new(const struct store *store, struct store_upload **out)
{
    const struct fs *fs = store->options.fs;
    int handle = -1;
    enum err err = store_upload_sweep(fs);
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
    sqlite3_finalize(upload->rows);
    sqlite3_close(upload->db);
    close_file(upload);
    if (!upload->is_foreign && store_upload_sweep(upload->fs) != ERR_OK) {
        log_warn("store", "file=%s why=\"cannot be removed\"", upload_path);
    }
    buf_free(&upload->last);
    mem_free(upload);
}

enum err store_upload_add(struct store_upload *upload, struct bytes data)
{
    const struct fs *fs = upload->fs;
    must(upload->handle >= 0 && !upload->db);
    enum err err = fs->write(fs->self, upload->handle, upload->bytes, data.data,
                             data.size);
    if (!err) {
        upload->bytes += data.size;
    }
    return err;
}

/* ---- opening ---- */

/* A database in WAL mode requires its -wal, which a backup does not have. So
 * the header is changed to rollback mode. */
static enum err set_rollback_mode(struct store_upload *upload, const char **why)
{
    static const uint8_t rollback[2] = {1, 1};
    const struct fs *fs = upload->fs;
    uint8_t header[SCHEMA_HEADER_BYTES];
    size_t got = 0;
    enum err err =
        fs->read(fs->self, upload->handle, 0, header, sizeof(header), &got);
    if (err) {
        return err;
    }
    if (got < sizeof(header) || memcmp(header, "SQLite format 3", 16) != 0) {
        return ERR_CORRUPT;
    }
    if (!store_schema_ends_with_page(header, upload->bytes)) {
        *why = "it is truncated: it ends within a page";
        return ERR_CORRUPT;
    }
    return fs->write(fs->self, upload->handle, FORMATS_AT, rollback,
                     sizeof(rollback));
}

/* Opens a copy of a file in memory, since SQLite can open only the kernel's
 * files. */
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

enum err store_upload_open(struct store_upload *upload,
                           uint64_t value_bytes_max, const char **why)
{
    must(upload->handle >= 0 && !upload->db);
    *why = "it is not a SQLite database";
    enum err err = set_rollback_mode(upload, why);
    if (!err) {
        err = open_database(upload);
    }
    close_file(upload);
    if (err) {
        return err;
    }
    store_guard_begin(&upload->guard, upload->db);
    err = store_schema_check(&upload->guard, false, why);
    uint64_t row_bytes_max = min_u64(value_bytes_max, COMMAND_VALUE_BYTES_MAX) +
                             COMMAND_KEY_BYTES_MAX + ROW_BYTES_MAX;
    sqlite3_limit(upload->db, SQLITE_LIMIT_LENGTH, (int)row_bytes_max);
    return err;
}

/* ---- files of others ---- */

static enum err read_file(const void *source, uint64_t at, void *out,
                          size_t size)
{
    const struct store_upload *upload = source;
    size_t got = 0;
    enum err err =
        upload->fs->read(upload->fs->self, upload->handle, at, out, size, &got);
    return !err && got != size ? ERR_IO : err;
}

/* The file is open. */
static enum err open_foreign(struct store_upload *upload, const char **why)
{
    uint8_t header[SCHEMA_HEADER_BYTES];
    *why = "it is not a SQLite database";
    enum err err =
        upload->fs->size(upload->fs->self, upload->handle, &upload->bytes);
    if (!err && upload->bytes < sizeof(header)) {
        return ERR_CORRUPT;
    }
    if (!err) {
        err = read_file(upload, 0, header, sizeof(header));
    }
    if (err) {
        return err;
    }
    if (memcmp(header, "SQLite format 3", 16) != 0) {
        return ERR_CORRUPT;
    }
    if (!store_schema_ends_with_page(header, upload->bytes)) {
        *why = "it is truncated: it ends within a page";
        return ERR_CORRUPT;
    }
    upload->readonly = (struct readonly){
        .bytes = upload->bytes, .read = read_file, .source = upload};
    return store_readonly_open(&upload->readonly, &upload->db) == SQLITE_OK
               ? ERR_OK
               : ERR_RESOURCES;
}

enum err store_upload_open_file(const struct fs *fs, const char *path,
                                struct store_upload **out, const char **why)
{
    struct store_upload *upload = mem_zalloc(sizeof(*upload));
    *upload = (struct store_upload){.fs = fs, .is_foreign = true, .handle = -1};
    enum err err = fs->open(fs->self, path, FS_READ, &upload->handle);
    if (err) {
        upload->handle = -1;
        *why = err_name(err);
    } else {
        err = open_foreign(upload, why);
    }
    if (!err) {
        store_guard_begin(&upload->guard, upload->db);
        err = store_schema_check(&upload->guard, false, why);
        sqlite3_limit(upload->db, SQLITE_LIMIT_LENGTH,
                      COMMAND_VALUE_BYTES_MAX + COMMAND_KEY_BYTES_MAX +
                          ROW_BYTES_MAX);
    }
    if (err) {
        store_upload_free(upload);
        return err;
    }
    *out = upload;
    return ERR_OK;
}

enum err store_upload_summary(struct store_upload *upload, uint64_t *index,
                              uint64_t *keys)
{
    sqlite3_stmt *row = NULL;
    store_guard_renew(&upload->guard, ROW_STEPS_MAX);
    int rc = sqlite3_prepare_v2(upload->db, "SELECT applied, keys FROM raft",
                                -1, &row, NULL);
    bool found = rc == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW;
    if (found) {
        *index = (uint64_t)sqlite3_column_int64(row, 0);
        *keys = (uint64_t)sqlite3_column_int64(row, 1);
    }
    enum err err = found ? ERR_OK : store_guard_error(&upload->guard);
    sqlite3_finalize(row);
    return err;
}

/* ---- rows ---- */

enum err store_upload_begin(struct store_upload *upload, bool by_key)
{
    /* INDEXED BY: without that index SQLite would sort all rows first. */
#define ROWS(end)                                                              \
    {                                                                          \
        "SELECT key, value, rowid, " end                                       \
        " FROM pairs NOT INDEXED ORDER BY rowid",                              \
            "SELECT key, value, rowid, " end " FROM pairs INDEXED BY "         \
            "sqlite_autoindex_pairs_1 ORDER BY key"                            \
    }
    /* Backups of before the first time-out have no column of deadlines. */
    static const char *const sql[2][2] = {ROWS("deadline"), ROWS("0")};
    must(upload->db);
    sqlite3_finalize(upload->rows);
    upload->rows = NULL;
    upload->by_key = by_key;
    upload->last.size = 0;
    upload->last_rowid = INT64_MIN;
    upload->count = 0;
    upload->seen_bytes = 0;
    upload->sum = 0;
    store_guard_renew(&upload->guard, ROW_STEPS_MAX);
    int rc = SQLITE_ERROR;
    for (int i = 0; i < 2 && rc == SQLITE_ERROR; i++) {
        rc = sqlite3_prepare_v2(upload->db, sql[i][by_key], -1, &upload->rows,
                                NULL);
    }
    return rc == SQLITE_OK ? ERR_OK : store_guard_error(&upload->guard);
}

/* All rows have been read. */
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

/* A b-tree with a cycle repeats its rows, and rows that share pages add up to
 * more bytes than the file has. Both are detected: rows must be in ascending
 * order, and together not larger than the file. */
static bool is_in_bounds(struct store_upload *upload, struct bytes key,
                         struct bytes value, sqlite3_int64 rowid)
{
    upload->seen_bytes += key.size + value.size + ROW_BYTES_MIN;
    if (upload->seen_bytes > upload->bytes) {
        return false;
    }
    if (upload->by_key) {
        return comes_after(&upload->last, key);
    }
    bool after = upload->count == 0 || rowid > upload->last_rowid;
    upload->last_rowid = rowid;
    return after;
}

enum err store_upload_next(struct store_upload *upload, struct bytes *key,
                           struct bytes *value)
{
    sqlite3_stmt *rows = upload->rows;
    store_guard_renew(&upload->guard, ROW_STEPS_MAX);
    int rc = rows ? sqlite3_step(rows) : SQLITE_DONE;
    if (rc == SQLITE_DONE) {
        sqlite3_finalize(rows); /* Another step would start again. */
        upload->rows = NULL;
        return end(upload);
    }
    if (rc != SQLITE_ROW) {
        return store_guard_error(&upload->guard);
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
        !is_in_bounds(upload, *key, *value, sqlite3_column_int64(rows, 2))) {
        return ERR_CORRUPT;
    }
    upload->is_leased =
        store_lease_of((uint64_t)sqlite3_column_int64(rows, 3)) > 0;
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

bool store_upload_is_leased(const struct store_upload *upload)
{
    return upload->is_leased;
}
