/* catch_up.c -- how far a node is that lacks a part of the state: in its log
 * from time to time, and for its users.
 *
 * A follower does not know the leader's commit index while it is behind: an
 * append has that of its own last entry at most. What it can know is how far
 * the leader was when it reported last (vitals.c), and the size of a snapshot
 * that arrives. */
#include "node/catch_up.h"

#include <stdio.h>

#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"

bool catch_up_look(struct catch_up *at, enum catch_up_kind kind, uint64_t done,
                   uint64_t total, uint64_t now_ms)
{
    if (kind == CATCH_UP_NONE || kind != at->kind || done < at->done) {
        *at = (struct catch_up){.kind = kind,
                                .done = done,
                                .total = total,
                                .looks = kind != CATCH_UP_NONE,
                                .look_ms = now_ms,
                                .log_ms = now_ms};
        return false;
    }
    uint64_t passed_ms = max_u64(now_ms - at->look_ms, 1);
    uint64_t rate = (done - at->done) * 1000 / passed_ms;
    at->per_second = at->looks == 1 ? rate : (3 * at->per_second + rate) / 4;
    at->done = done;
    at->total = total;
    at->looks++;
    at->look_ms = now_ms;
    if (now_ms - at->log_ms < CATCH_UP_LOG_MS) {
        return false;
    }
    at->log_ms = now_ms;
    return true;
}

uint64_t catch_up_left_s(const struct catch_up *at)
{
    uint64_t left = at->total > at->done ? at->total - at->done : 0;
    if (at->per_second == 0) {
        return left > 0 ? UINT64_MAX : 0;
    }
    return left / at->per_second + (left % at->per_second > 0);
}

/* ---- of this node ---- */

static void log_progress(const struct catch_up *at)
{
    char left[24] = "unknown";
    uint64_t left_s = catch_up_left_s(at);
    if (left_s < UINT64_MAX) {
        (void)snprintf(left, sizeof(left), "%llu", (unsigned long long)left_s);
    }
    if (at->kind == CATCH_UP_SNAPSHOT) {
        log_info("catch-up",
                 "what=snapshot bytes=%llu of=%llu per_s=%llu left_s=%s",
                 (unsigned long long)at->done, (unsigned long long)at->total,
                 (unsigned long long)at->per_second, left);
    } else {
        log_info("catch-up",
                 "what=entries applied=%llu of=%llu per_s=%llu left_s=%s",
                 (unsigned long long)at->done, (unsigned long long)at->total,
                 (unsigned long long)at->per_second, left);
    }
}

void catch_up_check(struct node *node)
{
    const struct arriving *in = &node->snapshot.arriving;
    enum catch_up_kind kind = CATCH_UP_NONE;
    uint64_t done = 0;
    uint64_t total = 0;
    uint64_t age_ms;
    if (node->now_ms < node->catch_up.look_ms + CATCH_UP_LOOK_MS) {
        return;
    }
    raft_id leader = raft_leader(node->raft);
    const struct wire_vitals *report =
        leader != 0 && !raft_is_leader(node->raft)
            ? node_get_vitals(node, leader, &age_ms)
            : NULL;
    if (in->files) {
        kind = CATCH_UP_SNAPSHOT;
        done = in->have;
        total = in->total;
    } else if (report && report->applied > store_applied(node->store)) {
        kind = CATCH_UP_ENTRIES;
        done = store_applied(node->store);
        total = report->applied;
    }
    if (catch_up_look(&node->catch_up, kind, done, total, node->now_ms)) {
        log_progress(&node->catch_up);
    }
}

const struct catch_up *node_catch_up(const struct node *node)
{
    return node->catch_up.looks > 1 ? &node->catch_up : NULL;
}
