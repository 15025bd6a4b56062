/* table.c -- rows for a terminal and for a pipe. */
#include "client/table_internal.h"

#include <unistd.h>

#include "client/progress_internal.h"

enum { GAP = 2, CUT_WIDTH_MIN = 6 };

void client_table_init(struct client_table *table, const char *const *heads,
                       unsigned columns)
{
    must(columns > 0 && columns <= TABLE_COLUMNS_MAX);
    *table = (struct client_table){.heads = heads, .columns = columns};
}

void client_table_free(struct client_table *table)
{
    buf_free(&table->cells);
}

void client_table_add(struct client_table *table, const char *text)
{
    for (const char *at = text[0] ? text : "-"; *at; at++) {
        uint8_t c = (uint8_t)*at;
        buf_add_u8(&table->cells, c < ' ' || c == 0x7f ? '?' : c);
    }
    buf_add_u8(&table->cells, '\0');
    table->cell_count++;
}

/* ---- widths ---- */

/* Decode one character of UTF-8; a byte that begins none is one of its own. */
static uint32_t next_character(const uint8_t **at)
{
    const uint8_t *text = *at;
    uint32_t code = text[0];
    unsigned more = code >= 0xf0 ? 3 : code >= 0xe0 ? 2 : code >= 0xc0 ? 1 : 0;
    code &= more ? 0x3fU >> more : 0xffU;
    for (unsigned i = 1; i <= more; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            *at = text + 1;
            return text[0];
        }
        code = code << 6 | (text[i] & 0x3fU);
    }
    *at = text + 1 + more;
    return code;
}

/* The blocks of Unicode's East Asian Width (UAX 11) and of combining marks that
 * names have. */
static unsigned width_of(uint32_t code)
{
    static const struct {
        uint32_t first;
        uint32_t last;
        unsigned width;
    } ranges[] = {
        {0x300, 0x36f, 0},     {0x200b, 0x200f, 0},   {0x1100, 0x115f, 2},
        {0x2e80, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
        {0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
        {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
    };
    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return ranges[i].width;
        }
    }
    return 1;
}

unsigned client_text_width(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    unsigned width = 0;
    while (*at) {
        width += width_of(next_character(&at));
    }
    return width;
}

/* Add the text in `width` columns; it is cut if it is wider. */
static void add_padded(struct buf *out, const char *text, unsigned width,
                       bool last)
{
    const uint8_t *at = (const uint8_t *)text;
    unsigned used = 0;
    bool cut = client_text_width(text) > width;
    while (*at) {
        const uint8_t *start = at;
        unsigned more = width_of(next_character(&at));
        if (used + more + cut > width) {
            break;
        }
        buf_add(out, start, (size_t)(at - start));
        used += more;
    }
    if (cut) {
        buf_add_u8(out, '~');
        used++;
    }
    for (; used < width + GAP && !last; used++) {
        buf_add_u8(out, ' ');
    }
}

/* ---- lines ---- */

/* Cut the widest columns until all of them fit. */
static void fit(unsigned widths[], unsigned columns, unsigned room)
{
    for (;;) {
        unsigned sum = GAP * (columns - 1);
        unsigned widest = 0;
        for (unsigned i = 0; i < columns; i++) {
            sum += widths[i];
            widest = widths[i] >= widths[widest] ? i : widest;
        }
        if (sum <= room || widths[widest] <= CUT_WIDTH_MIN) {
            return;
        }
        widths[widest]--;
    }
}

static const char *next_cell(const char *cell)
{
    return cell + strlen(cell) + 1;
}

void client_table_write(const struct client_table *table, unsigned width,
                        struct buf *out)
{
    unsigned widths[TABLE_COLUMNS_MAX];
    unsigned columns = table->columns;
    const char *cell = (const char *)table->cells.data;
    must(table->cell_count % columns == 0);
    for (unsigned i = 0; i < columns; i++) {
        widths[i] = client_text_width(table->heads[i]);
    }
    for (unsigned i = 0; i < table->cell_count; i++) {
        unsigned column = i % columns;
        unsigned cell_width = client_text_width(cell);
        widths[column] = (unsigned)max_u64(widths[column], cell_width);
        cell = next_cell(cell);
    }
    fit(widths, columns, width);
    for (unsigned i = 0; i < columns && width > 0; i++) {
        add_padded(out, table->heads[i], widths[i], i + 1 == columns);
    }
    buf_add_string(out, width > 0 ? "\n" : "");
    cell = (const char *)table->cells.data;
    for (unsigned i = 0; i < table->cell_count; i++) {
        bool last = i % columns + 1 == columns;
        if (width > 0) {
            add_padded(out, cell, widths[i % columns], last);
        } else {
            buf_add_string(out, cell);
        }
        buf_add_string(out, last ? "\n" : width > 0 ? "" : "\t");
        cell = next_cell(cell);
    }
}

int client_table_print(const struct client_table *table,
                       const struct options *options)
{
    struct buf out = {0};
    client_table_write(
        table, isatty(STDOUT_FILENO) ? client_columns(STDOUT_FILENO) : 0, &out);
    int code = client_print_bytes(options, buf_bytes(&out));
    buf_free(&out);
    return code;
}
