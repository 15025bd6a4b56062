/* conf.c -- members and configurations, on the wire and in the log.
 *
 *     member: u64 id | u8 suffrage | uuid[16] | text name, addr, http
 *     conf:   u8 version = 1 | u8 count | members, ids ascending */
#include "wire/wire_internal.h"

enum { CONF_VERSION = 1 };

void wire_encode_member(struct buf *out, const struct raft_member *member)
{
    buf_add_u64(out, member->id);
    buf_add_u8(out, (uint8_t)member->suffrage);
    buf_add(out, member->uuid, sizeof(member->uuid));
    wire_add_text(out, member->name, sizeof(member->name));
    wire_add_text(out, member->addr, sizeof(member->addr));
    wire_add_text(out, member->http, sizeof(member->http));
}

static void get_member(struct cursor *in, struct raft_member *member)
{
    *member = (struct raft_member){.id = cursor_u64(in)};
    uint8_t suffrage = cursor_u8(in);
    in->failed =
        in->failed || suffrage < RAFT_VOTER || suffrage > RAFT_OBSERVER;
    member->suffrage = (enum raft_suffrage)suffrage;
    wire_get_raw(in, member->uuid, sizeof(member->uuid));
    wire_get_word(in, member->name, sizeof(member->name));
    wire_get_word(in, member->addr, sizeof(member->addr));
    wire_get_word(in, member->http, sizeof(member->http));
}

enum err wire_decode_member(struct bytes bytes, struct raft_member *member)
{
    struct cursor in = cursor_of(bytes);
    get_member(&in, member);
    return wire_done(&in);
}

void wire_encode_conf(struct buf *out, const struct raft_conf *conf)
{
    must(conf->count <= RAFT_MEMBERS_MAX);
    buf_add_u8(out, CONF_VERSION);
    buf_add_u8(out, (uint8_t)conf->count);
    for (uint32_t i = 0; i < conf->count; i++) {
        wire_encode_member(out, &conf->members[i]);
    }
}

enum err wire_decode_conf(struct bytes bytes, struct raft_conf *conf)
{
    struct cursor in = cursor_of(bytes);
    memset(conf, 0, sizeof(*conf));
    if (cursor_u8(&in) != CONF_VERSION) {
        return in.failed ? ERR_CORRUPT : ERR_VERSION;
    }
    uint8_t count = cursor_u8(&in);
    if (count > RAFT_MEMBERS_MAX) {
        return ERR_CORRUPT;
    }
    raft_id before = 0;
    for (uint32_t i = 0; i < count && !in.failed; i++) {
        get_member(&in, &conf->members[i]);
        in.failed = in.failed || conf->members[i].id <= before;
        before = conf->members[i].id;
    }
    conf->count = count;
    return wire_done(&in);
}
