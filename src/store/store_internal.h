/* store_internal.h -- what the files of this room share. */
#ifndef CRAFTD_STORE_STORE_INTERNAL_H
#define CRAFTD_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/store.h"

/* Log the last error of `db` and name it: ERR_NOSPACE, ERR_CORRUPT, ERR_IO. */
enum err store_error(sqlite3 *db, const char *what);

MUST_CHECK enum err store_migrate(sqlite3 *db);

/* Which generation is in use; db/CURRENT is made when missing. `path` gets
 * the database file for SQLite, ":memory:" on a file system without one. */
MUST_CHECK enum err store_generation(const struct fs *fs, char *path,
                                     size_t size);

#endif
