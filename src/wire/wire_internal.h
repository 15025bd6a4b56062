/* wire_internal.h -- pieces that the codecs of this room share. */
#ifndef CRAFTD_WIRE_WIRE_INTERNAL_H
#define CRAFTD_WIRE_WIRE_INTERNAL_H

#include "wire/wire.h"

/* Between the two the payload is added to `out`. */
size_t wire_begin(struct buf *out, enum wire_type type);
void wire_end(struct buf *out, size_t start);

/* u16 length and bytes; `room` is the size of the terminated array. */
void wire_add_text(struct buf *out, const char *text, size_t room);
/* `text` must be zeroed; a zero byte inside or a lack of room fails. */
void wire_get_text(struct cursor *in, char *text, size_t room);
/* ... and what is no word fails (base/text.h): names and addresses. */
void wire_get_word(struct cursor *in, char *text, size_t room);
void wire_get_raw(struct cursor *in, uint8_t *out, size_t size);
/* ERR_OK when all was read and nothing failed. */
MUST_CHECK enum err wire_done(const struct cursor *in);

#endif
