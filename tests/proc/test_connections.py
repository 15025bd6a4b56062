"""Connections when --max-conns is reached: the longest idle one is closed, no
address has more than its share, and probes are always answered."""
import contextlib
import select
import signal
import socket
import time

import netns
import pytest

from cluster import HOST, Stopwatch, request, rss_bytes, wait_for

MIB = 1 << 20
MAX = 40


@pytest.fixture
def node(cluster):
    node = cluster.new(args=["--max-conns", str(MAX)]).start().up()
    cluster.wait_leader()
    assert node.put("a", "1").status == 200
    return node


@contextlib.contextmanager
def closing():
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def dial(node, source=None):
    return socket.create_connection((node.reach, node.http_port), 10, source)


def get(client, path="/key/a"):
    """The status and whether the connection goes on."""
    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    answer = client.recv(65536)
    return int(answer.split()[1]), b"\r\nConnection: close\r\n" not in answer


def is_closed(client):
    if not select.select([client], [], [], 0)[0]:
        return False
    try:
        return client.recv(1) == b""
    except OSError:
        return True


def half_sent(node, source=None):
    """A request in progress, so not idle."""
    client = dial(node, source)
    client.sendall(b"PUT /key/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12")
    return client


def fill(node, keep):
    """All places, also those of earlier requests that are still closing: a
    probe is that of a guest five times in a row."""
    for _ in range(MAX):
        keep(half_sent(node))
    row = 0
    while row < 5:
        if node.request("GET", "/livez").headers["Connection"] == "close":
            row += 1
        else:
            row = 0
            keep(half_sent(node))


# ---- idle connections give way ----

def test_the_longest_idle_gives_way(node):
    with closing() as keep:
        first = keep(dial(node))
        clients = [keep(dial(node)) for _ in range(MAX - 8)]
        assert get(first) == (200, True)  # No longer the longest idle.
        more = [keep(dial(node)) for _ in range(20)]
        for client in more:
            assert get(client) == (200, True)
        wait_for(lambda: sum(map(is_closed, clients)) >= 15, 5, "some have gone")
        gone = [is_closed(client) for client in clients]
        # From the oldest on, and not more than is needed.
        assert gone == sorted(gone, reverse=True), gone
        assert sum(gone) <= 22, gone
        assert get(first) == (200, True)
        assert get(clients[-1]) == (200, True)
        for _ in range(20):
            assert node.request("GET", "/key/a").status == 200


def test_requests_in_progress_do_not_give_way(node):
    with closing() as keep:
        busy = [keep(half_sent(node)) for _ in range(MAX // 2)]
        for _ in range(100):
            keep(dial(node))
        for client in busy:
            assert not is_closed(client)
            client.sendall(b"3456789")
            assert client.recv(4096).startswith(b"HTTP/1.1 204 ")


def test_an_answer_that_is_not_taken_yet_is_not_cut(node):
    value = b"v" * MIB
    for i in range(4):
        assert node.request("PUT", f"/key/large-{i}", value).status == 201
    with closing() as keep:
        slow = keep(socket.socket())
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect((HOST, node.http_port))
        slow.sendall(b"".join(b"GET /key/large-%d?raw HTTP/1.1\r\nHost: x\r\n\r\n" % i
                              for i in range(4)))
        # Its first answer has come: nothing of the requests is unread.
        assert select.select([slow], [], [], 20)[0]
        for _ in range(3 * MAX):
            keep(dial(node))
        got = 0
        while got < 4 * MIB:
            piece = slow.recv(1 << 20)
            assert piece, got
            got += len(piece)


# ---- guests ----

def test_probes_are_answered_beyond_the_limit(node):
    with closing() as keep:
        fill(node, keep)
        for path in ("/livez", "/readyz", "/healthz", "/health", "/metrics", "/status"):
            answer = node.request("GET", path)
            assert answer.status == 200, path
            assert answer.headers["Connection"] == "close"
        assert node.request("HEAD", "/livez").status == 200
        for method, path, body in (("GET", "/key/a", None), ("PUT", "/key/a", b"2"),
                                   ("PUT", "/key/a", b"2" * 3 * MIB),
                                   ("POST", "/restore", b"2" * 6 * MIB),
                                   ("DELETE", "/key/a", None), ("GET", "/nowhere", None)):
            answer = node.request(method, path, body)
            assert answer.status == 429, path
            assert answer.json()["code"] == "overloaded"
            assert f"{MAX} connections already (--max-conns)" in answer.json()["message"]
            assert answer.headers["Retry-After"] and answer.headers["Connection"] == "close"
        expect = keep(dial(node))
        expect.sendall(b"PUT /key/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                       b"Expect: 100-continue\r\n\r\n")
        assert expect.recv(4096).startswith(b"HTTP/1.1 429 ")
        assert node.log().count("connections-full") == 1
    wait_for(lambda: node.request("GET", "/key/a").status == 200, 5, "room again")
    assert node.get("a") == "1"


def test_many_at_once_beyond_the_limit_are_all_answered(node):
    """More than there are places for guests; all come in one turn."""
    with closing() as keep:
        fill(node, keep)
        node.send(signal.SIGSTOP)
        clients = []
        for i in range(100):
            client = keep(dial(node))
            client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
                           % (b"/key/a" if i % 2 else b"/livez"))
            clients.append(client)
        node.send(signal.SIGCONT)
        answers = [int(client.recv(65536).split()[1]) for client in clients]
        assert answers == [200, 429] * 50


def test_silent_guests_do_not_block_probes(node):
    with closing() as keep:
        fill(node, keep)
        for _ in range(200):
            keep(dial(node))
        watch = Stopwatch(node)
        for _ in range(5):
            assert node.request("GET", "/livez").status == 200
        assert watch.seconds() < 5


def test_a_guest_gets_a_place_that_has_become_free(node):
    with closing() as keep:
        busy = [keep(half_sent(node)) for _ in range(MAX)]
        guest = keep(dial(node))
        time.sleep(0.05)
        busy[0].sendall(b"3456789")
        assert busy[0].recv(4096).startswith(b"HTTP/1.1 204 ")
        busy[0].close()
        time.sleep(0.05)
        assert get(guest) == (200, True)
        assert get(guest) == (200, True)


def test_a_guest_that_says_nothing_is_closed(node):
    with closing() as keep:
        fill(node, keep)
        guest = keep(dial(node))
        wait_for(lambda: is_closed(guest), 4, "it is closed")


# ---- a share for each address ----

@netns.inside
def test_one_address_has_a_share(tmp_path):
    with netns.cluster_in(tmp_path) as nodes:
        node = nodes.new(args=["--max-conns", str(MAX)]).start().up()
        nodes.wait_leader()
        netns.ip("addr add 10.2.1.3/24 dev http1", "addr add 10.2.1.4/24 dev http1")
        greedy, other = ("10.2.1.3", 0), ("10.2.1.4", 0)
        assert request(node.http_port, "PUT", "/key/a", b"1",
                       host=node.reach).status == 201
        with closing() as keep:
            idle = [keep(dial(node, other)) for _ in range(4)]
            for client in idle:
                assert get(client) == (200, True)
            # Its own longest idle goes; those of the other address stay.
            mine = [keep(dial(node, greedy)) for _ in range(3 * MAX)]
            assert get(mine[-1]) == (200, True)
            wait_for(lambda: sum(not is_closed(client) for client in mine)
                     == MAX * 3 // 4, 5, "the share")
            assert [get(client) for client in idle] == [(200, True)] * 4
            for client in mine:
                client.close()
        with closing() as keep:
            idle = [keep(dial(node, other)) for _ in range(4)]
            for client in idle:
                assert get(client) == (200, True)
            for _ in range(MAX * 3 // 4 + 3):
                keep(half_sent(node, greedy))
            over = keep(dial(node, greedy))
            assert get(over) == (429, False)
            assert get(keep(dial(node, greedy)), "/livez") == (200, False)
            assert [get(client) for client in idle] == [(200, True)] * 4
            assert get(keep(dial(node, other))) == (200, True)


# ---- memory for input ----

def part(size):
    return (b"PUT /key/m HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (4 * MIB)) + b"m" * size


def send_parts(node, keep, count, packet):
    clients = []
    for _ in range(count):
        client = keep(dial(node))
        client.settimeout(20)
        with contextlib.suppress(OSError):
            client.sendall(packet)
        clients.append(client)
    return clients


def test_bodies_in_progress_share_one_budget(cluster):
    """300 that lack a byte would take 1.2 GiB. The others are told, and what fits
    is done."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    before = rss_bytes(node.pid)
    with closing() as keep:
        clients = send_parts(node, keep, 300, part(4 * MIB - 1))
        # All have been read when all but those that have room are refused.
        wait_for(lambda: len(select.select(clients, [], [], 0)[0]) >= 260, 20,
                 "no room for the others")
        grown = rss_bytes(node.pid) - before
        assert grown < 200 * MIB, grown
        assert node.put("small", "1").status == 200
        statuses = []
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"m")
            answer = client.recv(65536)
            assert answer, "closed without an answer"
            statuses.append(int(answer.split()[1]))
        assert set(statuses) == {413, 429}  # --max-value, or no room.
        assert 25 <= statuses.count(413) <= 40, statuses.count(413)
    assert node.get("m") is None
    wait_for(lambda: node.request("PUT", "/key/m", b"m" * MIB).status in (201, 204),
             5, "room again")
    # The node frees a connection when it reads its end.
    wait_for(lambda: rss_bytes(node.pid) - before < 100 * MIB, 10, "memory is freed")


@netns.inside
def test_bodies_of_one_address_leave_room_for_others(tmp_path):
    """However fast it sends new ones in place of those that are slow."""
    with netns.cluster_in(tmp_path) as nodes:
        node = nodes.new().start().up()
        nodes.wait_leader()
        netns.ip("addr add 10.2.1.3/24 dev http1", "addr add 10.2.1.4/24 dev http1")
        with closing() as keep:
            def send(packet):
                client = keep(dial(node, ("10.2.1.3", 0)))
                client.settimeout(20)
                client.sendall(packet)
                return client
            # 104 MiB: more than its share, less than the whole budget.
            greedy = [send(part(4 * MIB - 1)) for _ in range(26)]
            refused = wait_for(lambda: select.select(greedy, [], [], 0)[0], 10,
                               "one of its bodies is refused")
            answer = refused[0].recv(65536)
            assert answer.startswith(b"HTTP/1.1 429 ") and b"this address" in answer
            for packet in [part(4 * MIB - 1)] * 5 + [part(80_000)] * 60:
                send(packet)
            for _ in range(3):
                client = keep(dial(node, ("10.2.1.4", 0)))
                client.settimeout(20)
                client.sendall(b"PUT /key/large HTTP/1.1\r\nHost: x\r\n"
                               b"Content-Length: %d\r\n\r\n" % MIB + b"l" * MIB)
                assert client.recv(99).split()[1] in (b"201", b"204")


def test_slow_bodies_make_room_for_others(cluster):
    """Those that have been on their way for more than 5 s."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    with closing() as keep:
        clients = send_parts(node, keep, 32, part(4 * MIB - 10_000))
        for _ in range(6):
            time.sleep(1)
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"m")
        for _ in range(5):
            assert node.request("PUT", "/key/m", b"m" * MIB).status in (201, 204)
            assert node.request("POST", "/key",
                                {f"k{i}": "v" * MIB for i in range(3)}).status == 200
        refused = [client for client in clients if select.select([client], [], [], 0)[0]]
        assert 1 <= len(refused) < 16
        assert all(client.recv(99).startswith(b"HTTP/1.1 429 ") for client in refused)


def test_little_is_read_ahead_of_a_request_in_progress(cluster):
    """100 that wait for a majority, and megabytes of requests behind each."""
    cluster.start(3)
    node = cluster.wait_leader()
    for other in cluster.others(node):
        other.kill()
    one = b"PUT /key/m HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + b"m" * 10000
    before = rss_bytes(node.pid)
    with closing() as keep:
        for _ in range(100):
            client = keep(dial(node))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(one.replace(b"/m ", b"/m?timeout=20s ", 1) + one * 700)
        time.sleep(0.5)
        grown = rss_bytes(node.pid) - before
        assert grown < 100 * 192 * 1024 + 16 * MIB, grown
    # They have gone: nothing is kept for the rest of their time.
    wait_for(lambda: node.metric("craftd_http_connections") == 1, 8, "they are gone")
