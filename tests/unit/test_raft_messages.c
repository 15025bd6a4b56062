/* test_raft_messages.c -- one engine against messages made by hand: what no
 * correct peer would send, or the network delivers only on the worst of days,
 * and the engine must still get right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/raft.h"
#include "support/engine.h"

enum { VOTERS = 3, SELF = 1, ENTRIES_MAX = 16 };

static struct raft *raft;
static struct raft_update update;
static uint64_t now_ms;

/* A follower in `term` whose log has these terms, entry 1 the members. */
static void start(const uint64_t *terms, uint64_t count, uint64_t term)
{
    static struct raft_conf_entry conf;
    struct raft_run runs[ENTRIES_MAX];
    uint32_t run_count = 0;
    conf.index = 1;
    engine_conf(&conf.conf, VOTERS, 0, 0);
    for (uint64_t i = 0; i < count; i++) {
        run_count = engine_add_run(runs, run_count, i + 1, terms[i]);
    }
    struct raft_options options = engine_options(SELF, 1);
    options.storage_stall_ms = 100000;
    options.inflight_max = 4;
    struct raft_boot boot = {.term = term,
                             .last = count,
                             .runs = runs,
                             .run_count = run_count,
                             .confs = &conf,
                             .conf_count = 1};
    now_ms = 1000;
    raft = raft_new(&options, &boot, now_ms);
}

static int finish(void **state)
{
    (void)state;
    raft_free(raft);
    raft = NULL;
    return 0;
}

static enum err step(struct raft_event event)
{
    event.now_ms = now_ms;
    return raft_step(raft, &event);
}

static enum err take(struct raft_message m)
{
    m.to = SELF;
    return step((struct raft_event){.type = RAFT_MESSAGE, .message = &m});
}

static void collect(void)
{
    raft_collect(raft, &update);
}

static void persist(void)
{
    assert_int_equal(step((struct raft_event){.type = RAFT_PERSISTED,
                                              .seq = update.persist.seq}),
                     ERR_OK);
}

/* The last message of this type in the update; NULL. */
static const struct raft_message *sent(enum raft_message_type type)
{
    const struct raft_message *found = NULL;
    for (uint32_t i = 0; i < update.message_count; i++) {
        if (update.messages[i].type == type) {
            found = &update.messages[i];
        }
    }
    return found;
}

static struct raft_status look(void)
{
    struct raft_status status;
    raft_get_status(raft, &status);
    return status;
}

static struct raft_message append(uint64_t term, uint64_t prev,
                                  uint64_t prev_term, uint64_t commit,
                                  const struct raft_entry *entries,
                                  uint32_t count)
{
    return (struct raft_message){.type = RAFT_MSG_APPEND,
                                 .from = 2,
                                 .term = term,
                                 .log_index = prev,
                                 .log_term = prev_term,
                                 .commit = commit,
                                 .entries = entries,
                                 .entry_count = count};
}

static struct raft_entry entry(uint64_t term)
{
    return (struct raft_entry){.term = term, .type = RAFT_ENTRY_NORMAL};
}

/* ---- what may be committed (3.5, 3.6.2) ---- */

/* The leader's commit index reaches beyond what this append proves: behind it
 * lies a tail of another leader, and it must stay uncommitted. */
static void test_an_append_commits_only_what_it_proves(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 1, 2, 2, 2};
    start(terms, 5, 3);
    assert_int_equal(take(append(3, 2, 1, 5, NULL, 0)), ERR_OK);
    assert_int_equal(look().commit, 2);
    assert_int_equal(look().last, 5);
    const struct raft_entry two = entry(2);
    assert_int_equal(take(append(3, 2, 1, 5, &two, 1)), ERR_OK);
    assert_int_equal(look().commit, 3);
}

static void test_a_heartbeat_commits_only_what_was_proved(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 1, 2, 2, 2};
    start(terms, 5, 3);
    struct raft_message beat = {
        .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3, .commit = 5};
    assert_int_equal(take(beat), ERR_OK);
    assert_int_equal(look().commit, 0);
    assert_int_equal(take(append(3, 3, 2, 0, NULL, 0)), ERR_OK);
    assert_int_equal(take(beat), ERR_OK);
    assert_int_equal(look().commit, 3);

    /* Progress under one leader does not count in the next term. */
    beat.term = 4;
    beat.from = 3;
    assert_int_equal(take(beat), ERR_OK);
    assert_int_equal(look().commit, 3);
}

/* ---- which entries go (3.5) ---- */

static void test_a_conflict_anywhere_removes_it_and_all_behind(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 1, 2, 2, 2};
    for (uint32_t same = 0; same < 3; same++) {
        struct raft_entry entries[4];
        start(terms, 5, 3);
        /* From entry 3 on: so many as ours, then one of term 3. */
        for (uint32_t i = 0; i < same; i++) {
            entries[i] = entry(2);
        }
        entries[same] = entry(3);
        assert_int_equal(take(append(3, 2, 1, 0, entries, same + 1)), ERR_OK);
        assert_int_equal(look().last, 3 + same);
        assert_int_equal(raft_term_at(raft, 3 + same), 3);
        collect();
        assert_int_equal(update.persist.truncate_from, 3 + same);
        assert_int_equal(update.persist.hi, 3 + same);
        (void)finish(NULL);
    }
    const uint64_t one[] = {1};
    start(one, 1, 1);
}

static void test_a_late_short_append_removes_nothing(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 2, 2, 2};
    const struct raft_entry two = entry(2);
    start(terms, 4, 2);
    assert_int_equal(take(append(2, 1, 1, 0, &two, 1)), ERR_OK);
    assert_int_equal(look().last, 4);
    collect();
    assert_int_equal(update.persist.seq, 0);
    /* It acknowledges what it compared, not what is there. */
    assert_int_equal(sent(RAFT_MSG_APPEND_RESP)->match, 2);
}

/* ---- votes (3.4, 9.6) ---- */

static void campaign(void)
{
    now_ms = raft_deadline_ms(raft);
    assert_int_equal(step((struct raft_event){.type = RAFT_TICK}), ERR_OK);
    collect();
}

static void test_an_answer_to_an_earlier_round_is_no_pre_vote(void **state)
{
    (void)state;
    const uint64_t terms[] = {1};
    start(terms, 1, 1);
    campaign();
    struct raft_message old = {
        .type = RAFT_MSG_PREVOTE_RESP,
        .from = 2,
        .term = 1,
        .round = sent(RAFT_MSG_PREVOTE)->round,
        .granted = true,
    };
    campaign();
    assert_int_equal(take(old), ERR_OK);
    assert_int_equal(look().role, RAFT_PRECANDIDATE);
    old.round++;
    assert_int_equal(take(old), ERR_OK);
    assert_int_equal(look().role, RAFT_CANDIDATE);
}

static void test_a_pre_vote_is_no_vote(void **state)
{
    (void)state;
    const uint64_t terms[] = {1};
    start(terms, 1, 1);
    campaign();
    struct raft_message yes = {
        .type = RAFT_MSG_PREVOTE_RESP,
        .from = 2,
        .term = 1,
        .round = sent(RAFT_MSG_PREVOTE)->round,
        .granted = true,
    };
    assert_int_equal(take(yes), ERR_OK);
    assert_int_equal(look().role, RAFT_CANDIDATE);
    yes.from = 3;
    assert_int_equal(take(yes), ERR_OK);
    assert_int_equal(look().role, RAFT_CANDIDATE);
}

/* A vote that waited for the disk while a later term came is not sent. */
static void test_what_waited_is_looked_at_again(void **state)
{
    (void)state;
    const uint64_t terms[] = {1};
    start(terms, 1, 1);
    struct raft_message vote = {.type = RAFT_MSG_VOTE,
                                .from = 2,
                                .term = 2,
                                .log_index = 1,
                                .log_term = 1};
    assert_int_equal(take(vote), ERR_OK);
    collect();
    assert_null(sent(RAFT_MSG_VOTE_RESP));
    uint64_t first = update.persist.seq;
    assert_true(update.persist.hard && update.persist.vote == 2);
    vote.from = 3;
    vote.term = 3;
    assert_int_equal(take(vote), ERR_OK);
    assert_int_equal(
        step((struct raft_event){.type = RAFT_PERSISTED, .seq = first}),
        ERR_OK);
    collect();
    assert_null(sent(RAFT_MSG_VOTE_RESP));
    persist();
    collect();
    assert_non_null(sent(RAFT_MSG_VOTE_RESP));
    assert_int_equal(sent(RAFT_MSG_VOTE_RESP)->to, 3);
    assert_int_equal(sent(RAFT_MSG_VOTE_RESP)->term, 3);
}

/* Several messages in one turn: a vote given after another answer was queued
 * does not hold that answer back, nor does it leave early itself. */
static void test_a_vote_and_another_answer_in_one_turn(void **state)
{
    (void)state;
    const uint64_t terms[] = {1};
    start(terms, 1, 2);
    struct raft_message ask = {.type = RAFT_MSG_PREVOTE,
                               .from = 3,
                               .term = 2,
                               .log_index = 1,
                               .log_term = 1,
                               .round = 7};
    assert_int_equal(take(ask), ERR_OK);
    ask.type = RAFT_MSG_VOTE;
    ask.from = 2;
    assert_int_equal(take(ask), ERR_OK);
    collect();
    assert_non_null(sent(RAFT_MSG_PREVOTE_RESP));
    assert_null(sent(RAFT_MSG_VOTE_RESP));
    persist();
    collect();
    assert_non_null(sent(RAFT_MSG_VOTE_RESP));
}

/* ---- what is malformed is refused, and changes nothing ---- */

static void test_malformed_messages_change_nothing(void **state)
{
    (void)state;
    const uint64_t terms[] = {1, 1, 2};
    const struct raft_entry backwards[] = {
        {.term = 3, .type = RAFT_ENTRY_NORMAL},
        {.term = 2, .type = RAFT_ENTRY_NORMAL}};
    const struct raft_entry no_conf = {.term = 3, .type = RAFT_ENTRY_CONF};
    const struct raft_entry future = entry(9);
    const struct raft_entry one = entry(1);
    start(terms, 3, 3);
    assert_int_equal(take(append(3, 3, 2, 3, NULL, 0)), ERR_OK);
    assert_int_equal(look().commit, 3);
    const struct raft_message wrong[] = {
        append(3, 3, 1, 0, NULL, 0),      /* Against what is committed. */
        append(3, 2, 1, 0, &one, 1),      /* The same, an entry. */
        append(3, 3, 2, 0, backwards, 2), /* Terms go back. */
        append(3, 3, 2, 0, &future, 1),   /* A term after the sender's. */
        append(3, 3, 2, 0, &no_conf, 1),  /* Members without members. */
        append(3, 0, 2, 0, NULL, 0),      /* A term of nothing. */
        append(3, 3, 4, 0, NULL, 0),      /* A previous term after its own. */
        {.type = RAFT_MSG_APPEND, .from = 3, .term = 3}, /* A second leader. */
        {.type = RAFT_MSG_APPEND, .from = SELF, .term = 3},
        {.type = RAFT_MSG_HEARTBEAT, .from = 0, .term = 3},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = 4, .log_term = 5},
        {.type = RAFT_MSG_READ, .from = 2, .term = 3},
        {.type = RAFT_MSG_VOTE, .from = 2, .term = UINT64_MAX},
        {.type = (enum raft_message_type)99, .from = 2, .term = 3},
    };
    uint64_t before = raft_digest(raft);
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        enum err expected = i < 2 ? ERR_MISMATCH : ERR_INVALID;
        if (take(wrong[i]) != expected || raft_digest(raft) != before) {
            fail_msg("message %zu was taken", i);
        }
    }
}

/* Members that no leader would write down. */
static void test_unsound_members_are_refused(void **state)
{
    (void)state;
    const uint64_t terms[] = {1};
    struct raft_conf good = {.count = 2};
    good.members[0] = (struct raft_member){.id = 1, .suffrage = RAFT_VOTER};
    good.members[1] = (struct raft_member){.id = 2, .suffrage = RAFT_LEARNER};
    struct raft_conf bad[11];
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        bad[i] = good;
    }
    bad[0].count = 0;
    bad[1].count = RAFT_MEMBERS_MAX + 1;
    bad[2].members[1].id = 1; /* Twice. */
    bad[3].members[0].id = 0;
    bad[4].members[1].id = UINT64_MAX;
    bad[5].members[1].suffrage = (enum raft_suffrage)0;
    bad[6].members[1].suffrage = (enum raft_suffrage)4;
    memset(bad[7].members[0].name, 'x', sizeof(bad[7].members[0].name));
    memset(bad[8].members[0].addr, 'x', sizeof(bad[8].members[0].addr));
    memset(bad[9].members[1].http, 'x', sizeof(bad[9].members[1].http));
    bad[10].members[0].suffrage = RAFT_OBSERVER; /* Nobody votes. */
    start(terms, 1, 3);
    struct raft_entry entry_of = {.term = 3, .type = RAFT_ENTRY_CONF};
    uint64_t before = raft_digest(raft);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        entry_of.conf = &bad[i];
        if (take(append(3, 1, 1, 0, &entry_of, 1)) != ERR_INVALID ||
            raft_digest(raft) != before) {
            fail_msg("members %zu were taken", i);
        }
    }
    struct raft_entry nothing = {.term = 0, .type = RAFT_ENTRY_NORMAL};
    assert_int_equal(take(append(3, 0, 0, 0, &nothing, 1)), ERR_INVALID);
    entry_of.conf = &good;
    assert_int_equal(take(append(3, 1, 1, 0, &entry_of, 1)), ERR_OK);
    assert_int_equal(raft_conf_active(raft)->count, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, finish)
    const struct CMUnitTest tests[] = {
        TEST(test_an_append_commits_only_what_it_proves),
        TEST(test_a_heartbeat_commits_only_what_was_proved),
        TEST(test_a_conflict_anywhere_removes_it_and_all_behind),
        TEST(test_a_late_short_append_removes_nothing),
        TEST(test_an_answer_to_an_earlier_round_is_no_pre_vote),
        TEST(test_a_pre_vote_is_no_vote),
        TEST(test_what_waited_is_looked_at_again),
        TEST(test_a_vote_and_another_answer_in_one_turn),
        TEST(test_unsound_members_are_refused),
        TEST(test_malformed_messages_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
