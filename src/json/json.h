/* json.h -- strict JSON (RFC 8259) over the caller's memory: a pull reader, and
 * helpers to write. Pure: no I/O, no allocation in the reader.
 *
 * The reader decodes strings IN PLACE: the input is overwritten, and the views
 * that the reader returns point into it. It accepts exactly RFC 8259 in valid
 * UTF-8: no lone surrogates, no control characters in strings, no trailing
 * commas, no comments, no byte order mark, nothing but white space after the
 * value. "\u0000" is accepted and decodes to a zero byte. Values may be nested
 * JSON_DEPTH_MAX deep. A name that repeats in an object is not an error here.
 */
#ifndef CRAFTD_JSON_JSON_H
#define CRAFTD_JSON_JSON_H

#include "base/base.h"
#include "base/bytes.h"

enum { JSON_DEPTH_MAX = 64 };

enum json_token {
    JSON_ERROR, /* See reader->why and reader->offset. Final. */
    JSON_END,   /* The text was one value, which has been read. Final. */
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_NAME,   /* The name of a member: reader->text. Its value follows. */
    JSON_STRING, /* reader->text, decoded. */
    JSON_NUMBER, /* reader->text, as written. */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_reader {
    /* READ-ONLY */
    struct bytes text; /* Of JSON_NAME, JSON_STRING and JSON_NUMBER; valid as
                          long as the input. */
    const char *why;   /* After JSON_ERROR, a few words (static); else NULL. */
    size_t offset;     /* Bytes of the input that have been read. */
    /* PRIVATE */
    uint8_t *data;
    size_t size;
    uint32_t depth;
    uint8_t expect;
    uint8_t nesting[JSON_DEPTH_MAX]; /* '{' or '[' of each level. */
};

/* Read the `size` bytes at `data`, which the reader borrows and overwrites. */
void json_init(struct json_reader *reader, uint8_t *data, size_t size);
/* Read the next token. */
enum json_token json_next(struct json_reader *reader);
/* Skip the next value with everything nested in it. Returns its last token, or
 * JSON_ERROR. */
enum json_token json_skip(struct json_reader *reader);

/* Decode the text of a number, as in reader->text. False: it is no integer from
 * 0 to UINT64_MAX in decimal digits. */
bool json_u64(struct bytes number, uint64_t *value);

/* True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong
 * forms, nothing above U+10FFFF). */
bool json_is_utf8(struct bytes text);

/* Add `text` as a JSON string with its quotes. Only '"', '\\' and control
 * characters are escaped, all else is copied, so that a string that was read is
 * written as the same bytes. `text` must be UTF-8. */
void json_add_string(struct buf *out, struct bytes text);

/* Add `json`, which must be well-formed, indented for people: one line for each
 * member or item, two blanks for each level, and a line feed at the end.
 * Strings and numbers are copied. Takes time linear in the output. */
void json_add_indented(struct buf *out, struct bytes json);

#endif
