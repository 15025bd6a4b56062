/* handshake.c -- verifies the identity that a HELLO or WELCOME claims.
 *
 * It has to be of our cluster and addressed to our id and our directory; its
 * sender has to be in the directory that the membership names (every node has
 * one; WELCOME names it to no sender that did not), and in the newest
 * incarnation of it that this room has seen and the handler remembers. A sender
 * that is no member here is accepted: our membership may be older than its
 * own, and Raft wants every request answered. admission.c bounds the number of
 * such links. */
#include <stdio.h>

#include "peer/peer_internal.h"

void peer_hello_fill(const struct peers *peers, const struct link *link,
                     struct wire_hello *hello)
{
    *hello = (struct wire_hello){
        .version_min = WIRE_VERSION_MIN,
        .version_max = WIRE_VERSION,
        .from_id = peers->id,
        .from_incarnation = peers->incarnation,
        .from_nonce = peers->options.nonce,
        .from_commands = peers->options.commands > 0 ? peers->options.commands
                                                     : WIRE_HELLO_COMMANDS,
        .to_id = link->id,
    };
    memcpy(hello->cluster, peers->cluster, sizeof(hello->cluster));
    memcpy(hello->from_uuid, peers->uuid, sizeof(hello->from_uuid));
    memcpy(hello->from_name, peers->name, sizeof(hello->from_name));
    snprintf(hello->from_addr, sizeof(hello->from_addr), "%s",
             peers->options.addr ? peers->options.addr : "");
    snprintf(hello->from_http, sizeof(hello->from_http), "%s",
             peers->options.http ? peers->options.http : "");
    if (link->member) {
        memcpy(hello->to_uuid, link->info.uuid, sizeof(hello->to_uuid));
        memcpy(hello->to_name, link->info.name, sizeof(hello->to_name));
    }
}

static bool refuse(struct wire_refuse *out, enum wire_refusal reason,
                   const char *text)
{
    out->reason = reason;
    snprintf(out->text, sizeof(out->text), "%s", text);
    return false;
}

static bool uuid_differs(const uint8_t a[RAFT_UUID_BYTES],
                         const uint8_t b[RAFT_UUID_BYTES])
{
    return raft_uuid_is_known(a) && raft_uuid_is_known(b) &&
           memcmp(a, b, RAFT_UUID_BYTES) != 0;
}

bool peer_hello_is_foreign(const struct peers *peers,
                           const struct wire_hello *hello)
{
    return memcmp(hello->cluster, peers->cluster, sizeof(peers->cluster)) != 0;
}

static bool is_right(struct peers *peers, const struct wire_hello *hello,
                     struct wire_refuse *out)
{
    if (hello->version_min > WIRE_VERSION ||
        hello->version_max < WIRE_VERSION_MIN) {
        snprintf(out->text, sizeof(out->text),
                 "no common protocol version: %s speaks %d to %d, %s %d to %d",
                 peers->name, WIRE_VERSION_MIN, WIRE_VERSION, hello->from_name,
                 hello->version_min, hello->version_max);
        out->reason = WIRE_REFUSE_VERSION;
        return false;
    }
    if (peers->id == 0) {
        return refuse(out, WIRE_REFUSE_NOT_READY,
                      "this node is no member of a cluster yet");
    }
    if (peer_hello_is_foreign(peers, hello)) {
        return refuse(out, WIRE_REFUSE_CLUSTER,
                      "this node belongs to another cluster");
    }
    if (hello->to_id != peers->id || hello->from_id == peers->id) {
        return refuse(out, WIRE_REFUSE_NOT_ME,
                      "another member of this cluster lives here");
    }
    if (uuid_differs(hello->to_uuid, peers->uuid)) {
        return refuse(out, WIRE_REFUSE_UUID,
                      "this member has another directory now");
    }
    if (hello->from_id == 0 || !raft_uuid_is_known(hello->from_uuid)) {
        return refuse(out, WIRE_REFUSE_STRANGER,
                      "who asks has no id, or no directory");
    }
    const struct link *link = peer_link_find(peers, hello->from_id);
    if (link && link->member &&
        uuid_differs(link->info.uuid, hello->from_uuid)) {
        return refuse(out, WIRE_REFUSE_STRANGER,
                      "the member of this id has another directory");
    }
    return true;
}

static const char *why_old(struct peers *peers, const struct wire_hello *hello)
{
    const struct link *link = peer_link_find(peers, hello->from_id);
    if (link && memcmp(link->uuid, hello->from_uuid, RAFT_UUID_BYTES) == 0 &&
        (hello->from_incarnation < link->incarnation ||
         (hello->from_incarnation == link->incarnation &&
          hello->from_nonce != link->nonce && link->nonce != 0))) {
        return "an older or second copy of this directory: a newer start of it "
               "has been seen";
    }
    const struct transport_handler *handler = peers->handler;
    return handler->on_start ? handler->on_start(hello, peers->handler_arg)
                             : NULL;
}

bool peer_hello_check(struct peers *peers, const struct wire_hello *hello,
                      struct wire_refuse *out)
{
    *out = (struct wire_refuse){0};
    if (!is_right(peers, hello, out)) {
        return false;
    }
    const char *why = why_old(peers, hello);
    return !why || refuse(out, WIRE_REFUSE_CLONE, why);
}

void peer_hello_apply(struct link *link, const struct wire_hello *hello)
{
    memcpy(link->uuid, hello->from_uuid, sizeof(link->uuid));
    link->incarnation = hello->from_incarnation;
    link->nonce = hello->from_nonce;
    memcpy(link->advertised, hello->from_addr, sizeof(link->advertised));
    link->dial_advertised = true;
}
