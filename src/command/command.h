/* command.h -- a client's write <-> the bytes of one log entry. Pure.
 *
 * A command is a list of operations that are applied atomically and in order.
 *
 *   Version 1 has puts and deletes, and no result.
 *   Version 2, a transaction, has conditions, a list of operations, perhaps a
 *   second list for when a condition does not hold, and perhaps the name of
 *   the request, by which a repeat is recognised. Its result is in result.h.
 *   Version 3 is one step of a restore (restore.c): its rows are collected
 *   apart from the data, and replace it as a whole with the last step.
 *   Version 4 is a version 2 command with the time at which a leader proposed
 *   it, in cluster time (node/time.c). Clients' requests have none: the leader
 *   adds it.
 *
 * command.c has the layout. A command is written in version 1 if that can
 * express it, so that a cluster accepts such writes while some of its nodes are
 * of an older build.
 *
 * The codec is strict: a command that it accepts encodes to the same bytes
 * again. An unknown version, operation or condition is ERR_VERSION, since a
 * node must stop rather than skip a command; any other error is
 * ERR_CORRUPT. */
#ifndef CRAFTD_COMMAND_COMMAND_H
#define CRAFTD_COMMAND_COMMAND_H

#include "base/base.h"
#include "base/bytes.h"

/* Another value is for tests of mixed versions, which build an earlier one. */
#ifndef CRAFTD_COMMAND_NEWEST
#define CRAFTD_COMMAND_NEWEST 4
#endif

enum {
    COMMAND_VERSION = 1,
    COMMAND_TXN_VERSION = 2,
    COMMAND_RESTORE_VERSION = 3,
    COMMAND_STAMPED_VERSION = 4,
    /* The newest version that is understood here. */
    COMMAND_NEWEST = CRAFTD_COMMAND_NEWEST,
    COMMAND_KEY_BYTES_MAX = 1024,
    COMMAND_VALUE_BYTES_MAX = 1 << 30, /* The flag --max-value is lower. */
    COMMAND_OPS_MAX = 1 << 20,
    /* Conditions and operations of a request together, so that its entry does
     * not hold a node for longer than an election takes. Those of POST /key are
     * the most. */
    COMMAND_REQUEST_OPS_MAX = 10000,
    COMMAND_NAME_BYTES_MAX = 64,
    /* Keys of one lease: its end deletes them all in one entry. */
    COMMAND_LEASE_KEYS_MAX = 1000,
    /* Leases of a cluster. */
    COMMAND_LEASES_MAX = 100000,
};

/* Upper bound on cluster time, in ms, so that a sum of two does not overflow.
 */
#define COMMAND_TIME_MS_MAX (UINT64_C(1) << 61)
/* Cluster time that is reached only by a stamp that is false: 35,000 years.
 * Beyond it a stamp moves the time by COMMAND_TIME_STEP_MS at most, whatever it
 * says. So a member with a fault, or one that lies, cannot use up the time of
 * the cluster, after which no deadline could end. (A node of an earlier build
 * takes such a stamp as it is, and then differs from the others.) */
#define COMMAND_TIME_SOUND_MS (UINT64_C(1) << 50)
#define COMMAND_TIME_STEP_MS UINT64_C(60000)
/* Upper bound on the id of a lease. The store has a bit above it. */
#define COMMAND_LEASE_MAX ((uint64_t)INT64_MAX)
/* Upper bound on a time-out, ten years. */
#define COMMAND_TTL_MS_MAX (UINT64_C(3653) * 24 * 3600 * 1000)

enum command_op_type {
    COMMAND_PUT = 1,    /* key, value */
    COMMAND_DELETE = 2, /* key */
    /* In version 2 only: */
    COMMAND_DELETE_PREFIX = 3, /* key: the prefix of the keys */
    COMMAND_INCR = 4,          /* key, by: adds to a value in decimal text */
    COMMAND_GET = 5,           /* key */
    /* In a timed one only (command_txn_timed()): */
    COMMAND_PUT_TIMED = 6,     /* key, value, and either ttl_ms or lease */
    COMMAND_TOUCH = 7,         /* key, ttl_ms (0: it stays for ever) */
    COMMAND_LEASE_GRANT = 8,   /* ttl_ms; its id is the index of the entry */
    COMMAND_LEASE_KEEP = 9,    /* lease: its whole ttl starts again */
    COMMAND_LEASE_REVOKE = 10, /* lease: it ends, and its keys are deleted */
    /* Proposed by leaders: delete what is due at the stamp of the entry, the
     * earliest first, at most `limit` keys and leases (with their keys). */
    COMMAND_EXPIRE = 11,
};

struct command_op {
    enum command_op_type type;
    struct bytes key;   /* 1..COMMAND_KEY_BYTES_MAX bytes, if it has one. */
    struct bytes value; /* COMMAND_PUT and _PUT_TIMED only. */
    int64_t by;         /* COMMAND_INCR only. */
    uint64_t ttl_ms;    /* See above; at most COMMAND_TTL_MS_MAX. */
    uint64_t lease;     /* See above; 0: none. */
    uint64_t limit;     /* COMMAND_EXPIRE: 1..COMMAND_OPS_MAX. */
};

/* Conditions on a key. One that is missing has the indexes 0 and no value. */
enum command_field {
    COMMAND_IF_INDEX = 1,     /* The index of its last change is `number`. */
    COMMAND_IF_NOT_INDEX = 2, /* The index of its last change is another. */
    COMMAND_IF_CREATED = 3,   /* The index of its creation is `number`. */
    COMMAND_IF_EXISTS = 4,    /* It exists (number 1), or is missing (0). */
    COMMAND_IF_VALUE = 5,     /* It exists, and its value is `value`. */
};

struct command_condition {
    enum command_field field;
    struct bytes key;
    uint64_t number;    /* See `field`; 0 for COMMAND_IF_VALUE. */
    struct bytes value; /* COMMAND_IF_VALUE only. */
};

/* Identity of a request: the client's Idempotency-Key (empty: none), and a
 * digest of its content. Another request under the same key is refused. */
struct command_name {
    struct bytes key;
    uint64_t digest;
};

/* ---- encoding ----
 *
 * A command is appended to `out`, which may hold other bytes before.
 *
 *   Version 1: command_begin(), operations, command_end().
 *   Version 2: command_txn(); then the conditions, the operations, and with
 *   `has_else` the operations for when a condition does not hold, each of them
 *   command_list(), items, command_end(), or the same encoded elsewhere and
 *   added as bytes; last command_sign(). */
struct command_writer {
    struct buf *out;
    size_t count_at;
    uint32_t count;
};
void command_begin(struct command_writer *writer, struct buf *out);
void command_list(struct command_writer *writer, struct buf *out);
void command_if(struct command_writer *writer,
                const struct command_condition *condition);
void command_put(struct command_writer *writer, struct bytes key,
                 struct bytes value);
void command_delete(struct command_writer *writer, struct bytes key);
void command_add(struct command_writer *writer, const struct command_op *op);
void command_end(struct command_writer *writer);

struct command_txn {
    struct buf *out;
    size_t flags_at;
    size_t digest_at; /* Offset in `out`; 0: the command has no name. */
};
/* Start a version 2 command. An empty name->key: it has no name. name->digest
 * is ignored, since command_sign() computes it. */
void command_txn(struct command_txn *txn, struct buf *out,
                 const struct command_name *name, bool has_else);
/* The command has operations that depend on time, so that it is applied only
 * with a stamp. */
void command_txn_timed(const struct command_txn *txn);
/* Write the digest of the bytes after the name, if there is a name. `kind` is
 * part of it, so that the same change by another kind of request differs. */
void command_sign(const struct command_txn *txn, uint8_t kind);
/* The digest of a signed command, and another one in its place. A command
 * without a name has none: 0. */
uint64_t command_digest(const struct command_txn *txn);
void command_set_digest(const struct command_txn *txn, uint64_t digest);
/* Append the version 2 command `txn` as one of version 4. */
void command_stamp(struct buf *out, uint64_t time_ms, struct bytes txn);
/* Upper bound on cluster time after the next stamp, when it is `time_ms` before
 * that: see COMMAND_TIME_SOUND_MS. */
uint64_t command_time_limit(uint64_t time_ms);
/* True for a command of version 4. */
bool command_is_stamped(struct bytes command);
/* True for a command that a leader stamps if all members understand that: it is
 * timed, or has a name, whose result is kept for a time. */
bool command_wants_stamp(struct bytes command);
/* True for a timed command without a stamp, which is no entry. */
bool command_needs_stamp(struct bytes command);

/* ---- decoding: all views are of the bytes of `command` ---- */

struct command_reader {
    uint8_t version;  /* 1 or 2; that of the command which was stamped. */
    uint64_t time_ms; /* The stamp; 0: there is none. */
    bool timed;       /* command_txn_timed() */
    struct command_name name;
    bool has_else;
    /* PRIVATE */
    struct cursor cursor;
    uint8_t lists_left; /* Lists after the one that is being read. */
    uint32_t left;      /* Items left in that one. */
};
/* Read the head of a version 1, 2 or 4 command. Read its conditions next, to
 * their end (a version 1 command has none), then its operations. */
MUST_CHECK enum err command_open(struct command_reader *reader,
                                 struct bytes command);
/* The next condition. ERR_NOT_FOUND: it was the last one. */
MUST_CHECK enum err command_next_condition(struct command_reader *reader,
                                           struct command_condition *condition);
/* The next operation of the list. ERR_NOT_FOUND: it was the last one. */
MUST_CHECK enum err command_next(struct command_reader *reader,
                                 struct command_op *op);
/* Continue with the operations of `else`, after the end of the first ones.
 * ERR_NOT_FOUND: there is no such list. */
MUST_CHECK enum err command_else(struct command_reader *reader);

/* ---- a restore (restore.c) ----
 *
 * The steps are BEGIN, any number of ROWS, and COMMIT or ABORT. The node that
 * restores chooses a random `id`. A step that is repeated is done once. */
enum command_step {
    COMMAND_RESTORE_BEGIN = 1, /* Aborts another restore in progress. */
    COMMAND_RESTORE_ROWS = 2,
    COMMAND_RESTORE_COMMIT = 3,
    COMMAND_RESTORE_ABORT = 4,
};

struct command_restore {
    enum command_step step;
    uint64_t id;        /* Not 0. */
    uint64_t keys;      /* ROWS: number of rows before; COMMIT: of all rows. */
    uint64_t hash;      /* COMMIT: command_restore_hash() over all ROWS. */
    struct cursor rows; /* ROWS: for command_restore_next(). */
    uint32_t left;
};

/* Append a step. After ROWS append its rows with command_restore_row(), then
 * call command_end(). The other steps are complete. */
void command_restore(struct command_writer *writer, struct buf *out,
                     const struct command_restore *restore);
void command_restore_row(struct command_writer *writer, struct bytes key,
                         struct bytes value);

bool command_is_restore(struct bytes command);
MUST_CHECK enum err command_restore_open(struct command_restore *restore,
                                         struct bytes command);
/* The next row. ERR_NOT_FOUND: it was the last one. */
MUST_CHECK enum err command_restore_next(struct command_restore *restore,
                                         struct bytes *key,
                                         struct bytes *value);
/* Decode the whole step. ERR_OK: it is well-formed. */
MUST_CHECK enum err command_restore_check(struct bytes command);
/* Hash over the earlier ROWS, whose hash is `hash` (0: none), and these. */
uint64_t command_restore_hash(uint64_t hash, struct bytes rows);

/* Decode the whole command, of any version. ERR_OK: it can be applied, once it
 * is stamped if it needs that. */
MUST_CHECK enum err command_check(struct bytes command);
/* True if a client's request can be this command: it is well-formed, has no
 * stamp, which a leader adds, no operation of a leader's own, and no more
 * conditions and operations than a request. */
bool command_is_request(struct bytes command);
/* True if the command cannot make the data larger. *keys_max is an upper bound
 * on the keys that it deletes (UINT64_MAX: unknown). */
bool command_only_deletes(struct bytes command, uint64_t *keys_max);
/* Upper bound on the rows that the command adds, changes or deletes (but for
 * those that a restore replaces); 0 if it is malformed. */
uint64_t command_changes(struct bytes command);
/* True if the command may be proposed again although it may have been applied:
 * it has a name, or no operation. (The node that restores repeats the steps of
 * a restore itself.) */
bool command_may_repeat(struct bytes command);

#endif
