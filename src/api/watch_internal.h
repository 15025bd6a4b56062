/* watch_internal.h -- GET /watch: a stream of changes. watch.c has the stream,
 * watch_initial.c the set that it may begin with, watch_text.c the form of its
 * events, watch_lag.c how far clients are behind, watch_turn.c how much all of
 * them do in a turn. */
#ifndef CRAFTD_API_WATCH_INTERNAL_H
#define CRAFTD_API_WATCH_INTERNAL_H

#include "base/bytes.h"
#include "base/list.h"
#include "node/feed.h"
#include "reactor/reactor.h"

struct api;
struct auth_identity;
struct conn;

/* ---- the text of events: watch_text.c ---- */

enum watch_format {
    WATCH_SSE,    /* Server-sent events (WHATWG HTML 9.2). */
    WATCH_NDJSON, /* One JSON object a line. */
};

/* An event is written in two parts, since whether it has an id is known only
 * when the next one is: of the events of one entry that a watcher receives, the
 * last one alone has it. So a client that is cut off between two of them
 * resumes before the first, and receives all of them again. */
void watch_add_event(struct buf *out, enum watch_format format,
                     const struct feed_event *event);
/* End an event, without an id. */
void watch_end_event(struct buf *out, enum watch_format format);
/* End an event with an id; with `is_open` false, add an id without an event. */
void watch_add_id(struct buf *out, enum watch_format format, bool is_open,
                  uint64_t index);
/* A key as it is, of the initial set. */
void watch_add_pair(struct buf *out, enum watch_format format, struct bytes key,
                    struct bytes value, uint64_t index, uint64_t create_index);
/* Everything up to `index` has been shown. */
void watch_add_sync(struct buf *out, enum watch_format format, uint64_t index);
/* Tells the client that what it knows is void: the initial set follows. */
void watch_add_reset(struct buf *out, enum watch_format format, uint64_t index);
/* Events were lost: the stream ends. `floor` is the least index after which a
 * watch can resume. */
void watch_add_lost(struct buf *out, enum watch_format format,
                    const char *reason, uint64_t floor);

/* ---- the stream: watch.c ---- */

enum watch_stage {
    WATCH_NONE,     /* The request is no watch, or its answer has not begun. */
    WATCH_FIRST,    /* The first page of the initial set is being read. */
    WATCH_PAGES,    /* A further page is being read. */
    WATCH_CHANGES,  /* A page has been read; changes are sent before it. */
    WATCH_BLOCKED,  /* The next page waits until the client has taken more. */
    WATCH_STREAMING /* Changes are sent as they come. */
};

/* How much of this node's state a client has been sent: watch_lag.c. */
struct watch_lag {
    uint64_t index; /* The kernel has taken everything up to this index, ... */
    uint64_t ms;    /* ... which was applied last at this time. */
    /* A position in the output, up to which the client will have been sent the
     * state of that index and time; and the bytes written behind it. */
    uint64_t mark_index;
    uint64_t mark_ms;
    size_t mark_bytes;
};

/* A watch of a connection. From the start of its answer to the end of it. */
struct conn_watch {
    enum watch_stage stage;
    struct feed_watch feed;
    enum watch_format format;
    struct list link;    /* In api->watches.all. */
    struct list written; /* In api->watches.written; alone: nothing was written
                            since its last end. */
    struct list resumed; /* In api->watches.resumed, or alone. */
    bool chunked;
    bool is_reset;       /* The initial set follows a resume that failed. */
    size_t chunk_at;     /* Offset in the output of the chunk being written. */
    size_t counted;      /* Bytes of that chunk in api->watches.bytes. */
    bool is_open;        /* An event has been written but for its end. */
    uint64_t id_pending; /* Index of events whose id has not been written. */
    uint64_t id;         /* Last id that was written. */
    uint64_t written_ms; /* Time when something was written last. */
    size_t queued_bytes; /* Output that waits for the client, and since when it
                            has not become less. */
    uint64_t queued_ms;
    struct watch_lag lag;
};

/* All watches. */
struct api_watches {
    struct list all;     /* struct conn, by watch.link. */
    struct list polls;   /* Reads that wait (poll.c), by the same link. */
    struct list written; /* Those with an unfinished chunk, by watch.written. */
    struct list resumed; /* Watches that go on in a later turn, by
                            watch.resumed, in order of arrival: watch_turn.c. */
    struct timer timer;  /* Armed while there are some. */
    uint64_t work_turn;  /* Turn in which watches worked last, ... */
    uint64_t work;       /* ... and what they have done in it. */
    uint32_t count;      /* Members of `all` and `polls` together. */
    uint64_t bytes;   /* Upper bound on their output that waits; see `turn`. */
    uint64_t turn;    /* Turn in which that was counted. */
    uint64_t events;  /* Sent, since the start. */
    uint64_t dropped; /* Watches that were lost or stalled, since the start. */
    uint64_t dropped_ms; /* Time of the last of them; 0: none. */
    /* The text of the event that is being delivered, for all who watch it. */
    struct buf text;
    struct bytes text_key;
    uint64_t text_index;
    enum watch_format text_format;
};

void api_watches_init(struct api *api);
void api_watches_free(struct api *api);
/* The node is there: its feed can be watched. */
void api_watches_attach(struct api *api);
/* Upper bound on watches. */
uint32_t api_watches_max(const struct api *api);
/* End all watches, so that their clients come again: under new rules of --auth,
 * or to another node. */
void api_watches_end(struct api *api);
/* True if the connection's answer is a watch that has begun. */
bool api_is_watching(const struct conn *conn);
/* The client has taken everything: go on. */
void api_watch_drained(struct conn *conn);
/* The client sends no more. */
void api_watch_half_closed(struct conn *conn);
/* For scan.c: the page of the initial set cannot be read. True: the watch has
 * ended; false: its answer has not begun, and is to be an error. */
bool api_watch_page_failed(struct conn *conn);
/* The connection ends, or the answer is complete. Safe without a watch. */
void api_watch_close(struct conn *conn);

/* ---- how far clients are behind: watch_lag.c ---- */

enum { WATCH_SLOWEST_MAX = 5 };

/* Lag is counted from what the kernel has not taken: events in the output, and
 * those that the watch has not read from the feed. It counts entries of the
 * log, whether or not they concern the watch, since --history bounds those. */
struct watch_lag_row {
    const struct conn *conn;
    uint64_t entries;
    uint64_t ms; /* Age of the state that the client has been sent. */
    uint64_t bytes;
};

struct watches_lag {
    uint32_t behind; /* Number of watches that have not sent everything. */
    uint64_t entries_max;
    uint64_t ms_max;
    uint64_t bytes; /* Output that waits, of all. */
    uint32_t row_count;
    struct watch_lag_row rows[WATCH_SLOWEST_MAX]; /* The slowest first. */
};

/* Measure the lag of all watches. The rows are those of the slowest of which
 * `identity` may read all keys; NULL: no rows are wanted. */
void api_watches_get_lag(struct api *api, const struct auth_identity *identity,
                         struct watches_lag *lag);
/* The answer begins: the client has the state of that index. */
void watch_lag_begin(struct conn *conn, uint64_t index);
/* Something is to be written, or is ready to be and there is no room. */
void watch_lag_before(struct conn *conn);
/* Bytes were added to the output since watch_lag_before(). */
void watch_lag_after(struct conn *conn, size_t bytes);

/* ---- the work of a turn: watch_turn.c ---- */

/* True while watches have done less than their share of this turn. */
bool watch_may_work(struct api *api);
/* Count work: events of the ring that were examined, streams that get output to
 * send, and bytes of text. */
void watch_worked(struct api *api, uint64_t events, uint64_t writes,
                  uint64_t bytes);
/* True if a read that has waited may be answered in this turn, which is counted
 * as work then. */
bool api_watches_may_answer(struct api *api);
/* Call watch_go_on() in a later turn. Safe for one that waits already. */
void watch_queue(struct conn *conn);
/* Call watch_go_on(), in this turn if there is time, behind all that wait. */
void watch_go_on_in_turn(struct conn *conn);

/* ---- between watch.c and the others ---- */

/* Do what is next: send what the watch has missed, the next page, or a sign of
 * life. */
void watch_go_on(struct conn *conn);

/* False: this node would wait for changes that never come, and the client has
 * to go to another one; or the rules that allowed the watch are gone. */
bool watch_may_begin(const struct conn *conn);
/* Answer 503 to a watch that may not begin. */
void watch_refuse(struct conn *conn);

/* Read the next page of the initial set, of the keys behind the mark. */
void watch_start_page(struct conn *conn);

/* Write the head of the answer, which shows the state of `index`. */
void watch_begin_stream(struct conn *conn, uint64_t index);
/* The output to append to. */
struct buf *watch_output(struct conn *conn);
/* True if the client may read that key. */
bool watch_may_read(const struct conn *conn, struct bytes key);
void watch_write_event(struct conn *conn, const struct feed_event *event);
/* Release the text of the event that was written last: it is that of an event
 * in the ring, which may be another one soon. */
void watch_forget_text(struct api *api);
/* The events of an entry have been written, all that concern the watch or, if
 * it is not complete, some: then they get no id. */
void watch_end_entry(struct conn *conn, bool is_complete);
/* End what was written in this turn. */
void watch_finish_writing(struct conn *conn);
/* Send the changes before the page that has been read, and then the page. */
void watch_send_page(struct conn *conn);

/* True if the client, and all together, may be sent more. */
bool watch_has_room(struct conn *conn);
/* Write events of entries up to `upto` whose key `take` accepts, as far as
 * there is room and the work of a turn allows.
 *   ERR_OK         there is no room for more
 *   ERR_BUSY       it was enough for this turn
 *   ERR_NOT_FOUND  all are written
 *   ERR_CLOSED     the watch is lost */
MUST_CHECK enum err watch_read_ring(struct conn *conn, uint64_t upto,
                                    bool (*take)(const struct conn *conn,
                                                 struct bytes key));
/* watch_read_ring() has returned ERR_OK or ERR_BUSY: end what was written in
 * this turn, and go on in a later one. */
void watch_go_on_later(struct conn *conn, enum err err);
/* Read what the watch has missed, and follow then. */
void watch_catch_up(struct conn *conn);
/* Continue in that time, from the event loop. */
void watch_look_in(struct conn *conn, uint64_t in_ms);
/* End the stream with the event `lost`. */
void watch_end_lost(struct conn *conn, const char *reason);
extern const char watch_too_slow[];

#endif
