/* api.h -- HTTP for clients: connections, routes, answers.
 *
 * One request per connection is in progress at a time; pipelined ones wait in
 * the stream. struct conn comes from a free list and goes back there when its
 * connection ends; its buffers are freed then, and kept from one request to the
 * next, so that a request of usual size allocates nothing. Answers are
 * formatted into the output buffer of the stream.
 *
 * Everything runs on the thread of the reactor. */
#ifndef CRAFTD_API_API_H
#define CRAFTD_API_API_H

#include "base/base.h"
#include "node/node.h"
#include "reactor/reactor.h"

struct api;

struct api_process { /* See sys_process(). */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t cpu_us;
    uint64_t open_fds;
    uint64_t max_fds;
};

/* Bound on connections held over conns_max, to be refused with an answer.
 * Further ones wait in the kernel's queue of the listener. */
enum { API_CONNS_BEYOND = 32 };

/* Everything that it points to is borrowed until api_close(). */
struct api_options {
    struct reactor *reactor;
    /* Listen on this name or address (NULL: not), ... */
    const char *host;
    uint16_t port;
    /* ... and on this Unix socket (NULL: not). See listener_open_unix(). */
    const char *unix_path;
    unsigned unix_mode;
    uint64_t value_bytes_max; /* --max-value */
    uint64_t db_bytes_max;    /* --max-db, 0: no limit. The node enforces it. */
    uint64_t body_bytes_max;  /* --max-body */
    uint32_t conns_max;
    uint32_t conns_wanted; /* --max-conns; over conns_max when the limit of
                              descriptors is too low for it. */
    /* Names of this node for browsers: the host of http_adv, the machine's name
     * (NULL: none), and a list with commas; and origins of pages that may do
     * what our own may, a list too. Lists are NULL or well-formed; "*" is any.
     * See browser.c. */
    const char *http_adv;
    const char *host_name;
    const char *allow_hosts;
    const char *allow_origins;
    /* What is wrong with the protection of the Raft port, for the hints of
     * /status; a sentence, NULL: nothing. */
    const char *raft_port_risk;
    const char *version;
    uint64_t start_s; /* Unix time of the start of the process. */
    /* Whether the link to a peer is up, and a few words why not ("": none). */
    bool (*peer_up)(void *arg, raft_id id);
    const char *(*peer_error)(void *arg, raft_id id);
    /* Whether another cluster answers at the peer's address. */
    bool (*peer_foreign)(void *arg, raft_id id);
    uint64_t (*now_us)(void *arg); /* Monotonic, to measure requests. */
    uint64_t (*wall_s)(void *arg); /* Unix time, for Date. */
    /* For /metrics. False: not known on this system. */
    bool (*process)(void *arg, struct api_process *process);
    /* Free bytes of the node's disk. False: not known, or in memory. */
    bool (*free_bytes)(void *arg, uint64_t *bytes);
    /* Unix time of the newest good backup of --backup-dir, 0 while there is
     * none. False: none is to be made. */
    bool (*backup_time)(void *arg, uint64_t *unix_s);
    /* A sentence about what is in the way of this node's own join, for the
     * hints of /status; "" when nothing is known, or it does not join. */
    const char *(*join_trouble)(void *arg);
    void *arg; /* For all of these. */
};

/* Listen. On an error `why` gets a few words, and *api stays as it was. Until
 * api_set_node() all requests are answered 503. */
MUST_CHECK enum err api_open(const struct api_options *options,
                             struct api **api, char *why, size_t why_size);
/* The addresses that are bound, with commas; the Unix socket is
 * "unix:PATH". Valid until api_close(). */
const char *api_listening(const struct api *api);
/* Answer requests by `node`, which is borrowed until api_close(). */
void api_set_node(struct api *api, struct node *node);
/* Drop all connections and cancel their requests. Call it before node_close().
 * NULL is fine. */
void api_close(struct api *api);

/* Accept no more connections, answer what is in progress, close what is idle.
 * The api still has to be closed. */
void api_stop(struct api *api);
/* Whether everything has been answered and has left. */
bool api_stopped(const struct api *api);

#endif
