/* restore.c -- the codec of a restore's steps.
 *
 *     u8 3 | u8 step | u64 id | by step:
 *     BEGIN, ABORT:  nothing
 *     ROWS:          u64 keys | u32 count, each:
 *                    u16 key_bytes | u32 value_bytes | key | value
 *     COMMIT:        u64 keys | u64 hash */
#include "base/crc32c.h"
#include "base/rng.h"
#include "command/command.h"

void command_restore(struct command_writer *writer, struct buf *out,
                     const struct command_restore *restore)
{
    must(restore->id != 0);
    buf_add_u8(out, COMMAND_RESTORE_VERSION);
    buf_add_u8(out, (uint8_t)restore->step);
    buf_add_u64(out, restore->id);
    if (restore->step == COMMAND_RESTORE_ROWS) {
        buf_add_u64(out, restore->keys);
        command_list(writer, out);
    } else if (restore->step == COMMAND_RESTORE_COMMIT) {
        buf_add_u64(out, restore->keys);
        buf_add_u64(out, restore->hash);
    }
}

void command_restore_row(struct command_writer *writer, struct bytes key,
                         struct bytes value)
{
    must(key.size >= 1 && key.size <= COMMAND_KEY_BYTES_MAX);
    must(value.size <= COMMAND_VALUE_BYTES_MAX);
    must(writer->count < COMMAND_OPS_MAX);
    buf_add_u16(writer->out, (uint16_t)key.size);
    buf_add_u32(writer->out, (uint32_t)value.size);
    buf_add_bytes(writer->out, key);
    buf_add_bytes(writer->out, value);
    writer->count++;
}

bool command_is_restore(struct bytes command)
{
    return command.size > 0 && command.data[0] == COMMAND_RESTORE_VERSION;
}

enum err command_restore_open(struct command_restore *restore,
                              struct bytes command)
{
    struct cursor cursor = cursor_of(command);
    uint8_t version = cursor_u8(&cursor);
    uint8_t step = cursor_u8(&cursor);
    if (cursor.failed) {
        return ERR_CORRUPT;
    }
    if (version != COMMAND_RESTORE_VERSION || step < COMMAND_RESTORE_BEGIN ||
        step > COMMAND_RESTORE_ABORT) {
        return ERR_VERSION;
    }
    *restore = (struct command_restore){.step = (enum command_step)step,
                                        .id = cursor_u64(&cursor)};
    if (restore->step == COMMAND_RESTORE_ROWS) {
        restore->keys = cursor_u64(&cursor);
        restore->left = cursor_u32(&cursor);
        restore->rows = cursor;
        bool odd = restore->left == 0 || restore->left > COMMAND_OPS_MAX;
        return cursor.failed || odd || restore->id == 0 ? ERR_CORRUPT : ERR_OK;
    }
    if (restore->step == COMMAND_RESTORE_COMMIT) {
        restore->keys = cursor_u64(&cursor);
        restore->hash = cursor_u64(&cursor);
    }
    return cursor.failed || cursor_left(&cursor) > 0 || restore->id == 0
               ? ERR_CORRUPT
               : ERR_OK;
}

enum err command_restore_next(struct command_restore *restore,
                              struct bytes *key, struct bytes *value)
{
    struct cursor *cursor = &restore->rows;
    if (restore->left == 0) {
        return cursor_left(cursor) == 0 ? ERR_NOT_FOUND : ERR_CORRUPT;
    }
    restore->left--;
    uint16_t key_bytes = cursor_u16(cursor);
    uint32_t value_bytes = cursor_u32(cursor);
    *key = cursor_bytes(cursor, key_bytes);
    *value = cursor_bytes(cursor, value_bytes);
    bool odd = key_bytes == 0 || key_bytes > COMMAND_KEY_BYTES_MAX ||
               value_bytes > COMMAND_VALUE_BYTES_MAX;
    return cursor->failed || odd ? ERR_CORRUPT : ERR_OK;
}

enum err command_restore_check(struct bytes command)
{
    struct command_restore restore;
    struct bytes key;
    struct bytes value;
    enum err err = command_restore_open(&restore, command);
    if (err || restore.step != COMMAND_RESTORE_ROWS) {
        return err;
    }
    do {
        err = command_restore_next(&restore, &key, &value);
    } while (!err);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

uint64_t command_restore_hash(uint64_t hash, struct bytes rows)
{
    uint32_t crc = crc32c(0, rows.data, rows.size);
    return mix_u64(hash ^ ((uint64_t)rows.size << 32 | crc));
}
