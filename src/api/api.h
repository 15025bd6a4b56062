/* api.h -- HTTP for clients: connections, routes, answers.
 *
 * One request at a time is in flight per connection; pipelined ones wait in
 * the stream. Nothing is allocated per request: connections come from a free
 * list and keep their buffers, answers are formatted into the stream. */
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

/* Connections over conns_max that are held at a time, to be refused with an
 * answer. Beyond them the kernel's queue of the listener has to wait. */
enum { API_CONNS_BEYOND = 32 };

struct api_options {
    struct reactor *reactor;
    const char *host;
    uint16_t port;
    uint64_t value_bytes_max;
    uint64_t db_bytes_max; /* For /status; the node minds it. */
    uint64_t body_bytes_max;
    uint32_t conns_max;
    uint32_t conns_wanted; /* More, when descriptors are too few for it. */
    /* Names of this node for browsers: the host of http_adv, the machine's name
     * (NULL: none), and a list with commas. Origins of pages that may do what
     * our own may, likewise. Lists are NULL or well-formed; "*" is any. All
     * outlive the api. See browser.c. */
    const char *http_adv;
    const char *host_name;
    const char *allow_hosts;
    const char *allow_origins;
    const char *version;
    uint64_t start_s; /* Unix time of the start. */
    /* A few words about the link to a peer, and whether it is up. */
    bool (*peer_up)(void *arg, raft_id id);
    const char *(*peer_error)(void *arg, raft_id id);
    /* Another cluster answers at its address. */
    bool (*peer_foreign)(void *arg, raft_id id);
    uint64_t (*now_us)(void *arg); /* To measure requests by. */
    uint64_t (*wall_s)(void *arg); /* Unix time, for Date. */
    bool (*process)(void *arg, struct api_process *process);
    /* Of the disk that the node is on. False: not known, or in memory. */
    bool (*free_bytes)(void *arg, uint64_t *bytes);
    /* Unix time of the newest good backup of --backup-dir, 0 while there is
     * none. False: none is to be made. */
    bool (*backup_time)(void *arg, uint64_t *unix_s);
    /* A sentence about what is in the way of this node's own join, for the
     * hints of /status; "" when nothing is known, or it does not join. */
    const char *(*join_trouble)(void *arg);
    void *arg;
};

MUST_CHECK enum err api_open(const struct api_options *options,
                             struct api **api, char *why, size_t why_size);
/* The addresses that are bound; until api_stop(). */
const char *api_listening(const struct api *api);
/* The node exists: requests are answered from now on (503 before). */
void api_set_node(struct api *api, struct node *node);
/* Before node_close(): requests in flight are cancelled. */
void api_close(struct api *api);

/* Accept no more, answer what is in flight, close what is idle. */
void api_stop(struct api *api);
bool api_stopped(const struct api *api);

#endif
