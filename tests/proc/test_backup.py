"""Backups that SQLite opens, and clusters founded on what is left."""
import contextlib
import os
import re
import socket
import sqlite3
import subprocess
import time

from cluster import BINARY, HOST, rss_bytes, wait_for
from load import Writers, meanwhile, verify

MIB = 1 << 20


def fetch(node, path="/backup"):
    answer = node.request("GET", path, timeout=60)
    assert answer.status == 200, answer
    return answer


def rows(path):
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = dict(database.execute(
        "SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM pairs"))
    database.close()
    return found


def craftd(*words):
    return subprocess.run([BINARY, *words], capture_output=True, text=True,
                          timeout=60, check=False)


def value_as_text(file, key):
    """A query on a backup that is opened with sqlite3."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        return db.execute(f"SELECT value FROM kv WHERE key = '{key}'").fetchall()


def test_backup_is_a_database(cluster, tmp_path):
    cluster.start(3)
    for i in range(300):
        assert cluster[i % 3].put(f"key-{i}", f"value-{i}").status == 200
    for node in cluster.nodes:
        for path in ("/backup", "/backup?level=none"):
            answer = fetch(node, path)
            headers = {k.lower(): v for k, v in answer.headers.items()}
            assert headers["content-type"] == "application/vnd.sqlite3"
            level = "none" if "none" in path else "linearizable"
            assert headers["craftd-level"] == level
            index = headers["etag"].strip('"')
            assert headers["content-disposition"].endswith(f'-{index}.db"')
            file = tmp_path / f"{node.name}.db"
            file.write_bytes(answer.body)
            if path == "/backup":
                found = rows(file)
                assert value_as_text(file, "key-7") == [("value-7",)]
                assert len(found) == 300
                assert all(found[f"key-{i}"] == f"value-{i}" for i in range(300))
    head = cluster[0].request("HEAD", "/backup")
    assert head.status == 200 and head.body == b""
    assert cluster[0].request("DELETE", "/backup").status == 405


def test_backup_under_load_is_consistent(cluster, tmp_path):
    """Two keys are always written in this order: never is the second one ahead
    of the first."""
    cluster.start(3)
    leader = cluster.wait_leader()
    for i in range(40):
        assert leader.put(f"big-{i}", "b" * 500_000).status == 200

    def write(i):
        for key in ("first", "second"):
            assert leader.put(key, str(i)).status == 200

    with meanwhile(write):
        wait_for(lambda: int(leader.get("second") or 0) > 5, 10, "writes")
        for attempt in range(6):
            file = tmp_path / f"{attempt}.db"
            file.write_bytes(fetch(cluster[attempt % 3]).body)
            found = rows(file)
            assert int(found["first"]) - int(found["second"]) in (0, 1)
            assert found["big-39"] == "b" * 500_000


def test_slow_and_gone_readers_of_a_backup(cluster):
    """They cost bounded memory, and hold nothing up for ever."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    for i in range(60):
        assert node.put(f"big-{i}", "b" * 500_000).status == 200
    before = rss_bytes(node.pid)
    ask = b"GET /backup HTTP/1.1\r\nHost: x\r\n\r\n"
    clients = [socket.create_connection((HOST, node.http_port), 10)
               for _ in range(8)]
    for client in clients:
        client.sendall(ask)
    for i in range(40):
        assert node.put(f"more-{i}", "m" * 100_000).status == 200
        time.sleep(0.02)
    assert rss_bytes(node.pid) - before < 48 * MIB
    for client in clients[1:]:
        client.close()
    clients[0].settimeout(30)
    got = clients[0].recv(65536)
    size = int(got.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    left = size - len(got.split(b"\r\n\r\n", 1)[1])
    while left > 0:
        data = clients[0].recv(1 << 20)
        assert data
        left -= len(data)
    assert left == 0
    clients[0].sendall(b"GET /key/more-39 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert clients[0].recv(100).startswith(b"HTTP/1.1 200")
    clients[0].close()
    assert node.get("more-39") == "m" * 100_000


def test_slow_readers_of_backups_give_way_to_others(cluster, tmp_path):
    """Under 1 MiB/s for more than half a minute: that is no harm while nobody
    waits. There are four places; another backup takes that of the slowest, and
    the log says how slow that was."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    for i in range(60):
        assert node.put(f"big-{i}", "b" * 500_000).status == 200
    ask = b"GET /backup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    slow = []
    for _ in range(4):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        client.settimeout(30)
        client.connect((HOST, node.http_port))
        client.sendall(ask)
        slow.append(client)
    got = [b""] * 4
    began = time.monotonic()
    while time.monotonic() < began + 43:
        for i in range(4):
            got[i] += slow[i].recv(8192)
        time.sleep(0.2)
    assert "slow-reader" not in node.log()
    file = tmp_path / "other.db"
    file.write_bytes(fetch(node).body)
    assert rows(file)["big-59"] == "b" * 500_000
    line = [line for line in node.log().splitlines() if "slow-reader" in line]
    assert len(line) == 1 and "what=backup" in line[0] and "limit=1048576" in line[0]
    assert 0 < int(re.search(r"bytes_per_second=(\d+)", line[0]).group(1)) < MIB
    whole = 0
    for i in range(4):
        try:
            while piece := slow[i].recv(1 << 20):
                got[i] += piece
        except ConnectionResetError:
            pass
        head, _, body = got[i].partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        if len(body) == length:
            file.write_bytes(body)
            assert rows(file)["big-59"] == "b" * 500_000
            whole += 1
    assert whole == 3


def test_backup_of_a_node_in_memory(cluster, tmp_path):
    node = cluster.new(inmem=True).start().up()
    cluster.wait_leader()
    for i in range(100):
        assert node.put(f"key-{i}", f"value-{i}").status == 200
    file = tmp_path / "memory.db"
    file.write_bytes(fetch(node).body)
    assert rows(file)["key-99"] == "value-99"
    assert value_as_text(file, "key-99") == [("value-99",)]


# ---- restore ----

def test_restore_founds_a_cluster(cluster, tmp_path):
    cluster.start(3)
    for i in range(200):
        assert cluster[0].put(f"key-{i}", f"value-{i}").status == 200
    file = tmp_path / "backup.db"
    file.write_bytes(fetch(cluster[1]).body)
    index = cluster[0].status()["commit"]
    old = cluster[0].status()["cluster"]
    node = cluster.new("founder")
    done = craftd("restore", str(file), *node.argv()[1:])
    assert done.returncode == 0, done
    assert "restored, 200 keys" in done.stdout
    others = list(cluster.nodes[:3])
    for other in others:
        other.kill()
    node.start().up()
    wait_for(lambda: node.status()["commit"] > index, 10, "it leads, and commits")
    assert node.status()["cluster"] != old
    assert node.get("key-199") == "value-199"
    assert node.put("after", "1").status == 200
    newcomer = cluster.add(node.http, "newcomer")
    path = "/key/after?level=none"  # 503 until it is a member.
    wait_for(lambda: newcomer.request("GET", path).body == b'{"after":"1"}', 15,
             "a copy")
    assert newcomer.get("key-0") == "value-0"
    again = craftd("restore", str(file), *node.argv()[1:])
    assert again.returncode == 1 and "in use" in again.stderr, again
    node.terminate()
    again = craftd("restore", str(file), *node.argv()[1:])
    assert again.returncode == 1 and "belongs to a node already" in again.stderr, again


def test_restore_of_a_file_that_is_no_backup(cluster, tmp_path):
    node = cluster.new()
    file = tmp_path / "file"
    stranger = sqlite3.connect(tmp_path / "stranger.db")
    stranger.execute("CREATE TABLE t(x)")
    stranger.commit()
    stranger.close()
    file.write_bytes(b"no database at all" * 1000)
    for name, code in (("file", 4), ("stranger.db", 4), ("missing", 1)):
        done = craftd("restore", str(tmp_path / name), *node.argv()[1:])
        assert done.returncode == code, (name, done)
        # Half-way is not started by mistake, and can be tried again.
        started = craftd(*node.argv()[1:])
        assert started.returncode == 1 and "interrupted" in started.stderr
    source = cluster.new().start().up()
    cluster.wait_leader()
    assert source.put("k", "v").status == 200
    file.write_bytes(fetch(source).body)
    body = bytearray(file.read_bytes())
    body[4096:8192] = b"\xff" * 4096
    (tmp_path / "damaged").write_bytes(body)
    done = craftd("restore", str(tmp_path / "damaged"), *node.argv()[1:])
    assert done.returncode == 4, done
    done = craftd("restore", str(file), *node.argv()[1:])
    assert done.returncode == 0, done
    node.start().up()
    wait_for(lambda: node.get("k") == "v", 10, "the key")


# ---- recover ----

def test_recover_from_a_lost_majority(cluster):
    cluster.start(3)
    writers = Writers(cluster.nodes, threads=3, rate=200, count=100).start()
    writers.wait()
    cluster.wait_same()
    old = cluster[0].status()["cluster"]
    survivor, *lost = cluster.nodes
    for node in cluster.nodes:
        node.kill()
    for node in lost:
        node.wipe()
    done = craftd("recover", *survivor.argv()[1:])
    assert done.returncode == 0, done
    survivor.start().up()
    wait_for(lambda: survivor.status()["role"] == "leader", 10, "it leads")
    assert survivor.status()["cluster"] != old
    for node in lost:
        node.join = survivor.http
        node.start()
    cluster.wait_members(3)
    cluster.wait_same()
    verify(cluster, writers)
    assert lost[1].put("after", "1").status == 200
    for node in cluster.nodes:
        node.kill()
    cluster.start_all()
    cluster.wait_members(3).wait_same()
    verify(cluster, writers)


def test_recover_again_after_an_interruption(cluster):
    """Killed at any moment of it, it is not started by mistake; run again, it
    ends well."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    for i in range(30):
        assert node.put(f"key-{i}", "x" * 100_000).status == 200
    for attempt in range(12):
        node.kill()
        words = [BINARY, "recover", *node.argv()[1:]]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.002 * attempt)
        process.kill()
        process.wait()
        if os.path.exists(os.path.join(node.dir, "RECOVER")):
            started = craftd(*node.argv()[1:])
            assert started.returncode == 1, started
            assert "interrupted" in started.stderr
        done = subprocess.run(words, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 0, done
        node.start().up()
        wait_for(lambda: node.put(f"after-{attempt}", "1").status == 200, 10,
                 "a write")
        assert node.get("key-29") == "x" * 100_000


def test_survivors_of_the_old_cluster_stay_out(cluster):
    cluster.start(3)
    assert cluster[0].put("k", "old").status == 200
    cluster.wait_same()
    survivor, other, third = cluster.nodes
    for node in cluster.nodes:
        node.kill()
    assert craftd("recover", *survivor.argv()[1:]).returncode == 0
    survivor.start().up()
    wait_for(lambda: survivor.put("k", "new").status == 200, 10, "a write")
    other.start().up()
    third.start().up()
    time.sleep(3)
    assert survivor.get("k") == "new"
    assert survivor.status()["role"] == "leader"
    assert len(survivor.request("GET", "/nodes").json()) == 1
    cluster.nodes.remove(survivor)  # The two are a cluster of their own.
    cluster.wait_leader()
    assert other.get("k") == "old"
    survivor.kill()


def test_recover_without_the_log(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    assert node.put("k", "v").status == 200
    # The database has it after a checkpoint.
    assert node.request("POST", "/snapshot").status == 200
    node.kill()
    wal = os.path.join(node.dir, "wal")
    for name in os.listdir(wal):
        if name.endswith(".wal"):
            with open(os.path.join(wal, name), "r+b") as file:
                file.write(b"\0" * 4096)
    done = craftd("recover", *node.argv()[1:])
    assert done.returncode == 4, done
    done = craftd("recover", "--without-log", *node.argv()[1:])
    assert done.returncode == 0, done
    node.start().up()
    wait_for(lambda: node.get("k") == "v", 10, "the key")


def test_helps_and_mistakes(cluster, tmp_path):
    for word in ("recover", "restore"):
        done = craftd(word, "--help")
        assert done.returncode == 0 and "new cluster of one" in done.stdout
    assert craftd("restore").returncode == 2
    assert craftd("recover").returncode == 2
    (tmp_path / "empty").mkdir()
    done = craftd("recover", str(tmp_path / "empty"))
    assert done.returncode == 1 and "nothing to recover" in done.stderr
    node = cluster.new().start().up()
    cluster.wait_leader()
    done = craftd("recover", *node.argv()[1:])
    assert done.returncode == 1 and "in use" in done.stderr
    node.terminate()
    done = craftd("recover", "-id", "stranger", node.dir)
    assert done.returncode == 1 and "belongs to node" in done.stderr
    node.start().up()
    wait_for(lambda: node.put("still", "there").status == 200, 10, "a write")


def test_restore_with_the_file_behind_the_flags(cluster, tmp_path):
    cluster.start(1)
    assert cluster[0].put("k", "1").status == 200
    file = tmp_path / "backup.db"
    file.write_bytes(fetch(cluster[0]).body)
    done = craftd("restore", "-id", "x", "--dir", str(tmp_path / "new" / "x"), str(file))
    assert done.returncode == 0 and "restored, 1 keys" in done.stdout, done
    done = craftd("restore", "--dir", str(tmp_path / "y"))
    assert done.returncode != 0
