/* sqlite_omitted.c -- appended to SQLite's amalgamation: the functions that its
 * parser calls for statements that a release leaves out (sqlite_omit.h), where
 * they are declared all the same; and one that would be missing elsewhere. */

/* For SQLITE_FCNTL_RESET_CACHE, which craftd does not ask for. */
void sqlite3PagerClearCache(Pager *pager)
{
}

void sqlite3Analyze(Parse *parse, Token *first, Token *second)
{
    OMITTED(parse, "statistics");
}

void sqlite3Reindex(Parse *parse, Token *first, Token *second)
{
    OMITTED(parse, "new indices");
}

void sqlite3Vacuum(Parse *parse, Token *name, Expr *into)
{
    sqlite3ExprDelete(parse->db, into);
    OMITTED(parse, "new files");
}

void sqlite3VtabBeginParse(Parse *parse, Token *name, Token *more,
                           Token *module, int quiet)
{
    OMITTED(parse, "virtual tables");
}

void sqlite3VtabFinishParse(Parse *parse, Token *end)
{
    OMITTED(parse, "virtual tables");
}

void sqlite3VtabArgInit(Parse *parse)
{
    OMITTED(parse, "virtual tables");
}

void sqlite3VtabArgExtend(Parse *parse, Token *token)
{
    OMITTED(parse, "virtual tables");
}
