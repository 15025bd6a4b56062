/* log.h -- one line an event, on stderr.
 *
 *     2026-01-31T12:00:00.123Z info  n1 leader term=7 voters=3
 *
 * The event is a word or a few joined by '-'; the rest is key=value, values
 * with blanks in double quotes (the caller writes them). The fields are cut at
 * LOG_LINE_BYTES; control characters and what is not UTF-8 are shown as '?', so
 * that no peer or client can forge a line. As JSON, on request:
 *
 *     {"time":"2026-01-31T12:00:00.123Z","level":"info","node":"n1",
 *      "event":"leader","term":7,"voters":3}                 (in one line)
 *
 * After log_open() a line never waits for its reader (output.h). Lines without
 * room are counted, and `log-dropped lines=N` follows once there is room. */
#ifndef CRAFTD_BASE_LOG_H
#define CRAFTD_BASE_LOG_H

#include "base/base.h"

enum {
    LOG_LINE_BYTES = 1024,
    LOG_RETRY_MS = 250, /* How often to call log_flush() while pending. */
    LOG_FINISH_MS = 200,
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Lines under `level` are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* Each line one JSON object. */
void log_set_json(bool on);

/* Shown in each line after the level; copied. */
void log_set_node(const char *name);

/* Read "debug", "info", "warn", "error" or "off". False when it is none. */
bool log_level_parse(const char *text, enum log_level *level);

/* From now on no line waits for whoever reads stderr: for the daemon. */
void log_open(void);
/* Whether lines, or the number of those dropped, wait for room. */
bool log_is_pending(void);
/* Write them, as far as there is room. Never waits. */
void log_flush(void);
/* Before the process ends: give the reader LOG_FINISH_MS at most. */
void log_finish(void);

void log_line(enum log_level level, const char *event, const char *format, ...)
    PRINTF(3, 4);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
