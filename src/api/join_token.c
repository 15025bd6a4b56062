/* join_token.c -- tokens that add one node each, for clusters with --auth: an
 * operator has one made, and gives it to a new node. See auth/auth.h. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/routes_internal.h"
#include "crypto/crypto.h"
#include "node/node.h"
#include "json/json.h"

_Static_assert(AUTH_JOIN_TOKENS_MAX == 16 && AUTH_JOIN_TOKEN_MS == 600000,
               "the texts below");

/* Neither can the sender of such a token have others made. */
void api_on_join_token(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct buf text = {0};
    (void)request;
    if (!api->gate.auth) {
        api_answer_problem(conn, 409, "no-auth",
                           "this node has no --auth, so joining needs no token",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    if (conn->gate.identity.join_token > 0) {
        api_answer_problem(conn, 403, "forbidden",
                           "a token for one join makes no others",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    if (auth_join_token_new(api->gate.auth,
                            reactor_now_ms(api->options.reactor), &text)) {
        api_answer_problem(conn, 429, "overloaded",
                           "16 tokens for one join are valid: each is for ten "
                           "minutes",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    api->body.size = 0;
    buf_add_string(&api->body, "{\"token\":");
    json_add_string(&api->body, buf_bytes(&text));
    buf_add_string(&api->body, ",\"node\":");
    json_add_string(&api->body, bytes_of_string(node_name(api->node)));
    buf_add_string(&api->body, ",\"expires_in\":600}\n");
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
    crypto_zero(text.data, text.capacity);
    crypto_zero(api->body.data, api->body.capacity);
    buf_free(&text);
}

/* All that a member is, except its number. A token is for one of them. */
static void describe(const struct raft_member *member, struct buf *out)
{
    const char *const texts[] = {member->name, member->addr, member->http};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        buf_add(out, texts[i], strlen(texts[i]) + 1);
    }
    buf_add(out, member->uuid, sizeof(member->uuid));
    buf_add_u8(out, (uint8_t)member->suffrage);
}

bool api_gate_may_join(struct conn *conn, const struct raft_member *member)
{
    struct api *api = conn->api;
    struct buf node = {0};
    if (conn->gate.identity.join_token == 0) {
        return true; /* The route has asked for the permission. */
    }
    describe(member, &node);
    bool may =
        auth_may_join(api->gate.auth, &conn->gate.identity, buf_bytes(&node),
                      reactor_now_ms(api->options.reactor));
    buf_free(&node);
    if (!may) {
        api_answer_problem(
            conn, 403, "forbidden",
            "this token is for one join: it has expired, or was used for "
            "another node (craftd token --join makes one)",
            OUTCOME_NOT_APPLIED);
    }
    return may;
}
