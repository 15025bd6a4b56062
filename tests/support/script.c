/* script.c -- see script.h. */
#include "support/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void add_ops(struct buf *out, const struct command_op *ops)
{
    struct command_writer writer;
    command_list(&writer, out);
    for (; ops->type; ops++) {
        command_add(&writer, ops);
    }
    command_end(&writer);
}

static void encode_plain(struct buf *out, const struct script *script)
{
    struct command_txn txn;
    struct command_writer writer;
    struct command_name name = {{0}, 0};
    if (script->name) {
        name.key = bytes_of_string(script->name);
    }
    command_txn(&txn, out, &name, script->has_else);
    if (script->time_ms > 0) {
        command_txn_timed(&txn);
    }
    command_list(&writer, out);
    for (const struct command_condition *c = script->ifs; c->field; c++) {
        command_if(&writer, c);
    }
    command_end(&writer);
    add_ops(out, script->thens);
    if (script->has_else) {
        add_ops(out, script->elses);
    }
    command_sign(&txn, 1);
}

struct bytes script_encode(struct buf *out, const struct script *script)
{
    struct buf plain = {0};
    out->size = 0;
    if (script->time_ms == 0) {
        encode_plain(out, script);
        return buf_bytes(out);
    }
    encode_plain(&plain, script);
    command_stamp(out, script->time_ms, buf_bytes(&plain));
    buf_free(&plain);
    return buf_bytes(out);
}

enum result_status script_apply(struct store *store, struct bytes command,
                                struct result_reader *reader)
{
    struct store_result result;
    assert_int_equal(
        store_apply(store, store_applied(store) + 1, 1, command, &result),
        ERR_OK);
    assert_int_equal(result_check(result.data), ERR_OK);
    assert_int_equal(result_open(reader, result.data), ERR_OK);
    return reader->head.status;
}
