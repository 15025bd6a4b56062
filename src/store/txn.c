/* txn.c -- applies version 2 commands: conditions, results, repeats.
 *
 * A command is decided here, when it is applied, from the state after the entry
 * before it, which is the same on every node. If an operation fails, the
 * changes of the command are undone, and the failure is its result.
 *
 * Results of named commands are rows. At most STORE_ANSWERS_MAX are kept: a new
 * one replaces the oldest. Stamped commands do not see those that are older
 * than STORE_ANSWER_AGE_MS, which is decided when a command comes: nothing has
 * to be written when a result gets old. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "base/text.h"
#include "command/result.h"
#include "store/store_internal.h"

enum { NUMBER_BYTES = 24 };

/* A command that is being applied. */
struct txn {
    struct store *store;
    uint64_t index;
    uint64_t prefix_keys;  /* Keys deleted by prefix so far. */
    uint64_t prefix_bytes; /* Bytes of their values. */
    size_t result_bytes_max;
    bool is_stamped;
    struct result_writer writer;
    struct result head;
};

/* ---- conditions ---- */

/* These functions, and those of the operations, return false if SQLite
 * failed. */
static bool value_is(struct store *store, const struct store_looked *row,
                     const struct command_condition *condition, bool *equal)
{
    struct store_row full;
    bool found;
    *equal = false;
    if (!row->found || row->value_bytes != condition->value.size) {
        return true;
    }
    if (!store_read(store, condition->key, &full, &found)) {
        return false;
    }
    *equal = found && bytes_equal(full.value, condition->value);
    sqlite3_reset(store->select);
    return true;
}

static bool holds(struct store *store, const struct store_looked *row,
                  const struct command_condition *condition, bool *yes)
{
    switch (condition->field) {
    case COMMAND_IF_INDEX:
        *yes = row->modify_index == condition->number;
        break;
    case COMMAND_IF_NOT_INDEX:
        *yes = row->modify_index != condition->number;
        break;
    case COMMAND_IF_CREATED:
        *yes = row->create_index == condition->number;
        break;
    case COMMAND_IF_EXISTS:
        *yes = row->found == (condition->number == 1);
        break;
    case COMMAND_IF_VALUE:
        return value_is(store, row, condition, yes);
    }
    return true;
}

/* Reads all conditions, so that the operations come next. The first one that
 * does not hold makes the result RESULT_REFUSED. */
static bool check_conditions(struct txn *txn, struct command_reader *reader)
{
    struct command_condition condition;
    uint32_t at = 0;
    while (command_next_condition(reader, &condition) == ERR_OK) {
        struct store_looked row;
        if (txn->head.status == RESULT_THEN) {
            bool yes = false;
            if (!store_look(txn->store, condition.key, &row) ||
                !holds(txn->store, &row, &condition, &yes)) {
                return false;
            }
            if (!yes) {
                txn->head.status = RESULT_REFUSED;
                txn->head.at = at;
                txn->head.current = row.modify_index;
            }
        }
        at++;
    }
    return true;
}

/* ---- operations ----
 *
 * An operation that fails changes txn->head.status. */

static bool incr(struct txn *txn, const struct command_op *op,
                 struct result_op *result)
{
    struct store_looked row;
    struct store_row full;
    int64_t before = 0;
    bool is_number = false;
    if (!store_look(txn->store, op->key, &row)) {
        return false;
    }
    if (row.found && row.value_bytes < NUMBER_BYTES) {
        if (!store_read(txn->store, op->key, &full, &row.found)) {
            return false;
        }
        is_number = text_i64(full.value, &before);
        sqlite3_reset(txn->store->select);
    }
    if (row.found && !is_number) {
        txn->head.status = RESULT_NOT_A_NUMBER;
        return true;
    }
    if (__builtin_add_overflow(before, op->by, &result->number)) {
        txn->head.status = RESULT_OVERFLOW;
        return true;
    }
    char text[NUMBER_BYTES];
    int size = snprintf(text, sizeof(text), "%lld", (long long)result->number);
    struct command_op put = {.type = COMMAND_PUT,
                             .key = op->key,
                             .value = bytes_of(text, (size_t)size)};
    bool created;
    return store_put(txn->store, txn->index, &put, STORE_KEEP_DEADLINE,
                     &created, &txn->head.status);
}

static bool get(struct txn *txn, const struct command_op *op,
                struct result_op *result)
{
    struct store_looked row;
    struct store_row full;
    result->key = op->key;
    if (!store_look(txn->store, op->key, &row)) {
        return false;
    }
    /* The limit is checked before the value is read. */
    if (txn->store->result.size + row.value_bytes > txn->result_bytes_max) {
        txn->head.status = RESULT_TOO_LARGE;
        return true;
    }
    if (row.found && !store_read(txn->store, op->key, &full, &row.found)) {
        return false;
    }
    if (row.found) {
        result->found = true;
        result->value = full.value; /* Valid until the next store_read(). */
        result->modify_index = full.modify_index;
        result->create_index = full.create_index;
    }
    return true;
}

/* The least key that is greater than all keys that begin with `prefix`. */
static struct bytes prefix_end(struct bytes prefix,
                               uint8_t end[COMMAND_KEY_BYTES_MAX + 1])
{
    size_t size = prefix.size;
    must(size <= COMMAND_KEY_BYTES_MAX);
    memcpy(end, prefix.data, size);
    while (size > 0 && end[size - 1] == 0xff) {
        size--;
    }
    if (size > 0) {
        end[size - 1]++;
        return bytes_of(end, size);
    }
    memset(end, 0xff, COMMAND_KEY_BYTES_MAX + 1); /* Longer than any key. */
    return bytes_of(end, COMMAND_KEY_BYTES_MAX + 1);
}

static uint64_t column(const struct merge *merge, int i)
{
    return (uint64_t)sqlite3_column_int64(merge->statement, i);
}

/* Lists the keys in [begin, end), with their indexes, and no more
 * than one over the limit. Too many for one entry make the result
 * RESULT_TOO_MANY. */
static bool measure(struct txn *txn, struct bytes begin, struct bytes end)
{
    must(txn->prefix_keys <= RESULT_PREFIX_KEYS_MAX);
    struct merge merge = {.from = begin, .to = end};
    uint64_t left = RESULT_PREFIX_KEYS_MAX - txn->prefix_keys;
    uint64_t keys = 0;
    struct bytes key;
    const struct table_row *row;
    enum err err = ERR_OK;
    struct buf *list = &txn->store->keys;
    list->size = 0;
    store_merge_open(txn->store, &merge, txn->store->measure, TIER_PAIRS);
    while (keys <= left &&
           (err = store_merge_next(&merge, &key, &row)) == ERR_OK) {
        keys++;
        txn->prefix_bytes += row ? row->value_bytes : column(&merge, 1);
        buf_add_u16(list, (uint16_t)key.size);
        buf_add_bytes(list, key);
        buf_add_u64(list, row ? row->create_index : column(&merge, 2));
        buf_add_u64(list, row ? row->modify_index : column(&merge, 3));
        buf_add_u64(list, row ? table_deadline(row) : column(&merge, 5));
    }
    if (err == ERR_IO) {
        /* The error stays in the connection. */
        store_merge_close(&merge);
        return false;
    }
    store_merge_close(&merge);
    if (keys > left || txn->prefix_bytes > RESULT_PREFIX_BYTES_MAX) {
        txn->head.status = RESULT_TOO_MANY;
    } else {
        txn->prefix_keys += keys;
    }
    return true;
}

static bool delete_prefix(struct txn *txn, const struct command_op *op,
                          struct result_op *result)
{
    struct store *store = txn->store;
    uint8_t room[COMMAND_KEY_BYTES_MAX + 1];
    struct bytes end = prefix_end(op->key, room);
    if (!measure(txn, op->key, end)) {
        return false;
    }
    if (txn->head.status == RESULT_TOO_MANY) {
        return true;
    }
    struct table_row row = {.kind = TABLE_TOMBSTONE};
    struct cursor keys = cursor_of(buf_bytes(&store->keys));
    while (cursor_left(&keys) > 0) {
        struct store_change change = {.deleted = true};
        size_t size = cursor_u16(&keys);
        change.key = cursor_bytes(&keys, size);
        change.create_index = cursor_u64(&keys);
        change.prev_index = cursor_u64(&keys);
        uint64_t deadline = cursor_u64(&keys);
        if (!store_deadline_move(store, change.key, deadline, 0,
                                 &txn->head.status)) {
            return false;
        }
        store_tier_set(store, TIER_PAIRS, change.key, &row);
        store_report(store, &change);
        result->deleted++;
    }
    must(result->deleted <= store->now.keys);
    store->now.keys -= result->deleted;
    return true;
}

static bool put_timed(struct txn *txn, const struct command_op *op,
                      struct result_op *result)
{
    uint64_t deadline = op->lease ? store_deadline_of_lease(op->lease)
                                  : txn->store->now.time + op->ttl_ms;
    return store_put(txn->store, txn->index, op, deadline, &result->created,
                     &txn->head.status);
}

/* Sets or removes the deadline of a key, which is no change of its value: it
 * keeps its index, and no watcher is notified. */
static bool touch(struct txn *txn, const struct command_op *op,
                  struct result_op *result)
{
    struct store *store = txn->store;
    struct store_looked old;
    struct store_row full;
    uint64_t deadline = op->ttl_ms ? store->now.time + op->ttl_ms : 0;
    if (!store_look(store, op->key, &old)) {
        return false;
    }
    result->found = old.found;
    if (!old.found || old.deadline == deadline) {
        return true;
    }
    if (!store_deadline_move(store, op->key, old.deadline, deadline,
                             &txn->head.status) ||
        !store_read(store, op->key, &full, &old.found)) {
        return false;
    }
    must(old.found);
    struct table_row row = {.kind = TABLE_ROW,
                            .value = full.value.data,
                            .value_bytes = (uint32_t)full.value.size,
                            .create_index = old.create_index,
                            .modify_index = old.modify_index,
                            .version = old.version};
    store_tier_set_pair(store, op->key, &row, deadline);
    return true;
}

/* An entry can grant one lease, since its index is the id. */
static bool grant(struct txn *txn, const struct command_op *op)
{
    struct store_lease lease;
    bool found;
    if (!store_lease_find(txn->store, txn->index, &lease, &found)) {
        return false;
    }
    txn->head.status =
        found ? RESULT_LIMIT
              : store_lease_grant(txn->store, txn->index, op->ttl_ms);
    return true;
}

static bool run_op(struct txn *txn, const struct command_op *op)
{
    struct result_op result = {.type = op->type};
    enum result_status before = txn->head.status;
    bool ok = false;
    switch (op->type) {
    case COMMAND_PUT:
        ok = store_put(txn->store, txn->index, op, 0, &result.created,
                       &txn->head.status);
        break;
    case COMMAND_DELETE:
        ok = store_delete(txn->store, op->key, false, &result.deleted);
        break;
    case COMMAND_DELETE_PREFIX:
        ok = delete_prefix(txn, op, &result);
        break;
    case COMMAND_INCR:
        ok = incr(txn, op, &result);
        break;
    case COMMAND_GET:
        ok = get(txn, op, &result);
        break;
    case COMMAND_PUT_TIMED:
        ok = put_timed(txn, op, &result);
        break;
    case COMMAND_TOUCH:
        ok = touch(txn, op, &result);
        break;
    case COMMAND_LEASE_GRANT:
        ok = grant(txn, op);
        break;
    case COMMAND_LEASE_KEEP:
        ok = store_lease_keep(txn->store, op->lease, &result.found,
                              &result.ttl_ms);
        break;
    case COMMAND_LEASE_REVOKE:
        ok = store_lease_end(txn->store, op->lease, false, &result.found,
                             &result.deleted);
        break;
    case COMMAND_EXPIRE:
        ok = store_expire(txn->store, op->limit, &result.deleted);
        break;
    }
    if (ok && txn->head.status == before) {
        result_add(&txn->writer, &result);
        if (txn->store->result.size > txn->result_bytes_max) {
            txn->head.status = RESULT_TOO_LARGE;
        }
    }
    sqlite3_reset(txn->store->select); /* Its value was copied. */
    return ok;
}

static bool run_ops(struct txn *txn, struct command_reader *reader)
{
    enum result_status before = txn->head.status;
    struct command_op op;
    uint32_t at = 0;
    result_begin(&txn->writer, &txn->store->result, &txn->head);
    while (command_next(reader, &op) == ERR_OK) {
        if (!run_op(txn, &op)) {
            return false;
        }
        if (txn->head.status != before) {
            txn->head.at = at;
            return true;
        }
        at++;
    }
    result_end(&txn->writer);
    return true;
}

/* Runs the operations of a list, all or none. */
static bool run_list(struct txn *txn, struct command_reader *reader)
{
    struct store *store = txn->store;
    struct row before = store->now;
    size_t mark = store->undo_count;
    enum result_status good = txn->head.status;
    if (!run_ops(txn, reader)) {
        return false;
    }
    if (txn->head.status != good) {
        store->result.size = 0;
        store->now = before;
        store->next_floor_ms = store->floor_ms;
        store_undo(store, mark);
        if (store->observer) {
            store->observer->undone(store->observer->arg);
        }
    }
    return true;
}

/* ---- repeats ---- */

/* Looks for the result of an earlier command of this name. *known: there is
 * one, and the result is that, or RESULT_REUSED if it is of another request. */
static bool find_answer(struct txn *txn, const struct command_name *name,
                        bool *known)
{
    struct store *store = txn->store;
    uint64_t digest = 0;
    if (txn->is_stamped && !store_answers_expire(store, name->key)) {
        return false;
    }
    if (!store_answer_find(store, name->key, known, &digest)) {
        return false;
    }
    if (*known && digest == name->digest) {
        result_mark_replayed(&store->result);
    } else if (*known) {
        store->result.size = 0;
        txn->head.status = RESULT_REUSED;
    }
    return true;
}

static bool keep_answer(struct store *store, uint64_t index,
                        const struct command_name *name)
{
    must(store->result.size > 0 &&
         store->result.size <= RESULT_NAMED_BYTES_MAX);
    return store_answer_add(store, index, name->key, name->digest);
}

/* ---- one command ---- */

static bool decide(struct txn *txn, struct command_reader *reader)
{
    if (!check_conditions(txn, reader)) {
        return false;
    }
    if (txn->head.status == RESULT_REFUSED && reader->has_else) {
        struct command_op skipped;
        while (command_next(reader, &skipped) == ERR_OK) {
        }
        if (command_else(reader) != ERR_OK) {
            return false;
        }
        txn->head.status = RESULT_ELSE;
    }
    return txn->head.status == RESULT_REFUSED || run_list(txn, reader);
}

static bool answer(struct txn *txn, struct command_reader *reader)
{
    struct store *store = txn->store;
    bool is_named = reader->name.key.size > 0;
    bool known = false;
    if (is_named && !find_answer(txn, &reader->name, &known)) {
        return false;
    }
    if (!known && !decide(txn, reader)) {
        return false;
    }
    if (store->result.size == 0) {
        result_begin(&txn->writer, &store->result, &txn->head);
    }
    return !is_named || known || keep_answer(store, txn->index, &reader->name);
}

bool store_txn_apply(struct store *store, uint64_t index, struct bytes command,
                     struct command_reader *reader)
{
    struct txn txn = {
        .store = store,
        .index = index,
        .is_stamped = reader->time_ms > 0,
        .result_bytes_max = reader->name.key.size > 0 ? RESULT_NAMED_BYTES_MAX
                                                      : RESULT_BYTES_MAX,
        .head = {.status = RESULT_THEN, .index = index},
    };
    must(store->result.size == 0);
    if (store->now.counts_from == 0) {
        store->now.counts_from = index;
    }
    /* Leaders stamp in order; another order must not turn the time back, and
     * no stamp uses it up. */
    uint64_t time_ms =
        min_u64(reader->time_ms, command_time_limit(store->now.time));
    store->now.time = max_u64(store->now.time, time_ms);
    if (!answer(&txn, reader)) {
        return false;
    }
    must(store->result.size > 0);
    /* Command and result are the same on every node. If they are not, the hash
     * differs. */
    uint32_t asked = crc32c(0, command.data, command.size);
    uint32_t came = crc32c(0, store->result.data, store->result.size);
    store->now.hash = mix_u64(store->now.hash ^
                              mix_u64((uint64_t)asked << 32 | came) ^ index);
    return true;
}
