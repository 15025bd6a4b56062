/* log_format.h -- formats the fields of a log line, so that no argument can
 * become a field of its own.
 *
 * A format is literal text and conversions of printf(3) without `*`. The text
 * that %s inserts is data:
 *   - between double quotes of the format, `"` and `\` get a `\` before them;
 *   - as a whole value (key=%s) it is quoted if it is empty or has blanks,
 *     quotes or backslashes;
 *   - elsewhere blanks, quotes and backslashes become '?'.
 * It is cut at LOG_VALUE_BYTES. A quote that is open where the output is cut is
 * closed, so that every field can be parsed. */
#ifndef CRAFTD_BASE_LOG_FORMAT_H
#define CRAFTD_BASE_LOG_FORMAT_H

#include <stdarg.h>

#include "base/base.h"

enum { LOG_VALUE_BYTES = 512 };

/* Write the fields to `out`, with a final 0, cut at `room` bytes (at least
 * 8). */
void log_format(char *out, size_t room, const char *format, va_list args);

#endif
