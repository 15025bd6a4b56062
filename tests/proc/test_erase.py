"""DELETE /keys: many keys at once, in batches."""
import time

from load import meanwhile


def put_all(node, keys, value="v"):
    keys = list(keys)
    for i in range(0, len(keys), 5000):
        assert node.put_many({key: value for key in keys[i:i + 5000]}).status == 200


def erase(node, query, headers=None, timeout=30.0):
    return node.request("DELETE", "/keys?" + query, headers=headers, timeout=timeout)


def count(node, prefix):
    return node.request("GET", f"/keys?count&prefix={prefix}").json()["count"]


def code(response):
    problem = response.json()
    assert problem["status"] == response.status
    return response.status, problem["code"]


def test_a_prefix_through_every_node(three):
    for writer in three:
        put_all(three[0], [f"gone/{i:04}" for i in range(2500)] + ["gone", "gone0"])
        response = erase(writer, "prefix=gone/")
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        assert body["deleted"] == 2500
        assert body["index"] == int(response.headers["Craftd-Index"])
        for node in three:
            assert count(node, "gone/") == 0
            assert node.get("gone") == "v" and node.get("gone0") == "v"
        # Again: nothing is left, and that is no error.
        again = erase(writer, "prefix=gone/")
        assert again.status == 200 and again.json()["deleted"] == 0
        assert again.json()["index"] >= body["index"]


def test_deletes_are_durable_before_the_answer(three):
    """A write that one node has acknowledged is seen through another."""
    for i in range(30):
        writer, eraser = three[i % 3], three[(i + 1) % 3]
        assert writer.put(f"seen/{i}", "v").status == 200
        assert erase(eraser, "prefix=seen/").json()["deleted"] == 1


def test_the_prefix_is_bytes(three):
    put_all(three[0], ["by/ä/1", "by/ä/2", "by/å/1"])
    assert erase(three[1], "prefix=by/%C3%A4/").json()["deleted"] == 2
    assert erase(three[1], "prefix=by/%C3").json()["deleted"] == 1


def test_everything_must_be_meant(cluster):
    node = cluster.start(1)[0]
    put_all(node, ["a", "b/1", "c"])
    for query in ("", "prefix=", "prefx=a", "all=0", "all=false"):
        assert code(erase(node, query)) == (400, "bad-param"), query
    # Ignoring a parameter of lists would delete too much.
    for query in ("prefix=a&end=am", "prefix=a&after=a", "prefix=a&limit=1",
                  "prefix=b/&separator=/", "all&count", "all&keys"):
        assert code(erase(node, query)) == (400, "bad-param"), query
    assert code(erase(node, "prefix=a", {"If-Match": '"1"'})) == (400, "bad-request")
    assert code(erase(node, "prefix=a&cas=3")) == (400, "bad-param")
    assert code(erase(node, "prefix=a", {"Idempotency-Key": "x"})) == (
        400, "bad-request")
    assert node.status()["keys"] == 3
    assert erase(node, "all").json()["deleted"] == 3
    assert node.status()["keys"] == 0


def test_redirect_goes_to_the_leader(three):
    leader = three.wait_leader()
    follower = three.others(leader)[0]
    response = erase(follower, "prefix=none/&redirect")
    assert response.status == 307
    assert response.headers["Location"] == (
        f"http://{leader.http}/keys?prefix=none/&redirect")


def test_large_values_are_several_batches(cluster):
    node = cluster.start(1)[0]
    for i in range(40):
        assert node.put(f"big/{i:02}", "x" * 1_000_000).status == 200
    before = node.status()["last_log"]
    assert erase(node, "prefix=big/").json()["deleted"] == 40
    # 16 MiB a batch: three entries, and not one for each key.
    assert node.status()["last_log"] - before == 3


def test_a_batch_is_a_thousand_keys(cluster):
    node = cluster.start(1)[0]
    put_all(node, [f"k/{i:05}" for i in range(10_000)])
    before = node.status()["last_log"]
    assert erase(node, "prefix=k/").json()["deleted"] == 10_000
    assert node.status()["last_log"] - before == 10


def test_others_are_served_meanwhile(cluster):
    node = cluster.start(1)[0]
    put_all(node, [f"k/{i:06}" for i in range(100_000)])
    node.put("other", "v")
    ended = []

    def read(_):
        assert node.get("other", level="none") == "v"
        ended.append(time.monotonic())
    with meanwhile(read):
        start = time.monotonic()
        assert erase(node, "prefix=k/").json()["deleted"] == 100_000
        stop = time.monotonic()
    assert sum(start < at < stop for at in ended) > 20
    assert node.status()["keys"] == 1


def test_a_time_out_reports_its_progress_and_a_retry_continues(cluster):
    node = cluster.start(1)[0]
    put_all(node, [f"k/{i:06}" for i in range(100_000)])
    response = erase(node, "prefix=k/&timeout=100ms")
    assert code(response) == (504, "commit-timeout")
    problem = response.json()
    assert problem["outcome"] == "unknown" and 0 < problem["deleted"] < 100_000
    # The batch in flight at that time is what is unknown; this write is behind it.
    put_all(node, ["other"])
    left = count(node, "k/")
    assert 100_000 - problem["deleted"] - left in (0, 1000)
    assert erase(node, "prefix=k/").json()["deleted"] == left
    # A request that does not begin in time has no effect.
    put_all(node, ["k/a"])
    response = erase(node, "prefix=k/&timeout=0ms")
    assert response.status in (503, 504)
    assert response.json()["outcome"] == "not-applied"
    assert node.get("k/a") == "v"


def test_without_a_majority_nothing_is_deleted(cluster):
    cluster.start(3)
    put_all(cluster[0], [f"k/{i}" for i in range(10)])
    leader = cluster.wait_leader()
    for node in cluster.others(leader):
        node.kill()
    response = erase(leader, "prefix=k/&timeout=2s")
    assert response.status in (503, 504)
    assert response.json()["outcome"] == "not-applied"
    cluster.start_all()
    cluster.wait_leader()
    assert count(cluster[1], "k/") == 10


def test_writes_between_stay_or_go_but_nothing_else_does(three):
    """Keys of other prefixes are written all the while, and all of them stay."""
    put_all(three[0], [f"mix/a/{i:05}" for i in range(20_000)])
    written = []

    def write(i):
        assert three[i % 3].put(f"mix/b/{i}", "v").status == 200
        written.append(i)
    with meanwhile(write):
        assert erase(three[1], "prefix=mix/a/").json()["deleted"] == 20_000
    assert written
    assert count(three[2], "mix/b/") == len(written)
    assert count(three[2], "mix/a/") == 0
    assert erase(three[2], "prefix=mix/").json()["deleted"] == len(written)
