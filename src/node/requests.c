/* requests.c -- the life of a request: accepted, proposed or forwarded or
 * waiting, finished, called back.
 *
 * A write at the leader is proposed at once; elsewhere it is forwarded to the
 * leader, once (but see repeat.c); without a leader it waits for one until its
 * deadline. It is answered when its entry has been applied here. Every failure
 * says whether the write can have happened: an entry that is only in this
 * node's log may still be committed by another leader (NODE_UNKNOWN); one whose
 * index was applied with another term cannot (NODE_LOST). */
#include "base/log.h"
#include "command/command.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/space_internal.h"

enum {
    HERE_WAITING_MAX = 256, /* Commands that wait at the leader. */
    EXPIRE_MS = 100,        /* Time between two checks of deadlines. */
};

static const char *const outcome_names[NODE_OUTCOME_COUNT] = {
    [NODE_OK] = "ok",
    [NODE_NO_LEADER] = "no-leader",
    [NODE_BUSY] = "overloaded",
    [NODE_CONF_BUSY] = "config-in-progress",
    [NODE_NO_SPACE] = "no-space",
    [NODE_NOT_FOUND] = "not-found",
    [NODE_LAST_VOTER] = "last-voter",
    [NODE_NOT_CAUGHT_UP] = "not-caught-up",
    [NODE_STOPPING] = "stopping",
    [NODE_TOO_BIG] = "too-large",
    [NODE_INVALID] = "bad-request",
    [NODE_STARTING] = "starting",
    [NODE_LOST] = "lost",
    [NODE_UNKNOWN] = "commit-timeout",
    [NODE_SECOND_CLUSTER] = "second-cluster",
    [NODE_QUARANTINED] = "quarantined",
    [NODE_OUTDATED] = "outdated-member",
};

const char *node_outcome_name(enum node_outcome outcome)
{
    must(outcome < NODE_OUTCOME_COUNT);
    return outcome_names[outcome];
}

/* ---- lists ---- */

void request_unlink(struct node *node, struct node_request *request)
{
    if (request->state == STATE_IDLE) {
        return;
    }
    list_remove(&request->link);
    if (request->state == STATE_PROPOSED || request->state == STATE_ORPHAN) {
        must(node->requests.pending_count > 0);
        must(node->requests.pending_bytes >= request->size_bytes);
        node->requests.pending_count--;
        node->requests.pending_bytes -= request->size_bytes;
        node->requests.pending_spread -= request->spread_bytes;
    } else if (request->state == STATE_WAITING) {
        must(node->requests.waiting_count > 0);
        must(node->requests.waiting_bytes >= request->body.size);
        node->requests.waiting_count--;
        node->requests.waiting_bytes -= request->body.size;
        must(node->requests.waiting_count > 0 ||
             node->requests.waiting_bytes == 0);
    } else if (request->state == STATE_TRANSFER) {
        must(node->transfer.request == request);
        node->transfer.request = NULL;
    }
    request->state = STATE_IDLE;
}

void request_move(struct node *node, struct node_request *request,
                  enum request_state state)
{
    must(state > STATE_IDLE && state < STATE_COUNT);
    must(request->cb != NULL);
    request_unlink(node, request);
    request->state = (uint8_t)state;
    list_init(&request->link);
    list_add(&node->requests.by_state[state], &request->link);
    if (state == STATE_PROPOSED || state == STATE_ORPHAN) {
        node->requests.pending_count++;
        node->requests.pending_bytes += request->size_bytes;
        node->requests.pending_spread += request->spread_bytes;
    } else if (state == STATE_WAITING) {
        node->requests.waiting_count++;
        node->requests.waiting_bytes += request->body.size;
    } else if (state == STATE_TRANSFER) {
        must(node->transfer.request == NULL); /* At most one. */
        node->transfer.request = request;
    }
}

/* Count the outcome of an entry of this node's log; not of one whose client
 * went away (node_cancel()). */
static void count_outcome(struct node *node, const struct node_request *request,
                          enum node_outcome outcome)
{
    struct node_metrics *metrics = &node->metrics;
    if (request->state != STATE_PROPOSED && request->state != STATE_ORPHAN) {
        return;
    }
    if (outcome == NODE_OK) {
        metrics->committed++;
        histogram_add(&metrics->commit_us,
                      node->env.now_us(node->env.self) - request->since_us);
    } else if (outcome == NODE_UNKNOWN) {
        metrics->timed_out++;
    } else {
        metrics->failed++;
    }
}

void request_finish(struct node *node, struct node_request *request,
                    enum node_outcome outcome, uint64_t index)
{
    must(request->state != STATE_DONE); /* Finished once. */
    must(outcome < NODE_OUTCOME_COUNT);
    outcome = repeat_outcome(request, outcome);
    count_outcome(node, request, outcome);
    if (outcome == NODE_UNKNOWN) {
        request->result.refusal = NODE_REFUSED_OTHERWISE;
    }
    request->result.outcome = outcome;
    request->result.index = index;
    request_move(node, request, STATE_DONE);
}

void request_refuse(struct node *node, struct node_request *request,
                    enum node_outcome outcome, enum node_refusal refusal)
{
    request->result.refusal = refusal;
    request_finish(node, request, outcome, 0);
}

void node_request_free(struct node_request *request)
{
    must(request->state == STATE_IDLE);
    buf_free(&request->body);
}

void node_cancel(struct node *node, struct node_request *request)
{
    request_unlink(node, request);
}

void request_set_body(struct node_request *request, struct bytes body)
{
    must(request->state != STATE_WAITING); /* Its bytes are counted. */
    if (request->body.data != body.data || body.size == 0) {
        request->body.size = 0;
        buf_add_bytes(&request->body, body);
    }
}

void request_set_result(struct node_request *request, struct bytes data)
{
    must(request->state != STATE_WAITING); /* Its bytes are counted. */
    request->body.size = 0;                /* Drops the command. */
    buf_add_bytes(&request->body, data);
    request->result.data = buf_bytes(&request->body);
}

/* ---- proposing ---- */

void request_proposed(struct node *node, struct node_request *request)
{
    uint64_t first;
    uint64_t last;
    raft_appended(node->raft, &first, &last);
    must(first == last);
    must(raft_is_leader(node->raft));
    struct list *proposed = &node->requests.by_state[STATE_PROPOSED];
    must(list_empty(proposed) || request_of(proposed->prev)->index < first);
    request->index = first;
    request->term = raft_term_at(node->raft, first);
    request->since_us = node->env.now_us(node->env.self);
    request_move(node, request, STATE_PROPOSED);
}

/* Let the request wait until there is a leader to carry it out or to forward it
 * to. */
static void wait_for_leader(struct node *node, struct node_request *request,
                            struct bytes body)
{
    if (request_is_remote(request)) {
        request_finish(node, request, NODE_NO_LEADER, 0);
        return;
    }
    if (node->requests.waiting_count >= node->options.proposals_max ||
        node->requests.waiting_bytes + body.size >
            node->options.proposals_bytes_max) {
        request_finish(node, request, NODE_BUSY, 0);
        return;
    }
    request_unlink(node, request);
    request_set_body(request, body);
    request_move(node, request, STATE_WAITING);
}

/* Let the command of a leader's request wait, for space or until it can be
 * stamped. False: too much waits already. */
static bool wait_here(struct node *node, struct node_request *request,
                      struct bytes command)
{
    if (node->requests.waiting_count >= HERE_WAITING_MAX ||
        node->requests.waiting_bytes + command.size >
            node->options.proposals_bytes_max) {
        return false;
    }
    request_unlink(node, request);
    request_set_body(request, command);
    request_move(node, request, STATE_WAITING);
    return true;
}

static void propose(struct node *node, struct node_request *request,
                    struct bytes command)
{
    uint64_t spread;
    struct bytes stamped = command;
    enum space_answer space = space_admit(node, command, &spread);
    if (space == SPACE_LATER && wait_here(node, request, command)) {
        return;
    }
    if (space != SPACE_YES) {
        node->metrics.failed++;
        request_finish(node, request,
                       space == SPACE_NO ? NODE_NO_SPACE : NODE_BUSY, 0);
        return;
    }
    if (node->requests.pending_count >= node->options.proposals_max ||
        node->requests.pending_bytes + command.size >
            node->options.proposals_bytes_max) {
        node->metrics.failed++;
        request_finish(node, request, NODE_BUSY, 0);
        return;
    }
    enum stamp stamp = time_stamp(node, &stamped);
    if (stamp == STAMP_LATER && wait_here(node, request, command)) {
        return;
    }
    if (stamp != STAMP_DONE) {
        node->metrics.failed++;
        request_finish(node, request,
                       stamp == STAMP_NEVER ? NODE_OUTDATED : NODE_BUSY, 0);
        return;
    }
    enum err err = node_propose(node, stamped);
    if (!err) {
        request->size_bytes = command.size;
        request->spread_bytes = spread;
        request_proposed(node, request);
        return;
    }
    struct raft_status status;
    raft_get_status(node->raft, &status);
    if (err == ERR_BUSY && !status.transferring) {
        node->metrics.failed++;
        request_finish(node, request, NODE_BUSY, 0);
    } else {
        wait_for_leader(node, request, command);
    }
}

/* ---- submitting ---- */

void request_submit(struct node *node, struct node_request *request,
                    struct bytes body)
{
    if (node_foreign(node)) {
        /* Joins as well: members must not be split between two clusters. */
        request_finish(node, request,
                       request_is_remote(request) ? NODE_NO_LEADER
                                                  : NODE_SECOND_CLUSTER,
                       0);
        return;
    }
    if (!node->member) {
        wait_for_leader(node, request, body); /* Until it has joined. */
        return;
    }
    if (request->kind == REQUEST_APPLIED) {
        node_applied_step(node, request, body);
        return;
    }
    if (node_contradiction(node) && !raft_is_leader(node->raft)) {
        /* The node follows no leader to whom it could forward this. */
        request_finish(
            node, request,
            request_is_remote(request) ? NODE_NO_LEADER : NODE_QUARANTINED, 0);
        return;
    }
    if (request->kind == REQUEST_WRITE && command_needs_stamp(body) &&
        raft_leader(node->raft) != 0 &&
        !time_is_understood_by(node, raft_leader(node->raft))) {
        request_finish(node, request, NODE_OUTDATED, 0);
        return;
    }
    if (!raft_is_leader(node->raft)) {
        if (request_is_remote(request) ||
            !forward_to_leader(node, request, body)) {
            wait_for_leader(node, request, body);
        }
        return;
    }
    if (request->kind == REQUEST_WRITE) {
        propose(node, request, body);
        return;
    }
    request_unlink(node, request);
    request_set_body(request, body);
    if (request->kind == REQUEST_JOIN) {
        join_step(node, request);
    } else if (request->kind == REQUEST_REMOVE) {
        node_remove_step(node, request);
    } else if (request->kind == REQUEST_SUFFRAGE) {
        node_suffrage_step(node, request);
    } else {
        transfer_step(node, request);
    }
}

static void submit_or_repeat(struct node *node, struct node_request *request,
                             struct bytes body)
{
    if (!repeat_submit(node, request)) {
        request_submit(node, request, body);
    }
}

void request_begin(struct node_request *request, enum request_kind kind)
{
    must(request->state == STATE_IDLE);
    must(request->cb != NULL);
    request->kind = (uint8_t)kind;
    request->size_bytes = 0;
    request->spread_bytes = 0;
    request->replaced = false;
    request->uncertain = false;
    request->result = (struct node_result){0};
}

void request_accept(struct node *node, struct node_request *request,
                    enum request_kind kind, struct bytes body)
{
    request_begin(request, kind);
    node->now_ms = node->env.now_ms(node->env.self);
    request_submit(node, request, body);
}

void request_accept_id(struct node *node, struct node_request *request,
                       enum request_kind kind, raft_id id)
{
    request->body.size = 0;
    buf_add_u64(&request->body, id);
    request_accept(node, request, kind, buf_bytes(&request->body));
}

void node_write(struct node *node, struct node_request *request,
                struct bytes command)
{
    request_accept(node, request, REQUEST_WRITE, command);
}

void requests_submit(struct node *node)
{
    struct list *waiting = &node->requests.by_state[STATE_WAITING];
    if (list_empty(waiting)) {
        return;
    }
    raft_id leader = raft_leader(node->raft);
    if (leader == 0 || (leader != node->ident.id &&
                        !transport_output(&node->env.transport, leader))) {
        return;
    }
    /* One pass: requests that have to wait longer are added at the end. */
    for (uint64_t left = node->requests.waiting_count; left > 0; left--) {
        struct node_request *request = request_of(waiting->next);
        must(request->state == STATE_WAITING);
        submit_or_repeat(node, request, buf_bytes(&request->body));
    }
}

/* ---- entries of our log ---- */

static void handle_applied(struct node *node, struct node_request *request,
                           uint64_t index, uint64_t term,
                           const struct store_result *result)
{
    must(request->index == index);
    must(request->state == STATE_PROPOSED || request->state == STATE_ORPHAN);
    if (request->term != term) {
        request_finish(node, request, NODE_LOST, 0);
    } else if (request->kind == REQUEST_JOIN && raft_is_leader(node->raft)) {
        count_outcome(node, request, NODE_OK);
        request_unlink(node, request);
        join_step(node, request); /* The next change, or done. */
    } else {
        request->result.deleted = result->deleted;
        if (result->data.size > 0) {
            request_set_result(request, result->data);
        }
        request_finish(node, request, NODE_OK, index);
    }
}

void requests_applied(struct node *node, uint64_t index, uint64_t term,
                      const struct store_result *result)
{
    struct list *proposed = &node->requests.by_state[STATE_PROPOSED];
    if (!list_empty(proposed)) {
        struct node_request *request = request_of(proposed->next);
        must(request->index >= index);
        if (request->index == index) {
            handle_applied(node, request, index, term, result);
        }
    }
    struct list *orphans = &node->requests.by_state[STATE_ORPHAN];
    for (struct list *at = orphans->next; at != orphans;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request->index == index) {
            handle_applied(node, request, index, term, result);
        }
    }
}

void requests_cut(struct node *node, uint64_t index)
{
    struct list *proposed = &node->requests.by_state[STATE_PROPOSED];
    while (!list_empty(proposed)) {
        struct node_request *request = request_of(proposed->prev);
        must(request->state == STATE_PROPOSED);
        if (request->index < index) {
            return;
        }
        request_move(node, request, STATE_ORPHAN);
    }
}

void requests_installed(struct node *node, uint64_t index)
{
    static const enum request_state states[] = {STATE_PROPOSED, STATE_ORPHAN};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        struct list *list = &node->requests.by_state[states[i]];
        for (struct list *at = list->next; at != list;) {
            struct node_request *request = request_of(at);
            at = at->next;
            if (request->index <= index) {
                request_finish(node, request, NODE_UNKNOWN, 0);
            }
        }
    }
}

void requests_leader_changed(struct node *node)
{
    if (!raft_is_leader(node->raft)) {
        forward_return_waiting(node);
    }
    if (!list_empty(&node->requests.by_state[STATE_ASKING])) {
        node->reads.retry_ms = node->now_ms;
    }
}

/* ---- deadlines and callbacks ---- */

/* True when the request waits for something that will not happen. A node that
 * stops transfers leadership, and requests that came meanwhile go to the new
 * leader; when there is none after the time of an election, the client gets an
 * answer rather than a closed connection. */
static bool is_abandoned(const struct node *node,
                         const struct node_request *request)
{
    if (node->member && removed_fails_request(node, request)) {
        return true;
    }
    bool waits =
        request->state == STATE_WAITING || request->state == STATE_ASKING;
    if (!node->stop.asked || !waits) {
        return false;
    }
    return !node->member || (raft_leader(node->raft) == 0 &&
                             node->now_ms >= node->stop.since_ms +
                                                 node->options.election_max_ms);
}

static enum node_outcome outcome_when_late(const struct node *node,
                                           const struct node_request *request)
{
    if (node->stop.asked && is_abandoned(node, request) &&
        request->state != STATE_PROPOSED && request->state != STATE_ORPHAN) {
        return NODE_STOPPING;
    }
    if (!node->member) {
        return NODE_STARTING;
    }
    switch ((enum request_state)request->state) {
    case STATE_PROPOSED:
    case STATE_ORPHAN:
    case STATE_FORWARDED:
    case STATE_TRANSFER:
    case STATE_SNAPSHOT:
        return NODE_UNKNOWN;
    case STATE_READING:
        return NODE_NO_LEADER;
    case STATE_WAITING:
        if (request->kind == REQUEST_APPLIED) {
            return NODE_UNKNOWN;
        }
        /* At the leader, a command waits for space, or until it can be stamped,
         * and a membership request for another change. */
        if (raft_is_leader(node->raft)) {
            return request->kind != REQUEST_WRITE ? NODE_CONF_BUSY
                   : node->time.term == 0         ? NODE_NO_LEADER
                                                  : NODE_NO_SPACE;
        }
        break;
    case STATE_ASKING:
    case STATE_IDLE:
    case STATE_DONE:
    case STATE_COUNT:
        break;
    }
    return NODE_NO_LEADER;
}

bool requests_are_waiting(const struct node *node)
{
    for (int state = STATE_WAITING; state < STATE_DONE; state++) {
        if (!list_empty(&node->requests.by_state[state])) {
            return true;
        }
    }
    return false;
}

void requests_expire(struct node *node)
{
    if (node->now_ms < node->requests.expire_ms) {
        return;
    }
    node->requests.expire_ms = node->now_ms + EXPIRE_MS;
    for (int state = STATE_WAITING; state < STATE_DONE; state++) {
        struct list *head = &node->requests.by_state[state];
        for (struct list *at = head->next; at != head;) {
            struct node_request *request = request_of(at);
            at = at->next;
            must(request->state == state);
            if (node->now_ms >= request->deadline_ms ||
                is_abandoned(node, request)) {
                request_finish(node, request, outcome_when_late(node, request),
                               0);
            }
        }
    }
}

void requests_call_back(struct node *node)
{
    /* Requests that finish during a callback wait for the next turn. */
    struct list now;
    list_init(&now);
    list_splice(&now, &node->requests.by_state[STATE_DONE]);
    while (!list_empty(&now)) {
        struct node_request *request = request_of(now.next);
        must(request->state == STATE_DONE);
        list_remove(&request->link);
        request->state = STATE_IDLE;
        request->cb(request, &request->result);
    }
}

/* ---- init and free ---- */

void requests_init(struct node *node)
{
    for (int state = 0; state < STATE_COUNT; state++) {
        list_init(&node->requests.by_state[state]);
    }
    histogram_init_latency(&node->metrics.commit_us);
    forward_init(node);
    reads_init(node);
}

void requests_free(struct node *node)
{
    forward_free(node);
    reads_free(node);
}
