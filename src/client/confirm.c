/* confirm.c -- asks before something that cannot be undone. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "client/client_internal.h"

/* True for "y" and "yes", in any case. */
static bool is_yes(const char *line)
{
    size_t size = strcspn(line, "\r\n");
    static const char yes[] = "yes";
    if (size != 1 && size != sizeof(yes) - 1) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((line[i] | 0x20) != yes[i]) {
            return false;
        }
    }
    return true;
}

int client_confirm(const struct options *options, const char *format, ...)
{
    char question[512];
    char line[16] = "";
    va_list args;
    if (options->yes) {
        return EXIT_DONE;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        client_say(options, "there is no terminal to ask on: use --yes");
        return EXIT_USAGE;
    }
    va_start(args, format);
    (void)vsnprintf(question, sizeof(question), format, args);
    va_end(args);
    for (char *at = question; *at; at++) {
        *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
    }
    (void)fprintf(stderr, "craftd: %s: %s [y/N] ", options->command->name,
                  question);
    (void)fflush(stderr);
    bool any = fgets(line, sizeof(line), stdin) != NULL;
    if (!any) {
        (void)fputc('\n', stderr); /* Ctrl-D leaves the cursor there. */
    }
    if (any && is_yes(line)) {
        return EXIT_DONE;
    }
    client_say(options, "nothing was changed");
    return EXIT_FAILED;
}
