/* conn_internal.h -- the API, its connections and their requests: conns.c. */
#ifndef CRAFTD_API_CONN_INTERNAL_H
#define CRAFTD_API_CONN_INTERNAL_H

#include "api/api.h"
#include "api/body_internal.h"
#include "api/gate_internal.h"
#include "api/keepalive_internal.h"
#include "api/member_internal.h"
#include "api/metrics_internal.h"
#include "api/params_internal.h"
#include "api/poll_internal.h"
#include "api/read_internal.h"
#include "api/restore_internal.h"
#include "api/scan_internal.h"
#include "api/watch_internal.h"
#include "base/list.h"
#include "http/http.h"

/* All connections: conns.c. */
struct api_conns {
    struct list all;    /* struct conn, by link. */
    struct list unused; /* Closed ones, kept for reuse; by link as well. */
    uint32_t count;     /* Length of `all`. */
    struct list idle;   /* Those without a request or an answer, longest idle
                           first; by place.idle_link. */
    struct list guests; /* Those without a place, by place.guest_link. */
    uint32_t guest_count;
    struct timer guest_timer;
    bool full_logged;   /* One line per shortage of places. */
    struct list *hosts; /* A hash table: struct conn_host. */
    uint32_t host_list_count;
    uint64_t input_bytes; /* Received and not consumed, all connections. */
};

struct conn;
/* Continues a request when the node has answered its call: answers it, or calls
 * the node again. */
typedef void conn_finish(struct conn *conn, const struct node_result *result);

/* The place of a connection among all; PRIVATE to conns.c. From accept to
 * close. */
struct conn_place {
    struct conn_host *host;
    struct list idle_link; /* Alone: it is not idle. */
    struct list host_idle_link;
    struct list guest_link;
    bool is_guest; /* It has no place: probes only, and one request. */
    uint64_t accept_ms;
    uint64_t idle_turn; /* Turn in which it became idle. */
};

/* The one timer of a connection. From accept to close; while a body is sent in
 * pieces the timer is that of body.c. */
struct conn_clock {
    struct timer timer;
    uint64_t deadline_ms; /* The timer may be armed earlier. */
    bool is_for_head;     /* deadline_ms is of the head being received. */
};

/* The bytes that the client sends. From accept to close: requests follow each
 * other in one stream. */
struct conn_input {
    struct http_reader reader;
    bool eof; /* The client sends no more. */
    /* A request that is not complete; conns.c counts it. */
    bool is_receiving;    /* Bytes of one wait in the stream, ... */
    uint64_t receive_ms;  /* ... since this time. */
    bool is_wide;         /* The stream may hold a whole body. */
    size_t counted_bytes; /* In api->conns.input_bytes. */
    /* The request being read. */
    bool is_partial;     /* More of it may come than was received. */
    bool in_read;        /* Inside on_read(): no kick is needed, and ... */
    size_t behind_bytes; /* ... these bytes were received behind it. */
    struct body_in body;
};

/* The bytes that the client is sent. From accept to close. */
struct conn_output {
    bool keep_alive;      /* Another request may follow this answer. */
    uint64_t answer_turn; /* Turn of the last answer, ... */
    uint64_t answer_ms;   /* ... its time, ... */
    size_t answer_bytes;  /* ... and what was to be sent then. */
};

/* The request being answered. From its head, where begin() in server.c resets
 * all of it, to its answer; the memory of the buffers is kept for the next. */
struct conn_request {
    enum http_verb verb;
    enum route_group group;
    bool is_http10;
    uint64_t start_ms;
    uint64_t start_us; /* For the metrics. 0: it could not be read. */
    struct params params;
    struct buf key;  /* The key or the member that it names. */
    struct buf text; /* Bytes that its handler keeps between callbacks. */
    /* The call to the node in progress, which owns `call` until its callback;
     * and the function that continues then. */
    struct node_request call;
    conn_finish *finish;
    /* If it is a read: the condition on which it may be answered. */
    struct reading reading;
    struct list
        read_link; /* In api->reads.waiting; alone: it does not wait there. */
};

/* The answer to that request. From the head of the request until the answer is
 * complete, where api_answered() resets its form. */
struct conn_answer {
    int status;
    uint64_t index;   /* Value of Craftd-Index; 0: applied last. */
    uint64_t deleted; /* Keys deleted by the part of the request that is done:
                         an error reports them. */
    bool head_only;
    bool v1;          /* A path of /api/v1: errors are application/json. */
    bool pretty;      /* JSON is to be indented. */
    bool may_be_kept; /* A cache may keep it, and asks before it uses it. */
    /* Origin of the page that may read the answer (--allow-origin); empty:
     * none. A view of the options. */
    struct bytes origin;
    struct body_out body;
};

/* State of the handler of the request, until it has answered. All zero when the
 * handler starts. Plain data: a handler releases what its member points to. No
 * file but those named reads a member. */
union conn_state {
    struct {       /* GET /key: keys.c */
        bool raw;  /* The value is to be sent as it is, ... */
        bool meta; /* ... or with all that is known of it. */
    } get;
    struct {          /* Writes: conditions.c, submit.c */
        bool creates; /* On condition that the key is not there. */
    } write;
    struct {             /* /lease: lease.c */
        uint64_t id;     /* To be shown; or those after it, ... */
        uint64_t limit;  /* ... as many as this. */
        uint64_t ttl_ms; /* To be granted. */
    } lease;
    struct {           /* /readyz, /healthz: health.c */
        bool noleader; /* A leader is not asked for. */
    } ready;
    struct { /* Changes of a member: member.c */
        member_change *change;
    } member;
    struct {                        /* POST /join: join.c */
        char addr[RAFT_ADDR_BYTES]; /* The address that was asked for. */
    } join;
    struct {            /* POST /sync: operate.c */
        uint64_t index; /* All members have to reach it; ... */
        raft_id id;     /* ... this one is being waited for. */
    } sync;
    struct {                       /* GET /backup: backup.c */
        struct store_image *image; /* NULL: it is not open. */
    } backup;
    struct {                      /* GET /export: export.c */
        struct export_view *view; /* NULL: none is being read. */
        bool is_over;             /* The last line has been written. */
        bool resumes;             /* The state of ... */
        uint64_t index;           /* ... this index is wanted. */
    } export;
    struct {            /* GET /watch, before its answer begins: watch.c */
        bool initial;   /* The keys as they are come first. */
        bool resumes;   /* Changes after ... */
        uint64_t since; /* ... this index are wanted. */
    } watch;
};

/* One connection and the request that is being answered on it. */
struct conn {
    struct api *api;
    struct stream *stream;
    struct list link; /* In api->conns.all, or api->conns.unused. */
    bool busy;        /* A request was handled, and is not yet answered. */
    bool closing;     /* The last answer has been given. */
    bool by_header;   /* From a proxy that sends X-Forwarded-For. */
    struct conn_place place;
    struct conn_clock clock;
    struct conn_input input;
    struct conn_output output;
    struct conn_gate gate;
    struct conn_request request;
    struct conn_answer answer;
    union conn_state state;
    struct conn_watch watch;
    struct conn_poll poll;
    struct conn_keepalive keepalive;
    struct scan scan; /* Its buffers are kept for the next request. */
};

/* A new connection; others may be dropped for it. */
struct conn *api_conn_open(struct api *api, struct stream *stream,
                           const struct stream_handler *handler,
                           node_request_cb *cb);
/* A listener_cb: the accepted stream becomes a connection, at once or when a
 * proxy has sent the address of the client (proxied.c). */
void api_on_accept(struct stream *stream, void *arg);
/* Make a stream a connection that serves requests (server.c). */
struct conn *api_serve(struct api *api, struct stream *stream);
/* The last answer has been given: close the connection when the client has
 * taken it. */
void api_conn_close_when_sent(struct conn *conn);
/* Close it now. The connection is gone. */
void api_conn_drop(struct conn *conn);
/* The same when its stream is closed already. */
void api_conn_free(struct conn *conn);
/* The connection waits for a request or for its end, so it may be dropped in
 * favour of another; or it has a request. */
void api_conn_mark_idle(struct conn *conn);
void api_conn_mark_active(struct conn *conn);
/* Start the time that the connection may wait for a request. */
void api_conn_may_idle(struct conn *conn);
void api_conn_set_deadline(struct conn *conn, uint64_t at_ms);
/* Returns whether the connection has no place, after an attempt to find one.
 * Guests are answered nothing but probes. */
bool api_conn_is_guest(struct conn *conn);
/* Answer 429: all places are taken, or all that one address may have. */
void api_conn_refuse_guest(struct conn *conn);
/* Answer a request that will not become complete, and close the connection. */
void api_conn_refuse_partial(struct conn *conn, int status, const char *code,
                             const char *message);
/* A request is in progress. If the disappearance of its client would not be
 * noticed, probe for it after a while. */
void api_conn_watch_client(struct conn *conn);
/* Log that the client has taken only `sent` of `total` bytes since `since_ms`,
 * before the connection is closed. */
void api_conn_log_slow(const struct conn *conn, const char *what, uint64_t sent,
                       uint64_t total, uint64_t since_ms);
/* At the end of on_read(): count the `size` bytes that wait in the stream. A
 * request, this one or another, may be refused for lack of room. */
void api_conn_count_input(struct conn *conn, size_t size);
void api_conns_init(struct api *api);
/* Drop all connections, and free what they share. */
void api_conns_free(struct api *api);

#endif
