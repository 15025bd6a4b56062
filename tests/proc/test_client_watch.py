"""craftd watch: changes as they come, over servers that come and go."""
import contextlib
import os
import queue
import subprocess
import threading
import time

import pytest

from cluster import BINARY, HOST, free_port, wait_for

DONE, FAILED, USAGE, GONE, AWAY = 0, 1, 2, 5, 6


class Running:
    """craftd watch in the background, and its lines."""

    def __init__(self, addr, *words):
        self.process = subprocess.Popen(
            [BINARY, "watch", "--addr", addr, *words], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def take(self, count, timeout=30):
        return [self.lines.get(timeout=timeout) for _ in range(count)]

    def stop(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def watch():
    with contextlib.ExitStack() as stack:
        def start(addr, *words):
            running = Running(addr, *words)
            stack.callback(running.stop)
            return running
        yield start


def put(node, key, value="x"):
    response = node.request("PUT", "/key/" + key, value)
    assert response.status in (201, 204), response
    return int(response.headers["ETag"].strip('"'))


def open_watches(node, count):
    wait_for(lambda: node.status()["watch"]["watchers"] == count, what="it watches")


def test_changes_are_printed(three, watch):
    since = put(three[0], "cw/a", "1")
    running = watch(three[0].http, "--since", str(since), "cw/")
    one = watch(three[1].http, "--since", str(since), "--key", "cw/tab")
    raw = watch(three[2].http, "--since", str(since), "--json", "cw/")
    first = put(three[0], "cw/tab", "a\tb\n")
    second = put(three[0], "cw/bin", b"\xff%\xc2\x9b")
    third = int(three[0].request("DELETE", "/key/cw/tab").headers["Craftd-Index"])
    assert running.take(3) == [f"put\t{first}\tcw/tab\ta%09b%0A",
                               f"put\t{second}\tcw/bin\t%FF%25%C2%9B",
                               f"delete\t{third}\tcw/tab"]
    assert one.take(2) == [f"put\t{first}\tcw/tab\ta%09b%0A",
                           f"delete\t{third}\tcw/tab"]
    assert raw.take(1)[0].startswith('{"event":"put","key":"cw/tab","value":')


def test_the_initial_set_comes_first(three, watch):
    index = put(three[0], "ci/a", "1")
    running = watch(three[0].http, "--initial", "ci/")
    assert running.take(1) == [f"put\t{index}\tci/a\t1"]
    open_watches(three[0], 1)
    change = put(three[0], "ci/b", "2")
    assert running.take(1) == [f"put\t{change}\tci/b\t2"]


def test_nothing_is_missed_or_doubled_when_nodes_are_killed(cluster, watch):
    nodes = cluster.start(3)
    since = put(nodes[0], "start")
    running = watch(",".join(node.http for node in nodes), "--since", str(since), "k/")
    written = []
    for i in range(60):
        if i % 20 == 10:
            victim = nodes[i // 20]
            victim.kill()
            victim.start()
        node = next(node for node in nodes[i % 3:] + nodes[:i % 3] if node.alive())

        def write(node=node, i=i):
            pairs = {f"k/{i}/a": str(i), f"k/{i}/b": str(i)}
            response = node.request("POST", "/key", pairs,
                                    {"Idempotency-Key": f"write-{i}"}, timeout=10)
            return response.status == 200 and int(response.headers["Craftd-Index"])
        wait_for(write, 30, "a write")
        written.append(i)
    want = [f"k/{i}/{c}" for i in written for c in "ab"]
    got = [line.split("\t")[2] for line in running.take(len(want), 60)]
    assert got == want
    time.sleep(0.5)
    assert running.lines.empty()


def test_a_command_runs_for_each_change(three, watch, tmp_path):
    since = put(three[0], "ce/start")
    out = tmp_path / "out"
    command = f'(echo "$CRAFTD_EVENT $CRAFTD_KEY $CRAFTD_INDEX"; cat; echo) >>{out}; ' \
              'test "$CRAFTD_KEY" != ce/stop'
    running = watch(three[0].http, "--since", str(since), "--exec", command, "ce/")
    first = put(three[0], "ce/a", "x" * 100000)
    stop = put(three[0], "ce/stop", "")
    put(three[0], "ce/after")
    assert running.process.wait(30) == FAILED
    assert out.read_text() == (f"put ce/a {first}\n{'x' * 100000}\n"
                               f"put ce/stop {stop}\n\n")
    assert f"--since {first}" in running.process.stderr.read()


def test_what_no_server_has_is_code_5(cluster, watch):
    nodes = cluster.start(3, args=["--history", "10"])
    for i in range(30):
        put(nodes[0], f"g/{i}")
    addr = ",".join(node.http for node in nodes)
    for node in nodes:
        wait_for(lambda node=node: node.status()["watch"]["oldest_index"] > 10)
    running = watch(addr, "--since", "5", "g/")
    assert running.process.wait(30) == GONE
    assert "--history" in running.process.stderr.read()
    again = watch(addr, "--since", "5", "--initial", "g/")
    assert [line.split("\t")[2] for line in again.take(30)] == sorted(
        f"g/{i}" for i in range(30))


def test_refusals(three, watch):
    assert watch(f"{HOST}:{free_port()}").process.wait(30) == AWAY
    assert watch(three[0].http, "--key", "a", "b").process.wait(10) == USAGE
    assert watch(three[0].http, "--key", "k" * 1025).process.wait(10) == FAILED


def test_a_reader_that_goes_away_ends_it(three):
    since = put(three[0], "cr/a")
    environment = dict(os.environ)
    line = f"{BINARY} watch --addr {three[0].http} --since {since - 1} cr/ | head -n 1"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE,
                          env=environment, text=True) as process:
        assert process.stdout.readline() == f"put\t{since}\tcr/a\tx\n"
        put(three[0], "cr/b")  # Its next line ends it.
        assert process.wait(20) == 0
