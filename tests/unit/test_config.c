/* test_config.c -- the command line: three programs' spellings, one meaning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config.h"

static struct config config;
static char why[256];

/* The words of a line, split at blanks. */
static enum config_verdict parse(const char *line)
{
    static char copy[512];
    char *argv[32];
    int argc = 0;
    size_t size = strlen(line);
    must(size < sizeof(copy));
    memcpy(copy, line, size + 1);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    why[0] = '\0';
    return config_parse(argc, argv, &config, why, sizeof(why));
}

static void test_hraftd_spellings(void **state)
{
    (void)state;
    assert_int_equal(
        parse("craftd -id n1 -haddr :11001 -raddr :12001 -join :11000 /d"),
        CONFIG_RUN);
    assert_string_equal(config.id, "n1");
    assert_string_equal(config.http, ":11001");
    assert_string_equal(config.http_adv, "localhost:11001");
    assert_string_equal(config.raft_adv, "localhost:12001");
    assert_string_equal(config.join, ":11000");
    assert_string_equal(config.dir, "/d");
    assert_int_equal(parse("craftd -inmem"), CONFIG_RUN);
    assert_true(config.inmem);
    /* As printed in its README, with bare ports and two directories. */
    assert_int_equal(
        parse("craftd /n0 -haddr 11001 -raddr 12001 -join :11000 /n1"),
        CONFIG_RUN);
    assert_string_equal(config.dir, "/n1");
    assert_string_equal(config.http_adv, "localhost:11001");
}

static void test_urls_in_a_list(void **state)
{
    (void)state;
    assert_int_equal(
        parse("craftd -j http://a:1,HTTP://[::1]:2/,:3,http://b:4 /d"),
        CONFIG_RUN);
    assert_string_equal(config.join, "a:1,[::1]:2,:3,b:4");
}

static void test_a_list_that_is_too_long(void **state)
{
    (void)state;
    char list[2048] = "localhost:11000";
    while (strlen(list) < CONFIG_JOIN_BYTES - 16) {
        strcat(list, ",localhost:11000");
    }
    char command[] = "craftd", flag[] = "--join", dir[] = "/d";
    char *argv[] = {command, flag, list, dir};
    assert_int_equal(config_parse(4, argv, &config, why, sizeof(why)),
                     CONFIG_RUN);
    assert_string_equal(config.join, list);
    strcat(list, ",localhost:11000");
    assert_int_equal(config_parse(4, argv, &config, why, sizeof(why)),
                     CONFIG_WRONG);
    assert_non_null(strstr(why, "--join must be at most 1023 bytes"));
}

static void test_brokerd_and_equal_signs(void **state)
{
    (void)state;
    assert_int_equal(parse("craftd -i n -h :1 -r :2 -j :3,:4 -d /x"),
                     CONFIG_RUN);
    assert_string_equal(config.http, ":1");
    assert_string_equal(config.join, ":3,:4");
    assert_string_equal(config.dir, "/x");
    assert_int_equal(parse("craftd --http=:5 --raft=:6 --max-value=64k /x"),
                     CONFIG_RUN);
    assert_string_equal(config.raft, ":6");
    assert_int_equal(config.max_value, 65536);
    assert_int_equal(parse("craftd -h"), CONFIG_HELP);
    assert_int_equal(parse("craftd --help"), CONFIG_HELP);
    assert_int_equal(parse("craftd --version"), CONFIG_VERSION);
}

static void test_wrong_values_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *says;
    } cases[] = {
        {"craftd", "directory"},
        {"craftd /a /b", "two directories"},
        {"craftd --htpp :1 /d", "did you mean --http"},
        {"craftd --nonsense-flag /d", "unknown flag"},
        {"craftd --http", "needs a value"},
        {"craftd --http localhost:x /d", "host:port"},
        {"craftd --raft :70000 /d", "host:port"},
        {"craftd --raft 0.0.0.0:1 /d", "--raft-adv"},
        {"craftd --heartbeat 1parsec /d", "duration"},
        {"craftd --heartbeat 100ms --election 200ms /d", "three times"},
        {"craftd --max-conns 0 /d", "number"},
        {"craftd --max-value 8M /d", "--max-body"},
        {"craftd --log-level loud /d", "debug"},
        {"craftd --join localhost:1,nowhere /d", "\"nowhere\" is not"},
        {"craftd --join localhost:99999 /d", "is not host:port"},
        {"craftd --join http:// /d", "\"http://\" is not host:port"},
        {"craftd --join http://a:1/key /d", "is not host:port"},
        {"craftd --join a:1,https://b:2 /d", "there is no TLS"},
        {"craftd --http-adv 0.0.0.0:1 /d", "for others"},
        {"craftd --raft-adv [::]:1 /d", "for others"},
        {"craftd --raft [::0]:1 /d", "--raft-adv"},
        {"craftd --raft 0:1 /d", "--raft-adv"},
        {"craftd --raft 0x0:1 /d", "--raft-adv"},
        {"craftd --raft 000.0.0.0:1 /d", "--raft-adv"},
        {"craftd --raft [::ffff:0.0.0.0]:1 /d", "--raft-adv"},
        {"craftd --raft [0:0:0:0:0:0:0:0]:1 /d", "--raft-adv"},
        {"craftd --raft [::%lo]:1 /d", "--raft-adv"},
        {"craftd --raft *:1 /d", "--raft-adv"},
        {"craftd --raft-adv *:1 /d", "for others"},
        {"craftd --http-adv [::ffff:0:0]:1 /d", "for others"},
        {"craftd --http-adv 0.0:1 /d", "for others"},
        {"craftd --http-adv a:0 /d", "port 0"},
        {"craftd --raft-adv a:0 /d", "port 0"},
        {"craftd --http :0 /d", "--http-adv"},
        {"craftd --raft :0 /d", "--raft-adv"},
        {"craftd --reap 5s /d", "ten times"},
        {"craftd --backup-every 10ms /d", "at least 1s"},
        {"craftd --backup-keep 0 /d", "number"},
        {"craftd --io fast /d", "auto, sync, uring"},
        {"craftd --inmem=maybe /d", "true or false"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(parse(cases[i].line), CONFIG_WRONG);
        assert_non_null(strstr(why, cases[i].says));
    }
}

static void test_io(void **state)
{
    (void)state;
    assert_int_equal(parse("craftd /d"), CONFIG_RUN);
    assert_int_equal(config.io, CONFIG_IO_AUTO);
    assert_int_equal(parse("craftd --io=uring /d"), CONFIG_RUN);
    assert_int_equal(config.io, CONFIG_IO_URING);
    assert_int_equal(parse("craftd --io=process /d"), CONFIG_RUN);
    assert_int_equal(config.io, CONFIG_IO_PROCESS);
    setenv("CRAFTD_IO", "sync", 1);
    assert_int_equal(parse("craftd /d"), CONFIG_RUN);
    assert_int_equal(config.io, CONFIG_IO_SYNC);
    assert_int_equal(parse("craftd --io auto /d"), CONFIG_RUN);
    assert_int_equal(config.io, CONFIG_IO_AUTO);
    unsetenv("CRAFTD_IO");
}

static void test_environment_gives_way_to_flags(void **state)
{
    (void)state;
    setenv("CRAFTD_HTTP", ":7", 1);
    setenv("CRAFTD_MAX_CONNS", "9", 1);
    assert_int_equal(parse("craftd /d"), CONFIG_RUN);
    assert_string_equal(config.http, ":7");
    assert_int_equal(config.max_conns, 9);
    assert_int_equal(parse("craftd --http :8 /d"), CONFIG_RUN);
    assert_string_equal(config.http, ":8");
    setenv("CRAFTD_MAX_CONNS", "many", 1);
    assert_int_equal(parse("craftd /d"), CONFIG_WRONG);
    assert_non_null(strstr(why, "CRAFTD_MAX_CONNS"));
    unsetenv("CRAFTD_HTTP");
    unsetenv("CRAFTD_MAX_CONNS");
}

static void test_an_empty_variable_is_unset(void **state)
{
    (void)state;
    setenv("CRAFTD_JOIN", "", 1);
    setenv("CRAFTD_HTTP", "", 1);
    setenv("CRAFTD_INMEM", "", 1);
    assert_int_equal(parse("craftd /d"), CONFIG_RUN);
    assert_null(config.join);
    assert_string_equal(config.http, "localhost:11000");
    unsetenv("CRAFTD_JOIN");
    unsetenv("CRAFTD_HTTP");
    unsetenv("CRAFTD_INMEM");
    /* On the command line somebody wrote it. */
    assert_int_equal(parse("craftd --join= /d"), CONFIG_WRONG);
}

static void test_unknown_variables_have_a_hint(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *says; /* NULL: it is known. */
    } cases[] = {
        {"CRAFTD_HTPP=:1",
         "CRAFTD_HTPP is not a flag; did you mean CRAFTD_HTTP?"},
        {"CRAFTD_MAX_CONN=1", "did you mean CRAFTD_MAX_CONNS?"},
        {"CRAFTD_MAX-CONNS=1", "did you mean CRAFTD_MAX_CONNS?"},
        {"CRAFTD_PORT=tcp://10.0.0.1:80", "CRAFTD_PORT is not a flag"},
        {"CRAFTD_SERVICE_HOST=10.0.0.1", "CRAFTD_SERVICE_HOST is not a flag"},
        {"CRAFTD_=", "CRAFTD_ is not a flag"},
        {"CRAFTD_HTTP=:1", NULL},
        {"CRAFTD_LEAVE_ON_EXIT=", NULL},
        {"CRAFTD_ADDR=x", NULL},
        {"CRAFTD_USER=bob:x", NULL},
        {"CRAFTD_TOKEN_FILE=x", NULL},
        {"CRAFTDOG=1", NULL},
        {"PATH=x", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        why[0] = '\0';
        bool known = config_knows_variable(cases[i].name, why, sizeof(why));
        assert_int_equal(known, cases[i].says == NULL);
        assert_true(known || strstr(why, cases[i].says));
    }
}

static void test_names_are_text(void **state)
{
    (void)state;
    static const char *const good[] = {"n1", "db-1.example", "\xc3\xa4",
                                       "\xe2\x82\xac=\xf0\x9f\x98\x80"};
    static const char *const bad[] = {
        "a\tb",         "a\x01",    "a\x7f", "\xff",     "a\xc3",    "\xc0\xaf",
        "\xed\xa0\x80", "a\x1b[2J", "a\"b",  "\xc2\x85", "\xc2\x9b",
    };
    char line[128];
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        snprintf(line, sizeof(line), "craftd --id %s /d", good[i]);
        assert_int_equal(parse(line), CONFIG_RUN);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(line, sizeof(line), "craftd --id %s /d", bad[i]);
        assert_int_equal(parse(line), CONFIG_WRONG);
        assert_non_null(strstr(why, "--id"));
    }
}

static void test_what_others_are_told(void **state)
{
    (void)state;
    const struct {
        const char *line;
        const char *http;
    } cases[] = {
        {"craftd /d", "localhost:11000"},
        {"craftd --http :7 /d", "localhost:7"},
        {"craftd --http 0.0.0.0:7 --raft 10.0.0.1:8 /d", "10.0.0.1:7"},
        {"craftd --http [::]:7 --raft [fe80::1]:8 /d", "[fe80::1]:7"},
        {"craftd --http 0.0.0.0:7 --raft 0.0.0.0:8 --raft-adv a:9 /d", "a:7"},
        {"craftd --http 0.0.0.0:7 --http-adv b:1 /d", "b:1"},
        {"craftd --http *:7 --raft 10.0.0.1:8 /d", "10.0.0.1:7"},
        {"craftd --http 0x0:7 --raft 10.0.0.1:8 /d", "10.0.0.1:7"},
        {"craftd --http [::ffff:0.0.0.0]:7 --raft a:8 /d", "a:7"},
        {"craftd --http 10.0.0.0:7 --raft a:8 /d", "10.0.0.0:7"},
        {"craftd --http :0 --http-adv b:1 /d", "b:1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(parse(cases[i].line), CONFIG_RUN);
        assert_string_equal(config.http_adv, cases[i].http);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hraftd_spellings),
        cmocka_unit_test(test_brokerd_and_equal_signs),
        cmocka_unit_test(test_urls_in_a_list),
        cmocka_unit_test(test_a_list_that_is_too_long),
        cmocka_unit_test(test_what_others_are_told),
        cmocka_unit_test(test_wrong_values_are_named),
        cmocka_unit_test(test_io),
        cmocka_unit_test(test_an_empty_variable_is_unset),
        cmocka_unit_test(test_unknown_variables_have_a_hint),
        cmocka_unit_test(test_names_are_text),
        cmocka_unit_test(test_environment_gives_way_to_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
