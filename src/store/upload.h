/* upload.h -- a file that a client sent and that may be a backup. It is written
 * into the directory of the data, opened, and read from its first row to its
 * last, as often as wanted. After store_upload_new() it is independent of the
 * store, which may be closed. What the file claims is untrusted: every function
 * bounds what it makes this process do. */
#ifndef CRAFTD_STORE_UPLOAD_H
#define CRAFTD_STORE_UPLOAD_H

#include "base/base.h"
#include "base/bytes.h"

struct store;
struct store_upload;

/* An empty file, to be added to. One at a time, since the file has one name.
 * ERR_NOSPACE, ERR_IO: it cannot be created. */
MUST_CHECK enum err store_upload_new(const struct store *store,
                                     struct store_upload **upload);
/* Close and remove the file. NULL is fine. */
void store_upload_free(struct store_upload *upload);
/* Append `data`. ERR_NOSPACE, ERR_IO: only store_upload_free() is left. */
MUST_CHECK enum err store_upload_add(struct store_upload *upload,
                                     struct bytes data);
/* Everything has been added: open the file as a database. ERR_CORRUPT: it is no
 * backup of craftd's; ERR_VERSION: one of a newer version. `*why` is a sentence
 * then, a constant. */
MUST_CHECK enum err store_upload_open(struct store_upload *upload,
                                      uint64_t value_bytes_max,
                                      const char **why);
/* Start reading at the first row: in the order of the file or, with `by_key`,
 * of the keys, and then a file that was read to its end has shown that it is
 * whole. ERR_CORRUPT as above. */
MUST_CHECK enum err store_upload_begin(struct store_upload *upload,
                                       bool by_key);
/* The next row; both views are valid until the next call.
 *   ERR_NOT_FOUND  there is none
 *   ERR_CORRUPT    the file is damaged, or the row is none of craftd's
 *   ERR_TOO_BIG    the value is clearly over value_bytes_max (one that is only
 *                  a little larger may be returned)
 *   ERR_IO         the file cannot be read */
MUST_CHECK enum err store_upload_next(struct store_upload *upload,
                                      struct bytes *key, struct bytes *value);

#endif
