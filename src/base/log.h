/* log.h -- one line an event, on stderr.
 *
 *     2026-01-31T12:00:00.123Z info  n1 leader term=7 voters=3
 *
 * The event is a word or a few joined by '-'; the rest is key=value, values
 * with blanks in double quotes, in which `"` and `\` have a `\` before them.
 * The format writes the quotes of a sentence; what %s inserts stays one value,
 * whatever is in it (log_format.h). The fields are cut at LOG_LINE_BYTES;
 * control characters and what is not UTF-8 are shown as '?': no peer or client
 * can forge a line, or a field. As JSON, on request:
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

/* From now on no line blocks on the reader of stderr. For the daemon. */
void log_open(void);
/* True while lines, or the number of dropped lines, wait for room. */
bool log_is_pending(void);
/* Write them, as far as there is room. Never waits. */
void log_flush(void);
/* Before the process ends: give the reader LOG_FINISH_MS at most. */
void log_finish(void);

/* For lines that others can provoke: one in `every_ms`. True: log now, and say
 * that it stands for `*count` events. False: it was counted. After a while
 * without events log_limit_due() says that some were counted and not logged. */
struct log_limit {
    uint64_t count;   /* Not logged. */
    uint64_t next_ms; /* Not before; 0: at once. */
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

void log_line(enum log_level level, const char *event, const char *format, ...)
    PRINTF(3, 4);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
