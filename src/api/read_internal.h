/* read_internal.h -- levels of consistency, and when a read may be answered:
 * read.c. */
#ifndef CRAFTD_API_READ_INTERNAL_H
#define CRAFTD_API_READ_INTERNAL_H

#include "base/list.h"
#include "http/http.h"
#include "reactor/reactor.h"

struct conn;

enum read_level {
    LEVEL_LINEARIZABLE,
    LEVEL_STRONG,
    LEVEL_WEAK,
    LEVEL_NONE,
    LEVEL_AUTO, /* api_read_start() chooses another one. */
};

/* The condition on which a read is answered. */
struct reading {
    enum read_level level;
    uint64_t index;    /* This entry must have been applied here. */
    uint64_t fresh_ms; /* Longest time since the leader's last message;
                          UINT64_MAX: any. */
    bool fresh_strict;
    void (*show)(struct conn *conn);
};

/* Reads that may be shown, and wait for a turn with time left: read.c. */
struct api_reads {
    struct list waiting; /* struct conn, by request.read_link. */
    struct timer timer;
    uint64_t turn; /* Turn in which answers were shown last, ... */
    uint64_t us;   /* ... and the time spent on that in it. */
};

/* Call `show` when this node may answer as ?level=, ?freshness= and
 * ?min_index= demand: at once or in a later turn, or answer the problem. */
void api_read_start(struct conn *conn, const struct http_request *request,
                    void (*show)(struct conn *conn));
/* The same at the level linearizable, for a request that is no read but begins
 * with one. */
void api_read_latest(struct conn *conn, void (*show)(struct conn *conn));
/* Wait again: the state has gone back after `show` was called (a full disk).
 */
void api_read_wait(struct conn *conn);
/* The connection ends: forget its read. */
void api_read_close(struct conn *conn);
/* Add Craftd-Level, and on a follower Craftd-Last-Contact. */
void api_add_read_headers(struct conn *conn);

#endif
