/* test_raft_log.c -- the log: replication, commit, truncation, what must be on
 * disk before what, snapshots. One rule of the thesis (Ongaro 2014) to a test;
 * sections in the comments are its sections, L1.. the invariants of check.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/engine.h"

#define NUMBER_MAX ((uint64_t)1 << 62)

/* The answer to the newest append. */
static const struct raft_message *settled_answer(struct engine *e)
{
    engine_settle(e);
    const struct raft_message *answer = engine_sent(e, RAFT_MSG_APPEND_RESP, 0);
    assert_non_null(answer);
    return answer;
}

/* Propose and write down `count` entries. */
static void propose(struct engine *e, int count)
{
    while (count-- > 0) {
        OK(STEP(e, .type = RAFT_PROPOSE));
    }
    engine_settle(e);
}

/* ---- the follower's log: section 3.5 ---- */

/* 3.5: an append is accepted if the entry before it is there with the same
 * term (committed ones match by 3.6.3), and refused otherwise. */
static void test_consistency_check(void **state)
{
    (void)state;
    static const struct {
        uint64_t prev;
        uint64_t prev_term;
        bool accepted;
    } rows[] = {
        {0, 0, true},  {1, 1, true},  {2, 1, true},  {3, 2, true},
        {4, 2, true},  {5, 2, false}, {5, 3, false}, {4, 1, false},
        {4, 3, false}, {3, 1, false}, {2, 2, false}, {60, 3, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2, 2}, .term = 3, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 3, .prev = rows[i].prev,
                  .prev_term = rows[i].prev_term, .sent_ms = 77));
        const struct raft_message *answer = settled_answer(e);
        assert_int_equal(answer->granted, rows[i].accepted);
        assert_int_equal(answer->match, rows[i].prev);
        assert_int_equal(answer->sent_ms, 77);
        assert_true(engine_log_is(e, TERMS(1, 1, 2, 2)));
        assert_int_equal(raft_leader(e->raft), 2); /* Refused or not. */
        engine_free(e);
    }
}

/* 3.5: an entry that conflicts with a new one goes, and all after it; what
 * does not conflict stays. Only new entries are written. */
static void test_only_a_conflict_truncates(void **state)
{
    (void)state;
    static const struct {
        uint64_t prev;
        uint64_t prev_term;
        uint64_t terms[4];
        uint64_t result[6];
        uint64_t truncate_from;
        uint64_t lo; /* 0: nothing is written. */
    } rows[] = {
        {4, 2, {3}, {1, 1, 2, 2, 3}, 0, 5},
        {4, 2, {0}, {1, 1, 2, 2}, 0, 0},
        {2, 1, {0}, {1, 1, 2, 2}, 0, 0},
        {2, 1, {2}, {1, 1, 2, 2}, 0, 0},
        {2, 1, {2, 2}, {1, 1, 2, 2}, 0, 0},
        {2, 1, {2, 2, 3}, {1, 1, 2, 2, 3}, 0, 5},
        {2, 1, {2, 3}, {1, 1, 2, 3}, 4, 4},
        {2, 1, {3}, {1, 1, 3}, 3, 3},
        {2, 1, {3, 3, 3}, {1, 1, 3, 3, 3}, 3, 3},
        {1, 1, {1, 2}, {1, 1, 2, 2}, 0, 0},
        {0, 0, {1, 1, 3}, {1, 1, 3}, 3, 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2, 2}, .term = 3, .applied = 1);
        struct engine_append append = {.from = 2,
                                       .term = 3,
                                       .prev = rows[i].prev,
                                       .prev_term = rows[i].prev_term};
        memcpy(append.terms, rows[i].terms, sizeof(rows[i].terms));
        OK(engine_append(e, &append));
        assert_true(engine_log_is(e, rows[i].result));
        engine_collect(e);
        const struct raft_persist *persist = &e->update.persist;
        assert_int_equal(persist->truncate_from, rows[i].truncate_from);
        assert_int_equal(persist->seq, rows[i].lo > 0 ? 1 : 0);
        if (rows[i].lo > 0) {
            assert_int_equal(persist->lo, rows[i].lo);
            assert_int_equal(persist->hi, raft_last(e->raft));
        }
        engine_free(e);
    }
}

/* R06: appends that overtook each other, and a short one that comes twice,
 * take nothing away; the ack speaks for what the append named. */
static void test_late_append_truncates_nothing(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 1, .prev_term = 1,
              .terms = {2, 2, 2, 2}));
    assert_int_equal(settled_answer(e)->match, 5);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 1, .prev_term = 1,
              .terms = {2}));
    assert_int_equal(settled_answer(e)->match, 2);
    assert_true(engine_log_is(e, TERMS(1, 2, 2, 2, 2)));
    engine_free(e);
}

/* 3.5: a refusal says how far back to go: the last entry that may match. Ours
 * of later terms than the leader's are skipped, a term at a time. */
static void test_refusal_carries_a_hint(void **state)
{
    (void)state;
    static const struct {
        uint64_t prev;
        uint64_t prev_term;
        uint64_t hint;
        uint64_t hint_term;
    } rows[] = {
        {9, 5, 6, 4}, /* Beyond the end. */
        {9, 3, 4, 2}, {6, 3, 4, 2}, {6, 1, 2, 1}, {5, 5, 5, 4}, {4, 1, 2, 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1, 2, 2, 4, 4},
                                  .term = 6, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 6, .prev = rows[i].prev,
                  .prev_term = rows[i].prev_term));
        const struct raft_message *answer = settled_answer(e);
        assert_false(answer->granted);
        assert_int_equal(answer->match, rows[i].prev);
        assert_int_equal(answer->log_index, rows[i].hint);
        assert_int_equal(answer->log_term, rows[i].hint_term);
        engine_free(e);
    }
}

/* 3.5, figure 3.1: a follower commits what its leader has committed, as far as
 * its own log is known to be the leader's. Beyond that it may hold anything,
 * and a heartbeat proves nothing about it (R05). */
static void test_follower_commits_what_is_verified(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 1, 1}, .term = 2, .applied = 1);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = 4));
    assert_int_equal(raft_commit(e->raft), 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 1, .prev_term = 1, .commit = 4));
    assert_int_equal(raft_commit(e->raft), 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 2));
    assert_int_equal(raft_commit(e->raft), 2);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = 9));
    assert_int_equal(raft_commit(e->raft), 3);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 9, .prev_term = 1, .commit = 9));
    assert_int_equal(raft_commit(e->raft), 3); /* Refused. */
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 9,
              .terms = {1, 2}));
    assert_int_equal(raft_commit(e->raft), 5);
    engine_free(e);
}

/* Figure 3.1: the commit index only grows, whatever a late message says. */
static void test_commit_never_goes_back(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 1}, .term = 2, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 3));
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 2));
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2));
    assert_int_equal(raft_commit(e->raft), 3);
    engine_free(e);
}

/* A log that matches one leader need not match the next: a new term starts from
 * zero, and so does a restart. */
static void test_verified_is_of_one_term(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 1}, .term = 2, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 1));
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 3, .commit = 3));
    assert_int_equal(raft_commit(e->raft), 1);
    OK(APPEND(e, .from = 3, .term = 3, .prev = 1, .prev_term = 1, .commit = 3,
              .terms = {3}));
    assert_int_equal(raft_commit(e->raft), 2);
    assert_true(engine_log_is(e, TERMS(1, 3)));
    engine_free(e);
}

/* ---- the disk first: section 3.8 ---- */

/* 3.8: an ack says "durable", so it waits; one ack for all of a turn. */
static void test_ack_waits_for_the_disk(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
    engine_settle(e);
    engine_forget(e);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 1, .prev_term = 1,
              .terms = {1, 1}, .sent_ms = 5));
    OK(APPEND(e, .from = 2, .term = 1, .prev = 3, .prev_term = 1, .terms = {1},
              .sent_ms = 6));
    engine_collect(e);
    assert_int_equal(e->sent_count, 0);
    assert_int_equal(e->update.persist.lo, 2);
    assert_int_equal(e->update.persist.hi, 4);
    assert_false(e->update.persist.hard);
    assert_int_equal(engine_status(e)->durable, 1);

    /* Heard again meanwhile: that is no reason to say so earlier. */
    OK(APPEND(e, .from = 2, .term = 1, .prev = 1, .prev_term = 1,
              .terms = {1}));
    engine_collect(e);
    assert_int_equal(e->sent_count, 0);
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_APPEND_RESP), 2);
    assert_int_equal(e->sent[0].match, 4);
    assert_int_equal(e->sent[0].sent_ms, 6);
    assert_int_equal(e->sent[1].match, 2);
    engine_free(e);
}

/* L3 by pieces: each ack waits for the operation that holds its entries, and
 * for no later one. */
static void test_ack_waits_for_its_own_operation(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 1, .prev_term = 1,
              .terms = {1}));
    engine_collect(e);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 2, .prev_term = 1,
              .terms = {1}));
    engine_collect(e);
    assert_int_equal(e->seq_handed, 2);
    engine_persist_to(e, 1);
    engine_collect(e);
    assert_int_equal(e->sent_count, 1);
    assert_int_equal(e->sent[0].match, 2);
    assert_int_equal(engine_status(e)->durable, 2);
    engine_persist_to(e, 2);
    engine_collect(e);
    assert_int_equal(e->sent[1].match, 3);
    engine_free(e);
}

/* An ack of an earlier term, that waited for the disk, is not sent in a later
 * one: the new leader has another log. */
static void test_waiting_ack_is_dropped_after_a_term(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 1, .prev_term = 1,
              .terms = {1, 1}));
    engine_collect(e);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 2));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_APPEND_RESP), 0);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT_RESP), 1);

    /* The same when it was not even collected. */
    OK(APPEND(e, .from = 3, .term = 2, .prev = 3, .prev_term = 1,
              .terms = {2}));
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_APPEND_RESP), 0);
    engine_free(e);
}

/* R15, R07: an operation speaks for the entries it wrote, not for others that
 * took their indexes; not even if they come back with the terms they had. */
static void test_truncation_while_acks_are_in_flight(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 1, .prev_term = 1,
              .terms = {2, 2}));
    engine_collect(e);
    OK(APPEND(e, .from = 3, .term = 3, .prev = 1, .prev_term = 1,
              .terms = {3}));
    engine_collect(e);
    assert_int_equal(e->update.persist.truncate_from, 2);
    OK(APPEND(e, .from = 2, .term = 4, .prev = 1, .prev_term = 1,
              .terms = {2, 2, 4}, .commit = 4));
    engine_collect(e);
    assert_int_equal(e->update.persist.truncate_from, 2);
    assert_int_equal(e->update.persist.lo, 2);
    assert_int_equal(e->update.persist.hi, 4);
    assert_int_equal(raft_commit(e->raft), 4);

    for (uint64_t seq = 1; seq <= 2; seq++) {
        engine_persist_to(e, seq);
        engine_collect(e);
        assert_int_equal(engine_status(e)->durable, 1);
        assert_int_equal(e->sent_count, 0);
        assert_true(e->update.apply_hi < e->update.apply_lo);
    }
    engine_persist_to(e, 3);
    engine_collect(e);
    assert_int_equal(engine_status(e)->durable, 4);
    assert_int_equal(e->sent_count, 1);
    assert_int_equal(e->sent[0].match, 4);
    assert_int_equal(e->update.apply_hi, 4);
    engine_free(e);
}

/* L6: what is committed elsewhere and not yet on our own disk is not applied;
 * everything is handed out once and in order. */
static void test_apply_what_is_committed_and_durable(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1, 1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 3, .prev_term = 1,
              .terms = {1, 1}, .commit = 4));
    engine_collect(e);
    assert_int_equal(raft_commit(e->raft), 4);
    assert_int_equal(e->update.apply_lo, 2);
    assert_int_equal(e->update.apply_hi, 3);
    engine_collect(e);
    assert_true(e->update.apply_hi < e->update.apply_lo);
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(e->update.apply_lo, 4);
    assert_int_equal(e->update.apply_hi, 4);
    assert_int_equal(engine_status(e)->applied, 1);
    OK(STEP(e, .type = RAFT_APPLIED, .index = 4));
    assert_int_equal(engine_status(e)->applied, 4);
    engine_free(e);
}

/* L15: only so many operations are on their way to the disk; the next one
 * waits and grows. Nothing is skipped and nothing is written twice. */
static void test_persist_operations_are_bounded(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 1, .log = {1}, .uncommitted_max = 1000);
    engine_tick(e, 0);
    uint64_t next = 2;
    for (int i = 0; i < 200; i++) {
        OK(STEP(e, .type = RAFT_PROPOSE));
        engine_collect(e);
        if (e->update.persist.seq != 0) {
            assert_int_equal(e->update.persist.lo, next);
            next = e->update.persist.hi + 1;
        }
    }
    assert_in_range(e->seq_handed, 1, 64);
    engine_persist_to(e, 1);
    engine_collect(e);
    assert_int_equal(e->update.persist.lo, next);
    assert_int_equal(e->update.persist.hi, raft_last(e->raft));
    engine_persist(e);
    assert_int_equal(raft_commit(e->raft), raft_last(e->raft));
    engine_free(e);
}

/* ---- commit: sections 3.5, 3.6.2 ---- */

/* 3.5, 3.6.2: committed is what a majority holds, but by counting only what is
 * of the leader's own term (figure 3.7: entries of earlier terms could still
 * be replaced); what came before is committed with it. Acks may come in any
 * order. Our log: 1 1 1, then 2 2 2 2 2 at indexes 4..8. */
static void test_commit_by_majority_in_own_term(void **state)
{
    (void)state;
    static const struct {
        uint64_t match[4];
        uint64_t commit;
    } rows[] = {
        {{0, 0, 0, 0}, 1}, {{8, 0, 0, 0}, 1}, {{8, 8, 0, 0}, 8},
        {{3, 3, 3, 3}, 1}, {{8, 3, 3, 3}, 1}, {{4, 4, 0, 0}, 4},
        {{4, 3, 3, 3}, 1}, {{8, 5, 0, 0}, 5}, {{6, 7, 8, 5}, 7},
        {{5, 5, 5, 5}, 5}, {{0, 1, 6, 8}, 6}, {{8, 8, 8, 8}, 8},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (uint32_t order = 0; order < 4; order++) {
            print_message("row %zu, order %u\n", i, order);
            struct engine *e =
                ENGINE(.voters = 5, .log = {1, 1, 1}, .applied = 1);
            engine_to_leader(e);
            propose(e, 4);
            for (uint32_t k = 0; k < 4; k++) {
                uint32_t peer = (k + order) % 4;
                if (rows[i].match[peer] > 0) {
                    OK(engine_ack(e, peer + 2, rows[i].match[peer]));
                }
            }
            assert_int_equal(raft_commit(e->raft), rows[i].commit);
            engine_free(e);
        }
    }
}

/* 3.8, R09: the leader's own vote for an entry is what its disk holds. The
 * others may be faster (thesis 10.2.1), and then it can commit without. */
static void test_leader_counts_itself_once_durable(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_to_leader(e);
    engine_collect(e); /* The no-op, index 3, is on its way to our disk. */
    OK(engine_ack(e, 2, 3));
    assert_int_equal(raft_commit(e->raft), 1);
    engine_persist(e);
    assert_int_equal(raft_commit(e->raft), 3);

    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_collect(e);
    OK(engine_ack(e, 2, 4));
    OK(engine_ack(e, 3, 4));
    assert_int_equal(raft_commit(e->raft), 4);
    engine_collect(e);
    assert_int_equal(e->update.apply_hi, 3);
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(e->update.apply_hi, 4);
    engine_free(e);
}

/* 3.5: late, doubled and reordered answers. Acks of less say nothing; a
 * refusal of what was acked since is old; none lowers match (L9). */
static void test_stale_answers_change_nothing(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .applied = 1);
    propose(e, 4);
    OK(engine_ack(e, 2, 6));
    for (uint64_t match = 0; match <= 6; match++) {
        OK(engine_ack(e, 2, match));
        OK(engine_refuse(e, 2, match, 0, 0));
        assert_int_equal(engine_peer(e, 2)->match, 6);
        assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_REPLICATE);
        assert_true(engine_peer(e, 2)->next > 6);
    }
    assert_int_equal(raft_commit(e->raft), 6);
    engine_free(e);
}

/* An answer in our term to something we never sent would make us commit what
 * the peer does not have. */
static void test_ack_beyond_the_log_is_invalid(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .applied = 1);
    REFUSED(e, ERR_INVALID, engine_ack(e, 2, 4));
    engine_free(e);
}

/* A heartbeat asks and answers "do you follow me", nothing about logs. */
static void test_heartbeat_answer_moves_no_match(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_to_leader(e);
    engine_settle(e);
    const struct raft_message *asked = engine_sent(e, RAFT_MSG_HEARTBEAT, 2);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = asked->term,
            .round = asked->round, .match = 3, .log_index = 3, .commit = 3));
    assert_int_equal(engine_peer(e, 2)->match, 0);
    assert_int_equal(raft_commit(e->raft), 1);
    engine_free(e);
}

/* The commit index in a heartbeat is capped by what the peer is known to
 * hold; when nothing else is to be sent, a heartbeat brings the news. */
static void test_commit_travels_with_heartbeats(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_pass(e, 100, PEERS(2, 3));
    propose(e, 2);
    struct raft_message append;
    engine_collect(e);
    assert_true(engine_send_append(e, 2, 9, &append));
    assert_true(engine_send_append(e, 3, 9, &append));
    OK(engine_ack(e, 2, 5));
    engine_forget(e);
    assert_int_equal(raft_commit(e->raft), 5);
    engine_tick(e, 10);
    engine_settle(e);
    assert_int_equal(engine_sent(e, RAFT_MSG_HEARTBEAT, 2)->commit, 5);
    assert_null(engine_sent(e, RAFT_MSG_HEARTBEAT, 3));
    engine_tick(e, 90);
    engine_settle(e);
    assert_int_equal(engine_sent(e, RAFT_MSG_HEARTBEAT, 3)->commit, 3);
    engine_free(e);
}

/* ---- proposing ---- */

/* 3.5: only a leader takes entries; it puts them into its log at once. */
static void test_only_a_leader_takes_proposals(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    for (int role = RAFT_FOLLOWER; role < RAFT_LEADER; role++) {
        if (role == RAFT_PRECANDIDATE) {
            engine_to_precandidate(e);
        } else if (role == RAFT_CANDIDATE) {
            OK(engine_grant(e, 2));
            engine_settle(e);
        }
        assert_int_equal(engine_role(e), role);
        REFUSED(e, ERR_CLOSED, STEP(e, .type = RAFT_PROPOSE));
    }
    OK(engine_grant(e, 2));
    OK(STEP(e, .type = RAFT_PROPOSE));
    uint64_t first;
    uint64_t last;
    raft_appended(e->raft, &first, &last);
    assert_int_equal(first, 4);
    assert_int_equal(last, 4);
    assert_true(engine_log_is(e, TERMS(1, 1, 2, 2)));
    engine_free(e);
}

/* L15: entries that are not committed are bounded; the client hears so before
 * anything is in the log. */
static void test_uncommitted_entries_are_bounded(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .uncommitted_max = 5);
    propose(e, 5);
    REFUSED(e, ERR_BUSY, STEP(e, .type = RAFT_PROPOSE));
    OK(engine_ack(e, 2, 5));
    OK(STEP(e, .type = RAFT_PROPOSE));
    OK(STEP(e, .type = RAFT_PROPOSE));
    assert_int_equal(STEP(e, .type = RAFT_PROPOSE), ERR_BUSY);
    engine_free(e);
}

/* 3.5, L8: a leader only ever appends to its log. Another one in its own term
 * cannot be (3.4), so such a message is no message. */
static void test_leader_is_append_only(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_to_leader(e);
    REFUSED(e, ERR_INVALID,
            APPEND(e, .from = 2, .term = 2, .prev = 1, .prev_term = 1,
                   .terms = {2}));
    REFUSED(e, ERR_INVALID,
            HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2));
    engine_free(e);
}

/* ---- the leader's picture of a peer ---- */

/* L13: an append names the entry before its first, and the commit index. */
static void test_what_is_in_an_append(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .applied = 1);
    propose(e, 3);
    struct raft_message m;
    assert_int_equal(engine_offer(e, 2)->next, 4);
    assert_int_equal(engine_offer(e, 2)->last, 6);
    assert_true(engine_send_append(e, 2, 2, &m));
    assert_int_equal(m.type, RAFT_MSG_APPEND);
    assert_int_equal(m.from, 1);
    assert_int_equal(m.to, 2);
    assert_int_equal(m.term, 2);
    assert_int_equal(m.log_index, 3);
    assert_int_equal(m.log_term, 2);
    assert_int_equal(m.entry_count, 2);
    assert_int_equal(m.commit, 3);
    assert_int_equal(m.sent_ms, e->now_ms);
    engine_collect(e);
    assert_int_equal(engine_offer(e, 2)->next, 6);
    engine_free(e);
}

/* Until it is known where the logs meet, one append at a time; again after a
 * heartbeat time, or once a later heartbeat shows that it got lost. */
static void test_probe_sends_one_at_a_time(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_to_leader(e);
    propose(e, 3);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 1, &m));
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    assert_non_null(engine_offer(e, 3));
    engine_tick(e, 99);
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    engine_tick(e, 1);
    engine_collect(e);
    assert_int_equal(engine_offer(e, 2)->next, 3); /* The same again. */

    assert_true(engine_send_append(e, 2, 1, &m));
    engine_tick(e, 1);
    engine_collect(e);
    OK(engine_answer(e, 2)); /* Sent before the probe, or with it. */
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 2,
            .round = engine_sent(e, RAFT_MSG_HEARTBEAT, 2)->round,
            .sent_ms = e->now_ms));
    engine_collect(e);
    assert_non_null(engine_offer(e, 2));

    OK(engine_ack(e, 2, 3));
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_REPLICATE);
    engine_collect(e);
    assert_int_equal(engine_offer(e, 2)->next, 4);
    engine_free(e);
}

/* 3.5: the leader goes back to where the logs may meet, skipping whole terms
 * of its own that the follower cannot have. Our log: 1 1 2 2 5 5, then the
 * no-op, 7, that is probed for with index 6. */
static void test_refusal_leads_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t hint;
        uint64_t hint_term;
        uint64_t next;
    } rows[] = {
        {6, 4, 5}, {5, 5, 6}, {5, 3, 5}, {4, 2, 5}, {3, 2, 4},
        {4, 1, 3}, {2, 1, 3}, {1, 1, 2}, {0, 0, 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2, 2, 5, 5}, .applied = 1);
        engine_to_leader(e);
        engine_settle(e);
        struct raft_message m;
        assert_true(engine_send_append(e, 2, 1, &m));
        assert_int_equal(m.log_index, 6);
        OK(engine_refuse(e, 2, 5, 0, 0)); /* Answers another probe. */
        assert_int_equal(engine_peer(e, 2)->next, 7);
        OK(engine_refuse(e, 2, 6, rows[i].hint, rows[i].hint_term));
        assert_int_equal(engine_peer(e, 2)->next, rows[i].next);
        engine_collect(e); /* It continues at once. */
        assert_int_equal(engine_offer(e, 2)->next, rows[i].next);
        OK(engine_refuse(e, 2, 6, 0, 0)); /* A duplicate. */
        assert_int_equal(engine_peer(e, 2)->next, rows[i].next);
        engine_free(e);
    }
}

/* 3.5, R02: two logs of many terms that part at index 2 are brought together
 * in no more round trips than they have terms; the follower's ends as the
 * leader's. */
static void test_divergent_logs_meet(void **state)
{
    (void)state;
    struct engine_setup lead = {.voters = 3, .applied = 1, .log = {1}};
    struct engine_setup follow = {
        .self = 2, .voters = 3, .applied = 1, .log = {1}};
    for (uint64_t i = 1; i <= 40; i++) {
        lead.log[i] = 2 + (i - 1) / 5 * 2;   /* 2 .. 16 */
        follow.log[i] = 3 + (i - 1) / 6 * 2; /* 3 .. 15 */
    }
    struct engine *a = engine_new(&lead);
    struct engine *b = engine_new(&follow);
    engine_to_leader(a);
    engine_settle(a);
    uint64_t last = raft_last(a->raft);
    uint32_t trips = 0;
    while (engine_peer(a, 2)->match < last) {
        struct raft_message m;
        struct raft_entry entries[ENGINE_LOG_MAX];
        engine_settle(a);
        assert_true(engine_send_append(a, 2, ENGINE_LOG_MAX, &m));
        for (uint32_t i = 0; i < m.entry_count; i++) {
            entries[i] = (struct raft_entry){
                .term = raft_term_at(a->raft, m.log_index + 1 + i),
                .type = RAFT_ENTRY_NORMAL};
        }
        m.entries = entries;
        OK(engine_hear(b, &m));
        OK(engine_hear(a, settled_answer(b)));
        assert_true(++trips <= 17);
    }
    for (uint64_t i = 1; i <= last; i++) {
        assert_int_equal(raft_term_at(b->raft, i), raft_term_at(a->raft, i));
    }
    assert_int_equal(raft_last(b->raft), last);
    engine_free(a);
    engine_free(b);
}

/* 10.2.1: appends run ahead of the acks, up to a window; an ack of several
 * makes room for as many. */
static void test_window_of_appends(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .inflight_max = 2);
    propose(e, 5);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 1, &m));
    engine_collect(e);
    struct raft_append_offer stale = *engine_offer(e, 2);
    assert_true(engine_send_append(e, 2, 1, &m));
    assert_int_equal(m.log_index, 4);
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    assert_false(raft_make_append(e->raft, 2, stale.next + 1, stale.next + 1,
                                  e->now_ms, &m));
    OK(engine_ack(e, 2, 5));
    for (int i = 0; i < 2; i++) {
        engine_collect(e);
        assert_true(engine_send_append(e, 2, 1, &m));
        assert_int_equal(m.log_index, 5 + i);
    }
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    engine_free(e);
}

/* A refusal while we send ahead: one on the way was lost. Start over after
 * what is acked, and never below. */
static void test_loss_leads_back_to_a_probe(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    propose(e, 4);
    struct raft_message m;
    for (int i = 0; i < 3; i++) {
        assert_true(engine_send_append(e, 2, 1, &m));
        engine_collect(e);
    }
    OK(engine_ack(e, 2, 4));
    OK(engine_refuse(e, 2, 5, 2, 1));
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_PROBE);
    assert_int_equal(engine_peer(e, 2)->next, 5);
    assert_int_equal(engine_peer(e, 2)->match, 4);
    engine_free(e);
}

/* R12: a window that is all lost, with the link standing, is not waited for
 * without end. */
static void test_unanswered_window_is_sent_again(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1}, .inflight_max = 1);
    propose(e, 2);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 1, &m));
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    for (int i = 0; i < 10 && !engine_offer(e, 2); i++) {
        engine_tick(e, 100);
        engine_collect(e);
        OK(engine_answer(e, 2)); /* It lives; only the append is gone. */
        engine_collect(e);
    }
    assert_non_null(engine_offer(e, 2));
    assert_int_equal(engine_offer(e, 2)->next, 4);
    engine_free(e);
}

/* Hints of the transport: nothing is offered to a peer that is down, and what
 * was on its way is sent again when it is back. */
static void test_peer_down_and_up(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    propose(e, 2);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 2, &m));
    OK(STEP(e, .type = RAFT_PEER_DOWN, .peer = 2));
    engine_collect(e);
    assert_null(engine_offer(e, 2));
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 2));
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 9)); /* Removed meanwhile. */
    engine_collect(e);
    assert_int_equal(engine_offer(e, 2)->next, 4);
    engine_free(e);
}

/* ---- compaction and snapshots: section 5 ---- */

/* 5: the log may begin later; what is left reads as before, and an append that
 * begins before the beginning still connects. */
static void test_compaction(void **state)
{
    (void)state;
    static const struct {
        uint64_t prev;
        uint64_t prev_term;
        bool accepted;
    } rows[] = {
        {0, 0, true}, {2, 1, true},  {3, 2, true},  {4, 2, true},
        {5, 3, true}, {4, 1, false}, {6, 3, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2, 2, 3}, .applied = 3);
        OK(STEP(e, .type = RAFT_COMPACTED, .index = 3));
        OK(STEP(e, .type = RAFT_COMPACTED, .index = 2)); /* Done already. */
        assert_int_equal(engine_status(e)->base, 3);
        assert_int_equal(raft_term_at(e->raft, 3), 2);
        assert_true(engine_log_is(e, TERMS(2, 3)));
        assert_int_equal(raft_conf_active(e->raft)->count, 3);
        OK(APPEND(e, .from = 2, .term = 3, .prev = rows[i].prev,
                  .prev_term = rows[i].prev_term));
        const struct raft_message *answer = settled_answer(e);
        assert_int_equal(answer->granted, rows[i].accepted);
        assert_true(answer->granted || answer->log_index >= 3);
        engine_free(e);
    }
}

static struct engine *leader_with_compacted_log(void)
{
    struct engine *e = ENGINE(.voters = 3, .base = 3, .base_term = 1,
                              .log = {1, 1}, .applied = 3);
    engine_to_leader(e);
    engine_settle(e);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 1, &m));
    OK(engine_refuse(e, 2, 5, 0, 0)); /* Its log is empty. */
    engine_forget(e);
    engine_collect(e);
    return e;
}

/* 5: a peer that needs what the log no longer has gets a snapshot. That is
 * said once; then nothing is sent to it until the snapshot is over. */
static void test_snapshot_for_a_peer_far_behind(void **state)
{
    (void)state;
    struct engine *e = leader_with_compacted_log();
    assert_int_equal(e->snapshot_peer, 2);
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_SNAPSHOT);
    engine_tick(e, 200);
    engine_collect(e);
    assert_int_equal(e->snapshot_count, 1);
    assert_null(engine_offer(e, 2));
    assert_non_null(engine_sent(e, RAFT_MSG_HEARTBEAT, 2));
    OK(engine_refuse(e, 2, 5, 0, 0));
    engine_collect(e);
    assert_null(engine_offer(e, 2));

    /* A sent snapshot is not an ack: a probe must find it at the peer. */
    OK(STEP(e, .type = RAFT_SNAPSHOT_SENT, .peer = 2, .index = 4));
    engine_collect(e);
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_PROBE);
    assert_int_equal(engine_peer(e, 2)->match, 0);
    assert_int_equal(engine_offer(e, 2)->next, 5);
    engine_free(e);
}

/* A snapshot that failed is tried again, but not at once; one that arrived
 * from elsewhere shows in an ack. */
static void test_snapshot_that_failed(void **state)
{
    (void)state;
    struct engine *e = leader_with_compacted_log();
    OK(STEP(e, .type = RAFT_SNAPSHOT_FAILED, .peer = 2));
    engine_collect(e);
    assert_int_equal(e->snapshot_count, 1);
    assert_null(engine_offer(e, 2));
    engine_tick(e, 100);
    engine_collect(e);
    assert_int_equal(e->snapshot_count, 2);
    OK(engine_ack(e, 2, 5));
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_REPLICATE);
    engine_collect(e);
    assert_int_equal(engine_offer(e, 2)->next, 6);
    engine_free(e);
}

/* S01, S10: a snapshot into an empty node: log, commit and configuration are
 * those of the snapshot, and appends go on after it. */
static void test_install_on_an_empty_node(void **state)
{
    (void)state;
    struct raft_conf conf;
    engine_conf(&conf, 3, 1, 0);
    struct engine *e = ENGINE(.self = 4);
    OK(STEP(e, .type = RAFT_INSTALLED, .index = 5, .term = 2, .conf = &conf));
    assert_int_equal(engine_status(e)->base, 5);
    assert_int_equal(engine_status(e)->applied, 5);
    assert_int_equal(engine_status(e)->durable, 5);
    assert_int_equal(raft_last(e->raft), 5);
    assert_int_equal(raft_commit(e->raft), 5);
    assert_int_equal(raft_term(e->raft), 2);
    assert_int_equal(raft_term_at(e->raft, 5), 2);
    assert_int_equal(raft_conf_active(e->raft)->count, 4);
    OK(APPEND(e, .from = 2, .term = 3, .prev = 5, .prev_term = 2, .terms = {3},
              .commit = 6));
    assert_int_equal(settled_answer(e)->match, 6);
    assert_int_equal(e->update.apply_hi, 6);
    engine_free(e);
}

/* 5, S02-S04: what follows the snapshot's last entry stays if that entry is
 * ours too; otherwise the whole log goes. An old snapshot is ignored. */
static void test_install_keeps_what_matches(void **state)
{
    (void)state;
    static const struct {
        uint64_t index;
        uint64_t term;
        uint64_t last;
        uint64_t commit;
    } rows[] = {
        {3, 2, 4, 3},               /* Inside our log. */
        {4, 2, 4, 4}, {3, 3, 3, 3}, /* Another entry 3. */
        {4, 3, 4, 4}, {9, 2, 9, 9}, /* Beyond. */
        {2, 1, 4, 2}, {1, 1, 4, 1}, /* Applied already. */
    };
    struct raft_conf conf;
    engine_conf(&conf, 3, 0, 0);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2, 2}, .term = 3, .applied = 1);
        OK(STEP(e, .type = RAFT_INSTALLED, .index = rows[i].index,
                .term = rows[i].term, .conf = &conf));
        assert_int_equal(raft_last(e->raft), rows[i].last);
        assert_int_equal(raft_commit(e->raft), rows[i].commit);
        assert_int_equal(engine_status(e)->applied, rows[i].commit);
        assert_int_equal(engine_status(e)->base,
                         rows[i].index > 1 ? rows[i].index : 0);
        engine_free(e);
    }
}

/* 3.6.3: a snapshot with another entry where we have committed one is not of
 * this cluster. */
static void test_install_contradicts_commit(void **state)
{
    (void)state;
    struct raft_conf conf;
    engine_conf(&conf, 3, 0, 0);
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 2, 2}, .term = 3, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 3, .prev = 4, .prev_term = 2, .commit = 3));
    REFUSED(
        e, ERR_INVALID,
        STEP(e, .type = RAFT_INSTALLED, .index = 3, .term = 3, .conf = &conf));
    engine_free(e);
}

/* S13: a snapshot that replaces the log while acks wait for the disk: they
 * spoke for entries that are gone, so they are not sent. */
static void test_install_while_acks_are_in_flight(void **state)
{
    (void)state;
    struct raft_conf conf;
    engine_conf(&conf, 3, 0, 0);
    static const struct {
        uint64_t index;
        bool collected;
    } rows[] = {{9, false}, {9, true}, {3, false}, {3, true}};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 3, .prev = 1, .prev_term = 1,
                  .terms = {2, 2, 2, 3}));
        if (rows[i].collected) {
            engine_collect(e);
        }
        OK(STEP(e, .type = RAFT_INSTALLED, .index = rows[i].index, .term = 3,
                .conf = &conf));
        engine_settle(e);
        assert_int_equal(engine_sent_count(e, RAFT_MSG_APPEND_RESP), 0);
        assert_int_equal(engine_status(e)->durable, rows[i].index);
        OK(APPEND(e, .from = 2, .term = 3, .prev = rows[i].index,
                  .prev_term = 3, .terms = {3}));
        assert_int_equal(settled_answer(e)->match, rows[i].index + 1);
        engine_free(e);
    }
}

/* ---- what no correct peer sends ---- */

static const struct raft_entry entries_good[2] = {
    {.term = 2, .type = RAFT_ENTRY_NORMAL},
    {.term = 3, .type = RAFT_ENTRY_NOOP},
};
static const struct raft_entry entry_term_0 = {.type = RAFT_ENTRY_NORMAL};
static const struct raft_entry entry_term_high = {.term = 4,
                                                  .type = RAFT_ENTRY_NORMAL};
static const struct raft_entry entries_back[2] = {
    {.term = 3, .type = RAFT_ENTRY_NORMAL},
    {.term = 2, .type = RAFT_ENTRY_NORMAL},
};
static const struct raft_entry entry_no_type = {.term = 3};
static const struct raft_entry entry_no_conf = {.term = 3,
                                                .type = RAFT_ENTRY_CONF};
static const struct raft_conf conf_none;
static const struct raft_entry entry_empty_conf = {
    .term = 3, .type = RAFT_ENTRY_CONF, .conf = &conf_none};
static const struct raft_entry entry_conf_on_normal = {
    .term = 3, .type = RAFT_ENTRY_NORMAL, .conf = &conf_none};

static void refuse_all(struct engine *e, const struct raft_message *messages,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_message("message %zu, type %d\n", i, (int)messages[i].type);
        REFUSED(e, ERR_INVALID, engine_hear(e, &messages[i]));
    }
}

/* Input is validated, never asserted (D12): what a correct peer cannot send is
 * ERR_INVALID, and the engine is as it was. Fields of any type. */
static void test_malformed_messages(void **state)
{
    (void)state;
    static const struct raft_message bad[] = {
        {.type = RAFT_MSG_HEARTBEAT, .from = 0, .term = 3},
        {.type = RAFT_MSG_HEARTBEAT, .from = 1, .term = 3},
        {.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3, .to = 3},
        {.type = (enum raft_message_type)0, .from = 2, .term = 3},
        {.type = (enum raft_message_type)99, .from = 2, .term = 3},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = NUMBER_MAX},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = 4, .log_index = NUMBER_MAX},
        {.type = RAFT_MSG_APPEND_RESP,
         .from = 2,
         .term = 3,
         .log_term = NUMBER_MAX},
        {.type = RAFT_MSG_HEARTBEAT,
         .from = 2,
         .term = 3,
         .commit = NUMBER_MAX},
        {.type = RAFT_MSG_APPEND_RESP,
         .from = 2,
         .term = 3,
         .match = UINT64_MAX},
        /* Elections. */
        {.type = RAFT_MSG_VOTE, .from = 2},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = 4, .log_index = 1},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = 4, .log_term = 1},
        {.type = RAFT_MSG_VOTE,
         .from = 2,
         .term = 4,
         .log_index = 9,
         .log_term = 5},
        {.type = RAFT_MSG_PREVOTE, .from = 2, .term = 4, .log_index = 1},
        {.type = RAFT_MSG_PREVOTE,
         .from = 2,
         .term = 4,
         .log_index = 9,
         .log_term = 5},
        {.type = RAFT_MSG_TIMEOUT_NOW, .from = 2},
        {.type = RAFT_MSG_TIMEOUT_NOW,
         .from = 2,
         .term = 3,
         .log_index = 9,
         .log_term = 5},
        /* Reads. */
        {.type = RAFT_MSG_READ, .from = 2, .term = 3},
        {.type = RAFT_MSG_READ, .from = 2, .round = 1},
        {.type = RAFT_MSG_READ_RESP, .from = 2, .term = 3},
        {.type = RAFT_MSG_HEARTBEAT, .from = 2},
    };
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 2}, .term = 3, .applied = 2);
    refuse_all(e, bad, ARRAY_COUNT(bad));
    engine_free(e);

    /* To a leader: answers to what it never asked. */
    static const struct raft_message to_leader[] = {
        {.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .term = 4, .round = 99},
        {.type = RAFT_MSG_APPEND_RESP,
         .from = 2,
         .term = 4,
         .match = 5,
         .granted = true},
        {.type = RAFT_MSG_APPEND_RESP, .from = 2, .term = 4, .match = 5},
        {.type = RAFT_MSG_APPEND_RESP,
         .from = 2,
         .term = 4,
         .match = 3,
         .log_index = 4,
         .log_term = 4},
        {.type = RAFT_MSG_APPEND_RESP,
         .from = 2,
         .term = 4,
         .match = 3,
         .log_index = 2,
         .log_term = 5},
    };
    e = ENGINE(.voters = 3, .log = {1, 1, 2}, .term = 3, .applied = 2);
    engine_to_leader(e);
    refuse_all(e, to_leader, ARRAY_COUNT(to_leader));
    engine_free(e);
}

/* The same for appends: terms that go back (L7), unknown entries, and what
 * contradicts 3.4 (one leader a term) or 3.6.3 (committed is committed). */
static void test_malformed_appends(void **state)
{
    (void)state;
    static const struct raft_entry entries_many[RAFT_APPEND_ENTRIES_MAX + 1];
    static const struct raft_message good = {.type = RAFT_MSG_APPEND,
                                             .from = 2,
                                             .term = 3,
                                             .log_index = 2,
                                             .log_term = 1,
                                             .entry_count = 2,
                                             .entries = entries_good};
    struct raft_message bad[] = {
        good, good, good, good, good, good, good,
        good, good, good, good, good, good, good,
    };
    size_t i = 0;
    bad[i++].entries = NULL;
    bad[i].entries = entries_many;
    bad[i++].entry_count = RAFT_APPEND_ENTRIES_MAX + 1;
    bad[i++].entries = entries_back;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_term_0;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_term_high;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_no_type;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_no_conf;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_empty_conf;
    bad[i].entry_count = 1;
    bad[i++].entries = &entry_conf_on_normal;
    bad[i++].log_term = 3;  /* Then come entries of term 2. */
    bad[i++].log_term = 4;  /* Above its own. */
    bad[i++].log_term = 0;  /* An index has a term, */
    bad[i++].log_index = 0; /* and a term an index. */
    bad[i++].from = 3;      /* Leader of term 3 is 2. */
    assert_int_equal(i, ARRAY_COUNT(bad));

    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 2}, .term = 3, .applied = 2);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3));
    engine_settle(e);
    refuse_all(e, bad, ARRAY_COUNT(bad));
    assert_int_equal(raft_contradiction(e->raft, &good), 0);
    OK(engine_hear(e, &good));
    assert_true(engine_log_is(e, TERMS(1, 1, 2, 3)));
    engine_free(e);
}

/* Committed is committed (3.6.3): who has another entry there is told from what
 * is malformed, in this term and in later ones; an old term says nothing. */
static void test_appends_that_contradict_what_is_committed(void **state)
{
    (void)state;
    for (uint64_t term = 2; term <= 4; term++) {
        struct raft_message before = {.type = RAFT_MSG_APPEND,
                                      .from = 2,
                                      .to = 1,
                                      .term = term,
                                      .log_index = 2,
                                      .log_term = 2};
        struct raft_message within = before;
        within.log_index = 1;
        within.log_term = 1;
        within.entry_count = 1;
        within.entries =
            &(struct raft_entry){.term = 2, .type = RAFT_ENTRY_NORMAL};
        struct engine *e =
            ENGINE(.voters = 3, .log = {1, 1, 2}, .term = 3, .applied = 2);
        if (term < 3) {
            assert_int_equal(raft_contradiction(e->raft, &before), 0);
            OK(engine_hear(e, &before));
        } else {
            assert_int_equal(raft_contradiction(e->raft, &before), 2);
            assert_int_equal(raft_contradiction(e->raft, &within), 2);
            REFUSED(e, ERR_MISMATCH, engine_hear(e, &before));
            REFUSED(e, ERR_MISMATCH, engine_hear(e, &within));
        }
        /* Entry 3 is not committed here, and may go. */
        within.log_index = 2;
        assert_int_equal(raft_contradiction(e->raft, &within), 0);
        engine_free(e);
    }
}

/* 3.5, leader append-only, seen from the follower: within a term the leader's
 * log only grows. A leader that takes back what we found to be equal to its
 * log, and may have told it so, is not believed. */
static void test_leader_that_takes_back(void **state)
{
    (void)state;
    for (int collected = 0; collected < 2; collected++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 3, .prev = 1, .prev_term = 1,
                  .terms = {2, 2, 2}));
        if (collected) {
            engine_collect(e);
        }
        REFUSED(e, ERR_INVALID,
                APPEND(e, .from = 2, .term = 3, .prev = 1, .prev_term = 1,
                       .terms = {2, 3}));
        REFUSED(e, ERR_INVALID,
                APPEND(e, .from = 2, .term = 3, .prev = 3, .prev_term = 3));
        assert_int_equal(settled_answer(e)->match, 4);
        engine_free(e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consistency_check),
        cmocka_unit_test(test_appends_that_contradict_what_is_committed),
        cmocka_unit_test(test_only_a_conflict_truncates),
        cmocka_unit_test(test_late_append_truncates_nothing),
        cmocka_unit_test(test_refusal_carries_a_hint),
        cmocka_unit_test(test_follower_commits_what_is_verified),
        cmocka_unit_test(test_commit_never_goes_back),
        cmocka_unit_test(test_verified_is_of_one_term),
        cmocka_unit_test(test_ack_waits_for_the_disk),
        cmocka_unit_test(test_ack_waits_for_its_own_operation),
        cmocka_unit_test(test_waiting_ack_is_dropped_after_a_term),
        cmocka_unit_test(test_truncation_while_acks_are_in_flight),
        cmocka_unit_test(test_apply_what_is_committed_and_durable),
        cmocka_unit_test(test_persist_operations_are_bounded),
        cmocka_unit_test(test_commit_by_majority_in_own_term),
        cmocka_unit_test(test_leader_counts_itself_once_durable),
        cmocka_unit_test(test_stale_answers_change_nothing),
        cmocka_unit_test(test_ack_beyond_the_log_is_invalid),
        cmocka_unit_test(test_heartbeat_answer_moves_no_match),
        cmocka_unit_test(test_commit_travels_with_heartbeats),
        cmocka_unit_test(test_only_a_leader_takes_proposals),
        cmocka_unit_test(test_uncommitted_entries_are_bounded),
        cmocka_unit_test(test_leader_is_append_only),
        cmocka_unit_test(test_what_is_in_an_append),
        cmocka_unit_test(test_probe_sends_one_at_a_time),
        cmocka_unit_test(test_refusal_leads_back),
        cmocka_unit_test(test_divergent_logs_meet),
        cmocka_unit_test(test_window_of_appends),
        cmocka_unit_test(test_loss_leads_back_to_a_probe),
        cmocka_unit_test(test_unanswered_window_is_sent_again),
        cmocka_unit_test(test_peer_down_and_up),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_snapshot_for_a_peer_far_behind),
        cmocka_unit_test(test_snapshot_that_failed),
        cmocka_unit_test(test_install_on_an_empty_node),
        cmocka_unit_test(test_install_keeps_what_matches),
        cmocka_unit_test(test_install_contradicts_commit),
        cmocka_unit_test(test_install_while_acks_are_in_flight),
        cmocka_unit_test(test_malformed_messages),
        cmocka_unit_test(test_malformed_appends),
        cmocka_unit_test(test_leader_that_takes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
