/* place.c -- the line of a text that a message of the server is about. */
#include "client/client_internal.h"

unsigned client_line_of(struct bytes text, uint64_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < text.size && i + 1 < offset; i++) {
        line += text.data[i] == '\n';
    }
    return line;
}

bool client_find_item(struct bytes text, const char *name, uint64_t at,
                      uint64_t *offset)
{
    struct json_reader reader;
    struct buf copy = {0};
    bool found = false;
    buf_add_bytes(&copy, text); /* The reader overwrites it. */
    json_init(&reader, copy.data, copy.size);
    enum json_token token = copy.size > 0 ? json_next(&reader) : JSON_ERROR;
    bool inside = token == JSON_OBJECT_BEGIN;
    while (inside && !found && json_next(&reader) == JSON_NAME) {
        bool wanted = bytes_equal_string(reader.text, name);
        if (!wanted) {
            inside = json_skip(&reader) != JSON_ERROR;
            continue;
        }
        inside = false; /* There is one list of that name. */
        if (json_next(&reader) != JSON_ARRAY_BEGIN) {
            break;
        }
        for (uint64_t i = 0; json_next(&reader) == JSON_OBJECT_BEGIN; i++) {
            if (i == at) {
                *offset = reader.offset;
                found = true;
                break;
            }
            /* The rest of this object. */
            while ((token = json_next(&reader)) == JSON_NAME) {
                token = json_skip(&reader);
            }
            if (token != JSON_OBJECT_END) {
                break;
            }
        }
    }
    buf_free(&copy);
    return found;
}
