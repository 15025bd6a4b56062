"""How fresh a read is: ?level=, ?freshness=, ?min_index=, and what is refused."""
import re
import signal
import threading
import time

import pytest

from cluster import wait_for

PATHS = ("/key/level", "/keys?prefix=level")


def with_(path, query):
    return path + ("&" if "?" in path else "?") + query


def value_of(response):
    """The value of key `level`, in either form."""
    assert response.status == 200, response
    body = response.json()
    return body["level"] if "level" in body else body["items"][0]["value"]


@pytest.mark.parametrize("path", PATHS)
def test_every_level_on_every_node(three, path):
    leader = three.wait_leader()
    for i, node in enumerate(three):
        assert node.put("level", str(i)).status == 200
        for reader in three:
            for level in ("linearizable", "weak", "strong", "auto"):
                response = reader.request("GET", with_(path, "level=" + level))
                assert value_of(response) == str(i), (reader.name, level)
                shown = {"auto": "linearizable",
                         "weak": "weak" if reader is leader else "linearizable",
                         }.get(level, level)
                assert response.headers["Craftd-Level"] == shown
                contact = response.headers["Craftd-Last-Contact"]
                assert (contact is None) == (reader is leader)
    response = three[0].request("GET", with_(path, "stale"))
    assert response.headers["Craftd-Level"] == "none"
    response = three[0].request("GET", with_(path, "stale&consistent"))
    assert response.headers["Craftd-Level"] == "linearizable"
    assert three[0].request("GET", with_(path, "level=some")).status == 400


def test_a_strong_read_goes_through_the_log(three):
    three.wait_same()
    before = three[0].status()["last_log"]
    three[1].request("GET", "/key/level?level=linearizable")
    assert three[0].status()["last_log"] == before
    response = three[1].request("GET", "/key/level?level=strong")
    assert int(response.headers["Craftd-Index"]) == before + 1
    keys = three[0].status()["keys"]
    assert three[1].request("GET", "/keys?level=strong").status == 200
    assert three[0].status()["last_log"] == before + 2
    assert three[0].status()["keys"] == keys


def test_a_strong_read_works_over_the_quota_and_without_a_majority_fails(cluster):
    cluster.start(2)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    other.send(signal.SIGSTOP)
    try:
        response = leader.request("GET", "/key/x?level=strong&timeout=500ms")
        assert response.status in (503, 504)
        assert response.json()["outcome"] == "not-applied"
    finally:
        other.send(signal.SIGCONT)
    wait_for(lambda: leader.request(
        "GET", "/key/x?level=strong").status == 404, 10, "a strong read")


def cut_off(cluster):
    """A follower whose leader and other voters are stopped, and those."""
    leader = cluster.wait_leader()
    follower = cluster.others(leader)[0]
    rest = cluster.others(follower)
    for node in rest:
        node.send(signal.SIGSTOP)
    return follower, rest


def test_freshness_without_a_leader(cluster):
    cluster.start(3)
    assert cluster[0].put("level", "1").status == 200
    cluster.wait_same()
    follower, rest = cut_off(cluster)
    try:
        for path in PATHS:
            response = follower.request("GET", with_(path, "level=none&freshness=1h"))
            assert value_of(response) == "1"
            assert int(response.headers["Craftd-Last-Contact"]) >= 0
        time.sleep(0.6)
        for path in PATHS:
            for query in ("level=none&freshness=300ms",
                          "level=none&freshness=300ms&freshness_strict"):
                response = follower.request("GET", with_(path, query))
                assert response.status == 503, response
                assert response.json()["code"] == "stale"
                assert response.headers["Retry-After"] == "1"
            response = follower.request("GET", with_(path, "level=none"))
            assert value_of(response) == "1"
            assert int(response.headers["Craftd-Last-Contact"]) >= 600
            for level in ("linearizable", "weak", "strong"):
                response = follower.request(
                    "GET", with_(path, f"level={level}&timeout=300ms"))
                # Asked of a leader that is still believed in: 504.
                assert response.status in (503, 504), (level, response)
                assert response.json()["outcome"] == "not-applied"
    finally:
        for node in rest:
            node.send(signal.SIGCONT)
    cluster.wait_leader()
    wait_for(lambda: follower.request(
        "GET", "/key/level?level=none&freshness=2s&freshness_strict").status == 200,
        10, "fresh again")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("level", ["none", "linearizable", "weak", "strong", "auto"])
def test_min_index_reads_ones_own_writes_on_any_node(three, path, level):
    for i in range(20):
        written = three[i % 3].put("level", f"mine{i}")
        index = written.headers["Craftd-Index"]
        reader = three[(i + 1) % 3]
        if i % 2:
            response = reader.request(
                "GET", with_(path, f"level={level}&min_index={index}"))
        else:
            response = reader.request("GET", with_(path, f"level={level}"),
                                      headers={"Craftd-Min-Index": index})
        assert value_of(response) == f"mine{i}"
        assert int(response.headers["Craftd-Index"]) >= int(index)


def test_min_index_that_does_not_come_is_stale(three):
    for path in PATHS:
        start = time.monotonic()
        for level in ("none", "linearizable"):
            response = three[0].request("GET", with_(
                path, f"level={level}&min_index=999999999&timeout=300ms"))
            assert response.status == 503, response
            assert response.json()["code"] == "stale"
            assert "999999999" in response.json()["message"]
        assert 0.6 <= time.monotonic() - start < 5


def test_min_index_waits_for_the_write_that_is_to_come(cluster):
    """Nothing else is written in a cluster of its own."""
    three = cluster.start(3)
    cluster.wait_same()
    index = three[0].status()["applied"] + 1
    got = []

    def read():
        got.append(three[2].request(
            "GET", f"/key/level?level=none&min_index={index}"))
    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    assert not got
    assert three[1].put("level", "come").status == 200
    thread.join(5)
    assert value_of(got[0]) == "come"


def test_a_node_without_a_cluster_says_so_at_every_level(cluster):
    node = cluster.new()
    node.join = "127.0.0.1:1"  # No node is there.
    node.start().up()
    for path in PATHS:
        for level in ("none", "weak", "auto", "linearizable", "strong"):
            response = node.request("GET", with_(path, f"level={level}&timeout=200ms"))
            assert response.status == 503, (level, response)
            assert response.json()["code"] == "starting"


def test_of_two_lowest_indexes_the_higher_holds(cluster):
    cluster.start(1)
    assert cluster[0].put("k", "1").status == 200
    for query, header in ((1, 99999), (99999, 1)):
        answer = cluster[0].request(
            "GET", f"/key/k?level=none&timeout=100ms&min_index={query}",
            headers={"Craftd-Min-Index": str(header)})
        assert answer.status == 503, answer


# ---- how long ago a leader was heard ----

def no_leader(node):
    answer = node.request("POST", "/key?timeout=200ms", {"w": "1"})
    return answer.json()["message"] if answer.status == 503 else None


def test_a_deposed_leader_counts_silence_from_its_own_time(cluster):
    """It counted from the machine's start, and its state was too old for any
    freshness."""
    cluster.start(3)
    leader = cluster.wait_leader()
    assert leader.put("k", "1").status == 200
    for node in cluster.others(leader):
        node.kill()
    message = wait_for(lambda: no_leader(leader), 10, "it does not lead any more")
    silence = float(re.search(r"no leader known for ([0-9.]+)s", message)[1])
    assert 0.9 <= silence < 10, message
    fresh = leader.request("GET", "/key/k?level=none&freshness=60s")
    assert fresh.status == 200 and fresh.json() == {"k": "1"}, fresh
    assert 900 <= int(fresh.headers["Craftd-Last-Contact"]) < 20000
    # The silence began before it noticed: what others wrote since it cannot have.
    assert leader.request("GET", "/key/k?level=none&freshness=500ms").status == 503


def test_a_node_that_has_never_had_a_leader_says_so(cluster):
    """Since its start: how old its state is nobody knows."""
    cluster.start(3)
    leader = cluster.wait_leader()
    assert leader.put("k", "1").status == 200
    cluster.wait_same()
    cluster.kill_all()
    node = cluster[1].start().up()
    assert "no leader known since the start" in wait_for(
        lambda: no_leader(node), 10, "an answer")
    stale = node.request("GET", "/key/k?level=none&freshness=1d")
    assert stale.status == 503 and stale.json()["code"] == "stale", stale
    assert "since the start" in stale.json()["message"]
    answer = node.request("GET", "/key/k?level=none")
    assert answer.status in (200, 404)  # It learns later what is committed.
    assert answer.headers["Craftd-Last-Contact"] is None
