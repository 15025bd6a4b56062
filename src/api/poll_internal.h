/* poll_internal.h -- reads that wait for a change: poll.c.
 *
 * GET /key/KEY and GET /keys wait when they name the state that their client
 * has, by If-None-Match or ?index=, and how long they may wait, by ?wait= or
 * Prefer: wait= (RFC 7240 4.3). They are answered as soon as that key, or a key
 * with that prefix, has changed, and with 304 when the time is over. */
#ifndef CRAFTD_API_POLL_INTERNAL_H
#define CRAFTD_API_POLL_INTERNAL_H

#include "http/http.h"
#include "node/feed.h"
#include "reactor/reactor.h"

struct api;
struct conn;

/* The wait of a read. From its request to its answer. */
struct conn_poll {
    bool wanted;    /* The read may wait. */
    bool has_index; /* ?index= is given, and ... */
    uint64_t index; /* ... is this. */
    uint64_t until_ms;
    bool waits; /* It waits now, and has a place among the watches. */
    uint64_t since_ms;
    struct feed_watch feed;
    struct timer timer;
};

/* Read the parameters of a wait, for a read that may have it. False: answered
 * 400. */
bool api_poll_take(struct conn *conn, const struct http_request *request);
/* True if nothing with that key, or that prefix, has changed since entry
 * `index`, as far as the client may know, and that is certain. */
bool api_poll_is_unchanged(struct conn *conn, struct bytes key, bool is_prefix,
                           uint64_t index);
/* The state is the one that the client has. Wait, and start the read again
 * (api_read_wait()) after the next change: true. False: it may not wait any
 * longer, and is to be answered 304. `key` is borrowed. */
bool api_poll_wait(struct conn *conn, struct bytes key, bool is_prefix);
/* Answer the reads that wait: the node stops, or has new rules. */
void api_polls_end(struct api *api);
/* The connection ends, or the answer is complete. Safe if nothing waits. */
void api_poll_close(struct conn *conn);

#endif
