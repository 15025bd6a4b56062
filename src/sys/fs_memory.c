/* fs_memory.c -- files in memory, which behave as POSIX specifies: a removed
 * file exists until its last handle is closed, a rename replaces its target,
 * and a name requires its directory. There are tens of names, in a plain
 * list. */
#include "sys/fs.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/list.h"

struct memory_file {
    struct list link; /* In memory_fs.files while it has a name. */
    char path[FS_PATH_BYTES];
    bool directory;
    bool named;
    bool locked;
    uint32_t handle_count;
    uint8_t *data;
    size_t size_bytes;
    size_t capacity_bytes;
};

struct memory_handle {
    struct memory_file *file; /* NULL: this handle is free. */
    bool writable;
    bool holds_lock;
};

struct memory_fs {
    struct fs fs;
    struct list files;
    struct memory_handle *handles; /* [handle] */
    size_t handle_count;           /* Places in `handles`. */
};

static bool is_root(const char *path)
{
    return path[0] == '\0' || strcmp(path, ".") == 0;
}

static struct memory_file *file_of_link(struct list *link)
{
    return container_of(link, struct memory_file, link);
}

static struct memory_file *find(struct memory_fs *self, const char *path)
{
    for (struct list *l = self->files.next; l != &self->files; l = l->next) {
        if (strcmp(file_of_link(l)->path, path) == 0) {
            return file_of_link(l);
        }
    }
    return NULL;
}

/* Is `path` below directory `dir`? If so, *rest is the path relative to
 * that. */
static bool below(const char *path, const char *dir, const char **rest)
{
    *rest = path;
    if (is_root(dir)) {
        return true;
    }
    size_t size = strlen(dir);
    if (strncmp(path, dir, size) != 0 || path[size] != '/') {
        return false;
    }
    *rest = path + size + 1;
    return true;
}

static bool directory_exists(struct memory_fs *self, const char *path)
{
    if (is_root(path)) {
        return true;
    }
    const struct memory_file *file = find(self, path);
    return file && file->directory;
}

static bool parent_exists(struct memory_fs *self, const char *path)
{
    char parent[FS_PATH_BYTES] = "";
    const char *slash = strrchr(path, '/');
    if (slash) {
        memcpy(parent, path, (size_t)(slash - path));
    }
    return directory_exists(self, parent);
}

static bool directory_empty(struct memory_fs *self, const char *path)
{
    const char *rest;
    for (struct list *l = self->files.next; l != &self->files; l = l->next) {
        if (below(file_of_link(l)->path, path, &rest)) {
            return false;
        }
    }
    return true;
}

static void set_path(struct memory_file *file, const char *path)
{
    size_t size = strlen(path) + 1;
    must(size <= sizeof(file->path) && path[0] != '/');
    memmove(file->path, path, size);
}

static struct memory_file *create(struct memory_fs *self, const char *path,
                                  bool directory)
{
    struct memory_file *file = mem_zalloc(sizeof(*file));
    file->directory = directory;
    file->named = true;
    set_path(file, path);
    list_init(&file->link);
    list_add(&self->files, &file->link);
    return file;
}

static void free_if_gone(struct memory_file *file)
{
    if (!file->named && file->handle_count == 0) {
        mem_free(file->data);
        mem_free(file);
    }
}

static void remove_name(struct memory_file *file)
{
    list_remove(&file->link);
    file->named = false;
    free_if_gone(file);
}

static int new_handle(struct memory_fs *self, struct memory_file *file,
                      bool writable)
{
    size_t place = 0;
    while (place < self->handle_count && self->handles[place].file) {
        place++;
    }
    if (place == self->handle_count) {
        self->handle_count += 16;
        self->handles = mem_realloc(self->handles, self->handle_count *
                                                       sizeof(*self->handles));
        memset(self->handles + place, 0, 16 * sizeof(*self->handles));
    }
    self->handles[place] =
        (struct memory_handle){.file = file, .writable = writable};
    file->handle_count++;
    return (int)place;
}

static struct memory_handle *handle_at(struct memory_fs *self, int handle)
{
    must(handle >= 0 && (size_t)handle < self->handle_count);
    must(self->handles[handle].file);
    return &self->handles[handle];
}

static enum err memory_open(void *arg, const char *path, enum fs_open_mode mode,
                            int *handle)
{
    struct memory_fs *self = arg;
    struct memory_file *file = find(self, path);
    bool creates = mode == FS_CREATE || mode == FS_CREATE_NEW;
    if (file && mode == FS_CREATE_NEW) {
        return ERR_EXISTS;
    }
    if (file && file->directory) {
        return ERR_IO;
    }
    if (!file && (!creates || !parent_exists(self, path))) {
        return ERR_NOT_FOUND;
    }
    if (!file) {
        file = create(self, path, false);
    }
    *handle = new_handle(self, file, mode != FS_READ);
    return ERR_OK;
}

static void memory_close(void *arg, int handle)
{
    struct memory_handle *h = handle_at(arg, handle);
    struct memory_file *file = h->file;
    if (h->holds_lock) {
        file->locked = false;
    }
    *h = (struct memory_handle){0};
    file->handle_count--;
    free_if_gone(file);
}

static enum err memory_read(void *arg, int handle, uint64_t offset, void *data,
                            size_t size, size_t *got)
{
    const struct memory_file *file = handle_at(arg, handle)->file;
    *got = 0;
    if (offset < file->size_bytes) {
        *got = min_size(size, file->size_bytes - (size_t)offset);
    }
    if (*got > 0) {
        memcpy(data, file->data + offset, *got);
    }
    return ERR_OK;
}

/* Memory is the disk here: too little of it is a full disk. */
static bool make_room(struct memory_file *file, size_t end)
{
    enum { DOUBLED_MAX = 64 << 20 };
    size_t capacity = file->capacity_bytes ? file->capacity_bytes : 4096;
    if (end <= file->capacity_bytes) {
        return true;
    }
    while (capacity < end) {
        capacity += capacity < DOUBLED_MAX ? capacity : capacity / 4;
    }
    uint8_t *data = mem_try_realloc(file->data, capacity);
    if (!data) {
        capacity = end;
        data = mem_try_realloc(file->data, capacity);
    }
    if (!data) {
        return false;
    }
    file->data = data;
    file->capacity_bytes = capacity;
    return true;
}

static enum err memory_write(void *arg, int handle, uint64_t offset,
                             const void *data, size_t size)
{
    const struct memory_handle *h = handle_at(arg, handle);
    struct memory_file *file = h->file;
    if (!h->writable) {
        return ERR_IO;
    }
    if (size == 0) {
        return ERR_OK;
    }
    if (offset >= SIZE_MAX / 4 || size >= SIZE_MAX / 4) {
        return ERR_NOSPACE;
    }
    size_t end = (size_t)offset + size;
    if (!make_room(file, end)) {
        return ERR_NOSPACE;
    }
    if (offset > file->size_bytes) { /* The gap reads as zeros. */
        memset(file->data + file->size_bytes, 0,
               (size_t)offset - file->size_bytes);
    }
    memcpy(file->data + offset, data, size);
    if (end > file->size_bytes) {
        file->size_bytes = end;
    }
    return ERR_OK;
}

static enum err memory_fdatasync(void *arg, int handle)
{
    (void)handle_at(arg, handle);
    return ERR_OK;
}

static void memory_uncache(void *arg, int handle)
{
    (void)arg;
    (void)handle;
}

static enum err memory_size(void *arg, int handle, uint64_t *size)
{
    *size = handle_at(arg, handle)->file->size_bytes;
    return ERR_OK;
}

/* Renames the files below a directory, since each of them has its whole
 * path. */
static void move_children(struct memory_fs *self, const char *from,
                          const char *to)
{
    for (struct list *l = self->files.next; l != &self->files; l = l->next) {
        struct memory_file *file = file_of_link(l);
        const char *rest;
        if (below(file->path, from, &rest)) {
            char path[FS_PATH_BYTES];
            int wrote = snprintf(path, sizeof(path), "%s/%s", to, rest);
            must(wrote > 0 && (size_t)wrote < sizeof(path));
            set_path(file, path);
        }
    }
}

static enum err memory_rename(void *arg, const char *from, const char *to)
{
    struct memory_fs *self = arg;
    struct memory_file *file = find(self, from);
    if (!file || !parent_exists(self, to)) {
        return ERR_NOT_FOUND;
    }
    struct memory_file *target = find(self, to);
    if (target == file) {
        return ERR_OK;
    }
    const char *rest;
    if (file->directory && below(to, from, &rest)) {
        return ERR_IO; /* A directory cannot move into itself. */
    }
    if (target && target->directory != file->directory) {
        return ERR_IO;
    }
    if (target && target->directory && !directory_empty(self, to)) {
        return ERR_EXISTS;
    }
    if (target) {
        remove_name(target);
    }
    if (file->directory) {
        move_children(self, from, to);
    }
    set_path(file, to);
    return ERR_OK;
}

static enum err memory_unlink(void *arg, const char *path)
{
    struct memory_fs *self = arg;
    struct memory_file *file = find(self, path);
    if (!file) {
        return ERR_NOT_FOUND;
    }
    if (file->directory && !directory_empty(self, path)) {
        return ERR_EXISTS;
    }
    remove_name(file);
    return ERR_OK;
}

static enum err memory_mkdir(void *arg, const char *path)
{
    struct memory_fs *self = arg;
    if (directory_exists(self, path)) {
        return ERR_OK;
    }
    if (find(self, path)) {
        return ERR_EXISTS;
    }
    if (!parent_exists(self, path)) {
        return ERR_NOT_FOUND;
    }
    (void)create(self, path, true);
    return ERR_OK;
}

static enum err memory_sync_dir(void *arg, const char *path)
{
    return directory_exists(arg, path) ? ERR_OK : ERR_NOT_FOUND;
}

static enum err memory_list(void *arg, const char *path, fs_name_cb *cb,
                            void *cb_arg)
{
    struct memory_fs *self = arg;
    if (!directory_exists(self, path)) {
        return ERR_NOT_FOUND;
    }
    /* The callback may remove names, here and below. */
    struct buf names = {0};
    for (struct list *l = self->files.next; l != &self->files; l = l->next) {
        const char *rest;
        if (below(file_of_link(l)->path, path, &rest) && !strchr(rest, '/')) {
            buf_add(&names, rest, strlen(rest) + 1);
        }
    }
    for (size_t at = 0; at < names.size;) {
        const char *name = (const char *)names.data + at;
        at += strlen(name) + 1;
        cb(name, cb_arg);
    }
    buf_free(&names);
    return ERR_OK;
}

static enum err memory_lock(void *arg, const char *path, int *handle)
{
    struct memory_fs *self = arg;
    int opened;
    enum err err = memory_open(self, path, FS_CREATE, &opened);
    if (err) {
        return err;
    }
    struct memory_handle *h = handle_at(self, opened);
    if (h->file->locked) {
        memory_close(self, opened);
        return ERR_LOCKED;
    }
    h->file->locked = true;
    h->holds_lock = true;
    *handle = opened;
    return ERR_OK;
}

static bool memory_real_path(void *arg, const char *path, char *out,
                             size_t size)
{
    (void)arg, (void)path, (void)out, (void)size;
    return false;
}

struct fs *fs_memory_new(void)
{
    struct memory_fs *self = mem_alloc(sizeof(*self));
    *self = (struct memory_fs){
        .fs =
            {
                .self = self,
                .open = memory_open,
                .close = memory_close,
                .read = memory_read,
                .write = memory_write,
                .fdatasync = memory_fdatasync,
                .uncache = memory_uncache,
                .size = memory_size,
                .rename = memory_rename,
                .unlink = memory_unlink,
                .mkdir = memory_mkdir,
                .sync_dir = memory_sync_dir,
                .list = memory_list,
                .lock = memory_lock,
                .real_path = memory_real_path,
            },
    };
    list_init(&self->files);
    return &self->fs;
}

void fs_memory_free(struct fs *fs)
{
    if (!fs) {
        return;
    }
    struct memory_fs *self = fs->self;
    for (size_t i = 0; i < self->handle_count; i++) {
        must(!self->handles[i].file); /* The owner has closed it. */
    }
    while (!list_empty(&self->files)) {
        remove_name(file_of_link(self->files.next));
    }
    mem_free(self->handles);
    mem_free(self);
}
