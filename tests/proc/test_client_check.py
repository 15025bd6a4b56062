"""craftd status --all and craftd check: the whole cluster at a glance, and for
monitoring."""
import json
import os
import socket
import subprocess
import time

import pytest

from cluster import BINARY, HOST, SLOW_DISK, wait_for
from test_client import (AWAY, DONE, FAILED, answer, craftd, lines, nowhere, problem, run,
                         serve)  # noqa: F401
from test_client_cluster import terminal
# pylint: disable=redefined-outer-name,unused-import

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3


def check(*words, addr):
    done = craftd("check", *words, addr=addr)
    assert done.stderr == b"", done
    return done.returncode, done.stdout.decode().splitlines()


class Fake:
    """A cluster whose nodes answer with what a test wants."""

    def __init__(self, serve, count=3):
        self.nodes = []
        self.statuses = []
        for i in range(count):
            server = serve(*[self.answer(i)] * 20)
            self.nodes.append({"id": f"n{i}", "address": f"h{i}:1", "http": server.addr,
                               "role": "voter", "leader": i == 0, "reachable": True,
                               "disk_free_bytes": 3 << 30})
            self.statuses.append({
                "me": {"id": f"n{i}", "address": f"h{i}:1"},
                "leader": {"id": "n0", "address": "h0:1"},
                "role": "leader" if i == 0 else "follower", "term": 3, "commit": 62,
                "applied": 62, "cluster": "6f1c", "version": "1.2.3", "hash": "00ff",
                "keys": 1234, "ready": True,
                "storage": {"db_bytes": 1536000, "quota_bytes": 1 << 30, "no_space": False},
                "hints": []})
        self.hashes = {}
        self.guarded = False  # As with --auth.
        self.addr = self.nodes[0]["http"]

    def answer(self, i):
        def send(request, connection):
            path = request.split(b" ")[1].split(b"?")[0]
            body = {b"/nodes": self.nodes, b"/status": self.statuses[i]}.get(path)
            if path == b"/hash":
                index = int(request.split(b"index=")[1].split(b" ")[0].split(b"&")[0])
                body = {"index": index, "hash": self.hashes.get(i)}
            body = None if path == b"/hash" and not body["hash"] else body
            if self.guarded and b"\r\nAuthorization: Basic " not in request:
                connection.sendall(problem(401, "unauthorized", "who are you?"))
            elif body is None:
                connection.sendall(answer(404, b"{}"))
            else:
                connection.sendall(answer(200, json.dumps(body).encode() + b"\n"))
        return send


@pytest.fixture
def fake(serve):
    return Fake(serve)


# ---- status --all ----

def test_all_nodes_in_a_pipe(fake):
    fake.statuses[2].update(applied=60, hints=["a hint\tof two", "b", "c"])
    fake.statuses[1]["ready"] = False
    rows = lines("status", "--all", addr=fake.addr)
    assert rows == [
        ["n0", "leader", "3", "62", "0", "1.2.3", "1536000", "1234", "ok", "-", "3221225472"],
        ["n1", "follower", "3", "62", "0", "1.2.3", "1536000", "1234", "not-ready", "-",
         "3221225472"],
        ["n2", "follower", "3", "60", "2", "1.2.3", "1536000", "1234", "ok",
         "a hint?of two (and 2 more)", "3221225472"]]


def test_the_free_space_of_each_disk(fake):
    """As the node that was asked first knows it of all; that of a node in memory, of a
    build before or of a silent one is not known."""
    del fake.nodes[1]["disk_free_bytes"]
    fake.nodes[2]["http"] = nowhere()
    assert [row[10] for row in lines("status", "--all", addr=fake.addr)] == [
        "3221225472", "-", "-"]
    found = json.loads(run("status", "--all", "--json", addr=fake.addr))
    assert [n.get("disk_free_bytes") for n in found] == [3 << 30, None, None]
    # A word in the place of the number is none.
    fake.nodes[1]["disk_free_bytes"] = "x\",\"y"
    found = json.loads(run("status", "--all", "--json", addr=fake.addr))
    assert [n.get("disk_free_bytes") for n in found] == [3 << 30, None, None]


def test_all_nodes_on_a_terminal(fake):
    fake.statuses[1]["hints"] = ["the disk is slow: one fdatasync in a hundred takes too long"]
    code, shown = terminal("status", "--all", addr=fake.addr, columns=80)
    rows = shown.splitlines()
    assert code == DONE and len(rows) == 4, shown
    assert rows[0] == "ID  ROLE      TERM  INDEX  LAG  VERSION  SIZE     KEYS  HEALTH  HINT     FREE"
    assert rows[1].startswith("n0  leader    3     62     0    1.2.3    1.4 MiB  1234  ok      -")
    assert rows[2].endswith("the di~  3.0 GiB") and len(rows[2]) <= 80


def test_all_nodes_as_json(fake):
    fake.nodes[2]["http"] = ""
    found = json.loads(run("status", "--all", "--json", addr=fake.addr))
    assert [(n["id"], n["health"]) for n in found] == [
        ("n0", "ok"), ("n1", "ok"), ("n2", "down")]
    assert found[1]["status"] == fake.statuses[1] and found[1]["lag"] == 0
    assert "no HTTP address" in found[2]["error"] and "status" not in found[2]


def test_a_build_before_sends_less(fake):
    del fake.nodes[1]["disk_free_bytes"]
    for field in ("keys", "ready", "hash", "version", "storage", "hints"):
        del fake.statuses[1][field]
    assert lines("status", "--all", addr=fake.addr)[1] == [
        "n1", "follower", "3", "62", "0", "-", "-", "-", "ok", "-", "-"]


def test_nodes_that_send_nonsense(fake):
    fake.statuses[1] = ["x"]
    fake.statuses[2] = {"me": "n2"}
    rows = lines("status", "--all", addr=fake.addr)
    assert [row[8] for row in rows] == ["ok", "down", "down"]
    assert "unexpected form" in rows[1][9]


def test_a_named_address_is_asked_in_place_of_the_advertised_one(fake):
    """Such as that of a forwarded port."""
    advertised = fake.nodes[1]["http"]
    fake.nodes[1]["http"] = nowhere()
    assert lines("status", "--all", addr=fake.addr)[1][8] == "down"
    rows = lines("status", "--all", addr=f"{fake.addr},{advertised}")
    assert [row[8] for row in rows] == ["ok"] * 3


def test_no_server_no_table(serve):
    done = craftd("status", "--all", addr=nowhere())
    assert (done.returncode, done.stdout) == (AWAY, b"") and b"refused" in done.stderr
    done = craftd("status", "--all", addr=serve(answer(200, b"{}")).addr)
    assert done.returncode == FAILED


def test_it_is_watched(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    down = cluster.others(leader)[0]
    master, end = os.openpty()
    child = subprocess.Popen([BINARY, "status", "--all", "--watch", "--addr", leader.http],
                             stdin=end, stdout=end, stderr=end)
    os.close(end)
    screens = b""
    try:
        while screens.count(b"\033[H\033[J") < 2:
            screens += os.read(master, 4096)
        down.kill()
        while b"down" not in screens:
            screens += os.read(master, 4096)
    finally:
        child.terminate()
        child.wait(10)
        os.close(master)
    first = screens.split(b"\033[H\033[J")[1].decode()
    assert first.count("\r\n") == 4 and first.startswith("ID ")


def quick_disks(cluster):
    """A single slow sync is one in a hundred until there have been a hundred others."""
    def quick():
        cluster[0].put("sync", "1")
        return not any(SLOW_DISK in node.status()["hints"] for node in cluster)
    wait_for(quick, 60, "the disks are quick", pause=0)


def test_a_real_cluster_with_a_node_down(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    run("put", "a", "1", addr=leader.http)
    assert cluster[0].request("POST", "/sync?nodes=all").status == 200
    quick_disks(cluster)
    code, said = check(addr=leader.http)
    assert code == OK and len(said) == 1, said
    assert said[0].startswith(f"OK: 3 of 3 nodes answer, {leader.name} leads, content was "
                              "compared at index ")
    down, other = cluster.others(leader)
    down.kill()
    rows = {row[0]: row for row in lines("status", "--all", addr=leader.http)}
    assert len(rows) == 3 and rows[down.name][8] == "down"
    assert "refused" in rows[down.name][9]
    assert rows[leader.name][8] == rows[other.name][8] == "ok"
    code, said = check(addr=leader.http)
    assert code == WARNING, said
    assert f"WARNING: {down.name} does not answer" in said[0]
    assert any("if another one fails" in line for line in said)
    assert said[-1].startswith("2 of 3 nodes answer")
    other.kill()
    wait_for(lambda: leader.status()["role"] != "leader", 20, "no leader")
    code, said = check(addr=leader.http)
    assert code == CRITICAL and said[0].startswith("CRITICAL: "), said
    assert any("1 of 3 voters answer: without 2" in line for line in said)
    assert any("there is no leader" in line for line in said)
    leader.kill()
    code, said = check(addr=leader.http)
    assert code == CRITICAL and said[0].startswith("CRITICAL: no node says how it is: ")


def test_content_is_compared_while_it_changes(three, addr):
    """Nodes are at different indexes then, and /hash has an older one."""
    stop = time.monotonic() + 2
    writer = subprocess.Popen(
        ["sh", "-c", f'i=0; while :; do i=$((i+1)); "{BINARY}" put busy/$i x || exit; done'],
        env=dict(os.environ, CRAFTD_ADDR=addr))
    try:
        while time.monotonic() < stop:
            code, said = check(addr=addr)
            slow = [line for line in said if SLOW_DISK in line]
            assert code == (WARNING if slow else OK), said
            assert len(said) == len(slow) + 1, said
            assert "content was compared at index" in said[-1], said
    finally:
        writer.terminate()
        writer.wait(10)


# ---- check: what it finds ----

def test_all_is_well(fake):
    assert check(addr=fake.addr) == (
        OK, ["OK: 3 of 3 nodes answer, n0 leads, content was compared at index 62"])


@pytest.mark.parametrize("node, change, code, says", [
    (2, {"hash": "0123"}, CRITICAL, "n2 has other content than n0 at index 62 (hash 0123, not "
                                    "00ff): find out which of them is wrong"),
    (1, {"version": "1.2.4"}, WARNING, "n1 has version 1.2.4, and n0 has 1.2.3"),
    (1, {"cluster": "beef"}, CRITICAL, "n1 has the cluster id beef, and n0 has 6f1c"),
    (1, {"ready": False}, WARNING, "n1 is not ready"),
    (1, {"hints": ["the disk is slow"]}, WARNING, "n1: the disk is slow"),
    (1, {"storage": {"db_bytes": 970 << 20, "quota_bytes": 1 << 30, "no_space": False}},
     WARNING, "n1: the database has 94% of --max-db"),
    (1, {"storage": {"db_bytes": 1, "quota_bytes": 1 << 30, "no_space": True}},
     CRITICAL, "n1: its disk is full, or --max-db is reached"),
    (1, {"storage": {"db_bytes": 1, "quota_bytes": 1 << 30, "no_space": True},
         "hints": ["the disk is full: only deletes are accepted", "and b"]},
     CRITICAL, "n1: the disk is full: only deletes are accepted"),
    (1, {"applied": 1, "hash": "1"}, UNKNOWN, "the content of n0 at index 1 was not compared"),
])
def test_each_finding_is_a_sentence(fake, node, change, code, says):
    fake.statuses[node].update(change)
    got, said = check(addr=fake.addr)
    assert got == code and any(says in line for line in said[:-1]), said
    word = {WARNING: "WARNING: ", CRITICAL: "CRITICAL: ", UNKNOWN: "UNKNOWN: "}[code]
    assert said[0].startswith(word) and said[-1].startswith("3 of 3 nodes answer")


def test_the_worst_finding_is_first_and_decides(fake):
    fake.statuses[0]["hints"] = ["a"]
    fake.statuses[2]["hash"] = "1"
    code, said = check(addr=fake.addr)
    assert code == CRITICAL
    assert [line.split(":")[0] for line in said[:-1]] == ["CRITICAL", "WARNING"]


def test_a_little_quota_and_a_little_behind_are_well(fake):
    fake.statuses[1]["storage"]["db_bytes"] = 900 << 20
    assert check(addr=fake.addr)[0] == OK
    fake.statuses[2].update(applied=60, hash="other")
    fake.hashes = {0: "ab", 1: "ab", 2: "ab"}
    assert check(addr=fake.addr) == (
        OK, ["OK: 3 of 3 nodes answer, n0 leads, content was compared at index 60"])
    fake.hashes[1] = "cd"
    code, said = check(addr=fake.addr)
    assert code == CRITICAL and "n1 has other content than n0 at index 60" in said[0]


def test_a_node_far_behind_is_not_compared(fake):
    fake.statuses[0].update(commit=100000, applied=100000)
    fake.statuses[1].update(commit=100000, applied=100000)
    code, said = check(addr=fake.addr)
    assert code == WARNING and said == [
        "WARNING: n2 is 99938 entries behind: its content was not compared",
        "3 of 3 nodes answer, n0 leads, content was compared at index 100000"]


def test_hints_about_a_node_that_is_down_are_left_out(fake):
    fake.nodes[2]["http"] = nowhere()
    fake.statuses[0]["hints"] = ["n2 has been silent for 12 s: refused", "n2x: is another"]
    code, said = check(addr=fake.addr)
    assert code == WARNING and not any("silent" in line for line in said)
    assert any("n2x" in line for line in said)


def test_a_leader_that_is_not_seen_here(fake):
    fake.nodes[0]["http"] = nowhere()
    code, said = check(addr=fake.nodes[1]["http"])
    assert code == WARNING and "WARNING: n0 leads, and was not seen here" in said
    for status in fake.statuses:
        status["leader"]["id"] = ""
    code, said = check(addr=fake.nodes[1]["http"])
    assert code == CRITICAL and said[0].startswith("CRITICAL: there is no leader")


def test_wrong_usage_is_unknown():
    for words in (["check", "x"], ["check", "--nope"], ["check", "--addr", "h"]):
        done = craftd(*words)
        assert (done.returncode, done.stdout) == (UNKNOWN, b"") and done.stderr


def test_messages_cannot_drive_the_terminal(fake):
    fake.statuses[1]["hints"] = ["\x1b[31mred\nline"]
    code, said = check(addr=fake.addr)
    assert code == WARNING and said[0] == "WARNING: n1: ?[31mred?line"


# ---- /hash ----

def test_the_hash_at_an_index(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    indexes = [int(run("put", "--print-index", f"k{i}", "v", addr=leader.http))
               for i in range(5)]
    assert leader.request("POST", "/sync?nodes=all").status == 200
    for index in indexes:
        got = {json.dumps(n.request("GET", f"/hash?index={index}").json()) for n in cluster}
        assert len(got) == 1, got
    hashes = {leader.request("GET", f"/hash?index={i}").json()["hash"] for i in indexes}
    assert len(hashes) == 5
    last = leader.request("GET", "/hash").json()
    assert last["hash"] == leader.status()["hash"] and last["index"] >= indexes[-1]
    response = leader.request("GET", f"/hash?index={last['index'] + 1}")
    assert (response.status, response.json()["code"]) == (404, "not-found")
    # After a start, from what the database has on.
    leader.kill()
    leader.start()
    wait_for(lambda: leader.status()["ready"], 20, "ready")
    response = leader.request("GET", "/hash?index=1")
    assert (response.status, response.json()["code"]) == (410, "compacted")
    oldest = response.json()["oldest_index"]
    for index in (oldest, leader.status()["applied"]):
        assert leader.request("GET", f"/hash?index={index}").status == 200
    assert check(addr=leader.http)[0] in (OK, WARNING)


def test_old_hashes_are_forgotten(cluster):
    """17,000 entries: more than a node remembers."""
    node = cluster.new(args=["--inmem"]).start().up()
    cluster.wait_leader()
    first = int(run("put", "--print-index", "k", "v", addr=node.http))
    put = (b"PUT /key/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv")
    for _ in range(17):
        with socket.create_connection((HOST, node.http_port)) as s:
            s.sendall(put * 999 + put.replace(b"Host", b"Connection: close\r\nHost"))
            while s.recv(1 << 20):
                pass
    response = node.request("GET", f"/hash?index={first}")
    assert response.status == 410
    applied, oldest = node.status()["applied"], response.json()["oldest_index"]
    assert applied - oldest + 1 == 16384
    hashes = [node.request("GET", f"/hash?index={i}").json()["hash"]
              for i in (oldest, oldest + 1, applied - 1, applied)]
    assert len(set(hashes)) == 4 and hashes[3] == node.status()["hash"]
    assert node.request("GET", f"/hash?index={oldest - 1}").status == 410


# ---- with --auth ----

def test_credentials_go_to_named_servers_only(fake, monkeypatch):
    fake.guarded = True
    code, said = check(addr=fake.addr)
    assert code == UNKNOWN and said[0].startswith("UNKNOWN: no node says how it is: ")
    assert "who are you?" in said[0]
    monkeypatch.setenv("CRAFTD_USER", "bob:secret")
    code, said = check(addr=fake.addr)
    assert code == UNKNOWN and [line.split(":")[0] for line in said[:-1]] == ["UNKNOWN"] * 2
    assert "n1 does not say how it is" in said[0] and "--addr" in said[0]
    assert [row[8] for row in lines("status", "--all", addr=fake.addr)] == [
        "ok", "unknown", "unknown"]
    every = ",".join(node["http"] for node in fake.nodes)
    assert check(addr=every)[0] == OK
