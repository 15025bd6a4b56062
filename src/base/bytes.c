/* bytes.c -- the growable buffer. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

uint8_t *buf_reserve(struct buf *buf, size_t more)
{
    must(buf->size <= buf->capacity);
    must(more <= SIZE_MAX / 4 && buf->size <= SIZE_MAX / 4);
    if (buf->capacity - buf->size < more) {
        size_t capacity = buf->capacity ? buf->capacity : 256;
        while (capacity - buf->size < more) {
            capacity *= 2;
        }
        buf->data = mem_realloc(buf->data, capacity);
        buf->capacity = capacity;
    }
    /* An empty buffer may have data NULL, to which adding 0 is undefined. */
    return buf->size > 0 ? buf->data + buf->size : buf->data;
}

void buf_free(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}

void buf_consume(struct buf *buf, size_t count)
{
    must(count <= buf->size);
    if (count > 0 && count < buf->size) {
        memmove(buf->data, buf->data + count, buf->size - count);
    }
    buf->size -= count;
}

void buf_add_decimal(struct buf *buf, uint64_t value)
{
    enum { DIGITS_MAX = 20 }; /* UINT64_MAX */
    char digits[DIGITS_MAX];
    size_t at = DIGITS_MAX;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_add(buf, digits + at, DIGITS_MAX - at);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    size_t room = 128;
    char *at = (char *)buf_reserve(buf, room);
    int wrote = vsnprintf(at, room, format, args);
    must(wrote >= 0);
    if ((size_t)wrote >= room) {
        at = (char *)buf_reserve(buf, (size_t)wrote + 1);
        vsnprintf(at, (size_t)wrote + 1, format, again);
    }
    buf->size += (size_t)wrote;
    va_end(again);
    va_end(args);
}
