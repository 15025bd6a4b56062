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
#include "command/command.h"

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

int storedir_begin(struct store **store)
{
    if (storedir_make() != 0) {
        return -1;
    }
    *store = storedir_open(storedir_fs);
    return 0;
}

int storedir_end(struct store **store)
{
    store_close(*store);
    *store = NULL;
    return storedir_remove();
}

void storedir_put(struct store *store, const char *key, const char *value)
{
    struct buf command = {0};
    struct command_writer writer;
    struct store_result result;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of_string(value));
    command_end(&writer);
    assert_int_equal(store_apply(store, store_applied(store) + 1, 1,
                                 buf_bytes(&command), &result),
                     ERR_OK);
    buf_free(&command);
}

void storedir_backup(struct store *store, struct buf *file)
{
    struct store_image *image = NULL;
    file->size = 0;
    assert_int_equal(store_checkpoint(store), ERR_OK);
    assert_int_equal(store_image_open(store, &image), ERR_OK);
    size_t size = (size_t)image->bytes;
    assert_int_equal(store_image_read(image, buf_reserve(file, size), size),
                     ERR_OK);
    file->size = size;
    store_image_close(image);
}
