"""Starting, joining, refusing to start, exit codes."""
import os
import re
import shutil
import signal
import socket
import subprocess
import termios

import pytest

from cluster import (BINARY, HOST, TROUBLE, die_with_parent, free_port, request,
                     wait_for)
from minimal import is_held


def run(*argv, timeout=10, env=None):
    """craftd with these words; for those that end by themselves."""
    return subprocess.run([BINARY, *argv], timeout=timeout, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          preexec_fn=die_with_parent, env=env)


# ---- flags ----

def test_help_and_version():
    for flag in ("-h", "--help", "-help"):
        done = run(flag)
        assert done.returncode == 0, done
        assert "-haddr" in done.stdout + done.stderr
    done = run("--version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize("argv", [
    [],
    ["--no-such-flag", "dir"],
    ["-haddr"],
    ["-haddr", "localhost:notaport", "dir"],
    ["-haddr", "localhost:70000", "dir"],
    ["-raddr", "localhost", "dir"],
    ["-id", "", "dir"],
    ["-id", "a b", "dir"],
    ["-id", "a\x1b[2Jb", "dir"],
    ["-id", b"a\xff", "dir"],
    ["-id", "a\u0085b", "dir"],
    ["dir", "dir2"],
])
def test_wrong_flags_exit_2_with_a_line(argv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*argv)
    assert done.returncode == 2, done
    assert done.stderr.strip()
    assert os.listdir(tmp_path) == [], "a refused start leaves nothing behind"


# ---- one node ----

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_with_0_and_data_stays(cluster, number):
    node = cluster.new().start().up()
    cluster.wait_leader()
    assert node.put("kept", "1").status == 200
    assert node.terminate(5, number) == 0
    node.start().up()
    assert wait_for(lambda: node.get("kept"), 5, "the key after a restart") == "1"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
                                    signal.SIGPIPE, signal.SIGTTOU])
def test_signals_that_are_no_order_to_stop(cluster, number):
    node = cluster.new().start().up()
    cluster.wait_leader()
    for _ in range(3):
        node.send(number)
        assert node.put("k", "1").status == 200
    if number == signal.SIGHUP:
        wait_for(lambda: "hangup signal=1" in node.log(), 5, "a line")
    assert node.terminate(5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_the_parent_has_blocked(cluster, number):
    """A parent that blocks signals, or ignores SIGCHLD, starts a node that can
    be stopped, and that looks names up."""
    node = cluster.new()
    node.join = "no-such-host.invalid:11000"
    blocked = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}

    def before_exec():
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(node.log_path, "ab") as log:
        node.proc = subprocess.Popen(node.argv(), stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log, preexec_fn=before_exec)
    node.up()
    with open(f"/proc/{node.pid}/status") as f:
        masks = dict(line.split(":\t") for line in f.read().splitlines()
                     if line.startswith(("SigBlk", "SigIgn")))
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & 1 << (signal.SIGCHLD - 1) == 0
    wait_for(lambda: "no-such-host.invalid" in node.log(), 10, "a log line")
    assert node.terminate(5, number) == 0


def test_port_in_use_exits_1_with_a_line(cluster):
    for taken in ("http_port", "raft_port"):
        node = cluster.new()
        with socket.socket() as s:
            s.bind((HOST, getattr(node, taken)))
            s.listen()
            node.start()
            assert node.wait_exit(5) == 1
        assert re.search(r"in use|bind|listen", node.log()), node.log()
        assert str(getattr(node, taken)) in node.log()


def test_directory_locked_exits_1_with_a_line(cluster):
    node = cluster.new().start().up()
    second = cluster.new()
    second.dir = node.dir
    second.start()
    assert second.wait_exit(5) == 1
    assert re.search(r"lock|in use", second.log()), second.log()
    assert node.put("undisturbed", "1").status == 200


def test_directory_that_cannot_be_made(cluster, tmp_path):
    (tmp_path / "file").write_text("")
    node = cluster.new()
    node.dir = str(tmp_path / "file" / "sub")
    node.start()
    assert node.wait_exit(5) == 1
    assert "file" in node.log()


def test_directory_of_another_name_is_refused(cluster):
    node = cluster.new().start().up()
    node.terminate()
    other = cluster.new("someone-else")
    other.dir = node.dir
    other.start()
    assert other.wait_exit(5) not in (0, None)
    assert "node0" in other.log(), other.log()
    node.start().up()


def test_inmem_writes_no_file(cluster, tmp_path):
    node = cluster.new(inmem=True).start().up()
    cluster.wait_leader()
    assert node.put("a", "1").status == 200
    assert node.get("a") == "1"
    assert not os.path.exists(node.dir)
    assert node.terminate() == 0
    node.start().up()
    cluster.wait_leader()
    assert node.get("a") is None


def test_damaged_log_is_refused_by_name(cluster):
    """A flipped bit in what was acknowledged: exit 4, with the file's name.
    The file is found by the value in it, so that the test knows no format."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    mark = "mark-of-the-damaged-entry-" + "x" * 40
    assert node.put("damaged", mark).status == 200
    for i in range(20):
        assert node.put(f"later-{i}", "y" * 100).status == 200
    node.kill()
    hit = None
    for folder, _, files in os.walk(node.dir):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                at = f.read().find(mark.encode())
            if at >= 0 and "db" not in os.path.relpath(path, node.dir).split(os.sep):
                hit = path, at
    assert hit, "the value is not in the log"
    path, at = hit
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"M")
    node.start()
    assert node.wait_exit(5) == 4, node.log()
    assert os.path.basename(path) in node.log()


# ---- joining ----

def test_join_through_a_follower(cluster):
    cluster.start(2)
    follower = cluster.others(cluster.wait_leader())[0]
    third = cluster.add(follower.http)
    cluster.wait_members(3)
    assert cluster[0].put("joined", "1").status == 200
    assert third.get("joined") == "1"


def test_join_through_the_second_of_a_list(cluster):
    cluster.start(1)
    cluster.add(f"{HOST}:{free_port()},{cluster[0].http}")
    cluster.wait_members(2)


def test_join_before_the_first_node_is_up(cluster):
    """The joining node comes first; nothing is given up."""
    first, second = cluster.new(), cluster.new()
    second.join = first.http
    second.start().up()
    response = second.put("early", "1", timeout=15)
    assert response.status == 503
    assert response.json()["outcome"] == "not-applied"
    first.start().up()
    cluster.wait_members(2)
    assert second.put("late", "1").status == 200


def test_name_that_does_not_resolve_does_not_stop_the_start(cluster):
    cluster.start(1)
    cluster.add(f"no-such-host.invalid:11000,{cluster[0].http}").up()
    cluster.wait_members(2, timeout=20)


def test_only_an_unresolvable_name_keeps_the_node_waiting(cluster):
    node = cluster.add("no-such-host.invalid:11000").up()
    wait_for(lambda: "no-such-host.invalid" in node.log(), 10, "a log line")
    assert node.alive()
    assert node.terminate() == 0


def test_same_command_line_again(cluster):
    """Restart with -join, also when what it names is down."""
    cluster.start(3)
    for node in cluster.others(cluster[0]):
        assert node.terminate() == 0
        node.start().up()
        cluster.wait_members(3)
    cluster[0].kill()
    cluster[1].terminate()
    cluster[1].start().up()  # -join names node 0, which is gone.
    cluster.wait_leader()
    assert cluster[1].put("without-node0", "1").status == 200


def test_wiped_node_comes_back_under_its_name(cluster):
    """M07."""
    cluster.start(3)
    assert cluster[0].put("before", "1").status == 200
    node = cluster[2]
    node.kill()
    node.wipe()
    assert cluster[0].put("meanwhile", "2").status == 200
    node.start().up()
    cluster.wait_members(3, timeout=30)
    cluster.wait_same()
    assert node.get("before", "none") == "1"
    assert node.get("meanwhile", "none") == "2"


def test_join_request_by_hand(cluster):
    """POST /join as hraftd has it; again is a no-op, nonsense is 400."""
    cluster.start(2)
    second = cluster[1]
    body = {"addr": second.raft, "id": second.name}
    for node in cluster:
        assert node.request("POST", "/join", body).status == 200
    cluster.wait_members(2)
    for bad in ("", "{}", "[]", '{"addr":"x:1"}', '{"id":"n"}',
                '{"addr":"","id":""}', '{"addr":"nonsense","id":"n"}',
                '{"addr":"localhost:1","id":"n","vote":"yes"}',
                '{"addr":"0.0.0.0:1","id":"n"}', '{"addr":"0x0:1","id":"n"}',
                '{"addr":"[::0]:1","id":"n"}', '{"addr":"localhost:0","id":"n"}',
                '{"addr":"localhost:1","http":"*:2","id":"n"}',
                '{"addr":"localhost:1","id":"a\\u0085b"}',
                '{"addr":"localhost:1","id":"a\\u001b[2Jb"}',
                '{"addr":"localhost:1","id":"a\\u0000b"}',
                '{"addr":"local\\u009bhost:1","id":"n"}', b'{"addr":"x:1","id":"\xff"}'):
        assert cluster[0].request("POST", "/join", bad).status == 400, bad
    assert len(cluster[0].status()["followers"]) == 1


def test_node_of_another_cluster_is_refused(cluster, tmp_path):
    """M09: cluster B is told to take a node of cluster A for its member. Neither
    follows the other, and both say so."""
    a = cluster.new("a0").start().up()
    b = cluster.new("b0").start().up()
    for node in (a, b):
        wait_for(lambda n=node: n.put("home", n.name).status == 200, 10, "a leader")
    response = b.request("POST", "/join", {"addr": a.raft, "id": "a0"})
    assert response.status in (200, 409), response

    def said(node):
        return re.search(r"(cluster|refus|mismatch)", "\n".join(
            line for line in node.log().splitlines()
            if re.search(r"\b(warn|error)\b", line)))
    wait_for(lambda: said(a) and said(b), 10, "a line in both logs")
    assert a.get("home") == "a0"
    assert b.get("home") == "b0"
    assert a.put("still", "1").status == 200
    assert b.put("still", "1").status == 200
    assert a.status()["cluster"] != b.status()["cluster"]
    assert len(a.status()["followers"]) == 0


def test_a_member_told_to_join_elsewhere_stays(cluster):
    a = cluster.new("a0").start().up()
    b = cluster.new("b0").start().up()
    wait_for(lambda: a.put("home", "a").status == 200, 10, "a leader")
    wait_for(lambda: b.put("home", "b").status == 200, 10, "a leader")
    identity = a.status()["cluster"]
    a.terminate()
    a.join = b.http
    a.start()
    # To stay with its own data or to refuse the start are both right; to lose
    # the data or to change sides is not.
    try:
        a.up()
    except AssertionError:
        assert a.proc.returncode == 3, a.log()
        return
    assert a.status()["cluster"] == identity
    assert wait_for(lambda: a.get("home"), 10, "its data") == "a"
    assert b.get("home") == "b"


def test_garbage_on_the_raft_port(cluster):
    """HTTP, TLS, zeros, floods of nothing: refused, and the node lives."""
    cluster.start(2)
    for node in cluster:
        for packet in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" * 9,
                       b"\0" * 70000, b"\xff" * 70000, b"", os.urandom(5000)):
            with socket.create_connection((HOST, node.raft_port), 5) as s:
                try:
                    s.sendall(packet)
                    s.shutdown(socket.SHUT_WR)
                    s.settimeout(10)
                    while s.recv(4096):
                        pass
                except OSError:
                    pass
    for node in cluster:
        assert node.alive()
        assert node.put("after-garbage", node.name).status == 200


def test_five_nodes_lose_two(cluster):
    cluster.start(5)
    assert cluster[3].put("five", "5").status == 200
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    leader.kill()
    other.kill()
    cluster.wait_leader()
    survivors = cluster.running()
    for node in survivors:
        assert node.put("by-" + node.name, "1").status == 200
    # One more, and there is no majority: reads of level none, no write, and
    # the answer says which kind of no.
    survivors[0].kill()
    survivor = survivors[1]
    assert survivor.get("five", "none") == "5"
    try:
        response = survivor.request("POST", "/key?timeout=2s", {"lost": "1"}, timeout=20)
    except TROUBLE as error:
        pytest.fail(f"no answer without a majority: {error!r}")
    assert response.status in (503, 504)
    assert response.json()["outcome"] in ("not-applied", "unknown")
    assert survivor.request("GET", "/key/five?timeout=2s", timeout=20).status == 503
    # One is back, and there is a majority again.
    leader.start()
    cluster.wait_leader(15)
    assert survivor.get("five") == "5"
    assert survivor.put("again", "1").status == 200


def test_a_directory_rolled_back_is_fenced(cluster):
    """M08, D16: yesterday's copy of a directory has forgotten what it promised
    since. The others have seen a newer start of it, and do not talk to it."""
    cluster.start(3)
    leader = cluster.wait_leader()
    victim, other = cluster.others(leader)
    victim.terminate()
    copy = victim.dir + ".copy"
    shutil.copytree(victim.dir, copy)
    victim.start().up()
    cluster.wait_members(3)
    assert leader.put("since", "then").status == 200
    cluster.wait_same()
    victim.kill()
    shutil.rmtree(victim.dir)
    os.rename(copy, victim.dir)
    victim.start().up()
    wait_for(lambda: "second copy of this directory" in victim.log(), 10,
             "it is told why")
    other.kill()  # Its vote would count now.
    wait_for(lambda: leader.request(
        "POST", "/key?timeout=500ms", {"alone": "1"}).status == 503, 15,
             "no majority with it")
    # Those who have seen the newer start do not forget it when they start anew.
    leader.kill()
    told = leader.log().count("second copy of this directory")
    leader.start().up()
    wait_for(lambda: leader.log().count("second copy of this directory") > told,
             10, "it is refused again")
    assert leader.request(
        "POST", "/key?timeout=3s", {"alone": "2"}).status == 503
    other.start().up()
    wait_for(lambda: leader.put("again", "1").status == 200 or
             other.put("again", "1").status == 200, 15, "a write")
    # An empty directory helps.
    victim.kill()
    victim.wipe()
    victim.join = leader.http
    victim.start().up()
    cluster.wait_members(3)
    cluster.wait_same()
    assert victim.get("since") == "then"


def test_a_node_starts_with_a_damaged_file_of_starts(cluster):
    """It only guards against copies: the node says so, and writes a new one."""
    cluster.start(2)
    node = cluster[1]
    path = os.path.join(node.dir, "STARTS")
    wait_for(lambda: os.path.exists(path), 5, "what it has seen is on disk")
    node.terminate()
    with open(path, "r+b") as f:
        f.seek(40)
        f.write(b"\xff")
    cluster[0].terminate()
    cluster[0].start()
    node.start().up()
    cluster.wait_members(2)
    assert "file=STARTS" in node.log()
    told = node.log().count("file=STARTS")
    node.terminate()
    node.start().up()
    cluster.wait_members(2)
    assert node.log().count("file=STARTS") == told


def test_the_log_goes_into_no_file_of_the_node(cluster):
    """With stderr closed, its number was the next file's."""
    node = cluster.new()
    node.start(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *node.argv()]).up()
    for number in range(3):
        assert is_held(node.pid, number)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_log_that_no_process_reads_stops_nothing(cluster, kind):
    """A full pipe, a terminal after Ctrl-S: lines are dropped and counted, the
    node serves, SIGTERM ends it, and stderr does not become non-blocking for
    the other processes that have it open."""
    if kind == "pipe":
        reader, stderr = os.pipe()
    else:
        reader, stderr = os.openpty()
        termios.tcflow(stderr, termios.TCOOFF)
    os.set_blocking(stderr, False)
    try:
        while kind == "pipe":
            os.write(stderr, b"filler\n" * 100)
    except BlockingIOError:
        pass
    os.set_blocking(stderr, True)

    def start(node):
        node.proc = subprocess.Popen(
            node.argv() + ["--log-level=debug"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr, preexec_fn=die_with_parent)
        return node.up()
    node = start(cluster.new())
    cluster.wait_leader()
    assert node.put("k", "1").status == 200
    # More than what waits for room can hold.
    for _ in range(40):
        node.request("POST", "/join", {"addr": "127.0.0.1:1", "id": node.name})
        with socket.create_connection((HOST, node.raft_port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert node.get("k") == "1"
    assert node.terminate(5) == 0
    start(node)
    os.set_blocking(reader, False)
    if kind == "terminal":
        termios.tcflow(stderr, termios.TCOON)
    read = b""

    def started():
        nonlocal read
        try:
            read += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        return re.search(rb" start version=", read)
    wait_for(started, 5, "the lines that waited for room")
    assert os.get_blocking(stderr)
    assert node.terminate(5) == 0
    for fd in (reader, stderr):
        os.close(fd)


# ---- addresses ----

def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@pytest.mark.parametrize("host", ["localhost", "[::]", "*", "[::0]"])
def test_both_families_are_served(cluster, host):
    """For clients and for the other nodes, and the log says what is bound."""
    node = cluster.new()
    words = [BINARY, "-id", node.name, "-http", f"{host}:{node.http_port}",
             "-raft", f"{host}:{node.raft_port}", "-raft-adv", node.raft, node.dir]
    node.start(words).up()
    for port in (node.http_port, node.raft_port):
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), 5).close()
    near = host == "localhost"
    for name, port in (("http", node.http_port), ("raft", node.raft_port)):
        bound = [f"127.0.0.1:{port}" if near else f"0.0.0.0:{port}",
                 f"[::1]:{port}" if near else f"[::]:{port}"]
        line = re.search(rf" start version=.* {name}=(\S+) ", node.log())
        assert line and sorted(line[1].split(",")) == sorted(bound), node.log()


def test_a_machine_without_ipv6(cluster):
    """localhost is its IPv4 half there, and a line at level debug says so."""
    prefix = ["unshare", "-n", "sh", "-c",
              "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && "
              'exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace")
    node = cluster.new()
    node.start([*prefix, BINARY, "-id", node.name, "-http", f"localhost:{node.http_port}",
                "-raft", f"localhost:{node.raft_port}", "--log-level=debug", node.dir])
    wait_for(lambda: "start version=" in node.log(), 10, "the start")
    assert f" http=127.0.0.1:{node.http_port} " in node.log()
    assert len(re.findall(r" debug .* listen addr=\[::1\]:\d+ why=", node.log())) == 2
    done = subprocess.run(["nsenter", "-n", "-t", str(node.pid), BINARY, "status", "--addr",
                           f"localhost:{node.http_port}"], capture_output=True, timeout=30)
    assert done.returncode == 0, done
    assert node.terminate() == 0


def test_the_port_that_the_system_chose_is_logged(cluster):
    node = cluster.new()
    node.start([BINARY, "-id", node.name, "-http", "127.0.0.1:0", "-http-adv", node.http,
                "-raft", node.raft, node.dir])
    line = wait_for(lambda: re.search(r" http=127\.0\.0\.1:([1-9]\d*) ", node.log()), 10,
                    "the line of the start")
    assert request(int(line[1]), "GET", "/livez").status == 200


class Hosts:
    """A machine with an /etc/hosts of its own, in a mount namespace."""

    def __init__(self, tmp_path):
        self.file = tmp_path / "hosts"
        self.file.write_text("127.0.0.1 localhost\n")
        self.prefix = ["unshare", "-m", "sh", "-c",
                       'mount --bind "$0" /etc/hosts && exec "$@"', str(self.file)]
        if subprocess.run([*self.prefix, "true"], capture_output=True).returncode:
            pytest.skip("no mount namespace")

    def add(self, line):
        self.file.write_text(self.file.read_text() + line + "\n")


@pytest.fixture
def hosts(tmp_path):
    return Hosts(tmp_path)


def named(node, hosts, host="own.test"):
    return [*hosts.prefix, BINARY, "-id", node.name, "-http", f"{host}:{node.http_port}",
            "-raft", f"{host}:{node.raft_port}", node.dir]


def test_the_own_name_may_resolve_later(cluster, hosts):
    node = cluster.new()
    node.start(named(node, hosts))
    wait_for(lambda: node.log().count("own.test does not resolve") >= 2, 15, "two lines")
    assert node.alive()
    hosts.add(f"{HOST} own.test")
    node.up(10)


def test_waiting_for_the_own_name_can_be_stopped(cluster, hosts):
    node = cluster.new()
    node.start(named(node, hosts))
    wait_for(lambda: "own.test does not resolve" in node.log(), 10, "a line")
    assert node.terminate(3) == 0


def test_an_own_name_that_leads_to_loopback_is_warned_about(cluster, hosts):
    """Debian writes 127.0.1.1 and the host's name into /etc/hosts."""
    hosts.add("127.0.1.1 own.test")
    node = cluster.new()
    node.reach = "127.0.1.1"
    node.start(named(node, hosts)).up()
    warned = re.findall(r" warn .* listen host=own\.test addr=127\.0\.1\.1:\d+", node.log())
    assert len(warned) == 2, node.log()
    other = cluster.new().start().up()
    assert " listen " not in other.log(), "an address, or localhost, is meant"


def test_mistyped_variables_are_warned_about(cluster):
    node = cluster.new()
    env = dict(os.environ, CRAFTD_MAX_CONN="9", CRAFTD_PORT="tcp://10.0.0.1:80",
               CRAFTD_SERVICE_HOST="10.0.0.1", CRAFTD_JOIN="", CRAFTD_ADDR="localhost:1")
    with open(node.log_path, "ab") as log:
        node.proc = subprocess.Popen(node.argv(), stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log, preexec_fn=die_with_parent, env=env)
    node.up()
    assert "CRAFTD_MAX_CONN is not a flag; did you mean CRAFTD_MAX_CONNS?" in node.log()
    warned = re.findall(r"warn .* environment why=\"(CRAFTD_\w+) is not a flag", node.log())
    assert sorted(warned) == ["CRAFTD_MAX_CONN", "CRAFTD_PORT", "CRAFTD_SERVICE_HOST"]


def test_directories_are_made(cluster):
    node = cluster.new()
    node.dir = os.path.join(node.dir, "deep", "er")
    node.start().up()
    cluster.wait_leader()
    assert node.put("k", "1").status == 200


def test_a_command_to_come_is_no_directory():
    done = subprocess.run([BINARY, "compact"], capture_output=True, text=True, timeout=5,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "./compact" in done.stderr


@pytest.mark.parametrize("argv, hint", [
    (["stats"], "craftd status"),
    (["stats", "--addr", "localhost:1"], "craftd status"),
    (["list"], "craftd ls"),
    (["members"], "craftd nodes"),
    (["bakcup", "b.db"], "craftd backup"),
    (["recver", "-id", "n"], "craftd recover"),
    (["node0"], "./node0"),
    (["node0", "-http", ":1"], "--dir node0"),
    (["file"], "./file"),
    (["-"], "directory"),
])
def test_a_mistyped_command_starts_no_server(argv, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no directory")
    done = run(*argv)
    assert done.returncode == 2, done
    assert hint in done.stderr and len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["file"], "nothing is made"


@pytest.mark.parametrize("form", ["./{}", "--dir {}", "-d {}", "-inmem=false {}", "there"])
def test_directories_that_are_meant(cluster, tmp_path, monkeypatch, form):
    """A slash, a flag, flags before it, or that it is there already."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    node = cluster.new()
    words = form.format("fresh").split()
    node.start([BINARY, *words, "-haddr", node.http, "-raddr", node.raft]).up()
    assert os.path.exists(tmp_path / words[-1] / "wal")


def test_commands_on_a_directory_create_none_by_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argv, names in ((["recover", "nosuch"], "nosuch: No such file"),
                        (["restore", "nosuch.db", "dir"], "nosuch.db: No such file"),
                        (["restore", "--dir", "dir", "nosuch.db"], "nosuch.db: No such")):
        done = run(*argv)
        assert done.returncode == 1 and names in done.stderr, done
    assert os.listdir(tmp_path) == []


def test_all_addresses_are_none_to_others(cluster):
    """Listening everywhere, it is reached where the other nodes reach it."""
    cluster.start(1)
    port = free_port()
    node = cluster.new()
    node.join = cluster[0].http
    node.http_port = port
    node.start([BINARY, "-id", node.name, "-http", f"0.0.0.0:{port}", "-raft", node.raft,
                "-join", node.join, node.dir]).up()
    cluster.wait_members(2)
    rows = {row["id"]: row["http"] for row in cluster[0].request("GET", "/nodes").json()}
    assert rows[node.name] == f"127.0.0.1:{port}"
