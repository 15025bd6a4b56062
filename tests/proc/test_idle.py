"""A cluster that nobody uses leaves the disk and the processor alone.

IDLE=60 watches for a minute (5 s by default)."""
import os
import time

import pytest

from cluster import cpu_seconds, wait_for, written_bytes

IDLE = float(os.environ.get("IDLE", "5"))


def test_idle_cluster_writes_nothing(cluster):
    cluster.start(3)
    for i in range(50):
        assert cluster[0].put(f"k{i}", "v").status == 200
    cluster.wait_same()
    try:
        written_bytes(cluster[0].pid)
    except OSError as error:
        pytest.skip(f"/proc/PID/io: {error}")

    # The last writes may not have reached the database file yet.
    def settled():
        before = [written_bytes(node.pid) for node in cluster]
        time.sleep(1)
        return before == [written_bytes(node.pid) for node in cluster]
    wait_for(settled, 20, "the disk comes to rest")

    written = [written_bytes(node.pid) for node in cluster]
    assert min(written) > 0, "this file system does not count written bytes"
    busy = [cpu_seconds(node.pid) for node in cluster]
    time.sleep(IDLE)
    grown = [written_bytes(node.pid) - old for node, old in zip(cluster, written)]
    used = [cpu_seconds(node.pid) - old for node, old in zip(cluster, busy)]
    print(f"{IDLE} s: bytes {grown}, cpu seconds {used}")
    assert grown == [0, 0, 0]
    assert max(used) < 0.05 * IDLE, "a busy loop?"
