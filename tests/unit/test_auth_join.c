/* test_auth_join.c -- tokens that add one node each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/authfile.h"

/* Ask with the token; its text stays the caller's. */
static enum auth_verdict present(struct auth *auth, struct client *client,
                                 const struct buf *token, uint64_t now_ms)
{
    char text[128] = "";
    memcpy(text, token->data, token->size);
    return ask(auth, client, bearer(text), 1, now_ms);
}

static bool joins(struct auth *auth, const struct client *client,
                  const char *node, uint64_t now_ms)
{
    return auth_may_join(auth, &client->identity, bytes_of_string(node),
                         now_ms);
}

static struct auth *open_with_admin(void)
{
    struct buf users = {0};
    add_token(&users, "root", "\"all\"");
    add_token(&users, "joiner", "\"join\"");
    add_token(&users, "reader", "\"read\"");
    return open_auth(&users);
}

static void test_one_node(void **state)
{
    (void)state;
    struct auth *auth = open_with_admin();
    struct client client;
    struct buf token = {0};
    assert_int_equal(auth_join_token_new(auth, 5, &token), ERR_OK);
    assert_int_equal(token.size, 64);
    assert_int_equal(present(auth, &client, &token, 5), AUTH_ACCEPTED);
    /* Nothing else. */
    assert_true(may(&client, AUTH_JOIN, ""));
    assert_true(may(&client, AUTH_READY, "")); /* Everybody's. */
    assert_false(may(&client, AUTH_STATUS, ""));
    assert_false(may(&client, AUTH_READ, "k"));
    assert_false(may(&client, AUTH_REMOVE, ""));
    assert_true(joins(auth, &client, "n1 at 10.0.0.1", 5));
    assert_false(joins(auth, &client, "n2 at 10.0.0.2", 5));
    /* The same node repeats its request, in new ones too. */
    assert_true(joins(auth, &client, "n1 at 10.0.0.1", 6));
    auth_release(&client.identity);
    assert_int_equal(present(auth, &client, &token, 7), AUTH_ACCEPTED);
    assert_true(joins(auth, &client, "n1 at 10.0.0.1", 7));
    assert_false(joins(auth, &client, "n1 at 10.0.0.2", 7));
    auth_release(&client.identity);
    /* Of another auth it is none. */
    struct auth *other = open_with_admin();
    assert_int_equal(present(other, &client, &token, 7), AUTH_REJECTED);
    auth_free(other);
    buf_free(&token);
    auth_free(auth);
}

static void test_ten_minutes(void **state)
{
    (void)state;
    struct auth *auth = open_with_admin();
    struct client client;
    struct client late;
    struct buf token = {0};
    const uint64_t end_ms = 1000 + AUTH_JOIN_TOKEN_MS;
    assert_int_equal(auth_join_token_new(auth, 1000, &token), ERR_OK);
    assert_int_equal(present(auth, &client, &token, end_ms - 1), AUTH_ACCEPTED);
    assert_true(joins(auth, &client, "n1", end_ms - 1));
    assert_int_equal(present(auth, &late, &token, end_ms), AUTH_REJECTED);
    /* Also for a request that has begun in time. */
    assert_false(joins(auth, &client, "n1", end_ms));
    auth_release(&client.identity);
    buf_free(&token);
    auth_free(auth);
}

/* The place of one that has expired is another's, not its rights. */
static void test_a_place_is_used_again(void **state)
{
    (void)state;
    struct auth *auth = open_with_admin();
    struct client client;
    struct buf token = {0};
    struct buf next = {0};
    assert_int_equal(auth_join_token_new(auth, 0, &token), ERR_OK);
    assert_int_equal(present(auth, &client, &token, 0), AUTH_ACCEPTED);
    for (int i = 1; i < AUTH_JOIN_TOKENS_MAX; i++) {
        assert_int_equal(auth_join_token_new(auth, 1, &next), ERR_OK);
        assert_memory_not_equal(next.data, token.data, token.size);
    }
    assert_int_equal(auth_join_token_new(auth, 1, &next), ERR_BUSY);
    assert_int_equal(next.size, 0);
    assert_int_equal(auth_join_token_new(auth, AUTH_JOIN_TOKEN_MS, &next),
                     ERR_OK);
    assert_false(joins(auth, &client, "n1", AUTH_JOIN_TOKEN_MS));
    auth_release(&client.identity);
    assert_int_equal(present(auth, &client, &next, AUTH_JOIN_TOKEN_MS),
                     AUTH_ACCEPTED);
    assert_true(joins(auth, &client, "n1", AUTH_JOIN_TOKEN_MS));
    auth_release(&client.identity);
    buf_free(&token);
    buf_free(&next);
    auth_free(auth);
}

static void test_new_rules_revoke_it(void **state)
{
    (void)state;
    char why[AUTH_WHY_BYTES];
    struct auth *auth = open_with_admin();
    struct client client;
    struct client late;
    struct buf token = {0};
    struct buf users = {0};
    assert_int_equal(auth_join_token_new(auth, 0, &token), ERR_OK);
    assert_int_equal(present(auth, &client, &token, 0), AUTH_ACCEPTED);
    assert_int_equal(auth_set_rules(auth, bytes_of_string("["), why),
                     ERR_INVALID);
    assert_true(joins(auth, &client, "n1", 0));
    add_token(&users, "root", "\"all\"");
    assert_int_equal(set_rules(auth, &users, why), ERR_OK);
    assert_false(joins(auth, &client, "n1", 0));
    assert_int_equal(present(auth, &late, &token, 0), AUTH_REJECTED);
    auth_release(&client.identity);
    buf_free(&token);
    auth_free(auth);
}

/* Tokens of the file add any number of nodes, if they have the permission. */
static void test_tokens_of_the_file(void **state)
{
    (void)state;
    struct auth *auth = open_with_admin();
    struct client client;
    static const char *const names[] = {"root", "joiner", "reader"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(auth, &client, bearer(names[i]), 1, 0),
                         AUTH_ACCEPTED);
        assert_int_equal(joins(auth, &client, "n1", 0), i < 2);
        assert_int_equal(joins(auth, &client, "n2", 0), i < 2);
        auth_release(&client.identity);
    }
    struct auth_identity nobody = {0};
    assert_false(auth_may_join(auth, &nobody, bytes_of_string("n1"), 0));
    auth_free(auth);
}

/* A wrong one delays its address, and one that was waiting is looked up when
 * its turn comes. */
static void test_delayed_as_others(void **state)
{
    (void)state;
    struct auth *auth = open_with_admin();
    struct client client;
    struct buf token = {0};
    assert_int_equal(auth_join_token_new(auth, 0, &token), ERR_OK);
    assert_int_equal(ask(auth, &client, bearer("wrong"), 1, 0), AUTH_REJECTED);
    assert_int_equal(auth_failures(auth), 1);
    assert_int_equal(present(auth, &client, &token, 0), AUTH_PENDING);
    assert_int_equal(auth_run(auth, 0, SLICE), AUTH_DELAY_MIN_MS);
    (void)auth_run(auth, AUTH_DELAY_MIN_MS, SLICE);
    assert_int_equal(end(&client), AUTH_ACCEPTED);
    assert_true(joins(auth, &client, "n1", AUTH_DELAY_MIN_MS));
    assert_false(joins(auth, &client, "n2", AUTH_DELAY_MIN_MS));
    auth_release(&client.identity);
    buf_free(&token);
    auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_ten_minutes),
        cmocka_unit_test(test_a_place_is_used_again),
        cmocka_unit_test(test_new_rules_revoke_it),
        cmocka_unit_test(test_tokens_of_the_file),
        cmocka_unit_test(test_delayed_as_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
