/* command.h -- a client's write <-> the bytes of one log entry. Pure.
 *
 * A command is a list of operations that are applied atomically and in order.
 * Version 1 is no more than that, put and delete. Version 2, a transaction,
 * has conditions before them, a second list for when one does not hold, and
 * the name of the request, by which a repeat is known. The layout is in
 * command.c, what comes of a version 2 command in result.h.
 *
 * Both are written: what version 1 can say is said in it, so that a cluster
 * takes such writes while some of its nodes are of an older build.
 *
 * Version 3 is one step of a restore (restore.c): its rows are gathered apart
 * from the data, and take its place as a whole with the last step.
 *
 * The codec is strict: what it accepts encodes to the very same bytes again.
 * An unknown version, operation or condition is ERR_VERSION (the node stops
 * applying rather than skip), everything else wrong is ERR_CORRUPT. */
#ifndef CRAFTD_COMMAND_COMMAND_H
#define CRAFTD_COMMAND_COMMAND_H

#include "base/base.h"
#include "base/bytes.h"

enum {
    COMMAND_VERSION = 1,
    COMMAND_TXN_VERSION = 2,
    COMMAND_RESTORE_VERSION = 3,
    COMMAND_KEY_BYTES_MAX = 1024,
    COMMAND_VALUE_BYTES_MAX = 1 << 30, /* The flag --max-value is lower. */
    COMMAND_OPS_MAX = 1 << 20,
    COMMAND_NAME_BYTES_MAX = 64,
};

enum command_op_type {
    COMMAND_PUT = 1,    /* key, value */
    COMMAND_DELETE = 2, /* key */
    /* In version 2 only: */
    COMMAND_DELETE_PREFIX = 3, /* key: what the keys begin with */
    COMMAND_INCR = 4,          /* key, by: the value is decimal text */
    COMMAND_GET = 5,           /* key */
};

struct command_op {
    enum command_op_type type;
    struct bytes key;   /* 1..COMMAND_KEY_BYTES_MAX bytes. */
    struct bytes value; /* COMMAND_PUT only. */
    int64_t by;         /* COMMAND_INCR only. */
};

/* A missing key has the indexes 0 and no value. */
enum command_field {
    COMMAND_IF_INDEX = 1,     /* The index that last changed it is `number`. */
    COMMAND_IF_NOT_INDEX = 2, /* ... is another one. */
    COMMAND_IF_CREATED = 3,   /* The index that created it is `number`. */
    COMMAND_IF_EXISTS = 4,    /* It is there (number 1), or not (0). */
    COMMAND_IF_VALUE = 5,     /* It is there, and its value is `value`. */
};

struct command_condition {
    enum command_field field;
    struct bytes key;
    uint64_t number;
    struct bytes value; /* COMMAND_IF_VALUE only. */
};

/* Identity of a request: the client's Idempotency-Key (empty: none), and a
 * digest of its content, by which another request under that key is refused. */
struct command_name {
    struct bytes key;
    uint64_t digest;
};

/* ---- encoding ----
 *
 * Version 1: command_begin(), operations, command_end(). `out` may hold other
 * bytes before. Version 2: command_txn(), then lists, each command_list(),
 * its items, command_end(): conditions, operations, and with `has_else` the
 * operations for when a condition does not hold. A list may be encoded
 * elsewhere and added as bytes. command_sign() comes last. */
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
    size_t digest_at; /* 0: it has no name. */
};
void command_txn(struct command_txn *txn, struct buf *out,
                 const struct command_name *name, bool has_else);
/* Give the named command the digest of what follows the name. `kind` is part
 * of it: the same change asked for in another way is another request. */
void command_sign(const struct command_txn *txn, uint8_t kind);

/* ---- decoding: views into `command` -------------------------------------- */

struct command_reader {
    uint8_t version;
    struct command_name name;
    bool has_else;
    /* PRIVATE */
    struct cursor cursor;
    uint8_t lists_left; /* Behind the one that is being read. */
    uint32_t left;      /* Items of that one. */
};
/* The conditions come first (a version 1 command has none). */
MUST_CHECK enum err command_open(struct command_reader *reader,
                                 struct bytes command);
/* The next condition. ERR_NOT_FOUND: no more, operations come next. */
MUST_CHECK enum err command_next_condition(struct command_reader *reader,
                                           struct command_condition *condition);
/* The next operation of the list. ERR_NOT_FOUND at its (clean) end. */
MUST_CHECK enum err command_next(struct command_reader *reader,
                                 struct command_op *op);
/* After the end of the first operations, on to those of `else`. ERR_NOT_FOUND
 * when there are none. */
MUST_CHECK enum err command_else(struct command_reader *reader);

/* ---- a restore (restore.c) ----
 *
 * BEGIN, ROWS as often as need be, COMMIT; or ABORT. `id` is drawn by whoever
 * restores. Each step can be repeated: it is done once. */
enum command_step {
    COMMAND_RESTORE_BEGIN = 1, /* Drops the rows of an unfinished restore. */
    COMMAND_RESTORE_ROWS = 2,
    COMMAND_RESTORE_COMMIT = 3,
    COMMAND_RESTORE_ABORT = 4,
};

struct command_restore {
    enum command_step step;
    uint64_t id;        /* Not 0. */
    uint64_t keys;      /* ROWS: how many came before; COMMIT: all. */
    uint64_t hash;      /* COMMIT: command_restore_hash() over all ROWS. */
    struct cursor rows; /* ROWS: for command_restore_next(). */
    uint32_t left;
};

/* `restore` has no rows yet: those of ROWS follow, then command_end(). Of the
 * other steps it is all. */
void command_restore(struct command_writer *writer, struct buf *out,
                     const struct command_restore *restore);
void command_restore_row(struct command_writer *writer, struct bytes key,
                         struct bytes value);

bool command_is_restore(struct bytes command);
MUST_CHECK enum err command_restore_open(struct command_restore *restore,
                                         struct bytes command);
/* The next row. ERR_NOT_FOUND at the (clean) end. */
MUST_CHECK enum err command_restore_next(struct command_restore *restore,
                                         struct bytes *key,
                                         struct bytes *value);
MUST_CHECK enum err command_restore_check(struct bytes command);
/* Over the ROWS that came before, and now this one; it begins with 0. */
uint64_t command_restore_hash(uint64_t hash, struct bytes rows);

/* Walk all of it: ERR_OK when everything decodes. */
MUST_CHECK enum err command_check(struct bytes command);
/* Nothing in it makes the data larger; *keys_max is how many keys it can delete
 * at most (UINT64_MAX: not known). */
bool command_only_deletes(struct bytes command, uint64_t *keys_max);
/* Applied twice it does no more than once, and says the same: it has a name, or
 * no effect at all. (The steps of a restore are repeated by who restores.) */
bool command_may_repeat(struct bytes command);

#endif
