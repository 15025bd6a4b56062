/* params_internal.h -- query parameters: params.c. */
#ifndef CRAFTD_API_PARAMS_INTERNAL_H
#define CRAFTD_API_PARAMS_INTERNAL_H

#include "api/api.h"
#include "http/http.h"

struct conn;

/* Query parameters; params.c has their names. */
enum param {
    PARAM_CAS,
    PARAM_TTL,
    PARAM_LEASE,
    PARAM_RAW,
    PARAM_META,
    PARAM_PREFIX,
    PARAM_ALL,
    PARAM_AFTER,
    PARAM_END,
    PARAM_PATTERN,
    PARAM_LIMIT,
    PARAM_OFFSET,
    PARAM_REVERSE,
    PARAM_KEYS,
    PARAM_SEPARATOR,
    PARAM_COUNT_ONLY,
    PARAM_FORMAT,
    PARAM_LEVEL,
    PARAM_STALE,
    PARAM_CONSISTENT,
    PARAM_FRESHNESS,
    PARAM_FRESHNESS_STRICT,
    PARAM_MIN_INDEX,
    PARAM_KEY,
    PARAM_EVENTS,
    PARAM_INITIAL,
    PARAM_SINCE,
    PARAM_INDEX,
    PARAM_WAIT,
    PARAM_STATUS,
    PARAM_NODES,
    PARAM_NOLEADER,
    PARAM_SYNC,
    PARAM_REDIRECT,
    PARAM_TIMEOUT,
    PARAM_PRETTY,
    PARAM_COUNT,
};

/* In a set of parameters: others are ignored, not refused. */
#define PARAMS_ANY (UINT64_C(1) << 63)

/* The query of the request being answered. Sets have a bit for each enum
 * param. */
struct params {
    uint64_t taken;       /* Those of the route, after api_params_refused(). */
    uint64_t given;       /* Those of the request. */
    uint64_t repeated;    /* Those given more than once. */
    struct bytes unknown; /* The first name that is no parameter; encoded. */
    bool bad_escape;      /* A name or a value cannot be decoded. */
    struct bytes values[PARAM_COUNT]; /* Of those given: decoded, in `text`. */
    struct buf text;
};

/* Fill in conn->request.params, but for `taken`. Values stay good until the
 * next request, whatever becomes of this one's bytes. */
void api_params_read(struct conn *conn, const struct http_request *request);
/* Check the parameters against those of the request's route, `taken`, whose
 * path an error names. True: one was given that the route does not take, one
 * was given twice, or one cannot be decoded; answered 400. */
bool api_params_refused(struct conn *conn, uint64_t taken, const char *path);
/* The value of a parameter that the request's route takes. False: not given. */
bool api_get_param(const struct conn *conn, enum param param,
                   struct bytes *value);
/* Returns whether a flag that the request's route takes is set: given by its
 * name alone or with any value but 0 and false. */
bool api_flag(const struct conn *conn, enum param param);
/* Returns whether a parameter is given, and whether a flag is set, for
 * parameters that the route may not take. */
bool api_is_given(const struct conn *conn, enum param param);
bool api_is_on(const struct conn *conn, enum param param);

/* Read a parameter that is at most as long as a key may be: a view that stays
 * good until the next request, empty when it is not given. False: answered
 * 400. */
bool api_take_text(struct conn *conn, enum param param, struct bytes *text);
/* Read ?limit=, the number of items on a page. False: answered 400. */
bool api_take_limit(struct conn *conn, uint64_t *limit);
/* Answer 400 because of a parameter. Always false, for `return`. */
bool api_bad_param(struct conn *conn, const char *message);
/* Add the parameters of `query` but `without`, each with an ampersand behind
 * it, for the Link to the next page. */
void api_add_query(struct buf *out, struct bytes query, const char *without);

/* Set the deadline of the request, by ?timeout=. False: answered 400. */
bool api_read_timeout(struct conn *conn);

#endif
