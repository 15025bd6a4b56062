/* survey.c -- asks every node for its state. */
#include "client/survey_internal.h"

#include <stdio.h>

static const char *const paths[SURVEY_FIELDS] = {
    [SURVEY_ID] = "me.id",
    [SURVEY_CLUSTER] = "cluster",
    [SURVEY_ROLE] = "role",
    [SURVEY_TERM] = "term",
    [SURVEY_COMMIT] = "commit",
    [SURVEY_APPLIED] = "applied",
    [SURVEY_VERSION] = "version",
    [SURVEY_HASH] = "hash",
    [SURVEY_KEYS] = "keys",
    [SURVEY_READY] = "ready",
    [SURVEY_DB_BYTES] = "storage.db_bytes",
    [SURVEY_QUOTA_BYTES] = "storage.quota_bytes",
    [SURVEY_NO_SPACE] = "storage.no_space",
};

/* ---- the answer of one ---- */

/* The value of the line "path<TAB>value". Empty: there is none. */
static struct bytes fact(const struct buf *facts, const char *path)
{
    size_t size = strlen(path);
    const uint8_t *at = facts->data;
    size_t left = facts->size;
    while (left > 0) {
        const uint8_t *end = memchr(at, '\n', left);
        must(end); /* client_flatten() writes whole lines. */
        size_t line = (size_t)(end - at);
        if (line > size && memcmp(at, path, size) == 0 && at[size] == '\t') {
            return bytes_of(at + size + 1, line - size - 1);
        }
        left -= line + 1;
        at = end + 1;
    }
    return (struct bytes){0};
}

static void copy_text(char *out, size_t room, struct bytes text)
{
    size_t size = min_size(text.size, room - 1);
    if (size > 0) {
        memcpy(out, text.data, size);
    }
    out[size] = '\0';
}

/* GET /status of the node; a second call replaces the first answer. */
static void ask(struct survey *survey, struct survey_node *node)
{
    struct request request;
    struct options options = *survey->options;
    char addr[SERVER_BYTES];
    options.timeout_ms = min_u64(options.timeout_ms, SURVEY_NODE_MS);
    memcpy(addr, node->http, sizeof(addr));
    request_init(&request, "GET", "/status");
    node->asked = true;
    node->why[0] = '\0';
    node->code = request_ask(&request, &options, addr, node->why);
    node->status = request.answer.head_done ? request.answer.status : 0;
    buf_free(&node->json);
    buf_free(&node->facts);
    memset(node->fields, 0, sizeof(node->fields));
    if (!node->code) {
        buf_add_bytes(&node->json, buf_bytes(&request.answer_body));
        if (!client_flatten(buf_bytes(&node->json), &node->facts)) {
            node->facts.size = 0;
        }
        for (int i = 0; i < SURVEY_FIELDS; i++) {
            copy_text(node->fields[i], sizeof(node->fields[i]),
                      fact(&node->facts, paths[i]));
        }
        if (!node->fields[SURVEY_ID][0]) {
            node->code = EXIT_FAILED;
            (void)snprintf(node->why, sizeof(node->why),
                           "the answer has an unexpected form");
        }
    }
    request_free(&request);
}

uint64_t survey_number(const struct survey_node *node, enum survey_field field)
{
    uint64_t number = 0;
    return json_u64(bytes_of_string(node->fields[field]), &number) ? number : 0;
}

struct bytes survey_hint(const struct survey_node *node, unsigned at)
{
    char path[24];
    (void)snprintf(path, sizeof(path), "hints.%u", at);
    return fact(&node->facts, path);
}

struct bytes survey_fact(const struct survey_node *node, const char *path)
{
    return fact(&node->facts, path);
}

const char *survey_health(const struct survey_node *node)
{
    if (node->code) {
        return node->status == 401 || node->status == 403 ? "unknown" : "down";
    }
    if (strcmp(node->fields[SURVEY_NO_SPACE], "true") == 0) {
        return "full";
    }
    return strcmp(node->fields[SURVEY_READY], "false") == 0 ? "not-ready"
                                                            : "ok";
}

/* ---- all of them ---- */

static struct survey_node *add(struct survey *survey)
{
    if (survey->count == SURVEY_NODES_MAX) {
        return NULL;
    }
    struct survey_node *node = &survey->nodes[survey->count++];
    *node = (struct survey_node){0};
    return node;
}

static struct survey_node *find(struct survey *survey, const char *id)
{
    for (unsigned i = 0; i < survey->count; i++) {
        if (strcmp(survey->nodes[i].id, id) == 0) {
            return &survey->nodes[i];
        }
    }
    return NULL;
}

static struct survey_node *find_at(struct survey *survey, const char *http)
{
    for (unsigned i = 0; i < survey->count; i++) {
        if (strcmp(survey->nodes[i].http, http) == 0) {
            return &survey->nodes[i];
        }
    }
    return NULL;
}

/* Add the members that the answer of GET /nodes names. */
static bool add_members(struct survey *survey, struct buf *json)
{
    struct json_reader reader;
    enum json_token token;
    json_init(&reader, json->data, json->size);
    if (json->size == 0 || json_next(&reader) != JSON_ARRAY_BEGIN) {
        return false;
    }
    while ((token = json_next(&reader)) == JSON_OBJECT_BEGIN) {
        struct field fields[] = {{.name = "id"},
                                 {.name = "http"},
                                 {.name = "role"},
                                 {.name = "disk_free_bytes"}};
        if (!client_read_fields(&reader, fields, ARRAY_COUNT(fields))) {
            return false;
        }
        struct survey_node *node = add(survey);
        if (node) {
            copy_text(node->id, sizeof(node->id),
                      bytes_of_string(fields[0].text));
            copy_text(node->http, sizeof(node->http),
                      bytes_of_string(fields[1].text));
            copy_text(node->suffrage, sizeof(node->suffrage),
                      bytes_of_string(fields[2].text));
            uint64_t number;
            if (json_u64(bytes_of_string(fields[3].text), &number)) {
                node->disk_free_bytes = number;
            }
        }
    }
    return token == JSON_ARRAY_END;
}

/* Ask the servers of --addr that are no member's advertised address; they say
 * which node they are. */
static void ask_named(struct survey *survey)
{
    const char *list = survey->options->addr;
    char addr[SERVER_BYTES];
    while (client_next_server(&list, addr)) {
        struct survey_node asked = {0};
        if (find_at(survey, addr)) {
            continue; /* As a member. */
        }
        memcpy(asked.http, addr, sizeof(addr));
        ask(survey, &asked);
        copy_text(asked.id, sizeof(asked.id),
                  bytes_of_string(asked.fields[SURVEY_ID]));
        bool known = asked.id[0] != '\0';
        struct survey_node *node = known ? find(survey, asked.id) : NULL;
        if (known && !node) {
            node = add(survey); /* It is no member. */
        }
        if (!node || node->asked) {
            buf_free(&asked.json); /* A second address of the same node. */
            buf_free(&asked.facts);
            continue;
        }
        memcpy(asked.suffrage, node->suffrage, sizeof(asked.suffrage));
        asked.disk_free_bytes = node->disk_free_bytes;
        *node = asked;
    }
}

static void find_leader(struct survey *survey)
{
    survey->leader = NULL;
    for (unsigned i = 0; i < survey->count; i++) {
        struct survey_node *node = &survey->nodes[i];
        if (strcmp(node->fields[SURVEY_ROLE], "leader") == 0 &&
            (!survey->leader ||
             survey_number(node, SURVEY_TERM) >
                 survey_number(survey->leader, SURVEY_TERM))) {
            survey->leader = node;
        }
    }
}

/* Without a leader: behind what any node knows to be committed. */
static uint64_t committed(const struct survey *survey)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < survey->count && !survey->leader; i++) {
        most = max_u64(most, survey_number(&survey->nodes[i], SURVEY_COMMIT));
    }
    return survey->leader ? survey_number(survey->leader, SURVEY_COMMIT) : most;
}

static void compare(struct survey *survey)
{
    uint64_t target = committed(survey);
    for (unsigned i = 0; i < survey->count; i++) {
        struct survey_node *node = &survey->nodes[i];
        /* One that was asked before the leader seems to be behind. */
        if (!node->code && node != survey->leader && survey->leader &&
            survey_number(node, SURVEY_APPLIED) < target) {
            ask(survey, node);
        }
        uint64_t applied = survey_number(node, SURVEY_APPLIED);
        node->lag = !node->code && applied < target ? target - applied : 0;
    }
}

int survey_take(struct survey *survey, const struct options *options,
                struct buf *why)
{
    struct request request;
    *survey = (struct survey){.options = options};
    request_init(&request, "GET", "/nodes");
    int code = request_run_silently(&request, options);
    if (code) {
        buf_add_bytes(why, buf_bytes(&request.reasons));
    } else if (!add_members(survey, &request.answer_body)) {
        buf_add_string(why, "the answer has an unexpected form");
        buf_add_u8(why, '\0');
        code = EXIT_FAILED;
    }
    request_free(&request);
    if (code) {
        return code;
    }
    ask_named(survey);
    for (unsigned i = 0; i < survey->count; i++) {
        struct survey_node *node = &survey->nodes[i];
        if (!node->asked && node->http[0]) {
            ask(survey, node);
        } else if (!node->asked) {
            node->code = EXIT_AWAY;
            (void)snprintf(node->why, sizeof(node->why),
                           "it advertises no HTTP address");
        }
    }
    find_leader(survey);
    compare(survey);
    return EXIT_DONE;
}

void survey_free(struct survey *survey)
{
    for (unsigned i = 0; i < survey->count; i++) {
        buf_free(&survey->nodes[i].json);
        buf_free(&survey->nodes[i].facts);
    }
    survey->count = 0;
}
