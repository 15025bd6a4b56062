/* test_wire.c -- frames: whole or not at all, and every flipped bit seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "wire/wire.h"

static struct wire_entry entries[RAFT_APPEND_ENTRIES_MAX];

static struct wire_hello example_hello(void)
{
    struct wire_hello hello = {.version_min = 1,
                               .version_max = 1,
                               .from_id = 1,
                               .from_incarnation = 7,
                               .from_nonce = 99,
                               .from_commands = 7,
                               .to_id = 4};
    memset(hello.cluster, 0xc1, sizeof(hello.cluster));
    memset(hello.from_uuid, 0xab, sizeof(hello.from_uuid));
    snprintf(hello.from_name, sizeof(hello.from_name), "n1");
    snprintf(hello.to_name, sizeof(hello.to_name), "n4");
    snprintf(hello.from_addr, sizeof(hello.from_addr), "10.0.0.1:12000");
    snprintf(hello.from_http, sizeof(hello.from_http), "10.0.0.1:11000");
    return hello;
}

static struct raft_conf example_conf(void)
{
    struct raft_conf conf = {.count = 2};
    conf.members[0] = (struct raft_member){.id = 1, .suffrage = RAFT_VOTER};
    conf.members[1] = (struct raft_member){.id = 9, .suffrage = RAFT_LEARNER};
    for (uint32_t i = 0; i < conf.count; i++) {
        snprintf(conf.members[i].name, RAFT_NAME_BYTES, "node%u", i);
        snprintf(conf.members[i].addr, RAFT_ADDR_BYTES, "h:%u", 12000 + i);
    }
    return conf;
}

static struct bytes one_frame(const struct buf *buf, enum wire_type type)
{
    struct wire_frame frame;
    assert_int_equal(wire_frame(buf_bytes(buf), &frame), ERR_OK);
    assert_int_equal(frame.type, type);
    assert_int_equal(frame.size_bytes, buf->size);
    return frame.payload;
}

static void test_vitals_round_trip(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wire_vitals vitals = {.build = "1.2.3",
                                 .applied = 1,
                                 .db_bytes = 2,
                                 .log_bytes = 3,
                                 .memory_bytes = 4,
                                 .commit_p99_us = UINT64_MAX,
                                 .disk_free_bytes = 5,
                                 .peer_count = 2,
                                 .peers = {{.id = 6, .lag = 7, .rtt_ms = 8},
                                           {.id = 9, .lag = UINT64_MAX}}};
    struct wire_vitals back = {0};
    wire_add_vitals(&out, &vitals);
    struct bytes payload = one_frame(&out, WIRE_VITALS);
    assert_int_equal(wire_vitals(payload, &back), ERR_OK);
    assert_memory_equal(&back, &vitals, sizeof(back));
    /* The build before ends behind the latency. */
    size_t first_part = payload.size - 8 - 1 - 2 * 24;
    for (size_t size = 0; size < payload.size; size++) {
        assert_int_equal(wire_vitals(bytes_of(payload.data, size), &back),
                         size == first_part ? ERR_OK : ERR_CORRUPT);
    }
    assert_int_equal(back.commit_p99_us, UINT64_MAX);
    assert_int_equal(back.disk_free_bytes, 0);
    assert_int_equal(back.peer_count, 0);

    /* Not more peers than a cluster has members. */
    struct buf many = {0};
    buf_add(&many, payload.data, first_part + 8);
    buf_add_u8(&many, RAFT_MEMBERS_MAX + 1);
    for (int i = 0; i < 3 * (RAFT_MEMBERS_MAX + 1); i++) {
        buf_add_u64(&many, 1);
    }
    assert_int_equal(wire_vitals(buf_bytes(&many), &back), ERR_CORRUPT);
    buf_free(&many);

    /* A later version adds to them; one with a name that is no word is none. */
    struct buf more = {0};
    buf_add_bytes(&more, payload);
    buf_add_string(&more, "news");
    assert_int_equal(wire_vitals(buf_bytes(&more), &back), ERR_OK);
    more.data[2] = '\n';
    assert_int_equal(wire_vitals(buf_bytes(&more), &back), ERR_CORRUPT);
    buf_free(&more);
    buf_free(&out);
}

static void test_handshake_round_trip(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wire_hello hello = example_hello();
    struct wire_hello back;
    memset(&back, 0, sizeof(back));
    wire_add_hello(&out, WIRE_HELLO, &hello);
    assert_int_equal(wire_hello(one_frame(&out, WIRE_HELLO), &back), ERR_OK);
    assert_memory_equal(back.cluster, hello.cluster, 16);
    assert_int_equal(back.from_incarnation, 7);
    assert_int_equal(back.to_id, 4);
    assert_string_equal(back.to_name, "n4");
    assert_string_equal(back.from_addr, "10.0.0.1:12000");
    assert_string_equal(back.from_http, "10.0.0.1:11000");

    assert_int_equal(back.from_commands, 7);

    /* A later version says more behind: skipped. The build before does not know
     * its last byte. Less is none. */
    struct bytes payload = one_frame(&out, WIRE_HELLO);
    assert_int_equal(
        wire_hello(bytes_of(payload.data, payload.size - 1), &back), ERR_OK);
    assert_int_equal(back.from_commands, WIRE_HELLO_COMMANDS);
    assert_string_equal(back.from_http, "10.0.0.1:11000");
    for (size_t less = 2; less < payload.size; less++) {
        assert_int_equal(
            wire_hello(bytes_of(payload.data, payload.size - less), &back),
            ERR_CORRUPT);
    }
    struct buf more = {0};
    buf_add_bytes(&more, payload);
    buf_add_string(&more, "news");
    memset(&back, 0, sizeof(back));
    assert_int_equal(wire_hello(buf_bytes(&more), &back), ERR_OK);
    assert_string_equal(back.from_http, "10.0.0.1:11000");
    buf_free(&more);

    out.size = 0;
    struct wire_refuse refuse = {.reason = WIRE_REFUSE_UUID, .text = "no"};
    struct wire_refuse refused;
    wire_add_refuse(&out, &refuse);
    assert_int_equal(wire_refuse(one_frame(&out, WIRE_REFUSE), &refused),
                     ERR_OK);
    assert_int_equal(refused.reason, WIRE_REFUSE_UUID);
    assert_string_equal(refused.text, "no");

    /* A later version has another reason, and more to say of it. */
    struct buf later = {0};
    buf_add_u8(&later, 77);
    buf_add_bytes(&later, bytes_of("\x02\0no, and why", 13));
    assert_int_equal(wire_refuse(buf_bytes(&later), &refused), ERR_OK);
    assert_string_equal(refused.text, "no");
    buf_free(&later);
    buf_free(&out);
}

static void test_forward_round_trip(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wire_forward back;
    struct wire_forward forward = {.request = 5,
                                   .kind = WIRE_FORWARD_REMOVE,
                                   .body = bytes_of_string("12345678")};
    wire_add_forward(&out, &forward);
    assert_int_equal(wire_forward(one_frame(&out, WIRE_FORWARD), &back),
                     ERR_OK);
    assert_int_equal(back.request, 5);
    assert_true(bytes_equal(back.body, forward.body));

    out.size = 0;
    struct wire_forward_resp got;
    struct wire_forward_resp resp = {
        .request = 5, .outcome = 3, .index = 77, .detail = 1};
    wire_add_forward_resp(&out, &resp);
    assert_int_equal(
        wire_forward_resp(one_frame(&out, WIRE_FORWARD_RESP), &got), ERR_OK);
    assert_int_equal(got.index, 77);
    assert_int_equal(got.outcome, 3);
    assert_int_equal(got.result.size, 0);
    /* Without a result it is what an older build reads: not a byte more. */
    assert_int_equal(out.size, WIRE_FRAME_HEADER_BYTES + 4 + 8 + 1 + 8 + 8);

    out.size = 0;
    resp.result = bytes_of_string("what came of it");
    wire_add_forward_resp(&out, &resp);
    assert_int_equal(
        wire_forward_resp(one_frame(&out, WIRE_FORWARD_RESP), &got), ERR_OK);
    assert_int_equal(got.detail, 1);
    assert_true(bytes_equal_string(got.result, "what came of it"));
    buf_free(&out);
}

/* Every kind that exists, and no other. */
static void test_forward_kinds(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wire_forward back;
    for (int kind = 0; kind < 256; kind++) {
        struct wire_forward forward = {.kind = (enum wire_forward_kind)kind};
        out.size = 0;
        wire_add_forward(&out, &forward);
        bool known =
            kind >= WIRE_FORWARD_COMMAND && kind <= WIRE_FORWARD_APPLIED;
        assert_int_equal(wire_forward(one_frame(&out, WIRE_FORWARD), &back),
                         known ? ERR_OK : ERR_CORRUPT);
        if (known) {
            assert_int_equal(back.kind, kind);
        }
    }
    buf_free(&out);
}

/* Field by field: what lies between them is nobody's. */
static void expect_same(const struct raft_message *a,
                        const struct raft_message *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->term, b->term);
    assert_int_equal(a->log_index, b->log_index);
    assert_int_equal(a->log_term, b->log_term);
    assert_int_equal(a->round, b->round);
    assert_int_equal(a->commit, b->commit);
    assert_int_equal(a->match, b->match);
    assert_int_equal(a->sent_ms, b->sent_ms);
    assert_int_equal(a->granted, b->granted);
    assert_int_equal(a->transfer, b->transfer);
    assert_int_equal(a->entry_count, b->entry_count);
    assert_ptr_equal(a->entries, b->entries);
}

static void test_raft_messages_round_trip(void **state)
{
    (void)state;
    for (int type = RAFT_MSG_PREVOTE; type <= RAFT_MSG_READ_RESP; type++) {
        struct buf out = {0};
        struct raft_message back;
        struct raft_message m = {
            .type = (enum raft_message_type)type,
            .from = 1,
            .to = 2,
            .term = 3,
            .log_index = 4,
            .log_term = 5,
            .round = 6,
            .commit = 7,
            .match = 8,
            .sent_ms = 9,
            .granted = type % 2,
            .transfer = type % 3 == 0,
            .entry_count = type == RAFT_MSG_APPEND ? 1000 : 0,
        };
        for (uint32_t i = 0; i < m.entry_count; i++) {
            entries[i] = (struct wire_entry){
                .term = i,
                .type = RAFT_ENTRY_NORMAL,
                .payload = bytes_of_string(i % 2 ? "odd" : "")};
        }
        wire_add_raft(&out, &m, entries);
        assert_int_equal(wire_raft(one_frame(&out, WIRE_RAFT), &back, entries),
                         ERR_OK);
        expect_same(&back, &m);
        if (m.entry_count > 0) {
            assert_int_equal(entries[999].term, 999);
            assert_true(bytes_equal_string(entries[999].payload, "odd"));
        }
        buf_free(&out);
    }
}

static void test_a_frame_is_whole_or_not_there(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wire_frame frame;
    struct wire_hello hello = example_hello();
    wire_add_hello(&out, WIRE_HELLO, &hello);
    for (size_t size = 0; size < out.size; size++) {
        assert_int_equal(wire_frame(bytes_of(out.data, size), &frame),
                         ERR_NOT_FOUND);
    }
    for (size_t bit = 0; bit < out.size * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(wire_frame(buf_bytes(&out), &frame), ERR_OK);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* A wrong size is seen before what it promises is waited for. */
    for (size_t bit = 0; bit < 64; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            wire_frame(bytes_of(out.data, WIRE_FRAME_HEADER_BYTES), &frame),
            ERR_CORRUPT);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    store_u32(out.data, WIRE_FRAME_BYTES_MAX);
    store_u32(out.data + 4, crc32c(0, out.data, 4));
    assert_int_equal(wire_frame(buf_bytes(&out), &frame), ERR_TOO_BIG);
    buf_free(&out);
}

static void test_conf_is_strict(void **state)
{
    (void)state;
    struct buf out = {0};
    struct raft_conf conf = example_conf();
    struct raft_conf back;
    wire_encode_conf(&out, &conf);
    assert_int_equal(wire_decode_conf(buf_bytes(&out), &back), ERR_OK);
    assert_int_equal(back.count, 2);
    assert_string_equal(back.members[1].addr, "h:12001");
    for (size_t size = 0; size < out.size; size++) {
        assert_int_not_equal(wire_decode_conf(bytes_of(out.data, size), &back),
                             ERR_OK);
    }
    out.data[0] = 2;
    assert_int_equal(wire_decode_conf(buf_bytes(&out), &back), ERR_VERSION);

    out.size = 0;
    conf.members[1].id = 1; /* Twice the same id. */
    wire_encode_conf(&out, &conf);
    assert_int_equal(wire_decode_conf(buf_bytes(&out), &back), ERR_CORRUPT);

    out.size = 0;
    wire_encode_conf(&out, &(struct raft_conf){0});
    out.data[1] = RAFT_MEMBERS_MAX + 1;
    assert_int_equal(wire_decode_conf(buf_bytes(&out), &back), ERR_CORRUPT);
    buf_free(&out);
}

/* Names and addresses, wherever they are: a word, or the frame is none. */
static void test_names_and_addresses_are_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_word;
    } cases[] = {
        {"", true},          {"n-1_\xc3\xa4=,;'", true},
        {"a b", false},      {"a\nb", false},
        {"a\r", false},      {"\x1b[2J", false},
        {"a\x7f", false},    {"a\"", false},
        {"\xc2\x9b", false}, {"\xff", false},
        {"\t", false},
    };
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        enum err expected = cases[i].is_word ? ERR_OK : ERR_CORRUPT;
        for (int field = 0; field < 4; field++) {
            struct wire_hello hello = example_hello();
            struct wire_hello back;
            char *const at[] = {hello.from_name, hello.to_name, hello.from_addr,
                                hello.from_http};
            snprintf(at[field], sizeof(hello.to_name), "%s", cases[i].text);
            out.size = 0;
            wire_add_hello(&out, WIRE_HELLO, &hello);
            assert_int_equal(wire_hello(one_frame(&out, WIRE_HELLO), &back),
                             expected);
        }
        for (int field = 0; field < 3; field++) {
            struct raft_conf conf = example_conf();
            struct raft_conf back;
            struct raft_member *member = &conf.members[1];
            char *const at[] = {member->name, member->addr, member->http};
            snprintf(at[field], sizeof(member->name), "%s", cases[i].text);
            out.size = 0;
            wire_encode_conf(&out, &conf);
            assert_int_equal(wire_decode_conf(buf_bytes(&out), &back),
                             expected);
        }
    }
    /* The reason of a refusal is a sentence. */
    struct wire_refuse refuse = {.reason = WIRE_REFUSE_CLUSTER};
    snprintf(refuse.text, sizeof(refuse.text), "another \"cluster\"");
    out.size = 0;
    wire_add_refuse(&out, &refuse);
    assert_int_equal(wire_refuse(one_frame(&out, WIRE_REFUSE), &refuse),
                     ERR_OK);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_round_trip),
        cmocka_unit_test(test_vitals_round_trip),
        cmocka_unit_test(test_forward_round_trip),
        cmocka_unit_test(test_forward_kinds),
        cmocka_unit_test(test_raft_messages_round_trip),
        cmocka_unit_test(test_a_frame_is_whole_or_not_there),
        cmocka_unit_test(test_conf_is_strict),
        cmocka_unit_test(test_names_and_addresses_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
