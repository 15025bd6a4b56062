"""craftd lock and craftd elect: over leases, from real nodes."""
import contextlib
import http.server
import os
import pty
import queue
import re
import signal
import subprocess
import threading
import time

import pytest

from cluster import (BINARY, HOST, Stopwatch, die_with_parent, free_port,
                     wait_for)
from leases import Proxy

DONE, FAILED, USAGE, NO, AWAY, LOST = 0, 1, 2, 5, 6, 8
TTL = 2.0


class Running:
    """craftd lock or elect in the background, and its lines."""

    def __init__(self, addr, *words):
        self.process = subprocess.Popen(
            [BINARY, *words[:1], "--addr", addr, *words[1:]], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self, timeout=30):
        return self.lines.get(timeout=timeout)

    def wait(self, timeout=30):
        return self.process.wait(timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def errors(self):
        return self.process.stderr.read()

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def node(three):
    return three[0]


@pytest.fixture
def proxy(node):
    made = Proxy(node)
    yield made
    made.hang = False
    made.close()


@pytest.fixture
def start(proxy):
    """Words after craftd -> Running; ended with the test."""
    with contextlib.ExitStack() as stack:
        def begin(*words, addr=None):
            running = Running(addr or proxy.addr, *words)
            stack.callback(running.stop)
            return running
        yield begin


def lock(*words, ttl=TTL):
    return ["lock", "--ttl", f"{int(ttl * 1000)}ms", *words]


def tickets(node, name):
    items = node.request("GET", f"/keys?prefix={name}/").json()["items"]
    return sorted(items, key=lambda item: item["create_index"])


def waiting(node, name, count):
    wait_for(lambda: len(tickets(node, name)) == count, what=f"{count} tickets")


# ---- the command ----

def test_the_command_runs_with_the_lock_in_its_environment(node, start):
    script = 'echo "$CRAFTD_LOCK $CRAFTD_LOCK_KEY $CRAFTD_LOCK_TOKEN $CRAFTD_LEASE"; ' \
             'read line; exit 7'
    holder = start(*lock("env/a", "sh", "-c", script))
    name, key, token, lease = holder.line().split()
    assert name == "env/a" and key == f"env/a/{lease}"
    assert holder.wait() == 7
    assert node.get(key) is None
    assert int(token) > 0 and lease.startswith("l-")


def test_the_key_is_there_while_the_lock_is_held(node, start):
    holder = start(*lock("held/a", "sh", "-c", "echo $CRAFTD_LOCK_TOKEN; exec sleep 100"))
    token = int(holder.line())
    [ticket] = tickets(node, "held/a")
    assert ticket["create_index"] == token
    assert ticket["value"].split()[1] == str(holder.process.pid)
    time.sleep(2 * TTL)  # It is kept alive.
    assert len(tickets(node, "held/a")) == 1
    holder.signal(signal.SIGTERM)
    assert holder.wait() == 128 + signal.SIGTERM
    waiting(node, "held/a", 0)


@pytest.mark.parametrize("command, code", [
    (["true"], 0), (["sh", "-c", "exit 3"], 3), (["/no/such/command"], 127),
    (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137)])
def test_exit_codes_are_passed_on(start, command, code):
    assert start(*lock("code/a", "--", *command)).wait() == code


def test_words_of_the_command_are_its_own(start):
    shown = start(*lock("words", "--wait", "9s", "--", "printf", "%s,", "--ttl", "-x", "--"))
    assert shown.wait() == 0
    assert shown.line() == "--ttl,-x,--,"
    bare = start(*lock("words", "printf", "%s,", "--wait", "--"))
    assert bare.wait() == 0 and bare.line() == "--wait,--,"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(start, number):
    name = signal.Signals(number).name[3:]
    holder = start(*lock("sig/a", "sh", "-c",
                         f"trap 'echo got; exit 9' {name}; echo on; while :; do sleep 0.05; done"))
    assert holder.line() == "on"
    holder.signal(number)
    assert holder.line() == "got"
    assert holder.wait() == 9


# ---- the queue ----

def test_locks_go_by_the_order_of_arrival(node, start):
    first = start(*lock("fair/a", "sh", "-c", "echo $CRAFTD_LOCK_TOKEN; read x; exec sleep 100"))
    tokens = [int(first.line())]
    others = []
    for i in range(4):
        others.append(start(*lock("fair/a", "sh", "-c", f"echo {i} $CRAFTD_LOCK_TOKEN")))
        waiting(node, "fair/a", i + 2)
    others.pop(1).stop()  # It does not hold up those behind it.
    first.signal(signal.SIGTERM)
    got = []
    for other in others:
        got.append(other.line())
        assert other.wait() == 0
    assert [line.split()[0] for line in got] == ["0", "2", "3"]
    tokens += [int(line.split()[1]) for line in got]
    assert tokens == sorted(set(tokens))


def test_a_release_wakes_the_next_at_once(node, start):
    first = start(*lock("wake/a", "sleep", "100", ttl=60))
    waiting(node, "wake/a", 1)
    second = start(*lock("wake/a", "echo", "held", ttl=60))
    waiting(node, "wake/a", 2)
    time.sleep(0.3)
    stopwatch = Stopwatch(node)
    first.signal(signal.SIGTERM)
    assert second.line() == "held"
    assert stopwatch.seconds() < 2


def test_who_is_killed_is_followed_when_its_lease_is_over(node, start):
    first = start(*lock("dead/a", "sleep", "100"))
    waiting(node, "dead/a", 1)
    second = start(*lock("dead/a", "echo", "held"))
    waiting(node, "dead/a", 2)
    began = time.monotonic()
    first.process.kill()
    assert second.line() == "held"
    assert TTL / 2 < time.monotonic() - began < TTL + 3


def test_other_keys_are_no_tickets(node, start):
    for key in ("odd/a", "odd/a/x", "odd/a/l-1/b", "odd/ab/l-1", "odd/a/b/l-0"):
        node.request("PUT", "/key/" + key, "x")
    assert start(*lock("odd/a", "--wait", "0", "true")).wait() == 0


def test_a_long_queue_is_read_to_its_end(node, start):
    """Pages have 1,000 keys; the tickets that are ahead are on any of them."""
    pairs = {f"long/l-{i:05d}": "x" for i in range(2500)}
    for i in range(0, 2500, 500):
        node.put_many(dict(list(pairs.items())[i:i + 500]))
    waiter = start(*lock("long", "echo", "held", ttl=20))
    wait_for(lambda: node.request("GET", "/keys?prefix=long/&count").json()["count"] == 2501)
    time.sleep(0.5)
    assert waiter.process.poll() is None and waiter.lines.empty()
    assert node.request("DELETE", "/keys?prefix=long/l-0").status == 200
    assert waiter.line() == "held"


def test_the_next_page_of_a_long_queue_may_have_the_one_ahead(node, start):
    """The first page has the own ticket, and otherwise those of later ones."""
    for key in ("long/l-y", "long/l-z"):
        node.put(key, "x")
    waiter = start(*lock("long", "echo", "held", ttl=20))
    wait_for(lambda: node.request("GET", "/keys?prefix=long/&count").json()["count"] == 3)
    pairs = {f"long/l-x{i:05d}": "x" for i in range(1500)}
    for i in range(0, 1500, 500):
        node.put_many(dict(list(pairs.items())[i:i + 500]))
    assert node.request("DELETE", "/key/long/l-z").status == 200
    time.sleep(1)
    assert waiter.process.poll() is None and waiter.lines.empty()
    assert node.request("DELETE", "/key/long/l-y").status == 200
    assert waiter.line() == "held"


def test_wait_is_a_limit(node, start):
    holder = start(*lock("limit/a", "sleep", "100"))
    waiting(node, "limit/a", 1)
    for wait, least in (("0", 0), ("700ms", 0.7)):
        began = time.monotonic()
        second = start(*lock("limit/a", "--wait", wait, "echo", "held"))
        assert second.wait() == NO
        assert time.monotonic() - began >= least
        assert re.search(r"limit/a is held by \S+ \d+, index \d+", second.errors())
        assert second.lines.empty()
    waiting(node, "limit/a", 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_who_waits(node, start, number):
    holder = start(*lock("gone/a", "sleep", "100"))
    waiting(node, "gone/a", 1)
    second = start(*lock("gone/a", "echo", "held", ttl=60))
    waiting(node, "gone/a", 2)
    time.sleep(0.3)
    second.signal(number)
    assert second.wait() == -number
    waiting(node, "gone/a", 1)
    assert holder.process.poll() is None


def test_no_server_is_code_6(start):
    running = start(*lock("a", "true"), addr=f"{HOST}:{free_port()}")
    assert running.wait() == AWAY
    assert "refused" in running.errors()


# ---- the lease is lost ----

TRAP = "trap 'echo term' TERM; echo on; while :; do sleep 0.05; done"


def test_a_lease_that_is_gone_ends_the_command(node, proxy, start):
    holder = start(*lock("lost/a", "sh", "-c", "echo on; exec sleep 100"))
    assert holder.line() == "on"
    proxy.gone = True
    began = time.monotonic()
    assert holder.wait() == LOST
    assert time.monotonic() - began < TTL
    assert "the lease is gone" in holder.errors()


def test_a_command_that_ignores_sigterm_is_killed(proxy, start):
    holder = start(*lock("lost/b", "sh", "-c", TRAP))
    assert holder.line() == "on"
    proxy.gone = True
    assert holder.line() == "term"
    assert holder.wait() == LOST


def test_all_processes_of_the_command_are_ended(proxy, start):
    holder = start(*lock("lost/c", "sh", "-c", "sleep 1000 & echo $!; wait"))
    child = int(holder.line())
    proxy.gone = True
    assert holder.wait() == LOST
    wait_for(lambda: not os.path.exists(f"/proc/{child}") or
             " Z " in open(f"/proc/{child}/stat").read(), 5, "it is gone as well")


def test_the_clock_here_decides_when_no_server_answers(node, proxy, start):
    """SIGTERM when a quarter of the TTL is left, SIGKILL at its end: before another
    one can have the lock."""
    holder = start(*lock("clock/a", "sh", "-c", TRAP, ttl=4))
    assert holder.line() == "on"
    wait_for(lambda: proxy.renewals >= 2, what="renewals")
    proxy.hang = True
    began = time.monotonic()
    assert holder.line() == "term"
    assert 1.5 < time.monotonic() - began < 3.5
    assert holder.wait() == LOST
    assert time.monotonic() - began < 4.5
    assert "could not be renewed in time" in holder.errors()


class Lying(http.server.BaseHTTPRequestHandler):
    """Gives the lock to whoever asks."""
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.reply(201, b'{"id":"l-5","ttl":4}')

    def do_DELETE(self):
        self.reply(200)

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.startswith("/lease"):
            self.reply(201)
            return
        self.send_response(200)  # With a body that comes byte by byte.
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(b"x")
                time.sleep(0.1)

    def do_GET(self):
        self.server.pages += 1
        key = self.server.keys[self.server.pages % len(self.server.keys)]
        more = {"Link": '</keys?after=x>; rel="next"'} if len(self.server.keys) > 1 else {}
        self.reply(200, b'{"key":"%s","value":"","create_index":3}\n' % key.encode(),
                   Craftd_Index="5", **more)

    def log_message(self, *_):
        pass


@pytest.fixture
def lying():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lying)
    server.pages = 0
    server.addr = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_answer_that_does_not_end_renews_nothing(lying, start):
    """The command does not outlive the lease meanwhile."""
    lying.keys = ["slow/a/l-5"]
    holder = start(*lock("slow/a", "sh", "-c", TRAP, ttl=4), addr=lying.addr)
    assert holder.line() == "on"
    began = time.monotonic()
    assert holder.line() == "term"
    assert time.monotonic() - began < 4
    assert holder.wait() == LOST


def test_a_list_that_does_not_end_is_none(lying, start):
    lying.keys = ["pages/a/l-5", "pages/a/l-4"]
    waiter = start(*lock("pages/a", "true"), addr=lying.addr)
    assert waiter.wait() == 1
    assert "it does not list keys" in waiter.errors()


def test_the_lease_counts_from_when_its_renewal_was_sent(proxy, start):
    """An answer that takes its time says nothing about the time after it."""
    holder = start(*lock("sent/a", "sh", "-c", TRAP, ttl=4))
    assert holder.line() == "on"
    proxy.late = 0.8
    wait_for(lambda: proxy.renewals >= 3, what="renewals")
    time.sleep(0.9)
    proxy.hang = True
    assert holder.line() == "term"
    assert time.monotonic() - proxy.renewed < 3.4  # Three quarters of 4 s.
    assert holder.wait() == LOST


def test_a_short_silence_is_none(proxy, start):
    holder = start(*lock("short/a", "sh", "-c", "echo on; sleep 5; echo off; exit 4", ttl=4))
    assert holder.line() == "on"
    proxy.hang = True
    time.sleep(1.5)
    proxy.hang = False
    assert holder.line() == "off"
    assert holder.wait() == 4


def test_who_was_stopped_for_longer_than_its_lease_has_lost(node, start):
    """craftd and its command stand still, as on a machine that is suspended: the
    next one holds the lock by then, and the command goes no further."""
    holder = start(*lock("stop/a", "sh", "-c", "echo $CRAFTD_LOCK_TOKEN; sleep 1; exec sleep 100"))
    token = int(holder.line())
    second = start(*lock("stop/a", "sh", "-c", "echo $CRAFTD_LOCK_TOKEN; exec sleep 100"))
    waiting(node, "stop/a", 2)
    command = int(subprocess.check_output(
        ["pgrep", "-P", str(holder.process.pid)], text=True))
    os.killpg(command, signal.SIGSTOP)
    holder.signal(signal.SIGSTOP)
    assert int(second.line()) > token
    holder.signal(signal.SIGCONT)
    assert holder.wait() == LOST
    assert not os.path.exists(f"/proc/{command}")


def test_a_command_that_ended_after_the_lease_was_not_covered(start):
    """craftd alone stands still: its command ends, but without the lock."""
    holder = start(*lock("late/a", "sh", "-c", f"echo on; sleep {TTL + 1}; echo off"))
    assert holder.line() == "on"
    holder.signal(signal.SIGSTOP)
    assert holder.line() == "off"
    holder.signal(signal.SIGCONT)
    assert holder.wait() == LOST


def test_a_command_does_not_outlive_its_keeper(start):
    holder = start(*lock("orphan/a", "sh", "-c", "echo $$; exec sleep 100"))
    command = int(holder.line())
    holder.process.kill()
    wait_for(lambda: not os.path.exists(f"/proc/{command}") or
             " Z " in open(f"/proc/{command}/stat").read(), 5, "it is gone")


# ---- a terminal ----

def test_the_terminal_belongs_to_the_command_and_comes_back(proxy):
    """Ctrl-C reaches the command alone, Ctrl-Z gives the prompt back, fg goes on."""
    pid, terminal = pty.fork()
    if pid == 0:
        die_with_parent()
        os.environ["PS1"] = "$ "
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    text = b""

    def until(want):
        nonlocal text
        end = time.monotonic() + 20
        while want not in text:
            assert time.monotonic() < end, text
            text += os.read(terminal, 4096)
        text = text.split(want, 1)[1]

    def say(line):
        os.write(terminal, line.encode())

    try:
        say(f"{BINARY} lock --addr {proxy.addr} --ttl 30s tty/a sh -c "
            "'trap \"echo int$((40+2))\" INT; echo on$((40+2)); read a; echo got$a; "
            "read b; echo end$b; exit 3'\n")
        until(b"on42")
        say("x\n")
        until(b"gotx")
        say("\x1a")  # Ctrl-Z
        until(b"Stopped")
        say("echo shell$((40+2))\n")
        until(b"shell42")
        say("fg\n")
        until(b"lock")
        time.sleep(0.3)
        say("y\n")
        until(b"endy")
        say("echo code$?\n")
        until(b"code3")
        say(f"{BINARY} lock --addr {proxy.addr} tty/a sh -c "
            "'trap \"echo int$((40+2)); exit 4\" INT; echo on$((40+2)); "
            "while :; do sleep 0.05; done'\n")
        until(b"on42")
        say("\x03")  # Ctrl-C
        until(b"int42")
        say("echo code$?\n")
        until(b"code4")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


# ---- elections ----

def elect(*words, ttl=TTL):
    return ["elect", "--ttl", f"{int(ttl * 1000)}ms", *words]


def test_leaders_follow_each_other(node, start):
    first = start(*elect("el/a", "one"))
    role, token, value = first.line().split("\t")
    assert (role, value) == ("leader", "one")
    second = start(*elect("el/a", "t%two"))
    assert second.line().split("\t") == ["follower", token, "one"]
    observer = start("elect", "el/a")
    assert observer.line().split("\t") == ["follower", token, "one"]
    waiting(node, "el/a", 2)
    first.signal(signal.SIGTERM)
    assert first.wait() == -signal.SIGTERM
    role, next_token, value = second.line().split("\t")
    assert (role, value) == ("leader", "t%two") and int(next_token) > int(token)
    assert observer.line().split("\t") == ["follower", next_token, "t%two"]
    second.signal(signal.SIGINT)
    assert second.wait() == -signal.SIGINT
    assert observer.line() == "none\t0\t"


def test_a_leader_that_is_cut_off_says_so_and_comes_back(node, proxy, start):
    leader = start(*elect("cut/a", "one", ttl=4))
    assert leader.line().startswith("leader\t")
    other = start(*elect("cut/a", "two", ttl=60))
    assert other.line().split("\t")[::2] == ["follower", "one"]
    wait_for(lambda: proxy.renewals >= 2, what="renewals")
    proxy.hang = True
    assert leader.line() == "none\t0\t"
    assert time.monotonic() - proxy.renewed < 3.7  # Three quarters of 4 s.
    assert other.line().split("\t")[::2] == ["leader", "two"]
    assert leader.line().split("\t")[::2] == ["follower", "two"]
    assert len(tickets(node, "cut/a")) == 2


def test_a_reader_that_goes_away_ends_it(node, proxy):
    line = f"{BINARY} elect --addr {proxy.addr} --ttl 2s pipe/a me | head -n 1"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout.readline().startswith("leader\t")
        [ticket] = tickets(node, "pipe/a")
        node.request("DELETE", "/key/" + ticket["key"])  # Its next line ends it.
        assert shell.wait(20) == 0
    waiting(node, "pipe/a", 0)
