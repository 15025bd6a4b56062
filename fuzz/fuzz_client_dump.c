/* fuzz_client_dump.c -- the first byte chooses a format, the rest is the file
 * that craftd import reads. Property: whatever the bytes, reading ends, with
 * no more keys than bytes; what was read as keys and values, written as lines
 * of an export, reads the same again. */
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "client/dump_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FORMATS = 4 };

/* A file without a name that has these bytes. */
static int file_with(int fd, struct bytes bytes)
{
    if (fd < 0) {
        char name[] = "/tmp/fuzz-dump-XXXXXX";
        fd = mkstemp(name);
        must(fd >= 0 && unlink(name) == 0);
    }
    must(ftruncate(fd, 0) == 0);
    must(pwrite(fd, bytes.data, bytes.size, 0) == (ssize_t)bytes.size);
    must(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void add_text(struct buf *out, const char *name, struct bytes text)
{
    buf_printf(out, "\"%s_base64\":\"", name);
    text_add_base64(out, text);
    buf_add_u8(out, '"');
}

static void read_again(struct bytes export, struct bytes pairs, uint64_t count)
{
    static int fd = -1;
    struct dump dump;
    struct dump_pair pair;
    struct buf got = {0};
    fd = file_with(fd, export);
    dump_init(&dump, DUMP_CRAFTD, fd);
    while (dump_next(&dump, &pair) == DUMP_PAIR) {
        buf_add_bytes(&got, pair.key);
        buf_add_bytes(&got, pair.value);
    }
    must(!dump.why && dump.has_end && dump.items == count &&
         dump.keys_total == count);
    must(bytes_equal(buf_bytes(&got), pairs));
    buf_free(&got);
    dump_free(&dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct dump dump;
    struct dump_pair pair;
    struct buf export = {0};
    struct buf pairs = {0};
    enum dump_result result;
    if (size < 1) {
        return 0;
    }
    fd = file_with(fd, bytes_of(data + 1, size - 1));
    dump_init(&dump, (enum dump_format)(data[0] % FORMATS), fd);
    while ((result = dump_next(&dump, &pair)) == DUMP_PAIR) {
        buf_add_u8(&export, '{');
        add_text(&export, "key", pair.key);
        buf_add_u8(&export, ',');
        add_text(&export, "value", pair.value);
        buf_add_string(&export, "}\n");
        buf_add_bytes(&pairs, pair.key);
        buf_add_bytes(&pairs, pair.value);
    }
    must(dump.items < size && dump_offset(&dump) < size);
    must((result == DUMP_ERROR) == (dump.why != NULL));
    must(dump_next(&dump, &pair) == result);
    buf_printf(&export, "{\"end\":true,\"keys\":%llu}",
               (unsigned long long)dump.items);
    read_again(buf_bytes(&export), buf_bytes(&pairs), dump.items);
    buf_free(&export);
    buf_free(&pairs);
    dump_free(&dump);
    return 0;
}
