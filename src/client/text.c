/* text.c -- the server's JSON -> lines for people and scripts. */
#include <stdio.h>

#include "base/text.h"
#include "client/client_internal.h"

static struct bytes text_of(enum json_token token, struct bytes text)
{
    switch (token) {
    case JSON_TRUE:
        return bytes_of_string("true");
    case JSON_FALSE:
        return bytes_of_string("false");
    case JSON_NULL:
        return bytes_of_string("null");
    case JSON_STRING:
    case JSON_NUMBER:
        return text;
    case JSON_ERROR:
    case JSON_END:
    case JSON_OBJECT_BEGIN:
    case JSON_OBJECT_END:
    case JSON_ARRAY_BEGIN:
    case JSON_ARRAY_END:
    case JSON_NAME:
        break;
    }
    return (struct bytes){0};
}

static bool is_scalar(enum json_token token)
{
    return token == JSON_TRUE || token == JSON_FALSE || token == JSON_NULL ||
           token == JSON_STRING || token == JSON_NUMBER;
}

static void take(struct field *field, struct bytes text)
{
    size_t size = min_size(text.size, sizeof(field->text) - 1);
    if (size > 0) {
        memcpy(field->text, text.data, size);
    }
    field->text[size] = '\0';
    text_mask_controls(field->text); /* A terminal shows what a server sends. */
}

bool client_read_fields(struct json_reader *reader, struct field *fields,
                        size_t count)
{
    enum json_token token;
    while ((token = json_next(reader)) == JSON_NAME) {
        struct bytes name = reader->text;
        token = json_skip(reader);
        if (token == JSON_ERROR) {
            return false;
        }
        for (size_t i = 0; i < count && is_scalar(token); i++) {
            if (bytes_equal_string(name, fields[i].name)) {
                take(&fields[i], text_of(token, reader->text));
            }
        }
    }
    return token == JSON_OBJECT_END;
}

struct flattening {
    struct buf path;
    uint32_t depth;
    struct {
        size_t path_bytes; /* Length of the path of the level above. */
        bool array;
        uint32_t index;
    } levels[JSON_DEPTH_MAX + 1];
};

/* Set the path of the next value of this level. */
static void step_to(struct flattening *f, struct bytes name)
{
    f->path.size = f->levels[f->depth].path_bytes;
    if (f->path.size > 0) {
        buf_add_u8(&f->path, '.');
    }
    buf_add_bytes(&f->path, name);
}

static void step_to_item(struct flattening *f)
{
    char digits[16];
    if (f->depth > 0 && f->levels[f->depth].array) {
        (void)snprintf(digits, sizeof(digits), "%u",
                       f->levels[f->depth].index++);
        step_to(f, bytes_of_string(digits));
    }
}

static void add_line(struct flattening *f, struct bytes text, struct buf *out)
{
    buf_add_bytes(out, buf_bytes(&f->path));
    buf_add_u8(out, '\t');
    for (size_t i = 0; i < text.size;) {
        size_t control = text_control_size(text.data + i, text.size - i);
        buf_add_u8(out, control > 0 ? '?' : text.data[i]);
        i += control > 0 ? control : 1;
    }
    buf_add_u8(out, '\n');
}

static void enter(struct flattening *f, bool array)
{
    must(f->depth < JSON_DEPTH_MAX);
    f->depth++;
    f->levels[f->depth].path_bytes = f->path.size;
    f->levels[f->depth].array = array;
    f->levels[f->depth].index = 0;
}

static void on_token(struct flattening *f, enum json_token token,
                     struct bytes text, struct buf *out)
{
    switch (token) {
    case JSON_NAME:
        step_to(f, text);
        break;
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        step_to_item(f);
        enter(f, token == JSON_ARRAY_BEGIN);
        break;
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        f->depth--;
        break;
    case JSON_STRING:
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        step_to_item(f);
        add_line(f, text_of(token, text), out);
        break;
    case JSON_ERROR:
    case JSON_END:
        break;
    }
}

bool client_flatten(struct bytes json, struct buf *out)
{
    struct flattening f = {0};
    struct json_reader reader;
    struct buf copy = {0};
    enum json_token token;
    buf_add_bytes(&copy, json);
    json_init(&reader, copy.data, copy.size);
    do {
        token = json_next(&reader);
        on_token(&f, token, reader.text, out);
    } while (token != JSON_ERROR && token != JSON_END);
    buf_free(&copy);
    buf_free(&f.path);
    return token == JSON_END;
}
