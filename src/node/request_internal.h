/* request_internal.h -- requests inside the room: their lists, forwarding,
 * reads, repeats, changes of the membership, transfers of leadership.
 *
 * A request is in one list of node->requests.by_state at a time, the one of its
 * state; request_unlink() and request_move() alone change that. */
#ifndef CRAFTD_NODE_REQUEST_INTERNAL_H
#define CRAFTD_NODE_REQUEST_INTERNAL_H

#include "node/node.h"

struct store_result;

enum request_kind {
    REQUEST_WRITE = 1,
    REQUEST_READ,
    REQUEST_JOIN,
    REQUEST_REMOVE,
    REQUEST_TRANSFER,
    REQUEST_SUFFRAGE,
    REQUEST_APPLIED,
    REQUEST_CHECKPOINT,
    REQUEST_SNAPSHOT,
};

/* Which list a request is in. */
enum request_state {
    STATE_IDLE = 0,  /* None: the request is its caller's. */
    STATE_WAITING,   /* For a leader, or until a change is possible. */
    STATE_PROPOSED,  /* In this node's log, by index, to be applied. */
    STATE_ORPHAN,    /* Cut from this node's log; others may still have it. */
    STATE_FORWARDED, /* At the leader. */
    STATE_ASKING,    /* A read without an index yet, by cookie. */
    STATE_READING,   /* Until an index is applied here. */
    STATE_TRANSFER,  /* Until another node leads. */
    STATE_SNAPSHOT,  /* Until a checkpoint is complete. */
    STATE_DONE,      /* Called back at the end of the turn. */
    STATE_COUNT,
};

/* ---- requests.c: the life of a request ---- */

static inline struct node_request *request_of(struct list *link)
{
    return container_of(link, struct node_request, link);
}
void requests_init(struct node *node);
void requests_free(struct node *node);
/* Take the request out of its list. Call it before the body is changed: the
 * bytes of waiting bodies are counted. */
void request_unlink(struct node *node, struct node_request *request);
void request_move(struct node *node, struct node_request *request,
                  enum request_state state);
/* The callback runs at the end of the turn. */
void request_finish(struct node *node, struct node_request *request,
                    enum node_outcome outcome, uint64_t index);
void request_refuse(struct node *node, struct node_request *request,
                    enum node_outcome outcome, enum node_refusal refusal);
/* Copy what is to be proposed or forwarded into request->body, unless it lies
 * there already. */
void request_set_body(struct node_request *request, struct bytes body);
/* Copy the answer in place of the body, which is not needed any more. */
void request_set_result(struct node_request *request, struct bytes data);
void request_begin(struct node_request *request, enum request_kind kind);
/* Begin the request and submit it. */
void request_accept(struct node *node, struct node_request *request,
                    enum request_kind kind, struct bytes body);
void request_accept_id(struct node *node, struct node_request *request,
                       enum request_kind kind, raft_id id);
/* Carry the request out here, forward it to the leader, or let it wait for one.
 * `body` may be request->body's own bytes. */
void request_submit(struct node *node, struct node_request *request,
                    struct bytes body);
/* The entry that the last step appended is this request's. */
void request_proposed(struct node *node, struct node_request *request);
/* Submit the requests that wait for a leader, if there is one now. */
void requests_submit(struct node *node);
/* Entry `index` was applied. */
void requests_applied(struct node *node, uint64_t index, uint64_t term,
                      const struct store_result *result);
/* This node's log was cut from `index` on. */
void requests_cut(struct node *node, uint64_t index);
/* Entries up to `index` came with a snapshot, which does not contain the
 * outcome of each of them. */
void requests_installed(struct node *node, uint64_t index);
void requests_leader_changed(struct node *node);
/* True when a request waits for something, and so has a deadline. */
bool requests_are_waiting(const struct node *node);
void requests_expire(struct node *node);
void requests_call_back(struct node *node);

/* ---- forward.c: between a follower and the leader ---- */

void forward_init(struct node *node);
void forward_free(struct node *node);
/* False: the queue to `peer` has no room. Else the request is FORWARDED. */
MUST_CHECK bool forward_to(struct node *node, struct node_request *request,
                           raft_id peer, struct bytes body);
/* The same; false too when no other node is known to lead. */
MUST_CHECK bool forward_to_leader(struct node *node,
                                  struct node_request *request,
                                  struct bytes body);
/* True when another node forwarded it to this one. */
bool request_is_remote(const struct node_request *request);
/* Frames of other nodes. False: malformed. */
bool forward_on_request(struct node *node, raft_id from,
                        const struct wire_forward *forward);
bool forward_on_response(struct node *node, raft_id from,
                         const struct wire_forward_resp *resp);
/* This node does not lead: remote requests that wait for a leader go back. */
void forward_return_waiting(struct node *node);
/* The link to `peer` is down: no answer to what was forwarded to it comes. */
void forward_peer_down(struct node *node, raft_id peer);

/* ---- reads.c: linearizable reads ---- */

void reads_init(struct node *node);
void reads_free(struct node *node);
/* Ask the engine for the index of the reads that have gathered. */
void reads_ask(struct node *node);
/* The engine has an index for reads up to `cookie`, ... */
void reads_indexed(struct node *node, uint64_t cookie, uint64_t index);
/* ... or none: the reads ask again after a heartbeat. */
void reads_failed(struct node *node);
/* Finish the reads whose index is applied. */
void reads_release(struct node *node);
/* One attempt of a request REQUEST_APPLIED. */
void node_applied_step(struct node *node, struct node_request *request,
                       struct bytes body);
/* Start a read of the node's own, until one has succeeded: the node is ready
 * then. */
void reads_probe_readiness(struct node *node);

/* ---- repeat.c: requests whose leader went away ---- */

/* `request` was forwarded, and its outcome will not come. True: it goes to the
 * next leader, until its deadline. */
bool repeat_forwarded(struct node *node, struct node_request *request);
/* A repeat is about to be submitted: true when it has been taken care of. */
bool repeat_submit(struct node *node, struct node_request *request);
/* The leader has committed up to `index`: may this write be repeated now? */
bool repeat_confirmed(const struct node_request *request, uint64_t index);
/* The outcome for the client, after an attempt whose outcome is not known. */
enum node_outcome repeat_outcome(const struct node_request *request,
                                 enum node_outcome outcome);

/* ---- join.c, transfer.c: one attempt of a request at the leader ----
 *
 * It ends up in the log, finished, or waiting to be tried again. */

bool join_same_uuid(const struct raft_member *a, const struct raft_member *b);
void join_step(struct node *node, struct node_request *request);
void node_remove_step(struct node *node, struct node_request *request);
void node_suffrage_step(struct node *node, struct node_request *request);
void transfer_step(struct node *node, struct node_request *request);
/* The engine's transfer of leadership has ended. */
void transfer_finished(struct node *node, bool ok);

#endif
