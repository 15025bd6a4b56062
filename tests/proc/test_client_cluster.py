"""craftd nodes, sync, snapshot, del --prefix and ls --json: for people on a terminal,
and for scripts in a pipe."""
import json
import re

import pytest

from cluster import wait_for
from test_client import (AWAY, DONE, FAILED, NO, UNKNOWN, USAGE, answer, craftd, lines,
                         problem, run, serve, target_of)  # noqa: F401
from terminal import on_terminal
# pylint: disable=redefined-outer-name,unused-import


def terminal(*words, addr=None, typed=b"", columns=100):
    """All of it on a terminal: the exit code, and what it shows."""
    code, shown = on_terminal(*words, addr=addr, typed=typed, prompt=b"[y/N]", columns=columns)
    return code, shown.decode()


NODES = json.dumps([
    {"id": "n1", "address": "10.0.0.1:12000", "http": "10.0.0.1:11000", "number": 1,
     "role": "voter", "voter": True, "leader": True, "reachable": True},
    {"id": "n\u00fcnchen", "address": "h:1", "http": "", "number": 2, "role": "learner",
     "voter": False, "leader": False, "reachable": False, "last_error": "x"}]).encode()


# ---- nodes ----

def test_nodes_in_columns_on_a_terminal(serve):
    code, shown = terminal("nodes", addr=serve(answer(200, NODES)).addr)
    assert code == DONE
    assert shown.splitlines() == [
        "ID       RAFT            HTTP            ROLE     LEADER  STATE",
        "n1       10.0.0.1:12000  10.0.0.1:11000  voter    leader  up",
        "n\u00fcnchen  h:1             -               learner  -       down"]


def test_nodes_with_tabs_in_a_pipe(serve):
    assert lines("nodes", addr=serve(answer(200, NODES)).addr) == [
        ["n1", "10.0.0.1:12000", "10.0.0.1:11000", "voter", "leader", "up"],
        ["n\u00fcnchen", "h:1", "-", "learner", "-", "down"]]


def test_a_table_of_nothing_or_nonsense(serve):
    assert run("nodes", addr=serve(answer(200, b"[]")).addr) == b""
    for body in (b"", b"{}", b"[1]", b'[{"id":"a"}', b'[{"id":'):
        done = craftd("nodes", addr=serve(answer(200, body)).addr)
        assert (done.returncode, done.stdout) == (FAILED, b""), body
        assert b"unexpected form" in done.stderr


def test_fields_that_an_older_build_does_not_send(serve):
    assert lines("nodes", addr=serve(answer(200, b'[{"id":"a"}]')).addr) == [
        ["a", "-", "-", "-", "-", "down"]]


@pytest.mark.parametrize("words", [
    ["nodes", "remove"], ["nodes", "n2"], ["nodes", "eat", "n2"], ["nodes", "remove", ""],
    ["nodes", "promote", "--yes", "n2"], ["nodes", "demote", "--json", "n2"],
    ["nodes", "remove", "n2", "n3"], ["del", "--prefix", "--if-index", "3", "a"],
    ["del", "--prefix", ""], ["del", "--prefix"], ["sync", "x"], ["snapshot", "x"]])
def test_usage(words):
    done = craftd(*words)
    assert (done.returncode, done.stdout) == (USAGE, b"") and done.stderr.count(b"\n") == 1


def members(cluster):
    return {line[0]: line[3] for line in lines("nodes", addr=cluster[0].http)}


def test_members_are_demoted_promoted_and_removed(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    one, two = cluster.others(leader)
    addr = leader.http
    assert run("nodes", "demote", one.name, addr=addr) == b""
    assert members(cluster)[one.name] == "non-voter"
    assert run("nodes", "promote", one.name, addr=addr) == b""
    wait_for(lambda: members(cluster)[one.name] == "voter", 10, "a vote")
    for verb in ("demote", "promote"):
        assert craftd("nodes", verb, "nobody", addr=addr).returncode == NO
    done = craftd("nodes", "remove", "--yes", "nobody", addr=addr)
    assert done.returncode == NO and b'nobody' in done.stderr
    # A script must say that it means it.
    done = craftd("nodes", "remove", two.name, addr=addr)
    assert done.returncode == USAGE and b"--yes" in done.stderr
    for typed in (b"\n", b"n\n", b"yellow\n", b"\x04"):
        code, shown = terminal("nodes", "remove", two.name, addr=addr, typed=typed)
        assert code == FAILED and "nothing was changed" in shown, shown
        assert f"remove {two.name} ({two.raft}, voter, up)" in shown
    assert two.name in members(cluster)
    code, shown = terminal("nodes", "remove", two.name, addr=addr, typed=b"yes\n")
    assert code == DONE, shown
    wait_for(lambda: two.name not in members(cluster), 10, "its removal")
    assert run("nodes", "remove", "--yes", one.name, addr=addr) == b""
    wait_for(lambda: set(members(cluster)) == {leader.name}, 10, "its removal")


# ---- sync, snapshot ----

def test_sync_and_snapshot(three, addr):
    index = int(run("put", "--print-index", "sync/a", "1", addr=addr))
    for node in three:
        synced = dict(lines("sync", addr=node.http))
        assert int(synced["index"]) >= index and int(synced["nodes." + node.name]) >= index
        assert len(synced) == 2
    synced = dict(lines("sync", "--all", addr=addr))
    assert set(synced) == {"index"} | {"nodes." + node.name for node in three}
    assert json.loads(run("sync", "--all", "--json", addr=addr))["index"] >= index
    taken = dict(lines("snapshot", addr=three[1].http))
    assert set(taken) == {"index", "bytes"} and int(taken["index"]) >= index
    assert run("snapshot", addr=three[1].http) in (b"", b"index\t%s\n" % taken["index"].encode())


def test_sync_says_who_is_late(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    late = cluster.others(leader)[0]
    late.kill()
    done = craftd("sync", "--all", "--timeout", "1s", addr=leader.http)
    assert done.returncode == AWAY and late.name.encode() in done.stderr, done


# ---- del --prefix ----

def test_a_prefix_is_deleted_after_a_question(three, addr):
    pairs = {f"gone/{i}": "x" for i in range(12)} | {"gonf": "kept", "gone": "kept"}
    assert three[0].put_many(pairs).status == 200
    done = craftd("del", "--prefix", "gone/", addr=addr)
    assert done.returncode == USAGE and b"--yes" in done.stderr and done.stdout == b""
    code, shown = terminal("del", "--prefix", "gone/", addr=addr, typed=b"n\n")
    assert code == FAILED and 'delete 12 keys that begin with "gone/"? [y/N]' in shown
    assert len(lines("ls", "--keys", "gone/", addr=addr)) == 12
    code, shown = terminal("del", "gone/1", "--prefix", addr=addr, typed=b"Y\n")
    assert code == DONE and shown.endswith("deleted\t3\r\n"), shown
    assert run("del", "--prefix", "--yes", "gone/", addr=addr) == b"deleted\t9\n"
    assert run("del", "--prefix", "--yes", "gone/", addr=addr) == b"deleted\t0\n"
    assert [key for key, in lines("ls", "--keys", "gon", addr=addr)] == ["gone", "gonf"]
    # Nothing to delete is nothing to ask about.
    assert run("del", "--prefix", "gone/", addr=addr) == b"deleted\t0\n"


def late(deleted):
    return answer(504, json.dumps({
        "type": "urn:craftd:commit-timeout", "status": 504, "code": "commit-timeout",
        "message": "repeat the request to delete the rest", "outcome": "unknown",
        **({"deleted": deleted} if deleted else {})}).encode(),
        ["Content-Type: application/problem+json"])


def test_much_takes_several_requests(serve):
    server = serve(late(700), late(200), answer(200, b'{"deleted":100,"index":9}\n'))
    done = craftd("del", "--prefix", "--yes", "a b/", addr=server.addr)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, b"deleted\t1000\n", b"")
    assert {target_of(r) for r in server.requests} == {"/keys?prefix=a%20b/&timeout=10000ms"}
    assert all(r.startswith(b"DELETE ") for r in server.requests)


def test_it_ends_when_nothing_is_deleted_any_more(serve):
    server = serve(late(700), late(0))
    done = craftd("del", "--prefix", "--yes", "a/", addr=server.addr)
    assert (done.returncode, done.stdout) == (UNKNOWN, b"deleted\t700\n")
    assert b"delete the rest" in done.stderr
    # What was done before another failure is said too.
    server = serve(late(5), problem(403, "forbidden", "no"))
    done = craftd("del", "--prefix", "--yes", "a/", addr=server.addr)
    assert (done.returncode, done.stdout) == (FAILED, b"deleted\t5\n")


# ---- ls --json ----

def test_ls_prints_json(three, addr):
    assert three[0].put("json/a", "1\n").status == 200
    assert three[0].request("PUT", "/key/json/b", b"\xff\x00").status in (201, 204)
    a, b = map(json.loads, run("ls", "--json", "json/", addr=addr).splitlines())
    assert (a["key"], a["value"], b["key"], b["value_base64"]) == (
        "json/a", "1\n", "json/b", "/wA=")
    assert a["index"] >= a["create_index"] > 0
    keys = [json.loads(line) for line in
            run("ls", "--json", "--keys", "json/", addr=addr).splitlines()]
    assert [(item["key"], "value" in item) for item in keys] == [
        ("json/a", False), ("json/b", False)]


def test_ls_json_follows_the_pages(serve):
    following = ['Link: </keys?prefix=p&after=x>; rel="next"']
    one, two = b'{"key":"p/\\"\\u00fc","value":"}"}\n', b'{"key":"p/z","value":""}\n'
    server = serve(answer(200, one, following), answer(200, two))
    assert run("ls", "--json", "p/", addr=server.addr) == one + two
    assert list(map(target_of, server.requests)) == [
        "/keys?format=ndjson&limit=1000&prefix=p/&timeout=10000ms",
        "/keys?format=ndjson&limit=1000&prefix=p/&after=p/%22%C3%BC&timeout=10000ms"]
    done = craftd("ls", "--json", addr=serve(answer(200, b'{"value":"1"}\n', following)).addr)
    assert done.returncode == FAILED and b"keys" in done.stderr


def test_many_pages_are_one_list(three, addr):
    for at in range(0, 2500, 500):
        assert three[0].put_many({f"pages/{i:05}": "v" for i in range(at, at + 500)}).status == 200
    keys = [json.loads(line)["key"] for line in
            run("ls", "--json", "--keys", "pages/", addr=addr).splitlines()]
    assert keys == [f"pages/{i:05}" for i in range(2500)]
    assert re.fullmatch(rb"deleted\t2500\n", run("del", "--prefix", "--yes", "pages/", addr=addr))
