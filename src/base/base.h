/* base.h -- the words every room uses.
 *
 * Three kinds of trouble, three tools, never mixed in one function:
 *   the world misbehaves (disk, peer, client)  -> return an enum err
 *   we misbehave                               -> must(), on in release too
 *   durability is in doubt                     -> die() with a sentence: a
 *       stopped node is a fault that Raft tolerates, a lying one is not. */
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

/* Name, sentence. ERR_OK is 0, so `if (err)` reads as it should. */
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

const char *err_name(enum err err);

/* True when something has run out that may come back: space on the disk,
 * descriptors, or the kernel's memory. Nothing that counts was done and
 * nothing is in doubt, so the caller tries again later. */
static inline bool err_is_shortage(enum err err)
{
    return err == ERR_NOSPACE || err == ERR_RESOURCES;
}

/* Print "file:line: must: expression" to stderr and abort(). */
NORETURN void must_failed(const char *expression, const char *file, int line);
#define must(condition)                                                        \
    (LIKELY(condition) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))

/* Log the sentence at level error and abort(). */
NORETURN void die(const char *format, ...) PRINTF(1, 2);

/* Memory that never is NULL: running out ends the process with a sentence.
 * Sizes chosen by a peer or a client are checked against a limit first. */
void *mem_alloc(size_t size_bytes);
void *mem_zalloc(size_t size_bytes);
void *mem_realloc(void *memory, size_t size_bytes);
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
