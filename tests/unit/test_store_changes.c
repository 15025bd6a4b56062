/* test_store_changes.c -- the observer of a store receives every change of a
 * key, with the indexes of the row before, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "command/result.h"
#include "store/store.h"
#include "support/storedir.h"

static struct store *store;
static struct buf command;
static struct buf seen; /* The changes of the last entry, as text. */

static void changed(void *arg, const struct store_change *change)
{
    (void)arg;
    buf_printf(&seen, "%s %.*s=%.*s created=%llu before=%llu\n",
               change->deleted ? "delete" : "put", (int)change->key.size,
               (const char *)change->key.data, (int)change->value.size,
               change->value.data ? (const char *)change->value.data : "",
               (unsigned long long)change->create_index,
               (unsigned long long)change->prev_index);
}

static void undone(void *arg)
{
    (void)arg;
    seen.size = 0;
    buf_add_string(&seen, "undone\n");
}

static void replaced(void *arg)
{
    (void)arg;
    buf_printf(&seen, "replaced at %llu\n",
               (unsigned long long)store_applied(store));
}

static const struct store_observer observer = {
    .changed = changed, .undone = undone, .replaced = replaced};

static int setup(void **state)
{
    (void)state;
    int failed = storedir_begin(&store);
    store_observe(store, &observer);
    return failed;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&command);
    buf_free(&seen);
    return storedir_end(&store);
}

static void apply(void)
{
    struct store_result result;
    seen.size = 0;
    assert_int_equal(store_apply(store, store_applied(store) + 1, 1,
                                 buf_bytes(&command), &result),
                     ERR_OK);
}

static void expect(const char *text)
{
    assert_true(bytes_equal_string(buf_bytes(&seen), text));
}

static struct command_op op(enum command_op_type type, const char *key,
                            const char *value)
{
    return (struct command_op){.type = type,
                               .key = bytes_of_string(key),
                               .value = bytes_of_string(value)};
}

/* A version 1 command of two operations. */
static void apply_plain(const struct command_op *first,
                        const struct command_op *second)
{
    struct command_writer writer;
    command.size = 0;
    command_begin(&writer, &command);
    command_add(&writer, first);
    command_add(&writer, second);
    command_end(&writer);
    apply();
}

/* A transaction of two operations, on condition that the key "if" exists or is
 * missing. */
static void apply_txn(bool exists, const struct command_op *first,
                      const struct command_op *second)
{
    struct command_txn txn;
    struct command_writer writer;
    struct command_name name = {{0}, 0};
    command.size = 0;
    command_txn(&txn, &command, &name, false);
    command_list(&writer, &command);
    command_if(&writer,
               &(struct command_condition){.field = COMMAND_IF_EXISTS,
                                           .key = bytes_of_string("if"),
                                           .number = exists});
    command_end(&writer);
    command_list(&writer, &command);
    command_add(&writer, first);
    command_add(&writer, second);
    command_end(&writer);
    command_sign(&txn, 1);
    apply();
}

static void test_puts_and_deletes(void **state)
{
    struct command_op a = op(COMMAND_PUT, "a", "1");
    struct command_op b = op(COMMAND_PUT, "b", "");
    struct command_op delete_a = op(COMMAND_DELETE, "a", "");
    struct command_op delete_c = op(COMMAND_DELETE, "c", "");
    (void)state;
    apply_plain(&a, &b);
    expect("put a=1 created=1 before=0\n"
           "put b= created=1 before=0\n");
    apply_plain(&a, &a);
    expect("put a=1 created=1 before=1\n"
           "put a=1 created=1 before=2\n");
    apply_plain(&delete_a, &delete_c); /* There is no c. */
    expect("delete a= created=1 before=2\n");
    assert_int_equal(store_key_count(store), 1);
    apply_plain(&a, &delete_c);
    expect("put a=1 created=4 before=0\n");
    assert_int_equal(store_key_count(store), 2);
}

static void test_transactions(void **state)
{
    struct command_op a = op(COMMAND_PUT, "t/a", "x");
    struct command_op b = op(COMMAND_PUT, "t/b", "y");
    struct command_op add = op(COMMAND_INCR, "n", "");
    struct command_op add_text = op(COMMAND_INCR, "t/a", "");
    struct command_op get = op(COMMAND_GET, "t/a", "");
    struct command_op prefix = op(COMMAND_DELETE_PREFIX, "t/", "");
    (void)state;
    add.by = 7;
    apply_txn(false, &a, &b);
    expect("put t/a=x created=1 before=0\n"
           "put t/b=y created=1 before=0\n");
    apply_txn(true, &a, &b); /* The condition does not hold. */
    expect("");
    apply_txn(false, &add, &get);
    expect("put n=7 created=3 before=0\n");
    apply_txn(false, &b, &add_text); /* Not a number. */
    expect("undone\n");
    apply_txn(false, &prefix, &prefix);
    expect("delete t/a= created=1 before=1\n"
           "delete t/b= created=1 before=1\n");
    assert_int_equal(store_key_count(store), 1);
}

static void restore(enum command_step step, uint64_t keys, uint64_t hash)
{
    struct command_writer writer;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){
                        .step = step, .id = 9, .keys = keys, .hash = hash});
    if (step == COMMAND_RESTORE_ROWS) {
        command_restore_row(&writer, bytes_of_string("r"),
                            bytes_of_string("v"));
        command_end(&writer);
    }
    apply();
}

static void test_a_restore_replaces_all(void **state)
{
    struct command_op a = op(COMMAND_PUT, "a", "1");
    (void)state;
    apply_plain(&a, &a);
    restore(COMMAND_RESTORE_BEGIN, 0, 0);
    expect("");
    restore(COMMAND_RESTORE_ROWS, 0, 0);
    expect("");
    uint64_t hash = command_restore_hash(0, buf_bytes(&command));
    restore(COMMAND_RESTORE_COMMIT, 1, hash + 1); /* Not these rows. */
    expect("");
    restore(COMMAND_RESTORE_COMMIT, 1, hash);
    expect("replaced at 5\n");
    restore(COMMAND_RESTORE_COMMIT, 1, hash); /* It is done once. */
    expect("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_puts_and_deletes),
        TEST(test_transactions),
        TEST(test_a_restore_replaces_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
