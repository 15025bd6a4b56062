/* inflate.h -- decompress gzip (RFC 1952), the form in which the build puts
 * files into the binary: `EMBED` in the Makefile. Pure.
 *
 * A file NAME of that list is, for the rooms above,
 *
 *     extern const struct bytes embedded_NAME;
 *
 * declared in the header of the room that uses it. It can be sent as it is to
 * whoever accepts gzip. */
#ifndef CRAFTD_BASE_INFLATE_H
#define CRAFTD_BASE_INFLATE_H

#include "base/bytes.h"

/* Size of the text according to the trailer, untrusted; 0 if `gzip` is too
 * short to have one. */
size_t gunzip_size(struct bytes gzip);

/* Decompress one gzip member without optional fields, as `gzip -n` writes it,
 * and append the text to `out`. After an error `out` is as it was.
 *
 * ERR_CORRUPT  malformed, cut, followed by other bytes, or of another size or
 *              checksum than its trailer says
 * ERR_TOO_BIG  the trailer says more than `size_max` bytes: no memory was taken
 */
MUST_CHECK enum err gunzip(struct bytes gzip, size_t size_max, struct buf *out);

#endif
