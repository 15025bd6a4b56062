/* client_internal.h -- types and functions that the commands share. */
#ifndef CRAFTD_CLIENT_INTERNAL_H
#define CRAFTD_CLIENT_INTERNAL_H

#include <stdio.h>

#include "base/base.h"
#include "base/bytes.h"
#include "client/client.h"
#include "client/help.h"
#include "http/http.h"
#include "json/json.h"

/* Exit codes. The daemon has 3 (join refused) and 4 (data damaged), so that a
 * number has one meaning for the whole binary. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO = 5,      /* No such key or node; a condition did not hold. */
    EXIT_AWAY = 6,    /* No server could be reached, or none could answer
                         now: nothing was changed. */
    EXIT_UNKNOWN = 7, /* The change may have been made, or may be made yet. */
    EXIT_LOST = 8,    /* A lock was lost while its command ran. */
};

/* Those of check, as monitoring plug-ins have them. */
enum { CHECK_OK = 0, CHECK_WARNING = 1, CHECK_CRITICAL = 2, CHECK_UNKNOWN = 3 };

enum {
    WORDS_MAX = 65,     /* craftd passwd: a name, and all permissions. */
    SERVER_BYTES = 300, /* Room for HOST:PORT or unix:PATH. */
    /* Upper bounds on bodies held in memory: more than any --max-body and any
     * page of a list. A backup is streamed. */
    UPLOAD_BYTES_MAX = 16 << 20,
    DOWNLOAD_BYTES_MAX = 32 << 20,
};

struct options {
    const struct command *command;
    const char *version;
    int word_count;
    const char *words[WORDS_MAX];
    const char *addr; /* Servers, separated by commas; never NULL. */
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
    uint64_t time_ms; /* Of bench-disk. */
    bool netrc;
    bool has_rounds;
    uint64_t rounds; /* Of passwd. */
    bool join;       /* Of token. */
    /* Of watch. */
    const char *key; /* NULL: a prefix. */
    bool has_since;
    uint64_t since;
    bool initial;
    const char *exec; /* Command for each event; NULL: they are printed. */
    bool quiet;       /* No progress on the terminal. */
    bool all;         /* All nodes, of status and sync. */
    bool watch;       /* status is shown again and again. */
    bool prefix;      /* The word of del is a prefix. */
    bool yes;         /* Nothing is asked. */
    const char *from; /* Format of the dump to import; NULL: an export. */
    bool dry_run;
    bool has_conns; /* bench has --conns. */
    uint64_t conns;
    bool has_size;
    uint64_t size; /* Bytes of a value. */
    bool show;     /* backup --show, which offline.c carries out. */
    /* Of lock and elect. */
    uint64_t ttl_ms;
    bool has_wait;
    uint64_t wait_ms;
    char *const *rest; /* The words behind the last of `words`, as they are,
                          terminated by NULL; NULL: there are none. */
    bool help;
};

struct command {
    const char *name;
    int (*run)(const struct options *options);
    int words_min;
    int words_max;     /* A negative number: after as many words the rest of the
                          line is a command (options->rest). */
    const char *flags; /* Names of the flags it takes, between blanks. */
    int help;          /* The page: enum help_page. */
};

/* The command of that name. NULL: there is none. */
const struct command *client_command_named(const char *name);

/* Fill in `options` from the words behind the command. False: usage is wrong,
 * `why` has the reason. */
bool options_parse(struct options *options, int argc, char **argv, char *why,
                   size_t why_size);

#define UNIX_SCHEME "unix:"

/* Take the next server of "a,b,c", without an "http://" before it and a slash
 * behind it. False: there are no more. */
bool client_next_server(const char **list, char addr[SERVER_BYTES]);

/* Print "craftd: COMMAND: ..." on stderr; control characters become '?'. */
void client_say(const struct options *options, const char *format, ...)
    PRINTF(2, 3);

/* ---- connect.c ---- */

/* Connect to "host:port", one address after the other, or to "unix:PATH".
 * Returns a non-blocking descriptor, or -1: `why` has the reason. */
int client_dial(const char *addr, uint64_t timeout_ms, char *why,
                size_t why_size);

enum moved {
    MOVED_ALL,
    MOVED_EARLY,  /* The server has answered before it read everything. */
    MOVED_FAILED, /* `why` has the reason. */
};
/* While that descriptor is readable, waits for servers end at once, as if their
 * deadline had passed. -1: none. */
void client_interrupt_by(int fd);
bool client_is_interrupted(void);

/* Send all of `bytes` until the deadline, of the monotonic clock. */
enum moved client_send_all(int fd, struct bytes bytes, uint64_t deadline_ms,
                           char *why, size_t why_size);
/* Receive up to `room` bytes; *got 0: the server has closed. False: `why` has
 * the reason. */
bool client_receive_some(int fd, uint8_t *data, size_t room, size_t *got,
                         uint64_t deadline_ms, char *why, size_t why_size);

/* ---- request.c ---- */

struct progress; /* progress_internal.h */

struct request {
    const char *method;
    struct buf target;  /* Path and query, encoded. */
    struct buf headers; /* Complete lines. */
    struct bytes body;  /* Borrowed. */
    bool has_body;
    int in;             /* Descriptor of a file that is the body, -1: none. */
    uint64_t in_bytes;  /* Length of that file. */
    uint64_t answer_ms; /* Time limit for the answer; 0: --timeout. */
    bool is_urgent;     /* That is the limit for all of the answer; otherwise
                           each part of its body has as long. */
    bool changes;       /* It changes something: the outcome is unknown when
                           it was sent and not answered. */
    char name[33];      /* Idempotency-Key, with which it may be sent again;
                           "": none. */
    bool may_be_plain;  /* If the server has no room to keep the result under
                           the name, send it without one. */
    bool absent_is_no;  /* 404 is an answer rather than a failure. */
    const char *file;   /* Where `body` is from: a problem with a place in it
                           names the file and the line; NULL: not. */
    const char *key;    /* The subject of a 404 or a 412, for the message on
                           stderr; NULL: none. */
    int out;            /* Descriptor for the body of a 2xx, written as it is
                           received; -1: it is kept in `answer_body`, up to
                           DOWNLOAD_BYTES_MAX. */
    /* Takes a piece of the body of a 2xx, in place of `out`. False: the answer
     * is of no use any more. */
    bool (*take)(struct request *request, struct bytes piece);
    void *take_arg;
    const char
        *out_type;             /* The answer must have this Content-Type and a
                                  length or chunks, or nothing is written to `out`. */
    struct progress *progress; /* Counts the bytes of `in` or `out`; NULL: it is
                                  not shown. Borrowed. */
    /* Filled in by request_run(). */
    struct http_answer answer;
    struct buf answer_body;
    struct buf reasons; /* Text for stderr: why it failed. */
};

/* Start a request without a body; `path` is encoded already. */
void request_init(struct request *request, const char *method,
                  const char *path);
void request_free(struct request *request);
/* Give it a random Idempotency-Key, so that it is applied at most once, however
 * often it is sent. */
void request_add_name(struct request *request);
void request_add_query(struct request *request, const char *name,
                       struct bytes value);
/* Add the level that --level and --stale ask for. */
void request_add_level(struct request *request, const struct options *options);

/* Ask the servers of options->addr in turn, until one answers. Returns
 * EXIT_DONE after a 2xx; another exit code has been explained on stderr.
 *
 * The next server is asked as long as it is certain that nothing was changed:
 * no connection, a request that was sent in part, an answer 429 or 503 whose
 * outcome is not unknown. It is always asked when the request changes nothing,
 * or has a name, since then a repeat gets the first answer. While the outcome
 * of a request with a name is unknown, all servers are asked again until
 * --timeout is over. A 307 is followed once. */
int request_run(struct request *request, const struct options *options);
/* The same, without a word on stderr, and that word. */
int request_run_silently(struct request *request,
                         const struct options *options);
void request_explain(const struct request *request,
                     const struct options *options, int code);
/* Ask one server, and the one that it redirects to; `addr` is set to the one
 * that answered. Returns EXIT_DONE after a 2xx, otherwise the exit code of a
 * command that has no other server; `why` has the reason. */
enum { REQUEST_WHY_BYTES = 256 };
int request_ask(struct request *request, const struct options *options,
                char addr[SERVER_BYTES], char why[REQUEST_WHY_BYTES]);

/* Write everything to the descriptor. False: *why has the reason. */
bool client_write_out(int fd, const void *data, size_t size, const char **why);
/* Write everything to stdout. Returns the exit code of the command. */
int client_print_bytes(const struct options *options, struct bytes bytes);

/* Print the server's JSON as lines (client_flatten()), or with --json as it is.
 * Returns the exit code of the command. */
int client_print_lines(const struct options *options, struct bytes json);
/* Say that the answer is none of a craftd. Returns the exit code. */
int client_not_understood(const struct options *options);

/* Ask on the terminal whether to go on; with --yes, nothing is asked. Returns
 * EXIT_DONE to go on; another exit code has been explained on stderr. */
int client_confirm(const struct options *options, const char *format, ...)
    PRINTF(2, 3);

/* Add the header by which the server at `addr` (host:port) knows us, if there
 * are credentials for it: from ~/.netrc with --netrc, which has them by host;
 * else, for the servers of options->addr, from the file that CRAFTD_TOKEN_FILE
 * names, else CRAFTD_USER. False: `why` says what is wrong with them. */
bool client_add_credentials(struct buf *out, const struct options *options,
                            const char *addr, char *why, size_t why_size);
/* Give up, before a file of a stranger is read, what that and requests do not
 * need: from now on this process can open the files of the credentials and what
 * the resolver reads, make connections, and change no file (sys/sandbox.h).
 * Unless CRAFTD_SANDBOX is off. Where the system has no sandbox it goes on. */
void client_confine(const struct options *options);

/* ---- whole_file.c ---- */

/* Writes what a file is to have. Returns the exit code of the command, which it
 * has explained unless it is EXIT_DONE. */
typedef int client_fill(const struct options *options, int fd);
/* Write a file under a temporary name, and give it the name `path` when `fill`
 * has succeeded; "-": fill stdout. Returns the exit code of the command. */
int client_write_whole_file(const struct options *options, const char *path,
                            client_fill *fill);

/* ---- place.c ---- */

/* The line of the text that byte `offset` is in, from 1 on. An offset behind
 * white space, as a reader has it that has just found the next token, is in the
 * line of that token. */
unsigned client_line_of(struct bytes text, uint64_t offset);
/* Set *offset to the start of item `at`, from 0 on, of the list `name` in the
 * JSON object `text`. False: there is none. */
bool client_find_item(struct bytes text, const char *name, uint64_t at,
                      uint64_t *offset);

/* ---- text.c ---- */

struct field {
    const char *name;
    char text[320]; /* "" when it is absent; cut when it is longer. */
};

/* Read those members of an object that `fields` names, if they are scalars; the
 * opening brace has been read. False: it is no JSON. */
bool client_read_fields(struct json_reader *reader, struct field *fields,
                        size_t count);
/* Write JSON as lines "path<TAB>value": {"a":{"b":[1]}} is "a.b.0<TAB>1".
 * False: it is no JSON. */
bool client_flatten(struct bytes json, struct buf *out);

/* ---- the commands ---- */

int client_run_get(const struct options *options);
int client_run_put(const struct options *options);
int client_run_del(const struct options *options);
/* del --prefix. */
int client_erase(const struct options *options);
int client_run_txn(const struct options *options);
int client_run_ls(const struct options *options);
int client_run_watch(const struct options *options);
int client_run_lock(const struct options *options);
int client_run_elect(const struct options *options);
int client_run_status(const struct options *options);
/* status --all. */
int client_status_all(const struct options *options);
int client_run_check(const struct options *options);
int client_run_nodes(const struct options *options);
int client_run_leader(const struct options *options);
int client_run_sync(const struct options *options);
int client_run_snapshot(const struct options *options);
int client_run_restore(const struct options *options);
int client_run_backup(const struct options *options);
int client_run_export(const struct options *options);
int client_run_import(const struct options *options);
int client_run_bench(const struct options *options);
int client_run_bench_disk(const struct options *options);
int client_run_passwd(const struct options *options);
int client_run_token(const struct options *options);
int client_run_keygen(const struct options *options);
int client_run_version(const struct options *options);
int client_run_help(const struct options *options);

#endif
