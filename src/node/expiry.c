/* expiry.c -- the leader ends keys and leases whose time is over, and keeps
 * cluster time in the log while something is to end.
 *
 * What is due is removed by an entry, so that all nodes remove the same. An
 * entry removes a bounded number of keys; the next one follows when it has been
 * applied here.
 *
 * While a deadline is pending, the log gets a stamp every STAMP_EVERY_MS, so
 * that a new leader, or a restart of all nodes, continues from a time that is
 * at most so old. Without deadlines nothing is written. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"
#include "node/time_internal.h"

enum {
    STAMP_EVERY_MS = 1000,
    EXPIRE_KEYS =
        500, /* One entry removes no more, for its time on the event loop. */
    RETRY_MS = 500, /* After a proposal that was refused. */
};

static void begin_command(struct node *node, struct command_txn *txn)
{
    struct command_name unnamed = {{0}, 0};
    struct command_writer none;
    node->scratch.encoded.size = 0;
    command_txn(txn, &node->scratch.encoded, &unnamed, false);
    command_txn_timed(txn);
    command_list(&none, &node->scratch.encoded);
    command_end(&none);
}

/* Propose the command in node->scratch.encoded, with a stamp. False: it is
 * tried again later. */
static bool propose(struct node *node)
{
    struct bytes command = buf_bytes(&node->scratch.encoded);
    uint64_t spread;
    bool ok = space_admit(node, command, &spread) == SPACE_YES &&
              time_stamp(node, &command) == STAMP_DONE &&
              node_propose(node, command) == ERR_OK;
    node->time.retry_ms = ok ? 0 : node->now_ms + RETRY_MS;
    return ok;
}

/* True if this node leads, knows the time, and something is to end. The last
 * is asked first, since every turn asks and mostly nothing is. */
static bool keeps_time(const struct node *node)
{
    return store_timed_keys(node->store) + store_leases(node->store) > 0 &&
           node->time.term != 0 && node->time.term == raft_term(node->raft);
}

static bool may_propose(const struct node *node)
{
    return keeps_time(node) && node->now_ms >= node->time.retry_ms;
}

/* ---- what is due ---- */

static bool is_expiring(const struct node *node)
{
    return node->time.expiring_term == node->time.term &&
           node->time.expiring_index > store_applied(node->store);
}

bool expiry_is_due(const struct node *node)
{
    return may_propose(node) && !is_expiring(node) &&
           store_due_ms(node->store) <= node->time.clock.time_ms;
}

void expiry_run(struct node *node)
{
    struct command_txn txn;
    struct command_writer list;
    if (store_find_due(node->store) != ERR_OK) {
        node->time.retry_ms = node->now_ms + RETRY_MS;
        return;
    }
    if (store_due_ms(node->store) > node->time.clock.time_ms) {
        return; /* The key was deleted, or its end put off. */
    }
    begin_command(node, &txn);
    command_list(&list, &node->scratch.encoded);
    command_add(&list, &(struct command_op){.type = COMMAND_EXPIRE,
                                            .limit = EXPIRE_KEYS});
    command_end(&list);
    if (propose(node)) {
        node->time.expiring_term = node->time.term;
        node->time.expiring_index = raft_last(node->raft);
    }
}

/* ---- stamps ---- */

static uint64_t next_stamp_ms(const struct node *node)
{
    return max_u64(node->time.stamped_ms, store_time_ms(node->store)) +
           STAMP_EVERY_MS;
}

bool expiry_stamp_is_due(const struct node *node)
{
    return may_propose(node) && node->time.clock.time_ms >= next_stamp_ms(node);
}

void expiry_stamp(struct node *node)
{
    struct command_txn txn;
    struct command_writer none;
    if (!expiry_stamp_is_due(node)) {
        return; /* The entry of another duty has a stamp. */
    }
    begin_command(node, &txn);
    command_list(&none, &node->scratch.encoded);
    command_end(&none);
    (void)propose(node);
}

uint64_t expiry_deadline_ms(const struct node *node)
{
    const struct cluster_clock *clock = &node->time.clock;
    if (!keeps_time(node)) {
        return UINT64_MAX;
    }
    uint64_t due_ms =
        is_expiring(node) ? UINT64_MAX : store_due_ms(node->store);
    uint64_t time_ms = min_u64(due_ms, next_stamp_ms(node));
    uint64_t left_ms = time_ms > clock->time_ms ? time_ms - clock->time_ms : 0;
    return max_u64(clock->seen_ms + left_ms, node->time.retry_ms);
}
