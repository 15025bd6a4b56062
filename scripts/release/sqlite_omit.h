/* sqlite_omit.h -- included before SQLite's amalgamation, of which a release
 * leaves out triggers, window functions, compound queries, virtual tables,
 * ANALYZE, VACUUM and REINDEX (SQLITE_OMIT_*). Its parser was generated
 * with them: here its calls into what is left out report an
 * error, as for any statement that is wrong, and free what they were given. The
 * parser ends at once, so that what would follow is never reached.
 *
 * In the schema of a file that somebody uploads such a trigger or view is
 * ignored instead: SQLITE_DONE ends the parser without an error. With all of
 * SQLite it has no effect either (store/schema.c), and the file can be read.
 *
 * sqlite_omitted.c and sqlite.sed do the rest, where no macro can. */
#define OMITTED(parse, what)                                                   \
    ((parse)->db->init.busy                                                    \
         ? (void)((parse)->rc = SQLITE_DONE)                                   \
         : sqlite3ErrorMsg(parse, what " are not in this program"))
#define OMITTED_STEP(parse) (OMITTED(parse, "triggers"), (TriggerStep *)0)

#define sqlite3BeginTrigger(parse, name, schema, time, event, columns, table,  \
                            when, temp, quiet)                                 \
    do {                                                                       \
        sqlite3IdListDelete((parse)->db, columns);                             \
        sqlite3SrcListDelete((parse)->db, table);                              \
        sqlite3ExprDelete((parse)->db, when);                                  \
        OMITTED(parse, "triggers");                                            \
    } while (0)
#define sqlite3FinishTrigger(parse, steps, all) OMITTED(parse, "triggers")
#define sqlite3DropTrigger(parse, name, quiet)                                 \
    do {                                                                       \
        sqlite3SrcListDelete((parse)->db, name);                               \
        OMITTED(parse, "triggers");                                            \
    } while (0)
#define sqlite3DeleteTriggerStep(db, step) ((void)(step))
#define sqlite3TriggerUpdateStep(parse, ...) OMITTED_STEP(parse)
#define sqlite3TriggerInsertStep(parse, ...) OMITTED_STEP(parse)
#define sqlite3TriggerDeleteStep(parse, ...) OMITTED_STEP(parse)
#define sqlite3TriggerSelectStep(db, ...) ((TriggerStep *)0)

#define OMITTED_ALTER(parse, table)                                            \
    do {                                                                       \
        sqlite3SrcListDelete((parse)->db, table);                              \
        OMITTED(parse, "other changes of a table");                            \
    } while (0)
#define OMITTED_CONSTRAINT(parse, table, condition)                            \
    do {                                                                       \
        sqlite3ExprDelete((parse)->db, condition);                             \
        OMITTED_ALTER(parse, table);                                           \
    } while (0)

#define sqlite3WindowListDelete(db, windows) ((void)(windows))
#define sqlite3WindowChain(parse, window, base)                                \
    OMITTED(parse, "window functions")
#define sqlite3WindowAssemble(parse, window, partition, order, base)           \
    (sqlite3ExprListDelete((parse)->db, partition),                            \
     sqlite3ExprListDelete((parse)->db, order),                                \
     OMITTED(parse, "window functions"), (Window *)0)
#define sqlite3WindowAlloc(parse, type, start, start_at, end, end_at, exclude) \
    (sqlite3ExprDelete((parse)->db, start_at),                                 \
     sqlite3ExprDelete((parse)->db, end_at),                                   \
     OMITTED(parse, "window functions"), (Window *)0)
/* The parser makes a window of FILTER (WHERE ...) as well. */
#define OMITTED_WINDOW(parse, window)                                          \
    do {                                                                       \
        if (window) {                                                          \
            sqlite3ExprDelete((parse)->db, (window)->pFilter);                 \
            sqlite3DbFree((parse)->db, window);                                \
        }                                                                      \
        OMITTED(parse, "window functions");                                    \
    } while (0)
