/* ui.c -- GET /ui: the page for browsers, and who the sender is, for the page.
 *
 * The document is one file without external resources, from src/ui/. It is the
 * same for everybody and shows nothing by itself, so it needs no permission:
 * its scripts ask the API like any client, with the credentials that the user
 * types in. They are sent in a header of these requests, and not by the browser
 * by itself, so that no other page can use them.
 *
 * Its policy (CSP Level 3) allows the style and the script by their hashes, and
 * requests to this node. Other pages cannot frame it, or keep a handle to its
 * window. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "api/write_internal.h"
#include "auth/auth.h"
#include "http/http.h"

/* ---- /whoami ---- */

void api_on_whoami(struct conn *conn, const struct http_request *request)
{
    struct buf *out = &conn->api->body;
    const struct auth_identity *identity = &conn->gate.identity;
    struct bytes name = auth_name(identity);
    (void)request;
    buf_printf(out, "{\"auth\":%s,", conn->api->gate.auth ? "true" : "false");
    if (name.data) {
        api_add_text_member(out, "user", name);
        buf_add_u8(out, ',');
    }
    buf_add_string(out, "\"perms\":[");
    auth_add_perms(identity, out);
    buf_add_string(out, "]}\n");
    api_answer(conn, 200, "application/json", buf_bytes(out));
}

/* ---- the page ---- */

/* Returns whether a range of Accept names HTML, whatever its weight: browsers
 * do, and programs that do not read it do not. */
bool api_accepts_page(const struct http_request *request)
{
    static const char type[] = "text/html";
    const size_t size = sizeof(type) - 1;
    struct bytes list = http_header(request, "Accept");
    struct bytes range;
    while (http_list_next(&list, &range)) {
        if (range.size >= size &&
            http_equal_fold(bytes_of(range.data, size), type)) {
            return true;
        }
    }
    return false;
}

void api_on_ui(struct conn *conn, const struct http_request *request)
{
    struct buf *headers = &conn->api->headers;
    buf_add_string(headers, "Content-Security-Policy: ");
    buf_add_string(headers, api_ui_policy);
    buf_add_string(headers, "\r\nCross-Origin-Opener-Policy: same-origin\r\n"
                            "Cross-Origin-Resource-Policy: same-origin\r\n"
                            "Referrer-Policy: no-referrer\r\n");
    conn->answer.may_be_kept = true;
    api_answer_embedded(conn, request, "text/html; charset=utf-8", embedded_ui);
}
