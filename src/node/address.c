/* address.c -- the membership follows members that moved.
 *
 * A member advertises its addresses in every handshake. They count only if it
 * passed the checks of the handshake (its directory is the member's, and its
 * start the newest that is known), and while its link is up. The leader
 * compares them with the membership, and proposes the member's entry again when
 * they differ. No voter changes by that, so the rule of one change at a time is
 * all it needs. Until the entry is committed, links dial what they received
 * themselves (peer.h). */
#include <stdio.h>

#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

static struct advertised *find_advertised(struct node *node, raft_id id)
{
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (node->addresses.advertised[i].id == id) {
            return &node->addresses.advertised[i];
        }
    }
    return NULL;
}

static void set_advertised(struct node *node, raft_id id, const char *addr,
                           const char *http)
{
    struct advertised *free_slot = NULL;
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct advertised *advertised = &node->addresses.advertised[i];
        if (advertised->id == id || (advertised->id == 0 && !free_slot)) {
            free_slot = advertised;
        }
        if (advertised->id == id) {
            break;
        }
    }
    if (!free_slot) {
        return; /* More links than members: its next handshake repeats it. */
    }
    *free_slot = (struct advertised){.id = id};
    snprintf(free_slot->addr, sizeof(free_slot->addr), "%s", addr);
    snprintf(free_slot->http, sizeof(free_slot->http), "%s", http);
    node->addresses.changed = true;
}

void address_advertised(struct node *node, raft_id peer,
                        const struct wire_hello *hello)
{
    if (hello->from_addr[0] != '\0') {
        set_advertised(node, peer, hello->from_addr, hello->from_http);
    }
}

void address_remove(struct node *node, raft_id peer)
{
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (node->addresses.advertised[i].id == peer) {
            node->addresses.advertised[i] = (struct advertised){0};
        }
    }
}

const struct advertised *address_of(struct node *node, raft_id id)
{
    if (id == node->ident.id) {
        set_advertised(node, id, node->raft_addr, node->http_addr);
    }
    return find_advertised(node, id);
}

bool address_hint(struct node *node, const struct raft_member *wanted)
{
    const struct raft_member *member =
        raft_conf_find(raft_conf_active(node->raft), wanted->id);
    if (!member || strcmp(member->name, wanted->name) != 0 ||
        !join_same_uuid(member, wanted)) {
        return false;
    }
    if (wanted->id != node->ident.id) {
        node->env.transport.hint(node->env.transport.self, wanted->id,
                                 wanted->addr);
    }
    return true;
}

/* True when another member is at that address, by its handshake or else by its
 * entry, which may be out of date if it has moved as well. */
static bool is_taken(struct node *node, const struct raft_conf *conf,
                     struct advertised *wanted)
{
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *other = &conf->members[i];
        const struct advertised *advertised = find_advertised(node, other->id);
        if (other->id != wanted->id &&
            strcmp(advertised ? advertised->addr : other->addr, wanted->addr) ==
                0) {
            if (!wanted->refused) {
                log_warn("address",
                         "number=%llu addr=%s why=\"%s is at that address\"",
                         (unsigned long long)wanted->id, wanted->addr,
                         other->name);
            }
            wanted->refused = true;
            return true;
        }
    }
    return false;
}

/* Find the first member whose entry is out of date; *moved is the entry that it
 * should have. */
static bool find_moved(struct node *node, struct raft_member *moved)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        struct advertised *advertised = find_advertised(node, member->id);
        if (!advertised || (strcmp(advertised->addr, member->addr) == 0 &&
                            strcmp(advertised->http, member->http) == 0)) {
            continue;
        }
        if (is_taken(node, conf, advertised)) {
            continue;
        }
        *moved = *member;
        memcpy(moved->addr, advertised->addr, sizeof(moved->addr));
        memcpy(moved->http, advertised->http, sizeof(moved->http));
        return true;
    }
    return false;
}

bool address_has_changed(const struct node *node)
{
    return node->addresses.changed;
}

void address_follow(struct node *node)
{
    struct raft_member moved;
    must(raft_is_leader(node->raft));
    set_advertised(node, node->ident.id, node->raft_addr, node->http_addr);
    if (!find_moved(node, &moved)) {
        node->addresses.changed = false;
        return;
    }
    struct raft_change change = {.type = RAFT_CHANGE_UPDATE, .member = moved};
    struct raft_event event = {
        .type = RAFT_CHANGE, .now_ms = node->now_ms, .change = &change};
    enum err err = node_step(node, &event, NULL);
    if (!err) {
        log_info("address", "id=%s addr=%s http=%s", moved.name, moved.addr,
                 moved.http);
    }
    /* ERR_BUSY: another change is running, or this leader has not committed in
     * its term yet. */
    node->addresses.changed = !err || err == ERR_BUSY;
}
