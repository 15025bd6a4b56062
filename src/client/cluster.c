/* cluster.c -- status, nodes, leader: the server's JSON as lines. */
#include <stdio.h>

#include "client/client_internal.h"

static int not_understood(const struct options *options)
{
    client_say(options, "the answer has an unexpected form; see --json");
    return EXIT_FAILED;
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
    struct buf lines = {0};
    int code = ask_for(&request, options, "/status");
    struct bytes answer = buf_bytes(&request.answer_body);
    if (!code && options->json) {
        code = client_print_bytes(options, answer);
    } else if (!code) {
        code = client_flatten(answer, &lines)
                   ? client_print_bytes(options, buf_bytes(&lines))
                   : not_understood(options);
    }
    buf_free(&lines);
    request_free(&request);
    return code;
}

enum { ID, ADDRESS, HTTP, ROLE, LEADER, REACHABLE, NODE_FIELDS };

static const struct field node_fields[NODE_FIELDS] = {
    [ID] = {.name = "id"},         [ADDRESS] = {.name = "address"},
    [HTTP] = {.name = "http"},     [ROLE] = {.name = "role"},
    [LEADER] = {.name = "leader"}, [REACHABLE] = {.name = "reachable"},
};

static const char *yes_or(const struct field *field, const char *yes,
                          const char *no)
{
    return strcmp(field->text, "true") == 0 ? yes : no;
}

static const char *or_dash(const struct field *field)
{
    return field->text[0] ? field->text : "-";
}

static bool add_node(struct json_reader *reader, struct buf *out)
{
    struct field fields[NODE_FIELDS];
    memcpy(fields, node_fields, sizeof(fields));
    if (!client_read_fields(reader, fields, NODE_FIELDS)) {
        return false;
    }
    buf_printf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", or_dash(&fields[ID]),
               or_dash(&fields[ADDRESS]), or_dash(&fields[HTTP]),
               or_dash(&fields[ROLE]), yes_or(&fields[LEADER], "leader", "-"),
               yes_or(&fields[REACHABLE], "up", "down"));
    return true;
}

/* Print [{...},...] as one line for each node. */
static bool add_nodes(struct buf *json, struct buf *out)
{
    struct json_reader reader;
    enum json_token token;
    json_init(&reader, json->data, json->size);
    if (json->size == 0 || json_next(&reader) != JSON_ARRAY_BEGIN) {
        return false;
    }
    while ((token = json_next(&reader)) == JSON_OBJECT_BEGIN) {
        if (!add_node(&reader, out)) {
            return false;
        }
    }
    return token == JSON_ARRAY_END;
}

int client_run_nodes(const struct options *options)
{
    struct request request;
    struct buf lines = {0};
    int code = ask_for(&request, options, "/nodes");
    if (!code && options->json) {
        code = client_print_bytes(options, buf_bytes(&request.answer_body));
    } else if (!code) {
        code = add_nodes(&request.answer_body, &lines)
                   ? client_print_bytes(options, buf_bytes(&lines))
                   : not_understood(options);
    }
    buf_free(&lines);
    request_free(&request);
    return code;
}

static int show_leader(const struct options *options)
{
    struct request request;
    struct json_reader reader;
    struct field fields[HTTP + 1];
    struct buf line = {0};
    int code = ask_for(&request, options, "/leader");
    struct buf *answer = &request.answer_body;
    memcpy(fields, node_fields, sizeof(fields));
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
            code = not_understood(options);
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
