/* gate.c -- --auth: every request passes here before its handler is called, and
 * before its body is read.
 *
 * The node that receives a request checks it against its own rules; the leader
 * does not check a forwarded request again. Credentials that are not in the
 * cache of this process are checked in slices (auth.h): SLICE_US of work, then
 * the same time for everything else, so that a flood of wrong passwords takes
 * at most half of the time and delays a request by one slice. The request stays
 * in its stream meanwhile.
 *
 * New rules hold from the next request on; a request in progress ends by the
 * rules under which it was allowed. It is in progress once all of it has been
 * received: a body may take its sender as long as it likes. Watches, which do
 * not end by themselves, are ended, and their clients come again; one that has
 * yet to wait for its min_index does not begin under rules that are gone. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "json/json.h"

enum {
    SLICE_US = 1000,
    PAUSE_MS = 2, /* From the start of a slice to that of the next. */
    ROUNDS = 16,  /* Rounds between two readings of the clock. */
    LOG_MS = 1000,
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* ---- checks ---- */

static void on_time(void *arg)
{
    struct api *api = arg;
    const struct api_options *options = &api->options;
    uint64_t until_us = options->now_us(options->arg) + SLICE_US;
    uint64_t at_ms;
    do {
        at_ms = auth_run(api->gate.auth, now(api), ROUNDS);
    } while (at_ms <= now(api) && options->now_us(options->arg) < until_us);
    if (at_ms != UINT64_MAX) {
        timer_arm(options->reactor, &api->gate.timer,
                  max_u64(at_ms, now(api) + PAUSE_MS), on_time, api);
    }
}

static void on_checked(void *arg)
{
    struct conn *conn = arg;
    conn->busy = false;
    stream_kick(conn->stream);
}

static void wait_for_check(struct conn *conn)
{
    struct api *api = conn->api;
    const struct heap_node *timer = &api->gate.timer.node;
    conn->busy = true;
    /* It may be armed for the end of the delay of another address. */
    if (timer->place == 0 || timer->key > now(api) + PAUSE_MS) {
        timer_arm(api->options.reactor, &api->gate.timer, now(api), on_time,
                  api);
    }
}

/* Wrong passwords are worth a line, not a line each. */
static void log_refusals(struct conn *conn)
{
    struct api *api = conn->api;
    uint64_t count = auth_failures(api->gate.auth);
    if (count == api->gate.logged ||
        (api->gate.logged_ms > 0 && now(api) < api->gate.logged_ms + LOG_MS)) {
        return;
    }
    log_warn("auth-failed", "at=%s count=%llu why=\"wrong credentials\"",
             stream_peer_text(conn->stream),
             (unsigned long long)(count - api->gate.logged));
    api->gate.logged = count;
    api->gate.logged_ms = now(api);
}

/* ---- who it is ---- */

/* The one Authorization header. False: there are several, of which another
 * program may see another. */
static bool find_header(const struct http_request *request, struct bytes *value)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (http_header_named(header, 1, "Authorization").data) {
            *value = header->value;
            count++;
        }
    }
    return count <= 1;
}

/* The number of the address that is delayed for wrong credentials. Users of a
 * Unix socket have one each, which no other user can have delayed. */
static uint64_t network_of(const struct conn *conn)
{
    uint32_t uid;
    return stream_peer_uid(conn->stream, &uid)
               ? UINT64_MAX - uid
               : stream_peer_network(conn->stream);
}

static enum auth_verdict ask(struct conn *conn,
                             const struct http_request *request, bool may_wait)
{
    struct conn_gate *gate = &conn->gate;
    struct bytes header = {0};
    bool is_one = find_header(request, &header);
    gate->named = header.data != NULL;
    if (!is_one || (gate->named && header.size == 0)) {
        return AUTH_REJECTED;
    }
    uint32_t uid;
    if (!gate->named && stream_peer_uid(conn->stream, &uid)) {
        auth_identify_uid(conn->api->gate.auth, uid, &gate->identity);
        return AUTH_ACCEPTED;
    }
    /* A guest must not keep its place for long. */
    return auth_identify(conn->api->gate.auth, header, network_of(conn),
                         now(conn->api), &gate->identity, &gate->check,
                         may_wait && !conn->place.is_guest ? on_checked : NULL,
                         conn);
}

bool api_gate_is_outdated(const struct conn *conn)
{
    const struct conn_gate *gate = &conn->gate;
    return gate->known && conn->api->gate.auth &&
           gate->verdict == AUTH_ACCEPTED &&
           !auth_is_current(conn->api->gate.auth, &gate->identity);
}

bool api_gate_identify(struct conn *conn, const struct http_request *request)
{
    struct conn_gate *gate = &conn->gate;
    bool outdated = api_gate_is_outdated(conn);
    if (outdated) {
        api_gate_close(conn);
    }
    if (gate->known) {
        return true;
    }
    if (conn->by_header && !gate->check) {
        api_proxied_begin(conn, request); /* Its address comes first. */
    }
    if (!conn->api->gate.auth) {
        gate->identity.unrestricted = true;
        gate->verdict = AUTH_ACCEPTED;
    } else if (gate->check) {
        gate->verdict = auth_check_end(gate->check, &gate->identity);
        gate->check = NULL;
        must(gate->verdict != AUTH_PENDING);
    } else {
        /* A request that waits is read again, and chunks are gone by now. */
        gate->verdict = ask(conn, request, !(outdated && request->chunked));
    }
    gate->known = gate->verdict != AUTH_PENDING;
    if (!gate->known) {
        wait_for_check(conn);
    } else if (gate->verdict == AUTH_REJECTED) {
        log_refusals(conn);
    }
    return gate->known;
}

void api_gate_close(struct conn *conn)
{
    struct conn_gate *gate = &conn->gate;
    if (gate->check) {
        (void)auth_check_end(gate->check, &gate->identity);
    }
    auth_release(&gate->identity);
    *gate = (struct conn_gate){0};
}

/* ---- permissions ---- */

bool api_gate_shows_node(const struct conn *conn)
{
    return conn->api->node &&
           (!conn->api->gate.auth || auth_is_trusted(&conn->gate.identity));
}

static void answer_unauthorized(struct conn *conn, const char *message)
{
    buf_add_string(&conn->api->headers,
                   "WWW-Authenticate: Basic realm=\"craftd\", "
                   "charset=\"UTF-8\"\r\n"
                   "WWW-Authenticate: Bearer realm=\"craftd\"\r\n");
    api_answer_problem(conn, 401, "unauthorized", message, OUTCOME_NOT_APPLIED);
}

/* Answer 401 to a request without credentials, which may be repeated with some;
 * otherwise 403 with the permission that is missing ("write:svc/a"). What is no
 * key is not named, since JSON cannot hold it (RFC 8259 8.1). */
static bool deny(struct conn *conn, enum auth_perm perm, struct bytes key)
{
    struct buf need = {0};
    struct buf text = {0};
    if (!conn->gate.named) {
        answer_unauthorized(conn, "this needs a user and a password (Basic), "
                                  "or a token (Bearer)");
        return false;
    }
    buf_add_string(&text, auth_perm_name(perm));
    if (key.size > 0 && (perm == AUTH_READ || perm == AUTH_WRITE) &&
        json_is_utf8(key)) {
        buf_add_u8(&text, ':');
        buf_add_bytes(&text, key);
    }
    buf_add_string(&need, ",\"need\":");
    json_add_string(&need, buf_bytes(&text));
    buf_add_u8(&need, 0);
    api_answer_problem_with(conn, 403, "forbidden",
                            "the user or token lacks a permission (--auth)",
                            OUTCOME_NOT_APPLIED, (const char *)need.data);
    buf_free(&need);
    buf_free(&text);
    return false;
}

bool api_gate_allows(struct conn *conn, enum auth_perm perm, struct bytes key)
{
    return auth_may(&conn->gate.identity, perm, key) || deny(conn, perm, key);
}

bool api_gate_allows_unseen(struct conn *conn, enum auth_perm perm,
                            struct bytes key)
{
    const struct auth_identity *identity = &conn->gate.identity;
    struct bytes shown =
        auth_may(identity, AUTH_READ, key) ? key : (struct bytes){0};
    return auth_may(identity, perm, key) || deny(conn, perm, shown);
}

bool api_gate_allows_below(struct conn *conn, enum auth_perm perm,
                           struct bytes key)
{
    return auth_may_below(&conn->gate.identity, perm, key) ||
           deny(conn, perm, key);
}

/* Returns whether the credentials themselves are refused. True: answered. */
static bool is_refused(struct conn *conn)
{
    must(conn->gate.known);
    switch (conn->gate.verdict) {
    case AUTH_ACCEPTED:
        return false;
    case AUTH_REJECTED:
        answer_unauthorized(conn,
                            "the user, the password or the token is wrong");
        return true;
    case AUTH_CROWDED:
        api_answer_problem(conn, 429, "overloaded",
                           "too many passwords are being checked already",
                           OUTCOME_NOT_APPLIED);
        return true;
    case AUTH_PENDING:
        break;
    }
    must(false);
    return true;
}

bool api_gate_refused_stranger(struct conn *conn)
{
    if (is_refused(conn)) {
        return true;
    }
    if (auth_is_known(&conn->gate.identity)) {
        return false;
    }
    answer_unauthorized(conn, "this needs a user and a password (Basic), or a "
                              "token (Bearer)");
    return true;
}

/* A key that is none is the handler's to refuse: then any key will do. */
static bool allows_key(struct conn *conn, const struct http_request *request,
                       const char *path, enum auth_perm perm)
{
    struct buf *key = &conn->request.key;
    size_t root = strlen(path) + 1;
    bool is_key = false;
    if (auth_may(&conn->gate.identity, perm, (struct bytes){0})) {
        return true; /* Most may do it with all. */
    }
    key->size = 0;
    if (request->path.size > root) {
        struct bytes raw =
            bytes_of(request->path.data + root, request->path.size - root);
        is_key =
            http_percent_decode(raw, buf_reserve(key, raw.size), &key->size);
    }
    return is_key ? api_gate_allows(conn, perm, buf_bytes(key))
                  : api_gate_allows_below(conn, perm, (struct bytes){0});
}

bool api_gate_refused(struct conn *conn, const struct http_request *request,
                      const char *path, const struct gate_need *need)
{
    struct bytes prefix = {0};
    if (is_refused(conn)) {
        return true;
    }
    if (api_is_given(conn, PARAM_PREFIX)) {
        prefix = conn->request.params.values[PARAM_PREFIX];
    }
    switch (need->object) {
    case GATE_ANYONE:
        return false;
    case GATE_NODE:
        return !api_gate_allows(conn, need->perm, (struct bytes){0});
    case GATE_KEY:
        return !allows_key(conn, request, path, need->perm);
    case GATE_PREFIX:
        return !api_gate_allows(conn, need->perm, prefix);
    case GATE_LIST:
        return !api_gate_allows_below(conn, need->perm, prefix);
    case GATE_WATCH:
        return api_is_given(conn, PARAM_KEY)
                   ? !api_gate_allows(conn, need->perm,
                                      conn->request.params.values[PARAM_KEY])
                   : !api_gate_allows_below(conn, need->perm, prefix);
    case GATE_TXN:
        return !auth_may_below(&conn->gate.identity, AUTH_READ,
                               (struct bytes){0}) &&
               !api_gate_allows_below(conn, need->perm, (struct bytes){0});
    case GATE_BODY:
        return !api_gate_allows_below(conn, need->perm, (struct bytes){0});
    }
    return true;
}

/* ---- rules ---- */

enum err api_set_rules(struct api *api, struct bytes file, char *why,
                       size_t why_size)
{
    char wrong[AUTH_WHY_BYTES];
    struct auth *auth = api->gate.auth;
    if (!auth) {
        auth = auth_new(api->gate.secret,
                        (uint32_t)max_u64(api->options.conns_max / 4, 8));
    }
    enum err err = auth_set_rules(auth, file, wrong);
    if (err) {
        snprintf(why, why_size, "%s", wrong);
    }
    if (err && !api->gate.auth) {
        auth_free(auth);
    } else {
        api->gate.auth = auth;
    }
    if (!err) {
        api_watches_end(api); /* They come again, under the new rules. */
        api_polls_end(api);
    }
    return err;
}

uint32_t api_rules_count(const struct api *api)
{
    return api->gate.auth ? auth_user_count(api->gate.auth) : 0;
}

void api_gate_free(struct api *api)
{
    timer_cancel(api->options.reactor, &api->gate.timer);
    auth_free(api->gate.auth);
    crypto_zero(&api->gate, sizeof(api->gate));
}
