/* progress_internal.h -- how far a command is, as one line on stderr:
 *
 *     backup: 12.3 MiB of 40.0 MiB, 30%, 10.2 MiB/s, 3 s left
 *
 * Only a terminal gets it, without --quiet, after PROGRESS_FIRST_MS and then
 * once in PROGRESS_PAUSE_MS. It is erased when it ends and before a message of
 * client_say(), so that it leaves nothing behind. One at a time. */
#ifndef CRAFTD_CLIENT_PROGRESS_INTERNAL_H
#define CRAFTD_CLIENT_PROGRESS_INTERNAL_H

#include "client/client_internal.h"

enum { PROGRESS_FIRST_MS = 300, PROGRESS_PAUSE_MS = 200 };

struct progress {
    const char *name;    /* The command's; a constant. */
    const char *items;   /* What is counted, such as "keys"; NULL: bytes. */
    uint64_t total;      /* 0: unknown. */
    bool shown;          /* There is a terminal for it. */
    uint64_t start_ms;   /* By the monotonic clock. */
    uint64_t done;       /* As of the last line, ... */
    uint64_t line_ms;    /* ... which was due at this time. */
    uint64_t per_second; /* Smoothed rate. */
};

/* `items` is a constant, NULL for bytes. With a total that becomes known later,
 * set progress->total. */
void progress_start(struct progress *progress, const struct options *options,
                    const char *items, uint64_t total);
/* `done` bytes or items are done; less than before: it started again. Cheap
 * enough for every piece. */
void progress_update(struct progress *progress, uint64_t done);
/* Show `text` now in place of the numbers, while a call blocks. */
void progress_say(struct progress *progress, const char *text);
/* Erase the line, if one is shown. */
void progress_end(void);

/* The parts of progress_update(), without clock and terminal. True: a line is
 * due, and the rate is up to date. */
bool progress_is_due(struct progress *progress, uint64_t done, uint64_t now_ms);
void progress_text(const struct progress *progress, struct buf *out);

/* Add "12.3 MiB", and "2 min 5 s". */
void client_add_size(struct buf *out, uint64_t bytes);
void client_add_duration(struct buf *out, uint64_t seconds);

/* Columns of the terminal at `fd`; 80 if it does not say. */
unsigned client_columns(int fd);

#endif
