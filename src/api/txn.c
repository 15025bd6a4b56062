/* txn.c -- POST /txn: JSON -> one version 2 command, its result -> JSON.
 *
 *     {"if":   [{"key":"a","index":44}, ...],
 *      "then": [{"put":"a","value":"1"}, {"get":"b"}, ...],
 *      "else": [...]}
 *
 * Members come in any order, so each list is encoded in a buffer of its own.
 * Unknown members are refused: a typing error must not become a write without
 * its condition. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

enum { TXN_LEASES_MAX = 8 };
enum part { LIST_IF, LIST_THEN, LIST_ELSE, LIST_COUNT };

struct parse {
    struct conn *conn;
    struct json_reader reader;
    bool seen[LIST_COUNT];
    uint32_t ops;
    bool reads;
    bool timed;      /* An operation depends on time. */
    uint64_t lease;  /* That of the operation before, or 0; ... */
    uint32_t leases; /* ... and how often it was another one. */
    bool answered;   /* An error has been answered. */
};

/* Answer an error, the first one only. Always false, for `return`. */
static bool wrong(struct parse *parse, int status, const char *code,
                  const char *message)
{
    if (!parse->answered) {
        char members[48];
        parse->answered = true;
        (void)snprintf(members, sizeof(members), ",\"offset\":%zu",
                       parse->reader.offset);
        api_answer_problem_with(parse->conn, status, code, message,
                                OUTCOME_NOT_APPLIED, members);
    }
    return false;
}

static bool wrong_json(struct parse *parse, const char *why)
{
    if (!parse->answered) {
        parse->answered = true;
        api_bad_json(parse->conn, &parse->reader,
                     parse->reader.why ? parse->reader.why : why);
    }
    return false;
}

static bool name_is(const struct parse *parse, const char *name)
{
    return bytes_equal_string(parse->reader.text, name);
}

/* Answer that the member whose name has just been read does not belong to
 * `where`, which has the members `names` (the list ends with NULL). */
static bool wrong_member(struct parse *parse, const char *where,
                         const char *const *names)
{
    char why[160];
    struct bytes name = parse->reader.text;
    struct text_nearest nearest = text_nearest_to(name);
    bool shown = text_is_printable(name) && name.size <= TEXT_NEAREST_BYTES_MAX;
    int used = snprintf(why, sizeof(why), "%s has no member \"%.*s\"", where,
                        shown ? (int)name.size : 3,
                        shown ? (const char *)name.data : "...");
    bool known = false;
    for (; *names; names++) {
        known = known || name_is(parse, *names);
        text_nearest_offer(&nearest, bytes_of_string(*names));
    }
    must(used > 0 && (size_t)used < sizeof(why));
    if (known) {
        (void)snprintf(
            why, sizeof(why),
            "%s has \"%.*s\" twice, or two members that exclude each other",
            where, (int)name.size, (const char *)name.data);
    } else if (nearest.best.size > 0) {
        (void)snprintf(why + used, sizeof(why) - (size_t)used,
                       "; did you mean \"%.*s\"?", (int)nearest.best.size,
                       (const char *)nearest.best.data);
    }
    return wrong_json(parse, why);
}

static bool expect(struct parse *parse, enum json_token token, const char *why)
{
    return json_next(&parse->reader) == token || wrong_json(parse, why);
}

/* Returns whether the sender may read or write, as the operation does, its key
 * or all keys below it. False: answered. */
static bool is_allowed(struct parse *parse, const struct command_op *op)
{
    bool reads = op->type == COMMAND_GET || op->type == COMMAND_INCR;
    bool writes = op->type != COMMAND_GET;
    parse->answered =
        (reads && !api_gate_allows(parse->conn, AUTH_READ, op->key)) ||
        (writes && !api_gate_allows(parse->conn, AUTH_WRITE, op->key));
    return !parse->answered;
}

/* Returns whether the sender may attach a key to the lease; 0: to none. The
 * leases of who may not write all keys are few, since each may have a thousand
 * keys to look at. False: answered. */
static bool may_attach(struct parse *parse, uint64_t lease)
{
    const struct auth_identity *identity = &parse->conn->gate.identity;
    if (lease == 0 || lease == parse->lease ||
        auth_may(identity, AUTH_WRITE, (struct bytes){0})) {
        return true;
    }
    if (parse->leases == TXN_LEASES_MAX) {
        return wrong(parse, 413, "too-large",
                     "keys for more than 8 leases: send a transaction for each "
                     "of them");
    }
    parse->leases++;
    parse->lease = lease;
    parse->answered = !lease_may_change(parse->conn, lease);
    return !parse->answered;
}

/* ---- members ---- */

static bool read_string(struct parse *parse, struct bytes *text)
{
    if (!expect(parse, JSON_STRING, "a string is expected")) {
        return false;
    }
    *text = parse->reader.text;
    return true;
}

static bool read_text_key(struct parse *parse, struct bytes *key)
{
    if (!read_string(parse, key)) {
        return false;
    }
    const char *why = api_key_wrong(*key);
    return !why || wrong(parse, 400, "bad-key", why);
}

static bool read_value(struct parse *parse, bool base64, struct bytes *value)
{
    if (!read_string(parse, value)) {
        return false;
    }
    if (base64) {
        /* Decoded in place, as strings are. */
        uint8_t *data = (uint8_t *)(uintptr_t)value->data;
        if (!text_base64(*value, data, &value->size)) {
            return wrong_json(parse, "value_base64 is not base64");
        }
    }
    if (value->size > parse->conn->api->options.value_bytes_max) {
        parse->answered = true;
        api_value_too_large(parse->conn);
        return false;
    }
    return true;
}

static bool read_u64(struct parse *parse, uint64_t *number)
{
    return expect(parse, JSON_NUMBER, "a number is expected") &&
           (json_u64(parse->reader.text, number) ||
            wrong_json(parse, "an index is a whole number"));
}

static bool read_bool(struct parse *parse, uint64_t *number)
{
    enum json_token token = json_next(&parse->reader);
    *number = token == JSON_TRUE;
    return token == JSON_TRUE || token == JSON_FALSE ||
           wrong_json(parse, "exists is true or false");
}

/* ---- conditions ---- */

static bool read_comparison(struct parse *parse,
                            struct command_condition *condition)
{
    bool second = condition->field != 0;
    if (name_is(parse, "index") && !second) {
        condition->field = COMMAND_IF_INDEX;
        return read_u64(parse, &condition->number);
    }
    if (name_is(parse, "create_index") && !second) {
        condition->field = COMMAND_IF_CREATED;
        return read_u64(parse, &condition->number);
    }
    if (name_is(parse, "exists") && !second) {
        condition->field = COMMAND_IF_EXISTS;
        return read_bool(parse, &condition->number);
    }
    bool base64 = name_is(parse, "value_base64");
    if ((base64 || name_is(parse, "value")) && !second) {
        condition->field = COMMAND_IF_VALUE;
        return read_value(parse, base64, &condition->value);
    }
    static const char *const names[] = {"key",    "index", "create_index",
                                        "exists", "value", "value_base64",
                                        NULL};
    return wrong_member(parse, "a clause", names);
}

static bool read_condition(struct parse *parse, struct command_writer *writer)
{
    struct command_condition condition = {0};
    enum json_token token;
    while ((token = json_next(&parse->reader)) == JSON_NAME) {
        bool is_key = name_is(parse, "key") && !condition.key.data;
        bool ok = is_key ? read_text_key(parse, &condition.key)
                         : read_comparison(parse, &condition);
        if (!ok) {
            return false;
        }
    }
    if (token != JSON_OBJECT_END) {
        return wrong_json(parse, "a clause is an object");
    }
    if (!condition.key.data || condition.field == 0) {
        return wrong(parse, 400, "bad-request",
                     "a clause has one key and one comparison");
    }
    if (!api_gate_allows(parse->conn, AUTH_READ, condition.key)) {
        parse->answered = true;
        return false;
    }
    if (writer->count == TXN_OPS_MAX) {
        return wrong(parse, 413, "too-large", "more than 512 clauses");
    }
    command_if(writer, &condition);
    return true;
}

/* ---- operations ---- */

static const struct {
    const char *name;
    enum command_op_type type;
} operations[] = {
    {"put", COMMAND_PUT},   {"delete", COMMAND_DELETE},
    {"get", COMMAND_GET},   {"delete_prefix", COMMAND_DELETE_PREFIX},
    {"incr", COMMAND_INCR},
};

struct read_op {
    struct command_op op; /* op.type 0: not known yet. */
    bool has_value;
    bool has_by;
};

static bool read_by(struct parse *parse, struct read_op *read)
{
    read->has_by = true;
    return expect(parse, JSON_NUMBER, "a number is expected") &&
           (text_i64(parse->reader.text, &read->op.by) ||
            wrong_json(parse, "by is a whole number of 64 bits"));
}

static bool has_end(const struct read_op *read)
{
    return read->op.ttl_ms > 0 || read->op.lease > 0;
}

/* "30s", or a number of seconds. */
static bool read_ttl(struct parse *parse, struct read_op *read)
{
    enum json_token token = json_next(&parse->reader);
    if (token != JSON_STRING && token != JSON_NUMBER) {
        return wrong_json(parse, "ttl is a duration such as \"30s\"");
    }
    const char *why = ttl_parse(parse->reader.text, &read->op.ttl_ms);
    return !why || wrong_json(parse, why);
}

static bool read_lease(struct parse *parse, struct read_op *read)
{
    struct bytes text;
    if (!read_string(parse, &text)) {
        return false;
    }
    const char *why = lease_parse(text, &read->op.lease);
    return !why || wrong_json(parse, why);
}

static bool read_op_member(struct parse *parse, struct read_op *read)
{
    bool base64 = name_is(parse, "value_base64");
    if ((base64 || name_is(parse, "value")) && !read->has_value) {
        read->has_value = true;
        return read_value(parse, base64, &read->op.value);
    }
    if (name_is(parse, "by") && !read->has_by) {
        return read_by(parse, read);
    }
    if (name_is(parse, "ttl") && !has_end(read)) {
        return read_ttl(parse, read);
    }
    if (name_is(parse, "lease") && !has_end(read)) {
        return read_lease(parse, read);
    }
    for (size_t i = 0; i < ARRAY_COUNT(operations) && !read->op.key.data; i++) {
        if (name_is(parse, operations[i].name)) {
            read->op.type = operations[i].type;
            return read_text_key(parse, &read->op.key);
        }
    }
    static const char *const names[] = {
        "put",          "delete", "get", "delete_prefix", "incr", "value",
        "value_base64", "by",     "ttl", "lease",         NULL};
    return wrong_member(parse, "an operation", names);
}

static bool read_op(struct parse *parse, struct command_writer *writer)
{
    struct read_op read = {.op = {.by = 1}};
    enum json_token token;
    while ((token = json_next(&parse->reader)) == JSON_NAME) {
        if (!read_op_member(parse, &read)) {
            return false;
        }
    }
    if (token != JSON_OBJECT_END) {
        return wrong_json(parse, "an operation is an object");
    }
    bool whole = read.op.key.data &&
                 read.has_value == (read.op.type == COMMAND_PUT) &&
                 (!read.has_by || read.op.type == COMMAND_INCR) &&
                 (!has_end(&read) || read.op.type == COMMAND_PUT);
    if (!whole) {
        return wrong(parse, 400, "bad-request",
                     "an operation is put with value (and ttl or lease), "
                     "delete, delete_prefix, get, or incr with by");
    }
    if (has_end(&read)) {
        read.op.type = COMMAND_PUT_TIMED;
        parse->timed = true;
    }
    if (!is_allowed(parse, &read.op) || !may_attach(parse, read.op.lease)) {
        return false;
    }
    if (parse->ops == TXN_OPS_MAX) {
        return wrong(parse, 413, "too-large", "more than 512 operations");
    }
    parse->ops++;
    parse->reads = parse->reads || read.op.type == COMMAND_GET;
    command_add(writer, &read.op);
    return true;
}

/* ---- the transaction ---- */

static bool read_list(struct parse *parse, enum part list)
{
    struct command_writer writer;
    enum json_token token;
    if (parse->seen[list]) {
        return wrong_json(parse, "a list is given twice");
    }
    parse->seen[list] = true;
    if (!expect(parse, JSON_ARRAY_BEGIN, "a list is expected")) {
        return false;
    }
    command_list(&writer, &parse->conn->api->lists[list]);
    while ((token = json_next(&parse->reader)) == JSON_OBJECT_BEGIN) {
        bool ok = list == LIST_IF ? read_condition(parse, &writer)
                                  : read_op(parse, &writer);
        if (!ok) {
            return false;
        }
    }
    command_end(&writer);
    return token == JSON_ARRAY_END ||
           wrong_json(parse, "an object is expected");
}

static bool read_txn(struct parse *parse)
{
    static const char *const names[] = {"if", "then", "else", NULL};
    enum json_token token;
    if (!expect(parse, JSON_OBJECT_BEGIN, "an object is expected")) {
        return false;
    }
    while ((token = json_next(&parse->reader)) == JSON_NAME) {
        int list = 0;
        while (list < LIST_COUNT && !name_is(parse, names[list])) {
            list++;
        }
        if (list == LIST_COUNT) {
            return wrong_member(parse, "a transaction (if, then, else)", names);
        }
        if (!read_list(parse, (enum part)list)) {
            return false;
        }
    }
    if (token != JSON_OBJECT_END || json_next(&parse->reader) != JSON_END) {
        return wrong_json(parse, "the body is not one JSON object");
    }
    return parse->seen[LIST_THEN] ||
           wrong(parse, 400, "bad-request", "the member then is missing");
}

/* ---- the result ---- */

static void add_row(struct buf *out, const struct result_op *op)
{
    buf_add_string(out, "{\"key\":");
    json_add_string(out, op->key);
    buf_add_u8(out, ',');
    if (op->found) {
        api_add_value(out, op->value);
        buf_printf(out, ",\"index\":%llu,\"create_index\":%llu}",
                   (unsigned long long)op->modify_index,
                   (unsigned long long)op->create_index);
    } else {
        buf_add_string(out, "\"value\":null,\"index\":0}");
    }
}

static void add_result(struct buf *out, const struct result_op *op,
                       uint64_t index)
{
    switch (op->type) {
    case COMMAND_PUT:
    case COMMAND_PUT_TIMED:
        buf_printf(out, "{\"index\":%llu}", (unsigned long long)index);
        break;
    case COMMAND_DELETE:
    case COMMAND_DELETE_PREFIX:
        buf_printf(out, "{\"deleted\":%llu}", (unsigned long long)op->deleted);
        break;
    case COMMAND_INCR:
        buf_printf(out, "{\"value\":\"%lld\"}", (long long)op->number);
        break;
    case COMMAND_GET:
        add_row(out, op);
        break;
    case COMMAND_TOUCH: /* Not of a transaction. */
    case COMMAND_LEASE_GRANT:
    case COMMAND_LEASE_KEEP:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_EXPIRE:
        break;
    }
}

static void finish_txn(struct conn *conn, const struct node_result *result)
{
    enum { BODY_BYTES_KEPT = 1 << 20 };
    struct result_reader reader;
    struct result_op op;
    struct buf *body = &conn->api->body;
    if (!api_read_result(conn, result, &reader)) {
        return;
    }
    buf_printf(body, "{\"ok\":%s,\"index\":%llu,\"results\":[",
               reader.head.status == RESULT_THEN ? "true" : "false",
               (unsigned long long)reader.head.index);
    for (bool first = true; result_next(&reader, &op) == ERR_OK;
         first = false) {
        if (!first) {
            buf_add_u8(body, ',');
        }
        add_result(body, &op, reader.head.index);
    }
    buf_add_string(body, "]}\n");
    api_answer(conn, 200, "application/json", buf_bytes(body));
    if (body->capacity > BODY_BYTES_KEPT) {
        buf_free(body);
    }
}

static void submit_txn(struct parse *parse, const struct command_name *name)
{
    struct api *api = parse->conn->api;
    struct command_txn txn;
    struct command_writer none;
    if (!parse->seen[LIST_IF]) {
        command_list(&none, &api->lists[LIST_IF]);
        command_end(&none);
    }
    api->command.size = 0;
    command_txn(&txn, &api->command, name, parse->seen[LIST_ELSE]);
    if (parse->timed) {
        command_txn_timed(&txn);
    }
    for (int i = 0; i < LIST_COUNT; i++) {
        buf_add_bytes(&api->command, buf_bytes(&api->lists[i]));
    }
    api_sign(parse->conn, &txn, KIND_TXN);
    api_submit(parse->conn, finish_txn);
}

void api_on_txn(struct conn *conn, const struct http_request *request)
{
    enum { LIST_BYTES_KEPT = 1 << 20 };
    struct api *api = conn->api;
    struct command_name name;
    struct parse parse = {.conn = conn};
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    if (api_has_conditions(conn, request)) {
        api_answer_problem(conn, 400, "bad-request",
                           "the conditions of a transaction are in its \"if\"",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    for (int i = 0; i < LIST_COUNT; i++) {
        api->lists[i].size = 0;
    }
    api_json_init(&parse.reader, request);
    /* After it is applied, its results have to be sent, so there must be room
     * for them now. Transactions in progress are not counted: the size of their
     * results is not known. */
    if (read_txn(&parse) &&
        (!parse.reads || api_has_output_room(conn, RESULT_BYTES_MAX))) {
        submit_txn(&parse, &name);
    }
    for (int i = 0; i < LIST_COUNT; i++) {
        if (api->lists[i].capacity > LIST_BYTES_KEPT) {
            buf_free(&api->lists[i]);
        }
    }
}
