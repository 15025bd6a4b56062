/* base.c -- must(), die() and memory. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static const char *const err_names[] = {
#define X(name, text) text,
    ERR_LIST(X)
#undef X
};

const char *err_name(enum err err)
{
    must((size_t)err < ARRAY_COUNT(err_names));
    return err_names[err];
}

void must_failed(const char *expression, const char *file, int line)
{
    log_error("bug", "at=%s:%d must=\"%s\"", file, line, expression);
    log_finish();
    abort();
}

void must_failed_at(const char *file, int line)
{
    must_failed("", file, line);
}

void die(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_error("fatal", "why=\"%s\"", text);
    log_finish();
    abort();
}

void *mem_alloc(size_t size_bytes)
{
    void *memory = malloc(size_bytes ? size_bytes : 1);
    if (!memory) {
        die("out of memory: %zu bytes wanted", size_bytes);
    }
    return memory;
}

void *mem_zalloc(size_t size_bytes)
{
    void *memory = calloc(1, size_bytes ? size_bytes : 1);
    if (!memory) {
        die("out of memory: %zu bytes wanted", size_bytes);
    }
    return memory;
}

void *mem_realloc(void *memory, size_t size_bytes)
{
    void *moved = realloc(memory, size_bytes ? size_bytes : 1);
    if (!moved) {
        die("out of memory: %zu bytes wanted", size_bytes);
    }
    return moved;
}

void *mem_try_realloc(void *memory, size_t size_bytes)
{
    return realloc(memory, size_bytes ? size_bytes : 1);
}

void mem_free(void *memory)
{
    free(memory);
}
