/* api_internal.h -- what the files of this room share.
 *
 *     server.c   connections, time-outs, framing of answers
 *     routes.c   path and method -> handler
 *     keys.c     /key: reading
 *     writes.c   /key: writing; conditions, repeats
 *     txn.c      /txn
 *     cluster.c  /join /status /nodes /leader /remove
 *     backup.c   /backup
 *     hints.c    what in /status wants an operator's eye
 *     operate.c  /snapshot /sync
 *     health.c   /livez /readyz /healthz /health
 *     metrics.c  /metrics, and what it counts
 *     problem.c  errors
 *     join.c     the client's half of a join */
#ifndef CRAFTD_API_API_INTERNAL_H
#define CRAFTD_API_API_INTERNAL_H

#include "api/api.h"
#include "base/histogram.h"
#include "base/list.h"
#include "command/result.h"
#include "http/http.h"

/* What requests are counted by: few enough to have a histogram each. */
enum route_group {
    ROUTE_KEY, /* The data: keys, lists of them. */
    ROUTE_CLUSTER,
    ROUTE_PROBE, /* Health, status, metrics. */
    ROUTE_BACKUP,
    ROUTE_OTHER, /* No route, or no request that could be read. */
    ROUTE_GROUP_COUNT,
};

/* Requests of one group, method and status. */
struct request_count {
    uint32_t what; /* 0: free. */
    uint64_t count;
};

/* The combinations that came first have a count of their own; clients can make
 * up more than is worth a series each. */
enum { REQUEST_COUNTS_MAX = 36 };

struct api_metrics {
    struct request_count requests[REQUEST_COUNTS_MAX];
    uint64_t requests_beyond;
    struct histogram duration_us[ROUTE_GROUP_COUNT];
};

struct api {
    struct api_options options;
    struct node *node; /* NULL while starting. */
    struct listener *listener;
    struct list conns;
    struct list idle; /* Closed ones, to be used again. */
    uint32_t conn_count;
    bool stopping;
    /* Scratch for one answer or one command. */
    struct buf body;
    struct buf headers;
    struct buf command;
    struct buf lists[3]; /* Of a transaction: if, then, else. */
    struct api_metrics metrics;
};

struct conn;
struct json_reader;
/* Finishes what the handler began; called when the node has an outcome. */
typedef void conn_finish(struct conn *conn, const struct node_result *result);

enum member_act { ACT_REMOVE, ACT_PROMOTE, ACT_DEMOTE, ACT_LEAD };

struct conn {
    struct api *api;
    struct stream *stream;
    struct list link;
    struct http_reader reader;
    struct node_request request;
    conn_finish *finish;
    struct timer timer;
    uint64_t deadline_ms;
    bool busy;    /* A request is with the node. */
    bool eof;     /* The client sends no more. */
    bool closing; /* The last answer has been given. */
    bool in_read; /* Inside on_read: no kick is needed. */
    bool reading; /* deadline_ms is of the request being received. */
    bool keep_alive;
    bool old; /* HTTP/1.0 */
    bool head_only;
    bool local;     /* Read with level=none. */
    bool raw;       /* The value is to be sent as it is, ... */
    bool meta;      /* ... or with all that is known of it. */
    uint64_t index; /* What Craftd-Index says; 0: what was applied last. */
    /* Of the request being answered, for the metrics. */
    enum http_verb verb;
    enum route_group group;
    int status;
    uint64_t begun_us; /* 0: it could not be read. */
    uint64_t now_ms;
    struct buf key;  /* Of the request with the node. */
    struct buf tags; /* Its If-None-Match. */
    enum member_act act;
    uint64_t sync_index;        /* To be reached by all; ... */
    raft_id sync_id;            /* ... and this one is being waited for. */
    struct store_image *backup; /* NULL: none is being sent. */
    uint64_t backup_at;
    uint64_t backup_bytes;
    uint64_t backup_begun_ms;
    uint64_t backup_moved_ms; /* When the client last made room for a piece. */
};

/* problem.c. A code of API 1, a sentence; `outcome` may be NULL. */
void answer_problem(struct conn *conn, int status, const char *code,
                    const char *message, const char *outcome);
/* `members` is JSON to be added to the object: ",\"name\":value". */
void answer_problem_with(struct conn *conn, int status, const char *code,
                         const char *message, const char *outcome,
                         const char *members);
void answer_outcome(struct conn *conn, const struct node_result *result);
/* A conn_finish: 200 without a body, or the problem. */
void finish_plain(struct conn *conn, const struct node_result *result);

/* server.c. Extra headers are in api->headers ("Name: value\r\n"...). */
void answer(struct conn *conn, int status, const char *type, struct bytes body);

/* An answer in two parts: the head, with the length of what follows, and, when
 * that has been written, the end. */
void answer_head(struct conn *conn, int status, const char *type,
                 uint64_t length);
void answered(struct conn *conn);
/* Close it now. The connection is gone. */
void conn_drop(struct conn *conn);

/* backup.c */
void on_backup(struct conn *conn, const struct http_request *request);
void backup_go_on(struct conn *conn);
void backup_close(struct conn *conn);

/* metrics.c */
void metrics_init(struct api_metrics *metrics);
/* The answer to the request on `conn` is complete. */
void metrics_count(struct conn *conn);
void on_metrics(struct conn *conn, const struct http_request *request);

/* routes.c */
void route(struct conn *conn, const struct http_request *request);
/* The deadline that ?timeout= asks for; false: answered 400. */
bool read_timeout(struct conn *conn, const struct http_request *request);
/* Flag parameter: present and not 0 or false. */
bool flag(const struct http_request *request, const char *name);
void not_allowed(struct conn *conn, const char *allow);
/* ?redirect on a node that does not lead: answered 307, true. */
bool redirected(struct conn *conn, const struct http_request *request);

/* ?level= into conn->local; false: answered 400. */
bool read_level(struct conn *conn, const struct http_request *request);

/* keys.c */
const char *key_wrong(struct bytes key);
/* The value as a member of an object: "value", or "value_base64". */
void add_value(struct buf *out, struct bytes value);

/* writes.c */
void post_keys(struct conn *conn, const struct http_request *request);
void put_key(struct conn *conn, const struct http_request *request);
void delete_key(struct conn *conn, const struct http_request *request);
void bad_json(struct conn *conn, const struct json_reader *reader,
              const char *why);
void value_too_large(struct conn *conn);
/* What conn->api->command holds is written. */
void submit(struct conn *conn, conn_finish *finish);
/* Idempotency-Key; empty when there is none. False: answered 400. */
bool read_name(struct conn *conn, const struct http_request *request,
               struct command_name *name);
/* The next entity tag of a list, from the beginning of `rest` on. One that we
 * have not given out has the index UINT64_MAX. ERR_NOT_FOUND: no more. */
struct tag {
    bool weak;
    uint64_t index;
};
MUST_CHECK enum err next_tag(struct bytes *rest, struct tag *tag);
/* The head of what came of it, with the headers that go with it. False: it
 * failed, and that has been answered. */
bool read_result(struct conn *conn, const struct node_result *result,
                 struct result_reader *reader);

/* keys.c, txn.c, cluster.c, health.c */
void on_key(struct conn *conn, const struct http_request *request);
void on_txn(struct conn *conn, const struct http_request *request);
void on_join(struct conn *conn, const struct http_request *request);
void on_status(struct conn *conn, const struct http_request *request);
void on_nodes(struct conn *conn, const struct http_request *request);
void on_remove(struct conn *conn, const struct http_request *request);
void on_leader(struct conn *conn, const struct http_request *request);
void on_health(struct conn *conn, const struct http_request *request);
void on_snapshot(struct conn *conn, const struct http_request *request);
void on_sync(struct conn *conn, const struct http_request *request);
/* hints.c: the strings of an array, with commas between them. */
void add_hints(struct api *api, const struct node_status *status);

static inline bool is_get(const struct http_request *request)
{
    return request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD;
}

#endif
