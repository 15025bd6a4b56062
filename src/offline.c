/* offline.c -- the sub-commands craftd recover and craftd restore FILE DIR. */
#include "offline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/text.h"
#include "client/help.h"
#include "config.h"
#include "host.h"
#include "privileges.h"

enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_DATA = 4 };

static void print_page(FILE *stream, enum help_page page)
{
    struct buf pages = {0};
    fputs(client_page((int)page, &pages), stream);
    buf_free(&pages);
}

/* Parses argv as a command line of the daemon, without the first `own` words
 * behind the program's name. Returns an exit code. */
static int parse(int argc, char **argv, int own, struct config *config)
{
    char why[256] = "see craftd --help";
    argv[own] = argv[0];
    switch (config_parse(argc - own, argv + own, config, why, sizeof(why))) {
    case CONFIG_RUN:
        break;
    case CONFIG_HELP:
    case CONFIG_VERSION:
    case CONFIG_WRONG:
        fprintf(stderr, "craftd: %s\n", why);
        return EXIT_USAGE;
    }
    if (config->inmem) {
        fprintf(stderr,
                "craftd: --inmem: this command needs a data directory\n");
        return EXIT_USAGE;
    }
    log_set_level(config->log_level);
    log_set_json(config->log_json);
    return 0;
}

/* Checks that `path` exists and is a directory or a file, as requested, before
 * anything is created. False: the reason was printed. */
static bool path_exists(const char *path, bool is_directory)
{
    struct stat found;
    const char *why = NULL;
    if (stat(path, &found) != 0) {
        why = strerror(errno);
    } else if (is_directory && !S_ISDIR(found.st_mode)) {
        why = "is not a directory";
    } else if (!is_directory && S_ISDIR(found.st_mode)) {
        why = "is a directory, not a backup";
    }
    if (why) {
        fprintf(stderr, "craftd: %s: %s\n", path, why);
    }
    return !why;
}

static int report(const struct config *config, enum err err,
                  const struct node_new_cluster *created, const char *what)
{
    if (err) {
        fprintf(stderr, "craftd: %s: not %s: %s\n", config->dir, what,
                err_name(err));
        return err == ERR_CORRUPT ? EXIT_DATA : EXIT_RUNTIME;
    }
    printf("%s: %s, %llu keys up to index %llu\n", config->dir, what,
           (unsigned long long)created->keys,
           (unsigned long long)created->index);
    printf("new cluster of one: node %s, cluster ", created->name);
    for (size_t i = 0; i < sizeof(created->cluster); i++) {
        printf("%02x", created->cluster[i]);
    }
    printf("\n");
    return 0;
}

static struct node_options options_of(const struct config *config)
{
    return (struct node_options){.name = config->id,
                                 .raft_addr = config->raft_adv,
                                 .http_addr = config->http_adv};
}

/* Removes the flag `flag` from the words behind the command. True: it was
 * there. */
static bool take_word(int *argc, char **argv, const char *flag)
{
    bool found = false;
    int kept = 2;
    for (int i = 2; i < *argc; i++) {
        const char *word = argv[i];
        bool is_it =
            word[0] == '-' && strcmp(word + 1 + (word[1] == '-'), flag) == 0;
        found = found || is_it;
        if (!is_it) {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return found;
}

/* As the node would with these flags: what is made here is to be its user's.
 * False: logged. */
static bool become_user(const struct config *config)
{
    struct privileges privileges;
    host_await_entropy();
    return privileges_init(&privileges, config) &&
           privileges_make_directories(&privileges) &&
           privileges_drop_user(&privileges);
}

/* The files may come from a stranger: what goes wrong while they are read must
 * not reach anything else. */
static void confine(const struct config *config, const char *file)
{
    if (config->sandbox) {
        privileges_confine_offline(config->dir, file);
    }
}

static int recover(int argc, char **argv)
{
    struct config config;
    struct fs *fs = NULL;
    struct node_new_cluster created = {0};
    bool without_log = take_word(&argc, argv, "without-log");
    int code = parse(argc, argv, 1, &config);
    if (code) {
        return code;
    }
    if (!path_exists(config.dir, true) || !become_user(&config)) {
        return EXIT_RUNTIME;
    }
    enum err err = fs_posix_new(config.dir, &fs);
    if (!err) {
        struct node_env env = host_env(fs);
        struct node_options options = options_of(&config);
        confine(&config, NULL);
        err = node_recover(&options, &env, without_log, &created);
        fs_posix_free(fs);
    }
    return report(&config, err, &created, "recovered");
}

/* Splits a path into its directory, whose fs is opened, and a name. False: it
 * is too long. */
static bool split_path(const char *path, char dir[FS_PATH_BYTES],
                       const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (strlen(path) >= FS_PATH_BYTES) {
        return false;
    }
    if (!slash) {
        strcpy(dir, ".");
        return true;
    }
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    memcpy(dir, path, size);
    dir[size] = '\0';
    return true;
}

static int restore(int argc, char **argv)
{
    struct config config;
    struct fs *fs = NULL;
    struct fs *from = NULL;
    struct node_new_cluster created = {0};
    char dir[FS_PATH_BYTES];
    /* When the flags come first, DIR is one of them (--dir), and FILE last. */
    bool last = argc > 3 && argv[2][0] == '-';
    const char *file = argc < 3 ? "-" : last ? argv[argc - 1] : argv[2];
    if (file[0] == '-' || strlen(file) >= sizeof(dir)) {
        print_page(stderr, help_restore_offline);
        return EXIT_USAGE;
    }
    int code = last ? parse(argc - 1, argv, 1, &config)
                    : parse(argc, argv, 2, &config);
    if (code) {
        return code;
    }
    if (!path_exists(file, false) || !become_user(&config)) {
        return EXIT_RUNTIME;
    }
    const char *path = file;
    if (!split_path(path, dir, &file)) {
        return EXIT_USAGE; /* Its length has been checked. */
    }
    enum err err = fs_posix_new(config.dir, &fs);
    if (!err) {
        err = fs_posix_new(dir, &from);
    }
    if (!err) {
        struct node_env env = host_env(fs);
        struct node_options options = options_of(&config);
        confine(&config, path);
        err = node_restore(&options, &env, from, file, &created);
    }
    fs_posix_free(from);
    fs_posix_free(fs);
    return report(&config, err, &created, "restored");
}

/* ---- backup --show ---- */

/* The cluster is in the name alone: craftd-CLUSTER-INDEX.db. */
static void print_cluster(const char *name)
{
    static const char prefix[] = "craftd-";
    enum { PREFIX = sizeof(prefix) - 1, DIGITS = 8 };
    if (strncmp(name, prefix, PREFIX) == 0 &&
        strspn(name + PREFIX, "0123456789abcdef") == DIGITS &&
        name[PREFIX + DIGITS] == '-') {
        printf("cluster\t%.*s\n", (int)DIGITS, name + PREFIX);
    } else {
        printf("cluster\t-\n");
    }
}

static void print_time(const struct stat *file)
{
    time_t time = file->st_mtime;
    struct text_date date = text_date(time < 0 ? 0 : (uint64_t)time);
    printf("time\t%04u-%02u-%02uT%02u:%02u:%02uZ\n", date.year, date.month + 1,
           date.day, date.hour, date.minute, date.second);
}

static int show(int argc, char **argv)
{
    char dir[FS_PATH_BYTES];
    struct stat found;
    struct node_backup backup = {0};
    const char *why = "";
    const char *name;
    struct fs *from = NULL;
    (void)take_word(&argc, argv, "show");
    const char *path = argc == 3 ? argv[2] : "";
    if (path[0] == '\0' || path[0] == '-' || !split_path(path, dir, &name)) {
        fprintf(stderr, "craftd: backup --show FILE: one file is needed; see "
                        "craftd help backup\n");
        return EXIT_USAGE;
    }
    if (!path_exists(path, false)) {
        return EXIT_RUNTIME;
    }
    log_set_level(LOG_OFF); /* `why` says it. */
    enum err err = fs_posix_new(dir, &from);
    privileges_confine_offline(NULL, path);
    if (!err) {
        err = node_check_backup(from, name, &backup, &why);
    } else {
        why = err_name(err);
    }
    fs_posix_free(from);
    if (backup.index > 0) {
        printf("index\t%llu\nkeys\t%llu\n", (unsigned long long)backup.index,
               (unsigned long long)backup.keys);
    }
    print_cluster(name);
    if (stat(path, &found) == 0) {
        printf("size\t%llu\n", (unsigned long long)found.st_size);
        print_time(&found);
    }
    printf("whole\t%s\n", err ? "no" : "yes");
    if (err) {
        fflush(stdout);
        fprintf(stderr, "craftd: %s: %s\n", path, why);
    }
    return !err                                       ? 0
           : err == ERR_CORRUPT || err == ERR_VERSION ? EXIT_DATA
                                                      : EXIT_RUNTIME;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-help") == 0) {
            return true;
        }
    }
    return false;
}

/* restore --addr is a command of the client: it talks to a running cluster. */
static bool names_servers(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        const char *name =
            word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
        if (name != word &&
            (strcmp(name, "addr") == 0 || strncmp(name, "addr=", 5) == 0)) {
            return true;
        }
    }
    return false;
}

static bool has_flag(int argc, char **argv, const char *flag)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        if (word[0] == '-' && strcmp(word + 1 + (word[1] == '-'), flag) == 0) {
            return true;
        }
    }
    return false;
}

int offline_main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum help_page help;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"recover", help_recover, recover},
        {"restore", help_restore_offline, restore},
    };
    if (argc > 1 && strcmp(argv[1], "backup") == 0 &&
        has_flag(argc, argv, "show") && !wants_help(argc, argv)) {
        return show(argc, argv);
    }
    for (size_t i = 0; i < ARRAY_COUNT(commands) && argc > 1; i++) {
        if (commands[i].run == restore && names_servers(argc, argv)) {
            continue;
        }
        if (strcmp(argv[1], commands[i].name) == 0) {
            if (wants_help(argc, argv)) {
                print_page(stdout, commands[i].help);
                return 0;
            }
            return commands[i].run(argc, argv);
        }
    }
    return -1;
}
