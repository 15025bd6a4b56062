/* view.c -- a view in backups, for people: kv(key, value), as text.
 *
 * Keys and values are BLOBs, which SQL does not compare with text: in a backup
 * `SELECT value FROM pairs WHERE key = 'a'` finds nothing. The same query of
 * the view does.
 *
 * The view is not part of the database that a node works with: ALTER TABLE ...
 * RENAME, by which a restore takes effect, would rewrite it, and fails where
 * the table of a view is missing, as it would in nodes of earlier builds that
 * receive a snapshot. So the view's row is added to the schema while a backup
 * is read: to the last leaf of the schema's b-tree, whose cells are compacted
 * for it. The file keeps its size, and no other page changes.
 *
 * Limit: without a hundred free bytes in that leaf there is no view. They are
 * missing only while replaced tables of several restores exist.
 *
 * Format: "Database File Format" of SQLite, 1.6 (b-tree pages) and 2.6. */
#include "store/store_internal.h"

enum {
    PAGE_BYTES = 4096,
    FILE_HEADER_BYTES = 100, /* Before the b-tree's own on page 1. */
    INTERIOR = 5,
    INTERIOR_HEADER_BYTES = 12,
    LEAF = 13,
    LEAF_HEADER_BYTES = 8,
    LOCAL_BYTES_MAX = PAGE_BYTES - 35, /* Payload that needs no other page. */
    LOCAL_BYTES_MIN = (PAGE_BYTES - 12) * 32 / 255 - 23,
    CELL_BYTES_MAX = 512,
};

const char store_view_name[] = "kv";
const char store_view_sql[] =
    "CREATE VIEW kv AS SELECT CAST(key AS TEXT) AS key, "
    "CAST(value AS TEXT) AS value FROM pairs";

/* ---- big-endian, and SQLite's varints ---- */

static size_t get_u16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

static uint64_t get_u32(const uint8_t *at)
{
    return (uint64_t)get_u16(at) << 16 | get_u16(at + 2);
}

static void put_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Reads a varint of at most eight bytes, seven bits each. False: it is longer
 * or truncated. */
static bool get_varint(struct cursor *in, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 8; i++) {
        uint8_t byte = cursor_u8(in);
        *value = *value << 7 | (byte & 0x7f);
        if (byte < 0x80) {
            return !in->failed;
        }
    }
    return false;
}

static void add_varint(struct buf *out, uint64_t value)
{
    int shift = 0;
    while (value >> shift >= 1 << 7) {
        shift += 7;
    }
    for (; shift > 0; shift -= 7) {
        buf_add_u8(out, (uint8_t)(0x80 | (value >> shift & 0x7f)));
    }
    buf_add_u8(out, (uint8_t)(value & 0x7f));
}

/* ---- the row ---- */

static uint64_t type_of_text(const char *text)
{
    return 13 + 2 * (uint64_t)strlen(text);
}

/* Adds a cell of the schema: type, name, tbl_name, rootpage, sql. */
static void add_cell(struct buf *out, uint64_t rowid)
{
    static const char type[] = "view";
    struct buf record = {0};
    enum { ZERO = 8, TYPES_BYTES = 6 }; /* One byte each; the last has two. */
    buf_add_u8(&record, 1 + TYPES_BYTES);
    add_varint(&record, type_of_text(type));
    add_varint(&record, type_of_text(store_view_name));
    add_varint(&record, type_of_text(store_view_name));
    add_varint(&record, ZERO);
    add_varint(&record, type_of_text(store_view_sql));
    must(record.size == 1 + TYPES_BYTES);
    buf_add_string(&record, type);
    buf_add_string(&record, store_view_name);
    buf_add_string(&record, store_view_name);
    buf_add_string(&record, store_view_sql);
    must(record.size < CELL_BYTES_MAX);
    add_varint(out, record.size);
    add_varint(out, rowid);
    buf_add_bytes(out, buf_bytes(&record));
    buf_free(&record);
}

/* ---- the page ---- */

/* Size of the cell at page[at], and its rowid. 0: it is damaged. */
static size_t cell_size(const uint8_t *page, size_t at, uint64_t *rowid)
{
    struct cursor in = cursor_of(bytes_of(page + at, PAGE_BYTES - at));
    uint64_t payload;
    if (!get_varint(&in, &payload) || !get_varint(&in, rowid)) {
        return 0;
    }
    uint64_t local = payload;
    if (payload > LOCAL_BYTES_MAX) {
        uint64_t more =
            LOCAL_BYTES_MIN + (payload - LOCAL_BYTES_MIN) % (PAGE_BYTES - 4);
        local = more <= LOCAL_BYTES_MAX ? more : LOCAL_BYTES_MIN;
        local += 4; /* Number of its first overflow page. */
    }
    size_t head = PAGE_BYTES - at - cursor_left(&in);
    return local <= cursor_left(&in) ? head + (size_t)local : 0;
}

bool store_view_add(uint8_t *page, size_t start)
{
    uint8_t old[PAGE_BYTES];
    size_t count = get_u16(page + start + 3);
    size_t pointers = start + LEAF_HEADER_BYTES;
    size_t low = pointers + 2 * (count + 1);
    size_t high = PAGE_BYTES;
    uint64_t rowid = 0;
    if (page[start] != LEAF || low >= PAGE_BYTES) {
        return false;
    }
    memcpy(old, page, PAGE_BYTES);
    for (size_t i = 0; i < count; i++) {
        size_t at = get_u16(old + pointers + 2 * i);
        size_t size =
            at >= low - 2 && at < PAGE_BYTES ? cell_size(old, at, &rowid) : 0;
        if (size == 0 || size > high - low) {
            memcpy(page, old, PAGE_BYTES);
            return false;
        }
        high -= size;
        memcpy(page + high, old + at, size);
        put_u16(page + pointers + 2 * i, high);
    }
    struct buf cell = {0};
    bool fits = rowid < UINT32_MAX;
    if (fits) {
        add_cell(&cell, rowid + 1);
        fits = cell.size <= high - low;
    }
    if (fits) {
        high -= cell.size;
        memcpy(page + high, cell.data, cell.size);
        put_u16(page + pointers + 2 * count, high);
        memset(page + start + 1, 0, 2); /* There are no free blocks. */
        put_u16(page + start + 3, count + 1);
        put_u16(page + start + 5, high);
        page[start + 7] = 0; /* There are no fragments. */
        memset(page + low, 0, high - low);
    } else {
        memcpy(page, old, PAGE_BYTES);
    }
    buf_free(&cell);
    return fits;
}

uint64_t store_view_next_page(const uint8_t *page, size_t start)
{
    return page[start] == INTERIOR ? get_u32(page + start + 8) : 0;
}

enum err store_view_drop(sqlite3 *db)
{
    return sqlite3_exec(db, "DROP VIEW IF EXISTS kv", NULL, NULL, NULL) ==
                   SQLITE_OK
               ? ERR_OK
               : store_error(db, "dropping a view");
}
