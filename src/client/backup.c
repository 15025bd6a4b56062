/* backup.c -- GET /backup into a file, completely or not at all. */
#include <unistd.h>

#include "client/client_internal.h"
#include "client/progress_internal.h"

static int download(const struct options *options, int fd)
{
    struct request request;
    struct progress progress;
    progress_start(&progress, options, NULL, 0);
    request_init(&request, "GET", "/backup");
    request_add_level(&request, options);
    request.out = fd;
    request.out_type = "application/vnd.sqlite3";
    request.progress = &progress;
    int code = request_run(&request, options);
    progress_end();
    request_free(&request);
    return code;
}

int client_run_backup(const struct options *options)
{
    const char *path = options->words[0];
    must(!options->show);
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO)) {
        client_say(options,
                   "stdout is a terminal, and a backup is binary: name a "
                   "file, or use a pipe (craftd backup - | gzip "
                   ">backup.db.gz)");
        return EXIT_USAGE;
    }
    return client_write_whole_file(options, path, download);
}
