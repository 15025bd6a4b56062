/* list.c -- ls: page after page, one line for each key, as text or as JSON. */
#include <stdio.h>

#include "client/client_internal.h"

enum { PAGE_KEYS = 1000 };

struct page {
    uint64_t lines;
    struct bytes last; /* The last line. */
    bool more;         /* The server has a next page (RFC 8288). */
};

/* Returns whether a Link header names a next page (RFC 8288: rel="next"). */
static bool has_next(struct bytes link)
{
    static const char next[] = "rel=\"next\"";
    const size_t size = sizeof(next) - 1;
    for (size_t i = 0; i + size <= link.size; i++) {
        if (memcmp(link.data + i, next, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Only complete lines are accepted: the server sends no others. */
static bool read_page(struct bytes body, struct page *page)
{
    const uint8_t *at = body.data;
    size_t left = body.size;
    while (left > 0) {
        const uint8_t *end = memchr(at, '\n', left);
        if (!end || end == at) {
            return false;
        }
        size_t size = (size_t)(end - at);
        page->last = bytes_of(at, size);
        page->lines++;
        left -= size + 1;
        at = end + 1;
    }
    return true;
}

/* Set `after` to the key of a line such as "a%20b<TAB>1". */
static bool key_of_text(struct bytes line, struct buf *after)
{
    const uint8_t *tab =
        line.size > 0 ? memchr(line.data, '\t', line.size) : NULL;
    struct bytes key =
        tab ? bytes_of(line.data, (size_t)(tab - line.data)) : line;
    after->size = 0;
    uint8_t *room = buf_reserve(after, key.size);
    return http_percent_decode(key, room, &after->size);
}

/* Set `after` to the member "key" of a line that is an object. */
static bool key_of_json(struct bytes line, struct buf *after)
{
    struct json_reader reader;
    struct buf copy = {0};
    after->size = 0;
    buf_add_bytes(&copy, line);
    json_init(&reader, copy.data, copy.size);
    if (copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN) {
        while (json_next(&reader) == JSON_NAME) {
            bool is_key = bytes_equal_string(reader.text, "key");
            if (json_skip(&reader) == JSON_STRING && is_key) {
                buf_add_bytes(after, reader.text);
            }
        }
    }
    buf_free(&copy);
    return after->size > 0;
}

static void init_page_request(struct request *request,
                              const struct options *options, struct bytes after,
                              uint64_t limit)
{
    char text[24];
    const char *prefix = options->word_count > 0 ? options->words[0] : "";
    request_init(request, "GET",
                 options->json ? "/keys?format=ndjson" : "/keys?format=lines");
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)limit);
    request_add_query(request, "limit", bytes_of_string(text));
    if (prefix[0]) {
        request_add_query(request, "prefix", bytes_of_string(prefix));
    }
    if (after.size > 0) {
        request_add_query(request, "after", after);
    }
    if (options->keys) {
        request_add_query(request, "keys", (struct bytes){0});
    }
    request_add_level(request, options);
}

/* Print one page; `after` is set to its last key, decoded. */
static int show_page(const struct options *options, struct buf *after,
                     uint64_t limit, struct page *page)
{
    struct request request;
    *page = (struct page){0};
    init_page_request(&request, options, buf_bytes(after), limit);
    int code = request_run(&request, options);
    struct bytes body = buf_bytes(&request.answer_body);
    if (!code && !read_page(body, page)) {
        client_say(options, "the server does not send lines");
        code = EXIT_FAILED;
    }
    if (!code) {
        code = client_print_bytes(options, body);
    }
    if (!code) {
        page->more = has_next(http_header_named(
            request.answer.headers, request.answer.header_count, "link"));
        if (page->more && page->lines > 0 &&
            !(options->json ? key_of_json(page->last, after)
                            : key_of_text(page->last, after))) {
            client_say(options, "the server does not send keys as it should");
            code = EXIT_FAILED;
        }
    }
    request_free(&request);
    return code;
}

int client_run_ls(const struct options *options)
{
    struct buf after = {0};
    struct page page = {.more = true};
    uint64_t left = options->has_limit ? options->limit : UINT64_MAX;
    int code = EXIT_DONE;
    while (!code && page.more && left > 0) {
        code = show_page(options, &after, min_u64(left, PAGE_KEYS), &page);
        left -= min_u64(left, page.lines);
        if (page.more && page.lines == 0) {
            client_say(options,
                       "the server announced another page, and sent none");
            code = EXIT_FAILED;
        }
    }
    buf_free(&after);
    return code;
}
