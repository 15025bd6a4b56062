/* fuzz_command.c -- the input is a log entry, or behind a first byte RESULT
 * what came of one. Property: what is accepted encodes to the very same bytes
 * again. */
#include "command/command.h"
#include "command/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RESULT = 0xff };

static void add_ops(struct command_reader *reader,
                    struct command_writer *writer)
{
    struct command_op op;
    while (command_next(reader, &op) == ERR_OK) {
        command_add(writer, &op);
    }
    command_end(writer);
}

static void encode_plain(struct command_reader *reader, struct buf *out)
{
    struct command_writer writer;
    command_begin(&writer, out);
    add_ops(reader, &writer);
}

static void encode_txn(struct command_reader *reader, struct buf *out)
{
    struct command_txn txn;
    struct command_writer writer;
    struct command_condition condition;
    command_txn(&txn, out, &reader->name, reader->has_else);
    if (reader->timed) {
        command_txn_timed(&txn);
    }
    command_list(&writer, out);
    while (command_next_condition(reader, &condition) == ERR_OK) {
        command_if(&writer, &condition);
    }
    command_end(&writer);
    do {
        command_list(&writer, out);
        add_ops(reader, &writer);
    } while (command_else(reader) == ERR_OK);
}

static void encode_restore(struct bytes input, struct buf *out)
{
    struct command_restore restore;
    struct command_writer writer;
    struct bytes key;
    struct bytes value;
    must(command_restore_open(&restore, input) == ERR_OK);
    command_restore(&writer, out, &restore);
    if (restore.step == COMMAND_RESTORE_ROWS) {
        while (command_restore_next(&restore, &key, &value) == ERR_OK) {
            command_restore_row(&writer, key, value);
        }
        command_end(&writer);
    }
}

static void check_command(struct bytes input)
{
    struct command_reader reader;
    struct buf again = {0};
    if (command_check(input) != ERR_OK) {
        uint64_t keys_max;
        must(!command_only_deletes(input, &keys_max));
        return;
    }
    if (command_is_restore(input)) {
        encode_restore(input, &again);
        must(bytes_equal(buf_bytes(&again), input));
        buf_free(&again);
        return;
    }
    must(command_open(&reader, input) == ERR_OK);
    if (reader.version == COMMAND_VERSION) {
        encode_plain(&reader, &again);
    } else {
        encode_txn(&reader, &again);
    }
    if (reader.time_ms > 0) {
        struct buf plain = again;
        again = (struct buf){0};
        command_stamp(&again, reader.time_ms, buf_bytes(&plain));
        buf_free(&plain);
    }
    must(bytes_equal(buf_bytes(&again), input));
    buf_free(&again);
}

static void check_result(struct bytes input)
{
    struct result_reader reader;
    struct result_writer writer;
    struct result_op op;
    struct buf again = {0};
    if (result_check(input) != ERR_OK) {
        return;
    }
    must(result_open(&reader, input) == ERR_OK);
    result_begin(&writer, &again, &reader.head);
    while (result_next(&reader, &op) == ERR_OK) {
        result_add(&writer, &op);
    }
    result_end(&writer);
    must(bytes_equal(buf_bytes(&again), input));
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == RESULT) {
        check_result(bytes_of(data + 1, size - 1));
    } else {
        check_command(bytes_of(data, size));
    }
    return 0;
}
