/* simdisk.c -- see simdisk.h. Files are kept until the disk is freed, so that
 * a handle outlives the name. Few files: everything is found by walking. */
#include "support/simdisk.h"

#include "base/bytes.h"
#include "base/rng.h"

enum { PAGE = 4096, SECTOR = 512, PATH_BYTES = 96 };

/* DROPPED: a sync has failed; it counts as clean and is not on the platter. */
enum page_state { CLEAN, DIRTY, DROPPED };

struct sim_file {
    bool directory;
    bool size_dirty;
    struct buf seen;
    struct buf platter;
    struct buf dirty; /* One byte a page of `seen`, enum page_state. */
};

struct sim_name {
    char path[PATH_BYTES];
    size_t file;
};

struct sim_names {
    struct sim_name *items;
    size_t count;
};

/* `from` empty: a creation of `to`; `to` empty: a removal of `from`. */
struct sim_op {
    char from[PATH_BYTES];
    char to[PATH_BYTES];
    size_t file;
};

struct sim_handle {
    bool used;
    bool writable;
    size_t file;
};

struct simdisk {
    struct fs fs;
    struct sim_file *files;
    size_t file_count;
    struct sim_names seen;
    struct sim_names durable;
    struct sim_op *ops; /* Not durable yet, in order. */
    size_t op_count;
    struct sim_handle *handles;
    size_t handle_places;
    struct simdisk_counts counts;
    simdisk_hook_cb *hook;
    void *hook_arg;
    uint64_t fail_in;
    enum err fail_with;
    bool failed;
    bool full;
    const char *prefix;
};

/* ---- names ------------------------------------------------------------------
 */

static struct sim_name *find(const struct sim_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            return &names->items[i];
        }
    }
    return NULL;
}

static void copy_path(char to[PATH_BYTES], const char *from)
{
    must(strlen(from) < PATH_BYTES);
    memcpy(to, from, strlen(from) + 1);
}

static void put(struct sim_names *names, const char *path, size_t file)
{
    struct sim_name *name = find(names, path);
    if (!name) {
        names->items = mem_realloc(names->items, (names->count + 1) *
                                                     sizeof(names->items[0]));
        name = &names->items[names->count++];
        copy_path(name->path, path);
    }
    name->file = file;
}

static void drop(struct sim_names *names, const char *path)
{
    struct sim_name *name = find(names, path);
    if (name) {
        *name = names->items[--names->count];
    }
}

static void apply(struct sim_names *names, const struct sim_op *op)
{
    if (op->from[0]) {
        drop(names, op->from);
    }
    if (op->to[0]) {
        put(names, op->to, op->file);
    }
}

static bool in_directory(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    if (strcmp(dir, ".") == 0) {
        dir = "";
    }
    return strlen(dir) == size && memcmp(path, dir, size) == 0;
}

static bool parent_exists(const struct sim_names *names, const char *path)
{
    char parent[PATH_BYTES];
    copy_path(parent, path);
    char *slash = strrchr(parent, '/');
    if (!slash) {
        return true;
    }
    *slash = '\0';
    return find(names, parent) != NULL;
}

static void change(struct simdisk *d, const char *from, const char *to,
                   size_t file)
{
    d->ops = mem_realloc(d->ops, (d->op_count + 1) * sizeof(d->ops[0]));
    struct sim_op *op = &d->ops[d->op_count++];
    copy_path(op->from, from);
    copy_path(op->to, to);
    op->file = file;
    apply(&d->seen, op);
}

static size_t file_new(struct simdisk *d)
{
    d->files = mem_realloc(d->files, (d->file_count + 1) * sizeof(d->files[0]));
    d->files[d->file_count] = (struct sim_file){0};
    return d->file_count++;
}

/* ---- calls ------------------------------------------------------------------
 */

static enum err begin(struct simdisk *d, bool changes, bool may_lack_space)
{
    d->counts.calls++;
    d->counts.changes += changes;
    if (d->fail_in == 0 || (d->fail_with == ERR_NOSPACE && !may_lack_space)) {
        return ERR_OK;
    }
    if (--d->fail_in > 0) {
        return ERR_OK;
    }
    d->failed = true;
    return d->fail_with;
}

static void end(struct simdisk *d)
{
    if (d->hook) {
        d->hook(d, d->hook_arg);
    }
}

static struct sim_handle *handle_of(struct simdisk *d, int handle)
{
    must(handle >= 0 && (size_t)handle < d->handle_places &&
         d->handles[handle].used);
    return &d->handles[handle];
}

static struct sim_file *file_of(struct simdisk *d, int handle)
{
    return &d->files[handle_of(d, handle)->file];
}

static enum err sim_open(void *self, const char *path, enum fs_open_mode mode,
                         int *handle)
{
    struct simdisk *d = self;
    const struct sim_name *name = find(&d->seen, path);
    bool create = !name && (mode == FS_CREATE || mode == FS_CREATE_NEW);
    enum err err = begin(d, create, create);
    if (err) {
        return err;
    }
    if (name && mode == FS_CREATE_NEW) {
        return ERR_EXISTS;
    }
    if (!name && (!create || !parent_exists(&d->seen, path))) {
        return ERR_NOT_FOUND;
    }
    if (create && d->full) {
        return ERR_NOSPACE;
    }
    size_t file = name ? name->file : file_new(d);
    if (create) {
        change(d, "", path, file);
    }
    size_t at = 0;
    while (at < d->handle_places && d->handles[at].used) {
        at++;
    }
    if (at == d->handle_places) {
        d->handles =
            mem_realloc(d->handles, ++d->handle_places * sizeof(d->handles[0]));
    }
    d->handles[at] = (struct sim_handle){
        .used = true, .writable = mode != FS_READ, .file = file};
    d->counts.handles++;
    *handle = (int)at;
    if (create) {
        end(d);
    }
    return ERR_OK;
}

static void sim_close(void *self, int handle)
{
    struct simdisk *d = self;
    handle_of(d, handle)->used = false;
    d->counts.handles--;
}

static enum err sim_read(void *self, int handle, uint64_t offset, void *data,
                         size_t size, size_t *got)
{
    struct simdisk *d = self;
    const struct sim_file *file = file_of(d, handle);
    enum err err = begin(d, false, false);
    if (err) {
        return err;
    }
    *got = offset < file->seen.size
               ? min_size(size, file->seen.size - (size_t)offset)
               : 0;
    if (*got > 0) {
        memcpy(data, file->seen.data + offset, *got);
    }
    return ERR_OK;
}

static void resize(struct buf *buf, size_t size)
{
    if (size > buf->size) {
        memset(buf_reserve(buf, size - buf->size), 0, size - buf->size);
    }
    buf->size = size;
}

static void store(struct sim_file *file, size_t offset, const void *data,
                  size_t size)
{
    if (size == 0) {
        return;
    }
    if (offset + size > file->seen.size) {
        resize(&file->seen, offset + size);
        resize(&file->dirty, (offset + size + PAGE - 1) / PAGE);
        file->size_dirty = true;
    }
    memcpy(file->seen.data + offset, data, size);
    for (size_t page = offset / PAGE; page * PAGE < offset + size; page++) {
        file->dirty.data[page] = DIRTY;
    }
}

static enum err sim_write(void *self, int handle, uint64_t offset,
                          const void *data, size_t size)
{
    struct simdisk *d = self;
    must(handle_of(d, handle)->writable);
    enum err err = begin(d, true, true);
    d->counts.writes++;
    struct sim_file *file = file_of(d, handle);
    if (!err && d->full && offset + size > file->seen.size) {
        return ERR_NOSPACE;
    }
    store(file, (size_t)offset, data, err ? size / 2 : size);
    end(d);
    return err;
}

static enum err sim_fdatasync(void *self, int handle)
{
    struct simdisk *d = self;
    struct sim_file *file = file_of(d, handle);
    d->counts.fdatasyncs++;
    enum err err = begin(d, true, false);
    if (err) {
        return err;
    }
    resize(&file->platter, file->seen.size);
    for (size_t page = 0; page < file->dirty.size; page++) {
        if (file->dirty.data[page] == DIRTY) {
            size_t at = page * PAGE;
            memcpy(file->platter.data + at, file->seen.data + at,
                   min_size(PAGE, file->seen.size - at));
            file->dirty.data[page] = CLEAN;
        }
    }
    file->size_dirty = false;
    end(d);
    return ERR_OK;
}

static void sim_uncache(void *self, int handle)
{
    struct sim_file *file = file_of(self, handle);
    for (size_t page = 0; page < file->dirty.size; page++) {
        size_t at = page * PAGE;
        size_t end = min_size(file->seen.size, file->platter.size);
        if (file->dirty.data[page] == DROPPED && at < end) {
            memcpy(file->seen.data + at, file->platter.data + at,
                   min_size(PAGE, end - at));
            file->dirty.data[page] = CLEAN;
        }
    }
}

static enum err sim_size(void *self, int handle, uint64_t *size)
{
    struct simdisk *d = self;
    enum err err = begin(d, false, false);
    if (!err) {
        *size = file_of(d, handle)->seen.size;
    }
    return err;
}

static enum err sim_rename(void *self, const char *from, const char *to)
{
    struct simdisk *d = self;
    enum err err = begin(d, true, true);
    const struct sim_name *name = find(&d->seen, from);
    if (err || !name) {
        return err ? err : ERR_NOT_FOUND;
    }
    change(d, from, to, name->file);
    end(d);
    return ERR_OK;
}

static enum err sim_unlink(void *self, const char *path)
{
    struct simdisk *d = self;
    enum err err = begin(d, true, false);
    if (err || !find(&d->seen, path)) {
        return err ? err : ERR_NOT_FOUND;
    }
    change(d, path, "", 0);
    end(d);
    return ERR_OK;
}

static enum err sim_mkdir(void *self, const char *path)
{
    struct simdisk *d = self;
    enum err err = begin(d, true, true);
    if (err || find(&d->seen, path)) {
        return err;
    }
    if (d->full) {
        return ERR_NOSPACE;
    }
    size_t file = file_new(d);
    d->files[file].directory = true;
    change(d, "", path, file);
    end(d);
    return ERR_OK;
}

static enum err sim_sync_dir(void *self, const char *path)
{
    struct simdisk *d = self;
    enum err err = begin(d, true, true);
    if (err) {
        return err;
    }
    size_t left = 0;
    for (size_t i = 0; i < d->op_count; i++) {
        const struct sim_op *op = &d->ops[i];
        if (in_directory(op->to[0] ? op->to : op->from, path)) {
            apply(&d->durable, op);
        } else {
            d->ops[left++] = *op;
        }
    }
    d->op_count = left;
    end(d);
    return ERR_OK;
}

static enum err sim_list(void *self, const char *path, fs_name_cb *cb,
                         void *arg)
{
    struct simdisk *d = self;
    enum err err = begin(d, false, false);
    if (err) {
        return err;
    }
    if (strcmp(path, ".") != 0 && !find(&d->seen, path)) {
        return ERR_NOT_FOUND;
    }
    for (size_t i = d->seen.count; i-- > 0;) {
        const char *name = d->seen.items[i].path;
        if (in_directory(name, path)) {
            const char *slash = strrchr(name, '/');
            cb(slash ? slash + 1 : name, arg);
        }
    }
    return ERR_OK;
}

static enum err sim_lock(void *self, const char *path, int *handle)
{
    return sim_open(self, path, FS_CREATE, handle);
}

static bool sim_real_path(void *self, const char *path, char *out, size_t size)
{
    const struct simdisk *d = self;
    if (!d->prefix) {
        return false;
    }
    must(strlen(d->prefix) + strlen(path) < size);
    memcpy(out, d->prefix, strlen(d->prefix));
    memcpy(out + strlen(d->prefix), path, strlen(path) + 1);
    return true;
}

/* ---- the tests' side --------------------------------------------------------
 */

struct simdisk *simdisk_new(void)
{
    struct simdisk *d = mem_zalloc(sizeof(*d));
    d->fs = (struct fs){
        .self = d,
        .open = sim_open,
        .close = sim_close,
        .read = sim_read,
        .write = sim_write,
        .fdatasync = sim_fdatasync,
        .uncache = sim_uncache,
        .size = sim_size,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .sync_dir = sim_sync_dir,
        .list = sim_list,
        .lock = sim_lock,
        .real_path = sim_real_path,
    };
    return d;
}

void simdisk_free(struct simdisk *d)
{
    for (size_t i = 0; i < d->file_count; i++) {
        buf_free(&d->files[i].seen);
        buf_free(&d->files[i].platter);
        buf_free(&d->files[i].dirty);
    }
    mem_free(d->files);
    mem_free(d->seen.items);
    mem_free(d->durable.items);
    mem_free(d->ops);
    mem_free(d->handles);
    mem_free(d);
}

const struct fs *simdisk_fs(struct simdisk *d)
{
    return &d->fs;
}

void simdisk_get_counts(const struct simdisk *d, struct simdisk_counts *counts)
{
    *counts = d->counts;
}

void simdisk_set_hook(struct simdisk *d, simdisk_hook_cb *cb, void *arg)
{
    d->hook = cb;
    d->hook_arg = arg;
}

static void survive(const struct sim_file *from, struct sim_file *to,
                    enum simdisk_keep keep, struct rng *rng)
{
    to->directory = from->directory;
    const struct buf *start =
        keep == SIMDISK_ALL ? &from->seen : &from->platter;
    resize(&to->seen, start->size);
    if (start->size > 0) {
        memcpy(to->seen.data, start->data, start->size);
    }
    if (keep == SIMDISK_SOME) {
        if (from->size_dirty && rng_below(rng, 2)) {
            resize(&to->seen, from->seen.size);
        }
        for (size_t page = 0; page < from->dirty.size; page++) {
            uint64_t luck =
                from->dirty.data[page] == DIRTY ? rng_below(rng, 3) : 0;
            uint64_t sectors = luck == 2 ? rng_next(rng) : 0xff;
            for (size_t i = 0; luck > 0 && i < PAGE / SECTOR; i++) {
                size_t at = page * PAGE + i * SECTOR;
                size_t end = min_size(to->seen.size, from->seen.size);
                if ((sectors >> i & 1) && at < end) {
                    memcpy(to->seen.data + at, from->seen.data + at,
                           min_size(SECTOR, end - at));
                }
            }
        }
    }
    resize(&to->platter, to->seen.size);
    if (to->seen.size > 0) {
        memcpy(to->platter.data, to->seen.data, to->seen.size);
    }
    resize(&to->dirty, (to->seen.size + PAGE - 1) / PAGE);
}

struct simdisk *simdisk_crash(const struct simdisk *d, enum simdisk_keep keep,
                              uint64_t seed)
{
    struct simdisk *after = simdisk_new();
    struct rng rng;
    rng_init(&rng, seed);
    struct sim_names names = {0};
    for (size_t i = 0; i < d->durable.count; i++) {
        put(&names, d->durable.items[i].path, d->durable.items[i].file);
    }
    size_t ops = keep == SIMDISK_ALL    ? d->op_count
                 : keep == SIMDISK_SOME ? rng_below(&rng, d->op_count + 1)
                                        : 0;
    for (size_t i = 0; i < ops; i++) {
        apply(&names, &d->ops[i]);
    }
    for (size_t i = 0; i < names.count; i++) {
        const struct sim_name *name = &names.items[i];
        if (parent_exists(&names, name->path)) {
            size_t file = file_new(after);
            survive(&d->files[name->file], &after->files[file], keep, &rng);
            put(&after->seen, name->path, file);
            put(&after->durable, name->path, file);
        }
    }
    mem_free(names.items);
    return after;
}

void simdisk_set_full(struct simdisk *d, bool full)
{
    d->full = full;
}

void simdisk_set_prefix(struct simdisk *d, const char *prefix)
{
    d->prefix = prefix;
}

enum err simdisk_resize(struct simdisk *d, int handle, uint64_t size)
{
    enum err err = begin(d, true, false);
    if (err) {
        return err;
    }
    struct sim_file *file = file_of(d, handle);
    if (size < file->seen.size) {
        resize(&file->seen, (size_t)size);
        resize(&file->dirty, ((size_t)size + PAGE - 1) / PAGE);
        file->size_dirty = true;
    }
    end(d);
    return ERR_OK;
}

void simdisk_fail(struct simdisk *d, uint64_t n, enum err err)
{
    d->fail_in = n;
    d->fail_with = err;
    d->failed = false;
}

bool simdisk_failed(const struct simdisk *d)
{
    return d->failed;
}

void simdisk_drop(struct simdisk *d, int handle)
{
    struct sim_file *file = file_of(d, handle);
    resize(&file->platter, file->seen.size); /* The journal has the size. */
    file->size_dirty = false;
    for (size_t page = 0; page < file->dirty.size; page++) {
        if (file->dirty.data[page] == DIRTY) {
            file->dirty.data[page] = DROPPED;
        }
    }
}

uint8_t *simdisk_bytes(struct simdisk *d, const char *path, size_t *size)
{
    const struct sim_name *name = find(&d->seen, path);
    if (!name) {
        return NULL;
    }
    *size = d->files[name->file].seen.size;
    return d->files[name->file].seen.data;
}

void simdisk_truncate(struct simdisk *d, const char *path, size_t size)
{
    const struct sim_name *name = find(&d->seen, path);
    must(name && size <= d->files[name->file].seen.size);
    struct sim_file *file = &d->files[name->file];
    resize(&file->seen, size);
    resize(&file->platter, min_size(size, file->platter.size));
    resize(&file->dirty, (size + PAGE - 1) / PAGE);
}

void simdisk_remove(struct simdisk *d, const char *path)
{
    drop(&d->seen, path);
    drop(&d->durable, path);
}
