/* fuzz_store_current.c -- the input is db/CURRENT, which names the database in
 * use. The first byte says whether its checksum is made right.
 * Properties: reading it ends with an answer; a file that is taken is, byte by
 * byte, what is written for the generation that it names, and damage is never
 * taken for a first start. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "store/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEND = 1, BYTES_MAX = 256 };

/* The last word is the checksum of all before it. */
static size_t add_sum(char *text, size_t size)
{
    int sum = snprintf(text + size, BYTES_MAX - size, "%08x\n",
                       (unsigned)crc32c(0, text, size));
    return size + (size_t)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[BYTES_MAX];
    if (size < 1 || size > BYTES_MAX / 2) {
        return 0;
    }
    uint8_t flags = data[0];
    memcpy(text, data + 1, --size);
    if (flags & MEND) {
        size = add_sum(text, size);
    }
    log_set_level(LOG_OFF);
    struct fs *fs = fs_memory_new();
    struct generation generation = {0};
    must(fs->mkdir(fs->self, "db") == ERR_OK);
    must(fs_replace(fs, "db", "db/CURRENT", text, size) == ERR_OK);
    enum err err = store_generation_current(fs, &generation);
    must(err == ERR_OK || err == ERR_CORRUPT);
    if (!err) {
        uint8_t *again = NULL;
        size_t again_size = 0;
        must(store_generation_use(fs, &generation) == ERR_OK);
        must(fs_read_all(fs, "db/CURRENT", BYTES_MAX, &again, &again_size) ==
             ERR_OK);
        must(again_size == size && memcmp(again, text, size) == 0);
        mem_free(again);
    }
    fs_memory_free(fs);
    return 0;
}
