/* list.c -- ls: page after page, one line for each key. */
#include <stdio.h>

#include "client/client_internal.h"

enum { PAGE_KEYS = 1000 };

struct page {
    uint64_t lines;
    struct bytes last_key; /* Escaped as in the line. */
    bool more;             /* The server has a next page (RFC 8288). */
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
        const uint8_t *tab = memchr(at, '\t', size);
        page->last_key = bytes_of(at, tab ? (size_t)(tab - at) : size);
        page->lines++;
        left -= size + 1;
        at = end + 1;
    }
    return true;
}

static void init_page_request(struct request *request,
                              const struct options *options, struct bytes after,
                              uint64_t limit)
{
    char text[24];
    const char *prefix = options->word_count > 0 ? options->words[0] : "";
    request_init(request, "GET", "/keys?format=lines");
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
        after->size = 0;
        uint8_t *room = buf_reserve(after, page->last_key.size);
        if (!http_percent_decode(page->last_key, room, &after->size)) {
            client_say(options, "the server does not escape keys");
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
