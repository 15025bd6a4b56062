/* pattern.h -- searches a text for a match of an untrusted POSIX extended
 * regular expression (IEEE 1003.1, 9.4). Pure.
 *
 * regexec() of libc is no option for untrusted expressions: glibc's starts
 * again at every byte of the text, keeps a state for each set of positions that
 * it meets, and follows back-references without a bound on time. Here a match
 * takes one pass over the text, and at most PATTERN_PLACES_MAX steps per byte;
 * a compiled pattern has a fixed size, and nothing is allocated.
 *
 * The text is UTF-8, and '.' and [^...] match a whole character of it. Accepted
 * syntax: characters, '.', brackets with ranges and [:classes:], '^' and '$'
 * anywhere, groups, '|', and '*', '+', '?', {m}, {m,}, {m,n}. Rejected, with a
 * sentence: back-references and everything else that POSIX leaves undefined
 * after a backslash; [=x=] and [.x.]; characters outside ASCII in brackets;
 * counts over 255; groups deeper than 16; expressions over 256 bytes, or over
 * 256 places after counts have been expanded. */
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
    bool nullable;            /* The empty text matches, hence every text. */
    struct places first;      /* Places that may match the first byte. */
    struct places last;       /* Places with which a match ends. */
    struct places begin;      /* Each '^': matches at the start of the text. */
    struct places end;        /* Each '$': matches at its end. */
    struct places takes[256]; /* For each byte: the places that match it. */
    struct places follow[PATTERN_PLACES_MAX]; /* For each place: the next. */
};

/* Compile the expression `text`, which is read during the call only. Returns
 * NULL, or a few words about its fault (static); `pattern` must not be used
 * then. */
const char *pattern_compile(struct pattern *pattern, struct bytes text);
/* True when the expression matches somewhere in `text`. */
bool pattern_matches(const struct pattern *pattern, struct bytes text);

#endif
