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
    RESTORE_RECEIVE, /* The body is being received. */
    RESTORE_CHECK,   /* Its rows are being read. */
    /* From here on entries of the restore are in the log: */
    RESTORE_BEGIN,
    RESTORE_ROWS,
    RESTORE_COMMIT,
    RESTORE_ABORT, /* The cluster is asked to drop what it has of it. */
};

/* The restore of this node; one at a time. */
struct restore {
    struct api *api;
    struct conn *conn; /* NULL: the client is gone, or was answered. */
    enum restore_stage stage;
    struct store_upload *upload;
    bool opened; /* store_upload_open() has succeeded. */
    uint64_t begin_ms;
    uint64_t received_bytes;
    uint64_t row_bytes; /* Estimate of what its rows take in the database. */
    struct timer timer;
    struct node_request request;
    struct buf command;   /* The current step, which may be repeated. */
    uint64_t id;          /* Random; tells this restore from others. */
    uint64_t patience_ms; /* Time for each step, from ?timeout=. */
    uint64_t deadline_ms; /* End of the time of the current step. */
    bool is_repeat_due;   /* The timer repeats the current step. */
    bool uncertain;       /* An earlier attempt at it may have been applied. */
    bool has_row;         /* key and value are a row that found no room. */
    struct bytes key;
    struct bytes value;
    uint64_t batch_rows;   /* Rows in `command`. */
    uint64_t applied_rows; /* Rows of the batches before it. */
    uint64_t hash;         /* Of those: command_restore_hash(). */
};

/* Abandon the restore in progress, if there is one, and free its memory. */
void api_restore_free(struct api *api);

#endif
