/* api_internal.h -- the state of the API, and the files of this room. Each
 * subject that several of them share has a header: connections and their
 * requests (conn), bodies in pieces (body), answers and errors (answer),
 * parameters (params), permissions (gate), reads (read), walks over many keys
 * (scan), writes (write), members (member), restores (restore), metrics and
 * routes.
 *
 *     api.c      opening, stopping and closing the API
 *     server.c   the requests of a connection, one after the other
 *     answer.c   the framing of answers
 *     conns.c    connections: places, time-outs, memory for input
 *     routes.c   path and method -> handler
 *     params.c   query parameters, checked against those of the route
 *     gate.c     authentication and permissions of requests
 *     join_token.c  tokens for one join: /join/token
 *     proxied.c  clients behind a trusted proxy
 *     browser.c  requests of web pages
 *     read.c     levels of consistency: when a read may be answered
 *     poll.c     reads that wait for a change
 *     keys.c     /key: reading
 *     accept.c   the form of an answer that the client prefers
 *     writes.c   /key: writing
 *     conditions.c  If-Match, ?cas= and Idempotency-Key of a write
 *     submit.c   submits commands, and answers their results
 *     ttl.c      /ttl, and ?ttl= of a write
 *     lease.c    /lease
 *     keepalive.c  keepalives of leases that share an entry of the log
 *     list.c     /keys
 *     erase.c    DELETE /keys
 *     scan.c     walks over many keys, a slice per turn of the event loop
 *     watch.c    /watch
 *     watch_initial.c  the keys as they are, with which it may begin
 *     watch_text.c  the form of its events
 *     watch_lag.c   how far its clients are behind
 *     txn.c      /txn
 *     status.c   /status
 *     join.c     /join
 *     nodes.c    /nodes /remove
 *     leader.c   /leader
 *     member.c, member_body.c  what those share
 *     body.c     bodies that are sent or received in pieces
 *     backup.c   /backup
 *     export.c   /export
 *     restore.c  /restore
 *     hints.c    the hints of /status for an operator
 *     operate.c  /snapshot /sync
 *     health.c   /livez /readyz /healthz /health
 *     metrics.c  /metrics, and counting requests for it
 *     ui.c       /ui, the web page, and /whoami
 *     v1.c       /api/v1: the paths of brokerd's document
 *     properties.c  /api/v1/properties, /api/v1/settings
 *     embedded.c  files of the binary, which are compressed there
 *     openapi.yaml  the description of the API; it is in the binary
 *     problem.c  errors */
#ifndef CRAFTD_API_API_INTERNAL_H
#define CRAFTD_API_API_INTERNAL_H

#include "api/answer_internal.h"
#include "api/api.h"
#include "api/conn_internal.h"
#include "api/export_internal.h"
#include "api/gate_internal.h"
#include "api/keepalive_internal.h"
#include "api/metrics_internal.h"
#include "api/proxied_internal.h"
#include "api/read_internal.h"
#include "api/restore_internal.h"
#include "api/scan_internal.h"
#include "api/watch_internal.h"

struct api {
    struct api_options options;
    struct node *node; /* NULL while starting. */
    /* NULL: not asked for, or closed. */
    struct listener *listeners[2];
    char listening[REACTOR_UNIX_PATH_BYTES + 2 * REACTOR_ADDR_TEXT_BYTES + 8];
    bool stopping;
    struct api_conns conns;
    struct api_proxied proxied;
    struct api_scans scans;
    struct api_reads reads;
    struct api_output output;
    struct api_gate gate;
    struct api_metrics metrics;
    struct restore restore;
    struct api_watches watches;
    struct api_exports exports;
    struct api_keepalives keepalives;
    /* Scratch for the answer or the command that is being made: a handler or
     * callback fills these and gives them to api_answer() or api_submit()
     * before it returns. Nothing in them lasts longer. */
    struct buf body;
    struct buf message; /* The sentence of a problem. */
    struct buf headers; /* "Name: value\r\n"..., taken by the next answer. */
    struct buf command;
    struct buf lists[3]; /* Lists of a transaction: if, then, else. */
};

#endif
