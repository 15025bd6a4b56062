"""Small disks: a node starts on 8 MB, takes most of it for data, refuses more in
time, and deletes make room again, also after a restart and for large values."""
import contextlib
import os
import random
import shutil
import subprocess

import pytest

from cluster import BINARY, wait_for
from test_bounds import needs_mount, start_on_small_disk, try_put
from test_full import (data, delete, free_bytes, keeper, restart, start_three,
                       write_until_full)

MIB = 1 << 20

pytestmark = needs_mount


def disk_bytes(node, *names):
    """What a part of the directory takes on the disk."""
    total = 0
    for folder, _, files in os.walk(data(node, *names)):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total


@contextlib.contextmanager
def ext4(node, mebibytes):
    """An image of that size, mounted at the node's directory."""
    image = node.dir + ".img"
    os.makedirs(node.dir)
    with open(image, "wb") as file:
        file.truncate(mebibytes * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, node.dir], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("no loop device to mount")
    try:
        yield
    finally:
        node.kill()
        subprocess.run(["umount", "-l", node.dir], check=True)


def start_on_ext4(node):
    node.start([a if a != node.dir else node.dir + "/data" for a in node.argv()])
    return node.up()


def check_life(node, again, size, least):
    """Fill it, restart it, delete, and write again. `again` restarts it."""
    value = "s" * size
    acked = write_until_full(node, value, count=40_000)
    assert len(acked) * size >= least, (len(acked), free_bytes(node))
    # The node has refused before it needed what is kept for a full disk.
    assert os.stat(data(node, "db", "reserve.tmp")).st_size > 0
    assert os.stat(data(node, "wal", "reserve.tmp")).st_size > 0
    status = node.status()
    assert status["storage"]["no_space"], status
    assert any("only deletes" in hint for hint in status["hints"]), status["hints"]
    node.kill()
    again()
    for key in random.sample(acked, min(8, len(acked))):
        assert node.get(key) == value, key
    gone = acked[:len(acked) // 2][:400]
    for key in gone:
        wait_for(lambda key=key: delete(node, f"/key/{key}") == 200, 5, key, 0.05)
    for i in range(len(gone) // 2 + 1):
        wait_for(lambda i=i: try_put(node, f"again-{i}", value)[0] == 200, 10,
                 f"write {i}", 0.05)
    node.kill()
    again()
    for i in range(len(gone) // 2 + 1):
        assert node.get(f"again-{i}") == value
    assert node.get(acked[-1]) == value
    wait_for(lambda: delete(node, f"/key/{acked[-1]}") == 200, 10, "a delete")


@pytest.mark.parametrize("mebibytes,size,least", [
    (8, 1000, 3 * MIB), (8, 300_000, 3 * MIB), (16, 1000, 8 * MIB),
    (16, 60_000, 10 * MIB), (16, 1_000_000, 8 * MIB)])
def test_the_life_of_a_node_on_tmpfs(cluster, mebibytes, size, least):
    node = start_on_small_disk(cluster.new(), mebibytes)
    cluster.wait_leader()
    with_mount = keeper(node)
    try:
        check_life(node, lambda: restart(node, with_mount.pid), size, least)
    finally:
        node.kill()
        with_mount.kill()
        with_mount.wait()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.ext4"),
                    reason="only root may mount an image")
@pytest.mark.parametrize("mebibytes,size,least", [
    (8, 1000, 3 * MIB), (16, 100_000, 8 * MIB)])
def test_the_life_of_a_node_on_ext4(cluster, mebibytes, size, least):
    node = cluster.new()
    with ext4(node, mebibytes):
        start_on_ext4(node)
        cluster.wait_leader()
        check_life(node, lambda: start_on_ext4(node), size, least)


def test_a_fresh_directory_takes_little_of_a_small_disk(cluster):
    node = start_on_small_disk(cluster.new(), 16)
    cluster.wait_leader()
    wait_for(lambda: os.path.exists(data(node, "wal", "reserve.tmp")), 5, "a reserve")
    assert disk_bytes(node) < 2 * MIB


def test_a_disk_that_is_too_small_is_named(cluster):
    node = cluster.new()
    with pytest.raises(AssertionError):
        start_on_small_disk(node, 5)
    assert "needed=6291456" in node.log() and "at least 8 MB" in node.log()


def test_a_restore_needs_what_it_takes(cluster):
    """Not a fixed reserve: 1 MB of data fits on 16 MB, 5 MB of it does not."""
    node = start_on_small_disk(cluster.new(), 16)
    cluster.wait_leader()
    for i in range(50):
        assert node.put(f"kept-{i}", "k" * 20_000).status == 200
    backup = node.request("GET", "/backup")
    assert backup.status == 200
    assert delete(node, "/key/kept-7") == 200
    answer = node.request("POST", "/restore", backup.body, timeout=30)
    assert answer.status == 200 and answer.json()["keys"] == 50, answer
    assert node.get("kept-7") == "k" * 20_000
    answer = node.request("POST", "/restore", backup.body + b"\0" * (6 * MIB))
    assert answer.status == 507 and "bytes are needed" in answer.body.decode(), answer


def test_three_nodes_on_disks_of_16_mb(cluster):
    leader = start_three(cluster, 16)
    value = "t" * 100_000
    acked = write_until_full(leader, value)
    assert len(acked) > 70
    for node in cluster:
        for key in random.sample(acked, 3):
            assert node.get(key) == value, (node.name, key)
    for key in acked[:len(acked) // 2]:
        wait_for(lambda key=key: delete(cluster.wait_leader(), f"/key/{key}") == 200,
                 10, f"{key} deleted", 0.05)
    wait_for(lambda: try_put(cluster.wait_leader(), "again", value)[0] == 200, 15,
             "a write again")
    cluster.wait_same(20)


@pytest.mark.parametrize("mebibytes,size", [(2, 100), (2, 60_000), (2, 400_000), (8, 20_000)])
def test_the_database_stays_within_its_limit(cluster, mebibytes, size):
    """--max-db, with many writes at once; and the log beside it is small, too."""
    node = cluster.new(args=["--max-db", f"{mebibytes}M"]).start().up()
    cluster.wait_leader()
    value = "q" * size
    pairs = max(1, min(1000, 100_000 // size))
    refused = 0
    for i in range(4000):
        body = {f"{random.randrange(1 << 48):016}": value for _ in range(pairs)}
        answer = node.request("POST", "/key", body)
        assert answer.status in (200, 507), answer
        refused = refused + 1 if answer.status == 507 else 0
        if refused == 5:
            break
    assert refused == 5
    # All of it in one file; 204: it is.
    assert node.request("POST", "/snapshot").status in (200, 204)
    folder = os.path.join(node.dir, "db")
    for name in os.listdir(folder):
        if name.startswith("gen-"):
            file = os.path.join(folder, name, "state.db")
            assert os.stat(file).st_size <= 1.1 * mebibytes * MIB
            assert os.stat(file).st_size >= 0.8 * mebibytes * MIB
    total = sum(os.stat(os.path.join(where, name)).st_blocks * 512
                for where, _, names in os.walk(node.dir) for name in names)
    assert total < 4 * mebibytes * MIB, total
