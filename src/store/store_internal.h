/* store_internal.h -- what the files of this room share.
 *
 *     open.c        opens and closes a database
 *     store.c       applies, commits, reads
 *     txn.c         applies version 2 commands: conditions, results, repeats
 *     restore.c     applies the steps of a restore; deletes replaced tables
 *     range.c       reads keys in order
 *     checkpoint.c  copies the -wal into the database, in steps
 *     vfs_shim.c    intercepts SQLite's I/O on its files
 *     reserve.c     keeps space for a full disk
 *     generation.c  finds and replaces the directory of the database
 *     image.c       reads the database as a snapshot, to be sent
 *     incoming.c    receives a snapshot, and puts it in place
 *     upload.c      reads a backup that a client sent, to be restored
 *     migrate.c     has the schema's versions
 *     schema.c      checks a database that this node did not write
 *     view.c        adds a view of keys and values as text to backups */
#ifndef CRAFTD_STORE_STORE_INTERNAL_H
#define CRAFTD_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "command/command.h"
#include "store/store.h"
#include "sys/reserve.h"

struct generation {
    unsigned number; /* From 1 on. */
    uint64_t index;  /* Index of the snapshot that it began as; 0: none. */
    uint64_t term;
};

/* The integer columns of table raft, which has one row. Its other column is
 * `conf`, the configuration's bytes. migrate.c has the schema. */
#define RAFT_ROW(X)                                                            \
    X(applied)       /* Index of the last entry applied. */                    \
    X(term)          /* Its term. */                                           \
    X(hash)          /* Rolling, over the effects of all entries. */           \
    X(keys)          /* Rows of table pairs. */                                \
    X(conf_index)    /* Index of the entry of `conf`. */                       \
    X(answers)       /* Rows of table answers. */                              \
    X(counts_from)   /* Index of the first version 2 command; 0: none yet. */  \
    X(restore_id)    /* The restore in progress; 0: none. */                   \
    X(staged)        /* Rows of table staging, which are its. */               \
    X(staged_hash)   /* Over all commands that added these rows. */            \
    X(restored_id)   /* The last restore that was committed. */                \
    X(restored_at)   /* Index of the entry that committed it. */               \
    X(restored_keys) /* Number of its keys. */
struct row {
#define X(column) uint64_t column;
    RAFT_ROW(X)
#undef X
};

/* The same columns as table pairs has, since it is renamed to that. */
#define STAGING_SQL                                                            \
    "CREATE TABLE staging("                                                    \
    "  key BLOB PRIMARY KEY NOT NULL,"                                         \
    "  value BLOB NOT NULL,"                                                   \
    "  create_index INTEGER NOT NULL,"                                         \
    "  modify_index INTEGER NOT NULL,"                                         \
    "  version INTEGER NOT NULL DEFAULT 1);"

/* Statements of ranges: rows or keys alone, each in both directions. */
enum { STORE_RANGES = 4 };

/* Adjacent writes of SQLite that have not reached the file yet. */
struct write_buffer {
    uint8_t *data;
    size_t size;
    uint64_t end; /* End of the last write, buffered or not. */
};

/* One of SQLite's two open files, whose methods are replaced (vfs_shim.c). */
struct shim_file {
    sqlite3_io_methods methods; /* First: SQLite's handle points here. */
    const sqlite3_io_methods *base;
    sqlite3_file *file;
    struct store *store;
    struct write_buffer buffer;
    int handle; /* Handle of the fs, for asynchronous syncs; -1: none. */
};

/* The last step of a checkpoint that was done or submitted (checkpoint.c). */
enum step { STEP_NONE, STEP_WAL_SYNCED, STEP_COPIED, STEP_SYNCED };
/* Purpose of SQLite's checkpoint that is running, from which vfs_shim.c knows
 * what to skip: PASS_COPY copies; PASS_SYNC syncs and concludes; PASS_END only
 * concludes, after an asynchronous sync. */
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
    sqlite3_stmt *range; /* The statement of the open range, or NULL. */
    /* The row of table raft: now, as of the last commit, and as of the last
     * complete checkpoint. */
    struct row now;
    struct row flushed;
    struct row durable;
    const struct store_observer *observer; /* NULL: none. */
    struct buf conf;                       /* The membership. */
    struct buf result; /* Result of the command applied last. */
    bool open;         /* A transaction is open. */
    bool conf_dirty;   /* `conf` differs from that of the last commit. */
    int wal_pages;     /* Pages of the -wal that are not in the database. */
    bool torn;         /* A checkpoint has copied only some of its pages. */
    struct shim_file db_file;
    struct shim_file wal_file;
    bool last_frame; /* The header of a transaction's last frame was written. */
    struct reserve reserve;
    enum step step;
    enum pass pass;
    const struct shim_file *syncing; /* The file that `sync` syncs, or NULL. */
    struct fs_op sync;
    struct store_image *images[STORE_IMAGES_MAX];
    bool waste; /* There may be tables for store_sweep(). */
    uint64_t commits;
    uint64_t checkpoints;
    uint64_t written_bytes;
};

/* Log the last error of `db`, which occurred while `what`: ERR_CORRUPT or
 * ERR_IO; or a shortage, which is left to the caller to log. */
enum err store_error(sqlite3 *db, const char *what);
/* The shortage that caused the last error of `db`; ERR_OK: none. */
enum err store_error_shortage(sqlite3 *db);
/* The same from SQLite's extended `code` and the errno that caused it. */
enum err store_code_shortage(int code, int error);

/* ---- store.c for txn.c and restore.c. False: SQLite failed. ---- */

/* Run a statement that returns no row. */
bool store_run(sqlite3_stmt *statement);
/* Bind a BLOB, which must not change before the statement is reset. */
void store_bind(sqlite3_stmt *statement, int place, struct bytes bytes);
/* A row without its value, which may be large. All 0 if there is none. */
struct store_looked {
    bool found;
    uint64_t value_bytes;
    uint64_t create_index;
    uint64_t modify_index;
};
bool store_look(struct store *store, struct bytes key,
                struct store_looked *row);
/* Notify the observer of a change, if there is an observer. */
void store_report(struct store *store, const struct store_change *change);
bool store_put(struct store *store, uint64_t index, const struct command_op *op,
               bool *created);
bool store_delete(struct store *store, const struct command_op *op,
                  uint64_t *deleted);
/* Apply a version 2 command, which `reader` has opened. Its result is added to
 * store->result. */
bool store_txn_apply(struct store *store, uint64_t index, struct bytes command,
                     struct command_reader *reader);

/* Apply one step of a restore. Its result is added to store->result. */
bool store_restore_apply(struct store *store, uint64_t index,
                         struct bytes command);

/* Open the database of `generation`, independently of db/CURRENT. A `foreign`
 * one was not written by this node, and is checked first
 * (store_schema_check_foreign()). In memory the database is `image` (from
 * sqlite3_malloc64(), taken over in any case) unless that is NULL. Errors as of
 * store_open(). */
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
/* Write and sync the -wal. Returns SQLite's code. */
MUST_CHECK int store_shim_sync_wal(struct store *store);
/* Drop the buffered writes of a checkpoint or a transaction that failed. */
void store_shim_discard(struct store *store);
/* Free the buffers and close the handles. Call it after SQLite has closed the
 * files. */
void store_shim_free(struct store *store);

/* ---- checkpoint.c ---- */

/* Run a whole checkpoint now, with blocking syncs. After a shortage it is left
 * incomplete, for a later one. */
void store_checkpoint_run(struct store *store);
/* Has the sync of the last step completed (or is there none)? With `wait` it
 * has on return. A failed sync die()s. */
bool store_checkpoint_sync_completed(struct store *store, bool wait);

/* Save the pages of [offset, offset + size) that an open image still needs.
 * Call it before the database file is written there. */
void store_images_before_write(struct store *store, uint64_t offset,
                               uint64_t size);
/* Remove the files that images of an earlier process left. */
MUST_CHECK enum err store_images_sweep(const struct fs *fs);

/* ---- migrate.c ---- */

/* Migrate to the newest version of the schema, that of store_schema().
 * ERR_VERSION: the database has a newer one; logged. */
MUST_CHECK enum err store_migrate(sqlite3 *db);
/* The same up to `version`, at most the newest one. */
MUST_CHECK enum err store_migrate_to(sqlite3 *db, int version);
int store_schema(void);

/* Remove the upload that an earlier process left. */
MUST_CHECK enum err store_upload_sweep(const struct fs *fs);

/* ---- databases that this node did not write (schema.c) ---- */

/* Restricts a connection to an untrusted database: limits of SQLite, an
 * authorizer that allows only reads of our tables, and a bound on the
 * instructions of SQLite's virtual machine. It stays in the caller's memory
 * until store_guard_end(), or until the connection is closed. Begin it before
 * SQLite reads the database. */
enum { GUARD_LIMITS = 16 };
struct guard {
    sqlite3 *db;
    uint64_t steps;     /* Instructions of SQLite's virtual machine so far. */
    uint64_t steps_max; /* Upper bound on them, about. */
    int limits[GUARD_LIMITS]; /* Limits before the restriction. */
};
void store_guard_begin(struct guard *guard, sqlite3 *db);
/* Count the instructions from 0 again. */
void store_guard_renew(struct guard *guard, uint64_t steps_max);
/* Remove the restrictions: the database is trusted now. */
void store_guard_end(struct guard *guard);
/* Classify the connection's last error. ERR_CORRUPT: the database is damaged,
 * or reading it took too many instructions; ERR_TOO_BIG: a row or a text is
 * over the limit; ERR_IO: the file cannot be read; or a shortage. */
enum err store_guard_error(const struct guard *guard);

/* Check that a database is one of craftd's in which an entry was applied, in
 * bounded time whatever the file is. Call it directly after
 * store_guard_begin(). With `only_ours` every other object in it (a trigger, a
 * view, an index) is an error, so that a node can use it as its own.
 *   ERR_VERSION  its schema is newer than this program
 *   ERR_CORRUPT  it is not such a database, or is damaged
 *   ERR_IO, a shortage  it cannot be read
 * After an error `*why` is a sentence, valid until the next call. */
MUST_CHECK enum err store_schema_check(struct guard *guard, bool only_ours,
                                       const char **why);

/* Is a SQLite file of `bytes` bytes, with this header, a whole number of pages?
 * SQLite takes the missing rest of a last page for zeros, which would become
 * part of values. */
enum { SCHEMA_HEADER_BYTES = 100 };
bool store_schema_ends_with_page(const uint8_t header[SCHEMA_HEADER_BYTES],
                                 uint64_t bytes);

/* Run store_schema_check() with `only_ours` on a database of which SQLite has
 * read nothing yet. Errors are logged. */
MUST_CHECK enum err store_schema_check_foreign(sqlite3 *db);

/* ---- the view in backups (view.c) ---- */

extern const char store_view_name[];
extern const char store_view_sql[];
/* Add the view's row to the last leaf of the schema's b-tree: a page of 4096
 * bytes, whose b-tree begins at page[start] (100 on page 1, else 0). False: it
 * has no space, or is not such a page; it is unchanged. */
bool store_view_add(uint8_t *page, size_t start);
/* Number of the next page on the path from the root to that leaf; 0: this page
 * is not an interior one. */
uint64_t store_view_next_page(const uint8_t *page, size_t start);
/* Drop the view, which a backup that became a node's database has. */
MUST_CHECK enum err store_view_drop(sqlite3 *db);

/* ---- transactions (store.c), ranges (range.c) ---- */

/* Begin a transaction unless one is open. ERR_NOSPACE: rolled back. */
MUST_CHECK enum err store_begin(struct store *store);
/* Handle the last error of SQLite, which occurred while `what`: after a
 * shortage roll back to the last flush, and return it; after any other error
 * die(). */
MUST_CHECK enum err store_failed(struct store *store, const char *what);

MUST_CHECK enum err store_ranges_prepare(struct store *store);
void store_ranges_free(struct store *store);
/* As store_range_next(), but ERR_IO after an error of SQLite, which is left to
 * the caller; the range stays open. */
MUST_CHECK enum err store_range_step(struct store *store,
                                     struct store_pair *pair);
/* As store_get(), without its handling of errors. False: SQLite failed. The
 * row is valid until store->select is reset. */
bool store_read(struct store *store, struct bytes key, struct store_row *row,
                bool *found);
/* ---- generation.c ---- */

/* The generation in use. The first one is created if there is none.
 * ERR_CORRUPT: db/CURRENT is damaged, or missing although there are databases;
 * logged. */
MUST_CHECK enum err store_generation_current(const struct fs *fs,
                                             struct generation *generation);
/* Create the directory of a generation, durably. */
MUST_CHECK enum err store_generation_make(const struct fs *fs, unsigned number);
/* Make `generation` the one in use, durably. After an error the old one is in
 * use; if that is in doubt, it die()s. */
MUST_CHECK enum err store_generation_use(const struct fs *fs,
                                         const struct generation *generation);
/* Remove the directories of all others. */
MUST_CHECK enum err store_generation_sweep(const struct fs *fs, unsigned keep);
/* Sync the database's files, which an earlier process wrote
 * (fs_sync_file()). */
MUST_CHECK enum err store_generation_sync(const struct fs *fs, unsigned number);
/* Path of `file` in a generation's directory; NULL: of the directory. */
void store_generation_path(unsigned number, const char *file,
                           char path[FS_PATH_BYTES]);
/* Name of the database for SQLite: an absolute path, or ":memory:" if the file
 * system has none. */
void store_generation_database(const struct fs *fs, unsigned number, char *path,
                               size_t size);

#endif
