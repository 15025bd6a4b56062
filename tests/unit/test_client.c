/* test_client.c -- the words of a command, and the server's JSON as lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/client_internal.h"

static struct options options;
static char why[256];

/* The words of a line, split at blanks. */
static bool parse(const char *line)
{
    static char text[512];
    char *argv[32];
    int argc = 0;
    assert_true(strlen(line) < sizeof(text));
    memcpy(text, line, strlen(line) + 1);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    options = (struct options){.command = client_command_named(argv[0])};
    assert_non_null(options.command);
    why[0] = '\0';
    return options_parse(&options, argc - 1, argv + 1, why, sizeof(why));
}

static void test_flags_and_words(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("CRAFTD_ADDR"), 0);
    assert_true(parse("get a"));
    assert_string_equal(options.addr, "localhost:11000");
    assert_int_equal(options.timeout_ms, 10000);
    assert_string_equal(options.words[0], "a");
    assert_true(parse("put -create k -timeout 250ms v --addr=h:1,g:2"));
    assert_true(options.create);
    assert_int_equal(options.timeout_ms, 250);
    assert_string_equal(options.addr, "h:1,g:2");
    assert_string_equal(options.words[0], "k");
    assert_string_equal(options.words[1], "v");
    assert_true(parse("put --if-index 0 k -"));
    assert_true(options.has_if_index);
    assert_string_equal(options.words[1], "-");
    assert_true(parse("put -- -k --create"));
    assert_false(options.create);
    assert_string_equal(options.words[0], "-k");
    assert_string_equal(options.words[1], "--create");
    assert_true(parse("put --help"));
    assert_true(options.help);
    assert_true(parse("ls"));
    assert_false(options.has_limit);
    assert_true(parse("ls --keys --limit=7 p/"));
    assert_true(options.keys && options.has_limit && options.limit == 7);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "get",
        "get a b",
        "get --create a",
        "get --meta=1 a",
        "get -x a",
        "get --stale --level weak a",
        "get --timeout a",
        "get --timeout 0 a",
        "get --timeout 2h a",
        "get --timeout soon a",
        "get --addr= a",
        "get --addr , a",
        "get --addr h a",
        "get --addr h:1,g:0 a",
        "put --create --if-index 3 a b",
        "put --if-index -3 a b",
        "put --if-index 18446744073709551616 a b",
        "ls --limit x",
        "del --if-index",
        "status --keys",
        "bench-disk",
        "help a b",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        if (parse(lines[i]) || why[0] == '\0') {
            fail_msg("accepted, or without a word why not: %s", lines[i]);
        }
    }
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("CRAFTD_ADDR", "10.0.0.1:7", 1), 0);
    assert_true(parse("get a"));
    assert_string_equal(options.addr, "10.0.0.1:7");
    assert_true(parse("get a --addr h:1"));
    assert_string_equal(options.addr, "h:1");
    assert_int_equal(setenv("CRAFTD_ADDR", "nonsense", 1), 0);
    assert_false(parse("get a"));
    assert_true(parse("version")); /* Talks to nobody. */
    assert_int_equal(unsetenv("CRAFTD_ADDR"), 0);
}

static void test_servers(void **state)
{
    (void)state;
    const char *list = " h:1,,http://g:2/, [::1]:3 ,";
    char addr[SERVER_BYTES];
    assert_true(client_next_server(&list, addr));
    assert_string_equal(addr, "h:1");
    assert_true(client_next_server(&list, addr));
    assert_string_equal(addr, "g:2");
    assert_true(client_next_server(&list, addr));
    assert_string_equal(addr, "[::1]:3");
    assert_false(client_next_server(&list, addr));
}

static void expect_lines(const char *json, const char *expected)
{
    struct buf out = {0};
    assert_true(client_flatten(bytes_of_string(json), &out));
    buf_add_u8(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_free(&out);
}

static void test_flatten(void **state)
{
    (void)state;
    expect_lines("{}", "");
    expect_lines("7", "\t7\n");
    expect_lines("{\"a\":{\"b\":[1,{\"c\":null},[]]},\"d\":\"x\\ty\"}",
                 "a.b.0\t1\na.b.1.c\tnull\nd\tx?y\n");
    expect_lines("[[true,false],\"\",{\"a\":1,\"b\":2}]",
                 "0.0\ttrue\n0.1\tfalse\n1\t\n2.a\t1\n2.b\t2\n");
    struct buf out = {0};
    assert_false(client_flatten(bytes_of_string("{\"a\":1"), &out));
    assert_false(client_flatten(bytes_of_string(""), &out));
    struct buf deep = {0};
    for (int i = 0; i < 1000; i++) {
        buf_add_u8(&deep, '[');
    }
    assert_false(client_flatten(buf_bytes(&deep), &out));
    buf_free(&deep);
    buf_free(&out);
}

static void test_fields(void **state)
{
    (void)state;
    char text[] = "{\"id\":\"n1\",\"x\":{\"id\":\"n2\"},\"leader\":true,"
                  "\"y\":[\"id\"],\"z\":1}";
    struct field fields[] = {
        {.name = "id"}, {.name = "leader"}, {.name = "none"}};
    struct json_reader reader;
    json_init(&reader, (uint8_t *)text, strlen(text));
    assert_int_equal(json_next(&reader), JSON_OBJECT_BEGIN);
    assert_true(client_read_fields(&reader, fields, ARRAY_COUNT(fields)));
    assert_string_equal(fields[0].text, "n1");
    assert_string_equal(fields[1].text, "true");
    assert_string_equal(fields[2].text, "");
}

/* Every command has a page, and it names each flag that the command takes. */
static void test_pages_name_the_flags(void **state)
{
    (void)state;
    static const char *const names[] = {
        "get",    "put",    "del",    "ls",      "txn",
        "status", "nodes",  "leader", "backup",  "bench-disk",
        "export", "import", "bench",  "version", "help"};
    struct buf pages = {0};
    struct buf overview = {0};
    const char *commands = client_page(help_overview, &overview);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const struct command *command = client_command_named(names[i]);
        assert_non_null(command);
        char title[64];
        (void)snprintf(title, sizeof(title), "NAME\n    craftd %s - ",
                       names[i]);
        const char *page = client_page(command->help, &pages);
        assert_ptr_equal(strstr(page, title), page);
        (void)snprintf(title, sizeof(title), "    %s ", names[i]);
        assert_non_null(strstr(commands, title));
        for (const char *at = command->flags; *at;) {
            size_t size = strcspn(at, " ");
            char flag[64];
            (void)snprintf(flag, sizeof(flag), "    --%.*s ", (int)size, at);
            if (!strstr(page, flag)) {
                fail_msg("%s: no word about %s", names[i], flag);
            }
            at += size;
            at += *at == ' ';
        }
    }
    buf_free(&pages);
    buf_free(&overview);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_words),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_flatten),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_pages_name_the_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
