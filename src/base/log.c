/* log.c -- lines to stderr, each with one write(2). */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum log_level level_min = LOG_INFO;
static char node_name[72] = "-";

static const char *const level_names[] = {"debug", "info", "warn", "error",
                                          "off"};

void log_set_level(enum log_level level)
{
    level_min = level;
}

enum log_level log_level(void)
{
    return level_min;
}

void log_set_node(const char *name)
{
    snprintf(node_name, sizeof(node_name), "%s", name);
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (level < level_min) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);

    char line[LOG_LINE_BYTES];
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    int wrote =
        snprintf(line + used, sizeof(line) - used, ".%03ldZ %-5s %s %s ",
                 now.tv_nsec / 1000000, level_names[level], node_name, event);
    used = min_size(used + (size_t)(wrote > 0 ? wrote : 0), sizeof(line) - 1);

    va_list args;
    va_start(args, format);
    wrote = vsnprintf(line + used, sizeof(line) - used, format, args);
    va_end(args);
    used = min_size(used + (size_t)(wrote > 0 ? wrote : 0), sizeof(line) - 1);

    for (size_t i = 0; i < used; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f) {
            line[i] = '?';
        }
    }
    while (used > 0 && line[used - 1] == ' ') {
        used--;
    }
    line[used++] = '\n';
    /* A log that cannot be written is no reason to stop. */
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
}
