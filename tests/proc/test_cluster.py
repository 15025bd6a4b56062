"""Requests of an operator to a cluster, through any of its nodes, and its
answers when something is wrong."""
import json
import signal
import time

from cluster import wait_for
from test_metrics import scrape, value


def problem(response, status, code):
    assert response.status == status, response
    assert response.json()["code"] == code, response
    return response


def roles(node):
    return {row["id"]: row["role"] for row in node.request("GET", "/nodes").json()}


# ---- status ----

def test_nodes_are_listed_by_every_node(three):
    leader = three.wait_leader()
    for node in three:
        wait_for(lambda node=node: all(
            row["reachable"] for row in node.request("GET", "/nodes").json()),
            5, "all links are up")
        # In the order in which they joined, which is not always that of names.
        rows = node.request("GET", "/nodes").json()
        assert sorted(row["id"] for row in rows) == [n.name for n in three]
        for row, member in zip(sorted(rows, key=lambda r: r["id"]), three):
            assert row["address"] == member.raft and row["http"] == member.http
            assert row["voter"] is True and row["role"] == "voter"
            assert row["leader"] is (member is leader)
            assert row["reachable"] is True
            one = node.request("GET", f"/nodes/{row['id']}").json()
            assert one["address"] == member.raft
        problem(node.request("GET", "/nodes/nobody"), 404, "not-found")
        assert node.request("HEAD", f"/nodes/{leader.name}").status == 200
        response = node.request("PATCH", "/nodes/x")
        assert response.status == 405
        response = node.request("POST", "/nodes", b"")
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        response = node.request("POST", "/nodes/x", b"")
        assert response.headers["Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"


def test_every_node_names_the_leader(three):
    leader = three.wait_leader()
    for node in three:
        assert node.request("GET", "/leader").json() == {
            "id": leader.name, "address": leader.raft, "http": leader.http}


def test_requests_that_make_no_sense(three):
    for node in three:
        for body in (b"", b"{}", b"[]", b'{"voter":1}', b'{"voter":true,"x":1}',
                     b'{"voter":true,"id":"node0"}'):
            problem(node.request("PUT", "/nodes/node0", body), 400, "bad-json")
        problem(node.request("PUT", "/nodes/nobody", {"voter": True}), 404,
                "not-found")
        problem(node.request("DELETE", "/nodes/nobody"), 404, "not-found")
        problem(node.request("DELETE", "/remove", {"id": "nobody"}), 404,
                "not-found")
        problem(node.request("POST", "/leader", {"id": "nobody"}), 404,
                "not-found")
        problem(node.request("POST", "/sync?nodes=some"), 400, "bad-param")
        # One answer, and the connection goes on.
        problem(node.request("DELETE", "/nodes/node0?timeout=x"), 400, "bad-param")
    assert set(roles(three[0]).values()) == {"voter"}


# ---- votes ----

def test_demote_and_promote_through_every_node(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    victim = cluster.others(leader)[0]
    for node in cluster:
        assert node.request("PUT", f"/nodes/{victim.name}",
                            {"voter": False}).status == 200
        wait_for(lambda: all(roles(n)[victim.name] == "non-voter" for n in cluster),
                 5, "demoted")
        # Nothing to do is no error, and it is not promoted by itself.
        assert node.request("PUT", f"/nodes/{victim.name}",
                            {"voter": False}).status == 200
        assert node.put("meanwhile", node.name).status == 200
        assert any("voters" in hint for hint in leader.status()["hints"])
        assert value(scrape(node), "craftd_raft_peers", role="non-voter") == 1

        def promoted(node=node):
            answer = node.request("PUT", f"/nodes/{victim.name}", {"voter": True})
            assert answer.status in (200, 409), answer
            return answer.status == 200
        wait_for(promoted, 10, "promoted")
        wait_for(lambda: set(roles(node).values()) == {"voter"}, 5, "a voter")
    cluster.wait_same()


def test_demoted_leader_hands_over(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    assert leader.request("PUT", f"/nodes/{leader.name}",
                          {"voter": False}).status == 200
    other = wait_for(lambda: cluster.leader() not in (None, leader)
                     and cluster.leader(), 10, "another leader")
    assert roles(other)[leader.name] == "non-voter"
    assert other.put("after", "1").status == 200
    # Without a vote it still answers.
    assert leader.get("after") == "1"


def test_last_voters_stay(cluster):
    cluster.start(2)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    assert leader.request("PUT", f"/nodes/{other.name}", {"voter": False}).status == 200
    for node in cluster:
        answer = problem(node.request("PUT", f"/nodes/{leader.name}",
                                      {"voter": False}), 409, "last-voter")
        assert answer.json()["outcome"] == "not-applied"
        problem(node.request("DELETE", f"/nodes/{leader.name}"), 409, "last-voter")
    # A member that does not answer is not promoted.
    other.send(signal.SIGSTOP)
    try:
        time.sleep(2.5)  # Longer than an election takes: it is not live.
        answer = problem(leader.request("PUT", f"/nodes/{other.name}",
                                        {"voter": True}), 409, "not-caught-up")
        assert answer.headers["Retry-After"] == "1"
    finally:
        other.send(signal.SIGCONT)


def test_no_vote_is_taken_from_a_majority_that_lives(cluster):
    """One of three voters is dead: neither of the others may be removed."""
    cluster.start(3)
    leader = cluster.wait_leader()
    dead, alive = cluster.others(leader)
    dead.kill()
    time.sleep(2.5)  # Longer than an election takes: it is not live.
    problem(alive.request("PUT", f"/nodes/{alive.name}", {"voter": False}), 409,
            "last-voter")
    problem(alive.request("DELETE", f"/nodes/{leader.name}"), 409, "last-voter")
    # The dead one may.
    assert alive.request("PUT", f"/nodes/{dead.name}", {"voter": False}).status == 200
    assert alive.put("still", "here").status == 200


def test_remove_through_a_follower(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    first, second = cluster.others(leader)
    assert first.request("DELETE", "/remove", {"id": second.name}).status == 200
    wait_for(lambda: second.name not in roles(first), 5, "gone")
    assert first.request("DELETE", f"/nodes/{second.name}").status == 404


# ---- leadership ----

def test_leadership_is_moved_through_every_node(cluster):
    cluster.start(3)
    for node in list(cluster) * 2:
        leader = cluster.wait_leader()
        target = cluster.others(leader)[0]
        response = node.request("POST", "/leader", {"id": target.name})
        assert response.status == 200, response
        assert response.json()["id"] == target.name
        assert response.headers["Craftd-Leader"] == target.name
        assert target.request("GET", "/leader").json()["id"] == target.name
    leader = cluster.wait_leader()
    response = leader.request("POST", "/leader")
    assert response.status == 200 and response.json()["id"] != leader.name


def test_leadership_is_not_transferred_to_a_node_that_cannot_lead(cluster):
    cluster.start(2)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    assert leader.request("PUT", f"/nodes/{other.name}", {"voter": False}).status == 200
    for node in cluster:
        answer = problem(node.request("POST", "/leader", {"id": other.name}), 409,
                         "no-vote")
        assert f"PUT /nodes/{other.name}" in answer.json()["message"]
        problem(node.request("POST", "/leader"), 409, "not-caught-up")
        assert node.request("POST", "/leader", {"id": leader.name}).status == 200


def test_without_a_leader(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    for node in cluster.others(leader):
        node.kill()
    wait_for(lambda: leader.request("GET", "/leader").status == 503, 10, "no leader")
    problem(leader.request("GET", "/leader"), 503, "no-leader")
    problem(leader.request("POST", "/leader?timeout=300ms"), 503, "no-leader")
    problem(leader.request("PUT", f"/nodes/{leader.name}?timeout=300ms",
                           {"voter": False}), 503, "no-leader")
    problem(leader.request("DELETE", "/nodes/nobody?timeout=300ms"), 503, "no-leader")
    problem(leader.request("POST", "/sync?timeout=300ms"), 504, "commit-timeout")
    assert any("no leader" in hint for hint in leader.status()["hints"])
    lines = leader.request("GET", "/readyz?noleader&sync&timeout=300ms")
    assert lines.status == 503 and b"[-]sync" in lines.body
    assert b"leader" not in lines.body.split(b"[-]sync")[0]


# ---- barrier and snapshot ----

def test_sync_is_a_barrier(three):
    leader = three.wait_leader()
    for node in three:
        assert leader.put("barrier", node.name).status == 200
        answer = node.request("POST", "/sync").json()
        assert list(answer["nodes"]) == [node.name]
        assert node.get("barrier", level="none") == node.name
        assert leader.put("barrier-all", node.name).status == 200
        answer = node.request("POST", "/sync?nodes=all").json()
        assert sorted(answer["nodes"]) == sorted(n.name for n in three)
        assert all(index >= answer["index"] for index in answer["nodes"].values())
        for other in three:
            assert other.get("barrier-all", level="none") == node.name
    assert three[0].request("GET", "/sync").status == 405


def test_sync_of_all_waits_for_a_member_that_comes_back(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    away, here = cluster.others(leader)
    away.kill()
    assert here.put("missed", "1").status == 200
    answer = problem(here.request("POST", "/sync?nodes=all&timeout=700ms"), 504,
                     "commit-timeout")
    assert away.name in answer.json()["message"]
    assert here.request("POST", "/sync").status == 200
    away.start()
    answer = here.request("POST", "/sync?nodes=all&timeout=20s").json()
    assert answer["nodes"][away.name] >= answer["index"]
    assert away.get("missed", level="none") == "1"


def test_snapshot_of_one_node(cluster):
    cluster.start(2)
    for node in cluster:
        cluster[0].put("before", "snapshot" * 100)
        cluster.wait_same()
        answer = node.request("POST", "/snapshot")
        assert answer.status == 200, answer
        assert answer.json()["index"] == node.status()["applied"]
        assert answer.json()["bytes"] == node.status()["storage"]["db_bytes"]
        assert node.request("POST", "/snapshot").status == 204
        assert value(scrape(node), "craftd_raft_snapshots_total", kind="taken",
                     result="ok") >= 1
        assert node.request("GET", "/snapshot").status == 405
    # After a snapshot its state needs no log, as kill -9 shows.
    cluster[1].kill()
    cluster[1].start().up()
    cluster.wait_same()
    assert cluster[1].get("before", level="none") == "snapshot" * 100


def test_snapshot_lets_the_log_go(cluster):
    """The log is kept for those who may be behind; who asks gets most of it
    back, and a follower that has it all is not harmed."""
    cluster.start(2)
    leader = cluster.wait_leader()
    big = "x" * (1 << 19)
    for i in range(18):
        assert leader.put(f"big-{i % 3}", big).status == 200
    for i in range(1100):
        assert leader.put(f"small-{i % 3}", "y").status == 200
    cluster.wait_same()
    before = leader.status()["storage"]["log_bytes"]
    assert before > 8 << 20
    assert leader.request("POST", "/snapshot").status == 200
    wait_for(lambda: leader.status()["storage"]["log_bytes"] <= before - (4 << 20),
             5, "less log")
    assert leader.put("after", "1").status == 200
    leader.kill()
    leader.start().up()
    cluster.wait_leader()
    cluster.wait_same()
    for node in cluster:
        assert node.get("after") == "1" and node.get("big-2") == big


# ---- faults ----

def test_status_shows_a_dead_member(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    assert leader.hints() == []
    dead, alive = cluster.others(leader)
    dead.kill()
    for i in range(10):
        assert alive.put(f"missed-{i}", "1").status == 200

    def told():
        peers = {p["id"]: p for p in leader.status()["peers"]}
        row = peers[dead.name]
        return (not row["reachable"] and row["last_error"] and row["lag"] >= 10
                and peers[alive.name]["lag"] == 0
                and peers[alive.name]["last_error"] == "" and row)
    wait_for(told, 10, "the dead one is told of")
    row = leader.request("GET", f"/nodes/{dead.name}").json()
    assert row["lag"] >= 10 and row["last_error"] and row["reachable"] is False
    # A follower sees the link; the leader says for how long.
    wait_for(lambda: any(dead.name in hint for hint in alive.status()["hints"]),
             5, "a follower hints")
    wait_for(lambda: any(f"{dead.name} has been silent for 1" in hint
                         for hint in leader.status()["hints"]), 15, "the leader hints")
    dead.start().up()
    wait_for(lambda: not leader.hints() and not alive.hints(),
             10, "all is well")
    storage = leader.status()["storage"]
    assert storage["fsync_p99_ms"] > 0


def test_hints_are_whole_strings(cluster):
    """A name that wants escaping, in every place that shows it."""
    cluster.start(1)
    name = "back\\slash"
    assert cluster[0].request("POST", "/join", json.dumps(
        {"id": name, "addr": "127.0.0.1:1", "voter": False})).status == 200
    hints = wait_for(cluster[0].hints, 10, "a hint")
    assert any(name in hint for hint in hints), hints
    assert name in roles(cluster[0])
    value(scrape(cluster[0]), "craftd_raft_peer_lag_entries", peer="back\\\\slash")
    assert cluster[0].request("DELETE", "/nodes/back%5Cslash").status == 200


# ---- probes ----

def test_readyz_sync(three):
    for node in three:
        for path in ("/readyz?sync", "/healthz?sync&timeout=2s"):
            answer = node.request("GET", path)
            assert answer.status == 200, answer
            assert answer.body.decode().splitlines() == [
                "[+]node ok", "[+]leader ok", "[+]store ok", "[+]sync ok"]
        assert node.request("GET", "/readyz?noleader").body == (
            b"[+]node ok\n[+]store ok\n")
        answer = node.request("HEAD", "/readyz?sync")
        assert answer.status == 200 and answer.body == b""
        problem(node.request("GET", "/readyz?timeout=soon"), 400, "bad-param")
