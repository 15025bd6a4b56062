/* client_internal.h -- what the commands share. */
#ifndef CRAFTD_CLIENT_INTERNAL_H
#define CRAFTD_CLIENT_INTERNAL_H

#include <stdio.h>

#include "base/base.h"
#include "base/bytes.h"
#include "client/client.h"
#include "http/http.h"
#include "json/json.h"

/* One table for the whole binary: 3 (join refused) and 4 (data damaged) are
 * the daemon's, so that no number has two meanings. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO = 5,      /* No such key or node; a condition did not hold. */
    EXIT_AWAY = 6,    /* No server could be reached, or none could answer
                         now: nothing was done. */
    EXIT_UNKNOWN = 7, /* The change may have been made, or be made soon. */
};

enum {
    WORDS_MAX = 65,     /* craftd passwd: a name, and all permissions. */
    SERVER_BYTES = 300, /* A host name, a port, and what is between. */
    /* Bytes that the client holds in memory: more than any --max-body and any
     * page of a listing. A backup is not held, it is streamed. */
    UPLOAD_BYTES_MAX = 16 << 20,
    DOWNLOAD_BYTES_MAX = 32 << 20,
};

struct options {
    const struct command *command;
    const char *version;
    int word_count;
    const char *words[WORDS_MAX];
    const char *addr; /* host:port[,host:port], never NULL. */
    uint64_t timeout_ms;
    const char *level; /* NULL: the server's default. */
    bool stale;
    bool meta;
    bool create;
    bool has_if_index;
    uint64_t if_index;
    bool print_index;
    bool keys;
    bool json;
    bool has_limit;
    uint64_t limit;
    uint64_t time_ms; /* bench-disk */
    bool netrc;
    bool has_rounds;
    uint64_t rounds; /* passwd */
    bool help;
};

struct command {
    const char *name;
    int (*run)(const struct options *options);
    int words_min;
    int words_max;
    const char *flags; /* Names of those it takes, between blanks. */
    const char *help;
};

/* NULL when it is none. */
const struct command *command_named(const char *name);

/* Fill `options` from the words behind the command. False: `why` has the
 * reason. */
bool options_parse(struct options *options, int argc, char **argv, char *why,
                   size_t why_size);

#define UNIX_SCHEME "unix:"

/* The next of "a,b,c"; false at the end. "http://" and a last slash may be
 * around it, as they come with copy and paste. */
bool next_server(const char **list, char addr[SERVER_BYTES]);

/* "craftd: get: ..." on stderr; control characters are shown as '?'. */
void say(const struct options *options, const char *format, ...) PRINTF(2, 3);

/* ---- connect.c ---- */

/* Connect to "host:port", one address after the other, or to "unix:PATH". The
 * descriptor (which
 * does not block), or -1: `why` has the reason. */
int dial(const char *addr, uint64_t timeout_ms, char *why, size_t why_size);

enum moved {
    MOVED_ALL,
    MOVED_EARLY,  /* The server answers before it has read everything. */
    MOVED_FAILED, /* `why` has the reason. */
};
enum moved send_all(int fd, struct bytes bytes, uint64_t deadline_ms, char *why,
                    size_t why_size);
/* *got 0: the server has closed. */
bool receive_some(int fd, uint8_t *data, size_t room, size_t *got,
                  uint64_t deadline_ms, char *why, size_t why_size);

/* ---- request.c ---- */

struct request {
    const char *method;
    struct buf target;  /* Path and query, encoded. */
    struct buf headers; /* Whole lines. */
    struct bytes body;  /* Borrowed. */
    bool has_body;
    int in;               /* A file that is the body, from its beginning; -1. */
    uint64_t in_bytes;    /* Its length. */
    uint64_t answer_ms;   /* How long to wait for the answer; 0: --timeout. */
    bool changes;         /* Once it is sent and not answered, who knows. */
    char name[33];        /* Idempotency-Key: it may be sent again all the same.
                             "": none. */
    bool may_be_plain;    /* A named one keeps what it has read, for which there
                             may be no room: then it is sent without. */
    bool absent_is_no;    /* 404 is an answer rather than a failure. */
    const char *key;      /* What a 404 or a 412 is about, for the words on
                             stderr; NULL: nothing in particular. */
    int out;              /* The body of a 2xx goes there as it comes; -1: into
                             `answer_body`, of at most DOWNLOAD_BYTES_MAX. */
    const char *out_type; /* Its Content-Type must be this, and it must say
                             where it ends: else nothing goes there. */
    /* Filled in by request_run(). */
    struct http_answer answer;
    struct buf answer_body;
};

/* A request without a body; `path` is encoded already. */
void request_init(struct request *request, const char *method,
                  const char *path);
void request_free(struct request *request);
/* Give it a name that nothing else has, so that it is done once at most
 * however often it is sent. */
void request_add_name(struct request *request);
void request_add_query(struct request *request, const char *name,
                       struct bytes value);
/* As --level and --stale have it. */
void request_add_level(struct request *request, const struct options *options);

/* Ask the servers of options->addr in turn, until one answers. EXIT_DONE: with
 * a 2xx. Anything else has been explained on stderr.
 *
 * The next server is asked as long as it is certain that nothing was done:
 * no connection, a request that was not sent whole, an answer 429 or 503
 * that does not leave the outcome open; always when the request changes
 * nothing; and when it has a name, for then its repeat gets the first answer.
 * As long as the outcome of such a one is open, all servers are asked again
 * until --timeout is over. A 307 is followed once. */
int request_run(struct request *request, const struct options *options);

/* Write all of it to the descriptor, or say why not. */
bool write_out(int fd, const void *data, size_t size, const char **why);
/* The same to stdout, as the end of a command. */
int print_bytes(const struct options *options, struct bytes bytes);

/* Add the header by which the server at `addr` (host:port) knows us, if there
 * are credentials for it: from ~/.netrc with --netrc, else from the file that
 * CRAFTD_TOKEN_FILE names, else CRAFTD_USER. False: `why` says what is wrong
 * with them. */
bool add_credentials(struct buf *out, const struct options *options,
                     const char *addr, char *why, size_t why_size);

/* ---- text.c ---- */

struct field {
    const char *name;
    char text[320]; /* "" when it is not there; cut when longer. */
};

/* Read the scalar members of an object whose beginning has been read. False
 * when it is no JSON. */
bool read_fields(struct json_reader *reader, struct field *fields,
                 size_t count);
/* As lines "path<TAB>value": {"a":{"b":[1]}} is "a.b.0<TAB>1". */
bool flatten(struct bytes json, struct buf *out);

/* ---- the commands ---- */

int run_get(const struct options *options);
int run_put(const struct options *options);
int run_del(const struct options *options);
int run_txn(const struct options *options);
int run_ls(const struct options *options);
int run_status(const struct options *options);
int run_nodes(const struct options *options);
int run_leader(const struct options *options);
int run_restore(const struct options *options);
int run_backup(const struct options *options);
int run_bench_disk(const struct options *options);
int run_passwd(const struct options *options);
int run_token(const struct options *options);
int run_keygen(const struct options *options);
int run_version(const struct options *options);
int run_help(const struct options *options);

extern const char help_overview[];
extern const char help_get[];
extern const char help_put[];
extern const char help_del[];
extern const char help_ls[];
extern const char help_txn[];
extern const char help_status[];
extern const char help_nodes[];
extern const char help_leader[];
extern const char help_backup[];
extern const char help_restore[];
extern const char help_bench_disk[];
extern const char help_passwd[];
extern const char help_token[];
extern const char help_keygen[];
extern const char help_version[];
extern const char help_help[];

#endif
