"""Clients that share a few keys and remember all that they asked and saw.

Each client stays with its node, cut off or not: who moves to the majority
never sees the old leader tell old tales. Keys are left for fresh ones after a
while, so that each history stays short enough to be searched (linear.py).

Besides they write keys that are written once, as load.Writers does; verify()
of load.py holds the nodes to those.
"""
import collections
import random
import threading
import time

from cluster import wait_for
from linear import DELETE, READ, WRITE, Op, check
from load import ACKED, REFUSED, UNKNOWN, Client, Threads

OPS_PER_KEY = 400


class Clients(Threads):
    count = 0

    def __init__(self, nodes, each=2, rate=30, keys=3, seed=0):
        super().__init__()
        Clients.count += 1
        self.tag = f"h{Clients.count}"
        self.nodes = nodes
        self.rate = rate
        self.key_count = keys
        self.lock = threading.Lock()
        self.histories = collections.defaultdict(list)  # key -> [Op]
        self.outcome = {}  # By key, for keys that are written once.
        self.epoch, self.asked = 0, 0
        self.done = collections.Counter()  # (node, kind) -> answered
        self.unknown = 0
        self.trouble = []
        for number, node in enumerate(list(nodes) * each):
            self.add_thread(self._run, number, node,
                            random.Random(f"{seed}/{number}"))

    def stop(self):
        super().stop()
        assert not self.trouble, self.trouble[:3]
        return self

    def acked(self, node=None):
        return sum(count for (name, kind), count in list(self.done.items())
                   if kind != READ and node in (None, name))

    def wait_progress(self, nodes, count=8, timeout=45):
        """So many more writes and reads, at each of these nodes."""
        places = [(node.name, kind) for node in nodes for kind in (READ, WRITE)]
        goal = {place: self.done[place] + count for place in places}
        wait_for(lambda: all(self.done[at] >= goal[at] for at in places),
                 timeout, f"progress at {[node.name for node in nodes]}")

    # ---- one client --------------------------------------------------------

    def _run(self, number, node, dice):
        client = Client([node], timeout=8)
        try:
            for sequence in range(1_000_000):
                if self.stop_now.is_set():
                    return
                began = time.monotonic()
                # A link that is silent is given up after 3 s: one client
                # learns of that, the other one has gone before.
                patience = 2 if number < len(self.nodes) else 5
                value = f"{number}-{sequence}"
                if not self._one(client, node, value, patience, dice):
                    time.sleep(0.05)
                pause = dice.uniform(0.5, 1.5) / self.rate
                time.sleep(max(0.0, began + pause - time.monotonic()))
        except Exception as error:  # A thread's end would go unseen.
            self.trouble.append(repr(error))
            raise
        finally:
            client.close()

    def _key(self, dice):
        with self.lock:
            self.asked += 1
            if self.asked >= OPS_PER_KEY * self.key_count:
                self.epoch, self.asked = self.epoch + 1, 0
            return f"{self.tag}-{self.epoch}-{dice.randrange(self.key_count)}"

    def _one(self, client, node, value, patience, dice):
        """One request and what it means. True when it was answered well."""
        kind = dice.choices((READ, WRITE, DELETE, None), (50, 30, 10, 10))[0]
        if kind is None:
            key = f"{self.tag}-once-{value}"
            return self._write_once(client, node, key, patience)
        key = self._key(dice)
        begin = time.monotonic()
        response = ask(client, kind, key, value, patience)
        end = time.monotonic()
        outcome = outcome_of(kind, response)
        if outcome == REFUSED or (outcome == UNKNOWN and kind == READ):
            return False  # It says nothing; that it did nothing is checked.
        if outcome == UNKNOWN:
            end = None
            value = value if kind == WRITE else None
            self.unknown += 1
        elif kind == READ:
            value = response.json()[key] if response.status == 200 else None
        elif kind == DELETE:
            value = response.headers["Craftd-Deleted"] == "1"
        with self.lock:
            self.histories[key].append(Op(kind, value, begin, end, node.name))
            if outcome == ACKED:
                self.done[node.name, kind] += 1
        return outcome == ACKED

    def _write_once(self, client, node, key, patience):
        response = ask(client, WRITE, key, "v" + key, patience)
        outcome = outcome_of(WRITE, response)
        self.outcome[key] = outcome
        if outcome == ACKED:
            with self.lock:
                self.done[node.name, WRITE] += 1
        return outcome == ACKED

    # ---- afterwards ---------------------------------------------------------

    def check(self):
        """After stop(), when the nodes have converged: read every key at every
        node once more; then some order has to explain all of it."""
        for node in self.nodes:
            client = Client([node])
            for key, history in self.histories.items():
                begin = time.monotonic()
                response = ask(client, READ, key, None)
                assert outcome_of(READ, response) == ACKED, (node.name, response)
                value = response.json()[key] if response.status == 200 else None
                history.append(Op(READ, value, begin, time.monotonic(),
                                  node.name + ", afterwards"))
            client.close()
        for key, history in self.histories.items():
            words = check(history)
            assert words is None, f"{key}: {words}"
        return self

    def summary(self):
        total = collections.Counter()
        for (_, kind), count in self.done.items():
            total[kind] += count
        return {**total, "unknown": self.unknown, "keys": len(self.histories)}


def ask(client, kind, key, value, patience=5):
    if kind == WRITE:
        return client.request("POST", f"/key?timeout={patience}s", {key: value})
    method = "GET" if kind == READ else "DELETE"
    return client.request(method, f"/key/{key}?timeout={patience}s")


def outcome_of(kind, response):
    if response is None:
        return UNKNOWN
    if response.status == 200 or (kind == READ and response.status == 404):
        return ACKED
    assert response.status in (429, 503, 504), response
    refused = response.json().get("outcome") == "not-applied"
    return REFUSED if refused else UNKNOWN
