/* fuzz_command.c -- the input is a log entry. Property: a command that is
 * accepted encodes to the very same bytes again. */
#include "command/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct command_reader reader;
    struct command_op op;
    struct command_writer writer;
    struct buf again = {0};
    if (command_check(input) != ERR_OK) {
        return 0;
    }
    must(command_open(&reader, input) == ERR_OK);
    command_begin(&writer, &again);
    while (command_next(&reader, &op) == ERR_OK) {
        if (op.type == COMMAND_PUT) {
            command_put(&writer, op.key, op.value);
        } else {
            command_delete(&writer, op.key);
        }
    }
    command_end(&writer);
    must(bytes_equal(buf_bytes(&again), input));
    buf_free(&again);
    return 0;
}
