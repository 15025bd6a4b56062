/* schema.c -- checks whether a database that this node did not write has
 * craftd's schema.
 *
 * Until that is known, the file may be crafted to do harm: a schema of a
 * million tables, a b-tree with a cycle, computed columns, endless texts. The
 * code follows SQLite's own advice for such files ("Defense Against The Dark
 * Arts"): limits, an authorizer that allows to read the tables named here and
 * nothing else, no functions, and a bound on the instructions of its virtual
 * machine. No instruction takes long then: it descends a b-tree of at most 20
 * pages, or copies at most the limit of a length.
 *
 * Tables are recognised by their text in the schema. It is compared with the
 * schema that the migrations of this build create, at each version, so that
 * backups of all earlier builds are recognised too, and a new migration needs
 * no change here. Names are ignored (ALTER TABLE ... RENAME rewrites them), and
 * so are blanks and quotes, in which versions of SQLite differ. */
#include <stdio.h>

#include "base/log.h"
#include "store/store_internal.h"

enum {
    KNOWN_MAX = 32,
    TEXT_BYTES_MAX = 1536, /* craftd's texts have at most 1 KiB. */
    COLUMNS_MAX = 32,      /* craftd's tables have at most 15. */
    PROGRAM_MAX = 1000,    /* Instructions of one statement. */
    STEP_UNIT = 100,       /* Instructions per call of count_steps(). */
    /* Enough for about 300 tables and indexes: 150 restores whose replaced
     * tables have not been deleted yet. */
    OPEN_STEPS_MAX = 6000,
    NAME_BYTES = 64,
    LIMITS = SQLITE_LIMIT_WORKER_THREADS + 1,
};

/* ---- limits of an untrusted database ---- */

static int count_steps(void *arg)
{
    struct guard *guard = arg;
    guard->steps += STEP_UNIT;
    return guard->steps > guard->steps_max; /* True causes SQLITE_INTERRUPT. */
}

static int allow(void *arg, int action, const char *table, const char *column,
                 const char *database, const char *from)
{
    static const char *const readable[] = {"pairs", "raft", "migrations",
                                           "sqlite_master"};
    (void)arg;
    (void)column;
    (void)database;
    (void)from;
    if (action == SQLITE_SELECT) {
        return SQLITE_OK;
    }
    for (size_t i = 0; i < ARRAY_COUNT(readable); i++) {
        if (action == SQLITE_READ && table && strcmp(table, readable[i]) == 0) {
            return SQLITE_OK;
        }
    }
    return SQLITE_DENY;
}

void store_guard_begin(struct guard *guard, sqlite3 *db)
{
    static const struct {
        int limit;
        int value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, 4 * TEXT_BYTES_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, TEXT_BYTES_MAX},
        {SQLITE_LIMIT_COLUMN, COLUMNS_MAX},
        {SQLITE_LIMIT_EXPR_DEPTH, 20},
        {SQLITE_LIMIT_COMPOUND_SELECT, 4},
        {SQLITE_LIMIT_VDBE_OP, PROGRAM_MAX},
        {SQLITE_LIMIT_FUNCTION_ARG, 4},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 0},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
    };
    _Static_assert((int)LIMITS <= (int)GUARD_LIMITS, "a place for each");
    *guard = (struct guard){.db = db, .steps_max = OPEN_STEPS_MAX};
    for (int i = 0; i < LIMITS; i++) {
        guard->limits[i] = sqlite3_limit(db, i, -1);
    }
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        sqlite3_limit(db, limits[i].limit, limits[i].value);
    }
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_progress_handler(db, STEP_UNIT, count_steps, guard);
    sqlite3_exec(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0", NULL,
                 NULL, NULL);
    sqlite3_set_authorizer(db, allow, NULL);
}

void store_guard_renew(struct guard *guard, uint64_t steps_max)
{
    guard->steps = 0;
    guard->steps_max = steps_max;
}

void store_guard_end(struct guard *guard)
{
    sqlite3 *db = guard->db;
    for (int i = 0; i < LIMITS; i++) {
        sqlite3_limit(db, i, guard->limits[i]);
    }
    sqlite3_set_authorizer(db, NULL, NULL);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 1, NULL);
    sqlite3_exec(db, "PRAGMA cell_size_check=OFF", NULL, NULL, NULL);
}

enum err store_guard_error(const struct guard *guard)
{
    enum err shortage = store_error_shortage(guard->db);
    if (shortage) {
        return shortage;
    }
    switch (sqlite3_errcode(guard->db) & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
        /* A file that ends early is damaged rather than unreadable. */
        return sqlite3_extended_errcode(guard->db) == SQLITE_IOERR_SHORT_READ
                   ? ERR_CORRUPT
                   : ERR_IO;
    case SQLITE_TOOBIG:
        return ERR_TOO_BIG;
    default:
        return ERR_CORRUPT;
    }
}

/* ---- definitions as text ---- */

/* The table whose definition `name` must have: tables that were renamed from
 * pairs, or will be renamed to it, have that of pairs, and so has deadlines. */
static const char *role_of(const char *name)
{
    return strcmp(name, "staging") == 0 || strcmp(name, "deadlines") == 0 ||
                   strncmp(name, "waste_", 6) == 0
               ? "pairs"
               : name;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A blank before or after one of these has no meaning. */
static bool is_mark(char c)
{
    return c == '(' || c == ')' || c == ',' || c == '=';
}

/* Adds `text` in a normal form: one blank where one is necessary, no quotes. */
static void add_plain(struct buf *out, const char *text)
{
    bool blank = false;
    char last = '(';
    for (; *text; text++) {
        if (is_blank(*text) || *text == '"') {
            blank = true;
            continue;
        }
        if (blank && !is_mark(last) && !is_mark(*text)) {
            buf_add_u8(out, ' ');
        }
        buf_add_u8(out, (uint8_t)*text);
        last = *text;
        blank = false;
    }
}

/* Adds the definition of a table or a view from its row of the schema, without
 * its name. */
static void add_row(struct buf *out, const char *name, const char *sql)
{
    static const char create[] = "CREATE TABLE ";
    buf_add_string(out, role_of(name));
    buf_add_u8(out, ':');
    if (strncmp(sql, create, strlen(create)) == 0) {
        sql += strlen(create);
        bool quoted = *sql == '"';
        if (strncmp(sql + quoted, name, strlen(name)) == 0) {
            sql += strlen(name) + (quoted ? 2 : 0);
        }
        add_plain(out, sql);
    }
}

struct known {
    bool whole;
    size_t count;
    struct buf rows[KNOWN_MAX];
};

static bool is_known(const struct known *known, struct bytes row)
{
    for (size_t i = 0; i < known->count; i++) {
        if (bytes_equal(buf_bytes(&known->rows[i]), row)) {
            return true;
        }
    }
    return false;
}

static bool learn(struct known *known, sqlite3 *db)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_prepare_v2(
        db, "SELECT name, sql FROM sqlite_master WHERE type = 'table'", -1,
        &select, NULL);
    while (rc == SQLITE_OK && sqlite3_step(select) == SQLITE_ROW) {
        struct buf row = {0};
        add_row(&row, (const char *)sqlite3_column_text(select, 0),
                (const char *)sqlite3_column_text(select, 1));
        if (is_known(known, buf_bytes(&row))) {
            buf_free(&row);
        } else {
            must(known->count < KNOWN_MAX);
            known->rows[known->count++] = row;
        }
    }
    return sqlite3_finalize(select) == SQLITE_OK && rc == SQLITE_OK;
}

/* Collects the tables of all versions of the schema, once per process. */
static enum err learn_all(const struct known **out)
{
    static struct known known;
    sqlite3 *db = NULL;
    bool ok = known.whole || sqlite3_open(":memory:", &db) == SQLITE_OK;
    for (int version = 1; !known.whole && ok && version <= store_schema();
         version++) {
        ok = store_migrate_to(db, version) == ERR_OK && learn(&known, db);
    }
    sqlite3_close(db);
    known.whole = ok;
    *out = &known;
    return ok ? ERR_OK : ERR_RESOURCES; /* It can fail for lack of memory. */
}

/* ---- the check ---- */

/* Content of a schema: the tables of craftd's that it has, and the name of the
 * first object that is not one of craftd's. */
struct found {
    bool pairs;
    bool raft;
    bool migrations;
    bool stranger;
    char name[NAME_BYTES];
};

static bool text_of(sqlite3_stmt *select, int column, const char **text)
{
    *text = (const char *)sqlite3_column_text(select, column);
    return *text &&
           strlen(*text) == (size_t)sqlite3_column_bytes(select, column);
}

static bool is_ours(const struct known *known, const char *type,
                    const char *name, const char *sql)
{
    static const char automatic[] = "sqlite_autoindex_";
    struct buf row = {0};
    if (strcmp(type, "index") == 0) {
        return strncmp(name, automatic, strlen(automatic)) == 0 && !sql;
    }
    if (strcmp(type, "view") == 0) {
        return strcmp(name, store_view_name) == 0 && sql &&
               strcmp(sql, store_view_sql) == 0;
    }
    if (strcmp(type, "table") != 0 || !sql) {
        return false;
    }
    add_row(&row, name, sql);
    bool ours = is_known(known, buf_bytes(&row));
    buf_free(&row);
    return ours;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_';
}

/* Checks a row of the schema: type, name, sql. */
static void check_row(const struct known *known, sqlite3_stmt *select,
                      struct found *found)
{
    const char *type;
    const char *name;
    const char *sql = NULL;
    bool text = text_of(select, 0, &type) && text_of(select, 1, &name) &&
                (sqlite3_column_type(select, 2) == SQLITE_NULL ||
                 text_of(select, 2, &sql));
    if (text && is_ours(known, type, name, sql)) {
        found->pairs = found->pairs || strcmp(name, "pairs") == 0;
        found->raft = found->raft || strcmp(name, "raft") == 0;
        found->migrations =
            found->migrations || strcmp(name, "migrations") == 0;
    } else if (!found->stranger) {
        found->stranger = true;
        snprintf(found->name, sizeof(found->name), "%s", text ? name : "?");
        for (char *c = found->name; *c; c++) {
            *c = is_plain(*c) ? *c : '?';
        }
    }
}

static enum err check_rows(struct guard *guard, const struct known *known,
                           struct found *found)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_prepare_v2(guard->db,
                                "SELECT type, name, sql FROM sqlite_master", -1,
                                &select, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(select)) == SQLITE_ROW) {
        check_row(known, select, found);
        rc = SQLITE_OK;
    }
    enum err err = rc == SQLITE_DONE ? ERR_OK : store_guard_error(guard);
    sqlite3_finalize(select);
    /* A text over the limit is not one of craftd's. */
    return err == ERR_TOO_BIG ? ERR_CORRUPT : err;
}

/* Reads the number in the first row of a query. ERR_CORRUPT: there is none. */
static enum err read_number(struct guard *guard, const char *sql,
                            sqlite3_int64 *value)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_prepare_v2(guard->db, sql, -1, &select, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(select);
    }
    enum err err = ERR_OK;
    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int64(select, 0);
    } else {
        err = rc == SQLITE_DONE ? ERR_CORRUPT : store_guard_error(guard);
    }
    sqlite3_finalize(select);
    return err == ERR_TOO_BIG ? ERR_CORRUPT : err;
}

static enum err check_found(struct guard *guard, const struct found *found,
                            bool only_ours, const char **why)
{
    static char strange[NAME_BYTES + 64];
    sqlite3_int64 value = 0;
    enum err err = ERR_OK;
    /* Both queries search by rowid, so that no table is scanned. */
    if (found->migrations) {
        err = read_number(guard,
                          "SELECT version FROM migrations "
                          "ORDER BY version DESC LIMIT 1",
                          &value);
    }
    if (!err && value > store_schema()) {
        *why = "it was written by a newer craftd";
        return ERR_VERSION;
    }
    if (!err && found->stranger &&
        (only_ours || !found->pairs || !found->raft || !found->migrations)) {
        snprintf(strange, sizeof(strange),
                 "its '%s' was not created by craftd: it is not a backup",
                 found->name);
        *why = strange;
        return ERR_CORRUPT;
    }
    if (!err && !(found->pairs && found->raft && found->migrations)) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        err = read_number(guard, "SELECT applied FROM raft WHERE one = 1",
                          &value);
    }
    if (!err && value <= 0) {
        *why = "no entry was applied in it: it is not a backup";
        err = ERR_CORRUPT;
    }
    return err;
}

enum err store_schema_check(struct guard *guard, bool only_ours,
                            const char **why)
{
    const struct known *known;
    struct found found = {0};
    *why = "it does not have the tables of craftd: it is not a backup";
    enum err err = learn_all(&known);
    if (!err) {
        err = check_rows(guard, known, &found);
    }
    if (!err) {
        err = check_found(guard, &found, only_ours, why);
    }
    if (err && guard->steps > guard->steps_max) {
        *why = "its schema is larger than craftd's can be: it is not a backup";
    }
    return err;
}

bool store_schema_ends_with_page(const uint8_t header[SCHEMA_HEADER_BYTES],
                                 uint64_t bytes)
{
    enum { SIZE_AT = 16, LEAST = 512, LARGEST = 65536 };
    uint32_t size = (uint32_t)header[SIZE_AT] << 8 | header[SIZE_AT + 1];
    size = size == 1 ? LARGEST : size; /* The largest does not fit 16 bits. */
    return size >= LEAST && bytes % size == 0;
}

enum err store_schema_check_foreign(sqlite3 *db)
{
    struct guard guard;
    const char *why = "";
    /* As open.c does: the index of the -wal is in memory from the start. */
    if (sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL) !=
        SQLITE_OK) {
        return store_error(db, "locking");
    }
    store_guard_begin(&guard, db);
    enum err err = store_schema_check(&guard, true, &why);
    store_guard_end(&guard);
    if (err && !err_is_shortage(err)) {
        log_error("store", "why=\"%s\"", why);
    }
    return err;
}
