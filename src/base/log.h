/* log.h -- one line per event, on stderr.
 *
 *     2026-01-31T12:00:00.123Z info  n1 leader term=7 voters=3
 *
 * The event is one word, or several joined by '-'. Fields are key=value; a
 * value with blanks is in double quotes, with a `\` before each `"` and `\` in
 * it. The format has the quotes of a sentence; the text that %s inserts remains
 * one value, whatever it contains (log_format.h). The fields are cut at
 * LOG_LINE_BYTES; control characters and bytes that are not UTF-8 become '?'.
 * So no peer or client can forge a line or a field. With log_set_json():
 *
 *     {"time":"2026-01-31T12:00:00.123Z","level":"info","node":"n1",
 *      "event":"leader","term":7,"voters":3}                 (in one line)
 *
 * After log_open() a line never blocks (output.h). Lines that do not fit into
 * the queue are counted, and `log-dropped lines=N` follows when they fit again.
 */
#ifndef CRAFTD_BASE_LOG_H
#define CRAFTD_BASE_LOG_H

#include "base/base.h"

enum {
    LOG_LINE_BYTES = 1024,
    LOG_RETRY_MS = 250,  /* Interval of log_flush() while lines are pending. */
    LOG_FINISH_MS = 200, /* Longest time that log_finish() waits. */
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Omit lines below `level`. The default is LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* Write each line as a JSON object. */
void log_set_json(bool on);

/* Set the name of the node, which each line shows; its first 71 bytes are
 * copied. */
void log_set_node(const char *name);

/* Parse "debug", "info", "warn", "error" or "off". False: it is none of them,
 * and *level is unchanged. */
bool log_level_parse(const char *text, enum log_level *level);

/* Never block on the reader of stderr from now on. For the daemon. */
void log_open(void);
/* True while lines, or the count of dropped lines, wait to be written. */
bool log_is_pending(void);
/* Write them, as far as stderr accepts bytes. Never blocks after log_open(). */
void log_flush(void);
/* Write them before the process ends; waits LOG_FINISH_MS at most. */
void log_finish(void);

/* A limit on the rate of a log line that clients or peers can cause: one per
 * `every_ms`. True: log it now, as `*count` events. False: the event was
 * counted. log_limit_due(): events were counted and not logged, and the time is
 * over. A zero-initialised limit logs the first event. */
struct log_limit {
    uint64_t count;   /* Events since the last line. */
    uint64_t next_ms; /* Earliest time of the next line. */
};
static inline bool log_limit(struct log_limit *limit, uint64_t now_ms,
                             uint64_t every_ms, uint64_t *count)
{
    *count = ++limit->count;
    if (now_ms < limit->next_ms) {
        return false;
    }
    *limit = (struct log_limit){.next_ms = now_ms + every_ms};
    return true;
}
static inline bool log_limit_due(const struct log_limit *limit, uint64_t now_ms)
{
    return limit->count > 0 && now_ms >= limit->next_ms;
}

/* Write a line; see the head of this file. `event` is a constant. */
void log_line(enum log_level level, const char *event, const char *format, ...)
    PRINTF(3, 4);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
