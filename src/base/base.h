/* base.h -- errors, assertions, memory and small helpers, for every room.
 *
 * Three kinds of failure have three tools:
 *   an error of the disk, a peer or a client  -> return an enum err
 *   a bug of this program                     -> must(), in release builds too
 *   durability is in doubt                    -> die() with a sentence: Raft
 *       tolerates a stopped node, but not one that forgets. */
#ifndef CRAFTD_BASE_BASE_H
#define CRAFTD_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define VECTOR(bytes) __attribute__((vector_size(bytes)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Name and description. ERR_OK is 0, so that `if (err)` tests for an error. */
#define ERR_LIST(X)                                                            \
    X(OK, "ok")                                                                \
    X(IO, "input/output error")                                                \
    X(NOSPACE, "no space left")                                                \
    X(RESOURCES, "out of descriptors or memory")                               \
    X(CORRUPT, "data damaged")                                                 \
    X(TOO_BIG, "too big")                                                      \
    X(BUSY, "busy")                                                            \
    X(NOT_FOUND, "not found")                                                  \
    X(EXISTS, "exists already")                                                \
    X(INVALID, "invalid")                                                      \
    X(LOCKED, "locked by another process")                                     \
    X(MISMATCH, "belongs to something else")                                   \
    X(VERSION, "unknown version")                                              \
    X(CLOSED, "closed")

enum err {
#define X(name, text) ERR_##name,
    ERR_LIST(X)
#undef X
};

/* The description: a few constant words for log lines. */
const char *err_name(enum err err);

/* True for a lack of a resource that may be available again later: disk space,
 * descriptors, or the kernel's memory. Then no durability is in doubt, and the
 * caller can try again. */
static inline bool err_is_shortage(enum err err)
{
    return err == ERR_NOSPACE || err == ERR_RESOURCES;
}

/* Log file, line and expression at level error, and abort(). With
 * MUST_WITHOUT_TEXT the expression is left out, which saves 2 % of a small
 * binary: the line of the source has it. */
NORETURN void must_failed(const char *expression, const char *file, int line);
NORETURN void must_failed_at(const char *file, int line);
#ifdef MUST_WITHOUT_TEXT
#define MUST_FAILED(expression) must_failed_at(__FILE__, __LINE__)
#else
#define MUST_FAILED(expression) must_failed(expression, __FILE__, __LINE__)
#endif
#define must(condition) (LIKELY(condition) ? (void)0 : MUST_FAILED(#condition))

/* Log the sentence at level error and abort(). */
NORETURN void die(const char *format, ...) PRINTF(1, 2);

/* Allocate; the result is never NULL, since a lack of memory die()s, and the
 * caller frees it by mem_free(). Compare a size that a peer or a client chooses
 * with a limit first.
 * mem_zalloc() returns zeros. mem_free() takes NULL as well. */
void *mem_alloc(size_t size_bytes);
void *mem_zalloc(size_t size_bytes);
void *mem_realloc(void *memory, size_t size_bytes);
/* The same for sizes that the world chooses: NULL if there is not so much, and
 * `memory` stays as it is. */
void *mem_try_realloc(void *memory, size_t size_bytes);
void mem_free(void *memory);

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline uint64_t align_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                        \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
