/* conf.c -- membership, one change at a time (thesis 4.1 to 4.2).
 *
 * A configuration is in force from the moment it is in the log. Two rules
 * keep that safe: no change while another is not committed, and none before
 * this leader has committed an entry of its own term (the erratum of 2015:
 * two leaders could otherwise commit changes with quorums that do not meet).
 * New members start as learners and vote once they have caught up. */
#include "raft/raft_internal.h"

/* ---- helpers ---- */

const struct raft_member *raft_conf_find(const struct raft_conf *conf,
                                         raft_id id)
{
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].id == id) {
            return &conf->members[i];
        }
    }
    return NULL;
}

uint32_t raft_conf_voters(const struct raft_conf *conf)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        voters += conf->members[i].suffrage == RAFT_VOTER;
    }
    return voters;
}

bool raft_conf_is_voter(const struct raft_conf *conf, raft_id id)
{
    const struct raft_member *member = raft_conf_find(conf, id);
    return member && member->suffrage == RAFT_VOTER;
}

bool raft_is_sole_voter(const struct raft *raft)
{
    const struct raft_conf *conf = raft_conf_active(raft);
    return raft_conf_voters(conf) == 1 &&
           raft_conf_is_voter(conf, raft->options.self);
}

bool raft_is_ready(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

static bool texts_end(const struct raft_member *member)
{
    return memchr(member->name, 0, sizeof(member->name)) &&
           memchr(member->addr, 0, sizeof(member->addr)) &&
           memchr(member->http, 0, sizeof(member->http));
}

bool raft_conf_is_sound(const struct raft_conf *conf)
{
    if (conf->count == 0 || conf->count > RAFT_MEMBERS_MAX) {
        return false;
    }
    raft_id before = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->id <= before || member->id >= RAFT_NUMBER_MAX ||
            member->suffrage < RAFT_VOTER || member->suffrage > RAFT_OBSERVER ||
            !texts_end(member)) {
            return false;
        }
        before = member->id;
    }
    return raft_conf_voters(conf) > 0;
}

bool raft_uuid_is_known(const uint8_t uuid[RAFT_UUID_BYTES])
{
    static const uint8_t unknown[RAFT_UUID_BYTES];
    return memcmp(uuid, unknown, RAFT_UUID_BYTES) != 0;
}

static struct raft_member *find_mutable(struct raft_conf *conf, raft_id id)
{
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].id == id) {
            return &conf->members[i];
        }
    }
    return NULL;
}

/* Without a live majority of the new voters the change would never commit, and
 * nothing after it. */
static bool majority_is_live(struct raft *raft, const struct raft_conf *conf)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->suffrage == RAFT_VOTER) {
            const struct raft_peer *peer = raft_peer_find(raft, member->id);
            must(peer); /* A change leaves us with voters that we had. */
            live += raft_peer_is_live(raft, peer);
        }
    }
    return live * 2 > raft_conf_voters(conf);
}

/* A new leader has not heard from all of them yet: that needs some time. */
static enum err can_decide(struct raft *raft, const struct raft_conf *conf)
{
    if (raft_conf_voters(conf) > 0 && majority_is_live(raft, conf)) {
        return ERR_OK;
    }
    return raft_conf_voters(conf) > 0 && raft_is_new_leader(raft) ? ERR_BUSY
                                                                  : ERR_INVALID;
}

bool raft_change_is_running(const struct raft *raft)
{
    return raft_log_conf_index(raft) > raft->commit;
}

/* ---- catching up ---- */

/* A round lasts until the learner holds what the log held when the round
 * began. When the last of three is short, the rest is too. Counts real acks
 * only, so what never answered is never promoted. */
void raft_catch_up(struct raft *raft, struct raft_peer *peer)
{
    while (!peer->caught_up && peer->match >= peer->catch_up_target) {
        uint64_t took_ms = raft->now_ms - peer->catch_up_ms;
        peer->catch_up_rounds++;
        peer->caught_up = peer->catch_up_rounds >= RAFT_CATCH_UP_ROUNDS &&
                          took_ms < raft->options.election_min_ms;
        peer->catch_up_ms = raft->now_ms;
        peer->catch_up_target = raft->log.last;
    }
}

/* True when the peer has caught up, is live, and lacks at most one append. */
static bool may_vote_soon(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->caught_up && peer->state == RAFT_PEER_REPLICATE &&
           raft_peer_is_live(raft, peer) &&
           raft->log.last - peer->match <= RAFT_APPEND_ENTRIES_MAX;
}

/* The only way for a leader to change the membership (4.1, and the erratum). */
static void append_conf(struct raft *raft, const struct raft_conf *conf)
{
    must(raft_is_ready(raft));           /* L11 */
    must(!raft_change_is_running(raft)); /* L10 */
    must(raft->transfer.target == 0);
    must(raft_conf_is_sound(conf));
    raft_log_append(raft, raft->term, RAFT_ENTRY_CONF, conf);
}

void raft_promote_learner(struct raft *raft)
{
    if (!raft_is_ready(raft) || raft_change_is_running(raft) ||
        raft->transfer.target != 0) {
        return;
    }
    const struct raft_conf *conf = raft_conf_active(raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        must(raft->peers[i].id == conf->members[i].id);
        if (conf->members[i].suffrage == RAFT_LEARNER &&
            may_vote_soon(raft, &raft->peers[i])) {
            struct raft_conf promoted = *conf;
            promoted.members[i].suffrage = RAFT_VOTER;
            append_conf(raft, &promoted);
            return;
        }
    }
}

/* ---- changes: each edits `conf` or returns why not ---- */

static enum err change_add(struct raft *raft, struct raft_conf *conf,
                           const struct raft_member *member)
{
    if ((member->suffrage != RAFT_LEARNER &&
         member->suffrage != RAFT_OBSERVER) ||
        conf->count == RAFT_MEMBERS_MAX || !texts_end(member)) {
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < conf->count; i++) {
        if (raft_uuid_is_known(member->uuid) &&
            memcmp(conf->members[i].uuid, member->uuid, RAFT_UUID_BYTES) == 0) {
            return ERR_EXISTS;
        }
    }
    /* The newest id is the highest: the list stays sorted. It is the index of
     * the entry, unless a member that was at fault has added a larger one. */
    raft_id highest = conf->members[conf->count - 1].id;
    raft_id id = max_u64(raft->log.last, highest) + 1;
    if (id >= RAFT_NUMBER_MAX) {
        return ERR_INVALID; /* Until the member that has it is removed. */
    }
    struct raft_member *added = &conf->members[conf->count++];
    *added = *member;
    added->id = id;
    return ERR_OK;
}

static enum err change_promote(struct raft *raft, struct raft_member *target)
{
    if (target->suffrage == RAFT_VOTER) {
        return ERR_EXISTS;
    }
    const struct raft_peer *peer = raft_peer_find(raft, target->id);
    must(peer);
    if (!may_vote_soon(raft, peer)) {
        return ERR_BUSY;
    }
    target->suffrage = RAFT_VOTER;
    return ERR_OK;
}

static enum err change_demote(struct raft *raft, struct raft_conf *conf,
                              struct raft_member *target)
{
    if (target->suffrage == RAFT_OBSERVER) {
        return ERR_EXISTS;
    }
    bool was_voter = target->suffrage == RAFT_VOTER;
    target->suffrage = RAFT_OBSERVER;
    return was_voter ? can_decide(raft, conf) : ERR_OK;
}

static enum err change_remove(struct raft *raft, struct raft_conf *conf,
                              struct raft_member *target)
{
    bool was_voter = target->suffrage == RAFT_VOTER;
    size_t place = (size_t)(target - conf->members);
    memmove(target, target + 1,
            (conf->count - place - 1) * sizeof(conf->members[0]));
    conf->count--;
    memset(&conf->members[conf->count], 0, sizeof(conf->members[0]));
    return was_voter ? can_decide(raft, conf) : ERR_OK;
}

static enum err change_update(struct raft_member *target,
                              const struct raft_member *member)
{
    if (!texts_end(member)) {
        return ERR_INVALID;
    }
    struct raft_member old = *target;
    if (raft_uuid_is_known(member->uuid)) {
        if (raft_uuid_is_known(target->uuid) &&
            memcmp(target->uuid, member->uuid, RAFT_UUID_BYTES) != 0) {
            return ERR_INVALID; /* Another directory is another node. */
        }
        memcpy(target->uuid, member->uuid, RAFT_UUID_BYTES);
    }
    memcpy(target->addr, member->addr, sizeof(target->addr));
    memcpy(target->http, member->http, sizeof(target->http));
    bool same = memcmp(old.uuid, target->uuid, RAFT_UUID_BYTES) == 0 &&
                strcmp(old.addr, target->addr) == 0 &&
                strcmp(old.http, target->http) == 0;
    return same ? ERR_EXISTS : ERR_OK;
}

static enum err edit(struct raft *raft, const struct raft_change *change,
                     struct raft_conf *conf)
{
    if (change->type == RAFT_CHANGE_ADD) {
        return change_add(raft, conf, &change->member);
    }
    struct raft_member *target = find_mutable(conf, change->member.id);
    if (!target) {
        return ERR_NOT_FOUND;
    }
    switch (change->type) {
    case RAFT_CHANGE_PROMOTE:
        return change_promote(raft, target);
    case RAFT_CHANGE_DEMOTE:
        return change_demote(raft, conf, target);
    case RAFT_CHANGE_REMOVE:
        return change_remove(raft, conf, target);
    case RAFT_CHANGE_UPDATE:
        return change_update(target, &change->member);
    case RAFT_CHANGE_ADD:
        break;
    }
    return ERR_INVALID;
}

enum err raft_conf_change(struct raft *raft, const struct raft_change *change)
{
    if (raft->role != RAFT_LEADER) {
        return ERR_CLOSED;
    }
    if (!raft_is_ready(raft) || raft_change_is_running(raft) ||
        raft->transfer.target != 0) {
        return ERR_BUSY;
    }
    struct raft_conf conf = *raft_conf_active(raft);
    enum err err = edit(raft, change, &conf);
    if (err) {
        return err;
    }
    append_conf(raft, &conf);
    return ERR_OK;
}
