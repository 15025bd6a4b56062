/* routes.c -- path and method -> handler, and what handlers share.
 *
 * One table has the methods of each path and the parameters that each takes:
 * 405, OPTIONS and the refusal of parameters come from it, for requests whose
 * body has not come yet as for others. */

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/metrics_internal.h"
#include "api/params_internal.h"
#include "api/restore_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"

enum { TIMEOUT_MS = 10000, TIMEOUT_MAX_MS = 60000 };

/* The paths that a row is for. */
enum reach {
    ONLY,  /* The path itself. */
    BELOW, /* Paths that go on with a slash behind it. */
    BOTH,
};

/* A path has a row for each of its methods, or for several that take the same
 * parameters; the rows of one path stand together. */
struct route {
    const char *path;
    enum reach reach;
    uint8_t verbs;   /* Bits of enum http_verb. */
    uint64_t params; /* Bits of enum param; EVERYWHERE comes in addition. */
    struct gate_need need; /* By the rules of --auth. */
    void (*handler)(struct conn *conn, const struct http_request *request);
    enum route_group group;
};

#define VERB(name) (1u << HTTP_VERB_##name)
#define GET (VERB(GET) | VERB(HEAD))
#define POST VERB(POST)
#define PUT VERB(PUT)
#define DELETE VERB(DELETE)

#define P(name) (UINT64_C(1) << PARAM_##name)
#define NONE UINT64_C(0)
#define WRITE P(REDIRECT)
#define READ                                                                   \
    (P(LEVEL) | P(STALE) | P(CONSISTENT) | P(FRESHNESS) |                      \
     P(FRESHNESS_STRICT) | P(MIN_INDEX) | P(REDIRECT))
#define ENDS (P(TTL) | P(LEASE))
#define POLL (P(INDEX) | P(WAIT))
#define LIST                                                                   \
    (READ | P(PREFIX) | P(AFTER) | P(END) | P(LIMIT) | P(REVERSE) | P(KEYS) |  \
     P(SEPARATOR) | P(COUNT_ONLY) | P(FORMAT))
#define V1_LIST (READ | P(PATTERN) | P(LIMIT) | P(OFFSET))
#define NEED(perm, object)                                                     \
    {                                                                          \
        AUTH_##perm, GATE_##object                                             \
    }
/* Parameters of all routes. */
#define EVERYWHERE (P(TIMEOUT) | P(PRETTY))

static const struct route routes[] = {
    {"/key", BOTH, GET, READ | POLL | P(RAW) | P(META), NEED(READ, KEY),
     api_on_key, ROUTE_KEY},
    {"/key", BOTH, POST, WRITE | ENDS | P(CAS), NEED(WRITE, BODY), api_on_key,
     ROUTE_KEY},
    {"/key", BOTH, PUT, WRITE | ENDS | P(CAS), NEED(WRITE, KEY), api_on_key,
     ROUTE_KEY},
    {"/key", BOTH, DELETE, WRITE | P(CAS), NEED(WRITE, KEY), api_on_key,
     ROUTE_KEY},
    {"/ttl", BELOW, GET, READ, NEED(READ, KEY), api_on_ttl, ROUTE_KEY},
    {"/ttl", BELOW, PUT | POST, WRITE | P(TTL) | P(CAS), NEED(WRITE, KEY),
     api_on_ttl, ROUTE_KEY},
    {"/ttl", BELOW, DELETE, WRITE | P(CAS), NEED(WRITE, KEY), api_on_ttl,
     ROUTE_KEY},
    {"/lease", ONLY, GET, READ | P(AFTER) | P(LIMIT), NEED(LEASE, NODE),
     api_on_leases, ROUTE_KEY},
    {"/lease", ONLY, POST, WRITE | P(TTL), NEED(LEASE, NODE), api_on_leases,
     ROUTE_KEY},
    {"/lease", BELOW, GET, READ, NEED(LEASE, NODE), api_on_lease, ROUTE_KEY},
    {"/lease", BELOW, PUT | POST | DELETE, WRITE, NEED(LEASE, NODE),
     api_on_lease, ROUTE_KEY},
    {"/keys", ONLY, GET, LIST | POLL, NEED(READ, LIST), api_on_list, ROUTE_KEY},
    {"/keys", ONLY, DELETE, WRITE | P(PREFIX) | P(ALL), NEED(WRITE, PREFIX),
     api_on_list, ROUTE_KEY},
    {"/watch", ONLY, GET,
     P(PREFIX) | P(KEY) | P(EVENTS) | P(INITIAL) | P(SINCE) | P(FORMAT) |
         P(MIN_INDEX),
     NEED(READ, WATCH), api_on_watch, ROUTE_WATCH},
    {"/txn", ONLY, POST, WRITE, NEED(WRITE, TXN), api_on_txn, ROUTE_KEY},
    {"/status", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_status,
     ROUTE_PROBE},
    {"/hash", ONLY, GET, P(INDEX), NEED(STATUS, NODE), api_on_hash,
     ROUTE_PROBE},
    {"/whoami", ONLY, GET, NONE, NEED(PERM_NONE, ANYONE), api_on_whoami,
     ROUTE_PROBE},
    {"/ui", ONLY, GET, NONE, NEED(PERM_NONE, ANYONE), api_on_ui, ROUTE_OTHER},
    {"/livez", ONLY, GET, PARAMS_ANY, NEED(READY, NODE), api_on_health,
     ROUTE_PROBE},
    {"/readyz", ONLY, GET, PARAMS_ANY | P(NOLEADER) | P(SYNC),
     NEED(READY, NODE), api_on_health, ROUTE_PROBE},
    {"/healthz", ONLY, GET, PARAMS_ANY | P(NOLEADER) | P(SYNC),
     NEED(READY, NODE), api_on_health, ROUTE_PROBE},
    {"/health", ONLY, GET, PARAMS_ANY, NEED(READY, NODE), api_on_health,
     ROUTE_PROBE},
    {"/metrics", ONLY, GET, PARAMS_ANY, NEED(STATUS, NODE), api_on_metrics,
     ROUTE_PROBE},
    {"/backup", ONLY, GET, READ | P(FORMAT), NEED(BACKUP, NODE), api_on_backup,
     ROUTE_BACKUP},
    {"/export", ONLY, GET, READ | P(INDEX) | P(AFTER), NEED(READ, NODE),
     api_on_export, ROUTE_BACKUP},
    {"/restore", ONLY, POST, WRITE, NEED(LOAD, NODE), api_on_restore,
     ROUTE_BACKUP},
    {"/join", ONLY, POST, WRITE, NEED(JOIN, NODE), api_on_join, ROUTE_CLUSTER},
    {"/join/token", ONLY, POST, NONE, NEED(JOIN, NODE), api_on_join_token,
     ROUTE_CLUSTER},
    {"/remove", ONLY, DELETE, NONE, NEED(REMOVE, NODE), api_on_remove,
     ROUTE_CLUSTER},
    {"/nodes", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_nodes,
     ROUTE_CLUSTER},
    {"/nodes/", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_nodes,
     ROUTE_CLUSTER},
    {"/nodes", BELOW, GET, NONE, NEED(STATUS, NODE), api_on_nodes,
     ROUTE_CLUSTER},
    {"/nodes", BELOW, PUT, NONE, NEED(LEADER_OPS, NODE), api_on_nodes,
     ROUTE_CLUSTER},
    {"/nodes", BELOW, DELETE, NONE, NEED(REMOVE, NODE), api_on_nodes,
     ROUTE_CLUSTER},
    {"/snapshot", ONLY, POST, NONE, NEED(SNAPSHOT, NODE), api_on_snapshot,
     ROUTE_CLUSTER},
    {"/sync", ONLY, POST, P(NODES), NEED(LEADER_OPS, NODE), api_on_sync,
     ROUTE_CLUSTER},
    {"/leader", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_leader,
     ROUTE_CLUSTER},
    {"/leader", ONLY, POST, NONE, NEED(LEADER_OPS, NODE), api_on_leader,
     ROUTE_CLUSTER},
    {"/api/v1/properties", ONLY, GET, V1_LIST, NEED(READ, LIST),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/properties", ONLY, POST, WRITE, NEED(WRITE, BODY),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/properties", ONLY, DELETE, WRITE | P(PATTERN), NEED(WRITE, NODE),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/properties", BELOW, GET, READ, NEED(READ, KEY), api_on_properties,
     ROUTE_KEY},
    {"/api/v1/properties", BELOW, PUT | DELETE, WRITE | P(CAS),
     NEED(WRITE, KEY), api_on_properties, ROUTE_KEY},
    {"/api/v1/settings", ONLY, GET, V1_LIST, NEED(READ, LIST),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/settings", ONLY, POST, WRITE, NEED(WRITE, BODY),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/settings", ONLY, DELETE, WRITE | P(PATTERN), NEED(WRITE, NODE),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/settings", BELOW, GET, READ, NEED(READ, KEY), api_on_properties,
     ROUTE_KEY},
    {"/api/v1/settings", BELOW, PUT | DELETE, WRITE | P(CAS), NEED(WRITE, KEY),
     api_on_properties, ROUTE_KEY},
    {"/api/v1/cluster/nodes", ONLY, GET, P(STATUS), NEED(STATUS, NODE),
     api_on_v1_nodes, ROUTE_CLUSTER},
    {"/api/v1/cluster/leader", ONLY, GET, NONE, NEED(STATUS, NODE),
     api_on_leader, ROUTE_CLUSTER},
    {"/api/v1/cluster/leader", ONLY, POST, NONE, NEED(LEADER_OPS, NODE),
     api_on_leader, ROUTE_CLUSTER},
    {"/api/v1/cluster/sync", ONLY, POST, P(NODES), NEED(LEADER_OPS, NODE),
     api_on_sync, ROUTE_CLUSTER},
    {"/api/v1/cluster/snapshot", ONLY, POST, NONE, NEED(SNAPSHOT, NODE),
     api_on_snapshot, ROUTE_CLUSTER},
    {"/api/v1/join", ONLY, POST, WRITE, NEED(JOIN, NODE), api_on_join,
     ROUTE_CLUSTER},
    {"/api/v1", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_v1, ROUTE_PROBE},
    {"/api/v1/", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_v1, ROUTE_PROBE},
    {"/api/v1/openapi.yaml", ONLY, GET, NONE, NEED(STATUS, NODE), api_on_v1,
     ROUTE_PROBE},
};

/* ---- finding one ---- */

static bool is_below(struct bytes path, const char *root)
{
    size_t size = strlen(root);
    return path.size > size && memcmp(path.data, root, size) == 0 &&
           path.data[size] == '/';
}

static bool is_for(const struct route *route, struct bytes path)
{
    return (route->reach != BELOW && bytes_equal_string(path, route->path)) ||
           (route->reach != ONLY && is_below(path, route->path));
}

/* The row for this path and verb. NULL: there is none. `verbs` is set to those
 * of the path, 0 when it is no path of ours; `group` to that of the path. When
 * rows of several paths match, the first one decides. */
static const struct route *find(struct bytes path, enum http_verb verb,
                                unsigned *verbs, enum route_group *group)
{
    const struct route *end = routes + ARRAY_COUNT(routes);
    const struct route *first = routes;
    const struct route *found = NULL;
    *verbs = 0;
    while (first < end && !is_for(first, path)) {
        first++;
    }
    *group = first < end ? first->group : ROUTE_OTHER;
    for (const struct route *row = first;
         row < end && row->reach == first->reach &&
         strcmp(row->path, first->path) == 0;
         row++) {
        *verbs |= row->verbs;
        if (row->verbs >> verb & 1) {
            found = row;
        }
    }
    return found;
}

/* The same for a request. The root is the page for a browser, and no path for
 * others; with --no-ui there is no page. */
static const struct route *find_for(const struct conn *conn,
                                    const struct http_request *request,
                                    unsigned *verbs, enum route_group *group)
{
    struct bytes path = request->path;
    if (is_get(request) && bytes_equal_string(path, "/") &&
        api_accepts_page(request)) {
        path = bytes_of_string("/ui");
    }
    if (!conn->api->options.has_ui && bytes_equal_string(path, "/ui")) {
        path = (struct bytes){0};
    }
    return find(path, request->verb, verbs, group);
}

bool api_route_streams(const struct http_request *request)
{
    unsigned verbs;
    enum route_group group;
    if (request->verb != HTTP_VERB_POST) {
        return false; /* No search for most requests. */
    }
    const struct route *found =
        find(request->path, request->verb, &verbs, &group);
    return found && found->handler == api_on_restore;
}

bool api_is_v1(const struct http_request *request)
{
    static const char root[] = "/api/v1";
    return bytes_equal_string(request->path, root) ||
           is_below(request->path, root);
}

/* ---- before the handler ---- */

/* "GET, HEAD, OPTIONS" */
static void add_allow(struct conn *conn, unsigned verbs)
{
    struct buf *headers = &conn->api->headers;
    buf_add_string(headers, "Allow: ");
    for (unsigned i = 0; i < HTTP_VERB_OTHER; i++) {
        if (verbs >> i & 1) {
            buf_add_string(headers, api_verb_name((enum http_verb)i));
            buf_add_string(headers, i == HTTP_VERB_OPTIONS ? "" : ", ");
        }
    }
    buf_add_string(headers, "\r\n");
}

/* Answer OPTIONS with the methods of the path or the server, other methods with
 * 405. */
static void answer_verbs(struct conn *conn, enum http_verb verb, unsigned verbs)
{
    add_allow(conn, verbs | VERB(OPTIONS));
    if (verb == HTTP_VERB_OPTIONS) {
        api_answer(conn, 204, NULL, (struct bytes){0});
    } else {
        api_answer_problem(conn, 405, "method-not-allowed",
                           "the path does not take this method: see Allow",
                           OUTCOME_NOT_APPLIED);
    }
}

/* Returns whether the sender may not ask this: the page that asks (browser.c),
 * or the user (gate.c). `found` NULL: it has no route. True: answered. */
static bool is_forbidden(struct conn *conn, const struct http_request *request,
                         const struct route *found)
{
    bool is_probe = found && found->handler == api_on_health;
    if (api_browser_refused(conn, request, is_probe)) {
        return true;
    }
    if (request->verb == HTTP_VERB_OPTIONS && conn->answer.origin.size > 0) {
        return false; /* A preflight has no credentials (Fetch 4.8). */
    }
    return found && !request->of_server
               ? api_gate_refused(conn, request, found->path, &found->need)
               : api_gate_refused_stranger(conn);
}

/* The row of a request that may be handled. NULL: it may not, and has been
 * answered. Every request passes here before its handler, including one whose
 * body has not come yet. */
static const struct route *admit(struct conn *conn,
                                 const struct http_request *request)
{
    unsigned verbs;
    const struct route *found =
        find_for(conn, request, &verbs, &conn->request.group);
    if (is_forbidden(conn, request, found)) {
        return NULL;
    }
    if (conn->place.is_guest && conn->request.group != ROUTE_PROBE) {
        api_conn_refuse_guest(conn);
    } else if (!conn->api->node) {
        api_answer_problem(conn, 503, "starting", "the node is starting",
                           OUTCOME_NOT_APPLIED);
    } else if (request->of_server) {
        answer_verbs(conn, request->verb, GET | POST | PUT | DELETE);
    } else if (verbs == 0) {
        api_answer_problem(conn, 404, "not-found", "there is no such path",
                           OUTCOME_NOT_APPLIED);
    } else if (!found) {
        answer_verbs(conn, request->verb, verbs);
    } else {
        return api_params_refused(conn, found->params | EVERYWHERE, found->path)
                   ? NULL
                   : found;
    }
    return NULL;
}

void api_route(struct conn *conn, const struct http_request *request)
{
    const struct route *found = admit(conn, request);
    if (found) {
        found->handler(conn, request);
    }
}

bool api_route_forbids(struct conn *conn, const struct http_request *request)
{
    unsigned verbs;
    enum route_group group;
    const struct route *found = find_for(conn, request, &verbs, &group);
    return is_forbidden(conn, request, found);
}

bool api_route_refuses(struct conn *conn, const struct http_request *request)
{
    const struct route *found = admit(conn, request);
    if (!found) {
        return true;
    }
    return found->group == ROUTE_KEY && !is_get(request) &&
           api_write_refused(conn, request,
                             request->verb == HTTP_VERB_PUT &&
                                 found->handler == api_on_key);
}

/* ---- what handlers share ---- */

bool api_read_timeout(struct conn *conn)
{
    struct bytes value;
    uint64_t ms = TIMEOUT_MS;
    if (api_get_param(conn, PARAM_TIMEOUT, &value) &&
        !text_duration_ms(value, &ms)) {
        api_answer_problem(conn, 400, "bad-param",
                           "timeout is a duration such as 250ms or 5s",
                           OUTCOME_NOT_APPLIED);
        return false;
    }
    conn->request.call.deadline_ms =
        conn->request.start_ms + min_u64(ms, TIMEOUT_MAX_MS);
    return true;
}

/* 307 keeps method and body (RFC 9110 15.4.8). */
bool api_redirected(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    if (!api_flag(conn, PARAM_REDIRECT) || node_is_leader(api->node)) {
        return false;
    }
    const struct raft_member *leader = node_leader(api->node);
    if (leader && leader->http[0] == '\0') {
        api_answer_problem(
            conn, 503, "no-address",
            "the leader has no HTTP address over TCP to redirect "
            "to; without redirect this node forwards the request",
            OUTCOME_NOT_APPLIED);
        return true;
    }
    if (!leader) {
        api_answer_problem(conn, 503, "no-leader", "no leader to redirect to",
                           OUTCOME_NOT_APPLIED);
        return true;
    }
    buf_printf(&api->headers, "Location: http://%s", leader->http);
    buf_add_bytes(&api->headers, request->target);
    buf_add_string(&api->headers, "\r\n");
    api_answer(conn, 307, NULL, (struct bytes){0});
    return true;
}
