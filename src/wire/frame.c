/* frame.c -- the frame: length, checksum, type, version. */
#include "base/crc32c.h"
#include "base/text.h"
#include "wire/wire_internal.h"

enum {
    TYPE_BYTES = 4,     /* type, version, flags */
    LAYOUT_VERSION = 1, /* All the layouts that there are came with it. */
};

size_t wire_begin(struct buf *out, enum wire_type type)
{
    size_t start = out->size;
    /* Length and checksums: patched by wire_end(). */
    buf_add_u64(out, 0);
    buf_add_u32(out, 0);
    buf_add_u8(out, (uint8_t)type);
    buf_add_u8(out, LAYOUT_VERSION);
    buf_add_u16(out, 0);
    return start;
}

void wire_end(struct buf *out, size_t start)
{
    uint8_t *frame = out->data + start;
    size_t size = out->size - start - WIRE_FRAME_HEADER_BYTES;
    must(size + WIRE_FRAME_HEADER_BYTES <= WIRE_FRAME_BYTES_MAX);
    store_u32(frame, (uint32_t)size);
    store_u32(frame + 4, crc32c(0, frame, 4));
    store_u32(frame + 8, crc32c(0, frame + WIRE_FRAME_HEADER_BYTES, size));
}

void wire_add_empty(struct buf *out, enum wire_type type)
{
    must(type == WIRE_PING || type == WIRE_PONG);
    wire_end(out, wire_begin(out, type));
}

enum err wire_frame(struct bytes in, struct wire_frame *frame)
{
    if (in.size < WIRE_FRAME_HEADER_BYTES) {
        return ERR_NOT_FOUND;
    }
    uint32_t size = load_u32(in.data);
    if (load_u32(in.data + 4) != crc32c(0, in.data, 4)) {
        return ERR_CORRUPT;
    }
    if (size > WIRE_FRAME_BYTES_MAX - WIRE_FRAME_HEADER_BYTES) {
        return ERR_TOO_BIG;
    }
    if (size < TYPE_BYTES) {
        return ERR_CORRUPT;
    }
    if (in.size - WIRE_FRAME_HEADER_BYTES < size) {
        return ERR_NOT_FOUND;
    }
    const uint8_t *body = in.data + WIRE_FRAME_HEADER_BYTES;
    if (load_u32(in.data + 8) != crc32c(0, body, size)) {
        return ERR_CORRUPT;
    }
    if (body[1] < LAYOUT_VERSION || body[1] > WIRE_VERSION) {
        return ERR_VERSION;
    }
    if (load_u16(body + 2) != 0) {
        return ERR_CORRUPT;
    }
    *frame = (struct wire_frame){
        .type = (enum wire_type)body[0],
        .version = body[1],
        .payload = bytes_of(body + TYPE_BYTES, size - TYPE_BYTES),
        .size_bytes = WIRE_FRAME_HEADER_BYTES + size,
    };
    return ERR_OK;
}

void wire_add_text(struct buf *out, const char *text, size_t room)
{
    size_t size = strnlen(text, room);
    must(size < room && size <= UINT16_MAX);
    buf_add_u16(out, (uint16_t)size);
    buf_add(out, text, size);
}

void wire_get_text(struct cursor *in, char *text, size_t room)
{
    uint16_t size = cursor_u16(in);
    struct bytes bytes = cursor_bytes(in, size);
    if (bytes.size >= room ||
        (bytes.size > 0 && memchr(bytes.data, 0, bytes.size) != NULL)) {
        in->failed = true;
        return;
    }
    if (bytes.size > 0) {
        memcpy(text, bytes.data, bytes.size);
    }
}

void wire_get_word(struct cursor *in, char *text, size_t room)
{
    wire_get_text(in, text, room);
    in->failed = in->failed || !text_is_word(bytes_of_string(text));
}

void wire_get_raw(struct cursor *in, uint8_t *out, size_t size)
{
    struct bytes bytes = cursor_bytes(in, size);
    if (bytes.size == size) {
        memcpy(out, bytes.data, size);
    }
}

enum err wire_done(const struct cursor *in)
{
    return in->failed || cursor_left(in) > 0 ? ERR_CORRUPT : ERR_OK;
}
