/* storedir.c -- see storedir.h. */
#include "support/storedir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"

char storedir_root[64];
struct fs *storedir_fs;

int storedir_make(void)
{
    log_set_level(LOG_OFF);
    snprintf(storedir_root, sizeof(storedir_root), "/tmp/craftd-store-XXXXXX");
    return mkdtemp(storedir_root) &&
                   fs_posix_new(storedir_root, &storedir_fs) == ERR_OK
               ? 0
               : -1;
}

int storedir_remove(void)
{
    char line[128];
    fs_posix_free(storedir_fs);
    snprintf(line, sizeof(line), "rm -rf %s", storedir_root);
    return system(line);
}

struct store *storedir_open(const struct fs *fs)
{
    struct store *store = NULL;
    struct store_options options = {.fs = fs};
    assert_int_equal(store_open(&options, &store), ERR_OK);
    return store;
}
