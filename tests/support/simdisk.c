/* simdisk.c -- see simdisk.h. Files are kept until the disk is freed, so that
 * a handle outlives the name. Few files: everything is found by walking. */
#include "support/simdisk.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/rng.h"

enum { PAGE = 4096, SECTOR = 512, PATH_BYTES = 96 };

/* DROPPED: a sync failed; the page counts as clean and is not on the platter.
 */
enum page_state { CLEAN, DIRTY, DROPPED };

/* Shared by the disks that were copied from one another until one of them
 * writes: most of a disk is the same after a power loss. */
struct content {
    unsigned refs;
    bool hashed;
    uint64_t hash;
    struct buf bytes;
};

struct sim_file {
    bool directory;
    bool size_dirty;
    size_t dirty_pages;
    struct content *seen;
    struct content *platter;
    struct buf dirty; /* One byte a page of `seen`, enum page_state. */
};

struct sim_name {
    char path[PATH_BYTES];
    size_t file;
};

struct sim_names {
    struct sim_name *items;
    size_t count;
    size_t places;
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
    size_t file_places;
    struct sim_names seen;
    struct sim_names durable;
    struct sim_op *ops; /* Changes of names that are not durable, in order. */
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
    uint64_t room;     /* Bytes that removed files have freed since. */
    uint64_t capacity; /* 0: no bound. */
    const char *prefix;
    struct simdisk_async async;
    struct sim_op_async {
        struct fs_op *op; /* In flight, or NULL. */
        enum err err;     /* Its result. */
    } write, sync;        /* A write with its sync; a sync without a write. */
    struct {
        const char *what;
        char path[PATH_BYTES]; /* Empty: `file`, by its name of now. */
        size_t file;
        uint64_t offset;
        size_t size;
    } last; /* The last change. */
};

/* ---- names ---- */

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
        if (names->count == names->places) {
            names->places = names->places ? 2 * names->places : 16;
            names->items = mem_realloc(names->items,
                                       names->places * sizeof(names->items[0]));
        }
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

static struct content *content_new(void)
{
    struct content *content = mem_zalloc(sizeof(*content));
    content->refs = 1;
    return content;
}

static struct content *content_share(struct content *content)
{
    content->refs++;
    return content;
}

static void content_drop(struct content *content)
{
    if (--content->refs == 0) {
        buf_free(&content->bytes);
        mem_free(content);
    }
}

/* Make the content private to this disk before a write. */
static struct buf *own(struct content **content)
{
    if ((*content)->refs > 1) {
        struct content *copy = content_new();
        buf_add_bytes(&copy->bytes, buf_bytes(&(*content)->bytes));
        content_drop(*content);
        *content = copy;
    }
    (*content)->hashed = false;
    return &(*content)->bytes;
}

/* Takes over both references. */
static size_t file_add(struct simdisk *d, struct content *seen,
                       struct content *platter)
{
    if (d->file_count == d->file_places) {
        d->file_places = d->file_places ? 2 * d->file_places : 16;
        d->files = mem_realloc(d->files, d->file_places * sizeof(d->files[0]));
    }
    d->files[d->file_count] =
        (struct sim_file){.seen = seen, .platter = platter};
    return d->file_count++;
}

static size_t file_new(struct simdisk *d)
{
    return file_add(d, content_new(), content_new());
}

/* ---- calls ---- */

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

static void end(struct simdisk *d, const char *what, const char *path)
{
    d->last.what = what;
    copy_path(d->last.path, path);
    if (d->hook) {
        d->hook(d, d->hook_arg);
    }
}

static void end_file(struct simdisk *d, const char *what, size_t file,
                     uint64_t offset, size_t size)
{
    d->last.file = file;
    d->last.offset = offset;
    d->last.size = size;
    end(d, what, "");
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
    if (create && d->full && d->room == 0) {
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
        end(d, "create", path);
    }
    return ERR_OK;
}

static void sim_close(void *self, int handle)
{
    struct simdisk *d = self;
    must(!d->write.op || handle != d->write.op->handle);
    must(!d->sync.op || handle != d->sync.op->handle);
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
    const struct buf *seen = &file->seen->bytes;
    *got =
        offset < seen->size ? min_size(size, seen->size - (size_t)offset) : 0;
    if (*got > 0) {
        memcpy(data, seen->data + offset, *got);
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

/* Pages from..to-1 wait for a sync. */
static void soil(struct sim_file *file, size_t from, size_t to)
{
    for (size_t page = from; page < to; page++) {
        file->dirty_pages += file->dirty.data[page] != DIRTY;
        file->dirty.data[page] = DIRTY;
    }
}

static size_t pages_of(size_t size)
{
    return (size + PAGE - 1) / PAGE;
}

static void store(struct sim_file *file, size_t offset, const void *data,
                  size_t size)
{
    if (size == 0) {
        return;
    }
    struct buf *seen = own(&file->seen);
    size_t end = offset + size;
    size_t from = offset / PAGE;
    if (end > seen->size) {
        from = min_size(from, seen->size / PAGE);
        resize(seen, end);
        resize(&file->dirty, pages_of(end));
        file->size_dirty = true;
    }
    memcpy(seen->data + offset, data, size);
    soil(file, from, pages_of(end));
}

/* The change applies to all handles. */
static bool is_syncing(struct simdisk *d, int handle)
{
    return d->sync.op &&
           handle_of(d, handle)->file == handle_of(d, d->sync.op->handle)->file;
}

static bool is_open(const struct simdisk *d, size_t file)
{
    for (size_t i = 0; i < d->handle_places; i++) {
        if (d->handles[i].used && d->handles[i].file == file) {
            return true;
        }
    }
    return false;
}

/* Bytes of all files that have a name or an open handle. */
static uint64_t used_bytes(const struct simdisk *d)
{
    uint64_t used = 0;
    for (size_t file = 0; file < d->file_count; file++) {
        bool is_alive = is_open(d, file);
        for (size_t i = 0; i < d->seen.count && !is_alive; i++) {
            is_alive = d->seen.items[i].file == file;
        }
        used += is_alive ? d->files[file].seen->bytes.size : 0;
    }
    return used;
}

static bool sim_space(void *self, struct fs_space *space)
{
    const struct simdisk *d = self;
    uint64_t used = used_bytes(d);
    *space = (struct fs_space){
        .total_bytes = d->capacity,
        .free_bytes = d->full || used > d->capacity ? 0 : d->capacity - used};
    return true;
}

/* On a full disk a file grows into the space of removed files. */
static bool has_room(struct simdisk *d, const struct sim_file *file,
                     uint64_t size)
{
    uint64_t seen = file->seen->bytes.size;
    uint64_t grows = size > seen ? size - seen : 0;
    if (grows == 0) {
        return true;
    }
    if (d->capacity > 0 && used_bytes(d) + grows > d->capacity) {
        return false;
    }
    if (!d->full) {
        return true;
    }
    if (grows > d->room) {
        return false;
    }
    d->room -= grows;
    return true;
}

static enum err sim_write(void *self, int handle, uint64_t offset,
                          const void *data, size_t size)
{
    struct simdisk *d = self;
    must(handle_of(d, handle)->writable);
    enum err err = begin(d, true, true);
    d->counts.writes++;
    struct sim_file *file = file_of(d, handle);
    must(!is_syncing(d, handle));
    if (!err && !has_room(d, file, offset + size)) {
        return ERR_NOSPACE;
    }
    store(file, (size_t)offset, data, err ? size / 2 : size);
    end_file(d, "write", handle_of(d, handle)->file, offset, size);
    return err;
}

static void sync_pages(struct sim_file *file)
{
    const struct buf *seen = &file->seen->bytes;
    struct buf *platter = own(&file->platter);
    resize(platter, seen->size);
    for (size_t page = 0; page < file->dirty.size; page++) {
        if (file->dirty.data[page] == DIRTY) {
            size_t at = page * PAGE;
            memcpy(platter->data + at, seen->data + at,
                   min_size(PAGE, seen->size - at));
            file->dirty.data[page] = CLEAN;
        }
    }
    file->dirty_pages = 0;
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
    if (file->dirty_pages > 0 || file->size_dirty) {
        sync_pages(file);
    }
    file->size_dirty = false;
    end_file(d, "fdatasync", handle_of(d, handle)->file, 0, 0);
    return ERR_OK;
}

/* ---- asynchronous operations ---- */

/* A failed write is reported at its completion, as by the kernel. */
static void submit_write(struct simdisk *d, const struct fs_op *op)
{
    must(handle_of(d, op->handle)->writable);
    d->write.err = begin(d, true, true);
    d->counts.async_writes++;
    struct sim_file *file = file_of(d, op->handle);
    if (!d->write.err && !has_room(d, file, op->offset + op->size)) {
        d->write.err = ERR_NOSPACE;
    }
    size_t early = d->async.submit_write(d->async.arg, op->size);
    must(early <= op->size);
    store(file, (size_t)op->offset, op->data,
          d->write.err ? min_size(early, op->size / 2) : early);
    end_file(d, "begin to write", handle_of(d, op->handle)->file, op->offset,
             op->size);
}

static void submit_sync(struct simdisk *d, const struct fs_op *op)
{
    d->sync.err = begin(d, true, false);
    d->counts.async_syncs++;
    d->async.submit_sync(d->async.arg);
    end_file(d, "begin to sync", handle_of(d, op->handle)->file, 0, 0);
}

static void sim_submit(void *self, struct fs_op *op)
{
    struct simdisk *d = self;
    struct sim_op_async *async = op->size > 0 ? &d->write : &d->sync;
    must(!async->op);
    op->completed = false;
    async->op = op;
    if (op->size > 0) {
        submit_write(d, op);
    } else {
        submit_sync(d, op);
    }
}

static void complete(struct simdisk *d, struct sim_op_async *async)
{
    struct fs_op *op = async->op;
    async->op = NULL;
    enum err sync_err = begin(d, true, false);
    op->err = async->err ? async->err : sync_err;
    op->completed = true;
    struct sim_file *file = file_of(d, op->handle);
    if (!op->err) {
        if (op->size > 0) {
            store(file, (size_t)op->offset, op->data, op->size);
        }
        sync_pages(file);
        file->size_dirty = false;
    }
    end_file(d, op->size > 0 ? "write and sync" : "sync",
             handle_of(d, op->handle)->file, op->offset, op->size);
}

static bool poll_or_wait(struct simdisk *d, struct fs_op *op, bool wait)
{
    if (op->completed) {
        return true;
    }
    struct sim_op_async *async = op->size > 0 ? &d->write : &d->sync;
    must(async->op == op);
    bool ended = op->size > 0 ? d->async.write_done(d->async.arg, wait)
                              : d->async.sync_done(d->async.arg, wait);
    if (ended) {
        complete(d, async);
    }
    return ended;
}

static bool sim_poll(void *self, struct fs_op *op)
{
    return poll_or_wait(self, op, false);
}

static void sim_wait(void *self, struct fs_op *op)
{
    bool ended = poll_or_wait(self, op, true);
    must(ended);
}

void simdisk_set_async(struct simdisk *d, const struct simdisk_async *async)
{
    d->async = *async;
    d->fs.submit = sim_submit;
    d->fs.poll = sim_poll;
    d->fs.wait = sim_wait;
}

static void sim_uncache(void *self, int handle)
{
    struct sim_file *file = file_of(self, handle);
    for (size_t page = 0; page < file->dirty.size; page++) {
        size_t at = page * PAGE;
        size_t end =
            min_size(file->seen->bytes.size, file->platter->bytes.size);
        if (file->dirty.data[page] == DROPPED && at < end) {
            memcpy(own(&file->seen)->data + at, file->platter->bytes.data + at,
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
        *size = file_of(d, handle)->seen->bytes.size;
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
    end(d, "rename to", to);
    return ERR_OK;
}

static enum err sim_unlink(void *self, const char *path)
{
    struct simdisk *d = self;
    enum err err = begin(d, true, false);
    const struct sim_name *name = find(&d->seen, path);
    if (err || !name) {
        return err ? err : ERR_NOT_FOUND;
    }
    if (d->full && !is_open(d, name->file)) {
        d->room += d->files[name->file].seen->bytes.size;
    }
    change(d, path, "", 0);
    end(d, "unlink", path);
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
    end(d, "mkdir", path);
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
    end(d, "sync_dir", path);
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
    /* The callback may remove names, here and below. */
    struct buf names = {0};
    for (size_t i = d->seen.count; i-- > 0;) {
        const char *name = d->seen.items[i].path;
        if (in_directory(name, path)) {
            const char *slash = strrchr(name, '/');
            name = slash ? slash + 1 : name;
            buf_add(&names, name, strlen(name) + 1);
        }
    }
    for (size_t at = 0; at < names.size;) {
        const char *name = (const char *)names.data + at;
        at += strlen(name) + 1;
        cb(name, arg);
    }
    buf_free(&names);
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

/* ---- for tests ---- */

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
        content_drop(d->files[i].seen);
        content_drop(d->files[i].platter);
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

/* Sectors of an unsynced page that differ from the platter, one bit each. */
static uint64_t differing(const struct sim_file *file, size_t page)
{
    const struct buf *seen = &file->seen->bytes;
    const struct buf *platter = &file->platter->bytes;
    static const uint8_t zeros[SECTOR];
    uint64_t sectors = 0;
    for (size_t i = 0; i < PAGE / SECTOR; i++) {
        size_t at = page * PAGE + i * SECTOR;
        if (at >= seen->size) {
            break;
        }
        size_t size = min_size(SECTOR, seen->size - at);
        const uint8_t *old =
            at + size <= platter->size ? platter->data + at : zeros;
        /* A sector that the platter has in part counts as another one. */
        bool cut = at < platter->size && at + size > platter->size;
        if (cut || memcmp(seen->data + at, old, size) != 0) {
            sectors |= (uint64_t)1 << i;
        }
    }
    return sectors;
}

/* Sizes that a file may be found with: the old one, the new one, and those at
 * the ends of pages between. */
static size_t found_size(size_t old, size_t new, uint64_t way, uint64_t ways)
{
    size_t between = (min_size(old, new) / PAGE + (size_t)way) * PAGE;
    return way == 0 ? old : way + 1 == ways ? new : between;
}

static uint64_t ways_of_size(size_t old, size_t new)
{
    size_t low = min_size(old, new);
    size_t high = max_u64(old, new);
    return high > low ? (high - 1) / PAGE - low / PAGE + 2 : 1;
}

/* The content of a file after a crash, by `keep` or by `choose`. */
static struct content *survive(const struct sim_file *from,
                               enum simdisk_keep keep,
                               simdisk_choose_cb *choose, void *arg)
{
    if (keep == SIMDISK_ALL) {
        return content_share(from->seen);
    }
    struct content *found = content_share(from->platter);
    if (keep == SIMDISK_NOTHING ||
        (from->dirty_pages == 0 && !from->size_dirty)) {
        return found;
    }
    const struct buf *seen = &from->seen->bytes;
    if (from->size_dirty) {
        uint64_t ways = ways_of_size(found->bytes.size, seen->size);
        uint64_t way = choose(arg, SIMDISK_SIZE, ways);
        resize(own(&found),
               found_size(found->bytes.size, seen->size, way, ways));
    }
    size_t end = min_size(found->bytes.size, seen->size);
    for (size_t page = 0; page < from->dirty.size; page++) {
        if (from->dirty.data[page] != DIRTY) {
            continue;
        }
        uint64_t changed = page * PAGE < end ? differing(from, page) : 0;
        uint64_t kept = choose(arg, SIMDISK_PAGE, changed) & changed;
        for (size_t i = 0; kept >> i > 0; i++) {
            size_t at = page * PAGE + i * SECTOR;
            if ((kept >> i & 1) && at < end) {
                memcpy(own(&found)->data + at, seen->data + at,
                       min_size(SECTOR, end - at));
            }
        }
    }
    return found;
}

static void find_names(struct simdisk *after, const struct simdisk *d,
                       const struct sim_names *names, enum simdisk_keep keep,
                       simdisk_choose_cb *choose, void *arg)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct sim_name *name = &names->items[i];
        const struct sim_file *from = &d->files[name->file];
        if (!parent_exists(names, name->path)) {
            continue;
        }
        struct content *found = survive(from, keep, choose, arg);
        size_t file = file_add(after, found, content_share(found));
        after->files[file].directory = from->directory;
        resize(&after->files[file].dirty, pages_of(found->bytes.size));
        put(&after->seen, name->path, file);
        put(&after->durable, name->path, file);
    }
}

static void copy_names(struct sim_names *to, const struct sim_names *from)
{
    for (size_t i = 0; i < from->count; i++) {
        put(to, from->items[i].path, from->items[i].file);
    }
}

static uint64_t by_luck(void *arg, enum simdisk_chance chance, uint64_t among)
{
    struct rng *rng = arg;
    if (chance == SIMDISK_SIZE) {
        return rng_below(rng, 2) ? among - 1 : 0;
    }
    uint64_t luck = rng_below(rng, 3);
    return luck == 2 ? rng_next(rng) : luck == 1 ? UINT64_MAX : 0;
}

struct simdisk *simdisk_crash(const struct simdisk *d, enum simdisk_keep keep,
                              uint64_t seed)
{
    struct simdisk *after = simdisk_new();
    struct rng rng;
    rng_init(&rng, seed);
    struct sim_names names = {0};
    copy_names(&names, &d->durable);
    size_t ops = keep == SIMDISK_ALL    ? d->op_count
                 : keep == SIMDISK_SOME ? rng_below(&rng, d->op_count + 1)
                                        : 0;
    for (size_t i = 0; i < ops; i++) {
        apply(&names, &d->ops[i]);
    }
    find_names(after, d, &names, keep, by_luck, &rng);
    mem_free(names.items);
    return after;
}

static size_t directory_size(const struct sim_op *op)
{
    const char *path = op->to[0] ? op->to : op->from;
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static bool same_directory(const struct sim_op *a, const struct sim_op *b)
{
    size_t size = directory_size(a);
    return size == directory_size(b) &&
           memcmp(a->to[0] ? a->to : a->from, b->to[0] ? b->to : b->from,
                  size) == 0;
}

/* The first change of a directory chooses for all of it. */
static void choose_names(const struct simdisk *d, struct sim_names *names,
                         simdisk_choose_cb *choose, void *arg)
{
    for (size_t i = 0; i < d->op_count; i++) {
        size_t before = 0;
        uint64_t count = 0;
        for (size_t j = 0; j < d->op_count; j++) {
            bool same = same_directory(&d->ops[i], &d->ops[j]);
            before += same && j < i;
            count += same;
        }
        if (before > 0) {
            continue;
        }
        uint64_t kept = choose(arg, SIMDISK_NAMES, count + 1);
        for (size_t j = i; j < d->op_count && kept > 0; j++) {
            if (same_directory(&d->ops[i], &d->ops[j])) {
                apply(names, &d->ops[j]);
                kept--;
            }
        }
    }
}

struct simdisk *simdisk_crash_as(const struct simdisk *d,
                                 simdisk_choose_cb *choose, void *arg)
{
    struct simdisk *after = simdisk_new();
    struct sim_names names = {0};
    copy_names(&names, &d->durable);
    choose_names(d, &names, choose, arg);
    find_names(after, d, &names, SIMDISK_SOME, choose, arg);
    mem_free(names.items);
    return after;
}

struct simdisk *simdisk_killed(const struct simdisk *d)
{
    struct simdisk *after = simdisk_new();
    for (size_t i = 0; i < d->file_count; i++) {
        const struct sim_file *from = &d->files[i];
        size_t file = file_add(after, content_share(from->seen),
                               content_share(from->platter));
        struct sim_file *to = &after->files[file];
        to->directory = from->directory;
        to->size_dirty = from->size_dirty;
        to->dirty_pages = from->dirty_pages;
        buf_add_bytes(&to->dirty, buf_bytes(&from->dirty));
    }
    copy_names(&after->seen, &d->seen);
    copy_names(&after->durable, &d->durable);
    after->op_count = d->op_count;
    after->ops = mem_alloc(d->op_count * sizeof(d->ops[0]));
    if (d->op_count > 0) {
        memcpy(after->ops, d->ops, d->op_count * sizeof(d->ops[0]));
    }
    return after;
}

void simdisk_describe(const struct simdisk *d, char *text, size_t size)
{
    if (!d->last.what) {
        snprintf(text, size, "nothing");
    } else if (d->last.path[0]) {
        snprintf(text, size, "%s %s", d->last.what, d->last.path);
    } else {
        const char *path = "an unlinked file";
        for (size_t i = 0; i < d->seen.count; i++) {
            const struct sim_name *name = &d->seen.items[i];
            path = name->file == d->last.file ? name->path : path;
        }
        snprintf(text, size, "%s %s, %zu bytes at %llu", d->last.what, path,
                 d->last.size, (unsigned long long)d->last.offset);
    }
}

void simdisk_get_pending(const struct simdisk *d,
                         struct simdisk_pending *pending)
{
    *pending = (struct simdisk_pending){.names = d->op_count};
    for (size_t i = 0; i < d->file_count; i++) {
        const struct sim_file *file = &d->files[i];
        for (size_t page = 0; page < file->dirty.size && file->dirty_pages > 0;
             page++) {
            if (file->dirty.data[page] == DIRTY) {
                uint64_t sectors = differing(file, page);
                pending->pages += sectors != 0;
                pending->sectors += (size_t)__builtin_popcountll(sectors);
            }
        }
    }
}

static uint64_t content_hash(struct content *content)
{
    if (!content->hashed) {
        /* Eight bytes at a time, zeros (most of a log) by their number. */
        const struct buf *bytes = &content->bytes;
        uint64_t hash = mix_u64(bytes->size);
        size_t at = 0;
        for (; at + 8 <= bytes->size; at += 8) {
            uint64_t word;
            memcpy(&word, bytes->data + at, sizeof(word));
            if (word != 0) {
                hash = (hash ^ word ^ (uint64_t)at << 32) * 0x9fb21c651e98df25u;
                hash ^= hash >> 29;
            }
        }
        for (; at < bytes->size; at++) {
            hash = mix_u64(hash ^ bytes->data[at] ^ at << 8);
        }
        content->hash = mix_u64(hash);
        content->hashed = true;
    }
    return content->hash;
}

uint64_t simdisk_hash(const struct simdisk *d)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < d->seen.count; i++) {
        const struct sim_name *name = &d->seen.items[i];
        uint64_t hash = content_hash(d->files[name->file].seen);
        for (const char *c = name->path; *c; c++) {
            hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
        }
        sum += mix_u64(hash);
    }
    return sum;
}

void simdisk_set_full(struct simdisk *d, bool full)
{
    if (full != d->full) {
        d->room = 0;
    }
    d->full = full;
}

void simdisk_set_capacity(struct simdisk *d, uint64_t bytes)
{
    d->capacity = bytes;
    d->fs.space = bytes > 0 ? sim_space : NULL;
}

void simdisk_set_prefix(struct simdisk *d, const char *prefix)
{
    d->prefix = prefix;
}

static void cut_file(struct sim_file *file, size_t size)
{
    for (size_t page = pages_of(size); page < file->dirty.size; page++) {
        file->dirty_pages -= file->dirty.data[page] == DIRTY;
    }
    resize(own(&file->seen), size);
    resize(&file->dirty, pages_of(size));
}

enum err simdisk_resize(struct simdisk *d, int handle, uint64_t size)
{
    enum err err = begin(d, true, false);
    if (err) {
        return err;
    }
    struct sim_file *file = file_of(d, handle);
    must(!is_syncing(d, handle));
    if (size < file->seen->bytes.size) {
        cut_file(file, (size_t)size);
        file->size_dirty = true;
    }
    end_file(d, "truncate", handle_of(d, handle)->file, size, 0);
    return ERR_OK;
}

void simdisk_fail(struct simdisk *d, uint64_t n, enum err err)
{
    if (n == 0) {
        d->write.err = ERR_OK;
        d->sync.err = ERR_OK;
    }
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
    /* The journal has the size. */
    resize(own(&file->platter), file->seen->bytes.size);
    file->dirty_pages = 0;
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
    struct buf *seen = own(&d->files[name->file].seen);
    *size = seen->size;
    return seen->data;
}

bool simdisk_has_bytes(const struct simdisk *d, const char *path)
{
    const struct sim_name *name = find(&d->seen, path);
    return name && d->files[name->file].seen->bytes.size > 0;
}

void simdisk_truncate(struct simdisk *d, const char *path, size_t size)
{
    const struct sim_name *name = find(&d->seen, path);
    must(name && size <= d->files[name->file].seen->bytes.size);
    struct sim_file *file = &d->files[name->file];
    cut_file(file, size);
    resize(own(&file->platter), min_size(size, file->platter->bytes.size));
}

void simdisk_remove(struct simdisk *d, const char *path)
{
    drop(&d->seen, path);
    drop(&d->durable, path);
}
