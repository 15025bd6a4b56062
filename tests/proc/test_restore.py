"""POST /restore: the whole content of a running cluster is replaced by that of
a backup, all of it or nothing, whoever dies on the way."""
import contextlib
import os
import random
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from cluster import BINARY, HOST, TROUBLE, free_port, wait_for
from load import compare_hashes


def backup(node):
    response = node.request("GET", "/backup", timeout=60)
    assert response.status == 200
    return response.body


def restore(node, body, query="", **kw):
    return node.request("POST", "/restore" + query, body, timeout=90, **kw)


def content(node, level="linearizable"):
    """Every key: its value, and its ETag."""
    pairs, after = {}, ""
    while True:
        page = node.request(
            "GET", f"/keys?limit=1000&level={level}{after}").json()
        for item in page["items"]:
            pairs[item["key"]] = (item["value"], item["index"])
        if not page["more"]:
            return pairs
        after = "&after=" + page["items"][-1]["key"]


def values(node, level="linearizable"):
    return {key: value for key, (value, _) in content(node, level).items()}


def fill(node, count, value, prefix="key-"):
    """In a few writes."""
    for start in range(0, count, 500):
        pairs = {f"{prefix}{i:06}": value
                 for i in range(start, min(count, start + 500))}
        assert node.put_many(pairs).status == 200


def no_files_left(node):
    return not any(name.startswith("upload")
                   for name in os.listdir(os.path.join(node.dir, "db")))


def test_there_and_back_through_every_node(cluster):
    cluster.start(3)
    fill(cluster[0], 1200, "old")
    file = backup(cluster[0])
    before = content(cluster[0])
    indexes = {index for _, index in before.values()}
    for node in cluster:
        fill(cluster[1], 300, "new")
        assert cluster[2].put("extra", "new").status == 200
        assert cluster[0].request("DELETE", "/key/key-001000").status == 200
        indexes |= {index for _, index in content(node).values()}
        applied = node.status()["applied"]
        answer = restore(node, file)
        assert answer.status == 200, answer
        assert answer.json()["keys"] == 1200
        # The index goes on, and every ETag is one that nobody had.
        assert answer.json()["index"] > applied
        assert int(answer.headers["Craftd-Index"]) >= answer.json()["index"]
        for reader in cluster:
            now = content(reader)
            assert {k: v for k, (v, _) in now.items()} == {
                k: v for k, (v, _) in before.items()}
        assert not indexes & {index for _, index in now.values()}
        assert applied < min(index for _, index in now.values())
        assert no_files_left(node)
    cluster.wait_same()
    compare_hashes(cluster)
    one = node.request("GET", "/key/key-000000?meta").json()
    assert one["version"] == 1 and one["create_index"] == one["index"]
    # Conditions know the new ETag, and no old one.
    old = before["key-000000"][1]
    assert node.request("PUT", "/key/key-000000", "x",
                        {"If-Match": f'"{old}"'}).status == 412
    assert node.request("PUT", "/key/key-000000", "x",
                        {"If-Match": f'"{one["index"]}"'}).status == 204
    # The rows are there after a restart, which replays the log.
    after = values(cluster[0])
    for each in cluster:
        each.kill()
    cluster.start_all()
    cluster.wait_members(3)
    cluster.wait_same()
    for each in cluster:
        assert values(each, "none") == after
    compare_hashes(cluster)


def damaged(tmp_path, body, sql):
    path = tmp_path / "changed.db"
    path.write_bytes(body)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=DELETE")
    db.execute(sql)
    db.commit()
    db.close()
    return path.read_bytes()


def test_a_file_that_is_no_backup_changes_nothing(cluster, tmp_path):
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 3000, "v" * 100)
    before = content(node)
    good = backup(node)
    stranger = sqlite3.connect(tmp_path / "stranger.db")
    stranger.execute("CREATE TABLE t(x)")
    stranger.commit()
    stranger.close()
    zeroed = bytearray(good)
    zeroed[40 * 4096:41 * 4096] = bytes(4096)
    for body in (b"", b"x", b"garbage" * 100000,
                 (tmp_path / "stranger.db").read_bytes(),
                 good[:4096], good[:len(good) // 2], good[:-8192], good[:-100],
                 bytes(zeroed),
                 damaged(tmp_path, good, "DROP TABLE pairs"),
                 damaged(tmp_path, good, "UPDATE pairs SET value = 'text'"),
                 damaged(tmp_path, good,
                         "INSERT INTO migrations VALUES(99, 'later')")):
        answer = restore(node, body)
        assert answer.status == 415, (len(body), answer)
        assert answer.json()["code"] == "not-sqlite"
        assert answer.json()["outcome"] == "not-applied"
    for headers, query, status in (({"If-Match": "*"}, "", 400),
                                   ({"Idempotency-Key": "k"}, "", 400),
                                   ({}, "?timeout=soon", 400),
                                   ({"Expect": "something"}, "", 417)):
        assert restore(node, good, query, headers=headers).status == status
    for method in ("GET", "PUT", "DELETE"):
        answer = node.request(method, "/restore")
        assert answer.status == 405 and "POST" in answer.headers["Allow"]
    answer = node.request("OPTIONS", "/restore")
    assert answer.status == 204 and answer.headers["Allow"] == "POST, OPTIONS"
    assert content(node) == before
    assert no_files_left(node)
    assert restore(node, iter([good[:1000], good[1000:]])).status == 200


def test_one_at_a_time_and_half_of_one(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 100, "old")
    body = backup(node)
    head = (f"POST /restore HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    for half in (0, len(body) // 2, len(body) - 1):
        with socket.create_connection((node.host, node.http_port)) as client:
            client.sendall(head + body[:half])
            wait_for(lambda: not no_files_left(node), 5, "it is being taken")
            second = restore(node, body)
            assert second.status == 429 and "another" in second.json()["message"]
        wait_for(lambda: no_files_left(node), 5, "it is given up")
    assert restore(node, body).status == 200
    # Slices of any size, and the next request behind it.
    with socket.create_connection((node.host, node.http_port)) as client:
        client.settimeout(10)
        rest = head + body + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        while rest:
            size = random.randrange(1, 9000)
            client.sendall(rest[:size])
            rest = rest[size:]
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 2:
            piece = client.recv(65536)
            assert piece, answers
            answers += piece
    assert b'"keys":100}' in answers


class Watchers:
    """Read all of `data-` at every node, again and again: one generation."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.wrong = []
        self.seen = set()
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.watch, args=(i,),
                                         daemon=True)
                        for i in range(len(cluster))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def watch(self, i):
        while not self.done.is_set():
            with contextlib.suppress(*TROUBLE):
                page = self.cluster[i].request(
                    "GET", "/keys?prefix=data-&limit=1000&level=" +
                    random.choice(["none", "linearizable"]), timeout=5)
                if page.status != 200:
                    continue
                items = page.json()["items"]
                found = {item["value"] for item in items}
                self.seen |= found
                if len(found) > 1 or (not page.json()["more"] and
                                      len(items) != 400):
                    self.wrong.append((found, len(items)))

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()
        assert not self.wrong, self.wrong[:3]


def test_no_reader_sees_a_part_of_it(cluster):
    cluster.start(3)
    files = []
    for generation in ("one", "two", "three"):
        fill(cluster[0], 400, generation, "data-")
        files.append((generation, backup(cluster[0])))
    acked = []
    done = threading.Event()

    def write():
        number = 0
        while not done.is_set():
            number += 1
            with contextlib.suppress(*TROUBLE):
                if cluster[number % 3].put(f"other-{number}", "x").status == 200:
                    acked.append(number)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with Watchers(cluster) as watchers:
        for round_ in range(9):
            generation, file = files[round_ % 3]
            count = len(acked)
            answer = restore(cluster[round_ % 3], file)
            assert answer.status == 200, answer
            assert cluster[(round_ + 1) % 3].get("data-000000") == generation
            # Others write on meanwhile and after.
            wait_for(lambda c=count: len(acked) > c + 5, 10, "writes")
    done.set()
    writer.join()
    assert watchers.seen == {"one", "two", "three"}
    cluster.wait_same()
    compare_hashes(cluster)


def large(cluster, megabytes):
    """Backup of that much, after which only key `mark` is there, `old`."""
    node = cluster[0]
    value = "v" * 1000
    fill(node, megabytes * 1000, value, "big-")
    assert node.put("mark", "new").status == 200
    file = backup(node)
    assert node.request("DELETE", "/keys?all", timeout=60).status == 200
    assert node.put("mark", "old").status == 200
    return file


def all_or_nothing(cluster, file_keys):
    """The value on every node, once all have the same state."""
    cluster.wait_leader(20)
    cluster.wait_same(30)
    states = [values(node) for node in cluster]
    assert all(state == states[0] for state in states)
    assert (states[0] == {"mark": "old"} or
            (len(states[0]) == file_keys and states[0]["mark"] == "new"))
    compare_hashes(cluster)
    return states[0]["mark"]


@pytest.mark.parametrize("victim", ["leader", "receiver", "both in one"])
def test_kill_9_in_the_midst(cluster, victim):
    cluster.start(3)
    file = large(cluster, 12)
    keys = 12001
    outcomes = set()
    for pause in (0.05, 0.15, 0.3, 0.6):
        leader = cluster.wait_leader()
        receiver = leader if victim == "both in one" else \
            cluster.others(leader)[0]
        answers = []

        def ask(node=receiver):
            with contextlib.suppress(*TROUBLE):
                answers.append(restore(node, file, "?timeout=20s"))
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        wait_for(lambda r=receiver: not no_files_left(r) or answers, 10,
                 "it has begun")
        time.sleep(pause)
        dead = receiver if victim == "receiver" else leader
        dead.kill()
        thread.join(60)
        assert not thread.is_alive()
        dead.start().up()
        cluster.wait_members(3)
        mark = all_or_nothing(cluster, keys)
        if answers and answers[0].status == 200:
            assert mark == "new"
            outcomes.add("done")
        elif answers and answers[0].json()["outcome"] == "not-applied":
            assert mark == "old"
            outcomes.add("refused")
        # No leader that is left behind keeps it from being done.
        if victim == "leader":
            assert answers and answers[0].status == 200, answers
        if mark == "new":
            assert cluster[1].request("DELETE", "/keys?all",
                                      timeout=60).status == 200
            assert cluster[1].put("mark", "old").status == 200
        for node in cluster:
            wait_for(lambda n=node: no_files_left(n), 10, "nothing is left")
    answer = restore(cluster[0], file)
    assert answer.status == 200 and answer.json()["keys"] == keys
    assert all_or_nothing(cluster, keys) == "new"


def used_bytes(node):
    for folder, _, names in os.walk(os.path.join(node.dir, "db")):
        for name in names:
            if name == "state.db":
                db = sqlite3.connect(
                    f"file:{os.path.join(folder, name)}?immutable=1", uri=True)
                pages = db.execute("PRAGMA page_count").fetchone()[0]
                free = db.execute("PRAGMA freelist_count").fetchone()[0]
                tables = [row[0] for row in db.execute(
                    "SELECT name FROM sqlite_schema WHERE name GLOB 'waste*'")]
                db.close()
                return (pages - free) * 4096, tables
    raise AssertionError("no database")


def test_replaced_rows_are_removed(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 20000, "v" * 500)
    small = cluster.new().start().up()
    wait_for(lambda: small.put("k", "v").status == 200, 10, "a write")
    answer = restore(node, backup(small))
    assert answer.status == 200 and answer.json()["keys"] == 1
    assert node.status()["keys"] == 1
    for _ in range(3):  # Whenever it is interrupted, it goes on.
        node.kill()
        node.start().up()
        time.sleep(0.1)
    wait_for(lambda: node.request("POST", "/snapshot").status == 200, 10, "one")

    def is_gone():
        node.put("k", "v")  # Something new, or there is no checkpoint.
        node.request("POST", "/snapshot")
        used, tables = used_bytes(node)
        return used < 1 << 20 and not tables
    wait_for(is_gone, 30, "its pages are free", pause=0.3)
    assert values(node) == {"k": "v"}


def told_at_once(node, size):
    """The answer, instead of 100, to a head with this length."""
    with socket.create_connection((node.host, node.http_port)) as client:
        client.settimeout(10)
        client.sendall(f"POST /restore HTTP/1.1\r\nHost: x\r\nExpect: "
                       f"100-continue\r\nContent-Length: {size}\r\n\r\n".encode())
        return client.recv(65536)


def test_the_quota_counts(cluster):
    source = cluster.new().start().up()
    cluster.wait_leader()
    fill(source, 4000, "v" * 1000)
    file = backup(source)
    node = cluster.new(args=["-max-db", "8M"]).start().up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    assert restore(node, file).status == 200
    wait_for(lambda: node.put("k", "v").status == 200, 30,
             "what was replaced counts no more")
    # Both at once do not fit.
    applied = node.status()["applied"]
    answer = restore(node, file)
    assert answer.status == 507 and answer.json()["code"] == "no-space"
    assert "--max-db" in answer.json()["message"]
    assert node.status()["applied"] <= applied + 1
    tiny = cluster.new(args=["-max-db", "1M"]).start().up()
    wait_for(lambda: tiny.put("k", "v").status == 200, 10, "a write")
    answer = told_at_once(tiny, len(file))
    assert answer.startswith(b"HTTP/1.1 413") and b"--max-db" in answer
    assert values(tiny) == {"k": "v"}
    # Larger values than are taken here.
    strict = cluster.new(args=["-max-value", "100"]).start().up()
    wait_for(lambda: strict.put("k", "v").status == 200, 10, "a write")
    answer = restore(strict, file)
    assert answer.status == 413 and "--max-value" in answer.json()["message"]
    assert values(strict) == {"k": "v"}


def test_a_disk_without_room(cluster):
    """A head that promises too much is refused before its body is sent."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    disk = os.statvfs(node.dir)
    size = disk.f_bavail * disk.f_frsize
    node.args += ["-max-db", "1000000G"]
    assert node.terminate() == 0
    node.start().up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    answer = told_at_once(node, size)
    assert answer.startswith(b"HTTP/1.1 507"), answer
    assert b"the disk has no room" in answer
    assert no_files_left(node)


def craftd(*words, addr=None):
    env = {**os.environ, "CRAFTD_ADDR": addr} if addr else None
    return subprocess.run([BINARY, *map(str, words)], capture_output=True,
                          text=True, timeout=60, check=False, env=env)


def test_the_command(cluster, tmp_path):
    cluster.start(3)
    fill(cluster[0], 3000, "old")
    file = tmp_path / "backup.db"
    assert craftd("backup", file, addr=cluster[1].http).returncode == 0
    fill(cluster[0], 10, "new")
    # Nobody listens at the first one.
    done = craftd("restore", "--addr",
                  f"127.0.0.1:{free_port()},{cluster[2].http}", file)
    assert done.returncode == 0 and done.stderr == "", done
    index, keys = done.stdout.splitlines()
    assert index.startswith("index\t") and keys == "keys\t3000"
    assert set(values(cluster[0]).values()) == {"old"}
    # A cluster is not replaced because of what is in the environment.
    done = craftd("restore", file, addr=cluster[0].http)
    assert done.returncode == 2, done
    (tmp_path / "garbage").write_bytes(b"garbage" * 1000000)
    for name, code, words in (("garbage", 1, "SQLite"),
                              ("missing", 1, "No such file"),
                              (".", 1, "no regular file")):
        done = craftd("restore", f"--addr={cluster[0].http}", tmp_path / name)
        assert done.returncode == code and words in done.stderr, done
    for words in (("restore", "--help"), ("help", "restore"),
                  ("restore", "--addr", "x:1", "--help")):
        done = craftd(*words)
        assert done.returncode == 0 and "--addr" in done.stdout
        assert "running cluster" in done.stdout
    done = craftd("restore", "--addr", f"127.0.0.1:{free_port()}", file)
    assert done.returncode == 6, done


def test_in_memory(cluster):
    cluster.start(3, inmem=True)
    fill(cluster[0], 1000, "old")
    file = backup(cluster[1])
    fill(cluster[0], 2000, "new")
    assert restore(cluster[2], b"garbage" * 1000).status == 415
    answer = restore(cluster[2], file)
    assert answer.status == 200 and answer.json()["keys"] == 1000
    cluster.wait_same()
    for node in cluster:
        assert set(values(node, "none").values()) == {"old"}
    compare_hashes(cluster)


def test_a_newcomer_in_the_midst(cluster):
    """It gets a snapshot in which the restore has come half-way, and agrees at
    its end."""
    cluster.start(1, args=["-max-db", "2G"])
    file = large(cluster, 30)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(restore(cluster[0], file)), daemon=True)
    thread.start()
    wait_for(lambda: not no_files_left(cluster[0]), 10, "it has begun")
    for _ in range(2):
        cluster.add(cluster[0].http)
    thread.join(80)
    assert answers and answers[0].status == 200, answers
    cluster.wait_members(3, 30)
    assert all_or_nothing(cluster, 30001) == "new"


def test_a_trickled_upload_gives_its_place_to_another(cluster, tmp_path):
    """It held the only place of its node for as long as a byte came every half
    minute. An upload that is no faster than a slow line keeps its place."""
    cluster.start(3)
    assert cluster[0].put("kept", "1").status == 200
    cluster.wait_same()
    backup = cluster[0].request("GET", "/backup").body
    clients = []
    for node, first in ((cluster[0], 1), (cluster[1], 1 << 17)):
        client = socket.create_connection((HOST, node.http_port), 20)
        client.sendall(b"POST /restore HTTP/1.1\r\nHost: x\r\n"
                       b"Content-Length: 99000000\r\n\r\n" + b"x" * first)
        clients.append(client)
    began = sent = time.monotonic()
    while time.monotonic() < began + 33:
        if time.monotonic() < began + 25:
            assert cluster[0].request("POST", "/restore", backup).status == 429
        time.sleep(1)
        clients[0].sendall(b"x")
        # Twice the lower bound, however long the turns of this loop take.
        now = time.monotonic()
        clients[1].sendall(b"x" * int((now - sent) * (1 << 17)))
        sent = now
    assert cluster[1].request("POST", "/restore", backup).status == 429
    answer = cluster[0].request("POST", "/restore", backup, timeout=60)
    assert answer.status == 200, answer
    refused = clients[0].recv(4096)
    assert refused.startswith(b"HTTP/1.1 408 ") and b"64 kB/s" in refused
    assert "slow-upload" in cluster[0].log()
    assert cluster[2].get("kept") == "1"
    for client in clients:
        client.close()
