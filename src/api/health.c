/* health.c -- probes: whether the process is alive, and ready for requests. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "http/http.h"
#include "node/node.h"

static bool line(struct buf *out, bool ok, const char *what, const char *why)
{
    buf_printf(out, "[%c]%s %s\n", ok ? '+' : '-', what, ok ? "ok" : why);
    return ok;
}

static const char *why_no_member(struct api *api,
                                 const struct node_status *status)
{
    if (api->stopping) {
        return "stopping";
    }
    if (status->removed_index) {
        return api_removed_text(api, status);
    }
    return node_bootstrap_in_ms(api->node) > 0
               ? "listens before it bootstraps a cluster"
               : "no member of a cluster yet";
}

/* `synced`: whether this node is up to date; NULL without ?sync. */
static void answer_ready(struct conn *conn, const bool *synced)
{
    struct api *api = conn->api;
    struct node_status status;
    node_get_status(api->node, &status);
    bool ok = line(&api->body,
                   status.member && !api->stopping && !status.removed_index,
                   "node", why_no_member(api, &status));
    if (node_foreign(api->node)) {
        ok &= line(&api->body, false, "cluster",
                   "another cluster counts this node as its member");
    }
    if (!conn->state.ready.noleader) {
        ok &= line(&api->body, node_leader(api->node) != NULL, "leader",
                   "no leader known");
    }
    bool contradicts = node_contradiction(api->node) != NULL;
    ok &= line(&api->body, status.ready && !contradicts, "store",
               contradicts ? "contradicts the cluster: see hints in /status"
                           : "not caught up yet");
    if (synced) {
        ok &= line(&api->body, *synced, "sync",
                   "behind, or no leader to confirm otherwise");
    }
    if (!ok) {
        buf_add_string(&api->headers, "Retry-After: 1\r\n");
    }
    api_answer(conn, ok ? 200 : 503, "text/plain", buf_bytes(&api->body));
}

static void finish_ready(struct conn *conn, const struct node_result *result)
{
    bool synced = result->outcome == NODE_OK;
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    answer_ready(conn, &synced);
}

/* ?sync asks whether this node has applied everything that was committed at the
 * time of the request: what a linearizable read waits for, up to ?timeout. */
static void ready(struct conn *conn)
{
    if (!api_read_timeout(conn)) {
        return;
    }
    conn->state.ready.noleader = api_flag(conn, PARAM_NOLEADER);
    if (!api_flag(conn, PARAM_SYNC)) {
        answer_ready(conn, NULL);
        return;
    }
    conn->request.finish = finish_ready;
    conn->busy = true;
    node_read(conn->api->node, &conn->request.call);
}

void api_on_health(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    if (bytes_equal_string(request->path, "/livez")) {
        api_answer(conn, 200, "text/plain", bytes_of_string("ok\n"));
    } else if (bytes_equal_string(request->path, "/health")) {
        bool ok = node_leader(api->node) != NULL && !node_foreign(api->node) &&
                  !node_contradiction(api->node);
        if (!ok) {
            buf_add_string(&api->headers, "Retry-After: 1\r\n");
        }
        api_answer(conn, ok ? 200 : 503, "application/json",
                   bytes_of_string(ok ? "{\"health\":\"true\"}\n"
                                      : "{\"health\":\"false\"}\n"));
    } else {
        ready(conn);
    }
}
