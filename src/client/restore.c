/* restore.c -- restore --addr: sends a backup to a running cluster. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client_internal.h"
#include "client/progress_internal.h"

/* The time of a restore depends on the size of the file and the load of the
 * cluster, which has a time limit of its own for each step. */
enum { ANSWER_MS = 3600 * 1000 };

static int upload(const struct options *options, int fd, uint64_t bytes)
{
    struct request request;
    struct progress progress;
    progress_start(&progress, options, NULL, bytes);
    request_init(&request, "POST", "/restore");
    request.changes = true;
    request.in = fd;
    request.in_bytes = bytes;
    request.answer_ms = ANSWER_MS;
    request.progress = &progress;
    int code = request_run(&request, options);
    progress_end();
    if (!code) {
        code = client_print_lines(options, buf_bytes(&request.answer_body));
    }
    request_free(&request);
    return code;
}

int client_run_restore(const struct options *options)
{
    struct stat file;
    const char *path = options->words[0];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0) {
        client_say(options, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return EXIT_FAILED;
    }
    int code = EXIT_FAILED;
    if (S_ISREG(file.st_mode)) {
        code = upload(options, fd, (uint64_t)file.st_size);
    } else {
        client_say(options, "%s: is no regular file", path);
    }
    close(fd);
    return code;
}
