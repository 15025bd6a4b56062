/* json.c -- the pull reader and the writer. One loop, one stack of brackets,
 * no recursion. */
#include "json/json.h"

#include "base/text.h"

_Static_assert(JSON_DEPTH_MAX == 64, "the message of a refusal");

/* The tokens that may come next. */
enum expect {
    EXPECT_VALUE,
    EXPECT_FIRST_VALUE, /* ... or ']' */
    EXPECT_FIRST_NAME,  /* ... or '}' */
    EXPECT_COMMA,       /* ... or the closing bracket */
    EXPECT_NOTHING,
    EXPECT_ERROR,
};

void json_init(struct json_reader *reader, uint8_t *data, size_t size)
{
    *reader = (struct json_reader){
        .data = data, .size = size, .expect = EXPECT_VALUE};
}

static enum json_token fail(struct json_reader *reader, const char *why)
{
    reader->why = why;
    reader->expect = EXPECT_ERROR;
    return JSON_ERROR;
}

static int peek(const struct json_reader *reader)
{
    return reader->offset < reader->size ? reader->data[reader->offset] : -1;
}

static void skip_blanks(struct json_reader *reader)
{
    while (reader->offset < reader->size) {
        uint8_t c = reader->data[reader->offset];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        }
        reader->offset++;
    }
}

/* ---- eight bytes at a time ---- */

#define EVERY_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* True if a byte of `word` is less than `limit`, which is at most 0x80; bytes
 * from 0x80 on may count as less. */
static bool has_byte_below(uint64_t word, uint8_t limit)
{
    return ((word - EVERY_BYTE(limit)) & ~word & EVERY_BYTE(0x80)) != 0;
}

static bool has_byte(uint64_t word, uint8_t value)
{
    return has_byte_below(word ^ EVERY_BYTE(value), 1);
}

static bool is_ascii(uint64_t word)
{
    return (word & EVERY_BYTE(0x80)) == 0;
}

/* True if the next eight bytes are ASCII and the same inside a JSON string. */
static bool is_plain(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 8) {
        return false;
    }
    uint64_t word = load_u64(at);
    return is_ascii(word) && !has_byte_below(word, 0x20) &&
           !has_byte(word, '"') && !has_byte(word, '\\');
}

/* ---- UTF-8 ---- */

bool json_is_utf8(struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        if (text.size - i >= 8 && is_ascii(load_u64(text.data + i))) {
            i += 8;
            continue;
        }
        size_t size = text_utf8_sequence(text.data + i, text.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

static size_t utf8_encode(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* ---- strings ---- */

static bool hex4(const uint8_t *at, const uint8_t *end, uint32_t *value)
{
    *value = 0;
    if (end - at < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        } else {
            return false;
        }
        *value = *value << 4 | digit;
    }
    return true;
}

/* Decode the escape whose "\u" ends at *at. Returns NULL, or the fault. */
static const char *read_unicode(const uint8_t **at, const uint8_t *end,
                                uint8_t **out)
{
    uint32_t code;
    uint32_t low;
    if (!hex4(*at, end, &code)) {
        return "bad \\u escape";
    }
    *at += 4;
    if (code >= 0xdc00 && code <= 0xdfff) {
        return "lone surrogate";
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' ||
            !hex4(*at + 2, end, &low) || low < 0xdc00 || low > 0xdfff) {
            return "lone surrogate";
        }
        *at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *out += utf8_encode(*out, code);
    return NULL;
}

static const char *read_escape(const uint8_t **at, const uint8_t *end,
                               uint8_t **out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (*at == end) {
        return "a string is not closed";
    }
    uint8_t c = *(*at)++;
    if (c == 'u') {
        return read_unicode(at, end, out);
    }
    const char *place = c ? strchr(from, c) : NULL;
    if (!place) {
        return "bad escape";
    }
    *(*out)++ = (uint8_t)to[place - from];
    return NULL;
}

/* Decode over the input: the decoded form is never longer. */
static enum json_token read_string(struct json_reader *reader,
                                   enum json_token token)
{
    const uint8_t *at = reader->data + reader->offset + 1;
    const uint8_t *end = reader->data + reader->size;
    uint8_t *start = reader->data + reader->offset + 1;
    uint8_t *out = start;
    const char *why = "a string is not closed";
    while (at < end) {
        if (is_plain(at, end)) {
            if (out != at) {
                memmove(out, at, 8);
            }
            out += 8;
            at += 8;
            continue;
        }
        uint8_t c = *at;
        if (c == '"') {
            reader->text = bytes_of(start, (size_t)(out - start));
            reader->offset = (size_t)(at + 1 - reader->data);
            return token;
        }
        if (c == '\\') {
            at++;
            why = read_escape(&at, end, &out);
            if (why) {
                break;
            }
            why = "a string is not closed";
            continue;
        }
        size_t size = c < 0x20 ? 0 : text_utf8_sequence(at, (size_t)(end - at));
        if (size == 0) {
            why = c < 0x20 ? "control character in a string" : "invalid UTF-8";
            break;
        }
        if (out != at) {
            memmove(out, at, size);
        }
        out += size;
        at += size;
    }
    reader->offset = (size_t)(at - reader->data);
    return fail(reader, why);
}

/* ---- numbers and words ---- */

static bool read_digits(struct json_reader *reader)
{
    size_t start = reader->offset;
    while (peek(reader) >= '0' && peek(reader) <= '9') {
        reader->offset++;
    }
    return reader->offset > start;
}

static enum json_token read_number(struct json_reader *reader)
{
    size_t start = reader->offset;
    bool ok = true;
    if (peek(reader) == '-') {
        reader->offset++;
    }
    if (peek(reader) == '0') {
        reader->offset++;
    } else {
        ok = read_digits(reader);
    }
    if (ok && peek(reader) == '.') {
        reader->offset++;
        ok = read_digits(reader);
    }
    if (ok && (peek(reader) == 'e' || peek(reader) == 'E')) {
        reader->offset++;
        if (peek(reader) == '+' || peek(reader) == '-') {
            reader->offset++;
        }
        ok = read_digits(reader);
    }
    if (!ok) {
        return fail(reader, "bad number");
    }
    reader->text = bytes_of(reader->data + start, reader->offset - start);
    return JSON_NUMBER;
}

static enum json_token read_word(struct json_reader *reader, const char *word,
                                 enum json_token token)
{
    size_t size = strlen(word);
    if (reader->size - reader->offset < size ||
        memcmp(reader->data + reader->offset, word, size) != 0) {
        return fail(reader, "not a JSON value");
    }
    reader->offset += size;
    return token;
}

/* ---- structure ---- */

static void after_value(struct json_reader *reader)
{
    reader->expect = reader->depth > 0 ? EXPECT_COMMA : EXPECT_NOTHING;
}

static enum json_token open_bracket(struct json_reader *reader, uint8_t c)
{
    if (reader->depth == JSON_DEPTH_MAX) {
        return fail(reader, "nested more than 64 deep");
    }
    reader->offset++;
    reader->nesting[reader->depth++] = c;
    reader->expect = c == '{' ? EXPECT_FIRST_NAME : EXPECT_FIRST_VALUE;
    return c == '{' ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN;
}

static enum json_token close_bracket(struct json_reader *reader)
{
    uint8_t open = reader->nesting[--reader->depth];
    reader->offset++;
    after_value(reader);
    return open == '{' ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_token read_value(struct json_reader *reader)
{
    int c = peek(reader);
    if (c == '{' || c == '[') {
        return open_bracket(reader, (uint8_t)c);
    }
    enum json_token token;
    if (c == '"') {
        token = read_string(reader, JSON_STRING);
    } else if (c == 't') {
        token = read_word(reader, "true", JSON_TRUE);
    } else if (c == 'f') {
        token = read_word(reader, "false", JSON_FALSE);
    } else if (c == 'n') {
        token = read_word(reader, "null", JSON_NULL);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        token = read_number(reader);
    } else {
        return fail(reader,
                    c < 0 ? "the text ends too early" : "not a JSON value");
    }
    if (token != JSON_ERROR) {
        after_value(reader);
    }
    return token;
}

static enum json_token read_name(struct json_reader *reader)
{
    if (peek(reader) != '"') {
        return fail(reader, "a member name is expected");
    }
    if (read_string(reader, JSON_NAME) == JSON_ERROR) {
        return JSON_ERROR;
    }
    skip_blanks(reader);
    if (peek(reader) != ':') {
        return fail(reader, "':' is expected");
    }
    reader->offset++;
    reader->expect = EXPECT_VALUE;
    return JSON_NAME;
}

static enum json_token read_comma(struct json_reader *reader)
{
    bool object = reader->nesting[reader->depth - 1] == '{';
    int c = peek(reader);
    if (c == (object ? '}' : ']')) {
        return close_bracket(reader);
    }
    if (c != ',') {
        return fail(reader,
                    c < 0 ? "the text ends too early" : "',' is expected");
    }
    reader->offset++;
    skip_blanks(reader);
    return object ? read_name(reader) : read_value(reader);
}

enum json_token json_next(struct json_reader *reader)
{
    skip_blanks(reader);
    switch ((enum expect)reader->expect) {
    case EXPECT_VALUE:
        return read_value(reader);
    case EXPECT_FIRST_VALUE:
        return peek(reader) == ']' ? close_bracket(reader) : read_value(reader);
    case EXPECT_FIRST_NAME:
        return peek(reader) == '}' ? close_bracket(reader) : read_name(reader);
    case EXPECT_COMMA:
        return read_comma(reader);
    case EXPECT_NOTHING:
        return reader->offset == reader->size
                   ? JSON_END
                   : fail(reader, "there is more after the value");
    case EXPECT_ERROR:
        break;
    }
    return JSON_ERROR;
}

enum json_token json_skip(struct json_reader *reader)
{
    uint32_t depth = reader->depth;
    enum json_token token = json_next(reader);
    while (token != JSON_ERROR && token != JSON_END && reader->depth > depth) {
        token = json_next(reader);
    }
    return token;
}

bool json_u64(struct bytes number, uint64_t *value)
{
    uint64_t v = 0;
    if (number.size == 0) {
        return false;
    }
    for (size_t i = 0; i < number.size; i++) {
        uint8_t digit = (uint8_t)(number.data[i] - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

/* ---- writing ---- */

void json_add_string(struct buf *out, struct bytes text)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t *at = buf_reserve(out, text.size * 6 + 2);
    uint8_t *start = at;
    *at++ = '"';
    const uint8_t *end = text.data + text.size;
    for (const uint8_t *from = text.data; from < end; from++) {
        while (is_plain(from, end)) {
            memcpy(at, from, 8);
            at += 8;
            from += 8;
        }
        if (from == end) {
            break;
        }
        uint8_t c = *from;
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = c;
        } else if (c >= 0x20) {
            *at++ = c;
        } else {
            at[0] = '\\';
            at[1] = 'u';
            at[2] = '0';
            at[3] = '0';
            at[4] = (uint8_t)hex[c >> 4];
            at[5] = (uint8_t)hex[c & 15];
            at += 6;
        }
    }
    *at++ = '"';
    out->size += (size_t)(at - start);
}

static void add_line(struct buf *out, size_t depth)
{
    uint8_t *at = buf_reserve(out, 1 + 2 * depth);
    at[0] = '\n';
    memset(at + 1, ' ', 2 * depth);
    out->size += 1 + 2 * depth;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The size of the token at `at`, which is copied: a string with its quotes, a
 * number, true, false or null. */
static size_t scalar_size(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *start = at;
    if (*at == '"') {
        for (at++; at < end && *at != '"'; at++) {
            at += *at == '\\' && at + 1 < end;
        }
        return (size_t)(at - start) + (at < end);
    }
    while (at < end && !is_blank(*at) && !memchr("{}[],:\"", *at, 8)) {
        at++;
    }
    return (size_t)(at - start);
}

void json_add_indented(struct buf *out, struct bytes json)
{
    const uint8_t *at = json.data;
    const uint8_t *end = at ? at + json.size : at;
    size_t depth = 0;
    bool opened = false; /* The last token was an opening bracket. */
    while (at < end) {
        uint8_t c = *at;
        bool closes = c == '}' || c == ']';
        if (is_blank(c)) {
            at++;
            continue;
        }
        depth -= closes && depth > 0;
        if (opened != closes) { /* But {} and [] stay as they are. */
            add_line(out, depth);
        }
        opened = false;
        if (c == '{' || c == '[') {
            buf_add_u8(out, c);
            depth++;
            opened = true;
            at++;
        } else if (closes) {
            buf_add_u8(out, c);
            at++;
        } else if (c == ':') {
            buf_add(out, ": ", 2);
            at++;
        } else if (c == ',') {
            buf_add_u8(out, c);
            add_line(out, depth);
            at++;
        } else {
            size_t size = scalar_size(at, end);
            buf_add(out, at, size);
            at += size;
        }
    }
    buf_add_u8(out, '\n');
}
