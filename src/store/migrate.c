/* migrate.c -- the schema's versions, embedded, each run once.
 *
 * Migrations change only the structure, and give the same result on every node.
 * A change of replicated data would have to be a log entry.
 *
 * Those up to SCHEMA_AT_OPEN run when a database is opened. A later one is run
 * by the first entry that needs it (store_apply()): builds that do not know it
 * could not apply that entry either, so until then they can take snapshots of
 * this database, and open it after a downgrade. */
#include <stdio.h>

#include <sqlite3.h>

#include "base/log.h"
#include "store/store_internal.h"

enum { SCHEMA_AT_OPEN = 3, NAME_BYTES = 64 };

struct migration {
    int version;
    const char *name;
    const char *sql;
};

_Static_assert((int)STORE_SCHEMA_TIMED > (int)SCHEMA_AT_OPEN, "run late");

static const struct migration migrations[] = {
    {1, "pairs and the raft row",
     "CREATE TABLE pairs("
     "  key BLOB PRIMARY KEY NOT NULL,"
     "  value BLOB NOT NULL,"
     "  create_index INTEGER NOT NULL,"
     "  modify_index INTEGER NOT NULL);"
     "CREATE TABLE raft("
     "  one INTEGER PRIMARY KEY CHECK(one = 1),"
     "  applied INTEGER NOT NULL, term INTEGER NOT NULL,"
     "  hash INTEGER NOT NULL, keys INTEGER NOT NULL,"
     "  conf_index INTEGER NOT NULL, conf BLOB NOT NULL);"
     "INSERT INTO raft VALUES(1, 0, 0, 0, 0, 0, x'');"},
    /* Adding a column with a default rewrites no row. */
    {2, "versions, and answers to named requests",
     "ALTER TABLE pairs ADD COLUMN version INTEGER NOT NULL DEFAULT 1;"
     "ALTER TABLE raft ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN counts_from INTEGER NOT NULL DEFAULT 0;"
     "CREATE TABLE answers("
     "  at INTEGER PRIMARY KEY," /* The entry's index. */
     "  name BLOB NOT NULL UNIQUE,"
     "  digest INTEGER NOT NULL,"
     "  result BLOB NOT NULL);"},
    {3, "restores of a running cluster",
     "ALTER TABLE raft ADD COLUMN restore_id INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN staged_hash INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN restored_id INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN restored_at INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN restored_keys INTEGER NOT NULL DEFAULT "
     "0;" STAGING_SQL},
#if CRAFTD_COMMAND_NEWEST >= 4
    /* Table deadlines can become waste, as pairs can: it has the same
     * columns. */
    {STORE_SCHEMA_TIMED, "cluster time, deadlines and leases",
     "ALTER TABLE pairs ADD COLUMN " STORE_DEADLINE_COLUMN ";"
     "ALTER TABLE staging ADD COLUMN " STORE_DEADLINE_COLUMN ";"
     "ALTER TABLE answers ADD COLUMN time INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN time INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN timed_keys INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE raft ADD COLUMN leases INTEGER NOT NULL DEFAULT "
     "0;" DEADLINES_SQL},
#endif
};

static enum err read_version(sqlite3 *db, int *version, char *name, size_t size)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_exec(db,
                          "CREATE TABLE IF NOT EXISTS migrations("
                          "version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(
            db,
            "SELECT coalesce(max(version), 0), coalesce(name, '') "
            "FROM migrations",
            -1, &select, NULL);
    }
    if (rc == SQLITE_OK && sqlite3_step(select) == SQLITE_ROW) {
        *version = sqlite3_column_int(select, 0);
        snprintf(name, size, "%s",
                 (const char *)sqlite3_column_text(select, 1));
    } else if (rc == SQLITE_OK) {
        rc = sqlite3_errcode(db);
    }
    sqlite3_finalize(select);
    return rc == SQLITE_OK ? ERR_OK : store_error(db, "reading the schema");
}

static enum err run(sqlite3 *db, const struct migration *migration)
{
    char *record = sqlite3_mprintf("INSERT INTO migrations VALUES(%d, %Q)",
                                   migration->version, migration->name);
    if (!record) {
        die("out of memory: schema version %d", migration->version);
    }
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, migration->sql, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, record, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    sqlite3_free(record);
    if (rc != SQLITE_OK) {
        enum err err = store_error(db, migration->name);
        if (!sqlite3_get_autocommit(db)) {
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        }
        return err;
    }
    log_debug("migration", "version=%d name=\"%s\"", migration->version,
              migration->name);
    return ERR_OK;
}

int store_schema(void)
{
    return migrations[ARRAY_COUNT(migrations) - 1].version;
}

enum err store_migrate(sqlite3 *db, bool *timed)
{
    int version = 0;
    char name[NAME_BYTES] = "";
    enum err err = store_migrate_to(db, SCHEMA_AT_OPEN);
    if (!err) {
        err = read_version(db, &version, name, sizeof(name));
    }
    *timed = version >= STORE_SCHEMA_TIMED;
    return err;
}

/* A version that runs late is known by its name as well. Another program may
 * have counted on from what it found. */
static bool is_known(int version, const char *name)
{
    return version <= SCHEMA_AT_OPEN ||
           (version <= store_schema() &&
            strcmp(migrations[version - 1].name, name) == 0);
}

enum err store_migrate_to(sqlite3 *db, int last)
{
    int version = 0;
    char name[NAME_BYTES] = "";
    enum err err = read_version(db, &version, name, sizeof(name));
    int newest = store_schema();
    must(last >= 1 && last <= newest);
    if (!err && !is_known(version, name)) {
        log_error("store",
                  "schema=%d known=%d why=\"written by a newer craftd\"",
                  version, newest);
        return ERR_VERSION;
    }
    for (size_t i = 0; !err && i < ARRAY_COUNT(migrations); i++) {
        must(migrations[i].version == (int)i + 1);
        if (migrations[i].version > version && migrations[i].version <= last) {
            err = run(db, &migrations[i]);
        }
    }
    return err;
}
