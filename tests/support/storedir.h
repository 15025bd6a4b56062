/* storedir.h -- a file system in a directory of its own, for tests that open
 * stores in it, and the words they have in common. */
#ifndef CRAFTD_TESTS_STOREDIR_H
#define CRAFTD_TESTS_STOREDIR_H

#include "store/store.h"

extern char storedir_root[64];
extern struct fs *storedir_fs;

/* What cmocka wants of a setup and of a teardown. */
int storedir_make(void);
int storedir_remove(void);

/* On that file system or another; the test fails if it cannot be opened. */
struct store *storedir_open(const struct fs *fs);

#endif
