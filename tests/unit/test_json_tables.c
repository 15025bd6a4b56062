/* test_json_tables.c -- what RFC 8259 allows is read, all else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "json/json.h"

/* Read a copy of exactly `size` bytes, so that the sanitizer sees a step too
 * far. True when all of it was one value. */
static bool accepts(const char *text, size_t size)
{
    struct json_reader reader;
    uint8_t *copy = mem_alloc(size);
    memcpy(copy, text, size);
    json_init(&reader, copy, size);
    enum json_token token;
    do {
        token = json_next(&reader);
    } while (token != JSON_ERROR && token != JSON_END);
    must(json_next(&reader) == token); /* Both ends stay where they are. */
    mem_free(copy);
    return token == JSON_END;
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        " [ ] ",
        "null",
        "true",
        "-0",
        "0.5e-7",
        "1E+2",
        "\"\"",
        "{\"a\":{\"b\":[1,\"x\",null,{}]}}",
        "[\"\\u0000\\n\\/\\\"\"]",
        "\"\\ud83d\\ude00\"",
        "\"\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\"",
        "\r\n\t {\"k\" : \"v\" , \"k\" : \"w\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_true(accepts(texts[i], strlen(texts[i])));
        for (size_t cut = 1; cut < strlen(texts[i]); cut++) {
            (void)accepts(texts[i], cut);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\"}",
        "{\"a\" 1}",
        "[1 2]",
        "nul",
        "nulll",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "-",
        "0x1",
        "NaN",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"a",
        "'a'",
        "{} {}",
        "[1]]",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "\xef\xbb\xbf{}",
        "// c\n1",
        "\"\\udc00\\ud800\"",
        "[\"a\"",
        "\"\\ud800\\u0041\"",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (accepts(texts[i], strlen(texts[i]))) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
}

static void test_depth_has_a_bound(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 2];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_true(accepts(text, 2 * JSON_DEPTH_MAX));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_false(accepts(text, 2 * JSON_DEPTH_MAX + 2));
}

static void test_every_character_comes_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code += code < 0x900 ? 1 : 997) {
        uint8_t text[4];
        size_t size;
        if (code >= 0xd800 && code < 0xe000) {
            continue;
        }
        if (code < 0x80) {
            text[0] = (uint8_t)code;
            size = 1;
        } else if (code < 0x800) {
            text[0] = (uint8_t)(0xc0 | code >> 6);
            text[1] = (uint8_t)(0x80 | (code & 63));
            size = 2;
        } else if (code < 0x10000) {
            text[0] = (uint8_t)(0xe0 | code >> 12);
            text[1] = (uint8_t)(0x80 | (code >> 6 & 63));
            text[2] = (uint8_t)(0x80 | (code & 63));
            size = 3;
        } else {
            text[0] = (uint8_t)(0xf0 | code >> 18);
            text[1] = (uint8_t)(0x80 | (code >> 12 & 63));
            text[2] = (uint8_t)(0x80 | (code >> 6 & 63));
            text[3] = (uint8_t)(0x80 | (code & 63));
            size = 4;
        }
        struct buf out = {0};
        struct json_reader reader;
        assert_true(json_is_utf8(bytes_of(text, size)));
        json_add_string(&out, bytes_of(text, size));
        json_init(&reader, out.data, out.size);
        assert_int_equal(json_next(&reader), JSON_STRING);
        assert_true(bytes_equal(reader.text, bytes_of(text, size)));
        buf_free(&out);
    }
}

static void test_names_values_and_skipping(void **state)
{
    (void)state;
    char text[] =
        "{\"a\":[1,{\"b\":2}],\"n\":18446744073709551615,\"a\":\"x\"}";
    struct json_reader reader;
    uint64_t number;
    json_init(&reader, (uint8_t *)text, strlen(text));
    assert_int_equal(json_next(&reader), JSON_OBJECT_BEGIN);
    assert_int_equal(json_next(&reader), JSON_NAME);
    assert_int_equal(json_skip(&reader), JSON_ARRAY_END);
    assert_int_equal(json_next(&reader), JSON_NAME);
    assert_int_equal(json_next(&reader), JSON_NUMBER);
    assert_true(json_u64(reader.text, &number));
    assert_true(number == UINT64_MAX);
    assert_false(json_u64(bytes_of_string("18446744073709551616"), &number));
    assert_int_equal(json_next(&reader), JSON_NAME);
    assert_true(bytes_equal_string(reader.text, "a"));
    assert_int_equal(json_next(&reader), JSON_STRING);
    assert_int_equal(json_next(&reader), JSON_OBJECT_END);
    assert_int_equal(json_next(&reader), JSON_END);
}

static void test_indenting(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *indented;
    } cases[] = {
        {"{\"k\":\"v\"}", "{\n  \"k\": \"v\"\n}\n"},
        {"{}\n", "{}\n"},
        {" [ ] ", "[]\n"},
        {"\"a\"\n", "\"a\"\n"},
        {"-1.5e3", "-1.5e3\n"},
        {"[true,null,[],{},[[]]]\n",
         "[\n  true,\n  null,\n  [],\n  {},\n  [\n    []\n  ]\n]\n"},
        {"{\"a\":[1,2],\"b\":{\"c\":false}}\n",
         "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {\n    \"c\": "
         "false\n  }\n}\n"},
        /* The content of a string is not structure. */
        {"[\"{\\\"[,:]}\\\\\",\" \\\\\\\"\"]",
         "[\n  \"{\\\"[,:]}\\\\\",\n  \" \\\\\\\"\"\n]\n"},
        /* Not JSON: any input ends. */
        {"}]\"a\\", NULL},
        {"\"", NULL},
        {"", "\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf out = {0};
        json_add_indented(&out, bytes_of_string(cases[i].json));
        if (cases[i].indented) {
            buf_add_u8(&out, 0);
            assert_string_equal((char *)out.data, cases[i].indented);
        }
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth_has_a_bound),
        cmocka_unit_test(test_every_character_comes_back),
        cmocka_unit_test(test_names_values_and_skipping),
        cmocka_unit_test(test_indenting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
