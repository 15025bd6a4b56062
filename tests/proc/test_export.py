"""GET /export: the whole store at one index, whatever is written meanwhile."""
import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import time
import urllib.parse

from cluster import HOST, Stopwatch, rss_bytes, wait_for
from test_auth import ROOT_TOKEN, authorized, bearer, token, write_rules
from test_snapshots import write_much

MIB = 1 << 20
BATCH = 500


def fill(node, count, start=0, value=b"value of %d"):
    for at in range(start, start + count, BATCH):
        pairs = {f"key-{i:07}": (value % i).decode() if b"%d" in value else value.decode()
                 for i in range(at, min(at + BATCH, start + count))}
        assert node.put_many(pairs, timeout=30).status == 200


def listed(node):
    """All keys, as GET /keys lists them."""
    items, path = [], "/keys?limit=10000"
    while path:
        page = node.request("GET", path, timeout=60).json()
        items += page["items"]
        path = page["more"] and "/keys?limit=10000&after=" + urllib.parse.quote(page["after"])
    return items


def lines(body):
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


class Reader:
    """A client that takes no more than it asks for."""

    def __init__(self, node, path="/export", version="1.1"):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self.socket.settimeout(60)
        self.socket.connect((HOST, node.http_port))
        self.socket.sendall(f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        self.answer = http.client.HTTPResponse(self.socket)
        self.answer.begin()
        self.index = int(self.answer.headers["Craftd-Index"])

    def read(self, size=None):
        return self.answer.read(size) if size else self.answer.read()

    def close(self):
        self.answer.close()
        self.socket.close()


def test_an_export_has_what_a_list_has_and_an_end(three):
    leader = three.wait_leader()
    assert leader.put_many({"plain": "1", 'quo"te\\': "\u00fc\u0001\n", "empty": ""}).status == 200
    raw = bytes(range(256))
    assert leader.request("PUT", "/key/%C3%BFraw", raw).status == 201
    items = listed(leader)
    assert len(items) == 4
    for node in three:
        for path in ("/export", "/export?level=none&min_index=1"):
            if "none" in path:
                wait_for(lambda: listed(node) == items, 5, "the same")
            answer = node.request("GET", path)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/x-ndjson"
            assert answer.headers["Craftd-Keys"] == "4"
            index = int(answer.headers["Craftd-Index"])
            got = lines(answer.body)
            assert got[-1] == {"end": True, "index": index, "keys": 4}
            assert got[:-1] == items
    assert items[-1]["key"] == "\u00ffraw"
    assert base64.b64decode(items[-1]["value_base64"]) == raw
    head = leader.request("HEAD", "/export")
    assert (head.status, head.body, head.headers["Craftd-Keys"]) == (200, b"", "4")
    assert leader.request("POST", "/export", b"").status == 405


def test_old_clients_get_no_chunks(three):
    fill(three[0], 5)
    reader = Reader(three[0], version="1.0")
    assert "Transfer-Encoding" not in reader.answer.headers
    assert len(lines(reader.read())) == 6
    reader.close()


def test_an_empty_store_is_exported_too(cluster):
    for inmem in (False, True):
        node = cluster.new(inmem=inmem).start().up()
        cluster.wait_leader()
        answer = node.request("GET", "/export")
        assert [line.get("end") for line in lines(answer.body)] == [True]
        fill(node, 300)
        answer = node.request("GET", "/export")
        assert lines(answer.body)[:-1] == listed(node)
        node.kill()


def test_one_state_for_a_slow_reader_while_all_of_it_changes(cluster):
    """It holds up no write and no snapshot, and costs bounded memory and disk."""
    node = cluster.new(args=["--max-db", "400M"]).start().up()
    cluster.wait_leader()
    fill(node, 60_000, value=b"v%d" + b"-" * 300)
    items = listed(node)
    reader = Reader(node)
    first = reader.read(50_000)
    before = rss_bytes(node.pid)
    slowest = 0
    for round_ in range(3):
        for at in range(0, 60_000, 2 * BATCH):
            pairs = {f"key-{i:07}": f"{round_}" + "+" * 300 for i in range(at, at + BATCH)}
            began = time.monotonic()
            assert node.put_many(pairs).status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert node.request("DELETE", f"/keys?prefix=key-005{round_}", timeout=30).status == 200
        assert node.request("POST", "/snapshot", timeout=60).status in (200, 204)
        store = os.path.join(node.dir, "db")
        wal = [os.path.join(folder, name) for folder, _, names in os.walk(store)
               for name in names if name.endswith("-wal")]
        assert sum(os.path.getsize(path) for path in wal) <= 64 * MIB
    assert slowest < 5
    assert rss_bytes(node.pid) - before < 48 * MIB
    body = first + reader.read()
    reader.close()
    got = lines(body)
    assert got[-1] == {"end": True, "index": reader.index, "keys": 60_000}
    assert got[:-1] == items
    assert listed(node) != items


def resume(node, index, after):
    query = urllib.parse.urlencode({"index": index, "after": after})
    return node.request("GET", f"/export?{query}", timeout=60)


def test_a_reader_that_was_cut_off_resumes_at_the_same_index(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 8000)
    items = listed(node)
    reader = Reader(node)
    part = reader.read(100_000)
    reader.close()
    part = part[:part.rindex(b"\n") + 1]
    fill(node, 4000, start=2000, value=b"new")
    assert node.request("DELETE", "/keys?prefix=key-0007").status == 200
    last = lines(part)[-1]["key"]
    answer = resume(node, reader.index, last)
    assert (answer.status, answer.headers["Craftd-Index"]) == (200, str(reader.index))
    got = lines(part + answer.body)
    assert got[:-1] == items
    assert got[-1] == {"end": True, "index": reader.index, "keys": 8000}
    # Another export meanwhile is of the state now; the old one can still be
    # read again, from anywhere.
    now = Reader(node)
    assert now.index > reader.index
    assert lines(now.read())[:-1] == listed(node)
    now.close()
    again = resume(node, reader.index, "key-0007990")
    assert [line.get("key") for line in lines(again.body)] == [
        f"key-{i:07}" for i in range(7991, 8000)] + [None]
    # No other index is there, and this one is not after a restart.
    for index in (reader.index - 1, now.index + 50):
        gone = resume(node, index, last)
        assert (gone.status, gone.json()["code"]) == (410, "export-gone")
    node.kill()
    node.start().up()
    cluster.wait_leader()
    assert node.put("one", "more").status == 200
    assert resume(node, reader.index, last).status == 410


def test_the_index_that_is_the_state_now_can_be_resumed_anywhere(three):
    fill(three[0], 1000)
    three.wait_same()
    first = three[0].request("GET", "/export")
    index = first.headers["Craftd-Index"]
    other = resume(three[1], index, "key-0000499")
    assert other.status == 200
    assert lines(other.body) == lines(first.body)[500:]
    assert lines(resume(three[2], index, "").body) == lines(first.body)


def test_states_that_nobody_reads_make_room_for_new_ones(cluster):
    """Two states can be read at a time. One without readers gives way."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    fill(node, 20_000, value=b"%d" + b"-" * 400)  # More than sockets hold.
    readers = []
    for i in range(2):
        readers.append(Reader(node))
        assert node.put(f"other-{i}", "x").status == 200
    refused = node.request("GET", "/export")
    assert (refused.status, refused.json()["code"]) == (429, "overloaded")
    # The same state has room for more readers.
    index = readers[1].index
    for _ in range(6):
        readers.append(Reader(node, f"/export?index={index}"))
    assert node.request("GET", f"/export?index={index}").status == 429
    readers[0].close()

    def admitted():
        answer = node.request("GET", "/export")
        return answer if answer.status == 200 else None
    newest = wait_for(admitted, 10, "a place")
    assert lines(newest.body)[-1]["keys"] == 20_002
    assert resume(node, readers[0].index, "a").status == 410
    for reader in readers[1:]:
        assert lines(reader.read())[-1] == {"end": True, "index": index, "keys": 20_001}
        reader.close()
    # Four backups at a time find their places, whatever was exported.
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(contextlib.closing(Reader(node, "/backup")))


def test_a_snapshot_does_not_wait_for_a_state_without_readers(cluster):
    """A follower whose export was left is sent a snapshot: it takes it at
    once, and the state is gone."""
    cluster.start(3)
    leader = cluster.wait_leader()
    fill(leader, 100)
    away = cluster.others(leader)[0]
    index = away.request("GET", "/export").headers["Craftd-Index"]
    away.send(signal.SIGSTOP)
    write_much(leader, 150, 10)  # More than the log keeps.
    assert leader.request("POST", "/snapshot", timeout=60).status in (200, 204)
    away.send(signal.SIGCONT)
    watch = Stopwatch(away)
    cluster.wait_same(50)
    assert "snapshot-installed" in away.log()
    assert watch.seconds() < 30
    assert resume(away, index, "").status == 410


def test_who_may_read_every_key_may_export(cluster, tmp_path):
    rules = write_rules(tmp_path / "auth.json", ROOT_TOKEN, token("all", "read"),
                        token("some", "read:key-"), token("backup", "backup", "write"))
    node = authorized(cluster.new(args=["--auth", rules])).start().up()
    cluster.wait_leader()
    fill(node, 10)
    assert node.plain("GET", "/export", headers=bearer("all")).status == 200
    for name in ("some", "backup"):
        refused = node.plain("GET", "/export", headers=bearer(name))
        assert (refused.status, refused.json()["need"]) == (403, "read")
    assert node.plain("GET", "/export").status == 401


def test_parameters_that_do_not_go_together(three):
    for query in ("after=x", "index=x", "index=", "prefix=a", "index=-1"):
        refused = three[0].request("GET", f"/export?{query}")
        assert (refused.status, refused.json()["code"]) == (400, "bad-param"), query
