/* bsd.h -- for `make systems`, which compiles for a BSD with the headers of
 * Linux: what the BSDs have besides. */
#ifndef CRAFTD_SUPPORT_BSD_H
#define CRAFTD_SUPPORT_BSD_H

#include <sys/types.h>
#include <time.h>

void closefrom(int first);
int getpeereid(int fd, uid_t *user, gid_t *group);

#ifdef __OpenBSD__
int pledge(const char *promises, const char *exec_promises);
int unveil(const char *path, const char *permissions);
#endif

#ifdef __NetBSD__
#define __NetBSD_Version__ 1000000000
#define FDATASYNC 0x0010
#define FFILESYNC 0x0020
#define FDISKSYNC 0x40000000
int fsync_range(int fd, int how, off_t start, off_t size);
#endif

#endif
