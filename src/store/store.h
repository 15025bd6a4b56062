/* store.h -- the replicated state machine: SQLite, and the only user of it.
 *
 * Layout under the fs's root: db/gen-%07u/state.db (+ -wal, -shm), and
 * db/CURRENT, which names the generation in use (so that a snapshot can be
 * put in place by one rename), and db/reserve.tmp, space for a full disk. With
 * a file system in memory: ":memory:".
 *
 * The write transaction stays open across turns: store_apply() works inside
 * it, reads on the same connection see it, and store_flush() commits it (WAL
 * mode, synchronous=NORMAL: a commit costs no fsync, except the first after a
 * checkpoint, which begins the -wal anew). Applied index, term,
 * membership and a rolling hash are one row of the same transaction, so after
 * a crash replay from the log starts at exactly the right entry. Nothing here
 * depends on clock, locale or node: the same log gives the same rows.
 *
 * Keys and values are BLOBs compared by memcmp. Every row carries the index
 * of the entry that created it and that last changed it, and how often it was
 * written. Results of named commands (command.h) are rows too.
 *
 * Failures of SQLite: SQLITE_FULL, when the reserve is used up as well, and
 * what an errno of a full disk or quota has caused, is ERR_NOSPACE;
 * SQLITE_NOMEM and a lack of descriptors are ERR_RESOURCES. After both the
 * transaction is rolled back to the last flush; the caller stops applying and
 * asks again later. Where one of them is said below to return ERR_NOSPACE, the
 * other may come as well. Everything else that casts doubt on the data die()s
 * with a sentence. */
#ifndef CRAFTD_STORE_STORE_H
#define CRAFTD_STORE_STORE_H

#include "base/base.h"
#include "base/bytes.h"
#include "store/rows.h"
#include "store/upload.h"
#include "sys/fs.h"

struct store;

struct store_options {
    const struct fs *fs;
    const char *vfs;        /* SQLite VFS, NULL = the default one. */
    uint64_t reserve_bytes; /* 0: STORE_RESERVE_BYTES. */
};
enum { STORE_RESERVE_BYTES = 2 << 20 };

/* Open (create when missing) and migrate to the newest schema: migrations are
 * embedded, each in a transaction, recorded, run once; a newer schema is
 * ERR_VERSION with a log line; a damaged file ERR_CORRUPT. */
MUST_CHECK enum err store_open(const struct store_options *options,
                               struct store **store);
/* Commits what is open. NULL is fine. */
void store_close(struct store *store);

/* Index and term of the last entry applied, 0 when there is none, and the
 * rolling hash of the effects of all entries up to it. */
uint64_t store_applied(const struct store *store);
uint64_t store_applied_term(const struct store *store);
uint64_t store_hash(const struct store *store);
/* Index of the last entry that survives a crash of the process: applied as of
 * the last commit. */
uint64_t store_flushed(const struct store *store);

/* The membership stored last, as given to store_apply_conf(); empty when
 * none. Valid until the next one. *index is where it came from. */
struct bytes store_conf(const struct store *store, uint64_t *index);

struct store_result {
    uint64_t deleted;  /* Keys that a delete found. */
    struct bytes data; /* Result of a version 2 command (command/result.h);
                          valid until the next call on the store. */
};

/* Apply the entry at index = applied + 1. `command` as in command.h. What goes
 * wrong inside a command (a condition, a number) is a result like another:
 * the entry is applied, and the same everywhere.
 *   ERR_NOSPACE  not applied, nor is anything since the last flush: applied
 *                has gone back to store_flushed()
 *   ERR_VERSION  a command from a newer program: not applied, stop
 *   ERR_CORRUPT  malformed command: not applied, stop */
MUST_CHECK enum err store_apply(struct store *store, uint64_t index,
                                uint64_t term, struct bytes command,
                                struct store_result *result);
/* An entry without effect on the data (no-op). */
MUST_CHECK enum err store_apply_noop(struct store *store, uint64_t index,
                                     uint64_t term);
MUST_CHECK enum err store_apply_conf(struct store *store, uint64_t index,
                                     uint64_t term, struct bytes conf);

/* Commit the open transaction (nothing when there is none). Costs what it
 * changed: a write of every page. ERR_NOSPACE as above. */
MUST_CHECK enum err store_flush(struct store *store);
/* The same, and bring the -wal into the database: costs a write of every page
 * in it, twice for what an open image still needs, and two syncs. */
MUST_CHECK enum err store_checkpoint(struct store *store);
/* One step of a checkpoint, for one turn of the event loop. No transaction may
 * be open. A commit between two steps makes it start again. True: it is not
 * done, call again. */
bool store_checkpoint_step(struct store *store);
/* Is the sync of a step in flight? Only where the fs has asynchronous
 * operations. store_checkpoint_step() then polls it, and does nothing else;
 * until it has completed nothing may be applied. A failure ends the process. */
bool store_is_syncing(const struct store *store);
/* Has that sync completed already, without a system call to find out? Then the
 * next step is worth its turn, and the fs's event descriptor may be silent. */
bool store_has_completion(const struct store *store);
/* Bytes that a checkpoint would copy into the database now. */
uint64_t store_checkpoint_bytes(const struct store *store);
/* Index of the last entry that survives a power loss: applied as of the last
 * checkpoint. The log must keep all entries behind it. */
uint64_t store_durable(const struct store *store);
/* Bytes of the -wal: committed, and not yet in the database file. */
uint64_t store_wal_bytes(const struct store *store);
/* Entries applied since the last commit. */
uint64_t store_pending(const struct store *store);

/* Make the reserve, a slice per call: space that is released when a commit
 * finds the disk full, so that it need not be rolled back. True: call it again,
 * there is more to do. Does nothing when it is there, or with a store in
 * memory. */
bool store_prepare(struct store *store);
/* Why there is no reserve. ERR_NOSPACE: it was released, or there is no space
 * to make it; ERR_RESOURCES: no descriptor. Entries that are applied now have
 * only the rest of it, and new work should be refused until a later
 * store_prepare() succeeds. ERR_OK: nothing is short. */
enum err store_shortage(const struct store *store);
/* Bytes that a transaction can write on a full disk: the reserve, and what the
 * -wal has left of its file (all of it after a checkpoint). A system call. */
uint64_t store_room(const struct store *store);

/* ---- snapshots (image.c, incoming.c) ----
 *
 * An image is the database as of the last checkpoint, byte by byte, and stays
 * that while writes and checkpoints go on: what they overwrite is saved aside
 * until it has been read, in at most as much space as the image has bytes. In
 * memory it is a copy, made when it is opened. */

enum { STORE_IMAGES_MAX = 4 };

struct store_image {
    /* READ-ONLY */
    uint64_t index; /* The last entry applied in it, ... */
    uint64_t term;  /* ... and its term. */
    uint64_t bytes; /* Size. */
    uint64_t at;    /* Offset of the next byte to be read. */
    /* PRIVATE */
    struct store *store;
    unsigned slot;
    unsigned char *copy; /* In memory only. */
    int handle;          /* File of saved pages; -1: none yet. */
    uint32_t *saved;     /* By page: 1 + its place there; 0: not saved. */
    uint32_t saved_count;
    bool lost;        /* A page could not be saved. */
    uint8_t *changed; /* A page that is to be read so; NULL: none. */
    uint64_t changed_at;
};
/* Open an image; close it before the store.
 *   ERR_NOT_FOUND  there is nothing in it yet
 *   ERR_BUSY       STORE_IMAGES_MAX are open
 *   ERR_NOSPACE    the last checkpoint is not whole: for lack of space, or
 *                  because it still goes on */
MUST_CHECK enum err store_image_open(struct store *store,
                                     struct store_image **image);
/* For people: let it have a view kv(key, value) of text (view.c). Before the
 * first read; not for snapshots, which nodes work with. Without room for it
 * nothing happens. */
void store_image_add_view(struct store_image *image);
/* The next `size` bytes, at most what is left. ERR_NOSPACE, ERR_IO: what it
 * needs could not be kept; close it. */
MUST_CHECK enum err store_image_read(struct store_image *image, void *out,
                                     size_t size);
void store_image_close(struct store_image *image);
/* Some image is open: the store must not be closed. */
bool store_is_held(const struct store *store);

/* Remove the database, whatever is left of it. Can be interrupted and run
 * again. None may be open. */
MUST_CHECK enum err store_remove(const struct fs *fs);

/* An image from elsewhere, on its way in: the next generation. One at a
 * time; nothing that is in use is touched. */
struct store_incoming;
MUST_CHECK enum err store_incoming_new(const struct store *store,
                                       struct store_incoming **incoming);
/* Removes an image that was not finished. NULL is fine. */
void store_incoming_free(struct store_incoming *incoming);
/* Append the next bytes of the image. Synced now and then, so that the last
 * sync is short. ERR_NOSPACE, ERR_IO: only store_incoming_free() is left. */
MUST_CHECK enum err store_incoming_add(struct store_incoming *incoming,
                                       struct bytes data);
/* May the membership in a database that came from elsewhere be used? This room
 * does not know what is in one. */
typedef bool store_conf_check(struct bytes conf);
/* All is there: open it, compare it with what was promised (index 0: it need
 * only be whole and hold something, which takes long), have its membership
 * checked, and make it the one to be opened from now on, for good: what is
 * wrong with it is found before that (ERR_CORRUPT). `*store` is a second store
 * then: close the old one, then store_tidy(). Frees `incoming`. */
MUST_CHECK enum err store_incoming_finish(struct store_incoming *incoming,
                                          uint64_t index, uint64_t term,
                                          store_conf_check *check,
                                          struct store **store);
/* Remove the files of the generations before. */
void store_tidy(const struct store *store);
/* The snapshot that this database began with; 0 when it began empty. */
uint64_t store_installed(const struct store *store, uint64_t *term);

/* ---- restores (restore.c, upload.c) ----
 *
 * A restore comes as entries of the log (command.h). Its rows are collected in
 * table staging, which takes the place of the data within one entry by renaming
 * the two tables, in a time that does not depend on the number of rows. Both
 * are the same on every node, and in every snapshot. Tables that were replaced,
 * or whose restore was aborted, are emptied in slices by each node for itself.
 */

/* Delete one slice of such tables. ERR_NOT_FOUND: nothing is left.
 * ERR_NOSPACE: as with store_apply(). */
MUST_CHECK enum err store_sweep(struct store *store);
/* The id of the restore in progress, 0 when there is none, and how many rows
 * are staged. Only to see whether it makes progress. */
uint64_t store_restoring(const struct store *store, uint64_t *staged);

/* Read the row of `key`. ERR_NOT_FOUND; ERR_NOSPACE: to read, SQLite had to
 * write, and the store has gone back as with store_apply(). */
MUST_CHECK enum err store_get(struct store *store, struct bytes key,
                              struct store_row *row);

/* Writes are counted in the rows' versions from the first version 2 command
 * on. Nodes of an older build do not count, and cannot apply that one: so all
 * count from the same entry. Until then every version is 1. */
bool store_counts(const struct store *store);
/* Requests whose results are kept for repeats: of the last STORE_ANSWERS_MAX
 * named commands. There is no clock here, so age does not end them. */
enum { STORE_ANSWERS_MAX = 10000 };
uint64_t store_answers(const struct store *store);

/* ---- keys in order (range.c) ----
 *
 * All keys in [from, to), compared by memcmp. One range is open at a time;
 * it is closed before the next entry is applied or anything is committed, so
 * that what it shows is one state. */

/* The bytes of `range` stay where they are until it is closed. */
void store_range_open(struct store *store, const struct store_range *range);
/* ERR_OK; ERR_NOT_FOUND at the end; ERR_NOSPACE: the range is closed, and the
 * store has gone back as with store_apply(). */
MUST_CHECK enum err store_range_next(struct store *store,
                                     struct store_pair *pair);
/* Safe when none is open. */
void store_range_close(struct store *store);

/* Hash over all rows in key order, for tests and comparisons: grows with the
 * data, never called on the loop. */
uint64_t store_content_hash(struct store *store);
uint64_t store_key_count(struct store *store);

struct store_stats {
    uint64_t db_bytes;     /* Database and its -wal. */
    uint64_t used_bytes;   /* Pages of the database that are not free. */
    uint64_t unused_bytes; /* Free pages of the database. */
    uint64_t commits;
    uint64_t checkpoints;
    uint64_t written_bytes; /* To the database and its -wal, since the open. */
};
void store_get_stats(struct store *store, struct store_stats *stats);
const char *store_version(void); /* SQLite's version. */

#endif
