/* nodes.c -- nodes: shows the members, removes, promotes and demotes them. */
#include <stdio.h>

#include "client/client_internal.h"
#include "client/table_internal.h"

enum { ID, ADDRESS, HTTP, ROLE, LEADER, REACHABLE, NODE_FIELDS };

/* A member, whose opening brace has been read. False: it is no JSON. */
static bool read_node(struct json_reader *reader,
                      struct field fields[NODE_FIELDS])
{
    static const char *const names[NODE_FIELDS] = {
        [ID] = "id",     [ADDRESS] = "address", [HTTP] = "http",
        [ROLE] = "role", [LEADER] = "leader",   [REACHABLE] = "reachable",
    };
    for (size_t i = 0; i < NODE_FIELDS; i++) {
        fields[i] = (struct field){.name = names[i]};
    }
    return client_read_fields(reader, fields, NODE_FIELDS);
}

static bool is_true(const struct field *field)
{
    return strcmp(field->text, "true") == 0;
}

/* ---- showing them ---- */

/* Add [{...},...] as a row for each node. */
static bool add_nodes(struct buf *json, struct client_table *table)
{
    struct json_reader reader;
    struct field fields[NODE_FIELDS];
    enum json_token token;
    json_init(&reader, json->data, json->size);
    if (json->size == 0 || json_next(&reader) != JSON_ARRAY_BEGIN) {
        return false;
    }
    while ((token = json_next(&reader)) == JSON_OBJECT_BEGIN) {
        if (!read_node(&reader, fields)) {
            return false;
        }
        for (int i = ID; i <= ROLE; i++) {
            client_table_add(table, fields[i].text);
        }
        client_table_add(table, is_true(&fields[LEADER]) ? "leader" : "");
        client_table_add(table, is_true(&fields[REACHABLE]) ? "up" : "down");
    }
    return token == JSON_ARRAY_END;
}

static int show_nodes(const struct options *options)
{
    static const char *const heads[] = {"ID",   "RAFT",   "HTTP",
                                        "ROLE", "LEADER", "STATE"};
    struct request request;
    struct client_table table;
    client_table_init(&table, heads, ARRAY_COUNT(heads));
    request_init(&request, "GET", "/nodes");
    int code = request_run(&request, options);
    if (!code && options->json) {
        code = client_print_bytes(options, buf_bytes(&request.answer_body));
    } else if (!code) {
        code = add_nodes(&request.answer_body, &table)
                   ? client_table_print(&table, options)
                   : client_not_understood(options);
    }
    client_table_free(&table);
    request_free(&request);
    return code;
}

/* ---- changing one ---- */

static void init_node_request(struct request *request, const char *method,
                              const char *id)
{
    request_init(request, method, "/nodes/");
    http_percent_encode(&request->target, bytes_of_string(id), false);
    request->absent_is_no = true;
}

/* Ask whether the member, which is shown, is to be removed. */
static int confirm_removal(const struct options *options, const char *id)
{
    struct request request;
    struct json_reader reader;
    struct field fields[NODE_FIELDS];
    if (options->yes) {
        return EXIT_DONE;
    }
    init_node_request(&request, "GET", id);
    int code = request_run(&request, options);
    struct buf *body = &request.answer_body;
    if (!code) {
        json_init(&reader, body->data, body->size);
        if (body->size == 0 || json_next(&reader) != JSON_OBJECT_BEGIN ||
            !read_node(&reader, fields)) {
            code = client_not_understood(options);
        }
    }
    request_free(&request);
    if (code) {
        return code;
    }
    return client_confirm(
        options,
        "remove %s (%s, %s, %s) from the cluster for good? To come back, it "
        "must join with an empty directory.",
        id, fields[ADDRESS].text,
        is_true(&fields[LEADER]) ? "the leader" : fields[ROLE].text,
        is_true(&fields[REACHABLE]) ? "up" : "down");
}

static int change_node(const struct options *options, const char *method,
                       const char *id, const char *body)
{
    struct request request;
    init_node_request(&request, method, id);
    request.changes = true;
    if (body) {
        request.has_body = true;
        request.body = bytes_of_string(body);
        buf_add_string(&request.headers, "Content-Type: application/json\r\n");
    }
    int code = request_run(&request, options);
    request_free(&request);
    return code;
}

int client_run_nodes(const struct options *options)
{
    const char *verb = options->word_count > 0 ? options->words[0] : "";
    const char *id = options->word_count > 1 ? options->words[1] : "";
    if (options->word_count == 0) {
        return show_nodes(options);
    }
    bool remove = strcmp(verb, "remove") == 0;
    bool promote = strcmp(verb, "promote") == 0;
    if (!remove && !promote && strcmp(verb, "demote") != 0) {
        client_say(options,
                   "%s is none of remove, promote, demote; see craftd help "
                   "nodes",
                   verb);
        return EXIT_USAGE;
    }
    if (id[0] == '\0' || options->json || (options->yes && !remove)) {
        client_say(options, id[0] ? "--json is for the list, --yes for remove"
                                  : "the ID of a node is missing; see craftd "
                                    "nodes");
        return EXIT_USAGE;
    }
    if (remove) {
        int code = confirm_removal(options, id);
        return code ? code : change_node(options, "DELETE", id, NULL);
    }
    return change_node(options, "PUT", id,
                       promote ? "{\"voter\":true}" : "{\"voter\":false}");
}
