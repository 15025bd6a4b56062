/* script.h -- transactions for tests of the store, written as initializers:
 *     {.name = "once", .thens = {PUT("a", "1"), GET("b")}} */
#ifndef CRAFTD_TESTS_SCRIPT_H
#define CRAFTD_TESTS_SCRIPT_H

#include "command/command.h"
#include "command/result.h"
#include "store/store.h"

#define KEY(text)                                                              \
    {                                                                          \
        (const uint8_t *)(text), sizeof(text) - 1                              \
    }
#define OP(kind, ...)                                                          \
    (struct command_op)                                                        \
    {                                                                          \
        .type = COMMAND_##kind, __VA_ARGS__                                    \
    }
#define PUT(k, v) OP(PUT, .key = KEY(k), .value = KEY(v))
#define GET(k) OP(GET, .key = KEY(k))

/* The parts of a command; each list ends with type 0. It is stamped if
 * `time_ms` is not 0. */
struct script {
    uint64_t time_ms;
    const char *name;
    struct command_condition ifs[4];
    struct command_op thens[8];
    bool has_else;
    struct command_op elses[4];
};

/* Replace `out` by the command; a view of it. */
struct bytes script_encode(struct buf *out, const struct script *script);
/* Apply the command as the next entry. The result is read by `reader`; it is
 * valid until the next entry. */
enum result_status script_apply(struct store *store, struct bytes command,
                                struct result_reader *reader);

#endif
