/* fuzz_store_upload.c -- the input is a file that somebody sent to be restored.
 *
 * Properties: reading it ends without a fault, and shows no more rows and bytes
 * than the file has; what the first pass accepts in whole and the second one as
 * well is the same set of rows. As a database of a node's own (a snapshot, or
 * a restore without a cluster) it is taken only when an upload would be. */
#include <sqlite3.h>

#include "base/log.h"
#include "store/store.h"
#include "sys/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VALUE_MAX = 16 << 10, ROW_BYTES_MIN = 8 };

static struct store *open_store(const struct fs *fs)
{
    struct store *store = NULL;
    struct store_options options = {.fs = fs};
    must(store_open(&options, &store) == ERR_OK);
    return store;
}

/* All rows, in one of the two orders. ERR_OK: it is whole. */
static enum err read_all(struct store_upload *upload, size_t size, bool by_key,
                         uint64_t *rows)
{
    struct bytes key;
    struct bytes value;
    uint64_t bytes = 0;
    *rows = 0;
    enum err err = store_upload_begin(upload, by_key);
    while (!err) {
        err = store_upload_next(upload, &key, &value);
        if (!err) {
            *rows += 1;
            bytes += key.size + value.size + ROW_BYTES_MIN;
            must(bytes <= size);
        }
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err upload_all(const struct store *store, struct bytes file,
                           uint64_t *rows)
{
    struct store_upload *upload = NULL;
    const char *why = NULL;
    uint64_t again = 0;
    must(store_upload_new(store, &upload) == ERR_OK);
    must(store_upload_add(upload, file) == ERR_OK);
    enum err err = store_upload_open(upload, VALUE_MAX, &why);
    must(!err || why != NULL);
    if (!err) {
        err = read_all(upload, file.size, false, rows);
    }
    if (!err) {
        err = read_all(upload, file.size, true, &again);
        must(err || again == *rows);
    }
    store_upload_free(upload);
    return err;
}

static bool any_conf(struct bytes conf)
{
    return conf.size < 4096;
}

static enum err install(const struct store *store, struct bytes file,
                        struct store **out)
{
    struct store_incoming *incoming = NULL;
    must(store_incoming_new(store, &incoming) == ERR_OK);
    must(store_incoming_add(incoming, file) == ERR_OK);
    return store_incoming_finish(incoming, 0, 0, any_conf, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct store *store; /* Nothing here changes it. */
    uint64_t rows = 0;
    if (!store) {
        log_set_level(LOG_OFF);
        store = open_store(fs_memory_new());
    }
    enum err err = upload_all(store, bytes_of(data, size), &rows);
    struct store *own = NULL;
    if (install(store, bytes_of(data, size), &own) == ERR_OK) {
        /* A value over --max-value is no fault of a node's own database. */
        must(err == ERR_TOO_BIG || (!err && rows == store_key_count(own)));
        store_close(own);
    }
    return 0;
}
