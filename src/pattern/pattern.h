/* pattern.h -- POSIX extended regular expressions (IEEE 1003.1, 9.4) that any
 * client may send: whether one matches somewhere in a text. Pure.
 *
 * regexec() of libc is not for patterns of strangers: glibc's begins anew at
 * every byte of the text, keeps a state for each set it comes across, and
 * follows back-references for as long as it takes. Here a match costs one pass
 * over the text, and at most PATTERN_PLACES_MAX steps a byte; a compiled
 * pattern has one size, and nothing is allocated.
 *
 * The text is UTF-8, and '.' and [^...] stand for a whole character of it.
 * Accepted syntax: characters, '.', brackets with ranges and [:classes:], '^'
 * and '$' wherever they stand, groups, '|', and '*', '+', '?', {m}, {m,},
 * {m,n}. Rejected, with a sentence: back-references and all else that POSIX
 * leaves undefined behind a backslash; [=x=] and [.x.]; what is not ASCII in
 * brackets; counts over 255; groups deeper than 16; more than 256 places for
 * characters once what is counted has been written out. */
#ifndef CRAFTD_PATTERN_PATTERN_H
#define CRAFTD_PATTERN_PATTERN_H

#include "base/base.h"
#include "base/bytes.h"

enum {
    PATTERN_BYTES_MAX = 256,
    PATTERN_PLACES_MAX = 256,
    PATTERN_DEPTH_MAX = 16,
    PATTERN_COUNT_MAX = 255,
    PATTERN_WORDS = PATTERN_PLACES_MAX / 64,
};

/* A set of places. A place is one character of the pattern after counts such
 * as {2,5} have been written out. */
struct places {
    uint64_t words[PATTERN_WORDS];
};

struct pattern { /* PRIVATE */
    uint32_t count;
    bool nullable;            /* The empty text matches, so every text does. */
    struct places first;      /* May match the first byte of a match. */
    struct places last;       /* A match ends when one of these matches. */
    struct places begin;      /* The '^': match at the start of the text. */
    struct places end;        /* The '$': match at its end. */
    struct places takes[256]; /* By byte: the places that match it. */
    struct places follow[PATTERN_PLACES_MAX]; /* By place: its followers. */
};

/* Compile the expression `text`, which is not kept. Returns NULL, or a few
 * words (static) that say what is wrong with it; `pattern` must not be used
 * then. */
const char *pattern_compile(struct pattern *pattern, struct bytes text);
/* Whether the expression matches somewhere in `text`. */
bool pattern_matches(const struct pattern *pattern, struct bytes text);

#endif
