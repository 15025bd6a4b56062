/* routes_internal.h -- paths and methods, and their handlers: routes.c. */
#ifndef CRAFTD_API_ROUTES_INTERNAL_H
#define CRAFTD_API_ROUTES_INTERNAL_H

#include "api/api.h"
#include "http/http.h"

struct conn;

/* ---- routes ---- */

/* Answer a complete request, or one whose body goes to a sink: 404, 405,
 * OPTIONS and refusals come from the table of routes, all else from the
 * handler. */
void api_route(struct conn *conn, const struct http_request *request);
/* Whether the handler of the request takes its body in pieces, by a sink. */
bool api_route_streams(const struct http_request *request);
/* Whether the path is one of /api/v1. */
bool api_is_v1(const struct http_request *request);
/* Whether the head of a request whose body has not come yet is reason enough
 * to refuse the request, or to redirect it. True: answered. */
bool api_route_refuses(struct conn *conn, const struct http_request *request);
/* Whether ?redirect was given and this node does not lead. True: answered. */
bool api_redirected(struct conn *conn, const struct http_request *request);

/* Whether the request comes from a page of another site that may not make it
 * (browser.c); probes show nothing to a page. True: answered 403. */
bool api_browser_refused(struct conn *conn, const struct http_request *request,
                         bool is_probe);

/* The text of openapi.yaml, which the build has put into the binary. */
extern const uint8_t api_openapi_text[];
extern const size_t api_openapi_size;

/* ---- handlers: what a route does, in the file named after it ---- */

void api_on_key(struct conn *conn, const struct http_request *request);
void api_on_txn(struct conn *conn, const struct http_request *request);
void api_on_list(struct conn *conn, const struct http_request *request);
void api_on_join(struct conn *conn, const struct http_request *request);
void api_on_status(struct conn *conn, const struct http_request *request);
void api_on_nodes(struct conn *conn, const struct http_request *request);
void api_on_remove(struct conn *conn, const struct http_request *request);
void api_on_leader(struct conn *conn, const struct http_request *request);
void api_on_health(struct conn *conn, const struct http_request *request);
void api_on_snapshot(struct conn *conn, const struct http_request *request);
void api_on_sync(struct conn *conn, const struct http_request *request);
void api_on_v1(struct conn *conn, const struct http_request *request);
void api_on_v1_nodes(struct conn *conn, const struct http_request *request);
void api_on_properties(struct conn *conn, const struct http_request *request);
void api_on_backup(struct conn *conn, const struct http_request *request);
void api_on_restore(struct conn *conn, const struct http_request *request);
void api_on_metrics(struct conn *conn, const struct http_request *request);

/* A handler of keys or lists calls these for one of its methods. */
void api_post_keys(struct conn *conn, const struct http_request *request);
void api_put_key(struct conn *conn, const struct http_request *request);
void api_delete_key(struct conn *conn, const struct http_request *request);
void api_delete_keys(struct conn *conn, const struct http_request *request);

/* Add what an operator should know to api->body: JSON strings with commas
 * between them (hints.c). */
void api_add_hints(struct api *api, const struct node_status *status);

static inline bool is_get(const struct http_request *request)
{
    return request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD;
}

#endif
