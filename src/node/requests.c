/* requests.c -- clients' requests: propose, forward, wait, answer.
 *
 * A write at the leader is proposed at once; elsewhere it is forwarded to the
 * leader, once (but see repeat.c); without a leader it waits for one until its
 * deadline. It is
 * answered when its entry has been applied here. Every way to fail says
 * whether the write can have happened: an entry that is only in our log may
 * still be committed by another leader (NODE_UNKNOWN), one whose index was
 * taken by an entry of another term cannot (NODE_LOST). */
#include "base/log.h"
#include "command/command.h"
#include "command/result.h"
#include "node/node_internal.h"

/* Of a forwarded request's memory, for the next one. */
enum { REMOTE_BYTES_KEPT = 64 << 10, DELETES_WAITING_MAX = 256 };

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
};

const char *node_outcome_name(enum node_outcome outcome)
{
    must(outcome < NODE_OUTCOME_COUNT);
    return outcome_names[outcome];
}

static struct node_request *request_of(struct list *link)
{
    return container_of(link, struct node_request, link);
}

/* ---- lists --------------------------------------------------------------- */

static void leave(struct node *node, struct node_request *request)
{
    if (request->state == STATE_IDLE) {
        return;
    }
    list_remove(&request->link);
    if (request->state == STATE_PROPOSED || request->state == STATE_ORPHAN) {
        must(node->pending_count > 0);
        node->pending_count--;
        node->pending_bytes -= request->size_bytes;
    } else if (request->state == STATE_WAITING) {
        must(node->waiting_count > 0);
        node->waiting_count--;
        node->waiting_bytes -= request->body.size;
    } else if (request->state == STATE_TRANSFER) {
        node->transfer = NULL;
    }
    request->state = STATE_IDLE;
}

void request_move(struct node *node, struct node_request *request,
                  enum request_state state)
{
    leave(node, request);
    request->state = (uint8_t)state;
    list_init(&request->link);
    list_add(&node->requests[state], &request->link);
    if (state == STATE_PROPOSED || state == STATE_ORPHAN) {
        node->pending_count++;
        node->pending_bytes += request->size_bytes;
    } else if (state == STATE_WAITING) {
        node->waiting_count++;
        node->waiting_bytes += request->body.size;
    } else if (state == STATE_TRANSFER) {
        node->transfer = request;
    }
}

/* What became of an entry of our log. Of one whose client went away
 * (node_cancel) nobody waits to hear. */
static void count(struct node *node, const struct node_request *request,
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
    outcome = repeat_outcome(request, outcome);
    count(node, request, outcome);
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
    leave(node, request);
}

static void keep_body(struct node_request *request, struct bytes body)
{
    if (request->body.data != body.data || body.size == 0) {
        request->body.size = 0;
        buf_add_bytes(&request->body, body);
    }
}

static void keep_result(struct node_request *request, struct bytes data)
{
    request->body.size = 0; /* The command is not needed any more. */
    buf_add_bytes(&request->body, data);
    request->result.data = buf_bytes(&request->body);
}

/* ---- proposing ------------------------------------------------------------
 */

void request_proposed(struct node *node, struct node_request *request)
{
    uint64_t first;
    uint64_t last;
    raft_appended(node->raft, &first, &last);
    must(first == last);
    request->index = first;
    request->term = raft_term_at(node->raft, first);
    request->since_us = node->env.now_us(node->env.self);
    request_move(node, request, STATE_PROPOSED);
}

static void refuse_forward(struct node *node, raft_id to, uint64_t request,
                           enum node_outcome outcome)
{
    struct buf *out = transport_output(&node->env.transport, to);
    if (out) {
        wire_add_forward_resp(
            out, &(struct wire_forward_resp){.request = request,
                                             .outcome = (uint8_t)outcome});
    }
}

static bool is_remote(const struct node_request *request);

/* The leadership is on its way to another: what is proposed now would be
 * refused, but soon there is somebody to forward to. */
static void wait_for_leader(struct node *node, struct node_request *request,
                            struct bytes body)
{
    if (is_remote(request)) {
        request_finish(node, request, NODE_NO_LEADER, 0);
        return;
    }
    if (node->waiting_count >= node->options.proposals_max ||
        node->waiting_bytes + body.size > node->options.proposals_bytes_max) {
        request_finish(node, request, NODE_BUSY, 0);
        return;
    }
    leave(node, request);
    keep_body(request, body);
    request_move(node, request, STATE_WAITING);
}

static void propose(struct node *node, struct node_request *request,
                    struct bytes command)
{
    enum space_answer space = space_admit(node, command);
    if (space == SPACE_LATER && node->waiting_count < DELETES_WAITING_MAX) {
        leave(node, request);
        keep_body(request, command);
        request_move(node, request, STATE_WAITING);
        return;
    }
    if (space != SPACE_YES) {
        node->metrics.failed++;
        request_finish(node, request,
                       space == SPACE_NO ? NODE_NO_SPACE : NODE_BUSY, 0);
        return;
    }
    if (node->pending_count >= node->options.proposals_max ||
        node->pending_bytes + command.size >
            node->options.proposals_bytes_max) {
        node->metrics.failed++;
        request_finish(node, request, NODE_BUSY, 0);
        return;
    }
    enum err err = node_propose(node, command);
    if (!err) {
        request->size_bytes = command.size;
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

/* ---- forwarding ------------------------------------------------------------
 */

static enum wire_forward_kind forward_kind(const struct node_request *request)
{
    switch ((enum request_kind)request->kind) {
    case REQUEST_WRITE:
        return WIRE_FORWARD_COMMAND;
    case REQUEST_JOIN:
        return WIRE_FORWARD_JOIN;
    case REQUEST_REMOVE:
        return WIRE_FORWARD_REMOVE;
    case REQUEST_TRANSFER:
        return WIRE_FORWARD_TRANSFER;
    case REQUEST_SUFFRAGE:
        return WIRE_FORWARD_SUFFRAGE;
    case REQUEST_APPLIED:
        return WIRE_FORWARD_APPLIED;
    case REQUEST_READ:
    case REQUEST_CHECKPOINT:
    case REQUEST_SNAPSHOT:
        break;
    }
    die("a request of kind %d was to be forwarded", request->kind);
}

/* True when it is on its way. */
static bool forward_to(struct node *node, struct node_request *request,
                       raft_id peer, struct bytes body)
{
    struct buf *out = transport_output(&node->env.transport, peer);
    if (!out) {
        return false;
    }
    leave(node, request);
    keep_body(request, body);
    request->cookie = ++node->forward_cookie;
    request->term = peer; /* Whom we asked. */
    if (!request->uncertain) {
        request->sent_commit = raft_commit(node->raft);
    }
    struct wire_forward frame = {.request = request->cookie,
                                 .kind = forward_kind(request),
                                 .body = buf_bytes(&request->body)};
    wire_add_forward(out, &frame);
    node->metrics.forwarded++;
    request_move(node, request, STATE_FORWARDED);
    return true;
}

static bool forward(struct node *node, struct node_request *request,
                    struct bytes body)
{
    raft_id leader = raft_leader(node->raft);
    return leader != 0 && leader != node->ident.id &&
           forward_to(node, request, leader, body);
}

/* ---- one way in for all ----------------------------------------------------
 */

/* As long as we lead, a majority answers, and one among it is behind. Else that
 * majority was lost, or somebody else won: who leads then, others know. */
enum node_outcome request_transfer_failed(const struct node *node)
{
    return raft_is_leader(node->raft) ? NODE_NOT_CAUGHT_UP : NODE_UNKNOWN;
}

static void transfer_step(struct node *node, struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    struct raft_event event = {.type = RAFT_TRANSFER,
                               .now_ms = node->now_ms,
                               .peer = cursor_u64(&body)};
    if (event.peer == node->ident.id) {
        request_finish(node, request, NODE_OK, raft_commit(node->raft));
        return;
    }
    if (node->transfer_asked) {
        request_finish(node, request, NODE_CONF_BUSY, 0);
        return;
    }
    enum err err = node_step(node, &event, (struct bytes){0});
    if (!err) {
        node->transfer_asked = true;
        request_move(node, request, STATE_TRANSFER);
        return;
    }
    const struct raft_member *target =
        raft_conf_find(raft_conf_active(node->raft), event.peer);
    if (event.peer != 0 && !target) {
        request_finish(node, request, NODE_NOT_FOUND, 0);
    } else if (err == ERR_BUSY) {
        request_finish(node, request, NODE_CONF_BUSY, 0);
    } else {
        request_refuse(node, request, NODE_NOT_CAUGHT_UP,
                       target && target->suffrage != RAFT_VOTER
                           ? NODE_REFUSED_NO_VOTE
                           : NODE_REFUSED_OTHERWISE);
    }
}

/* Of another node: wait for it here. Of our own: ask the other one, as soon as
 * there is a link. */
static void applied_step(struct node *node, struct node_request *request,
                         struct bytes body)
{
    if (is_remote(request)) {
        struct cursor in = cursor_of(body);
        request->index = cursor_u64(&in);
        request_move(node, request, STATE_READING);
    } else if (!forward_to(node, request, request->term, body)) {
        request_move(node, request, STATE_WAITING);
    }
}

void request_submit(struct node *node, struct node_request *request,
                    struct bytes body)
{
    if (node_foreign(node)) {
        /* Adding members too: it would be one cluster more of several. */
        request_finish(
            node, request,
            is_remote(request) ? NODE_NO_LEADER : NODE_SECOND_CLUSTER, 0);
        return;
    }
    if (!node->member) {
        wait_for_leader(node, request, body); /* Joining takes a moment. */
        return;
    }
    if (request->kind == REQUEST_APPLIED) {
        applied_step(node, request, body);
        return;
    }
    if (node_contradiction(node) && !raft_is_leader(node->raft)) {
        /* It follows nobody to whom this could go. */
        request_finish(node, request,
                       is_remote(request) ? NODE_NO_LEADER : NODE_QUARANTINED,
                       0);
        return;
    }
    if (!raft_is_leader(node->raft)) {
        if (is_remote(request) || !forward(node, request, body)) {
            wait_for_leader(node, request, body);
        }
        return;
    }
    if (request->kind == REQUEST_WRITE) {
        propose(node, request, body);
        return;
    }
    leave(node, request);
    keep_body(request, body);
    if (request->kind == REQUEST_JOIN) {
        join_step(node, request);
    } else if (request->kind == REQUEST_REMOVE) {
        remove_step(node, request);
    } else if (request->kind == REQUEST_SUFFRAGE) {
        suffrage_step(node, request);
    } else {
        transfer_step(node, request);
    }
}

static void submit(struct node *node, struct node_request *request,
                   struct bytes body)
{
    if (!repeat_submit(node, request)) {
        request_submit(node, request, body);
    }
}

static void begin(struct node_request *request, enum request_kind kind)
{
    must(request->state == STATE_IDLE);
    must(request->cb != NULL);
    request->kind = (uint8_t)kind;
    request->size_bytes = 0;
    request->replaced = false;
    request->uncertain = false;
    request->result = (struct node_result){0};
}

static void accept_request(struct node *node, struct node_request *request,
                           enum request_kind kind, struct bytes body)
{
    begin(request, kind);
    node->now_ms = node->env.now_ms(node->env.self);
    request_submit(node, request, body);
}

void node_write(struct node *node, struct node_request *request,
                struct bytes command)
{
    accept_request(node, request, REQUEST_WRITE, command);
}

void node_join(struct node *node, struct node_request *request,
               const struct raft_member *member)
{
    node->conf_scratch.size = 0;
    wire_encode_member(&node->conf_scratch, member);
    request->body.size = 0;
    buf_add_bytes(&request->body, buf_bytes(&node->conf_scratch));
    accept_request(node, request, REQUEST_JOIN, buf_bytes(&request->body));
}

void node_moved(struct node *node, struct node_request *request,
                const struct raft_member *member)
{
    must(member->id != 0);
    begin(request, REQUEST_JOIN);
    bool known = node->member && address_hint(node, member);
    if (known && raft_leader(node->raft) != 0) {
        node_join(node, request, member);
    } else {
        request_finish(node, request, known ? NODE_OK : NODE_NOT_FOUND, 0);
    }
}

static void accept_id(struct node *node, struct node_request *request,
                      enum request_kind kind, raft_id id)
{
    request->body.size = 0;
    buf_add_u64(&request->body, id);
    accept_request(node, request, kind, buf_bytes(&request->body));
}

void node_remove(struct node *node, struct node_request *request, raft_id id)
{
    accept_id(node, request, REQUEST_REMOVE, id);
}

void node_set_voter(struct node *node, struct node_request *request, raft_id id,
                    bool voter)
{
    request->body.size = 0;
    buf_add_u64(&request->body, id);
    buf_add_u8(&request->body, voter);
    accept_request(node, request, REQUEST_SUFFRAGE, buf_bytes(&request->body));
}

void node_wait_applied(struct node *node, struct node_request *request,
                       raft_id peer, uint64_t index)
{
    request->term = peer;
    accept_id(node, request, REQUEST_APPLIED, index);
}

static void accept_checkpoint(struct node *node, struct node_request *request,
                              enum request_kind kind)
{
    begin(request, kind);
    request->index = 0; /* Not looked at yet. */
    request_move(node, request, STATE_SNAPSHOT);
}

void node_checkpoint(struct node *node, struct node_request *request)
{
    accept_checkpoint(node, request, REQUEST_CHECKPOINT);
}

void node_snapshot(struct node *node, struct node_request *request)
{
    accept_checkpoint(node, request, REQUEST_SNAPSHOT);
}

void node_transfer(struct node *node, struct node_request *request, raft_id id)
{
    accept_id(node, request, REQUEST_TRANSFER, id);
}

void requests_submit(struct node *node)
{
    struct list *waiting = &node->requests[STATE_WAITING];
    if (list_empty(waiting)) {
        return;
    }
    raft_id leader = raft_leader(node->raft);
    if (leader == 0 || (leader != node->ident.id &&
                        !transport_output(&node->env.transport, leader))) {
        return;
    }
    /* One pass: what has to go on waiting is added at the end. */
    for (uint64_t left = node->waiting_count; left > 0; left--) {
        struct node_request *request = request_of(waiting->next);
        submit(node, request, buf_bytes(&request->body));
    }
}

/* ---- what became of it -----------------------------------------------------
 */

static void settle(struct node *node, struct node_request *request,
                   uint64_t index, uint64_t term,
                   const struct store_result *result)
{
    if (request->term != term) {
        request_finish(node, request, NODE_LOST, 0);
    } else if (request->kind == REQUEST_JOIN && raft_is_leader(node->raft)) {
        count(node, request, NODE_OK);
        leave(node, request);
        join_step(node, request); /* The next change, or done. */
    } else {
        request->result.deleted = result->deleted;
        if (result->data.size > 0) {
            keep_result(request, result->data);
        }
        request_finish(node, request, NODE_OK, index);
    }
}

void requests_applied(struct node *node, uint64_t index, uint64_t term,
                      const struct store_result *result)
{
    struct list *proposed = &node->requests[STATE_PROPOSED];
    if (!list_empty(proposed)) {
        struct node_request *request = request_of(proposed->next);
        must(request->index >= index);
        if (request->index == index) {
            settle(node, request, index, term, result);
        }
    }
    struct list *orphans = &node->requests[STATE_ORPHAN];
    for (struct list *at = orphans->next; at != orphans;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request->index == index) {
            settle(node, request, index, term, result);
        }
    }
}

void requests_cut(struct node *node, uint64_t index)
{
    struct list *proposed = &node->requests[STATE_PROPOSED];
    while (!list_empty(proposed)) {
        struct node_request *request = request_of(proposed->prev);
        if (request->index < index) {
            return;
        }
        request_move(node, request, STATE_ORPHAN);
    }
}

/* Who passed a request on to us asks the next leader, and may know it before we
 * do: a node that was removed is never told of one. */
static void return_remotes(struct node *node)
{
    struct list *waiting = &node->requests[STATE_WAITING];
    for (struct list *at = waiting->next; at != waiting;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (is_remote(request)) {
            request_finish(node, request, NODE_NO_LEADER, 0);
        }
    }
}

void requests_leader_changed(struct node *node)
{
    if (!raft_is_leader(node->raft)) {
        return_remotes(node);
    }
    if (!list_empty(&node->requests[STATE_ASKING])) {
        node->ask_again_ms = node->now_ms;
    }
}

void requests_peer_down(struct node *node, raft_id peer)
{
    struct list *forwarded = &node->requests[STATE_FORWARDED];
    for (struct list *at = forwarded->next; at != forwarded;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request->term == peer && request->kind == REQUEST_APPLIED) {
            request_move(node, request, STATE_WAITING); /* It changes nothing */
        } else if (request->term == peer) {
            request->result.link_down = true;
            if (!repeat_forwarded(node, request)) {
                request_finish(node, request, NODE_UNKNOWN, 0);
            }
        }
    }
}

/* ---- reads ------------------------------------------------------------------
 */

void node_read(struct node *node, struct node_request *request)
{
    begin(request, REQUEST_READ);
    if (node_foreign(node)) {
        /* What is not here may well be in the other cluster. */
        request_finish(node, request, NODE_SECOND_CLUSTER, 0);
        return;
    }
    if (node_contradiction(node)) {
        request_finish(node, request, NODE_QUARANTINED, 0);
        return;
    }
    request->cookie = ++node->read_cookie;
    request_move(node, request, STATE_ASKING);
}

void node_wait(struct node *node, struct node_request *request, uint64_t index)
{
    begin(request, REQUEST_READ);
    if (node_contradiction(node)) {
        request_finish(node, request, NODE_QUARANTINED, 0);
        return;
    }
    request->index = index;
    request_move(node, request, STATE_READING);
}

void requests_installed(struct node *node, uint64_t index)
{
    static const enum request_state states[] = {STATE_PROPOSED, STATE_ORPHAN};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        struct list *list = &node->requests[states[i]];
        for (struct list *at = list->next; at != list;) {
            struct node_request *request = request_of(at);
            at = at->next;
            if (request->index <= index) {
                request_finish(node, request, NODE_UNKNOWN, 0);
            }
        }
    }
}

void requests_ask_reads(struct node *node)
{
    if (list_empty(&node->requests[STATE_ASKING])) {
        node->ask_again_ms = 0;
        return;
    }
    bool again = node->ask_again_ms > 0 && node->now_ms >= node->ask_again_ms;
    if (node->read_cookie <= node->asked_cookie && !again) {
        return;
    }
    if (again) {
        node->ask_again_ms = 0;
        node->read_cookie++; /* The engine wants growing cookies. */
    }
    struct raft_event event = {
        .type = RAFT_READ, .now_ms = node->now_ms, .cookie = node->read_cookie};
    enum err err = node_step(node, &event, (struct bytes){0});
    if (err) {
        node->ask_again_ms = node->now_ms + node->options.heartbeat_ms;
    }
    node->asked_cookie = node->read_cookie;
}

void requests_reads_indexed(struct node *node, uint64_t cookie, uint64_t index)
{
    struct list *asking = &node->requests[STATE_ASKING];
    while (!list_empty(asking)) {
        struct node_request *request = request_of(asking->next);
        if (request->cookie > cookie) {
            return;
        }
        if (request->kind == REQUEST_READ) {
            request->index = index;
            request_move(node, request, STATE_READING);
        } else if (repeat_confirmed(request, index)) {
            request_submit(node, request, buf_bytes(&request->body));
        } else {
            request_finish(node, request, NODE_UNKNOWN, 0);
        }
    }
}

void requests_reads_failed(struct node *node)
{
    node->ask_again_ms = node->now_ms + node->options.heartbeat_ms;
}

void requests_release_reads(struct node *node)
{
    uint64_t applied = store_applied(node->store);
    struct list *reading = &node->requests[STATE_READING];
    if (node_contradiction(node)) {
        return; /* What was applied here is not what others ask for. */
    }
    for (struct list *at = reading->next; at != reading;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request->index <= applied) {
            request_finish(node, request, NODE_OK, applied);
        }
    }
}

/* ---- checkpoints -----------------------------------------------------------
 */

/* What was applied when it was first looked at is in the database file. */
static void checkpoint_done(struct node *node, struct node_request *request,
                            bool anything_new)
{
    struct store_stats stats;
    store_get_stats(node->store, &stats);
    request->result.bytes = anything_new ? stats.db_bytes : 0;
    if (request->kind == REQUEST_SNAPSHOT) {
        node->compact_asked = true;
    }
    request_finish(node, request, NODE_OK, store_durable(node->store));
}

void requests_checkpointed(struct node *node)
{
    struct list *waiting = &node->requests[STATE_SNAPSHOT];
    bool no_space = node->db_full || node->now_ms < node->checkpoint_retry_ms;
    for (struct list *at = waiting->next; at != waiting;) {
        struct node_request *request = request_of(at);
        at = at->next;
        bool first = request->index == 0;
        if (first) {
            request->index = store_applied(node->store);
        }
        if (store_durable(node->store) >= request->index) {
            checkpoint_done(node, request, !first);
        } else if (no_space) {
            request_finish(node, request, NODE_NO_SPACE, 0);
        } else {
            node->checkpoint_wanted = true;
        }
    }
}

/* ---- forwarded to us --------------------------------------------------------
 */

/* One number says what a delete found, or why something was refused. A node of
 * an older build does not look at it then, and sends 0. */
enum { DETAIL_WAIT_SHIFT = 8 };

static uint64_t detail_of(const struct node_result *result)
{
    return result->outcome == NODE_OK
               ? result->deleted
               : (uint64_t)result->refusal | result->wait_ms
                                                 << DETAIL_WAIT_SHIFT;
}

static void take_detail(struct node_result *result, uint64_t detail,
                        enum node_outcome outcome)
{
    uint64_t refusal = detail & ((1 << DETAIL_WAIT_SHIFT) - 1);
    if (outcome == NODE_OK) {
        result->deleted = detail;
    } else if (refusal < NODE_REFUSAL_COUNT) {
        result->refusal = (enum node_refusal)refusal;
        result->wait_ms = detail >> DETAIL_WAIT_SHIFT;
    }
}

static void remote_done(struct node_request *request,
                        const struct node_result *result)
{
    struct remote *remote = container_of(request, struct remote, request);
    struct node *node = remote->node;
    struct buf *out = transport_output(&node->env.transport, remote->from);
    if (out) {
        struct wire_forward_resp resp = {.request = remote->cookie,
                                         .outcome = (uint8_t)result->outcome,
                                         .index = result->index,
                                         .detail = detail_of(result),
                                         .result = result->data};
        wire_add_forward_resp(out, &resp);
    }
    if (remote->request.body.capacity > REMOTE_BYTES_KEPT) {
        buf_free(&remote->request.body);
    }
    list_remove(&remote->link);
    list_add(&node->remotes_idle, &remote->link);
}

static bool is_remote(const struct node_request *request)
{
    return request->cb == remote_done;
}

static struct remote *remote_take(struct node *node)
{
    struct remote *remote;
    if (list_empty(&node->remotes_idle)) {
        remote = mem_zalloc(sizeof(*remote));
        remote->node = node;
        remote->request.cb = remote_done;
        list_init(&remote->link);
    } else {
        remote = container_of(node->remotes_idle.next, struct remote, link);
        list_remove(&remote->link);
    }
    list_add(&node->remotes, &remote->link);
    return remote;
}

static bool forward_valid(const struct wire_forward *forward)
{
    struct raft_member member;
    switch (forward->kind) {
    case WIRE_FORWARD_COMMAND:
        return command_check(forward->body) == ERR_OK;
    case WIRE_FORWARD_JOIN:
        return wire_decode_member(forward->body, &member) == ERR_OK;
    case WIRE_FORWARD_REMOVE:
    case WIRE_FORWARD_TRANSFER:
    case WIRE_FORWARD_APPLIED:
        return forward->body.size == 8;
    case WIRE_FORWARD_SUFFRAGE:
        return forward->body.size == 9 && forward->body.data[8] <= 1;
    }
    return false;
}

static enum request_kind kind_of(enum wire_forward_kind kind)
{
    switch (kind) {
    case WIRE_FORWARD_COMMAND:
        return REQUEST_WRITE;
    case WIRE_FORWARD_JOIN:
        return REQUEST_JOIN;
    case WIRE_FORWARD_REMOVE:
        return REQUEST_REMOVE;
    case WIRE_FORWARD_TRANSFER:
        return REQUEST_TRANSFER;
    case WIRE_FORWARD_SUFFRAGE:
        return REQUEST_SUFFRAGE;
    case WIRE_FORWARD_APPLIED:
        return REQUEST_APPLIED;
    }
    return REQUEST_WRITE;
}

bool requests_on_forward(struct node *node, raft_id from,
                         const struct wire_forward *forward)
{
    if (!forward_valid(forward)) {
        return false;
    }
    if (!raft_conf_find(raft_conf_active(node->raft), from)) {
        /* Surely not done: it has been removed, or never was a member. */
        refuse_forward(node, from, forward->request, NODE_NO_LEADER);
        return true;
    }
    struct remote *remote = remote_take(node);
    remote->from = from;
    remote->cookie = forward->request;
    /* The client's own deadline is kept where the client is. A join works on
     * until it is met: not for somebody who has long gone. */
    remote->request.deadline_ms =
        node->now_ms + (forward->kind == WIRE_FORWARD_JOIN ? 10000 : 60000);
    accept_request(node, &remote->request, kind_of(forward->kind),
                   forward->body);
    return true;
}

static struct node_request *find_forwarded(struct node *node, raft_id from,
                                           uint64_t cookie)
{
    struct list *forwarded = &node->requests[STATE_FORWARDED];
    for (struct list *at = forwarded->next; at != forwarded; at = at->next) {
        struct node_request *request = request_of(at);
        if (request->cookie == cookie && request->term == from) {
            return request;
        }
    }
    return NULL;
}

bool requests_on_forward_resp(struct node *node, raft_id from,
                              const struct wire_forward_resp *resp)
{
    if (resp->outcome >= NODE_OUTCOME_COUNT) {
        return false;
    }
    /* Answers come about in the order of the questions, so the search is
     * short; one that is not found was given up. */
    struct node_request *request = find_forwarded(node, from, resp->request);
    if (!request) {
        return true;
    }
    if (resp->outcome == NODE_NO_LEADER || resp->outcome == NODE_LOST) {
        /* Surely not done: it may go to the next leader. */
        request_move(node, request, STATE_WAITING);
        return true;
    }
    if (resp->outcome == NODE_UNKNOWN && repeat_forwarded(node, request)) {
        return true; /* It does not lead any more. */
    }
    take_detail(&request->result, resp->detail,
                (enum node_outcome)resp->outcome);
    if (resp->outcome == NODE_OK && request->kind == REQUEST_WRITE) {
        if (!result_fits(resp->result, buf_bytes(&request->body))) {
            return false; /* The link ends, and what came of it is unknown. */
        }
        keep_result(request, resp->result);
    }
    request_finish(node, request, (enum node_outcome)resp->outcome,
                   resp->index);
    return true;
}

/* ---- time, and the end
 * -------------------------------------------------------
 */

/* A node that is told to stop hands over, and what has come meanwhile goes to
 * the new leader. When there is none after an election could have been, it is
 * not waited for: the client is told, rather than cut off. */
static bool gives_up(const struct node *node,
                     const struct node_request *request)
{
    if (node->member && removed_gives_up(node, request)) {
        return true;
    }
    bool waits =
        request->state == STATE_WAITING || request->state == STATE_ASKING;
    if (!node->stopping || !waits) {
        return false;
    }
    return !node->member ||
           (raft_leader(node->raft) == 0 &&
            node->now_ms >= node->stopping_ms + node->options.election_max_ms);
}

static enum node_outcome outcome_when_late(const struct node *node,
                                           const struct node_request *request)
{
    if (node->stopping && gives_up(node, request) &&
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
        return store_applied(node->store) < node->shown ? NODE_NO_SPACE
                                                        : NODE_NO_LEADER;
    case STATE_WAITING:
        if (request->kind == REQUEST_APPLIED) {
            return NODE_UNKNOWN;
        }
        /* Nobody but another change keeps one from being tried here. */
        if (request->kind != REQUEST_WRITE && raft_is_leader(node->raft)) {
            return NODE_CONF_BUSY;
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

bool requests_any(const struct node *node)
{
    for (int state = STATE_WAITING; state < STATE_DONE; state++) {
        if (!list_empty(&node->requests[state])) {
            return true;
        }
    }
    return false;
}

void requests_expire(struct node *node)
{
    if (node->now_ms < node->sweep_ms) {
        return;
    }
    node->sweep_ms = node->now_ms + NODE_SWEEP_MS;
    for (int state = STATE_WAITING; state < STATE_DONE; state++) {
        struct list *head = &node->requests[state];
        for (struct list *at = head->next; at != head;) {
            struct node_request *request = request_of(at);
            at = at->next;
            if (node->now_ms >= request->deadline_ms ||
                gives_up(node, request)) {
                request_finish(node, request, outcome_when_late(node, request),
                               0);
            }
        }
    }
}

void requests_call_back(struct node *node)
{
    /* What callbacks finish anew waits for the next turn. */
    struct list now;
    list_init(&now);
    list_splice(&now, &node->requests[STATE_DONE]);
    while (!list_empty(&now)) {
        struct node_request *request = request_of(now.next);
        list_remove(&request->link);
        request->state = STATE_IDLE;
        request->cb(request, &request->result);
    }
}

static void ready_done(struct node_request *request,
                       const struct node_result *result)
{
    struct node *node = container_of(request, struct node, ready_probe);
    if (result->outcome == NODE_OK) {
        node->ready = true;
        log_info("ready", "applied=%llu",
                 (unsigned long long)store_applied(node->store));
    }
}

void requests_init(struct node *node)
{
    for (int state = 0; state < STATE_COUNT; state++) {
        list_init(&node->requests[state]);
    }
    histogram_init_latency(&node->metrics.commit_us);
    list_init(&node->remotes);
    list_init(&node->remotes_idle);
    node->ready_probe.cb = ready_done;
}

static void free_remotes(struct list *remotes)
{
    while (!list_empty(remotes)) {
        struct remote *remote =
            container_of(remotes->next, struct remote, link);
        list_remove(&remote->link);
        buf_free(&remote->request.body);
        mem_free(remote);
    }
}

void requests_free(struct node *node)
{
    free_remotes(&node->remotes);
    free_remotes(&node->remotes_idle);
    buf_free(&node->ready_probe.body);
}
