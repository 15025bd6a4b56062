/* fuzz_api_sse.c -- the framing of a watch: the input is a run of changes with
 * any keys and values, and of cuts between them.
 *
 * Property: what a reader of server-sent events makes of the bytes (WHATWG HTML
 * 9.2.6, written again here) is the changes in their order, each one line of
 * data that is a JSON object; an id is that of the last event before it; and
 * the same changes as NDJSON are a JSON object a line. */
#include "api/watch_internal.h"
#include "json/json.h"

enum { EVENTS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf sse;
static struct buf ndjson;

/* Takes the next line, whose end is LF, CR or both. False: the text ends. */
static bool next_line(struct bytes *rest, struct bytes *line)
{
    size_t size = 0;
    if (rest->size == 0) {
        return false;
    }
    while (size < rest->size && rest->data[size] != '\n' &&
           rest->data[size] != '\r') {
        size++;
    }
    must(size < rest->size); /* Every line has an end. */
    size_t skip = size + 1;
    if (rest->data[size] == '\r' && skip < rest->size &&
        rest->data[skip] == '\n') {
        skip++;
    }
    *line = bytes_of(rest->data, size);
    *rest = bytes_of(rest->data + skip, rest->size - skip);
    return true;
}

static bool is_json(struct bytes text)
{
    struct json_reader reader;
    struct buf copy = {0};
    buf_add_bytes(&copy, text);
    json_init(&reader, copy.data, copy.size);
    bool good = copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN;
    for (enum json_token token = JSON_NAME; good && token != JSON_END;) {
        token = json_next(&reader);
        good = token != JSON_ERROR;
    }
    buf_free(&copy);
    return good;
}

static bool take(struct bytes line, const char *field, struct bytes *value)
{
    size_t size = strlen(field);
    if (line.size < size || memcmp(line.data, field, size) != 0) {
        return false;
    }
    *value = bytes_of(line.data + size, line.size - size);
    return true;
}

static void check_sse(const struct feed_event *events, size_t count)
{
    struct bytes rest = buf_bytes(&sse);
    struct bytes line;
    struct bytes type = {0};
    struct bytes data = {0};
    struct bytes value;
    size_t seen = 0;
    while (next_line(&rest, &line)) {
        uint64_t id;
        if (take(line, "event: ", &value)) {
            must(type.size == 0);
            type = value;
        } else if (take(line, "data: ", &value)) {
            must(data.size == 0);
            data = value;
        } else if (take(line, "id: ", &value)) {
            size_t last = data.size > 0 ? seen : seen - 1;
            must(json_u64(value, &id) && last < count);
            must(id == events[last].index);
        } else {
            must(line.size == 0);
            if (data.size > 0) {
                must(seen < count && is_json(data));
                must(bytes_equal_string(
                    type, events[seen].type == FEED_PUT ? "put" : "delete"));
                seen++;
            }
            type = (struct bytes){0};
            data = (struct bytes){0};
        }
    }
    must(seen == count && data.size == 0 && type.size == 0);
}

static void check_ndjson(void)
{
    struct bytes rest = buf_bytes(&ndjson);
    struct bytes line;
    while (next_line(&rest, &line)) {
        must(is_json(line));
    }
}

static void add(const struct feed_event *event, bool has_id, bool apart)
{
    struct buf *outs[] = {&sse, &ndjson};
    for (size_t i = 0; i < ARRAY_COUNT(outs); i++) {
        enum watch_format format = i == 0 ? WATCH_SSE : WATCH_NDJSON;
        watch_add_event(outs[i], format, event);
        if (!has_id || apart) {
            watch_end_event(outs[i], format);
        }
        if (has_id) {
            watch_add_id(outs[i], format, !apart, event->index);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct feed_event events[EVENTS_MAX];
    struct cursor in = cursor_of(bytes_of(data, size));
    size_t count = 0;
    sse.size = 0;
    ndjson.size = 0;
    while (cursor_left(&in) > 0 && count < EVENTS_MAX) {
        uint8_t flags = cursor_u8(&in);
        size_t key = min_size(cursor_u8(&in), cursor_left(&in));
        struct feed_event event = {.type = flags & 1 ? FEED_PUT : FEED_DELETE,
                                   .index = count + 1,
                                   .key = cursor_bytes(&in, key)};
        size_t value = min_size(cursor_u8(&in), cursor_left(&in));
        if (flags & 1) {
            event.value = cursor_bytes(&in, value);
        }
        events[count++] = event;
        add(&event, flags & 2, flags & 4);
    }
    check_sse(events, count);
    check_ndjson();
    return 0;
}
