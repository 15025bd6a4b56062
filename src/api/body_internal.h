/* body_internal.h -- bodies that are sent or received in pieces: body.c.
 *
 * A source produces the body of an answer while it is being sent: an image of
 * the database, a page of a list. It is pulled as fast as the client takes it,
 * and no faster, so that the stream never holds more than the queue of the
 * source and one piece. A sink consumes the body of a request while it is being
 * received: an upload.
 *
 * The same rule for slow clients holds for both. A client that takes nothing
 * for 30 s is dropped. One that is slow, less than a mebibyte per second after
 * 30 s (for a sink: less than 64 kB/s), is dropped when others wait for what it
 * holds; the source or the sink decides when. */
#ifndef CRAFTD_API_BODY_INTERNAL_H
#define CRAFTD_API_BODY_INTERNAL_H

#include "base/bytes.h"

struct conn;

/* An upload that is slower than this is slow. */
enum { BODY_UPLOAD_BYTES_PER_S = 64000 };

struct body_source {
    const char *name;   /* For the log: "backup". */
    size_t queue_bytes; /* pull() waits while the stream holds this many. */
    /* Add the next `size` bytes of the body to `out`. After an error the
     * connection ends: the head of the answer has promised a length. */
    enum err (*pull)(struct conn *conn, struct buf *out, size_t size);
    /* Release what the source holds: everything has been pulled, or no more
     * will be. Called once; the connection may be about to be freed. */
    void (*close)(struct conn *conn);
    /* Returns whether others wait for what the source holds. NULL: always. */
    bool (*is_awaited)(const struct conn *conn);
    /* For api_body_stream(): returns whether everything was pulled. pull() then
     * takes `size` as a guide, may add more for one item, and should take no
     * longer than a few milliseconds. NULL: the length is known. */
    bool (*is_over)(const struct conn *conn);
};

/* The body of an answer, PRIVATE to body.c. */
struct body_out {
    const struct body_source *source; /* NULL: none is being sent. */
    uint64_t size_bytes; /* Not of a body whose length is unknown. */
    uint64_t sent_bytes; /* Pulled; some may still be in the stream. */
    uint64_t begin_ms;
    uint64_t moved_ms; /* When the client last made room for a piece. */
};

struct body_sink {
    /* Consume the next piece, which is valid during the call. It may answer the
     * request: no more pieces come then. */
    void (*take)(struct conn *conn, struct bytes piece);
    /* The body is complete: set conn->busy, and answer later. */
    void (*complete)(struct conn *conn);
    /* The request has been answered, or its client is gone. Called once. */
    void (*close)(struct conn *conn);
};

/* The body of a request, PRIVATE to body.c. */
struct body_in {
    const struct body_sink *sink; /* NULL: none is being received. */
    bool is_complete;
};

/* Send a body of `size_bytes` bytes after the head of the answer, which
 * api_answer_head() has written, and complete the answer. */
void api_body_send(struct conn *conn, const struct body_source *source,
                   uint64_t size_bytes);
/* The same for a body whose length is not known: write the head of the answer,
 * with the headers in api->headers, and the body in chunks; to a client of
 * HTTP/1.0 up to the end of the connection. After an error of the source the
 * last chunk is missing. */
void api_body_stream(struct conn *conn, const struct body_source *source,
                     const char *type);
bool api_body_is_sending(const struct conn *conn);
/* Go on sending: the stream has room (on_drain()). */
void api_body_send_more(struct conn *conn);
/* Returns whether the client of the answer being sent is slow. */
bool api_body_is_slow(const struct conn *conn);
/* Log that the client is slow, and drop the connection, which is gone then. */
void api_body_drop_slow(struct conn *conn);

/* Pass the body of the request whose head has been read to `sink`. */
void api_body_receive(struct conn *conn, const struct body_sink *sink);
/* Returns whether a sink is waiting for more of the body. */
bool api_body_is_receiving(const struct conn *conn);
/* Pass on a piece of the body, or that it is complete. */
void api_body_take(struct conn *conn, struct bytes piece);
void api_body_complete(struct conn *conn);
/* Returns whether an upload that began at `begin_ms` and has received `bytes`
 * is slow.
 */
bool api_body_is_slow_upload(const struct conn *conn, uint64_t begin_ms,
                             uint64_t bytes);

/* Close source and sink, if there are any. */
void api_body_close(struct conn *conn);

#endif
