"""Links between nodes are sealed with --cluster-key: a cluster with one, how it
gets one and another one, and what is said when two do not fit."""
import os
import re
import signal
import subprocess

import pytest

from cluster import BINARY, HOST, wait_for
from test_snapshots import added, write_much
from test_versions import Writer


def new_key():
    return subprocess.run([BINARY, "keygen"], capture_output=True, text=True,
                          check=True).stdout.strip()


def write_keys(path, *keys, mode=0o600):
    """In one step, as a careful administrator does."""
    part = f"{path}.part"
    with open(part, "w", encoding="ascii") as file:
        file.write("".join(f"{key}\n" for key in keys))
    os.chmod(part, mode)
    os.rename(part, path)
    return str(path)


@pytest.fixture
def key(tmp_path):
    """The file of the only key."""
    return write_keys(tmp_path / "cluster.key", new_key())


def with_key(path, *more):
    return ["--cluster-key", path, *more]


def restart(cluster, node, args):
    """With other flags, when the others do without it."""
    assert node.terminate() == 0
    node.args = args
    node.start().up()
    cluster.wait_leader(15)
    wait_for(lambda: node.request("GET", "/readyz").status == 200, 10,
             f"{node.name} is ready")


def links(node):
    """How the last link to each member was made: {name: sealed}."""
    return dict(re.findall(r"peer-up peer=(\S+) .* sealed=(\S+)", node.log()))


def hangup(node, word="cluster-key"):
    """SIGHUP, and the lines that follow."""
    begin = len(node.log())
    node.send(signal.SIGHUP)
    wait_for(lambda: word in node.log()[begin:], 5, "the file is read")
    return node.log()[begin:]


# ---- a cluster with a key ----

def test_a_cluster_with_a_key(cluster, key):
    """Writes, a crash, a snapshot, a node that joins, forwarded requests."""
    cluster.start(3, args=with_key(key))
    leader = cluster.wait_leader()
    away, other = cluster.others(leader)
    assert other.put("forwarded", "1").status == 200
    away.kill()
    write_much(leader, 250, 20)  # More than is kept for who is away.
    away.start().up()
    cluster.wait_members(3).wait_same(30)
    assert "snapshot-installed" in away.log()
    newcomer = added(cluster, leader, args=with_key(key))
    assert newcomer.get("much-19", level="none").startswith("v239:")
    leader.kill()
    wait_for(lambda: other.put("after", "2").status == 200, 15, "a write")
    leader.start().up()
    cluster.wait_members(4).wait_same(30)
    for node in cluster:
        assert node.get("forwarded", "none") == "1"
        assert node.get("after", "none") == "2"
        assert set(links(node).values()) == {"yes"}
        assert "peer-garbage" not in node.log()
        assert "peer-refused" not in node.log()


# ---- nodes that do not fit ----

def test_a_node_without_the_key_becomes_no_voter(cluster, key, tmp_path):
    """It is asked for, over HTTP, and stays a learner that nobody reaches; with
    the right key it is let in."""
    cluster.start(2, args=with_key(key))
    leader = cluster.wait_leader()
    other_key = write_keys(tmp_path / "other.key", new_key())
    node = cluster.add(leader.http, args=with_key(other_key)).up()
    wait_for(lambda: "its cluster key is none of this node's" in node.log(), 10,
             "the node logs why")
    said = "closed without an answer: it has not this --cluster-key"
    wait_for(lambda: said in leader.log(), 10, "the leader logs why")
    assert any("node2 cannot be reached" in hint
               for hint in leader.status()["hints"])
    [row] = [p for p in leader.status()["peers"] if p["id"] == node.name]
    assert row["role"] == "learner" and not row["reachable"]
    assert node.status()["cluster"] == "0" * 32
    assert leader.put("secret", "1").status == 200
    restart_joining(node, [])
    wait_for(lambda: "this node has no --cluster-key" in node.log(), 10,
             "the node without a key logs why")
    [row] = [p for p in leader.status()["peers"] if p["id"] == node.name]
    assert row["role"] == "learner"
    restart_joining(node, with_key(key))
    cluster.wait_members(3).wait_same()
    assert node.get("secret", "none") == "1"


def restart_joining(node, args):
    node.kill()
    node.args = args
    node.start().up()


def test_a_member_that_lost_its_key_is_out(cluster, key):
    """It votes for nobody, and disturbs nobody, until it has it again."""
    cluster.start(3, args=with_key(key))
    leader = cluster.wait_leader()
    term = leader.status()["term"]
    node = cluster.others(leader)[0]
    node.kill()
    node.args = []
    node.start().up()
    wait_for(lambda: "does not seal the link: has it the --cluster-key?"
             in leader.log(), 10, "the leader logs why")
    wait_for(lambda: "does it have a --cluster-key, which this node has not?"
             in node.log() or "this node has no --cluster-key" in node.log(), 10,
             "the node logs why")
    assert leader.put("meanwhile", "1").status == 200
    assert node.get("meanwhile", "none") is None
    assert leader.status()["term"] == term
    node.kill()
    node.args = with_key(key)
    node.start().up()
    cluster.wait_members(3).wait_same()
    assert node.get("meanwhile", "none") == "1"


# ---- the way there, and from one key to the next ----

def test_a_key_is_introduced_node_by_node(cluster, key):
    """Twice through all of them, with writes all the while."""
    cluster.start(3)
    writer = Writer(cluster)
    writer.start()
    optional = with_key(key, "--cluster-key-optional")
    for args in (optional, with_key(key)):
        for node in cluster:
            before = len(writer.written)
            restart(cluster, node, args)
            wait_for(lambda before=before: len(writer.written) > before + 20, 15,
                     "writes go on")
        for node in cluster:
            wait_for(lambda node=node: set(links(node).values()) == {"yes"}, 10,
                     f"the links of {node.name} are sealed")
    writer.done.set()
    writer.join()
    cluster.wait_same()
    writer.stop_and_check()


def start_three(cluster, tmp_path, key):
    """Each with a file of its own; the paths of these."""
    paths = [write_keys(tmp_path / f"key{i}", key) for i in range(3)]
    for path in paths:
        node = cluster.new(args=with_key(path))
        node.join = cluster[0].http if node is not cluster[0] else None
        node.start().up()
    cluster.wait_members(3)
    return paths


def test_a_key_is_changed_node_by_node(cluster, tmp_path):
    """The same leader all the while."""
    old, new = new_key(), new_key()
    paths = start_three(cluster, tmp_path, old)
    leader = cluster.wait_leader()
    term = leader.status()["term"]
    writer = Writer(cluster)
    writer.start()
    for keys in ([old, new], [new, old], [new]):
        for node, path in zip(cluster, paths):
            before = len(writer.written)
            write_keys(path, *keys)
            assert f"keys={len(keys)}" in hangup(node)
            wait_for(lambda before=before: len(writer.written) > before + 20, 15,
                     "writes go on")
    writer.done.set()
    writer.join()
    cluster.wait_same()
    writer.stop_and_check()
    for node in cluster:
        assert node.status()["term"] == term
        assert "its cluster key was removed" in node.log() or any(
            "its cluster key was removed" in other.log() for other in cluster)


def test_a_key_is_changed_while_a_member_is_away(cluster, tmp_path):
    """Its file has the old key alone: it stays out, both sides say why, and it is
    back when it has the new one."""
    old, new = new_key(), new_key()
    paths = start_three(cluster, tmp_path, old)
    away = cluster[2]
    away.kill()
    leader = cluster.wait_leader()
    for keys in ([old, new], [new, old], [new]):
        for node, path in zip(cluster, paths[:2]):
            write_keys(path, *keys)
            assert f"keys={len(keys)}" in hangup(node)
    assert leader.put("meanwhile", "1").status == 200
    begin = len(leader.log())
    away.start()
    for node, from_ in ((leader, begin), (away, 0)):
        wait_for(lambda node=node, from_=from_: re.search(
            "its cluster key is none of this node's|does not prove the cluster key "
            "of this node", node.log()[from_:]), 15, "a line about the key")
    assert away.request("GET", "/key/meanwhile?timeout=1s").status == 503
    assert leader.put("meanwhile", "2").status == 200
    write_keys(paths[2], new)
    assert "keys=1" in hangup(away)
    cluster.wait_same()
    assert away.get("meanwhile") == "2"


# ---- files ----

def test_a_file_that_is_not_usable_keeps_the_keys(cluster, key):
    cluster.start(2, args=with_key(key))
    leader = cluster.wait_leader()
    good = open(key, encoding="ascii").read()
    for text, mode, why in [
            ("", 0o600, "no key in it"), ("x" * 64, 0o600, "line 1: a key is 64"),
            (good * 3, 0o600, "line 3: more than 2 keys"),
            (good, 0o640, "its mode is 0640"), (good, 0o644, "chmod 600"),
            ("#" * 5000, 0o600, "is over 4096 bytes")]:
        write_keys(key, *text.splitlines(), mode=mode)
        said = hangup(leader, "the keys in use stay as they are")
        assert why in said and good.strip() not in said
        assert leader.put("k", text[:5]).status == 200
    os.unlink(key)
    assert "No such file" in hangup(leader, "the keys in use stay as they are")
    # Links can be made anew with what is kept.
    cluster.others(leader)[0].kill()
    write_keys(key, good.strip())
    cluster.others(leader)[0].start().up()
    cluster.wait_members(2).wait_same()


def test_a_file_behind_links(cluster, tmp_path):
    """As containers get their secrets: the file is a link into a directory that
    is a link, and the latter is replaced; or just a link to elsewhere."""
    keys = [new_key(), new_key()]
    for version, words in enumerate((keys[:1], keys)):
        os.makedirs(tmp_path / "mount" / f"..{version}")
        write_keys(tmp_path / "mount" / f"..{version}" / "key", *words)
    os.symlink("..0", tmp_path / "mount" / "..data")
    os.symlink("..data/key", tmp_path / "mount" / "key")
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(tmp_path / "mount" / "key", tmp_path / "elsewhere" / "key")
    nodes = [cluster.new(args=with_key(str(tmp_path / where / "key"))).start().up()
             for where in ("mount", "elsewhere")]
    os.symlink("..1", tmp_path / "mount" / "new")
    os.rename(tmp_path / "mount" / "new", tmp_path / "mount" / "..data")
    assert "keys=2" in hangup(nodes[0])
    # The target of the last link existed: it can be changed in place.
    write_keys(tmp_path / "mount" / "..0" / "key", *keys)
    os.symlink("..0", tmp_path / "mount" / "new")
    os.rename(tmp_path / "mount" / "new", tmp_path / "mount" / "..data")
    assert "keys=2" in hangup(nodes[1])


@pytest.mark.parametrize("text, mode, why", [
    (None, 0, "No such file"), ("", 0o600, "no key in it (craftd keygen)"),
    ("0" * 63, 0o600, "line 1: a key is 64 hexadecimal digits"),
    ("0" * 64, 0o604, "its mode is 0604, so other users may have access to it: "
                      "chmod 600 it"),
    ("0" * 64, 0o660, "chmod 600 it"), ("0" * 64, 0o610, "chmod 600 it")])
def test_a_start_without_a_usable_key_fails(cluster, tmp_path, text, mode, why):
    path = str(tmp_path / "key")
    if text is not None:
        write_keys(path, text, mode=mode)
    node = cluster.new(args=with_key(path)).start()
    assert node.wait_exit() == 1
    assert why in node.log() and path in node.log()


def test_a_start_with_a_directory_or_a_fifo_as_key_fails(cluster, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path):
        node = cluster.new(args=with_key(str(path))).start()
        assert node.wait_exit() == 1
        assert "is not a regular file" in node.log()


def test_optional_without_a_key_is_wrong_usage(tmp_path):
    done = subprocess.run([BINARY, "--cluster-key-optional", str(tmp_path / "d")],
                          capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert "--cluster-key-optional is for nodes that have a --cluster-key" \
        in done.stderr


def test_keys_differ(tmp_path):
    keys = {new_key() for _ in range(3)}
    assert len(keys) == 3 and all(re.fullmatch("[0-9a-f]{64}", k) for k in keys)
    done = subprocess.run([BINARY, "keygen", "word"], capture_output=True,
                          text=True, timeout=10, check=False)
    assert done.returncode == 2 and done.stdout == ""


# ---- a Raft port without one ----

RISK = "the Raft port is not on loopback and has no --cluster-key"
OPTIONAL = "--cluster-key-optional still trusts nodes without the key"


@pytest.mark.parametrize("host, flags, risk", [
    (HOST, [], None), ("0.0.0.0", [], RISK), ("0.0.0.0", ["key"], None),
    ("0.0.0.0", ["key", "--cluster-key-optional"], OPTIONAL),
    (HOST, ["key", "--cluster-key-optional"], None)])
def test_an_open_raft_port_is_warned_of(cluster, key, host, flags, risk):
    node = cluster.new()
    node.args = with_key(key, *flags[1:]) if flags else []
    node.args += ["--raft-adv", node.raft]
    node.raft_host = host
    node.start().up()
    hints = " ".join(node.status()["hints"])
    for sentence in (RISK, OPTIONAL):
        assert (sentence in node.log()) == (sentence == risk)
        assert (sentence in hints) == (sentence == risk)
