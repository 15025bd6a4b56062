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
/* Returns whether the handler of the request consumes its body in pieces, by a
 * sink.
 */
bool api_route_streams(const struct http_request *request);
/* Returns whether the path is /api/v1 or below it. */
bool api_is_v1(const struct http_request *request);
/* Returns whether the request can be refused or redirected by its head, before
 * its body has come. True: answered. */
bool api_route_refuses(struct conn *conn, const struct http_request *request);
/* The same by who sends it alone. True: answered. */
bool api_route_forbids(struct conn *conn, const struct http_request *request);
/* Returns whether ?redirect is given and this node does not lead. True:
 * answered. */
bool api_redirected(struct conn *conn, const struct http_request *request);

/* Returns whether the request comes from a web page that may not make it
 * (browser.c). `is_probe`: the answer is no secret. True: answered 403. */
bool api_browser_refused(struct conn *conn, const struct http_request *request,
                         bool is_probe);

/* ---- files of the binary: embedded.c ---- */

/* Answer with the file, compressed or not as the client prefers, or with 304.
 */
void api_answer_embedded(struct conn *conn, const struct http_request *request,
                         const char *type, struct bytes file);

extern const struct bytes embedded_openapi; /* openapi.yaml */
extern const struct bytes embedded_ui;      /* The page of src/ui/, ... */
extern const char api_ui_policy[]; /* ... its Content-Security-Policy, ... */
/* ... and whether the client, a browser, prefers it to text (ui.c). */
bool api_accepts_page(const struct http_request *request);

/* ---- handlers ----
 *
 * A handler answers the request, at once or later; until then conn->busy is
 * set. `request` and what it points to are valid during the call only. */

void api_on_key(struct conn *conn, const struct http_request *request);
void api_on_txn(struct conn *conn, const struct http_request *request);
void api_on_list(struct conn *conn, const struct http_request *request);
void api_on_ttl(struct conn *conn, const struct http_request *request);
void api_on_leases(struct conn *conn, const struct http_request *request);
void api_on_lease(struct conn *conn, const struct http_request *request);
void api_on_join(struct conn *conn, const struct http_request *request);
void api_on_join_token(struct conn *conn, const struct http_request *request);
void api_on_status(struct conn *conn, const struct http_request *request);
void api_on_nodes(struct conn *conn, const struct http_request *request);
void api_on_remove(struct conn *conn, const struct http_request *request);
void api_on_leader(struct conn *conn, const struct http_request *request);
void api_on_health(struct conn *conn, const struct http_request *request);
void api_on_snapshot(struct conn *conn, const struct http_request *request);
void api_on_hash(struct conn *conn, const struct http_request *request);
void api_on_sync(struct conn *conn, const struct http_request *request);
void api_on_v1(struct conn *conn, const struct http_request *request);
void api_on_v1_nodes(struct conn *conn, const struct http_request *request);
void api_on_properties(struct conn *conn, const struct http_request *request);
void api_on_backup(struct conn *conn, const struct http_request *request);
void api_on_export(struct conn *conn, const struct http_request *request);
void api_on_restore(struct conn *conn, const struct http_request *request);
void api_on_watch(struct conn *conn, const struct http_request *request);
void api_on_metrics(struct conn *conn, const struct http_request *request);
void api_on_ui(struct conn *conn, const struct http_request *request);
void api_on_whoami(struct conn *conn, const struct http_request *request);

/* Methods of /key and /keys, for their handlers. */
void api_post_keys(struct conn *conn, const struct http_request *request);
void api_put_key(struct conn *conn, const struct http_request *request);
void api_delete_key(struct conn *conn, const struct http_request *request);
void api_delete_keys(struct conn *conn, const struct http_request *request);

/* Add the hints of /status to api->body: JSON strings with commas between them
 * (hints.c). */
void api_add_hints(struct api *api, const struct node_status *status);

static inline bool is_get(const struct http_request *request)
{
    return request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD;
}

#endif
