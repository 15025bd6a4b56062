/* test_raft_members.c -- who belongs to the cluster, who leads it on request,
 * and reads without the log. One rule of the thesis (Ongaro 2014) to a test;
 * sections in the comments are its sections, L1.. the invariants of check.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/engine.h"

static enum err change(struct engine *e, enum raft_change_type type, raft_id id)
{
    struct raft_change c = {.type = type, .member = {.id = id}};
    return STEP(e, .type = RAFT_CHANGE, .change = &c);
}

static enum err add(struct engine *e, enum raft_suffrage suffrage)
{
    struct raft_change c = {.type = RAFT_CHANGE_ADD,
                            .member = {.suffrage = suffrage}};
    return STEP(e, .type = RAFT_CHANGE, .change = &c);
}

/* 0: not a member. */
static int suffrage_of(struct engine *e, raft_id id)
{
    const struct raft_member *member =
        raft_conf_find(raft_conf_active(e->raft), id);
    return member ? (int)member->suffrage : 0;
}

static void propose(struct engine *e)
{
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_settle(e);
}

/* ---- when a change may begin: sections 4.1, 4.2 ---- */

/* 4.1 with the erratum of 2015, L11: no change before the leader has committed
 * an entry of its own term. */
static void test_no_change_before_a_commit_in_term(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 2);
    engine_to_leader(e);
    engine_settle(e);
    OK(engine_ack(e, 2, 2)); /* All but the no-op. */
    REFUSED(e, ERR_BUSY, add(e, RAFT_LEARNER));
    REFUSED(e, ERR_BUSY, change(e, RAFT_CHANGE_REMOVE, 3));
    OK(engine_ack(e, 2, 3));
    OK(add(e, RAFT_LEARNER));
    engine_free(e);
}

/* 4.1, L10: one change at a time; the next once this one is committed. */
static void test_one_change_at_a_time(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(add(e, RAFT_OBSERVER));
    engine_settle(e);
    REFUSED(e, ERR_BUSY, add(e, RAFT_OBSERVER));
    REFUSED(e, ERR_BUSY, change(e, RAFT_CHANGE_REMOVE, 4));
    OK(engine_ack(e, 2, 4));
    OK(add(e, RAFT_OBSERVER));
    engine_free(e);
}

/* 4.1: changes are entries, so only a leader makes them. */
static void test_only_a_leader_changes(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1});
    assert_int_equal(add(e, RAFT_LEARNER), ERR_CLOSED);
    assert_int_equal(STEP(e, .type = RAFT_TRANSFER, .peer = 2), ERR_CLOSED);
    engine_to_candidate(e);
    assert_int_equal(add(e, RAFT_LEARNER), ERR_CLOSED);
    assert_int_equal(STEP(e, .type = RAFT_TRANSFER, .peer = 2), ERR_CLOSED);
    engine_free(e);
}

/* An id is the index of the entry that added its owner: it grows, and never
 * comes back (M06). */
static void test_ids_are_log_indexes(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1, 1, 1, 1});
    OK(add(e, RAFT_OBSERVER)); /* Entry 7, after the no-op. */
    assert_int_equal(raft_last(e->raft), 7);
    assert_int_equal(suffrage_of(e, 7), RAFT_OBSERVER);
    assert_non_null(raft_conf_at(e->raft, 7));
    assert_int_equal(raft_conf_at(e->raft, 7)->count, 4);
    assert_null(raft_conf_at(e->raft, 6));
    engine_catch_up(e);
    OK(change(e, RAFT_CHANGE_REMOVE, 7));
    engine_catch_up(e);
    OK(add(e, RAFT_OBSERVER));
    assert_int_equal(suffrage_of(e, 7), 0);
    assert_int_equal(suffrage_of(e, 9), RAFT_OBSERVER);
    engine_free(e);
}

/* Changes that make no sense are refused, with the reason, and nothing
 * happens. Members: 1 2 3 vote, 4 learns, 5 observes. */
static void test_changes_that_make_no_sense(void **state)
{
    (void)state;
    static const struct {
        struct raft_change change;
        enum err err;
    } rows[] = {
        {{.type = RAFT_CHANGE_ADD}, ERR_INVALID},
        {{.type = RAFT_CHANGE_ADD, .member = {.suffrage = RAFT_VOTER}},
         ERR_INVALID},
        {{.type = RAFT_CHANGE_PROMOTE, .member = {.id = 9}}, ERR_NOT_FOUND},
        {{.type = RAFT_CHANGE_PROMOTE, .member = {.id = 2}}, ERR_EXISTS},
        {{.type = RAFT_CHANGE_PROMOTE, .member = {.id = 4}}, ERR_BUSY},
        {{.type = RAFT_CHANGE_DEMOTE, .member = {.id = 9}}, ERR_NOT_FOUND},
        {{.type = RAFT_CHANGE_DEMOTE, .member = {.id = 5}}, ERR_EXISTS},
        {{.type = RAFT_CHANGE_REMOVE, .member = {.id = 9}}, ERR_NOT_FOUND},
        {{.type = RAFT_CHANGE_REMOVE, .member = {.id = 0}}, ERR_NOT_FOUND},
        {{.type = RAFT_CHANGE_UPDATE, .member = {.id = 9}}, ERR_NOT_FOUND},
        {{.type = RAFT_CHANGE_UPDATE, .member = {.id = 2}}, ERR_EXISTS},
        {{.type = (enum raft_change_type)0, .member = {.id = 2}}, ERR_INVALID},
    };
    struct engine *e =
        READY(.voters = 3, .learners = 1, .observers = 1, .log = {1, 1});
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        REFUSED(e, rows[i].err,
                STEP(e, .type = RAFT_CHANGE, .change = &rows[i].change));
    }
    struct raft_change endless = {.type = RAFT_CHANGE_ADD,
                                  .member = {.suffrage = RAFT_LEARNER}};
    memset(endless.member.addr, 'a', sizeof(endless.member.addr));
    assert_int_equal(STEP(e, .type = RAFT_CHANGE, .change = &endless),
                     ERR_INVALID);
    engine_free(e);

    e = READY(.voters = 3, .observers = RAFT_MEMBERS_MAX - 3, .log = {1, 1});
    assert_int_equal(add(e, RAFT_LEARNER), ERR_INVALID); /* No room. */
    engine_free(e);
}

/* A directory is a node: its uuid is learnt once and does not change, nor does
 * it join twice. Addresses may change at any time (M13). */
static void test_update_of_a_member(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    struct raft_change c = {
        .type = RAFT_CHANGE_UPDATE,
        .member = {.id = 2, .uuid = {7}, .addr = "b:1", .http = "b:2"}};
    OK(STEP(e, .type = RAFT_CHANGE, .change = &c));
    const struct raft_member *member =
        raft_conf_find(raft_conf_active(e->raft), 2);
    assert_string_equal(member->addr, "b:1");
    assert_string_equal(member->http, "b:2");
    assert_int_equal(member->uuid[0], 7);
    assert_int_equal(member->suffrage, RAFT_VOTER);
    engine_catch_up(e);
    assert_int_equal(STEP(e, .type = RAFT_CHANGE, .change = &c), ERR_EXISTS);
    c.member.uuid[0] = 8;
    assert_int_equal(STEP(e, .type = RAFT_CHANGE, .change = &c), ERR_INVALID);
    c.type = RAFT_CHANGE_ADD;
    c.member.suffrage = RAFT_LEARNER;
    c.member.uuid[0] = 7;
    assert_int_equal(STEP(e, .type = RAFT_CHANGE, .change = &c), ERR_EXISTS);
    c.type = RAFT_CHANGE_UPDATE;
    c.member.uuid[0] = 0; /* Not known to who asks; stays. */
    memcpy(c.member.addr, "c:1", 4);
    OK(STEP(e, .type = RAFT_CHANGE, .change = &c));
    member = raft_conf_find(raft_conf_active(e->raft), 2);
    assert_string_equal(member->addr, "c:1");
    assert_int_equal(member->uuid[0], 7);
    engine_free(e);
}

/* ---- which configuration is in force: section 4.1 ---- */

/* 4.1: the newest in the log, committed or not, on the leader... */
static void test_change_is_in_force_on_append(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    engine_collect(e);
    engine_forget(e);
    OK(change(e, RAFT_CHANGE_REMOVE, 3));
    assert_int_equal(raft_conf_active(e->raft)->count, 2);
    engine_settle(e);
    assert_true(e->conf_changed);
    assert_null(engine_offer(e, 3));
    /* A majority of two is two: our own is not enough any more, nor is 3 of
     * any use. */
    REFUSED(e, ERR_NOT_FOUND, engine_ack(e, 3, 4));
    assert_int_equal(raft_commit(e->raft), 3);
    OK(engine_ack(e, 2, 4));
    assert_int_equal(raft_commit(e->raft), 4);
    engine_free(e);
}

/* ... and on a follower, which falls back when the entry is replaced. */
static void test_configuration_falls_back_on_truncation(void **state)
{
    (void)state;
    struct raft_conf two;
    struct raft_conf four;
    engine_conf(&two, 2, 0, 0);
    engine_conf(&four, 4, 0, 0);
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    OK(APPEND(e, .from = 2, .term = 2, .prev = 2, .prev_term = 1,
              .terms = {2, 2}, .conf = &two));
    assert_int_equal(raft_conf_active(e->raft)->count, 2);
    engine_settle(e);
    assert_true(e->conf_changed);
    engine_forget(e);
    OK(APPEND(e, .from = 3, .term = 3, .prev = 2, .prev_term = 1,
              .terms = {3}));
    assert_int_equal(raft_conf_active(e->raft)->count, 3);
    assert_null(raft_conf_at(e->raft, 4));
    engine_settle(e);
    assert_true(e->conf_changed);

    /* M02: two that are not committed fall together. */
    OK(APPEND(e, .from = 3, .term = 3, .prev = 3, .prev_term = 3, .terms = {3},
              .conf = &four));
    OK(APPEND(e, .from = 3, .term = 3, .prev = 4, .prev_term = 3, .terms = {3},
              .conf = &two));
    assert_int_equal(raft_conf_active(e->raft)->count, 2);
    OK(APPEND(e, .from = 2, .term = 4, .prev = 2, .prev_term = 1,
              .terms = {4}));
    assert_int_equal(raft_conf_active(e->raft)->count, 3);
    engine_free(e);
}

/* S03, S10: the same when a snapshot takes the place of what came before. If
 * the log behind it stays, so does the configuration there; otherwise it is
 * the snapshot's. */
static void test_configuration_after_a_snapshot(void **state)
{
    (void)state;
    struct raft_conf four;
    engine_conf(&four, 4, 0, 0);
    struct raft_conf five;
    engine_conf(&five, 5, 0, 0);
    for (uint64_t term = 1; term <= 2; term++) {
        struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 2, .prev = 2, .prev_term = 1,
                  .terms = {2}, .conf = &five));
        engine_settle(e);
        OK(STEP(e, .type = RAFT_INSTALLED, .index = 2, .term = term,
                .conf = &four));
        assert_int_equal(raft_last(e->raft), term == 1 ? 3 : 2);
        assert_int_equal(raft_conf_active(e->raft)->count, term == 1 ? 5 : 4);
        assert_int_equal(raft_conf_at(e->raft, 2)->count, 4);
        engine_free(e);
    }
}

/* 4.2.2, 4.2.3: a follower that finds itself removed, or demoted, does not
 * campaign; if the entry is replaced, it does again. */
static void test_removed_follower_does_not_campaign(void **state)
{
    (void)state;
    for (int demoted = 0; demoted < 2; demoted++) {
        struct raft_conf conf;
        engine_conf(&conf, 2, 0, demoted ? 1 : 0);
        struct engine *e =
            ENGINE(.self = 3, .voters = 3, .log = {1, 1}, .applied = 1);
        OK(APPEND(e, .from = 2, .term = 2, .prev = 2, .prev_term = 1,
                  .terms = {2}, .conf = &conf));
        for (int i = 0; i < 3; i++) {
            engine_to_precandidate(e);
            assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        }
        OK(APPEND(e, .from = 1, .term = 3, .prev = 2, .prev_term = 1,
                  .terms = {3}));
        engine_to_precandidate(e);
        assert_int_equal(engine_role(e), RAFT_PRECANDIDATE);
        engine_free(e);
    }
}

/* ---- learners: section 4.2.1 ---- */

/* 4.2.1: a learner gets the log and counts for nothing: not for commit, not
 * for an election, not for being in touch, not for a read. */
static void test_learners_do_not_count(void **state)
{
    (void)state;
    struct engine *e =
        ENGINE(.voters = 3, .learners = 1, .observers = 2, .log = {1, 1});
    engine_to_leader(e);
    engine_settle(e);
    assert_non_null(engine_offer(e, 4));
    assert_non_null(engine_offer(e, 6));
    for (raft_id id = 4; id <= 6; id++) {
        OK(engine_ack(e, id, 3));
    }
    assert_int_equal(raft_commit(e->raft), 0);
    engine_catch_up(e);
    engine_forget(e);
    OK(STEP(e, .type = RAFT_READ, .cookie = 1));
    engine_settle(e);
    for (raft_id id = 4; id <= 6; id++) {
        OK(engine_answer(e, id));
    }
    engine_settle(e);
    assert_int_equal(e->read_cookie, 0);
    engine_free(e);

    e = READY(.voters = 3, .observers = 3, .log = {1, 1});
    engine_pass(e, ENGINE_ELECTION_MS, PEERS(4, 5, 6));
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    engine_free(e);
}

/* 4.2.1: a learner that holds what the log held becomes a voter by itself,
 * through an entry like any other; from then on it counts (L10). */
static void test_learner_that_caught_up_is_promoted(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(add(e, RAFT_LEARNER));
    engine_settle(e);
    OK(engine_ack(e, 4, 4)); /* The entry that added it is not committed. */
    assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
    engine_catch_up(e);
    engine_tick(e, 1);
    assert_int_equal(suffrage_of(e, 4), RAFT_VOTER);
    assert_int_equal(raft_last(e->raft), 5);
    assert_int_equal(raft_commit(e->raft), 4);
    engine_settle(e);
    /* Four voters: it takes three. */
    OK(engine_ack(e, 2, 5));
    assert_int_equal(raft_commit(e->raft), 4);
    OK(engine_ack(e, 4, 5));
    assert_int_equal(raft_commit(e->raft), 5);
    engine_free(e);
}

/* M05: one that never answers is never promoted, nor is an observer that holds
 * everything. */
static void test_dead_learner_is_never_promoted(void **state)
{
    (void)state;
    struct engine *e =
        READY(.voters = 3, .learners = 1, .observers = 1, .log = {1, 1});
    OK(engine_ack(e, 5, 3));
    engine_pass(e, 10000, PEERS(2, 3, 5));
    assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
    assert_int_equal(suffrage_of(e, 5), RAFT_OBSERVER);
    assert_int_equal(change(e, RAFT_CHANGE_PROMOTE, 4), ERR_BUSY);
    /* Answering heartbeats is not yet catching up. */
    engine_pass(e, 2000, PEERS(2, 3, 4));
    assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
    engine_free(e);
}

/* 4.2.1: three rounds, and the last one short, or the cluster would wait for
 * the newcomer to commit anything. */
static void test_learner_that_is_slow_is_not_promoted(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .learners = 1, .log = {1, 1});
    for (int round = 0; round < 6; round++) {
        uint64_t target = raft_last(e->raft);
        OK(STEP(e, .type = RAFT_PROPOSE)); /* The log does not wait. */
        engine_catch_up(e);
        engine_pass(e, ENGINE_ELECTION_MS + 500, PEERS(2, 3));
        OK(engine_ack(e, 4, target));
        assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
    }
    engine_pass(e, 200, PEERS(2, 3));
    OK(engine_ack(e, 4, raft_last(e->raft)));
    assert_int_equal(suffrage_of(e, 4), RAFT_VOTER);
    engine_free(e);
}

/* Fewer than three rounds are not enough, however short. */
static void test_catching_up_takes_three_rounds(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .learners = 1, .log = {1, 1});
    for (int round = 1; round <= 3; round++) {
        /* Acks fall behind the log, so that each ends one round. */
        uint64_t target = raft_last(e->raft);
        assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
        OK(STEP(e, .type = RAFT_PROPOSE));
        engine_catch_up(e);
        OK(engine_ack(e, 4, target));
    }
    assert_int_equal(suffrage_of(e, 4), RAFT_VOTER);
    engine_free(e);
}

/* Caught up once, and silent since: no voter to be. */
static void test_learner_that_left_is_not_promoted(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .learners = 1, .log = {1, 1});
    engine_to_leader(e);
    engine_settle(e);
    OK(engine_ack(e, 4, 3)); /* Cannot be now: nothing is committed. */
    engine_pass(e, ENGINE_ELECTION_MS, PEERS(2, 3));
    engine_catch_up(e);
    engine_pass(e, 500, PEERS(2, 3));
    assert_int_equal(suffrage_of(e, 4), RAFT_LEARNER);
    assert_int_equal(change(e, RAFT_CHANGE_PROMOTE, 4), ERR_BUSY);
    OK(engine_answer(e, 4));
    assert_int_equal(suffrage_of(e, 4), RAFT_VOTER);
    engine_free(e);
}

/* ---- removing: sections 4.2.2, 4.2.3 ---- */

/* M11: a removal, or demotion, that leaves the voters without a live majority
 * is refused: it could not be committed, nor anything after it. */
static void test_removal_keeps_a_live_majority(void **state)
{
    (void)state;
    for (int demote = 0; demote < 2; demote++) {
        enum raft_change_type type =
            demote ? RAFT_CHANGE_DEMOTE : RAFT_CHANGE_REMOVE;
        struct engine *e = READY(.voters = 3, .observers = 1, .log = {1, 1});
        engine_pass(e, ENGINE_ELECTION_MS, PEERS(2)); /* 3 is dead. */
        REFUSED(e, ERR_INVALID, change(e, type, 2));
        REFUSED(e, ERR_INVALID, change(e, type, 1));
        OK(change(e, type, 3));
        assert_int_equal(suffrage_of(e, 3), demote ? RAFT_OBSERVER : 0);
        engine_free(e);
    }
}

/* A new leader refuses nothing because of members that it had no time to hear
 * from: the change waits for them, for an election timeout. */
static void test_removal_by_a_new_leader_waits(void **state)
{
    (void)state;
    for (int demote = 0; demote < 2; demote++) {
        enum raft_change_type type =
            demote ? RAFT_CHANGE_DEMOTE : RAFT_CHANGE_REMOVE;
        struct engine *e = ENGINE(.voters = 5, .log = {1, 1});
        engine_to_leader(e);
        engine_settle(e);
        OK(engine_ack(e, 2, 3));
        OK(engine_ack(e, 3, 3)); /* Committed; 4 and 5 have not answered. */
        REFUSED(e, ERR_BUSY, change(e, type, 2));
        OK(engine_answer(e, 4));
        OK(change(e, type, 2));
        assert_int_equal(suffrage_of(e, 2), demote ? RAFT_OBSERVER : 0);
        engine_free(e);
    }
    struct engine *e = ENGINE(.voters = 5, .log = {1, 1});
    engine_to_leader(e);
    engine_settle(e);
    OK(engine_ack(e, 2, 3));
    OK(engine_ack(e, 3, 3));
    engine_pass(e, ENGINE_ELECTION_MS - 1, PEERS(2, 3));
    REFUSED(e, ERR_BUSY, change(e, RAFT_CHANGE_REMOVE, 2));
    engine_pass(e, 1, PEERS(2, 3));
    REFUSED(e, ERR_INVALID, change(e, RAFT_CHANGE_REMOVE, 2));
    engine_free(e);
}

/* A learner that is not to vote after all: it stays, and is not promoted
 * however far it comes. No vote is lost, so nobody need be live. */
static void test_demoted_learner_is_not_promoted(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .learners = 1, .log = {1, 1});
    engine_to_ready(e);
    OK(change(e, RAFT_CHANGE_DEMOTE, 4));
    assert_int_equal(suffrage_of(e, 4), RAFT_OBSERVER);
    struct raft_status status;
    raft_get_status(e->raft, &status);
    assert_true(status.changing);
    for (int i = 0; i < 5; i++) {
        engine_catch_up(e);
        OK(engine_ack(e, 4, raft_last(e->raft)));
        engine_pass(e, 500, PEERS(2, 3, 4));
    }
    raft_get_status(e->raft, &status);
    assert_false(status.changing);
    assert_int_equal(suffrage_of(e, 4), RAFT_OBSERVER);
    /* It is promoted again on request. */
    OK(change(e, RAFT_CHANGE_PROMOTE, 4));
    assert_int_equal(suffrage_of(e, 4), RAFT_VOTER);
    engine_free(e);
}

/* Without a voter there is nobody to commit anything, ever. */
static void test_last_voter_stays(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 1, .observers = 2, .log = {1, 1});
    engine_tick(e, 0);
    engine_settle(e);
    engine_forget(e);
    assert_int_equal(change(e, RAFT_CHANGE_REMOVE, 1), ERR_INVALID);
    assert_int_equal(change(e, RAFT_CHANGE_DEMOTE, 1), ERR_INVALID);
    OK(change(e, RAFT_CHANGE_REMOVE, 3)); /* Dead or not: it has no vote. */
    engine_settle(e);
    assert_int_equal(raft_commit(e->raft), 4);
    engine_free(e);
}

/* 4.2.2, M03: a leader that removes itself leads on, without counting itself,
 * until that is committed; then it hands over and is silent. */
static void test_removed_leader_leaves(void **state)
{
    (void)state;
    for (int demote = 0; demote < 2; demote++) {
        struct engine *e = READY(.voters = 3, .log = {1, 1});
        OK(change(e, demote ? RAFT_CHANGE_DEMOTE : RAFT_CHANGE_REMOVE, 1));
        engine_settle(e);
        OK(engine_ack(e, 2, 4));
        assert_int_equal(raft_commit(e->raft), 3); /* Needs one of 2 and 3. */
        assert_int_equal(engine_role(e), RAFT_LEADER);
        assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 0);
        OK(engine_ack(e, 3, 4));
        assert_int_equal(raft_commit(e->raft), 4);
        assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        engine_settle(e);
        assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 1);
        assert_false(e->transfer_done); /* Nobody asked for it. */
        engine_forget(e);
        for (int i = 0; i < 3; i++) {
            engine_to_precandidate(e);
            assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        }
        assert_int_equal(e->sent_count, 0);
        engine_free(e);
    }
}

/* The same when whoever is to take over is still behind, or what was taken is
 * not committed yet, which nobody would tell us later: it waits for it, for an
 * election timeout at most, and takes nothing new meanwhile. */
static void test_removed_leader_waits_for_its_heir(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct engine *e = READY(.voters = 3, .log = {1, 1});
        OK(change(e, RAFT_CHANGE_REMOVE, 1));
        propose(e);
        OK(engine_ack(e, 2, 4));
        OK(engine_ack(e, 3, 4));
        assert_int_equal(engine_role(e), RAFT_LEADER);
        assert_int_equal(STEP(e, .type = RAFT_PROPOSE), ERR_BUSY);
        if (late) {
            engine_pass(e, ENGINE_ELECTION_MS, PEERS(2, 3));
        } else {
            OK(engine_ack(e, 2, 5));
            engine_settle(e);
            assert_int_equal(engine_role(e), RAFT_LEADER);
            assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 0);
            OK(engine_ack(e, 3, 5));
            engine_settle(e);
            assert_int_equal(engine_status(e)->commit, 5);
        }
        assert_int_equal(engine_role(e), RAFT_FOLLOWER);
        assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), !late);
        engine_free(e);
    }
}

/* ---- transfer: section 3.10 ---- */

/* 3.10: once the target holds the whole log it is told to campaign at once;
 * proposals are refused meanwhile, and changes. Its candidacy ends it. */
static void test_transfer(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_TRANSFER, .peer = 2));
    engine_settle(e);
    const struct raft_message *m = engine_sent(e, RAFT_MSG_TIMEOUT_NOW, 2);
    assert_non_null(m);
    assert_int_equal(m->log_index, 3);
    assert_int_equal(m->log_term, 2);
    assert_true(engine_status(e)->transferring);
    REFUSED(e, ERR_BUSY, STEP(e, .type = RAFT_PROPOSE));
    REFUSED(e, ERR_BUSY, add(e, RAFT_LEARNER));
    REFUSED(e, ERR_BUSY, STEP(e, .type = RAFT_TRANSFER, .peer = 3));
    assert_false(e->transfer_done);

    OK(HEAR(e, .type = RAFT_MSG_VOTE, .from = 2, .term = 3, .log_index = 3,
            .log_term = 2, .transfer = true));
    engine_settle(e);
    assert_int_equal(engine_role(e), RAFT_FOLLOWER);
    assert_true(engine_sent(e, RAFT_MSG_VOTE_RESP, 2)->granted);
    assert_true(e->transfer_done);
    assert_true(e->transfer_ok);
    assert_false(engine_status(e)->transferring);
    engine_free(e);
}

/* T02: a target that is behind is brought up first. */
static void test_transfer_to_one_that_is_behind(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    propose(e);
    propose(e);
    OK(STEP(e, .type = RAFT_TRANSFER, .peer = 2));
    engine_settle(e);
    assert_non_null(engine_offer(e, 2));
    OK(engine_ack(e, 2, 4));
    OK(engine_ack(e, 3, 5));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 0);
    OK(engine_ack(e, 2, 5));
    engine_settle(e);
    assert_non_null(engine_sent(e, RAFT_MSG_TIMEOUT_NOW, 2));
    engine_pass(e, 300, PEERS(2, 3));
    assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 1);
    engine_free(e);
}

/* 3.10, T03: if it has not come about in an election timeout, the leader goes
 * on as before. */
static void test_transfer_times_out(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_TRANSFER, .peer = 2));
    engine_pass(e, ENGINE_ELECTION_MS - 1, PEERS(2, 3));
    assert_false(e->transfer_done);
    assert_int_equal(STEP(e, .type = RAFT_PROPOSE), ERR_BUSY);
    engine_pass(e, 1, PEERS(2, 3));
    assert_true(e->transfer_done);
    assert_false(e->transfer_ok);
    assert_int_equal(engine_role(e), RAFT_LEADER);
    OK(STEP(e, .type = RAFT_PROPOSE));
    OK(STEP(e, .type = RAFT_TRANSFER, .peer = 3));
    engine_free(e);
}

/* T04: a transfer ends with the leadership, and the next one starts without. */
static void test_transfer_ends_with_the_leadership(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_TRANSFER, .peer = 2));
    OK(HEAR(e, .type = RAFT_MSG_APPEND_RESP, .from = 3, .term = 9));
    engine_settle(e);
    assert_true(e->transfer_done);
    assert_false(e->transfer_ok);
    engine_to_ready(e);
    assert_false(engine_status(e)->transferring);
    OK(STEP(e, .type = RAFT_PROPOSE));
    engine_free(e);
}

/* 3.10: to a voter, and not to oneself. Without a name it is the live one that
 * holds the most. */
static void test_transfer_targets(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 4, .learners = 1, .log = {1, 1});
    static const raft_id nobody[] = {1, 5, 9};
    for (size_t i = 0; i < ARRAY_COUNT(nobody); i++) {
        REFUSED(e, ERR_NOT_FOUND,
                STEP(e, .type = RAFT_TRANSFER, .peer = nobody[i]));
    }
    propose(e);
    propose(e);
    OK(engine_ack(e, 4, 5)); /* The most, but then it is gone. */
    engine_pass(e, ENGINE_ELECTION_MS, PEERS(2, 3));
    OK(engine_ack(e, 3, 4));
    OK(STEP(e, .type = RAFT_TRANSFER));
    OK(engine_ack(e, 2, 5));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_TIMEOUT_NOW), 0);
    OK(engine_ack(e, 3, 5));
    engine_settle(e);
    assert_non_null(engine_sent(e, RAFT_MSG_TIMEOUT_NOW, 3));
    engine_free(e);

    e = ENGINE(.voters = 1, .log = {1, 1});
    engine_tick(e, 0);
    assert_int_equal(STEP(e, .type = RAFT_TRANSFER), ERR_NOT_FOUND);
    engine_free(e);
}

/* 3.10: TIMEOUT_NOW starts a real election at once, without a pre-vote, that
 * says why: the others must not stick to the leader that sent it. */
static void test_timeout_now(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    OK(HEAR(e, .type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 4,
            .log_index = 2, .log_term = 1));
    assert_int_equal(engine_role(e), RAFT_CANDIDATE);
    engine_settle(e);
    assert_int_equal(raft_term(e->raft), 5);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_PREVOTE), 0);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_VOTE), 2);
    assert_true(engine_sent(e, RAFT_MSG_VOTE, 2)->transfer);

    /* If it fails, the next election is one like any other. */
    engine_forget(e);
    engine_to_candidate(e);
    assert_false(engine_sent(e, RAFT_MSG_PREVOTE, 2)->transfer);
    assert_false(engine_sent(e, RAFT_MSG_VOTE, 2)->transfer);
    engine_free(e);
}

/* ... and is ignored by who is no voter, follows another, or has another log;
 * and when it is of an earlier term. */
static void test_timeout_now_that_is_ignored(void **state)
{
    (void)state;
    static const struct {
        raft_id self;
        raft_id from;
        uint64_t term;
        uint64_t index;
        uint64_t log_term;
    } rows[] = {
        {4, 2, 4, 2, 1}, /* A learner. */
        {5, 2, 4, 2, 1}, /* An observer. */
        {9, 2, 4, 2, 1}, /* Not a member. */
        {1, 3, 4, 2, 1}, /* 2 leads. */
        {1, 2, 3, 2, 1}, {1, 2, 4, 1, 1}, {1, 2, 4, 3, 1}, {1, 2, 4, 2, 2},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        print_message("row %zu\n", i);
        struct engine *e =
            ENGINE(.self = rows[i].self, .voters = 3, .learners = 1,
                   .observers = 1, .log = {1, 1}, .term = 4);
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
        uint64_t digest = engine_digest(e);
        OK(HEAR(e, .type = RAFT_MSG_TIMEOUT_NOW, .from = rows[i].from,
                .term = rows[i].term, .log_index = rows[i].index,
                .log_term = rows[i].log_term));
        assert_int_equal(engine_digest(e), digest);
        engine_free(e);
    }
}

/* ---- reads: section 6.4 ---- */

static void ask(struct engine *e, uint64_t cookie)
{
    OK(STEP(e, .type = RAFT_READ, .cookie = cookie));
    engine_settle(e);
}

/* C01, L12: until an entry of its own term is committed, a leader does not
 * know what is; reads wait for that, and then for a round. */
static void test_read_before_a_commit_in_term_waits(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .applied = 1);
    engine_to_leader(e);
    ask(e, 1);
    engine_pass(e, 300, PEERS(2, 3));
    OK(engine_ack(e, 2, 2)); /* All but the no-op. */
    engine_pass(e, 100, PEERS(2, 3));
    assert_int_equal(e->read_cookie, 0);
    assert_int_equal(e->read_failed, 0);
    engine_forget(e);
    OK(engine_ack(e, 2, 3));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 0);
    OK(engine_answer(e, 3));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 1);
    assert_int_equal(e->read_index, 3);
    engine_free(e);
}

/* 6.4, C03: a majority has to answer a round that began after the read. Late
 * and doubled answers to earlier rounds confirm nothing, nor do acks. */
static void test_read_needs_a_new_round(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 5, .log = {1, 1});
    engine_pass(e, 100, PEERS(2, 3, 4, 5));
    struct raft_message old = *engine_sent(e, RAFT_MSG_HEARTBEAT, 2);
    engine_forget(e);
    ask(e, 7);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 4);
    assert_true(engine_sent(e, RAFT_MSG_HEARTBEAT, 2)->round > old.round);
    for (raft_id id = 2; id <= 5; id++) {
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = id,
                .term = old.term, .round = old.round, .sent_ms = old.sent_ms));
        OK(engine_ack(e, id, 3));
    }
    OK(engine_answer(e, 2));
    OK(engine_answer(e, 2));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 0);
    OK(engine_answer(e, 4));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 7);
    assert_int_equal(e->read_index, 3);
    engine_free(e);
}

/* 6.4: the reads of a turn share a round; those that come while it runs share
 * the next, since its answers may be older than they are. */
static void test_reads_share_rounds(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    OK(STEP(e, .type = RAFT_READ, .cookie = 1));
    ask(e, 4);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 2);
    ask(e, 5);
    ask(e, 6);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 2);
    OK(engine_answer(e, 2));
    engine_collect(e);
    assert_int_equal(e->read_cookie, 4);
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), 4);
    assert_int_equal(e->read_cookie, 4);
    OK(engine_answer(e, 2));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 6);
    engine_free(e);
}

/* 6.4: the read index is the commit index when the round began, or it would
 * miss what was acknowledged before the read. */
static void test_read_index_is_the_commit_index(void **state)
{
    (void)state;
    struct engine *e = READY(.voters = 3, .log = {1, 1});
    propose(e);
    OK(engine_ack(e, 2, 4));
    propose(e);
    ask(e, 1);
    OK(engine_answer(e, 2));
    engine_settle(e);
    assert_int_equal(e->read_index, 4);
    engine_free(e);
}

/* Alone there is nobody to ask. */
static void test_sole_voter_serves_reads_at_once(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 1, .observers = 1, .log = {1, 1});
    engine_tick(e, 0);
    OK(STEP(e, .type = RAFT_READ, .cookie = 3));
    engine_collect(e);
    assert_int_equal(e->read_cookie, 0); /* Its no-op is not durable yet. */
    engine_settle(e);
    assert_int_equal(e->read_cookie, 3);
    assert_int_equal(e->read_index, 3);
    engine_free(e);
}

/* C02: a leader that is deposed, or loses its quorum, answers no reads. */
static void test_deposed_leader_fails_reads(void **state)
{
    (void)state;
    for (int quorum = 0; quorum < 2; quorum++) {
        struct engine *e = READY(.voters = 3, .log = {1, 1});
        ask(e, 2);
        struct raft_message asked = *engine_sent(e, RAFT_MSG_HEARTBEAT, 2);
        if (quorum) {
            engine_tick(e, 2 * ENGINE_ELECTION_MS);
        } else {
            OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 3));
        }
        OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2,
                .term = asked.term, .round = asked.round,
                .sent_ms = asked.sent_ms));
        engine_settle(e);
        assert_int_equal(e->read_cookie, 0);
        assert_int_equal(e->read_failed, 2);
        engine_free(e);
    }
}

/* 6.4, C10: a follower asks its leader for the index, and takes no other
 * answer than to this question, from this leader, in this term. */
static void test_follower_asks_for_the_read_index(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    ask(e, 7);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ), 1);
    struct raft_message asked = *engine_sent(e, RAFT_MSG_READ, 2);
    ask(e, 9); /* Too late for the question that is out. */
    engine_tick(e, 99);
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ), 1);
    assert_true(raft_deadline_ms(e->raft) <= e->now_ms + 1);
    engine_tick(e, 1);
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ), 2);
    assert_int_equal(engine_sent(e, RAFT_MSG_READ, 2)->round, asked.round);

    const struct raft_message not_answers[] = {
        {.from = 3, .term = 4, .round = asked.round},
        {.from = 2, .term = 3, .round = asked.round},
        {.from = 2, .term = 4, .round = asked.round + 1},
        {.from = 2, .term = 4, .round = asked.round - 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(not_answers); i++) {
        struct raft_message m = not_answers[i];
        m.type = RAFT_MSG_READ_RESP;
        OK(engine_hear(e, &m));
        engine_settle(e);
        assert_int_equal(e->read_cookie, 0);
    }
    for (int times = 0; times < 2; times++) {
        OK(HEAR(e, .type = RAFT_MSG_READ_RESP, .from = 2, .term = 4,
                .round = asked.round, .commit = 55));
        engine_settle(e);
        assert_int_equal(e->read_cookie, 7);
        assert_int_equal(e->read_index, 55); /* Ours may be far behind. */
    }
    asked = *engine_sent(e, RAFT_MSG_READ, 2);
    OK(HEAR(e, .type = RAFT_MSG_READ_RESP, .from = 2, .term = 4,
            .round = asked.round, .commit = 56));
    engine_settle(e);
    assert_int_equal(e->read_cookie, 9);
    engine_free(e);
}

/* Without a leader, or with another one, the client is told to ask again. */
static void test_follower_reads_fail_with_the_leader(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .log = {1, 1}, .term = 4);
    ask(e, 1);
    assert_int_equal(e->read_failed, 1);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 4));
    ask(e, 2);
    struct raft_message asked = *engine_sent(e, RAFT_MSG_READ, 2);
    OK(HEAR(e, .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 5));
    OK(HEAR(e, .type = RAFT_MSG_READ_RESP, .from = 3, .term = 5,
            .round = asked.round, .commit = 9));
    engine_settle(e);
    assert_int_equal(e->read_failed, 2);
    assert_int_equal(e->read_cookie, 0);
    engine_free(e);
}

/* 6.4: a leader answers a follower's question after the same two waits as its
 * own; the question comes back with the answer. */
static void test_leader_answers_followers_reads(void **state)
{
    (void)state;
    struct engine *e = ENGINE(.voters = 3, .learners = 1, .log = {1, 1});
    engine_to_leader(e);
    OK(HEAR(e, .type = RAFT_MSG_READ, .from = 4, .term = 2, .round = 99));
    engine_pass(e, 200, PEERS(2, 3));
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ_RESP), 0);
    engine_catch_up(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ_RESP), 0);
    /* Asked again while it is being answered: no second round for that. */
    uint32_t beats = engine_sent_count(e, RAFT_MSG_HEARTBEAT);
    OK(HEAR(e, .type = RAFT_MSG_READ, .from = 4, .term = 2, .round = 99));
    OK(engine_answer(e, 4));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ_RESP), 0);
    OK(engine_answer(e, 2));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_READ_RESP), 1);
    assert_int_equal(engine_sent(e, RAFT_MSG_READ_RESP, 4)->round, 99);
    assert_int_equal(engine_sent(e, RAFT_MSG_READ_RESP, 4)->commit, 3);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), beats);
    assert_int_equal(e->read_cookie, 0);
    REFUSED(e, ERR_NOT_FOUND,
            HEAR(e, .type = RAFT_MSG_READ, .from = 9, .term = 2, .round = 1));
    OK(HEAR(e, .type = RAFT_MSG_READ, .from = 3, .term = 1, .round = 1));
    engine_settle(e);
    assert_int_equal(engine_sent_count(e, RAFT_MSG_HEARTBEAT), beats);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_change_before_a_commit_in_term),
        cmocka_unit_test(test_one_change_at_a_time),
        cmocka_unit_test(test_only_a_leader_changes),
        cmocka_unit_test(test_ids_are_log_indexes),
        cmocka_unit_test(test_changes_that_make_no_sense),
        cmocka_unit_test(test_update_of_a_member),
        cmocka_unit_test(test_change_is_in_force_on_append),
        cmocka_unit_test(test_configuration_falls_back_on_truncation),
        cmocka_unit_test(test_configuration_after_a_snapshot),
        cmocka_unit_test(test_removed_follower_does_not_campaign),
        cmocka_unit_test(test_learners_do_not_count),
        cmocka_unit_test(test_learner_that_caught_up_is_promoted),
        cmocka_unit_test(test_dead_learner_is_never_promoted),
        cmocka_unit_test(test_learner_that_is_slow_is_not_promoted),
        cmocka_unit_test(test_catching_up_takes_three_rounds),
        cmocka_unit_test(test_learner_that_left_is_not_promoted),
        cmocka_unit_test(test_removal_keeps_a_live_majority),
        cmocka_unit_test(test_removal_by_a_new_leader_waits),
        cmocka_unit_test(test_demoted_learner_is_not_promoted),
        cmocka_unit_test(test_last_voter_stays),
        cmocka_unit_test(test_removed_leader_leaves),
        cmocka_unit_test(test_removed_leader_waits_for_its_heir),
        cmocka_unit_test(test_transfer),
        cmocka_unit_test(test_transfer_to_one_that_is_behind),
        cmocka_unit_test(test_transfer_times_out),
        cmocka_unit_test(test_transfer_ends_with_the_leadership),
        cmocka_unit_test(test_transfer_targets),
        cmocka_unit_test(test_timeout_now),
        cmocka_unit_test(test_timeout_now_that_is_ignored),
        cmocka_unit_test(test_read_before_a_commit_in_term_waits),
        cmocka_unit_test(test_read_needs_a_new_round),
        cmocka_unit_test(test_reads_share_rounds),
        cmocka_unit_test(test_read_index_is_the_commit_index),
        cmocka_unit_test(test_sole_voter_serves_reads_at_once),
        cmocka_unit_test(test_deposed_leader_fails_reads),
        cmocka_unit_test(test_follower_asks_for_the_read_index),
        cmocka_unit_test(test_follower_reads_fail_with_the_leader),
        cmocka_unit_test(test_leader_answers_followers_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
