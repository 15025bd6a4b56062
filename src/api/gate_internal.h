/* gate_internal.h -- who sends a request, and what it may do: gate.c. */
#ifndef CRAFTD_API_GATE_INTERNAL_H
#define CRAFTD_API_GATE_INTERNAL_H

#include "api/api.h"
#include "auth/auth.h"
#include "http/http.h"

struct conn;

/* What a permission of a route is for. */
enum gate_object {
    GATE_NODE,   /* This node or the cluster, or all keys. */
    GATE_KEY,    /* The key in the path. */
    GATE_PREFIX, /* All keys that begin with ?prefix=. */
    GATE_LIST,   /* Those keys below ?prefix= that may be read: the walk leaves
                    out the others (scan.c). Some there must be. */
    GATE_BODY,   /* Keys in the body, for each of which the handler asks
                    api_gate_allows(). Some there must be. */
    GATE_TXN,    /* The same, of which some are read and some are written. */
};

struct gate_need {
    enum auth_perm perm;
    enum gate_object object;
};

/* Of one API: the rules, and the timer of the checks. */
struct api_gate {
    struct auth *auth;              /* NULL: everybody may do everything. */
    uint8_t secret[AUTH_KEY_BYTES]; /* See struct api_options. */
    struct timer timer;
    uint64_t logged_ms; /* Time of the last line about a refusal, ... */
    uint64_t logged;    /* ... and refusals counted by then. */
};

/* Of one request. From its head to its answer. */
struct conn_gate {
    bool known;   /* The verdict is there. */
    bool named;   /* It has credentials, right or wrong. */
    bool at_head; /* It waits with its head read, and the body not. */
    enum auth_verdict verdict;
    struct auth_identity identity;
    struct auth_check *check; /* NULL: none is under way. */
};

/* Find out who sends the request whose head has been read. False: that takes
 * time. The connection is busy meanwhile, the request has to stay in the
 * stream, and the stream is kicked when this can be called again. */
MUST_CHECK bool api_gate_identify(struct conn *conn,
                                  const struct http_request *request);
/* Whether the sender is wrong, or may not do what the route needs; `path` is
 * that of the route. True: answered 401, 403 or 429. */
MUST_CHECK bool api_gate_refused(struct conn *conn,
                                 const struct http_request *request,
                                 const char *path,
                                 const struct gate_need *need);
/* The same for a request without a route (404, 405, OPTIONS): it has to come
 * from somebody who is known. */
MUST_CHECK bool api_gate_refused_stranger(struct conn *conn);
/* For a handler: whether the sender may do `perm` with the key and all that
 * begin with it. False: answered 403, or 401. */
MUST_CHECK bool api_gate_allows(struct conn *conn, enum auth_perm perm,
                                struct bytes key);
/* The same for the key, or for one that begins with it. */
MUST_CHECK bool api_gate_allows_below(struct conn *conn, enum auth_perm perm,
                                      struct bytes key);
/* Forget the sender. Safe without one, and while a check is under way. */
void api_gate_close(struct conn *conn);
/* No connection is left. */
void api_gate_free(struct api *api);

#endif
