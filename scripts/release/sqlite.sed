# Where sqlite_omit.h cannot reach: a macro that SQLite has itself, a member of a
# structure that is not there without window functions, a function that is
# declared though it is left out.
s/^# *define sqlite3WindowAttach(a,b,c)$/#define sqlite3WindowAttach(a, b, c) OMITTED_WINDOW(a, c)/
s/^    yymsp\[-9\]\.minor\.yy[0-9]*->pWinDefn = yymsp\[-2\]\.minor\.yy[0-9]*;$/    OMITTED(pParse, "window functions");/
s/^{sqlite3Reindex(pParse, .*);}$/{OMITTED(pParse, "new indices");}/
