/* test_sys_account.c -- what root gives to another user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/account.h"

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(
        bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    (void)close(fd);
}

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static uid_t owner(const char *path)
{
    struct stat file;
    assert_int_equal(lstat(path, &file), 0);
    return file.st_uid;
}

/* Whatever the user of the directory has put in the place of the socket stays
 * whose it is. */
static void test_only_a_socket_of_roots_is_given(void **state)
{
    (void)state;
    char root[] = "/tmp/test_account.XXXXXX";
    const struct sys_user user = {.uid = 54321, .gid = 12345};
    if (geteuid() != 0) {
        skip();
    }
    assert_non_null(mkdtemp(root));
    assert_int_equal(chdir(root), 0);
    make_socket("socket");
    make_socket("linked");
    assert_int_equal(link("linked", "link"), 0);
    make_file("file");
    assert_int_equal(symlink("file", "symlink"), 0);
    assert_int_equal(mkdir("dir", 0700), 0);
    make_socket("others");
    assert_int_equal(chown("others", 7, 7), 0);

    assert_true(sys_user_give_socket(&user, "socket"));
    assert_int_equal(owner("socket"), 54321);
    static const char *const wrong[] = {"linked",  "link", "file",
                                        "symlink", "dir",  "others"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        uid_t before = owner(wrong[i]);
        errno = 0;
        assert_false(sys_user_give_socket(&user, wrong[i]));
        assert_int_equal(errno, EPERM);
        assert_int_equal(owner(wrong[i]), before);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_int_equal(remove(wrong[i]), 0);
    }
    errno = 0;
    assert_false(sys_user_give_socket(&user, "none"));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(unlink("socket"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_socket_of_roots_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
