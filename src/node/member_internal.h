/* member_internal.h -- this node and the others as members inside the room:
 * addresses, removals, contradictions, other clusters, incarnations. */
#ifndef CRAFTD_NODE_MEMBER_INTERNAL_H
#define CRAFTD_NODE_MEMBER_INTERNAL_H

#include "node/node.h"

enum {
    STARTS_MAX = RAFT_MEMBERS_MAX + 1,
    NODE_LINKS_MAX = 2 * RAFT_MEMBERS_MAX, /* The bound of peer/. */
};

/* The newest start of another node's directory that this node has seen. */
struct start {
    raft_id id; /* 0: the row is free. */
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    uint64_t nonce;
};

/* A node to which there is a link. */
struct linked {
    raft_id id;   /* 0: the row is free. */
    bool removed; /* It was notified that it is no member. */
};

/* The addresses that a member advertised in its last handshake. */
struct advertised {
    raft_id id; /* 0: the row is free. */
    char addr[RAFT_ADDR_BYTES];
    char http[RAFT_ADDR_BYTES];
    bool refused; /* It is another member's address; logged. */
};

/* ---- receive.c ---- */

/* True when an encoded membership from another node can be used. */
bool node_check_conf(struct bytes conf);
/* True when the leader's entries cannot be taken: a later version wrote one. */
bool node_cannot_follow(const struct node *node);

/* ---- address.c: the membership follows members that moved ---- */

void address_advertised(struct node *node, raft_id peer,
                        const struct wire_hello *hello);
/* The addresses that a member advertises; NULL: it has no link. */
const struct advertised *address_of(struct node *node, raft_id id);
void address_remove(struct node *node, raft_id peer);
/* Dial a member at the address in `wanted` as well. False: `wanted` is not a
 * member, by id, name and directory. */
bool address_hint(struct node *node, const struct raft_member *wanted);
/* A duty: a member may have moved; propose its entry again, one at a time. */
bool address_has_changed(const struct node *node);
void address_follow(struct node *node);

/* ---- vitals.c: what members report to each other for operators ---- */

/* A phase: report, when it is time. */
void vitals_report(struct node *node);
/* The next turn reports: a link is up, whose other side should not wait, or the
 * leader or the membership has changed. */
void vitals_expedite(struct node *node);
/* A frame WIRE_VITALS of the node `from`. */
void vitals_take(struct node *node, raft_id from,
                 const struct wire_vitals *report);

/* ---- removed.c: nodes that are no members any more ---- */

void removed_link_changed(struct node *node, raft_id peer, bool up);
/* A frame WIRE_REMOVED. False: untrusted. */
bool removed_on_notice(struct node *node, raft_id from, uint64_t index);
/* Notify those whose link is up and who are no members any more; see whether
 * this node is one. */
void removed_check(struct node *node);
/* The membership in force, without this node when it has been removed. */
const struct raft_conf *removed_conf(struct node *node);
/* True when the request waits for something that a removed node never gets. */
bool removed_fails_request(const struct node *node,
                           const struct node_request *request);

/* ---- quarantine.c: a node that contradicts its cluster ---- */

/* This append contradicts what is committed here. True: its sender is trusted,
 * and the append is as if the network had lost it. */
bool quarantine_enter(struct node *node, const struct raft_message *message);
/* True when this message is of the leader that contradicts, and is ignored for
 * now. */
bool quarantine_ignores(const struct node *node,
                        const struct raft_message *message);
/* End the quarantine once the node has committed more. */
void quarantine_check(struct node *node);

/* ---- foreign.c: another cluster counts this node as its member ---- */

/* Read what an earlier start wrote down. Errors are logged. */
MUST_CHECK enum err foreign_read(struct node *node);
MUST_CHECK enum err foreign_remove(struct node *node);
/* Log an error while the other cluster matters to this node. */
void foreign_report(const struct node *node);

/* ---- left.c: a directory whose member has left its cluster ---- */

/* Sets *known to false when the member of this directory has left and joins
 * again: then it is not a member's any more. Errors are logged. */
MUST_CHECK enum err left_read(struct node *node, bool *known);
/* Before and after the directory becomes that of another member. */
MUST_CHECK enum err left_clear(struct node *node);
MUST_CHECK enum err left_finish(struct node *node);

/* ---- incarnation.c: newest starts of the other nodes' directories ---- */

/* ERR_VERSION, ERR_IO: logged. */
MUST_CHECK enum err incarnation_read(struct node *node);
/* Write down the starts of nodes that have become members. */
void incarnation_members_changed(struct node *node);

#endif
