/* result.c -- the codec of a command's result. The result of one operation:
 *
 *     PUT, PUT_TIMED u8 created
 *     DELETE         u8 deleted
 *     DELETE_PREFIX  u64 deleted
 *     INCR           u64 number
 *     GET            u8 found | u16 key_bytes | key | if found:
 *                    u64 modify_index | u64 create_index |
 *                    u32 value_bytes | value
 *     TOUCH          u8 found
 *     LEASE_GRANT    nothing
 *     LEASE_KEEP     u8 found | u64 ttl_ms
 *     LEASE_REVOKE   u8 found | u64 deleted
 *     EXPIRE         u64 deleted */
#include "command/result.h"

enum { REPLAYED_AT = 2 };

static bool has_ops(enum result_status status)
{
    return status == RESULT_THEN || status == RESULT_ELSE;
}

static bool of_restore(enum result_status status)
{
    return status == RESULT_RESTORE || status == RESULT_SUPERSEDED;
}

void result_begin(struct result_writer *writer, struct buf *out,
                  const struct result *result)
{
    *writer = (struct result_writer){.out = out};
    buf_add_u8(out, RESULT_VERSION);
    buf_add_u8(out, (uint8_t)result->status);
    buf_add_u8(out, result->replayed);
    buf_add_u64(out, result->index);
    if (has_ops(result->status)) {
        writer->count_at = out->size;
        buf_add_u32(out, 0); /* result_end() writes the count. */
    } else if (of_restore(result->status)) {
        buf_add_u64(out, result->keys);
    } else if (result->status != RESULT_REUSED) {
        buf_add_u32(out, result->at);
    }
    if (result->status == RESULT_REFUSED) {
        buf_add_u64(out, result->current);
    }
}

void result_add(struct result_writer *writer, const struct result_op *op)
{
    struct buf *out = writer->out;
    must(writer->count_at > 0);
    writer->count++;
    buf_add_u8(out, (uint8_t)op->type);
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_PUT_TIMED:
        buf_add_u8(out, op->created);
        return;
    case COMMAND_DELETE:
        buf_add_u8(out, op->deleted > 0);
        return;
    case COMMAND_DELETE_PREFIX:
    case COMMAND_EXPIRE:
        buf_add_u64(out, op->deleted);
        return;
    case COMMAND_TOUCH:
        buf_add_u8(out, op->found);
        return;
    case COMMAND_LEASE_GRANT:
        return;
    case COMMAND_LEASE_KEEP:
        buf_add_u8(out, op->found);
        buf_add_u64(out, op->ttl_ms);
        return;
    case COMMAND_LEASE_REVOKE:
        buf_add_u8(out, op->found);
        buf_add_u64(out, op->deleted);
        return;
    case COMMAND_INCR:
        buf_add_u64(out, (uint64_t)op->number);
        return;
    case COMMAND_GET:
        break;
    }
    buf_add_u8(out, op->found);
    buf_add_u16(out, (uint16_t)op->key.size);
    buf_add_bytes(out, op->key);
    if (op->found) {
        buf_add_u64(out, op->modify_index);
        buf_add_u64(out, op->create_index);
        buf_add_u32(out, (uint32_t)op->value.size);
        buf_add_bytes(out, op->value);
    }
}

void result_end(struct result_writer *writer)
{
    if (writer->count_at > 0) {
        store_u32(writer->out->data + writer->count_at, writer->count);
    }
}

void result_mark_replayed(struct buf *result)
{
    must(result->size > REPLAYED_AT);
    result->data[REPLAYED_AT] = 1;
}

/* ---- decoding ---- */

static bool get_bool(struct cursor *cursor)
{
    uint8_t value = cursor_u8(cursor);
    cursor->failed = cursor->failed || value > 1;
    return value == 1;
}

enum err result_open(struct result_reader *reader, struct bytes bytes)
{
    struct cursor cursor = cursor_of(bytes);
    uint8_t version = cursor_u8(&cursor);
    uint8_t status = cursor_u8(&cursor);
    struct result head = {.replayed = get_bool(&cursor)};
    head.index = cursor_u64(&cursor);
    if (cursor.failed) {
        return ERR_CORRUPT;
    }
    if (version != RESULT_VERSION || status < RESULT_THEN ||
        status > RESULT_LIMIT) {
        return ERR_VERSION;
    }
    head.status = (enum result_status)status;
    if (has_ops(head.status)) {
        head.count = cursor_u32(&cursor);
    } else if (of_restore(head.status)) {
        head.keys = cursor_u64(&cursor);
    } else if (head.status != RESULT_REUSED) {
        head.at = cursor_u32(&cursor);
    }
    if (head.status == RESULT_REFUSED) {
        head.current = cursor_u64(&cursor);
    }
    *reader = (struct result_reader){
        .head = head, .cursor = cursor, .left = head.count};
    return cursor.failed ? ERR_CORRUPT : ERR_OK;
}

static void get_row(struct cursor *cursor, struct result_op *op)
{
    op->found = get_bool(cursor);
    uint16_t key_bytes = cursor_u16(cursor);
    op->key = cursor_bytes(cursor, key_bytes);
    if (op->found) {
        op->modify_index = cursor_u64(cursor);
        op->create_index = cursor_u64(cursor);
        uint32_t value_bytes = cursor_u32(cursor);
        op->value = cursor_bytes(cursor, value_bytes);
    }
}

enum err result_next(struct result_reader *reader, struct result_op *op)
{
    struct cursor *cursor = &reader->cursor;
    if (reader->left == 0) {
        return cursor_left(cursor) == 0 ? ERR_NOT_FOUND : ERR_CORRUPT;
    }
    reader->left--;
    uint8_t type = cursor_u8(cursor);
    if (cursor->failed || type < COMMAND_PUT || type > COMMAND_EXPIRE) {
        return ERR_CORRUPT;
    }
    *op = (struct result_op){.type = (enum command_op_type)type};
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_PUT_TIMED:
        op->created = get_bool(cursor);
        break;
    case COMMAND_DELETE:
        op->deleted = get_bool(cursor);
        break;
    case COMMAND_DELETE_PREFIX:
    case COMMAND_EXPIRE:
        op->deleted = cursor_u64(cursor);
        break;
    case COMMAND_TOUCH:
        op->found = get_bool(cursor);
        break;
    case COMMAND_LEASE_GRANT:
        break;
    case COMMAND_LEASE_KEEP:
        op->found = get_bool(cursor);
        op->ttl_ms = cursor_u64(cursor);
        break;
    case COMMAND_LEASE_REVOKE:
        op->found = get_bool(cursor);
        op->deleted = cursor_u64(cursor);
        break;
    case COMMAND_INCR:
        op->number = (int64_t)cursor_u64(cursor);
        break;
    case COMMAND_GET:
        get_row(cursor, op);
        break;
    }
    return cursor->failed ? ERR_CORRUPT : ERR_OK;
}

enum err result_check(struct bytes bytes)
{
    struct result_reader reader;
    struct result_op op;
    enum err err = result_open(&reader, bytes);
    while (!err) {
        err = result_next(&reader, &op);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Compares the types of results and operations, one by one. */
static bool fits_ops(struct result_reader *results,
                     struct command_reader *command)
{
    struct result_op came;
    struct command_op asked;
    while (command_next(command, &asked) == ERR_OK) {
        if (result_next(results, &came) != ERR_OK || came.type != asked.type) {
            return false;
        }
    }
    return result_next(results, &came) == ERR_NOT_FOUND;
}

bool result_fits(struct bytes result, struct bytes asked)
{
    struct command_reader command;
    struct command_condition condition;
    struct command_op op;
    struct result_reader results;
    if (command_is_restore(asked)) {
        return result_check(result) == ERR_OK &&
               result_open(&results, result) == ERR_OK &&
               of_restore(results.head.status);
    }
    if (command_open(&command, asked) != ERR_OK) {
        return false;
    }
    if (command.version < COMMAND_TXN_VERSION) {
        return result.size == 0;
    }
    if (result_check(result) != ERR_OK ||
        result_open(&results, result) != ERR_OK) {
        return false;
    }
    while (command_next_condition(&command, &condition) == ERR_OK) {
    }
    switch (results.head.status) {
    case RESULT_THEN:
        return fits_ops(&results, &command);
    case RESULT_ELSE:
        while (command_next(&command, &op) == ERR_OK) {
        }
        return command_else(&command) == ERR_OK && fits_ops(&results, &command);
    case RESULT_RESTORE:
    case RESULT_SUPERSEDED:
        return false;
    case RESULT_REFUSED:
    case RESULT_NOT_A_NUMBER:
    case RESULT_OVERFLOW:
    case RESULT_TOO_MANY:
    case RESULT_TOO_LARGE:
    case RESULT_REUSED:
    case RESULT_NO_LEASE:
    case RESULT_LIMIT:
        break;
    }
    return true;
}
