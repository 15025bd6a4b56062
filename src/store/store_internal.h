/* store_internal.h -- what the files of this room share.
 *
 *     open.c        opens and closes a database
 *     store.c       applies entries; reads
 *     tier.c        what was applied and is not in the database yet
 *     table.c       an ordered table in memory, of which a tier has several
 *     flush.c       the frozen tier into the database, in slices
 *     txn.c         applies version 2 commands: conditions, results, repeats
 *     deadlines.c   when keys and leases end
 *     restore.c     applies the steps of a restore; deletes replaced tables
 *     range.c       reads keys in order, from tiers and database
 *     checkpoint.c  copies the -wal into the database, in steps
 *     vfs_shim.c    intercepts SQLite's I/O on its files
 *     reserve.c     keeps space for a full disk
 *     generation.c  finds and replaces the directory of the database
 *     image.c       reads the database as a snapshot, to be sent
 *     image_rows.c  reads the keys of such a snapshot in order
 *     readonly.c    a VFS for a file that SQLite cannot write
 *     incoming.c    receives a snapshot, and puts it in place
 *     upload.c      reads a backup that a client sent, to be restored
 *     migrate.c     has the schema's versions
 *     schema.c      checks a database that this node did not write
 *     view.c        adds a view of keys and values as text to backups */
#ifndef CRAFTD_STORE_STORE_INTERNAL_H
#define CRAFTD_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "command/command.h"
#include "command/result.h"
#include "store/row_cache.h"
#include "store/store.h"
#include "store/table.h"
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
/* Those that it has from the first entry with a stamp on. */
#define RAFT_ROW_TIMED(X)                                                      \
    X(time)       /* The last stamp, in ms of cluster time. */                 \
    X(timed_keys) /* Keys that have a deadline or a lease. */                  \
    X(leases)     /* Leases that are in force. */
struct row {
#define X(column) uint64_t column;
    RAFT_ROW(X)
    RAFT_ROW_TIMED(X)
#undef X
};

/* The same columns as table pairs has, since it is renamed to that. The second
 * one is for a schema with deadlines. */
#define PAIRS_COLUMNS                                                          \
    "  key BLOB PRIMARY KEY NOT NULL,"                                         \
    "  value BLOB NOT NULL,"                                                   \
    "  create_index INTEGER NOT NULL,"                                         \
    "  modify_index INTEGER NOT NULL,"                                         \
    "  version INTEGER NOT NULL DEFAULT 1"
#define STORE_DEADLINE_COLUMN "deadline INTEGER NOT NULL DEFAULT 0"
#define STAGING_SQL "CREATE TABLE staging(" PAIRS_COLUMNS ");"
#define STAGING_TIMED_SQL                                                      \
    "CREATE TABLE staging(" PAIRS_COLUMNS ", " STORE_DEADLINE_COLUMN ");"
#define DEADLINES_SQL                                                          \
    "CREATE TABLE deadlines(" PAIRS_COLUMNS ", " STORE_DEADLINE_COLUMN ");"
/* Version of the schema with deadlines. */
enum { STORE_SCHEMA_TIMED = 4, STORE_LEASE_BYTES = 3 * 8 };

/* Statements of ranges: rows or keys alone, each in both directions. */
enum { STORE_RANGES = 4 };

/* Entries that were applied and are not in the database yet (tier.c). */
enum tier_table {
    TIER_PAIRS,
    TIER_STAGING,   /* Rows of table staging. */
    TIER_DEADLINES, /* Rows of table deadlines: deadlines.c. */
    TIER_AGES,      /* Results: entry's index (store_age_key()) -> name. */
    TIER_ANSWERS,   /* The same by name; the value is the result, the version
                       its digest, the create_index its cluster time. */
    TIER_TABLES,
};
struct tier {
    struct arena arena;
    struct table tables[TIER_TABLES];
    uint64_t cost_bytes; /* See store_flush_cost(). */
    /* Only of a frozen one, as of its last entry. */
    struct row row;
    uint64_t dropped; /* As store->dropped. */
    bool has_conf;    /* Its membership, if that has changed. */
    struct buf conf;
};

/* A walk over the two tiers and the database at once (range.c). */
struct merge {
    /* Set by the caller. */
    struct bytes from;
    struct bytes to; /* store_range_end() */
    bool reverse;
    /* PRIVATE */
    bool open;
    struct table_walk walks[2];
    sqlite3_stmt *statement;
    struct bytes key; /* The database's next key, unless ... */
    bool used;        /* ... it was given already, or ... */
    bool ended;       /* ... there is none. */
};

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
    int handle; /* Handle of the fs, for asynchronous syncs and writeback; -1:
                   it has neither. */
    uint64_t unstarted_bytes; /* Written since the last start of writeback. */
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
    bool timed; /* The schema is STORE_SCHEMA_TIMED or later. */
    char path[2 * FS_PATH_BYTES];
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    /* flush.c */
    sqlite3_stmt *put;
    sqlite3_stmt *delete;
    sqlite3_stmt *stage;
    sqlite3_stmt *add_answer;
    sqlite3_stmt *drop_answer;
    sqlite3_stmt *select;
    sqlite3_stmt *save;
    /* tier.c */
    sqlite3_stmt *look;
    sqlite3_stmt *find_staged;
    sqlite3_stmt *find_answer;
    sqlite3_stmt *oldest_answer;
    sqlite3_stmt *measure; /* txn.c */
    /* deadlines.c; NULL before there is a stamp. */
    sqlite3_stmt *put_deadline;
    sqlite3_stmt *drop_deadline;
    sqlite3_stmt *find_deadline;
    sqlite3_stmt *deadline_range;
    uint64_t floor_ms;      /* No earlier deadline is left or will be set. */
    uint64_t next_floor_ms; /* The same after the entry that is applied. */
    uint64_t due_ms;        /* No deadline is earlier; UINT64_MAX: none. */
    struct buf due;         /* Ends that are due, and ... */
    struct buf lease_keys;  /* ... the keys of a lease: lists of
                               u16 size | bytes. */
    sqlite3_stmt *ranges[STORE_RANGES];
    struct merge range; /* The range of the public header. */
    struct tier tiers[2];
    struct tier *active; /* One of these, ... */
    struct tier *frozen; /* ... and the other one, or NULL. */
    uint64_t dropped;    /* Results of named commands up to this index do not
                            count any more. */
    /* Changes of the entry that is being applied. */
    struct row_cache *row_cache;
    struct undo *undo;
    size_t undo_count;
    size_t undo_capacity;
    struct {
        enum tier_table table; /* TIER_TABLES: all rows are flushed. */
        struct table_walk walk;
        uint64_t dropped; /* Results up to this one are deleted. */
    } flush;
    /* The row of table raft: now, as of the last commit, and as of the last
     * complete checkpoint. */
    struct row now;
    struct row flushed;
    struct row durable;
    const struct store_observer *observer; /* NULL: none. */
    struct buf conf;                       /* The membership. */
    struct buf result; /* Result of the command applied last. */
    struct buf keys;   /* Keys of a prefix that is being deleted: txn.c. */
    bool open; /* A transaction is open: a flush, or a step of a restore. */
    bool conf_dirty; /* `conf` is in neither frozen tier nor database. */
    int wal_pages;   /* Pages of the -wal that are not in the database. */
    bool torn;       /* A checkpoint has copied only some of its pages. */
    struct shim_file db_file;
    struct shim_file wal_file;
    bool last_frame; /* The header of a transaction's last frame was written. */
    struct reserve reserve;
    enum step step;
    enum pass pass;
    struct {
        uint64_t end;   /* The database has the pages before this offset. */
        uint64_t pages; /* Number of these pages that are in the -wal. */
        uint64_t left;  /* Pages that this step may copy. */
        uint64_t reads; /* Pages of the -wal that this pass has read. */
        bool skipped;   /* The last one was copied before. */
        bool complete;  /* All pages are copied. */
    } copy;             /* Progress of the running checkpoint. */
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

/* ---- tier.c ---- */

/* Make `tier`, which is zero, an empty one, or one that has something. */
void store_tier_init(struct tier *tier);
void store_tier_free(struct tier *tier);
/* The row of `key` in the newer tier that has one; NULL: neither has. */
const struct table_row *store_tier_row(const struct store *store,
                                       enum tier_table which, struct bytes key);
/* Set a row in the active tier, which copies key and value. It can be undone
 * until store_undo_forget(). */
void store_tier_set(struct store *store, enum tier_table which,
                    struct bytes key, const struct table_row *row);
/* The same of a key, whose row has a deadline unless it is 0. */
void store_tier_set_pair(struct store *store, struct bytes key,
                         const struct table_row *row, uint64_t deadline);
/* Undo the changes since store->undo_count was `mark`. */
void store_undo(struct store *store, size_t mark);
void store_undo_forget(struct store *store);

/* A row without its value, which may be large. All 0 if there is none. */
struct store_looked {
    bool found;
    uint64_t value_bytes;
    uint64_t create_index;
    uint64_t modify_index;
    uint64_t version;
    uint64_t deadline; /* Its end: deadlines.c. */
};
/* Lookups in tiers and database. False: SQLite failed. store_read() is
 * store_get() without its handling of errors; the row is valid until
 * store->select is reset, or the next entry is applied. */
bool store_look(struct store *store, struct bytes key,
                struct store_looked *looked);
bool store_read(struct store *store, struct bytes key, struct store_row *row,
                bool *found);
bool store_is_staged(struct store *store, struct bytes key, bool *yes);
/* *value is that of a row of table deadlines, in `room` if it comes from the
 * database (a longer one is cut); empty if there is none. */
bool store_deadline_find(struct store *store, struct bytes key,
                         uint8_t room[STORE_LEASE_BYTES], struct bytes *value);
/* Adds the result that is kept under `name` to store->result. */
bool store_answer_find(struct store *store, struct bytes name, bool *found,
                       uint64_t *digest);
/* Keep store->result, the result of entry `index`, under a name that has none.
 * If there are too many, the oldest one is dropped. */
bool store_answer_add(struct store *store, uint64_t index, struct bytes name,
                      uint64_t digest);
/* Drop results that are too old: some of the oldest ones, and, if the one under
 * `name` is too old, all up to that. False: SQLite failed. */
bool store_answers_expire(struct store *store, struct bytes name);
enum { STORE_AGE_BYTES = 8 };
void store_age_key(uint64_t index, uint8_t key[STORE_AGE_BYTES]);

/* ---- flush.c ---- */

/* Commit the open transaction of a step of a restore; nothing is buffered.
 * False: SQLite failed. */
MUST_CHECK bool store_commit_now(struct store *store);

/* ---- store.c for txn.c and restore.c. False: SQLite failed. ---- */

/* Run a statement that returns no row. */
bool store_run(sqlite3_stmt *statement);
/* Bind a BLOB, which must not change before the statement is reset. */
void store_bind(sqlite3_stmt *statement, int place, struct bytes bytes);
/* Notify the observer of a change, if there is an observer. */
void store_report(struct store *store, const struct store_change *change);
/* A column that is a BLOB; valid until the next step. */
struct bytes store_column(sqlite3_stmt *statement, int i);
/* Write a key that ends at `deadline` (deadlines.c), or never (0), or as before
 * (STORE_KEEP_DEADLINE). If its lease cannot take it, *status changes. */
#define STORE_KEEP_DEADLINE UINT64_MAX
bool store_put(struct store *store, uint64_t index, const struct command_op *op,
               uint64_t deadline, bool *created, enum result_status *status);
bool store_delete(struct store *store, struct bytes key, bool expired,
                  uint64_t *deleted);
/* Apply a version 2 command, which `reader` has opened. Its result is added to
 * store->result. */
bool store_txn_apply(struct store *store, uint64_t index, struct bytes command,
                     struct command_reader *reader);

/* ---- deadlines.c. False: SQLite failed. ----
 *
 * A refusal is a status other than the one before, RESULT_THEN for a grant. */

uint64_t store_deadline_of_lease(uint64_t lease);
/* The lease with which something ends; 0: it has a deadline, or does not end.
 */
uint64_t store_lease_of(uint64_t deadline);
/* The end of a key has changed. */
bool store_deadline_move(struct store *store, struct bytes key, uint64_t old,
                         uint64_t deadline, enum result_status *status);
bool store_lease_find(struct store *store, uint64_t id,
                      struct store_lease *lease, bool *found);
MUST_CHECK enum result_status store_lease_grant(struct store *store,
                                                uint64_t id, uint64_t ttl_ms);
bool store_lease_keep(struct store *store, uint64_t id, bool *found,
                      uint64_t *ttl_ms);
/* Delete a lease and its keys. */
bool store_lease_end(struct store *store, uint64_t id, bool expired,
                     bool *found, uint64_t *deleted);
/* Delete what is due at store->now.time. */
bool store_expire(struct store *store, uint64_t limit, uint64_t *deleted);

/* Apply one step of a restore. Its result is added to store->result. */
bool store_restore_apply(struct store *store, uint64_t index,
                         struct bytes command);
/* Does this step change the schema, for which nothing may be buffered? */
bool store_restore_changes_schema(const struct store *store,
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

/* Migrate an open database, in which nothing is buffered, to
 * STORE_SCHEMA_TIMED. A shortage: unchanged. */
MUST_CHECK enum err store_enable_time(struct store *store);
/* Read the row of table raft: store->now, store->flushed and the membership. */
MUST_CHECK enum err store_load_row(struct store *store);

/* ---- vfs_shim.c ---- */

/* Intercept all I/O of the open database from here on. */
MUST_CHECK enum err store_shim_install(struct store *store);
/* Write and sync the -wal. Returns SQLite's code. */
MUST_CHECK int store_shim_sync_wal(struct store *store);
/* Extend the -wal's file with zeros, of which SQLite takes no notice. ERR_OK
 * after an error other than a shortage as well: the next write sees it. */
MUST_CHECK enum err store_shim_extend_wal(struct store *store, uint64_t from,
                                          uint64_t to);
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
/* Read at any place of the image. Errors as of store_image_read(). */
MUST_CHECK enum err store_image_read_at(const struct store_image *image,
                                        uint64_t at, void *out, size_t size);
/* ---- readonly.c ---- */

struct readonly {
    uint64_t bytes; /* Size of the file, which does not change. */
    /* Read `size` bytes at `at`, which the file has. */
    enum err (*read)(const void *source, uint64_t at, void *out, size_t size);
    const void *source;
    /* PRIVATE */
    sqlite3_vfs vfs;
};
/* Open a connection to the file, whose first three fields are set; it has to
 * stay where it is until sqlite3_close(*db). Returns SQLite's code. */
MUST_CHECK int store_readonly_open(struct readonly *readonly, sqlite3 **db);

/* ---- image_rows.c ---- */
struct image_rows;
/* NULL is fine. */
void store_image_rows_free(struct image_rows *rows);
/* Remove the files that images of an earlier process left. */
MUST_CHECK enum err store_images_sweep(const struct fs *fs);

/* ---- migrate.c ---- */

/* Migrate to the version that a database has when it is opened, unless it has a
 * later one. *timed: it has STORE_SCHEMA_TIMED. ERR_VERSION: it is newer than
 * store_schema(), the newest version; logged. */
MUST_CHECK enum err store_migrate(sqlite3 *db, bool *timed);
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

/* Begin a transaction. */
MUST_CHECK enum err store_begin(struct store *store);
/* Handle the last error of SQLite, which occurred while `what`: after a
 * shortage roll back the open transaction, if any, and return it; after any
 * other error die(). */
MUST_CHECK enum err store_failed(struct store *store, const char *what);
/* Roll back the open transaction. */
void store_abandon(struct store *store);

MUST_CHECK enum err store_ranges_prepare(struct store *store);
void store_ranges_free(struct store *store);
/* The end of a range: `to`, or one that is greater than every key. */
struct bytes store_range_end(struct bytes to);
/* Merge the tiers with `statement`, whose first column is the key and whose
 * parameters are the bounds. Close it before anything is changed. */
void store_merge_open(struct store *store, struct merge *merge,
                      sqlite3_stmt *statement, enum tier_table which);
/* The next key, and its row; NULL: it is that of the statement. Both are valid
 * until the next call. ERR_NOT_FOUND: there is none. ERR_IO: SQLite failed. */
MUST_CHECK enum err store_merge_next(struct merge *merge, struct bytes *key,
                                     const struct table_row **row);
/* Safe if it is not open. */
void store_merge_close(struct merge *merge);
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
