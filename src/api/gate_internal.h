/* gate_internal.h -- authentication and permissions of requests: gate.c,
 * join_token.c. */
#ifndef CRAFTD_API_GATE_INTERNAL_H
#define CRAFTD_API_GATE_INTERNAL_H

#include "api/api.h"
#include "auth/auth.h"
#include "http/http.h"

struct conn;
struct raft_member;

/* The object that the permission of a route is about. */
enum gate_object {
    GATE_ANYONE, /* Nothing: what is shown is no secret, or the sender's own. */
    GATE_NODE,   /* This node or the cluster, or all keys. */
    GATE_KEY,    /* The key in the path. */
    GATE_PREFIX, /* All keys that begin with ?prefix=. */
    GATE_LIST,   /* The keys below ?prefix= that may be read; the walk skips
                    the others (scan.c). At least one key must be allowed. */
    GATE_WATCH,  /* The key in ?key=, or as GATE_LIST. */
    GATE_BODY,   /* Keys in the body: the handler calls api_gate_allows() for
                    each. At least one key must be allowed. */
    GATE_TXN,    /* The same for keys that are read and keys that are written.
                  */
};

struct gate_need {
    enum auth_perm perm;
    enum gate_object object;
};

/* State of the API: the rules, and the timer of the checks. */
struct api_gate {
    struct auth *auth;              /* NULL: everything is allowed. */
    uint8_t secret[AUTH_KEY_BYTES]; /* See struct api_options. */
    struct timer timer;
    uint64_t logged_ms; /* Time of the last line about a refusal, ... */
    uint64_t logged;    /* ... and refusals counted by then. */
};

/* State of a request. From its head to its answer. */
struct conn_gate {
    bool known;   /* `verdict` is set. */
    bool named;   /* It has credentials, right or wrong. */
    bool at_head; /* It waits after its head, before its body is read. */
    enum auth_verdict verdict;
    struct auth_identity identity;
    struct auth_check *check; /* NULL: none is in progress. */
};

/* Identify the sender of the request whose head has been read. False: a check
 * is in progress. The connection is busy meanwhile, the request has to stay in
 * the stream, and the stream is kicked when this can be called again. */
MUST_CHECK bool api_gate_identify(struct conn *conn,
                                  const struct http_request *request);
/* True if the rules have changed since the sender was identified: its request
 * may be finished, but must not wait for changes of data any more. */
MUST_CHECK bool api_gate_is_outdated(const struct conn *conn);
/* Returns whether the credentials are wrong, or lack the permission that the
 * route needs; `path` is that of the route. True: answered 401, 403 or 429. */
MUST_CHECK bool api_gate_refused(struct conn *conn,
                                 const struct http_request *request,
                                 const char *path,
                                 const struct gate_need *need);
/* The same for a request without a route (404, 405, OPTIONS), which needs valid
 * credentials only. */
MUST_CHECK bool api_gate_refused_stranger(struct conn *conn);
/* For a handler: whether the sender has `perm` for the key and for all keys
 * that begin with it. False: answered 403, or 401. */
MUST_CHECK bool api_gate_allows(struct conn *conn, enum auth_perm perm,
                                struct bytes key);
/* The same without naming a key that the sender may not read. */
MUST_CHECK bool api_gate_allows_unseen(struct conn *conn, enum auth_perm perm,
                                       struct bytes key);
/* The same for the key, or for at least one key that begins with it. */
MUST_CHECK bool api_gate_allows_below(struct conn *conn, enum auth_perm perm,
                                      struct bytes key);
/* True if an answer may name the node, its leader and their state. Without that
 * the sender learns no more than from a probe. */
MUST_CHECK bool api_gate_shows_node(const struct conn *conn);
/* For POST /join: whether the sender may add `member`. False: answered. */
MUST_CHECK bool api_gate_may_join(struct conn *conn,
                                  const struct raft_member *member);
/* Forget the sender, and cancel the check if one is in progress. Safe without
 * either. */
void api_gate_close(struct conn *conn);
/* Free the state of the API. No connection may be left. */
void api_gate_free(struct api *api);

#endif
