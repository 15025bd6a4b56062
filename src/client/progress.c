/* progress.c -- how far a command is. */
#include "client/progress_internal.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "sys/sys.h"

#define U(x) ((unsigned long long)(x))

/* Columns that the line on the terminal takes; 0: there is none. */
static unsigned line_columns;

void client_add_size(struct buf *out, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    uint64_t tenths = bytes;
    size_t unit = 0;
    if (bytes < 1024) {
        buf_printf(out, "%llu B", U(bytes));
        return;
    }
    for (tenths = bytes * 10 / 1024; bytes >= UINT64_MAX / 10;) {
        bytes /= 1024; /* Too large for a decimal. */
        tenths = bytes * 10 / 1024;
        unit++;
    }
    while (tenths >= 10240) {
        tenths /= 1024;
        unit++;
    }
    must(unit < sizeof(units) - 1);
    buf_printf(out, "%llu.%llu %ciB", U(tenths / 10), U(tenths % 10),
               units[unit]);
}

void client_add_duration(struct buf *out, uint64_t seconds)
{
    if (seconds < 60) {
        buf_printf(out, "%llu s", U(seconds));
    } else if (seconds < 3600) {
        buf_printf(out, "%llu min %llu s", U(seconds / 60), U(seconds % 60));
    } else {
        buf_printf(out, "%llu h %llu min", U(seconds / 3600),
                   U(seconds / 60 % 60));
    }
}

unsigned client_columns(int fd)
{
    struct winsize size = {0};
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                : 80;
}

/* ---- the numbers ---- */

bool progress_is_due(struct progress *progress, uint64_t done, uint64_t now_ms)
{
    bool first = progress->line_ms == progress->start_ms;
    uint64_t pause_ms = first ? PROGRESS_FIRST_MS : PROGRESS_PAUSE_MS;
    if (done < progress->done) {
        progress->start_ms = progress->line_ms = now_ms;
        progress->done = done;
        return false;
    }
    uint64_t passed_ms = now_ms - progress->line_ms;
    if (passed_ms < pause_ms) {
        return false;
    }
    uint64_t rate = (done - progress->done) * 1000 / passed_ms;
    /* Smoothed, so that time left does not jump from line to line. */
    progress->per_second = first ? rate : (3 * progress->per_second + rate) / 4;
    progress->done = done;
    progress->line_ms = now_ms;
    return true;
}

static void add_amount(const struct progress *progress, struct buf *out,
                       uint64_t amount)
{
    if (progress->items) {
        buf_printf(out, "%llu", U(amount));
    } else {
        client_add_size(out, amount);
    }
}

void progress_text(const struct progress *progress, struct buf *out)
{
    uint64_t done = progress->done;
    uint64_t total = progress->total;
    add_amount(progress, out, done);
    if (total > 0) {
        buf_add_string(out, " of ");
        add_amount(progress, out, total);
    }
    buf_printf(out, "%s%s", progress->items ? " " : "",
               progress->items ? progress->items : "");
    if (total > 0) {
        buf_printf(
            out, ", %u%%",
            (unsigned)(100.0 * (double)min_u64(done, total) / (double)total));
    }
    buf_add_string(out, ", ");
    add_amount(progress, out, progress->per_second);
    buf_add_string(out, "/s");
    if (total > done && progress->per_second > 0) {
        buf_add_string(out, ", ");
        client_add_duration(out, (total - done - 1) / progress->per_second + 1);
        buf_add_string(out, " left");
    }
}

/* ---- the terminal ---- */

/* Replace the line by `text`, which is ASCII, cut to the width: a line that
 * wraps cannot be erased. */
static void put_line(struct bytes text)
{
    struct buf out = {0};
    const char *why;
    unsigned columns = client_columns(STDERR_FILENO) - 1;
    unsigned size = (unsigned)min_size(text.size, columns);
    buf_add_u8(&out, '\r');
    buf_add(&out, text.data, size);
    for (unsigned i = size; i < min_u64(line_columns, columns); i++) {
        buf_add_u8(&out, ' ');
    }
    for (unsigned i = size; i < min_u64(line_columns, columns); i++) {
        buf_add_u8(&out, '\b');
    }
    line_columns = size;
    (void)client_write_out(STDERR_FILENO, out.data, out.size, &why);
    buf_free(&out);
}

void progress_start(struct progress *progress, const struct options *options,
                    const char *items, uint64_t total)
{
    uint64_t now_ms = sys_now_ms();
    *progress = (struct progress){
        .name = options->command->name,
        .items = items,
        .total = total,
        .shown = !options->quiet && isatty(STDERR_FILENO),
        .start_ms = now_ms,
        .line_ms = now_ms,
    };
}

void progress_update(struct progress *progress, uint64_t done)
{
    struct buf line = {0};
    if (progress->shown && progress_is_due(progress, done, sys_now_ms())) {
        buf_printf(&line, "%s: ", progress->name);
        progress_text(progress, &line);
        put_line(buf_bytes(&line));
        buf_free(&line);
    }
}

void progress_say(struct progress *progress, const char *text)
{
    struct buf line = {0};
    if (progress->shown) {
        buf_printf(&line, "%s: %s", progress->name, text);
        put_line(buf_bytes(&line));
        buf_free(&line);
    }
}

void progress_end(void)
{
    if (line_columns > 0) {
        put_line((struct bytes){0});
    }
}
