/* test_base_log.c -- lines of the log: whatever is in a value, it stays one
 * value, in the plain form and as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int ends[2];
static int before;

static void begin(void)
{
    before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
}

/* The line without time and level. */
static const char *end(void)
{
    static char line[8 * LOG_LINE_BYTES];
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ssize_t size = read(ends[0], line, sizeof(line) - 1);
    close(ends[0]);
    assert_true(size > 0 && line[size - 1] == '\n');
    line[size - 1] = '\0';
    assert_null(strchr(line, '\n'));
    return strstr(line, "info") + 4;
}

#define LOGGED(...) (begin(), log_line(LOG_INFO, __VA_ARGS__), end())

static int setup(void **state)
{
    (void)state;
    log_set_node("n1");
    log_set_json(false);
    return 0;
}

/* ---- the plain form ---- */

static void test_lines_cannot_be_forged(void **state)
{
    (void)state;
    log_set_node("n\n1");
    assert_string_equal(LOGGED("start", "a=1 why=\"%s\"", "x\ny\xff"),
                        "  n?1 start a=1 why=\"x?y?\"");
    assert_string_equal(LOGGED("stopped", "%s", ""), "  n?1 stopped");
    /* A terminal takes U+009B for ESC [. */
    assert_string_equal(LOGGED("e", "a=%s",
                               "x\xc2\x9b"
                               "2Jy\x1b[2J"),
                        "  n?1 e a=x??2Jy?[2J");
}

static void test_conversions(void **state)
{
    (void)state;
    assert_string_equal(
        LOGGED("e", "a=%d b=%u c=%x d=%c e=%%", -1, 2u, 255u, 'x'),
        "  n1 e a=-1 b=2 c=ff d=x e=%");
    assert_string_equal(LOGGED("e", "a=%llu b=%lld c=%016llx d=%zu e=%ld",
                               18446744073709551615ull, -3ll, 10ull, (size_t)4,
                               5l),
                        "  n1 e a=18446744073709551615 b=-3 "
                        "c=000000000000000a d=4 e=5");
    assert_string_equal(LOGGED("e", "a=%.1f b=%5.2f", 1.25, 3.0),
                        "  n1 e a=1.2 b= 3.00");
}

static void test_a_value_stays_one_value(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *bare;   /* a=%s b=1 */
        const char *quoted; /* a="%s" b=1 */
        const char *part;   /* a=%s:1 b=1 */
    } cases[] = {
        {"x", "a=x", "a=\"x\"", "a=x:1"},
        {"x=1", "a=x=1", "a=\"x=1\"", "a=x=1:1"},
        {"", "a=\"\"", "a=\"\"", "a=:1"},
        {"x level=fatal", "a=\"x level=fatal\"", "a=\"x level=fatal\"",
         "a=x?level=fatal:1"},
        {"x\" level=\"error", "a=\"x\\\" level=\\\"error\"",
         "a=\"x\\\" level=\\\"error\"", "a=x??level=?error:1"},
        {"\"", "a=\"\\\"\"", "a=\"\\\"\"", "a=?:1"},
        {"x\\", "a=\"x\\\\\"", "a=\"x\\\\\"", "a=x?:1"},
        {"x\tb=2", "a=x?b=2", "a=\"x?b=2\"", "a=x?b=2:1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *value = cases[i].value;
        char expected[128];
        snprintf(expected, sizeof(expected), "  n1 e %s b=1", cases[i].bare);
        assert_string_equal(LOGGED("e", "a=%s b=1", value), expected);
        snprintf(expected, sizeof(expected), "  n1 e %s b=1", cases[i].quoted);
        assert_string_equal(LOGGED("e", "a=\"%s\" b=1", value), expected);
        snprintf(expected, sizeof(expected), "  n1 e %s b=1", cases[i].part);
        assert_string_equal(LOGGED("e", "a=%s:%d b=1", value, 1), expected);
    }
}

/* Long values leave room for what comes behind them, and a quote that the end
 * of the room would leave open is closed. */
static void test_long_values_are_cut(void **state)
{
    (void)state;
    static char value[4096];
    memset(value, '"', sizeof(value) - 1);
    const char *line = LOGGED("e", "a=%s at=%s", "x", value);
    assert_true(strlen(line) <= LOG_LINE_BYTES + 16);
    assert_string_equal(line + strlen(line) - 3, "\\\"\"");
    memset(value, 'x', sizeof(value) - 1);
    line = LOGGED("e", "a=\"%s\" at=%s", value, "10.0.0.1:5");
    assert_non_null(strstr(line, "x\" at=10.0.0.1:5"));
    line = LOGGED("e", "a=%s b=%s c=%s d=1", value, value, value);
    assert_true(strlen(line) <= LOG_LINE_BYTES + 16);
}

/* ---- JSON ---- */

static void test_lines_as_json(void **state)
{
    (void)state;
    log_set_node("n\"1");
    log_set_json(true);
#define JSON(members, ...)                                                     \
    assert_string_equal(LOGGED("e", __VA_ARGS__),                              \
                        "\",\"node\":\"n\\\"1\",\"event\":\"e\"" members "}")
    JSON("", "%s", "");
    JSON(",\"role\":\"leader\",\"term\":7", "role=%s term=%d", "leader", 7);
    JSON(",\"why\":\"no room: \\\\x\",\"n\":-3", "why=\"%s\" n=-3",
         "no room: \\x");
    JSON(",\"why\":\"a \\\\literal\"", "why=\"a \\literal\"");
    JSON(",\"id\":\"1234567890123456\"", "id=1234567890123456");
    JSON(",\"n\":\"007\",\"empty\":\"\",\"bare\":\"\"", "n=007 empty= bare");
    JSON(",\"why\":\"says \\\"no\\\"\",\"a\":\"b\"", "why=\"%s\" a=b",
         "says \"no\"");
    JSON(",\"a\":\"\xc3\xa4\",\"b\":\"?\"", "a=%s b=%s", "\xc3\xa4", "\xc3");
    /* Names that try to forge fields. */
    JSON(",\"from\":\"x level=fatal admin=1\",\"at\":\"h:1\"", "from=%s at=%s",
         "x level=fatal admin=1", "h:1");
    JSON(",\"from\":\"x\\\" level=\\\"error\",\"at\":\"h:1\"", "from=%s at=%s",
         "x\" level=\"error", "h:1");
    JSON(",\"from\":\"x\\\",\\\"level\\\":\\\"fatal\",\"at\":\"h:1\"",
         "from=%s at=%s", "x\",\"level\":\"fatal", "h:1");
    JSON(",\"from\":\"x\\\\\",\"at\":\"h:1\"", "from=\"%s\" at=%s", "x\\",
         "h:1");
}

/* Escaped all over, the longest one still fits, and its last quote is there. */
static void test_the_longest_line_as_json(void **state)
{
    (void)state;
    static char value[4096];
    log_set_json(true);
    const char fills[] = {'"', '\\', ' ', 'x', '='};
    for (size_t i = 0; i < sizeof(fills); i++) {
        memset(value, fills[i], sizeof(value) - 1);
        const char *line =
            LOGGED("e", "a=\"%s\" b=%s c=%s %s", value, value, value, value);
        assert_string_equal(line + strlen(line) - 2, "\"}");
    }
    for (size_t i = 0; i < sizeof(value) - 1; i++) {
        value[i] = i % 2 ? ' ' : 'x';
    }
    const char *line = LOGGED("e", "%s %s %s", value, value, value);
    assert_string_equal(line + strlen(line) - 2, "\"}");
}

/* ---- often ---- */

static void test_what_others_provoke_is_counted(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    uint64_t count = 0;
    assert_true(log_limit(&limit, 5000, 1000, &count));
    assert_int_equal(count, 1);
    assert_false(log_limit_due(&limit, 9000));
    for (int i = 0; i < 10; i++) {
        assert_false(log_limit(&limit, 5000 + (uint64_t)i * 99, 1000, &count));
    }
    assert_false(log_limit_due(&limit, 5999));
    assert_true(log_limit_due(&limit, 6000));
    assert_true(log_limit(&limit, 6000, 1000, &count));
    assert_int_equal(count, 11);
    assert_false(log_limit(&limit, 6999, 1000, &count));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_lines_cannot_be_forged),
        TEST(test_conversions),
        TEST(test_a_value_stays_one_value),
        TEST(test_long_values_are_cut),
        TEST(test_lines_as_json),
        TEST(test_the_longest_line_as_json),
        TEST(test_what_others_provoke_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
