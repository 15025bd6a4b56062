/* test_command.c -- the codec of a client's write is strict: every byte that
 * is missing or too many is seen, and what is newer is not taken for damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/command.h"
#include "command/result.h"

/* The version 1 command that every build knows. */
static struct buf example(void)
{
    struct buf out = {0};
    struct command_writer writer;
    command_begin(&writer, &out);
    command_put(&writer, bytes_of_string("a"), bytes_of_string("one"));
    command_put(&writer, bytes_of_string("empty"), (struct bytes){0});
    command_delete(&writer, bytes_of_string("gone"));
    command_end(&writer);
    return out;
}

static void add_list(struct command_writer *writer, struct buf *out,
                     const struct command_op *ops, size_t count)
{
    command_list(writer, out);
    for (size_t i = 0; i < count; i++) {
        command_add(writer, &ops[i]);
    }
    command_end(writer);
}

#define KEY(text)                                                              \
    {                                                                          \
        (const uint8_t *)(text), sizeof(text) - 1                              \
    }

static const struct command_condition conditions[] = {
    {.field = COMMAND_IF_INDEX, .key = KEY("a"), .number = 44},
    {.field = COMMAND_IF_NOT_INDEX, .key = KEY("b"), .number = 45},
    {.field = COMMAND_IF_CREATED, .key = KEY("c"), .number = 46},
    {.field = COMMAND_IF_EXISTS, .key = KEY("d"), .number = 1},
    {.field = COMMAND_IF_VALUE, .key = KEY("e"), .value = KEY("value")},
};
static const struct command_op then_ops[] = {
    {.type = COMMAND_PUT, .key = KEY("a"), .value = KEY("1")},
    {.type = COMMAND_DELETE, .key = KEY("b")},
    {.type = COMMAND_DELETE_PREFIX, .key = KEY("tmp/")},
    {.type = COMMAND_INCR, .key = KEY("n"), .by = INT64_MIN},
    {.type = COMMAND_GET, .key = KEY("z")},
};
static const struct command_op else_ops[] = {
    {.type = COMMAND_GET, .key = KEY("a")},
};

static struct buf txn_example(const char *name)
{
    struct buf out = {0};
    struct command_txn txn;
    struct command_writer writer;
    struct command_name called = {.key = bytes_of_string(name)};
    command_txn(&txn, &out, &called, true);
    command_list(&writer, &out);
    for (size_t i = 0; i < ARRAY_COUNT(conditions); i++) {
        command_if(&writer, &conditions[i]);
    }
    command_end(&writer);
    add_list(&writer, &out, then_ops, ARRAY_COUNT(then_ops));
    add_list(&writer, &out, else_ops, ARRAY_COUNT(else_ops));
    command_sign(&txn, 4);
    return out;
}

static void assert_ops(struct command_reader *reader,
                       const struct command_op *ops, size_t count)
{
    struct command_op op;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(command_next(reader, &op), ERR_OK);
        assert_int_equal(op.type, ops[i].type);
        assert_true(bytes_equal(op.key, ops[i].key));
        assert_true(bytes_equal(op.value, ops[i].value));
        assert_true(op.by == ops[i].by);
    }
    assert_int_equal(command_next(reader, &op), ERR_NOT_FOUND);
}

static void test_a_transaction_comes_back(void **state)
{
    (void)state;
    struct buf out = txn_example("name");
    struct command_reader reader;
    struct command_condition condition;
    assert_int_equal(command_open(&reader, buf_bytes(&out)), ERR_OK);
    assert_true(bytes_equal_string(reader.name.key, "name"));
    for (size_t i = 0; i < ARRAY_COUNT(conditions); i++) {
        assert_int_equal(command_next_condition(&reader, &condition), ERR_OK);
        assert_int_equal(condition.field, conditions[i].field);
        assert_true(bytes_equal(condition.key, conditions[i].key));
        assert_true(bytes_equal(condition.value, conditions[i].value));
        assert_true(condition.number == conditions[i].number);
    }
    assert_int_equal(command_next_condition(&reader, &condition),
                     ERR_NOT_FOUND);
    assert_ops(&reader, then_ops, ARRAY_COUNT(then_ops));
    assert_int_equal(command_else(&reader), ERR_OK);
    assert_ops(&reader, else_ops, ARRAY_COUNT(else_ops));
    assert_int_equal(command_else(&reader), ERR_NOT_FOUND);
    buf_free(&out);
}

static struct buf stamped_example(void)
{
    struct buf plain = txn_example("name");
    struct buf out = {0};
    command_stamp(&out, 1234, buf_bytes(&plain));
    buf_free(&plain);
    return out;
}

static uint64_t digest_of(struct buf *command)
{
    struct command_reader reader;
    assert_int_equal(command_open(&reader, buf_bytes(command)), ERR_OK);
    return reader.name.digest;
}

/* It is kept in the state, and a repeat may come in at a node of another
 * build: it must stay what it is. */
static void test_a_digest_is_of_the_request_and_for_ever(void **state)
{
    (void)state;
    struct buf one = txn_example("name");
    struct buf two = txn_example("other");
    assert_true(digest_of(&one) == digest_of(&two));
    assert_true(digest_of(&one) == UINT64_C(0x1ad6db0d85b0828a));
    struct command_txn txn = {.out = &two, .digest_at = 3 + 5};
    two.data[two.size - 1] ^= 1;
    command_sign(&txn, 4);
    assert_true(digest_of(&one) != digest_of(&two));
    two.data[two.size - 1] ^= 1;
    command_sign(&txn, 4);
    assert_true(digest_of(&one) == digest_of(&two));
    command_sign(&txn, 3);
    assert_true(digest_of(&one) != digest_of(&two));
    buf_free(&one);
    buf_free(&two);
}

static void test_what_makes_the_data_larger(void **state)
{
    (void)state;
    static const bool grows[] = {true, false, false, true, false};
    for (size_t i = 0; i < ARRAY_COUNT(then_ops); i++) {
        for (int where = 0; where < 2; where++) {
            struct buf out = {0};
            struct command_txn txn;
            struct command_writer writer;
            command_txn(&txn, &out, &(struct command_name){.digest = 0}, true);
            add_list(&writer, &out, NULL, 0);
            add_list(&writer, &out, &then_ops[i], where == 0);
            add_list(&writer, &out, &then_ops[i], where == 1);
            assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
            static const uint64_t deletes[] = {0, 1, 1000, 0, 0};
            uint64_t keys = UINT64_MAX;
            assert_true(command_only_deletes(buf_bytes(&out), &keys) ==
                        !grows[i]);
            assert_int_equal(keys, deletes[i]);
            buf_free(&out);
        }
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf out = example();
    struct command_reader reader;
    struct command_op op;
    assert_int_equal(command_open(&reader, buf_bytes(&out)), ERR_OK);
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_int_equal(op.type, COMMAND_PUT);
    assert_true(bytes_equal_string(op.key, "a"));
    assert_true(bytes_equal_string(op.value, "one"));
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_true(bytes_equal_string(op.key, "empty"));
    assert_int_equal(op.value.size, 0);
    assert_int_equal(command_next(&reader, &op), ERR_OK);
    assert_int_equal(op.type, COMMAND_DELETE);
    assert_true(bytes_equal_string(op.key, "gone"));
    assert_int_equal(command_next(&reader, &op), ERR_NOT_FOUND);
    buf_free(&out);
}

static void assert_strict(struct buf *out)
{
    assert_int_equal(command_check(buf_bytes(out)), ERR_OK);
    for (size_t size = 0; size < out->size; size++) {
        assert_int_not_equal(command_check(bytes_of(out->data, size)), ERR_OK);
    }
    buf_add_u8(out, 0);
    assert_int_equal(command_check(buf_bytes(out)), ERR_CORRUPT);
    buf_free(out);
}

static void test_every_cut_and_every_extra_byte_is_refused(void **state)
{
    (void)state;
    struct buf out = example();
    assert_strict(&out);
    out = txn_example("name");
    assert_strict(&out);
    out = txn_example("");
    assert_strict(&out);
    out = stamped_example();
    assert_strict(&out);
}

static void test_a_stamp_does_not_use_up_the_time(void **state)
{
    (void)state;
    const uint64_t sound = COMMAND_TIME_SOUND_MS;
    const uint64_t step = COMMAND_TIME_STEP_MS;
    assert_true(command_time_limit(0) == sound);
    assert_true(command_time_limit(sound - step) == sound);
    assert_true(command_time_limit(sound) == sound + step);
    assert_true(command_time_limit(COMMAND_TIME_MS_MAX - step - 1) ==
                COMMAND_TIME_MS_MAX - 1);
    assert_true(command_time_limit(COMMAND_TIME_MS_MAX - 1) ==
                COMMAND_TIME_MS_MAX);
    assert_true(command_time_limit(UINT64_MAX) == COMMAND_TIME_MS_MAX);
}

static void test_a_stamp_is_before_a_transaction(void **state)
{
    (void)state;
    struct buf plain = txn_example("name");
    struct buf out = stamped_example();
    struct command_reader reader;
    assert_true(command_is_stamped(buf_bytes(&out)));
    assert_false(command_is_stamped(buf_bytes(&plain)));
    assert_true(command_wants_stamp(buf_bytes(&plain)));
    assert_false(command_wants_stamp(buf_bytes(&out)));
    assert_int_equal(command_open(&reader, buf_bytes(&out)), ERR_OK);
    assert_true(reader.time_ms == 1234);
    assert_int_equal(reader.version, COMMAND_TXN_VERSION);
    assert_true(bytes_equal_string(reader.name.key, "name"));
    assert_true(reader.name.digest == digest_of(&plain));
    assert_int_equal(command_open(&reader, buf_bytes(&plain)), ERR_OK);
    assert_true(reader.time_ms == 0);
    assert_true(command_changes(buf_bytes(&out)) ==
                command_changes(buf_bytes(&plain)));
    assert_true(command_may_repeat(buf_bytes(&out)));
    /* Neither without time, nor beyond its bound. */
    store_u64(out.data + 1, 0);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    store_u64(out.data + 1, COMMAND_TIME_MS_MAX);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
    store_u64(out.data + 1, COMMAND_TIME_MS_MAX + 1);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    /* Nothing else is stamped, ... */
    store_u64(out.data + 1, 7);
    out.data[9] = COMMAND_VERSION;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    /* ... unless a later build does. */
    out.data[9] = COMMAND_STAMPED_VERSION;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    buf_free(&plain);
    plain = txn_example("");
    assert_false(command_wants_stamp(buf_bytes(&plain)));
    buf_free(&plain);
    plain = example();
    assert_false(command_wants_stamp(buf_bytes(&plain)));
    buf_free(&plain);
    buf_free(&out);
}

static void test_newer_versions_and_operations_are_no_damage(void **state)
{
    (void)state;
    struct buf out = example();
    out.data[0] = COMMAND_STAMPED_VERSION + 1;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    out.data[0] = COMMAND_VERSION;
    out.data[5] = COMMAND_GET; /* Older builds do not know it there. */
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    buf_free(&out);
    out = txn_example("");
    out.data[1] = 8; /* A flag. */
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    out.data[1] = 2;
    out.data[6] = 99; /* A condition. */
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    buf_free(&out);
}

static const struct command_op timed_ops[] = {
    {.type = COMMAND_PUT, .key = KEY("a"), .value = KEY("1")},
    {.type = COMMAND_PUT_TIMED,
     .key = KEY("a"),
     .value = KEY("1"),
     .ttl_ms = 30000},
    {.type = COMMAND_PUT_TIMED, .key = KEY("b"), .lease = 58},
    {.type = COMMAND_TOUCH, .key = KEY("a"), .ttl_ms = COMMAND_TTL_MS_MAX},
    {.type = COMMAND_TOUCH, .key = KEY("a")},
    {.type = COMMAND_LEASE_GRANT, .ttl_ms = 100},
    {.type = COMMAND_LEASE_KEEP, .lease = 58},
    {.type = COMMAND_LEASE_REVOKE, .lease = COMMAND_LEASE_MAX},
    {.type = COMMAND_EXPIRE, .limit = COMMAND_OPS_MAX},
};

static struct buf timed_example(const struct command_op *ops, size_t count,
                                bool stamped)
{
    struct buf plain = {0};
    struct command_txn txn;
    struct command_writer writer;
    struct command_name unnamed = {{0}, 0};
    command_txn(&txn, &plain, &unnamed, false);
    command_txn_timed(&txn);
    add_list(&writer, &plain, NULL, 0);
    add_list(&writer, &plain, ops, count);
    if (!stamped) {
        return plain;
    }
    struct buf out = {0};
    command_stamp(&out, 7, buf_bytes(&plain));
    buf_free(&plain);
    return out;
}

static void test_timed_operations_come_back(void **state)
{
    (void)state;
    struct command_reader reader;
    struct command_condition condition;
    struct command_op op;
    uint64_t keys_max;
    for (int stamped = 0; stamped < 2; stamped++) {
        struct buf out =
            timed_example(timed_ops, ARRAY_COUNT(timed_ops), stamped);
        assert_int_equal(command_needs_stamp(buf_bytes(&out)), !stamped);
        assert_int_equal(command_wants_stamp(buf_bytes(&out)), !stamped);
        assert_int_equal(command_open(&reader, buf_bytes(&out)), ERR_OK);
        assert_true(reader.timed);
        assert_int_equal(command_next_condition(&reader, &condition),
                         ERR_NOT_FOUND);
        for (size_t i = 0; i < ARRAY_COUNT(timed_ops); i++) {
            assert_int_equal(command_next(&reader, &op), ERR_OK);
            assert_int_equal(op.type, timed_ops[i].type);
            assert_true(bytes_equal(op.key, timed_ops[i].key));
            assert_true(bytes_equal(op.value, timed_ops[i].value));
            assert_true(op.ttl_ms == timed_ops[i].ttl_ms);
            assert_true(op.lease == timed_ops[i].lease);
            assert_true(op.limit == timed_ops[i].limit);
        }
        assert_int_equal(command_next(&reader, &op), ERR_NOT_FOUND);
        assert_false(command_only_deletes(buf_bytes(&out), &keys_max));
        if (stamped) {
            /* Without the flag they are of a later version. */
            out.data[9 + 1] = 0;
            assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
            out.data[9 + 1] = 4;
        }
        assert_strict(&out);
    }
    /* On a full disk a lease can be kept, and what is due can go. */
    struct buf out = timed_example(&timed_ops[6], 3, false);
    assert_true(command_only_deletes(buf_bytes(&out), &keys_max));
    assert_true(keys_max >= COMMAND_OPS_MAX);
    buf_free(&out);
}

/* Numbers outside their ranges. */
static void test_bounds_of_timed_operations(void **state)
{
    (void)state;
    static const struct {
        size_t op;
        size_t before_end; /* Offset of the number from the end. */
        uint64_t number;
    } bad[] = {
        {1, 16, 0},                      /* Neither ttl nor lease. */
        {1, 8, 58},                      /* Both. */
        {1, 16, COMMAND_TTL_MS_MAX + 1}, /* Too long. */
        {4, 8, COMMAND_LEASE_MAX + 1},   /* No id that the store could hold. */
        {4, 8, UINT64_MAX},
        {2, 8, 0},
        {3, 8, COMMAND_TTL_MS_MAX + 1},
        {5, 8, 0},
        {5, 8, COMMAND_TTL_MS_MAX + 1},
        {6, 8, 0},
        {6, 8, COMMAND_LEASE_MAX + 1},
        {7, 8, 0},
        {7, 8, COMMAND_LEASE_MAX + 1},
        {8, 8, 0},
        {8, 8, COMMAND_OPS_MAX + 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct buf out = timed_example(&timed_ops[bad[i].op], 1, true);
        assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
        store_u64(out.data + out.size - bad[i].before_end, bad[i].number);
        assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
        buf_free(&out);
    }
}

static void test_results_come_back(void **state)
{
    (void)state;
    static const struct result_op ops[] = {
        {.type = COMMAND_PUT, .created = true},
        {.type = COMMAND_DELETE, .deleted = 1},
        {.type = COMMAND_DELETE_PREFIX, .deleted = 1000},
        {.type = COMMAND_INCR, .number = -5},
        {.type = COMMAND_GET, .key = KEY("none")},
        {.type = COMMAND_GET,
         .key = KEY("z"),
         .found = true,
         .value = KEY("9"),
         .modify_index = 12,
         .create_index = 11},
    };
    struct buf out = {0};
    struct result_writer writer;
    struct result_reader reader;
    struct result_op op;
    result_begin(&writer, &out,
                 &(struct result){.status = RESULT_ELSE, .index = 62});
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        result_add(&writer, &ops[i]);
    }
    result_end(&writer);
    result_mark_replayed(&out);
    assert_int_equal(result_open(&reader, buf_bytes(&out)), ERR_OK);
    assert_int_equal(reader.head.status, RESULT_ELSE);
    assert_int_equal(reader.head.index, 62);
    assert_true(reader.head.replayed);
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        assert_int_equal(result_next(&reader, &op), ERR_OK);
        assert_int_equal(op.type, ops[i].type);
        assert_int_equal(op.created, ops[i].created);
        assert_int_equal(op.deleted, ops[i].deleted);
        assert_true(op.number == ops[i].number);
        assert_true(bytes_equal(op.key, ops[i].key));
        assert_int_equal(op.found, ops[i].found);
        assert_true(bytes_equal(op.value, ops[i].value));
        assert_int_equal(op.modify_index, ops[i].modify_index);
        assert_int_equal(op.create_index, ops[i].create_index);
    }
    assert_int_equal(result_next(&reader, &op), ERR_NOT_FOUND);
    for (size_t size = 0; size < out.size; size++) {
        assert_int_not_equal(result_check(bytes_of(out.data, size)), ERR_OK);
    }
    buf_add_u8(&out, 0);
    assert_int_equal(result_check(buf_bytes(&out)), ERR_CORRUPT);
    buf_free(&out);
}

/* A result from a node of another build must match its command. */
static void test_a_result_fits_its_command(void **state)
{
    (void)state;
    struct command_name nobody = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    struct buf asked = {0};
    struct buf first = {0};
    struct buf came = {0};
    struct result_writer writer;
    struct bytes key = bytes_of_string("k");
    command_begin(&list, &first);
    command_put(&list, key, key);
    command_end(&list);
    command_txn(&txn, &asked, &nobody, true);
    command_list(&list, &asked);
    command_end(&list);
    command_list(&list, &asked);
    command_put(&list, key, key);
    command_delete(&list, key);
    command_end(&list);
    command_list(&list, &asked);
    command_delete(&list, key);
    command_end(&list);
    static const struct {
        enum result_status status;
        enum command_op_type types[3]; /* 0: no more. */
        bool fits;
    } cases[] = {
        {RESULT_THEN, {COMMAND_PUT, COMMAND_DELETE}, true},
        {RESULT_THEN, {COMMAND_PUT}, false},
        {RESULT_THEN, {COMMAND_DELETE, COMMAND_PUT}, false},
        {RESULT_THEN, {COMMAND_PUT, COMMAND_DELETE, COMMAND_PUT}, false},
        {RESULT_THEN, {0}, false},
        {RESULT_ELSE, {COMMAND_DELETE}, true},
        {RESULT_ELSE, {COMMAND_PUT, COMMAND_DELETE}, false},
        {RESULT_ELSE, {0}, false},
        {RESULT_REFUSED, {0}, true},
        {RESULT_REUSED, {0}, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        came.size = 0;
        result_begin(&writer, &came,
                     &(struct result){.status = cases[i].status, .index = 9});
        for (size_t n = 0; n < 3 && cases[i].types[n] != 0; n++) {
            result_add(&writer, &(struct result_op){.type = cases[i].types[n]});
        }
        result_end(&writer);
        assert_true(result_fits(buf_bytes(&came), buf_bytes(&asked)) ==
                    cases[i].fits);
        assert_false(result_fits(buf_bytes(&came), buf_bytes(&first)));
    }
    assert_false(result_fits((struct bytes){0}, buf_bytes(&asked)));
    assert_true(result_fits((struct bytes){0}, buf_bytes(&first)));
    came.size--;
    assert_false(result_fits(buf_bytes(&came), buf_bytes(&asked)));
    buf_free(&asked);
    buf_free(&first);
    buf_free(&came);
}

static void add_step(struct buf *out, enum command_step step)
{
    struct command_writer writer;
    command_restore(
        &writer, out,
        &(struct command_restore){.step = step, .id = 5, .keys = 2, .hash = 9});
    if (step == COMMAND_RESTORE_ROWS) {
        command_restore_row(&writer, bytes_of_string("a"), (struct bytes){0});
        command_restore_row(&writer, bytes_of_string("bc"),
                            bytes_of_string("value"));
        command_end(&writer);
    }
}

static void test_the_steps_of_a_restore(void **state)
{
    (void)state;
    struct buf out = {0};
    struct buf came = {0};
    struct result_writer writer;
    struct command_restore restore;
    struct bytes key;
    struct bytes value;
    for (int step = COMMAND_RESTORE_BEGIN; step <= COMMAND_RESTORE_ABORT;
         step++) {
        out.size = 0;
        add_step(&out, (enum command_step)step);
        assert_true(command_is_restore(buf_bytes(&out)));
        assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
        /* The command's effect on the size decides whether it is refused. */
        uint64_t keys = 0;
        assert_int_equal(command_only_deletes(buf_bytes(&out), &keys),
                         step >= COMMAND_RESTORE_COMMIT);
        assert_int_equal(command_restore_open(&restore, buf_bytes(&out)),
                         ERR_OK);
        assert_int_equal(restore.step, step);
        assert_int_equal(restore.id, 5);
        for (size_t size = 0; size < out.size; size++) {
            assert_int_equal(command_check(bytes_of(out.data, size)),
                             ERR_CORRUPT);
        }
        buf_add_u8(&out, 0);
        assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
        out.size--;
        for (int status = RESULT_THEN; status <= RESULT_SUPERSEDED; status++) {
            came.size = 0;
            result_begin(&writer, &came,
                         &(struct result){.status = (enum result_status)status,
                                          .index = 9,
                                          .keys = 7});
            assert_int_equal(result_check(buf_bytes(&came)), ERR_OK);
            assert_int_equal(result_fits(buf_bytes(&came), buf_bytes(&out)),
                             status >= RESULT_RESTORE);
        }
    }
    out.size = 0;
    add_step(&out, COMMAND_RESTORE_ROWS);
    assert_int_equal(command_restore_open(&restore, buf_bytes(&out)), ERR_OK);
    assert_int_equal(restore.keys, 2);
    assert_int_equal(command_restore_next(&restore, &key, &value), ERR_OK);
    assert_true(bytes_equal_string(key, "a") && value.size == 0);
    assert_int_equal(command_restore_next(&restore, &key, &value), ERR_OK);
    assert_true(bytes_equal_string(value, "value"));
    assert_int_equal(command_restore_next(&restore, &key, &value),
                     ERR_NOT_FOUND);
    out.data[1] = COMMAND_RESTORE_ABORT + 1;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_VERSION);
    buf_free(&out);
    buf_free(&came);
}

static void test_key_sizes(void **state)
{
    (void)state;
    static uint8_t key[COMMAND_KEY_BYTES_MAX];
    struct buf out = {0};
    struct command_writer writer;
    command_begin(&writer, &out);
    command_put(&writer, bytes_of(key, sizeof(key)), (struct bytes){0});
    command_end(&writer);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_OK);
    store_u16(out.data + 6, COMMAND_KEY_BYTES_MAX + 1);
    buf_add_u8(&out, 0);
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    /* A key of no bytes, and nothing behind it. */
    store_u16(out.data + 6, 0);
    out.size = 5 + 7;
    assert_int_equal(command_check(buf_bytes(&out)), ERR_CORRUPT);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut_and_every_extra_byte_is_refused),
        cmocka_unit_test(test_newer_versions_and_operations_are_no_damage),
        cmocka_unit_test(test_timed_operations_come_back),
        cmocka_unit_test(test_bounds_of_timed_operations),
        cmocka_unit_test(test_a_stamp_does_not_use_up_the_time),
        cmocka_unit_test(test_a_stamp_is_before_a_transaction),
        cmocka_unit_test(test_key_sizes),
        cmocka_unit_test(test_a_transaction_comes_back),
        cmocka_unit_test(test_a_digest_is_of_the_request_and_for_ever),
        cmocka_unit_test(test_what_makes_the_data_larger),
        cmocka_unit_test(test_results_come_back),
        cmocka_unit_test(test_a_result_fits_its_command),
        cmocka_unit_test(test_the_steps_of_a_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
