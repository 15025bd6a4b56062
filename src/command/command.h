/* command.h -- a client's write <-> the bytes of one log entry. Pure.
 *
 * Version 1, little-endian:
 *     u8 version = 1 | u8 operation count kind ... see command.c
 * A command is a list of operations that are applied atomically and in
 * order. The codec is strict: decode() accepts exactly what encode() makes,
 * so that decode(encode(x)) = x and every accepted command re-encodes to the
 * same bytes. An unknown version or operation is ERR_VERSION (the node stops
 * applying rather than skip), everything else wrong is ERR_CORRUPT. */
#ifndef CRAFTD_COMMAND_COMMAND_H
#define CRAFTD_COMMAND_COMMAND_H

#include "base/base.h"
#include "base/bytes.h"

enum {
    COMMAND_VERSION = 1,
    COMMAND_KEY_BYTES_MAX = 1024,
    COMMAND_VALUE_BYTES_MAX = 1 << 30, /* The flag --max-value is lower. */
    COMMAND_OPS_MAX = 1 << 20,
};

enum command_op_type {
    COMMAND_PUT = 1,    /* key, value */
    COMMAND_DELETE = 2, /* key */
};

struct command_op {
    enum command_op_type type;
    struct bytes key;   /* 1..COMMAND_KEY_BYTES_MAX bytes. */
    struct bytes value; /* COMMAND_PUT only. */
};

/* Encoding: begin, add operations, end. `out` may hold other bytes before. */
struct command_writer {
    struct buf *out;
    size_t start;
    uint32_t op_count;
};
void command_begin(struct command_writer *writer, struct buf *out);
void command_put(struct command_writer *writer, struct bytes key,
                 struct bytes value);
void command_delete(struct command_writer *writer, struct bytes key);
void command_end(struct command_writer *writer);

/* Decoding: views into `command`. */
struct command_reader {
    struct cursor cursor;
    uint32_t ops_left;
};
MUST_CHECK enum err command_open(struct command_reader *reader,
                                 struct bytes command);
/* The next operation. ERR_NOT_FOUND at the (clean) end. */
MUST_CHECK enum err command_next(struct command_reader *reader,
                                 struct command_op *op);
/* Walk all of it: ERR_OK when every operation decodes. */
MUST_CHECK enum err command_check(struct bytes command);

#endif
