"""Keys and leases that end: never early, and the same on every node, whatever
happens to the leader."""
import http.client
import json
import os
import subprocess
import threading
import time

import pytest

from cluster import BINARY, HOST, ROOT, Stopwatch, cpu_seconds, wait_for, written_bytes
from test_versions import restart_as
from watch import Watch

BEFORE = BINARY + "-before"


def put(node, key, query, value="v", **headers):
    return node.request("PUT", f"/key/{key}?{query}", value,
                        {name.replace("_", "-"): text for name, text in headers.items()})


def ttl_of(node, key):
    response = node.request("GET", f"/ttl/{key}")
    return response.json()["ttl"] if response.status == 200 else None


def gone(cluster, *keys):
    return all(node.get(key, "none") is None for node in cluster.running() for key in keys)


def grant(node, ttl):
    response = node.request("POST", f"/lease?ttl={ttl}")
    assert response.status == 201, response
    assert response.headers["Location"] == f"/lease/{response.json()['id']}"
    return response.json()["id"]


def keep(node, lease):
    return node.request("PUT", f"/lease/{lease}").status


# ---- one node after the other ----

def test_the_time_of_a_key_through_every_node(three):
    for number, node in enumerate(three):
        key, other = f"t/{number}", f"o/{number}"
        start = time.monotonic()
        assert put(node, key, "ttl=2s").status == 201
        assert put(node, other, "ttl=90s").status == 201
        answer = node.request("GET", f"/key/{key}")
        assert 0 < int(answer.headers["Craftd-Ttl"]) <= 2000
        assert 0 < node.request("GET", f"/key/{key}?meta").json()["ttl"] <= 2
        items = node.request("GET", f"/keys?prefix={key}").json()["items"]
        assert 0 < items[0]["ttl"] <= 2
        etag = node.request("GET", f"/key/{other}").headers["ETag"]
        assert 80 < ttl_of(node, other) <= 90
        assert node.request("PUT", f"/ttl/{other}", "1h").status == 204
        assert 3500 < ttl_of(node, other) <= 3600
        assert node.request("PUT", f"/ttl/{other}?ttl=2h").status == 204
        assert ttl_of(node, other) > 7000
        assert node.request("DELETE", f"/ttl/{other}").status == 204
        assert node.request("GET", f"/ttl/{other}").json() == {"ttl": None}
        answer = node.request("GET", f"/key/{other}")
        assert answer.headers["ETag"] == etag and answer.headers["Craftd-Ttl"] is None
        with Watch(node, f"key={key}") as watch:
            event = watch.next()
        assert time.monotonic() - start >= 2
        assert event.type == "delete" and event.data["reason"] == "expired"
        wait_for(lambda: gone(three, key), 5, "gone everywhere")
        assert node.get(other) == "v"


def test_a_plain_write_clears_it_and_a_change_in_place_keeps_it(three):
    node = three[1]
    for key in ("c/plain", "c/post", "c/incr", "c/again"):
        assert put(node, key, "ttl=1500ms", "1").status == 201
    assert node.request("PUT", "/key/c/plain", b"2").status == 204
    assert node.put("c/post", "2").status == 200
    assert node.request("POST", "/txn", {"then": [{"incr": "c/incr"}]}).status == 200
    assert put(node, "c/again", "ttl=1h", "2").status == 204
    assert node.request("POST", "/key?ttl=1s", {"c/a": "1", "c/b": "2"}).status == 200
    assert node.request("POST", "/txn", {"then": [
        {"put": "c/t", "value": "1", "ttl": "1s"},
        {"put": "c/u", "value": "1", "ttl": 1}]}).status == 200
    wait_for(lambda: gone(three, "c/incr", "c/a", "c/b", "c/t", "c/u"), 10, "they end")
    assert [node.get(key) for key in ("c/plain", "c/post", "c/again")] == ["2", "2", "2"]


@pytest.mark.parametrize("method, path, body, status", [
    ("PUT", "/key/w?ttl=99ms", b"", 400), ("PUT", "/key/w?ttl=3654d", b"", 400),
    ("PUT", "/key/w?ttl=x", b"", 400), ("PUT", "/key/w?ttl=", b"", 400),
    ("PUT", "/key/w?ttl=1s&lease=l-1", b"", 400), ("PUT", "/key/w?lease=58", b"", 400),
    ("PUT", "/key/w?lease=l-0", b"", 400), ("PUT", "/key/w?lease=l-9223372036854775808", b"", 400),
    ("PUT", "/key/w?lease=l-1", b"", 404), ("PUT", "/ttl/w", "", 400), ("PUT", "/ttl/w", "-1", 400),
    ("PUT", "/ttl/none", "60s", 404), ("DELETE", "/ttl/none", None, 404),
    ("GET", "/ttl/none", None, 404), ("POST", "/lease", None, 400),
    ("POST", "/lease?ttl=1ms", None, 400), ("PUT", "/lease/l-1", None, 404),
    ("DELETE", "/lease/l-1", None, 404), ("GET", "/lease/l-1", None, 404),
    ("GET", "/lease/x", None, 400),
    ("POST", "/txn", {"then": [{"delete": "w", "ttl": "1s"}]}, 400),
    ("POST", "/txn", {"then": [{"put": "w", "value": "", "ttl": "1s", "lease": "l-1"}]}, 400),
    ("POST", "/txn", {"then": [{"put": "w", "value": "", "ttl": True}]}, 400)])
def test_what_is_refused(three, method, path, body, status):
    for node in three:
        response = node.request(method, path, body)
        assert response.status == status, response
        assert node.get("w") is None


def test_the_life_of_a_lease_through_every_node(three):
    for number, node in enumerate(three):
        other = three[(number + 1) % 3]
        lease = grant(node, "2s")
        keys = [f"l/{number}/{i}" for i in range(3)]
        for key in keys[:2]:
            assert put(other, key, f"lease={lease}", If_None_Match="*").status == 201
        assert put(other, keys[0], f"lease={lease}", If_None_Match="*").status == 412
        assert other.request("POST", "/txn", {"then": [
            {"put": keys[2], "value": "v", "lease": lease}]}).status == 200
        shown = node.request("GET", f"/lease/{lease}").json()
        assert (shown["id"], shown["ttl"], shown["keys"]) == (lease, 2, keys)
        assert 0 < shown["left"] <= 2
        assert lease in [one["id"] for one in other.request("GET", "/lease").json()["leases"]]
        until = time.monotonic() + 4
        while time.monotonic() < until:  # It lives twice as long, and longer.
            answer = other.request("PUT", f"/lease/{lease}")
            assert (answer.status, answer.headers["Craftd-Ttl"]) == (204, "2000")
            assert all(node.get(key) for key in keys)
            time.sleep(0.1)
        if number == 0:
            answer = node.request("DELETE", f"/lease/{lease}")
            assert (answer.status, answer.headers["Craftd-Deleted"]) == (200, "3")
        else:
            kept = time.monotonic()
            wait_for(lambda: gone(three, *keys), 10, "they end with it")
            assert time.monotonic() - kept > 1.5
        assert keep(other, lease) == 404
        assert put(node, keys[0], f"lease={lease}").status == 404
        assert gone(three, *keys)


def lines_of_the_page():
    with open(os.path.join(ROOT, "scripts", "manual", "ttl.md"), encoding="utf-8") as f:
        return [line.strip() for line in f if line.startswith("    curl ")]


def test_the_lines_of_the_page_run_at_every_node(three, tmp_path):
    (tmp_path / "cfg.bin").write_text("one")
    lines = lines_of_the_page()
    assert len(lines) == 12
    for node in three:
        lease = ""
        for line in lines:
            line = line.replace("localhost:11000", f"{HOST}:{node.http_port}")
            done = subprocess.run(["sh", "-c", line.replace("curl ", "curl -sSf ", 1)],
                                  cwd=tmp_path, env={**os.environ, "lease": lease},
                                  capture_output=True, text=True, timeout=20, check=False)
            assert done.returncode == 0, (line, done)
            if "# {" in line:
                expected, out = line.split("# ")[1], json.loads(done.stdout)
                assert set(json.loads(expected)) == set(out), (line, out)
            lease = json.loads(done.stdout)["id"] if "POST" in line and "lease?" in line \
                else lease
        assert node.get("svc/a") == "one" and node.get("lock") is None
        assert node.get("svc/d") == "1"


# ---- failures ----

def test_no_election_starts_the_time_over(cluster):
    """The leader is killed again and again; what is due still ends in time, and
    never early by the clock that all share here."""
    cluster.start(3)
    leader = cluster.wait_leader()
    start = time.monotonic()
    assert put(leader, "short", "ttl=6s").status == 201
    lease = grant(leader, "6s")
    assert put(leader, "held", f"lease={lease}").status == 201
    assert put(leader, "long", "ttl=1h").status == 201
    for _ in range(3):
        leader = cluster.wait_leader()
        leader.kill()
        follower = cluster.wait_leader(15)
        if time.monotonic() - start < 5.5:
            assert follower.get("short") == "v" and follower.get("held") == "v"
        leader.start().up()
    while time.monotonic() < start + 5.9:
        assert any(node.get("short", "none") for node in cluster)
        time.sleep(0.05)
    wait_for(lambda: gone(cluster, "short", "held"), 20, "they end")
    late = time.monotonic() - start - 6
    assert late < 3 * 6, late  # At most 1 s and an election for each kill.
    assert keep(cluster[0], lease) == 404
    assert 3500 < ttl_of(cluster[0], "long") < 3595


def test_no_restart_of_all_starts_the_time_over(cluster):
    cluster.start(3)
    assert put(cluster[0], "a", "ttl=1h").status == 201
    lease = grant(cluster[0], "1h")
    time.sleep(4)
    before = ttl_of(cluster[0], "a")
    assert before < 3597
    cluster.kill_all()
    cluster.start_all()
    cluster.wait_leader(15)
    assert before - 10 < ttl_of(cluster[0], "a") <= before + 1.5
    left = cluster[1].request("GET", f"/lease/{lease}").json()["left"]
    assert before - 10 < left <= before + 1.5
    assert keep(cluster[2], lease) == 204


def test_a_restart_takes_time_outs_at_once(cluster):
    """Without one member, whose build nobody knows then. A new leader that has not
    applied its log does not know either that there are stamps in it."""
    three = cluster.start(3)
    assert put(three[0], "before", "ttl=1h").status == 201
    cluster.kill_all()
    for node in three[:2]:
        node.start().up()
    # It waits for the election, and is the first that the new leader proposes.
    response = put(three[0], "after", "ttl=1h&timeout=20s")
    assert response.status == 201, response


def test_a_snapshot_has_deadlines_and_leases(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    away = cluster.others(leader)[0]
    lease = grant(leader, "8s")
    away.kill()
    assert put(leader, "s/a", "ttl=8s").status == 201
    assert put(leader, "s/b", f"lease={lease}").status == 201
    for number in range(40):
        assert leader.put("much", f"{number}" + "x" * 500_000).status == 200
    assert leader.request("POST", "/snapshot").status in (200, 204)
    away.start().up()
    cluster.wait_same(30)
    for node in cluster.others(away):
        node.terminate()
        node.start().up()
        cluster.wait_leader(15)
    wait_for(lambda: gone(cluster, "s/a", "s/b"), 30, "they end")
    cluster.wait_same()


def test_a_restore_brings_no_time_out_back(cluster):
    """Nobody holds the locks of a backup, and it does not say when now is."""
    cluster.start(3)
    lease = grant(cluster[0], "1h")
    assert put(cluster[0], "lock", f"lease={lease}").status == 201
    assert put(cluster[0], "brief", "ttl=1h").status == 201
    assert cluster[0].put("plain", "1").status == 200
    backup = cluster[1].request("GET", "/backup").body
    answer = cluster[2].request("POST", "/restore", backup)
    assert (answer.status, answer.json()["keys"]) == (200, 2)
    cluster.wait_same()
    for node in cluster:
        assert node.get("lock", "none") is None
        assert node.request("GET", "/ttl/brief").json() == {"ttl": None}
        assert keep(node, lease) == 404
        assert node.status()["ttl"]["keys"] == node.status()["ttl"]["leases"] == 0
    assert put(cluster[1], "brief", "ttl=1s").status == 204
    wait_for(lambda: gone(cluster, "brief"), 10, "it ends")


def test_a_restore_leaves_out_many_keys_of_leases(cluster):
    """More in a row than a batch of rows has."""
    node = cluster.start(1)[0]
    for group in "bc":  # A lease has 1000 keys at most.
        lease = grant(node, "1h")
        keys = {f"{group}/{i:04}": "v" for i in range(1000)}
        assert node.request("POST", f"/key?lease={lease}", json.dumps(keys)).status == 200
    assert node.put("a", "1").status == 200
    assert node.put("d", "1").status == 200
    answer = node.request("POST", "/restore", node.request("GET", "/backup").body)
    assert (answer.status, answer.json()["keys"]) == (200, 2)
    assert [node.get(key, "none") for key in ("a", "b/0000", "c/0999", "d")] \
        == ["1", None, None, "1"]


@pytest.mark.skipif(not os.path.exists(BEFORE), reason="make proc builds it")
def test_a_member_of_the_build_before_is_named(cluster):
    """A clean refusal at every node that knows time-outs, and nothing that the
    other cannot read; once it is upgraded, they work."""
    cluster.start(3)
    old = cluster[2]
    restart_as(cluster, old, BEFORE)
    for leads in (cluster[0], old):
        wait_for(lambda n=leads: n.request("POST", "/leader", {"id": n.name}).status == 200,
                 10, "it leads")
        for node in cluster.nodes[:2]:
            # A new leader has to be connected with it before.
            wait_for(lambda n=node: old.name in n.request(
                "POST", "/lease?ttl=1h").json()["message"], 10, "it is named")
            for response in (put(node, "a", "ttl=1h"),
                             node.request("POST", "/lease?ttl=1h"),
                             node.request("PUT", "/ttl/a", "1h")):
                assert response.status == 503, response
                problem = response.json()
                assert (problem["code"], problem["outcome"]) == ("outdated-member",
                                                                 "not-applied")
                assert old.name in problem["message"]
            assert any("upgrade" in hint and old.name in hint
                       for hint in node.status()["hints"])
            assert node.put("plain", "1").status == 200
    cluster.wait_same()
    assert "garbage" not in cluster[0].log() + old.log()
    assert old.terminate() == 0
    old.start().up()
    cluster.wait_leader(15)
    cluster.wait_members(3)
    wait_for(lambda: put(cluster[0], "a", "ttl=2s").status in (201, 204), 15, "it is taken")
    assert not any("upgrade" in hint for hint in cluster[0].status()["hints"])
    wait_for(lambda: gone(cluster, "a"), 15, "it ends")


# ---- figures ----

def test_an_idle_cluster_without_deadlines_writes_nothing(cluster):
    cluster.start(3)
    assert put(cluster[0], "a", "ttl=1s").status == 201
    wait_for(lambda: gone(cluster, "a"), 15, "it ends")
    assert put(cluster[0], "named", "", Idempotency_Key="one").status == 201
    time.sleep(3)  # What is applied goes to the databases.
    index = [int(node.request("GET", "/livez").headers["Craftd-Index"]) for node in cluster]
    bytes_before = [written_bytes(node.pid) for node in cluster]
    time.sleep(5)
    assert [int(node.request("GET", "/livez").headers["Craftd-Index"])
            for node in cluster] == index
    assert [written_bytes(node.pid) for node in cluster] == bytes_before


def test_a_deadline_costs_an_entry_per_second(cluster):
    cluster.start(3)
    assert put(cluster[0], "a", "ttl=1h").status == 201
    start = int(cluster[0].request("GET", "/livez").headers["Craftd-Index"])
    time.sleep(5)
    entries = int(cluster[0].request("GET", "/livez").headers["Craftd-Index"]) - start
    assert 3 <= entries <= 6, entries


def fill(node, pairs, query):
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=30)
    for at in range(0, pairs, 5000):
        body = "{" + ",".join(f'"x/{i:06}":"v"' for i in range(at, at + 5000)) + "}"
        connection.request("POST", f"/key?{query}", body)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
    connection.close()


def test_a_hundred_thousand_at_once_hold_nobody_up(cluster):
    """The last of them ends within seconds of the first, and every write in
    between is answered soon."""
    keys = 100_000
    cluster.start(3)
    leader = cluster.wait_leader()
    fill(leader, keys, "ttl=12s")
    slowest = 0
    watch = Stopwatch(*cluster)
    while leader.metric("craftd_ttl_keys") > 0:
        one = Stopwatch(*cluster)
        assert leader.put("probe", "1").status == 200
        slowest = max(slowest, one.seconds())
        assert watch.seconds() < 90
        time.sleep(0.01)
    cluster.wait_same(30)
    for node in cluster:
        assert node.request("GET", "/keys?count").json()["count"] == 1
        assert node.metric("craftd_expired_total") == keys
        assert node.metric("craftd_next_expiry_seconds") == -1
        status = node.status()["ttl"]
        assert status == {"keys": 0, "leases": 0, "expired": keys, "next_ms": None}
    assert slowest < 1.5, slowest
    assert leader.stall_seconds() < 0.5


def test_a_page_of_leases_is_bounded(cluster):
    """However many are asked for: they are read in one turn of the event loop."""
    node = cluster.start(1)[0]
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=20)
    for _ in range(1003):
        connection.request("POST", "/lease?ttl=1h")
        assert connection.getresponse().read()
    connection.close()
    page = node.request("GET", "/lease?limit=10000").json()
    assert len(page["leases"]) == 1000 and page["more"]
    rest = node.request("GET", f"/lease?limit=10000&after={page['after']}").json()
    assert len(rest["leases"]) == 3 and not rest["more"]


def test_keepalives_of_a_thousand_leases(cluster):
    """One keepalive in 3 s each. Their cost is measured against a run with
    none of them."""
    count, rounds = 1000, 3
    cluster.start(3)
    leader = cluster.wait_leader()
    leases = [grant(leader, "5m") for _ in range(count)]
    before = sum(cpu_seconds(node.pid) for node in cluster)
    failed = []

    def run(part):
        connection = http.client.HTTPConnection(HOST, leader.http_port, timeout=30)
        start = time.monotonic()
        for number in range(rounds * len(part)):
            due = start + 3 * number / len(part)
            time.sleep(max(0, due - time.monotonic()))
            connection.request("PUT", f"/lease/{part[number % len(part)]}")
            response = connection.getresponse()
            response.read()
            if response.status != 204:
                failed.append(response.status)
        connection.close()
    threads = [threading.Thread(target=run, args=(leases[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    used = sum(cpu_seconds(node.pid) for node in cluster) - before
    print(f"{used / (3 * rounds) * 100:.1f} % of a core, three nodes together")
    leader_metric = leader.metric("craftd_leases")
    assert leader_metric == count
    assert used / (3 * rounds) < 0.5
