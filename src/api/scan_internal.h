/* scan_internal.h -- a walk over many keys: scan.c.
 *
 * A handler (list.c, properties.c, erase.c) fills in the fields that are PUBLIC
 * and starts the walk, which then calls it for every pair. What the handler
 * itself keeps meanwhile is its own member of the union `by`; no other reads
 * it. All of it lasts from the start of the walk to api_scan_close(), which
 * every answer comes to; the memory of the buffers stays with the connection
 * for its next walk. */
#ifndef CRAFTD_API_SCAN_INTERNAL_H
#define CRAFTD_API_SCAN_INTERNAL_H

#include "auth/auth.h"
#include "base/list.h"
#include "command/command.h"
#include "node/node.h"
#include "pattern/pattern.h"
#include "reactor/reactor.h"

struct conn;

/* The stages of a walk. */
enum scan_stage {
    SCAN_IDLE,    /* No walk is in progress; in no list. */
    SCAN_NEW,     /* It may be a short one, and is served at once. */
    SCAN_WORKING, /* It is a long one, and gets slices. */
    SCAN_WAITING, /* It is a long one, and others are at work. */
    SCAN_STAGES,
};

enum list_format { FORMAT_JSON, FORMAT_NDJSON, FORMAT_LINES };

enum scan_step {
    SCAN_ON,   /* The pair was taken or skipped: go on. */
    SCAN_JUMP, /* It was taken: go on behind all that begin with scan->last. */
    SCAN_FULL, /* It was not taken: the answer has no room for it. */
};

/* GET /keys: list.c. */
struct scan_list {
    struct bytes prefix; /* Views of the request's parameters. */
    struct bytes separator;
    enum list_format format;
    bool counting; /* ?count: the number of items is the answer. */
    bool nothing;  /* The bounds leave no key, whatever the data. */
    uint64_t limit;
    uint64_t count; /* Items taken so far. */
};

/* GET /api/v1/properties: properties.c. */
struct scan_properties {
    uint64_t limit;
    uint64_t count; /* Items taken so far. */
    uint64_t offset;
    uint64_t skip; /* Items of `offset` still to be skipped. */
};

/* A deletion of many keys: erase.c. */
struct scan_erase {
    struct command_writer batch; /* Writes into scan->page. */
    size_t batch_bytes;          /* Bytes of the values that it deletes. */
    uint32_t batch_keys_max;
    bool must_match; /* Answer 404 when nothing matches. */
};

/* A walk over many keys. */
struct scan {
    struct list link; /* In api->scans.by_stage[stage]. */
    enum scan_stage stage;
    uint64_t cost; /* Bytes: what its slices have cost, as walk() counts. */
    /* PUBLIC: the rest of the range, [from, to); no end when `to` is empty. */
    struct buf from;
    struct buf to;
    bool reverse;
    enum auth_perm perm; /* Only keys with which the sender may do that are
                            given to step(). */
    bool keys_only;      /* Values are not read. */
    bool mixed; /* It may show several states; else it is cut at the first. */
    bool pageless;           /* step() adds nothing to `page`. */
    struct pattern *pattern; /* Owned; NULL: all keys match. */
    enum scan_step (*step)(struct conn *conn, const struct store_pair *pair);
    void (*done)(struct conn *conn);
    /* The walk cannot go on. True: the request has been answered, or its answer
     * has ended; otherwise it is answered with the error. NULL: as false. */
    bool (*fail)(struct conn *conn);
    /* PUBLIC for step() and done(). */
    struct buf page; /* The body so far, or the batch to be written. */
    size_t page_max; /* Bound on `page`; but one item may be larger. */
    struct buf last; /* Key or common prefix that was taken last. */
    size_t spent;    /* Cost of step(), in bytes that take as long to read. */
    bool more;       /* It ended before the end of the range. */
    bool late;       /* The request's time is over. */
    uint64_t first_index; /* Applied index at the start, ... */
    uint64_t index;       /* ... and of the state that is shown. */
    struct buf query;     /* Parameters of the Link to the next page. */
    /* PRIVATE to scan.c. */
    size_t page_counted; /* Bytes counted in api->scans.page_bytes. */
    bool begun;
    bool jumped;   /* `last` is a prefix, and the bounds are behind it. */
    uint64_t sent; /* Bytes of `page`. */
    union {
        struct scan_list list;
        struct scan_properties properties;
        struct scan_erase erase;
    } by; /* State of the handler that started the walk. */
};

/* All walks: scan.c. */
struct api_scans {
    struct list by_stage[SCAN_STAGES]; /* struct scan, by link. */
    uint32_t counts[SCAN_STAGES];
    struct timer timer;
    uint64_t turn;       /* Turn of the last slice, ... */
    uint64_t end_us;     /* ... and when it ended. */
    uint64_t page_bytes; /* Sum over all pages being gathered or sent. */
};

/* Start the walk that conn->scan describes, a slice per turn of the event loop,
 * in turn with others. step() is called for every pair; done() at the end,
 * which answers, by api_scan_answer() as a rule. */
void api_scan_start(struct conn *conn);
/* Answer 200 with the page, at the pace of the client. */
void api_scan_answer(struct conn *conn, const char *type);
/* End the walk, and release its page and pattern. Safe without a walk. */
void api_scan_close(struct conn *conn);
/* The same, with all buffers. */
void api_scan_free(struct conn *conn);
/* For step(): whether scan->pattern matches the key, whose cost is put into
 * scan->spent; and whether the time of the request is over, which sets
 * scan->late. */
bool api_scan_matches(struct scan *scan, struct bytes key);
bool api_scan_is_late(struct conn *conn);
/* Answer 504: for done() when scan->late is set. */
void api_scan_answer_late(struct conn *conn);
/* Free scan->pattern: all keys match. */
void api_scan_no_pattern(struct scan *scan);
/* For bounds: add the first key behind all that begin with `prefix` (false:
 * there is none), or the first key behind `key`. */
bool api_scan_add_behind_prefix(struct buf *out, struct bytes prefix);
void api_scan_add_behind(struct buf *out, struct bytes key);

/* Add "name":"text", or "name_base64" when the text is not UTF-8 (list.c). */
void api_add_text_member(struct buf *out, const char *name, struct bytes text);
/* Add the members of a key's object: "key", "value", "index" and
 * "create_index" (list.c). */
void api_add_pair_members(struct buf *out, const struct store_pair *pair);

/* Delete all keys between scan->from and scan->to that scan->pattern matches;
 * with `must_match`, answer 404 when there is none. */
void api_erase_start(struct conn *conn, bool must_match);

#endif
