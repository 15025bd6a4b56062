/* reap.c -- a leader removes members that have been silent for too long. */
#include "ops/ops.h"

#include "base/log.h"

enum {
    REMOVE_MS = 10000, /* Time-out of one removal. */
    CHECKS_PER_REAP = 10,
};

/* Contact of this leader with a member. */
struct contact {
    raft_id id;          /* 0: the row is free. */
    uint64_t contact_ms; /* By struct raft_peer_status. */
    uint64_t changed_ms; /* Time of the last change of contact_ms. */
};

struct ops_reap {
    struct reactor *reactor;
    struct node *node;
    uint64_t silent_ms_max;
    struct timer timer;
    struct node_request request;
    bool removing; /* `request` is with the node. */
    uint64_t checked_ms;
    struct contact contacts[RAFT_MEMBERS_MAX];
};

static uint64_t now_ms(const struct ops_reap *reap)
{
    return reactor_now_ms(reap->reactor);
}

static struct contact *contact_of(struct ops_reap *reap, raft_id id)
{
    struct contact *row = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(reap->contacts); i++) {
        if (reap->contacts[i].id == id) {
            return &reap->contacts[i];
        }
        if (reap->contacts[i].id == 0) {
            row = &reap->contacts[i];
        }
    }
    must(row); /* forget_removed() has made room. */
    *row = (struct contact){.id = id, .changed_ms = now_ms(reap)};
    return row;
}

static void forget_removed(struct ops_reap *reap, const struct raft_conf *conf)
{
    for (size_t i = 0; i < ARRAY_COUNT(reap->contacts); i++) {
        if (!raft_conf_find(conf, reap->contacts[i].id)) {
            reap->contacts[i].id = 0;
        }
    }
}

static void on_removed(struct node_request *request,
                       const struct node_result *result)
{
    struct ops_reap *reap = container_of(request, struct ops_reap, request);
    must(reap->removing);
    reap->removing = false;
    if (result->outcome != NODE_OK) {
        log_warn("reap", "why=\"%s\"", node_outcome_name(result->outcome));
    }
}

static void remove_member(struct ops_reap *reap,
                          const struct raft_member *member, uint64_t silent_ms)
{
    must(!reap->removing && node_is_leader(reap->node));
    log_warn("reap", "id=%s silent_s=%llu", member->name,
             (unsigned long long)(silent_ms / 1000));
    reap->removing = true;
    reap->request.cb = on_removed;
    reap->request.deadline_ms = now_ms(reap) + REMOVE_MS;
    node_remove(reap->node, &reap->request, member->id);
}

static void check_members(struct ops_reap *reap,
                          const struct node_status *status)
{
    forget_removed(reap, status->conf);
    for (uint32_t i = 0; i < status->raft.peer_count; i++) {
        const struct raft_peer_status *peer = &status->raft.peers[i];
        const struct raft_member *member =
            raft_conf_find(status->conf, peer->id);
        if (!member || peer->id == status->raft.self) {
            continue;
        }
        struct contact *contact = contact_of(reap, peer->id);
        if (contact->contact_ms != peer->contact_ms) {
            contact->contact_ms = peer->contact_ms;
            contact->changed_ms = now_ms(reap);
        }
        uint64_t silent_ms = now_ms(reap) - contact->changed_ms;
        if (silent_ms >= reap->silent_ms_max && !reap->removing) {
            remove_member(reap, member, silent_ms);
        }
    }
}

/* Silence counts only while this node leads and runs: otherwise it starts from
 * zero for all members. */
static void on_time(void *arg)
{
    struct ops_reap *reap = arg;
    uint64_t every_ms = reap->silent_ms_max / CHECKS_PER_REAP;
    struct node_status status;
    node_get_status(reap->node, &status);
    bool leads = status.member && node_is_leader(reap->node);
    if (!leads || now_ms(reap) > reap->checked_ms + 2 * every_ms) {
        memset(reap->contacts, 0, sizeof(reap->contacts));
    }
    reap->checked_ms = now_ms(reap);
    if (leads) {
        check_members(reap, &status);
    }
    timer_arm(reap->reactor, &reap->timer, now_ms(reap) + every_ms, on_time,
              reap);
}

struct ops_reap *ops_reap_start(struct reactor *reactor, struct node *node,
                                uint64_t silent_ms_max)
{
    must(silent_ms_max > 0);
    struct ops_reap *reap = mem_zalloc(sizeof(*reap));
    reap->reactor = reactor;
    reap->node = node;
    reap->silent_ms_max = silent_ms_max;
    on_time(reap);
    return reap;
}

void ops_reap_free(struct ops_reap *reap)
{
    if (!reap) {
        return;
    }
    node_cancel(reap->node, &reap->request);
    node_request_free(&reap->request);
    timer_cancel(reap->reactor, &reap->timer);
    mem_free(reap);
}
