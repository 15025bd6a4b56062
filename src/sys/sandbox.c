/* sandbox.c -- the sandbox of systems other than Linux (see sandbox.h). */
#include "sys/sandbox.h"

#include <stdio.h>

#if defined(__OpenBSD__)

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool unveil_all(const struct sandbox_path *paths, size_t count)
{
    static const char *const permissions[] = {
        [SANDBOX_READ] = "r", [SANDBOX_WRITE] = "rwc", [SANDBOX_REMOVE] = "c"};
    for (size_t i = 0; i < count; i++) {
        if (unveil(paths[i].path, permissions[paths[i].access]) != 0 &&
            errno != ENOENT) {
            return false;
        }
    }
    return unveil(NULL, NULL) == 0;
}

void sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths,
                   size_t path_count, int sealed_fd,
                   struct sandbox_status *status)
{
    static const char *const promises[] = {
        [SANDBOX_NODE] = "stdio rpath wpath cpath fattr flock inet sendfd",
        [SANDBOX_RESOLVER] = "stdio rpath inet unix dns proc recvfd",
        [SANDBOX_SYNC] = "stdio recvfd",
        [SANDBOX_OFFLINE] = "stdio rpath wpath cpath fattr flock"};
    (void)sealed_fd;
    *status = (struct sandbox_status){0};
    status->landlock = unveil_all(paths, path_count);
    status->seccomp = pledge(promises[role], NULL) == 0;
    if (!status->landlock || !status->seccomp) {
        (void)snprintf(status->why, sizeof(status->why), "%s: %s",
                       status->seccomp ? "unveil" : "pledge", strerror(errno));
    }
}

#elif !defined(__linux__) || defined(__SANITIZE_ADDRESS__)

void sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths,
                   size_t path_count, int sealed_fd,
                   struct sandbox_status *status)
{
    (void)role;
    (void)sealed_fd;
    (void)paths;
    (void)path_count;
    *status = (struct sandbox_status){0};
    (void)snprintf(status->why, sizeof(status->why), "%s",
                   "this build or system has none");
}

#endif
