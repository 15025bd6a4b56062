# Where sqlite_omit.h and sqlite_omitted.c cannot reach: a macro that SQLite has
# itself, a member of a structure that is not there without window functions, parts
# that SQLite can only leave out together with others, and single functions of SQL.
s/^# *define sqlite3WindowAttach(a,b,c)$/#define sqlite3WindowAttach(a, b, c) OMITTED_WINDOW(a, c)/
s/^    yymsp\[-9\]\.minor\.yy[0-9]*->pWinDefn = yymsp\[-2\]\.minor\.yy[0-9]*;$/    OMITTED(pParse, "window functions");/

# ALTER TABLE stays without virtual tables: craftd adds columns and renames tables.
s/^# define SQLITE_OMIT_ALTERTABLE$//
s/^  sqlite3AlterAddConstraint(pParse, \(yymsp[^,]*\), .*, \(yymsp[^,]*\));$/  OMITTED_CONSTRAINT(pParse, \1, \2);/
s/^  sqlite3Alter\(DropColumn\|RenameColumn\|DropConstraint\|SetNotNull\)(pParse, \(yymsp[^,]*\), .*);$/  OMITTED_ALTER(pParse, \2);/
/^    INTERNAL_FUNCTION(sqlite_\(rename_column\|drop_column\|drop_constraint\|fail\|add_constraint\|find_constraint\),/d

# UNION, EXCEPT, INTERSECT, VALUES with more than one row.
s/^      int mxSelect, cnt = 1;$/& OMITTED(pParse, "compound queries");/

# Functions that no statement of craftd calls, and that no schema which it accepts
# can name.
/^    FUNCTION2*(\([lr]*trim\|octet_length\|instr\|format\|unicode\|char\|abs\|round\|upper\|lower\|hex\|unhex\|concat\|concat_ws\|nullif\|sqlite_log\|unistr\|quote\|unistr_quote\|replace\|substring\), /d
/^    [DV]FUNCTION(\(random\|randomblob\|sqlite_version\|sqlite_source_id\|last_insert_rowid\|changes\|total_changes\), /d
/^    WAGGREGATE(\(total\|avg\), /d
/^    WAGGREGATE(\(group_concat\|string_agg\), /{N;d;}
/^    STR_FUNCTION(current_/d
