/* test_auth.c -- credentials: checked in slices, remembered, delayed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/text.h"
#include "support/authfile.h"

/* ---- who is who ---- */

static void test_passwords_and_tokens(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    add_user(&users, "eve", "", "\"write\"");
    add_token(&users, "tok-1", "\"join\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(auth_user_count(auth), 3);

    assert_int_equal(log_in(auth, &client, basic("bob", "secret"), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_READ, "k"));
    assert_false(may(&client, AUTH_WRITE, "k"));
    auth_release(&client.identity);
    assert_false(may(&client, AUTH_READ, "k"));

    assert_int_equal(log_in(auth, &client, basic("eve", ""), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_WRITE, "k"));
    auth_release(&client.identity);

    assert_int_equal(log_in(auth, &client, bearer("tok-1"), 1, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_JOIN, ""));
    assert_false(may(&client, AUTH_READ, "k"));
    auth_release(&client.identity);
    assert_int_equal(auth_failures(auth), 0);
    auth_free(auth);
}

static void test_wrong_credentials(void **state)
{
    static const char *const malformed[] = {
        "Basic",      "Basic ",        "Basic Ym9i", /* bob, no colon */
        "Basic ****", "Basic Ym9iOg",  "Digest a=b",
        "Bearer",     "Bearer ",       "Ym9iOnNlY3JldA==",
        "secret",     "basic\tYm9iOg", "BasicYm9iOg==",
    };
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"all\"");
    add_user(&users, "*", NULL, "\"ready\"");
    add_user(&users, "uid:7", NULL, "\"all\"");
    add_token(&users, "tok-1", "\"all\"");
    struct auth *auth = open_auth(&users);
    struct {
        const char *user;
        const char *password;
    } wrong[] = {
        {"bob", "Secret"}, {"bob", "secret "},   {"bob", ""},
        {"Bob", "secret"}, {"", "secret"},       {"bo", "b:secret"},
        {"*", ""},         {"uid:7", ""},        {"", "tok-1"},
        {"tok-1", ""},     {"nobody", "secret"},
    };
    uint64_t network = 1;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct bytes header = basic(wrong[i].user, wrong[i].password);
        assert_int_equal(log_in(auth, &client, header, network++, 0),
                         AUTH_REJECTED);
        assert_false(may(&client, AUTH_READY, ""));
        assert_false(auth_is_known(&client.identity));
    }
    assert_int_equal(log_in(auth, &client, bearer("tok-2"), network++, 0),
                     AUTH_REJECTED);
    assert_int_equal(log_in(auth, &client, bearer("secret"), network++, 0),
                     AUTH_REJECTED);
    assert_int_equal(auth_failures(auth), ARRAY_COUNT(wrong) + 2);
    for (size_t i = 0; i < ARRAY_COUNT(malformed); i++) {
        assert_int_equal(
            log_in(auth, &client, bytes_of_string(malformed[i]), network++, 0),
            AUTH_REJECTED);
    }
    /* A header that is far too long, and one that is a little. */
    struct buf text = {0};
    struct buf header = {0};
    for (size_t size = AUTH_SECRET_BYTES_MAX - 8; size < 4000; size += 7) {
        text.size = 0;
        buf_add_string(&text, "bob:");
        while (text.size < size) {
            buf_add_u8(&text, 'x');
        }
        header.size = 0;
        buf_add_string(&header, "Basic ");
        text_add_base64(&header, buf_bytes(&text));
        assert_int_equal(
            log_in(auth, &client, buf_bytes(&header), network++, 0),
            AUTH_REJECTED);
    }
    buf_free(&text);
    buf_free(&header);
    auth_free(auth);
}

/* The scheme is in any case (RFC 9110 11.1); user and password are not. */
static void test_scheme_in_any_case(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"all\"");
    struct auth *auth = open_auth(&users);
    static const char *const good[] = {"Basic Ym9iOnNlY3JldA==",
                                       "bAsIc   Ym9iOnNlY3JldA=="};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        assert_int_equal(log_in(auth, &client, bytes_of_string(good[i]), 1, 0),
                         AUTH_ACCEPTED);
        auth_release(&client.identity);
    }
    auth_free(auth);
}

/* ---- remembered ---- */

static void test_remembered_until_the_rules_change(void **state)
{
    (void)state;
    char why[AUTH_WHY_BYTES];
    struct buf users = {0};
    struct client client;
    struct client other;
    add_user(&users, "bob", "old", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, basic("bob", "old"), 1, 0),
                     AUTH_ACCEPTED);
    /* At once, from any address. */
    assert_int_equal(ask(auth, &other, basic("bob", "old"), 2, 0),
                     AUTH_ACCEPTED);
    auth_release(&other.identity);

    /* A broken file changes nothing. */
    assert_int_equal(auth_set_rules(auth, bytes_of_string("["), why),
                     ERR_INVALID);
    assert_int_equal(ask(auth, &other, basic("bob", "old"), 2, 0),
                     AUTH_ACCEPTED);
    auth_release(&other.identity);

    add_user(&users, "bob", "new", "\"write\"");
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    /* An identity keeps its rights until its request ends. */
    assert_true(may(&client, AUTH_READ, "k"));
    assert_false(may(&client, AUTH_WRITE, "k"));
    auth_release(&client.identity);
    assert_int_equal(log_in(auth, &client, basic("bob", "old"), 1, 0),
                     AUTH_REJECTED);
    assert_int_equal(log_in(auth, &client, basic("bob", "new"), 3, 0),
                     AUTH_ACCEPTED);
    assert_true(may(&client, AUTH_WRITE, "k"));
    assert_false(may(&client, AUTH_READ, "k"));
    auth_release(&client.identity);
    auth_free(auth);
}

/* The password is being checked when the rules change. */
static void test_rules_change_during_a_check(void **state)
{
    (void)state;
    char why[AUTH_WHY_BYTES];
    struct buf users = {0};
    struct client right;
    struct client late;
    add_user(&users, "bob", "old", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &right, basic("bob", "old"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(ask(auth, &late, basic("bob", "new"), 2, 0), AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, ROUNDS - SLICE), 0);
    assert_int_equal(right.done, 0);
    add_user(&users, "amy", "any", "\"all\"");
    add_user(&users, "bob", "new", "\"write\"");
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    while (auth_run(auth, 0, SLICE) == 0) {
    }
    assert_int_equal(right.done, 1);
    assert_int_equal(end(&right), AUTH_REJECTED);
    assert_int_equal(end(&late), AUTH_ACCEPTED);
    assert_true(may(&late, AUTH_WRITE, "k"));
    auth_release(&late.identity);
    auth_free(auth);
}

/* One password is remembered once, however its sender spells the header:
 * spellings cost no further check, and nobody else his place. */
static void test_spellings_are_remembered_as_one(void **state)
{
    enum { BLANKS = 400 };
    (void)state;
    struct buf users = {0};
    struct buf header = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"all\"");
    add_token(&users, "tok", "\"all\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(log_in(auth, &client, basic("bob", "secret"), 1, 0),
                     AUTH_ACCEPTED);
    auth_release(&client.identity);
    assert_int_equal(ask(auth, &client, bearer("tok"), 1, 0), AUTH_ACCEPTED);
    auth_release(&client.identity);
    assert_int_equal(ask(auth, &client, bearer("wrong"), 1, 0), AUTH_REJECTED);
    for (unsigned i = 0; i < 32 * BLANKS; i++) {
        static const char *const rest[] = {"Ym9iOnNlY3JldA==", "tok"};
        const char *scheme = i % 2 ? "bearer" : "basic";
        header.size = 0;
        for (size_t k = 0; scheme[k]; k++) {
            buf_add_u8(&header, (uint8_t)(scheme[k] ^ (i >> k & 1 ? 0x20 : 0)));
        }
        for (unsigned k = 0; k <= i / 32; k++) {
            buf_add_u8(&header, ' ');
        }
        buf_add_string(&header, rest[i % 2]);
        /* A token that is not remembered would have to wait. */
        assert_int_equal(ask(auth, &client, buf_bytes(&header), 1, 0),
                         AUTH_ACCEPTED);
        auth_release(&client.identity);
    }
    buf_free(&header);
    auth_free(auth);
}

/* HMAC takes a key and the same with zeros behind it for one (RFC 2104 2). */
static void test_a_password_has_no_zeros(void **state)
{
    (void)state;
    struct buf users = {0};
    struct buf header = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"all\"");
    struct auth *auth = open_auth(&users);
    buf_add_string(&header, "Basic ");
    text_add_base64(&header, bytes_of("bob:secret\0\0", 12));
    assert_int_equal(log_in(auth, &client, buf_bytes(&header), 1, 0),
                     AUTH_REJECTED);
    buf_free(&header);
    auth_free(auth);
}

static void name_token(char *name, size_t size, int i)
{
    (void)snprintf(name, size, "tok-%d", i);
}

/* The file may have no more users than can be remembered together. */
static void test_all_users_are_remembered(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    char name[32];
    unsigned remembered = 0;
    for (int i = 0; i < AUTH_USERS_MAX; i++) {
        name_token(name, sizeof(name), i);
        add_token(&users, name, "\"read\"");
    }
    struct auth *auth = open_auth(&users);
    for (int i = 0; i < AUTH_USERS_MAX; i++) {
        name_token(name, sizeof(name), i);
        assert_int_equal(ask(auth, &client, bearer(name), 1, 0), AUTH_ACCEPTED);
        auth_release(&client.identity);
    }
    assert_int_equal(ask(auth, &client, bearer("wrong"), 1, 0), AUTH_REJECTED);
    for (int i = 0; i < AUTH_USERS_MAX; i++) {
        name_token(name, sizeof(name), i);
        /* One that is not remembered has to wait at this address. */
        if (ask(auth, &client, bearer(name), 1, 0) == AUTH_ACCEPTED) {
            remembered++;
        } else {
            (void)end(&client);
        }
        auth_release(&client.identity);
    }
    assert_true(remembered >= AUTH_USERS_MAX - 2); /* As hashes have it. */
    auth_free(auth);
}

/* Many tokens: each is right, none is mixed up. */
static void test_more_than_are_remembered(void **state)
{
    enum { TOKENS = AUTH_USERS_MAX };
    (void)state;
    struct buf users = {0};
    struct client client;
    char name[32];
    char perm[32];
    for (int i = 0; i < TOKENS; i++) {
        (void)snprintf(name, sizeof(name), "tok-%d", i);
        (void)snprintf(perm, sizeof(perm), "\"read:%d/\"", i);
        add_token(&users, name, perm);
    }
    struct auth *auth = open_auth(&users);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < TOKENS; i++) {
            (void)snprintf(name, sizeof(name), "tok-%d", i);
            (void)snprintf(perm, sizeof(perm), "%d/", i);
            assert_int_equal(ask(auth, &client, bearer(name), 1, 0),
                             AUTH_ACCEPTED);
            assert_true(may(&client, AUTH_READ, perm));
            (void)snprintf(perm, sizeof(perm), "%d/", (i + 1) % TOKENS);
            assert_false(may(&client, AUTH_READ, perm));
            auth_release(&client.identity);
        }
    }
    auth_free(auth);
}

/* ---- in slices, and delayed ---- */

static void test_slices(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 1, 5),
                     AUTH_PENDING);
    for (int i = 0; i < ROUNDS / SLICE - 1; i++) {
        assert_int_equal(auth_run(auth, 5, SLICE), 5);
        assert_int_equal(client.done, 0);
    }
    assert_int_equal(auth_run(auth, 5, SLICE), UINT64_MAX);
    assert_int_equal(client.done, 1);
    assert_int_equal(end(&client), AUTH_ACCEPTED);
    auth_release(&client.identity);
    auth_free(auth);
}

/* Users who do not exist take as long as those who do. */
static void test_unknown_users_take_as_long(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    const char *const names[] = {"bob", "amy"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        unsigned slices = 1;
        assert_int_equal(ask(auth, &client, basic(names[i], "x"), i, 0),
                         AUTH_PENDING);
        while (auth_run(auth, 0, SLICE) == 0) {
            slices++;
        }
        assert_int_equal(slices, ROUNDS / SLICE);
        assert_int_equal(end(&client), AUTH_REJECTED);
    }
    auth_free(auth);
}

/* When users have different rounds, those who do not exist have too, and always
 * the same for a name. */
static void test_unknown_users_take_as_long_as_one_of_them(void **state)
{
    enum { NAMES = 32 };
    (void)state;
    struct buf users = {0};
    struct client client;
    char name[16];
    unsigned by_slices[2] = {0};
    add_token(&users, "tok", "\"read\"");
    add_user(&users, "bob", "secret", "\"read\"");
    buf_printf(&users,
               ",{\"username\":\"eve\",\"perms\":[],\"password\":"
               "\"pbkdf2-sha256:%d:%016d:%064d\"}",
               2 * ROUNDS, 0, 0);
    struct auth *auth = open_auth(&users);
    for (uint64_t i = 0; i < NAMES; i++) {
        unsigned slices[2] = {1, 1};
        (void)snprintf(name, sizeof(name), "user-%d", (int)i);
        for (uint64_t k = 0; k < 2; k++) {
            struct bytes header = basic(name, k ? "x" : "y");
            assert_int_equal(ask(auth, &client, header, 2 * i + k, 0),
                             AUTH_PENDING);
            while (auth_run(auth, 0, SLICE) == 0) {
                slices[k]++;
            }
            assert_int_equal(end(&client), AUTH_REJECTED);
        }
        assert_int_equal(slices[0], slices[1]);
        assert_true(slices[0] == ROUNDS / SLICE ||
                    slices[0] == 2 * ROUNDS / SLICE);
        by_slices[slices[0] / (ROUNDS / SLICE) - 1]++;
    }
    assert_true(by_slices[0] > 0 && by_slices[1] > 0);
    auth_free(auth);
}

/* The time of a name is the same on every node and after each start, as it is
 * for one that exists: else two nodes would tell the difference. */
static void test_unknown_users_take_as_long_on_every_node(void **state)
{
    enum { NAMES = 32 };
    (void)state;
    static const uint8_t keys[2][AUTH_KEY_BYTES] = {{1}, {2}};
    char why[AUTH_WHY_BYTES];
    char name[16];
    for (uint64_t i = 0; i < NAMES; i++) {
        unsigned slices[2] = {1, 1};
        (void)snprintf(name, sizeof(name), "user-%d", (int)i);
        for (size_t k = 0; k < 2; k++) {
            struct buf users = {0};
            struct client client;
            struct auth *auth = auth_new(keys[k], 8);
            add_user(&users, "bob", "secret", "\"read\"");
            buf_printf(&users,
                       ",{\"username\":\"eve\",\"perms\":[],\"password\":"
                       "\"pbkdf2-sha256:%d:%016d:%064d\"}",
                       2 * ROUNDS, 0, 0);
            assert_int_equal(set_rules(auth, &users, why), ERR_OK);
            assert_int_equal(ask(auth, &client, basic(name, "x"), 1, 0),
                             AUTH_PENDING);
            while (auth_run(auth, 0, SLICE) == 0) {
                slices[k]++;
            }
            assert_int_equal(end(&client), AUTH_REJECTED);
            auth_free(auth);
        }
        assert_int_equal(slices[0], slices[1]);
    }
}

/* Time at which the answer is there, from `now_ms` on. */
static uint64_t rejected_at(struct auth *auth, const char *password,
                            uint64_t network, uint64_t now_ms)
{
    struct client client;
    enum auth_verdict verdict =
        ask(auth, &client, basic("bob", password), network, now_ms);
    assert_int_equal(verdict, AUTH_PENDING);
    for (;;) {
        uint64_t at_ms = auth_run(auth, now_ms, ROUNDS);
        if (client.done) {
            break;
        }
        assert_true(at_ms != UINT64_MAX);
        now_ms = at_ms;
    }
    assert_int_equal(end(&client), AUTH_REJECTED);
    return now_ms;
}

static void test_wrong_ones_are_delayed_by_address(void **state)
{
    static const uint64_t delays[] = {0,    100,  200,  400,  800,
                                      1600, 3200, 5000, 5000, 5000};
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    add_user(&users, "amy", "secret", "\"read\"");
    add_token(&users, "tok", "\"read\"");
    struct auth *auth = open_auth(&users);
    uint64_t now_ms = 1000;
    char password[32];
    /* Remembered before, from the same address. */
    assert_int_equal(log_in(auth, &client, basic("bob", "secret"), 1, now_ms),
                     AUTH_ACCEPTED);
    auth_release(&client.identity);
    for (size_t i = 0; i < ARRAY_COUNT(delays); i++) {
        (void)snprintf(password, sizeof(password), "wrong-%zu", i);
        uint64_t at_ms = rejected_at(auth, password, 1, now_ms);
        assert_in_range(at_ms - now_ms, delays[i] - delays[i] / 100, delays[i]);
        now_ms = at_ms;
    }
    /* A cached success is not delayed, nor is another address. */
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 1, now_ms),
                     AUTH_ACCEPTED);
    auth_release(&client.identity);
    assert_int_equal(log_in(auth, &client, basic("amy", "secret"), 2, now_ms),
                     AUTH_ACCEPTED);
    auth_release(&client.identity);
    /* A token from there waits as well: a quick answer would tell. */
    assert_int_equal(ask(auth, &client, bearer("tok"), 1, now_ms),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, now_ms, ROUNDS), now_ms + 5000);
    assert_int_equal(client.done, 0);
    assert_int_equal(auth_run(auth, now_ms + 5000, ROUNDS), UINT64_MAX);
    assert_int_equal(client.done, 1);
    assert_int_equal(end(&client), AUTH_ACCEPTED);
    auth_release(&client.identity);
    /* After a while all is forgiven. */
    now_ms += 100 * AUTH_FORGIVE_MS;
    assert_int_equal(rejected_at(auth, "a", 1, now_ms), now_ms);
    assert_int_equal(rejected_at(auth, "b", 1, now_ms), now_ms + 100);
    auth_free(auth);
}

static void test_wrong_tokens_are_delayed_too(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_token(&users, "tok", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &client, bearer("a"), 1, 0), AUTH_REJECTED);
    assert_int_equal(ask(auth, &client, bearer("tok"), 1, 99), AUTH_PENDING);
    assert_int_equal(end(&client), AUTH_PENDING);
    assert_int_equal(ask(auth, &client, bearer("tok"), 1, 100), AUTH_ACCEPTED);
    auth_release(&client.identity);
    auth_free(auth);
}

/* The same credentials of several connections are checked once. */
static void test_same_credentials_are_checked_once(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client clients[3];
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        assert_int_equal(ask(auth, &clients[i], basic("bob", "secret"), i, 0),
                         AUTH_PENDING);
    }
    assert_int_equal(auth_run(auth, 0, ROUNDS), UINT64_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        assert_int_equal(clients[i].done, 1);
        assert_int_equal(end(&clients[i]), AUTH_ACCEPTED);
        auth_release(&clients[i].identity);
    }
    auth_free(auth);
}

/* One address cannot take all the places, nor all of the turns. */
static void test_crowds(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client crowd[WAITING_MAX];
    struct client client;
    char password[32];
    add_user(&users, "bob", "secret", "\"read\"");
    add_token(&users, "tok", "\"read\"");
    struct auth *auth = open_auth(&users);
    for (int i = 0; i < WAITING_MAX / 2; i++) {
        (void)snprintf(password, sizeof(password), "wrong-%d", i);
        assert_int_equal(ask(auth, &crowd[i], basic("bob", password), 1, 0),
                         AUTH_PENDING);
    }
    assert_int_equal(ask(auth, &client, basic("bob", "x"), 1, 0), AUTH_CROWDED);
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 2, 0),
                     AUTH_PENDING);
    /* The first of the crowd, then the other address. */
    assert_int_equal(auth_run(auth, 0, ROUNDS), 0);
    assert_int_equal(crowd[0].done, 1);
    assert_int_equal(auth_run(auth, 0, ROUNDS), 0);
    assert_int_equal(client.done, 1);
    assert_int_equal(end(&client), AUTH_ACCEPTED);
    auth_release(&client.identity);
    assert_int_equal(end(&crowd[0]), AUTH_REJECTED);
    /* The rest of the places; a token needs none. */
    int count = WAITING_MAX / 2;
    for (int i = 0; i < WAITING_MAX / 2 + 1; i++) {
        (void)snprintf(password, sizeof(password), "other-%d", i);
        assert_int_equal(ask(auth, &crowd[i == 0 ? 0 : count++],
                             basic("bob", password), (uint64_t)i + 10, 0),
                         AUTH_PENDING);
    }
    struct client *newest = &crowd[WAITING_MAX / 2 - 1];
    struct client more; /* See test_a_crowd_makes_room(). */
    assert_int_equal(ask(auth, &more, basic("bob", "y"), 10, 0), AUTH_PENDING);
    assert_int_equal(newest->done, 1);
    assert_int_equal(end(newest), AUTH_CROWDED);
    assert_int_equal(end(&more), AUTH_PENDING);
    assert_int_equal(ask(auth, newest, basic("bob", "x"), 10, 0), AUTH_PENDING);
    assert_int_equal(ask(auth, &client, basic("bob", "z"), 10, 0),
                     AUTH_CROWDED);
    assert_int_equal(ask(auth, &client, bearer("tok"), 100, 0), AUTH_ACCEPTED);
    auth_release(&client.identity);
    /* Connections end, also that of the password being checked. */
    assert_int_equal(auth_run(auth, 0, SLICE), 0);
    for (int i = 0; i < WAITING_MAX; i++) {
        assert_int_equal(end(&crowd[i]), AUTH_PENDING);
        assert_int_equal(crowd[i].done, 0);
    }
    /* That one is finished, and no other begins. */
    for (int i = 1; i < ROUNDS / SLICE - 1; i++) {
        assert_int_equal(auth_run(auth, 0, SLICE), 0);
    }
    assert_int_equal(auth_run(auth, 0, SLICE), UINT64_MAX);
    auth_free(auth);
}

/* Two addresses that take all the places leave some to a third. */
static void test_a_crowd_makes_room(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client crowd[WAITING_MAX];
    struct client client;
    char password[32];
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    for (int i = 0; i < WAITING_MAX; i++) {
        (void)snprintf(password, sizeof(password), "wrong-%d", i);
        assert_int_equal(
            ask(auth, &crowd[i], basic("bob", password), i % 2 ? 1 : 2, 0),
            AUTH_PENDING);
    }
    assert_int_equal(auth_run(auth, 0, SLICE), 0); /* Of the first. */
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 3, 0),
                     AUTH_PENDING);
    unsigned done = 0;
    for (int i = 0; i < WAITING_MAX; i++) {
        done += crowd[i].done;
    }
    int last = crowd[WAITING_MAX - 1].done ? WAITING_MAX - 1 : WAITING_MAX - 2;
    assert_int_equal(done, 1);
    assert_int_equal(end(&crowd[last]), AUTH_CROWDED);
    while (client.done == 0) {
        assert_int_equal(auth_run(auth, 0, ROUNDS), 0);
    }
    assert_int_equal(end(&client), AUTH_ACCEPTED);
    auth_release(&client.identity);
    for (int i = 0; i < WAITING_MAX; i++) {
        if (i != last) {
            (void)end(&crowd[i]);
        }
    }
    auth_free(auth);
}

/* Work that has been done is not lost: of one check for each address, the one
 * being run stays. */
static void test_room_is_not_made_by_the_one_being_run(void **state)
{
    (void)state;
    enum { MANY = 16 };
    static const uint8_t key[AUTH_KEY_BYTES] = {1};
    struct buf users = {0};
    struct client first;
    struct client others[MANY];
    char password[32];
    char why[AUTH_WHY_BYTES];
    struct auth *auth = auth_new(key, 2);
    add_user(&users, "bob", "secret", "\"read\"");
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    assert_int_equal(ask(auth, &first, basic("bob", "secret"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, SLICE), 0);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(password, sizeof(password), "wrong-%d", i);
        assert_int_equal(
            ask(auth, &others[i], basic("bob", password), 2 + (uint64_t)i, 0),
            AUTH_PENDING);
        assert_int_equal(first.done, 0);
        if (i > 0) {
            assert_int_equal(end(&others[i - 1]), AUTH_CROWDED);
        }
    }
    assert_int_equal(auth_run(auth, 0, ROUNDS - SLICE), 0);
    assert_int_equal(end(&first), AUTH_ACCEPTED);
    auth_release(&first.identity);
    assert_int_equal(end(&others[MANY - 1]), AUTH_PENDING);
    auth_free(auth);
}

/* Nor do checks that wait in all addresses keep a token out. */
static void test_a_crowd_of_addresses_makes_room(void **state)
{
    (void)state;
    static const uint8_t key[AUTH_KEY_BYTES] = {1};
    struct buf users = {0};
    struct client crowd[AUTH_ADDRESSES];
    struct client client;
    char password[32];
    char why[AUTH_WHY_BYTES];
    struct auth *auth = auth_new(key, UINT32_MAX);
    add_user(&users, "bob", "secret", "\"read\"");
    add_token(&users, "tok", "\"read\"");
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    for (int i = 0; i < AUTH_ADDRESSES; i++) {
        (void)snprintf(password, sizeof(password), "wrong-%d", i);
        assert_int_equal(
            ask(auth, &crowd[i], basic("bob", password), 1 + (uint64_t)i, 0),
            AUTH_PENDING);
    }
    assert_int_equal(auth_run(auth, 0, SLICE), 0);
    assert_int_equal(ask(auth, &client, bearer("tok"), 1000, 0), AUTH_ACCEPTED);
    auth_release(&client.identity);
    for (uint64_t i = 0; i < AUTH_ADDRESSES; i++) {
        assert_int_equal(ask(auth, &client, bearer("bad"), 1001 + i, 0),
                         AUTH_REJECTED);
    }
    unsigned done = 0;
    for (int i = 0; i < AUTH_ADDRESSES; i++) {
        done += crowd[i].done;
        assert_int_equal(end(&crowd[i]),
                         crowd[i].done ? AUTH_CROWDED : AUTH_PENDING);
    }
    assert_int_equal(done, 1); /* The place of "tok" serves the others too. */
    auth_free(auth);
}

/* An address with several checks does not go on before the others. */
static void test_addresses_in_turn(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client first;
    struct client second;
    struct client other;
    add_user(&users, "bob", "secret", "\"read\"");
    add_user(&users, "amy", "secret", "\"read\"");
    add_user(&users, "eve", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &first, basic("bob", "secret"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(ask(auth, &second, basic("amy", "secret"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(ask(auth, &other, basic("eve", "secret"), 2, 0),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, ROUNDS), 0);
    assert_int_equal(first.done, 1);
    assert_int_equal(auth_run(auth, 0, ROUNDS), 0);
    assert_int_equal(other.done, 1);
    assert_int_equal(second.done, 0);
    assert_int_equal(auth_run(auth, 0, ROUNDS), UINT64_MAX);
    assert_int_equal(second.done, 1);
    assert_int_equal(end(&first), AUTH_ACCEPTED);
    assert_int_equal(end(&second), AUTH_ACCEPTED);
    assert_int_equal(end(&other), AUTH_ACCEPTED);
    auth_release(&first.identity);
    auth_release(&second.identity);
    auth_release(&other.identity);
    auth_free(auth);
}

/* Behind the wrong ones of others, nobody waits for ever. */
static void test_nobody_waits_for_ever(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client crowd[3];
    struct client client;
    char password[32];
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    uint64_t now_ms = 0;
    for (int i = 0; i < 8; i++) { /* So that the delay is the longest. */
        (void)snprintf(password, sizeof(password), "wrong-%d", i);
        now_ms = rejected_at(auth, password, 1, now_ms);
    }
    for (size_t i = 0; i < ARRAY_COUNT(crowd); i++) {
        (void)snprintf(password, sizeof(password), "more-%zu", i);
        assert_int_equal(
            ask(auth, &crowd[i], basic("bob", password), 1, now_ms + 1000),
            AUTH_PENDING);
    }
    assert_int_equal(
        ask(auth, &client, basic("bob", "secret"), 1, now_ms + 2000),
        AUTH_PENDING);
    uint64_t at_ms = now_ms + 2000;
    uint64_t ran_ms = 0;
    for (int i = 0; i < 20 && crowd[2].done == 0; i++) {
        ran_ms = at_ms;
        at_ms = auth_run(auth, at_ms, ROUNDS);
    }
    assert_int_equal(ran_ms, now_ms + 1000 + AUTH_WAIT_MAX_MS);
    assert_int_equal(client.done, 0);
    assert_int_equal(end(&crowd[0]), AUTH_REJECTED);
    assert_int_equal(end(&crowd[2]), AUTH_CROWDED);
    assert_false(auth_is_known(&crowd[2].identity));
    assert_int_equal(at_ms, now_ms + 2000 + AUTH_WAIT_MAX_MS);
    assert_int_equal(auth_run(auth, at_ms, ROUNDS), UINT64_MAX);
    assert_int_equal(client.done, 1);
    assert_int_equal(end(&client), AUTH_CROWDED);
    assert_int_equal(end(&crowd[1]), AUTH_REJECTED);
    auth_free(auth);
}

/* More addresses than are kept: none with a waiting check is lost. */
static void test_many_addresses(void **state)
{
    enum { MANY = 1000 };
    (void)state;
    struct buf users = {0};
    struct client waiting;
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    add_token(&users, "tok", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &waiting, basic("bob", "secret"), 1, 0),
                     AUTH_PENDING);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(ask(auth, &client, bearer("bad"), 2 + i, i),
                         AUTH_REJECTED);
    }
    /* The latest of them are delayed still. */
    assert_int_equal(ask(auth, &client, bearer("tok"), 1 + MANY, MANY),
                     AUTH_PENDING);
    assert_int_equal(end(&client), AUTH_PENDING);
    while (auth_run(auth, MANY, ROUNDS) != UINT64_MAX) {
    }
    assert_int_equal(waiting.done, 1);
    assert_int_equal(end(&waiting), AUTH_ACCEPTED);
    auth_release(&waiting.identity);
    auth_free(auth);
}

/* A client that goes away as soon as its check has begun has not saved itself
 * the delay, and finds the result when it comes back. */
static void test_a_check_is_finished_without_its_client(void **state)
{
    (void)state;
    struct buf users = {0};
    struct client client;
    add_user(&users, "bob", "secret", "\"read\"");
    struct auth *auth = open_auth(&users);
    assert_int_equal(ask(auth, &client, basic("bob", "wrong"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, SLICE), 0);
    assert_int_equal(end(&client), AUTH_PENDING);
    while (auth_run(auth, 0, SLICE) == 0) {
    }
    assert_int_equal(auth_failures(auth), 1);
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 1, 0),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, SLICE), AUTH_DELAY_MIN_MS);
    assert_int_equal(auth_run(auth, AUTH_DELAY_MIN_MS, SLICE),
                     AUTH_DELAY_MIN_MS);
    assert_int_equal(end(&client), AUTH_PENDING);
    while (auth_run(auth, AUTH_DELAY_MIN_MS, SLICE) == AUTH_DELAY_MIN_MS) {
    }
    assert_int_equal(client.done, 0);
    assert_int_equal(ask(auth, &client, basic("bob", "secret"), 1, 200),
                     AUTH_ACCEPTED);
    auth_release(&client.identity);
    /* And one that goes away with the whole server. */
    assert_int_equal(ask(auth, &client, basic("bob", "other"), 1, 1000),
                     AUTH_PENDING);
    assert_int_equal(auth_run(auth, 1000, SLICE), 1000);
    assert_int_equal(end(&client), AUTH_PENDING);
    auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passwords_and_tokens),
        cmocka_unit_test(test_wrong_credentials),
        cmocka_unit_test(test_scheme_in_any_case),
        cmocka_unit_test(test_remembered_until_the_rules_change),
        cmocka_unit_test(test_rules_change_during_a_check),
        cmocka_unit_test(test_spellings_are_remembered_as_one),
        cmocka_unit_test(test_a_password_has_no_zeros),
        cmocka_unit_test(test_all_users_are_remembered),
        cmocka_unit_test(test_more_than_are_remembered),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_unknown_users_take_as_long),
        cmocka_unit_test(test_unknown_users_take_as_long_as_one_of_them),
        cmocka_unit_test(test_unknown_users_take_as_long_on_every_node),
        cmocka_unit_test(test_wrong_ones_are_delayed_by_address),
        cmocka_unit_test(test_wrong_tokens_are_delayed_too),
        cmocka_unit_test(test_same_credentials_are_checked_once),
        cmocka_unit_test(test_crowds),
        cmocka_unit_test(test_a_crowd_makes_room),
        cmocka_unit_test(test_room_is_not_made_by_the_one_being_run),
        cmocka_unit_test(test_a_crowd_of_addresses_makes_room),
        cmocka_unit_test(test_addresses_in_turn),
        cmocka_unit_test(test_nobody_waits_for_ever),
        cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_a_check_is_finished_without_its_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
