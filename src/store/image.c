/* image.c -- the database file as a snapshot, while the database changes.
 *
 * Between two checkpoints the file does not change: it is a whole database, as
 * of the last checkpoint. Before a checkpoint overwrites a page that an image
 * has not read yet, the old page is saved into a file of that image (copy on
 * write). So neither waits for the other, and the cost is bounded by the bytes
 * that are still to be read; by all bytes, if SQLite reads rows from it
 * (image_rows.c).
 *
 * Images are read through SQLite's own handle: closing another descriptor of
 * the file would release the process's locks on it (POSIX). */
#include <stdio.h>

#include "base/log.h"
#include "store/store_internal.h"

enum { PAGE_BYTES = 4096 };

/* ---- copy on write ---- */

static void image_path(unsigned slot, char path[FS_PATH_BYTES])
{
    snprintf(path, FS_PATH_BYTES, "db/image-%u.tmp", slot);
}

static enum err open_saved(struct store_image *image)
{
    const struct fs *fs = image->store->options.fs;
    char path[FS_PATH_BYTES];
    image_path(image->slot, path);
    must(image->handle < 0 && !image->saved);
    enum err err = fs->open(fs->self, path, FS_CREATE_NEW, &image->handle);
    if (err) {
        image->handle = -1;
        return err;
    }
    uint64_t pages = (image->bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    image->saved = mem_zalloc((size_t)pages * sizeof(image->saved[0]));
    return ERR_OK;
}

/* If the old page cannot be saved, the image is lost; the checkpoint goes
 * on. */
static void save_page(struct store_image *image, uint64_t page)
{
    const struct fs *fs = image->store->options.fs;
    const struct shim_file *db = &image->store->db_file;
    uint8_t old[PAGE_BYTES];
    uint64_t offset = page * PAGE_BYTES;
    if (image->lost || offset >= image->bytes ||
        offset + PAGE_BYTES <= image->at ||
        (image->saved && image->saved[page] != 0)) {
        return;
    }
    enum err err = image->handle < 0 ? open_saved(image) : ERR_OK;
    if (!err && db->base->xRead(db->file, old, PAGE_BYTES,
                                (sqlite3_int64)offset) != SQLITE_OK) {
        err = ERR_IO;
    }
    if (!err) {
        err = fs->write(fs->self, image->handle,
                        (uint64_t)image->saved_count * PAGE_BYTES, old,
                        sizeof(old));
    }
    if (err) {
        log_warn("image", "index=%llu why=\"a page cannot be saved: %s\"",
                 (unsigned long long)image->index, err_name(err));
        image->lost = true;
        return;
    }
    image->saved[page] = ++image->saved_count;
}

void store_images_before_write(struct store *store, uint64_t offset,
                               uint64_t size)
{
    uint64_t end = (offset + size + PAGE_BYTES - 1) / PAGE_BYTES;
    for (size_t i = 0; i < STORE_IMAGES_MAX; i++) {
        for (uint64_t page = offset / PAGE_BYTES;
             store->images[i] && page < end; page++) {
            save_page(store->images[i], page);
        }
    }
}

enum err store_images_sweep(const struct fs *fs)
{
    for (unsigned slot = 0; slot < STORE_IMAGES_MAX; slot++) {
        char path[FS_PATH_BYTES];
        image_path(slot, path);
        enum err err = fs->unlink(fs->self, path);
        if (err && err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- reading ---- */

static enum err copy_memory(struct store_image *image)
{
    sqlite3_int64 size = 0;
    enum err err = store_flush(image->store);
    if (err) {
        return err;
    }
    image->copy = sqlite3_serialize(image->store->db, "main", &size, 0);
    image->bytes = (uint64_t)size;
    image->index = image->store->flushed.applied;
    image->term = image->store->flushed.term;
    return image->copy ? ERR_OK : ERR_NOSPACE;
}

/* Makes the database file, as it is now, the image. */
static enum err open_file(struct store_image *image)
{
    struct store *store = image->store;
    const struct shim_file *db = &store->db_file;
    sqlite3_int64 size = 0;
    if (store->torn) {
        return ERR_NOSPACE;
    }
    if (db->base->xFileSize(db->file, &size) != SQLITE_OK) {
        return ERR_IO;
    }
    image->bytes = (uint64_t)size;
    image->index = store->durable.applied;
    image->term = store->durable.term;
    return ERR_OK;
}

enum err store_image_open(struct store *store, struct store_image **out)
{
    unsigned slot = 0;
    while (slot < STORE_IMAGES_MAX && store->images[slot]) {
        slot++;
    }
    if (slot == STORE_IMAGES_MAX) {
        return ERR_BUSY;
    }
    struct store_image *image = mem_zalloc(sizeof(*image));
    image->store = store;
    image->slot = slot;
    image->handle = -1;
    enum err err = store->in_memory ? copy_memory(image) : open_file(image);
    if (!err && image->index == 0) {
        err = ERR_NOT_FOUND;
    }
    store->images[slot] = image;
    if (err) {
        store_image_close(image);
        return err;
    }
    *out = image;
    return ERR_OK;
}

/* Reads page `number` (from 1 on) of an image for which no page was saved yet,
 * since nothing has been written since it was opened. */
static bool read_page(const struct store_image *image, uint64_t number,
                      uint8_t page[PAGE_BYTES])
{
    uint64_t at = (number - 1) * PAGE_BYTES;
    if (number == 0 || at >= image->bytes || image->bytes - at < PAGE_BYTES) {
        return false;
    }
    if (image->copy) {
        memcpy(page, image->copy + at, PAGE_BYTES);
        return true;
    }
    const struct shim_file *db = &image->store->db_file;
    return db->base->xRead(db->file, page, PAGE_BYTES, (sqlite3_int64)at) ==
           SQLITE_OK;
}

void store_image_add_view(struct store_image *image)
{
    enum { FILE_HEADER_BYTES = 100, DEPTH_MAX = 4 };
    must(image->at == 0 && !image->saved && !image->changed);
    uint8_t *page = mem_alloc(PAGE_BYTES);
    uint64_t number = 1;
    uint64_t next = 1;
    bool there = false;
    for (int depth = 0; next != 0 && depth < DEPTH_MAX; depth++) {
        number = next;
        there = read_page(image, number, page);
        next = there ? store_view_next_page(page,
                                            number == 1 ? FILE_HEADER_BYTES : 0)
                     : 0;
    }
    if (!there || !store_view_add(page, number == 1 ? FILE_HEADER_BYTES : 0)) {
        log_debug("image", "why=\"no room for the view kv\"");
        mem_free(page);
        return;
    }
    image->changed = page;
    image->changed_at = (number - 1) * PAGE_BYTES;
}

/* Replaces the part of the changed page in the `size` bytes at `out`, which
 * were read last, up to image->at. */
static void overlay(const struct store_image *image, uint8_t *out, size_t size)
{
    uint64_t from = max_u64(image->at - size, image->changed_at);
    uint64_t to = min_u64(image->at, image->changed_at + PAGE_BYTES);
    if (image->changed && from < to) {
        memcpy(out + (from - (image->at - size)),
               image->changed + (from - image->changed_at), to - from);
    }
}

/* Reads up to `size` bytes at `at` that are contiguous in one of the two files.
 */
static enum err read_run(const struct store_image *image, uint64_t at,
                         uint8_t *out, size_t size, size_t *got)
{
    uint64_t page = at / PAGE_BYTES;
    size_t in_page = (size_t)(at % PAGE_BYTES);
    size_t run = PAGE_BYTES - in_page;
    if (image->saved && image->saved[page] != 0) {
        const struct fs *fs = image->store->options.fs;
        uint64_t place = (uint64_t)(image->saved[page] - 1) * PAGE_BYTES;
        run = min_u64(run, size);
        return fs->read(fs->self, image->handle, place + in_page, out, run,
                        got);
    }
    while (run < size && (!image->saved || image->saved[++page] == 0)) {
        run += PAGE_BYTES;
    }
    run = min_u64(run, size);
    const struct shim_file *db = &image->store->db_file;
    int rc = db->base->xRead(db->file, out, (int)run, (sqlite3_int64)at);
    *got = run;
    return rc == SQLITE_OK ? ERR_OK : ERR_IO;
}

enum err store_image_read_at(const struct store_image *image, uint64_t at,
                             void *out, size_t size)
{
    uint8_t *to = out;
    must(at <= image->bytes && size <= image->bytes - at);
    if (image->copy) {
        memcpy(to, image->copy + at, size);
        return ERR_OK;
    }
    while (size > 0) {
        size_t got = 0;
        enum err err =
            image->lost ? ERR_NOSPACE : read_run(image, at, to, size, &got);
        if (err || got == 0) {
            return err ? err : ERR_IO;
        }
        must(got <= size);
        at += got;
        to += got;
        size -= got;
    }
    return ERR_OK;
}

enum err store_image_read(struct store_image *image, void *out, size_t size)
{
    must(!image->rows); /* They need every page to be saved. */
    enum err err = store_image_read_at(image, image->at, out, size);
    if (!err) {
        image->at += size;
        overlay(image, out, size);
    }
    return err;
}

void store_image_close(struct store_image *image)
{
    const struct fs *fs = image->store->options.fs;
    must(image->store->images[image->slot] == image);
    store_image_rows_free(image->rows);
    if (image->handle >= 0) {
        char path[FS_PATH_BYTES];
        image_path(image->slot, path);
        fs->close(fs->self, image->handle);
        if (fs->unlink(fs->self, path) != ERR_OK) {
            log_warn("image", "file=%s why=\"cannot be removed\"", path);
        }
    }
    image->store->images[image->slot] = NULL;
    sqlite3_free(image->copy);
    mem_free(image->saved);
    mem_free(image->changed);
    mem_free(image);
}

bool store_is_held(const struct store *store)
{
    for (size_t i = 0; i < STORE_IMAGES_MAX; i++) {
        if (store->images[i]) {
            return true;
        }
    }
    return false;
}
