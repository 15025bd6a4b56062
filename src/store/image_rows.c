/* image_rows.c -- the keys of an image in order, read by SQLite (readonly.c).
 * The image was written by this node, so it is trusted as the database is. */
#include "store/store_internal.h"

struct image_rows {
    struct readonly readonly;
    sqlite3 *db;
    sqlite3_stmt *select;
};

static enum err read_image(const void *source, uint64_t at, void *out,
                           size_t size)
{
    return store_image_read_at(source, at, out, size);
}

static int count_keys(struct image_rows *rows, uint64_t *keys)
{
    sqlite3_stmt *count = NULL;
    int rc =
        sqlite3_prepare_v2(rows->db, "SELECT keys FROM raft", -1, &count, NULL);
    if (rc == SQLITE_OK && sqlite3_step(count) == SQLITE_ROW) {
        *keys = (uint64_t)sqlite3_column_int64(count, 0);
    } else if (rc == SQLITE_OK) {
        rc = SQLITE_ERROR;
    }
    sqlite3_finalize(count);
    return rc;
}

static enum err error_of(const struct store_image *image, const char *what)
{
    if (image->lost) {
        return ERR_NOSPACE; /* Logged by image.c. */
    }
    enum err err = store_error(image->rows->db, what);
    return err == ERR_CORRUPT ? ERR_IO : err;
}

enum err store_image_rows_begin(struct store_image *image, uint64_t *keys)
{
    static const char configure[] =
        "PRAGMA cache_size=-512; PRAGMA mmap_size=0; PRAGMA "
        "temp_store=MEMORY; PRAGMA trusted_schema=OFF";
    static const char select[] =
        "SELECT key, value, create_index, modify_index FROM pairs "
        "WHERE key > ?1 ORDER BY key";
    must(image->at == 0 && !image->rows && !image->changed);
    struct image_rows *rows = mem_zalloc(sizeof(*rows));
    rows->readonly = (struct readonly){
        .bytes = image->bytes, .read = read_image, .source = image};
    image->rows = rows;
    int rc = store_readonly_open(&rows->readonly, &rows->db);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(rows->db, configure, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = count_keys(rows, keys);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v3(rows->db, select, -1, SQLITE_PREPARE_PERSISTENT,
                                &rows->select, NULL);
    }
    if (rc != SQLITE_OK) {
        return rows->db ? error_of(image, "opening an image") : ERR_RESOURCES;
    }
    store_image_rows_seek(image, (struct bytes){0});
    return ERR_OK;
}

void store_image_rows_free(struct image_rows *rows)
{
    if (rows) {
        sqlite3_finalize(rows->select);
        sqlite3_close(rows->db);
        mem_free(rows);
    }
}

void store_image_rows_seek(struct store_image *image, struct bytes after)
{
    sqlite3_stmt *select = image->rows->select;
    sqlite3_reset(select);
    /* A key has at least one byte, so all are behind the empty one. */
    if (sqlite3_bind_blob(select, 1,
                          after.size > 0 ? after.data : (const void *)"",
                          (int)after.size, SQLITE_TRANSIENT) != SQLITE_OK) {
        image->lost = true; /* No memory: nothing is read from it any more. */
    }
}

static struct bytes column(sqlite3_stmt *statement, int i)
{
    return bytes_of(sqlite3_column_blob(statement, i),
                    (size_t)sqlite3_column_bytes(statement, i));
}

enum err store_image_rows_next(struct store_image *image,
                               struct store_pair *pair)
{
    sqlite3_stmt *select = image->rows->select;
    int rc = image->lost ? SQLITE_IOERR : sqlite3_step(select);
    *pair = (struct store_pair){0};
    if (rc == SQLITE_DONE) {
        return ERR_NOT_FOUND;
    }
    if (rc != SQLITE_ROW) {
        return error_of(image, "reading an image");
    }
    pair->key = column(select, 0);
    pair->value = column(select, 1);
    pair->create_index = (uint64_t)sqlite3_column_int64(select, 2);
    pair->modify_index = (uint64_t)sqlite3_column_int64(select, 3);
    return ERR_OK;
}
