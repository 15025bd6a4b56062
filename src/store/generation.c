/* generation.c -- db/CURRENT names the directory that holds the database.
 *
 * Text: "craftd-db 1 <generation, 7 digits> <crc32c of what is before, 8 hex
 * digits>\n". A snapshot from elsewhere is built in the next generation and
 * becomes valid by replacing this file. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "store/store_internal.h"

static void format_current(unsigned generation, char text[64])
{
    int size = snprintf(text, 64, "craftd-db 1 %07u ", generation);
    snprintf(text + size, (size_t)(64 - size), "%08x\n",
             (unsigned)crc32c(0, text, (size_t)size));
}

static enum err parse_current(const uint8_t *data, size_t size,
                              unsigned *generation)
{
    char text[64];
    char again[64];
    unsigned crc;
    if (size == 0 || size >= sizeof(text)) {
        return ERR_CORRUPT;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (sscanf(text, "craftd-db 1 %7u %8x", generation, &crc) != 2) {
        return ERR_CORRUPT;
    }
    format_current(*generation, again);
    return strcmp(text, again) == 0 ? ERR_OK : ERR_CORRUPT;
}

static enum err make_first(const struct fs *fs)
{
    enum err err = fs->mkdir(fs->self, "db/gen-0000001");
    if (!err) {
        err = fs->sync_dir(fs->self, "db");
    }
    if (!err) {
        char text[64];
        format_current(1, text);
        err = fs_replace(fs, "db", "db/CURRENT", text, strlen(text));
    }
    return err;
}

enum err store_generation(const struct fs *fs, char *path, size_t size)
{
    unsigned generation = 1;
    uint8_t *data = NULL;
    size_t data_size = 0;
    enum err err = fs->mkdir(fs->self, "db");
    if (!err) {
        err = fs->sync_dir(fs->self, ".");
    }
    if (!err) {
        err = fs_read_all(fs, "db/CURRENT", 64, &data, &data_size);
    }
    if (err == ERR_NOT_FOUND) {
        err = make_first(fs);
    } else if (!err || err == ERR_TOO_BIG) {
        err = err ? ERR_CORRUPT : parse_current(data, data_size, &generation);
        if (err) {
            log_error("store", "file=db/CURRENT why=\"does not parse\"");
        }
    }
    mem_free(data);
    if (err) {
        return err;
    }
    char relative[FS_PATH_BYTES];
    snprintf(relative, sizeof(relative), "db/gen-%07u/state.db", generation);
    if (!fs->real_path(fs->self, relative, path, size)) {
        snprintf(path, size, ":memory:");
    }
    return ERR_OK;
}
