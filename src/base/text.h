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

#endif
