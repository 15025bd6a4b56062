/* repeat.c -- requests whose leader went away before it answered.
 *
 * A request that was forwarded to a leader that dies, is removed, or hands over
 * may have been done or not. What may be done twice is sent to the next leader
 * until the client's time is over; that one's answer tells both:
 *
 *     a named write   the state machine knows the name, and gives the answer of
 *                     the first time (command.h), as long as it remembers it:
 *                     hence it is repeated only when fewer entries have come
 *                     since than answers are kept
 *     removal         ids are never reused: not found means removed
 *     join, vote      a goal, not a change: repeated it does nothing more
 *     transfer        another leader than the one that was asked leads, or the
 *                     one that was wanted is asked for anew
 *
 * A write without a name is never repeated. After an attempt of which nothing
 * is known every refusal is an unknown outcome. */
#include "command/command.h"
#include "node/node_internal.h"
#include "node/request_internal.h"

/* Entries that may still get in between the leader's answer and the append:
 * those that it has in its queue, and those of a round trip. */
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

/* The target of the transfer does not matter: the node that was asked has gone,
 * and leadership with it. */
static bool is_handed_over(const struct node *node,
                           const struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    raft_id leader = raft_leader(node->raft);
    return cursor_u64(&body) == 0 && leader != 0 && leader != request->peer;
}

bool repeat_submit(struct node *node, struct node_request *request)
{
    if (!request->uncertain) {
        return false;
    }
    if (request->kind == REQUEST_WRITE) {
        /* How far the log has come the leader knows: ask it as for a read. */
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
