/* routes.c -- path and method -> handler, and what handlers share. */
#include "api/api_internal.h"
#include "base/text.h"

enum { TIMEOUT_MS = 10000, TIMEOUT_MAX_MS = 60000 };

struct route {
    const char *path;
    bool below; /* Paths below it too. */
    void (*handler)(struct conn *conn, const struct http_request *request);
    const char *allow;
    enum route_group group;
};

static const struct route routes[] = {
    {"/key", true, on_key, "GET, HEAD, POST, PUT, DELETE, OPTIONS", ROUTE_KEY},
    {"/keys", false, on_list, "GET, HEAD, DELETE, OPTIONS", ROUTE_KEY},
    {"/txn", false, on_txn, "POST, OPTIONS", ROUTE_KEY},
    {"/status", false, on_status, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/livez", false, on_health, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/readyz", false, on_health, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/healthz", false, on_health, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/health", false, on_health, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/metrics", false, on_metrics, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/backup", false, on_backup, "GET, HEAD, OPTIONS", ROUTE_BACKUP},
    {"/restore", false, on_restore, "POST, OPTIONS", ROUTE_BACKUP},
    {"/join", false, on_join, "POST, OPTIONS", ROUTE_CLUSTER},
    {"/remove", false, on_remove, "DELETE, OPTIONS", ROUTE_CLUSTER},
    {"/nodes", false, on_nodes, "GET, HEAD, OPTIONS", ROUTE_CLUSTER},
    {"/nodes", true, on_nodes, "GET, HEAD, PUT, DELETE, OPTIONS",
     ROUTE_CLUSTER},
    {"/snapshot", false, on_snapshot, "POST, OPTIONS", ROUTE_CLUSTER},
    {"/sync", false, on_sync, "POST, OPTIONS", ROUTE_CLUSTER},
    {"/leader", false, on_leader, "GET, HEAD, POST, OPTIONS", ROUTE_CLUSTER},
    {"/api/v1/properties", false, on_properties,
     "GET, HEAD, POST, DELETE, OPTIONS", ROUTE_KEY},
    {"/api/v1/properties", true, on_properties,
     "GET, HEAD, PUT, DELETE, OPTIONS", ROUTE_KEY},
    {"/api/v1/settings", false, on_properties,
     "GET, HEAD, POST, DELETE, OPTIONS", ROUTE_KEY},
    {"/api/v1/settings", true, on_properties, "GET, HEAD, PUT, DELETE, OPTIONS",
     ROUTE_KEY},
    {"/api/v1/cluster/nodes", false, on_v1_nodes, "GET, HEAD, OPTIONS",
     ROUTE_CLUSTER},
    {"/api/v1/cluster/leader", false, on_leader, "GET, HEAD, POST, OPTIONS",
     ROUTE_CLUSTER},
    {"/api/v1/cluster/sync", false, on_sync, "POST, OPTIONS", ROUTE_CLUSTER},
    {"/api/v1/cluster/snapshot", false, on_snapshot, "POST, OPTIONS",
     ROUTE_CLUSTER},
    {"/api/v1/join", false, on_join, "POST, OPTIONS", ROUTE_CLUSTER},
    {"/api/v1", false, on_v1, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/api/v1/", false, on_v1, "GET, HEAD, OPTIONS", ROUTE_PROBE},
    {"/api/v1/openapi.yaml", false, on_v1, "GET, HEAD, OPTIONS", ROUTE_PROBE},
};

static bool is_below(struct bytes path, const char *root)
{
    size_t size = strlen(root);
    return path.size >= size && memcmp(path.data, root, size) == 0 &&
           (path.size == size || path.data[size] == '/');
}

static const struct route *find(struct bytes path)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (bytes_equal_string(path, routes[i].path) ||
            (routes[i].below && is_below(path, routes[i].path))) {
            return &routes[i];
        }
    }
    return NULL;
}

bool is_v1(const struct http_request *request)
{
    return is_below(request->path, "/api/v1");
}

static void options(struct conn *conn, const char *allow)
{
    http_add_header(&conn->api->headers, "Allow", bytes_of_string(allow));
    answer(conn, 204, NULL, (struct bytes){0});
}

void route(struct conn *conn, const struct http_request *request)
{
    const struct route *found = find(request->path);
    conn->group = found ? found->group : ROUTE_OTHER;
    if (!conn->api->node) {
        answer_problem(conn, 503, "starting", "the node is starting",
                       "not-applied");
    } else if (request->verb == HTTP_VERB_OTHER) {
        answer_problem(conn, 501, "unsupported-method",
                       "the method is not known here", "not-applied");
    } else if (request->of_server) {
        options(conn, "GET, HEAD, POST, PUT, DELETE, OPTIONS");
    } else if (!found) {
        answer_problem(conn, 404, "not-found", "there is no such path",
                       "not-applied");
    } else if (request->verb == HTTP_VERB_OPTIONS) {
        options(conn, found->allow);
    } else {
        found->handler(conn, request);
    }
}

bool route_refuses(struct conn *conn, const struct http_request *request)
{
    static const char *const names[] = {
        [HTTP_VERB_GET] = "GET",       [HTTP_VERB_HEAD] = "HEAD",
        [HTTP_VERB_POST] = "POST",     [HTTP_VERB_PUT] = "PUT",
        [HTTP_VERB_DELETE] = "DELETE", [HTTP_VERB_OPTIONS] = "OPTIONS",
    };
    const struct route *found = find(request->path);
    if (!conn->api->node || request->verb == HTTP_VERB_OTHER || !found) {
        route(conn, request); /* Which has no use for a body then. */
        return true;
    }
    conn->group = found->group;
    if (!strstr(found->allow, names[request->verb])) {
        not_allowed(conn, found->allow);
        return true;
    }
    return found->group == ROUTE_KEY && !is_get(request) &&
           write_refused(conn, request,
                         request->verb == HTTP_VERB_PUT &&
                             found->handler == on_key);
}

void not_allowed(struct conn *conn, const char *allow)
{
    http_add_header(&conn->api->headers, "Allow", bytes_of_string(allow));
    answer_problem(conn, 405, "method-not-allowed",
                   "the method is not allowed here", "not-applied");
}

bool flag(const struct http_request *request, const char *name)
{
    struct bytes value;
    return http_query(request->query, name, &value) &&
           !bytes_equal_string(value, "0") &&
           !bytes_equal_string(value, "false");
}

bool read_timeout(struct conn *conn, const struct http_request *request)
{
    struct bytes value;
    uint64_t ms = TIMEOUT_MS;
    if (http_query(request->query, "timeout", &value) &&
        !text_duration_ms(value, &ms)) {
        answer_problem(conn, 400, "bad-param",
                       "timeout is a duration such as 250ms or 5s",
                       "not-applied");
        return false;
    }
    conn->request.deadline_ms = conn->now_ms + min_u64(ms, TIMEOUT_MAX_MS);
    return true;
}

/* 307 keeps method and body (RFC 9110 15.4.8). */
bool redirected(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    if (request->query.size == 0 || !flag(request, "redirect") ||
        node_is_leader(api->node)) {
        return false;
    }
    const struct raft_member *leader = node_leader(api->node);
    if (!leader || leader->http[0] == '\0') {
        answer_problem(conn, 503, "no-leader", "no leader to redirect to",
                       "not-applied");
        return true;
    }
    buf_printf(&api->headers, "Location: http://%s", leader->http);
    buf_add_bytes(&api->headers, request->target);
    buf_add_string(&api->headers, "\r\n");
    answer(conn, 307, NULL, (struct bytes){0});
    return true;
}
