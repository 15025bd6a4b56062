/* command.c -- the codec of a client's write. Little-endian.
 *
 *     version 1:  u8 1 | operations
 *     version 2:  u8 2 | u8 flags (1 it has a name, 2 it has an else)
 *                 [u8 name_bytes | name | u64 digest]
 *                 conditions | operations | [operations]
 *     version 4:  u8 4 | u64 time_ms, not 0 | a version 2 command
 *
 *     operations: u32 count, each:
 *                 u8 type | u16 key_bytes | u32 value_bytes (PUT only) | key |
 *                 value, or u64 by (INCR only)
 *     conditions: u32 count, each:
 *                 u8 field | u16 key_bytes | u32 value_bytes (VALUE only) |
 *                 key | value, or u64 number (the others) */
#include "command/command.h"

#include "base/rng.h"
#include "command/result.h"

enum {
    FLAG_NAME = 1,
    FLAG_ELSE = 2,
    DIGEST_BYTES = 8,
    STAMP_BYTES = 1 + 8, /* Before the command that is stamped. */
};

/* ---- encoding ---- */

void command_begin(struct command_writer *writer, struct buf *out)
{
    buf_add_u8(out, COMMAND_VERSION);
    command_list(writer, out);
}

void command_list(struct command_writer *writer, struct buf *out)
{
    *writer = (struct command_writer){.out = out, .count_at = out->size};
    buf_add_u32(out, 0); /* command_end() writes the count. */
}

static void add_head(struct command_writer *writer, uint8_t type,
                     struct bytes key)
{
    must(key.size >= 1 && key.size <= COMMAND_KEY_BYTES_MAX);
    must(writer->count < COMMAND_OPS_MAX);
    buf_add_u8(writer->out, type);
    buf_add_u16(writer->out, (uint16_t)key.size);
    writer->count++;
}

static void add_key_value(struct command_writer *writer, struct bytes key,
                          struct bytes value)
{
    must(value.size <= COMMAND_VALUE_BYTES_MAX);
    buf_add_u32(writer->out, (uint32_t)value.size);
    buf_add_bytes(writer->out, key);
    buf_add_bytes(writer->out, value);
}

void command_if(struct command_writer *writer,
                const struct command_condition *condition)
{
    add_head(writer, (uint8_t)condition->field, condition->key);
    if (condition->field == COMMAND_IF_VALUE) {
        add_key_value(writer, condition->key, condition->value);
    } else {
        buf_add_bytes(writer->out, condition->key);
        buf_add_u64(writer->out, condition->number);
    }
}

void command_add(struct command_writer *writer, const struct command_op *op)
{
    add_head(writer, (uint8_t)op->type, op->key);
    if (op->type == COMMAND_PUT) {
        add_key_value(writer, op->key, op->value);
        return;
    }
    buf_add_bytes(writer->out, op->key);
    if (op->type == COMMAND_INCR) {
        buf_add_u64(writer->out, (uint64_t)op->by);
    }
}

void command_put(struct command_writer *writer, struct bytes key,
                 struct bytes value)
{
    command_add(writer, &(struct command_op){
                            .type = COMMAND_PUT, .key = key, .value = value});
}

void command_delete(struct command_writer *writer, struct bytes key)
{
    command_add(writer,
                &(struct command_op){.type = COMMAND_DELETE, .key = key});
}

void command_end(struct command_writer *writer)
{
    store_u32(writer->out->data + writer->count_at, writer->count);
}

void command_txn(struct command_txn *txn, struct buf *out,
                 const struct command_name *name, bool has_else)
{
    bool has_name = name->key.size > 0;
    *txn = (struct command_txn){.out = out};
    must(name->key.size <= COMMAND_NAME_BYTES_MAX);
    buf_add_u8(out, COMMAND_TXN_VERSION);
    buf_add_u8(out, (uint8_t)((has_name ? FLAG_NAME : 0) |
                              (has_else ? FLAG_ELSE : 0)));
    if (has_name) {
        buf_add_u8(out, (uint8_t)name->key.size);
        buf_add_bytes(out, name->key);
        txn->digest_at = out->size;
        buf_add_u64(out, name->digest);
    }
}

/* The digest detects a client that uses a name for two requests. It need not
 * resist an attacker, who can harm only own requests. All builds must compute
 * the same, since a repeat may reach any node. */
static uint64_t digest(struct bytes bytes, uint8_t kind)
{
    uint64_t hash = mix_u64(kind ^ (uint64_t)bytes.size << 8);
    size_t i = 0;
    for (; i + 8 <= bytes.size; i += 8) {
        hash = mix_u64(hash ^ load_u64(bytes.data + i));
    }
    uint8_t tail[8] = {0};
    if (i < bytes.size) {
        memcpy(tail, bytes.data + i, bytes.size - i);
    }
    return mix_u64(hash ^ load_u64(tail));
}

void command_sign(const struct command_txn *txn, uint8_t kind)
{
    if (txn->digest_at == 0) {
        return;
    }
    size_t rest = txn->digest_at + DIGEST_BYTES;
    must(rest <= txn->out->size);
    command_set_digest(
        txn,
        digest(bytes_of(txn->out->data + rest, txn->out->size - rest), kind));
}

uint64_t command_digest(const struct command_txn *txn)
{
    return txn->digest_at > 0 ? load_u64(txn->out->data + txn->digest_at) : 0;
}

void command_set_digest(const struct command_txn *txn, uint64_t digest)
{
    if (txn->digest_at > 0) {
        store_u64(txn->out->data + txn->digest_at, digest);
    }
}

void command_stamp(struct buf *out, uint64_t time_ms, struct bytes txn)
{
    must(time_ms > 0 && time_ms <= COMMAND_TIME_MS_MAX);
    must(txn.size > 0 && txn.data[0] == COMMAND_TXN_VERSION);
    buf_add_u8(out, COMMAND_STAMPED_VERSION);
    buf_add_u64(out, time_ms);
    buf_add_bytes(out, txn);
}

bool command_is_stamped(struct bytes command)
{
    return command.size > 0 && command.data[0] == COMMAND_STAMPED_VERSION;
}

bool command_wants_stamp(struct bytes command)
{
    enum { FLAGS_AT = 1 };
    return command.size > FLAGS_AT && command.data[0] == COMMAND_TXN_VERSION &&
           (command.data[FLAGS_AT] & FLAG_NAME);
}

/* ---- decoding ---- */

static enum err open_list(struct command_reader *reader)
{
    reader->left = cursor_u32(&reader->cursor);
    return reader->cursor.failed || reader->left > COMMAND_OPS_MAX ? ERR_CORRUPT
                                                                   : ERR_OK;
}

static enum err open_txn(struct command_reader *reader)
{
    struct cursor *cursor = &reader->cursor;
    uint8_t flags = cursor_u8(cursor);
    if (cursor->failed) {
        return ERR_CORRUPT;
    }
    if (flags > (FLAG_NAME | FLAG_ELSE)) {
        return ERR_VERSION;
    }
    if (flags & FLAG_NAME) {
        uint8_t size = cursor_u8(cursor);
        reader->name.key = cursor_bytes(cursor, size);
        reader->name.digest = cursor_u64(cursor);
        if (cursor->failed || size == 0 || size > COMMAND_NAME_BYTES_MAX) {
            return ERR_CORRUPT;
        }
    }
    reader->has_else = flags & FLAG_ELSE;
    reader->lists_left = reader->has_else ? 2 : 1;
    return open_list(reader);
}

/* Reads the stamp, if there is one, and the version of the command. */
static enum err open_stamp(struct command_reader *reader)
{
    struct cursor *cursor = &reader->cursor;
    reader->version = cursor_u8(cursor);
    if (reader->version != COMMAND_STAMPED_VERSION ||
        COMMAND_NEWEST < COMMAND_STAMPED_VERSION) {
        return ERR_OK;
    }
    reader->time_ms = cursor_u64(cursor);
    reader->version = cursor_u8(cursor);
    if (cursor->failed || reader->time_ms == 0 ||
        reader->time_ms > COMMAND_TIME_MS_MAX) {
        return ERR_CORRUPT;
    }
    return reader->version < COMMAND_TXN_VERSION   ? ERR_CORRUPT
           : reader->version > COMMAND_TXN_VERSION ? ERR_VERSION
                                                   : ERR_OK;
}

enum err command_open(struct command_reader *reader, struct bytes command)
{
    *reader = (struct command_reader){.cursor = cursor_of(command)};
    if (command.size == 0) {
        return ERR_CORRUPT;
    }
    enum err err = open_stamp(reader);
    if (err) {
        return err;
    }
    switch (reader->version) {
    case COMMAND_VERSION:
        return open_list(reader);
    case COMMAND_TXN_VERSION:
        return open_txn(reader);
    default:
        return ERR_VERSION;
    }
}

static enum err next_list(struct command_reader *reader)
{
    must(reader->left == 0 && reader->lists_left > 0);
    reader->lists_left--;
    return open_list(reader);
}

/* Reads the sizes, then key and value. False: they are malformed. */
static bool get_key_value(struct cursor *cursor, bool has_value,
                          struct bytes *key, struct bytes *value)
{
    uint16_t key_bytes = cursor_u16(cursor);
    uint32_t value_bytes = has_value ? cursor_u32(cursor) : 0;
    *key = cursor_bytes(cursor, key_bytes);
    *value = cursor_bytes(cursor, value_bytes);
    return !cursor->failed && key_bytes >= 1 &&
           key_bytes <= COMMAND_KEY_BYTES_MAX &&
           value_bytes <= COMMAND_VALUE_BYTES_MAX;
}

enum err command_next_condition(struct command_reader *reader,
                                struct command_condition *condition)
{
    struct cursor *cursor = &reader->cursor;
    if (reader->version == COMMAND_VERSION) {
        return ERR_NOT_FOUND;
    }
    must(reader->lists_left == (reader->has_else ? 2 : 1));
    if (reader->left == 0) {
        enum err err = next_list(reader);
        return err ? err : ERR_NOT_FOUND;
    }
    reader->left--;
    uint8_t field = cursor_u8(cursor);
    if (cursor->failed) {
        return ERR_CORRUPT;
    }
    if (field < COMMAND_IF_INDEX || field > COMMAND_IF_VALUE) {
        return ERR_VERSION;
    }
    *condition = (struct command_condition){.field = (enum command_field)field};
    if (!get_key_value(cursor, field == COMMAND_IF_VALUE, &condition->key,
                       &condition->value)) {
        return ERR_CORRUPT;
    }
    if (field != COMMAND_IF_VALUE) {
        condition->number = cursor_u64(cursor);
    }
    bool odd = field == COMMAND_IF_EXISTS && condition->number > 1;
    return cursor->failed || odd ? ERR_CORRUPT : ERR_OK;
}

static bool is_known(uint8_t version, uint8_t type)
{
    return type >= COMMAND_PUT &&
           type <= (version == COMMAND_VERSION ? COMMAND_DELETE : COMMAND_GET);
}

enum err command_next(struct command_reader *reader, struct command_op *op)
{
    struct cursor *cursor = &reader->cursor;
    must(reader->lists_left <= 1);
    if (reader->left == 0) {
        bool more = reader->lists_left > 0;
        return more || cursor_left(cursor) == 0 ? ERR_NOT_FOUND : ERR_CORRUPT;
    }
    reader->left--;
    uint8_t type = cursor_u8(cursor);
    if (cursor->failed) {
        return ERR_CORRUPT;
    }
    if (!is_known(reader->version, type)) {
        return ERR_VERSION;
    }
    *op = (struct command_op){.type = (enum command_op_type)type};
    if (!get_key_value(cursor, type == COMMAND_PUT, &op->key, &op->value)) {
        return ERR_CORRUPT;
    }
    if (type == COMMAND_INCR) {
        op->by = (int64_t)cursor_u64(cursor);
    }
    return cursor->failed ? ERR_CORRUPT : ERR_OK;
}

enum err command_else(struct command_reader *reader)
{
    if (reader->lists_left == 0) {
        return ERR_NOT_FOUND;
    }
    return next_list(reader);
}

/* ---- whole commands ---- */

struct walked {
    bool grows;       /* It may make the data larger. */
    uint64_t deletes; /* Upper bound on the keys that it deletes. */
    uint64_t changes; /* The same of rows that it adds or changes. */
};

static enum err walk(struct bytes command, struct walked *walked)
{
    struct command_reader reader;
    struct command_condition condition;
    struct command_op op;
    enum err err = command_open(&reader, command);
    while (!err) {
        err = command_next_condition(&reader, &condition);
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    do {
        while ((err = command_next(&reader, &op)) == ERR_OK) {
            /* The result of a named command, with its reads, is stored. */
            walked->grows =
                walked->grows || op.type == COMMAND_PUT ||
                op.type == COMMAND_INCR ||
                (op.type == COMMAND_GET && reader.name.key.size > 0);
            walked->changes +=
                op.type == COMMAND_PUT || op.type == COMMAND_INCR;
            walked->deletes += op.type == COMMAND_DELETE ? 1
                               : op.type == COMMAND_DELETE_PREFIX
                                   ? RESULT_PREFIX_KEYS_MAX
                                   : 0;
        }
        if (err == ERR_NOT_FOUND) {
            err = command_else(&reader);
            if (err == ERR_NOT_FOUND) {
                return ERR_OK;
            }
        }
    } while (!err);
    return err;
}

enum err command_check(struct bytes command)
{
    if (command_is_restore(command)) {
        return command_restore_check(command);
    }
    struct walked walked = {0};
    return walk(command, &walked);
}

bool command_may_repeat(struct bytes command)
{
    struct command_reader reader;
    struct command_op op;
    if (command_is_restore(command) ||
        command_open(&reader, command) != ERR_OK) {
        return false;
    }
    return reader.name.key.size > 0 ||
           (reader.version == COMMAND_VERSION &&
            command_next(&reader, &op) == ERR_NOT_FOUND);
}

uint64_t command_changes(struct bytes command)
{
    struct command_restore restore;
    struct walked walked = {0};
    if (command_is_restore(command)) {
        return command_restore_open(&restore, command) == ERR_OK ? restore.left
                                                                 : 0;
    }
    return walk(command, &walked) == ERR_OK ? walked.changes + walked.deletes
                                            : 0;
}

bool command_only_deletes(struct bytes command, uint64_t *keys_max)
{
    struct command_restore restore;
    if (command_is_restore(command)) {
        *keys_max = UINT64_MAX;
        return command_restore_open(&restore, command) == ERR_OK &&
               (restore.step == COMMAND_RESTORE_COMMIT ||
                restore.step == COMMAND_RESTORE_ABORT);
    }
    struct walked walked = {0};
    bool ok = walk(command, &walked) == ERR_OK && !walked.grows;
    *keys_max = walked.deletes;
    return ok;
}
