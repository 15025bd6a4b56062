"""Two versions in one cluster: build/craftd and what stands for the next one
(next.c), and one that is too far away to talk to."""
import contextlib
import os
import sqlite3
import threading

import pytest

from cluster import BINARY, TROUBLE, wait_for

NEXT = BINARY + "-next"
FAR = BINARY + "-far"
BEFORE = BINARY + "-before"
FINAL = ["env", "CRAFTD_NEXT_FINAL=1"]

pytestmark = pytest.mark.skipif(
    not (os.path.exists(NEXT) and os.path.exists(FAR)),
    reason="make proc builds the other versions")


def start_as(node, binary, before=()):
    return node.start([*before, binary, *node.argv()[1:]])


def restart_as(cluster, node, binary, before=()):
    assert node.terminate() == 0
    start_as(node, binary, before).up()
    cluster.wait_leader(15)
    wait_for(lambda: node.request("GET", "/readyz").status == 200, 10,
             f"{node.name} is ready")


class Writer(threading.Thread):
    """Writes one key after the other, at whatever node answers, to the end."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.written = []
        self.done = threading.Event()

    def run(self):
        number = 0
        while not self.done.is_set():
            node = self.cluster[number % len(self.cluster)]
            key = f"key{number:06}"
            number += 1
            with contextlib.suppress(*TROUBLE):
                if node.put(key, key, timeout=5).status == 200:
                    self.written.append(key)
            self.done.wait(0.002)

    def stop_and_check(self):
        self.done.set()
        self.join()
        for node in self.cluster:
            assert all(node.get(key, "none") == key for key in self.written)


def test_rolled_to_the_next_version_and_back(cluster):
    """U01, U04: every mix, the leader on either side, writes all the while."""
    cluster.start(3)
    writer = Writer(cluster)
    writer.start()
    for binary in (NEXT, BINARY):
        for node in cluster:
            before = len(writer.written)
            restart_as(cluster, node, binary)
            wait_for(lambda: len(writer.written) > before + 20, 10,
                     "writes go on")
            # A node that restarts transfers its leadership: transfer it back, so
            # that each version leads the other.
            wait_for(lambda: node.request(
                "POST", "/leader", {"id": node.name}).status == 200, 10,
                     f"{node.name} leads")
            before = len(writer.written)
            wait_for(lambda: len(writer.written) > before + 20, 10,
                     "writes go on")
    writer.done.set()
    writer.join()
    cluster.wait_same()
    writer.stop_and_check()
    assert len(writer.written) > 240
    log = cluster[0].log()
    assert "version=1" in log and "version=2" in log  # As the link agreed.
    for node in cluster:
        assert "garbage" not in node.log()
        assert "peer-refused" not in node.log()


def test_a_version_without_a_common_protocol_is_refused(cluster):
    """Both say so in a sentence, and nothing else happens to either."""
    cluster.start(3)
    node = cluster[2]
    term = cluster.wait_leader().status()["term"]
    assert node.terminate() == 0
    start_as(node, FAR).up()
    sentence = "no common protocol version: "
    for side in (node, cluster[0]):
        wait_for(lambda s=side: sentence in s.log(), 10, "a sentence")
    assert "node2 speaks 2 to 2, node0 1 to 1" in node.log() + cluster[0].log() \
        or "node0 speaks 1 to 1, node2 2 to 2" in node.log() + cluster[0].log()
    assert cluster[0].put("meanwhile", "1").status == 200
    assert node.terminate() == 0
    node.start().up()
    cluster.wait_members(3)
    cluster.wait_same()
    assert node.get("meanwhile", "none") == "1"
    assert term <= cluster.wait_leader().status()["term"] <= term + 1


def test_a_node_does_not_skip_entries_that_it_cannot_read(cluster):
    """U02: the next version is final, and one node was forgotten. It follows no
    further, says so and is not ready, instead of going on without the entry;
    its upgrade helps."""
    cluster.start(3)
    assert cluster[0].put("old", "1").status == 200
    forgotten = cluster[2]
    for node in (cluster[0], cluster[1]):
        restart_as(cluster, node, NEXT, FINAL)
    wait_for(lambda: cluster[0].request(
        "POST", "/leader", {"id": cluster[0].name}).status == 200, 10,
             "an upgraded node leads")
    assert cluster[0].put("new", "2").status == 200
    for _ in range(2):  # Again: it has not become part of its log.
        wait_for(lambda: "written by a later version: upgrade this node"
                 in forgotten.log(), 10, "a sentence")
        wait_for(lambda: forgotten.request("GET", "/readyz").status == 503, 10,
                 "it is not ready")
        assert forgotten.get("new", "none") is None
        assert forgotten.terminate() == 0
        os.truncate(forgotten.log_path, 0)
        forgotten.start().up()
    assert cluster[1].put("newer", "3").status == 200
    assert forgotten.terminate() == 0
    start_as(forgotten, NEXT, FINAL).up()
    cluster.wait_members(3)
    cluster.wait_same()
    for key, value in (("old", "1"), ("new", "2"), ("newer", "3")):
        assert forgotten.get(key, "none") == value


def test_a_database_of_a_later_version_is_refused(cluster):
    """U03: no way back once a later version has changed the schema."""
    node = cluster.new().start().up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    assert node.terminate() == 0
    [path] = [os.path.join(folder, name)
              for folder, _, names in os.walk(os.path.join(node.dir, "db"))
              for name in names if name.endswith(".db")]
    db = sqlite3.connect(path)
    db.execute("insert into migrations select max(version) + 1, 'later' "
               "from migrations")
    db.commit()
    db.close()
    node.start()
    assert node.wait_exit() != 0
    assert "written by a newer craftd" in node.log()


def named(node, key, value, name):
    return node.request("PUT", f"/key/{key}", value,
                        headers={"Idempotency-Key": name})


def schema_of(node):
    """Versions of the databases in the directory of a node that is down."""
    versions = []
    for folder, _, names in os.walk(os.path.join(node.dir, "db")):
        for name in names:
            if name == "state.db":
                db = sqlite3.connect(os.path.join(folder, name))
                versions += db.execute("select max(version) from migrations")
                db.close()
    return [version for version, in versions]


@pytest.mark.skipif(not os.path.exists(BEFORE), reason="make proc builds it")
def test_the_build_before_follows_until_all_are_upgraded(cluster):
    """No entry that it cannot apply, and no snapshot that it cannot open, as long
    as one node is of that build; then no way back."""
    cluster.start(3)
    old = cluster[2]
    restart_as(cluster, old, BEFORE)
    first = cluster[0]
    wait_for(lambda: first.request("POST", "/leader", {"id": first.name}).status == 200,
             10, "it leads")
    assert named(first, "a", "1", "one").status == 201
    assert named(old, "b", "1", "two").status == 201
    cluster.wait_same()
    # A snapshot from the build after.
    assert old.terminate() == 0
    for number in range(40):
        assert first.put("much", f"{number}" + "x" * 500_000).status == 200
    assert first.request("POST", "/snapshot").status in (200, 204)
    start_as(old, BEFORE).up()
    cluster.wait_same(30)
    assert old.get("b", "none") == "1"
    # It leads the newer ones, too.
    wait_for(lambda: first.request("POST", "/leader", {"id": old.name}).status == 200,
             10, "the old node leads")
    assert named(first, "c", "1", "three").status == 201
    assert named(old, "c", "1", "three").headers["Idempotency-Replayed"] == "true"
    assert old.terminate() == 0
    assert schema_of(old) == [3]
    old.start().up()
    cluster.wait_leader(15)
    wait_for(lambda: old.request("GET", "/readyz").status == 200, 10, "it is ready")
    cluster.wait_members(3)
    assert named(first, "d", "1", "four").status == 201
    cluster.wait_same()
    assert named(old, "c", "1", "three").headers["Idempotency-Replayed"] == "true"
    for node in cluster:
        assert "later version" not in node.log()
    assert old.terminate() == 0
    assert schema_of(old) == [4]
    start_as(old, BEFORE)
    assert old.wait_exit() != 0
    assert "written by a newer craftd" in old.log()
