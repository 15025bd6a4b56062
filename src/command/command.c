/* command.c -- the codec of a client's write.
 *
 *     u8 version | u32 op_count | op_count operations:
 *     u8 type | u16 key_bytes | u32 value_bytes (PUT only) | key | value */
#include "command/command.h"

enum { HEAD_BYTES = 5 };

void command_begin(struct command_writer *writer, struct buf *out)
{
    *writer = (struct command_writer){.out = out, .start = out->size};
    buf_add_u8(out, COMMAND_VERSION);
    buf_add_u32(out, 0); /* Patched at the end. */
}

static void add_op(struct command_writer *writer, enum command_op_type type,
                   struct bytes key)
{
    must(key.size >= 1 && key.size <= COMMAND_KEY_BYTES_MAX);
    must(writer->op_count < COMMAND_OPS_MAX);
    buf_add_u8(writer->out, (uint8_t)type);
    buf_add_u16(writer->out, (uint16_t)key.size);
    writer->op_count++;
}

void command_put(struct command_writer *writer, struct bytes key,
                 struct bytes value)
{
    must(value.size <= COMMAND_VALUE_BYTES_MAX);
    add_op(writer, COMMAND_PUT, key);
    buf_add_u32(writer->out, (uint32_t)value.size);
    buf_add_bytes(writer->out, key);
    buf_add_bytes(writer->out, value);
}

void command_delete(struct command_writer *writer, struct bytes key)
{
    add_op(writer, COMMAND_DELETE, key);
    buf_add_bytes(writer->out, key);
}

void command_end(struct command_writer *writer)
{
    store_u32(writer->out->data + writer->start + 1, writer->op_count);
}

enum err command_open(struct command_reader *reader, struct bytes command)
{
    struct cursor cursor = cursor_of(command);
    if (command.size < HEAD_BYTES) {
        return ERR_CORRUPT;
    }
    if (cursor_u8(&cursor) != COMMAND_VERSION) {
        return ERR_VERSION;
    }
    uint32_t count = cursor_u32(&cursor);
    if (count > COMMAND_OPS_MAX) {
        return ERR_CORRUPT;
    }
    *reader = (struct command_reader){.cursor = cursor, .ops_left = count};
    return ERR_OK;
}

enum err command_next(struct command_reader *reader, struct command_op *op)
{
    struct cursor *cursor = &reader->cursor;
    if (reader->ops_left == 0) {
        return cursor_left(cursor) == 0 ? ERR_NOT_FOUND : ERR_CORRUPT;
    }
    reader->ops_left--;
    uint8_t type = cursor_u8(cursor);
    uint16_t key_bytes = cursor_u16(cursor);
    uint32_t value_bytes = 0;
    if (cursor->failed) {
        return ERR_CORRUPT;
    }
    if (type == COMMAND_PUT) {
        value_bytes = cursor_u32(cursor);
    } else if (type != COMMAND_DELETE) {
        return ERR_VERSION;
    }
    *op = (struct command_op){.type = (enum command_op_type)type,
                              .key = cursor_bytes(cursor, key_bytes)};
    op->value = cursor_bytes(cursor, value_bytes);
    if (cursor->failed || key_bytes == 0 || key_bytes > COMMAND_KEY_BYTES_MAX ||
        value_bytes > COMMAND_VALUE_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum err command_check(struct bytes command)
{
    struct command_reader reader;
    struct command_op op;
    enum err err = command_open(&reader, command);
    while (!err) {
        err = command_next(&reader, &op);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
