/* store_internal.h -- what the files of this room share.
 *
 *     store.c       apply, commit, read
 *     open.c        open and close a database
 *     checkpoint.c  the -wal is copied into the database, in steps
 *     txn.c         apply: conditions, results, repeats
 *     restore.c     apply: the steps of a restore; deleting replaced tables
 *     upload.c      a backup that a client sent, to be restored
 *     range.c       keys in order
 *     image.c       the database as a snapshot, to be sent
 *     incoming.c    a snapshot that is being received
 *     vfs_shim.c    intercepts SQLite's I/O on its files
 *     reserve.c     space for a full disk
 *     generation.c  which directory holds the database
 *     migrate.c     the schema
 *     schema.c      checks a database that this node did not write
 *     view.c        a view of keys and values as text, in backups */
#ifndef CRAFTD_STORE_STORE_INTERNAL_H
#define CRAFTD_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "command/command.h"
#include "store/store.h"
#include "sys/reserve.h"

struct generation {
    unsigned number;
    uint64_t index; /* The snapshot that it started as; 0: it started empty. */
    uint64_t term;
};

/* The integer columns of table raft, which has one row. Its other column is
 * `conf`, the configuration's bytes. migrate.c has the schema. */
#define RAFT_ROW(X)                                                            \
    X(applied)       /* Index of the last entry applied, ... */                \
    X(term)          /* ... and its term. */                                   \
    X(hash)          /* Rolling, over the effects of all entries. */           \
    X(keys)          /* Rows of table pairs. */                                \
    X(conf_index)    /* Index of the entry that `conf` is from. */             \
    X(answers)       /* Rows of table answers. */                              \
    X(counts_from)   /* Index of the first version 2 command; 0: none yet. */  \
    X(restore_id)    /* The restore that table staging is of; 0: none. */      \
    X(staged)        /* Rows of table staging. */                              \
    X(staged_hash)   /* Over all commands that brought its rows. */            \
    X(restored_id)   /* The last restore that was committed, ... */            \
    X(restored_at)   /* ... the index of that entry, ... */                    \
    X(restored_keys) /* ... and how many keys it had. */
struct row {
#define X(column) uint64_t column;
    RAFT_ROW(X)
#undef X
};

/* As `pairs` is, so that it can take its place. */
#define STAGING_SQL                                                            \
    "CREATE TABLE staging("                                                    \
    "  key BLOB PRIMARY KEY NOT NULL,"                                         \
    "  value BLOB NOT NULL,"                                                   \
    "  create_index INTEGER NOT NULL,"                                         \
    "  modify_index INTEGER NOT NULL,"                                         \
    "  version INTEGER NOT NULL DEFAULT 1);"

enum { STORE_RANGES = 4 }; /* Forwards, backwards; rows, keys alone. */

/* Adjacent writes of SQLite that have not been written yet. */
struct write_buffer {
    uint8_t *data;
    size_t size;
    uint64_t end; /* End of the last write, buffered or not. */
};

/* One of SQLite's two open files, whose methods are exchanged (vfs_shim.c). */
struct shim_file {
    sqlite3_io_methods methods; /* First: SQLite's handle points here. */
    const sqlite3_io_methods *base;
    sqlite3_file *file;
    struct store *store;
    struct write_buffer buffer;
    int handle; /* The fs's, for asynchronous syncs; -1: there are none. */
};

/* The steps of a checkpoint (checkpoint.c): the last one done. */
enum step { STEP_NONE, STEP_WAL_SYNCED, STEP_COPIED, STEP_SYNCED };
/* The step that a running checkpoint of SQLite's is for; PASS_SYNC is the last
 * one when its sync of the database is to be done. */
enum pass { PASS_NONE, PASS_COPY, PASS_SYNC, PASS_END };

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
    /* txn.c */
    sqlite3_stmt *savepoint;
    sqlite3_stmt *release;
    sqlite3_stmt *rollback_to;
    sqlite3_stmt *look;
    sqlite3_stmt *measure;
    sqlite3_stmt *delete_prefix;
    sqlite3_stmt *find_answer;
    sqlite3_stmt *add_answer;
    sqlite3_stmt *drop_answer;
    sqlite3_stmt *stage; /* restore.c */
    sqlite3_stmt *ranges[STORE_RANGES];
    sqlite3_stmt *range; /* The one that is open, or NULL. */
    struct row now;
    struct row flushed; /* Its content as of the last commit. */
    struct row durable; /* As of the last complete checkpoint. */
    struct buf conf;
    struct buf result; /* Result of the command applied last. */
    bool open;         /* A transaction is open. */
    bool conf_dirty;
    int wal_pages;
    bool torn; /* A checkpoint has copied only some of its pages. */
    struct shim_file db_file;
    struct shim_file wal_file;
    bool last_frame; /* The header of a transaction's last frame was written. */
    struct reserve reserve;
    enum step step;
    enum pass pass;
    const struct shim_file *syncing; /* The file that `sync` is of, or NULL. */
    struct fs_op sync;
    struct store_image *images[STORE_IMAGES_MAX];
    bool waste; /* There may be tables to be swept (store_sweep()). */
    uint64_t commits;
    uint64_t checkpoints;
    uint64_t written_bytes;
};

/* Log the last error of `db` and name it: ERR_CORRUPT, ERR_IO; a shortage is
 * not logged. */
enum err store_error(sqlite3 *db, const char *what);
/* The shortage that caused the last error of `db`; ERR_OK: none did. */
enum err store_error_shortage(sqlite3 *db);
/* The same from SQLite's extended `code` and the errno behind it. */
enum err store_code_shortage(int code, int error);

/* ---- between store.c and txn.c. False: SQLite failed. ---- */

/* Statements that return no row. */
bool store_run(sqlite3_stmt *statement);
void store_bind(sqlite3_stmt *statement, int place, struct bytes bytes);
bool store_put(struct store *store, uint64_t index, const struct command_op *op,
               bool *created);
bool store_delete(struct store *store, const struct command_op *op,
                  uint64_t *deleted);
/* Apply the rest of a version 2 command of which `reader` has read the head.
 * The result is in store->result. */
bool store_txn_apply(struct store *store, uint64_t index, struct bytes command,
                     struct command_reader *reader);

/* Apply one step of a restore. The result is in store->result. */
bool store_restore_apply(struct store *store, uint64_t index,
                         struct bytes command);

/* Open the database of `generation`, whatever db/CURRENT says. A `foreign` one
 * was not written by this node: it is looked at first (store_schema_check(), of
 * ours alone; ERR_CORRUPT or ERR_VERSION with a log line). In memory it begins
 * as `image` (from sqlite3_malloc64, taken over) when there is one. */
MUST_CHECK enum err store_open_generation(const struct store_options *options,
                                          const struct generation *generation,
                                          bool foreign, unsigned char *image,
                                          uint64_t image_bytes,
                                          struct store **store);

/* Read the row of table raft: store->now, store->flushed and the membership. */
MUST_CHECK enum err store_load_row(struct store *store);

/* ---- vfs_shim.c ---- */

/* Intercept all I/O of the open database from here on. */
MUST_CHECK enum err store_shim_install(struct store *store);
MUST_CHECK int store_shim_sync_wal(struct store *store); /* SQLite's code. */
/* Drop the buffered writes of a checkpoint or a transaction that failed. */
void store_shim_discard(struct store *store);
/* Call it after SQLite has closed the files. */
void store_shim_free(struct store *store);

/* ---- checkpoint.c ---- */

/* A whole checkpoint, synchronously. A shortage leaves it for later. */
void store_checkpoint_run(struct store *store);
/* Has the sync of the last step completed (or is there none)? With `wait` it
 * has on return. A sync that failed ends the process. */
bool store_checkpoint_sync_completed(struct store *store, bool wait);

/* Call it before the database changes there: pages that an open image still
 * needs are saved. */
void store_images_before_write(struct store *store, uint64_t offset,
                               uint64_t size);
/* Remove the files of an earlier process. */
MUST_CHECK enum err store_images_sweep(const struct fs *fs);

MUST_CHECK enum err store_migrate(sqlite3 *db);
/* The same up to `version`, at most the newest one. */
MUST_CHECK enum err store_migrate_to(sqlite3 *db, int version);
int store_schema(void); /* The newest version of it. */
/* Remove the upload of an earlier process. */
MUST_CHECK enum err store_upload_sweep(const struct fs *fs);

/* ---- databases that this node did not write (schema.c) ---- */

/* Keeps a connection to an untrusted database from doing harm: limits, nothing
 * but reads of our tables, and a count of SQLite's steps. In the caller's
 * memory, where it stays until store_guard_end() or until the connection is
 * closed. To begin before the database is looked at for the first time. */
enum { GUARD_LIMITS = 16 };
struct guard {
    sqlite3 *db;
    uint64_t steps; /* Instructions of its virtual machine since the start, */
    uint64_t steps_max;       /* ... and how many there may be, about. */
    int limits[GUARD_LIMITS]; /* As they were. */
};
void store_guard_begin(struct guard *guard, sqlite3 *db);
/* Count from 0 again. */
void store_guard_renew(struct guard *guard, uint64_t steps_max);
/* The database is trusted from here on. */
void store_guard_end(struct guard *guard);
/* The connection's last error. ERR_CORRUPT: damaged, or over the number of
 * steps; ERR_TOO_BIG: over the limit of a length; ERR_IO: cannot be read; or
 * a shortage. */
enum err store_guard_error(const struct guard *guard);

/* Is it a database of craftd's, with something in it? Takes a time that is
 * bounded, whatever it is: right behind store_guard_begin(). With `only_ours`
 * there is nothing else in it (triggers, views, indexes of somebody's), so that
 * it can become a node's own. ERR_VERSION  of a newer version ERR_CORRUPT  no;
 * ERR_IO, a shortage `why` is then a sentence, valid until the next call. */
MUST_CHECK enum err store_schema_check(struct guard *guard, bool only_ours,
                                       const char **why);

/* Does a SQLite file of `bytes` bytes, of which `header` are the first
 * SCHEMA_HEADER_BYTES, end with a page? What is missing of its last page SQLite
 * takes for zeros, so that values would end with them. */
enum { SCHEMA_HEADER_BYTES = 100 };
bool store_schema_ends_with_page(const uint8_t header[SCHEMA_HEADER_BYTES],
                                 uint64_t bytes);

/* A database that is to be a node's own, of which SQLite has read nothing yet:
 * as store_schema_check() with `only_ours`, with a log line. */
MUST_CHECK enum err store_schema_check_foreign(sqlite3 *db);

/* ---- the view in backups (view.c) ---- */

extern const char store_view_name[];
extern const char store_view_sql[];
/* Add its row to the last leaf of the schema's b-tree: a page of 4096 bytes,
 * whose b-tree begins at page[start] (100 on page 1, else 0). False: it has no
 * room, or is no such page; it is as it was then. */
bool store_view_add(uint8_t *page, size_t start);
/* The number of the page to look at next on the way to that leaf; 0: this is a
 * leaf. */
uint64_t store_view_next_page(const uint8_t *page, size_t start);
/* A backup that has become a node's database has it still. */
MUST_CHECK enum err store_view_drop(sqlite3 *db);

/* In the open transaction, or, when there is none, in one of its own. */
MUST_CHECK enum err store_begin(struct store *store);
/* It failed while `what`. A shortage: back to the last flush. Everything else
 * ends the process. */
MUST_CHECK enum err store_failed(struct store *store, const char *what);

MUST_CHECK enum err store_ranges_prepare(struct store *store);
void store_ranges_free(struct store *store);
/* store_get() within an entry: false when SQLite failed, and nothing has been
 * done about it. */
bool store_read(struct store *store, struct bytes key, struct store_row *row,
                bool *found);
/* Which generation is in use; the first is made when there is none. */
MUST_CHECK enum err store_generation_current(const struct fs *fs,
                                             struct generation *generation);
MUST_CHECK enum err store_generation_make(const struct fs *fs, unsigned number);
/* From now on this one, for good. */
MUST_CHECK enum err store_generation_use(const struct fs *fs,
                                         const struct generation *generation);
/* Remove all others. */
MUST_CHECK enum err store_generation_sweep(const struct fs *fs, unsigned keep);
/* Sync the database's files, which an earlier process wrote (fs_sync_file()).
 */
MUST_CHECK enum err store_generation_sync(const struct fs *fs, unsigned number);
/* `file` in it; NULL: its directory. */
void store_generation_path(unsigned number, const char *file,
                           char path[FS_PATH_BYTES]);
/* The database for SQLite, ":memory:" on a file system without paths. */
void store_generation_database(const struct fs *fs, unsigned number, char *path,
                               size_t size);

#endif
