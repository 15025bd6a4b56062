/* memory.c -- how much memory this process may use.
 *
 * The smallest of the machine's memory, RLIMIT_AS and RLIMIT_DATA, and the
 * limits of its control group and the groups above it (cgroups(7)). A process
 * in a container may see its group under another path than its own root, so
 * the root of the mounted hierarchy is looked at as well. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/memory.h"

enum { FILE_BYTES = 4096, PATH_BYTES = 512 };

static bool read_text(const char *path, char *out, size_t room)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    size_t size = fread(out, 1, room - 1, file);
    out[size] = '\0';
    (void)fclose(file);
    return size > 0;
}

/* Lower *bytes to the number in a file; "max" and what is no number are none.
 */
static void lower_to_file(const char *path, uint64_t *bytes)
{
    char text[64];
    char *end;
    if (!read_text(path, text, sizeof(text))) {
        return;
    }
    uint64_t limit = strtoull(text, &end, 10);
    if (end != text && limit > 0) {
        *bytes = min_u64(*bytes, limit);
    }
}

/* Lower *bytes to the limits of group `name` ("/a/b") and those above it. */
static void lower_to_group(const char *hierarchy, const char *file, char *name,
                           uint64_t *bytes)
{
    for (;;) {
        char path[2 * PATH_BYTES];
        int wrote =
            snprintf(path, sizeof(path), "%s%s/%s", hierarchy, name, file);
        if (wrote > 0 && (size_t)wrote < sizeof(path)) {
            lower_to_file(path, bytes);
        }
        char *slash = strrchr(name, '/');
        if (!slash) {
            return;
        }
        *slash = '\0';
    }
}

/* True if `list`, separated by commas, has the word. */
static bool has_word(const char *list, size_t size, const char *word)
{
    size_t length = strlen(word);
    for (size_t at = 0; at + length <= size; at++) {
        if ((at == 0 || list[at - 1] == ',') &&
            (at + length == size || list[at + length] == ',') &&
            memcmp(list + at, word, length) == 0) {
            return true;
        }
    }
    return false;
}

/* A line of /proc/self/cgroup is "4:memory:/name", of version 2 "0::/name". */
static void lower_to_line(const char *root, char *line, uint64_t *bytes)
{
    char hierarchy[PATH_BYTES];
    char *list = strchr(line, ':');
    char *name = list ? strchr(list + 1, ':') : NULL;
    if (!name || name[1] != '/') {
        return;
    }
    list++;
    size_t size = (size_t)(name - list);
    name++;
    if (size == 0) {
        snprintf(hierarchy, sizeof(hierarchy), "%s/sys/fs/cgroup", root);
        lower_to_group(hierarchy, "memory.max", name, bytes);
    } else if (has_word(list, size, "memory")) {
        snprintf(hierarchy, sizeof(hierarchy), "%s/sys/fs/cgroup/memory", root);
        lower_to_group(hierarchy, "memory.limit_in_bytes", name, bytes);
    }
}

uint64_t sys_memory_of_groups(const char *root)
{
    char text[FILE_BYTES];
    char path[PATH_BYTES];
    uint64_t bytes = UINT64_MAX;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (!read_text(path, text, sizeof(text))) {
        return UINT64_MAX;
    }
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
        }
        lower_to_line(root, line, &bytes);
        line = end ? end + 1 : NULL;
    }
    return bytes;
}

uint64_t sys_memory(void)
{
    uint64_t bytes = sys_memory_of_groups("");
    const int limits[] = {RLIMIT_DATA,
#ifdef RLIMIT_AS
                          RLIMIT_AS
#endif
    };
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct rlimit limit;
        if (getrlimit(limits[i], &limit) == 0 &&
            limit.rlim_cur != RLIM_INFINITY) {
            bytes = min_u64(bytes, limit.rlim_cur);
        }
    }
#ifdef _SC_PHYS_PAGES
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page_bytes > 0) {
        bytes = min_u64(bytes, (uint64_t)pages * (uint64_t)page_bytes);
    }
#endif
    /* A process of 32 bits addresses no more, whatever the machine has. */
    return min_u64(bytes, SIZE_MAX / 2);
}
