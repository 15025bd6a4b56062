/* queue.c -- the tickets of a name, in the order of their arrival. */
#include <stdio.h>

#include "client/lock_internal.h"

enum { PAUSE_MS = 200 }; /* Before another attempt when no server answered. */

/* ---- writing ---- */

int queue_enter(struct queue *queue, const char *value)
{
    struct request request;
    struct lease *lease = queue->lease;
    int size = snprintf(queue->own.key, sizeof(queue->own.key), "%s/%s",
                        queue->name, lease->id);
    must(size > 0 && (size_t)size < sizeof(queue->own.key));
    queue->own.index = 0;
    request_init(&request, "PUT", "/key/");
    http_percent_encode(&request.target, bytes_of_string(queue->own.key), true);
    request_add_query(&request, "lease", bytes_of_string(lease->id));
    request.has_body = true;
    request.body = bytes_of_string(value);
    int code = lease_ask(lease, &request);
    request_free(&request);
    return code;
}

/* ---- reading ---- */

enum { LINE_KEY, LINE_VALUE, LINE_INDEX, LINE_FIELDS };
/* Upper bound on all tickets: one has 200 bytes, and there are 100,000 leases.
 */
enum { LINES_BYTES_MAX = 32 << 20 };

/* Returns whether the key is a ticket of this name: NAME/LEASE. */
static bool is_ticket(const struct queue *queue, const char *key)
{
    size_t size = strlen(queue->name);
    return strlen(key) < LOCK_KEY_BYTES &&
           strncmp(key, queue->name, size) == 0 &&
           strncmp(key + size, "/l-", 3) == 0 && !strchr(key + size + 1, '/');
}

static void set_ticket(struct ticket *ticket, uint64_t index,
                       const struct field fields[LINE_FIELDS])
{
    ticket->index = index;
    memcpy(ticket->key, fields[LINE_KEY].text,
           strlen(fields[LINE_KEY].text) + 1);
    memcpy(ticket->value, fields[LINE_VALUE].text, sizeof(ticket->value));
}

static void take_ticket(struct queue *queue,
                        const struct field fields[LINE_FIELDS])
{
    uint64_t index;
    if (!is_ticket(queue, fields[LINE_KEY].text) ||
        !json_u64(bytes_of_string(fields[LINE_INDEX].text), &index)) {
        return;
    }
    if (queue->first.index == 0 || index < queue->first.index) {
        set_ticket(&queue->first, index, fields);
    }
    if (strcmp(fields[LINE_KEY].text, queue->own.key) == 0) {
        queue->own.index = index;
    }
    if (index < queue->own.index && index > queue->ahead.index) {
        set_ticket(&queue->ahead, index, fields);
    }
}

/* Take all lines; `last` is the key of the last one. False: they are no JSON.
 */
static bool take_lines(struct queue *queue, struct bytes lines,
                       struct field *last)
{
    struct buf copy = {0};
    bool ok = true;
    buf_add_bytes(&copy, lines); /* It is decoded in place. */
    for (size_t at = 0; ok && at < copy.size;) {
        struct field fields[LINE_FIELDS] = {
            [LINE_KEY] = {.name = "key"},
            [LINE_VALUE] = {.name = "value"},
            [LINE_INDEX] = {.name = "create_index"}};
        struct json_reader reader;
        const uint8_t *end = memchr(copy.data + at, '\n', copy.size - at);
        size_t size = end ? (size_t)(end - copy.data) - at : copy.size - at;
        json_init(&reader, copy.data + at, size);
        ok = json_next(&reader) == JSON_OBJECT_BEGIN &&
             client_read_fields(&reader, fields, LINE_FIELDS);
        if (ok) {
            take_ticket(queue, fields);
            *last = fields[LINE_KEY];
        }
        at += size + 1;
    }
    buf_free(&copy);
    return ok;
}

static void init_list(struct request *request, const struct queue *queue)
{
    struct buf prefix = {0};
    buf_add_string(&prefix, queue->name);
    buf_add_string(&prefix, "/l-");
    request_init(request, "GET", "/keys?format=ndjson");
    request_add_query(request, "prefix", buf_bytes(&prefix));
    buf_free(&prefix);
}

static struct bytes header(const struct request *request, const char *name)
{
    return http_header_named(request->answer.headers,
                             request->answer.header_count, name);
}

/* Append the lines of all pages to `lines`. The index of the first page is that
 * of the queue: a wait from there on misses nothing of the later ones. */
static int read_pages(struct queue *queue, struct buf *lines)
{
    struct lease *lease = queue->lease;
    struct field after = {0};
    int code;
    bool more;
    queue->index = 0;
    do {
        struct request request;
        uint64_t index = 0;
        init_list(&request, queue);
        if (after.text[0]) {
            request_add_query(&request, "after", bytes_of_string(after.text));
        }
        code = lease_ask(lease, &request);
        struct field last = {0};
        more = header(&request, "link").size > 0;
        if (!code &&
            (!json_u64(header(&request, "craftd-index"), &index) ||
             !take_lines(queue, buf_bytes(&request.answer_body), &last) ||
             (more && strcmp(last.text, after.text) <= 0) ||
             lines->size > LINES_BYTES_MAX)) {
            (void)snprintf(lease->why, sizeof(lease->why),
                           "%.100s: it does not list keys", lease->addr);
            code = EXIT_FAILED;
        }
        after = last;
        queue->index = queue->index > 0 ? queue->index : index;
        buf_add_bytes(lines, buf_bytes(&request.answer_body));
        request_free(&request);
    } while (!code && more);
    return code;
}

int queue_read(struct queue *queue)
{
    struct buf lines = {0};
    struct field last;
    queue->own.index = 0;
    queue->first = (struct ticket){0};
    queue->ahead = (struct ticket){0};
    int code = read_pages(queue, &lines);
    if (!code) {
        /* Now our own is known, and with it those ahead. */
        (void)take_lines(queue, buf_bytes(&lines), &last);
    }
    buf_free(&lines);
    return code;
}

/* ---- waiting ---- */

bool queue_wait(struct queue *queue, bool any, uint64_t ms)
{
    struct request request;
    char text[32];
    struct lease *lease = queue->lease;
    if (any) {
        init_list(&request, queue);
        request_add_query(&request, "limit", bytes_of_string("1"));
    } else {
        request_init(&request, "GET", "/key/");
        http_percent_encode(&request.target, bytes_of_string(queue->ahead.key),
                            true);
    }
    (void)snprintf(text, sizeof(text), "%llu",
                   (unsigned long long)queue->index);
    request_add_query(&request, "index", bytes_of_string(text));
    (void)snprintf(text, sizeof(text), "%llums", (unsigned long long)ms);
    request_add_query(&request, "wait", bytes_of_string(text));
    /* A server waits up to a sixteenth longer. */
    request.answer_ms = ms + ms / 16 + lease->options.timeout_ms;
    request.absent_is_no = true;
    int code = lease_ask(lease, &request);
    int status = request.answer.head_done ? request.answer.status : 0;
    request_free(&request);
    if (code == EXIT_AWAY || code == EXIT_UNKNOWN) {
        signals_wait(PAUSE_MS);
    }
    return status != 304;
}
