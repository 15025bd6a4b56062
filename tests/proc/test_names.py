"""Names of hosts that resolve late, slowly or not at all, and processes that
resolve them and are killed. As root, in mount namespaces with an /etc of their
own."""
import os
import re
import signal
import socket
import time

import pytest

from cluster import BINARY, ROOT, Stopwatch, wait_for
from minimal import children, has_ended, need_namespaces, only_child

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# The C library that a release is linked with asks name servers by itself.
RELEASED = os.path.join(ROOT, "build", "release", "craftd-amd64")
BINARIES = [pytest.param(BINARY, id="build"), pytest.param(
    RELEASED, id="release", marks=pytest.mark.skipif(
        not os.path.exists(RELEASED), reason="make release: no craftd-amd64"))]


@pytest.fixture
def etc(tmp_path):
    path = tmp_path / "etc"
    path.mkdir()
    (path / "nsswitch.conf").write_text("hosts: files dns\n")
    (path / "hosts").write_text("127.0.0.9 other.test\n")
    return path


def with_etc(etc, argv):
    need_namespaces()
    return ["unshare", "-m", "sh", "-c",
            'mount --make-rprivate / && mount --bind "$0" /etc && exec "$@"',
            str(etc)] + argv


@pytest.fixture
def silent_server():
    """A name server that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.87", 53))
        server.setblocking(False)
        yield server


def lacks_the_name(node):
    """A C library that asks a server, although none is configured, waits for it."""
    return re.search(r'why="(name does not resolve|timeout)"', node.log())


def is_asked(server):
    try:
        return bool(server.recv(4096))
    except BlockingIOError:
        return False


@pytest.mark.parametrize("binary", BINARIES)
def test_a_name_server_that_does_not_answer(cluster, etc, silent_server, binary):
    """A lookup takes seconds; requests do not wait for it."""
    (etc / "resolv.conf").write_text("nameserver 127.0.0.87\n")
    node = cluster.new()
    node.join = "slow.test:1"
    node.start(with_etc(etc, [binary] + node.argv()[1:])).up()
    for _ in range(2):
        wait_for(lambda: is_asked(silent_server), 20, "a lookup")
        watch = Stopwatch(node)
        for _ in range(30):
            assert node.status(5)["role"]
            time.sleep(0.05)
        assert watch.seconds() < 10
    assert node.status()["storage"]["turn_ms_max"] < 1000
    assert node.terminate(5) == 0


def test_no_name_server_is_configured(cluster, etc):
    """No resolv.conf, no nsswitch.conf: the hosts file has names, and the rest
    fails with a line."""
    os.unlink(etc / "nsswitch.conf")
    (etc / "hosts").write_text("127.0.0.1 first.test\n")
    cluster.start(1)
    node = cluster.new()
    node.join = f"no.test:1,first.test:{cluster[0].http_port}"
    node.start(with_etc(etc, node.argv())).up()
    cluster.wait_members(2, timeout=40)
    wait_for(lambda: lacks_the_name(node), 20, "the line")


@pytest.mark.parametrize("who", ["the one that serves", "the one that waits"])
def test_a_resolver_that_is_killed(cluster, etc, who):
    """Names resolve as before."""
    cluster.start(1)
    node = cluster.new()
    node.join = f"first.test:{cluster[0].http_port}"
    node.start(with_etc(etc, node.argv())).up()
    wait_for(lambda: lacks_the_name(node), 20, "no such name")
    waits = only_child(node.pid)
    serves = only_child(waits)
    for _ in range(3):
        os.kill(serves if who == "the one that serves" else waits, signal.SIGKILL)
        if who == "the one that waits":
            break
        serves = wait_for(
            lambda: [pid for pid in children(waits) if pid != serves], 10,
            "another")[0]
    (etc / "hosts").write_text("127.0.0.1 first.test\n")
    cluster.wait_members(2, timeout=40)
    node.kill()
    wait_for(lambda: has_ended(serves) and has_ended(waits), 5, "they end as well")


def test_resolvers_that_are_all_killed(cluster, etc):
    """Then a line says what helps; the node goes on."""
    cluster.start(1)
    node = cluster.new()
    node.join = f"first.test:{cluster[0].http_port}"
    node.start(with_etc(etc, node.argv())).up()
    waits = only_child(node.pid)
    serves = only_child(waits)
    os.kill(waits, signal.SIGKILL)
    os.kill(serves, signal.SIGKILL)
    wait_for(lambda: "resolve names were killed: restart the node" in node.log(), 20,
             "the line")
    (etc / "hosts").write_text("127.0.0.1 first.test\n")
    assert node.status()["role"]
    node.terminate()
    node.start(with_etc(etc, node.argv())).up()
    cluster.wait_members(2, timeout=20)
