/* store.h -- the replicated state machine: SQLite, and the only user of it.
 *
 * Layout under the fs's root: db/gen-%07u/state.db (+ -wal, -shm), and
 * db/CURRENT, which names the generation in use (so that a snapshot can be
 * put in place by one rename). With a file system in memory: ":memory:".
 *
 * The write transaction stays open across turns: store_apply() works inside
 * it, reads on the same connection see it, and store_flush() commits it (WAL
 * mode, synchronous=NORMAL: a commit costs no fsync). Applied index, term,
 * membership and a rolling hash are one row of the same transaction, so after
 * a crash replay from the log starts at exactly the right entry. Nothing here
 * depends on clock, locale or node: the same log gives the same rows.
 *
 * Keys and values are BLOBs compared by memcmp. Every row carries the index
 * of the entry that created it and that last changed it.
 *
 * Failures of SQLite: SQLITE_FULL is ERR_NOSPACE (the transaction is rolled
 * back to the last flush; the caller stops applying and asks again later);
 * everything else that casts doubt on the data die()s with a sentence. */
#ifndef CRAFTD_STORE_STORE_H
#define CRAFTD_STORE_STORE_H

#include "base/base.h"
#include "base/bytes.h"
#include "sys/fs.h"

struct store;

struct store_options {
    const struct fs *fs;
    const char *vfs; /* SQLite VFS, NULL = the default one. */
};

/* Open (create when missing) and migrate to the newest schema: migrations are
 * embedded, each in a transaction, recorded, run once; a newer schema is
 * ERR_VERSION with a log line; a damaged file ERR_CORRUPT. */
MUST_CHECK enum err store_open(const struct store_options *options,
                               struct store **store);
/* Commits what is open. NULL is fine. */
void store_close(struct store *store);

/* Of the last entry applied (0 when none). */
uint64_t store_applied(const struct store *store);
uint64_t store_applied_term(const struct store *store);
uint64_t store_hash(const struct store *store);
/* What survives a crash of the process: applied as of the last commit. */
uint64_t store_flushed(const struct store *store);

/* The membership stored last, as given to store_apply_conf(); empty when
 * none. Valid until the next one. *index is where it came from. */
struct bytes store_conf(const struct store *store, uint64_t *index);

struct store_result {
    uint64_t deleted; /* Keys that a delete found. */
};

/* Apply the entry at index = applied + 1. `command` as in command.h.
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

/* Commit the open transaction (nothing when there is none), and checkpoint
 * once the -wal has grown to 16 MiB. Known limit: a checkpoint copies all of
 * it in one call, some tens of milliseconds. ERR_NOSPACE as above. */
MUST_CHECK enum err store_flush(struct store *store);
/* Entries applied since the last commit. */
uint64_t store_pending(const struct store *store);

struct store_row {
    struct bytes value; /* Valid until the next call on the store. */
    uint64_t create_index;
    uint64_t modify_index;
};
/* ERR_NOT_FOUND, ERR_OK. */
MUST_CHECK enum err store_get(struct store *store, struct bytes key,
                              struct store_row *row);

/* Hash over all rows in key order, for tests and comparisons: grows with the
 * data, never called on the loop. */
uint64_t store_content_hash(struct store *store);
uint64_t store_key_count(struct store *store);

struct store_stats {
    uint64_t db_bytes; /* Database and its -wal. */
    uint64_t commits;
    uint64_t checkpoints;
};
void store_get_stats(struct store *store, struct store_stats *stats);
const char *store_version(void); /* Of SQLite. */

#endif
