/* test_store_hostile.c -- databases that somebody made to do harm, and those
 * of earlier builds, which must not be taken for such ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/storedir.h"

enum { KEYS = 20, VALUE_MAX = 64 << 10, PAGE = 4096, FANOUT = 300 };

static struct store *store;
static struct buf file;
static const char *why = "";
static uint64_t rows_seen;
static uint64_t bytes_seen;

static int setup(void **state)
{
    (void)state;
    if (storedir_begin(&store) != 0) {
        return -1;
    }
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%02d", i);
        storedir_put(store, key, "value");
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&file);
    return storedir_end(&store);
}

/* ---- making files ---- */

static void changed_path(char path[128])
{
    snprintf(path, 128, "%s/changed.db", storedir_root);
}

/* The file is what these statements make of it; `from_nothing`: of no file. */
static void change(const char *sql, bool from_nothing)
{
    char path[128];
    sqlite3 *db = NULL;
    char *error = NULL;
    changed_path(path);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    size_t before = from_nothing ? 0 : file.size;
    assert_true(before == 0 || fwrite(file.data, 1, before, out) == before);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%s: %s", sql, error);
    }
    sqlite3_close(db);
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(
        fs_read_all(storedir_fs, "changed.db", 1 << 26, &data, &size), ERR_OK);
    file.size = 0;
    buf_add(&file, data, size);
    mem_free(data);
}

static uint32_t root_page(const char *table)
{
    char path[128];
    sqlite3 *db = NULL;
    sqlite3_stmt *select = NULL;
    changed_path(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(
                         db, "SELECT rootpage FROM sqlite_schema WHERE name=?1",
                         -1, &select, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(select, 1, table, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(select), SQLITE_ROW);
    uint32_t root = (uint32_t)sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    sqlite3_close(db);
    return root;
}

static void put_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put_u32(uint8_t *at, size_t value)
{
    put_u16(at, value >> 16);
    put_u16(at + 2, value & 0xffff);
}

/* An interior page of a table, at page[start], that leads to `child` and to it
 * alone: its least key is 1, all others are larger. */
static void make_interior(uint8_t *page, size_t start, size_t child)
{
    memset(page + start, 0, PAGE - start);
    page[start] = 5;
    put_u16(page + start + 3, FANOUT);
    put_u16(page + start + 5, PAGE - 6 * FANOUT);
    put_u32(page + start + 8, child);
    for (size_t i = 0; i < FANOUT; i++) {
        size_t at = PAGE - 6 * (i + 1);
        put_u16(page + start + 12 + 2 * i, at);
        put_u32(page + at, child);
        page[at + 4] = 0x81;
        page[at + 5] = (uint8_t)(i % 128);
    }
}

/* Every row of a small table comes 301 times 301 times. */
static void make_bomb(const char *table)
{
    change("SELECT 1", false);
    bool schema = strcmp(table, "sqlite_schema") == 0;
    size_t root = schema ? 1 : root_page(table);
    size_t start = schema ? 100 : 0;
    size_t pages = file.size / PAGE;
    uint8_t *more = buf_reserve(&file, 2 * PAGE);
    file.size = (pages + 2) * PAGE;
    uint8_t *page = file.data + (root - 1) * PAGE;
    uint8_t *leaf = more + PAGE;
    memcpy(leaf, page, PAGE);
    assert_int_equal(page[start], 13); /* It is small. */
    /* Offsets of cells count from the page's start, on the first page too. */
    memmove(leaf, leaf + start, 8 + 2 * (size_t)page[start + 4]);
    make_interior(page, start, pages + 1);
    make_interior(more, 0, pages + 2);
    put_u32(file.data + 28, pages + 2);
}

/* ---- reading them ---- */

/* As a restore does; the second time by key. */
static enum err upload(void)
{
    struct store_upload *in = NULL;
    struct bytes key;
    struct bytes value;
    assert_int_equal(store_upload_new(store, &in), ERR_OK);
    assert_int_equal(store_upload_add(in, buf_bytes(&file)), ERR_OK);
    why = "";
    enum err err = store_upload_open(in, VALUE_MAX, &why);
    for (int by_key = 0; by_key < 2 && !err; by_key++) {
        rows_seen = 0;
        bytes_seen = 0;
        err = store_upload_begin(in, by_key);
        while (!err && (err = store_upload_next(in, &key, &value)) == ERR_OK) {
            rows_seen++;
            bytes_seen += key.size + value.size;
            assert_true(bytes_seen <= file.size);
        }
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    store_upload_free(in);
    return err;
}

static bool any_conf(struct bytes conf)
{
    (void)conf;
    return true;
}

/* As a restore without a cluster does, or (with an index) a snapshot's end. */
static enum err install(struct store *old, uint64_t index, struct store **out)
{
    struct store_incoming *incoming = NULL;
    assert_int_equal(store_incoming_new(old, &incoming), ERR_OK);
    assert_int_equal(store_incoming_add(incoming, buf_bytes(&file)), ERR_OK);
    return store_incoming_finish(incoming, index, index > 0, any_conf, out);
}

static enum err install_in_memory(uint64_t index)
{
    struct fs *memory = fs_memory_new();
    struct store *empty = storedir_open(memory);
    struct store *out = NULL;
    enum err err = install(empty, index, &out);
    store_close(empty);
    store_close(out);
    fs_memory_free(memory);
    return err;
}

/* The test's own store is as it was, or the new one. */
static enum err install_on_disk(uint64_t index)
{
    struct store *out = NULL;
    enum err err = install(store, index, &out);
    if (!err) {
        store_close(store);
        store = out;
        store_tidy(store);
    }
    return err;
}

static void check_sees_all(void)
{
    enum err err = upload();
    if (err) {
        fail_msg("%s: %s", err_name(err), why);
    }
    assert_int_equal(rows_seen, KEYS);
}

/* ---- backups of every build ---- */

/* Twice the rows, of which there are `count`. */
#define MORE_ROWS(count)                                                       \
    "INSERT INTO pairs SELECT cast('k' || (rowid + " #count ") AS BLOB), "     \
    "x'76', 1, 1 FROM pairs;"
/* As these versions wrote them, to the letter. */
#define SCHEMA_1                                                               \
    "CREATE TABLE migrations("                                                 \
    "version INTEGER PRIMARY KEY, name TEXT NOT NULL);"                        \
    "CREATE TABLE pairs("                                                      \
    "  key BLOB PRIMARY KEY NOT NULL,"                                         \
    "  value BLOB NOT NULL,"                                                   \
    "  create_index INTEGER NOT NULL,"                                         \
    "  modify_index INTEGER NOT NULL);"                                        \
    "CREATE TABLE raft("                                                       \
    "  one INTEGER PRIMARY KEY CHECK(one = 1),"                                \
    "  applied INTEGER NOT NULL, term INTEGER NOT NULL,"                       \
    "  hash INTEGER NOT NULL, keys INTEGER NOT NULL,"                          \
    "  conf_index INTEGER NOT NULL, conf BLOB NOT NULL);"                      \
    "INSERT INTO raft VALUES(1, 9, 1, 7, 20, 1, x'00');"                       \
    "INSERT INTO migrations VALUES(1, 'pairs and the raft row');"              \
    "INSERT INTO pairs VALUES(cast('k1' AS BLOB), x'76', 1, 1);" MORE_ROWS(1)  \
        MORE_ROWS(2) MORE_ROWS(4) MORE_ROWS(8)                                 \
            MORE_ROWS(16) "DELETE FROM pairs WHERE rowid > 20;"
#define SCHEMA_2                                                               \
    SCHEMA_1                                                                   \
    "ALTER TABLE pairs ADD COLUMN version INTEGER NOT NULL DEFAULT 1;"         \
    "ALTER TABLE raft ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;"          \
    "ALTER TABLE raft ADD COLUMN counts_from INTEGER NOT NULL DEFAULT 0;"      \
    "CREATE TABLE answers("                                                    \
    "  at INTEGER PRIMARY KEY,"                                                \
    "  name BLOB NOT NULL UNIQUE,"                                             \
    "  digest INTEGER NOT NULL,"                                               \
    "  result BLOB NOT NULL);"                                                 \
    "INSERT INTO migrations VALUES(2, 'versions');"
#define STAGING                                                                \
    "CREATE TABLE staging("                                                    \
    "  key BLOB PRIMARY KEY NOT NULL,"                                         \
    "  value BLOB NOT NULL,"                                                   \
    "  create_index INTEGER NOT NULL,"                                         \
    "  modify_index INTEGER NOT NULL,"                                         \
    "  version INTEGER NOT NULL DEFAULT 1);"
#define SCHEMA_3                                                               \
    SCHEMA_2                                                                   \
    "ALTER TABLE raft ADD COLUMN restore_id INTEGER NOT NULL DEFAULT 0;"       \
    "ALTER TABLE raft ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;"           \
    "ALTER TABLE raft ADD COLUMN staged_hash INTEGER NOT NULL DEFAULT 0;"      \
    "ALTER TABLE raft ADD COLUMN restored_id INTEGER NOT NULL DEFAULT 0;"      \
    "ALTER TABLE raft ADD COLUMN restored_at INTEGER NOT NULL DEFAULT 0;"      \
    "ALTER TABLE raft ADD COLUMN restored_keys INTEGER NOT NULL DEFAULT "      \
    "0;" STAGING "INSERT INTO migrations VALUES(3, 'restores');"
#define RESTORED                                                               \
    SCHEMA_3                                                                   \
    "ALTER TABLE pairs RENAME TO waste_9;"                                     \
    "ALTER TABLE staging RENAME TO pairs;" STAGING                             \
    "INSERT INTO pairs SELECT * FROM waste_9;"

/* The SQLite of a release reads such a file, but cannot make one. */
#ifdef MUST_WITHOUT_TEXT
#define VACUUM ""
#else
#define VACUUM "VACUUM"
#endif

static void test_backups_of_every_build_are_known(void **state)
{
    (void)state;
    static const char *const builds[] = {SCHEMA_1, SCHEMA_2, SCHEMA_3,
                                         RESTORED};
    for (size_t i = 0; i < ARRAY_COUNT(builds); i++) {
        change(builds[i], true);
        check_sees_all();
        assert_int_equal(install_in_memory(0), ERR_OK);
    }
    /* As it is dumped and read again by the sqlite3 shell, and vacuumed. */
    change("CREATE TABLE IF NOT EXISTS \"migrations\"("
           "version INTEGER PRIMARY KEY, name TEXT NOT NULL);"
           "DROP TABLE migrations;" RESTORED VACUUM,
           true);
    check_sees_all();
    storedir_backup(store, &file);
    check_sees_all();
    assert_int_equal(install_in_memory(KEYS), ERR_OK);
    change("PRAGMA encoding='UTF-16';" SCHEMA_3, true);
    check_sees_all();
}

/* ---- texts of the schema ---- */

#define REWRITE(table, sql)                                                    \
    "PRAGMA writable_schema=ON;"                                               \
    "UPDATE sqlite_schema SET sql = '" sql "' WHERE name = '" table "'"

static void test_a_table_is_known_by_its_text(void **state)
{
    (void)state;
    static const struct {
        const char *table;
        const char *sql;
    } cases[] = {
        {"migrations", REWRITE("migrations", "CREATE TABLE migrations(version "
                                             "INTEGER, name TEXT)")},
        {"migrations",
         REWRITE("migrations", "CREATE TABLE migrations(version AS "
                               "(length(hex(zeroblob(9)))), name TEXT)")},
        {"raft", "ALTER TABLE raft ADD COLUMN more AS (length(zeroblob(9)))"},
        {"raft", REWRITE("raft", "CREATE TABLE raft(one INTEGER PRIMARY KEY, "
                                 "applied AS (length(hex(zeroblob(9)))))")},
        {"pairs", "ALTER TABLE pairs ADD COLUMN more AS (hex(value))"},
        {"pairs", "ALTER TABLE pairs ADD COLUMN more INTEGER"},
        {"pairs", "ALTER TABLE pairs RENAME TO p; CREATE TABLE pairs("
                  "key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, "
                  "create_index INTEGER NOT NULL, modify_index INTEGER NOT "
                  "NULL) WITHOUT ROWID"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        storedir_backup(store, &file);
        change(cases[i].sql, false);
        assert_int_equal(upload(), ERR_CORRUPT);
        if (!strstr(why, cases[i].table) && !strstr(why, "'p'")) {
            fail_msg("%s: %s", cases[i].sql, why);
        }
        assert_int_equal(install_in_memory(0), ERR_CORRUPT);
    }
}

/* Put in without running it: the SQLite of a release has no triggers. */
#define TRIGGER                                                                \
    "PRAGMA writable_schema=ON;"                                               \
    "INSERT INTO sqlite_schema VALUES('trigger', 'more', 'pairs', 0, "         \
    "'CREATE TRIGGER more AFTER INSERT ON pairs WHEN new.version > 0 "         \
    "BEGIN DELETE FROM pairs; UPDATE pairs SET version = 1; END')"
/* Nor has it window functions, in a view of somebody else. */
#define WINDOW(over)                                                           \
    "PRAGMA writable_schema=ON;"                                               \
    "INSERT INTO sqlite_schema VALUES('view', 'more', 'more', 0, "             \
    "'CREATE VIEW more AS SELECT count(*) " over "')"
/* Nor compound queries, virtual tables, or the statistics of ANALYZE. */
#define COMPOUND                                                               \
    "PRAGMA writable_schema=ON;"                                               \
    "INSERT INTO sqlite_schema VALUES('view', 'more', 'more', 0, "             \
    "'CREATE VIEW more AS SELECT key FROM pairs UNION ALL SELECT value FROM "  \
    "pairs EXCEPT SELECT 1')"
#define VIRTUAL                                                                \
    "PRAGMA writable_schema=ON;"                                               \
    "INSERT INTO sqlite_schema VALUES('table', 'more', 'more', 0, "            \
    "'CREATE VIRTUAL TABLE more USING fts5(a, b = (1, 2))')"
#define STATISTICS                                                             \
    "CREATE TABLE t(tbl, idx, stat);"                                          \
    "INSERT INTO t VALUES('pairs', 'sqlite_autoindex_pairs_1', '20 1');"       \
    "PRAGMA writable_schema=ON;"                                               \
    "UPDATE sqlite_schema SET name = 'sqlite_stat1', tbl_name = "              \
    "'sqlite_stat1', sql = 'CREATE TABLE sqlite_stat1(tbl,idx,stat)' "         \
    "WHERE name = 't'"

/* Unknown tables are not read, but a node does not accept them. */
static void test_a_node_takes_nothing_of_strangers(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "CREATE TABLE more(x)",
        "CREATE VIEW more AS SELECT * FROM pairs",
        "CREATE INDEX more ON pairs(modify_index)",
        TRIGGER,
        WINDOW("OVER (PARTITION BY key ORDER BY value) FROM pairs"),
        WINDOW("OVER w FROM pairs WINDOW w AS (ORDER BY key ROWS 2 PRECEDING)"),
        WINDOW("FILTER (WHERE version > 1) FROM pairs"),
        COMPOUND,
        VIRTUAL,
        STATISTICS,
        "CREATE TABLE \"mo\"\"re \n\"(x)",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        storedir_backup(store, &file);
        change(cases[i], false);
        check_sees_all();
        assert_int_equal(install_in_memory(0), ERR_CORRUPT);
        assert_int_equal(install_in_memory(KEYS), ERR_CORRUPT);
    }
    storedir_backup(store, &file);
    change(TRIGGER, false);
    assert_int_equal(install_on_disk(KEYS), ERR_CORRUPT);
    assert_int_equal(store_key_count(store), KEYS);
    storedir_backup(store, &file);
    assert_int_equal(install_on_disk(KEYS), ERR_OK);
    assert_int_equal(store_key_count(store), KEYS);
    store_close(store);
    store = storedir_open(storedir_fs);
    assert_int_equal(store_applied(store), KEYS);
}

/* Without a cluster the file becomes the database: its rows have to be ones
 * that a write could have made. */
static void test_rows_that_no_write_made(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "UPDATE pairs SET value = 'text' WHERE key = x'6b3031'",
        "UPDATE pairs SET key = 'text' WHERE key = x'6b3031'",
        "UPDATE pairs SET key = x'' WHERE key = x'6b3031'",
        "UPDATE pairs SET key = zeroblob(1025) WHERE key = x'6b3031'",
        "DELETE FROM pairs WHERE key = x'6b3031'",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        storedir_backup(store, &file);
        change(cases[i], false);
        assert_int_equal(install_in_memory(0), ERR_CORRUPT);
    }
    storedir_backup(store, &file);
    change("UPDATE migrations SET version = 99 WHERE version = 1", false);
    assert_int_equal(install_in_memory(0), ERR_VERSION);
    assert_int_equal(upload(), ERR_VERSION);
}

/* ---- work without an end ---- */

static void test_a_tree_that_leads_back_to_itself(void **state)
{
    (void)state;
    storedir_backup(store, &file);
    make_bomb("pairs");
    assert_int_equal(upload(), ERR_CORRUPT);
    assert_true(rows_seen <= KEYS); /* Not 90,000 times as many. */
    storedir_backup(store, &file);
    make_bomb("sqlite_schema");
    assert_int_equal(upload(), ERR_CORRUPT);
    assert_non_null(strstr(why, "larger than craftd's"));
    assert_int_equal(install_in_memory(KEYS), ERR_CORRUPT);
    /* One row is all that is read of these. */
    storedir_backup(store, &file);
    make_bomb("migrations");
    make_bomb("raft");
    check_sees_all();
}

static void add_tables(int count)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
             "PRAGMA writable_schema=ON; CREATE TABLE t0(a);"
             "INSERT INTO t0 SELECT 1 FROM pairs AS p, pairs AS q, pairs AS r, "
             "pairs AS s LIMIT %d; INSERT INTO sqlite_schema SELECT 'table', "
             "'t' || t0.rowid, 't' || t0.rowid, s.rootpage, 'CREATE TABLE t' "
             "|| t0.rowid || '(a)' FROM t0, sqlite_schema AS s "
             "WHERE name = 't0'; DELETE FROM t0",
             count - 1);
    storedir_backup(store, &file);
    change(sql, false);
}

static void test_a_schema_without_an_end(void **state)
{
    (void)state;
    add_tables(200);
    check_sees_all();
    add_tables(20000);
    assert_int_equal(upload(), ERR_CORRUPT);
    assert_non_null(strstr(why, "larger than craftd's"));
    /* Few, but long ones. */
    storedir_backup(store, &file);
    change("PRAGMA writable_schema=ON; CREATE TABLE t(a);"
           "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a /*' || "
           "printf('%.2400c', '0') || '*/)' WHERE name = 't'",
           false);
    assert_int_equal(upload(), ERR_CORRUPT);
}

static void test_a_value_over_the_limit(void **state)
{
    (void)state;
    char sql[256];
    for (int over = 0; over < 2; over++) {
        storedir_backup(store, &file);
        snprintf(sql, sizeof(sql),
                 "INSERT INTO pairs(key, value, create_index, modify_index) "
                 "VALUES(x'7a', zeroblob(%d), 1, 1)",
                 VALUE_MAX + over * 8192);
        change(sql, false);
        assert_int_equal(upload(), over ? ERR_TOO_BIG : ERR_OK);
    }
}

/* Rows that have their pages in common: each is small in the file, and all of
 * a large value's size when it is read. */
static void test_rows_that_share_their_pages(void **state)
{
    (void)state;
    enum { CELL_MAX = 600 };
    storedir_backup(store, &file);
    /* All but 509 bytes of it are in pages of their own. */
    change("DELETE FROM pairs; INSERT INTO pairs VALUES(x'7a', "
           "zeroblob(61880), 1, 1, 1)",
           false);
    uint8_t *page = file.data + (root_page("pairs") - 1) * PAGE;
    assert_int_equal(page[0] * 256 + page[4], 13 * 256 + 1);
    size_t cell = (size_t)(page[8] << 8 | page[9]);
    size_t size = PAGE - cell;
    /* Payload's size (three bytes), then the rowid. */
    assert_true(size < CELL_MAX && page[cell + 3] < 0x70);
    for (size_t i = 1; i < 6; i++) {
        size_t at = cell - i * size;
        memcpy(page + at, page + cell, size);
        page[at + 3] = (uint8_t)(page[cell + 3] + i);
        put_u16(page + 8 + 2 * i, at);
        put_u16(page + 5, at);
        page[4]++;
    }
    assert_int_equal(upload(), ERR_CORRUPT);
    assert_int_equal(rows_seen, 1); /* The file has no room for two. */
}

/* SQLite takes what is missing of the last page for zeros. */
static void test_a_file_that_ends_within_a_page(void **state)
{
    (void)state;
    static const size_t cuts[] = {1, 100, PAGE / 2, PAGE - 1, PAGE, PAGE + 1};
    for (size_t i = 0; i < ARRAY_COUNT(cuts); i++) {
        storedir_backup(store, &file);
        change("INSERT INTO pairs VALUES(x'7a', printf('%.60000c', 'a'), "
               "1, 1, 1); UPDATE raft SET keys = keys + 1;"
               "UPDATE pairs SET value = cast(value AS BLOB)",
               false);
        assert_int_equal(upload(), ERR_OK);
        assert_int_equal(install_in_memory(0), ERR_OK);
        assert_true(file.size % PAGE == 0);
        file.size -= cuts[i];
        assert_int_equal(upload(), ERR_CORRUPT);
        assert_int_equal(install_in_memory(0), ERR_CORRUPT);
        assert_int_equal(install_on_disk(0), ERR_CORRUPT);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_backups_of_every_build_are_known),
        T(test_a_table_is_known_by_its_text),
        T(test_a_node_takes_nothing_of_strangers),
        T(test_rows_that_no_write_made),
        T(test_a_tree_that_leads_back_to_itself),
        T(test_a_schema_without_an_end),
        T(test_a_value_over_the_limit),
        T(test_rows_that_share_their_pages),
        T(test_a_file_that_ends_within_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
