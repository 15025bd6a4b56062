/* test_sys_sync.c -- src/sys/sync.c as macOS compiles it, over a kernel of its
 * own: what is asked for, and what happens after each error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FD = 5 };

static char calls[32];     /* 'F': F_FULLFSYNC, 'f': fsync(). */
static int full_errors[4]; /* Of the next F_FULLFSYNC; 0 at the end. */
static int plain_error;    /* Of fsync(). */

static void add_call(char call)
{
    size_t size = strlen(calls);
    assert_true(size + 1 < sizeof(calls));
    calls[size] = call;
}

static int fake_fcntl(int fd, int request)
{
    size_t count = strlen(calls);
    add_call('F');
    assert_int_equal(fd, FD);
    assert_int_equal(request, 51);
    errno = full_errors[count];
    return errno ? -1 : 0;
}

static int fake_fsync(int fd)
{
    add_call('f');
    assert_int_equal(fd, FD);
    errno = plain_error;
    return errno ? -1 : 0;
}

#define F_FULLFSYNC 51
#define fcntl fake_fcntl
#define fsync fake_fsync
#define fs_posix_sync sync_on_macos
#include "../../src/sys/sync.c"

static void expect(const int *errors, int plain, int rc, const char *expected)
{
    for (int data_only = 0; data_only < 2; data_only++) {
        memset(calls, 0, sizeof(calls));
        memcpy(full_errors, errors, sizeof(full_errors));
        plain_error = plain;
        assert_int_equal(sync_on_macos(FD, data_only), rc);
        assert_string_equal(calls, expected);
    }
}

static void test_the_drive_is_reached(void **state)
{
    (void)state;
    expect((int[4]){0}, EIO, 0, "F");
    expect((int[4]){EINTR, EINTR, 0}, EIO, 0, "FFF");
}

/* The kernel may have dropped the page: fsync() would succeed without it. */
static void test_an_error_is_final(void **state)
{
    (void)state;
    expect((int[4]){EIO}, 0, -1, "F");
    expect((int[4]){ENOSPC}, 0, -1, "F");
}

static void test_a_file_system_without_it(void **state)
{
    (void)state;
    expect((int[4]){ENOTSUP}, 0, 0, "Ff");
    expect((int[4]){ENOTTY}, 0, 0, "Ff");
    expect((int[4]){EINVAL}, 0, 0, "Ff");
    expect((int[4]){ENOTSUP}, EIO, -1, "Ff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_drive_is_reached),
        cmocka_unit_test(test_an_error_is_final),
        cmocka_unit_test(test_a_file_system_without_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
