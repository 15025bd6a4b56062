/* address.c -- the membership follows members that moved.
 *
 * A member says in every handshake where it can be reached. Only who passed
 * the checks of a handshake is listened to (its directory is the member's, and
 * its start the newest that is known), and only while its link is up. The
 * leader compares, and proposes the member entry anew when it differs: no
 * change of voters, so the rules for one change at a time are all it needs.
 * Until that is committed the links help themselves (peer.h). */
#include <stdio.h>

#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

static struct said *find_said(struct node *node, raft_id id)
{
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (node->addresses.said[i].id == id) {
            return &node->addresses.said[i];
        }
    }
    return NULL;
}

static void put_said(struct node *node, raft_id id, const char *addr,
                     const char *http)
{
    struct said *free_slot = NULL;
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct said *said = &node->addresses.said[i];
        if (said->id == id || (said->id == 0 && !free_slot)) {
            free_slot = said;
        }
        if (said->id == id) {
            break;
        }
    }
    if (!free_slot) {
        return; /* More links than members: its next handshake tells again. */
    }
    *free_slot = (struct said){.id = id};
    snprintf(free_slot->addr, sizeof(free_slot->addr), "%s", addr);
    snprintf(free_slot->http, sizeof(free_slot->http), "%s", http);
    node->addresses.changed = true;
}

void address_said(struct node *node, raft_id peer,
                  const struct wire_hello *hello)
{
    if (hello->from_addr[0] != '\0') {
        put_said(node, peer, hello->from_addr, hello->from_http);
    }
}

void address_forget(struct node *node, raft_id peer)
{
    for (int i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (node->addresses.said[i].id == peer) {
            node->addresses.said[i] = (struct said){0};
        }
    }
}

const struct said *address_of(struct node *node, raft_id id)
{
    if (id == node->ident.id) {
        put_said(node, id, node->raft_addr, node->http_addr);
    }
    return find_said(node, id);
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

/* Two members at one address: somebody is mistaken, unless the other one has
 * moved as well and only its entry is old. */
static bool is_taken(struct node *node, const struct raft_conf *conf,
                     struct said *wanted)
{
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *other = &conf->members[i];
        const struct said *said = find_said(node, other->id);
        if (other->id != wanted->id &&
            strcmp(said ? said->addr : other->addr, wanted->addr) == 0) {
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

/* The first member whose entry is to be changed, as it should be. */
static bool find_moved(struct node *node, struct raft_member *moved)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        struct said *said = find_said(node, member->id);
        if (!said || (strcmp(said->addr, member->addr) == 0 &&
                      strcmp(said->http, member->http) == 0)) {
            continue;
        }
        if (is_taken(node, conf, said)) {
            continue;
        }
        *moved = *member;
        memcpy(moved->addr, said->addr, sizeof(moved->addr));
        memcpy(moved->http, said->http, sizeof(moved->http));
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
    put_said(node, node->ident.id, node->raft_addr, node->http_addr);
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
    /* ERR_BUSY: another change is running, or we are new in office. */
    node->addresses.changed = !err || err == ERR_BUSY;
}
