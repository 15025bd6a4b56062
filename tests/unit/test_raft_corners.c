/* test_raft_corners.c -- what hardly ever happens: full queues, events that
 * come a moment late, snapshots over logs that are not yet on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/engine.h"

static enum err change(struct engine *e, enum raft_change_type type,
                       struct raft_member member)
{
    struct raft_change c = {.type = type, .member = member};
    return STEP(e, .type = RAFT_CHANGE, .change = &c);
}

static enum err installed(struct engine *e, uint64_t index, uint64_t term)
{
    static struct raft_conf conf;
    engine_conf(&conf, 3, 0, 0);
    return STEP(e, .type = RAFT_INSTALLED, .index = index, .term = term,
                .conf = &conf);
}

/* ---- campaigns without a time-out ---- */

/* Only the one that can elect itself. */
static void test_a_learner_of_one_voter_does_not_campaign(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.self = 2, .voters = 1, .learners = 1, .log = {1});
    OK(STEP(e, .type = RAFT_GAP));
    engine_tick(e, 1);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_tick(e, 3 * ENGINE_ELECTION_MS);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_free(e);
}

/* The leader took itself out, and leads until that is committed: the last
 * voter does not push it aside. */
static void test_the_last_voter_waits_while_a_leader_leaves(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 2, .log = {1, 1}, .applied = 2);
    struct raft_conf alone;
    engine_conf(&alone, 1, 0, 0);
    OK(APPEND(e, .from = 2, .term = 1, .prev = 2, .prev_term = 1, .commit = 2,
              .terms = {1}, .conf = &alone));
    engine_settle(e);
    OK(STEP(e, .type = RAFT_GAP));
    engine_tick(e, 1);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_int_equal(engine_status(e)->leader, 2);
    engine_tick(e, 2 * ENGINE_ELECTION_MS);
    engine_settle(e);
    assert_int_equal(engine_role(e), RAFT_LEADER);
    engine_free(e);
}

/* Its own vote does not get to the disk: others are better candidates. */
static void test_a_candidate_with_a_hanging_disk_gives_up(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    engine_to_precandidate(e);
    OK(engine_grant(e, 2));
    engine_collect(e); /* Handed to a disk that does not answer. */
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    assert_null(engine_sent(e, RAFT_MSG_VOTE, 0));
    engine_tick(e, 2 * ENGINE_ELECTION_MS);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_free(e);
}

/* It asks whether it could win in term 3, and is asked for its vote in 2. */
static void test_a_precandidate_may_vote(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .term = 2, .log = {1, 1});
    engine_to_precandidate(e);
    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 2, .round = 1,
            .log_index = 2, .log_term = 1));
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_settle(e);
    assert_int_equal(engine_status(e)->vote, 2);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted);
    engine_free(e);
}

/* ---- members ---- */

/* An observer is promoted by hand only: caught up, connected, and close. */
static void test_promotion_by_hand(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .observers = 1, .log = {1, 1},
                             .uncommitted_max = 2 * RAFT_APPEND_ENTRIES_MAX);
    assert_int_equal(
        change(e, RAFT_CHANGE_PROMOTE, (struct raft_member){.id = 4}),
        ERR_BUSY);
    for (int i = 0; i < 4; i++) {
        OK(STEP(e, .type = RAFT_PROPOSE));
        engine_settle(e);
        engine_catch_up(e);
        OK(HEAR(e, .type = RAFT_MSG_APPEND_RESP, .from = 4,
                .term = engine_status(e)->term, .match = raft_last(e->raft),
                .granted = true, .sent_ms = e->now_ms));
    }
    /* The link breaks. */
    OK(STEP(e, .type = RAFT_PEER_DOWN, .peer = 4));
    assert_int_equal(
        change(e, RAFT_CHANGE_PROMOTE, (struct raft_member){.id = 4}),
        ERR_BUSY);
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 4));
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 4)); /* A newer link. */
    OK(HEAR(e, .type = RAFT_MSG_APPEND_RESP, .from = 4,
            .term = engine_status(e)->term, .match = raft_last(e->raft),
            .granted = true, .sent_ms = e->now_ms));
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 4));
    /* It falls behind. */
    for (int i = 0; i < RAFT_APPEND_ENTRIES_MAX + 1; i++) {
        OK(STEP(e, .type = RAFT_PROPOSE));
    }
    engine_settle(e);
    engine_catch_up(e);
    assert_int_equal(
        change(e, RAFT_CHANGE_PROMOTE, (struct raft_member){.id = 4}),
        ERR_BUSY);
    OK(HEAR(e, .type = RAFT_MSG_APPEND_RESP, .from = 4,
            .term = engine_status(e)->term, .match = raft_last(e->raft),
            .granted = true, .sent_ms = e->now_ms));
    OK(change(e, RAFT_CHANGE_PROMOTE, (struct raft_member){.id = 4}));
    assert_int_equal(raft_conf_find(raft_conf_active(e->raft), 4)->suffrage,
                     RAFT_VOTER);
    engine_free(e);
}

/* Any of the addresses may change; text must end. */
static void test_updates_of_addresses(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    struct raft_member member = {.id = 2, .suffrage = RAFT_VOTER};
    memset(member.http, 'h', sizeof(member.http));
    assert_int_equal(change(e, RAFT_CHANGE_UPDATE, member), ERR_INVALID);
    memset(member.http, 0, sizeof(member.http));
    member.http[0] = 'h';
    OK(change(e, RAFT_CHANGE_UPDATE, member));
    engine_catch_up(e);
    assert_int_equal(change(e, RAFT_CHANGE_UPDATE, member), ERR_EXISTS);
    member.addr[0] = 'a';
    OK(change(e, RAFT_CHANGE_UPDATE, member));
    engine_free(e);
}

/* Entries behind its own removal are still committed by the leader; it has
 * left only once, and takes nothing new. */
static void test_a_leader_that_leaves_commits_what_follows(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(change(e, RAFT_CHANGE_REMOVE, (struct raft_member){.id = 1}));
    uint64_t removal = raft_last(e->raft);
    OK(STEP(e, .type = RAFT_PROPOSE));
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_settle(e);
    OK(engine_ack(e, 2, removal));
    OK(engine_ack(e, 3, removal));
    assert_int_equal(engine_status(e)->commit, removal);
    assert_int_equal(STEP(e, .type = RAFT_PROPOSE), ERR_BUSY);
    assert_int_equal(STEP(e, .type = RAFT_TRANSFER), ERR_BUSY);
    OK(engine_ack(e, 2, removal + 1));
    OK(engine_ack(e, 3, removal + 1));
    assert_int_equal(engine_status(e)->commit, removal + 1);
    assert_int_equal(engine_role(e), RAFT_LEADER);
    OK(engine_ack(e, 2, removal + 2));
    OK(engine_ack(e, 3, removal + 2));
    engine_collect(e);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 1);
    engine_free(e);
}

/* A removed peer's last words, and events of links to it and to ourselves. */
static void test_words_of_the_removed(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .observers = 1, .log = {1, 1});
    OK(change(e, RAFT_CHANGE_REMOVE, (struct raft_member){.id = 4}));
    engine_catch_up(e);
    uint64_t digest = engine_digest(e);
    REFUSED(e, ERR_NOT_FOUND,
            HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 4,
                 .term = engine_status(e)->term, .round = 1));
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 4));
    OK(STEP(e, .type = RAFT_PEER_DOWN, .peer = 1));
    OK(STEP(e, .type = RAFT_SNAPSHOT_SENT, .peer = 2, .index = 1));
    /* Nobody orders a leader to campaign. */
    OK(HEAR(e, .type = RAFT_MSG_TIMEOUT_NOW, .from = 2,
            .term = engine_status(e)->term, .log_index = raft_last(e->raft),
            .log_term = engine_status(e)->term));
    struct raft_message m;
    assert_false(raft_make_append(e->raft, 4, 1, 1, e->now_ms, &m));
    assert_int_equal(engine_digest(e), digest);
    engine_free(e);
}

/* ---- logs that begin later ---- */

/* The whole of it is another leader's. */
static void test_truncation_down_to_the_base(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .base = 5, .base_term = 1, .log = {2, 2});
    OK(APPEND(e, .from = 2, .term = 3, .prev = 5, .prev_term = 1,
              .terms = {3}));
    engine_settle(e);
    assert_true(engine_log_is(e, TERMS(3)));
    assert_int_equal(engine_sent(e, RAFT_MSG_APPEND_RESP, 2)->match, 6);
    engine_free(e);
}

/* A late append that begins before the log does. */
static void test_an_append_from_before_the_base(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .term = 2, .base = 5, .base_term = 1,
                              .log = {1, 1}, .applied = 6);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 3, .prev_term = 1, .commit = 7,
              .terms = {1, 1, 1, 1, 2}));
    engine_settle(e);
    assert_true(engine_log_is(e, TERMS(1, 1, 2)));
    assert_int_equal(engine_sent(e, RAFT_MSG_APPEND_RESP, 2)->match, 8);
    /* An append of an old term is refused; a compacted entry has no term. */
    engine_forget(e);
    OK(APPEND(e, .from = 3, .term = 1, .prev = 3, .prev_term = 1,
              .terms = {1}));
    engine_settle(e);
    const struct raft_message *no = engine_sent(e, RAFT_MSG_APPEND_RESP, 3);
    assert_false(no->granted);
    assert_int_equal(no->log_index, 3);
    assert_int_equal(no->log_term, 0);
    engine_free(e);
}

/* Compacted just where a term ends: what remains is the next term's (R14). */
static void test_compaction_at_the_end_of_a_term(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .log = {1, 1, 2, 2, 3}, .applied = 4);
    OK(STEP(e, .type = RAFT_COMPACTED, .index = 2));
    assert_true(engine_log_is(e, TERMS(2, 2, 3)));
    assert_int_equal(raft_term_at(e->raft, 2), 1);
    OK(STEP(e, .type = RAFT_COMPACTED, .index = 3));
    assert_true(engine_log_is(e, TERMS(2, 3)));
    OK(STEP(e, .type = RAFT_COMPACTED, .index = 4));
    assert_true(engine_log_is(e, TERMS(3)));
    /* Cut, and begun again behind the base. */
    OK(APPEND(e, .from = 2, .term = 4, .prev = 4, .prev_term = 2,
              .terms = {4}));
    assert_true(engine_log_is(e, TERMS(4)));
    engine_free(e);
}

static void test_no_configuration_at_0(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.self = 1);
    assert_null(raft_conf_at(e->raft, 0));
    engine_free(e);
}

/* ---- snapshots ---- */

/* One that matches a log of which the end is still on its way to the disk. */
static void test_a_snapshot_over_an_unwritten_log(void **state)
{
    (void)state;
    /* Pending operations start after it, at it, before it. */
    for (uint64_t index = 3; index <= 6; index++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 2);
        OK(APPEND(e, .from = 2, .term = 1, .prev = 2, .prev_term = 1,
                  .commit = 2, .terms = {1, 1}));
        engine_settle(e);
        OK(APPEND(e, .from = 2, .term = 1, .prev = 4, .prev_term = 1,
                  .commit = 2, .terms = {1, 1}));
        OK(installed(e, index, 1));
        engine_collect(e);
        assert_int_equal(engine_status(e)->applied, index);
        assert_int_equal(engine_status(e)->last, 6);
        /* Only what it does not vouch for is written. */
        bool writes = e->update.persist.seq != 0;
        assert_int_equal(writes, index < 6);
        if (writes) {
            assert_int_equal(e->update.persist.lo, max_u64(index + 1, 5));
        }
        engine_settle(e);
        assert_int_equal(engine_status(e)->durable, 6);
        engine_free(e);
    }
}

static void test_a_snapshot_that_contradicts(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1, 1});
    OK(APPEND(e, .from = 2, .term = 1, .prev = 3, .prev_term = 1, .commit = 3,
              .terms = {1}));
    REFUSED(e, ERR_INVALID, installed(e, 3, 2));
    /* News of a transfer, to one that leads no more. */
    OK(STEP(e, .type = RAFT_SNAPSHOT_SENT, .peer = 2, .index = 1));
    engine_free(e);
}

/* Two followers are behind the log: one after the other is told of, and none
 * whose link is down. An ack from before the log helps nobody. */
static void test_two_followers_behind_the_log(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 5, .log = {1, 1, 1, 1});
    engine_to_leader(e);
    engine_settle(e);
    OK(engine_ack(e, 2, 5));
    OK(engine_ack(e, 3, 5));
    engine_settle(e);
    OK(STEP(e, .type = RAFT_PEER_DOWN, .peer = 5));
    OK(STEP(e, .type = RAFT_COMPACTED, .index = 4));
    for (raft_id id = 4; id <= 5; id++) { /* Both probes are refused. */
        OK(engine_refuse(e, id, engine_peer(e, id)->next - 1, 1, 1));
    }
    engine_forget(e);
    engine_collect(e);
    assert_int_equal(e->update.snapshot_peer, 4);
    engine_collect(e);
    assert_int_equal(e->update.snapshot_peer, 0);
    OK(STEP(e, .type = RAFT_PEER_UP, .peer = 5));
    OK(engine_ack(e, 4, 2));
    assert_int_equal(engine_peer(e, 4)->state, RAFT_PEER_SNAPSHOT);
    struct raft_message m;
    assert_false(raft_make_append(e->raft, 4, 5, 5, e->now_ms, &m));
    engine_tick(e, ENGINE_HEARTBEAT_MS);
    engine_collect(e);
    assert_int_equal(e->update.snapshot_peer, 5);
    OK(engine_ack(e, 4, 5));
    assert_int_equal(engine_peer(e, 4)->state, RAFT_PEER_REPLICATE);
    engine_free(e);
}

/* ---- full queues ---- */

/* The disk does not answer, the leader goes on sending: nothing is acked that
 * is not on disk, and the rest waits in the log. */
static void test_more_writes_than_the_disk_takes(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1}, .applied = 1);
    enum { APPENDS = 80 };
    uint32_t handed = 0;
    for (uint64_t i = 1; i <= APPENDS; i++) {
        OK(APPEND(e, .from = 2, .term = 1, .prev = i, .prev_term = 1,
                  .commit = i, .terms = {1}));
        engine_collect(e);
        handed += e->update.persist.seq != 0;
        assert_null(engine_sent(e, RAFT_MSG_APPEND_RESP, 2));
    }
    assert_true(handed < APPENDS);
    assert_int_equal(engine_status(e)->durable, 1);
    engine_persist_to(e, 1);
    engine_collect(e);
    assert_int_equal(engine_sent(e, RAFT_MSG_APPEND_RESP, 2)->match, 2);
    engine_settle(e);
    assert_int_equal(engine_sent(e, RAFT_MSG_APPEND_RESP, 2)->match,
                     1 + APPENDS);
    assert_int_equal(engine_status(e)->durable, 1 + APPENDS);
    engine_free(e);
}

/* More answers wait for the disk than one update has room for. */
static void test_more_messages_than_an_update_takes(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(APPEND(e, .from = 2, .term = 2, .prev = 2, .prev_term = 1,
              .terms = {2}));
    engine_collect(e); /* Term 2 is on its way to the disk. */
    enum { ASKED = RAFT_MESSAGES_MAX };
    for (uint32_t i = 0; i < ASKED; i++) {
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2,
                .round = i + 1));
    }
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT_RESP), 0);
    engine_persist(e);
    for (uint32_t i = 0; i < 10; i++) {
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2,
                .round = ASKED + i));
    }
    engine_collect(e);
    assert_int_equal(e->update.message_count, RAFT_MESSAGES_MAX);
    engine_collect(e);
    /* Some are lost, as on a network; never the order. */
    uint64_t round = 0;
    for (uint32_t i = 0; i < e->sent_count; i++) {
        if (e->sent[i].type == RAFT_MSG_HEARTBEAT_RESP) {
            assert_true(e->sent[i].round >= round);
            round = e->sent[i].round;
        }
    }
    engine_free(e);
}

/* In one turn an append is taken, then another leader's is refused: the first
 * one gets no answer that would speak for the new term. */
static void test_an_ack_of_an_old_term_is_not_sent(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    OK(APPEND(e, .from = 2, .term = 1, .prev = 2, .prev_term = 1,
              .terms = {1}));
    OK(APPEND(e, .from = 3, .term = 2, .prev = 9, .prev_term = 2,
              .terms = {2}));
    engine_settle(e);
    assert_null(engine_sent(e, RAFT_MSG_APPEND_RESP, 2));
    assert_false(engine_sent(e, RAFT_MSG_APPEND_RESP, 3)->granted);
    engine_free(e);
}

/* Two engines in the same state have the same digest, windows included. */
static void test_the_digest_sees_the_window(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_collect(e);
    uint64_t before = engine_digest(e);
    struct raft_message m;
    assert_true(engine_send_append(e, 2, 1, &m));
    assert_int_not_equal(engine_digest(e), before);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_learner_of_one_voter_does_not_campaign),
        cmocka_unit_test(test_the_last_voter_waits_while_a_leader_leaves),
        cmocka_unit_test(test_a_candidate_with_a_hanging_disk_gives_up),
        cmocka_unit_test(test_a_precandidate_may_vote),
        cmocka_unit_test(test_promotion_by_hand),
        cmocka_unit_test(test_updates_of_addresses),
        cmocka_unit_test(test_a_leader_that_leaves_commits_what_follows),
        cmocka_unit_test(test_words_of_the_removed),
        cmocka_unit_test(test_truncation_down_to_the_base),
        cmocka_unit_test(test_an_append_from_before_the_base),
        cmocka_unit_test(test_compaction_at_the_end_of_a_term),
        cmocka_unit_test(test_no_configuration_at_0),
        cmocka_unit_test(test_a_snapshot_over_an_unwritten_log),
        cmocka_unit_test(test_a_snapshot_that_contradicts),
        cmocka_unit_test(test_two_followers_behind_the_log),
        cmocka_unit_test(test_more_writes_than_the_disk_takes),
        cmocka_unit_test(test_more_messages_than_an_update_takes),
        cmocka_unit_test(test_an_ack_of_an_old_term_is_not_sent),
        cmocka_unit_test(test_the_digest_sees_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
