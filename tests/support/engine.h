/* engine.h -- one engine, driven by hand-made messages.
 *
 * The other members exist only as the messages that a test sends. Time stands
 * still unless a test advances it, the disk completes and the state machine
 * applies only when a test says so, and output is kept until engine_forget().
 * Members 1..voters are voters; then come learners, then observers. Their
 * configuration is entry 1, or entry `base` of a log that starts later; an
 * empty log has none. */
#ifndef CRAFTD_TESTS_ENGINE_H
#define CRAFTD_TESTS_ENGINE_H

#include "base/base.h"
#include "raft/raft.h"

enum {
    ENGINE_LOG_MAX = 64,
    ENGINE_SENT_MAX = 1024,
    ENGINE_HEARTBEAT_MS = 100,
    ENGINE_ELECTION_MS = 1000, /* Up to twice that. */
    ENGINE_STALL_MS = 1000,
};

/* 0 is a sensible value of every field. */
struct engine_setup {
    raft_id self; /* 0: 1. */
    uint32_t voters;
    uint32_t learners;
    uint32_t observers;
    uint64_t term; /* At least that of the last entry, and 1. */
    raft_id vote;
    uint64_t base;
    uint64_t base_term;
    uint64_t applied;                 /* At least `base`. */
    uint64_t log[ENGINE_LOG_MAX + 1]; /* Terms of base+1.., ends with a 0. */
    uint64_t seed;
    uint32_t uncommitted_max; /* 0: 64. */
    uint32_t inflight_max;    /* 0: 8. */
};

struct engine {
    struct raft *raft;
    uint64_t now_ms;
    struct raft_update update; /* Result of the last collect. */
    uint64_t seq_handed;       /* Newest persist operation that was issued. */
    uint64_t seq_done;         /* Newest one that was reported as durable. */
    struct raft_status status; /* See engine_status(). */

    /* Gathered since engine_forget(). */
    uint32_t sent_count;
    struct raft_message sent[ENGINE_SENT_MAX];
    uint64_t read_cookie;
    uint64_t read_index;
    uint64_t read_failed;
    raft_id snapshot_peer;
    uint32_t snapshot_count;
    bool transfer_done;
    bool transfer_ok;
    bool conf_changed;
};

/* An append of a leader: `terms` has the terms of the entries and a final 0.
 * With `conf` the last entry is that configuration. */
struct engine_append {
    raft_id from;
    uint64_t term;
    uint64_t prev;
    uint64_t prev_term;
    uint64_t commit;
    uint64_t sent_ms;
    uint64_t terms[ENGINE_LOG_MAX + 1];
    const struct raft_conf *conf;
};

#define ENGINE(...) engine_new(&(struct engine_setup){__VA_ARGS__})
/* An engine that leads; see engine_to_ready(). */
#define READY(...) engine_new_ready(&(struct engine_setup){__VA_ARGS__})
#define HEAR(engine, ...)                                                      \
    engine_hear(engine, &(struct raft_message){__VA_ARGS__})
#define APPEND(engine, ...)                                                    \
    engine_append(engine, &(struct engine_append){__VA_ARGS__})
#define STEP(engine, ...) engine_step(engine, &(struct raft_event){__VA_ARGS__})
/* For tests: the call must succeed. */
#define OK(call) assert_int_equal(call, ERR_OK)
/* ... or fail with that error and leave the engine unchanged. */
#define REFUSED(engine, err, call)                                             \
    do {                                                                       \
        uint64_t digest_before = engine_digest(engine);                        \
        assert_int_equal(call, err);                                           \
        assert_int_equal(engine_digest(engine), digest_before);                \
    } while (0)
/* Lists that end with a 0. */
#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})
#define PEERS(...) ((const raft_id[]){__VA_ARGS__, 0})

struct engine *engine_new(const struct engine_setup *setup);
struct engine *engine_new_ready(const struct engine_setup *setup);
void engine_free(struct engine *engine);
void engine_conf(struct raft_conf *conf, uint32_t voters, uint32_t learners,
                 uint32_t observers);

/* For tests that create their own engines: times and limits of an ENGINE(). */
struct raft_options engine_options(raft_id self, uint64_t seed);
/* Add the next entry of a log to its `count` runs; returns the new count. */
uint32_t engine_add_run(struct raft_run *runs, uint32_t count, uint64_t index,
                        uint64_t term);

/* ---- input ---- */

/* Step with this event at the current time. */
MUST_CHECK enum err engine_step(struct engine *engine,
                                const struct raft_event *event);
/* `to` is filled in when it is 0. */
MUST_CHECK enum err engine_hear(struct engine *engine,
                                const struct raft_message *message);
MUST_CHECK enum err engine_append(struct engine *engine,
                                  const struct engine_append *append);
/* Advance the time, then tick. */
void engine_tick(struct engine *engine, uint64_t ms);
/* Advance in heartbeat intervals, in which these peers answer and the disk
 * completes. */
void engine_pass(struct engine *engine, uint64_t ms, const raft_id *alive);

/* ---- output ---- */

void engine_collect(struct engine *engine);
/* Report operations up to `seq`, or all issued ones, as durable. */
void engine_persist_to(struct engine *engine, uint64_t seq);
void engine_persist(struct engine *engine);
/* Collect and persist until nothing is left; then apply everything. */
void engine_settle(struct engine *engine);
void engine_forget(struct engine *engine);

/* The newest message of this type, or NULL; `to` 0: to any peer. */
const struct raft_message *engine_sent(const struct engine *engine,
                                       enum raft_message_type type, raft_id to);
uint32_t engine_sent_count(const struct engine *engine,
                           enum raft_message_type type);
/* The offer in the last update, or NULL. */
const struct raft_append_offer *engine_offer(const struct engine *engine,
                                             raft_id peer);
/* Send up to `count` of the offered entries; false when none were sent. */
bool engine_send_append(struct engine *engine, raft_id peer, uint64_t count,
                        struct raft_message *message);

/* ---- answers of peers ---- */

/* Grant the vote, or pre-vote, that the engine requested from `from`. */
MUST_CHECK enum err engine_grant(struct engine *engine, raft_id from);
/* Answer the newest heartbeat to `from`. */
MUST_CHECK enum err engine_answer(struct engine *engine, raft_id from);
/* Accept, or refuse, the newest append in the engine's term. */
MUST_CHECK enum err engine_ack(struct engine *engine, raft_id from,
                               uint64_t match);
MUST_CHECK enum err engine_refuse(struct engine *engine, raft_id from,
                                  uint64_t prev, uint64_t hint,
                                  uint64_t hint_term);

/* Run an election up to this role; all other voters grant it. */
void engine_to_precandidate(struct engine *engine);
void engine_to_candidate(struct engine *engine);
void engine_to_leader(struct engine *engine);
/* ... until all voters have all entries, and all are committed. */
void engine_to_ready(struct engine *engine);
/* All other voters acknowledge everything. */
void engine_catch_up(struct engine *engine);

/* ---- queries ---- */

/* Valid until the next call. */
const struct raft_status *engine_status(struct engine *engine);
enum raft_role engine_role(struct engine *engine);
/* A leader's view of a peer; valid until the next engine_status(). */
const struct raft_peer_status *engine_peer(struct engine *engine, raft_id id);
/* True when entries base+1.. have these terms and there are no more. */
bool engine_log_is(struct engine *engine, const uint64_t *terms);
/* Digest of the state, without the range that raft_appended() reports. */
uint64_t engine_digest(struct engine *engine);

#endif
