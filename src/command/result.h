/* result.h -- the result of a version 2 or 3 command <-> bytes. Pure.
 *
 * The state machine writes it, the node carries it to the requester (over a
 * peer link too), api/ reads it. The result of a named command is stored, and a
 * repeat gets the same bytes again, marked. Strict as command.h is.
 *
 *     u8 version | u8 status | u8 replayed | u64 index | by status:
 *     THEN, ELSE:             u32 count, each:
 *                             u8 type | by type, see result.c
 *     REFUSED:                u32 at | u64 current
 *     REUSED:                 nothing
 *     RESTORE, SUPERSEDED:    u64 keys
 *     all others:             u32 at */
#ifndef CRAFTD_COMMAND_RESULT_H
#define CRAFTD_COMMAND_RESULT_H

#include "command/command.h"

enum {
    RESULT_VERSION = 1,
    /* Bounds of one command, the same on all nodes for ever. */
    RESULT_BYTES_MAX = 4 << 20,
    RESULT_NAMED_BYTES_MAX = 16 << 10, /* Of a stored one. */
    RESULT_PREFIX_KEYS_MAX = 1000,     /* Deleted by prefixes. */
    RESULT_PREFIX_BYTES_MAX = 16 << 20,
};

enum result_status {
    RESULT_THEN = 1, /* Every condition held. */
    RESULT_ELSE = 2, /* One did not; there was an else. */
    /* Nothing was changed: */
    RESULT_REFUSED = 3,      /* A condition did not hold. */
    RESULT_NOT_A_NUMBER = 4, /* INCR of something else. */
    RESULT_OVERFLOW = 5,     /* INCR beyond 64 bits. */
    RESULT_TOO_MANY = 6,     /* DELETE_PREFIX of more than is allowed. */
    RESULT_TOO_LARGE = 7,    /* The results are. */
    RESULT_REUSED = 8,       /* The name belongs to another request. */
    /* Version 3 only: */
    RESULT_RESTORE = 9,     /* The step was done, now or earlier. */
    RESULT_SUPERSEDED = 10, /* Not: what was gathered is not this, or was
                               dropped. Nothing was changed. */
};

struct result {
    enum result_status status;
    bool replayed;    /* It is the answer to an earlier request. */
    uint64_t index;   /* Log index of the entry. */
    uint32_t at;      /* Which condition, or which operation: 0, 1, ... */
    uint64_t current; /* REFUSED: the index that last changed the key. */
    uint32_t count;   /* THEN, ELSE: results to follow. */
    uint64_t keys;    /* RESTORE, SUPERSEDED: gathered under its id by then. */
};

/* Result of one operation. */
struct result_op {
    enum command_op_type type;
    bool created;          /* PUT: the key is new. */
    uint64_t deleted;      /* DELETE, DELETE_PREFIX. */
    int64_t number;        /* INCR: the new value. */
    struct bytes key;      /* GET. */
    bool found;            /* GET; if so: */
    struct bytes value;    /* ... */
    uint64_t modify_index; /* ... */
    uint64_t create_index; /* ... */
};

/* Encoding. For THEN and ELSE the operations follow; result_end() counts
 * them. */
struct result_writer {
    struct buf *out;
    size_t count_at;
    uint32_t count;
};
void result_begin(struct result_writer *writer, struct buf *out,
                  const struct result *result);
void result_add(struct result_writer *writer, const struct result_op *op);
void result_end(struct result_writer *writer);
/* A kept result is given out again. */
void result_mark_replayed(struct buf *result);

struct result_reader {
    struct result head;
    /* PRIVATE */
    struct cursor cursor;
    uint32_t left;
};
MUST_CHECK enum err result_open(struct result_reader *reader,
                                struct bytes result);
/* ERR_NOT_FOUND at the (clean) end. */
MUST_CHECK enum err result_next(struct result_reader *reader,
                                struct result_op *op);
MUST_CHECK enum err result_check(struct bytes result);

/* Can it be what came of `command`? Nothing comes of a version 1 command. For
 * results from elsewhere: who sent them may be of any build. */
bool result_fits(struct bytes result, struct bytes command);

#endif
