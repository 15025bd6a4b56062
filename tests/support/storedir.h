/* storedir.h -- a temporary directory with a file system, for tests that open
 * stores in it, and their common helpers. */
#ifndef CRAFTD_TESTS_STOREDIR_H
#define CRAFTD_TESTS_STOREDIR_H

#include "store/store.h"

extern char storedir_root[64];
extern struct fs *storedir_fs;

/* Setup and teardown of a test: 0, or -1 on failure. */
int storedir_make(void);
int storedir_remove(void);
/* The same, and open or close a store in it. */
int storedir_begin(struct store **store);
int storedir_end(struct store **store);

/* Open a store on any file system; the test fails if it cannot be opened. */
struct store *storedir_open(const struct fs *fs);

/* Apply a put of `key` as the next entry. */
void storedir_put(struct store *store, const char *key, const char *value);
/* Checkpoint the store, and read its image into `file`, which is replaced. */
void storedir_backup(struct store *store, struct buf *file);

#endif
