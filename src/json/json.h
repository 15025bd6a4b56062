/* json.h -- strict JSON (RFC 8259) over the caller's memory: a pull reader
 * and helpers to write. Pure: no I/O, no allocation in the reader.
 *
 * The reader decodes strings IN PLACE: the input is overwritten, and the
 * views it hands out point into it. Accepted is exactly RFC 8259 in valid
 * UTF-8: no lone surrogates, no control characters in strings, no trailing
 * commas, no comments, no byte order mark, nothing but white space after the
 * value. "\u0000" is accepted and decodes to a zero byte. */
#ifndef CRAFTD_JSON_JSON_H
#define CRAFTD_JSON_JSON_H

#include "base/base.h"
#include "base/bytes.h"

enum { JSON_DEPTH_MAX = 64 };

enum json_token {
    JSON_ERROR, /* see reader->why and reader->offset; final. */
    JSON_END,   /* The whole text was one value, and it has been read. */
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_NAME,   /* A member's name: reader->text. Its value comes next. */
    JSON_STRING, /* reader->text, decoded. */
    JSON_NUMBER, /* reader->text, as written. */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_reader {
    struct bytes text; /* READ-ONLY: of NAME, STRING, NUMBER. */
    const char *why;   /* READ-ONLY: after JSON_ERROR, a few words. */
    size_t offset;     /* READ-ONLY: how far it has read. */
    /* PRIVATE */
    uint8_t *data;
    size_t size;
    uint32_t depth;
    uint8_t expect;
    uint8_t nesting[JSON_DEPTH_MAX]; /* '{' or '[' per level. */
};

void json_init(struct json_reader *reader, uint8_t *data, size_t size);
enum json_token json_next(struct json_reader *reader);
/* After NAME (or any token that begins a value): skip over the value, nested
 * ones whole. JSON_ERROR, or the last token of the value. */
enum json_token json_skip(struct json_reader *reader);

/* Decode the number in reader->text. False unless it is an integer literal
 * in 0..UINT64_MAX. */
bool json_u64(struct bytes number, uint64_t *value);

/* True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no
 * overlong forms, nothing above U+10FFFF). */
bool json_is_utf8(struct bytes text);

/* Add `text` as a JSON string with its quotes. Escaped are only '"', '\\'
 * and control characters; all else is copied, so that what was read comes
 * back byte for byte. `text` must be UTF-8. */
void json_add_string(struct buf *out, struct bytes text);

/* Add `json`, which is well-formed, for people to read: a member or an item a
 * line, two blanks a level, and a line feed at the end. Strings and numbers are
 * as they were. Linear in what it adds. */
void json_add_indented(struct buf *out, struct bytes json);

#endif
