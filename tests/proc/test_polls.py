"""Reads that wait for a change: Prefer: wait= with If-None-Match, and ?index= with
?wait=, as in Consul."""
import concurrent.futures
import hashlib
import json
import signal
import time

import pytest

from cluster import Stopwatch, wait_for


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        yield threads


def put(node, key, value="x"):
    response = node.request("PUT", "/key/" + key, value)
    assert response.status in (201, 204), response
    return int(response.headers["ETag"].strip('"'))


def ask(pool, node, path, headers=None):
    """A read in the background, once it waits."""
    before = node.status()["watch"]["watchers"]
    asked = pool.submit(node.request, "GET", path, None, headers, 60)
    wait_for(lambda: asked.done() or node.status()["watch"]["watchers"] > before,
             what="it waits")
    assert not asked.done(), asked.result()
    return asked


def test_a_key_is_answered_when_it_changes(three, pool):
    tag = put(three[0], "poll/a", "1")
    asked = [ask(pool, node, "/key/poll/a", {"If-None-Match": f'"{tag}"',
                                             "Prefer": "wait=40"})
             for node in three]
    asked += [ask(pool, node, f"/key/poll/a?raw&index={tag}&wait=40s")
              for node in three]
    for i in range(5):
        put(three[0], f"poll/b{i}")  # Another key wakes nobody.
    time.sleep(0.3)
    assert not any(one.done() for one in asked)
    index = put(three[1], "poll/a", "2")
    for one in asked:
        response = one.result(10)
        assert response.status == 200
        assert response.headers["ETag"] == f'"{index}"'
        assert response.body in (b"2", b'{"poll/a":"2"}')


def test_a_deletion_and_a_creation_are_changes(three, pool):
    node = three[1]
    tag = put(node, "poll/gone")
    asked = ask(pool, node, f"/key/poll/gone?index={tag}&wait=40s")
    assert three[0].request("DELETE", "/key/poll/gone").status == 200
    missing = asked.result(10)
    assert missing.status == 404
    index = missing.headers["Craftd-Index"]
    asked = ask(pool, node, f"/key/poll/gone?index={index}&wait=40s")
    put(three[0], "poll/other")
    created = put(three[0], "poll/gone")
    response = asked.result(10)
    assert response.status == 200 and response.headers["ETag"] == f'"{created}"'


def test_what_is_newer_is_answered_at_once(three):
    old = put(three[0], "poll/now")
    new = put(three[0], "poll/now")
    watch = Stopwatch(three[0])
    for headers, path in (({"If-None-Match": f'"{old}"', "Prefer": "wait=30"}, ""),
                          ({"Prefer": "wait=30"}, ""),
                          ({}, f"?index={old}&wait=30s")):
        response = three[0].request("GET", "/key/poll/now" + path, None, headers)
        assert response.status == 200
        assert response.headers["ETag"] == f'"{new}"'
    assert three[0].request("GET", f"/keys?prefix=poll/now&index={old}").status == 200
    assert watch.seconds() < 5


def test_the_time_out_is_304(three):
    tag = put(three[0], "poll/late")
    for path in (f"/key/poll/late?index={tag}&wait=1s", f"/key/nothing?index={tag}&wait=1s",
                 f"/keys?prefix=poll/late&index={tag}&wait=1s"):
        began = time.monotonic()
        response = three[0].request("GET", path)
        assert response.status == 304 and response.body == b"", path
        assert int(response.headers["Craftd-Index"]) >= tag
        assert 0.9 < time.monotonic() - began < 10
    assert three[0].status()["watch"]["watchers"] == 0


def test_a_prefix_is_answered_when_a_key_of_it_changes(three, pool):
    put(three[0], "list/a", "1")
    node = three[2]
    first = node.request("GET", "/keys?prefix=list/")
    index = first.json()["index"]
    assert first.headers["ETag"] == f'"{index}"'
    asked = [ask(pool, node, f"/keys?prefix=list/&index={index}&wait=40s"),
             ask(pool, node, "/keys?prefix=list/", {"If-None-Match": f'"{index}"',
                                                    "Prefer": "wait=40"})]
    put(three[0], "lisu")
    put(three[0], "list")
    assert not any(one.done() for one in asked)
    put(three[0], "list/b", "2")
    for one in asked:
        page = one.result(10)
        assert page.status == 200
        assert [item["key"] for item in page.json()["items"]] == ["list/a", "list/b"]
    # Without a wait it is a condition like any other.
    index = page.json()["index"]
    again = node.request("GET", "/keys?prefix=list/", None,
                         {"If-None-Match": f'"{index}"'})
    assert again.status == 304


@pytest.mark.parametrize("path", [
    "/key/a?wait=1s", "/key/a?index=x", "/key/a?index=1&wait=soon", "/keys?wait=1s",
    "/keys?index=-1"])
def test_wrong_parameters_are_refused(three, path):
    response = three[0].request("GET", path)
    assert response.status == 400 and response.json()["code"] == "bad-param"


def test_a_client_that_goes_away_leaves_no_wait(three, pool):
    tag = put(three[0], "poll/away")
    with pytest.raises(OSError):
        three[0].request("GET", f"/key/poll/away?index={tag}&wait=60s", timeout=1)
    wait_for(lambda: three[0].status()["watch"]["watchers"] == 0, 10, "it is noticed")


def test_a_node_that_stops_answers(cluster, pool):
    node = cluster.start(1)[0]
    tag = put(node, "a")
    asked = [ask(pool, node, f"/key/a?index={tag}&wait=60s"),
             ask(pool, node, f"/keys?prefix=a&index={tag}&wait=60s")]
    node.send(signal.SIGTERM)
    assert [one.result(10).status for one in asked] == [304, 304]
    node.wait_exit()


def test_a_restore_wakes_what_waits(cluster, pool):
    node = cluster.start(1)[0]
    tag = put(node, "a", "1")
    backup = node.request("GET", "/backup").body
    asked = [ask(pool, node, f"/key/a?index={tag}&wait=60s"),
             ask(pool, node, f"/keys?prefix=a&index={tag}&wait=60s")]
    assert node.request("POST", "/restore", backup).status == 200
    assert [one.result(10).status for one in asked] == [200, 200]


def test_what_may_not_be_read_wakes_nobody(cluster, pool, tmp_path):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps([
        {"token": "sha256:" + hashlib.sha256(b"secret").hexdigest(),
         "perms": ["read:p/a", "read:p/c"]},
        {"username": "*", "perms": ["write", "status"]}]))
    path.chmod(0o600)
    node = cluster.new(args=["--auth", str(path)]).start().up()
    cluster.wait_leader()
    token = {"Authorization": "Bearer secret"}
    tag = put(node, "p/a")
    asked = ask(pool, node, f"/keys?prefix=p/&index={tag}&wait=40s", token)
    put(node, "p/b")
    time.sleep(0.3)
    assert not asked.done()
    put(node, "p/c")
    page = asked.result(10).json()
    assert [item["key"] for item in page["items"]] == ["p/a", "p/c"]
    put(node, "p/b")
    index = page["index"]
    assert node.request("GET", f"/keys?prefix=p/&index={index}&wait=1s", None,
                        token).status == 304
