"""Leases for bench.py: many clients, each with a connection that stays open, keep
one lease alive each. They run in a process of their own."""
import contextlib
import json
import multiprocessing
import selectors
import socket
import time

HOST = "127.0.0.1"


def grant(program, node):
    """A lease of a minute; returns the bytes of the request that keeps it alive."""
    if program.name == "etcd":
        lease = node.call("/lease/grant", {"TTL": 60})["ID"]
        body = json.dumps({"ID": lease}).encode()
        return (b"POST /v3/lease/keepalive HTTP/1.1\r\nHost: x\r\nContent-Length: %d"
                b"\r\n\r\n" % len(body)) + body
    response = node.request("POST", "/lease?ttl=60s")
    assert response.status == 201, response
    return f"PUT /lease/{response.json()['id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _read(s):
    """One answer, in pieces that arrive whole on this machine."""
    data = s.recv(1 << 16)
    if b"chunked" in data:
        while not data.endswith(b"0\r\n\r\n"):
            data += s.recv(1 << 16)
    return data.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200"))


def _renew(ports, requests, every, stop, counts):
    """Each lease is renewed by its own connection once in `every` seconds; the
    renewals are spread evenly over that time, and over the nodes."""
    links = [socket.create_connection((HOST, ports[i % len(ports)]))
             for i in range(len(requests))]
    begin = time.monotonic()
    done = wrong = 0
    with selectors.DefaultSelector() as selector:
        for link in links:
            selector.register(link, selectors.EVENT_READ)
        sent = 0
        while not stop.is_set() or done < sent:
            due = begin + sent * every / len(requests)
            for key, _ in selector.select(min(1, max(0, due - time.monotonic()))):
                wrong += not _read(key.fileobj)
                done += 1
            if time.monotonic() >= due and not stop.is_set():
                number = sent % len(requests)
                links[number].sendall(requests[number])
                sent += 1
    for link in links:
        link.close()
    counts[0], counts[1], counts[2] = sent, done, wrong


@contextlib.contextmanager
def renewing(program, count, every):
    """That many leases are kept alive while the body runs. At the end each renewal
    has been answered, and well."""
    nodes = program.running()
    requests = [grant(program, nodes[i % len(nodes)]) for i in range(count)]
    stop = multiprocessing.Event()
    counts = multiprocessing.Array("Q", 3)
    clients = multiprocessing.Process(target=_renew, daemon=True, args=(
        [node.http_port for node in nodes], requests, every, stop, counts))
    clients.start()
    try:
        yield
        stop.set()
        clients.join(30)
        sent, done, wrong = counts
        assert sent == done > 0 and wrong == 0, (sent, done, wrong)
    finally:
        clients.kill()
