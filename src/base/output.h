/* output.h -- writes to stderr without blocking.
 *
 * The daemon has one thread: a write(2) to a full pipe, or to a terminal that
 * Ctrl-S has stopped, would stop the node. O_NONBLOCK is a property of the open
 * file, which the shell and other processes share, so it is not set on stderr.
 * Instead, by the type of the file:
 *
 *     pipe, terminal   is opened a second time, through /proc; that open file
 *                      does not block (Linux)
 *     socket           send(2) with MSG_DONTWAIT
 *     other            write(2), which for a regular file blocks while its
 *                      disk does
 *
 * Where a pipe or terminal cannot be opened again, poll(2) precedes a write(2)
 * of few enough bytes for a writable one. Known limit: another process that
 * writes to it in between may make that block.
 *
 * Bytes that are not accepted wait in a queue of OUTPUT_QUEUE_BYTES. The bytes
 * of a call are taken whole or not at all, and are written in order. */
#ifndef CRAFTD_BASE_OUTPUT_H
#define CRAFTD_BASE_OUTPUT_H

#include "base/base.h"

enum { OUTPUT_QUEUE_BYTES = 16384 };

/* Write as described above from now on: before this call output_write() is
 * write(2). It determines the type of stderr; call it again when stderr was
 * replaced. Queued bytes are dropped. */
void output_open(void);

/* Write or queue `size` bytes, at most OUTPUT_QUEUE_BYTES. False: the queue has
 * no space for them, or the disk of a regular file is full; none was taken.
 * True as well when they are lost since stderr has failed or has no reader
 * (EPIPE, EBADF, EIO). */
bool output_write(const char *text, size_t size);

/* Write queued bytes, as far as stderr accepts them. True: the queue is
 * empty. */
bool output_flush(void);
bool output_is_empty(void);

/* The same before the process ends: wait until the queue is empty, for at most
 * `wait_ms`. */
void output_finish(int wait_ms);

#endif
