/* cluster.c -- members: /join, /status, /nodes, /remove, /leader.
 *
 * Changes are made by the leader; any node takes them and passes them on. A
 * name is looked up in what this node knows, and only if it is not there a
 * second time when this node knows all that the leader knows. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "base/histogram.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"
#include "json/json.h"

#define U(x) ((unsigned long long)(x))

/* ---- writing JSON
 * ------------------------------------------------------------ */

static void add_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "\"%s\":", name);
    json_add_string(out, bytes_of_string(value));
}

static void add_who(struct buf *out, const char *id, const char *address)
{
    buf_add_u8(out, '{');
    add_text(out, "id", id);
    buf_add_u8(out, ',');
    add_text(out, "address", address);
    buf_add_u8(out, '}');
}

static const char *suffrage_name(enum raft_suffrage suffrage)
{
    return suffrage == RAFT_VOTER     ? "voter"
           : suffrage == RAFT_LEARNER ? "learner"
                                      : "non-voter";
}

static bool reachable(const struct api *api, const struct node_status *status,
                      raft_id id)
{
    return id == status->raft.self ||
           api->options.peer_up(api->options.arg, id);
}

static const struct raft_peer_status *
progress_of(const struct node_status *status, raft_id id)
{
    for (uint32_t i = 0; i < status->raft.peer_count; i++) {
        if (status->raft.peers[i].id == id) {
            return &status->raft.peers[i];
        }
    }
    return NULL;
}

/* A client may name any address in POST /join, and would learn from the reason
 * whether somebody listens there. So there is none for members that have not
 * shown yet to be ours, by having a vote or a part of the log; the log of this
 * node has it. */
const char *api_peer_trouble(const struct api *api,
                             const struct node_status *status,
                             const struct raft_member *member)
{
    const char *why = api->options.peer_error(api->options.arg, member->id);
    const struct raft_peer_status *peer = progress_of(status, member->id);
    bool proven = member->suffrage == RAFT_VOTER || (peer && peer->match > 0);
    return proven || !why[0] ? why : "not reached yet";
}

/* ---- /status
 * ------------------------------------------------------------------- */

static void add_peers(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    const char *comma = "";
    buf_add_string(out, "\"peers\":[");
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        const struct raft_peer_status *peer = progress_of(status, member->id);
        if (member->id == status->raft.self) {
            continue;
        }
        buf_printf(out, "%s{", comma);
        comma = ",";
        add_text(out, "id", member->name);
        buf_add_u8(out, ',');
        add_text(out, "address", member->addr);
        buf_printf(out, ",\"role\":\"%s\"", suffrage_name(member->suffrage));
        if (peer) {
            buf_printf(out, ",\"match\":%llu,\"lag\":%llu,\"rtt_ms\":%llu",
                       U(peer->match), U(status->raft.last - peer->match),
                       U(peer->rtt_ms));
        }
        buf_printf(out, ",\"reachable\":%s,",
                   reachable(api, status, member->id) ? "true" : "false");
        add_text(out, "last_error", api_peer_trouble(api, status, member));
        buf_add_u8(out, '}');
    }
    buf_add_string(out, "]");
}

/* hraftd: everyone but the leader. */
static void add_followers(struct buf *out, const struct node_status *status,
                          const struct raft_member *leader)
{
    const char *comma = "";
    buf_add_string(out, "\"followers\":[");
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        if (leader && member->id == leader->id) {
            continue;
        }
        buf_add_string(out, comma);
        add_who(out, member->name, member->addr);
        comma = ",";
    }
    buf_add_string(out, "]");
}

static void add_engine(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    buf_printf(out,
               "\"role\":\"%s\",\"term\":%llu,\"commit\":%llu,"
               "\"applied\":%llu,\"last_log\":%llu,\"cluster\":\"",
               raft_role_name(status->raft.role), U(status->raft.term),
               U(status->raft.commit), U(status->applied),
               U(status->raft.last));
    text_add_hex(out, status->cluster, sizeof(status->cluster));
    buf_printf(out,
               "\",\"version\":\"%s\",\"sqlite\":\"%s\",\"api_version\":1,",
               api->options.version, status->sqlite_version);
    buf_printf(out, "\"hash\":\"%016llx\",\"keys\":%llu,\"ready\":%s,",
               U(status->hash), U(status->keys),
               status->ready ? "true" : "false");
}

static void add_storage(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    const struct histogram *syncs = node_sync_times(api->node);
    uint64_t p99_us = syncs ? histogram_quantile(syncs, 990) : 0;
    p99_us = min_u64(p99_us, status->sync_us_max);
    buf_printf(out,
               ",\"storage\":{\"db_bytes\":%llu,\"log_bytes\":%llu,"
               "\"written_bytes\":%llu,\"syncs\":%llu,\"sync_us_max\":%llu,"
               "\"fsync_p99_ms\":%llu.%llu,"
               "\"writes\":%llu,\"no_space\":%s,\"quota_bytes\":%llu,"
               "\"turn_ms_max\":%llu}",
               U(status->db_bytes), U(status->log_bytes),
               U(status->written_bytes), U(status->syncs),
               U(status->sync_us_max), U(p99_us / 1000), U(p99_us / 100 % 10),
               U(status->writes),
               status->no_space || status->over_quota ? "true" : "false",
               U(api->options.db_bytes_max),
               U(reactor_turn_max_ms(api->options.reactor)));
    buf_printf(out,
               ",\"limits\":{\"key\":1024,\"value\":%llu,\"body\":%llu,"
               "\"txn_ops\":%d,\"connections\":%u},\"hints\":[",
               U(api->options.value_bytes_max), U(api->options.body_bytes_max),
               TXN_OPS_MAX, api->options.conns_max);
    api_add_hints(api, status);
    buf_add_string(out, "]}\n");
}

static const char *own_address(const struct node_status *status)
{
    const struct raft_member *self =
        raft_conf_find(status->conf, status->raft.self);
    return self ? self->addr : "";
}

void api_on_status(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct node_status status;
    (void)request;
    node_get_status(api->node, &status);
    const struct raft_member *leader = node_leader(api->node);
    buf_add_string(&api->body, "{\"me\":");
    add_who(&api->body, status.name, own_address(&status));
    buf_add_string(&api->body, ",\"leader\":");
    add_who(&api->body, leader ? leader->name : "", leader ? leader->addr : "");
    buf_add_u8(&api->body, ',');
    add_followers(&api->body, &status, leader);
    buf_add_u8(&api->body, ',');
    add_engine(api, &status);
    add_peers(api, &status);
    add_storage(api, &status);
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

/* ---- one member
 * ------------------------------------------------------------ */

static const struct raft_member *member_named(struct conn *conn,
                                              struct bytes name)
{
    struct node_status status;
    node_get_status(conn->api->node, &status);
    for (uint32_t i = 0; i < status.conf->count; i++) {
        if (bytes_equal_string(name, status.conf->members[i].name)) {
            return &status.conf->members[i];
        }
    }
    return NULL;
}

/* Answer that no member has the name in conn->request.key. */
static void no_member(struct conn *conn)
{
    api_answer_no_such(conn, "member", OUTCOME_NOT_APPLIED);
}

static void add_node(struct api *api, const struct node_status *status,
                     const struct raft_member *member)
{
    struct buf *out = &api->body;
    const struct raft_member *leader = node_leader(api->node);
    buf_add_u8(out, '{');
    add_text(out, "id", member->name);
    buf_add_u8(out, ',');
    add_text(out, "address", member->addr);
    buf_add_u8(out, ',');
    add_text(out, "http", member->http);
    buf_printf(out,
               ",\"number\":%llu,\"role\":\"%s\",\"voter\":%s,"
               "\"leader\":%s,\"reachable\":%s",
               U(member->id), suffrage_name(member->suffrage),
               member->suffrage == RAFT_VOTER ? "true" : "false",
               leader && leader->id == member->id ? "true" : "false",
               reachable(api, status, member->id) ? "true" : "false");
    const struct raft_peer_status *peer = progress_of(status, member->id);
    if (peer) {
        buf_printf(out, ",\"match\":%llu,\"lag\":%llu,\"rtt_ms\":%llu",
                   U(peer->match), U(status->raft.last - peer->match),
                   U(peer->rtt_ms));
    }
    if (member->id != status->raft.self) {
        buf_add_u8(out, ',');
        add_text(out, "last_error", api_peer_trouble(api, status, member));
    }
    buf_add_u8(out, '}');
}

/* ---- bodies
 * ------------------------------------------------------------------------ */

struct fields {
    struct raft_member member;
    uint8_t cluster[16];
    bool has_id;
    bool has_addr;
    bool has_cluster;
    bool has_voter;
    bool has_http;
    bool has_uuid;
    bool has_replace;
    bool replace; /* /join: who is at that address may go. */
};

static bool take_text(struct bytes text, char *out, size_t room)
{
    if (text.size == 0 || text.size >= room || !text_is_word(text)) {
        return false;
    }
    memset(out, 0, room);
    memcpy(out, text.data, text.size);
    return true;
}

/* "host:port"; a missing host is localhost, as in hraftd. "0.0.0.0" in all its
 * spellings is no place where others find somebody. */
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

static const char *const comes_twice = "a member comes twice";

/* A flag or the text of a member that may come once. */
static bool is_first(bool *has)
{
    bool first = !*has;
    *has = true;
    return first;
}

static const char *take_member(struct fields *fields, struct bytes name,
                               enum json_token token, struct bytes text)
{
    struct raft_member *member = &fields->member;
    if (bytes_equal_string(name, "voter") &&
        (token == JSON_TRUE || token == JSON_FALSE)) {
        member->suffrage = token == JSON_TRUE ? RAFT_LEARNER : RAFT_OBSERVER;
        return is_first(&fields->has_voter) ? NULL : comes_twice;
    }
    if (bytes_equal_string(name, "replace") &&
        (token == JSON_TRUE || token == JSON_FALSE)) {
        fields->replace = token == JSON_TRUE;
        return is_first(&fields->has_replace) ? NULL : comes_twice;
    }
    if (token != JSON_STRING) {
        return "members are strings (voter, replace: true or false)";
    }
    if (bytes_equal_string(name, "id")) {
        return !is_first(&fields->has_id) ? comes_twice
               : take_text(text, member->name, sizeof(member->name))
                   ? NULL
                   : "id has 1 to 63 visible characters";
    }
    if (bytes_equal_string(name, "addr")) {
        return !is_first(&fields->has_addr) ? comes_twice
               : take_addr(text, member->addr)
                   ? NULL
                   : "addr is host:port of one machine";
    }
    if (bytes_equal_string(name, "http")) {
        return !is_first(&fields->has_http) ? comes_twice
               : text.size == 0 || take_addr(text, member->http)
                   ? NULL
                   : "http is host:port of one machine";
    }
    if (bytes_equal_string(name, "uuid")) {
        return !is_first(&fields->has_uuid) ? comes_twice
               : text_hex(text, member->uuid, sizeof(member->uuid))
                   ? NULL
                   : "uuid is 32 hexadecimal digits";
    }
    if (bytes_equal_string(name, "cluster")) {
        return !is_first(&fields->has_cluster) ? comes_twice
               : text_hex(text, fields->cluster, sizeof(fields->cluster))
                   ? NULL
                   : "cluster is 32 hexadecimal digits";
    }
    return "a member that is not known here: there are id, addr, http, voter, "
           "replace, uuid and cluster";
}

/* The object in the body; NULL or what is wrong with it. */
static const char *read_fields(const struct http_request *request,
                               struct fields *fields)
{
    struct json_reader reader;
    enum json_token token;
    *fields = (struct fields){.member = {.suffrage = RAFT_LEARNER}};
    json_init(&reader, (uint8_t *)(uintptr_t)request->body.data,
              request->body.size);
    if (json_next(&reader) != JSON_OBJECT_BEGIN) {
        return "an object is expected";
    }
    while ((token = json_next(&reader)) == JSON_NAME) {
        struct bytes name = reader.text;
        token = json_next(&reader);
        if (token == JSON_ERROR) {
            return reader.why;
        }
        const char *wrong = take_member(fields, name, token, reader.text);
        if (wrong) {
            return wrong;
        }
    }
    if (token != JSON_OBJECT_END || json_next(&reader) != JSON_END) {
        return reader.why ? reader.why : "not an object";
    }
    return NULL;
}

/* An answer names the member that was asked for. */
static void keep_asked(struct conn *conn, const struct fields *fields)
{
    conn->request.key.size = 0;
    buf_add_string(&conn->request.key, fields->member.name);
}

/* With a proof for the one who asks, whose id this node does not know: there is
 * nobody of that name in a membership that came after it was added. */
static void no_member_any_more(struct conn *conn, const char *name)
{
    char members[64] = "";
    uint64_t index;
    if (node_has_removed(conn->api->node, name, &index)) {
        snprintf(members, sizeof(members), ",\"membership_index\":%llu",
                 U(index));
    }
    api_answer_problem_with(conn, 404, "not-found", "there is no such member",
                            OUTCOME_NOT_APPLIED, members);
}

/* A node that names its cluster is a member already, and reports where it is
 * now. */
static void on_moved(struct conn *conn, const struct fields *fields)
{
    struct node_status status;
    struct raft_member member = fields->member;
    node_get_status(conn->api->node, &status);
    if (!status.member ||
        memcmp(status.cluster, fields->cluster, sizeof(status.cluster)) != 0) {
        api_answer_problem(conn, 409, "other-cluster",
                           "this node belongs to another cluster",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    const struct raft_member *known =
        member_named(conn, bytes_of_string(member.name));
    if (!known) {
        no_member_any_more(conn, member.name);
        return;
    }
    member.id = known->id;
    conn->request.finish = api_finish_plain;
    conn->busy = true;
    node_moved(conn->api->node, &conn->request.call, &member);
}

/* `addr` is the address that the request is about; empty: none. */
static void finish_change(struct conn *conn, const struct node_result *result,
                          const char *addr)
{
    conn->api->headers.size = 0;
    if (result->refusal != NODE_REFUSED_OTHERWISE) {
        api_answer_refusal(conn, result, bytes_of_string(addr));
    } else {
        api_finish_plain(conn, result);
    }
}

/* What craftd's own joiner wants to know beyond hraftd's empty 200: whose
 * member it is now, and that nobody gets through to it. Why not is left out:
 * the address is whatever a client said. */
static void add_join_headers(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_status status;
    struct buf hex = {0};
    node_get_status(api->node, &status);
    text_add_hex(&hex, status.cluster, sizeof(status.cluster));
    http_add_header(&api->headers, "Craftd-Cluster", buf_bytes(&hex));
    buf_free(&hex);
    const struct raft_member *member =
        member_named(conn, buf_bytes(&conn->request.key));
    if (member && !reachable(api, &status, member->id) &&
        api->options.peer_error(api->options.arg, member->id)[0] != '\0') {
        http_add_header(&api->headers, "Craftd-Unreached",
                        bytes_of_string(member->addr));
    }
}

static void finish_join(struct conn *conn, const struct node_result *result)
{
    if (result->outcome != NODE_OK) {
        finish_change(conn, result, conn->state.join.addr);
        return;
    }
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    conn->answer.index = result->index;
    add_join_headers(conn);
    api_answer(conn, 200, NULL, (struct bytes){0});
}

/* A node that waits to be added cannot add others, nor know when it can. */
static bool is_joining(const struct api *api)
{
    return !node_is_member(api->node) && !node_foreign(api->node) &&
           node_bootstrap_in_ms(api->node) == 0;
}

void api_on_join(struct conn *conn, const struct http_request *request)
{
    struct fields fields;
    if (!api_read_timeout(conn) || api_redirected(conn, request)) {
        return;
    }
    const char *wrong = read_fields(request, &fields);
    if (!wrong && (!fields.has_id || !fields.has_addr)) {
        wrong = "id and addr are needed";
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    if (fields.has_cluster) {
        on_moved(conn, &fields);
        return;
    }
    if (is_joining(conn->api)) {
        api_answer_problem(conn, 503, "starting",
                           "this node waits to join a cluster itself",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    keep_asked(conn, &fields);
    memcpy(conn->state.join.addr, fields.member.addr, RAFT_ADDR_BYTES);
    conn->request.finish = finish_join;
    conn->busy = true;
    fields.member.id = fields.replace ? NODE_JOIN_REPLACE : 0;
    node_join(conn->api->node, &conn->request.call, &fields.member);
}

/* ---- changes of one member
 * ------------------------------------------------------ */

static void finish_leader(struct conn *conn, const struct node_result *result);

static void act_on(struct conn *conn, const struct raft_member *member)
{
    struct node *node = conn->api->node;
    conn->busy = true;
    conn->request.finish =
        conn->state.member.act == ACT_LEAD ? finish_leader : api_finish_plain;
    switch (conn->state.member.act) {
    case ACT_REMOVE:
        node_remove(node, &conn->request.call, member->id);
        break;
    case ACT_PROMOTE:
        node_set_voter(node, &conn->request.call, member->id, true);
        break;
    case ACT_DEMOTE:
        node_set_voter(node, &conn->request.call, member->id, false);
        break;
    case ACT_LEAD:
        node_transfer(node, &conn->request.call, member->id);
        break;
    }
}

/* This node knows all that the leader knew: look again. */
static void finish_lookup(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    const struct raft_member *member =
        member_named(conn, buf_bytes(&conn->request.key));
    if (result->outcome != NODE_OK) {
        api_answer_outcome(conn, result);
    } else if (!member) {
        no_member(conn);
    } else {
        act_on(conn, member);
    }
}

/* On the member whose name is in conn->request.key. */
static void act(struct conn *conn, enum member_act what)
{
    const struct raft_member *member =
        member_named(conn, buf_bytes(&conn->request.key));
    conn->state.member.act = what;
    if (member) {
        act_on(conn, member);
        return;
    }
    conn->request.finish = finish_lookup;
    conn->busy = true;
    node_read(conn->api->node, &conn->request.call);
}

static void put_node(struct conn *conn, const struct http_request *request)
{
    struct fields fields;
    const char *wrong = read_fields(request, &fields);
    if (!wrong && (!fields.has_voter || fields.has_id || fields.has_addr ||
                   fields.has_http || fields.has_replace)) {
        wrong = "{\"voter\":true} or {\"voter\":false} is expected";
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    act(conn,
        fields.member.suffrage == RAFT_LEARNER ? ACT_PROMOTE : ACT_DEMOTE);
}

/* All behind "/nodes/", percent-decoded, into conn->request.key. */
static bool read_member_name(struct conn *conn, struct bytes path)
{
    const size_t prefix = strlen("/nodes/");
    conn->request.key.size = 0;
    if (path.size <= prefix) {
        return true; /* All of them. */
    }
    struct bytes raw = bytes_of(path.data + prefix, path.size - prefix);
    uint8_t *name = buf_reserve(&conn->request.key, raw.size);
    return http_percent_decode(raw, name, &conn->request.key.size);
}

static void get_node(struct conn *conn)
{
    struct node_status status;
    const struct raft_member *member =
        member_named(conn, buf_bytes(&conn->request.key));
    if (!member) {
        no_member(conn);
        return;
    }
    node_get_status(conn->api->node, &status);
    add_node(conn->api, &status, member);
    buf_add_u8(&conn->api->body, '\n');
    api_answer(conn, 200, "application/json", buf_bytes(&conn->api->body));
}

static void get_nodes(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_status status;
    node_get_status(api->node, &status);
    buf_add_u8(&api->body, '[');
    for (uint32_t i = 0; i < status.conf->count; i++) {
        buf_add_string(&api->body, i > 0 ? "," : "");
        add_node(api, &status, &status.conf->members[i]);
    }
    buf_add_string(&api->body, "]\n");
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

void api_on_nodes(struct conn *conn, const struct http_request *request)
{
    if (!api_read_timeout(conn)) {
        return;
    }
    if (!read_member_name(conn, request->path)) {
        no_member(conn);
        return;
    }
    bool one = conn->request.key.size > 0;
    if (is_get(request) && one) {
        get_node(conn);
    } else if (is_get(request)) {
        get_nodes(conn);
    } else if (request->verb == HTTP_VERB_DELETE) {
        act(conn, ACT_REMOVE);
    } else {
        put_node(conn, request);
    }
}

void api_on_remove(struct conn *conn, const struct http_request *request)
{
    struct fields fields;
    if (!api_read_timeout(conn)) {
        return;
    }
    const char *wrong = read_fields(request, &fields);
    if (wrong || !fields.has_id) {
        api_answer_problem(conn, 400, "bad-json",
                           wrong ? wrong : "id is needed", OUTCOME_NOT_APPLIED);
        return;
    }
    keep_asked(conn, &fields);
    act(conn, ACT_REMOVE);
}

static void show_leader(struct conn *conn)
{
    struct api *api = conn->api;
    const struct raft_member *leader = node_leader(api->node);
    if (!leader) {
        api_answer_problem(conn, 503, "no-leader", "no leader is known",
                           OUTCOME_NONE);
        return;
    }
    buf_add_u8(&api->body, '{');
    add_text(&api->body, "id", leader->name);
    buf_add_u8(&api->body, ',');
    add_text(&api->body, "address", leader->addr);
    buf_add_u8(&api->body, ',');
    add_text(&api->body, "http", leader->http);
    buf_add_string(&api->body, "}\n");
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

static void nobody_leads(struct conn *conn, const char *message)
{
    api_answer_problem(conn, 504, "commit-timeout", message, OUTCOME_UNKNOWN);
}

static void finish_new_leader(struct conn *conn,
                              const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        show_leader(conn);
    } else {
        nobody_leads(conn, "leadership was handed over; nobody has been heard "
                           "to lead yet");
    }
}

/* It was handed over. Done is it when this node hears of the new leader, and
 * that one can answer a read. */
static void finish_leader(struct conn *conn, const struct node_result *result)
{
    if (result->outcome == NODE_UNKNOWN && !result->link_down) {
        conn->api->body.size = 0;
        conn->api->headers.size = 0;
        nobody_leads(conn, "the leader leads no longer, and nobody has been "
                           "heard to take over");
        return;
    }
    if (result->outcome != NODE_OK) {
        finish_change(conn, result, "");
        return;
    }
    conn->request.finish = finish_new_leader;
    node_read(conn->api->node, &conn->request.call);
}

void api_on_leader(struct conn *conn, const struct http_request *request)
{
    struct fields fields = {0};
    if (is_get(request)) {
        show_leader(conn);
        return;
    }
    if (!api_read_timeout(conn)) {
        return;
    }
    const char *wrong =
        request->body.size > 0 ? read_fields(request, &fields) : NULL;
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    if (fields.has_id) {
        keep_asked(conn, &fields);
        act(conn, ACT_LEAD);
        return;
    }
    conn->request.finish = finish_leader;
    conn->busy = true;
    node_transfer(conn->api->node, &conn->request.call, 0);
}
