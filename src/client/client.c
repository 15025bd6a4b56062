/* client.c -- the table of commands. */
#include <stdio.h>

#include "base/inflate.h"
#include "base/text.h"
#include "client/client_internal.h"
#include "sys/sys.h"

#define REACH "addr timeout netrc "

static const struct command commands[] = {
    {"get", client_run_get, 1, 1, REACH "meta stale level", help_get},
    {"put", client_run_put, 1, 2, REACH "create if-index print-index",
     help_put},
    {"del", client_run_del, 1, 1, REACH "if-index prefix yes quiet", help_del},
    {"ls", client_run_ls, 0, 1, REACH "keys json limit stale level", help_ls},
    {"txn", client_run_txn, 0, 1, REACH, help_txn},
    {"watch", client_run_watch, 0, 1, REACH "key since initial json exec",
     help_watch},
    {"lock", client_run_lock, 1, -1, REACH "ttl wait", help_lock},
    {"elect", client_run_elect, 1, 2, REACH "ttl", help_elect},
    {"status", client_run_status, 0, 0, REACH "all json watch", help_status},
    {"check", client_run_check, 0, 0, REACH, help_check},
    {"nodes", client_run_nodes, 0, 2, REACH "json yes", help_nodes},
    {"leader", client_run_leader, 0, 1, REACH "json", help_leader},
    {"sync", client_run_sync, 0, 0, REACH "all json", help_sync},
    {"snapshot", client_run_snapshot, 0, 0, REACH "json", help_snapshot},
    {"backup", client_run_backup, 1, 1, REACH "stale quiet show", help_backup},
    {"restore", client_run_restore, 1, 1, REACH "quiet", help_restore},
    {"export", client_run_export, 1, 1, REACH "stale quiet", help_export},
    {"import", client_run_import, 1, 1, REACH "from dry-run quiet",
     help_import},
    {"bench", client_run_bench, 0, 1, REACH "conns size time quiet",
     help_bench},
    {"bench-disk", client_run_bench_disk, 1, 1, "time quiet", help_bench_disk},
    {"passwd", client_run_passwd, 1, WORDS_MAX, "rounds", help_passwd},
    {"token", client_run_token, 0, WORDS_MAX, REACH "join", help_token},
    {"keygen", client_run_keygen, 0, 0, "", help_keygen},
    {"version", client_run_version, 0, 0, "", help_version},
    {"help", client_run_help, 0, 1, "", help_help},
};

const struct command *client_command_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The names of these commands in etcdctl, consul, redis-cli and shells. */
static const char *const foreign_names[][2] = {
    {"list", "ls"},         {"set", "put"},        {"delete", "del"},
    {"rm", "del"},          {"read", "get"},       {"write", "put"},
    {"members", "nodes"},   {"peers", "nodes"},    {"member", "nodes"},
    {"subscribe", "watch"}, {"info", "status"},    {"health", "check"},
    {"election", "elect"},  {"campaign", "elect"}, {"flock", "lock"},
};

const char *client_command_like(const char *word)
{
    struct text_nearest nearest = text_nearest_to(bytes_of_string(word));
    for (size_t i = 0; i < ARRAY_COUNT(foreign_names); i++) {
        if (strcmp(word, foreign_names[i][0]) == 0) {
            return foreign_names[i][1];
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        text_nearest_offer(&nearest, bytes_of_string(commands[i].name));
    }
    text_nearest_offer(&nearest, bytes_of_string("recover"));
    /* The names are string literals: their views are terminated. */
    return nearest.best.size > 0 ? (const char *)nearest.best.data : NULL;
}

int client_run_keygen(const struct options *options)
{
    uint8_t key[32]; /* As long as a key of peer/peer.h. */
    struct buf line = {0};
    sys_entropy(key, sizeof(key));
    text_add_hex(&line, key, sizeof(key));
    buf_add_u8(&line, '\n');
    int code = client_print_bytes(options, buf_bytes(&line));
    buf_free(&line);
    return code;
}

int client_run_version(const struct options *options)
{
    struct buf line = {0};
    buf_printf(&line, "craftd %s\n", options->version);
    int code = client_print_bytes(options, buf_bytes(&line));
    buf_free(&line);
    return code;
}

const char *client_page(int page, struct buf *pages)
{
    pages->size = 0;
    must(gunzip(embedded_help, SIZE_MAX, pages) == ERR_OK);
    const char *text = (const char *)pages->data;
    for (; page > 0; page--) {
        text += strlen(text) + 1;
        must(text < (const char *)pages->data + pages->size);
    }
    return text;
}

static int print_page(const struct options *options, int page)
{
    struct buf pages = {0};
    int code =
        client_print_bytes(options, bytes_of_string(client_page(page, &pages)));
    buf_free(&pages);
    return code;
}

int client_run_help(const struct options *options)
{
    if (options->word_count == 0) {
        return print_page(options, help_overview);
    }
    const struct command *command = client_command_named(options->words[0]);
    if (!command) {
        const char *like = client_command_like(options->words[0]);
        client_say(options, "there is no command %s; %s%s", options->words[0],
                   like ? "did you mean craftd help " : "see craftd help",
                   like ? like : "");
        return EXIT_USAGE;
    }
    return print_page(options, command->help);
}

int client_main(int argc, char **argv, const char *version)
{
    char why[256];
    const struct command *command =
        argc > 1 ? client_command_named(argv[1]) : NULL;
    if (!command) {
        return -1;
    }
    struct options options = {.command = command, .version = version};
    if (!options_parse(&options, argc - 2, argv + 2, why, sizeof(why))) {
        client_say(&options, "%s", why);
        return command->run == client_run_check ? CHECK_UNKNOWN : EXIT_USAGE;
    }
    if (options.help) {
        return print_page(&options, command->help);
    }
    return command->run(&options);
}
