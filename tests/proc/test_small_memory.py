"""Small memory: the page cache and other buffers fit to it. Measured in a control
group where one can be made, else by what the process uses."""
import contextlib
import os
import random
import resource
import uuid

import pytest

from cluster import wait_for
from test_bounds import rss_bytes, try_put

MIB = 1 << 20
KIB = 1 << 10
V1 = "/sys/fs/cgroup/memory"
V2 = "/sys/fs/cgroup"


def make_group(limit):
    """A control group with that limit, of either version; None: not allowed."""
    for root, file in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        group = f"{root}/craftd-{uuid.uuid4()}"
        with contextlib.suppress(OSError):
            os.mkdir(group)
            try:
                with open(f"{group}/{file}", "w", encoding="ascii") as out:
                    out.write(str(limit))
                return group
            except OSError:
                os.rmdir(group)
    return None


@pytest.fixture
def memory(cluster):
    """Starts a node with so many bytes of memory; returns the cache it took."""
    groups = []

    def start(node, limit):
        group = make_group(limit)
        if group:
            groups.append(group)
            node.start(["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
                       + node.argv()).up()
        else:
            node.args += ["--cache", str(limit // 8)]
            node.start().up()
        cluster.wait_leader()
        return node.status()["storage"]["cache_bytes"]
    yield start
    for node in cluster:
        node.kill()
    for group in groups:
        wait_for(lambda g=group: os.rmdir(g) is None, 5, "an empty group")


def put_many(node, count, size):
    for at in range(0, count, 500):
        body = {f"key{i:013}": "v" * size for i in range(at, at + 500)}
        assert node.request("POST", "/key", body, timeout=30).status == 200, at


def test_a_hundred_thousand_keys_in_16_mb(cluster, memory):
    node = cluster.new()
    assert memory(node, 16 * MIB) == 2 * MIB
    put_many(node, 100_000, 100)
    for _ in range(1000):
        key = f"key{random.randrange(100_000):013}"
        assert try_put(node, key, "w" * 100)[0] == 200
    assert node.status()["keys"] == 100_000
    assert node.request("GET", "/backup", timeout=30).status == 200
    assert rss_bytes(node.pid) < 15 * MIB
    node.kill()
    node.start().up()
    wait_for(lambda: node.status()["keys"] == 100_000, 10, "all keys")


def test_values_of_a_mebibyte_in_32_mb(cluster, memory):
    node = cluster.new()
    assert memory(node, 32 * MIB) == 4 * MIB
    value = "m" * MIB
    for i in range(40):
        assert try_put(node, f"large-{i}", value)[0] == 200, i
        assert node.get(f"large-{i}") == value
    assert rss_bytes(node.pid) < 30 * MIB


def test_an_empty_node_is_small(cluster):
    cluster.start(1)
    node = cluster[0]
    assert node.put("k", "v").status == 200
    wait_for(lambda: rss_bytes(node.pid) < 4_300_000, 5, rss_bytes(node.pid))


def test_the_cache_is_what_the_flag_says(cluster):
    node = cluster.new(args=["--cache", "300k"]).start().up()
    cluster.wait_leader()
    assert node.status()["storage"]["cache_bytes"] == 300 * KIB
    assert node.metric("craftd_storage_cache_bytes") == 300 * KIB
    assert "cache=307200" in node.log()
    before = rss_bytes(node.pid)
    put_many(node, 100_000, 100)
    # The rest are applied entries, those of the log, and the history of watches.
    assert rss_bytes(node.pid) - before < 17 * MIB


def test_the_write_buffer_is_what_the_flag_says(cluster):
    node = cluster.new(args=["--write-buffer", "64k"]).start().up()
    cluster.wait_leader()
    assert "write_buffer=65536" in node.log()
    seen = [0]

    def put_and_look():
        """On a busy machine all is flushed before the look, now and then."""
        for at in range(0, 40_000, 500):
            body = {f"key{i:013}": "v" * 100 for i in range(at, at + 500)}
            assert node.request("POST", "/key", body).status == 200
            seen.append(node.metric("craftd_storage_buffered_bytes"))
        return max(seen)
    most = wait_for(put_and_look, 30, "something is seen before it is flushed")
    # Two tiers, each of which may be exceeded by the last request.
    assert 0 < most < 2 * (64 + 256) * KIB
    wait_for(lambda: node.metric("craftd_storage_buffered_bytes") == 0,
             what="all is flushed")


def test_a_database_in_memory_ends_with_507(cluster):
    """It does not abort: neither at its share of the memory, nor with the flag."""
    node = cluster.new(args=["--inmem"])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (200 * MIB, old[1]))
    try:
        node.start().up()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    cluster.wait_leader()
    assert "may take a quarter of the memory" in node.log()
    value = "i" * 500_000
    for i in range(200):
        answer = try_put(node, f"in-memory-{i}", value)
        if answer[0] != 200:
            break
    assert answer == (507, "no-space", "not-applied"), answer
    assert 40 * MIB < i * len(value) < 60 * MIB
    assert node.get("in-memory-0") == value
    assert node.request("DELETE", "/key/in-memory-0").status == 200
    assert node.alive()
