/* member_body.c -- the JSON of a member in the body of a request. */
#include "api/member_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "reactor/addr.h"
#include "json/json.h"

static bool take_text(struct bytes text, char *out, size_t room)
{
    if (text.size == 0 || text.size >= room || !text_is_word(text)) {
        return false;
    }
    memset(out, 0, room);
    memcpy(out, text.data, text.size);
    return true;
}

/* "host:port"; a missing host is localhost, as in hraftd. No other node can
 * dial "0.0.0.0", however it is spelled. */
static bool take_addr(struct bytes text, char out[RAFT_ADDR_BYTES])
{
    char copy[RAFT_ADDR_BYTES];
    char host[REACTOR_HOST_BYTES];
    char full[REACTOR_ADDR_BYTES];
    uint16_t port;
    if (!take_text(text, copy, sizeof(copy)) ||
        !addr_split(copy, host, &port) || port == 0 || addr_is_any(host)) {
        return false;
    }
    addr_join(host, port, full);
    size_t size = strlen(full);
    if (size >= RAFT_ADDR_BYTES) {
        return false;
    }
    memset(out, 0, RAFT_ADDR_BYTES);
    memcpy(out, full, size);
    return true;
}

static const char *const comes_twice = "a member is given twice";

/* Set the flag of a JSON member, which may come once. */
static bool is_first(bool *has)
{
    bool first = !*has;
    *has = true;
    return first;
}

static const char *take_member(struct member_body *body, struct bytes name,
                               enum json_token token, struct bytes text)
{
    struct raft_member *member = &body->member;
    if (bytes_equal_string(name, "voter") &&
        (token == JSON_TRUE || token == JSON_FALSE)) {
        member->suffrage = token == JSON_TRUE ? RAFT_LEARNER : RAFT_OBSERVER;
        return is_first(&body->has_voter) ? NULL : comes_twice;
    }
    if (bytes_equal_string(name, "replace") &&
        (token == JSON_TRUE || token == JSON_FALSE)) {
        body->replace = token == JSON_TRUE;
        return is_first(&body->has_replace) ? NULL : comes_twice;
    }
    if (token != JSON_STRING) {
        return "members are strings (voter, replace: true or false)";
    }
    if (bytes_equal_string(name, "id")) {
        return !is_first(&body->has_id) ? comes_twice
               : take_text(text, member->name, sizeof(member->name))
                   ? NULL
                   : "id has 1 to 63 visible characters";
    }
    if (bytes_equal_string(name, "addr")) {
        return !is_first(&body->has_addr) ? comes_twice
               : take_addr(text, member->addr)
                   ? NULL
                   : "addr is host:port of one machine";
    }
    if (bytes_equal_string(name, "http")) {
        return !is_first(&body->has_http) ? comes_twice
               : text.size == 0 || take_addr(text, member->http)
                   ? NULL
                   : "http is host:port of one machine";
    }
    if (bytes_equal_string(name, "uuid")) {
        return !is_first(&body->has_uuid) ? comes_twice
               : text_hex(text, member->uuid, sizeof(member->uuid))
                   ? NULL
                   : "uuid is 32 hexadecimal digits";
    }
    if (bytes_equal_string(name, "cluster")) {
        return !is_first(&body->has_cluster) ? comes_twice
               : text_hex(text, body->cluster, sizeof(body->cluster))
                   ? NULL
                   : "cluster is 32 hexadecimal digits";
    }
    return "an unknown member: there are id, addr, http, voter, replace, uuid "
           "and cluster";
}

const char *api_read_member(const struct http_request *request,
                            struct member_body *body)
{
    struct json_reader reader;
    enum json_token token;
    *body = (struct member_body){.member = {.suffrage = RAFT_LEARNER}};
    api_json_init(&reader, request);
    if (json_next(&reader) != JSON_OBJECT_BEGIN) {
        return "an object is expected";
    }
    while ((token = json_next(&reader)) == JSON_NAME) {
        struct bytes name = reader.text;
        token = json_next(&reader);
        if (token == JSON_ERROR) {
            return reader.why;
        }
        const char *wrong = take_member(body, name, token, reader.text);
        if (wrong) {
            return wrong;
        }
    }
    if (token != JSON_OBJECT_END || json_next(&reader) != JSON_END) {
        return reader.why ? reader.why : "the body is not one JSON object";
    }
    return NULL;
}
