/* account.c -- see account.h. /etc/passwd and /etc/group are read here
 * (passwd(5), group(5)): getpwnam() loads libraries for other sources, which
 * ends a static program by SIGSEGV when they are not of the same build. */
#ifdef __linux__
#define _GNU_SOURCE /* O_PATH, AT_EMPTY_PATH */
#endif
#include "sys/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIELDS_MAX = 7, LINE_BYTES = 4096, GROUPS_MAX = 64 };

/* Fields of a line, separated by colons; lines with fewer have empty ones. */
struct line {
    char text[LINE_BYTES];
    const char *fields[FIELDS_MAX];
};

static bool read_line(FILE *file, struct line *line)
{
    static const char nothing[] = "";
    do {
        if (!fgets(line->text, sizeof(line->text), file)) {
            return false;
        }
    } while (line->text[0] == '#');
    line->text[strcspn(line->text, "\n")] = '\0';
    char *at = line->text;
    for (size_t i = 0; i < FIELDS_MAX; i++) {
        line->fields[i] = at ? at : nothing;
        at = at ? strchr(at, ':') : NULL;
        if (at) {
            *at++ = '\0';
        }
    }
    return true;
}

static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* UINT32_MAX is nobody's: "leave it as it is" to setuid(2) and chown(2). */
    if (text[0] < '0' || text[0] > '9' || *end || errno ||
        value >= UINT32_MAX) {
        return false;
    }
    *number = (uint32_t)value;
    return true;
}

/* Find the line of `path` whose first field is `name`, or else whose third is
 * `number` (UINT32_MAX: none). */
static bool find_entry(const char *path, const char *name, uint32_t number,
                       struct line *line)
{
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && !found && read_line(file, line)) {
        uint32_t own;
        found = strcmp(line->fields[0], name) == 0 ||
                (number != UINT32_MAX && parse_number(line->fields[2], &own) &&
                 own == number);
    }
    if (file) {
        (void)fclose(file);
    }
    return found;
}

static bool find_user(const char *name, struct sys_user *user)
{
    struct line line;
    uint32_t number = UINT32_MAX;
    bool is_number = parse_number(name, &number);
    if (find_entry("/etc/passwd", name, number, &line) &&
        parse_number(line.fields[2], &user->uid) &&
        parse_number(line.fields[3], &user->gid)) {
        (void)snprintf(user->name, sizeof(user->name), "%.63s", line.fields[0]);
        return true;
    }
    user->uid = number;
    return is_number;
}

static bool find_group(const char *name, uint32_t *gid)
{
    struct line line;
    return (find_entry("/etc/group", name, UINT32_MAX, &line) &&
            parse_number(line.fields[2], gid)) ||
           parse_number(name, gid);
}

bool sys_user_find(const char *text, struct sys_user *user, char *why,
                   size_t why_size)
{
    char name[SYS_USER_NAME_BYTES];
    const char *colon = strchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : strlen(text);
    struct sys_user found = {.name = ""};
    if (size == 0 || size >= sizeof(name)) {
        (void)snprintf(why, why_size, "\"%s\" is not NAME or NAME:GROUP", text);
        return false;
    }
    memcpy(name, text, size);
    name[size] = '\0';
    if (!find_user(name, &found)) {
        (void)snprintf(why, why_size, "there is no user %s in /etc/passwd",
                       name);
        return false;
    }
    if (!colon && found.name[0] == '\0') {
        (void)snprintf(why, why_size,
                       "user %s is not in /etc/passwd, so the group must be "
                       "given: %s:GROUP",
                       name, name);
        return false;
    }
    if (colon && !find_group(colon + 1, &found.gid)) {
        (void)snprintf(why, why_size, "there is no group %s in /etc/group",
                       colon + 1);
        return false;
    }
    *user = found;
    return true;
}

bool sys_user_is_possible(const struct sys_user *user)
{
    return geteuid() == 0 || (geteuid() == user->uid && getuid() == user->uid);
}

/* A list with commas. */
static bool is_in_list(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == size && memcmp(at, name, size) == 0) {
            return size > 0;
        }
    }
    return false;
}

/* The group, and those that list the user as a member. */
static bool set_groups(const struct sys_user *user)
{
    gid_t groups[GROUPS_MAX] = {user->gid};
    size_t count = 1;
    struct line line;
    uint32_t gid;
    FILE *file = fopen("/etc/group", "re");
    while (file && count < GROUPS_MAX && read_line(file, &line)) {
        if (is_in_list(line.fields[3], user->name) &&
            parse_number(line.fields[2], &gid) && gid != user->gid) {
            groups[count++] = gid;
        }
    }
    if (file) {
        (void)fclose(file);
    }
#ifdef __linux__
    return setgroups(count, groups) == 0;
#else
    return setgroups((int)count, groups) == 0;
#endif
}

bool sys_user_become(const struct sys_user *user, char *why, size_t why_size)
{
    if (geteuid() != 0 && sys_user_is_possible(user)) {
        return true;
    }
    /* Groups and group first: they need root. */
    if (!set_groups(user) || setgid(user->gid) != 0 || setuid(user->uid) != 0) {
        (void)snprintf(why, why_size, "cannot become user %u, group %u: %s",
                       (unsigned)user->uid, (unsigned)user->gid,
                       strerror(errno));
        return false;
    }
    /* There is no way back. */
    must(user->uid == 0 || (setuid(0) != 0 && seteuid(0) != 0));
    must(getuid() == user->uid && geteuid() == user->uid);
    must(getgid() == user->gid && getegid() == user->gid);
    return true;
}

/* ---- a socket ---- */

#if defined(O_PATH) && defined(AT_EMPTY_PATH)

/* The descriptor is of the file that was looked at, whatever becomes of its
 * name. */
bool sys_user_give_socket(const struct sys_user *user, const char *path)
{
    struct stat file;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &file) == 0;
    if (good &&
        (!S_ISSOCK(file.st_mode) || file.st_uid != 0 || file.st_nlink != 1)) {
        errno = EPERM;
        good = false;
    }
    good = good && fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) == 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return good;
}

#else

/* Nothing can hold on to a socket here: its name is looked up twice. */
bool sys_user_give_socket(const struct sys_user *user, const char *path)
{
    struct stat file;
    if (lstat(path, &file) != 0) {
        return false;
    }
    if (!S_ISSOCK(file.st_mode) || file.st_uid != 0 || file.st_nlink != 1) {
        errno = EPERM;
        return false;
    }
    return lchown(path, user->uid, user->gid) == 0;
}

#endif
