"""A network of real nodes that can be cut: Linux network namespaces.

Each node has a namespace of its own, with two links to the tests, which are
the router between the nodes:

    10.2.N.1 -------- 10.2.N.2  node N: HTTP, for the tests; never cut
    10.1.N.1 -- r N   10.1.N.2          Raft, for the other nodes

A cut is a rule of the router about packets from one Raft address to another,
in one direction. Neither end is told by its own kernel: packets vanish
("blackhole"), or the router answers that there is no way ("unreachable",
"prohibit"). TCP needs both directions, so a cut in one kills connections too,
but late, and the two ends learn of it at different times: that is the point.
A link can also be taken down, which the node's kernel does notice.

None of it needs root outside: a test that is marked @inside runs in a pytest
of its own, under `unshare`, in new user and network namespaces. A namespace
is a descriptor here; when the process ends, nothing is left.

    python3 netns.py    says whether this machine can do it
"""
import contextlib
import functools
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from cluster import Cluster, die_with_parent, enter_network, leave_network

INSIDE = "CRAFTD_NETWORK" in os.environ
TEST_SECONDS_MAX = int(os.environ.get("TEST_SECONDS_MAX", "90"))

KINDS = ("blackhole", "unreachable", "prohibit")


# ---- who cannot reach whom: sets of (from, to) ----

def between(left, right):
    """Nothing passes between the two groups."""
    return {(a, b) for a in left for b in right} | {
        (b, a) for a in left for b in right}


def isolated(nodes, node):
    return between([node], [other for other in nodes if other != node])


def mute(nodes, node):
    """It receives from all, and none receives from it."""
    return {(node, other) for other in nodes if other != node}


def deaf(nodes, node):
    """It hears nobody; all hear it."""
    return {(other, node) for other in nodes if other != node}


def bridge(nodes, middle):
    """Two halves that meet in one node only."""
    rest = [node for node in nodes if node != middle]
    half = (len(rest) + 1) // 2
    return between(rest[:half], rest[half:])


def ring(nodes):
    """Each reaches its two neighbours (of five: a majority, each another)."""
    count = len(nodes)
    return {(a, b) for i, a in enumerate(nodes) for j, b in enumerate(nodes)
            if (i - j) % count not in (0, 1, count - 1)}


# ---- the network ----

def ip(*lines, namespace=None):
    """Commands of ip(8), one a line, all or an error."""
    subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True,
        check=True, capture_output=True, timeout=20,
        preexec_fn=None if namespace is None else
        functools.partial(enter_network, namespace))


def _elsewhere(move, call, otherwise):
    """The result of call() on a thread in another namespace, or an error with the
    text of `otherwise`."""
    result = []

    def work():
        move()
        result.append(call())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if not result:
        raise OSError(otherwise)
    return result[0]


def in_namespace(namespace, call):
    """The result of call() on a thread in that namespace. A socket stays in the
    namespace in which it was created."""
    return _elsewhere(lambda: enter_network(namespace), call,
                      "the call in another network namespace failed")


def _new_namespace():
    def own():
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return _elsewhere(leave_network, own, "no network namespace could be made")


class Network:
    """The calling process's namespace becomes the router: only for one that
    was made for it (see inside())."""

    def __init__(self):
        self.namespaces = []
        self.rules = set()  # Lines of ip-rule(8) that are in force.
        with open("/proc/sys/net/ipv4/ip_forward", "w") as f:
            f.write("1")
        ip("link set lo up")

    def add(self):
        """One more namespace: its descriptor, HTTP address, Raft address."""
        namespace = _new_namespace()
        self.namespaces.append(namespace)
        n = len(self.namespaces)
        path = f"/proc/{os.getpid()}/fd/{namespace}"
        ip(f"link add name http{n} type veth peer name http netns {path}",
           f"link add name raft{n} type veth peer name raft netns {path}",
           f"addr add 10.2.{n}.1/24 dev http{n}",
           f"addr add 10.1.{n}.1/24 dev raft{n}",
           f"link set http{n} up", f"link set raft{n} up")
        ip("link set lo up",
           f"addr add 10.2.{n}.2/24 dev http", f"addr add 10.1.{n}.2/24 dev raft",
           "link set http up", "link set raft up",
           f"route add 10.2.0.0/16 via 10.2.{n}.1",
           f"route add 10.1.0.0/16 via 10.1.{n}.1", namespace=namespace)
        return namespace, f"10.2.{n}.2", f"10.1.{n}.2"

    def close(self):
        for namespace in self.namespaces:
            os.close(namespace)
        self.namespaces = []

    # ---- cuts ------------------------------------------------------------

    def set_cuts(self, pairs, kind="blackhole"):
        """From now on exactly these pairs (addresses from, to) are cut."""
        rules = {f"from {a} to {b} priority 100 type {kind}" for a, b in pairs}
        lines = [f"rule add {rule}" for rule in sorted(rules - self.rules)]
        lines += [f"rule del {rule}" for rule in sorted(self.rules - rules)]
        self.rules = rules
        if lines:
            ip(*lines)

    def set_link(self, address, up):
        n = address.split(".")[2]
        ip(f"link set raft{n} {'up' if up else 'down'}")


class NetworkCluster(Cluster):
    """A cluster with each node in a network namespace of its own."""

    def __init__(self, base, network):
        super().__init__(base)
        self.network = network
        self.unplugged = set()

    def new(self, name=None, args=(), **kw):
        node = super().new(name, args, **kw)
        node.namespace, node.host, node.raft_host = self.network.add()
        node.reach = node.host
        return node

    def cut(self, pairs, kind="blackhole"):
        """From now on exactly these pairs of nodes (from, to) are cut."""
        self.network.set_cuts({(a.raft_host, b.raft_host) for a, b in pairs}, kind)

    def unplug(self, node):
        self.network.set_link(node.raft_host, False)
        self.unplugged.add(node)

    def heal(self):
        self.network.set_cuts(())
        for node in self.unplugged:
            self.network.set_link(node.raft_host, True)
        self.unplugged.clear()


@contextlib.contextmanager
def cluster_in(base):
    network = Network()
    nodes = NetworkCluster(base, network)
    try:
        yield nodes
    finally:
        nodes.stop()
        network.close()


# ---- getting in ----

def _ways():
    """Root needs no user namespace, and may not be allowed one."""
    if os.geteuid() == 0:
        yield ["unshare", "-n"]
    yield ["unshare", "-Urn"]


def _environment():
    return dict(os.environ, CRAFTD_NETWORK="1",
                TEST_SECONDS_MAX=str(max(TEST_SECONDS_MAX - 10, 10)))


@functools.lru_cache(maxsize=None)
def way_in():
    """(command, None), or (None, why there is none)."""
    why = []
    for way in _ways():
        try:
            probe = subprocess.run(
                way + [sys.executable, "-B", os.path.abspath(__file__)],
                env=_environment(), capture_output=True, text=True, timeout=30,
                check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            why.append(f"{' '.join(way)}: {error}")
            continue
        if probe.returncode == 0:
            return way, None
        said = (probe.stderr.strip() or "no reason given").splitlines()[-1]
        why.append(f"{' '.join(way)}: {said}")
    return None, "no network of our own: " + "; ".join(why)


def inside(test):
    """Marks a test that needs a network: it runs in a pytest of its own, of
    which this one shows the output."""
    @functools.wraps(test)
    def run(*args, **kw):
        if INSIDE:
            return test(*args, **kw)
        way, why = way_in()
        if not way:
            pytest.skip(why)
        name = os.environ["PYTEST_CURRENT_TEST"].rsplit("::", 1)[1]
        name = name.removesuffix(" (call)")
        base = kw["tmp_path"] / "inside"
        done = subprocess.run(
            way + [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider",
                   "-q", "-rPs", "--tb=short", f"--basetemp={base}",
                   f"{test.__code__.co_filename}::{name}"],
            env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False)
        if done.returncode != 0:
            pytest.fail(done.stdout, pytrace=False)
        skipped = re.search(r"(?m)^SKIPPED .*", done.stdout)
        if skipped:
            pytest.skip(skipped.group())
        print(done.stdout)
        return None
    return run


if INSIDE:
    # The one that waits for us may be killed, and we are in its place then.
    die_with_parent()


def probe():
    """A datagram passes, does not when it is cut, and the other way it does."""
    network = Network()
    sockets = []
    for _ in range(2):
        namespace, _, address = network.add()
        sockets.append(in_namespace(namespace, lambda: socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM)))
        sockets[-1].bind((address, 5000))
        sockets[-1].settimeout(5)
    left, right = sockets
    addresses = [s.getsockname()[0] for s in sockets]
    network.set_cuts({tuple(addresses)})
    left.sendto(b"lost", (addresses[1], 5000))
    right.sendto(b"other way", (addresses[0], 5000))
    if left.recv(20) != b"other way":
        raise OSError("not what was sent")
    network.set_cuts(())
    left.sendto(b"healed", (addresses[1], 5000))
    if right.recv(20) != b"healed":
        raise OSError("a cut did not cut")


def main():
    if not INSIDE:
        way, why = way_in()
        print(" ".join(way) if way else why)
        return 0 if way else 1
    try:
        probe()
    except subprocess.CalledProcessError as error:
        print(f"ip: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
