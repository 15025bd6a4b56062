/* test_raft_paper.c -- terms, votes, elections and what must be durable, one
 * rule of the thesis (Ongaro 2014) to a test. Sections in the comments are its
 * sections; L1.. are the local invariants of check.c. One engine, id 1 unless
 * said otherwise, hears hand-made messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/engine.h"

/* ---- terms: section 3.3 ---- */

/* 3.4: a server starts as a follower, of nobody, and says nothing. */
static void test_starts_as_silent_follower(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4, .vote = 2);
    engine_collect(e);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(e->raft), 0);
    assert_int_equal(raft_term(e->raft), 4);
    assert_int_equal(engine_status(e)->vote, 2);
    assert_int_equal(e->sent_count, 0);
    assert_int_equal(e->update.persist.seq, 0);
    engine_free(e);
}

/* 3.3: whoever hears of a later term adopts it and follows, whatever it was;
 * the vote of the old term is not carried over. TIMEOUT_NOW is for another
 * log here, and the candidate's is empty, or both would do more. */
static void test_later_term_is_adopted(void **state)
{
    (void)state;
    static const struct raft_message later[] = {
        {.type = RAFT_MSG_VOTE, .transfer = true},
        {.type = RAFT_MSG_VOTE_RESP},
        {.type = RAFT_MSG_VOTE_RESP, .granted = true},
        {.type = RAFT_MSG_PREVOTE_RESP},
        {.type = RAFT_MSG_APPEND},
        {.type = RAFT_MSG_APPEND_RESP},
        {.type = RAFT_MSG_APPEND_RESP, .granted = true, .match = 9},
        {.type = RAFT_MSG_HEARTBEAT},
        {.type = RAFT_MSG_HEARTBEAT_RESP},
        {.type = RAFT_MSG_TIMEOUT_NOW, .log_index = 1, .log_term = 1},
        {.type = RAFT_MSG_READ, .round = 1},
        {.type = RAFT_MSG_READ_RESP, .round = 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(later); i++) {
        for (int role = RAFT_FOLLOWER; role <= RAFT_LEADER; role++) {
            print_message("message %zu, role %d\n", i, role);
            struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .vote = 1);
            if (role == RAFT_PRECANDIDATE) {
                engine_to_precandidate(e);
            } else if (role == RAFT_CANDIDATE) {
                engine_to_candidate(e);
            } else if (role == RAFT_LEADER) {
                engine_to_ready(e);
            }
            assert_int_equal(engine_role(e), role);
            struct raft_message m = later[i];
            m.from = 3;
            if (m.transfer && role == RAFT_LEADER) {
                OK(STEP(e, .type = RAFT_TRANSFER, .peer = m.from));
            }
            m.term = 7;
            OK(engine_hear(e, &m));
            assert_int_equal(raft_term(e->raft), 7);
            assert_int_equal(engine_role(e), RAFT_FOLLOWER);
            assert_int_equal(engine_status(e)->vote, 0);
            engine_collect(e);
            assert_true(e->update.persist.hard);
            assert_int_equal(e->update.persist.term, 7);
            assert_int_equal(e->update.persist.vote, 0);
            engine_free(e);
        }
    }
}

/* 3.3: a request of an earlier term is refused, and the answer carries the
 * later one. It is no sign of a leader, and no reason to wait. */
static void test_requests_of_earlier_terms_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct raft_message m;
        enum raft_message_type answer;
    } rows[] = {
        {{.type = RAFT_MSG_PREVOTE, .log_index = 9, .log_term = 4},
         RAFT_MSG_PREVOTE_RESP},
        {{.type = RAFT_MSG_VOTE, .log_index = 9, .log_term = 4},
         RAFT_MSG_VOTE_RESP},
        {{.type = RAFT_MSG_APPEND, .log_index = 2, .log_term = 1},
         RAFT_MSG_APPEND_RESP},
        {{.type = RAFT_MSG_HEARTBEAT, .round = 3}, RAFT_MSG_HEARTBEAT_RESP},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 5);
        uint64_t deadline_ms = raft_deadline_ms(e->raft);
        e->now_ms += 100;
        struct raft_message m = rows[i].m;
        m.from = 2;
        m.term = 4;
        OK(engine_hear(e, &m));
        engine_settle(e);
        const struct raft_message *answer = engine_sent(e, rows[i].answer, 2);
        assert_non_null(answer);
        assert_false(answer->granted);
        assert_int_equal(answer->term, 5);
        assert_int_equal(raft_leader(e->raft), 0);
        assert_int_equal(engine_status(e)->vote, 0);
        assert_int_equal(raft_deadline_ms(e->raft), deadline_ms);
        engine_free(e);
    }
}

/* 3.3, 3.4: an answer of an earlier term was to an earlier question. */
static void test_answers_of_earlier_terms_change_nothing(void **state)
{
    (void)state;
    static const struct raft_message stale[] = {
        {.type = RAFT_MSG_VOTE_RESP, .granted = true},
        {.type = RAFT_MSG_APPEND_RESP, .granted = true, .match = 3},
        {.type = RAFT_MSG_APPEND_RESP, .match = 2},
        {.type = RAFT_MSG_HEARTBEAT_RESP, .round = 1},
        {.type = RAFT_MSG_READ, .round = 1},
        {.type = RAFT_MSG_READ_RESP, .round = 1},
        {.type = RAFT_MSG_TIMEOUT_NOW, .log_index = 3, .log_term = 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(stale); i++) {
        for (int leads = 0; leads < 2; leads++) {
            print_message("message %zu, leads %d\n", i, leads);
            struct engine *e = ENGINE(.voters = 3, .log = {1, 1, 1}, .term = 5);
            engine_to_candidate(e);
            struct raft_message m = stale[i];
            m.from = 2;
            m.term = 5;
            m.round = m.type == RAFT_MSG_VOTE_RESP
                          ? engine_sent(e, RAFT_MSG_VOTE, 2)->round
                          : m.round;
            if (leads) {
                OK(engine_grant(e, 3));
                engine_settle(e);
            }
            uint64_t digest = engine_digest(e);
            OK(engine_hear(e, &m));
            assert_int_equal(engine_digest(e), digest);
            engine_free(e);
        }
    }
}

/* E17: adopting a term is not yet a vote in it. The candidate that brought
 * the term may have too short a log; the next one gets the vote. */
static void test_adopting_a_term_is_no_vote(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 2, .vote = 3);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 3, .term = 6, .log_index = 1,
            .log_term = 1));
    engine_settle(e);
    assert_false(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->term, 6);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 6, .log_index = 2,
            .log_term = 1));
    engine_settle(e);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted);
    engine_free(e);
}

/* E18: a refusal with a later term is adopted by the pre-candidate: a long
 * log of an old term and a short log of a new one would else refuse each
 * other for ever. A grant never brings a term. */
static void test_prevote_refusal_brings_the_term(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 2, .vote = 1);
    engine_to_precandidate(e);
    uint64_t round = engine_sent(e, RAFT_MSG_PREVOTE, 2)->round;
    OK(HEAR(e, .type = RAFT_MSG_PREVOTE_RESP, .from = 2, .term = 9,
            .round = round, .granted = true));
    assert_true(raft_term(e->raft) < 9);
    engine_free(e);

    e = ENGINE(.voters = 3, .log = {1, 1}, .term = 2, .vote = 1);
    engine_to_precandidate(e);
    OK(HEAR(e, .type = RAFT_MSG_PREVOTE_RESP, .from = 2, .term = 9));
    assert_int_equal(raft_term(e->raft), 9);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_int_equal(engine_status(e)->vote, 0);
    engine_free(e);
}

/* ---- granting votes: sections 3.4, 3.6.1 ---- */

/* 3.6.1: the voter refuses a candidate whose log is behind its own: the later
 * term of the last entries decides, then the length. The same for PREVOTE. */
static void test_votes_go_to_logs_that_are_up_to_date(void **state)
{
    (void)state;
    static const struct {
        uint64_t log[5];
        uint64_t index;
        uint64_t term;
        bool granted;
    } rows[] = {
        {{1, 1, 2, 0}, 3, 2, true},   /* The same log. */
        {{1, 1, 2, 0}, 4, 2, true},   /* Longer. */
        {{1, 1, 2, 0}, 2, 2, false},  /* Shorter. */
        {{1, 1, 2, 0}, 1, 3, true},   /* Shorter, but of a later term. */
        {{1, 1, 2, 0}, 99, 1, false}, /* Longer, but of an earlier term. */
        {{1, 1, 2, 0}, 0, 0, false},  /* Empty. */
        {{0}, 0, 0, true},            /* Both empty. */
        {{0}, 1, 1, true},
        {{1, 0}, 1, 1, true},
        {{1, 0}, 0, 0, false},
        {{3, 3, 0}, 1, 3, false},
        {{3, 3, 0}, 2, 4, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (int pre = 0; pre < 2; pre++) {
            print_message("row %zu, pre %d\n", i, pre);
            struct engine_setup setup = {.voters = 3, .term = 5};
            memcpy(setup.log, rows[i].log, sizeof(rows[i].log));
            struct engine *e = engine_new(&setup);
            OK(HEAR(e, .type = pre ? RAFT_MSG_PREVOTE : RAFT_MSG_VOTE,
                    .from = 2, .term = pre ? 5 : 6, .log_index = rows[i].index,
                    .log_term = rows[i].term, .round = 77));
            engine_settle(e);
            const struct raft_message *answer = engine_sent(
                e, pre ? RAFT_MSG_PREVOTE_RESP : RAFT_MSG_VOTE_RESP, 2);
            assert_non_null(answer);
            assert_int_equal(answer->granted, rows[i].granted);
            assert_int_equal(answer->round, 77);
            assert_int_equal(engine_status(e)->vote,
                             !pre && rows[i].granted ? 2 : 0);
            engine_free(e);
        }
    }
}

/* 3.6.1 after compaction: the last entry may be known by the snapshot only,
 * and counts all the same. */
static void test_votes_compare_with_the_snapshot(void **state)
{
    (void)state;
    static const struct {
        uint64_t index;
        uint64_t term;
        bool granted;
    } rows[] = {{7, 3, true}, {6, 3, false}, {8, 2, false}, {1, 4, true}};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.voters = 3, .base = 7, .base_term = 3, .term = 5);
        OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 6,
                .log_index = rows[i].index, .log_term = rows[i].term));
        engine_settle(e);
        assert_int_equal(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted,
                         rows[i].granted);
        engine_free(e);
    }
}

static bool vote_for(struct engine *e, raft_id from, uint64_t term)
{
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = from, .term = term,
            .log_index = 9, .log_term = 1));
    engine_settle(e);
    const struct raft_message *answer =
        engine_sent(e, RAFT_MSG_VOTE_RESP, from);
    assert_non_null(answer);
    return answer->granted;
}

/* 3.4: one vote a term, first come, first served; the one who has it may ask
 * again, since the answer may have been lost. A new term, a new vote (L2). */
static void test_one_vote_a_term(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 5, .log = {1, 1});
    assert_true(vote_for(e, 2, 3));
    assert_false(vote_for(e, 3, 3));
    assert_true(vote_for(e, 2, 3));
    assert_int_equal(engine_status(e)->vote, 2);
    assert_true(vote_for(e, 3, 4));
    assert_false(vote_for(e, 2, 4));
    assert_int_equal(engine_status(e)->vote, 3);
    engine_free(e);
}

/* 3.4: a candidate and a leader have voted for themselves. */
static void test_candidate_and_leader_keep_their_vote(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_candidate(e);
    assert_false(vote_for(e, 2, 2));
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    OK(engine_grant(e, 3));
    assert_false(vote_for(e, 2, 2));
    assert_int_equal(engine_role(e), RAFT_LEADER);
    engine_free(e);
}

/* 3.4: there is a leader in this term already, so nobody else can need a vote
 * in it, even if ours is free. */
static void test_no_vote_against_a_known_leader(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4, .round = 1));
    assert_false(vote_for(e, 3, 4));
    assert_int_equal(engine_status(e)->vote, 0);
    assert_int_equal(raft_leader(e->raft), 2);
    engine_free(e);
}

/* E13, 4.2.2: whose vote counts is for the candidate's configuration to say.
 * A learner may have been promoted and not know it, and one that is not in our
 * configuration may have been added. */
static void test_learner_and_stranger(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.self = 4, .voters = 3, .learners = 1, .log = {1, 1});
    assert_true(vote_for(e, 2, 3));
    assert_true(vote_for(e, 9, 4));
    engine_free(e);
}

/* ---- the disk first: sections 3.8, figure 3.1 ---- */

/* 3.8: term and vote are on disk before the vote is heard of; otherwise a
 * crash in between lets us vote twice. */
static void test_vote_waits_for_the_disk(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    for (int times = 0; times < 2; times++) {
        OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 3, .log_index = 2,
                .log_term = 1));
        engine_collect(e);
        assert_int_equal(e->sent_count, 0);
        /* Asked twice, written once. */
        assert_int_equal(e->update.persist.seq, times == 0 ? 1 : 0);
    }
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE_RESP), 2);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted);
    engine_free(e);
}

/* Figure 3.1: what is written is the term and the vote, once per change. */
static void test_hard_state_that_is_written(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 3, .log_index = 2,
            .log_term = 1));
    engine_collect(e);
    assert_int_equal(e->update.persist.seq, 1);
    assert_true(e->update.persist.hard);
    assert_int_equal(e->update.persist.term, 3);
    assert_int_equal(e->update.persist.vote, 2);
    assert_int_equal(e->update.persist.truncate_from, 0);
    assert_true(e->update.persist.hi < e->update.persist.lo);
    engine_settle(e);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3, .round = 1));
    engine_collect(e);
    assert_int_equal(e->update.persist.seq, 0);

    /* A vote in a term that is already on disk has to be written too. */
    OK(HEAR(e, .type = RAFT_MSG_APPEND_RESP, .from = 3, .term = 5,
            .granted = true));
    engine_settle(e);
    engine_forget(e);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 3, .term = 5, .log_index = 2,
            .log_term = 1));
    engine_collect(e);
    assert_int_equal(e->sent_count, 0);
    assert_true(e->update.persist.hard);
    assert_int_equal(e->update.persist.vote, 3);
    engine_free(e);
}

/* L1: no message carries a term that is not on disk, a refusal included. */
static void test_no_term_leaves_before_it_is_durable(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 3, .term = 8));
    OK(HEAR(e, .type = RAFT_MSG_PREVOTE, .from = 2, .term = 8));
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 8));
    engine_collect(e);
    assert_int_equal(e->sent_count, 0);
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(e->sent_count, 3);
    for (uint32_t i = 0; i < e->sent_count; i++) {
        assert_int_equal(e->sent[i].term, 8);
    }
    engine_free(e);
}

/* 3.4, 3.8: a candidate asks for votes once its own is durable. */
static void test_candidate_asks_once_its_vote_is_durable(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_precandidate(e);
    OK(engine_grant(e, 2));
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE), 0);
    assert_int_equal(e->update.persist.term, 2);
    assert_int_equal(e->update.persist.vote, 1);
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE), 2);
    engine_free(e);
}

/* 3.8, E10: a server that comes back has still voted. */
static void test_vote_survives_a_restart(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 5, .vote = 2);
    assert_false(vote_for(e, 3, 5));
    assert_true(vote_for(e, 2, 5));
    assert_int_equal(e->seq_handed, 0); /* Nothing new to write. */
    engine_free(e);
}

/* L17: what waited for the disk and belongs to a term that is over is
 * dropped; to the others it is a lost message. */
static void test_waiting_message_is_dropped_after_a_term(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 5, .log_index = 2,
            .log_term = 1));
    engine_collect(e);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 3, .term = 6, .log_index = 2,
            .log_term = 1));
    engine_collect(e);
    engine_persist(e);
    engine_collect(e);
    assert_null(engine_sent(e, RAFT_MSG_VOTE_RESP, 2));
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    engine_free(e);
}

/* The same when the role is over and the term is not: one that was about to
 * ask for votes and has found a leader asks no more. */
static void test_waiting_message_is_dropped_after_a_role(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_precandidate(e);
    OK(engine_grant(e, 2));
    engine_collect(e);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 2, .round = 1));
    engine_persist(e);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE), 0);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT_RESP), 1);
    engine_free(e);
}

/* ---- elections: section 3.4 ---- */

/* 9.6, then 3.4: after a silence first a pre-vote that changes no term; with a
 * majority for it a new term, the own vote, and a request to all others. */
static void test_election_runs_in_two_steps(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 5, .learners = 1, .log = {1, 1, 3}, .term = 4);
    engine_tick(e, raft_deadline_ms(e->raft) - e->now_ms - 1);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_to_precandidate(e);
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    assert_int_equal(raft_term(e->raft), 4);
    assert_int_equal(e->seq_handed, 0);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_PREVOTE), 4);
    assert_int_equal(engine_sent(e, RAFT_MSG_PREVOTE, 5)->term, 4);

    OK(engine_grant(e, 2));
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    OK(engine_grant(e, 3));
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    engine_settle(e);
    assert_int_equal(raft_term(e->raft), 5);
    assert_int_equal(engine_status(e)->vote, 1);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE), 4);
    assert_null(engine_sent(e, RAFT_MSG_VOTE, 6));
    const struct raft_message *vote = engine_sent(e, RAFT_MSG_VOTE, 4);
    assert_int_equal(vote->term, 5);
    assert_int_equal(vote->log_index, 3);
    assert_int_equal(vote->log_term, 3);
    assert_false(vote->transfer);
    engine_free(e);
}

/* 3.4: it takes votes of a majority of all voters, the own one included. */
static void test_majority_wins(void **state)
{
    (void)state;
    for (uint32_t voters = 2; voters <= 7; voters++) {
        print_message("%u voters\n", voters);
        struct engine *e = ENGINE(.voters = voters, .log = {1});
        engine_to_candidate(e);
        for (uint32_t votes = 1; votes * 2 <= voters; votes++) {
            assert_int_equal(engine_role(e), RAFT_CANDIDATE);
            OK(engine_grant(e, votes + 1));
        }
        assert_int_equal(engine_role(e), RAFT_LEADER);
        engine_free(e);
    }
}

/* 3.4: what is not a vote. One voter counts once, a refusal not at all, nor a
 * learner, a stranger, or an answer to another round; and a granted PREVOTE is
 * no vote, nor a vote a granted PREVOTE (9.6). */
static void test_what_is_not_a_vote(void **state)
{
    (void)state;
    for (int pre = 0; pre < 2; pre++) {
        struct engine *e = ENGINE(.voters = 5, .learners = 1, .log = {1, 1});
        if (pre) {
            engine_to_precandidate(e);
        } else {
            engine_to_candidate(e);
        }
        enum raft_role role = pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE;
        enum raft_message_type right =
            pre ? RAFT_MSG_PREVOTE_RESP : RAFT_MSG_VOTE_RESP;
        enum raft_message_type wrong =
            pre ? RAFT_MSG_VOTE_RESP : RAFT_MSG_PREVOTE_RESP;
        uint64_t term = raft_term(e->raft);
        uint64_t round =
            engine_sent(e, pre ? RAFT_MSG_PREVOTE : RAFT_MSG_VOTE, 2)->round;
        const struct raft_message not_votes[] = {
            {.type = right, .from = 2, .round = round, .granted = true},
            {.type = right, .from = 2, .round = round, .granted = true},
            {.type = right, .from = 3, .round = round},
            {.type = right, .from = 6, .round = round, .granted = true},
            {.type = right, .from = 9, .round = round, .granted = true},
            {.type = right, .from = 3, .round = round - 1, .granted = true},
            {.type = right, .from = 3, .round = round + 1, .granted = true},
            {.type = wrong, .from = 3, .round = round, .granted = true},
            {.type = wrong, .from = 4, .round = round, .granted = true},
        };
        for (size_t i = 0; i < ARRAY_COUNT(not_votes); i++) {
            print_message("pre %d, message %zu\n", pre, i);
            struct raft_message m = not_votes[i];
            m.term = term;
            assert_int_equal(engine_hear(e, &m),
                             m.from == 9 ? ERR_NOT_FOUND : ERR_OK);
            assert_int_equal(engine_role(e), role);
        }
        OK(engine_grant(e, 5));
        assert_int_not_equal(engine_role(e), role);
        engine_free(e);
    }
}

/* 3.4: a split vote ends with the timeout: a new election, in a later term,
 * whose answers the old ones are not. */
static void test_split_vote_starts_over(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_candidate(e);
    uint64_t term = raft_term(e->raft);
    struct raft_message late = {.type = RAFT_MSG_VOTE_RESP,
                                .from = 2,
                                .term = term,
                                .round =
                                    engine_sent(e, RAFT_MSG_VOTE, 2)->round,
                                .granted = true};
    engine_forget(e);
    engine_to_precandidate(e);
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    assert_int_equal(raft_term(e->raft), term);
    OK(engine_hear(e, &late));
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    OK(engine_grant(e, 3));
    engine_settle(e);
    assert_int_equal(raft_term(e->raft), term + 1);
    OK(engine_hear(e, &late));
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    engine_free(e);
}

/* 3.4: a candidate that hears the leader of its term follows it. */
static void test_candidate_follows_the_winner(void **state)
{
    (void)state;
    for (int append = 0; append < 2; append++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
        engine_to_candidate(e);
        uint64_t term = raft_term(e->raft);
        OK(HEAR(e, .type = append ? RAFT_MSG_APPEND : RAFT_MSG_HEARTBEAT,
                .from = 3, .term = term, .round = 1));
        assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        assert_int_equal(raft_leader(e->raft), 3);
        assert_int_equal(raft_term(e->raft), term);
        assert_int_equal(engine_status(e)->vote, 1); /* Given is given. */
        OK(engine_grant(e, 2));
        assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        engine_free(e);
    }
}

/* 3.4, 6.4: a leader says so at once to all, and begins its term with an
 * entry of its own. Figure 3.1: it knows nothing of its peers' logs yet. */
static void test_new_leader(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .learners = 1, .log = {1, 1});
    engine_to_leader(e);
    uint64_t first;
    uint64_t last;
    raft_appended(e->raft, &first, &last);
    assert_int_equal(first, 3);
    assert_int_equal(last, 3);
    assert_true(engine_log_is(e, TERMS(1, 1, 2)));
    assert_int_equal(raft_leader(e->raft), 1);
    assert_false(engine_status(e)->leader_ready);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 3);
    assert_int_equal(engine_sent(e, RAFT_MSG_HEARTBEAT, 4)->commit, 0);
    assert_int_equal(engine_peer(e, 2)->match, 0);
    assert_int_equal(engine_peer(e, 2)->next, 3);
    assert_int_equal(engine_peer(e, 2)->state, RAFT_PEER_PROBE);
    engine_free(e);
}

/* 3.4: heartbeats keep the others from electing; each is a new round. */
static void test_leader_repeats_its_heartbeat(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    uint64_t round = 0;
    for (int i = 0; i < 5; i++) {
        assert_true(raft_deadline_ms(e->raft) <=
                    e->now_ms + ENGINE_HEARTBEAT_MS);
        engine_pass(e, ENGINE_HEARTBEAT_MS, PEERS(2, 3));
        assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 2);
        assert_true(engine_sent(e, RAFT_MSG_HEARTBEAT, 2)->round > round);
        round = engine_sent(e, RAFT_MSG_HEARTBEAT, 2)->round;
        engine_forget(e);
    }
    engine_free(e);
}

/* 3.4: only the leader of this term, or a vote that was given, resets the
 * election timer. Who merely asks must not keep us from asking. */
static void test_what_resets_the_election_timer(void **state)
{
    (void)state;
    static const struct {
        struct raft_message m;
        bool resets;
    } rows[] = {
        {{.type = RAFT_MSG_HEARTBEAT, .term = 5}, true},
        {{.type = RAFT_MSG_APPEND, .term = 5}, true},
        {{.type = RAFT_MSG_APPEND, .term = 5, .log_index = 8, .log_term = 2},
         true}, /* Refused, but its sender leads. */
        {{.type = RAFT_MSG_VOTE, .term = 5, .log_index = 2, .log_term = 1},
         true},
        {{.type = RAFT_MSG_VOTE, .term = 5, .log_index = 1, .log_term = 1},
         false},
        {{.type = RAFT_MSG_VOTE, .term = 6, .log_index = 1, .log_term = 1},
         false},
        {{.type = RAFT_MSG_PREVOTE, .term = 5, .log_index = 2, .log_term = 1},
         false},
        {{.type = RAFT_MSG_HEARTBEAT, .term = 4}, false},
        {{.type = RAFT_MSG_APPEND, .term = 4}, false},
        {{.type = RAFT_MSG_APPEND_RESP, .term = 7}, false},
        {{.type = RAFT_MSG_READ, .term = 5, .round = 1}, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 5);
        uint64_t deadline_ms = raft_deadline_ms(e->raft);
        e->now_ms = deadline_ms - 1; /* A reset must move it. */
        struct raft_message m = rows[i].m;
        m.from = 3;
        OK(engine_hear(e, &m));
        if (rows[i].resets) {
            assert_true(raft_deadline_ms(e->raft) >=
                        e->now_ms + ENGINE_ELECTION_MS);
        } else {
            assert_int_equal(raft_deadline_ms(e->raft), deadline_ms);
        }
        engine_free(e);
    }
}

/* 3.4: timeouts are drawn from a range, anew every time, or split votes would
 * repeat for ever. */
static void test_election_timeouts_are_spread(void **state)
{
    (void)state;
    bool seen[ENGINE_ELECTION_MS] = {0};
    uint32_t distinct = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1}, .seed = seed);
        for (int i = 0; i < 10; i++) {
            uint64_t wait_ms = raft_deadline_ms(e->raft) - e->now_ms;
            assert_true(wait_ms >= ENGINE_ELECTION_MS);
            assert_true(wait_ms < 2 * ENGINE_ELECTION_MS);
            distinct += !seen[wait_ms - ENGINE_ELECTION_MS];
            seen[wait_ms - ENGINE_ELECTION_MS] = true;
            engine_to_precandidate(e);
            engine_forget(e);
        }
        engine_free(e);
    }
    assert_true(distinct > 150); /* 181 are to be expected of 200. */
}

/* 3.4: alone, one is a majority; nobody to ask, nothing to wait for. But what
 * it commits is what its disk holds, and nobody hears of its term before that
 * (L1). */
static void test_sole_voter_elects_itself(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 1, .observers = 1, .log = {1, 1});
    assert_int_equal(raft_deadline_ms(e->raft), e->now_ms);
    engine_tick(e, 0);
    assert_int_equal(engine_role(e), RAFT_LEADER);
    assert_int_equal(raft_term(e->raft), 2);
    engine_collect(e);
    assert_int_equal(raft_commit(e->raft), 0);
    assert_int_equal(e->sent_count, 0);
    assert_null(engine_offer(e, 2));
    engine_persist(e);
    assert_int_equal(raft_commit(e->raft), 3);
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 1);
    assert_non_null(engine_offer(e, 2));
    engine_free(e);
}

/* 4.2.1, L14: neither a learner, nor an observer, nor one that is in no
 * configuration campaigns, however long it hears nobody. */
static void test_only_voters_campaign(void **state)
{
    (void)state;
    for (raft_id self = 3; self <= 5; self++) {
        struct engine *e = ENGINE(.self = self, .voters = 2, .learners = 1,
                                  .observers = 1, .log = {1, 1});
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1));
        for (int i = 0; i < 5; i++) {
            engine_to_precandidate(e);
            assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        }
        assert_int_equal(engine_sent_count(e, RAFT_MSG_PREVOTE), 0);
        assert_int_equal(raft_term(e->raft), 1);
        assert_int_equal(raft_leader(e->raft), 0); /* It knows that much. */
        engine_free(e);
    }
}

/* ---- pre-vote and stickiness: sections 9.6, 4.2.3 ---- */

/* 9.6: a PREVOTE asks what would be. Granting it costs nothing: no term, no
 * vote, no timer, nothing to write; and it can be granted to many. */
static void test_prevote_changes_nothing(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 5, .log = {1, 1}, .term = 4);
    uint64_t deadline_ms = raft_deadline_ms(e->raft);
    e->now_ms += 500;
    for (raft_id from = 2; from <= 5; from++) {
        uint64_t term = from == 5 ? 9 : 4;
        OK(HEAR(e, .type = RAFT_MSG_PREVOTE, .from = from, .term = term,
                .log_index = 2, .log_term = 1));
    }
    engine_collect(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_PREVOTE_RESP), 4);
    for (uint32_t i = 0; i < e->sent_count; i++) {
        assert_true(e->sent[i].granted);
        assert_int_equal(e->sent[i].term, 4);
    }
    assert_int_equal(e->update.persist.seq, 0);
    assert_int_equal(raft_term(e->raft), 4);
    assert_int_equal(engine_status(e)->vote, 0);
    assert_int_equal(raft_deadline_ms(e->raft), deadline_ms);
    engine_free(e);
}

/* 9.6: pre-candidates help each other, and give way to one that got on. */
static void test_precandidate_gives_way(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_precandidate(e);
    OK(HEAR(e, .type = RAFT_MSG_PREVOTE, .from = 2, .term = 1, .log_index = 2,
            .log_term = 1));
    engine_settle(e);
    assert_true(engine_sent(e, RAFT_MSG_PREVOTE_RESP, 2)->granted);
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    assert_true(vote_for(e, 2, 2));
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_free(e);
}

static void ask_both(struct engine *e, uint64_t term, bool transfer)
{
    engine_forget(e);
    OK(HEAR(e, .type = RAFT_MSG_PREVOTE, .from = 3, .term = term,
            .log_index = 9, .log_term = term));
    engine_settle(e);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 3, .term = term + 1,
            .log_index = 9, .log_term = term, .transfer = transfer));
    engine_settle(e);
}

/* 4.2.3: whoever heard the leader within the shortest election timeout helps
 * nobody against it, and does not adopt the disturber's term either. */
static void test_follower_sticks_to_its_leader(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    e->now_ms += ENGINE_ELECTION_MS - 1;
    ask_both(e, 4, false);
    assert_false(engine_sent(e, RAFT_MSG_PREVOTE_RESP, 3)->granted);
    assert_false(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(raft_term(e->raft), 4);
    assert_int_equal(raft_leader(e->raft), 2);

    e->now_ms += 1;
    ask_both(e, 4, false);
    assert_true(engine_sent(e, RAFT_MSG_PREVOTE_RESP, 3)->granted);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(raft_term(e->raft), 5);
    engine_free(e);
}

/* 4.2.3, 3.10: the leader itself asked for this election, so stickiness does
 * not stand against it. The rules of voting still do. */
static void test_transfer_overrides_stickiness(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    ask_both(e, 4, true);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(raft_term(e->raft), 5);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 6, .log_index = 1,
            .log_term = 1, .transfer = true));
    engine_settle(e);
    assert_false(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted);
    engine_free(e);
}

/* 4.2.3: a leader that a majority answers is not disturbed by one that cannot
 * hear it; one that has lost them gives way. */
static void test_leader_with_a_quorum_is_not_disturbed(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    engine_pass(e, 3000, PEERS(2));
    ask_both(e, 7, false);
    assert_false(engine_sent(e, RAFT_MSG_PREVOTE_RESP, 3)->granted);
    assert_false(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(engine_role(e), RAFT_LEADER);
    assert_int_equal(raft_term(e->raft), 2);

    e->now_ms += ENGINE_ELECTION_MS; /* There was no tick since. */
    ask_both(e, 7, false);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 3)->granted);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_free(e);
}

/* After a pause, silence proves nothing: the messages may be waiting to be
 * read. The wait begins anew. */
static void test_gap_starts_the_wait_anew(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    e->now_ms += 60000;
    OK(STEP(e, .type = RAFT_GAP));
    engine_tick(e, ENGINE_ELECTION_MS - 1);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_to_precandidate(e);
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    engine_free(e);
}

/* ---- stepping down: section 6.2 ---- */

/* 6.2: a leader that a majority has not answered for an election timeout steps
 * down, and is silent: its heartbeats would keep the others from electing. */
static void test_leader_without_quorum_steps_down(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 5, .learners = 1, .log = {1, 1});
    engine_pass(e, 5000, PEERS(2, 3));
    assert_int_equal(engine_role(e), RAFT_LEADER);
    engine_pass(e, ENGINE_ELECTION_MS - 100, PEERS(2, 6));
    assert_int_equal(engine_role(e), RAFT_LEADER);
    engine_tick(e, 100);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(e->raft), 0);
    /* Nobody can tell it that it was deposed before that. */
    assert_int_equal(engine_status(e)->leader_contact_ms,
                     e->now_ms - ENGINE_ELECTION_MS);
    engine_settle(e);
    engine_forget(e);
    engine_tick(e, 200);
    engine_settle(e);
    assert_int_equal(e->sent_count, 0);
    assert_int_equal(e->update.offer_count, 0);
    engine_free(e);
}

/* 6.2: contact counts from when the question was sent. An answer that was
 * long on its way proves what was, not what is. */
static void test_contact_is_a_time_of_sending(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    engine_tick(e, 100);
    engine_settle(e);
    struct raft_message first = *engine_sent(e, RAFT_MSG_HEARTBEAT, 2);
    uint64_t since_ms = e->now_ms;
    while (engine_role(e) == RAFT_LEADER) {
        assert_true(e->now_ms <= since_ms + ENGINE_ELECTION_MS);
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2,
                .term = first.term, .round = first.round,
                .sent_ms = first.sent_ms));
        engine_tick(e, 100);
        engine_settle(e);
    }
    assert_int_equal(e->now_ms, since_ms + ENGINE_ELECTION_MS);
    engine_free(e);
}

/* 6.2 for disks: a leader whose disk hangs commits nothing, so it makes room,
 * and does not campaign before its disk is back. */
static void test_stalled_disk_is_no_leader(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_collect(e); /* Handed out, and never heard of again. */
    for (uint64_t ms = 0; ms < ENGINE_STALL_MS; ms += 100) {
        engine_tick(e, 100);
        engine_collect(e);
        assert_int_equal(engine_role(e), RAFT_LEADER);
        OK(engine_answer(e, 2));
    }
    engine_tick(e, 1);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    for (int i = 0; i < 3; i++) {
        e->now_ms = raft_deadline_ms(e->raft);
        engine_tick(e, 0);
        assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    }
    engine_persist(e);
    engine_to_precandidate(e);
    assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
    engine_free(e);
}

/* ---- bounds, determinism ---- */

/* L15: a flood of questions finds bounded queues; what does not fit is a lost
 * message, and afterwards there is room again. */
static void test_message_queues_are_bounded(void **state)
{
    (void)state;
    for (int gated = 0; gated < 2; gated++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
        for (int i = 0; i < 2 * RAFT_MESSAGES_MAX; i++) {
            OK(HEAR(e, .type = gated ? RAFT_MSG_VOTE : RAFT_MSG_PREVOTE,
                    .from = 2, .term = 5, .log_index = 2, .log_term = 1));
        }
        engine_settle(e);
        assert_int_equal(e->sent_count, RAFT_MESSAGES_MAX);
        engine_forget(e);
        assert_true(vote_for(e, 2, 5));
        engine_free(e);
    }
}

/* The engine is a function of what it is told: the same events, the same
 * state; another seed, another one. */
static void test_same_events_same_digest(void **state)
{
    (void)state;
    uint64_t digests[3];
    for (int i = 0; i < 3; i++) {
        struct engine *e =
            READY(.voters = 3, .log = {1, 1}, .seed = i == 2 ? 8 : 7);
        engine_pass(e, 700, PEERS(2, 3));
        OK(STEP(e, .type = RAFT_PROPOSE));
        engine_catch_up(e);
        digests[i] = engine_digest(e);
        engine_free(e);
    }
    assert_int_equal(digests[0], digests[1]);
    assert_int_not_equal(digests[0], digests[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_as_silent_follower),
        cmocka_unit_test(test_later_term_is_adopted),
        cmocka_unit_test(test_requests_of_earlier_terms_are_refused),
        cmocka_unit_test(test_answers_of_earlier_terms_change_nothing),
        cmocka_unit_test(test_adopting_a_term_is_no_vote),
        cmocka_unit_test(test_prevote_refusal_brings_the_term),
        cmocka_unit_test(test_votes_go_to_logs_that_are_up_to_date),
        cmocka_unit_test(test_votes_compare_with_the_snapshot),
        cmocka_unit_test(test_one_vote_a_term),
        cmocka_unit_test(test_candidate_and_leader_keep_their_vote),
        cmocka_unit_test(test_no_vote_against_a_known_leader),
        cmocka_unit_test(test_learner_and_stranger),
        cmocka_unit_test(test_vote_waits_for_the_disk),
        cmocka_unit_test(test_hard_state_that_is_written),
        cmocka_unit_test(test_no_term_leaves_before_it_is_durable),
        cmocka_unit_test(test_candidate_asks_once_its_vote_is_durable),
        cmocka_unit_test(test_vote_survives_a_restart),
        cmocka_unit_test(test_waiting_message_is_dropped_after_a_term),
        cmocka_unit_test(test_waiting_message_is_dropped_after_a_role),
        cmocka_unit_test(test_election_runs_in_two_steps),
        cmocka_unit_test(test_majority_wins),
        cmocka_unit_test(test_what_is_not_a_vote),
        cmocka_unit_test(test_split_vote_starts_over),
        cmocka_unit_test(test_candidate_follows_the_winner),
        cmocka_unit_test(test_new_leader),
        cmocka_unit_test(test_leader_repeats_its_heartbeat),
        cmocka_unit_test(test_what_resets_the_election_timer),
        cmocka_unit_test(test_election_timeouts_are_spread),
        cmocka_unit_test(test_sole_voter_elects_itself),
        cmocka_unit_test(test_only_voters_campaign),
        cmocka_unit_test(test_prevote_changes_nothing),
        cmocka_unit_test(test_precandidate_gives_way),
        cmocka_unit_test(test_follower_sticks_to_its_leader),
        cmocka_unit_test(test_transfer_overrides_stickiness),
        cmocka_unit_test(test_leader_with_a_quorum_is_not_disturbed),
        cmocka_unit_test(test_gap_starts_the_wait_anew),
        cmocka_unit_test(test_leader_without_quorum_steps_down),
        cmocka_unit_test(test_contact_is_a_time_of_sending),
        cmocka_unit_test(test_stalled_disk_is_no_leader),
        cmocka_unit_test(test_message_queues_are_bounded),
        cmocka_unit_test(test_same_events_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
