/* test_pattern.c -- expressions of strangers: the same answers as libc's
 * regexec() gives, in a time that nobody can choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <regex.h>
#include <stdio.h>
#include <time.h>

#include "base/rng.h"
#include "pattern/pattern.h"

static struct pattern pattern;

static bool matches(const char *text, const char *in)
{
    assert_null(pattern_compile(&pattern, bytes_of_string(text)));
    return pattern_matches(&pattern, bytes_of_string(in));
}

static void test_what_matches(void **state)
{
    static const struct {
        const char *pattern;
        const char *yes[4];
        const char *no[4];
    } rows[] = {
        {"", {"", "a"}, {NULL}},
        {"^svc\\.", {"svc.", "svc.a"}, {"svca", "a.svc.", "svc"}},
        {"a.c$",
         {"abc", "xxa.c",
          "a\xc3\xa4"
          "c"},
         {"abcd", "ac",
          "a\xc3\xa4\xc3\xa4"
          "c"}},
        {"^.{2}$",
         {"ab", "\xc3\xa4\xe2\x82\xac", "\xf0\x9f\x98\x80z"},
         {"a", "\xc3\xa4", "abc"}},
        {"^[^a]$", {"b", "\xc3\xa4"}, {"a", "", "bb"}},
        {"^\xc3\xa4*$", {"", "\xc3\xa4\xc3\xa4"}, {"\xc3\xa5"}},
        {"^(a|b){2,3}$", {"ab", "bab"}, {"a", "abab", ""}},
        {"^(ab?){2,}$", {"aa", "abab", "aba"}, {"a", "b", "abb"}},
        {"^a{3}$", {"aaa"}, {"aa", "aaaa"}},
        {"^a{0}b$", {"b"}, {"ab", "a"}},
        {"^(a{2}){2}$", {"aaaa"}, {"aaa", "aaaaa"}},
        {"[]a]", {"]", "a"}, {"b", "["}},
        {"^[^]a-c-]$", {"d"}, {"]", "b", "-"}},
        {"[[:digit:]_]+$", {"x1", "_"}, {"1x", ""}},
        {"^[[:alpha:][:space:]]*$", {"a b\t", ""}, {"a1"}},
        {"(^|/)x(/|$)", {"x", "a/x", "x/b", "a/x/b"}, {"ax", "xb", "a/xb"}},
        {"^$", {""}, {"a"}},
        {"a^b", {NULL}, {"ab", "a^b"}},
        {"\\$\\^\\(\\\\", {"$^(\\"}, {"$^("}},
        {"a||b", {"", "x"}, {NULL}},
        {"}]", {"}]"}, {"}"}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (int j = 0; j < 4; j++) {
            if (rows[i].yes[j] && !matches(rows[i].pattern, rows[i].yes[j])) {
                fail_msg("%s: not %s", rows[i].pattern, rows[i].yes[j]);
            }
            if (rows[i].no[j] && matches(rows[i].pattern, rows[i].no[j])) {
                fail_msg("%s: %s", rows[i].pattern, rows[i].no[j]);
            }
        }
    }
}

static void test_refused(void **state)
{
    static const char *const refused[] = {
        "(a)\\1",
        "\\w",
        "\\",
        "a\\<",
        "*a",
        "a|*b",
        "(*a)",
        "^*",
        "$+",
        "a{",
        "a{b",
        "a{,3}",
        "a{2",
        "a{3,2}",
        "a{256}",
        "a{99999999999}",
        "a{1,256}",
        "(",
        "(a",
        ")",
        "a)",
        "[",
        "[a",
        "[]",
        "[^]",
        "[b-a]",
        "[[:nope:]]",
        "[[=a=]]",
        "[[.a.]]",
        "[a-[:digit:]]",
        "[\xc3\xa4]",
        "\xff",
        "a\xc3",
        "(((((((((((((((((a)))))))))))))))))",
        "((a{16}){16}){2}",
        "(((a{255}){255}){255}){255}",
        "[a",
        "[[:digit:]",
        "[a-",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        if (!pattern_compile(&pattern, bytes_of_string(refused[i]))) {
            fail_msg("taken: %s", refused[i]);
        }
    }
    char text[PATTERN_BYTES_MAX + 2];
    memset(text, 'a', sizeof(text));
    assert_non_null(
        pattern_compile(&pattern, bytes_of(text, PATTERN_BYTES_MAX + 1)));
    assert_null(pattern_compile(&pattern, bytes_of(text, PATTERN_BYTES_MAX)));
    assert_null(pattern_compile(&pattern, bytes_of_string("((a{16}){16})")));
}

/* ---- compared with libc ----
 *
 * Expressions are made by their grammar, from few letters, so that texts
 * often nearly match. */

struct made {
    char text[4096];
    size_t size;
    struct rng rng;
};

static void put(struct made *made, const char *text)
{
    size_t size = strlen(text);
    if (made->size + size < sizeof(made->text)) {
        memcpy(made->text + made->size, text, size + 1);
        made->size += size;
    }
}

static void make_expression(struct made *made, int depth);

enum { DEPTH = 2 };

/* True: it may be repeated. No anchors in groups: repeated ones glibc gets
 * wrong ("(\\.a*|^){2,}[^bc]" is not in "bcaaac.a]"). */
static bool make_atom(struct made *made, int depth)
{
    static const char *const atoms[] = {
        "a",     "b",    "c",   ".", "[ab]", "[^a]",       "[a-b]",
        "[^bc]", "[]a]", "\\.", "a", "b",    "[[:alpha:]]"};
    switch (rng_below(&made->rng, 8)) {
    case 0:
        if (depth == DEPTH) {
            put(made, rng_below(&made->rng, 2) ? "^" : "$");
            return false;
        }
        break;
    case 1:
    case 2:
        if (depth > 0) {
            put(made, "(");
            make_expression(made, depth - 1);
            put(made, ")");
            return true;
        }
        break;
    default:
        break;
    }
    put(made, atoms[rng_below(&made->rng, ARRAY_COUNT(atoms))]);
    return true;
}

static void make_expression(struct made *made, int depth)
{
    static const char *const repeats[] = {"*",   "+",     "?",     "{2}",
                                          "{0}", "{1,3}", "{0,2}", "{2,}"};
    uint64_t branches = 1 + rng_below(&made->rng, 2);
    for (uint64_t i = 0; i < branches; i++) {
        uint64_t atoms = 1 + rng_below(&made->rng, 3);
        put(made, i > 0 ? "|" : "");
        for (uint64_t j = 0; j < atoms; j++) {
            if (make_atom(made, depth) && rng_below(&made->rng, 3) == 0) {
                put(made, repeats[rng_below(&made->rng, ARRAY_COUNT(repeats))]);
            }
        }
    }
}

static void test_as_libc_says(void **state)
{
    enum { EXPRESSIONS = 20000, TEXTS = 20 };
    static struct made made;
    uint32_t taken = 0;
    uint32_t matched = 0;
    (void)state;
    rng_init(&made.rng, 1961);
    for (int i = 0; i < EXPRESSIONS; i++) {
        regex_t theirs;
        made.size = 0;
        make_expression(&made, DEPTH);
        if (pattern_compile(&pattern, bytes_of(made.text, made.size)) ||
            regcomp(&theirs, made.text, REG_EXTENDED | REG_NOSUB) != 0) {
            continue;
        }
        taken++;
        for (int j = 0; j < TEXTS; j++) {
            char text[12] = "";
            size_t size = rng_below(&made.rng, sizeof(text));
            for (size_t k = 0; k < size; k++) {
                text[k] = "aabbc.]"[rng_below(&made.rng, 7)];
            }
            text[size] = '\0';
            bool expected = regexec(&theirs, text, 0, NULL, 0) == 0;
            matched += expected;
            if (pattern_matches(&pattern, bytes_of(text, size)) != expected) {
                fail_msg("%s on \"%s\": libc says %d", made.text, text,
                         expected);
            }
        }
        regfree(&theirs);
    }
    assert_true(taken > EXPRESSIONS * 9 / 10);
    assert_in_range(matched, taken * TEXTS / 10, taken * TEXTS * 9 / 10);
}

/* ---- time ---- */

static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The worst that can be asked, on the longest key: milliseconds with the
 * sanitizers, where others need years. */
static void test_nobody_chooses_the_time(void **state)
{
    static const char *const worst[] = {
        "(a*)*b",     "(a|a)*b",          "((a*)*)*b",         "(a|aa)+$b",
        "(.*){120}b", "(a?){120}a{120}b", "(a|b)*a(a|b){60}c", "(.*.*.*.*)*x",
        "(^a*)*$b",   "((a{1,8}){1,8}b)",
    };
    char text[1024];
    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < ARRAY_COUNT(worst); i++) {
        uint64_t begun_us = cpu_us();
        assert_null(pattern_compile(&pattern, bytes_of_string(worst[i])));
        assert_false(pattern_matches(&pattern, bytes_of(text, sizeof(text))));
        uint64_t us = cpu_us() - begun_us;
        if (us > 200000) {
            fail_msg("%s: %llu us", worst[i], (unsigned long long)us);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_matches),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_as_libc_says),
        cmocka_unit_test(test_nobody_chooses_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
