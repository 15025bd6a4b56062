/* catch_up.h -- how fast something that is behind gets on, from what is seen of
 * it once in a while. Pure. */
#ifndef CRAFTD_NODE_CATCH_UP_H
#define CRAFTD_NODE_CATCH_UP_H

#include "base/base.h"

enum catch_up_kind {
    CATCH_UP_NONE,
    CATCH_UP_SNAPSHOT, /* Counted in bytes. */
    CATCH_UP_ENTRIES,  /* Counted in log entries. */
};

enum {
    CATCH_UP_LOOK_MS = 1000, /* Between two looks. */
    CATCH_UP_LOG_MS = 5000,  /* Between two log lines. */
};

struct catch_up {
    /* READ-ONLY */
    enum catch_up_kind kind;
    uint64_t done; /* Up to `total`, of which a new leader or new writes may
                      make more. */
    uint64_t total;
    uint64_t per_second; /* Smoothed. */
    uint64_t looks;      /* Since it began. The first one is no catching up yet:
                            every follower is behind for a moment. */
    /* PRIVATE */
    uint64_t look_ms; /* Time of the last look. */
    uint64_t log_ms;  /* Time of the last log line, or of its begin. */
};

/* Take what is seen now, once in CATCH_UP_LOOK_MS; kind CATCH_UP_NONE: it is
 * not behind. True: a log line is due. */
bool catch_up_look(struct catch_up *at, enum catch_up_kind kind, uint64_t done,
                   uint64_t total, uint64_t now_ms);
/* Time that is left at this rate; UINT64_MAX: it does not get on. */
uint64_t catch_up_left_s(const struct catch_up *at);

#endif
