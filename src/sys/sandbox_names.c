/* sandbox_names.c -- the sandbox of a process that resolves names (see
 * sandbox.h): which files it reads. */
#include "sys/sandbox.h"

#include <stdlib.h>
#include <string.h>

char *sandbox_directory_of(const char *path)
{
    char *directory = realpath(path, NULL);
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (!slash || slash == directory) {
        free(directory);
        return NULL;
    }
    *slash = '\0';
    return directory;
}

/* The configuration of name resolution, which services may maintain in /run,
 * and libraries that glibc loads for that. */
void sandbox_enter_resolver(const char *const *files, size_t file_count,
                            struct sandbox_status *status)
{
    char *const found[] = {sandbox_directory_of("/etc/resolv.conf"),
                           sandbox_directory_of("/etc/hosts")};
    const char *const readable[] = {
        "/etc",      "/run",     "/var/run",   "/lib",
        "/lib64",    "/usr/lib", "/usr/lib64", "/dev/urandom",
        "/dev/null", found[0],   found[1],
    };
    struct sandbox_path paths[ARRAY_COUNT(readable) + SANDBOX_FILES_MAX];
    size_t count = 0;
    must(file_count <= SANDBOX_FILES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(readable) + file_count; i++) {
        const char *path = i < ARRAY_COUNT(readable)
                               ? readable[i]
                               : files[i - ARRAY_COUNT(readable)];
        if (path) {
            paths[count++] =
                (struct sandbox_path){.path = path, .access = SANDBOX_READ};
        }
    }
    sandbox_enter(SANDBOX_RESOLVER, paths, count, -1, status);
    for (size_t i = 0; i < ARRAY_COUNT(found); i++) {
        free(found[i]);
    }
}
