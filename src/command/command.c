/* command.c -- the codec of a client's write. Little-endian.
 *
 *     version 1:  u8 1 | operations
 *     version 2:  u8 2 | u8 flags (1 it has a name, 2 an else, 4 it is timed)
 *                 [u8 name_bytes | name | u64 digest]
 *                 conditions | operations | [operations]
 *     version 4:  u8 4 | u64 time_ms, not 0 | a version 2 command
 *
 *     operations: u32 count, each:
 *                 u8 type | u16 key_bytes | u32 value_bytes (PUTs only) | key |
 *                 value, or u64 by (INCR only); then of a timed command
 *                 u64 ttl_ms | u64 lease of PUT_TIMED, u64 ttl_ms of TOUCH, and
 *                 u64 ttl_ms, lease or limit of the others, which have no key
 *     conditions: u32 count, each:
 *                 u8 field | u16 key_bytes | u32 value_bytes (VALUE only) |
 *                 key | value, or u64 number (the others) */
#include "command/command.h"

#include "base/rng.h"
#include "command/result.h"

enum {
    FLAG_NAME = 1,
    FLAG_ELSE = 2,
    FLAG_TIMED = 4,
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

static bool has_key(uint8_t type)
{
    return type <= COMMAND_TOUCH;
}

static bool has_value(uint8_t type)
{
    return type == COMMAND_PUT || type == COMMAND_PUT_TIMED;
}

static void add_head(struct command_writer *writer, uint8_t type,
                     struct bytes key)
{
    must(key.size <= COMMAND_KEY_BYTES_MAX);
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
    must(condition->key.size >= 1);
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
    struct buf *out = writer->out;
    must((op->key.size > 0) == has_key((uint8_t)op->type));
    must(op->ttl_ms <= COMMAND_TTL_MS_MAX);
    must(op->lease <= COMMAND_LEASE_MAX);
    add_head(writer, (uint8_t)op->type, op->key);
    if (has_value((uint8_t)op->type)) {
        add_key_value(writer, op->key, op->value);
    } else {
        buf_add_bytes(out, op->key);
    }
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_DELETE:
    case COMMAND_DELETE_PREFIX:
    case COMMAND_GET:
        break;
    case COMMAND_INCR:
        buf_add_u64(out, (uint64_t)op->by);
        break;
    case COMMAND_PUT_TIMED:
        must((op->ttl_ms > 0) != (op->lease > 0));
        buf_add_u64(out, op->ttl_ms);
        buf_add_u64(out, op->lease);
        break;
    case COMMAND_TOUCH:
    case COMMAND_LEASE_GRANT:
        buf_add_u64(out, op->ttl_ms);
        break;
    case COMMAND_LEASE_KEEP:
    case COMMAND_LEASE_REVOKE:
        buf_add_u64(out, op->lease);
        break;
    case COMMAND_EXPIRE:
        buf_add_u64(out, op->limit);
        break;
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
    *txn = (struct command_txn){.out = out, .flags_at = out->size + 1};
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

void command_txn_timed(const struct command_txn *txn)
{
    txn->out->data[txn->flags_at] |= FLAG_TIMED;
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

uint64_t command_time_limit(uint64_t time_ms)
{
    if (time_ms >= COMMAND_TIME_MS_MAX - COMMAND_TIME_STEP_MS) {
        return COMMAND_TIME_MS_MAX;
    }
    return max_u64(time_ms + COMMAND_TIME_STEP_MS, COMMAND_TIME_SOUND_MS);
}

bool command_is_stamped(struct bytes command)
{
    return command.size > 0 && command.data[0] == COMMAND_STAMPED_VERSION;
}

/* Has a command without a stamp one of these flags? */
static bool has_flag(struct bytes command, uint8_t flags)
{
    enum { FLAGS_AT = 1 };
    return command.size > FLAGS_AT && command.data[0] == COMMAND_TXN_VERSION &&
           (command.data[FLAGS_AT] & flags) != 0;
}

bool command_wants_stamp(struct bytes command)
{
    return has_flag(command, FLAG_NAME | FLAG_TIMED);
}

bool command_needs_stamp(struct bytes command)
{
    return has_flag(command, FLAG_TIMED);
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
    uint8_t known = COMMAND_NEWEST < COMMAND_STAMPED_VERSION
                        ? FLAG_NAME | FLAG_ELSE
                        : FLAG_NAME | FLAG_ELSE | FLAG_TIMED;
    if (flags > known) {
        return ERR_VERSION;
    }
    reader->timed = flags & FLAG_TIMED;
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
static bool get_key_value(struct cursor *cursor, bool with_value,
                          struct bytes *key, struct bytes *value)
{
    uint16_t key_bytes = cursor_u16(cursor);
    uint32_t value_bytes = with_value ? cursor_u32(cursor) : 0;
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

static bool is_known(const struct command_reader *reader, uint8_t type)
{
    enum command_op_type last = reader->version == COMMAND_VERSION
                                    ? COMMAND_DELETE
                                : reader->timed ? COMMAND_EXPIRE
                                                : COMMAND_GET;
    return type >= COMMAND_PUT && type <= last;
}

/* Reads what follows key and value. False: malformed. */
static bool get_numbers(struct cursor *cursor, struct command_op *op)
{
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_DELETE:
    case COMMAND_DELETE_PREFIX:
    case COMMAND_GET:
        return true;
    case COMMAND_INCR:
        op->by = (int64_t)cursor_u64(cursor);
        return true;
    case COMMAND_PUT_TIMED:
        op->ttl_ms = cursor_u64(cursor);
        op->lease = cursor_u64(cursor);
        return (op->ttl_ms > 0) != (op->lease > 0) &&
               op->ttl_ms <= COMMAND_TTL_MS_MAX &&
               op->lease <= COMMAND_LEASE_MAX;
    case COMMAND_TOUCH:
        op->ttl_ms = cursor_u64(cursor);
        return op->ttl_ms <= COMMAND_TTL_MS_MAX;
    case COMMAND_LEASE_GRANT:
        op->ttl_ms = cursor_u64(cursor);
        return op->ttl_ms > 0 && op->ttl_ms <= COMMAND_TTL_MS_MAX;
    case COMMAND_LEASE_KEEP:
    case COMMAND_LEASE_REVOKE:
        op->lease = cursor_u64(cursor);
        return op->lease > 0 && op->lease <= COMMAND_LEASE_MAX;
    case COMMAND_EXPIRE:
        op->limit = cursor_u64(cursor);
        return op->limit > 0 && op->limit <= COMMAND_OPS_MAX;
    }
    return false;
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
    if (!is_known(reader, type)) {
        return ERR_VERSION;
    }
    *op = (struct command_op){.type = (enum command_op_type)type};
    bool ok = has_key(type)
                  ? get_key_value(cursor, has_value(type), &op->key, &op->value)
                  : cursor_u16(cursor) == 0;
    ok = ok && get_numbers(cursor, op);
    return ok && !cursor->failed ? ERR_OK : ERR_CORRUPT;
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
    uint64_t items;   /* Conditions and operations. */
    bool expires;     /* It has an operation that leaders propose. */
};

static void count(const struct command_op *op, bool is_named,
                  struct walked *walked)
{
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_INCR:
        walked->grows = true;
        walked->changes++;
        break;
    case COMMAND_PUT_TIMED: /* Rows of the key, its deadline, and its lease. */
    case COMMAND_TOUCH:
    case COMMAND_LEASE_GRANT:
        walked->grows = true;
        walked->changes += 3;
        break;
    case COMMAND_DELETE:
        walked->deletes++;
        break;
    case COMMAND_DELETE_PREFIX:
        walked->deletes += RESULT_PREFIX_KEYS_MAX;
        break;
    case COMMAND_GET: /* The result of a named command is stored. */
        walked->grows = walked->grows || is_named;
        break;
    case COMMAND_LEASE_KEEP: /* Its rows keep their size. */
        walked->deletes += 2;
        break;
    case COMMAND_LEASE_REVOKE:
        walked->deletes += COMMAND_LEASE_KEYS_MAX;
        break;
    case COMMAND_EXPIRE: /* The last one may be a lease with all its keys. */
        walked->expires = true;
        walked->deletes += op->limit + COMMAND_LEASE_KEYS_MAX;
        break;
    }
}

static enum err walk(struct bytes command, struct walked *walked)
{
    struct command_reader reader;
    struct command_condition condition;
    struct command_op op;
    enum err err = command_open(&reader, command);
    while (!err) {
        err = command_next_condition(&reader, &condition);
        walked->items += !err;
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    do {
        while ((err = command_next(&reader, &op)) == ERR_OK) {
            count(&op, reader.name.key.size > 0, walked);
            walked->items++;
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

bool command_is_request(struct bytes command)
{
    struct command_restore restore;
    struct walked walked = {0};
    if (command_is_restore(command)) {
        return command_restore_check(command) == ERR_OK &&
               command_restore_open(&restore, command) == ERR_OK &&
               restore.left <= COMMAND_REQUEST_OPS_MAX;
    }
    return !command_is_stamped(command) && walk(command, &walked) == ERR_OK &&
           walked.items <= COMMAND_REQUEST_OPS_MAX && !walked.expires;
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
