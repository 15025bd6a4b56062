"""What a service manager hears from the daemon: sd_notify(3), over a socket of
the test's own."""
import base64
import contextlib
import os
import pwd
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from cluster import BINARY, wait_for

SECRET = "correct horse battery staple"


class Manager:
    """The socket of a service manager, a path or an abstract name."""

    def __init__(self, abstract=False):
        self.folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.path = os.path.join(self.folder.name, "notify")
        self.name = "@" + self.path if abstract else self.path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.path if abstract else self.path)
        os.chmod(self.folder.name, 0o755)
        if not abstract:
            os.chmod(self.path, 0o777)
        self.seen = []  # Of each message its variables.

    def close(self):
        self.socket.close()
        self.folder.cleanup()

    def receive(self, wait=0.0):
        """Take what has arrived, and wait that long for a first message."""
        while select.select([self.socket], [], [], wait)[0]:
            text = self.socket.recv(4096).decode()
            self.seen.append(dict(line.split("=", 1) for line in text.splitlines()))
            wait = 0.0
        return self.seen

    def wait(self, name, value="1", after=0):
        """Wait for a message with that variable; its number."""
        def found():
            for number, message in enumerate(self.receive()):
                if number >= after and re.fullmatch(value, message.get(name, "")):
                    return [number]
            return None
        return wait_for(found, 20, f"{name}={value}")[0]

    def has(self, name):
        return any(name in message for message in self.receive())

    def start(self, node, **env):
        """The node, started by this manager."""
        words = [f"{key}={value}" for key, value in env.items()]
        return node.start(["/usr/bin/env", f"NOTIFY_SOCKET={self.name}", *words,
                           *node.argv()])


@pytest.fixture
def manager():
    with contextlib.closing(Manager()) as made:
        yield made


def test_ready_is_after_the_start(cluster, manager):
    """At READY the listeners are open and the data is there, after a kill too."""
    node = cluster.new()
    manager.start(node)
    manager.wait("READY")
    assert node.status()["me"]["id"] == node.name
    manager.wait("STATUS", "leader")
    assert node.put("k", "v").status == 200
    node.kill()
    before = len(manager.receive())
    manager.start(node)
    manager.wait("READY", after=before)
    wait_for(lambda: node.get("k") == "v", 10, "the value")
    assert not manager.has("RELOADING")
    assert not manager.has("STOPPING")
    assert not manager.has("WATCHDOG")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_an_abstract_socket(cluster):
    with contextlib.closing(Manager(abstract=True)) as manager:
        node = cluster.new()
        manager.start(node)
        manager.wait("READY")
        assert node.terminate() == 0
        manager.wait("STOPPING")


def test_a_join_that_takes_long_is_no_start_that_does(cluster, manager):
    """A unit of Type=notify must not hang until other nodes are there."""
    node = cluster.new()
    node.join = cluster.new().http  # Nobody listens there.
    manager.start(node)
    manager.wait("READY")
    manager.wait("STATUS", "not a member of a cluster yet")
    assert node.request("GET", "/readyz").status == 503


def test_the_status_follows_the_role(cluster, manager):
    cluster.start(2)
    node = cluster.new()
    node.join = cluster[0].http
    manager.start(node)
    manager.wait("STATUS", f"follower; the leader is {cluster[0].name}")
    cluster.wait_members()
    assert cluster[0].request("POST", "/leader", {"id": node.name}).status == 200
    then = manager.wait("STATUS", "leader")
    for other in cluster.others(node):
        other.kill()
    manager.wait("STATUS", "no leader is known.*", after=then)
    for other in cluster.others(node):
        other.start()
    manager.wait("STATUS", "leader|follower; the leader is node[01]", after=then + 1)


def test_the_status_of_a_removed_node(cluster, manager):
    cluster.start(1)
    node = cluster.new()
    node.join = cluster[0].http
    manager.start(node)
    manager.wait("STATUS", "follower; .*")
    cluster.wait_members()
    assert cluster[0].request("DELETE", f"/nodes/{node.name}").status == 200
    then = manager.wait("STATUS", f"{node.name} was removed from its cluster")
    # It was started with --join, so it ends by itself.
    manager.wait("STOPPING", after=then)
    assert node.wait_exit(20) == 3


def test_a_refused_join_stops_it(cluster, manager):
    cluster.start(1)
    node = cluster.new(name=cluster[0].name)
    node.dir += "-second"
    node.join = cluster[0].http
    manager.start(node)
    manager.wait("STOPPING")
    assert node.wait_exit(30) == 3


def users(path, name):
    """The file of --auth with one user, whose hash is that of SECRET's."""
    line = subprocess.run([BINARY, "passwd", "--rounds", "1000", name, "all"],
                          input=SECRET + "\n", capture_output=True, text=True,
                          check=True).stdout
    with open(path, "w") as f:
        f.write(f"[{line}]")
    os.chmod(path, 0o600)


def logs_in(node, name):
    word = base64.b64encode(f"{name}:{SECRET}".encode()).decode()
    response = node.request("GET", "/key/k",
                            headers={"Authorization": f"Basic {word}"})
    return response.status in (200, 404)


def test_a_reload(cluster, manager, tmp_path):
    """RELOADING with a time of CLOCK_MONOTONIC, then, in a message of its own,
    READY, when the new users are in force."""
    rules = tmp_path / "auth.json"
    users(rules, "alice")
    node = cluster.new(args=["--auth", str(rules)])
    manager.start(node)
    ready = manager.wait("READY")
    manager.wait("STATUS", "leader")
    assert logs_in(node, "alice")
    users(rules, "bob")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    node.send(signal.SIGHUP)
    reloading = manager.wait("RELOADING", after=ready + 1)
    assert "READY" not in manager.seen[reloading]
    sent = int(manager.seen[reloading]["MONOTONIC_USEC"])
    assert before <= sent <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.wait("READY", after=reloading + 1)
    assert logs_in(node, "bob")
    assert not logs_in(node, "alice")


def test_a_reload_of_nothing_ends_too(cluster, manager):
    node = cluster.new()
    manager.start(node)
    ready = manager.wait("READY")
    node.send(signal.SIGHUP)
    reloading = manager.wait("RELOADING", after=ready + 1)
    manager.wait("READY", after=reloading + 1)


def test_a_reload_during_the_start_is_not_ready(cluster, manager):
    """The host name of --raft does not resolve yet: the node waits for it."""
    node = cluster.new(args=["--raft-adv", "127.0.0.1:1"])
    node.raft_host = "craftd-test.invalid"
    manager.start(node)
    wait_for(lambda: "does not resolve" in node.log(), 20, "it waits")
    node.send(signal.SIGHUP)
    wait_for(lambda: "hangup" in node.log(), 20, "it has taken SIGHUP")
    assert manager.receive(0.5) == []
    assert node.terminate() == 0
    manager.wait("STOPPING")
    assert not manager.has("READY")


def test_a_late_reload_is_not_ready(cluster, manager):
    """A write that waits for a leader keeps the node from stopping at once."""
    cluster.start(1)
    node = cluster.new()
    node.join = cluster[0].http
    manager.start(node)
    cluster.wait_members()
    cluster[0].kill()
    manager.wait("STATUS", "no leader is known.*")
    with socket.create_connection((node.host, node.http_port)) as client:
        client.sendall(b'POST /key HTTP/1.1\r\nHost: localhost\r\n'
                       b'Content-Length: 9\r\n\r\n{"k":"v"}')
        node.status()  # The write has been accepted before this.
        node.send(signal.SIGTERM)
        stopping = manager.wait("STOPPING")
        node.send(signal.SIGHUP)
        wait_for(lambda: "hangup signal=1" in node.log(), 5, "it has taken SIGHUP")
        assert node.wait_exit() == 0
    assert all("READY" not in message and "RELOADING" not in message
               for message in manager.receive()[stopping:])


def test_the_watchdog_is_fed_by_the_loop(cluster, manager):
    """At half of the time that the manager waits, and not by a loop that hangs."""
    node = cluster.new()
    manager.start(node, WATCHDOG_USEC=600000)
    manager.wait("READY")
    times = []
    for _ in range(8):
        manager.wait("WATCHDOG", after=len(manager.seen))
        times.append(time.monotonic())
    pauses = sorted(b - a for a, b in zip(times, times[1:]))
    assert 0.2 < pauses[len(pauses) // 2] < 0.5, pauses
    node.send(signal.SIGSTOP)
    manager.receive(0.1)
    before = len(manager.seen)
    assert len(manager.receive(1.0)) == before, manager.seen[before:]
    node.send(signal.SIGCONT)
    manager.wait("WATCHDOG", after=before)


@pytest.mark.parametrize("env", [{}, {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"},
                                 {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_of_somebody_else(cluster, manager, env):
    node = cluster.new()
    manager.start(node, **env)
    manager.wait("STATUS", "leader")
    time.sleep(0.5)
    assert not manager.has("WATCHDOG")


def test_a_manager_that_does_not_read(cluster, manager):
    """Its queue is full: the node works, and READY is sent when there is room."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
        other.setblocking(False)
        other.connect(manager.path)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"X=1")
    node = cluster.new()
    manager.start(node)
    node.up()
    cluster.wait_leader()
    assert node.put("k", "v").status == 200
    assert node.log().count("the service manager does not read") == 1
    manager.wait("READY")
    manager.wait("STATUS", "leader")


@pytest.mark.parametrize("name, why", [
    ("/nowhere/notify", "No such file or directory"),
    ("notify", "NOTIFY_SOCKET must be a path"),
    ("vsock:2:1", "NOTIFY_SOCKET must be a path"),
    ("/" + 200 * "x", "NOTIFY_SOCKET must be a path")])
def test_a_socket_that_is_of_no_use(cluster, name, why):
    node = cluster.new()
    node.start(["/usr/bin/env", f"NOTIFY_SOCKET={name}", *node.argv()]).up()
    assert why in node.log()
    cluster.wait_leader()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_is_sent_as_another_user_and_in_the_sandbox(cluster, manager, tmp_path):
    """The socket is connected before either; only root may open its file."""
    os.chmod(manager.path, 0o600)
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        node = cluster.new(args=["--user", "nobody"])
        node.dir = os.path.join(folder, "node")
        manager.start(node)
        manager.wait("READY")
        manager.wait("STATUS", "leader")
        assert os.stat(f"/proc/{node.pid}").st_uid == nobody.pw_uid
        assert node.terminate() == 0
        manager.wait("STOPPING")
