/* memory.h -- how much memory this process may use. */
#ifndef CRAFTD_SYS_MEMORY_H
#define CRAFTD_SYS_MEMORY_H

#include "base/base.h"

/* Bytes of memory that this process may use, as far as the system says; half of
 * the address space if it says nothing. Reads a few files of /proc and /sys,
 * any of which may be missing. */
uint64_t sys_memory(void);
/* Limit of the process's control groups alone, with /proc and /sys below
 * directory `root` ("": the system's); UINT64_MAX: none is known. */
uint64_t sys_memory_of_groups(const char *root);

#endif
