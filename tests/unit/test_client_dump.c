/* test_client_dump.c -- what craftd import reads, in pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/dump_internal.h"

/* Reads all of `text`: "key=value;" for each item, and then "end", or the
 * error. */
static const char *read_all(enum dump_format format, const char *text,
                            struct buf *out)
{
    struct dump dump;
    struct dump_pair pair;
    enum dump_result result;
    char name[] = "/tmp/dump-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0 && unlink(name) == 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    out->size = 0;
    dump_init(&dump, format, fd);
    while ((result = dump_next(&dump, &pair)) == DUMP_PAIR) {
        buf_add_bytes(out, pair.key);
        buf_add_u8(out, '=');
        buf_add_bytes(out, pair.value);
        buf_add_u8(out, ';');
    }
    buf_add_string(out, result == DUMP_END ? "end" : dump.why);
    buf_add_u8(out, '\0');
    dump_free(&dump);
    close(fd);
    return (const char *)out->data;
}

struct row {
    enum dump_format format;
    const char *text;
    const char *expected;
};

#define WRONG "it is not in that format"
#define CUT "the file ends too early"
#define BEHIND "there is something behind its end"

static const struct row rows[] = {
    {DUMP_CRAFTD, "", "end"},
    {DUMP_CRAFTD, "{\"key\":\"a\",\"value\":\"1\"}", "a=1;end"},
    {DUMP_CRAFTD,
     "{\"value_base64\":\"MQ==\",\"x\":[{\"key\":\"]}\"}],\"key_base64\":"
     "\"YQ==\"}\n\n{\"end\":true,\"keys\":1}\n",
     "a=1;end"},
    {DUMP_CRAFTD, "{\"end\":true}{\"end\":true}",
     "there is something behind its last line"},
    {DUMP_CRAFTD, "{\"end\":false}", "\"end\" is not true"},
    {DUMP_CRAFTD, "{\"end\":true,\"key\":\"a\"}",
     "the last line has a key as well"},
    {DUMP_CRAFTD, "{\"key\":\"a\",\"value\":\"1\"", CUT},
    {DUMP_CRAFTD, "{\"key\":\"a\",\"value\":null}",
     "a key or a value is no string"},
    {DUMP_CRAFTD, "{\"key\":\"a\"}",
     "an item has no value (was it listed with ?keys?)"},
    {DUMP_CRAFTD, "7", CUT},
    {DUMP_CRAFTD, "7 ", "an item is no object"},
    {DUMP_CRAFTD, "]", WRONG},
    {DUMP_ETCD, "{}", "end"},
    {DUMP_ETCD, "{\"header\":{\"kvs\":[1]},\"count\":0}", "end"},
    {DUMP_ETCD, "{\"kvs\":[]}", "end"},
    {DUMP_ETCD,
     "{\"header\":{\"revision\":7},\"kvs\":[{\"key\":\"YQ==\","
     "\"create_revision\":2,\"value\":\"MQ==\"},{\"key\":\"Yg==\"}],"
     "\"more\":true,\"count\":2}\n",
     "a=1;b=;end"},
    {DUMP_ETCD, "{\"kvs\":[{\"key\":\"YQ==\"}]", "a=;" CUT},
    {DUMP_ETCD, "{\"kvs\":[{\"key\":\"YQ==\"},]}", "a=;" WRONG},
    {DUMP_ETCD, "{\"kvs\":[{\"key\":\"YQ\"}]}",
     "a key or a value is not base64"},
    {DUMP_ETCD, "{\"kvs\":[]}x", BEHIND},
    {DUMP_ETCD, "[]", WRONG},
    {DUMP_CONSUL, "[]", "end"},
    {DUMP_CONSUL, " [ ] ", "end"},
    {DUMP_CONSUL,
     "[\n\t{\n\t\t\"key\": \"a\",\n\t\t\"flags\": 0,\n\t\t\"value\": "
     "\"MQ==\"\n\t},\n\t{\"key\": \"b\", \"value\": null}\n]",
     "a=1;b=;end"},
    {DUMP_CONSUL, "[{\"key\":\"a\",\"value\":\"MQ==\"}", "a=1;" CUT},
    {DUMP_CONSUL, "[{\"key\":\"a\"} {\"key\":\"b\"}]", "a=;" WRONG},
    {DUMP_CONSUL, "[{\"key\":\"a\",\"key\":\"b\"}]",
     "an item has two keys or two values"},
    {DUMP_CONSUL, "{\"kvs\":[]}", WRONG},
    {DUMP_REDIS, "{}", "end"},
    {DUMP_REDIS, "{\"a\":\"1\", \"b\":\"\"}\n", "a=1;b=;end"},
    {DUMP_REDIS, "[{\"a\":\"1\"},{},{\"b\":\"2\"}]", "a=1;b=2;end"},
    {DUMP_REDIS, "[]", "end"},
    {DUMP_REDIS, "{\"\\\"\\\\\\/\\n\\u001f\":\"\xff\xfe\\t\"}",
     "\"\\/\n\x1f=\xff\xfe\t;end"},
    {DUMP_REDIS, "{\"a\":1}",
     "a key or a value is no string: only strings can be imported"},
    {DUMP_REDIS, "{\"a\":[\"1\"]}",
     "a key or a value is no string: only strings can be imported"},
    {DUMP_REDIS, "{\"a\":\"\\u1234\"}",
     "a key or a value is no string of redis-cli"},
    {DUMP_REDIS, "{\"a\":\"\\u00\"}",
     "a key or a value is no string of redis-cli"},
    {DUMP_REDIS, "{\"a\" \"1\"}", WRONG},
    {DUMP_REDIS, "{\"a\":\"1\",}", "a=1;" WRONG},
    {DUMP_REDIS, "{\"a\":\"1\"", "a=1;" CUT},
    {DUMP_REDIS, "[{\"a\":\"1\"},]", "a=1;" WRONG},
    {DUMP_REDIS, "{} {}", BEHIND},
};

static void test_formats(void **state)
{
    (void)state;
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_string_equal(read_all(rows[i].format, rows[i].text, &out),
                            rows[i].expected);
    }
    buf_free(&out);
}

/* A pipe gives the reader one byte at a time. */
static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    static const char text[] =
        "{\"header\":{\"a\":[\"}\",-7,true]},\"kvs\":[{\"key\":\"YQ==\","
        "\"value\":\"MQ==\"} , {\"key\":\"Yg==\",\"value\":\"\"}],\"count\":2}";
    struct dump dump;
    struct dump_pair pair;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; text[i]; i++) {
            (void)!write(ends[1], text + i, 1);
            usleep(200);
        }
        _exit(0);
    }
    close(ends[1]);
    dump_init(&dump, DUMP_ETCD, ends[0]);
    assert_int_equal(dump_next(&dump, &pair), DUMP_PAIR);
    assert_true(bytes_equal_string(pair.key, "a"));
    assert_true(bytes_equal_string(pair.value, "1"));
    assert_int_equal(dump_next(&dump, &pair), DUMP_PAIR);
    assert_true(bytes_equal_string(pair.key, "b"));
    assert_int_equal(dump_next(&dump, &pair), DUMP_END);
    assert_int_equal(dump_offset(&dump), sizeof(text) - 1);
    dump_free(&dump);
    close(ends[0]);
}

static void test_names(void **state)
{
    (void)state;
    enum dump_format format = DUMP_CRAFTD;
    assert_true(dump_format_named("redis", &format));
    assert_int_equal(format, DUMP_REDIS);
    assert_false(dump_format_named("Redis", &format));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
