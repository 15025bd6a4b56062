"""Load that remembers what it was promised, and checks it afterwards.

Writers give every key once, so an acknowledged write cannot be hidden by a
later one. Three things can happen to a write, and each has its rule (C07):

    acknowledged (2xx)              found on every node, with that value
    refused, "outcome":"not-applied"    found on no node
    anything else                   found on all nodes, or on none
"""
import concurrent.futures
import contextlib
import http.client
import itertools
import os
import tempfile
import threading
import time

from cluster import TROUBLE, request_on, wait_for

ACKED, REFUSED, UNKNOWN = "acked", "refused", "unknown"


class Client:
    """A keep-alive connection that moves to the next node on trouble."""

    def __init__(self, nodes, first=0, timeout=15.0):
        self.nodes = nodes
        self.at = first % len(nodes)
        self.timeout = timeout
        self.connection = None

    def move(self):
        self.close()
        self.at = (self.at + 1) % len(self.nodes)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def request(self, method, path, body=None):
        """A Response, or None when the connection broke."""
        try:
            if self.connection is None:
                node = self.nodes[self.at]
                self.connection = http.client.HTTPConnection(
                    node.reach, node.http_port, timeout=self.timeout)
            return request_on(self.connection, method, path, body)
        except TROUBLE:
            self.close()
            return None

    def put(self, key, value):
        """The outcome of one attempt."""
        response = self.request("POST", "/key", {key: value})
        if response is None:
            return UNKNOWN
        if response.status == 200:
            return ACKED
        try:
            outcome = response.json().get("outcome")
        except ValueError:
            outcome = None
        return REFUSED if outcome == "not-applied" else UNKNOWN


class Threads:
    """Threads of a test that run until their work is done, or stop_now."""

    def __init__(self):
        self.stop_now = threading.Event()
        self.threads = []

    def add_thread(self, run, *args):
        self.threads.append(threading.Thread(target=run, args=args, daemon=True))

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stop_now.set()
        return self.wait()

    def wait(self, timeout=60):
        for thread in self.threads:
            thread.join(timeout)
            assert not thread.is_alive(), f"a thread of {type(self).__name__} hangs"
        return self


@contextlib.contextmanager
def meanwhile(work):
    """work(0), work(1), ... one after the other on a thread, until the block
    ends. What fails there fails the block."""
    stop_now = threading.Event()

    def run():
        for i in itertools.count():
            if stop_now.is_set():
                return
            work(i)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            stop_now.set()
        running.result()


@contextlib.contextmanager
def measured_syncs(directory):
    """For the block, sync a small file in that directory again and again.
    Yields a function: how many seconds the slowest sync took so far. A bound on
    requests that wait for the disk is held against that."""
    slowest = 0.0
    with tempfile.TemporaryFile(dir=directory) as file:
        def sync(_):
            nonlocal slowest
            began = time.monotonic()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)
        with meanwhile(sync):
            yield lambda: slowest


class Writers(Threads):
    """Threads that write keys of their own at a bounded rate. With retries,
    a failed attempt is repeated on the next node, and only the last outcome
    of a key counts (an earlier attempt may have succeeded unseen: the same
    value, so that does not matter)."""

    def __init__(self, nodes, threads=4, rate=60, count=400, retries=0, tag="w"):
        super().__init__()
        self.nodes = nodes
        self.rate = rate
        self.count = count
        self.retries = retries
        self.tag = tag
        self.outcome = {}
        self.slowest = 0.0
        for i in range(threads):
            self.add_thread(self._run, i)

    def _run(self, number):
        client = Client(self.nodes, number)
        for sequence in range(self.count):
            if self.stop_now.is_set():
                break
            key = f"{self.tag}-{number}-{sequence}"
            began = time.monotonic()
            outcome = client.put(key, "v" + key)
            unknown = outcome == UNKNOWN
            if outcome != ACKED:
                client.move()
            for _ in range(self.retries):
                if outcome == ACKED:
                    break
                outcome = client.put(key, "v" + key)
                unknown = unknown or outcome == UNKNOWN
                if outcome != ACKED:
                    client.move()
            if outcome == REFUSED and unknown:
                outcome = UNKNOWN
            self.outcome[key] = outcome
            self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(max(0.0, began + 1 / self.rate - time.monotonic()))
        client.close()

    def keys(self, outcome):
        return [key for key, seen in list(self.outcome.items()) if seen == outcome]

    def acked(self):
        return self.keys(ACKED)

    def wait_acked(self, count, timeout=30):
        """Until that many more writes are acknowledged than now."""
        wanted = len(self.acked()) + count
        wait_for(lambda: len(self.acked()) >= wanted, timeout,
                 f"{count} more acknowledged writes")
        return self

    def summary(self):
        return {name: len(self.keys(name)) for name in (ACKED, REFUSED, UNKNOWN)}


def read_all(node, keys, level):
    """key -> value or None, over one connection."""
    client = Client([node])
    found = {}
    try:
        for key in keys:
            response = client.request("GET", f"/key/{key}?level={level}")
            assert response is not None, f"{node.name} broke the connection"
            assert response.status in (200, 404), (node.name, key, response)
            found[key] = response.json()[key] if response.status == 200 else None
    finally:
        client.close()
    return found


def verify(cluster, *writers):
    """Hold every running node to what the writers were told. The nodes must
    have converged (cluster.wait_same)."""
    outcome = {}
    for writer in writers:
        outcome.update(writer.outcome)
    nodes = cluster.running()
    views = {node.name: read_all(node, outcome, "none") for node in nodes}
    wrong = []
    for key, told in outcome.items():
        values = {name: view[key] for name, view in views.items()}
        distinct = set(values.values())
        if told == ACKED and distinct != {"v" + key}:
            wrong.append(f"acknowledged {key}: {values}")
        elif told == REFUSED and distinct != {None}:
            wrong.append(f"refused {key}: {values}")
        elif len(distinct) != 1 or not distinct <= {None, "v" + key}:
            wrong.append(f"{told} {key}: {values}")
    assert not wrong, f"{len(wrong)} of {len(outcome)} wrong: {wrong[:10]}"

    # And through the quorum; a sample, since each costs a round trip.
    acked = [key for key, told in outcome.items() if told == ACKED]
    sample = acked[-300:]
    for key, value in read_all(nodes[-1], sample, "linearizable").items():
        assert value == "v" + key, f"linearizable {key}: {value!r}"
    compare_hashes(cluster)
    return len(acked)


def compare_hashes(cluster):
    """Nodes that have applied the same entries have the same state hash."""
    for _ in range(20):
        cluster.wait_same()
        states = [node.status() for node in cluster.running()]
        if len({state["applied"] for state in states}) == 1:
            hashes = {state["me"]["id"]: state.get("hash") for state in states}
            assert len(set(hashes.values())) == 1, f"states differ: {hashes}"
            return
    raise AssertionError("the nodes never stood still together")


class Register(Threads):
    """One writer counts up in one key; readers anywhere read it linearizably.
    Right is: a read that began after value n was acknowledged, or after
    another read had returned n, returns n or more.

    A write of unknown outcome may still take effect later, behind its
    successor, so the writer then leaves that key for a fresh one."""
    count = 0

    def __init__(self, nodes, readers=2, rate=80):
        super().__init__()
        Register.count += 1
        self.name = f"register-{Register.count}"
        self.nodes = nodes
        self.rate = rate
        self.lock = threading.Lock()
        self.epoch, self.floor, self.tried = 0, 0, 0
        self.reads, self.wrong = 0, []
        self.add_thread(self._write)
        for i in range(readers):
            self.add_thread(self._read, i)

    def stop(self):
        super().stop()
        assert not self.wrong, self.wrong[:5]
        assert self.reads > 0, "no read went through"
        return self

    def _write(self):
        client = Client(self.nodes, 0, timeout=3)
        while not self.stop_now.is_set():
            with self.lock:
                self.tried += 1
                value, key = self.tried, f"{self.name}-{self.epoch}"
            outcome = client.put(key, str(value))
            with self.lock:
                if outcome == ACKED:
                    self.floor = max(self.floor, value)
                elif outcome == UNKNOWN:
                    self.epoch, self.floor, self.tried = self.epoch + 1, 0, 0
            if outcome != ACKED:
                client.move()
            time.sleep(1 / self.rate)
        client.close()

    def _read(self, number):
        client = Client(self.nodes, number + 1, timeout=3)
        while not self.stop_now.is_set():
            with self.lock:
                epoch, floor = self.epoch, self.floor
            at = self.nodes[client.at].name
            key = f"{self.name}-{epoch}"
            response = client.request("GET", f"/key/{key}?level=linearizable")
            if response is None or response.status not in (200, 404):
                client.move()
                time.sleep(0.02)
                continue
            value = 0
            if response.status == 200:
                value = int(response.json()[key])
            with self.lock:
                self.reads += 1
                if value < floor:
                    self.wrong.append(
                        f"{key}: {at} returned {value} after {floor}")
                if epoch == self.epoch:
                    self.floor = max(self.floor, value)
            time.sleep(1 / self.rate)
        client.close()
