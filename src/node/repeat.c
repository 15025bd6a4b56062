/* repeat.c -- requests whose leader went away before it answered.
 *
 * A request that was forwarded to a leader that dies, is removed, or transfers
 * leadership may or may not have been carried out. One that may be repeated is
 * sent to the next leader until its deadline, and the answer of that leader is
 * the right one in both cases:
 *
 *     a named write   the state machine knows the name, and gives the first
 *                     answer again (command.h) as long as it is stored: hence
 *                     the write is repeated only when fewer entries have come
 *                     since than answers are stored
 *     removal         ids are never reused: not found means removed
 *     join, vote      describe a goal, not a change: a repeat changes nothing
 *     transfer        done when another node leads than the one that was asked,
 *                     unless a target was named: then it is asked for again
 *
 * A write without a name is never repeated. After an attempt whose outcome is
 * not known every refusal is an unknown outcome. */
#include "command/command.h"
#include "node/node_internal.h"
#include "node/request_internal.h"

/* Bound on the entries since the first attempt. The other half is left for
 * entries that are appended between the leader's answer to the read and the
 * repeat: those in its queue, and those of a round trip. */
enum { REPEAT_ENTRIES_MAX = STORE_ANSWERS_MAX / 2 };

static bool may_repeat(const struct node_request *request)
{
    switch ((enum request_kind)request->kind) {
    case REQUEST_WRITE:
        return command_may_repeat(buf_bytes(&request->body));
    case REQUEST_JOIN:
    case REQUEST_REMOVE:
    case REQUEST_TRANSFER:
    case REQUEST_SUFFRAGE:
        return true;
    case REQUEST_READ:
    case REQUEST_APPLIED:
    case REQUEST_CHECKPOINT:
    case REQUEST_SNAPSHOT:
        break;
    }
    return false;
}

bool repeat_forwarded(struct node *node, struct node_request *request)
{
    must(request->state == STATE_FORWARDED);
    if (!may_repeat(request)) {
        return false;
    }
    request->uncertain = true;
    request_move(node, request, STATE_WAITING);
    return true;
}

/* True when a transfer without a target is done: the node that was asked for it
 * does not lead any more. */
static bool is_handed_over(const struct node *node,
                           const struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    raft_id leader = raft_leader(node->raft);
    return cursor_u64(&body) == 0 && leader != 0 && leader != request->peer;
}

bool repeat_submit(struct node *node, struct node_request *request)
{
    must(request->state == STATE_WAITING);
    if (!request->uncertain) {
        return false;
    }
    if (request->kind == REQUEST_WRITE) {
        /* Ask the leader for its commit index, as for a read. */
        request->cookie = ++node->reads.cookie;
        request_move(node, request, STATE_ASKING);
        return true;
    }
    if (request->kind == REQUEST_TRANSFER && is_handed_over(node, request)) {
        request_finish(node, request, NODE_OK, raft_commit(node->raft));
        return true;
    }
    return false;
}

bool repeat_confirmed(const struct node_request *request, uint64_t index)
{
    must(request->uncertain && request->kind == REQUEST_WRITE);
    return index < request->sent_commit + REPEAT_ENTRIES_MAX;
}

enum node_outcome repeat_outcome(const struct node_request *request,
                                 enum node_outcome outcome)
{
    if (!request->uncertain || outcome == NODE_OK) {
        return outcome;
    }
    return request->kind == REQUEST_REMOVE && outcome == NODE_NOT_FOUND
               ? NODE_OK
               : NODE_UNKNOWN;
}
