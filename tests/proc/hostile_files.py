"""SQLite files that somebody made to do harm, from a backup's bytes: what looks
like a small database takes a reader that trusts it hours, or all memory."""
import sqlite3
import struct

PAGE = 4096
FANOUT = 300


def edited(path, body, *statements):
    """`body` after these statements, with its schema open to them."""
    path.write_bytes(body)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute("PRAGMA writable_schema=ON")
    for statement in statements:
        db.execute(statement)
    db.execute("PRAGMA writable_schema=RESET")
    db.close()
    return path.read_bytes()


def root_page(path, body, table):
    if table == "sqlite_schema":
        return 1
    path.write_bytes(body[:18] + b"\1\1" + body[20:])
    db = sqlite3.connect(path)
    page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name=?",
                      (table,)).fetchone()[0]
    db.close()
    return page


def interior_page(child, start):
    """A page of a table's b-tree whose children are all the same one."""
    page = bytearray(PAGE)
    cells = [PAGE - 6 * (i + 1) for i in range(FANOUT)]
    struct.pack_into(">BHHHBI", page, start, 5, 0, FANOUT, cells[-1], 0, child)
    for i, at in enumerate(cells):
        struct.pack_into(">H", page, start + 12 + 2 * i, at)
        struct.pack_into(">IBB", page, at, child, 0x81, i % 128)
    return page


def bomb(path, body, table, levels):
    """Every row of a small table comes 301 ** levels times."""
    root = root_page(path, body, table)
    start = 100 if root == 1 else 0
    pages = [bytearray(body[at:at + PAGE]) for at in range(0, len(body), PAGE)]
    leaf = pages[root - 1]
    assert leaf[start] == 13, "the table is small"
    count = struct.unpack_from(">H", leaf, start + 3)[0]
    # Offsets of cells count from the page's start, on the first page too.
    moved = bytearray(leaf)
    if start:
        moved[0:8 + 2 * count] = leaf[start:start + 8 + 2 * count]
    new = interior_page(len(pages) + 1, start)
    pages[root - 1] = leaf[:start] + new[start:]
    for _ in range(levels - 1):
        pages.append(interior_page(len(pages) + 2, 0))
    pages.append(moved)
    struct.pack_into(">I", pages[0], 28, len(pages))
    pages[0][18:20] = b"\1\1"
    return b"".join(bytes(page) for page in pages)


def without_key(path, body):
    """Its largest version is not found by a key then: all is read."""
    return edited(path, body,
                  "UPDATE sqlite_schema SET sql = 'CREATE TABLE migrations("
                  "version INTEGER, name TEXT)' WHERE name = 'migrations'")


def computed(path, body, table):
    """A column that is computed when it is read, at great cost."""
    cost = "length(hex(zeroblob(150000000)))*0+1"
    sql = {"migrations": f"CREATE TABLE migrations(version AS ({cost}), name)",
           "raft": f"CREATE TABLE raft(one INTEGER PRIMARY KEY, "
                   f"applied AS ({cost}), term, hash, keys, conf_index, conf)"}
    return edited(path, body, f"UPDATE sqlite_schema SET sql='{sql[table]}' "
                  f"WHERE name='{table}'")


def many_tables(path, body, count):
    path.write_bytes(body[:18] + b"\1\1" + body[20:])
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("PRAGMA writable_schema=ON")
    db.execute("CREATE TABLE t0(a)")
    root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name='t0'")
    root = root.fetchone()[0]
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO sqlite_schema VALUES('table', ?1, ?1, ?2, "
        "'CREATE TABLE ' || ?1 || '(a)')",
        ((f"t{i}", root) for i in range(1, count)))
    db.execute("COMMIT")
    db.close()
    return path.read_bytes()


def large_value(path, body, size):
    return edited(path, body, "INSERT INTO pairs(key, value, create_index, "
                  f"modify_index) VALUES(x'7a', zeroblob({size}), 1, 1)")
