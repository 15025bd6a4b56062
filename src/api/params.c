/* params.c -- query parameters: read once, and checked against those that the
 * route takes.
 *
 * A parameter that the route does not take is an error, on reads as on writes:
 * a mistyped `cas` must not become an unconditional write, nor a mistyped
 * `prefix` a list of everything. A parameter that is given twice is an error as
 * well: of two conditions one would be ignored. Probes and /metrics accept
 * both, since health checkers add parameters of their own.
 *
 * Names and values are decoded as in forms (`+` is a blank). */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "base/text.h"
#include "command/command.h"
#include "http/http.h"
#include "json/json.h"

enum { NAME_BYTES_SHOWN = 64, LIMIT_DEFAULT = 1000, LIMIT_MAX = 10000 };

/* An error lists them in this order. */
static const char *const names[PARAM_COUNT] = {
    [PARAM_CAS] = "cas",
    [PARAM_TTL] = "ttl",
    [PARAM_LEASE] = "lease",
    [PARAM_RAW] = "raw",
    [PARAM_META] = "meta",
    [PARAM_PREFIX] = "prefix",
    [PARAM_ALL] = "all",
    [PARAM_AFTER] = "after",
    [PARAM_END] = "end",
    [PARAM_PATTERN] = "pattern",
    [PARAM_LIMIT] = "limit",
    [PARAM_OFFSET] = "offset",
    [PARAM_REVERSE] = "reverse",
    [PARAM_KEYS] = "keys",
    [PARAM_SEPARATOR] = "separator",
    [PARAM_COUNT_ONLY] = "count",
    [PARAM_FORMAT] = "format",
    [PARAM_LEVEL] = "level",
    [PARAM_STALE] = "stale",
    [PARAM_CONSISTENT] = "consistent",
    [PARAM_FRESHNESS] = "freshness",
    [PARAM_FRESHNESS_STRICT] = "freshness_strict",
    [PARAM_MIN_INDEX] = "min_index",
    [PARAM_KEY] = "key",
    [PARAM_EVENTS] = "events",
    [PARAM_INITIAL] = "initial",
    [PARAM_SINCE] = "since",
    [PARAM_INDEX] = "index",
    [PARAM_WAIT] = "wait",
    [PARAM_STATUS] = "status",
    [PARAM_NODES] = "nodes",
    [PARAM_NOLEADER] = "noleader",
    [PARAM_SYNC] = "sync",
    [PARAM_REDIRECT] = "redirect",
    [PARAM_TIMEOUT] = "timeout",
    [PARAM_PRETTY] = "pretty",
};

/* Parameters of Consul, etcd and rqlite that do not exist here, and what to use
 * instead. */
static const struct {
    const char *names; /* Separated by blanks. */
    const char *instead;
} foreign[] = {
    {"acquire", "a lock is taken by PUT with If-None-Match: * (or ?cas=0)"},
    {"release", "a lock is released by DELETE with If-Match (or ?cas=)"},
    {"recurse recursive range_end keys_only",
     "GET /keys?prefix= lists keys, DELETE /keys?prefix= deletes them"},
    {"sorted sort", "lists are in the order of the keys' bytes, ?reverse "
                    "turns them round"},
    {"dir", "there are no directories; GET /keys?prefix=&separator=/ shows "
            "keys as if there were"},
    {"flags", "a key has nothing but its value"},
    {"index wait waitIndex",
     "GET /key/KEY and GET /keys wait for a change with ?index= and ?wait=, "
     "GET /watch sends all of them"},
    {"refresh", "PUT /ttl/KEY starts the time of a key again, PUT /lease/ID "
                "that of a lease"},
    {"ttl lease", "PUT and POST of /key take it, and PUT /ttl/KEY changes it"},
    {"prevIndex", "?cas= or If-Match compares the index"},
    {"prevValue", "POST /txn compares values, in \"if\""},
    {"prevExist", "If-None-Match: * writes new keys alone, If-Match: * those "
                  "that are there"},
    {"quorum linearizable serializable",
     "reads are linearizable unless ?level= says otherwise"},
    {"cached max_stale", "?level=none reads what this node has, ?freshness= "
                         "says how old it may be"},
    {"dc ns namespace partition peer",
     "a cluster is one store of keys; a prefix separates them"},
    {"token", "a token is sent as Authorization: Bearer TOKEN (--auth)"},
    {"rev revision", "old revisions are not kept; GET /watch?since= "
                     "has the last changes"},
    {"q", "there is no SQL; GET /keys lists by prefix, "
          "/api/v1/properties?pattern= by a regular expression"},
    {"transaction", "POST /key with several pairs and POST /txn are atomic"},
    {"queue", "every write is answered when it is committed"},
    {"timings", "GET /metrics has the times of requests"},
    {"fmt", "a backup has the format sqlite, and GET /keys has ?format="},
    {"compress vacuum", "a backup is the database as it is"},
    {"nonvoters ver", "GET /nodes lists all members"},
    {"db_timeout linearizable_timeout", "?timeout= bounds the wait"},
    {"raft_index", "every answer has Craftd-Index"},
    {"cas", "a condition is on one key: PUT, POST and DELETE of /key take it, "
            "and POST /txn has \"if\""},
};

_Static_assert(PARAM_COUNT < 63, "PARAMS_ANY is the last bit of a set");

#define BIT(name) (UINT64_C(1) << PARAM_##name)

/* Flags: parameters that are set by their name alone. */
static const uint64_t flags =
    BIT(RAW) | BIT(META) | BIT(ALL) | BIT(REVERSE) | BIT(KEYS) |
    BIT(COUNT_ONLY) | BIT(STALE) | BIT(CONSISTENT) | BIT(FRESHNESS_STRICT) |
    BIT(NOLEADER) | BIT(SYNC) | BIT(INITIAL) | BIT(REDIRECT) | BIT(PRETTY);

/* ---- reading ---- */

static int find_param(struct bytes name)
{
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (bytes_equal_string(name, names[i])) {
            return i;
        }
    }
    return PARAM_COUNT;
}

/* Decode into the next `raw.size` bytes of the buffer. */
static struct bytes decode(struct params *params, struct bytes raw)
{
    uint8_t *out = params->text.data + params->text.size;
    size_t size = 0;
    if (!http_form_decode(raw, out, &size)) {
        params->bad_escape = true;
        return (struct bytes){0};
    }
    params->text.size += size;
    return bytes_of(out, size);
}

void api_params_read(struct conn *conn, const struct http_request *request)
{
    struct params *params = &conn->request.params;
    struct bytes rest = request->query;
    struct bytes name;
    struct bytes value;
    params->taken = 0;
    params->given = 0;
    params->repeated = 0;
    params->unknown = (struct bytes){0};
    params->bad_escape = false;
    params->text.size = 0;
    if (rest.size == 0) {
        return;
    }
    /* Decoding never makes it longer, so the buffer does not move any more. */
    buf_reserve(&params->text, rest.size);
    while (http_query_next(&rest, &name, &value)) {
        int id = find_param(decode(params, name));
        if (id == PARAM_COUNT) {
            params->unknown = params->unknown.data ? params->unknown : name;
            continue;
        }
        uint64_t bit = UINT64_C(1) << id;
        if (params->given & bit) {
            params->repeated |= bit; /* If allowed, the first wins. */
            continue;
        }
        params->given |= bit;
        params->values[id] = decode(params, value);
    }
}

bool api_is_given(const struct conn *conn, enum param param)
{
    return (conn->request.params.given >> param & 1) != 0;
}

bool api_get_param(const struct conn *conn, enum param param,
                   struct bytes *value)
{
    must(conn->request.params.taken >> param & 1); /* The route lists it. */
    if (!api_is_given(conn, param)) {
        return false;
    }
    *value = conn->request.params.values[param];
    return true;
}

bool api_is_on(const struct conn *conn, enum param param)
{
    struct bytes value = conn->request.params.values[param];
    return api_is_given(conn, param) && !bytes_equal_string(value, "0") &&
           !bytes_equal_string(value, "false");
}

bool api_flag(const struct conn *conn, enum param param)
{
    must(conn->request.params.taken >> param & 1);
    return api_is_on(conn, param);
}

/* ---- refusing ---- */

/* "cas, redirect, timeout and pretty" */
static void add_taken(struct buf *out, uint64_t taken)
{
    bool first = true;
    for (int i = 0; i < PARAM_COUNT; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if (taken & bit) {
            bool last = (taken & ~(2 * bit - 1)) == 0;
            buf_add_string(out, first ? "" : last ? " and " : ", ");
            buf_add_string(out, names[i]);
            first = false;
        }
    }
}

static const char *instead_of(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_COUNT(foreign); i++) {
        for (const char *at = foreign[i].names; *at;) {
            size_t size = strcspn(at, " ");
            if (bytes_equal(name, bytes_of(at, size))) {
                return foreign[i].instead;
            }
            at += size + (at[size] == ' ');
        }
    }
    return NULL;
}

static struct bytes nearest_to(struct bytes name, uint64_t taken)
{
    struct text_nearest nearest = text_nearest_to(name);
    for (int i = 0; i < PARAM_COUNT; i++) {
        if (taken >> i & 1) {
            text_nearest_offer(&nearest, bytes_of_string(names[i]));
        }
    }
    return nearest.best;
}

static void explain_unknown(struct conn *conn, struct bytes name,
                            const char *path)
{
    const struct params *params = &conn->request.params;
    struct buf *out = &conn->api->message;
    const char *instead = instead_of(name);
    struct bytes nearest = nearest_to(name, params->taken);
    buf_printf(out, "%s %s takes no parameter \"%.*s\"",
               api_verb_name(conn->request.verb), path,
               (int)min_size(name.size, NAME_BYTES_SHOWN),
               (const char *)name.data);
    if (instead) {
        buf_printf(out, ": %s", instead);
    } else if (nearest.size > 0) {
        buf_printf(out, ": did you mean \"%.*s\"?", (int)nearest.size,
                   (const char *)nearest.data);
    }
    buf_add_string(out,
                   instead || nearest.size == 0 ? "; it takes " : " It takes ");
    add_taken(out, params->taken);
}

/* The name of the lowest of `bits`, of which there is at least one. */
static const char *first_name(uint64_t bits)
{
    int i = 0;
    while (!(bits >> i & 1)) {
        i++;
    }
    return names[i];
}

/* The parameters that were given and are not taken, except flags that are off:
 * those ask for nothing. */
static uint64_t not_taken(const struct conn *conn)
{
    uint64_t others = conn->request.params.given & ~conn->request.params.taken;
    for (int i = 0; i < PARAM_COUNT && others != 0; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((others & flags & bit) && !api_is_on(conn, (enum param)i)) {
            others &= ~bit;
        }
    }
    return others;
}

bool api_params_refused(struct conn *conn, uint64_t taken, const char *path)
{
    struct params *params = &conn->request.params;
    struct buf *message = &conn->api->message;
    params->taken = taken & ~PARAMS_ANY;
    if (taken & PARAMS_ANY) {
        params->given &= params->taken;
        return false;
    }
    uint64_t other = not_taken(conn);
    if (other == 0 && params->repeated == 0 && !params->unknown.data &&
        !params->bad_escape) {
        return false;
    }
    message->size = 0;
    if (params->unknown.data) {
        explain_unknown(conn, params->unknown, path);
    } else if (other) {
        explain_unknown(conn, bytes_of_string(first_name(other)), path);
    } else if (params->bad_escape) {
        buf_add_string(message, "a bad percent escape in the query");
    } else {
        buf_printf(message, "the parameter %s is given twice",
                   first_name(params->repeated));
    }
    buf_add_u8(message, 0);
    api_answer_problem(conn, 400, "bad-param", (const char *)message->data,
                       OUTCOME_NOT_APPLIED);
    return true;
}

/* ---- values that several routes read ---- */

bool api_bad_param(struct conn *conn, const char *message)
{
    api_answer_problem(conn, 400, "bad-param", message, OUTCOME_NOT_APPLIED);
    return false;
}

bool api_take_text(struct conn *conn, enum param param, struct bytes *text)
{
    *text = (struct bytes){0};
    if (!api_get_param(conn, param, text)) {
        return true;
    }
    return text->size <= COMMAND_KEY_BYTES_MAX ||
           api_bad_param(
               conn, "a parameter is longer than a key may be (1024 bytes)");
}

bool api_take_limit(struct conn *conn, uint64_t *limit)
{
    struct bytes value;
    *limit = LIMIT_DEFAULT;
    if (!api_get_param(conn, PARAM_LIMIT, &value)) {
        return true;
    }
    if (!json_u64(value, limit) || *limit == 0) {
        return api_bad_param(conn, "limit is a number from 1 to 10000");
    }
    *limit = min_u64(*limit, LIMIT_MAX);
    return true;
}

/* RFC 8288 section 3 puts a link in angle brackets, so these, and quotes, are
 * escaped. */
void api_add_query(struct buf *out, struct bytes query, const char *without)
{
    static const char escaped[] = "<>\"";
    struct bytes name;
    struct bytes value;
    while (http_query_next(&query, &name, &value)) {
        uint8_t decoded[16];
        size_t size = 0;
        bool skipped = name.size <= sizeof(decoded) &&
                       http_form_decode(name, decoded, &size) &&
                       bytes_equal_string(bytes_of(decoded, size), without);
        for (const uint8_t *at = name.data;
             at < value.data + value.size && !skipped; at++) {
            if (memchr(escaped, *at, strlen(escaped))) {
                http_percent_encode(out, bytes_of(at, 1), false);
            } else {
                buf_add_u8(out, *at);
            }
        }
        if (!skipped) {
            buf_add_u8(out, '&');
        }
    }
}
