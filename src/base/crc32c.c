/* crc32c.c -- slicing-by-8 tables, and the instructions of x86 and arm64, if
 * the processor that this runs on has them. */
#include "base/crc32c.h"

#include "base/bytes.h"

static uint32_t table[8][256];
static bool table_ready;

static void table_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
        }
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            uint32_t prev = table[k - 1][i];
            table[k][i] = (prev >> 8) ^ table[0][prev & 0xff];
        }
    }
    table_ready = true;
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    if (!table_ready) {
        table_init();
    }
    const uint8_t *p = data;
    crc = ~crc;
    while (size >= 8) {
        uint32_t lo = load_u32(p) ^ crc;
        uint32_t hi = load_u32(p + 4);
        crc = table[7][lo & 0xff] ^ table[6][(lo >> 8) & 0xff] ^
              table[5][(lo >> 16) & 0xff] ^ table[4][lo >> 24] ^
              table[3][hi & 0xff] ^ table[2][(hi >> 8) & 0xff] ^
              table[1][(hi >> 16) & 0xff] ^ table[0][hi >> 24];
        p += 8;
        size -= 8;
    }
    while (size-- > 0) {
        crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>
#include <nmmintrin.h>

__attribute__((target("sse4.2,crc32"))) static uint32_t
crc32c_cpu(uint32_t crc, const uint8_t *p, size_t size)
{
    crc = ~crc;
#ifdef __x86_64__
    while (size >= 8) {
        crc = (uint32_t)_mm_crc32_u64(crc, load_u64(p));
        p += 8;
        size -= 8;
    }
#endif
    while (size >= 4) {
        crc = _mm_crc32_u32(crc, load_u32(p));
        p += 4;
        size -= 4;
    }
    while (size-- > 0) {
        crc = _mm_crc32_u8(crc, *p++);
    }
    return ~crc;
}

static bool cpu_has_crc32c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) != 0;
}

#elif defined(__aarch64__) &&                                                  \
    (defined(__linux__) || defined(__ARM_FEATURE_CRC32))

#ifdef __linux__
#include <sys/auxv.h>
#endif

/* In assembler, since the intrinsics differ between compilers where the
 * instructions are not part of the architecture that is compiled for. */
static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t size)
{
    crc = ~crc;
    while (size >= 8) {
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1"
                : "+r"(crc)
                : "r"(load_u64(p)));
        p += 8;
        size -= 8;
    }
    while (size-- > 0) {
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1"
                : "+r"(crc)
                : "r"((uint32_t)*p++));
    }
    return ~crc;
}

static bool cpu_has_crc32c(void)
{
#ifdef __ARM_FEATURE_CRC32
    return true;
#else
    enum { CRC32 = 1 << 7 }; /* HWCAP_CRC32 of <asm/hwcap.h> */
    return (getauxval(AT_HWCAP) & CRC32) != 0;
#endif
}

#else

static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t size)
{
    return crc32c_portable(crc, p, size);
}

static bool cpu_has_crc32c(void)
{
    return false;
}

#endif

bool crc32c_by_cpu(void)
{
    static int has = -1;
    if (has < 0) {
        has = cpu_has_crc32c();
    }
    return has;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_by_cpu() ? crc32c_cpu(crc, data, size)
                           : crc32c_portable(crc, data, size);
}
