/* member_internal.h -- members of the cluster, for the handlers of /status,
 * /nodes, /remove, /join and /leader: member.c, member_body.c.
 *
 * Membership is changed by the leader; any node takes the request and forwards
 * it. A pointer to a member is a view of this node's configuration, valid until
 * the node takes its next turn. */
#ifndef CRAFTD_API_MEMBER_INTERNAL_H
#define CRAFTD_API_MEMBER_INTERNAL_H

#include "http/http.h"
#include "node/node.h"

struct api;
struct conn;

/* ---- what is known of a member: member.c ---- */

/* The member of that name, as far as this node knows. NULL: there is none. */
const struct raft_member *api_member_named(const struct api *api,
                                           struct bytes name);
/* Replication to a member. NULL: this node does not lead, or `id` is itself. */
const struct raft_peer_status *
api_member_progress(const struct node_status *status, raft_id id);
/* Returns whether the member is this node, or the link to it is up. */
bool api_member_is_reachable(const struct api *api,
                             const struct node_status *status, raft_id id);
/* Why there is no link to a member, a few words; "" when there is one, or
 * nothing is known. */
const char *api_member_trouble(const struct api *api,
                               const struct node_status *status,
                               const struct raft_member *member);
/* Add match, lag and rtt_ms of replication to a member, each behind a comma;
 * nothing when this node does not lead. */
void api_add_progress(struct buf *out, const struct node_status *status,
                      raft_id id);
/* The same, except that a node that does not lead adds lag and rtt_ms as the
 * leader last reported them (wire_vitals). */
void api_add_reported_progress(struct buf *out, const struct api *api,
                               const struct node_status *status, raft_id id);
/* Add what the member last reported of itself (wire_vitals), and the age of the
 * report, each behind a comma; nothing when there is no report. For this node
 * it is what it would report now. */
void api_add_vitals(struct buf *out, struct api *api,
                    const struct node_status *status, raft_id id);
/* "voter", "learner", "non-voter" */
const char *api_suffrage_name(enum raft_suffrage suffrage);
/* Add a member of a JSON object, without a comma: "name":"value". */
void api_add_text(struct buf *out, const char *name, const char *value);

/* ---- a change of one: member.c ---- */

/* Starts a change of a member at the node, and sets conn->busy and
 * conn->request.finish. */
typedef void member_change(struct conn *conn, const struct raft_member *member);

/* Start `change` of the member whose name is in conn->request.key: at once if
 * this node knows it, otherwise when this node knows all that the leader knew,
 * or answer 404 then. Keeps conn->state.member meanwhile. */
void api_member_change(struct conn *conn, member_change *change);
/* A conn_finish of a change that may be refused: 200 without a body, or the
 * problem. `addr` is the address that the request is about; "": none. */
void api_member_finish(struct conn *conn, const struct node_result *result,
                       const char *addr);
/* Answer 404: no member has the name in conn->request.key. */
void api_no_member(struct conn *conn);

/* ---- the body of a request: member_body.c ---- */

/* A JSON object whose members are those of a member of the cluster. */
struct member_body {
    struct raft_member member; /* "voter" is .suffrage: learner or observer. */
    uint8_t cluster[16];
    bool has_id;
    bool has_addr;
    bool has_cluster;
    bool has_voter;
    bool has_http;
    bool has_uuid;
    bool has_replace;
    bool replace; /* A dead member at the same address may be removed. */
};

/* Read the body of the request, which is overwritten. Returns NULL, or a
 * sentence (static) that says what is wrong with it. */
const char *api_read_member(const struct http_request *request,
                            struct member_body *body);

#endif
