/* bench_disk.c -- measures the disk operations that the daemon waits for.
 *
 * A write is acknowledged when a majority has synced it to the log, so every
 * client waits for a small write with fdatasync().
 * The file is filled with zeros first, as the log's segments are: the sync
 * then writes data and no new metadata. The file has no name, so that nothing
 * is left behind however the command ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "client/client_internal.h"
#include "client/progress_internal.h"
#include "sys/fs.h"
#include "sys/sys.h"

enum {
    BLOCK_BYTES = 4096,
    PIECE_BYTES = 1 << 20,
    FILE_PIECES = 64,
    FILE_BYTES = FILE_PIECES * PIECE_BYTES,
    SYNCS_MAX = 10000,
};

struct bench {
    struct fs *fs;
    int file;
    uint8_t *piece;
    uint64_t *sync_ns; /* SYNCS_MAX */
    size_t sync_count;
    uint64_t written_bytes; /* By sequential writes. */
    uint64_t written_ns;
    struct progress progress; /* Updated between two measurements. */
};

static enum err open_nameless(struct bench *bench)
{
    char name[64];
    uint64_t random;
    sys_entropy(&random, sizeof(random));
    (void)snprintf(name, sizeof(name), "bench-disk-%016llx.tmp",
                   (unsigned long long)random);
    struct fs *fs = bench->fs;
    enum err err = fs->open(fs->self, name, FS_CREATE_NEW, &bench->file);
    return err ? err : fs->unlink(fs->self, name);
}

/* Large writes, up to the time or the size, and one sync for all: the rate of
 * snapshots. It leaves the zeros that the small ones go into. */
static enum err write_much(struct bench *bench, uint64_t time_ms)
{
    struct fs *fs = bench->fs;
    uint64_t start_ns = sys_now_ns();
    enum err err = ERR_OK;
    while (!err && bench->written_bytes < FILE_BYTES &&
           (bench->written_bytes == 0 ||
            sys_now_ns() - start_ns < time_ms * 1000000)) {
        err = fs->write(fs->self, bench->file, bench->written_bytes,
                        bench->piece, PIECE_BYTES);
        /* From time to time, or only memory would be measured. */
        bench->written_bytes += PIECE_BYTES;
        if (!err && bench->written_bytes % (8 * PIECE_BYTES) == 0) {
            err = fs->fdatasync(fs->self, bench->file);
        }
        progress_update(&bench->progress, bench->written_bytes);
    }
    if (!err) {
        err = fs->fdatasync(fs->self, bench->file);
    }
    bench->written_ns = sys_now_ns() - start_ns;
    return err;
}

static enum err sync_often(struct bench *bench, uint64_t time_ms)
{
    struct fs *fs = bench->fs;
    uint64_t start_ns = sys_now_ns();
    uint64_t now_ns = start_ns;
    enum err err = ERR_OK;
    while (!err && bench->sync_count < SYNCS_MAX &&
           now_ns - start_ns < time_ms * 1000000) {
        uint64_t offset =
            bench->sync_count * BLOCK_BYTES % bench->written_bytes;
        memset(bench->piece, (int)(bench->sync_count % 255) + 1, BLOCK_BYTES);
        now_ns = sys_now_ns();
        err =
            fs->write(fs->self, bench->file, offset, bench->piece, BLOCK_BYTES);
        if (!err) {
            err = fs->fdatasync(fs->self, bench->file);
        }
        uint64_t end_ns = sys_now_ns();
        bench->sync_ns[bench->sync_count++] = end_ns - now_ns;
        now_ns = end_ns;
        progress_update(&bench->progress, bench->sync_count);
    }
    return err;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

static double percentile_ms(const struct bench *bench, unsigned percent)
{
    size_t at = bench->sync_count * percent / 100;
    at = min_size(at, bench->sync_count - 1);
    return (double)bench->sync_ns[at] / 1e6;
}

static int report(struct bench *bench, const struct options *options)
{
    uint64_t sum_ns = 0;
    struct buf out = {0};
    qsort(bench->sync_ns, bench->sync_count, sizeof(uint64_t), compare);
    for (size_t i = 0; i < bench->sync_count; i++) {
        sum_ns += bench->sync_ns[i];
    }
    buf_printf(&out,
               "%d-byte writes, each with fdatasync: %zu in %.1f s, %.0f a "
               "second\n",
               BLOCK_BYTES, bench->sync_count, (double)sum_ns / 1e9,
               (double)bench->sync_count * 1e9 / (double)sum_ns);
    buf_printf(&out,
               "  latency ms   p50 %.3f   p90 %.3f   p99 %.3f   max %.3f\n",
               percentile_ms(bench, 50), percentile_ms(bench, 90),
               percentile_ms(bench, 99), percentile_ms(bench, 100));
    buf_printf(&out,
               "sequential writes: %llu MiB in %.2f s, %.0f MiB a "
               "second\n",
               (unsigned long long)(bench->written_bytes >> 20),
               (double)bench->written_ns / 1e9,
               (double)(bench->written_bytes >> 20) * 1e9 /
                   (double)bench->written_ns);
    int code = client_print_bytes(options, buf_bytes(&out));
    buf_free(&out);
    return code;
}

static enum err measure(struct bench *bench, const struct options *options)
{
    uint64_t time_ms = options->time_ms;
    enum err err = fs_posix_new(options->words[0], &bench->fs);
    if (!err) {
        err = open_nameless(bench);
    }
    if (!err) {
        progress_start(&bench->progress, options, NULL, FILE_BYTES);
        err = write_much(bench, time_ms / 2);
    }
    if (!err) {
        progress_start(&bench->progress, options, "syncs", 0);
        err = sync_often(bench, time_ms);
    }
    progress_end();
    return err;
}

int client_run_bench_disk(const struct options *options)
{
    const char *dir = options->words[0];
    struct stat stat_at;
    if (stat(dir, &stat_at) != 0 || !S_ISDIR(stat_at.st_mode)) {
        client_say(options, "%s: no such directory", dir);
        return EXIT_FAILED;
    }
    struct bench bench = {
        .file = -1,
        .piece = mem_zalloc(PIECE_BYTES),
        .sync_ns = mem_zalloc(SYNCS_MAX * sizeof(uint64_t)),
    };
    enum err err = measure(&bench, options);
    int code = EXIT_FAILED;
    if (err) {
        client_say(options, "%s: %s", dir, err_name(err));
    } else {
        code = report(&bench, options);
    }
    if (bench.file >= 0) {
        bench.fs->close(bench.fs->self, bench.file);
    }
    fs_posix_free(bench.fs);
    mem_free(bench.piece);
    mem_free(bench.sync_ns);
    return code;
}
