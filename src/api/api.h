/* api.h -- HTTP for clients: connections, routes, answers.
 *
 * One request per connection is in progress at a time; pipelined ones wait in
 * the stream. A connection keeps its buffers from one request to the next, so
 * that a request of usual size allocates nothing, and frees them when it ends;
 * the struct itself is reused. Answers are formatted into the output buffer of
 * the stream.
 *
 * Everything runs on the thread of the reactor. */
#ifndef CRAFTD_API_API_H
#define CRAFTD_API_API_H

#include "base/base.h"
#include "base/bytes.h"
#include "node/node.h"
#include "reactor/reactor.h"

struct api;

/* Resources of this process: the fields of sys_process(). */
struct api_process {
    bool has_memory;
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t cpu_us;
    uint64_t open_fds;
    uint64_t max_fds;
};

/* Enough for any number of connections, for the two bounds below that have
 * these names. */
enum { API_CONNS_BEYOND = 32, API_PROXIED_MAX = 256 };

/* All pointers are borrowed until api_close(). */
/* The scheduled backups of this node, for /status and /metrics. Times are Unix
 * times in seconds, 0: not since the start. */
struct api_backups {
    uint64_t time_s; /* Time of the last good one, its index and size. */
    uint64_t index;
    uint64_t bytes;
    uint64_t failures;    /* Since the start. */
    const char *trouble;  /* Why the last one failed; "": it did not. */
    bool has_exec;        /* The next ones are of --backup-exec. */
    uint64_t exec_time_s; /* Time of its last success. */
    uint64_t exec_failures;
    const char *exec_trouble;
};

struct api_options {
    struct reactor *reactor;
    /* Name or address to listen on, for listener_open() (NULL: none), ... */
    const char *host;
    uint16_t port;
    /* ... and Unix socket, for listener_open_unix() (NULL: none). */
    const char *unix_path;
    unsigned unix_mode;
    const char *trust_proxy;  /* --trust-proxy, see http/proxy.h; NULL: none. */
    uint64_t value_bytes_max; /* --max-value */
    uint64_t cache_bytes;  /* SQLite's page cache, for /status and /metrics. */
    uint64_t budget_bytes; /* Bound on each of: bodies that are received,
                              answers that clients have not taken, pages of
                              lists, over all connections. 0: 128 MiB. */
    uint64_t db_bytes_max; /* --max-db, 0: no limit. The node enforces it. */
    uint64_t body_bytes_max; /* --max-body */
    uint32_t conns_max;      /* Upper bound on connections, over 0. */
    /* Upper bound on connections accepted over conns_max: they are answered
     * probes or refused. Further ones wait in the kernel's queue of the
     * listener. */
    uint32_t conns_beyond;
    /* The same on connections of trusted proxies without a whole PROXY
     * header. */
    uint32_t proxied_max;
    uint32_t conns_wanted; /* --max-conns; higher than conns_max when the limit
                              of descriptors is too low for it. */
    /* Names under which browsers may reach this node: the host of http_adv, the
     * machine's name (NULL: none), and a list separated by commas; and the
     * origins of pages that have the rights of our own, a list as well. Lists
     * are NULL or well-formed; the element "*" is any. See browser.c. */
    const char *http_adv;
    const char *host_name;
    const char *allow_hosts;
    const char *allow_origins;
    /* A risk of the Raft port, a sentence for the hints of /status. NULL: none
     * is known. */
    const char *raft_port_risk;
    bool has_ui; /* Serve the web page. */
    const char *version;
    /* Random bytes: the key with which remembered credentials are hashed. */
    const uint8_t *secret; /* AUTH_KEY_BYTES of auth/auth.h; copied. */
    uint64_t start_s;      /* Unix time of the start of the process. */
    /* True when the link to a peer is up; and the reason why it is not, in a
     * few words ("" when none is known). */
    bool (*peer_up)(void *arg, raft_id id);
    const char *(*peer_error)(void *arg, raft_id id);
    /* True when another cluster answers at the peer's address. */
    bool (*peer_foreign)(void *arg, raft_id id);
    uint64_t (*now_us)(void *arg); /* Monotonic, to measure requests. */
    uint64_t (*wall_s)(void *arg); /* Unix time, for Date. */
    /* Fill in the resources, for /metrics. */
    void (*process)(void *arg, struct api_process *process);
    /* The layers of the sandbox (sys/sandbox.h) that the process is in. */
    void (*sandbox)(void *arg, bool *seccomp, bool *landlock);
    /* Free bytes of the node's disk. False: unknown, or the node is in memory.
     * NULL: as false. */
    bool (*free_bytes)(void *arg, uint64_t *bytes);
    /* Fill in the backups of --backup-dir. False: there is no --backup-dir. */
    bool (*backups)(void *arg, struct api_backups *backups);
    /* The obstacle to this node's own join, a sentence for the hints of
     * /status; "" when none is known, or the node does not join. */
    const char *(*join_trouble)(void *arg);
    /* Passed to all of these, of which only free_bytes may be NULL. Texts that
     * they return are read before the caller returns to the event loop. */
    void *arg;
};

/* Start to listen. Until api_set_node() all requests are answered 503. On an
 * error, one of listener_open(), `why` is set to a few words and *api is left
 * as it was. */
MUST_CHECK enum err api_open(const struct api_options *options,
                             struct api **api, char *why, size_t why_size);
/* Take the rules of a file of users and tokens (auth/auth.h), all or none; they
 * apply to requests from now on. Without this everybody may do everything. On
 * an error, one of auth_set_rules(), `why` gets a few words with the place in
 * the file, and the rules stay as they were. */
MUST_CHECK enum err api_set_rules(struct api *api, struct bytes file, char *why,
                                  size_t why_size);
/* Number of users and tokens of the rules; 0 without any. */
uint32_t api_rules_count(const struct api *api);
/* The bound addresses as text, separated by commas; the Unix socket is
 * "unix:PATH". Valid until api_close(). */
const char *api_listening(const struct api *api);
/* Answer requests from `node`, which is borrowed until api_close(). */
void api_set_node(struct api *api, struct node *node);
/* Drop all connections, cancel their requests, and free the API. Must come
 * before node_close(). NULL is allowed. */
void api_close(struct api *api);

/* Accept no more connections, close idle ones, and go on with the requests in
 * progress. api_close() still has to follow. */
void api_stop(struct api *api);
/* True when every request has been answered, and every answer sent. */
bool api_stopped(const struct api *api);

#endif
