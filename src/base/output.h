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
 *     regular file     write(2), which blocks while its disk does
 *     other            poll(2), then a write(2) of the bytes that a writable
 *                      pipe or terminal accepts. Known limit: another process
 *                      that writes to it in between may make that block
 *
 * Bytes that are not accepted wait in a queue of OUTPUT_QUEUE_BYTES. The bytes
 * of a call are taken whole or not at all, and are written in order. */
#ifndef CRAFTD_BASE_OUTPUT_H
#define CRAFTD_BASE_OUTPUT_H

#include "base/base.h"

enum { OUTPUT_QUEUE_BYTES = 16384 };

/* Stop to block: before this call output_write() is write(2). It determines the
 * type of stderr; call it again when stderr was replaced. */
void output_open(void);

/* Write or queue `size` bytes, at most OUTPUT_QUEUE_BYTES. False: the queue has
 * no space for them, and none was taken. True as well if there is no reader any
 * more (EPIPE, EBADF, EIO). */
bool output_write(const char *text, size_t size);

/* Write queued bytes, as far as stderr accepts them. True: the queue is
 * empty. */
bool output_flush(void);
bool output_is_empty(void);

/* The same before the process ends: waits until the queue is empty, `wait_ms`
 * at most. */
void output_finish(int wait_ms);

#endif
