"""HTTP over a Unix socket, beside TCP and instead of it."""
import contextlib
import http.client
import os
import platform
import pwd
import socket
import stat
import subprocess

import pytest

from cluster import BINARY, forbidding, request_on, wait_for


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=None, headers=None):
    with contextlib.closing(Connection(path)) as connection:
        return request_on(connection, method, target, body, headers)


def listen(node, path, query="", beside=True):
    """Let the node listen on that socket too, or (not `beside`) there alone."""
    listens = f"unix:{path}{query}"
    node.args += ["--http", f"{node.http},{listens}" if beside else listens]
    return node


def is_up(node, path):
    def answers():
        assert node.alive(), node.log()
        return ask(path, "GET", "/status").status == 200
    return wait_for(answers, 10, "it answers")


@pytest.fixture
def path(tmp_path):
    """In a directory of its own."""
    os.chdir(tmp_path)  # Paths of sockets are short: pytest's are long.
    os.mkdir("run")
    return "run/craftd.sock"


def test_a_unix_socket_and_tcp(cluster, path):
    node = listen(cluster.new(), path).start().up()
    cluster.wait_leader()
    assert ask(path, "POST", "/key", {"k": "v"}).status == 200
    assert node.get("k") == "v"
    assert f",unix:{path} raft=" in node.log()
    curl = subprocess.run(["curl", "-sS", "--unix-socket", path,
                           "http://localhost/key/k"], capture_output=True, text=True)
    assert curl.stdout == '{"k":"v"}', curl
    node.terminate()
    assert not os.path.exists(path)


@pytest.mark.parametrize("args, stays", [((), True), (("--sandbox", "off"), False)])
def test_in_a_directory_of_others_it_stays(cluster, tmp_path, args, stays):
    """The right to remove it would be one to remove the others."""
    os.chdir(tmp_path)
    os.mkdir("shared")
    with open("shared/other", "w", encoding="utf-8") as f:
        f.write("other")
    path = "shared/craftd.sock"
    node = listen(cluster.new(args=args), path).start().up()
    if "landlock=on" not in node.log() and stays:
        pytest.skip("no Landlock: it can remove anything")
    for _ in range(2):  # The next start replaces it.
        is_up(node, path)
        assert ("the directory holds other files" in node.log()) == stays
        assert node.terminate() == 0
        assert os.path.exists(path) == stays
        node.start()
    is_up(node, path)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of calls")
def test_its_mode_and_its_owner_are_not_set_by_its_path(cluster, path):
    """Whoever may write the directory could put another file there meanwhile,
    and root would open that one. chmod, chown, lchown, fchmodat fail here."""
    args = ["--user", "nobody"] if os.geteuid() == 0 else []
    node = listen(cluster.new(args=args + ["--inmem"]), path, "?mode=0660")
    node.inmem = True
    node.start(forbidding({90: 1, 92: 1, 94: 1, 268: 1}, node.argv()))
    is_up(node, path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    if args:
        assert os.stat(path).st_uid == pwd.getpwnam("nobody").pw_uid


def craftd(*words, **env):
    return subprocess.run([BINARY, *words], capture_output=True, text=True,
                          env=dict(os.environ, **env))


def test_the_commands_use_it(cluster, path):
    listen(cluster.new(), path, beside=False).start()
    is_up(cluster[0], path)
    assert craftd("put", "a", "b", CRAFTD_ADDR=f"unix:{path}").returncode == 0
    assert craftd("get", "a", CRAFTD_ADDR=f"unix:{path}").stdout == "b"
    assert craftd("get", "--addr", f"unix:{path}", "a").stdout == "b"
    nobody = craftd("get", "a", CRAFTD_ADDR="unix:nobody.sock")
    assert nobody.returncode == 6
    assert "No such file or directory" in nobody.stderr
    # The second one is asked when nobody is at the first.
    assert craftd("get", "a", CRAFTD_ADDR=f"unix:no.sock,unix:{path}").stdout == "b"


def test_alone_it_has_no_port(cluster, path):
    """Writes at a follower are forwarded over the link between the nodes, but it
    cannot say where the leader is."""
    one, two = cluster.new(), cluster.new()
    listen(one, path, beside=False).start()
    is_up(one, path)
    assert f"http=unix:{path} raft=" in one.log()
    with pytest.raises(OSError):
        one.status()
    # A member is needed that has a port to join at.
    one.terminate()
    one.args = []
    one.start().up()
    cluster.wait_leader()
    two.join = one.http
    listen(two, path, beside=False).start()
    is_up(two, path)
    wait_for(lambda: any(p["id"] == two.name and p["role"] == "voter"
                         for p in one.status()["peers"]), 20, "it has joined")
    assert ask(path, "POST", "/key", {"by": "two"}).status == 200
    assert one.get("by") == "two"
    assert one.request("POST", "/leader", {"id": two.name}).status == 200
    assert one.put("by", "one").status == 200
    assert ask(path, "GET", "/key/by").json() == {"by": "one"}
    refused = one.request("POST", "/key?redirect", {"by": "one"})
    assert refused.status == 503, refused
    assert refused.json()["code"] == "no-address"
    assert refused.json()["outcome"] == "not-applied"
    assert "no HTTP address over TCP" in refused.json()["message"]


@pytest.mark.parametrize("query, mode", [("", 0o600), ("?mode=0660", 0o660),
                                         ("?mode=666", 0o666)])
def test_the_mode_of_the_file(cluster, path, query, mode):
    node = listen(cluster.new(), path, query).start()
    is_up(node, path)
    found = os.stat(path)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == mode


def test_a_socket_left_behind_is_replaced(cluster, path):
    node = listen(cluster.new(), path).start()
    is_up(node, path)
    node.kill()
    assert os.path.exists(path)
    node.start()
    is_up(node, path)


def test_a_socket_that_was_replaced_stays(cluster, path):
    node = listen(cluster.new(), path).start()
    is_up(node, path)
    os.unlink(path)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(path)
        other.listen(1)
        assert node.terminate() == 0
        assert os.path.exists(path)


@pytest.mark.parametrize("what", ["listening", "file", "directory", "link"])
def test_a_socket_of_another_process_stays(cluster, path, what):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        if what == "listening":
            other.bind(path)
            other.listen(1)
        elif what == "file":
            with open(path, "w") as f:
                f.write("somebody's")
        elif what == "directory":
            os.mkdir(path)
        else:
            os.symlink("elsewhere", path)
        def state():
            """All but the time of access, which connecting to it changes."""
            now = os.lstat(path)
            return now.st_mode, now.st_ino, now.st_uid, now.st_size, now.st_mtime_ns
        before = state()
        node = listen(cluster.new(), path).start()
        assert node.wait_exit() == 1
        assert 'why="address in use"' in node.log()
        assert state() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_user_has_the_socket(cluster):
    nobody = pwd.getpwnam("nobody")
    path = "/tmp/craftd-test-%d/craftd.sock" % os.getpid()
    os.mkdir(os.path.dirname(path))
    os.chown(os.path.dirname(path), nobody.pw_uid, nobody.pw_gid)
    try:
        node = listen(cluster.new(args=["--user", "nobody", "--inmem"]), path,
                      "?mode=0660")
        node.inmem = True
        node.start()
        is_up(node, path)
        found = os.stat(path)
        assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid)
        node.terminate()
        assert not os.path.exists(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.rmdir(os.path.dirname(path))


@pytest.mark.parametrize("value", [
    "unix:", "unix:x?mode=", "unix:x?mode=0888", "unix:x?mode=1777", "unix:x?m=1",
    "unix:a,unix:b", "localhost:1,localhost:2", "unix:" + 120 * "x", "unix:x,", ",",
    "unix:x?mode=00660"])
def test_values_that_are_no_address(value):
    wrong = craftd("--http", value, "--inmem")
    assert wrong.returncode == 2
    assert "is not host:port, unix:PATH[?mode=0660], or both" in wrong.stderr
