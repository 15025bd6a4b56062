/* handshake.c -- HELLO, WELCOME, REFUSE, FORWARD. */
#include "wire/wire_internal.h"

void wire_add_hello(struct buf *out, enum wire_type type,
                    const struct wire_hello *hello)
{
    must(type == WIRE_HELLO || type == WIRE_WELCOME);
    size_t start = wire_begin(out, type);
    buf_add_u8(out, hello->version_min);
    buf_add_u8(out, hello->version_max);
    buf_add(out, hello->cluster, sizeof(hello->cluster));
    buf_add_u64(out, hello->from_id);
    buf_add(out, hello->from_uuid, sizeof(hello->from_uuid));
    buf_add_u64(out, hello->from_incarnation);
    buf_add_u64(out, hello->from_nonce);
    wire_add_text(out, hello->from_name, sizeof(hello->from_name));
    buf_add_u64(out, hello->to_id);
    buf_add(out, hello->to_uuid, sizeof(hello->to_uuid));
    wire_add_text(out, hello->to_name, sizeof(hello->to_name));
    wire_add_text(out, hello->from_addr, sizeof(hello->from_addr));
    wire_add_text(out, hello->from_http, sizeof(hello->from_http));
    buf_add_u8(out, hello->from_commands);
    wire_end(out, start);
}

enum err wire_hello(struct bytes payload, struct wire_hello *hello)
{
    struct cursor in = cursor_of(payload);
    struct wire_hello h = {0};
    h.version_min = cursor_u8(&in);
    h.version_max = cursor_u8(&in);
    wire_get_raw(&in, h.cluster, sizeof(h.cluster));
    h.from_id = cursor_u64(&in);
    wire_get_raw(&in, h.from_uuid, sizeof(h.from_uuid));
    h.from_incarnation = cursor_u64(&in);
    h.from_nonce = cursor_u64(&in);
    wire_get_word(&in, h.from_name, sizeof(h.from_name));
    h.to_id = cursor_u64(&in);
    wire_get_raw(&in, h.to_uuid, sizeof(h.to_uuid));
    wire_get_word(&in, h.to_name, sizeof(h.to_name));
    wire_get_word(&in, h.from_addr, sizeof(h.from_addr));
    wire_get_word(&in, h.from_http, sizeof(h.from_http));
    h.from_commands =
        cursor_left(&in) > 0 ? cursor_u8(&in) : WIRE_HELLO_COMMANDS;
    if (in.failed) {
        return ERR_CORRUPT;
    }
    *hello = h; /* The rest is of a later version. */
    return ERR_OK;
}

void wire_add_refuse(struct buf *out, const struct wire_refuse *refuse)
{
    size_t start = wire_begin(out, WIRE_REFUSE);
    buf_add_u8(out, (uint8_t)refuse->reason);
    wire_add_text(out, refuse->text, sizeof(refuse->text));
    wire_end(out, start);
}

enum err wire_refuse(struct bytes payload, struct wire_refuse *refuse)
{
    struct cursor in = cursor_of(payload);
    struct wire_refuse r = {0};
    uint8_t reason = cursor_u8(&in);
    wire_get_text(&in, r.text, sizeof(r.text));
    /* Readable for ever: a later version may have other reasons, and add. */
    if (in.failed || reason < WIRE_REFUSE_CLUSTER) {
        return ERR_CORRUPT;
    }
    r.reason = (enum wire_refusal)reason;
    *refuse = r;
    return ERR_OK;
}

void wire_add_forward(struct buf *out, const struct wire_forward *forward)
{
    size_t start = wire_begin(out, WIRE_FORWARD);
    buf_add_u64(out, forward->request);
    buf_add_u8(out, (uint8_t)forward->kind);
    buf_add_bytes(out, forward->body);
    wire_end(out, start);
}

enum err wire_forward(struct bytes payload, struct wire_forward *forward)
{
    struct cursor in = cursor_of(payload);
    uint64_t request = cursor_u64(&in);
    uint8_t kind = cursor_u8(&in);
    if (in.failed || kind < WIRE_FORWARD_COMMAND ||
        kind > WIRE_FORWARD_APPLIED) {
        return ERR_CORRUPT;
    }
    *forward = (struct wire_forward){
        .request = request,
        .kind = (enum wire_forward_kind)kind,
        .body = cursor_bytes(&in, cursor_left(&in)),
    };
    return ERR_OK;
}

void wire_add_forward_resp(struct buf *out,
                           const struct wire_forward_resp *resp)
{
    size_t start = wire_begin(out, WIRE_FORWARD_RESP);
    buf_add_u64(out, resp->request);
    buf_add_u8(out, resp->outcome);
    buf_add_u64(out, resp->index);
    buf_add_u64(out, resp->detail);
    buf_add_bytes(out, resp->result);
    wire_end(out, start);
}

enum err wire_forward_resp(struct bytes payload, struct wire_forward_resp *resp)
{
    struct cursor in = cursor_of(payload);
    struct wire_forward_resp r = {.request = cursor_u64(&in)};
    r.outcome = cursor_u8(&in);
    r.index = cursor_u64(&in);
    r.detail = cursor_u64(&in);
    r.result = cursor_bytes(&in, cursor_left(&in));
    enum err err = wire_done(&in);
    if (!err) {
        *resp = r;
    }
    return err;
}

void wire_add_removed(struct buf *out, uint64_t index)
{
    size_t start = wire_begin(out, WIRE_REMOVED);
    buf_add_u64(out, index);
    wire_end(out, start);
}

enum err wire_removed(struct bytes payload, uint64_t *index)
{
    struct cursor in = cursor_of(payload);
    uint64_t value = cursor_u64(&in);
    enum err err = wire_done(&in);
    if (!err) {
        *index = value;
    }
    return err;
}
