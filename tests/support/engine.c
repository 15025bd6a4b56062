/* engine.c -- see engine.h. Nothing here judges: what a test relies on is a
 * must(), what it is about is for the test to assert. */
#include "support/engine.h"

/* ---- construction ---- */

void engine_conf(struct raft_conf *conf, uint32_t voters, uint32_t learners,
                 uint32_t observers)
{
    memset(conf, 0, sizeof(*conf));
    conf->count = voters + learners + observers;
    must(conf->count <= RAFT_MEMBERS_MAX);
    for (uint32_t i = 0; i < conf->count; i++) {
        conf->members[i].id = i + 1;
        conf->members[i].suffrage = i < voters              ? RAFT_VOTER
                                    : i < voters + learners ? RAFT_LEARNER
                                                            : RAFT_OBSERVER;
    }
}

struct raft_options engine_options(raft_id self, uint64_t seed)
{
    return (struct raft_options){
        .self = self,
        .seed = seed,
        .heartbeat_ms = ENGINE_HEARTBEAT_MS,
        .election_min_ms = ENGINE_ELECTION_MS,
        .election_max_ms = 2 * ENGINE_ELECTION_MS,
        .storage_stall_ms = ENGINE_STALL_MS,
        .uncommitted_max = 64,
        .inflight_max = 8,
    };
}

uint32_t engine_add_run(struct raft_run *runs, uint32_t count, uint64_t index,
                        uint64_t term)
{
    if (count == 0 || runs[count - 1].term != term) {
        runs[count++] = (struct raft_run){.first = index, .term = term};
    }
    return count;
}

static uint32_t runs_of(const struct engine_setup *setup, struct raft_run *runs,
                        uint64_t *count)
{
    uint32_t run_count = 0;
    *count = 0;
    for (uint32_t i = 0; setup->log[i] != 0; i++) {
        must(i < ENGINE_LOG_MAX);
        run_count =
            engine_add_run(runs, run_count, setup->base + 1 + i, setup->log[i]);
        (*count)++;
    }
    return run_count;
}

struct engine *engine_new(const struct engine_setup *setup)
{
    struct raft_run runs[ENGINE_LOG_MAX];
    uint64_t count;
    uint32_t run_count = runs_of(setup, runs, &count);
    uint64_t last_term =
        run_count > 0 ? runs[run_count - 1].term : setup->base_term;
    struct raft_conf_entry first = {.index = max_u64(setup->base, 1)};
    engine_conf(&first.conf, setup->voters, setup->learners, setup->observers);

    struct raft_options options =
        engine_options(setup->self ? setup->self : 1, setup->seed);
    if (setup->uncommitted_max) {
        options.uncommitted_max = setup->uncommitted_max;
    }
    if (setup->inflight_max) {
        options.inflight_max = setup->inflight_max;
    }
    struct raft_boot boot = {
        .term = max_u64(setup->term, max_u64(last_term, 1)),
        .vote = setup->vote,
        .base = setup->base,
        .base_term = setup->base_term,
        .last = setup->base + count,
        .runs = runs,
        .run_count = run_count,
        .confs = &first,
        .conf_count = first.conf.count > 0 && setup->base + count > 0,
        .applied = max_u64(setup->applied, setup->base),
    };
    struct engine *engine = mem_zalloc(sizeof(*engine));
    engine->now_ms = 10000;
    engine->raft = raft_new(&options, &boot, engine->now_ms);
    return engine;
}

void engine_free(struct engine *engine)
{
    raft_free(engine->raft);
    mem_free(engine);
}

/* ---- input ---- */

enum err engine_step(struct engine *engine, const struct raft_event *event)
{
    struct raft_event now = *event;
    now.now_ms = engine->now_ms;
    return raft_step(engine->raft, &now);
}

/* For events that cannot be refused. */
static void step_ok(struct engine *engine, const struct raft_event *event)
{
    enum err err = engine_step(engine, event);
    must(err == ERR_OK);
}

enum err engine_hear(struct engine *engine, const struct raft_message *message)
{
    struct raft_message m = *message;
    if (m.to == 0) {
        m.to = engine_status(engine)->self;
    }
    return STEP(engine, .type = RAFT_MESSAGE, .message = &m);
}

enum err engine_append(struct engine *engine,
                       const struct engine_append *append)
{
    struct raft_entry entries[ENGINE_LOG_MAX];
    uint32_t count = 0;
    for (; append->terms[count] != 0; count++) {
        must(count < ENGINE_LOG_MAX);
        entries[count] = (struct raft_entry){.term = append->terms[count],
                                             .type = RAFT_ENTRY_NORMAL};
    }
    if (append->conf) {
        must(count > 0);
        entries[count - 1].type = RAFT_ENTRY_CONF;
        entries[count - 1].conf = append->conf;
    }
    return HEAR(engine, .type = RAFT_MSG_APPEND, .from = append->from,
                .term = append->term, .log_index = append->prev,
                .log_term = append->prev_term, .commit = append->commit,
                .sent_ms = append->sent_ms, .entry_count = count,
                .entries = entries);
}

void engine_tick(struct engine *engine, uint64_t ms)
{
    engine->now_ms += ms;
    step_ok(engine, &(struct raft_event){.type = RAFT_TICK});
}

void engine_pass(struct engine *engine, uint64_t ms, const raft_id *alive)
{
    uint64_t until_ms = engine->now_ms + ms;
    while (engine->now_ms < until_ms) {
        engine_tick(engine,
                    min_u64(ENGINE_HEARTBEAT_MS, until_ms - engine->now_ms));
        engine_settle(engine);
        for (const raft_id *id = alive; *id != 0; id++) {
            enum err err = engine_answer(engine, *id);
            must(err == ERR_OK);
        }
        engine_settle(engine);
    }
}

/* ---- output ---- */

void engine_collect(struct engine *engine)
{
    struct raft_update *update = &engine->update;
    raft_collect(engine->raft, update);
    for (uint32_t i = 0; i < update->message_count; i++) {
        must(engine->sent_count < ENGINE_SENT_MAX);
        engine->sent[engine->sent_count++] = update->messages[i];
    }
    if (update->persist.seq != 0) {
        must(update->persist.seq == engine->seq_handed + 1);
        engine->seq_handed = update->persist.seq;
    }
    if (update->read_cookie != 0) {
        engine->read_cookie = update->read_cookie;
        engine->read_index = update->read_index;
    }
    engine->read_failed = max_u64(engine->read_failed, update->read_failed);
    if (update->snapshot_peer != 0) {
        engine->snapshot_peer = update->snapshot_peer;
        engine->snapshot_count++;
    }
    if (update->transfer_done) {
        engine->transfer_done = true;
        engine->transfer_ok = update->transfer_ok;
    }
    engine->conf_changed = engine->conf_changed || update->conf_changed;
}

void engine_persist_to(struct engine *engine, uint64_t seq)
{
    must(seq <= engine->seq_handed && seq >= engine->seq_done);
    engine->seq_done = seq;
    step_ok(engine, &(struct raft_event){.type = RAFT_PERSISTED, .seq = seq});
}

void engine_persist(struct engine *engine)
{
    engine_persist_to(engine, engine->seq_handed);
}

void engine_settle(struct engine *engine)
{
    uint64_t apply_hi = 0;
    bool more = true;
    while (more) {
        engine_collect(engine);
        apply_hi = max_u64(apply_hi, engine->update.apply_hi);
        more = engine->seq_done < engine->seq_handed;
        if (more) {
            engine_persist(engine);
        }
    }
    step_ok(engine,
            &(struct raft_event){.type = RAFT_APPLIED, .index = apply_hi});
}

void engine_forget(struct engine *engine)
{
    engine->sent_count = 0;
    engine->read_cookie = 0;
    engine->read_index = 0;
    engine->read_failed = 0;
    engine->snapshot_peer = 0;
    engine->snapshot_count = 0;
    engine->transfer_done = false;
    engine->transfer_ok = false;
    engine->conf_changed = false;
}

const struct raft_message *engine_sent(const struct engine *engine,
                                       enum raft_message_type type, raft_id to)
{
    for (uint32_t i = engine->sent_count; i > 0; i--) {
        const struct raft_message *m = &engine->sent[i - 1];
        if (m->type == type && (to == 0 || m->to == to)) {
            return m;
        }
    }
    return NULL;
}

uint32_t engine_sent_count(const struct engine *engine,
                           enum raft_message_type type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < engine->sent_count; i++) {
        count += engine->sent[i].type == type;
    }
    return count;
}

const struct raft_append_offer *engine_offer(const struct engine *engine,
                                             raft_id peer)
{
    for (uint32_t i = 0; i < engine->update.offer_count; i++) {
        if (engine->update.offers[i].peer == peer) {
            return &engine->update.offers[i];
        }
    }
    return NULL;
}

bool engine_send_append(struct engine *engine, raft_id peer, uint64_t count,
                        struct raft_message *message)
{
    const struct raft_append_offer *offer = engine_offer(engine, peer);
    if (!offer) {
        return false;
    }
    uint64_t hi = min_u64(offer->last, offer->next + count - 1);
    return raft_make_append(engine->raft, peer, offer->next, hi, engine->now_ms,
                            message);
}

/* ---- answers of peers ---- */

enum err engine_grant(struct engine *engine, raft_id from)
{
    bool pre = engine_role(engine) == RAFT_PRECANDIDATE;
    const struct raft_message *asked =
        engine_sent(engine, pre ? RAFT_MSG_PREVOTE : RAFT_MSG_VOTE, from);
    must(asked);
    return HEAR(engine,
                .type = pre ? RAFT_MSG_PREVOTE_RESP : RAFT_MSG_VOTE_RESP,
                .from = from, .term = asked->term, .round = asked->round,
                .granted = true);
}

enum err engine_answer(struct engine *engine, raft_id from)
{
    const struct raft_message *asked =
        engine_sent(engine, RAFT_MSG_HEARTBEAT, from);
    must(asked);
    return HEAR(engine, .type = RAFT_MSG_HEARTBEAT_RESP, .from = from,
                .term = asked->term, .round = asked->round,
                .sent_ms = asked->sent_ms);
}

enum err engine_ack(struct engine *engine, raft_id from, uint64_t match)
{
    return HEAR(engine, .type = RAFT_MSG_APPEND_RESP, .from = from,
                .term = raft_term(engine->raft), .match = match,
                .sent_ms = engine->now_ms, .granted = true);
}

enum err engine_refuse(struct engine *engine, raft_id from, uint64_t prev,
                       uint64_t hint, uint64_t hint_term)
{
    return HEAR(engine, .type = RAFT_MSG_APPEND_RESP, .from = from,
                .term = raft_term(engine->raft), .match = prev,
                .log_index = hint, .log_term = hint_term,
                .sent_ms = engine->now_ms);
}

void engine_to_precandidate(struct engine *engine)
{
    engine->now_ms = max_u64(engine->now_ms, raft_deadline_ms(engine->raft));
    engine_tick(engine, 0);
    engine_settle(engine);
}

/* Tick until that role ends. */
static void grant_while(struct engine *engine, enum raft_role role)
{
    raft_id self = engine_status(engine)->self;
    const struct raft_conf *conf = raft_conf_active(engine->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].suffrage == RAFT_VOTER &&
            conf->members[i].id != self && engine_role(engine) == role) {
            enum err err = engine_grant(engine, conf->members[i].id);
            must(err == ERR_OK);
        }
    }
}

void engine_to_candidate(struct engine *engine)
{
    engine_to_precandidate(engine);
    grant_while(engine, RAFT_PRECANDIDATE);
    engine_settle(engine);
}

void engine_to_leader(struct engine *engine)
{
    engine_to_candidate(engine);
    grant_while(engine, RAFT_CANDIDATE);
    must(engine_role(engine) == RAFT_LEADER);
}

void engine_catch_up(struct engine *engine)
{
    raft_id self = engine_status(engine)->self;
    engine_settle(engine);
    uint64_t last = raft_last(engine->raft);
    struct raft_conf conf = *raft_conf_active(engine->raft);
    for (uint32_t i = 0; i < conf.count; i++) {
        if (conf.members[i].suffrage == RAFT_VOTER &&
            conf.members[i].id != self) {
            enum err err = engine_ack(engine, conf.members[i].id, last);
            must(err == ERR_OK);
        }
    }
    engine_settle(engine);
}

void engine_to_ready(struct engine *engine)
{
    engine_to_leader(engine);
    engine_catch_up(engine);
    must(raft_commit(engine->raft) == raft_last(engine->raft));
    engine_forget(engine);
}

struct engine *engine_new_ready(const struct engine_setup *setup)
{
    struct engine *engine = engine_new(setup);
    engine_to_ready(engine);
    return engine;
}

/* ---- queries ---- */

const struct raft_status *engine_status(struct engine *engine)
{
    raft_get_status(engine->raft, &engine->status);
    return &engine->status;
}

enum raft_role engine_role(struct engine *engine)
{
    return engine_status(engine)->role;
}

const struct raft_peer_status *engine_peer(struct engine *engine, raft_id id)
{
    const struct raft_status *status = engine_status(engine);
    for (uint32_t i = 0; i < status->peer_count; i++) {
        if (status->peers[i].id == id) {
            return &status->peers[i];
        }
    }
    must(false);
    return NULL;
}

bool engine_log_is(struct engine *engine, const uint64_t *terms)
{
    uint64_t base = engine_status(engine)->base;
    uint64_t last = raft_last(engine->raft);
    uint64_t count = 0;
    while (terms[count] != 0) {
        uint64_t index = base + 1 + count;
        if (index > last || raft_term_at(engine->raft, index) != terms[count]) {
            return false;
        }
        count++;
    }
    return base + count == last;
}

uint64_t engine_digest(struct engine *engine)
{
    engine_persist_to(engine, engine->seq_done); /* Changes nothing else. */
    return raft_digest(engine->raft);
}
