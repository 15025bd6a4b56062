/* erase.c -- del --prefix: deletes many keys, after a question.
 *
 * The server deletes in batches until its time-out is over. As long as it gets
 * on, the request is sent again: it continues where the last one ended. Each
 * answer has the number of keys that were deleted. */
#include <stdio.h>

#include "client/client_internal.h"
#include "client/progress_internal.h"

static void init_prefix_request(struct request *request, const char *method,
                                const char *prefix)
{
    request_init(request, method, "/keys");
    request_add_query(request, "prefix", bytes_of_string(prefix));
}

/* Read a number of the answer's object. False: it has none of that name. */
static bool read_number(const struct request *request, const char *name,
                        uint64_t *number)
{
    struct json_reader reader;
    struct field field = {.name = name};
    struct buf copy = {0};
    buf_add_bytes(&copy, buf_bytes(&request->answer_body));
    json_init(&reader, copy.data, copy.size);
    bool ok = copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN &&
              client_read_fields(&reader, &field, 1) &&
              json_u64(bytes_of_string(field.text), number);
    buf_free(&copy);
    return ok;
}

/* Set *count to the number of keys that begin with the prefix. */
static int count_keys(const struct options *options, const char *prefix,
                      uint64_t *count)
{
    struct request request;
    init_prefix_request(&request, "GET", prefix);
    request_add_query(&request, "count", (struct bytes){0});
    int code = request_run(&request, options);
    if (!code && !read_number(&request, "count", count)) {
        code = client_not_understood(options);
    }
    request_free(&request);
    return code;
}

/* Send the request until everything is deleted, or nothing more is. */
static int erase_all(const struct options *options, const char *prefix,
                     uint64_t expected, uint64_t *deleted)
{
    struct progress progress;
    progress_start(&progress, options, "keys", expected);
    for (;;) {
        struct request request;
        uint64_t more = 0;
        init_prefix_request(&request, "DELETE", prefix);
        request.changes = true;
        int code = request_run_silently(&request, options);
        bool counted = read_number(&request, "deleted", &more);
        bool again =
            code == EXIT_UNKNOWN && request.answer.status == 504 && more > 0;
        *deleted += more;
        progress_update(&progress, *deleted);
        if (!again) {
            request_explain(&request, options, code);
            code = !code && !counted ? client_not_understood(options) : code;
        }
        request_free(&request);
        if (!again) {
            progress_end();
            return code;
        }
    }
}

int client_erase(const struct options *options)
{
    const char *prefix = options->words[0];
    struct buf line = {0};
    uint64_t count = 0;
    uint64_t deleted = 0;
    int code = EXIT_DONE;
    if (!options->yes) {
        code = count_keys(options, prefix, &count);
    }
    if (!code && (options->yes || count > 0)) {
        code = client_confirm(options,
                              "delete %llu key%s that begin%s with \"%s\"?",
                              (unsigned long long)count, count == 1 ? "" : "s",
                              count == 1 ? "s" : "", prefix);
        if (!code) {
            code = erase_all(options, prefix, count, &deleted);
        }
    }
    if (!code || deleted > 0) {
        buf_printf(&line, "deleted\t%llu\n", (unsigned long long)deleted);
        int printed = client_print_bytes(options, buf_bytes(&line));
        code = code ? code : printed;
        buf_free(&line);
    }
    return code;
}
