"""craftd get, put, ls and so on: the commands, against servers that answer
whatever a test wants them to, and against real nodes."""
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from cluster import BINARY, HOST, free_port, wait_for
from terminal import on_terminal

DONE, FAILED, USAGE, NO, AWAY, UNKNOWN = 0, 1, 2, 5, 6, 7


def craftd(*words, addr=None, data=b"", timeout=60):
    environment = {k: v for k, v in os.environ.items() if k != "CRAFTD_ADDR"}
    if addr:
        environment["CRAFTD_ADDR"] = addr
    return subprocess.run([BINARY, *words], input=data, capture_output=True,
                          timeout=timeout, check=False, env=environment)


def run(*words, **kw):
    """Its output; a complaint is a failure."""
    done = craftd(*words, **kw)
    assert (done.returncode, done.stderr) == (DONE, b""), done
    return done.stdout


class Server:
    """Takes one connection after the other; each gets the next answer: bytes,
    or a function of the request and the socket. Keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.socket = socket.create_server((HOST, 0))
        self.addr = f"{HOST}:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        for answer in self.answers:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return  # The test is over.
            with connection:
                connection.settimeout(10)
                request = self._read(connection)
                self.requests.append(request)
                try:
                    if callable(answer):
                        answer(request, connection)
                    else:
                        connection.sendall(answer)
                except OSError:
                    pass

    @staticmethod
    def _read(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return data
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        while length and len(body) < int(length.group(1)):
            piece = connection.recv(65536)
            if not piece:
                break
            body += piece
        return head + b"\r\n\r\n" + body

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # Wakes accept().
        self.socket.close()


@pytest.fixture
def serve():
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        return servers[-1]
    yield start
    for server in servers:
        server.close()


def answer(status, body=b"", headers=()):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def raw(body):
    return answer(200, body, ["Content-Type: application/octet-stream"])


def problem(status, code, message, outcome="not-applied"):
    return answer(status, (f'{{"type":"urn:craftd:{code}","status":{status},"code":"{code}",'
                           f'"message":"{message}","outcome":"{outcome}"}}\n').encode(),
                  ["Content-Type: application/problem+json"])


def nowhere():
    return f"{HOST}:{free_port()}"


def target_of(request):
    return request.split(b" ")[1].decode()


# ---- values ----

def test_get_prints_the_bytes_and_nothing_else(serve):
    value = bytes(range(256)) * 500
    server = serve(raw(value))
    done = craftd("get", "dir/a b\u00fc?#%", addr=server.addr)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, value, b"")
    assert target_of(server.requests[0]).startswith(
        "/key/dir/a%20b%C3%BC%3F%23%25?raw&timeout=10000ms")
    assert b"Host: " + server.addr.encode() in server.requests[0]


def test_chunks_in_pieces_and_interim_answers(serve):
    text = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
            b"Content-Type: application/octet-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n4;x=y\r\n two\r\n0\r\n\r\n")

    def slowly(_, connection):
        for i in range(len(text)):
            connection.sendall(text[i:i + 1])
            time.sleep(0.001)
    done = craftd("get", "k", addr=serve(slowly).addr)
    assert (done.returncode, done.stdout) == (DONE, b"one two")


@pytest.mark.parametrize("cut", [
    raw(b"x" * 1000)[:-1],
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"HTTP/1.1 200 OK\r\nContent-",
    b"",
])
def test_half_a_value_is_none(serve, cut):
    """Nothing on stdout, and the next server is asked: a read is repeatable."""
    done = craftd("get", "k", addr=serve(cut).addr)
    assert (done.returncode, done.stdout) == (AWAY, b"")
    assert b"ended before" in done.stderr
    done = craftd("get", "k", addr=f"{serve(cut).addr},{serve(raw(b'v')).addr}")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, b"v", b"")


def test_json_is_not_taken_for_a_value(serve):
    old = answer(200, b'{"k":"v"}', ["Content-Type: application/json"])
    done = craftd("get", "k", addr=serve(old).addr)
    assert (done.returncode, done.stdout) == (FAILED, b"")


def test_not_found_differs_from_no_answer(serve):
    done = craftd("get", "k", addr=serve(answer(404, b'{"k":""}')).addr)
    assert (done.returncode, done.stdout) == (NO, b"")
    assert done.stderr == b"craftd: get: there is no key k\n"
    # A key may be named as a member of a problem is.
    done = craftd("get", "message", addr=serve(answer(404, b'{"message":""}')).addr)
    assert (done.returncode, done.stderr) == (NO, b"craftd: get: there is no key message\n")
    addr = f"{nowhere()},{nowhere()}"
    done = craftd("get", "k", addr=addr)
    assert done.returncode == AWAY
    assert done.stderr.count(b"Connection refused") == 2


def test_levels_and_meta(serve):
    server = serve(*[raw(b"v")] * 3)
    for words in (["--stale"], ["--level", "weak"], ["--meta"]):
        assert craftd("get", "k", *words, "--timeout", "3s",
                      addr=server.addr).returncode == DONE
    assert list(map(target_of, server.requests)) == [
        "/key/k?raw&level=none&timeout=3000ms", "/key/k?raw&level=weak&timeout=3000ms",
        "/key/k?meta&timeout=3000ms"]


def test_put_sends_the_bytes(serve):
    stored = answer(204, headers=['ETag: "44"'])
    value = os.urandom(300_000)
    server = serve(*[stored] * 5)
    for words, data, expected in [
            (["k", "v w"], b"", b"v w"), (["k", ""], b"", b""), (["k"], value, value),
            (["k", "-"], b"x\n", b"x\n"), (["--", "-k", "-v"], b"", b"-v")]:
        done = craftd("put", *words, addr=server.addr, data=data)
        assert (done.returncode, done.stdout, done.stderr) == (DONE, b"", b"")
        head, body = server.requests[-1].split(b"\r\n\r\n", 1)
        assert body == expected
        assert f"Content-Length: {len(expected)}".encode() in head
        assert head.startswith(b"PUT /key/")


def test_put_with_conditions(serve):
    stored = answer(201, headers=['ETag: "44"'])
    server = serve(stored, stored, problem(412, "precondition-failed", "it is there"))
    done = craftd("put", "--create", "--print-index", "k", "v", addr=server.addr)
    assert (done.returncode, done.stdout) == (DONE, b"44\n")
    assert b"If-None-Match: *\r\n" in server.requests[0]
    assert craftd("put", "--if-index=7", "k", "v", addr=server.addr).returncode == DONE
    assert b'If-Match: "7"\r\n' in server.requests[1]
    done = craftd("put", "--create", "k", "v", addr=server.addr)
    assert (done.returncode, done.stderr) == (NO, b"craftd: put: k: it is there\n")


def test_too_much_input_is_not_sent():
    done = craftd("put", "k", data=b"x" * ((16 << 20) + 1), addr=nowhere())
    assert done.returncode == FAILED and b"16 MiB" in done.stderr


class Hasty(Server):
    """Reads the beginning of a request only."""

    @staticmethod
    def _read(connection):
        return connection.recv(1024)


def test_an_early_answer_is_read():
    """The server refuses a large body before it has read it."""
    def refuse(_, connection):
        connection.sendall(problem(413, "too-large", "the value is over 1 MiB"))
        time.sleep(0.5)
    server = Hasty(refuse)
    done = craftd("put", "k", data=b"x" * (15 << 20), addr=server.addr)
    server.close()
    assert done.returncode == FAILED
    assert b"the value is over 1 MiB" in done.stderr


def test_half_a_request_was_not_done(serve):
    """The server goes before it has read it: another one may be asked."""
    value = b"x" * (15 << 20)

    def shut(_, connection):
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
    for how in (b"", shut):
        server = Hasty(how, how)
        assert craftd("put", "k", data=value, addr=server.addr).returncode == AWAY
        second = serve(answer(204))
        done = craftd("put", "k", data=value, addr=f"{server.addr},{second.addr}")
        server.close()
        assert done.returncode == DONE
        assert second.requests[0].endswith(b"\r\n\r\n" + value)


# ---- what is known about a write ----

def name_of(request):
    """The Idempotency-Key that it was sent under."""
    found = re.findall(rb"\r\nIdempotency-Key: (\S+)\r\n", request)
    assert len(found) == 1
    return found[0]


WRITES = [(("put", "k", "v"), b""), (("del", "k"), b""),
          (("txn",), b'{"then":[{"incr":"n"}]}')]


@pytest.mark.parametrize("words, data", WRITES)
def test_a_write_without_an_answer_is_repeated_by_name(serve, words, data):
    first, second = serve(b""), serve(answer(200, b'{"ok":true}'))
    done = craftd(*words, data=data, addr=f"{first.addr},{second.addr}")
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert name_of(first.requests[0]) == name_of(second.requests[0])
    assert re.fullmatch(rb"[0-9a-f]{32}", name_of(first.requests[0]))
    other = serve(answer(200, b'{"ok":true}'))
    assert craftd(*words, data=data, addr=other.addr).returncode == DONE
    assert name_of(other.requests[0]) != name_of(first.requests[0])


def test_one_server_is_asked_again(serve):
    server = serve(b"", b"", answer(204))
    assert craftd("put", "k", "v", addr=server.addr).returncode == DONE
    assert len({name_of(request) for request in server.requests}) == 1


def test_writes_without_a_name_are_not_retried(serve):
    second = serve(answer(200))
    done = craftd("leader", "n2", addr=f"{serve(b'').addr},{second.addr}")
    assert (done.returncode, second.requests) == (UNKNOWN, [])
    assert b"the change may have been made" in done.stderr


@pytest.mark.parametrize("then, code", [
    (problem(503, "no-leader", "there is none"), UNKNOWN),
    (problem(429, "overloaded", "too many"), UNKNOWN),
    (problem(400, "bad-key", "no such thing"), UNKNOWN),
    (problem(413, "too-large", "over --max-value"), UNKNOWN),
    (problem(507, "no-space", "the disk is full"), UNKNOWN),
    (problem(412, "precondition-failed", "changed"), NO),
    (problem(409, "not-a-number", "incr: no number"), FAILED),
])
def test_only_the_log_settles_an_unknown_outcome(serve, then, code):
    """A refusal of the retry says nothing about the first attempt."""
    first, second = serve(b""), serve(then)
    done = craftd("txn", "--timeout", "200ms", data=b'{"then":[]}',
                  addr=f"{first.addr},{second.addr}")
    assert done.returncode == code, done
    assert name_of(first.requests[0]) == name_of(second.requests[0])


@pytest.mark.parametrize("status, code", [(413, "too-large"), (507, "no-space")])
def test_a_txn_without_room_for_a_name_is_sent_without(serve, status, code):
    """Results are kept with a name, 16 KiB at most; and what would grow is
    refused on a full disk, deletions are not."""
    server = serve(problem(status, code, "no room"), answer(200, b'{"ok":true}'))
    done = craftd("txn", data=b'{"then":[{"get":"a"}]}', addr=server.addr)
    assert (done.returncode, done.stdout) == (DONE, b'{"ok":true}')
    name_of(server.requests[0])
    assert b"Idempotency-Key" not in server.requests[1]
    assert craftd("put", "k", "v", addr=serve(problem(status, code, "no")).addr
                  ).returncode == FAILED


@pytest.mark.parametrize("first, code", [
    (problem(400, "bad-key", "no such thing"), FAILED),
    (problem(507, "no-space", "the disk is full"), FAILED),
    (problem(412, "precondition-failed", "changed"), NO),
])
def test_an_answer_that_settles_it(serve, first, code):
    second = serve(answer(204))
    done = craftd("put", "k", "v", addr=f"{serve(first).addr},{second.addr}")
    assert done.returncode == code
    assert second.requests == []


@pytest.mark.parametrize("first", [
    problem(504, "commit-timeout", "no decision", "unknown"),
    problem(503, "no-leader", "the leader is gone", "unknown"),
])
def test_an_open_outcome_is_asked_for_elsewhere(serve, first):
    second = serve(answer(204))
    done = craftd("put", "k", "v", addr=f"{serve(first).addr},{second.addr}")
    assert (done.returncode, done.stderr) == (DONE, b"")
    done = craftd("put", "k", "v", "--timeout", "200ms", addr=serve(first).addr)
    assert done.returncode == UNKNOWN


@pytest.mark.parametrize("first", [
    problem(503, "no-leader", "no leader could be reached in time"),
    problem(503, "stopping", "this node is stopping"),
    problem(429, "overloaded", "too many writes are waiting"),
])
def test_the_next_server_is_asked_when_nothing_was_done(serve, first):
    second = serve(answer(204))
    words = ("put", "k", "v")
    done = craftd(*words, addr=f"{nowhere()},{serve(first).addr},{second.addr}")
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert second.requests[0].endswith(b"\r\n\r\nv")
    assert craftd(*words, addr=serve(first).addr).returncode == AWAY


def test_silence_ends_with_the_timeout(serve):
    def wait(_, connection):
        connection.recv(1)  # Until the client goes.
    start = time.monotonic()
    done = craftd("put", "k", "v", "--timeout", "200ms", addr=serve(wait).addr)
    assert (done.returncode, b"no answer in time" in done.stderr) == (UNKNOWN, True)
    done = craftd("get", "k", "--timeout", "200ms", addr=serve(wait).addr)
    assert done.returncode == AWAY
    assert 2 <= time.monotonic() - start < 8


def test_a_full_backlog_does_not_hold_the_others_up(serve):
    """A server that neither accepts nor refuses a connection."""
    with socket.socket() as deaf, socket.socket() as filler, socket.socket() as more:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        for s in (filler, more):
            s.setblocking(False)
            s.connect_ex(deaf.getsockname())
        time.sleep(0.1)
        addr = f"{HOST}:{deaf.getsockname()[1]},{serve(raw(b'v')).addr}"
        done = craftd("get", "k", "--timeout", "2s", addr=addr)
        assert (done.returncode, done.stdout) == (DONE, b"v")


# ---- redirects ----

def test_a_redirect_is_followed_once(serve):
    leader = serve(answer(204))

    def to(addr):
        return answer(307, headers=[f"Location: http://{addr}/key/k%20x?a=b"])
    done = craftd("put", "k x", "v", addr=serve(to(leader.addr)).addr)
    assert done.returncode == DONE
    assert leader.requests[0].startswith(b"PUT /key/k%20x?a=b HTTP/1.1\r\n")
    assert leader.requests[0].endswith(b"\r\n\r\nv")
    third = serve(answer(204))
    second = serve(to(third.addr))
    done = craftd("put", "k", "v", addr=serve(to(second.addr)).addr)
    assert (done.returncode, third.requests) == (FAILED, [])


# ---- lists, transactions ----

def test_ls_follows_the_pages(serve):
    following = ['Link: </keys?prefix=p&after=x>; rel="next"']
    server = serve(answer(200, b"p/a\t1\np/b%25%0A\t2\n", following),
                   answer(200, b"p/c\t\n"))
    done = craftd("ls", "p/&", addr=server.addr)
    assert (done.returncode, done.stdout) == (DONE, b"p/a\t1\np/b%25%0A\t2\np/c\t\n")
    assert list(map(target_of, server.requests)) == [
        "/keys?format=lines&limit=1000&prefix=p/%26&timeout=10000ms",
        "/keys?format=lines&limit=1000&prefix=p/%26&after=p/b%25%0A&timeout=10000ms"]


def test_ls_stops_at_its_limit(serve):
    following = ['Link: </keys?after=x>; rel="next"']
    server = serve(answer(200, b"a\nb\n", following), answer(200, b"c\n", following))
    done = craftd("ls", "--keys", "--limit", "3", addr=server.addr)
    assert (done.returncode, done.stdout) == (DONE, b"a\nb\nc\n")
    assert [re.search(r"limit=(\d+)", target_of(r)).group(1)
            for r in server.requests] == ["3", "1"]
    assert all("&keys" in target_of(r) for r in server.requests)
    assert craftd("ls", addr=serve(answer(200)).addr).returncode == DONE


def test_ls_does_not_turn_in_circles(serve):
    following = ['Link: </keys?after=x>; rel="next"']
    assert craftd("ls", addr=serve(answer(200, b"", following)).addr).returncode == FAILED
    assert craftd("ls", addr=serve(answer(200, b'{"items":[]}')).addr).returncode == FAILED


def test_txn_reads_a_file_or_stdin(serve, tmp_path):
    text = b'{"then":[{"put":"a","value":"1"}]}'
    ok, no = b'{"ok":true,"index":3,"results":[]}\n', b'{"ok":false,"index":3}\n'
    file = tmp_path / "t.json"
    file.write_bytes(text)
    server = serve(answer(200, ok), answer(200, no),
                   problem(412, "precondition-failed", "if[0] does not hold"))
    done = craftd("txn", str(file), addr=server.addr)
    assert (done.returncode, done.stdout) == (DONE, ok)
    done = craftd("txn", data=text, addr=server.addr)
    assert (done.returncode, done.stdout) == (NO, no)
    done = craftd("txn", "-", data=text, addr=server.addr)
    assert (done.returncode, done.stdout) == (NO, b"")
    assert b"if[0] does not hold" in done.stderr
    assert all(r.startswith(b"POST /txn") and r.endswith(text) for r in server.requests)
    done = craftd("txn", str(tmp_path / "none"), addr=server.addr)
    assert done.returncode == FAILED and b"No such file" in done.stderr


# ---- backup ----

def database(body):
    return answer(200, body, ["Content-Type: application/vnd.sqlite3"])


@pytest.mark.parametrize("other", [
    answer(200, b"<html>it works", ["Content-Type: text/html"]),
    answer(200, b"x" * 9000),
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.sqlite3\r\n\r\nSQLite form",
], ids=["another server", "of no type", "without an end"])
def test_a_failed_backup_does_not_replace_one(serve, tmp_path, other):
    file = tmp_path / "b.db"
    file.write_bytes(b"the old one")
    done = craftd("backup", str(file), addr=serve(other).addr)
    assert done.returncode == FAILED
    assert b"does not send application/vnd.sqlite3" in done.stderr
    assert os.listdir(tmp_path) == ["b.db"] and file.read_bytes() == b"the old one"
    done = craftd("backup", "-", addr=serve(other).addr)
    assert (done.returncode, done.stdout) == (FAILED, b"")


def test_a_backup_file_is_complete_or_absent(serve, tmp_path):
    body = os.urandom(200_000)
    file = tmp_path / "b.db"
    file.write_bytes(b"the old one")
    done = craftd("backup", str(file), addr=serve(database(body)[:-1]).addr)
    assert done.returncode == FAILED and b"ended before" in done.stderr
    done = craftd("backup", str(file), addr=serve(problem(503, "no-leader", "none")).addr)
    assert done.returncode == AWAY
    assert os.listdir(tmp_path) == ["b.db"] and file.read_bytes() == b"the old one"
    done = craftd("backup", str(file), addr=serve(database(body)).addr)
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert os.listdir(tmp_path) == ["b.db"] and file.read_bytes() == body
    done = craftd("backup", "-", addr=serve(database(body)).addr)
    assert (done.returncode, done.stdout) == (DONE, body)


def test_backup_leaves_other_things_alone(serve, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "no" / "b.db"):
        server = serve(database(b"x"))
        assert craftd("backup", str(path), addr=server.addr).returncode == FAILED
        assert server.requests == []
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("words", ["get k", "backup -"])
def test_a_closed_stdout_is_not_the_connection(serve, words):
    """The next descriptor that is free is the closed one's."""
    server = serve(database(b"v") if "backup" in words else raw(b"v"))
    done = subprocess.run(["sh", "-c", f'exec "$0" {words} --addr {server.addr} >&-',
                           BINARY], stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.returncode == FAILED and b"Bad file descriptor" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_backup_cleans_up(serve, tmp_path, number):
    def half(_, connection):
        connection.sendall(database(b"x" * 100_000)[:-1])
        connection.recv(1)
    file = tmp_path / "b.db"
    words = [BINARY, "backup", str(file), "--addr", serve(half).addr]
    # In the background of a script SIGINT is ignored, and would stay so.
    with subprocess.Popen(words, preexec_fn=lambda: signal.signal(
            number, signal.SIG_DFL)) as process:
        wait_for(lambda: any(os.path.getsize(tmp_path / name) > 50_000
                             for name in os.listdir(tmp_path)), 10, "half a backup")
        assert not file.exists()
        process.send_signal(number)
        assert process.wait(10) == -number
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_reported(serve):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        for words, sent in ((["get", "k"], raw), (["backup", "-"], database)):
            done = subprocess.run([BINARY, *words, "--addr", serve(sent(b"v")).addr],
                                  stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
            assert done.returncode == FAILED and b"No space left" in done.stderr


# ---- without a server ----

def test_help_and_version():
    overview = craftd("help")
    assert overview.returncode == DONE
    for name in re.findall(rb"^    ([a-z-]+) .*  ", overview.stdout, re.M):
        if name == b"craftd":
            continue
        page = craftd("help", name.decode())
        assert page.returncode == DONE and len(page.stdout) > 100
        same = craftd(name.decode(), "--help", addr="nonsense")
        assert (same.returncode, same.stdout) == (DONE, page.stdout)
    assert all(len(line) <= 80 for line in overview.stdout.splitlines())
    assert craftd("version").stdout == craftd("--version").stdout
    assert b"craftd help" in craftd("--help").stdout


@pytest.mark.parametrize("words", [
    ["get"], ["get", "a", "b"], ["get", "--nope", "a"], ["get", ""], ["help", "nope"],
    ["get", "--addr", "nowhere", "a"], ["put", "--create", "--if-index", "1", "k", "v"]])
def test_usage(words):
    done = craftd(*words)
    assert (done.returncode, done.stdout) == (USAGE, b"")
    assert done.stderr.startswith(b"craftd: ") and done.stderr.count(b"\n") == 1


def test_messages_cannot_drive_the_terminal(serve):
    evil = problem(400, "bad-request", "\\u001b[31mred\\nline")
    done = craftd("get", "k", addr=serve(evil).addr)
    assert done.returncode == FAILED
    assert b"\x1b" not in done.stderr and done.stderr.count(b"\n") == 1


def test_bench_disk(tmp_path):
    done = craftd("bench-disk", "--time", "200ms", str(tmp_path))
    assert (done.returncode, done.stderr) == (DONE, b"")
    numbers = re.search(rb"p50 ([\d.]+) +p90 ([\d.]+) +p99 ([\d.]+) +max ([\d.]+)", done.stdout)
    p50, p90, p99, most = map(float, numbers.groups())
    assert 0 < p50 <= p90 <= p99 <= most
    assert re.search(rb"\d+ MiB in [\d.]+ s, [1-9]\d* MiB a second", done.stdout)
    assert os.listdir(tmp_path) == []
    assert craftd("bench-disk", str(tmp_path / "none")).returncode == FAILED
    assert not (tmp_path / "none").exists()


# ---- real nodes ----

def lines(*words, **kw):
    return [line.split("\t") for line in run(*words, **kw).decode().splitlines()]


def test_cluster_commands(three, addr, tmp_path):
    leader = three.wait_leader()
    status = dict(lines("status", addr=leader.http))
    assert status["me.id"] == leader.name and status["role"] == "leader"
    assert status["leader.address"] == leader.raft
    assert craftd("status", "--json", addr=leader.http).stdout.startswith(b'{"me":')
    nodes = lines("nodes", addr=addr)
    assert sorted(n[:3] for n in nodes) == sorted([n.name, n.raft, n.http] for n in three)
    assert [n[0] for n in nodes if n[4] == "leader"] == [leader.name]
    assert {n[3] for n in nodes} == {"voter"}
    for node in three:
        assert lines("leader", addr=node.http) == [
            [leader.name, leader.raft, leader.http]]
    assert craftd("leader", "nobody", addr=addr).returncode == NO
    assert three[0].put("client/del", "x").status == 200
    for _ in range(2):
        assert craftd("del", "client/del", addr=addr).returncode == DONE
    assert three[1].get("client/del") is None
    assert three[2].put("client/kept", "\u00fc").status == 200
    file = tmp_path / "b.db"
    assert craftd("backup", str(file), addr=addr).returncode == DONE
    database = sqlite3.connect(file)
    assert database.execute("SELECT CAST(value AS TEXT) FROM pairs WHERE key = "
                            "CAST('client/kept' AS BLOB)").fetchone() == ("\u00fc",)
    database.close()


def test_the_leadership_moves(cluster):
    cluster.start(3)
    old = cluster.wait_leader()
    new = cluster.others(old)[0]
    done = craftd("leader", new.name, addr=cluster[0].http)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, b"", b"")
    wait_for(lambda: cluster.leader() is new, 10, "the new leader")


def test_no_majority_no_answer(cluster):
    cluster.start(3)
    for node in (cluster[1], cluster[2]):
        node.kill()
    done = craftd("get", "k", "--timeout", "1s", addr=cluster[0].http)
    assert done.returncode == AWAY
    assert b"leader" in done.stderr
    # Commands that need no leader still work.
    assert craftd("status", addr=cluster[0].http).returncode == DONE


@pytest.mark.parametrize("form", [":{}", "{}", "localhost:{}", "http://localhost:{}/"])
def test_an_address_without_a_host(three, form):
    """":11000" and "11000" are localhost, also in the Host that is sent."""
    run("status", "--addr", form.format(three[0].http_port))


def test_localhost_needs_no_hosts_file(three, tmp_path):
    """As in a container made from scratch: no /etc/hosts, no name service."""
    (tmp_path / "empty").write_text("")
    script = ('for f in /etc/hosts /etc/resolv.conf /etc/nsswitch.conf; do '
              '[ ! -e $f ] || mount --bind "$0" $f || exit 99; done; exec "$@"')
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(tmp_path / "empty"), BINARY, "status",
         "--timeout", "5s", "--addr", f"localhost:{three[0].http_port}"],
        capture_output=True, timeout=60, check=False)
    if done.returncode == 99 or b"unshare" in done.stderr:
        pytest.skip("no mount namespace")
    assert (done.returncode, done.stderr) == (DONE, b""), done


def test_a_no_names_the_key_and_the_index(three, addr):
    run("put", "words/lock", "me", addr=addr)
    index = re.search(rb'"index":(\d+)', run("get", "--meta", "words/lock", addr=addr))[1]
    for words, says in (
            (["get", "words/nosuch"], b"get: there is no key words/nosuch"),
            (["put", "--create", "words/lock", "x"],
             b"put: words/lock exists already, index " + index),
            (["put", "--if-index", "1", "words/lock", "x"],
             b"put: words/lock is at index " + index + b", not 1"),
            (["del", "--if-index", "1", "words/lock"],
             b"del: words/lock is at index " + index + b", not 1"),
            (["put", "--if-index", "1", "words/nosuch", "x"],
             b"put: words/nosuch: there is no key \"words/nosuch\"")):
        done = craftd(*words, addr=addr)
        assert (done.returncode, done.stderr) == (NO, b"craftd: " + says + b"\n"), done


@pytest.mark.parametrize("body, says", [
    ('{"thn":[]}', 'a transaction (if, then, else) has no member "thn"; did you mean "then"?'),
    ('{"then":[{"putt":"a"}]}', 'an operation has no member "putt"; did you mean "put"?'),
    ('{"then":[{"put":"a","valeu":"b"}]}',
     'an operation has no member "valeu"; did you mean "value"?'),
    ('{"if":[{"kye":"a"}],"then":[]}', 'a clause has no member "kye"; did you mean "key"?'),
    ('{"if":[{"key":"a","nonsense":1}],"then":[]}', 'a clause has no member "nonsense"'),
    ('{"if":[{"key":"a","index":1,"exists":true}],"then":[]}', 'a clause has "exists" twice'),
    ('{"then":[{"put":"a","put":"b"}]}', 'an operation has "put" twice'),
    ('{"then":[{"\\u0007":1}]}', 'an operation has no member "..."'),
    ('{"then":[{"' + "x" * 500 + '":1}]}', 'an operation has no member "..."'),
])
def test_a_wrong_member_of_a_transaction_is_named(three, addr, body, says):
    done = craftd("txn", addr=addr, data=body.encode())
    assert done.returncode == FAILED and says.encode() in done.stderr, done


def test_a_path_without_a_key_names_the_path_of_lists(three):
    for path in ("/key", "/key/"):
        response = three[0].request("GET", path)
        assert response.status == 400 and "GET /keys" in response.json()["message"]


@pytest.mark.parametrize("words, code, says", [
    ([], USAGE, b"craftd help"),
    (["-v"], DONE, b"craftd 0."),
    (["-V"], DONE, b"craftd 0."),
    (["lock"], USAGE, b"too few words; see craftd help lock"),
    (["lock", "a"], USAGE, b"there is no command to run"),
    (["lock", "a/", "true"], USAGE, b"no slash at its end"),
    (["lock", "a\tb", "true"], USAGE, b"no control characters"),
    (["elect", "a", "b\n"], USAGE, b"no control characters"),
    (["lock", "a" * 201, "true"], USAGE, b"at most 200 bytes"),
    (["lock", "--ttl", "900ms", "a", "true"], USAGE, b"at least 1s"),
    (["lock", "--wiat", "1s", "a", "true"], USAGE, b"did you mean --wait?"),
    (["elect", "a", "b", "c"], USAGE, b"one word too many: c"),
    (["help", "bakcup"], USAGE, b"did you mean craftd help backup"),
    (["help", "zzzzz"], USAGE, b"see craftd help"),
    (["get", "--levle", "none", "k"], USAGE, b"did you mean --level?"),
    (["get", "--create", "k"], USAGE, b"see craftd help get"),
])
def test_words_of_a_newcomer(words, code, says):
    done = craftd(*words)
    assert done.returncode == code and says in done.stdout + done.stderr, done
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_a_backup_does_not_go_to_a_terminal(three, addr):
    code, shown = on_terminal("backup", "-", addr=addr)
    assert code == USAGE and b"terminal" in shown and b"SQLite" not in shown


@pytest.mark.parametrize("words", [["put", "typed"], ["put", "typed", "-"]])
def test_reading_from_a_terminal_is_announced(three, addr, words):
    code, shown = on_terminal(*words, typed=b"by hand\n\x04", prompt=b"stdin", addr=addr)
    assert code == DONE and b"reading stdin" in shown and b"Ctrl-D" in shown
    assert run("get", "typed", addr=addr) == b"by hand\n"
