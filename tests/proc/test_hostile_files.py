"""Databases that somebody made to do harm, as POST /restore and `craftd
restore` get them: refused, by a node that goes on serving meanwhile."""
import subprocess

import pytest

import hostile_files as make
from cluster import BINARY

STALL_MAX = 0.5  # Seconds that one turn of the loop may take, on a loaded host.

FILES = {
    "a tree of migrations that leads back to itself":
        lambda path, body: make.bomb(path, make.without_key(path, body),
                                     "migrations", 3),
    "a tree of the schema that leads back to itself":
        lambda path, body: make.bomb(path, body, "sqlite_schema", 3),
    "a tree of pairs that leads back to itself":
        lambda path, body: make.bomb(path, body, "pairs", 3),
    "computed versions":
        lambda path, body: make.computed(path, body, "migrations"),
    "a computed index":
        lambda path, body: make.computed(path, body, "raft"),
    "a schema of 60,000 tables":
        lambda path, body: make.many_tables(path, body, 60000),
    "a value of 100 MiB":
        lambda path, body: make.large_value(path, body, 100 << 20),
}


@pytest.fixture
def backup(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    for i in range(5):
        assert node.put(f"k{i}", "v").status == 200
    return node.request("GET", "/backup").body


@pytest.mark.parametrize("name", FILES)
def test_a_node_goes_on_while_it_refuses(cluster, backup, tmp_path, name):
    node = cluster[0]
    body = FILES[name](tmp_path / "hostile.db", backup)
    answer = node.request("POST", "/restore?timeout=8s", body, timeout=10)
    assert answer.status in (413, 415), answer
    assert answer.json()["outcome"] == "not-applied"
    assert node.stall_seconds() < STALL_MAX
    assert node.get("k1") == "v"
    # The next one is taken.
    answer = node.request("POST", "/restore", backup)
    assert answer.status == 200 and answer.json()["keys"] == 5
    node.terminate()


@pytest.mark.parametrize("name", [name for name in FILES if "100" not in name])
def test_no_node_is_made_of_one(cluster, backup, tmp_path, name):
    path = tmp_path / "hostile.db"
    path.write_bytes(FILES[name](path, backup))
    done = subprocess.run(
        [BINARY, "restore", path, "-id", "n1", "-haddr", "localhost:2",
         "-raddr", "localhost:1", str(tmp_path / "new")],
        capture_output=True, text=True, timeout=10)
    assert done.returncode == 4, done
