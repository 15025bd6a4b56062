/* output.h -- bytes to stderr without ever waiting for whoever reads them.
 *
 * The daemon has one thread: a write(2) to a full pipe, or to a terminal that
 * Ctrl-S has stopped, would stop the node. O_NONBLOCK is a property of the open
 * file, which the shell and other processes share, so it is not set on stderr:
 *
 *     pipe, terminal   opened a second time, through /proc, and only the new
 *                      open file does not block (Linux)
 *     socket           send(2) with MSG_DONTWAIT
 *     regular file     written directly. It blocks while its disk does
 *     else             poll(2) first, then at most one piece that has room
 *                      where poll reports any. Known limit: another process
 *                      that writes to the same pipe may take that room in
 *                      between
 *
 * What has no room waits in OUTPUT_QUEUE_BYTES; a caller's bytes are taken
 * whole or not at all, and leave in order. */
#ifndef CRAFTD_BASE_OUTPUT_H
#define CRAFTD_BASE_OUTPUT_H

#include "base/base.h"

enum { OUTPUT_QUEUE_BYTES = 16384 };

/* From now on nothing waits; before, output_write() is write(2). Looks at what
 * stderr is at the moment; may be called again. */
void output_open(void);

/* Write or queue `size` bytes, at most OUTPUT_QUEUE_BYTES. False: there is no
 * room, and nothing was taken. True as well when nobody can read them any more
 * (EPIPE, EBADF, EIO): there is nobody to miss them. */
bool output_write(const char *text, size_t size);

/* Write what is queued, as far as there is room. True when nothing is left. */
bool output_flush(void);
bool output_is_empty(void);

/* The same for the end of the process: waits for room, `wait_ms` at most. */
void output_finish(int wait_ms);

#endif
