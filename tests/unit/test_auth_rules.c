/* test_auth_rules.c -- the file of users and tokens, and what each may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "support/authfile.h"

static const uint8_t key[AUTH_KEY_BYTES] = {1, 2, 3};

static void test_everybody(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"status\"");
    add_user(&users, "*", NULL, "\"ready\", \"read:pub/\"");
    struct auth *auth = open_auth(&users);
    /* Without credentials. */
    assert_int_equal(log_in(auth, &client, (struct bytes){0}, 1, 0),
                     AUTH_ACCEPTED);
    assert_true(auth_is_known(&client.identity));
    assert_true(may(&client, AUTH_READY, ""));
    assert_true(may(&client, AUTH_READ, "pub/a"));
    assert_false(may(&client, AUTH_STATUS, ""));
    auth_release(&client.identity);
    /* A user has it as well. */
    assert_int_equal(log_in(auth, &client, basic("bob", "secret"), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_READY, ""));
    assert_true(may(&client, AUTH_READ, "pub/a"));
    assert_true(may(&client, AUTH_STATUS, ""));
    auth_release(&client.identity);
    auth_free(auth);

    /* Without "*" nobody in particular is nobody. */
    add_user(&users, "bob", "secret", "\"status\"");
    auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, (struct bytes){0}, 1, 0),
                     AUTH_ACCEPTED);
    assert_false(auth_is_known(&client.identity));
    assert_false(may(&client, AUTH_STATUS, ""));
    auth_release(&client.identity);
    auth_free(auth);
}

/* Probes need no credentials until the file says who may probe. */
static void test_ready_is_open_until_it_is_named(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"all\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, (struct bytes){0}, 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_READY, ""));
    auth_release(&client.identity);
    auth_free(auth);

    add_user(&users, "bob", "secret", "\"all\"");
    add_token(&users, "probe", "\"ready\"");
    auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, (struct bytes){0}, 1, 0),
                     AUTH_ACCEPTED);
    assert_false(may(&client, AUTH_READY, ""));
    auth_release(&client.identity);
    assert_int_equal(log_in(auth, &client, bearer("probe"), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_READY, ""));
    auth_release(&client.identity);
    auth_free(auth);
}

/* "ready" alone is no reason to say more than a probe has to know. */
static void test_who_is_trusted(void **state)
{
    static const struct {
        const char *perms;
        const char *of_all;
        bool trusted;
    } rows[] = {
        {"", "", false},
        {"\"ready\"", "", false},
        {"\"ready\"", "\"ready\"", false},
        {"\"ready\", \"lease\"", "", true},
        {"\"read:a\"", "", true},
        {"\"all\"", "\"ready\"", true},
        {"", "\"write:a\"", true},
        {"\"ready\"", "\"status\"", true},
    };
    (void)state;
    struct client client;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct buf users = {0};
        add_token(&users, "tok", rows[i].perms);
        add_user(&users, "*", NULL, rows[i].of_all);
        struct auth *auth = open_auth(&users);
        assert_int_equal(ask(auth, &client, bearer("tok"), 1, 0),
                         AUTH_ACCEPTED);
        assert_int_equal(auth_is_trusted(&client.identity), rows[i].trusted);
        auth_release(&client.identity);
        assert_false(auth_is_trusted(&client.identity));
        auth_free(auth);
    }
    assert_true(auth_is_trusted(&(struct auth_identity){.unrestricted = true}));
}

static void test_users_of_the_machine(void **state)
{
    (void)state;
    struct buf users = {0};
    struct auth_identity identity = {0};
    add_user(&users, "uid:1000", NULL, "\"read\"");
    struct auth *auth = open_auth(&users);
    auth_identify_uid(auth, 1000, &identity);
    assert_true(auth_is_known(&identity));
    assert_true(auth_may(&identity, AUTH_READ, (struct bytes){0}));
    auth_identify_uid(auth, 100, &identity);
    assert_false(auth_is_known(&identity));
    assert_false(auth_may(&identity, AUTH_READ, (struct bytes){0}));
    auth_release(&identity);
    auth_free(auth);
}

/* ---- what it may do ---- */

static void test_prefixes(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "x",
             "\"read:svc/\", \"write:svc/a\", \"watch:log\", \"status\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, basic("bob", "x"), 1, 0),
                     AUTH_ACCEPTED);
    static const char *const yes[] = {"svc/",         "svc/a", "svc//",
                                      "svc/\xc3\xa4", "log",   "logs"};
    static const char *const no[] = {"",     "s",      "svc",   "svc0",
                                     "svd/", "Svc/",   "SVC/a", "/svc/",
                                     "lo",   "svc%2f", "svc.",  "lOg"};
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++) {
        assert_true(may(&client, AUTH_READ, yes[i]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(no); i++) {
        assert_false(may(&client, AUTH_READ, no[i]));
    }
    assert_true(may(&client, AUTH_WRITE, "svc/a"));
    assert_true(may(&client, AUTH_WRITE, "svc/ab"));
    assert_false(may(&client, AUTH_WRITE, "svc/"));
    assert_false(may(&client, AUTH_WRITE, "log"));
    /* Something below. */
    assert_true(may_below(&client, AUTH_READ, ""));
    assert_true(may_below(&client, AUTH_READ, "sv"));
    assert_true(may_below(&client, AUTH_READ, "svc/x/"));
    assert_false(may_below(&client, AUTH_READ, "svd"));
    assert_false(may_below(&client, AUTH_READ, "svc0"));
    assert_true(may_below(&client, AUTH_WRITE, "svc/"));
    assert_false(may_below(&client, AUTH_WRITE, "log"));
    assert_false(may(&client, AUTH_PERM_NONE, ""));
    auth_release(&client.identity);
    auth_free(auth);
}

/* Each permission gives what it names, and nothing else. */
static void test_every_permission(void **state)
{
    static const struct {
        const char *text;
        enum auth_perm perm;
    } rows[] = {
#define X(name, text) {text, AUTH_##name},
        AUTH_PERM_LIST(X)
#undef X
            {"watch", AUTH_READ},
        {"query", AUTH_READ},
        {"execute", AUTH_WRITE},
        {"all", AUTH_PERM_NONE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct buf users = {0};
        struct client client;
        char perms[64];
        (void)snprintf(perms, sizeof(perms), "\"%s\"", rows[i].text);
        add_token(&users, "tok", perms);
        add_token(&users, "other",
                  "\"ready\""); /* Else every client may do everything. */
        struct auth *auth = open_auth(&users);
        assert_int_equal(log_in(auth, &client, bearer("tok"), 1, 0),
                         AUTH_ACCEPTED);
        for (enum auth_perm perm = AUTH_PERM_NONE; perm < AUTH_PERM_COUNT;
             perm++) {
            bool wanted =
                perm != AUTH_PERM_NONE &&
                (rows[i].perm == perm || rows[i].perm == AUTH_PERM_NONE);
            assert_int_equal(may(&client, perm, ""), wanted);
            assert_int_equal(may(&client, perm, "any"), wanted);
        }
        auth_release(&client.identity);
        auth_free(auth);
    }
}

static void test_zero_may_nothing(void **state)
{
    (void)state;
    struct auth_identity stranger = {0};
    struct auth_identity unrestricted = {.unrestricted = true};
    assert_false(auth_may(&stranger, AUTH_READ, (struct bytes){0}));
    assert_false(auth_may_below(&stranger, AUTH_READ, (struct bytes){0}));
    assert_false(auth_is_known(&stranger));
    assert_true(auth_may(&unrestricted, AUTH_LOAD, (struct bytes){0}));
    /* Before there are rules everything is refused. */
    struct client client;
    struct auth *auth = auth_new(key, WAITING_MAX);
    assert_int_equal(log_in(auth, &client, (struct bytes){0}, 1, 0),
                     AUTH_ACCEPTED);
    assert_false(may(&client, AUTH_READY, ""));
    assert_int_equal(log_in(auth, &client, basic("bob", "x"), 1, 0),
                     AUTH_REJECTED);
    assert_int_equal(log_in(auth, &client, bearer("tok"), 2, 0), AUTH_REJECTED);
    auth_free(auth);
}

/* ---- broken files ---- */

static void test_broken_files(void **state)
{
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GOOD "pbkdf2-sha256:1000:00112233445566778899aabbccddeeff:" HASH
    static const struct {
        const char *file;
        const char *why;
    } rows[] = {
        {"", "line 1, column 1: "},
        {"{}", "line 1, column 1: the file is an array of objects"},
        {"[\n 1]", "line 2, column 2: the file is an array of objects"},
        {"[\n{\"username\"\n:\"b\",]", "line 3, column 6: "},
        {"[] x", "line 1, column 4: there is more after the value"},
        {"[{}]", "line 1, column 2: an object has either"},
        {"[{\"username\":\"b\",\"perms\":[]}]",
         "line 1, column 2: a user has a \"password\""},
        {"[{\"username\":\"b\",\"password\":\"" GOOD "\"}]",
         "line 1, column 2: an object has \"perms\""},
        {"[{\"username\":\"b\",\"token\":\"sha256:" HASH "\",\"perms\":[]}]",
         "line 1, column 2: an object has either"},
        {"[{\"token\":\"sha256:" HASH "\",\"password\":\"" GOOD
         "\",\"perms\":[]}]",
         "line 1, column 2: a token, \"*\" and uid:N have no"},
        {"[{\"username\":\"*\",\"password\":\"" GOOD "\",\"perms\":[]}]",
         "line 1, column 2: a token, \"*\" and uid:N have no"},
        {"[{\"username\":\"uid:1\",\"password\":\"" GOOD "\",\"perms\":[]}]",
         "line 1, column 2: a token, \"*\" and uid:N have no"},
        {"[{\"username\":\"b\",\"password\":\"secret\",\"perms\":[]}]",
         "line 1, column 29: a password is pbkdf2-sha256:"},
        {"[{\"username\":\"b\",\"password\":\"pbkdf2-sha256:999:"
         "0011223344556677:" HASH "\",\"perms\":[]}]",
         "line 1, column 29: the rounds"},
        {"[{\"username\":\"b\",\"password\":\"pbkdf2-sha256:10000001:"
         "0011223344556677:" HASH "\",\"perms\":[]}]",
         "line 1, column 29: the rounds"},
        {"[{\"username\":\"b\",\"password\":\"pbkdf2-sha256:1000:"
         "00112233445566:" HASH "\",\"perms\":[]}]",
         "line 1, column 29: the salt"},
        {"[{\"username\":\"b\",\"password\":\"pbkdf2-sha256:1000:"
         "0011223344556677:" HASH "00\",\"perms\":[]}]",
         "line 1, column 29: the hash"},
        {"[{\"username\":\"b\",\"password\":\"" GOOD ":\",\"perms\":[]}]",
         "line 1, column 29: the hash"},
        {"[{\"token\":\"" HASH "\",\"perms\":[]}]",
         "line 1, column 11: a token is sha256:"},
        {"[{\"token\":\"sha256:00\",\"perms\":[]}]",
         "line 1, column 11: a token is sha256:"},
        {"[{\"username\":\"a:b\",\"perms\":[]}]",
         "line 1, column 14: a user's name has no colon"},
        {"[{\"username\":\"uid:01\",\"perms\":[]}]",
         "line 1, column 14: behind uid:"},
        {"[{\"username\":\"uid:4294967296\",\"perms\":[]}]",
         "line 1, column 14: behind uid:"},
        {"[{\"username\":\"uid:\",\"perms\":[]}]",
         "line 1, column 14: behind uid:"},
        {"[{\"username\":\"\",\"perms\":[]}]", "line 1, column 14: a user's"},
        {"[{\"username\":\"a b\",\"perms\":[]}]",
         "line 1, column 14: a user's"},
        {"[{\"username\":\"\\n\",\"perms\":[]}]",
         "line 1, column 14: a user's"},
        {"[{\"username\":\"*\",\"perms\":[\"ready\",\n\"raed\"]}]",
         "line 2, column 1: there is no permission \"raed\"; did you mean "
         "read?"},
        {"[{\"username\":\"*\",\"perms\":[\"Read\"]}]",
         "line 1, column 27: there is no permission \"Read\"; did you mean "
         "read?"},
        {"[{\"username\":\"*\",\"perms\":[\"\"]}]",
         "line 1, column 27: there is no permission"},
        {"[{\"username\":\"*\",\"perms\":[\"status:a\"]}]",
         "line 1, column 27: only read and write take a prefix"},
        {"[{\"username\":\"*\",\"perms\":[\"all:a\"]}]",
         "line 1, column 27: only read and write take a prefix"},
        {"[{\"username\":\"*\",\"perms\":[\"read:\"]}]",
         "line 1, column 27: a prefix has 1 to 1024 bytes"},
        {"[{\"username\":\"*\",\"perms\":[1]}]",
         "line 1, column 27: \"perms\" is an array of strings"},
        {"[{\"username\":\"*\",\"perms\":\"read\"}]",
         "line 1, column 26: \"perms\" is an array of strings"},
        {"[{\"username\":1,\"perms\":[]}]",
         "line 1, column 14: a string is expected"},
        {"[{\"username\":\"*\",\"perm\":[]}]",
         "line 1, column 18: there is no member \"perm\"; did you mean perms?"},
        {"[{\"username\":\"*\",\"username\":\"*\",\"perms\":[]}]",
         "line 1, column 18: a member that is there twice"},
        {"[{\"username\":\"*\",\"perms\":[],\"perms\":[\"all\"]}]",
         "line 1, column 29: a member that is there twice"},
        {"[{\"username\":\"*\",\"perms\":[]},\n {\"username\":\"*\",\"perms\":"
         "[\"all\"]}]",
         "line 2, column 2: the same user or token is there twice"},
        {"[{\"token\":\"sha256:" HASH
         "\",\"perms\":[]},{\"token\":\"sha256:" HASH "\",\"perms\":[]}]",
         "column 97: the same user or token is there twice"},
        /* Escapes move what is behind them in the reader's copy. */
        {"[{\"\\u0075sername\":\"\\u002a\",\"perms\":[\n\n  \"x\\ty\"]}]",
         "line 3, column 3: there is no permission"},
    };
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "x", "\"all\"");
    struct auth *auth = open_auth(&users);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char why[AUTH_WHY_BYTES] = "";
        assert_int_equal(
            auth_set_rules(auth, bytes_of_string(rows[i].file), why),
            ERR_INVALID);
        if (!strstr(why, rows[i].why)) {
            fail_msg("%s: %s", rows[i].file, why);
        }
    }
    /* The old rules are in force. */
    assert_int_equal(log_in(auth, &client, basic("bob", "x"), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_LOAD, ""));
    auth_release(&client.identity);
    auth_free(auth);
}

static void test_limits_of_files(void **state)
{
    (void)state;
    char why[AUTH_WHY_BYTES] = "";
    struct buf users = {0};
    struct buf perms = {0};
    struct auth *auth = auth_new(key, WAITING_MAX);
    for (int i = 0; i < AUTH_PERMS_MAX; i++) {
        buf_printf(&perms, "%s\"read:%d/\"", i ? ", " : "", i);
    }
    buf_add_u8(&perms, 0);
    add_token(&users, "tok", (const char *)perms.data);
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    perms.size--;
    buf_add_string(&perms, ", \"write\"");
    buf_add_u8(&perms, 0);
    add_token(&users, "tok", (const char *)perms.data);
    assert_int_equal(set_rules(auth, &users, why), ERR_INVALID);
    assert_non_null(strstr(why, "more than 64 permissions"));
    buf_free(&perms);

    for (int i = 0; i <= AUTH_USERS_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "tok-%d", i);
        add_token(&users, name, "");
        if (i == AUTH_USERS_MAX - 1) {
            struct buf most = {0};
            buf_add_bytes(&most, buf_bytes(&users));
            assert_int_equal(set_rules(auth, &most, why), ERR_OK);
            assert_int_equal(auth_user_count(auth), AUTH_USERS_MAX);
        }
    }
    assert_int_equal(set_rules(auth, &users, why), ERR_INVALID);
    assert_non_null(strstr(why, "more than 1024 users"));

    for (int i = 0; i < AUTH_FILE_BYTES_MAX; i++) {
        buf_add_u8(&users, ' ');
    }
    assert_int_equal(set_rules(auth, &users, why), ERR_TOO_BIG);
    auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody),
        cmocka_unit_test(test_ready_is_open_until_it_is_named),
        cmocka_unit_test(test_who_is_trusted),
        cmocka_unit_test(test_users_of_the_machine),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_every_permission),
        cmocka_unit_test(test_zero_may_nothing),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_limits_of_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
