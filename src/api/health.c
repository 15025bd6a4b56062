/* health.c -- probes: is it alive, may it be asked. */
#include "api/api_internal.h"

static bool line(struct buf *out, bool ok, const char *what, const char *why)
{
    buf_printf(out, "[%c]%s %s\n", ok ? '+' : '-', what, ok ? "ok" : why);
    return ok;
}

static void ready(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct node_status status;
    node_get_status(api->node, &status);
    bool ok = line(&api->body, status.member && !api->stopping, "node",
                   api->stopping ? "stopping" : "no member of a cluster yet");
    if (!flag(request, "noleader")) {
        ok &= line(&api->body, node_leader(api->node) != NULL, "leader",
                   "no leader known");
    }
    ok &= line(&api->body, status.ready, "store", "not caught up yet");
    answer(conn, ok ? 200 : 503, "text/plain", buf_bytes(&api->body));
}

void on_health(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    if (!is_get(request)) {
        not_allowed(conn, "GET, HEAD, OPTIONS");
    } else if (bytes_equal_string(request->path, "/livez")) {
        answer(conn, 200, "text/plain", bytes_of_string("ok\n"));
    } else if (bytes_equal_string(request->path, "/health")) {
        bool ok = node_leader(api->node) != NULL;
        answer(conn, ok ? 200 : 503, "application/json",
               bytes_of_string(ok ? "{\"health\":\"true\"}\n"
                                  : "{\"health\":\"false\"}\n"));
    } else {
        ready(conn, request);
    }
}
