/* log_format.h -- the fields of a log line from a format and its arguments, so
 * that no argument can become a field of its own.
 *
 * A format is literal text of ours and conversions of printf(3) without `*`.
 * Text that %s inserts is data: within double quotes of the format `"` and `\`
 * get a
 * `\` before them; as the whole of a bare value (key=%s) it is put in quotes
 * when it is empty or would not stay one value; elsewhere blanks, quotes and
 * backslashes become '?'. Longer text than LOG_VALUE_BYTES is cut, and a quote
 * that is open at the end of the room is closed: every field that is there can
 * be read back. */
#ifndef CRAFTD_BASE_LOG_FORMAT_H
#define CRAFTD_BASE_LOG_FORMAT_H

#include <stdarg.h>

#include "base/base.h"

enum { LOG_VALUE_BYTES = 512 };

/* Terminated; cut at `room`, which is at least 8. */
void log_format(char *out, size_t room, const char *format, va_list args);

#endif
