/* dispatch.c -- finds out whether argv is a sub-command's or the daemon's. */
#include "dispatch.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "client/client.h"
#include "config.h"
#include "offline.h"

enum { EXIT_USAGE = 2 };

/* A first word that is not a command is the directory of a new node or a
 * mistyped command, which must not start a server. It is taken for a directory
 * if it has a slash or exists as one. A word after flags is always a directory,
 * as in hraftd's command lines. */
static bool is_mistyped(const char *word)
{
    struct stat file;
    bool is_flag = word[0] == '-' && word[1] != '\0';
    return !is_flag && !strchr(word, '/') &&
           (stat(word, &file) != 0 || !S_ISDIR(file.st_mode));
}

static int explain_mistyped(const char *word)
{
    const char *like = client_command_like(word);
    fprintf(stderr, "craftd: there is no command %s", word);
    if (like) {
        fprintf(stderr, "; did you mean craftd %s?", like);
    }
    fprintf(stderr,
            " (for a node in a new directory of that name: craftd ./%s or "
            "--dir %s; commands: craftd help)\n",
            word, word);
    return EXIT_USAGE;
}

int dispatch_command(int argc, char **argv)
{
    bool is_help = argc == 3 && strcmp(argv[1], "help") == 0;
    /* "help NAME" becomes "NAME --help", since each command has its own
     * page. */
    if (is_help) {
        static char help[] = "--help";
        char *words[] = {argv[0], argv[2], help, NULL};
        int code = offline_main(3, words);
        if (code >= 0) {
            return code;
        }
    }
    int code = offline_main(argc, argv);
    if (code < 0) {
        code = client_main(argc, argv, CRAFTD_VERSION);
    }
    if (code < 0 && argc > 1 && is_mistyped(argv[1])) {
        code = explain_mistyped(argv[1]);
    }
    return code;
}
