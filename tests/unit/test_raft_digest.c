/* test_raft_digest.c -- the digest covers every field. Tests of determinism,
 * and tests that say "nothing has changed", are worth what it covers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/raft_internal.h"
#include "support/engine.h"

struct range {
    size_t from;
    size_t size;
};

#define FIELD(field)                                                           \
    {                                                                          \
        offsetof(struct raft, field), sizeof(((struct raft *)0)->field)        \
    }

/* Counts and pointers, which may not be changed alone; what lies outside of
 * rings; what check.c keeps for itself. */
static const struct range left_out[] = {
    FIELD(log.runs),
    FIELD(log.run_count),
    FIELD(log.run_capacity),
    FIELD(log.confs),
    FIELD(log.conf_count),
    FIELD(log.conf_capacity),
    FIELD(disk.ops),
    FIELD(disk.op_head),
    FIELD(disk.op_count),
    FIELD(outbox.ready),
    FIELD(outbox.ready_count),
    FIELD(outbox.gated),
    FIELD(outbox.gated_head),
    FIELD(outbox.gated_count),
    FIELD(peers),
    FIELD(peer_count),
    FIELD(before),
};

static bool is_left_out(size_t at)
{
    for (size_t i = 0; i < ARRAY_COUNT(left_out); i++) {
        if (at >= left_out[i].from &&
            at < left_out[i].from + left_out[i].size) {
            return true;
        }
    }
    return false;
}

/* Change one byte and see whether the digest changes. */
static bool is_covered(struct raft *raft, uint8_t *byte)
{
    uint64_t before = raft_digest(raft);
    *byte ^= 1;
    bool covered = raft_digest(raft) != before;
    *byte ^= 1;
    return covered;
}

/* Padding is behind fields, never at the beginning of a word; a word may hold
 * several small fields, each of which is checked by name below. */
static void test_every_word_counts(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1});
    uint8_t *bytes = (uint8_t *)e->raft;
    for (size_t at = 0; at < sizeof(struct raft); at += sizeof(uint64_t)) {
        if (!is_left_out(at) && !is_covered(e->raft, bytes + at)) {
            fail_msg("the word at offset %zu is not in the digest", at);
        }
    }
    struct raft_peer *peer = &e->raft->peers[1];
    for (size_t at = 0; at < offsetof(struct raft_peer, inflight_head);
         at += sizeof(uint64_t)) {
        assert_true(is_covered(e->raft, (uint8_t *)peer + at));
    }
    for (size_t at = offsetof(struct raft_peer, answer_ms); at < sizeof(*peer);
         at += sizeof(uint64_t)) {
        assert_true(is_covered(e->raft, (uint8_t *)peer + at));
    }
    engine_free(e);
}

#define COVERED(field)                                                         \
    assert_true(is_covered(e->raft, (uint8_t *)&(e->raft->field)))

static void test_every_small_field_counts(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1});
    COVERED(options.heartbeat_ms);
    COVERED(options.election_min_ms);
    COVERED(options.election_max_ms);
    COVERED(options.storage_stall_ms);
    COVERED(options.uncommitted_max);
    COVERED(options.inflight_max);
    COVERED(role);
    COVERED(election_transfer);
    COVERED(disk.hard_dirty);
    COVERED(outbox.ack_due);
    COVERED(leaving);
    COVERED(transfer.asked);
    COVERED(transfer.won);
    COVERED(transfer.sent);
    COVERED(reads.open);
    COVERED(out.role_changed);
    COVERED(out.conf_changed);
    COVERED(out.transfer_done);
    COVERED(out.transfer_ok);
    COVERED(peers[1].down);
    COVERED(peers[1].granted);
    COVERED(peers[1].state);
    COVERED(peers[1].probe_sent);
    COVERED(peers[1].snapshot_reported);
    COVERED(peers[1].answered);
    COVERED(peers[1].notice_due);
    COVERED(peers[1].catch_up_rounds);
    COVERED(peers[1].caught_up);
    engine_free(e);
}

/* The digest covers the content of rings, with term and vote of each operation.
 */
static void test_every_operation_counts(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1});
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_collect(e);
    assert_true(e->raft->disk.op_count > 0);
    uint32_t head = e->raft->disk.op_head;
    COVERED(disk.ops[head].seq);
    COVERED(disk.ops[head].hi);
    COVERED(disk.ops[head].ms);
    COVERED(disk.ops[head].term);
    COVERED(disk.ops[head].vote);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_counts),
        cmocka_unit_test(test_every_small_field_counts),
        cmocka_unit_test(test_every_operation_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
