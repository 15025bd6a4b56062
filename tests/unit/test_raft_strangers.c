/* test_raft_strangers.c -- messages of nodes that are no members: requests of
 * candidates and leaders count (thesis 4.1), answers do not. And no message
 * uses up the numbers of terms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/raft.h"
#include "support/engine.h"

enum { STRANGER = 99 };

#define JUMP_MAX ((uint64_t)1 << 32)

static struct engine *engine;

static int finish(void **state)
{
    (void)state;
    if (engine) {
        engine_free(engine);
    }
    engine = NULL;
    return 0;
}

/* Neither counted, nor does its term depose the leader. */
static void test_answers_of_strangers_are_lost(void **state)
{
    (void)state;
    static const enum raft_message_type types[] = {
        RAFT_MSG_PREVOTE_RESP,   RAFT_MSG_VOTE_RESP,   RAFT_MSG_APPEND_RESP,
        RAFT_MSG_HEARTBEAT_RESP, RAFT_MSG_TIMEOUT_NOW, RAFT_MSG_READ,
        RAFT_MSG_READ_RESP};
    engine = READY(.voters = 3, .log = {1});
    uint64_t term = engine_status(engine)->term;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        for (uint64_t later = 0; later < 2; later++) {
            bool is_question = types[i] == RAFT_MSG_TIMEOUT_NOW;
            REFUSED(engine, ERR_NOT_FOUND,
                    HEAR(engine, .type = types[i], .from = STRANGER,
                         .term = term + later, .round = 1,
                         .log_index = is_question, .log_term = is_question,
                         .granted = types[i] != RAFT_MSG_PREVOTE_RESP));
        }
    }
    assert_int_equal(engine_role(engine), RAFT_LEADER);
    /* The refusal of a member tells of a later term, as ever. */
    OK(HEAR(engine, .type = RAFT_MSG_HEARTBEAT_RESP, .from = 2,
            .term = term + 1));
    assert_int_equal(engine_role(engine), RAFT_FOLLOWER);
}

/* Our membership may be older than theirs. */
static void test_candidates_and_leaders_are_heard_whoever_they_are(void **state)
{
    (void)state;
    engine = ENGINE(.voters = 3, .self = 2, .log = {1});
    OK(HEAR(engine, .type = RAFT_MSG_PREVOTE, .from = STRANGER, .term = 2,
            .log_index = 1, .log_term = 1, .round = 5));
    engine_collect(engine);
    assert_true(engine_sent(engine, RAFT_MSG_PREVOTE_RESP, STRANGER)->granted);
    OK(HEAR(engine, .type = RAFT_MSG_VOTE, .from = STRANGER, .term = 2,
            .log_index = 1, .log_term = 1, .round = 6));
    engine_settle(engine);
    assert_true(engine_sent(engine, RAFT_MSG_VOTE_RESP, STRANGER)->granted);
    OK(APPEND(engine, .from = STRANGER, .term = 2, .prev = 1, .prev_term = 1,
              .terms = {2}, .commit = 2));
    assert_int_equal(engine_status(engine)->leader, STRANGER);
    assert_int_equal(engine_status(engine)->commit, 2);
    engine_settle(engine);

    /* The leader is no stranger: it answers our reads, and may transfer the
     * leadership to us when it has removed itself. */
    OK(STEP(engine, .type = RAFT_READ, .cookie = 1));
    engine_forget(engine);
    engine_collect(engine);
    const struct raft_message *read =
        engine_sent(engine, RAFT_MSG_READ, STRANGER);
    assert_non_null(read);
    OK(HEAR(engine, .type = RAFT_MSG_READ_RESP, .from = STRANGER, .term = 2,
            .round = read->round, .commit = 2));
    engine_collect(engine);
    assert_int_equal(engine->read_cookie, 1);
    OK(HEAR(engine, .type = RAFT_MSG_TIMEOUT_NOW, .from = STRANGER, .term = 2,
            .log_index = 2, .log_term = 2));
    assert_int_equal(engine_role(engine), RAFT_CANDIDATE);
}

/* A newcomer knows nobody, and its cluster may have come a long way. */
static void test_a_newcomer_hears_its_leader(void **state)
{
    (void)state;
    struct raft_options options = engine_options(9, 1);
    struct raft_boot nothing = {.term = 0};
    struct raft *raft = raft_new(&options, &nothing, 1000);
    struct raft_message beat = {
        .type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 9, .term = 3 * JUMP_MAX};
    struct raft_event event = {
        .type = RAFT_MESSAGE, .now_ms = 1001, .message = &beat};
    assert_int_equal(raft_step(raft, &event), ERR_OK);
    assert_int_equal(raft_leader(raft), 2);
    assert_int_equal(raft_term(raft), 3 * JUMP_MAX);
    beat.term += JUMP_MAX + 1; /* From now on it has one. */
    assert_int_equal(raft_step(raft, &event), ERR_INVALID);
    raft_free(raft);
}

/* The flag of a handover sets a living leader aside: for candidates that are
 * known as voters, and at the leader for the one that it chose itself. */
static void test_a_handover_is_not_for_everybody(void **state)
{
    (void)state;
    engine = READY(.voters = 3, .learners = 1, .log = {1});
    uint64_t term = engine_status(engine)->term;
    uint64_t last = engine_status(engine)->last;
    const raft_id pretenders[] = {STRANGER, 2, 4};
    for (size_t i = 0; i < ARRAY_COUNT(pretenders); i++) {
        OK(HEAR(engine, .type = RAFT_MSG_VOTE, .from = pretenders[i],
                .term = term + 1, .log_index = last, .log_term = term,
                .round = 1, .transfer = true));
        assert_int_equal(engine_role(engine), RAFT_LEADER);
        assert_int_equal(engine_status(engine)->term, term);
    }
    OK(STEP(engine, .type = RAFT_TRANSFER, .peer = 2));
    OK(HEAR(engine, .type = RAFT_MSG_VOTE, .from = 3, .term = term + 1,
            .log_index = last, .log_term = term, .round = 1, .transfer = true));
    assert_int_equal(engine_role(engine), RAFT_LEADER);
    OK(HEAR(engine, .type = RAFT_MSG_VOTE, .from = 2, .term = term + 1,
            .log_index = last, .log_term = term, .round = 1, .transfer = true));
    assert_int_equal(engine_role(engine), RAFT_FOLLOWER);
    assert_int_equal(engine_status(engine)->vote, 2);
    (void)finish(NULL);

    engine = ENGINE(.voters = 3, .learners = 1, .self = 3, .log = {1});
    const struct {
        raft_id from;
        bool heard;
    } followers_view[] = {{STRANGER, false}, {4, false}, {2, true}};
    for (size_t i = 0; i < ARRAY_COUNT(followers_view); i++) {
        OK(HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1, .term = 1));
        OK(HEAR(engine, .type = RAFT_MSG_VOTE, .from = followers_view[i].from,
                .term = 2, .log_index = 1, .log_term = 1, .round = 1,
                .transfer = true));
        assert_int_equal(engine_status(engine)->term,
                         followers_view[i].heard ? 2 : 1);
    }
}

static void test_a_term_does_not_jump(void **state)
{
    (void)state;
    engine = ENGINE(.voters = 3, .self = 2, .log = {1}, .term = 3);
    for (int type = RAFT_MSG_PREVOTE; type <= RAFT_MSG_READ_RESP; type++) {
        REFUSED(engine, ERR_INVALID,
                HEAR(engine, .type = (enum raft_message_type)type, .from = 1,
                     .term = 3 + JUMP_MAX + 1, .log_index = 1, .log_term = 1,
                     .round = 1));
    }
    OK(HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1,
            .term = 3 + JUMP_MAX));
    assert_int_equal(engine_status(engine)->term, 3 + JUMP_MAX);
}

/* Nor do many jumps use up the terms. */
static void test_terms_beyond_the_sound_ones_come_in_steps(void **state)
{
    (void)state;
    const uint64_t half = RAFT_NUMBER_MAX / 2;
    const uint64_t step = 1 << 16;
    engine = ENGINE(.voters = 3, .self = 2, .log = {1}, .term = half - 5);
    REFUSED(engine, ERR_INVALID,
            HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1,
                 .term = half - 5 + JUMP_MAX));
    OK(HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1,
            .term = half - 5 + step));
    REFUSED(engine, ERR_INVALID,
            HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1,
                 .term = half - 5 + 2 * step + 1));
    OK(HEAR(engine, .type = RAFT_MSG_HEARTBEAT, .from = 1,
            .term = half - 5 + 2 * step));
    assert_true(engine_status(engine)->term == half - 5 + 2 * step);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, finish)
    const struct CMUnitTest tests[] = {
        TEST(test_answers_of_strangers_are_lost),
        TEST(test_candidates_and_leaders_are_heard_whoever_they_are),
        TEST(test_a_newcomer_hears_its_leader),
        TEST(test_a_handover_is_not_for_everybody),
        TEST(test_a_term_does_not_jump),
        TEST(test_terms_beyond_the_sound_ones_come_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
