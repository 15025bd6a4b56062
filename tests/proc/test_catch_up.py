"""A node that lacks much of the state says how far it is: in its log, /status and
/metrics."""
import re
import select
import socket
import threading
import time

import pytest

from cluster import HOST, free_port, wait_for

VALUE = "x" * 60000


class SlowRoad:
    """Everything that is sent to `target` arrives at so many bytes a second."""

    def __init__(self, target_port, rate):
        self.rate = rate
        self.target_port = target_port
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.open:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection((HOST, self.target_port))
            except OSError:
                continue
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        try:
            while True:
                ready, _, _ = select.select([near, far], [], [])
                for source, to in ((near, far), (far, near)):
                    if source in ready:
                        data = source.recv(16384)
                        if not data:
                            return
                        to.sendall(data)
                        if source is near and self.rate:
                            time.sleep(len(data) / self.rate)
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def close(self):
        self.open = False
        self.listener.close()


@pytest.fixture
def road():
    roads = []

    def build(target_port, rate):
        roads.append(SlowRoad(target_port, rate))
        return roads[-1]
    yield build
    for one in roads:
        one.close()


def fill(node, count):
    for i in range(count):
        assert node.put(f"big/{i % 150}", VALUE).status == 200


@pytest.mark.parametrize("what", ["entries", "snapshot"])
def test_a_joining_node_says_how_far_it_is(cluster, road, what):
    first = cluster.start(1)[0]
    fill(first, 150)
    if what == "snapshot":
        fill(first, 450)  # The log keeps the newest 16 MiB.
        assert first.request("POST", "/snapshot").status == 200
    port = free_port()
    slow = road(port, 700_000)
    late = cluster.new()
    late.raft_port = port
    late.args += ["--join", first.http, "--raft-adv", f"{HOST}:{slow.port}"]
    late.start().up()
    at = wait_for(lambda: late.status().get("catch_up"), 30, "a node behind")
    assert at["what"] == what and at["done"] < at["total"], at
    # With a rate, once it has been seen twice.
    at = wait_for(lambda: (late.status().get("catch_up") or {}).get("seconds_left") and
                  late.status().get("catch_up"), 30, "a time that is left")
    assert at["per_second"] > 0
    metrics = {unit: late.metric(f"craftd_raft_catch_up_{unit}") for unit in ("bytes", "entries")}
    assert metrics["bytes" if what == "snapshot" else "entries"] > 0
    assert metrics["entries" if what == "snapshot" else "bytes"] == 0
    assert any(hint.startswith("this node is catching up: ") for hint in late.status()["hints"])
    line = wait_for(lambda: re.search(
        rf" catch-up what={what} (bytes|applied)=(\d+) of=(\d+) per_s=(\d+) left_s=\d+",
        late.log()), 30, "a line in the log")
    assert 0 < int(line[2]) < int(line[3]) and int(line[4]) > 0
    assert (line[1] == "bytes") == (what == "snapshot")
    slow.rate = 0
    wait_for(lambda: late.status()["keys"] == first.status()["keys"], 60, "all keys")
    wait_for(lambda: "catch_up" not in late.status(), 20, "the end of it")
    assert late.metric("craftd_raft_catch_up_bytes") == 0
    assert late.metric("craftd_raft_catch_up_entries") == 0
    assert not any("catching up" in hint for hint in late.status()["hints"])
    assert "catch_up" not in first.status() and " catch-up " not in first.log()
