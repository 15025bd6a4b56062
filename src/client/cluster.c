/* cluster.c -- status, leader, sync, snapshot: the server's JSON as lines. */
#include <stdio.h>

#include "client/client_internal.h"

int client_not_understood(const struct options *options)
{
    client_say(options, "the answer has an unexpected form");
    return EXIT_FAILED;
}

int client_print_lines(const struct options *options, struct bytes json)
{
    struct buf lines = {0};
    if (options->json) {
        return client_print_bytes(options, json);
    }
    int code = client_flatten(json, &lines)
                   ? client_print_bytes(options, buf_bytes(&lines))
                   : client_not_understood(options);
    buf_free(&lines);
    return code;
}

/* GET `path`; the answer is in request->answer_body. */
static int ask_for(struct request *request, const struct options *options,
                   const char *path)
{
    request_init(request, "GET", path);
    return request_run(request, options);
}

int client_run_status(const struct options *options)
{
    struct request request;
    if (options->all) {
        return client_status_all(options);
    }
    int code = ask_for(&request, options, "/status");
    if (!code) {
        code = client_print_lines(options, buf_bytes(&request.answer_body));
    }
    request_free(&request);
    return code;
}

/* POST to `path`, and print the answer; nothing, when it has no body. */
static int order(const struct options *options, const char *path)
{
    struct request request;
    request_init(&request, "POST", path);
    int code = request_run(&request, options);
    if (!code && request.answer_body.size > 0) {
        code = client_print_lines(options, buf_bytes(&request.answer_body));
    }
    request_free(&request);
    return code;
}

int client_run_sync(const struct options *options)
{
    return order(options, options->all ? "/sync?nodes=all" : "/sync");
}

int client_run_snapshot(const struct options *options)
{
    return order(options, "/snapshot");
}

enum { ID, ADDRESS, HTTP, LEADER_FIELDS };

static const char *or_dash(const struct field *field)
{
    return field->text[0] ? field->text : "-";
}

static int show_leader(const struct options *options)
{
    struct request request;
    struct json_reader reader;
    struct field fields[LEADER_FIELDS] = {
        [ID] = {.name = "id"},
        [ADDRESS] = {.name = "address"},
        [HTTP] = {.name = "http"},
    };
    struct buf line = {0};
    int code = ask_for(&request, options, "/leader");
    struct buf *answer = &request.answer_body;
    if (!code && options->json) {
        code = client_print_bytes(options, buf_bytes(answer));
    } else if (!code) {
        json_init(&reader, answer->data, answer->size);
        if (answer->size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN &&
            client_read_fields(&reader, fields, ARRAY_COUNT(fields))) {
            buf_printf(&line, "%s\t%s\t%s\n", or_dash(&fields[ID]),
                       or_dash(&fields[ADDRESS]), or_dash(&fields[HTTP]));
            code = client_print_bytes(options, buf_bytes(&line));
        } else {
            code = client_not_understood(options);
        }
    }
    buf_free(&line);
    request_free(&request);
    return code;
}

static int move_leader(const struct options *options, const char *id)
{
    struct request request;
    struct buf body = {0};
    if (!json_is_utf8(bytes_of_string(id))) {
        client_say(options, "the name is not UTF-8");
        return EXIT_USAGE;
    }
    buf_add_string(&body, "{\"id\":");
    json_add_string(&body, bytes_of_string(id));
    buf_add_u8(&body, '}');
    request_init(&request, "POST", "/leader");
    request.changes = true;
    request.absent_is_no = true;
    request.has_body = true;
    request.body = buf_bytes(&body);
    buf_add_string(&request.headers, "Content-Type: application/json\r\n");
    int code = request_run(&request, options);
    buf_free(&body);
    request_free(&request);
    return code;
}

int client_run_leader(const struct options *options)
{
    return options->word_count > 0 ? move_leader(options, options->words[0])
                                   : show_leader(options);
}
