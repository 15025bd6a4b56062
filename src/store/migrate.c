/* migrate.c -- the schema's versions, embedded, each run once.
 *
 * Migrations change only the structure, and give the same result on every node.
 * A change of replicated data would have to be a log entry. */
#include <sqlite3.h>

#include "base/log.h"
#include "store/store_internal.h"

struct migration {
    int version;
    const char *name;
    const char *sql;
};

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
};

static enum err read_version(sqlite3 *db, int *version)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_exec(db,
                          "CREATE TABLE IF NOT EXISTS migrations("
                          "version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(
            db, "SELECT coalesce(max(version), 0) FROM migrations", -1, &select,
            NULL);
    }
    if (rc == SQLITE_OK && sqlite3_step(select) == SQLITE_ROW) {
        *version = sqlite3_column_int(select, 0);
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

enum err store_migrate(sqlite3 *db)
{
    return store_migrate_to(db, store_schema());
}

enum err store_migrate_to(sqlite3 *db, int last)
{
    int version = 0;
    enum err err = read_version(db, &version);
    int newest = store_schema();
    must(last >= 1 && last <= newest);
    if (!err && version > newest) {
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
