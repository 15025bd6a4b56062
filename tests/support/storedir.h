/* storedir.h -- a file system in a directory of its own, for tests that open
 * stores in it, and the words they have in common. */
#ifndef CRAFTD_TESTS_STOREDIR_H
#define CRAFTD_TESTS_STOREDIR_H

#include "store/store.h"

extern char storedir_root[64];
extern struct fs *storedir_fs;

/* For the setup and the teardown of a test: 0, or -1. */
int storedir_make(void);
int storedir_remove(void);
/* The same, with a store that is opened in it, and closed. */
int storedir_begin(struct store **store);
int storedir_end(struct store **store);

/* On that file system or another; the test fails if it cannot be opened. */
struct store *storedir_open(const struct fs *fs);

/* Apply a put of `key` as the next entry. */
void storedir_put(struct store *store, const char *key, const char *value);
/* Checkpoint the store, and read its image into `file`, which is replaced. */
void storedir_backup(struct store *store, struct buf *file);

#endif
