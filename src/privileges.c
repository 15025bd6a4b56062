/* privileges.c -- see privileges.h. */
#include "privileges.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "host.h"
#include "sys/fs.h"
#include "sys/sys.h"

enum { PATHS_MAX = 24 };

struct paths {
    struct sandbox_path list[PATHS_MAX];
    size_t count;
};

static void add(struct paths *paths, const char *path,
                enum sandbox_access access)
{
    if (path) {
        must(paths->count < PATHS_MAX);
        paths->list[paths->count++] =
            (struct sandbox_path){.path = path, .access = access};
    }
}

/* A node whose memory holds secrets leaves no copy of it behind. */
static void protect_memory(const struct config *config)
{
    if ((config->cluster_key || config->auth || config->join_token_file) &&
        !sys_forbid_dumps()) {
        log_warn("start", "why=\"core dumps cannot be turned off: %s\"",
                 strerror(errno));
    }
}

bool privileges_init(struct privileges *privileges, const struct config *config)
{
    char why[160];
    *privileges =
        (struct privileges){.config = config, .has_user = config->user != NULL};
    protect_memory(config);
    if (!privileges->has_user) {
        return true;
    }
    if (!sys_user_find(config->user, &privileges->user, why, sizeof(why))) {
        log_error("start", "--user=%s why=\"%s\"", config->user, why);
        return false;
    }
    if (!sys_user_is_possible(&privileges->user)) {
        log_error("start",
                  "--user=%s why=\"only root may become another user\" "
                  "help=\"start it as root, or as that user without --user\"",
                  config->user);
        return false;
    }
    return true;
}

/* The kernel decides anew about dumps when the user changes: by its setting
 * fs.suid_dumpable (proc(5)), which lets systemd-coredump take them. */
static bool become_user(const struct privileges *privileges)
{
    char why[160];
    if (!privileges->has_user) {
        return true;
    }
    if (!sys_user_become(&privileges->user, why, sizeof(why))) {
        log_error("start", "--user=%s why=\"%s\"", privileges->config->user,
                  why);
        return false;
    }
    protect_memory(privileges->config);
    return true;
}

/* ---- the process that resolves names ---- */

static bool confine_resolver(void *arg)
{
    const struct privileges *privileges = arg;
    struct sandbox_status status;
    if (!become_user(privileges)) {
        return false;
    }
    if (privileges->config->sandbox) {
        sandbox_enter_resolver(NULL, 0, &status);
    }
    return true;
}

bool privileges_start_resolver(struct privileges *privileges,
                               struct reactor *reactor)
{
    if (!reactor_start_resolver(reactor, confine_resolver, privileges)) {
        log_error("start",
                  "why=\"the process that resolves names cannot be "
                  "started: %s\"",
                  strerror(errno));
        return false;
    }
    return true;
}

bool privileges_prepare_exec(void *arg)
{
    return become_user(arg);
}

void privileges_confine_sync(void *arg)
{
    const struct privileges *privileges = arg;
    struct sandbox_status status;
    if (privileges->config->sandbox) {
        sandbox_enter(SANDBOX_SYNC, NULL, 0, -1, &status);
    }
}

/* ---- user and directories ---- */

bool privileges_make_directories(const struct privileges *privileges)
{
    const struct config *config = privileges->config;
    const struct sys_user *owner =
        privileges->has_user ? &privileges->user : NULL;
    return (config->inmem || host_make_dir(config->dir, owner)) &&
           (!config->backup_dir || host_make_dir(config->backup_dir, owner));
}

/* Files that another user made are found by the lock, which every node has. */
static bool is_usable(const char *flag, const char *dir)
{
    char lock[FS_PATH_BYTES];
    const char *what = dir;
    (void)snprintf(lock, sizeof(lock), "%s/LOCK", dir);
    bool usable = access(dir, R_OK | W_OK | X_OK) == 0;
    if (usable && access(lock, R_OK | W_OK) != 0 && errno != ENOENT) {
        usable = false;
        what = lock;
    }
    if (!usable) {
        log_error("start",
                  "%s=%s why=\"user %u may not use %s: %s\" help=\"as root: "
                  "chown -R %u:%u %s; directories above need x for it\"",
                  flag, dir, (unsigned)getuid(), what, strerror(errno),
                  (unsigned)getuid(), (unsigned)getgid(), dir);
    }
    return usable;
}

/* A file that is read again on SIGHUP. */
static bool is_readable(const char *flag, const char *path)
{
    if (!path || access(path, R_OK) == 0) {
        return true;
    }
    log_error("start",
              "%s=%s why=\"user %u may not read it, and will have to on "
              "SIGHUP: %s\" help=\"as root: chown %u:%u %s\"",
              flag, path, (unsigned)getuid(), strerror(errno),
              (unsigned)getuid(), (unsigned)getgid(), path);
    return false;
}

/* The group of the user is who the mode of the socket is for. */
static bool own_socket(const struct privileges *privileges)
{
    const char *path = privileges->config->http_unix;
    if (path && geteuid() == 0 &&
        !sys_user_give_socket(&privileges->user, path) && errno != ENOENT) {
        log_error("start",
                  "--http=unix:%s why=\"the socket cannot be given to user %u: "
                  "%s\"",
                  path, (unsigned)privileges->user.uid, strerror(errno));
        return false;
    }
    return true;
}

bool privileges_drop_user(const struct privileges *privileges)
{
    const struct config *config = privileges->config;
    if (!privileges->has_user) {
        return true;
    }
    return own_socket(privileges) && become_user(privileges) &&
           is_readable("--cluster-key", config->cluster_key) &&
           is_readable("--auth", config->auth) &&
           (config->inmem || is_usable("--dir", config->dir)) &&
           (!config->backup_dir ||
            is_usable("--backup-dir", config->backup_dir));
}

/* ---- the sandbox ---- */

/* The directory that the name is in, to be freed; NULL for none. */
static char *parent_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!path) {
        return NULL;
    }
    return !slash ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
}

/* True for directories that many programs share (Filesystem Hierarchy
 * Standard). */
static bool is_of_system(const char *dir)
{
    static const char *const shared[] = {
        "/",        "/etc",     "/home",          "/media",     "/mnt",
        "/opt",     "/root",    "/run",           "/srv",       "/tmp",
        "/usr",     "/var",     "/usr/local/etc", "/usr/local", "/var/lib",
        "/var/tmp", "/dev/shm", "/run/secrets",
    };
    char *real = realpath(dir, NULL);
    bool found = !real;
    for (size_t i = 0; !found && i < ARRAY_COUNT(shared); i++) {
        found = strcmp(real, shared[i]) == 0;
    }
    free(real);
    return found;
}

/* A file that is read again on SIGHUP. An editor replaces it, and containers a
 * link on the way to it, hence the directories; but a directory of the system
 * holds more than that file. The strings of `dirs` are to be freed. */
static void add_secret(struct paths *paths, const char *path, char *dirs[2])
{
    dirs[0] = parent_of(path);
    dirs[1] = path ? sandbox_directory_of(path) : NULL;
    for (int i = 0; path && i < 2; i++) {
        if (dirs[i] && !is_of_system(dirs[i])) {
            add(paths, dirs[i], SANDBOX_READ);
        } else {
            add(paths, path, SANDBOX_READ);
        }
    }
    if (path && is_of_system(dirs[0])) {
        log_info(
            "sandbox",
            "file=\"%s\" why=\"the sandbox allows this file alone, not all "
            "of its directory: before SIGHUP change what is in it, do not "
            "replace it, or give it a directory of its own\"",
            path);
    }
}

/* Returns whether the directory holds the file `path` alone. */
static bool holds_nothing_else(const char *dir, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    DIR *list = opendir(dir);
    bool alone = list != NULL;
    const struct dirent *entry;
    while (alone && (entry = readdir(list)) != NULL) {
        alone = strcmp(entry->d_name, ".") == 0 ||
                strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, name) == 0;
    }
    if (list) {
        (void)closedir(list);
    }
    return alone;
}

/* To remove the socket at the end takes the right to remove anything below its
 * directory. Returns a string to be freed. */
static char *add_socket(struct paths *paths, const char *path)
{
    char *dir = parent_of(path);
    if (path && holds_nothing_else(dir, path)) {
        add(paths, dir, SANDBOX_REMOVE);
    } else if (path) {
        log_info(
            "sandbox",
            "--http=unix:%s why=\"the directory holds other files, so that "
            "the socket may not be removed at the end; the next start "
            "replaces it\"",
            path);
    }
    return dir;
}

static void add_system_files(struct paths *paths)
{
    add(paths, "/dev/urandom", SANDBOX_READ);   /* SQLite's. */
    add(paths, "/etc/localtime", SANDBOX_READ); /* The C library's. */
}

void privileges_confine_offline(const char *dir, const char *file)
{
    struct sandbox_status status;
    struct paths paths = {.count = 0};
    add(&paths, dir, SANDBOX_WRITE);
    add(&paths, file, SANDBOX_READ);
    add_system_files(&paths);
    sandbox_enter(SANDBOX_OFFLINE, paths.list, paths.count, -1, &status);
    if (status.why[0]) {
        log_debug("sandbox", "why=\"%s\"", status.why);
    }
}

void privileges_enter_sandbox(struct privileges *privileges, int sealed_fd)
{
    const struct config *config = privileges->config;
    struct sandbox_status *status = &privileges->sandbox;
    struct paths paths = {.count = 0};
    if (!config->sandbox) {
        log_info("sandbox", "seccomp=off landlock=off why=\"--sandbox=off\"");
        return;
    }
    add(&paths, config->inmem ? NULL : config->dir, SANDBOX_WRITE);
    add(&paths, config->backup_dir, SANDBOX_WRITE);
    char *dirs[4];
    char *socket_dir = add_socket(&paths, config->http_unix);
    add_secret(&paths, config->cluster_key, dirs);
    add_secret(&paths, config->auth, dirs + 2);
    add(&paths, "/proc/self", SANDBOX_READ); /* For /metrics. */
    add_system_files(&paths);
    sandbox_enter(SANDBOX_NODE, paths.list, paths.count, sealed_fd, status);
    free(socket_dir);
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        free(dirs[i]);
    }
    if (status->why[0]) {
        log_info("sandbox", "seccomp=%s landlock=%s why=\"%s\"",
                 status->seccomp ? "on" : "off",
                 status->landlock ? "on" : "off", status->why);
    } else {
        log_info("sandbox", "seccomp=on landlock=on");
    }
}
