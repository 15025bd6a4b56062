/* restore_internal.h -- a restore: restore.c. */
#ifndef CRAFTD_API_RESTORE_INTERNAL_H
#define CRAFTD_API_RESTORE_INTERNAL_H

#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"

struct api;
struct conn;

enum restore_stage {
    RESTORE_NONE,
    RESTORE_RECEIVE, /* The body is coming. */
    RESTORE_CHECK,
    /* From here on the cluster knows of it: */
    RESTORE_BEGIN,
    RESTORE_ROWS,
    RESTORE_COMMIT,
    RESTORE_ABORT, /* Abandoned: the cluster is to forget it. */
};

/* One at a time (restore.c). */
struct restore {
    struct api *api;
    struct conn *conn; /* NULL: it is gone, or was answered. */
    enum restore_stage stage;
    struct store_upload *upload;
    bool opened;
    uint64_t begun_ms;
    uint64_t received;
    uint64_t row_bytes; /* Estimate of what its rows will take. */
    struct timer timer;
    struct node_request request;
    struct buf command; /* The step that is being done. */
    uint64_t id;
    uint64_t patience_ms; /* Time for each step. */
    uint64_t deadline_ms; /* End of that of the current step. */
    bool again;           /* The timer repeats the current step. */
    bool uncertain;       /* An earlier attempt at it may have been done. */
    bool held;            /* key and value are the next row. */
    struct bytes key;
    struct bytes value;
    uint64_t batch; /* Rows in `command`. */
    uint64_t sent;  /* ... and before it. */
    uint64_t hash;
};

/* Abandon the one that is under way, if there is one. */
void api_restore_free(struct api *api);

#endif
