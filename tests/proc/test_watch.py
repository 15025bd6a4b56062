"""GET /watch: changes of keys, as they are applied, at every node."""
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from cluster import HOST, ROOT, Cluster, Stopwatch, rss_bytes, wait_for
from nginx import nginx_before
from watch import Watch, is_sync, shown


def index_of(response):
    return int(response.headers["Craftd-Index"])


def put(node, **pairs):
    response = node.put_many({key.replace("_", "/"): value
                              for key, value in pairs.items()})
    assert response.status == 200, response
    return index_of(response)


def delete(node, key):
    response = node.request("DELETE", "/key/" + key)
    assert response.status == 200
    return index_of(response)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("watch"))
    try:
        yield nodes.start(1, args=["--history", "100"])[0]
    finally:
        nodes.stop()


# ---- what is sent ----

def test_every_node_sends_the_changes_of_a_prefix(three):
    watches = [Watch(node, "prefix=every/") for node in three]
    for watch in watches:
        assert watch.status == 200
        assert watch.headers["Content-Type"] == "text/event-stream"
        assert watch.headers["Cache-Control"] == "no-store"
        assert watch.headers["X-Accel-Buffering"] == "no"
        assert int(watch.headers["Craftd-Index"]) > 0
    first = put(three[0], every_a="1", other_b="x")
    second = put(three[1], every_a="2")
    third = delete(three[2], "every/a")
    for watch in watches:
        events = watch.take(3)
        assert shown(events) == [("put", "every/a", first),
                                 ("put", "every/a", second),
                                 ("delete", "every/a", third)]
        assert [event.id for event in events] == [first, second, third]
        assert events[0].data == {"key": "every/a", "value": "1", "index": first,
                                  "create_index": first, "prev_index": 0}
        assert events[1].data["prev_index"] == first
        assert events[1].data["create_index"] == first
        assert "value" not in events[2].data
        assert watch.retry == 1000
        watch.close()


def test_a_key_is_watched_alone(one):
    with Watch(one, "key=alone/a") as watch:
        put(one, alone_ab="x", alone="x")
        index = put(one, alone_a="1")
        assert shown(watch.take(1)) == [("put", "alone/a", index)]


def test_events_are_selected(one):
    with Watch(one, "prefix=sel/&events=delete") as watch:
        put(one, sel_a="1")
        index = delete(one, "sel/a")
        assert shown(watch.take(1)) == [("delete", "sel/a", index)]


def test_bytes_that_are_no_text(one):
    with Watch(one, "prefix=bin/") as watch:
        one.request("PUT", "/key/bin/a", b"\xff\x00")
        one.request("PUT", "/key/bin/b", "line\nbreak\r\u2028".encode())
        events = watch.take(2)
        assert events[0].data["value_base64"] == "/wA="
        assert events[1].data["value"] == "line\nbreak\r\u2028"


def test_lines_of_json(one):
    with Watch(one, "prefix=nd/&format=ndjson") as watch:
        assert watch.headers["Content-Type"] == "application/x-ndjson"
        index = put(one, nd_a="1", nd_b="2")
        events = watch.take(2)
        assert shown(events) == [("put", "nd/a", index), ("put", "nd/b", index)]
        assert [event.last for event in events] == [False, True]


def test_only_the_last_event_of_an_entry_that_is_sent_has_its_id(one):
    """A client that is cut off between two events of a transaction gets all of
    them again."""
    with Watch(one, "prefix=torn/") as watch:
        before = put(one, torn_0="0")
        index = put(one, torn_a="1", torn_b="2", zz="not for this watch")
        after = put(one, torn_c="3")
        events = watch.take(4)
        assert [event.last for event in events] == [True, False, True, True]
        assert [event.id for event in events] == [before, before, index, after]
    with Watch(one, f"prefix=torn/&since={before}") as watch:
        assert shown(watch.take(2)) == [("put", "torn/a", index),
                                        ("put", "torn/b", index)]


def test_transactions_and_prefixes(one):
    put(one, txn_a="1", txn_n="4")
    with Watch(one, "prefix=txn/") as watch:
        body = {"then": [{"incr": "txn/n", "by": 2}, {"get": "txn/a"},
                         {"delete_prefix": "txn/"}, {"put": "txn/z", "value": "9"}]}
        answer = one.request("POST", "/txn", body)
        assert answer.status == 200
        failed = {"then": [{"put": "txn/no", "value": "1"}, {"incr": "txn/z"},
                           {"put": "txn/word", "value": "w"},
                           {"incr": "txn/word"}]}
        assert one.request("POST", "/txn", failed).status != 200
        refused = {"if": [{"key": "txn/z", "exists": False}],
                   "then": [{"put": "txn/no", "value": "1"}]}
        assert one.request("POST", "/txn", refused).status == 412
        end = put(one, txn_end="1")
        index = answer.json()["index"]
        assert shown(watch.take(5)) == [
            ("put", "txn/n", index), ("delete", "txn/a", index),
            ("delete", "txn/n", index), ("put", "txn/z", index),
            ("put", "txn/end", end)]


# ---- the initial set ----

def test_the_initial_set_ends_with_its_index(one):
    index = put(one, init_a="1", init_b="2", other="3")
    with Watch(one, "prefix=init/&initial") as watch:
        events = watch.until(is_sync)
        assert shown(events[:-1]) == [("put", "init/a", index),
                                      ("put", "init/b", index)]
        assert not any(event.last for event in events[:-1])
        assert events[-1].data == {"index": index} and events[-1].id == index
        change = put(one, init_a="3")
        assert shown(watch.take(1)) == [("put", "init/a", change)]
    with Watch(one, "key=init/a&initial") as watch:
        assert shown(watch.take(1)) == [("put", "init/a", change)]
        assert is_sync(watch.next())
    with Watch(one, "prefix=nothing/&initial") as watch:
        assert is_sync(watch.next())


def test_no_event_is_older_than_what_was_shown(cluster):
    """The set is read in pages while its keys change: what a client makes of the
    events is, at every index, what the node has."""
    node = cluster.start(1)[0]
    keys = [f"big/{i:05d}" for i in range(8000)]
    for i in range(0, len(keys), 2000):
        assert node.put_many({key: "0" * 60 for key in keys[i:i + 2000]}).status == 200
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            node.put_many({keys[(i * 7919 + k * 997) % len(keys)]: f"{i}"
                           for k in range(5)})
            node.request("DELETE", "/key/" + keys[i * 31 % len(keys)])
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            model = {}
            with Watch(node, "prefix=big/&initial") as watch:
                for event in watch.until(is_sync):
                    follow(model, event)
                synced = watch.last_id
                assert synced == event.data["index"]
                for event in watch.take(200):
                    assert event.data["index"] > synced
                    follow(model, event)
    finally:
        stop.set()
        writer.join()
    with Watch(node, "prefix=big/&initial") as watch:
        model = {}
        for event in watch.until(is_sync):
            follow(model, event)
    got = {}
    path = "/keys?prefix=big/&limit=10000"
    for item in node.request("GET", path).json()["items"]:
        got[item["key"]] = (item["index"], item["value"])
    assert model == got


def follow(model, event):
    if is_sync(event):
        return
    key, index = event.data["key"], event.data["index"]
    if key in model:
        assert index > model[key][0], event
    if event.type == "put":
        if "prev_index" in event.data:
            assert event.data["prev_index"] == model.get(key, (0,))[0], event
        model[key] = (index, event.data["value"])
    else:
        assert model.pop(key)[0] == event.data["prev_index"], event


# ---- resuming ----

def test_a_watch_resumes_at_any_node(three):
    first = put(three[0], resume_a="1")
    second = last = put(three[0], resume_b="2")
    for node in three:
        with Watch(node, f"prefix=resume/&since={first}") as watch:
            assert shown(watch.take(1)) == [("put", "resume/b", second)]
        # A browser's header is newer than the address that it began with.
        with Watch(node, f"prefix=resume/&since={first}",
                   {"Last-Event-ID": str(last)}) as watch:
            last = put(three[1], resume_c="3")
            assert shown(watch.take(1)) == [("put", "resume/c", last)]


def test_a_watch_may_know_more_than_the_node(one):
    """What the node applies up to that index was seen elsewhere."""
    now = put(one, ahead_a="1")
    with Watch(one, f"prefix=ahead/&since={now + 1}") as watch:
        put(one, ahead_a="2")
        index = put(one, ahead_a="3")
        assert shown(watch.take(1)) == [("put", "ahead/a", index)]


def test_what_is_gone_is_410(one):
    since = put(one, gone_a="1")
    for i in range(60):
        index = put(one, gone_a=str(i), gone_b=str(i))
    with Watch(one, f"prefix=gone/&since={since}") as watch:
        assert watch.status == 410
        problem = watch.problem()
        assert problem["code"] == "compacted"
        oldest = problem["oldest_index"]
    assert since < oldest < index
    with Watch(one, f"prefix=gone/&since={oldest}") as watch:
        events = watch.until_id(index)
        assert [event.data["index"] for event in events] == sorted(
            [i for i in range(oldest + 1, index + 1)] * 2)
    # With `initial` a browser, which does not come again after an error, begins
    # anew.
    with Watch(one, "prefix=gone/&initial", {"Last-Event-ID": str(since)}) as watch:
        events = watch.until(is_sync)
        assert [event.type for event in events] == ["reset", "put", "put", "sync"]
        assert events[-1].id == index


def test_a_resume_with_initial_has_no_set(one):
    put(one, again_a="1")
    since = put(one, again_b="1")
    index = put(one, again_c="1")
    with Watch(one, "prefix=again/&initial", {"Last-Event-ID": str(since)}) as watch:
        assert shown(watch.take(1)) == [("put", "again/c", index)]


def test_a_restart_forgets_the_ring_but_not_the_indexes(cluster):
    nodes = cluster.start(3)
    since = put(nodes[0], re_a="1")
    nodes[1].request("POST", "/snapshot")
    nodes[1].terminate()
    index = put(nodes[0], re_a="2")
    nodes[1].start().up()
    wait_for(lambda: nodes[1].status()["applied"] >= index, what="catching up")
    with Watch(nodes[1], f"prefix=re/&since={since}") as watch:
        if watch.status == 200:
            assert shown(watch.take(1)) == [("put", "re/a", index)]
        else:
            assert watch.status == 410
    with Watch(nodes[2], f"prefix=re/&since={since}") as watch:
        assert shown(watch.take(1)) == [("put", "re/a", index)]


def test_the_leader_is_killed_in_mid_stream(cluster):
    """A client that goes on at another node from its last id misses nothing and
    sees nothing twice."""
    nodes = cluster.start(3)
    stop = threading.Event()
    acked = {}

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            for node in nodes:
                try:
                    response = node.request("PUT", f"/key/kill/{i}", str(i),
                                            timeout=5)
                    if response.status in (201, 204):
                        acked[i] = index_of(response)
                        break
                except (OSError, http.client.HTTPException):
                    pass

    writer = threading.Thread(target=write)
    leader = nodes.leader()
    others = nodes.others(leader)
    seen = []
    watch = Watch(leader, "prefix=kill/&since=0")
    writer.start()
    try:
        seen += watch.take(20)
        leader.kill()
        try:
            seen += watch.rest()
        except (OSError, http.client.HTTPException):
            pass
        last = watch.last_id
        seen = [event for event in seen if event.data["index"] <= last]
        before = max(acked)
        watch = Watch(others[0], f"prefix=kill/&since={last}")
        wait_for(lambda: acked and max(acked) > before + 20, 20, "writes go on")
    finally:
        stop.set()
        writer.join()
    end = max(acked.values())
    seen += watch.until_id(end)
    watch.close()
    indexes = [event.data["index"] for event in seen]
    assert indexes == sorted(set(indexes))
    assert set(acked.values()) <= set(indexes)


# ---- refusals ----

@pytest.mark.parametrize("query", [
    "prefix=a&key=b", "key=", "since=x", "since=-1", "events=", "events=get",
    "format=xml", "min_index=x", "prefix=" + "k" * 1025, "prefx=a", "wait=1"])
def test_wrong_parameters_are_refused(one, query):
    with Watch(one, query) as watch:
        assert watch.status == 400
        assert watch.problem()["code"] == "bad-param"


def test_methods(one):
    head = one.request("HEAD", "/watch?prefix=a")
    assert head.status == 200 and head.body == b""
    assert head.headers["Content-Type"] == "text/event-stream"
    options = one.request("OPTIONS", "/watch")
    assert options.status == 204 and options.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert one.request("POST", "/watch").status == 405
    with Watch(one, "since=1", {"Last-Event-ID": "x"}) as watch:
        assert watch.status == 400


def test_there_are_at_most_half_as_many_watches_as_connections(cluster):
    node = cluster.new(args=["--max-conns", "8"]).start().up()
    watches = [Watch(node) for _ in range(4)]
    with Watch(node) as watch:
        assert watch.status == 429
        assert "--max-conns" in watch.problem()["message"]
    assert node.status()["watch"]["watchers"] == 4
    assert node.status()["watch"]["watchers_max"] == 4
    watches.pop().close()
    wait_for(lambda: node.status()["watch"]["watchers"] == 3, 5,
             "a client that is gone is noticed")
    with Watch(node) as watch:
        assert watch.status == 200
    for watch in watches:
        watch.close()


def test_http_1_0_has_no_chunks(one):
    with socket.create_connection((HOST, one.http_port), timeout=10) as s:
        s.sendall(b"GET /watch?prefix=old/ HTTP/1.0\r\n\r\n")
        got = b""
        while b"id: " not in got:
            got += s.recv(4096)
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and b"chunked" not in head
        assert b"Connection: close" in head
        index = put(one, old_a="1")
        while f"id: {index}\n\n".encode() not in body:
            body += s.recv(4096)
        assert b'event: put\ndata: {"key":"old/a"' in body


# ---- clients that do not keep up ----

def stalled(node, query, headers=""):
    """A watch whose client reads nothing after its head."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(30)
    s.connect((HOST, node.http_port))
    s.sendall(f"GET /watch?{query} HTTP/1.0\r\n{headers}\r\n".encode())
    assert b"200 OK" in s.recv(512)
    return s


def test_a_slow_client_is_lost_and_others_are_not(cluster):
    node = cluster.start(1, args=["--history", "200"])[0]
    slow = stalled(node, "prefix=slow/")
    fast = Watch(node, "prefix=slow/")
    value = "v" * 60000
    count = 400
    resident = rss_bytes(node.pid)
    indexes = []
    for i in range(count):
        indexes.append(index_of(node.request("PUT", f"/key/slow/{i % 50}", value)))
        assert fast.next().data["index"] == indexes[-1]
    assert rss_bytes(node.pid) - resident < 40 << 20
    assert node.status()["watch"]["lag_max"] > 0
    got = b""
    with slow:
        while piece := slow.recv(1 << 16):
            got += piece
    assert b"event: lost\n" in got
    last = got[got.index(b"event: lost\n"):]
    assert json.loads(last.split(b"data: ")[1])["oldest_index"] > indexes[0]
    ids = [int(line[4:]) for line in got.split(b"\n") if line.startswith(b"id: ")]
    assert ids == sorted(ids)
    status = wait_for(lambda: (s := node.status())["watch"]["dropped"] and s,
                      5, "it is counted")
    assert any("--history" in hint for hint in status["hints"])
    fast.close()


def test_a_client_that_reads_slowly_gets_all(cluster):
    """It falls behind, and goes on from the ring."""
    node = cluster.start(1)[0]
    slow = stalled(node, "prefix=slow/")
    value = "v" * 30000
    for i in range(250):
        index = index_of(node.request("PUT", f"/key/slow/{i}", value))
    assert node.status()["watch"]["lag_max"] > 0
    got = b""
    with slow:
        while f"id: {index}\n".encode() not in got[-64:]:
            piece = slow.recv(1 << 16)
            assert piece, got[-200:]
            got += piece
    lines = [line for line in got.split(b"\n") if line.startswith(b"data: ")]
    assert [json.loads(line[6:])["key"] for line in lines] == [
        f"slow/{i}" for i in range(250)]


# ---- how far clients are behind ----

def metrics(node):
    text = node.request("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in
            re.findall(r"(?m)^(craftd_watch\w+) ([0-9.]+)$", text)}


def fill(node, prefix):
    """Writes until the node holds something that a client has not taken, but has yet
    no reason to stop writing to it."""
    for i in range(2000):
        node.request("PUT", f"/key/{prefix}{i}", "v" * 20000)
        if metrics(node)["craftd_watch_buffered_bytes"] > 0:
            return
    raise AssertionError("the kernel takes everything")


def test_the_lag_of_each_slow_client_is_shown(cluster):
    node = cluster.start(1)[0]
    fast = Watch(node, "key=other")
    nothing = {"craftd_watchers_behind": 0, "craftd_watch_lag_entries_max": 0,
               "craftd_watch_lag_seconds_max": 0, "craftd_watch_buffered_bytes": 0}
    slow = stalled(node, "prefix=slow/")
    assert nothing.items() <= metrics(node).items()
    assert node.status()["watch"]["slowest"] == []
    fill(node, "slow/")
    filled = Stopwatch(node)
    for _ in range(7):  # They concern others, and count all the same.
        put(node, other="1")
    fast.take(7)
    time.sleep(1.2)
    got = metrics(node)
    watch = node.status()["watch"]
    assert got["craftd_watchers_behind"] == 1
    assert 7 < got["craftd_watch_lag_entries_max"] < 200
    assert 1.2 < got["craftd_watch_lag_seconds_max"] < filled.seconds() + 5
    assert watch["lag_max"] == got["craftd_watch_lag_entries_max"]
    assert watch["lag_ms_max"] >= got["craftd_watch_lag_seconds_max"] * 1000
    assert watch["buffered_bytes"] == got["craftd_watch_buffered_bytes"]
    assert 0 < watch["buffered_bytes"] < 200000  # It is not yet behind in the feed.
    row, = watch["slowest"]
    host, port = slow.getsockname()
    assert row.pop("lag_ms") >= 1200
    assert row == {"prefix": "slow/", "address": f"{host}:{port}",
                   "lag": watch["lag_max"], "buffered_bytes": watch["buffered_bytes"]}
    with slow:
        drain(slow, lambda: not metrics(node)["craftd_watchers_behind"])
        assert nothing.items() <= metrics(node).items()
        assert node.status()["watch"]["slowest"] == []
    fast.close()


def drain(s, done):
    """Read until done() says so."""
    s.settimeout(0.2)
    until = time.monotonic() + 20
    while not done():
        assert time.monotonic() < until
        try:
            while s.recv(1 << 20):
                pass
        except TimeoutError:
            pass


def test_the_lag_is_that_of_what_is_not_sent(cluster):
    """A client that is never without something to read, yet goes on, is behind by what
    it has not got, and not since it first had to wait."""
    node = cluster.start(1)[0]
    slow = stalled(node, "prefix=slow/")
    fill(node, "slow/")
    for _ in range(200):  # More than the kernel takes at once.
        node.request("PUT", "/key/slow/a", "v" * 20000)
    began = time.monotonic()
    count = 800
    for _ in range(count):
        node.request("PUT", "/key/slow/a", "v" * 20000)
        got = 0
        while got < 20000:
            got += len(slow.recv(20000 - got))
    took_ms = (time.monotonic() - began) * 1000
    watch = node.status()["watch"]
    assert watch["behind"] == 1
    assert 0 < watch["lag_ms_max"] < took_ms * 3 / 4
    assert 0 < watch["lag_max"] < count * 3 / 4
    slow.close()


def test_an_idle_watch_is_not_behind(cluster):
    """It is behind from the first event that its client has to wait for."""
    node = cluster.start(1)[0]
    slow = stalled(node, "prefix=slow/")
    for i in range(100):
        time.sleep(0.5)
        began = time.monotonic()
        put(node, slow_a="v" * 200000)
        watch = node.status()["watch"]
        took_ms = (time.monotonic() - began) * 1000
        if watch["behind"]:
            break
    assert watch["behind"] == 1
    assert watch["lag_ms_max"] <= took_ms
    slow.close()


def test_the_slowest_come_first_and_are_few(cluster):
    node = cluster.start(1)[0]
    slow = []
    for i in range(7):
        slow.append(stalled(node, f"key=k{i}" if i % 2 else f"prefix=k{i}/"))
        name = f"k{i}" if i % 2 else f"k{i}/x"
        for _ in range(2000):
            node.request("PUT", f"/key/{name}", "v" * 60000)
            if node.status()["watch"]["behind"] == i + 1:
                break
        time.sleep(0.05)
    watch = node.status()["watch"]
    assert watch["behind"] == 7
    rows = watch["slowest"]
    assert [row.get("key") or row["prefix"] for row in rows] == [
        "k0/", "k1", "k2/", "k3", "k4/"]
    assert [row["address"] for row in rows] == [
        "{}:{}".format(*s.getsockname()) for s in slow[:5]]
    late = [row["lag_ms"] for row in rows]
    assert late == sorted(late, reverse=True) and late[0] == watch["lag_ms_max"]
    for s in slow:
        s.close()


def test_only_watches_that_one_may_read_are_listed(cluster, tmp_path):
    path = tmp_path / "auth.json"
    users = {"a": ["read:a/"], "deep": ["read:a/b/"], "all": ["all"], "none": []}
    path.write_text(json.dumps([
        {"token": "sha256:" + hashlib.sha256(name.encode()).hexdigest(),
         "perms": perms} for name, perms in users.items()]
        + [{"username": "*", "perms": ["status"]}]))
    path.chmod(0o600)
    node = cluster.new(args=["--auth", str(path)]).start().up()
    cluster.wait_leader()
    bearer = {name: {"Authorization": f"Bearer {name}"} for name in users}
    slow = stalled(node, "prefix=a/", "Authorization: Bearer a\r\n")

    def watch(name):
        return node.request("GET", "/status", headers=bearer[name]).json()["watch"]

    for i in range(2000):
        node.request("PUT", "/key/a/b/c", "v" * 60000, headers=bearer["all"])
        if watch("all")["behind"]:
            break
    for name, shown in (("all", 1), ("a", 1), ("deep", 0), ("none", 0)):
        assert watch(name)["behind"] == 1
        assert len(watch(name)["slowest"]) == shown, name
    slow.close()
def turns_of(node):
    body = node.request("GET", "/metrics").body.decode()
    return int(re.search(r"^craftd_reactor_turn_seconds_count (\d+)", body, re.M)[1])


def test_a_long_history_is_examined_in_many_turns(cluster):
    """A watch that resumes far back, and a poll, do not hold up the others."""
    node = cluster.start(1, args=["--history", "500000"])[0]
    begin = put(node, other="x")
    many = {f"other/{i}": "x" for i in range(4000)}
    for _ in range(100):
        index = index_of(node.put_many(many))
    mine = put(node, mine="1")
    turns = turns_of(node)
    with Watch(node, f"prefix=mine&since={begin}") as watch:
        assert shown(watch.take(1)) == [("put", "mine", mine)]
        assert turns_of(node) - turns >= 400000 // 16384
        again = put(node, mine="2")
        assert shown(watch.take(1)) == [("put", "mine", again)]
    # What a poll would have to go too far back for counts as a change.
    for path, known, status in [
            ("/keys?prefix=none", index, 304), ("/keys?prefix=none", begin, 200),
            ("/key/none", index, 304), ("/key/none", begin, 404)]:
        at = "&" if "?" in path else "?"
        path += f"{at}index={known}&wait=1ms"
        assert node.request("GET", path).status == status, path


def test_one_event_for_many_slow_clients_is_bounded(cluster):
    """32 MiB for all of them, however many there are and however large it is."""
    node = cluster.start(1, args=["--max-conns", "900"])[0]
    slow = [stalled(node, "prefix=slow/") for _ in range(400)]
    value = "v" * 200000
    most = 0
    end = time.monotonic() + 60
    while most < 16 << 20 and time.monotonic() < end:
        for _ in range(40):
            node.request("PUT", "/key/slow/a", value)
            most = max(most, metrics(node)["craftd_watch_buffered_bytes"])
    for s in slow:
        s.close()
    assert 16 << 20 < most < 33 << 20


MIB = 1 << 20


def connect(node):
    return socket.create_connection((HOST, node.http_port), 30)


def test_one_event_for_many_watches_is_sent_in_many_turns(cluster):
    """A turn has a share for watches: requests are served in between."""
    node = cluster.start(1, args=["--max-conns", "2048"])[0]
    watches = [Watch(node, "prefix=many/") for _ in range(700)]
    value = "v" * 120000
    turns = turns_of(node)
    index = put(node, many_1=value)
    for watch in watches:
        assert shown(watch.take(1)) == [("put", "many/1", index)]
    assert turns_of(node) - turns >= 700 * len(value) // (4 * MIB)
    for watch in watches:
        watch.close()


def test_many_watches_that_have_to_catch_up_do_it_in_many_turns(cluster):
    """They come, or have room again, at the same time."""
    node = cluster.start(1, args=["--max-conns", "2048"])[0]
    begin = index_of(node.put_many({f"other/{i}": "x" for i in range(999)}))
    end = put(node, many_1="x")
    clients = [connect(node) for _ in range(400)]
    node.status()
    node.send(signal.SIGSTOP)
    for client in clients:
        client.sendall(b"GET /watch?prefix=many/&since=%d HTTP/1.1\r\nHost: x\r\n\r\n"
                       % (begin - 1))
    node.send(signal.SIGCONT)
    turns = turns_of(node)
    mark = b"id: %d\n" % end
    for client in clients:
        got = b""
        while mark not in got:
            piece = client.recv(1 << 16)
            assert piece
            got = got[-100:] + piece
        client.close()
    assert turns_of(node) - turns >= 20


def test_many_reads_that_wait_are_answered_in_many_turns(cluster):
    node = cluster.start(1, args=["--max-conns", "4096"])[0]
    index = put(node, many_1="a")
    clients = [connect(node) for _ in range(1500)]
    for client in clients:
        client.sendall(b"GET /key/many/1?index=%d&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n"
                       % index)
    wait_for(lambda: node.status()["watch"]["watchers"] == 1500, 30, "all wait")
    turns = turns_of(node)
    put(node, many_1="b")
    for client in clients:
        assert b'"many/1":"b"' in client.recv(1 << 16)
        client.close()
    assert turns_of(node) - turns >= 20


def test_changes_before_a_page_wait_for_the_client(cluster):
    """A client that is slow in reading the initial set, whose keys change."""
    node = cluster.start(1, args=["--history", "30000"])[0]
    value = "v" * 60000
    for i in range(150):
        node.request("PUT", f"/key/slow/{i:03d}", value)
    for _ in range(450):  # Now the memory for writes and changes is in use.
        node.request("PUT", "/key/other", value)
    slow = stalled(node, "prefix=slow/&initial")
    for _ in range(200):
        node.request("PUT", "/key/slow/000", value)
    resident = rss_bytes(node.pid)
    pieces = [b"", b""]
    with slow:
        while b"event: sync" not in pieces[-2][-20:] + pieces[-1]:
            pieces.append(slow.recv(1 << 16))
            assert pieces[-1]
            assert rss_bytes(node.pid) - resident < 4 << 20
    got = b"".join(pieces)
    got = got[:got.index(b"event: sync")]
    keys = [json.loads(line[6:])["key"] for line in got.split(b"\n")
            if line.startswith(b"data: ")]
    assert keys.count("slow/000") == 200 and len(set(keys)) == 150
    assert b"\nid: " not in got


# ---- permissions ----

def rules(path, prefixes):
    digest = hashlib.sha256(b"secret").hexdigest()
    path.write_text(json.dumps([
        {"token": "sha256:" + digest,
         "perms": [f"read:{prefix}" for prefix in prefixes]},
        {"username": "*", "perms": ["write", "status"]}]))
    path.chmod(0o600)


def test_a_watch_shows_what_may_be_read(cluster, tmp_path):
    path = tmp_path / "auth.json"
    rules(path, ["a/", "c/"])
    node = cluster.new(args=["--auth", str(path)]).start().up()
    cluster.wait_leader()
    token = {"Authorization": "Bearer secret"}
    put(node, a_1="x", b_1="x", c_1="x")
    for query, status in (("", 200), ("prefix=a/", 200), ("prefix=b/", 403),
                          ("key=b/1", 403), ("key=a/1", 200), ("key=a", 403)):
        with Watch(node, query, token) as watch:
            assert watch.status == status, query
    with Watch(node) as watch:
        assert watch.status == 401
    with Watch(node, "initial", token) as watch:
        events = watch.until(is_sync)[:-1]
        assert [event.data["key"] for event in events] == ["a/1", "c/1"]
        put(node, a_2="x", b_2="x", c_2="x")
        events = watch.take(2)
        assert [event.data["key"] for event in events] == ["a/2", "c/2"]
        assert [event.last for event in events] == [False, True]
        # New rules end it, so that it begins again under them.
        rules(path, ["a/"])
        node.send(signal.SIGHUP)
        assert watch.rest() == []
    with Watch(node, f"since={watch.last_id}", token) as watch:
        put(node, c_3="x", a_3="x")
        assert [event.data["key"] for event in watch.take(1)] == ["a/3"]


def test_a_page_of_another_site_may_not_watch(one):
    with Watch(one, "", {"Origin": "http://evil.example"}) as watch:
        assert watch.status == 403


# ---- the end ----

def test_sigterm_ends_a_watch_cleanly(cluster):
    node = cluster.start(1)[0]
    watches = [Watch(node), Watch(node, "format=ndjson")]
    index = put(node, end_a="1")
    for watch in watches:
        watch.take(1)
    stopwatch = Stopwatch(node)
    node.send(signal.SIGTERM)
    for watch in watches:
        assert watch.rest() == []  # A chunked body that is complete.
        assert watch.last_id == index
        watch.close()
    node.wait_exit(20)
    assert stopwatch.seconds() < 4


def test_a_restore_loses_watches(cluster, tmp_path):
    nodes = cluster.start(3)
    put(nodes[0], old_a="1")
    backup = nodes[0].request("GET", "/backup")
    since = put(nodes[0], old_b="1")
    watches = [Watch(node, f"prefix=old/&since={since}") for node in nodes]
    answer = nodes[0].request("POST", "/restore", backup.body)
    assert answer.status == 200, answer
    index = answer.json()["index"]
    for node, watch in zip(nodes, watches):
        events = watch.rest()
        assert [event.type for event in events] == ["lost"]
        assert events[0].data["oldest_index"] == index
        watch.close()
        with Watch(node, f"prefix=old/&since={index - 1}") as again:
            assert again.status == 410
        with Watch(node, "prefix=old/&initial") as again:
            assert [event.type for event in again.until(is_sync)] == ["put", "sync"]


@pytest.mark.parametrize("through", ["itself", "another"])
def test_a_node_that_is_removed_ends_its_watches(cluster, through):
    """At once, and without an event: nothing is lost, but it is elsewhere."""
    nodes = cluster.start(3)
    index = put(nodes[0], gone_a="1")
    leaver = cluster.others(cluster.wait_leader())[0]
    wait_for(lambda: leaver.status()["applied"] >= index)
    watch = Watch(leaver, "prefix=gone/")
    put(nodes[0], gone_b="1")
    watch.take(1)
    stopwatch = Stopwatch(*cluster)
    node = leaver if through == "itself" else cluster.others(leaver)[0]
    assert node.request("DELETE", "/nodes/" + leaver.name).status == 200
    assert watch.rest() == []
    assert stopwatch.seconds() < 2
    watch.close()
    with Watch(leaver, f"since={watch.last_id}") as again:
        assert again.status == 503
        assert "removed from its cluster" in again.problem()["message"]
    answer = leaver.request(
        "GET", f"/key/gone/a?level=none&wait=60s&index={index}")
    assert answer.status == 304  # It waits for nothing, and says what it has.
    assert answer.headers["Connection"] != "close"  # Not since the node stops.
    assert stopwatch.seconds() < 2
    later = put(cluster.others(leaver)[0], gone_c="1")
    with Watch(cluster.others(leaver)[1], f"prefix=gone/&since={watch.last_id}") as on:
        assert shown(on.take(1)) == [("put", "gone/c", later)]


def test_a_second_cluster_is_not_watched(cluster):
    """A founder that was wiped has nothing that those who come again with the
    index of their last event wait for: it refuses, so that they go elsewhere. A
    watch that was opened before it knew is ended."""
    nodes = cluster.start(3)
    since = put(nodes[0], orphan_a="1")
    for node in nodes[1:]:
        node.send(signal.SIGSTOP)
    nodes[0].kill()
    nodes[0].wipe()
    nodes[0].start().up()
    wait_for(lambda: nodes[0].status()["role"] == "leader")
    early = Watch(nodes[0], f"prefix=orphan/&since={since}")
    assert early.status == 200
    for node in nodes[1:]:
        node.send(signal.SIGCONT)
    assert early.rest() == []
    early.close()
    with Watch(nodes[0], f"prefix=orphan/&since={since}") as watch:
        assert watch.status == 503
        assert watch.problem()["code"] == "second-cluster"
    index = put(nodes[1], orphan_b="1")
    with Watch(nodes[2], f"prefix=orphan/&since={since}") as watch:
        assert shown(watch.take(1)) == [("put", "orphan/b", index)]


def test_a_watch_lives_and_moves_on(one):
    """After 10 s without an event its id moves on, after 15 s there is a sign of
    life."""
    with Watch(one, "prefix=quiet/", timeout=30) as watch:
        while watch.last_id is None:
            watch.block()
        began = watch.last_id
        index = put(one, elsewhere="1")
        while watch.last_id == began:
            assert watch.block() is None
        assert watch.last_id >= index
        while watch.comments == 0:
            assert watch.block() is None


def test_a_node_without_a_leader_serves_watches(cluster):
    nodes = cluster.start(3)
    index = put(nodes[0], left_a="1")
    wait_for(lambda: nodes[1].status()["applied"] >= index)
    nodes[0].terminate()
    nodes[2].terminate()
    with Watch(nodes[1], "prefix=left/&initial") as watch:
        assert shown(watch.take(1)) == [("put", "left/a", index)]
        assert is_sync(watch.next())


def test_a_node_that_is_no_member_refuses(cluster):
    node = cluster.new(args=["-join", f"{HOST}:1"]).start()
    wait_for(lambda: node.request("GET", "/livez").status == 200)
    with Watch(node) as watch:
        assert watch.status == 503


def test_a_thousand_watches(cluster):
    node = cluster.start(1, args=["--max-conns", "2048"])[0]
    watches = [Watch(node, f"key=many/{i}") for i in range(500)]
    watches += [Watch(node, "prefix=many/") for _ in range(500)]
    assert node.status()["watch"]["watchers"] == 1000
    before = rss_bytes(node.pid)
    index = put(node, many_7="x")
    for i, watch in enumerate(watches):
        if i == 7 or i >= 500:
            assert shown(watch.take(1)) == [("put", "many/7", index)]
    assert rss_bytes(node.pid) - before < 16 << 20
    for watch in watches:
        watch.close()
    wait_for(lambda: node.status()["watch"]["watchers"] == 0, 30)


# ---- the manual ----

def lines_of_the_page():
    with open(os.path.join(ROOT, "scripts", "manual", "watch.md")) as f:
        return [line.strip() for line in f if line.startswith("    curl ")]


def test_the_lines_of_the_page_work_at_every_node(cluster):
    three = cluster.start(3)
    put(three[0], svc_a="1")
    index = put(three[0], svc_b="2")
    lines = lines_of_the_page()
    assert len(lines) >= 2
    for node in three:
        wait_for(lambda node=node: node.status()["applied"] >= index)
        shells = [subprocess.Popen(
            ["sh", "-c", line.replace("localhost:11000", f"{HOST}:{node.http_port}")],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for line in lines]
        for shell in shells:
            out = shell.communicate(timeout=30)[0]
            assert shell.returncode in (0, 28), shell.args  # 28: its own time-out.
            assert b"svc/b" in out, (shell.args, out)


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx")
def test_a_watch_behind_nginx(cluster, tmp_path):
    """As nginx comes: it buffers, but for answers that say that it must not."""
    node = cluster.start(1)[0]
    with nginx_before([node], tmp_path) as port, \
            Watch(node, "prefix=proxy/&initial", port=port) as watch:
        assert is_sync(watch.next())
        for i in range(3):
            index = put(node, **{f"proxy_{i}": "x"})
            assert shown(watch.take(1)) == [("put", f"proxy/{i}", index)]
        node.send(signal.SIGTERM)
        assert watch.rest() == []
