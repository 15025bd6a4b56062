/* incoming.c -- receives a database from elsewhere, a snapshot or a backup,
 * checks it and puts it in place. See store.h. */
#include "base/log.h"
#include "store/store_internal.h"

enum { SYNC_BYTES = 8 << 20 };

struct store_incoming {
    struct store_options options;
    struct generation generation;
    int handle;      /* -1 once the file is complete. */
    uint64_t bytes;  /* Written so far. */
    uint64_t synced; /* Synced so far. */
};

enum err store_incoming_new(const struct store *store,
                            struct store_incoming **out)
{
    const struct fs *fs = store->options.fs;
    char path[FS_PATH_BYTES];
    struct generation generation = {.number = store->generation.number + 1};
    int handle = -1;
    /* Remove the files of an earlier attempt. */
    enum err err = store_generation_sweep(fs, store->generation.number);
    if (!err) {
        err = store_generation_make(fs, generation.number);
    }
    if (!err) {
        store_generation_path(generation.number, "state.db", path);
        err = fs->open(fs->self, path, FS_CREATE_NEW, &handle);
    }
    if (err) {
        return err;
    }
    struct store_incoming *incoming = mem_zalloc(sizeof(*incoming));
    incoming->options = store->options;
    incoming->generation = generation;
    incoming->handle = handle;
    *out = incoming;
    return ERR_OK;
}

void store_incoming_free(struct store_incoming *incoming)
{
    if (!incoming) {
        return;
    }
    const struct fs *fs = incoming->options.fs;
    if (incoming->handle >= 0) {
        fs->close(fs->self, incoming->handle);
    }
    if (store_generation_sweep(fs, incoming->generation.number - 1) != ERR_OK) {
        log_warn("store", "why=\"an incomplete snapshot cannot be removed\"");
    }
    mem_free(incoming);
}

static enum err sync_file(struct store_incoming *incoming)
{
    const struct fs *fs = incoming->options.fs;
    enum err err = fs->fdatasync(fs->self, incoming->handle);
    incoming->synced = incoming->bytes;
    return err;
}

enum err store_incoming_add(struct store_incoming *incoming, struct bytes data)
{
    const struct fs *fs = incoming->options.fs;
    must(incoming->handle >= 0);
    enum err err = fs->write(fs->self, incoming->handle, incoming->bytes,
                             data.data, data.size);
    if (err) {
        return err;
    }
    incoming->bytes += data.size;
    return incoming->bytes - incoming->synced >= SYNC_BYTES
               ? sync_file(incoming)
               : ERR_OK;
}

static enum err check_end(const struct store_incoming *incoming)
{
    const struct fs *fs = incoming->options.fs;
    uint8_t header[SCHEMA_HEADER_BYTES];
    size_t got = 0;
    enum err err =
        fs->read(fs->self, incoming->handle, 0, header, sizeof(header), &got);
    if (!err && (got < sizeof(header) ||
                 !store_schema_ends_with_page(header, incoming->bytes))) {
        log_error("store", "why=\"the file is truncated\"");
        err = ERR_CORRUPT;
    }
    return err;
}

static enum err close_file(struct store_incoming *incoming)
{
    const struct fs *fs = incoming->options.fs;
    char path[FS_PATH_BYTES];
    enum err err = sync_file(incoming);
    fs->close(fs->self, incoming->handle);
    incoming->handle = -1;
    store_generation_path(incoming->generation.number, NULL, path);
    return err ? err : fs->sync_dir(fs->self, path);
}

/* Copies a file in memory, since SQLite can open only the kernel's files. */
static enum err load_memory(struct store_incoming *incoming,
                            unsigned char **image)
{
    const struct fs *fs = incoming->options.fs;
    char path[FS_PATH_BYTES];
    int handle;
    size_t got = 0;
    store_generation_path(incoming->generation.number, "state.db", path);
    enum err err = fs->open(fs->self, path, FS_READ, &handle);
    if (err) {
        return err;
    }
    *image = sqlite3_malloc64(incoming->bytes);
    err = *image ? fs->read(fs->self, handle, 0, *image, incoming->bytes, &got)
                 : ERR_NOSPACE;
    fs->close(fs->self, handle);
    if (!err && got != incoming->bytes) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        err = fs->unlink(fs->self, path);
    }
    if (err) {
        sqlite3_free(*image);
        *image = NULL;
    }
    return err;
}

static enum err open_incoming(struct store_incoming *incoming,
                              struct store **store)
{
    char path[2 * FS_PATH_BYTES];
    unsigned char *image = NULL;
    store_generation_database(incoming->options.fs, incoming->generation.number,
                              path, sizeof(path));
    if (strcmp(path, ":memory:") == 0) {
        enum err err = load_memory(incoming, &image);
        if (err) {
            return err;
        }
    }
    return store_open_generation(&incoming->options, &incoming->generation,
                                 true, image, incoming->bytes, store);
}

/* Checks that every row is one that a write can create, and that their number
 * is that of the raft row. */
static bool check_pairs(struct store *store)
{
    sqlite3_stmt *count = NULL;
    uint64_t keys = store->now.keys;
    bool ok = sqlite3_prepare_v2(
                  store->db,
                  "SELECT count(*), coalesce(sum(typeof(key) = 'blob' AND "
                  "length(key) BETWEEN 1 AND ?1 AND typeof(value) = 'blob' "
                  "AND length(value) <= ?2), 0) FROM pairs",
                  -1, &count, NULL) == SQLITE_OK;
    if (ok) {
        sqlite3_bind_int(count, 1, COMMAND_KEY_BYTES_MAX);
        sqlite3_bind_int(count, 2, COMMAND_VALUE_BYTES_MAX);
        ok = sqlite3_step(count) == SQLITE_ROW &&
             (uint64_t)sqlite3_column_int64(count, 0) == keys &&
             (uint64_t)sqlite3_column_int64(count, 1) == keys;
    }
    sqlite3_finalize(count);
    return ok;
}

/* Checks a whole file whose schema is craftd's: b-trees, then rows. */
static enum err check_whole(struct store *store)
{
    sqlite3_stmt *check = NULL;
    bool whole = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check(1)", -1,
                                    &check, NULL) == SQLITE_OK &&
                 sqlite3_step(check) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    sqlite3_finalize(check);
    if (!whole || !check_pairs(store)) {
        log_error("store", "why=\"the file is damaged\"");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* A node could not start with a database whose membership it cannot use. */
static enum err check_conf(const struct store *store, store_conf_check *check)
{
    if (store->now.conf_index <= store->now.applied &&
        check(buf_bytes(&store->conf))) {
        return ERR_OK;
    }
    log_error("store", "why=\"the membership in it cannot be used\"");
    return ERR_CORRUPT;
}

/* Beyond half of its range the time would come to its end, and never on: see
 * COMMAND_TIME_SOUND_MS. */
static enum err check_time(const struct store *store)
{
    if (store->now.time <= COMMAND_TIME_MS_MAX / 2) {
        return ERR_OK;
    }
    log_error("store", "why=\"the cluster time in it is beyond its bound\"");
    return ERR_CORRUPT;
}

enum err store_incoming_finish(struct store_incoming *incoming, uint64_t index,
                               uint64_t term, store_conf_check *check,
                               struct store **out)
{
    struct store *store = NULL;
    must(incoming->handle >= 0);
    incoming->generation.index = index;
    incoming->generation.term = term;
    enum err err = check_end(incoming);
    enum err closed = close_file(incoming);
    err = err ? err : closed;
    if (!err) {
        err = open_incoming(incoming, &store);
    }
    if (!err && index == 0) {
        err = check_whole(store);
    } else if (!err &&
               (store->now.applied != index || store->now.term != term)) {
        log_error("store",
                  "why=\"a snapshot is not the one that was announced\" "
                  "index=%llu announced=%llu",
                  (unsigned long long)store->now.applied,
                  (unsigned long long)index);
        err = ERR_CORRUPT;
    } else if (!err) {
        err = check_time(store);
    }
    if (!err) {
        err = check_conf(store, check);
    }
    if (!err) {
        store->generation.index = store->now.applied;
        store->generation.term = store->now.term;
        err = store_generation_use(incoming->options.fs, &store->generation);
    }
    if (err) {
        store_close(store);
        store_incoming_free(incoming);
        return err;
    }
    mem_free(incoming);
    *out = store;
    return ERR_OK;
}

void store_tidy(const struct store *store)
{
    if (store_generation_sweep(store->options.fs, store->generation.number) !=
        ERR_OK) {
        log_warn("store", "why=\"an old database cannot be removed\"");
    }
}

uint64_t store_installed(const struct store *store, uint64_t *term)
{
    *term = store->generation.term;
    return store->generation.index;
}
