/* time.c -- cluster time: stamps of entries, and who understands them.
 *
 * Time on which the replicated state depends is part of the log. A leader
 * stamps what it proposes with cluster time (cluster_clock.h): milliseconds
 * that continue from the last stamp by its monotonic clock. So a deadline is
 * not started over by an election or by a restart of all nodes, no wall clock
 * is read, and all nodes see the same time at the same entry. While nobody
 * leads, the time stands still.
 *
 * A new leader knows the last stamp when it has applied an entry of its own
 * term, and thus all entries before. Until then commands that need a stamp
 * wait.
 *
 * Stamps came with version 4 of the commands. A node of an earlier build cannot
 * apply one, and would not follow any more. So the first one is proposed only
 * when every member has advertised, to this process, that it can (wire.h);
 * afterwards the log has stamps for ever. */
#include "command/command.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/time_internal.h"

/* ---- builds of the other nodes ---- */

static struct build *find_build(struct node *node, raft_id id)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++) {
        if (node->time.builds[i].id == id) {
            return &node->time.builds[i];
        }
    }
    return NULL;
}

/* A row of a node that is no member. */
static struct build *find_stranger(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (int i = 0; i < NODE_LINKS_MAX; i++) {
        if (!raft_conf_find(conf, node->time.builds[i].id)) {
            return &node->time.builds[i];
        }
    }
    return NULL;
}

void time_peer_up(struct node *node, raft_id peer,
                  const struct wire_hello *hello)
{
    struct build *build = find_build(node, peer);
    build = build ? build : find_build(node, 0);
    build = build ? build : find_stranger(node);
    must(build); /* There are more rows than members. */
    *build = (struct build){.id = peer, .commands = hello->from_commands};
}

bool time_is_understood_by(struct node *node, raft_id id)
{
    const struct build *build = find_build(node, id);
    uint8_t commands = id == node->ident.id ? COMMAND_NEWEST
                       : build              ? build->commands
                                            : 0;
    return commands >= COMMAND_STAMPED_VERSION;
}

const char *node_outdated(struct node *node)
{
    if (!node->member || store_time_ms(node->store) > 0) {
        return NULL;
    }
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        if (!time_is_understood_by(node, conf->members[i].id)) {
            return conf->members[i].name;
        }
    }
    return NULL;
}

uint8_t node_commands(void)
{
    return COMMAND_NEWEST;
}

/* ---- the clock ---- */

/* Continue from the last stamp: at a leader once in its term, at others with
 * each new stamp, for an estimate. */
static void advance(struct node *node)
{
    uint64_t stamp_ms = store_time_ms(node->store);
    uint64_t term =
        raft_is_leader(node->raft) &&
                store_applied_term(node->store) == raft_term(node->raft)
            ? raft_term(node->raft)
            : 0;
    bool same =
        node->time.term == term && (term > 0 || node->time.base_ms == stamp_ms);
    if (same) {
        /* Not further than the next stamp moves the time where it is applied,
         * or what it should end would end early. */
        cluster_clock_advance(&node->time.clock, node->now_ms,
                              command_time_limit(node->time.stamped_ms));
    } else {
        cluster_clock_start(&node->time.clock, stamp_ms, node->now_ms);
        node->time.term = term;
        node->time.stamped_ms = stamp_ms;
        node->time.base_ms = stamp_ms;
    }
}

void time_run(struct node *node)
{
    advance(node);
}

uint64_t node_time_ms(struct node *node)
{
    if (!node->member) {
        return 0;
    }
    node->now_ms = node->env.now_ms(node->env.self);
    advance(node);
    return node->time.clock.time_ms;
}

/* ---- stamps ---- */

enum stamp time_stamp(struct node *node, struct bytes *command)
{
    must(raft_is_leader(node->raft));
    if (!command_wants_stamp(*command)) {
        return STAMP_DONE;
    }
    advance(node);
    if (node->time.term == 0) {
        return STAMP_LATER; /* The log may have stamps that are not applied. */
    }
    if (node_outdated(node)) {
        return command_needs_stamp(*command) ? STAMP_NEVER : STAMP_DONE;
    }
    node->scratch.stamped.size = 0;
    command_stamp(&node->scratch.stamped, node->time.clock.time_ms, *command);
    *command = buf_bytes(&node->scratch.stamped);
    node->time.stamped_ms = node->time.clock.time_ms;
    return STAMP_DONE;
}
