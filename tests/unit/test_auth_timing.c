/* test_auth_timing.c -- the time of looking for a user says neither whether
 * there is one of that name, nor how much of the name is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "auth/auth_internal.h"
#include "support/dudect.h"

enum { USERS = 100, NAME_BYTES = 64 };

static char names[USERS][NAME_BYTES + 1];
static struct auth_user users[USERS];
static struct auth_rules rules = {.users = users, .user_count = USERS};
/* In the same place of a line of the cache. */
static char wanted[2][2 * NAME_BYTES] __attribute__((aligned(64)));

static void name_user(char *name, char first, int number)
{
    memset(name, 'n', NAME_BYTES);
    name[0] = first;
    snprintf(name + NAME_BYTES - 4, 5, "%04d", number);
}

static const struct auth_user *volatile found;

static void find(int class)
{
    found = auth_rules_find(&rules, AUTH_USER_PASSWORD,
                            bytes_of(wanted[class], NAME_BYTES));
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < USERS; i++) {
        name_user(names[i], 'n', i);
        users[i] = (struct auth_user){.kind = AUTH_USER_PASSWORD,
                                      .name = bytes_of(names[i], NAME_BYTES)};
    }
    return 0;
}

static void test_a_user_that_exists(void **state)
{
    (void)state;
    name_user(wanted[0], 'n', 0); /* The first of all. */
    name_user(wanted[1], 'n', USERS);
    assert_true(dudect(find) < DUDECT_T_MAX);
}

static void test_a_name_that_begins_like_another(void **state)
{
    (void)state;
    name_user(wanted[0], 'n', USERS);
    name_user(wanted[1], 'x', USERS);
    assert_true(dudect(find) < DUDECT_T_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_user_that_exists),
        cmocka_unit_test(test_a_name_that_begins_like_another),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
