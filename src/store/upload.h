/* upload.h -- a file that a client sent and that may be a backup. It is written
 * to db/upload.tmp, opened, and read from its first row to its last, any number
 * of times. It does not depend on the store after store_upload_new(): that may
 * be closed. The file is untrusted: every function bounds the time and memory
 * that its content can cost. */
#ifndef CRAFTD_STORE_UPLOAD_H
#define CRAFTD_STORE_UPLOAD_H

#include "base/base.h"
#include "base/bytes.h"

struct store;
struct store_upload;

/* Create the file, empty. One at a time, since the file has one name.
 * ERR_NOSPACE, ERR_RESOURCES, ERR_IO: it cannot be created. */
MUST_CHECK enum err store_upload_new(const struct store *store,
                                     struct store_upload **upload);
/* Close and remove the file. NULL is fine. */
void store_upload_free(struct store_upload *upload);
/* Append `data`. ERR_NOSPACE, ERR_IO: call store_upload_free(). */
MUST_CHECK enum err store_upload_add(struct store_upload *upload,
                                     struct bytes data);
/* The file is complete: open it as a database. `value_bytes_max` bounds the
 * values that store_upload_next() returns.
 *   ERR_CORRUPT  it is not a backup of craftd's
 *   ERR_VERSION  it is a backup of a newer version
 *   ERR_NOSPACE, ERR_RESOURCES, ERR_IO  it cannot be read
 * After the first two `*why` is a sentence, valid until the next call. After
 * any of them call store_upload_free(). */
MUST_CHECK enum err store_upload_open(struct store_upload *upload,
                                      uint64_t value_bytes_max,
                                      const char **why);
/* Open a file of somebody else in the same way; it is only read. Errors as of
 * store_upload_open(), and ERR_NOT_FOUND; nothing is left to be freed then. */
struct fs;
MUST_CHECK enum err store_upload_open_file(const struct fs *fs,
                                           const char *path,
                                           struct store_upload **upload,
                                           const char **why);
/* Index of the last entry in an open file, and the number of keys that it
 * should have. ERR_CORRUPT, ERR_IO. */
MUST_CHECK enum err store_upload_summary(struct store_upload *upload,
                                         uint64_t *index, uint64_t *keys);
/* Start to read at the first row, in the order of the file or, with `by_key`,
 * of the keys. Read it to its end in the first order, then in the second: only
 * then the file is known to be whole. ERR_CORRUPT as above. */
MUST_CHECK enum err store_upload_begin(struct store_upload *upload,
                                       bool by_key);
/* The next row; both views are valid until the next call.
 *   ERR_NOT_FOUND  there is none: all have been read
 *   ERR_CORRUPT    the file is damaged, or craftd did not write the row
 *   ERR_TOO_BIG    the value is over value_bytes_max (by more than about 2 KiB;
 *                  a smaller excess is for the caller to find)
 *   ERR_IO         the file cannot be read */
MUST_CHECK enum err store_upload_next(struct store_upload *upload,
                                      struct bytes *key, struct bytes *value);
/* True if the row that was read last has a lease. Nobody holds what a backup
 * says, so such a key is not to be restored. */
bool store_upload_is_leased(const struct store_upload *upload);

#endif
