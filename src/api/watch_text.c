/* watch_text.c -- the form of events: server-sent events (WHATWG HTML 9.2) and
 * NDJSON. JSON has no line breaks, so an event has one line of data. */
#include "api/scan_internal.h"
#include "api/watch_internal.h"
#include "api/write_internal.h"
#include "json/json.h"

#define U(x) ((unsigned long long)(x))

static const char *name_of(enum feed_type type)
{
    return type == FEED_PUT ? "put" : "delete";
}

/* The start of an event, up to the first member of its object. In NDJSON the
 * object has the name of the event as a member. */
static void begin(struct buf *out, enum watch_format format, const char *name)
{
    if (format == WATCH_SSE) {
        buf_add_string(out, "event: ");
        buf_add_string(out, name);
        buf_add_string(out, "\ndata: {");
    } else {
        buf_add_string(out, "{\"event\":\"");
        buf_add_string(out, name);
        buf_add_string(out, "\",");
    }
}

void watch_end_event(struct buf *out, enum watch_format format)
{
    buf_add_string(out, format == WATCH_SSE ? "\n" : "}\n");
}

/* The object of a server-sent event is complete; that of NDJSON is open, so
 * that the id can become its last member. */
static void pause_event(struct buf *out, enum watch_format format)
{
    if (format == WATCH_SSE) {
        buf_add_string(out, "}\n");
    }
}

void watch_add_id(struct buf *out, enum watch_format format, bool is_open,
                  uint64_t index)
{
    if (format == WATCH_SSE) {
        buf_printf(out, "id: %llu\n\n", U(index));
    } else if (is_open) {
        buf_printf(out, ",\"id\":%llu}\n", U(index));
    } else {
        buf_printf(out, "{\"event\":\"progress\",\"id\":%llu}\n", U(index));
    }
}

void watch_add_event(struct buf *out, enum watch_format format,
                     const struct feed_event *event)
{
    begin(out, format, name_of(event->type));
    api_add_text_member(out, "key", event->key);
    if (event->type == FEED_PUT) {
        buf_add_u8(out, ',');
        api_add_value(out, event->value);
    }
    buf_printf(out, ",\"index\":%llu,\"create_index\":%llu,\"prev_index\":%llu",
               U(event->index), U(event->create_index), U(event->prev_index));
    if (event->expired) {
        buf_add_string(out, ",\"reason\":\"expired\"");
    }
    pause_event(out, format);
}

void watch_add_pair(struct buf *out, enum watch_format format, struct bytes key,
                    struct bytes value, uint64_t index, uint64_t create_index)
{
    begin(out, format, "put");
    api_add_text_member(out, "key", key);
    buf_add_u8(out, ',');
    api_add_value(out, value);
    buf_printf(out, ",\"index\":%llu,\"create_index\":%llu", U(index),
               U(create_index));
    pause_event(out, format);
    watch_end_event(out, format);
}

void watch_add_sync(struct buf *out, enum watch_format format, uint64_t index)
{
    begin(out, format, "sync");
    buf_printf(out, "\"index\":%llu", U(index));
    pause_event(out, format);
    watch_add_id(out, format, true, index);
}

void watch_add_reset(struct buf *out, enum watch_format format, uint64_t index)
{
    begin(out, format, "reset");
    buf_printf(out, "\"index\":%llu", U(index));
    pause_event(out, format);
    watch_end_event(out, format);
}

void watch_add_lost(struct buf *out, enum watch_format format,
                    const char *reason, uint64_t floor)
{
    begin(out, format, "lost");
    buf_add_string(out, "\"reason\":");
    json_add_string(out, bytes_of_string(reason));
    buf_printf(out, ",\"oldest_index\":%llu", U(floor));
    pause_event(out, format);
    watch_end_event(out, format);
}
