/* join.c -- requests that change the membership, at the leader.
 *
 * A join describes a goal, not a change: "a member of this name, directory and
 * address". Each step proposes the one change that is missing next, and is
 * repeated once that is applied. So a repeated join does nothing, a wiped
 * machine is first removed and then added under a new id, and a join that meets
 * another change waits for it.
 *
 * A name belongs to its member. A newcomer at the member's own address with
 * another directory is the member after a lost disk; one with its name at
 * another address may be a second node that was given the same --id, and has to
 * wait for longer than a reboot takes. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

/* True unless both uuids are known and differ. */
bool join_same_uuid(const struct raft_member *a, const struct raft_member *b)
{
    return !raft_uuid_is_known(a->uuid) || !raft_uuid_is_known(b->uuid) ||
           memcmp(a->uuid, b->uuid, RAFT_UUID_BYTES) == 0;
}

/* Send time of this leader's newest heartbeat that the member has answered, in
 * ms; 0: none. */
static uint64_t contact_ms(const struct node *node, raft_id id)
{
    struct raft_status status;
    raft_get_status(node->raft, &status);
    for (uint32_t i = 0; i < status.peer_count; i++) {
        if (status.peers[i].id == id) {
            return status.peers[i].contact_ms;
        }
    }
    return 0;
}

static bool is_live(const struct node *node, raft_id id)
{
    uint64_t contact = contact_ms(node, id);
    return id == node->ident.id ||
           (contact > 0 &&
            node->now_ms < contact + node->options.election_min_ms);
}

/* Silence counts from the start of this leadership at the earliest: this node
 * cannot know which members were silent before. */
static uint64_t silent_ms(const struct node *node, raft_id id)
{
    uint64_t since_ms =
        max_u64(contact_ms(node, id), node->leader.own_since_ms);
    return node->now_ms > since_ms ? node->now_ms - since_ms : 0;
}

/* Number of members that no leader may ever have reached: those without a vote
 * that have not answered this one. A voter has caught up once. */
static uint32_t count_unreached(const struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    uint32_t count = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        count += member->suffrage != RAFT_VOTER &&
                 member->id != node->ident.id &&
                 contact_ms(node, member->id) == 0;
    }
    return count;
}

static enum node_outcome outcome_of_change(enum err err)
{
    switch (err) {
    case ERR_CLOSED:
        return NODE_NO_LEADER;
    case ERR_NOT_FOUND:
        return NODE_NOT_FOUND;
    case ERR_BUSY:
        return NODE_CONF_BUSY;
    case ERR_OK:
    case ERR_IO:
    case ERR_NOSPACE:
    case ERR_RESOURCES:
    case ERR_CORRUPT:
    case ERR_TOO_BIG:
    case ERR_EXISTS:
    case ERR_INVALID:
    case ERR_LOCKED:
    case ERR_MISMATCH:
    case ERR_VERSION:
        break;
    }
    return NODE_LAST_VOTER;
}

static void propose_change(struct node *node, struct node_request *request,
                           enum raft_change_type type,
                           const struct raft_member *member)
{
    struct raft_change change = {.type = type, .member = *member};
    must(raft_is_leader(node->raft));
    struct raft_event event = {
        .type = RAFT_CHANGE, .now_ms = node->now_ms, .change = &change};
    enum err err = node_step(node, &event, NULL);
    if (err == ERR_OK) {
        request_proposed(node, request);
    } else if (err == ERR_BUSY) {
        request_move(node, request, STATE_WAITING);
    } else if (err == ERR_EXISTS) {
        request_finish(node, request, NODE_OK, raft_commit(node->raft));
    } else {
        request_finish(node, request, outcome_of_change(err), 0);
    }
}

static const struct raft_member *find_member(const struct raft_conf *conf,
                                             const char *name, const char *addr)
{
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if ((name && strcmp(member->name, name) == 0) ||
            (addr && strcmp(member->addr, addr) == 0)) {
            return member;
        }
    }
    return NULL;
}

static bool is_at_address(struct node *node, const struct raft_member *member,
                          const char *addr)
{
    const struct advertised *advertised = address_of(node, member->id);
    return strcmp(member->addr, addr) == 0 ||
           (advertised && strcmp(advertised->addr, addr) == 0);
}

/* May `wanted` take the place of `old`, whose name or address it has? */
static enum node_refusal may_replace(struct node *node,
                                     const struct raft_member *old,
                                     const struct raft_member *wanted,
                                     bool by_addr)
{
    if (is_live(node, old->id)) {
        return NODE_REFUSED_LIVE;
    }
    if (strcmp(old->name, wanted->name) != 0) {
        return by_addr ? NODE_REFUSED_OTHERWISE : NODE_REFUSED_ADDR;
    }
    return is_at_address(node, old, wanted->addr) ||
                   silent_ms(node, old->id) >= node->options.replace_after_ms
               ? NODE_REFUSED_OTHERWISE
               : NODE_REFUSED_NOT_YET;
}

static void refuse_join(struct node *node, struct node_request *request,
                        enum node_refusal refusal,
                        const struct raft_member *old,
                        const struct raft_member *wanted)
{
    struct node_intruder *intruder = &node->intruder.last;
    uint64_t silent = silent_ms(node, old->id);
    uint64_t count;
    if (log_limit(&node->join_log, node->now_ms, NODE_LIMITED_LOG_MS, &count)) {
        log_warn("join",
                 "id=%s addr=%s why=\"%s at %s %s\" silent_ms=%llu count=%llu",
                 wanted->name, wanted->addr, old->name, old->addr,
                 refusal == NODE_REFUSED_LIVE
                     ? "is a live member: id or address is taken"
                 : refusal == NODE_REFUSED_ADDR ? "is a member at that address"
                                                : "may come back",
                 (unsigned long long)silent, (unsigned long long)count);
    }
    *intruder = (struct node_intruder){.refusal = refusal};
    memcpy(intruder->name, wanted->name, sizeof(intruder->name));
    memcpy(intruder->addr, wanted->addr, sizeof(intruder->addr));
    memcpy(intruder->member, old->name, sizeof(intruder->member));
    node->intruder.asked_ms = node->now_ms;
    if (refusal == NODE_REFUSED_NOT_YET) {
        must(silent < node->options.replace_after_ms);
        request->result.wait_ms = node->options.replace_after_ms - silent;
    }
    request_refuse(node, request, NODE_INVALID, refusal);
}

/* The newcomer has another directory than the member of its name or address:
 * remove that member first. */
static void replace_member(struct node *node, struct node_request *request,
                           const struct raft_member *old,
                           const struct raft_member *wanted, bool by_addr)
{
    enum node_refusal refusal = may_replace(node, old, wanted, by_addr);
    if (refusal != NODE_REFUSED_OTHERWISE) {
        refuse_join(node, request, refusal, old, wanted);
        return;
    }
    if (request->replaced) {
        /* This join has removed a member already, and there is another: two
         * nodes that join under one name would replace each other for ever. */
        request_finish(node, request, NODE_CONF_BUSY, 0);
        return;
    }
    log_info("join", "id=%s addr=%s replaces=%llu", wanted->name, wanted->addr,
             (unsigned long long)old->id);
    propose_change(node, request, RAFT_CHANGE_REMOVE, old);
    request->replaced = request->state == STATE_PROPOSED;
}

/* True for a request that moves a member and does not prove its directory, as
 * hraftd's requests do not: anybody may have sent it. The address of a member
 * that is down is protected like its name. A member that was itself added in
 * that way has no directory yet, and its address may be corrected. */
static bool moves_unproved(struct node *node, const struct raft_member *old,
                           const struct raft_member *wanted)
{
    return raft_uuid_is_known(old->uuid) && !raft_uuid_is_known(wanted->uuid) &&
           !address_of(node, old->id) &&
           !is_at_address(node, old, wanted->addr);
}

/* Bring the entry of a known member up to date. The addresses that a connected
 * member advertises count more than those of the request: otherwise the two
 * would be proposed in turn, for ever. */
static void refresh_member(struct node *node, struct node_request *request,
                           const struct raft_member *old,
                           const struct raft_member *wanted)
{
    enum node_refusal refusal = moves_unproved(node, old, wanted)
                                    ? may_replace(node, old, wanted, false)
                                    : NODE_REFUSED_OTHERWISE;
    if (refusal != NODE_REFUSED_OTHERWISE) {
        refuse_join(node, request, refusal, old, wanted);
        return;
    }
    struct raft_member update = *old;
    const struct advertised *advertised = address_of(node, old->id);
    if (raft_uuid_is_known(wanted->uuid)) {
        memcpy(update.uuid, wanted->uuid, sizeof(update.uuid));
    }
    uint64_t count;
    if (advertised && strcmp(advertised->addr, wanted->addr) != 0 &&
        log_limit(&node->join_log, node->now_ms, NODE_LIMITED_LOG_MS, &count)) {
        log_warn(
            "join",
            "id=%s addr=%s why=\"the member is connected from %s\" count=%llu",
            wanted->name, wanted->addr, advertised->addr,
            (unsigned long long)count);
    }
    if (advertised) {
        memcpy(update.addr, advertised->addr, sizeof(update.addr));
        memcpy(update.http, advertised->http, sizeof(update.http));
    } else {
        memcpy(update.addr, wanted->addr, sizeof(update.addr));
        if (wanted->http[0] != '\0') {
            memcpy(update.http, wanted->http, sizeof(update.http));
        }
    }
    bool same = memcmp(update.uuid, old->uuid, sizeof(update.uuid)) == 0 &&
                strcmp(update.addr, old->addr) == 0 &&
                strcmp(update.http, old->http) == 0;
    if (same) {
        request_finish(node, request, NODE_OK, raft_commit(node->raft));
    } else {
        propose_change(node, request, RAFT_CHANGE_UPDATE, &update);
    }
}

void join_step(struct node *node, struct node_request *request)
{
    struct raft_member wanted;
    if (wire_decode_member(buf_bytes(&request->body), &wanted) != ERR_OK ||
        wanted.name[0] == '\0' || wanted.addr[0] == '\0' ||
        wanted.suffrage == RAFT_VOTER) {
        request_finish(node, request, NODE_INVALID, 0);
        return;
    }
    bool by_addr = wanted.id == NODE_JOIN_REPLACE;
    if (wanted.id != 0 && !by_addr) { /* node_moved() */
        request_finish(node, request,
                       address_hint(node, &wanted) ? NODE_OK : NODE_NOT_FOUND,
                       0);
        return;
    }
    const struct raft_conf *conf = raft_conf_active(node->raft);
    const struct raft_member *named = find_member(conf, wanted.name, NULL);
    const struct raft_member *there = find_member(conf, NULL, wanted.addr);
    wanted.id = 0;
    if (there && there != named) {
        replace_member(node, request, there, &wanted, by_addr);
    } else if (named && !join_same_uuid(named, &wanted)) {
        replace_member(node, request, named, &wanted, by_addr);
    } else if (named) {
        refresh_member(node, request, named, &wanted);
    } else if (!request->replaced &&
               count_unreached(node) >= NODE_UNREACHED_MAX) {
        uint64_t count;
        if (log_limit(&node->join_log, node->now_ms, NODE_LIMITED_LOG_MS,
                      &count)) {
            log_warn("join",
                     "id=%s addr=%s why=\"%d members were never reached\" "
                     "count=%llu",
                     wanted.name, wanted.addr, NODE_UNREACHED_MAX,
                     (unsigned long long)count);
        }
        request_refuse(node, request, NODE_INVALID, NODE_REFUSED_UNREACHED);
    } else {
        propose_change(node, request, RAFT_CHANGE_ADD, &wanted);
    }
}

/* True when nothing but the member's own lag prevents its promotion. */
static bool is_behind(const struct node *node)
{
    struct raft_status status;
    raft_get_status(node->raft, &status);
    return status.leader_ready && !status.changing && !status.transferring;
}

void node_suffrage_step(struct node *node, struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    struct raft_member member = {.id = cursor_u64(&body)};
    bool voter = cursor_u8(&body) == 1;
    propose_change(node, request,
                   voter ? RAFT_CHANGE_PROMOTE : RAFT_CHANGE_DEMOTE, &member);
    if (voter && request->state == STATE_WAITING && is_behind(node)) {
        request_finish(node, request, NODE_NOT_CAUGHT_UP, 0);
    }
}

void node_remove_step(struct node *node, struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    struct raft_member member = {.id = cursor_u64(&body)};
    propose_change(node, request, RAFT_CHANGE_REMOVE, &member);
}

/* ---- requests ---- */

void node_join(struct node *node, struct node_request *request,
               const struct raft_member *member)
{
    node->scratch.encoded.size = 0;
    wire_encode_member(&node->scratch.encoded, member);
    request->body.size = 0;
    buf_add_bytes(&request->body, buf_bytes(&node->scratch.encoded));
    request_accept(node, request, REQUEST_JOIN, buf_bytes(&request->body));
}

void node_moved(struct node *node, struct node_request *request,
                const struct raft_member *member)
{
    must(member->id != 0);
    request_begin(request, REQUEST_JOIN);
    bool known = node->member && address_hint(node, member);
    if (known && raft_leader(node->raft) != 0) {
        node_join(node, request, member);
    } else {
        request_finish(node, request, known ? NODE_OK : NODE_NOT_FOUND, 0);
    }
}

void node_remove(struct node *node, struct node_request *request, raft_id id)
{
    request_accept_id(node, request, REQUEST_REMOVE, id);
}

void node_set_voter(struct node *node, struct node_request *request, raft_id id,
                    bool voter)
{
    request->body.size = 0;
    buf_add_u64(&request->body, id);
    buf_add_u8(&request->body, voter);
    request_accept(node, request, REQUEST_SUFFRAGE, buf_bytes(&request->body));
}
