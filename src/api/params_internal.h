/* params_internal.h -- query parameters: params.c. */
#ifndef CRAFTD_API_PARAMS_INTERNAL_H
#define CRAFTD_API_PARAMS_INTERNAL_H

#include "api/api.h"
#include "http/http.h"

struct conn;

/* Query parameters; params.c has their names. */
enum param {
    PARAM_CAS,
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
    PARAM_STATUS,
    PARAM_NODES,
    PARAM_NOLEADER,
    PARAM_SYNC,
    PARAM_REDIRECT,
    PARAM_TIMEOUT,
    PARAM_PRETTY,
    PARAM_COUNT,
};

/* In a set of what is taken: others are ignored, not refused. */
#define PARAMS_ANY (UINT64_C(1) << 63)

/* The query of the request being answered. Sets have a bit for each enum
 * param. */
struct params {
    uint64_t taken; /* By the route, from api_params_refused() on. */
    uint64_t given;
    uint64_t repeated;
    struct bytes unknown; /* The first name that is no parameter; encoded. */
    bool bad_escape;
    struct bytes values[PARAM_COUNT]; /* Where given; decoded, in `text`. */
    struct buf text;
};

/* Fill in conn->request.params, but for `taken`. Values stay good until the
 * next request, whatever becomes of this one's bytes. */
void api_params_read(struct conn *conn, const struct http_request *request);
/* Whether one was given that `what` ("GET /keys") does not take, one came
 * twice, or one cannot be decoded. True: answered 400. */
bool api_params_refused(struct conn *conn, uint64_t taken, const char *what);
/* The value of a parameter that the request's route takes. False: not given. */
bool api_get_param(const struct conn *conn, enum param param,
                   struct bytes *value);
/* The same for one that is said by its name alone, and unsaid by 0 or false. */
bool api_flag(const struct conn *conn, enum param param);
/* The same two, whether the route takes it or not. */
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

/* The deadline that ?timeout= asks for; false: answered 400. */
bool api_read_timeout(struct conn *conn);

#endif
