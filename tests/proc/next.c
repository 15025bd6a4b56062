/* next.c -- what a next version would do, linked over this one (--wrap).
 *
 * Together with a higher CRAFTD_WIRE_VERSION it makes build/craftd-next, which
 * tests/proc/test_versions.py mixes with the real binary:
 *   - HELLO and WELCOME say more than this version knows;
 *   - a kind of frame that this version does not know comes with every PING;
 *   - with CRAFTD_NEXT_FINAL in the environment, when an operator would have
 *     said that there is no way back: commands of a version that this one
 *     cannot read. Until then it writes what this one writes. */
#include <stdlib.h>

#include "command/command.h"
#include "wire/wire_internal.h"

enum { NEXT_FRAME = 200, NEXT_COMMAND = 100 };

void __real_wire_add_hello(struct buf *out, enum wire_type type,
                           const struct wire_hello *hello);
void __wrap_wire_add_hello(struct buf *out, enum wire_type type,
                           const struct wire_hello *hello);
void __wrap_wire_add_hello(struct buf *out, enum wire_type type,
                           const struct wire_hello *hello)
{
    size_t start = out->size;
    __real_wire_add_hello(out, type, hello);
    buf_add_string(out, "what the next version has to say");
    wire_end(out, start);
}

void __real_wire_add_empty(struct buf *out, enum wire_type type);
void __wrap_wire_add_empty(struct buf *out, enum wire_type type);
void __wrap_wire_add_empty(struct buf *out, enum wire_type type)
{
    __real_wire_add_empty(out, type);
    size_t start = wire_begin(out, (enum wire_type)NEXT_FRAME);
    buf_add_string(out, "news");
    wire_end(out, start);
}

static void mark_as_next(struct buf *out, size_t start)
{
    if (getenv("CRAFTD_NEXT_FINAL")) {
        out->data[start] += NEXT_COMMAND;
    }
}

void __real_command_begin(struct command_writer *writer, struct buf *out);
void __wrap_command_begin(struct command_writer *writer, struct buf *out);
void __wrap_command_begin(struct command_writer *writer, struct buf *out)
{
    size_t start = out->size;
    __real_command_begin(writer, out);
    mark_as_next(out, start);
}

void __real_command_txn(struct command_txn *txn, struct buf *out,
                        const struct command_name *name, bool has_else);
void __wrap_command_txn(struct command_txn *txn, struct buf *out,
                        const struct command_name *name, bool has_else);
void __wrap_command_txn(struct command_txn *txn, struct buf *out,
                        const struct command_name *name, bool has_else)
{
    size_t start = out->size;
    __real_command_txn(txn, out, name, has_else);
    mark_as_next(out, start);
}

/* The same command as this version writes it; valid until the next call. */
static struct bytes as_now(struct bytes command)
{
    static struct buf now;
    if (command.size == 0 || command.data[0] < NEXT_COMMAND) {
        return command;
    }
    now.size = 0;
    buf_add_bytes(&now, command);
    now.data[0] -= NEXT_COMMAND;
    return buf_bytes(&now);
}

enum err __real_command_open(struct command_reader *reader,
                             struct bytes command);
enum err __wrap_command_open(struct command_reader *reader,
                             struct bytes command);
enum err __wrap_command_open(struct command_reader *reader,
                             struct bytes command)
{
    return __real_command_open(reader, as_now(command));
}

enum err __real_command_check(struct bytes command);
enum err __wrap_command_check(struct bytes command);
enum err __wrap_command_check(struct bytes command)
{
    return __real_command_check(as_now(command));
}

bool __real_command_is_request(struct bytes command);
bool __wrap_command_is_request(struct bytes command);
bool __wrap_command_is_request(struct bytes command)
{
    return __real_command_is_request(as_now(command));
}
