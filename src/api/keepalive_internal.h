/* keepalive_internal.h -- keepalives of leases that share an entry of the log:
 * keepalive.c. */
#ifndef CRAFTD_API_KEEPALIVE_INTERNAL_H
#define CRAFTD_API_KEEPALIVE_INTERNAL_H

#include "base/list.h"
#include "reactor/reactor.h"

struct api;
struct conn;
struct node_result;
struct result_op;

/* A keepalive of a connection. From its request to its answer, but `last_ms`.
 */
struct conn_keepalive {
    struct list link; /* In a batch; alone: it waits in none. */
    uint64_t lease;
    uint32_t at;      /* Its place in the batch, which has been submitted. */
    uint64_t last_ms; /* Time of the keepalive before on this connection; 0:
                         there was none. */
};

struct keepalive_batch;

/* All that wait. */
struct api_keepalives {
    struct keepalive_batch *open; /* It takes more; NULL: there is none. */
    struct list submitted;        /* struct keepalive_batch, by link. */
    uint64_t submitted_ms;        /* Time of the last submission. */
    struct timer timer;
};

void api_keepalives_init(struct api *api);
/* No connection is left. */
void api_keepalives_free(struct api *api);
/* Keep the lease alive. Its answer comes from api_finish_keepalive(). The
 * request has the default time to wait, and no name. */
void api_keepalive_add(struct conn *conn, uint64_t lease);
/* Answer a keepalive. `op`: the result of its operation, if `result` is that
 * the command was applied. */
void api_finish_keepalive(struct conn *conn, const struct node_result *result,
                          const struct result_op *op);
/* The connection ends. Safe without a keepalive. */
void api_keepalive_close(struct conn *conn);

#endif
