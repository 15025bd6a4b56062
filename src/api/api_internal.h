/* api_internal.h -- what the files of this room share.
 *
 *     server.c   requests of a connection, framing of answers
 *     conns.c    connections: places, time-outs, memory for input
 *     routes.c   path and method -> handler
 *     params.c   query parameters: which a request takes
 *     browser.c  what web pages may ask for
 *     read.c     levels of consistency: when an answer may be given
 *     keys.c     /key: reading
 *     accept.c   the form of a value that Accept asks for
 *     writes.c   /key: writing; conditions, repeats
 *     list.c     /keys
 *     erase.c    DELETE /keys
 *     scan.c     walking over many keys, a slice a turn
 *     txn.c      /txn
 *     cluster.c  /join /status /nodes /leader /remove
 *     body.c     bodies that come or go in pieces
 *     backup.c   /backup
 *     restore.c  /restore
 *     hints.c    what in /status wants an operator's eye
 *     operate.c  /snapshot /sync
 *     health.c   /livez /readyz /healthz /health
 *     metrics.c  /metrics, and what it counts
 *     v1.c       /api/v1: what brokerd's document has
 *     properties.c  /api/v1/properties, /api/v1/settings
 *     openapi.yaml  the document of all this; in the binary
 *     problem.c  errors */
#ifndef CRAFTD_API_API_INTERNAL_H
#define CRAFTD_API_API_INTERNAL_H

#include "api/api.h"
#include "api/body_internal.h"
#include "base/histogram.h"
#include "base/list.h"
#include "command/result.h"
#include "http/http.h"
#include "pattern/pattern.h"

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
 * up more than is worth a series each. The others are counted by the class of
 * their status, so that errors stay errors. */
enum { REQUEST_COUNTS_MAX = 36, STATUS_CLASSES = 5 };

struct api_metrics {
    struct request_count requests[REQUEST_COUNTS_MAX];
    uint64_t requests_beyond[STATUS_CLASSES]; /* 1xx, 2xx, ... */
    uint64_t replays;
    struct histogram duration_us[ROUTE_GROUP_COUNT];
};

/* In one transaction: operations of both lists; conditions. */
enum { TXN_OPS_MAX = 512 };

enum restore_stage {
    RESTORE_NONE,
    RESTORE_RECEIVE, /* The body is coming. */
    RESTORE_CHECK,
    /* From here on the cluster knows of it: */
    RESTORE_BEGIN,
    RESTORE_ROWS,
    RESTORE_COMMIT,
    RESTORE_ABORT, /* Nobody waits for it any more. */
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
    uint64_t row_bytes; /* What its rows will take, about. */
    struct timer timer;
    struct node_request request;
    struct buf command; /* The step that is being done. */
    uint64_t id;
    uint64_t patience_ms; /* For a step. */
    uint64_t deadline_ms; /* Of this one. */
    bool again;           /* The same step once more. */
    bool uncertain;       /* An earlier attempt at it may have been done. */
    bool held;            /* key and value are the next row. */
    struct bytes key;
    struct bytes value;
    uint64_t batch; /* Rows in `command`. */
    uint64_t sent;  /* ... and before it. */
    uint64_t hash;
};

/* Where a walk over many keys is (scan.c). */
enum scan_stage {
    SCAN_IDLE, /* Not under way; in no list. */
    SCAN_NEW,
    SCAN_WORKING,
    SCAN_WAITING,
    SCAN_STAGES,
};

struct api {
    struct api_options options;
    struct node *node; /* NULL while starting. */
    struct listener *listener;
    /* conns.c */
    struct list conns;
    struct list free_conns; /* Closed ones, to be used again. */
    uint32_t conn_count;
    struct list idle_conns; /* Those without a request or an answer, longest
                               idle first: struct conn, by idle_link. */
    struct list guests;     /* Those without a place, by guest_link. */
    uint32_t guest_count;
    struct timer guest_timer;
    bool full_logged;   /* One line per shortage of places. */
    struct list *hosts; /* A hash table: struct conn_host. */
    uint32_t host_list_count;
    uint64_t input_bytes; /* Received and not consumed, all connections. */
    bool stopping;
    struct list scans[SCAN_STAGES]; /* struct scan, by link. */
    uint32_t scan_counts[SCAN_STAGES];
    struct timer scan_timer;
    uint64_t scan_turn;   /* Turn of the last slice, ... */
    uint64_t scan_end_us; /* ... and when it ended. */
    uint64_t page_bytes;  /* Of all pages being gathered or sent. */
    /* Of all other answers that wait in streams: at most; and the turn in
     * which they were counted last. */
    uint64_t output_bytes;
    uint64_t output_turn;
    struct list reads; /* May be shown, and wait for a turn with time left:
                          struct conn, by read_link. */
    struct timer read_timer;
    uint64_t read_turn; /* The turn in which ... */
    uint64_t read_us;   /* ... so much was spent on showing. */
    /* Headers of every answer, with the Date of this second. */
    struct buf common;
    uint64_t common_s;
    /* Scratch for one answer or one command. */
    struct buf body;
    struct buf indented; /* The same for ?pretty. */
    struct buf message;  /* Of a problem. */
    struct buf headers;
    struct buf command;
    struct buf lists[3]; /* Of a transaction: if, then, else. */
    struct api_metrics metrics;
    struct restore restore;
};

struct conn;
struct json_reader;
/* Finishes what the handler began; called when the node has an outcome. */
typedef void conn_finish(struct conn *conn, const struct node_result *result);

enum member_act { ACT_REMOVE, ACT_PROMOTE, ACT_DEMOTE, ACT_LEAD };

enum read_level {
    LEVEL_LINEARIZABLE,
    LEVEL_STRONG,
    LEVEL_WEAK,
    LEVEL_NONE,
    LEVEL_AUTO, /* Until read_start() has chosen. */
};

/* What must be true before an answer is given (read.c). */
struct reading {
    enum read_level level;
    uint64_t index;    /* Has been applied here. */
    uint64_t fresh_ms; /* The leader was heard since; UINT64_MAX: whenever. */
    bool fresh_strict;
    void (*show)(struct conn *conn);
};

enum list_format { FORMAT_JSON, FORMAT_NDJSON, FORMAT_LINES };

enum scan_step {
    SCAN_ON,   /* Taken, or of no interest. */
    SCAN_JUMP, /* Taken; go on behind all keys that begin with scan->last. */
    SCAN_FULL, /* Not taken: there is more than this answer has room for. */
};

/* A walk over many keys (scan.c). */
struct scan {
    struct list link; /* In api->scans[stage]. */
    enum scan_stage stage;
    uint64_t took_us; /* Time that it has taken. */
    /* What is left of it: [from, to); no end when `to` is empty. */
    struct buf from;
    struct buf to;
    bool reverse;
    bool keys_only;
    bool mixed; /* May show several states; else it is cut when one ends. */
    enum scan_step (*step)(struct conn *conn, const struct store_pair *pair);
    void (*done)(struct conn *conn);
    struct buf page; /* The body so far. */
    size_t page_counted;
    size_t page_max; /* But one item may be larger. */
    struct buf last; /* Key or common prefix that was taken last. */
    bool begun;
    bool jumped;  /* `last` is a prefix, and the bounds are behind it. */
    size_t spent; /* By step(), in bytes that could have been read instead. */
    bool more;
    uint64_t first_index; /* Applied when it began ... */
    uint64_t index;       /* ... and in what is shown. */
    uint64_t sent;
    /* list.c */
    struct buf prefix;
    struct buf separator;
    struct buf query; /* As received, for the link to the next page. */
    enum list_format format;
    bool counting;
    bool nothing; /* No key can be in it. */
    uint64_t limit;
    uint64_t count;
    /* properties.c, erase.c */
    struct pattern *pattern; /* NULL: all match. */
    uint64_t offset;
    uint64_t skip;               /* What is left of it. */
    bool late;                   /* The request's time is over. */
    struct command_writer batch; /* In `page`. */
    size_t batch_bytes;          /* Of the values that go. */
    uint32_t batch_keys_max;
    bool must_match; /* Nothing to delete is 404. */
};

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

/* Of the request being answered. Sets have a bit for each enum param. */
struct params {
    uint64_t taken; /* By the route, from params_refused() on. */
    uint64_t given;
    uint64_t repeated;
    struct bytes unknown; /* The first name that is no parameter; encoded. */
    bool bad_escape;
    struct bytes values[PARAM_COUNT]; /* Of those given; decoded, in `text`. */
    struct buf text;
};

struct conn {
    struct api *api;
    struct stream *stream;
    struct list link;
    /* conns.c */
    struct conn_host *host;
    struct list idle_link; /* Alone: it is not idle. */
    struct list host_idle_link;
    struct list guest_link;
    bool guest;          /* It has no place: probes only, and one request. */
    bool wide_input;     /* The stream may hold a whole body. */
    bool receiving;      /* Bytes of a request that is not complete wait, ... */
    uint64_t receive_ms; /* ... since then. */
    uint64_t accept_ms;
    uint64_t idle_turn; /* Turn in which it became idle. */
    size_t input_bytes; /* Counted in api->input_bytes. */
    struct http_reader reader;
    struct node_request request;
    conn_finish *finish;
    struct timer timer;
    uint64_t deadline_ms;
    bool busy;    /* A request is with the node. */
    bool eof;     /* The client sends no more. */
    bool closing; /* The last answer has been given. */
    bool partial; /* More of the request may come than has been received. */
    bool in_read; /* Inside on_read: no kick is needed. */
    /* Inside on_read: received bytes behind the request being answered. */
    size_t behind_bytes;
    uint64_t answer_turn; /* Turn of the last answer, ... */
    uint64_t answer_ms;   /* ... its time, ... */
    size_t output_bytes;  /* ... and what was to be sent then. */
    bool reading;         /* deadline_ms is of the request being received. */
    bool keep_alive;
    bool old; /* HTTP/1.0 */
    bool head_only;
    bool v1;          /* A path of /api/v1: errors are application/json. */
    bool pretty;      /* JSON is to be indented. */
    uint64_t deleted; /* By a part of the request that has been done. */
    bool creates;     /* A write on condition that the key is not there. */
    bool raw;         /* The value is to be sent as it is, ... */
    bool meta;        /* ... or with all that is known of it. */
    uint64_t index;   /* What Craftd-Index says; 0: what was applied last. */
    /* Of the request being answered, for the metrics. */
    enum http_verb verb;
    enum route_group group;
    int status;
    uint64_t begun_us; /* 0: it could not be read. */
    uint64_t now_ms;
    struct params params;
    /* Of the page that may read the answer (--allow-origin); empty: none. */
    struct bytes origin;
    struct buf key;  /* Of the request with the node. */
    struct buf tags; /* Its If-None-Match. */
    bool noleader;   /* /readyz: whether there is a leader is not asked. */
    struct reading reading_at;
    struct list read_link; /* In api->reads; alone: it does not wait there. */
    struct scan scan;
    enum member_act act;
    uint64_t sync_index; /* To be reached by all; ... */
    raft_id sync_id;     /* ... and this one is being waited for. */
    struct body_in in;
    struct body_out out;
    struct store_image *backup; /* NULL: none is being sent. */
};

/* problem.c. A code of API 1, a sentence; `outcome` may be NULL. */
void answer_problem(struct conn *conn, int status, const char *code,
                    const char *message, const char *outcome);
/* `members` is JSON to be added to the object: ",\"name\":value". */
void answer_problem_with(struct conn *conn, int status, const char *code,
                         const char *message, const char *outcome,
                         const char *members);
void answer_outcome(struct conn *conn, const struct node_result *result);
/* A key or name for people: in quotes, cut where it is long. */
void add_quoted(struct buf *out, struct bytes name);
/* 404: there is no `kind` ("key", "member") of the name in conn->key. */
void answer_no_such(struct conn *conn, const char *kind, const char *outcome);
/* Why this node answers no reads, and what to do. */
void explain_contradiction(const struct node_contradiction *contradiction,
                           struct buf *out);
/* That this node is no member any more; in api->message. */
const char *removed_text(struct api *api, const struct node_status *status);
/* Answer a membership request that was refused; conn->key has the id,
 * conn->tags the address that were asked for. */
void answer_refusal(struct conn *conn, const struct node_result *result);
/* What it is and what to do, a sentence. */
void explain_second_cluster(const struct node_foreign *foreign,
                            struct buf *out);
/* A conn_finish: 200 without a body, or the problem. */
void finish_plain(struct conn *conn, const struct node_result *result);

/* cluster.c. Why there is no link to a member, for those who may ask. */
const char *peer_trouble(const struct api *api,
                         const struct node_status *status,
                         const struct raft_member *member);

/* server.c. Extra headers are in api->headers ("Name: value\r\n"...). JSON is
 * indented here when that was asked for. */
void answer(struct conn *conn, int status, const char *type, struct bytes body);

/* Whether so much more may wait for clients to take it. False: answered 429;
 * small answers need not ask. */
bool has_output_room(struct conn *conn, size_t size);

/* An answer in two parts: the head, with the length of what follows, and, when
 * that has been written, the end. */
void answer_head(struct conn *conn, int status, const char *type,
                 uint64_t length);
void answered(struct conn *conn);
/* Whether an answer of that type is to be indented. */
bool is_to_indent(const struct conn *conn, const char *type);

/* conns.c. A new connection; others may be dropped for it. */
struct conn *conn_open(struct api *api, struct stream *stream,
                       const struct stream_handler *handler,
                       node_request_cb *cb);
/* Close it now. The connection is gone. */
void conn_drop(struct conn *conn);
/* The same when its stream is closed already. */
void conn_free(struct conn *conn);
/* It waits for a request or for its end, and may be dropped for another. */
void conn_mark_idle(struct conn *conn);
void conn_mark_active(struct conn *conn);
/* It may wait for its next request from now on. */
void conn_may_idle(struct conn *conn);
void conn_set_deadline(struct conn *conn, uint64_t at_ms);
/* Whether it has no place, as is found out anew. Not for guests: all but
 * probes is refused. */
bool conn_is_guest(struct conn *conn);
void conn_refuse_guest(struct conn *conn);
/* Answer a request that will not be complete any more. */
void conn_refuse_partial(struct conn *conn, int status, const char *code,
                         const char *message);
/* A request is in progress: see in a while whether its client is still there,
 * if it would not be seen to go. */
void conn_watch_client(struct conn *conn);
/* Its client has taken `sent` of `total` bytes since then, and is left. */
void conn_log_slow(const struct conn *conn, const char *what, uint64_t sent,
                   uint64_t total, uint64_t since_ms);
/* At the end of on_read(): so much waits in the stream. It may be refused. */
void conn_count_input(struct conn *conn, size_t size);
void conns_init(struct api *api);
/* Drop them all. */
void conns_free(struct api *api);

/* backup.c */
void on_backup(struct conn *conn, const struct http_request *request);

/* restore.c. The body goes to a sink. */
void on_restore(struct conn *conn, const struct http_request *request);
bool restore_streams(const struct http_request *request);
void restore_free(struct api *api);

/* metrics.c */
const char *verb_name(enum http_verb verb);
void metrics_init(struct api_metrics *metrics);
/* The answer to the request on `conn` is complete. */
void metrics_count(struct conn *conn);
void on_metrics(struct conn *conn, const struct http_request *request);

/* routes.c */
void route(struct conn *conn, const struct http_request *request);
/* A path of /api/v1. */
bool is_v1(const struct http_request *request);
/* Of a request whose body is waited for: whether its head is reason enough to
 * refuse it, or to send it elsewhere. True: answered. */
bool route_refuses(struct conn *conn, const struct http_request *request);
/* The deadline that ?timeout= asks for; false: answered 400. */
bool read_timeout(struct conn *conn);
/* ?redirect on a node that does not lead: answered 307, true. */
bool redirected(struct conn *conn, const struct http_request *request);

/* browser.c. Whether a page that is none of ours asks, for what it may not
 * have; a probe shows it nothing. True: answered 403. */
bool browser_refused(struct conn *conn, const struct http_request *request,
                     bool is_probe);

/* params.c. Fill in conn->params, but for `taken`. Values stay good until the
 * next request, whatever becomes of this one's bytes. */
void params_read(struct conn *conn, const struct http_request *request);
/* Whether one was given that `what` ("GET /keys") does not take, one came
 * twice, or one cannot be decoded. True: answered 400. */
bool params_refused(struct conn *conn, uint64_t taken, const char *what);
/* The value of a parameter that the request's route takes. False: not given. */
bool get_param(const struct conn *conn, enum param param, struct bytes *value);
/* The same for one that is said by its name alone, and unsaid by 0 or false. */
bool flag(const struct conn *conn, enum param param);
/* The same two, whether the route takes it or not. */
bool is_given(const struct conn *conn, enum param param);
bool is_on(const struct conn *conn, enum param param);

/* read.c. Call `show` when this node may answer as ?level=, ?freshness= and
 * ?min_index= demand: at once or in a later turn, or answer the problem. */
void read_start(struct conn *conn, const struct http_request *request,
                void (*show)(struct conn *conn));
/* For a request that is no read, but begins with one: linearizable. */
void read_latest(struct conn *conn, void (*show)(struct conn *conn));
/* The same again: what is applied here has gone back (a full disk). */
void read_wait(struct conn *conn);
/* Nothing will be shown to it any more. */
void read_close(struct conn *conn);
void add_read_headers(struct conn *conn);

/* scan.c. Walk over conn->scan, a slice a turn, in turn with others; `step` is
 * called for every pair, `done` at the end, to call scan_answer(). */
void scan_start(struct conn *conn);
void scan_answer(struct conn *conn, const char *type);
void scan_close(struct conn *conn);
void scan_free(struct conn *conn);
/* For step(): whether the key is wanted (scan->spent says how long it took to
 * tell), and whether the time of the request is over (then scan->late). */
bool scan_matches(struct scan *scan, struct bytes key);
bool scan_is_late(struct conn *conn);
/* 504, for done() when scan->late is set. */
void scan_answer_late(struct conn *conn);
void scan_no_pattern(struct scan *scan);
/* For the start of a walk: the first key behind all that begin with `prefix`
 * (false: there is none), and the first behind `key`. */
bool scan_add_behind_prefix(struct buf *out, struct bytes prefix);
void scan_add_behind(struct buf *out, struct bytes key);

/* list.c. A parameter as long as a key may be; empty when it is not given. */
bool take_param(struct conn *conn, enum param param, struct buf *out);
bool take_limit(struct conn *conn);
/* The query but for one parameter, for the link to the next page. */
void keep_query(struct scan *scan, struct bytes query, const char *without);

/* erase.c */
void delete_keys(struct conn *conn, const struct http_request *request);
/* All between scan->from and scan->to that scan->pattern matches. */
void erase_start(struct conn *conn);

/* A deletion of many may be asked for in this way. False: answered. */
bool erase_allowed(struct conn *conn, const struct http_request *request);

/* accept.c. The bytes of a value rather than JSON. */
bool accepts_raw(const struct http_request *request);

/* keys.c */
/* All behind `root` ("/key/"), percent-decoded once, into conn->key. False:
 * answered. */
bool read_key(struct conn *conn, struct bytes path, const char *root);
const char *key_wrong(struct bytes key);
/* The value as a member of an object: "value", or "value_base64". */
void add_value(struct buf *out, struct bytes value);

/* writes.c */
void post_keys(struct conn *conn, const struct http_request *request);
void put_key(struct conn *conn, const struct http_request *request);
void delete_key(struct conn *conn, const struct http_request *request);
/* What the head of a write is reason enough for. True: answered. */
bool write_refused(struct conn *conn, const struct http_request *request,
                   bool is_put_key);
/* Whether If-Match, If-None-Match or ?cas= demand something; and what, added to
 * the list of conditions in `writer`. False: answered. */
bool has_conditions(const struct conn *conn,
                    const struct http_request *request);
bool add_conditions(struct conn *conn, const struct http_request *request,
                    struct bytes key, struct command_writer *writer);
void bad_json(struct conn *conn, const struct json_reader *reader,
              const char *why);
void value_too_large(struct conn *conn);
/* What conn->api->command holds is written. */
void submit(struct conn *conn, conn_finish *finish);
/* One operation on one key, with what the headers demand, behind the condition
 * `first` if there is one (NULL). */
void submit_one(struct conn *conn, const struct http_request *request,
                const struct command_name *name,
                const struct command_condition *first,
                const struct command_op *op, uint8_t kind, conn_finish *finish);
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
/* Does a list of If-None-Match, or "*", name it? Weakly (RFC 9110 13.1.2). */
bool has_tag(struct bytes tags, uint64_t index);
/* The header that says so, when it was done before. */
void add_replayed(struct conn *conn, const struct result_reader *reader);
/* The head of what came of it, with the headers that go with it. False: it
 * failed, and that has been answered. */
bool read_result(struct conn *conn, const struct node_result *result,
                 struct result_reader *reader);

/* openapi.yaml, as the build has read it. */
extern const uint8_t openapi_text[];
extern const size_t openapi_size;

/* keys.c, txn.c, cluster.c, health.c, v1.c, properties.c */
void on_key(struct conn *conn, const struct http_request *request);
void on_txn(struct conn *conn, const struct http_request *request);
void on_list(struct conn *conn, const struct http_request *request);
void on_join(struct conn *conn, const struct http_request *request);
void on_status(struct conn *conn, const struct http_request *request);
void on_nodes(struct conn *conn, const struct http_request *request);
void on_remove(struct conn *conn, const struct http_request *request);
void on_leader(struct conn *conn, const struct http_request *request);
void on_health(struct conn *conn, const struct http_request *request);
void on_snapshot(struct conn *conn, const struct http_request *request);
void on_sync(struct conn *conn, const struct http_request *request);
void on_v1(struct conn *conn, const struct http_request *request);
void on_v1_nodes(struct conn *conn, const struct http_request *request);
void on_properties(struct conn *conn, const struct http_request *request);
/* hints.c: the strings of an array, with commas between them. */
void add_hints(struct api *api, const struct node_status *status);

static inline bool is_get(const struct http_request *request)
{
    return request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD;
}

#endif
