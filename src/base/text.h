/* text.h -- small things read from text. */
#ifndef CRAFTD_BASE_TEXT_H
#define CRAFTD_BASE_TEXT_H

#include "base/bytes.h"

/* "250ms", "30s", "5m", "1h", "1d"; a bare integer is seconds. At most ten
 * years. */
bool text_duration_ms(struct bytes text, uint64_t *ms);

/* Decimal digits, with "k", "M", "G" (powers of 1024) behind them or not. */
bool text_size_bytes(struct bytes text, uint64_t *bytes);

/* 2 * size hexadecimal digits. */
bool text_hex(struct bytes text, uint8_t *out, size_t size);
void text_add_hex(struct buf *out, const uint8_t *data, size_t size);

/* A number in the one way it is written: an optional '-', digits, no zeros in
 * front, no "-0". False for all else, and beyond 64 bits. */
bool text_i64(struct bytes text, int64_t *value);

/* Length of the well-formed UTF-8 sequence at `at` (RFC 3629 section 4), of
 * which `left` > 0 bytes are there; 0: it is none. */
size_t text_utf8_sequence(const uint8_t *at, size_t left);

/* Text for people: well-formed UTF-8 without control characters (C0, DEL, C1),
 * which could forge lines of a log or speak to a terminal. Empty text is. */
bool text_is_printable(struct bytes text);
/* Names and addresses are words, wherever they come from: printable, without
 * blanks and double quotes. A word can be put into a header or a log line.
 * Empty text is one. */
bool text_is_word(struct bytes text);

/* RFC 4648 section 4, with padding. */
void text_add_base64(struct buf *out, struct bytes data);
/* Decode over the input (`data`, which may be text.data); false unless it is
 * what text_add_base64() writes. */
bool text_base64(struct bytes text, uint8_t *data, size_t *size);

/* The known name nearest to a mistyped one, for "did you mean". Offer every
 * name that is known, in any order, then read `best`; views are borrowed.
 * Distance: bytes inserted, dropped, replaced, or swapped with their
 * neighbour; case does not count. `best` stays empty when every name is
 * further away than a typing error explains (a third of the longer one), and
 * for words over TEXT_NEAREST_BYTES_MAX. */
enum { TEXT_NEAREST_BYTES_MAX = 64 };
struct text_nearest {
    struct bytes word;
    struct bytes best;
    size_t distance; /* From `best` to `word`. */
};
struct text_nearest text_nearest_to(struct bytes word);
void text_nearest_offer(struct text_nearest *nearest, struct bytes name);

#endif
