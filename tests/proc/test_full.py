"""Disks that get full: what was acknowledged is readable, deletes go on and make
room, and a restart finds a node that reads."""
import os
import random
import subprocess
import time

import pytest

from cluster import die_with_parent, wait_for
from test_bounds import fill, filler, needs_mount, start_on_small_disk, try_put

pytestmark = needs_mount


def data(node, *names):
    return os.path.join(f"/proc/{node.pid}/root{node.dir}", "data", *names)


def free_bytes(node):
    disk = os.statvfs(data(node))
    return disk.f_bavail * disk.f_frsize


def start_three(cluster, mebibytes):
    for i in range(3):
        node = cluster.new()
        if i > 0:
            node.join = cluster[0].http
        start_on_small_disk(node, mebibytes)
        cluster.wait_members(i + 1)
    return cluster.wait_leader()


def write_until_full(node, value, prefix="full", count=4000):
    """Until writes are refused for good: what comes between two checkpoints is
    no full disk."""
    acked, refused = [], 0
    for i in range(count):
        answer = try_put(node, f"{prefix}-{i}", value)
        if answer[0] == 200:
            acked.append(f"{prefix}-{i}")
            refused = 0
            continue
        assert answer == (507, "no-space", "not-applied"), (i, answer)
        refused += 1
        if refused == 8:
            return acked
        time.sleep(0.25)
    raise AssertionError("it does not get full")


def delete(node, path):
    return node.request("DELETE", path).status


def within(pid):
    return ["nsenter", "-U", "-m", "--preserve-credentials", "-t", str(pid)]


def keeper(node):
    """A process that keeps the node's mount namespace, and so its disk."""
    process = subprocess.Popen(within(node.pid) + ["sleep", "600"],
                               preexec_fn=die_with_parent)
    wait_for(lambda: os.readlink(f"/proc/{process.pid}/ns/mnt") ==
             os.readlink(f"/proc/{node.pid}/ns/mnt"), 5, "the namespace")
    return process


def restart(node, keeper_pid):
    argv = [a if a != node.dir else node.dir + "/data" for a in node.argv()]
    node.start(within(keeper_pid) + argv)
    return node.up()


@pytest.mark.parametrize("size", [900_000, 200_000, 20_000])
def test_deletes_on_a_full_disk_make_room(cluster, size):
    node = start_on_small_disk(cluster.new(), 60)
    cluster.wait_leader()
    value = "f" * size
    acked = write_until_full(node, value)
    assert len(acked) * size > 15_000_000, len(acked)
    hints = node.status()["hints"]
    assert any("only deletes" in hint for hint in hints), hints
    for key in random.sample(acked, 10):
        assert node.get(key) == value, key
    gone = acked[:len(acked) // 2]
    for key in gone[:8]:
        assert delete(node, f"/key/{key}") == 200, key
    for key in gone[8:]:
        # There is one checkpoint at a time.
        wait_for(lambda key=key: delete(node, f"/key/{key}") == 200, 5, key, 0.1)
    kept = acked[len(acked) // 2:]
    wait_for(lambda: try_put(node, "again", value)[0] == 200, 10, "a write again")
    for i in range(5):
        wait_for(lambda i=i: try_put(node, f"again-{i}", value)[0] == 200, 10, "more")


@pytest.mark.parametrize("mebibytes, size", [(60, 40_000), (6, 10_000)])
def test_many_keys_are_deleted_on_a_full_disk(cluster, mebibytes, size):
    """By prefix: more at once than there is room for, so in small batches; the
    smallest disk has no room for these either, and they go one by one."""
    node = start_on_small_disk(cluster.new(), mebibytes)
    cluster.wait_leader()
    value = "m" * size
    acked = write_until_full(node, value)
    assert len(acked) > 200
    answer = node.request("DELETE", "/keys?prefix=full-", timeout=60)
    assert answer.status == 200, answer
    assert answer.json()["deleted"] == len(acked)
    wait_for(lambda: try_put(node, "again", value)[0] == 200, 10, "a write again")
    assert node.request("GET", "/keys?prefix=full-&count").json()["count"] == 0


def test_three_full_disks_serve_reads_and_deletes(cluster):
    """Which node runs out first is chance. With all of them full: what was
    acknowledged can be read everywhere, deleted, and written again."""
    leader = start_three(cluster, 60)
    value = "t" * 200_000
    acked = write_until_full(leader, value)
    for node in cluster:
        for key in random.sample(acked, 3):
            assert node.get(key) == value, (node.name, key)
    for key in acked[:len(acked) // 2]:
        wait_for(lambda key=key: delete(cluster.wait_leader(), f"/key/{key}") == 200,
                 10, f"{key} deleted")
    wait_for(lambda: try_put(cluster.wait_leader(), "again", value)[0] == 200, 15,
             "a write again")
    cluster.wait_same(20)
    assert cluster[1].get(acked[-1]) == value


@pytest.mark.parametrize("size", [300_000, 60_000])
def test_a_node_starts_on_a_full_disk(cluster, size):
    """With nothing left to write to: the start needs no room but what it has."""
    node = start_on_small_disk(cluster.new(), 40)
    cluster.wait_leader()
    value = "s" * size
    acked = write_until_full(node, value)
    fill(node)
    # The mount ends with its last process: this one keeps it.
    with_mount = keeper(node)
    try:
        node.kill()
        restart(node, with_mount.pid)
        for key in random.sample(acked, 5):
            wait_for(lambda key=key: node.get(key) == value, 15, key)
            assert node.get(key, level="none") == value
        os.unlink(filler(node))
        wait_for(lambda: delete(node, f"/key/{acked[0]}") == 200, 10, "a delete")
    finally:
        node.kill()
        with_mount.kill()
        with_mount.wait()
