/* result.h -- the result of a version 2 or 3 command <-> bytes. Pure.
 *
 * The state machine writes it, the node returns it to the requester, perhaps
 * over a link to another node, and api/ reads it. The result of a named command
 * is stored; a repeat gets the same bytes, marked as replayed. The codec is as
 * strict as that of command.h.
 *
 *     u8 version | u8 status | u8 replayed | u64 index | by status:
 *     THEN, ELSE:             u32 count, each:
 *                             u8 type | by type (result.c)
 *     REFUSED:                u32 at | u64 current
 *     REUSED:                 nothing
 *     RESTORE, SUPERSEDED:    u64 keys
 *     all others:             u32 at */
#ifndef CRAFTD_COMMAND_RESULT_H
#define CRAFTD_COMMAND_RESULT_H

#include "command/command.h"

enum {
    RESULT_VERSION = 1,
    /* Bounds of one command. All builds must have the same, since they decide
     * on its result. */
    RESULT_BYTES_MAX = 4 << 20,
    RESULT_NAMED_BYTES_MAX = 16 << 10,  /* A result that is stored. */
    RESULT_PREFIX_KEYS_MAX = 1000,      /* Keys deleted by prefix. */
    RESULT_PREFIX_BYTES_MAX = 16 << 20, /* Bytes of their values. */
};

enum result_status {
    RESULT_THEN = 1, /* Every condition held. */
    RESULT_ELSE = 2, /* A condition did not hold; the operations of else ran. */
    /* After these nothing was changed: */
    RESULT_REFUSED = 3,      /* A condition did not hold. */
    RESULT_NOT_A_NUMBER = 4, /* INCR of a value that is not a number. */
    RESULT_OVERFLOW = 5,     /* INCR beyond 64 bits. */
    RESULT_TOO_MANY = 6,     /* DELETE_PREFIX over RESULT_PREFIX_*_MAX. */
    RESULT_TOO_LARGE = 7,    /* The result is over RESULT_*BYTES_MAX. */
    RESULT_REUSED = 8,       /* The name belongs to another request. */
    /* Version 3 commands: */
    RESULT_RESTORE = 9, /* The step was done, now or earlier. */
    /* The step was not done, since the restore in progress is another one, or
     * its rows are not those that the step expects. Nothing was changed. */
    RESULT_SUPERSEDED = 10,
    /* Timed commands; nothing was changed: */
    RESULT_NO_LEASE = 11, /* There is no such lease, or no more. */
    RESULT_LIMIT = 12,    /* COMMAND_LEASES_MAX, COMMAND_LEASE_KEYS_MAX */
};

struct result {
    enum result_status status;
    bool replayed;    /* It is the stored result of an earlier request. */
    uint64_t index;   /* Log index of the entry. */
    uint32_t at;      /* Number of the condition or operation, from 0 on. */
    uint64_t current; /* REFUSED: log index of the key's last change. */
    uint32_t count;   /* THEN, ELSE: number of results that follow. */
    uint64_t keys;    /* RESTORE, SUPERSEDED: rows collected under its id. */
};

/* Result of one operation. */
struct result_op {
    enum command_op_type type;
    bool created;     /* PUT, PUT_TIMED: the key is new. */
    uint64_t deleted; /* DELETE, DELETE_PREFIX, LEASE_REVOKE, EXPIRE: keys. */
    uint64_t ttl_ms;  /* LEASE_KEEP: the lease's. */
    int64_t number;   /* INCR: the new value. */
    struct bytes key; /* GET. */
    bool found;       /* TOUCH: the key exists; LEASE_KEEP, LEASE_REVOKE: the
                         lease; GET: the key, with the next three. */
    struct bytes value;
    uint64_t modify_index;
    uint64_t create_index;
};

/* Encoding: result_begin(); for THEN and ELSE also the results of the
 * operations, each result_add(), then result_end(). */
struct result_writer {
    struct buf *out;
    size_t count_at;
    uint32_t count;
};
void result_begin(struct result_writer *writer, struct buf *out,
                  const struct result *result);
void result_add(struct result_writer *writer, const struct result_op *op);
void result_end(struct result_writer *writer);
/* Mark a stored result as replayed. */
void result_mark_replayed(struct buf *result);

struct result_reader {
    struct result head;
    /* PRIVATE */
    struct cursor cursor;
    uint32_t left;
};
/* Read the head. ERR_VERSION: an unknown version or status; ERR_CORRUPT: it is
 * malformed. */
MUST_CHECK enum err result_open(struct result_reader *reader,
                                struct bytes result);
/* The next result of an operation; its views are of the bytes of the result.
 * ERR_NOT_FOUND: it was the last one. */
MUST_CHECK enum err result_next(struct result_reader *reader,
                                struct result_op *op);
/* Decode the whole result. ERR_OK: it is well-formed. */
MUST_CHECK enum err result_check(struct bytes result);

/* True if it can be the result of `command`; that of a version 1 command is
 * empty. For results that another node sent, which may be of any build. */
bool result_fits(struct bytes result, struct bytes command);

#endif
