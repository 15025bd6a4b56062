/* store_internal.h -- what the files of this room share.
 *
 *     store.c       apply, read, commit, checkpoint
 *     image.c       the database as a snapshot, to be sent
 *     incoming.c    ... and received
 *     generation.c  which directory holds the database
 *     migrate.c     the schema */
#ifndef CRAFTD_STORE_STORE_INTERNAL_H
#define CRAFTD_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/store.h"

struct generation {
    unsigned number;
    uint64_t index; /* Of the snapshot it began with; 0: it began empty. */
    uint64_t term;
};

/* The one row of table raft. */
struct row {
    uint64_t applied;
    uint64_t term;
    uint64_t hash;
    uint64_t keys;
    uint64_t conf_index;
};

/* The handle of the database calls `methods`, which call `base`. */
struct watch {
    sqlite3_io_methods methods; /* First: a handle leads here by it. */
    const sqlite3_io_methods *base;
    struct store_image *images[STORE_IMAGES_MAX];
};

struct store {
    sqlite3 *db;
    struct store_options options;
    struct generation generation;
    bool in_memory;
    char path[2 * FS_PATH_BYTES];
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *update;
    sqlite3_stmt *insert;
    sqlite3_stmt *delete;
    sqlite3_stmt *select;
    sqlite3_stmt *save;
    struct row now;
    struct row flushed; /* As it was committed last. */
    struct row durable; /* As the last whole checkpoint left it on the disk. */
    struct buf conf;
    bool open; /* A transaction is. */
    bool conf_dirty;
    int wal_pages;
    bool torn; /* A checkpoint ended half-way. */
    struct watch watch;
    uint64_t commits;
    uint64_t checkpoints;
};

/* Log the last error of `db` and name it: ERR_NOSPACE, ERR_CORRUPT, ERR_IO. */
enum err store_error(sqlite3 *db, const char *what);

/* Open the database of `generation`, whatever db/CURRENT says. In memory it
 * begins as `image` (from sqlite3_malloc64, taken over) when there is one. */
MUST_CHECK enum err store_open_generation(const struct store_options *options,
                                          const struct generation *generation,
                                          unsigned char *image,
                                          uint64_t image_bytes,
                                          struct store **store);

/* From now on no write to the database escapes an image (image.c). */
MUST_CHECK enum err images_watch(struct store *store);

MUST_CHECK enum err store_migrate(sqlite3 *db);

/* Which generation is in use; the first is made when there is none. */
MUST_CHECK enum err generation_current(const struct fs *fs,
                                       struct generation *generation);
MUST_CHECK enum err generation_make(const struct fs *fs, unsigned number);
/* From now on this one, for good. */
MUST_CHECK enum err generation_use(const struct fs *fs,
                                   const struct generation *generation);
/* Remove all others. */
MUST_CHECK enum err generation_sweep(const struct fs *fs, unsigned keep);
/* What an earlier process left in memory of its files is on the disk after it,
 * or out of sight (fs_settle()). */
MUST_CHECK enum err generation_settle(const struct fs *fs, unsigned number);
/* `file` in it; NULL: its directory. */
void generation_path(unsigned number, const char *file,
                     char path[FS_PATH_BYTES]);
/* The database for SQLite, ":memory:" on a file system without paths. */
void generation_database(const struct fs *fs, unsigned number, char *path,
                         size_t size);

#endif
