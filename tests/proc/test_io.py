"""How the log is written (--io): both ways keep what was acknowledged, and
what is asked for is what one gets."""
import os
import subprocess
import sys
import time

import pytest

from cluster import wait_for
from load import Writers, verify

FORBID = os.path.join(os.path.dirname(os.path.abspath(__file__)), "forbid_uring.py")


def rings(node):
    """io_uring descriptors of the process."""
    folder = f"/proc/{node.pid}/fd"
    count = 0
    for name in os.listdir(folder):
        try:
            count += "io_uring" in os.readlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass
    return count


def start_or_skip(cluster, count, io):
    """With --io=uring only where there is one."""
    if io == "uring":
        probe = cluster.new(name="probe").start().up()
        found = rings(probe)
        probe.kill()
        cluster.nodes.remove(probe)
        if not found:
            pytest.skip("no io_uring here")
    cluster.start(count, args=[f"--io={io}"])
    assert [rings(node) for node in cluster] == [int(io == "uring")] * count


@pytest.mark.parametrize("io", ["sync", "uring"])
def test_killed_under_load(cluster, io):
    """All at once, and again: nothing acknowledged is missing."""
    start_or_skip(cluster, 3, io)
    done = []
    for number in range(3):
        writers = Writers(cluster.nodes, threads=6, rate=150, count=400,
                          tag=f"r{number}").start()
        time.sleep(0.7)
        cluster.kill_all()
        writers.stop()
        done.append(writers)
        cluster.start_all()
        cluster.wait_leader(15)
        cluster.wait_same()
        assert verify(cluster, *done) > 50 * len(done)


def test_a_node_may_change_its_way(cluster):
    """The files are the same."""
    start_or_skip(cluster, 1, "uring")
    node = cluster[0]
    for i, io in enumerate(["sync", "uring", "auto"]):
        assert node.put(f"k{i}", "v").status == 200
        node.kill() if i % 2 else node.terminate()
        node.args = [f"--io={io}"]
        node.start().up()
        cluster.wait_leader()
        assert [node.get(f"k{k}") for k in range(i + 1)] == ["v"] * (i + 1)
        assert rings(node) == int(io != "sync")


def test_in_memory_there_is_nothing_to_write(cluster):
    node = cluster.new(args=["--io=uring"], inmem=True).start().up()
    assert rings(node) == 0


def test_where_it_is_forbidden(cluster):
    """Asked for: an error that says so. Else: one line, and it works."""
    node = cluster.new(args=["--io=uring"])
    wrong = subprocess.run([sys.executable, FORBID] + node.argv(),
                           capture_output=True, text=True, timeout=30,
                           stdin=subprocess.DEVNULL)
    assert wrong.returncode == 1
    assert "--io=uring" in wrong.stderr and "io_uring" in wrong.stderr
    node.args = []
    node.start([sys.executable, FORBID] + node.argv()).up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    assert rings(node) == 0
    assert node.log().count("log=sync") == 1
