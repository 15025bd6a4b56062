/* table_internal.h -- rows for people on a terminal, and for programs in a
 * pipe.
 *
 * A terminal gets a line of headings and aligned columns. When they are wider
 * than it, the widest ones are cut, which a "~" at the end of a cell shows. A
 * pipe gets the cells alone, with TABs between, never cut: columns are added at
 * the end only, so that a program may count them. An empty cell is "-";
 * control characters are "?" in both. */
#ifndef CRAFTD_CLIENT_TABLE_INTERNAL_H
#define CRAFTD_CLIENT_TABLE_INTERNAL_H

#include "client/client_internal.h"

enum { TABLE_COLUMNS_MAX = 12 };

struct client_table {
    const char *const *heads; /* Constants, one for each column. */
    unsigned columns;         /* At most TABLE_COLUMNS_MAX. */
    unsigned cell_count;
    struct buf cells; /* Row after row, each cell with its terminating 0. */
};

void client_table_init(struct client_table *table, const char *const *heads,
                       unsigned columns);
void client_table_free(struct client_table *table);
/* Add the next cell of the row; a row starts behind the last cell of the one
 * before. */
void client_table_add(struct client_table *table, const char *text);
/* Write the table as for a terminal of `width` columns; 0: as for a pipe. */
void client_table_write(const struct client_table *table, unsigned width,
                        struct buf *out);
/* Print it on stdout, as fits there. Returns the exit code. */
int client_table_print(const struct client_table *table,
                       const struct options *options);

/* Columns that a terminal needs for UTF-8: East Asian wide characters need two,
 * combining ones none. */
unsigned client_text_width(const char *text);

#endif
