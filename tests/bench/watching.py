"""Watches for bench.py: many idle ones, many that receive everything, and the
time from the answer of a write to its event at another node. Clients run in
processes of their own; CLOCK_MONOTONIC is the same for all of them."""
import base64
import contextlib
import http.client
import json
import multiprocessing
import selectors
import socket
import time

HOST = "127.0.0.1"


def _subscribe(port, queries):
    sockets = []
    for query in queries:
        s = socket.create_connection((HOST, port), timeout=30)
        s.sendall(f"GET /watch?{query} HTTP/1.0\r\n\r\n".encode())
        sockets.append(s)
    for s in sockets:
        head = s.recv(4096)
        assert b" 200 " in head, head
    return sockets


def _drain(port, queries, ready, stop, events):
    """Read everything; count events."""
    sockets = _subscribe(port, queries)
    ready.set()
    count = 0
    with selectors.DefaultSelector() as selector:
        for s in sockets:
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in selector.select(0.2):
                data = key.fileobj.recv(1 << 18)
                count += data.count(b"event: put\n")
                if not data:
                    selector.unregister(key.fileobj)
    events.value = count


@contextlib.contextmanager
def watching(node, queries):
    """Watches at that node while the body runs; yields a function that ends them
    and returns the number of events that they received."""
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    events = multiprocessing.Value("Q", 0)
    reader = multiprocessing.Process(target=_drain, daemon=True, args=(
        node.http_port, queries, ready, stop, events))
    reader.start()

    def end():
        stop.set()
        reader.join(30)
        return events.value

    try:
        assert ready.wait(60), "the watches did not begin"
        yield end
    finally:
        end()
        reader.kill()


# ---- latency ----

def _write_craftd(connection, key):
    connection.request("PUT", "/key/" + key, b"v" * 100)
    response = connection.getresponse()
    response.read()
    return response.status in (201, 204)


def _write_etcd(connection, key):
    body = {"key": base64.b64encode(key.encode()).decode(),
            "value": base64.b64encode(b"v" * 100).decode()}
    connection.request("POST", "/v3/kv/put", json.dumps(body))
    response = connection.getresponse()
    response.read()
    return response.status == 200


def _writer(write, port, number, writers, rate, seconds, out):
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    acked = []
    begin = time.monotonic()
    i = number
    while time.monotonic() < begin + seconds:
        due = begin + i / rate
        if due > time.monotonic():
            time.sleep(due - time.monotonic())
        if write(connection, f"lat/{i}"):
            acked.append((i, time.monotonic()))
        i += writers
    out.put(acked)


def _reader(request, port, marker, ready, stop, out):
    s = socket.create_connection((HOST, port), timeout=30)
    s.sendall(request)
    seen, rest = [], b""
    rest = s.recv(4096)
    assert b" 200 " in rest, rest
    ready.set()
    s.settimeout(0.5)
    while not stop.is_set():
        try:
            rest += s.recv(1 << 16)
        except socket.timeout:
            continue
        now = time.monotonic()
        while (at := rest.find(marker)) >= 0:
            end = rest.find(b'"', at + len(marker))
            if end < 0:
                break
            seen.append((rest[at + len(marker):end], now))
            rest = rest[end:]
        rest = rest[-4096:] if rest.find(marker) < 0 else rest
    out.put(seen)


def latency_ms(program, seconds, rate=1000, writers=4):
    """(median, 99th percentile, number) of the time between the answer of a
    write at the leader and its event at another node; negative times, when the
    event came first, count as 0."""
    leader = program.leader()
    other = next(node for node in program.nodes if node is not leader)
    if program.name == "etcd":
        create = json.dumps({"create_request": {
            "key": base64.b64encode(b"lat/").decode(),
            "range_end": base64.b64encode(b"lat0").decode()}}).encode()
        request = (b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                   % len(create)) + create
        marker, write = b'"key":"', _write_etcd
    else:
        request = b"GET /watch?prefix=lat/ HTTP/1.1\r\nHost: x\r\n\r\n"
        marker, write = b'"key":"', _write_craftd
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    out, got = multiprocessing.Queue(), multiprocessing.Queue()
    reader = multiprocessing.Process(target=_reader, daemon=True, args=(
        request, other.http_port, marker, ready, stop, got))
    reader.start()
    assert ready.wait(30), "the watch did not begin"
    threads = [multiprocessing.Process(target=_writer, daemon=True, args=(
        write, leader.http_port, i, writers, rate, seconds, out))
        for i in range(writers)]
    for thread in threads:
        thread.start()
    acked = dict(pair for _ in threads for pair in out.get())
    time.sleep(1)
    stop.set()
    seen = {}
    for name, at in got.get():
        if program.name == "etcd":
            name = base64.b64decode(name)
        seen[int(name.split(b"/")[1])] = at
    took = sorted(max(0.0, seen[i] - at) * 1000 for i, at in acked.items() if i in seen)
    missing = len(acked) - len(took)
    assert took and missing <= len(acked) // 100, (len(acked), missing)
    return took[len(took) // 2], took[len(took) * 99 // 100], len(took)
