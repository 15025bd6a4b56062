/* bytes.h -- a view of bytes, little-endian loads and stores, and a buffer
 * that grows up to a limit. */
#ifndef CRAFTD_BASE_BYTES_H
#define CRAFTD_BASE_BYTES_H

#include "base/base.h"

/* A view: not owned, not terminated. `data` may be NULL when size is 0. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes bytes_of_string(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_equal_string(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of_string(text));
}

/* The compiler turns these into single loads and stores. */
static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    return (uint64_t)load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static inline void store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void store_u32(uint8_t *p, uint32_t v)
{
    store_u16(p, (uint16_t)v);
    store_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void store_u64(uint8_t *p, uint64_t v)
{
    store_u32(p, (uint32_t)v);
    store_u32(p + 4, (uint32_t)(v >> 32));
}

/* A growable buffer. Bytes [0, size) are valid. A zero-initialised one is
 * empty, as is one after buf_free(). The caller checks limits before it adds:
 * the buffer grows until memory runs out, which die()s. */
struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Allocate space for `more` bytes after the end, and return its start. The
 * caller writes there, and adds to buf->size. Pointers into the buffer become
 * invalid. */
uint8_t *buf_reserve(struct buf *buf, size_t more);
void buf_free(struct buf *buf);
/* Drop the first `count` bytes, at most all. The others move. */
void buf_consume(struct buf *buf, size_t count);
/* Append formatted text, without a final 0. */
void buf_printf(struct buf *buf, const char *format, ...) PRINTF(2, 3);
/* Append a number in decimal. */
void buf_add_decimal(struct buf *buf, uint64_t value);

static inline void buf_add(struct buf *buf, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(buf_reserve(buf, size), data, size);
        buf->size += size;
    }
}

static inline void buf_add_bytes(struct buf *buf, struct bytes bytes)
{
    buf_add(buf, bytes.data, bytes.size);
}

static inline void buf_add_string(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

static inline void buf_add_u8(struct buf *buf, uint8_t v)
{
    buf_add(buf, &v, 1);
}

static inline void buf_add_u16(struct buf *buf, uint16_t v)
{
    store_u16(buf_reserve(buf, 2), v);
    buf->size += 2;
}

static inline void buf_add_u32(struct buf *buf, uint32_t v)
{
    store_u32(buf_reserve(buf, 4), v);
    buf->size += 4;
}

static inline void buf_add_u64(struct buf *buf, uint64_t v)
{
    store_u64(buf_reserve(buf, 8), v);
    buf->size += 8;
}

static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data, buf->size);
}

/* A reader over a view. Reading past the end returns zeros and sets `failed`,
 * so that a decoder checks once, after its last read. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_of(struct bytes bytes)
{
    static const uint8_t nothing;
    const uint8_t *at = bytes.size > 0 ? bytes.data : &nothing;
    return (struct cursor){.at = at, .end = at + bytes.size};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* The next `size` bytes, as a view into the memory that is read; an empty view
 * if fewer are left. */
static inline struct bytes cursor_bytes(struct cursor *c, size_t size)
{
    if (cursor_left(c) < size) {
        c->failed = true;
        c->at = c->end;
        return (struct bytes){.data = c->at, .size = 0};
    }
    struct bytes bytes = {.data = c->at, .size = size};
    c->at += size;
    return bytes;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    struct bytes b = cursor_bytes(c, 1);
    return b.size ? b.data[0] : 0;
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    struct bytes b = cursor_bytes(c, 2);
    return b.size ? load_u16(b.data) : 0;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    struct bytes b = cursor_bytes(c, 4);
    return b.size ? load_u32(b.data) : 0;
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    struct bytes b = cursor_bytes(c, 8);
    return b.size ? load_u64(b.data) : 0;
}

#endif
