/* crc32c.h -- CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the instruction
 * of the CPU if it has one. crc32c(0, "123456789", 9) == 0xe3069283. */
#ifndef CRAFTD_BASE_CRC32C_H
#define CRAFTD_BASE_CRC32C_H

#include "base/base.h"

/* Continue `crc` (0 at the start) over more bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* Returns whether this processor has the instruction, found out while it runs:
 * the same binary is used by processors with and without it. */
bool crc32c_by_cpu(void);

/* The same from a table, for CPUs without the instruction, and for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

#endif
