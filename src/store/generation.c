/* generation.c -- db/CURRENT names the directory that holds the database.
 *
 * Its content is the text "craftd-db 1 <generation, 7 digits> <index> <term>
 * <crc32c of the text before, 8 hex digits>\n". Index and term are those of the
 * snapshot that the generation started as; 0 0: it started empty. A received
 * snapshot is built in the next generation, and put in place by replacing this
 * file. */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "store/store_internal.h"

enum { TEXT_BYTES = 128 };

static void format_current(const struct generation *generation,
                           char text[TEXT_BYTES])
{
    int size =
        snprintf(text, TEXT_BYTES, "craftd-db 1 %07u %llu %llu ",
                 generation->number, (unsigned long long)generation->index,
                 (unsigned long long)generation->term);
    snprintf(text + size, (size_t)(TEXT_BYTES - size), "%08x\n",
             (unsigned)crc32c(0, text, (size_t)size));
}

static enum err parse_current(const uint8_t *data, size_t size,
                              struct generation *generation)
{
    char text[TEXT_BYTES];
    char again[TEXT_BYTES];
    static const char format[] = "craftd-db 1 ";
    if (size == 0 || size >= sizeof(text)) {
        return ERR_CORRUPT;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (strncmp(text, format, strlen(format)) != 0) {
        return ERR_CORRUPT;
    }
    char *at;
    generation->number = (unsigned)strtoul(text + strlen(format), &at, 10);
    generation->index = strtoull(at, &at, 10);
    generation->term = strtoull(at, &at, 10);
    if (generation->number == 0) { /* The first one is 1. */
        return ERR_CORRUPT;
    }
    /* Anything else than what is written for these numbers, the checksum
     * included, is refused. The sizes are compared too, since a NUL would end
     * the text early. */
    format_current(generation, again);
    return size == strlen(again) && memcmp(text, again, size) == 0
               ? ERR_OK
               : ERR_CORRUPT;
}

void store_generation_path(unsigned number, const char *file,
                           char path[FS_PATH_BYTES])
{
    int size = snprintf(path, FS_PATH_BYTES, "db/gen-%07u%s%s", number,
                        file ? "/" : "", file ? file : "");
    must(size > 0 && size < FS_PATH_BYTES);
}

void store_generation_database(const struct fs *fs, unsigned number, char *path,
                               size_t size)
{
    char relative[FS_PATH_BYTES];
    store_generation_path(number, "state.db", relative);
    if (!fs->real_path(fs->self, relative, path, size)) {
        snprintf(path, size, ":memory:");
    }
}

enum err store_generation_make(const struct fs *fs, unsigned number)
{
    char path[FS_PATH_BYTES];
    store_generation_path(number, NULL, path);
    enum err err = fs->mkdir(fs->self, path);
    return err ? err : fs->sync_dir(fs->self, "db");
}

static enum err read_current(const struct fs *fs, struct generation *generation)
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err = fs_read_all(fs, "db/CURRENT", TEXT_BYTES, &data, &size);
    if (!err) {
        err = parse_current(data, size, generation);
    }
    mem_free(data);
    return err == ERR_TOO_BIG ? ERR_CORRUPT : err;
}

enum err store_generation_use(const struct fs *fs,
                              const struct generation *generation)
{
    char text[TEXT_BYTES];
    struct generation found;
    bool in_doubt;
    must(generation->number > 0);
    format_current(generation, text);
    enum err err = fs_replace_or_not(fs, "db", "db/CURRENT", text, strlen(text),
                                     &in_doubt);
    if (!in_doubt) {
        return err;
    }
    enum err unread = read_current(fs, &found);
    if (unread == ERR_NOT_FOUND ||
        (!unread && found.number != generation->number)) {
        return err;
    }
    /* The new content may not be durable, or cannot be read. Restoring the old
     * one could fail in the same way. The next start works with either. */
    if (unread || fs->sync_dir(fs->self, "db")) {
        die("db/CURRENT: it is in doubt which database is in use");
    }
    return ERR_OK;
}

/* The number of the generation `name`; 0: it is the name of something else. */
static unsigned number_of(const char *name)
{
    enum { PREFIX = 4, DIGITS = 7 };
    if (strncmp(name, "gen-", PREFIX) != 0) {
        return 0;
    }
    const char *digits = name + PREFIX;
    size_t count = strspn(digits, "0123456789");
    return count >= DIGITS && digits[count] == '\0'
               ? (unsigned)strtoul(digits, NULL, 10)
               : 0;
}

/* Raises *arg to the number of the generation `name`. */
static void see_generation(const char *name, void *arg)
{
    unsigned *highest = arg;
    unsigned number = number_of(name);
    if (number > *highest) {
        *highest = number;
    }
}

enum err store_generation_current(const struct fs *fs,
                                  struct generation *generation)
{
    enum err err = fs->mkdir(fs->self, "db");
    if (!err) {
        err = fs->sync_dir(fs->self, ".");
    }
    if (!err) {
        err = read_current(fs, generation);
    }
    if (err == ERR_NOT_FOUND) {
        unsigned highest = 0;
        *generation = (struct generation){.number = 1};
        err = fs->list(fs->self, "db", see_generation, &highest);
        if (!err && highest > 1) {
            log_error("store", "file=db/CURRENT why=\"missing, but there are "
                               "databases\"");
            return ERR_CORRUPT;
        }
        if (!err) {
            err = store_generation_make(fs, 1);
        }
        if (!err) {
            err = store_generation_use(fs, generation);
        }
    } else if (err == ERR_CORRUPT) {
        log_error("store",
                  "file=db/CURRENT why=\"damaged: it does not parse\"");
    }
    return err;
}

/* ---- removing other generations ---- */

struct sweep {
    const struct fs *fs;
    unsigned keep;
    enum err err;
};

static void sweep_generation(const char *name, void *arg)
{
    struct sweep *sweep = arg;
    unsigned number = number_of(name);
    char path[FS_PATH_BYTES];
    if (number == 0 || number == sweep->keep) {
        return;
    }
    store_generation_path(number, NULL, path);
    enum err err = fs_empty(sweep->fs, path);
    if (!err) {
        err = sweep->fs->unlink(sweep->fs->self, path);
    }
    sweep->err = sweep->err ? sweep->err : err;
}

enum err store_generation_sweep(const struct fs *fs, unsigned keep)
{
    struct sweep sweep = {.fs = fs, .keep = keep};
    enum err err = fs->list(fs->self, "db", sweep_generation, &sweep);
    if (!err) {
        err = sweep.err;
    }
    return err ? err : fs->sync_dir(fs->self, "db");
}

enum err store_generation_sync(const struct fs *fs, unsigned number)
{
    static const char *const files[] = {"state.db", "state.db-journal",
                                        "state.db-wal"};
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        char path[FS_PATH_BYTES];
        store_generation_path(number, files[i], path);
        enum err err = fs_sync_file(fs, path);
        if (err && err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return ERR_OK;
}

enum err store_remove(const struct fs *fs)
{
    enum err err = fs->unlink(fs->self, "db/CURRENT");
    if (!err) {
        err = fs->sync_dir(fs->self, "db");
    }
    if (!err || err == ERR_NOT_FOUND) {
        err = store_generation_sweep(fs, 0); /* There is no generation 0. */
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
