/* text.h -- parses and writes durations, sizes, numbers, hexadecimal and
 * base64; classifies UTF-8; looks for names in lists, the nearest one too.
 * Parsers return false, and leave their result undefined, if the text is
 * anything else. */
#ifndef CRAFTD_BASE_TEXT_H
#define CRAFTD_BASE_TEXT_H

#include "base/bytes.h"

/* Parse "250ms", "30s", "5m", "1h" or "1d"; a number alone is seconds. At most
 * ten years. */
bool text_duration_ms(struct bytes text, uint64_t *ms);

/* Parse decimal digits, after which "k", "M" or "G" (powers of 1024) may
 * follow. At most 1 PiB. */
bool text_size_bytes(struct bytes text, uint64_t *bytes);

/* Parse exactly 2 * size hexadecimal digits, in either case. */
bool text_hex(struct bytes text, uint8_t *out, size_t size);
/* Append 2 * size lower-case hexadecimal digits. */
void text_add_hex(struct buf *out, const uint8_t *data, size_t size);

/* A time in UTC. */
struct text_date {
    unsigned year;
    unsigned month;   /* 0 to 11. */
    unsigned day;     /* 1 to 31. */
    unsigned weekday; /* 0 is Thursday. */
    unsigned hour;
    unsigned minute;
    unsigned second;
};
/* Seconds since 1970, as a date; times after the year 9999 count as its end.
 * Independent of locale and time zone, for which strftime(3) of a small C
 * library takes 9 KB. */
struct text_date text_date(uint64_t unix_s);

/* Parse an integer of 64 bits in its canonical form: an optional '-', digits,
 * no leading zeros, no "-0". */
bool text_i64(struct bytes text, int64_t *value);

/* Size in bytes of the well-formed UTF-8 sequence at `at` (RFC 3629 section 4),
 * where `left` > 0 bytes can be read. 0: there is none. */
size_t text_utf8_sequence(const uint8_t *at, size_t left);

/* Size in bytes of the control character at `at`, where `left` > 0 bytes can be
 * read: C0 and DEL, and C1 in UTF-8, which terminals obey too. 0: it is none.
 */
size_t text_control_size(const uint8_t *at, size_t left);

/* Add text to a line for people and scripts: '%' and control characters are
 * %XX, and unless `utf8` all bytes above 0x7f are. */
void text_add_escaped(struct buf *out, struct bytes text, bool utf8);

/* Replace control characters by '?', in place. */
void text_mask_controls(char *text);

/* True for well-formed UTF-8 without control characters (C0, DEL, C1), which
 * could forge lines of a log or control a terminal, and for empty text. */
bool text_is_printable(struct bytes text);
/* True for a word: printable, without blanks and double quotes; empty text is
 * one. A word can be put into a header or a log line; names and addresses must
 * be words. */
bool text_is_word(struct bytes text);

/* True if `word` is one of `words`, which have one blank between them. */
bool text_lists_word(const char *words, struct bytes word);

/* Append base64 (RFC 4648 section 4) with padding. */
void text_add_base64(struct buf *out, struct bytes data);
/* Decode what text_add_base64() writes, and nothing else. `data` has space for
 * text.size / 4 * 3 bytes, and may be text.data; *size is the number used. */
bool text_base64(struct bytes text, uint8_t *data, size_t *size);

/* The known name that is nearest to a mistyped one, for "did you mean". Offer
 * every known name, in any order, then read `best`; views are borrowed. The
 * distance is the number of bytes inserted, dropped, replaced, or swapped with
 * their neighbour; case does not count. Names whose distance is over a third of
 * the longer of name and word, or where either is over TEXT_NEAREST_BYTES_MAX,
 * are passed over; without any other `best` stays empty. */
enum { TEXT_NEAREST_BYTES_MAX = 64 };
struct text_nearest {
    struct bytes word;
    struct bytes best;
    size_t distance; /* From `best` to `word`. */
};
struct text_nearest text_nearest_to(struct bytes word);
void text_nearest_offer(struct text_nearest *nearest, struct bytes name);

#endif
