/* test_sys_entropy.c -- the kernel's random numbers, when its system call is
 * not ready or is missing: the linker gives getrandom() to this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/random.h>

#include "base/log.h"
#include "sys/sys.h"

/* The next calls fail with these errors (0: it works); then all work, unless
 * `missing`. */
static struct {
    int errors[8];
    int calls;
    int missing; /* An error for good. */
    unsigned flags;
} kernel;

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    int error = kernel.missing;
    if (kernel.calls < (int)ARRAY_COUNT(kernel.errors) && !error) {
        error = kernel.errors[kernel.calls];
    }
    kernel.calls++;
    kernel.flags = flags;
    if (error) {
        errno = error;
        return -1;
    }
    memset(out, 'k', size);
    return (ssize_t)size;
}

static void test_it_waits_for_a_kernel_that_is_not_ready(void **state)
{
    (void)state;
    uint8_t out[300] = {0};
    memset(&kernel, 0, sizeof(kernel));
    kernel.errors[0] = EAGAIN;
    kernel.errors[1] = EAGAIN;
    kernel.errors[2] = EINTR;
    sys_entropy(out, sizeof(out) - 1);
    assert_int_equal(kernel.calls, 3 + 2); /* 256 bytes, and 43. */
    assert_int_equal(out[0], 'k');
    assert_int_equal(out[298], 'k');
    assert_int_equal(out[299], 0);
    assert_int_equal(kernel.flags, GRND_NONBLOCK);
}

static void test_the_device_has_them_as_well(void **state)
{
    (void)state;
    uint8_t a[600] = {0};
    uint8_t b[600] = {0};
    memset(&kernel, 0, sizeof(kernel));
    kernel.missing = ENOSYS;
    sys_entropy(a, 599);
    kernel.missing = EPERM;
    sys_entropy(b, 599);
    assert_memory_not_equal(a, b, 200);
    assert_memory_not_equal(a + 400, b + 400, 199);
    assert_int_equal(a[599], 0);
    assert_int_equal(b[599], 0);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_waits_for_a_kernel_that_is_not_ready),
        cmocka_unit_test(test_the_device_has_them_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
