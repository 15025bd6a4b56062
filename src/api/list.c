/* list.c -- GET /keys: keys in the order of their bytes, in pages.
 *
 * `after` and `end` follow the direction: with `reverse` a page begins below
 * `after` and stops above `end`. With a separator, all keys that agree up to
 * its first occurrence behind the prefix are one item (as in Consul), and the
 * walk jumps over them. */
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/poll_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

/* ---- parameters ---- */

static bool take_format(struct conn *conn)
{
    static const char *const names[] = {[FORMAT_JSON] = "json",
                                        [FORMAT_NDJSON] = "ndjson",
                                        [FORMAT_LINES] = "lines"};
    struct bytes value;
    conn->scan.by.list.format = FORMAT_JSON;
    if (!api_get_param(conn, PARAM_FORMAT, &value)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (bytes_equal_string(value, names[i])) {
            conn->scan.by.list.format = (enum list_format)i;
            return true;
        }
    }
    return api_bad_param(conn, "format is json, ndjson or lines");
}

/* ---- bounds ---- */

static bool is_less(struct bytes a, struct bytes b)
{
    size_t size = min_size(a.size, b.size);
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order < 0 || (order == 0 && a.size < b.size);
}

/* The size of the common prefix that `key` belongs to; 0: it belongs to none.
 */
static size_t common_size(const struct scan *scan, struct bytes key)
{
    struct bytes separator = scan->by.list.separator;
    size_t i = scan->by.list.prefix.size;
    if (separator.size == 0) {
        return 0;
    }
    for (; i + separator.size <= key.size; i++) {
        if (memcmp(key.data + i, separator.data, separator.size) == 0) {
            return i + separator.size;
        }
    }
    return 0;
}

static bool has_prefix(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 ||
            memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* from = max(from, bound). */
static void raise_from(struct scan *scan, struct bytes bound)
{
    if (is_less(buf_bytes(&scan->from), bound)) {
        scan->from.size = 0;
        buf_add_bytes(&scan->from, bound);
    }
}

/* to = min(to, bound); an empty bound is none. */
static void lower_to(struct scan *scan, struct bytes bound)
{
    if (bound.size > 0 &&
        (scan->to.size == 0 || is_less(bound, buf_bytes(&scan->to)))) {
        scan->to.size = 0;
        buf_add_bytes(&scan->to, bound);
    }
}

/* Set `bound` to the first key behind `after`. When `after` is a common prefix,
 * as at the end of a page that ended with one, that is behind all keys that
 * begin with it. False: there can be none. */
static bool start_behind(struct scan *scan, struct bytes after,
                         struct buf *bound)
{
    bound->size = 0;
    if (has_prefix(after, scan->by.list.prefix) &&
        common_size(scan, after) == after.size) {
        return api_scan_add_behind_prefix(bound, after);
    }
    api_scan_add_behind(bound, after);
    return true;
}

/* Set the range of the walk. False: it is empty, whatever the data. */
static bool set_bounds(struct scan *scan, struct bytes after, struct bytes end)
{
    struct buf *bound = &scan->last; /* Nothing has been taken yet. */
    struct bytes prefix = scan->by.list.prefix;
    scan->from.size = 0;
    scan->to.size = 0;
    buf_add_bytes(&scan->from, prefix);
    (void)api_scan_add_behind_prefix(&scan->to, prefix);
    bound->size = 0;
    if (scan->reverse) {
        lower_to(scan, after);
        if (end.size > 0) {
            api_scan_add_behind(bound, end);
            raise_from(scan, buf_bytes(bound));
        }
    } else {
        lower_to(scan, end);
        if (after.size > 0) {
            if (!start_behind(scan, after, bound)) {
                return false;
            }
            raise_from(scan, buf_bytes(bound));
        }
    }
    bound->size = 0;
    return scan->to.size == 0 ||
           is_less(buf_bytes(&scan->from), buf_bytes(&scan->to));
}

/* ---- items ---- */

void api_add_text_member(struct buf *out, const char *name, struct bytes text)
{
    buf_add_u8(out, '"');
    buf_add_string(out, name);
    if (json_is_utf8(text)) {
        buf_add(out, "\":", 2);
        json_add_string(out, text);
    } else {
        buf_add_string(out, "_base64\":\"");
        text_add_base64(out, text);
        buf_add_u8(out, '"');
    }
}

static void add_line_text(struct buf *out, struct bytes text)
{
    text_add_escaped(out, text, json_is_utf8(text));
}

static void add_line(struct scan *scan, const struct store_pair *pair,
                     size_t common)
{
    struct buf *out = &scan->page;
    struct bytes key =
        common > 0 ? bytes_of(pair->key.data, common) : pair->key;
    add_line_text(out, key);
    if (common == 0 && !scan->keys_only) {
        buf_add_u8(out, '\t');
        add_line_text(out, pair->value);
    }
    buf_add_u8(out, '\n');
}

void api_add_pair_members(struct buf *out, const struct store_pair *pair)
{
    api_add_text_member(out, "key", pair->key);
    buf_add_u8(out, ',');
    api_add_text_member(out, "value", pair->value);
    buf_add_string(out, ",\"index\":");
    buf_add_decimal(out, pair->modify_index);
    buf_add_string(out, ",\"create_index\":");
    buf_add_decimal(out, pair->create_index);
}

/* Shows how much of a key's time is left. The time of a lease is not read for
 * each of its keys. */
static void add_end(struct conn *conn, struct buf *out,
                    const struct store_pair *pair)
{
    if (pair->deadline_ms > 0) {
        buf_add_string(out, ",\"ttl\":");
        ttl_add_seconds(out,
                        node_ttl_ms(conn->api->node, pair->deadline_ms, 0));
    } else if (pair->lease > 0) {
        buf_printf(out, ",\"lease\":\"l-%llu\"",
                   (unsigned long long)pair->lease);
    }
}

static void add_object(struct conn *conn, const struct store_pair *pair,
                       size_t common)
{
    struct scan *scan = &conn->scan;
    struct buf *out = &scan->page;
    buf_add_u8(out, '{');
    if (common > 0) {
        api_add_text_member(out, "prefix", bytes_of(pair->key.data, common));
    } else if (scan->keys_only) {
        api_add_text_member(out, "key", pair->key);
    } else {
        api_add_pair_members(out, pair);
        add_end(conn, out, pair);
    }
    buf_add_u8(out, '}');
}

static void add_item(struct conn *conn, const struct store_pair *pair,
                     size_t common)
{
    struct scan *scan = &conn->scan;
    struct scan_list *list = &scan->by.list;
    if (list->format == FORMAT_LINES) {
        add_line(scan, pair, common);
        return;
    }
    if (list->format == FORMAT_JSON && list->count > 0) {
        buf_add_u8(&scan->page, ',');
    }
    add_object(conn, pair, common);
    if (list->format == FORMAT_NDJSON) {
        buf_add_u8(&scan->page, '\n');
    }
}

static enum scan_step list_step(struct conn *conn,
                                const struct store_pair *pair)
{
    struct scan *scan = &conn->scan;
    struct scan_list *list = &scan->by.list;
    size_t common = common_size(scan, pair->key);
    if (!list->counting) {
        size_t before = scan->page.size;
        if (list->count == list->limit) {
            return SCAN_FULL;
        }
        add_item(conn, pair, common);
        if (list->count > 0 && scan->page.size > scan->page_max) {
            scan->page.size = before;
            return SCAN_FULL;
        }
    }
    list->count++;
    if (common == 0) {
        return SCAN_ON;
    }
    scan->last.size = 0;
    buf_add(&scan->last, pair->key.data, common);
    return SCAN_JUMP;
}

/* ---- the answer ---- */

static const char *type_of(enum list_format format)
{
    return format == FORMAT_JSON     ? "application/json"
           : format == FORMAT_NDJSON ? "application/x-ndjson"
                                     : "text/plain; charset=utf-8";
}

static void add_link(struct conn *conn)
{
    struct buf *headers = &conn->api->headers;
    buf_add_string(headers, "Link: </keys?");
    buf_add_bytes(headers, buf_bytes(&conn->scan.query));
    buf_add_string(headers, "after=");
    http_percent_encode(headers, buf_bytes(&conn->scan.last), false);
    buf_add_string(headers, ">; rel=\"next\"\r\n");
}

static void end_page(struct scan *scan)
{
    struct buf *out = &scan->page;
    buf_printf(out, "],\"more\":%s", scan->more ? "true" : "false");
    if (scan->more) {
        buf_add_u8(out, ',');
        api_add_text_member(out, "after", buf_bytes(&scan->last));
    }
    buf_printf(out, ",\"index\":%llu}\n", (unsigned long long)scan->index);
}

/* The number is exact if nothing was applied during the walk. */
static void end_count(struct scan *scan)
{
    struct scan_list *list = &scan->by.list;
    struct buf *out = &scan->page;
    if (list->format == FORMAT_LINES) {
        buf_printf(out, "%llu\n", (unsigned long long)list->count);
        return;
    }
    buf_printf(out, "{\"count\":%llu,\"exact\":%s,\"index\":%llu}\n",
               (unsigned long long)list->count,
               scan->first_index == scan->index ? "true" : "false",
               (unsigned long long)scan->index);
}

/* A list has the tag of the state that it shows. It is the same list as long as
 * nothing with its prefix has changed since. */
static void add_tag(struct conn *conn, uint64_t index)
{
    struct buf *headers = &conn->api->headers;
    buf_add_string(headers, "ETag: \"");
    buf_add_decimal(headers, index);
    buf_add_string(headers, "\"\r\n");
}

static void list_done(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct scan_list *list = &scan->by.list;
    if (scan->late) {
        api_scan_answer_late(conn);
        return;
    }
    api_add_read_headers(conn);
    if (list->counting) {
        end_count(scan);
    } else {
        add_tag(conn, scan->index);
        if (scan->more) {
            add_link(conn);
        }
        if (list->format == FORMAT_JSON) {
            end_page(scan);
        }
    }
    api_scan_answer(conn, type_of(list->format));
}

/* ---- the request ---- */

/* The state may be read now. */
static void show_list(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct scan_list *list = &scan->by.list;
    const struct node *node = conn->api->node;
    bool all = scan->from.size == 0 && scan->to.size == 0 &&
               list->separator.size == 0 &&
               auth_may(&conn->gate.identity, scan->perm, (struct bytes){0});
    if (conn->poll.has_index &&
        api_poll_is_unchanged(conn, list->prefix, true, conn->poll.index)) {
        if (!api_poll_wait(conn, list->prefix, true)) {
            api_add_read_headers(conn);
            add_tag(conn, conn->poll.index);
            api_answer(conn, 304, NULL, (struct bytes){0});
        }
        return;
    }
    scan->page.size = 0;
    list->count = 0;
    if (!list->counting && list->format == FORMAT_JSON) {
        buf_add_string(&scan->page, "{\"items\":[");
    }
    if (list->nothing || (list->counting && all)) {
        /* The answer is known without a walk. */
        scan->more = false;
        list->count = list->nothing ? 0 : node_keys(node);
        scan->first_index = node_applied(node);
        scan->index = scan->first_index;
        list_done(conn);
        return;
    }
    api_scan_start(conn);
}

/* The newest tag of If-None-Match stands for ?index=. False: answered 400. */
static bool take_known(struct conn *conn, const struct http_request *request)
{
    struct conn_poll *poll = &conn->poll;
    struct bytes rest = http_header(request, "If-None-Match");
    struct tag tag;
    if (!api_poll_take(conn, request)) {
        return false;
    }
    while (api_next_tag(&rest, &tag) == ERR_OK) {
        if (tag.index != UINT64_MAX) {
            poll->index =
                poll->has_index ? max_u64(poll->index, tag.index) : tag.index;
            poll->has_index = true;
        }
    }
    return true;
}

void api_on_list(struct conn *conn, const struct http_request *request)
{
    struct scan *scan = &conn->scan;
    struct scan_list *list = &scan->by.list;
    struct bytes after;
    struct bytes end;
    if (request->verb == HTTP_VERB_DELETE) {
        api_delete_keys(conn, request);
        return;
    }
    scan->step = list_step;
    scan->done = list_done;
    scan->perm = AUTH_READ;
    scan->reverse = api_flag(conn, PARAM_REVERSE);
    list->counting = api_flag(conn, PARAM_COUNT_ONLY);
    scan->mixed = list->counting;
    scan->pageless = list->counting;
    scan->keys_only = list->counting || api_flag(conn, PARAM_KEYS);
    if (!api_take_text(conn, PARAM_PREFIX, &list->prefix) ||
        !api_take_text(conn, PARAM_SEPARATOR, &list->separator) ||
        !api_take_text(conn, PARAM_AFTER, &after) ||
        !api_take_text(conn, PARAM_END, &end) ||
        !api_take_limit(conn, &list->limit) || !take_format(conn) ||
        !take_known(conn, request)) {
        return;
    }
    list->nothing = !set_bounds(scan, after, end);
    scan->query.size = 0;
    api_add_query(&scan->query, request->query, "after");
    api_read_start(conn, request, show_list);
}
