"""curl -N /watch through faults: each time it ends it is started again at a random
node with the last id, and nothing may be missing, doubled or out of order.

MINUTES=60 scripts/proc watch_soak runs it for an hour; 20 s without.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from cluster import TROUBLE, HOST, die_with_parent, wait_for

SECONDS = float(os.environ.get("MINUTES", "0.33")) * 60
# A long run leaves the machine to others: fewer writes, and time between faults.
PAUSE, FAULT_PAUSE = (0.005, (1, 3)) if SECONDS < 300 else (0.05, (3, 8))
KEYS = 20


class Follower(threading.Thread):
    """curl -N as a shell script would use it. An event names the index of the
    key's change before it, which has to be the one that was received last."""

    def __init__(self, nodes, since, seed):
        super().__init__(daemon=True)
        self.nodes, self.since, self.random = nodes, since, random.Random(seed)
        self.known = {}
        self.received = self.reconnects = self.lost = 0
        self.wrong = None
        self.ending = False

    def run(self):
        try:
            while not self.ending:
                self.watch(self.random.choice(self.nodes))
        except AssertionError as error:
            self.wrong = error

    def watch(self, node):
        url = f"http://{HOST}:{node.http_port}/watch?prefix=soak/&since={self.since}"
        # A short run has one reconnect at least.
        seconds = self.random.choice([1, 3, 20]) if self.reconnects > 1 else 1
        argv = ["curl", "-sN", "--max-time", str(seconds), url]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True,
                              preexec_fn=die_with_parent) as curl:
            self.reconnects += 1
            entry, kind = [], None
            for line in curl.stdout:
                name, _, value = line.rstrip("\n").partition(": ")
                if '"code":"compacted"' in line:
                    continue  # Another node may have it.
                if name == "event":
                    kind = value
                elif name == "data" and kind == "lost":
                    self.lost += 1
                elif name == "data":
                    entry.append((kind, json.loads(value)))
                elif name == "id":
                    for change in entry:
                        self.take(*change)
                    entry = []
                    assert int(value) >= self.since, (value, self.since)
                    self.since = int(value)
                if self.ending:
                    break
            curl.kill()
        time.sleep(0.05)

    def take(self, kind, data):
        key, index = data["key"], data["index"]
        assert index > self.since, (data, self.since)
        if key in self.known:
            assert data["prev_index"] == self.known[key], (data, self.known[key])
        self.known[key] = index if kind == "put" else 0
        self.received += 1


def write(nodes, stop, state):
    i = 0
    while not stop.is_set():
        i += 1
        node = random.choice(nodes)
        key = f"soak/{i % KEYS}"
        try:
            if i % 7 == 0:
                node.request("DELETE", "/key/" + key, timeout=5)
            elif i % 5 == 0:
                node.put_many({key: str(i), f"soak/{(i + 1) % KEYS}": str(i),
                               "other": "x"}, timeout=5)
            else:
                node.request("PUT", "/key/" + key, str(i), timeout=5)
            state["writes"] = i
        except TROUBLE:
            pass
        time.sleep(PAUSE)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_watch_soak(cluster):
    nodes = cluster.start(3, args=["--history", "1000000"])
    since = int(nodes[0].put("soak/0", "0").headers["Craftd-Index"])
    for node in nodes:
        wait_for(lambda node=node: node.status()["applied"] >= since)
    followers = [Follower(nodes, since, seed) for seed in range(4)]
    stop, state = threading.Event(), {}
    writer = threading.Thread(target=write, args=(nodes, stop, state), daemon=True)
    for thread in followers + [writer]:
        thread.start()
    faults = 0
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not any(f.wrong for f in followers):
            time.sleep(random.uniform(*FAULT_PAUSE))
            victim = random.choice(nodes)
            faults += 1
            kind = random.randrange(5)
            if kind == 0:
                victim.kill()
                victim.start()
            elif kind == 1:
                victim.terminate()
                victim.start()
            elif kind == 2:
                victim.send(signal.SIGSTOP)
                time.sleep(random.uniform(0.1, 2))
                victim.send(signal.SIGCONT)
            else:  # Leadership moves; the log is cut.
                with contextlib.suppress(*TROUBLE):
                    path = "/leader" if kind == 3 else "/snapshot"
                    victim.request("POST", path, timeout=5)
    finally:
        stop.set()
    writer.join(20)
    last = wait_for(lambda: nodes[0].put("soak/end", "x", timeout=5).status == 200
                    and nodes[0].status()["applied"], 30, "writes work again")
    wait_for(lambda: all(f.since >= last or f.wrong for f in followers), 60,
             "everything has arrived")
    for follower in followers:
        follower.ending = True
    page = nodes[0].request("GET", "/keys?prefix=soak/").json()
    held = {item["key"]: item["index"] for item in page["items"]}
    for follower in followers:
        assert follower.wrong is None
        known = {key: index for key, index in follower.known.items() if index}
        assert known == {key: index for key, index in held.items()
                         if key in follower.known}
        assert follower.reconnects > 1
    print(f"{state['writes']} writes, {faults} faults,",
          [(f.received, f.reconnects, f.lost) for f in followers])
