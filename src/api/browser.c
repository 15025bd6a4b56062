/* browser.c -- requests that a web page sends from its reader's browser.
 *
 * A page of any site may send requests to addresses that only its reader can
 * reach, including this node's. Browsers mark such requests: with Origin (every
 * one that may change something, Fetch 3.2), with Sec-Fetch-Site (Fetch
 * Metadata 2.3), Referer, and a User-Agent that begins with Mozilla. Requests
 * without these marks are not affected: curl and other programs see no
 * difference.
 *
 * 1. A page of a foreign origin may change nothing, and read nothing: it could
 *    not see the answer, but make this node work for it, with the password that
 *    its reader has given to the browser. A link to here may be followed.
 * 2. A request under a host name that is not ours is refused: a site may point
 *    its own name at this address (DNS rebinding), which makes its pages
 *    same-origin. A numeric address cannot be rebound, nor can localhost
 *    (RFC 6761 6.3). Probes are exempt, since they are no secret: health
 *    checkers use names of their own, and some call themselves Mozilla.
 *
 * --allow-origin lists origins that have the rights of our own, and may read
 * the answers (CORS); --allow-host lists further host names of ours.
 *
 * Known limit: a browser that lets a page set User-Agent, and leave out
 * Referer, hides its reads (not its writes) from rule 2. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/routes_internal.h"
#include "base/text.h"
#include "http/http.h"

/* ---- origins ---- */

/* Returns whether the origin is that of the request's own host. With TLS in
 * front the scheme is not known here, so it is taken from Origin. */
static bool is_own_origin(struct bytes origin, struct bytes host)
{
    struct http_authority ours;
    struct http_authority theirs;
    uint16_t port = 0;
    if (!http_origin(origin, &theirs, &port) || !http_authority(host, &ours)) {
        return false;
    }
    return http_equal_fold_bytes(ours.host, theirs.host) &&
           (ours.port ? ours.port : port) == theirs.port;
}

/* Find `text` or "*" in a list separated by commas. Empty: it is not there. */
static struct bytes listed(const char *list, struct bytes text)
{
    struct bytes rest = list ? bytes_of_string(list) : (struct bytes){0};
    struct bytes element;
    while (http_list_next(&rest, &element)) {
        if (http_equal_fold_bytes(element, text) ||
            bytes_equal_string(element, "*")) {
            return element;
        }
    }
    return (struct bytes){0};
}

/* ---- our names ---- */

static bool ends_with(struct bytes text, const char *end)
{
    size_t size = strlen(end);
    return text.size >= size &&
           http_equal_fold_bytes(bytes_of(text.data + text.size - size, size),
                                 bytes_of_string(end));
}

/* `name` may be host or host:port. */
static bool is_host_of(struct bytes host, const char *name)
{
    struct http_authority known;
    return name && http_authority(bytes_of_string(name), &known) &&
           http_equal_fold_bytes(host, known.host);
}

static bool is_our_host(const struct api_options *options, struct bytes host)
{
    struct http_authority asked;
    if (!http_authority(host, &asked)) {
        return false;
    }
    struct bytes name = asked.host;
    if (name.size > 1 && name.data[name.size - 1] == '.') {
        name.size--; /* A fully qualified name ends with the root. */
    }
    if (asked.numeric || http_equal_fold(name, "localhost") ||
        ends_with(name, ".localhost")) {
        return true;
    }
    return is_host_of(name, options->host) ||
           is_host_of(name, options->http_adv) ||
           is_host_of(name, options->host_name) ||
           listed(options->allow_hosts, name).data != NULL;
}

/* ---- a request ---- */

struct marks {
    bool browser;
    bool navigates;      /* A link is followed, or an address typed in. */
    bool foreign;        /* The page has another origin than the host asked. */
    struct bytes host;   /* The Host header; empty when there is none. */
    struct bytes origin; /* The foreign origin; empty when it is not given. */
};

static bool begins_with(struct bytes text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

static struct marks read_marks(const struct http_request *request)
{
    struct marks marks = {.host = http_header(request, "Host")};
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (http_header_named(header, 1, "Origin").data) {
            marks.browser = true;
            if (!is_own_origin(header->value, marks.host)) {
                marks.foreign = true;
                marks.origin = header->value;
            }
        } else if (http_header_named(header, 1, "Sec-Fetch-Site").data) {
            marks.browser = true;
            marks.foreign |= !bytes_equal_string(header->value, "none") &&
                             !bytes_equal_string(header->value, "same-origin");
        } else if (http_header_named(header, 1, "Sec-Fetch-Mode").data) {
            marks.navigates = bytes_equal_string(header->value, "navigate");
        } else if (http_header_named(header, 1, "Referer").data ||
                   (http_header_named(header, 1, "User-Agent").data &&
                    begins_with(header->value, "Mozilla/"))) {
            marks.browser = true;
        }
    }
    return marks;
}

static void refuse(struct conn *conn, const char *before, struct bytes name,
                   const char *behind)
{
    enum { NAME_BYTES_SHOWN = 128 };
    struct buf *message = &conn->api->message;
    message->size = 0;
    buf_add_string(message, before);
    if (name.size > 0 && name.size <= NAME_BYTES_SHOWN &&
        text_is_printable(name)) {
        buf_add_u8(message, ' ');
        buf_add_bytes(message, name);
    }
    buf_add_string(message, behind);
    buf_add_u8(message, 0);
    api_answer_problem(conn, 403, "forbidden", (const char *)message->data,
                       OUTCOME_NOT_APPLIED);
}

static void allow_preflight(struct conn *conn)
{
    buf_add_string(&conn->api->headers,
                   "Access-Control-Allow-Methods: *\r\n"
                   "Access-Control-Allow-Headers: *, Authorization\r\n"
                   "Access-Control-Max-Age: 600\r\n");
}

bool api_browser_refused(struct conn *conn, const struct http_request *request,
                         bool is_probe)
{
    const struct api_options *options = &conn->api->options;
    struct marks marks = read_marks(request);
    if (!marks.browser) {
        return false;
    }
    if (!is_probe && !is_our_host(options, marks.host)) {
        refuse(conn, "the host", marks.host,
               " is not known as a name of this node, so this may be a page of "
               "another site: see --allow-host");
        return true;
    }
    if (marks.origin.size > 0) {
        conn->answer.origin = listed(options->allow_origins, marks.origin);
    }
    if (conn->answer.origin.size > 0) {
        if (request->verb == HTTP_VERB_OPTIONS) {
            allow_preflight(conn);
        }
        return false;
    }
    bool reads = is_get(request) && (is_probe || marks.navigates);
    if (marks.foreign && !reads && request->verb != HTTP_VERB_OPTIONS) {
        refuse(conn, "a page of another site", marks.origin,
               is_get(request)
                   ? " may not read anything here: see --allow-origin"
                   : " may not change anything here: see --allow-origin");
        return true;
    }
    return false;
}
