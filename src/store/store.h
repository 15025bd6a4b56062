/* store.h -- the replicated state machine: two tiers in memory above a SQLite
 * database. This room is the only user of SQLite.
 *
 *     store_apply()       -> active tier     no disk
 *     store_freeze()      -> frozen tier     a swap of pointers
 *     store_flush_step()  -> open transaction, in key order, a slice per call;
 *                            the last one commits it
 *     store_checkpoint_step() -> database file, in steps and slices, synced
 *
 * The log makes an entry durable; SQLite does not stand between a committed
 * entry and its answer. Applying an entry changes ordered tables in memory, and
 * reads the database only for a row that neither tier has, nor the cache of
 * rows that were flushed last. A read looks in the
 * active tier, the frozen one, and the database; a range merges the three. A
 * deleted key is a tombstone, which hides what is below. The frozen tier has
 * every row that the open transaction has changed, so that all reads show one
 * state, that of the last entry applied, at every moment of a flush.
 *
 * A flush is one transaction that ends with the row of table raft: applied
 * index, term, rolling hash and membership as of the frozen tier's last entry.
 * So replay of the log after a crash starts at exactly the right entry. If
 * there is no space for it, it is rolled back and starts again later: the tiers
 * keep what was applied, and nothing that was read is taken back. In WAL mode
 * with synchronous=NORMAL a commit does not sync, except the first one after a
 * checkpoint, which restarts the -wal. Flush and checkpoint exclude each other;
 * applying and reading go on during both.
 *
 * The tiers are bounded by their user: when store_buffered() has reached its
 * limit and store_is_frozen(), nothing more should be applied. A restore
 * changes tables by their names, for which the tiers must be empty
 * (store_changes_schema()).
 *
 * Files under the fs's root:
 *     db/gen-%07u/state.db  the database (with its -wal)
 *     db/CURRENT            names the generation in use, so that a snapshot is
 *                           put in place by one rename
 *     db/reserve.tmp        space for a full disk
 *     db/image-%u.tmp       pages saved for an open image
 *     db/upload.tmp         a backup that a client sent (upload.h)
 * With a file system in memory the database is ":memory:".
 *
 * Nothing here depends on clock, locale or node (cluster time is part of the
 * entries), and no row on when a tier was flushed: the same log gives the same
 * rows.
 *
 * Keys and values are BLOBs, compared by memcmp. Every row has the log index of
 * the entry that created it, that of the entry that changed it last, and the
 * number of times that it was written. Results of named commands (command.h)
 * are rows too.
 *
 * Errors of SQLite become these shortages:
 *     ERR_NOSPACE    SQLITE_FULL, once the reserve is used up as well, or an
 *                    errno of a full disk or quota (fs.h)
 *     ERR_RESOURCES  SQLITE_NOMEM, or an errno of a lack of descriptors or
 *                    memory
 * After both the state is as before the call, and the caller tries again
 * later; a flush that was in progress starts again. A function whose list has
 * ERR_NOSPACE may return ERR_RESOURCES as well. Every other error that puts the
 * data in doubt die()s with a sentence. */
#ifndef CRAFTD_STORE_STORE_H
#define CRAFTD_STORE_STORE_H

#include "base/base.h"
#include "base/bytes.h"
#include "store/rows.h"
#include "store/upload.h"
#include "sys/fs.h"

struct store;

struct store_options {
    const struct fs *fs; /* Borrowed; outlives the store. */
    const char *vfs;     /* Name of a SQLite VFS; NULL: the default one. */
    uint64_t
        reserve_bytes;    /* Size of db/reserve.tmp; 0: STORE_RESERVE_BYTES. */
    uint64_t cache_bytes; /* Upper bound on SQLite's page cache, which grows
                             as it fills; 0: STORE_CACHE_BYTES. Pages of a
                             flush that do not fit are written before its
                             COMMIT, which takes the longer the larger the
                             cache is. */
    uint64_t row_cache_bytes;  /* Memory for the indexes of rows that were
                                  written last (row_cache.h); 0:
                                  STORE_ROW_CACHE_BYTES. */
    uint64_t checkpoint_pages; /* Pages that one step of a checkpoint copies; 0:
                                  STORE_CHECKPOINT_PAGES. */
    uint64_t wal_bytes_kept;   /* A larger -wal is truncated to this when it is
                                  started over; 0: STORE_WAL_BYTES_KEPT. */
};
enum {
    STORE_RESERVE_BYTES = 2 << 20,
    STORE_WAL_BYTES_KEPT = 32 << 20,
    /* Size that store_prepare() gives a smaller -wal: 26 pages, of which a
     * delete is sure on a full disk, whatever the reserve was used for. */
    STORE_WAL_BYTES_LEAST = 108 << 10,
    STORE_CACHE_BYTES = 4 << 20,
    STORE_ROW_CACHE_BYTES = 1 << 20,
    STORE_CHECKPOINT_PAGES = 256
};

/* Open the database, create it if missing, and migrate it: migrations are
 * embedded, and each is run once, in a transaction that records it. `*store` is
 * to be closed with store_close().
 *   ERR_VERSION  its schema is newer than this program; logged
 *   ERR_CORRUPT  the database or db/CURRENT is damaged; logged
 *   ERR_NOSPACE, ERR_RESOURCES, ERR_IO  it cannot be opened */
MUST_CHECK enum err store_open(const struct store_options *options,
                               struct store **store);
/* Flush, and close. No image may be open. A flush that fails for a shortage is
 * no loss, since the log has the entries. NULL is fine. */
void store_close(struct store *store);

/* Close a database that is not needed any more, without a flush. */
void store_discard(struct store *store);

/* Index and term of the last entry applied, 0 if there is none, and the rolling
 * hash of the effects of all entries up to it. */
uint64_t store_applied(const struct store *store);
uint64_t store_applied_term(const struct store *store);
uint64_t store_hash(const struct store *store);
/* The last stamp that was applied, in ms of cluster time (node/time.c); 0: none
 * was. It never decreases. */
uint64_t store_time_ms(const struct store *store);
/* Index of the last entry that survives a crash of the process: that of the
 * last flush. */
uint64_t store_flushed(const struct store *store);

/* The last membership, as given to store_apply_conf(); empty if there is none.
 * Valid until the next call of that. *index is the log index of its entry. */
struct bytes store_conf(const struct store *store, uint64_t *index);

struct store_result {
    uint64_t deleted;  /* Keys deleted by a version 1 command. */
    struct bytes data; /* Result of a version 2 or 3 command
                          (command/result.h); else empty. Valid until the next
                          call on the store. */
};

/* A change of one key by an entry. Views are valid during the call. */
struct store_change {
    bool deleted; /* The key is gone; otherwise it was written. */
    struct bytes key;
    bool expired;          /* It was deleted because its time was over. */
    struct bytes value;    /* Empty if deleted. */
    uint64_t create_index; /* Log index of the write that created the key. */
    uint64_t prev_index;   /* Log index of its change before this one; 0: the
                              key is new. */
};
/* Receives the changes that store_apply() makes, in their order and before it
 * returns. It must not change the store. If store_apply() then fails, the
 * changes of that entry have not been made. */
struct store_observer {
    void (*changed)(void *arg, const struct store_change *change);
    /* A transaction has failed: the changes of this entry that were reported
     * so far have been undone. */
    void (*undone)(void *arg);
    /* A restore has replaced all keys. Its entry has been applied. */
    void (*replaced)(void *arg);
    void *arg;
};
/* Set the observer, which is borrowed until store_close(); NULL: none. */
void store_observe(struct store *store, const struct store_observer *observer);

/* Apply the entry at `index`, which is store_applied() + 1. `command` is
 * encoded as in command.h. A failure that a command itself has (a condition, a
 * number) is a result: the entry is applied, equally on every node.
 *   ERR_NOSPACE  not applied: the database could not be read, or not changed by
 *                a step of a restore
 *   ERR_VERSION  the command is of a newer program: not applied; stop
 *   ERR_CORRUPT  the command is malformed: not applied; stop */
MUST_CHECK enum err store_apply(struct store *store, uint64_t index,
                                uint64_t term, struct bytes command,
                                struct store_result *result);
/* Apply an entry without effect on the data. */
void store_apply_noop(struct store *store, uint64_t index, uint64_t term);
/* Apply a membership, which is opaque here. */
void store_apply_conf(struct store *store, uint64_t index, uint64_t term,
                      struct bytes conf);
/* True for a step of a restore that changes tables by their names, and for the
 * first entry with a stamp, which migrates the database (migrate.c). No
 * checkpoint may be in progress then, and store_apply() flushes everything
 * first, which takes long; a caller that cannot wait flushes it in steps
 * before. */
bool store_changes_schema(const struct store *store, struct bytes command);

/* Freeze the active tier, unless one is frozen or nothing was applied. True:
 * one is frozen. */
bool store_freeze(struct store *store);
bool store_is_frozen(const struct store *store);
/* One step of the flush of the frozen tier, if there is one: up to `rows` rows,
 * or the commit, after which it is not frozen any more. No range may be open,
 * and no checkpoint in progress. ERR_NOSPACE: rolled back, the next step is the
 * first one again. */
MUST_CHECK enum err store_flush_step(struct store *store, uint64_t rows);
/* True between the first and the last step of a flush. */
bool store_is_flushing(const struct store *store);
/* Bytes of memory that the active tier uses, and bytes that its flush may write
 * to the -wal: more than it does if keys are close to each other. */
uint64_t store_buffered(const struct store *store);
uint64_t store_flush_cost(const struct store *store);

/* Flush everything that was applied now. ERR_NOSPACE as with
 * store_flush_step(). */
MUST_CHECK enum err store_flush(struct store *store);
/* The same, and copy the -wal into the database, all of it now: writes every
 * page in it, saves those that an open image still needs, and syncs twice. If a
 * shortage stops the copying, a later checkpoint continues: ERR_OK. */
MUST_CHECK enum err store_checkpoint(struct store *store);
/* One step of a checkpoint, for one turn of the event loop. No flush may be in
 * progress; not for a store in memory. A commit between two steps makes the
 * checkpoint start again. True: it is not finished, call again. */
bool store_checkpoint_step(struct store *store);
/* True while the sync of a step is in flight, which needs an fs with
 * asynchronous operations. store_checkpoint_step() then only polls it, and
 * nothing may be flushed until it has completed. A sync that fails die()s. */
bool store_is_syncing(const struct store *store);
/* True if that sync is known, without a system call, to have completed. Then
 * call store_checkpoint_step() in the next turn: the fs's event descriptor may
 * not become readable. */
bool store_has_completion(const struct store *store);
/* Bytes that a checkpoint would copy into the database now; 0 in memory. */
uint64_t store_checkpoint_bytes(const struct store *store);
/* Index of the last entry that survives a power loss: applied as of the last
 * complete checkpoint (in memory: of the last commit). The log must keep all
 * entries after it. */
uint64_t store_durable(const struct store *store);
/* Bytes of the -wal that are committed, and not yet in the database file. */
uint64_t store_wal_bytes(const struct store *store);
/* Number of entries applied, and not flushed. */
uint64_t store_pending(const struct store *store);

/* Give the -wal its least size, and prepare one slice of the reserve, space
 * that is released when a write finds the disk full, so that the transaction
 * need not be rolled back. Not while a sync is in progress. True: call it
 * again. False: the reserve is complete, or cannot be prepared now. Does
 * nothing for a store in memory. */
bool store_prepare(struct store *store);
/* Why there is no reserve. ERR_NOSPACE: it was released, or there is no space
 * for it; ERR_RESOURCES: there is no descriptor. New work should be refused
 * until a later store_prepare() succeeds. ERR_OK: nothing is short. */
enum err store_shortage(const struct store *store);
/* Bytes that a transaction can write however full the disk is: the reserve, and
 * the unused rest of the -wal's file (after a checkpoint, all of it). One
 * system call. UINT64_MAX in memory. */
uint64_t store_room(const struct store *store);

/* ---- snapshots (image.c, incoming.c) ----
 *
 * An image is the database as of the last checkpoint, byte by byte. It stays
 * the same while writes and checkpoints continue: pages that they overwrite are
 * saved until they have been read, in at most as much space as the image has
 * bytes. In memory it is a copy, made when it is opened. */

enum { STORE_IMAGES_MAX = 4 };

struct store_image {
    /* READ-ONLY */
    uint64_t index; /* Index and term of the last entry applied in it. */
    uint64_t term;
    uint64_t bytes; /* Size. */
    uint64_t at;    /* Offset of the next byte to be read. */
    /* PRIVATE */
    struct store *store;
    unsigned slot;
    unsigned char *copy; /* All of it, if the store is in memory; else NULL. */
    int handle;          /* File of saved pages; -1: none was saved yet. */
    uint32_t *saved;     /* By page: 1 + its place there; 0: not saved. */
    uint32_t saved_count;
    bool lost; /* A page could not be saved. */
    /* A page that is read from here, at this offset; NULL: none. */
    uint8_t *changed;
    uint64_t changed_at;
    struct image_rows *rows; /* NULL: it is read as a file. */
};
/* Open an image. Close it before the store.
 *   ERR_NOT_FOUND  no entry has been applied in it
 *   ERR_BUSY       STORE_IMAGES_MAX are open
 *   ERR_NOSPACE    the last checkpoint is not complete: it is in progress, or
 *                  there was no space; in memory: there is none for a copy
 *   ERR_IO         the file cannot be read */
MUST_CHECK enum err store_image_open(struct store *store,
                                     struct store_image **image);
/* Add a view kv(key, value) of text to it (view.c), for people who read
 * backups. Call it before the first read, and not for snapshots. If the
 * schema's page has no space for the view, the image stays as it is. */
void store_image_add_view(struct store_image *image);
/* Read the next `size` bytes; at most image->bytes - image->at. ERR_NOSPACE,
 * ERR_IO: a page could not be saved or read; close the image. */
MUST_CHECK enum err store_image_read(struct store_image *image, void *out,
                                     size_t size);
void store_image_close(struct store_image *image);

/* ---- rows of an image (image_rows.c) ----
 *
 * All keys of one state in order, however long that takes and whatever is
 * written meanwhile. A read transaction would pin the -wal, which then grows by
 * everything that is written; a range must be closed before the next entry is
 * applied. So a second connection of SQLite reads the image instead, through a
 * VFS that has nothing but this file. It holds nothing up: its only cost is
 * that every page that a checkpoint replaces is saved until the image is
 * closed, in at most as much space as the image has bytes. */

/* Begin to read the rows of an image of which nothing was read, instead of its
 * bytes. *keys is their number. ERR_RESOURCES, ERR_IO: close the image. */
MUST_CHECK enum err store_image_rows_begin(struct store_image *image,
                                           uint64_t *keys);
/* Continue behind the key `after`, empty: at the first key. */
void store_image_rows_seek(struct store_image *image, struct bytes after);
/* The next row; views are valid until the next call on the image.
 *   ERR_NOT_FOUND  there are no more
 *   ERR_NOSPACE    a page could not be saved: the image is lost
 *   ERR_IO         a page cannot be read */
MUST_CHECK enum err store_image_rows_next(struct store_image *image,
                                          struct store_pair *pair);

/* True while an image is open, so that the store must not be closed. */
bool store_is_held(const struct store *store);

/* Remove the database, complete or not; it must not be open. If it is
 * interrupted, it can be called again. */
MUST_CHECK enum err store_remove(const struct fs *fs);

/* An image that is received: the next generation. One at a time. It touches no
 * file that is in use. */
struct store_incoming;
/* ERR_NOSPACE, ERR_RESOURCES, ERR_IO: its file cannot be created. */
MUST_CHECK enum err store_incoming_new(const struct store *store,
                                       struct store_incoming **incoming);
/* Remove an image that was not finished. NULL is fine. */
void store_incoming_free(struct store_incoming *incoming);
/* Append the next bytes of the image. The file is synced at intervals, so that
 * the last sync is short. ERR_NOSPACE, ERR_IO: call store_incoming_free(). */
MUST_CHECK enum err store_incoming_add(struct store_incoming *incoming,
                                       struct bytes data);
/* True if the membership of a received database, opaque here, can be used. */
typedef bool store_conf_check(struct bytes conf);
/* The image is complete: open and check it, and make it the database that is
 * opened from now on, durably. It must have applied exactly (index, term); with
 * index 0 (a backup) any index, but then every row is checked, in a time that
 * grows with the data. `check` decides on its membership. `*store` is a second
 * store: close the old one, then call store_tidy(). ERR_CORRUPT, ERR_VERSION or
 * another error: the old database is still the one in use. Frees `incoming` in
 * any case. */
MUST_CHECK enum err store_incoming_finish(struct store_incoming *incoming,
                                          uint64_t index, uint64_t term,
                                          store_conf_check *check,
                                          struct store **store);
/* Remove the files of all other generations. A failure is logged. */
void store_tidy(const struct store *store);
/* Index and term of the snapshot that this database started as; 0: it started
 * empty. */
uint64_t store_installed(const struct store *store, uint64_t *term);

/* ---- restores (restore.c, upload.c) ----
 *
 * A restore arrives as entries of the log (command.h). Its rows are collected
 * in table staging. One entry then renames the two tables, so that staging
 * becomes the data, in a time that does not depend on the number of rows. Both
 * tables are the same on every node and in every snapshot. Tables that were
 * replaced, or whose restore was aborted, are deleted in slices by each node on
 * its own. */

/* Delete one slice of such tables. No flush or sync may be in progress.
 * ERR_NOT_FOUND: nothing is left. ERR_NOSPACE: nothing was deleted. */
MUST_CHECK enum err store_sweep(struct store *store);
/* The id of the restore in progress, 0 if there is none, and the number of rows
 * staged so far, from which the caller sees whether it progresses. */
uint64_t store_restoring(const struct store *store, uint64_t *staged);

/* Read the row of `key`. ERR_NOT_FOUND: there is none. ERR_NOSPACE: the
 * database cannot be read now. */
MUST_CHECK enum err store_get(struct store *store, struct bytes key,
                              struct store_row *row);

/* True when writes are counted in the rows' versions: from the first version 2
 * command on. Nodes of an older build do not count, and cannot apply that
 * command, so all nodes count from the same entry. Before, every version is
 * 1. */
bool store_counts(const struct store *store);
/* Number of named commands whose results are kept for repeats: the last
 * STORE_ANSWERS_MAX. They are not used any more after STORE_ANSWER_AGE_MS, by
 * the stamps of the commands. */
enum { STORE_ANSWERS_MAX = 10000, STORE_ANSWER_AGE_MS = 600000 };
uint64_t store_answers(const struct store *store);

/* ---- keys and leases that end (deadlines.c) ---- */

/* Number of keys with a deadline or a lease, and of leases. */
uint64_t store_timed_keys(const struct store *store);
uint64_t store_leases(const struct store *store);
/* A cluster time before which nothing ends; UINT64_MAX: nothing does. A lower
 * bound, which store_find_due() makes exact: ERR_NOSPACE, it cannot now. */
uint64_t store_due_ms(const struct store *store);
MUST_CHECK enum err store_find_due(struct store *store);
/* ERR_NOT_FOUND: there is no such lease. ERR_NOSPACE: it cannot be read now. */
MUST_CHECK enum err store_lease_get(struct store *store, uint64_t id,
                                    struct store_lease *lease);
/* The lease with the next greater id. Errors as above. */
MUST_CHECK enum err store_lease_next(struct store *store, uint64_t after,
                                     struct store_lease *lease);
/* The keys of a lease, each u16 size | bytes; valid until the next call on the
 * store. ERR_NOSPACE. */
MUST_CHECK enum err store_lease_keys(struct store *store, uint64_t id,
                                     struct cursor *keys);

/* ---- keys in order (range.c) ----
 *
 * A range gives the keys in [from, to), compared by memcmp. One is open at a
 * time. Close it before the next entry is applied or flushed, so that it shows
 * one state. */

/* `range` is borrowed until store_range_close(). */
void store_range_open(struct store *store, const struct store_range *range);
/* The next key. ERR_NOT_FOUND: there is none. ERR_NOSPACE: the database cannot
 * be read now, and the range is closed. */
MUST_CHECK enum err store_range_next(struct store *store,
                                     struct store_pair *pair);
/* Safe if none is open. */
void store_range_close(struct store *store);

/* Hash over all rows in key order. For tests: its time grows with the data. */
uint64_t store_content_hash(struct store *store);
uint64_t store_key_count(struct store *store);

struct store_stats {
    uint64_t db_bytes;     /* Database and its -wal. */
    uint64_t used_bytes;   /* Pages of the database that are not free. */
    uint64_t unused_bytes; /* Free pages of the database. */
    uint64_t commits;      /* Since store_open(), as the next two. */
    uint64_t checkpoints;
    uint64_t written_bytes;  /* To the database and its -wal. */
    uint64_t buffered_bytes; /* Memory of both tiers. */
};
void store_get_stats(struct store *store, struct store_stats *stats);
const char *store_version(void); /* SQLite's version, a constant. */

#endif
