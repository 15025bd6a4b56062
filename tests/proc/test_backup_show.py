"""craftd backup --show FILE: what a backup has, and whether it is whole."""
import os
import shutil
import sqlite3
import time

import pytest

from cluster import wait_for
from test_client import craftd

DONE, FAILED, USAGE, DAMAGED = 0, 1, 2, 4


@pytest.fixture(scope="module")
def file(three_nodes, tmp_path_factory):
    """A backup, under the name that the server gives it; and its index."""
    leader = three_nodes.wait_leader()
    for at in range(0, 4000, 1000):
        pairs = {f"key-{i:05}": f"value {i} " * 20 for i in range(at, at + 1000)}
        assert leader.put_many(pairs, timeout=60).status == 200
    got = leader.request("GET", "/backup", timeout=60)
    name = got.headers["Content-Disposition"].split('"')[1]
    path = tmp_path_factory.mktemp("show") / name
    path.write_bytes(got.body)
    count = leader.request("GET", "/keys?count").json()["count"]
    return path, int(got.headers["ETag"].strip('"')), count


def show(path, *flags):
    done = craftd("backup", "--show", *flags, str(path))
    lines = dict(line.split("\t") for line in done.stdout.decode().splitlines())
    return done.returncode, lines, done.stderr.decode()


def test_a_whole_one(file, three_nodes, tmp_path):
    path, index, keys = file
    before = path.read_bytes(), os.listdir(path.parent)
    code, lines, why = show(path)
    assert (code, why) == (DONE, "")
    assert lines.pop("time") == time.strftime("%Y-%m-%dT%H:%M:%SZ",
                                              time.gmtime(path.stat().st_mtime))
    assert three_nodes[0].status()["cluster"].startswith(lines.pop("cluster"))
    assert lines == {"index": str(index), "keys": str(keys), "whole": "yes",
                     "size": str(path.stat().st_size)}
    # It may be read only, in a directory that is; it and its neighbours stay as they are.
    path.chmod(0o400)
    assert show(path)[0] == DONE
    assert (path.read_bytes(), os.listdir(path.parent)) == before
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    code, lines, _ = show(other)
    assert (code, lines["cluster"], lines["whole"]) == (DONE, "-", "yes")
    os.chdir(tmp_path)
    assert craftd("backup", "-show", "other.db").returncode == DONE


def test_scheduled_ones(cluster, tmp_path):
    where = tmp_path / "backups"
    node = cluster.new(args=["--backup-dir", str(where), "--backup-every", "1s"]).start().up()
    cluster.wait_leader()
    assert node.put("k", "v").status == 200
    name = wait_for(lambda: where.exists() and [n for n in os.listdir(where)
                                                if n.endswith(".db")], 15, "one")[0]
    code, lines, _ = show(where / name)
    assert (code, lines["whole"]) == (DONE, "yes")
    assert int(lines["index"]) == int(name.split("-")[2][:20])


def test_what_is_not_whole(file, tmp_path):
    path, index, _ = file
    data = path.read_bytes()
    pages = len(data) // 4096
    cut = tmp_path / "cut.db"

    def damaged(text):
        cut.write_bytes(text)
        code, lines, why = show(cut)
        assert (code, lines["whole"]) == (DAMAGED, "no") and why, lines
        return lines, why
    for size in (0, 50, 5000, len(data) - 1, len(data) - 4096):
        damaged(data[:size])
    assert "truncated" in damaged(data[:len(data) - 100])[1]
    damaged(b"no database" * 1000)
    found = 0
    for page in range(1, pages, max(1, pages // 25)):
        text = bytearray(data)
        text[page * 4096:page * 4096 + 4096] = bytes(4096)
        cut.write_bytes(text)
        code, lines, why = show(cut)
        found += code == DAMAGED and lines["whole"] == "no"
    assert found > 20, found
    # Rows that are gone, with their entries in the index.
    shutil.copy(path, cut)
    cut.chmod(0o600)
    with sqlite3.connect(cut) as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("DELETE FROM pairs WHERE key = CAST('key-00007' AS BLOB)")
    lines, why = damaged(cut.read_bytes())
    assert "keys are missing" in why and lines["index"] == str(index)


def test_usage(tmp_path):
    assert craftd("backup", "--show").returncode == USAGE
    assert craftd("backup", "--show", "a", "b").returncode == USAGE
    none = craftd("backup", "--show", str(tmp_path / "none"))
    assert none.returncode == FAILED and b"No such file" in none.stderr
    assert craftd("backup", "--show", str(tmp_path)).returncode == FAILED
    assert b"NAME" in craftd("backup", "--show", "--help").stdout
