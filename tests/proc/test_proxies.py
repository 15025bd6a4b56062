"""Clients behind a proxy: TLS in front by HAProxy and stunnel, and the address of
a client, which counts when --trust-proxy names the proxy."""
import contextlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import time

import pytest

from cluster import HOST, die_with_parent, free_port, wait_for

V2 = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT = "198.51.100.7"  # RFC 5737
PROBE = b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def v1(client=CLIENT, port=4711):
    return f"PROXY TCP4 {client} 192.0.2.1 {port} 80\r\n".encode()


def v2(client=CLIENT, port=4711):
    return V2 + b"\x21\x11\0\x0c" + socket.inet_aton(client) \
        + socket.inet_aton("192.0.2.1") + struct.pack("!HH", port, 80)


def connect(node, data=b"", source=HOST):
    s = socket.create_connection((HOST, node.http_port), timeout=5,
                                 source_address=(source, 0))
    s.sendall(data)
    return s


def answer(s):
    """All of it; b"" when the other side closes or resets."""
    got = b""
    with contextlib.closing(s), contextlib.suppress(ConnectionError):
        while data := s.recv(65536):
            got += data
    return got


def start(cluster, *args):
    node = cluster.new(args=["--log-level", "debug", *args]).start()
    wait_for(lambda: " ready " in node.log(), 10, "it is ready")
    return node


def clients(node):
    return re.findall(r" proxied client=(\S+)", node.log())


@pytest.mark.parametrize("header, client", [
    (v1(), f"{CLIENT}:4711"), (v2(), f"{CLIENT}:4711"),
    (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", "[2001:db8::1]:4711"),
    (b"PROXY UNKNOWN\r\n", None), (V2 + b"\x20\0\0\0", None)])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_the_header_is_read_from_a_trusted_proxy(cluster, header, client, pieces):
    node = start(cluster, "--trust-proxy", f"192.0.2.9,{HOST}")
    data = header + PROBE
    s = connect(node)
    cuts = [len(data) * i // pieces for i in range(pieces + 1)]
    for i in range(pieces):
        s.sendall(data[cuts[i]:cuts[i + 1]])
        time.sleep(0.05)
    own = "%s:%d" % s.getsockname()
    assert answer(s).startswith(b"HTTP/1.1 200 ")
    assert clients(node) == [client or own]


def test_from_others_the_header_is_a_bad_request(cluster):
    for trust in ["192.0.2.9", HOST, "header:127.0.0.11"]:
        node = start(cluster, "--trust-proxy", trust)
        for header in (v1(), v2()):
            s = connect(node, header + PROBE, source="127.0.0.11")
            assert not answer(s).startswith(b"HTTP/1.1 200 ")
        assert clients(node) == []


@pytest.mark.parametrize("data", [
    PROBE, b"\r\n" + PROBE, b"PROXY TCP4 x\r\n", V2 + b"\x31\x11\0\x0c", b"P" + PROBE])
def test_a_trusted_proxy_must_send_the_header(cluster, data):
    """Else a client could send one by a proxy that sends none."""
    node = start(cluster, "--trust-proxy", HOST)
    for _ in range(3):
        assert answer(connect(node, data)) == b""
    assert node.log().count(" proxy-header ") == 1  # Not a line each.
    assert "does not begin with a PROXY header" in node.log()
    assert answer(connect(node, v1() + PROBE)).startswith(b"HTTP/1.1 200 ")


def test_headers_that_do_not_come_hold_nobody_up(cluster):
    node = start(cluster, "--trust-proxy", HOST)
    silent = [connect(node, b"PROXY ") for _ in range(300)]  # 256 may wait.
    assert answer(connect(node, v2() + PROBE)).startswith(b"HTTP/1.1 200 ")
    assert answer(silent[0]) == b""
    assert "too many connections wait" in node.log()
    began = time.monotonic()
    assert answer(silent[-1]) == b""
    assert time.monotonic() - began < 10
    for s in silent:
        s.close()
    waiting = connect(node, b"PROXY ")
    assert node.terminate() == 0
    waiting.close()


def test_the_share_of_places_is_the_clients(cluster):
    """Not the proxy's: three quarters of four are three."""
    node = start(cluster, "--trust-proxy", HOST, "--max-conns", "4")
    held = [connect(node, v1() + b"GET /key/a HTTP/1.1\r\n") for _ in range(4)]
    wait_for(lambda: "connections-full" in node.log(), 5, "the share is used up")
    assert f" at={CLIENT}:4711 " in node.log()
    held[3].close()
    other = connect(node, v1("203.0.113.5") + PROBE)
    assert answer(other).startswith(b"HTTP/1.1 200 ")
    for s in held:
        s.close()


def forwarded(*values):
    lines = b"".join(b"X-Forwarded-For: " + v.encode() + b"\r\n" for v in values)
    return b"GET /livez HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"


def test_forwarded_for_counts_request_by_request(cluster):
    node = start(cluster, "--trust-proxy", f"header:{HOST}")
    s = connect(node)
    own = "%s:%d" % s.getsockname()
    for values in [("10.9.9.9, 198.51.100.1",), ("198.51.100.2",), (),
                   ("evil",), ("198.51.100.3, evil",),
                   ("10.9.9.9", "198.51.100.4"), ("2001:db8::5",)]:
        s.sendall(forwarded(*values))
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
    s.close()
    assert clients(node) == ["198.51.100.1:0", "198.51.100.2:0", own, own, own,
                             "198.51.100.4:0", "[2001:db8::5]:0"]


def test_forwarded_for_of_others_is_nothing(cluster):
    for args in [(), ("--trust-proxy", "header:192.0.2.9")]:
        node = start(cluster, *args)
        s = connect(node, forwarded(CLIENT))
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert clients(node) == []


# ---- TLS in front, as README has it ----

@pytest.fixture
def certificate(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-keyout", key, "-out", cert, "-subj", "/CN=kv.test",
                    "-addext", "subjectAltName=DNS:kv.test"],
                   check=True, capture_output=True)
    both = tmp_path / "kv.pem"
    both.write_text(cert.read_text() + key.read_text())
    return both


@contextlib.contextmanager
def running(argv, port, log):
    with open(log, "wb") as out:
        proc = subprocess.Popen(argv, stdout=out, stderr=out,
                                preexec_fn=die_with_parent)
    try:
        def listens():
            assert proc.poll() is None, open(log).read()
            socket.create_connection((HOST, port), timeout=2).close()
            return True
        wait_for(listens, 10, f"{argv[0]} listens")
        yield
    finally:
        proc.terminate()  # With SIGKILL the workers of nginx would stay.
        proc.wait(10)


def haproxy(tmp_path, node, certificate, port, extra):
    config = tmp_path / "haproxy.cfg"
    config.write_text(f"""
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend kv
  bind {HOST}:{port} ssl crt {certificate}
  default_backend craftd
backend craftd
  server one {HOST}:{node.http_port} {extra}
""")
    return ["haproxy", "-db", "-f", str(config)]


def stunnel(tmp_path, node, certificate, port, extra):
    config = tmp_path / "stunnel.conf"
    config.write_text(f"""
foreground = yes
pid =
[craftd]
accept = {HOST}:{port}
connect = {HOST}:{node.http_port}
cert = {certificate}
{extra}
""")
    return ["stunnel4", str(config)]


def have(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"no {program}")


@pytest.mark.parametrize("configure, extra, trust", [
    pytest.param(haproxy, "send-proxy-v2", HOST, marks=have("haproxy")),
    pytest.param(haproxy, "send-proxy-v2-ssl-cn", HOST, marks=have("haproxy")),
    pytest.param(haproxy, "send-proxy", HOST, marks=have("haproxy")),
    pytest.param(haproxy, "\n  option forwardfor", f"header:{HOST}",
                 marks=have("haproxy")),
    pytest.param(stunnel, "protocol = proxy", HOST, marks=have("stunnel4")),
])
def test_tls_in_front(cluster, tmp_path, certificate, configure, extra, trust):
    node = start(cluster, "--trust-proxy", trust)
    cluster.nodes.clear()  # It is not asked directly, ...
    port = free_port()
    context = ssl.create_default_context(cafile=str(certificate))
    try:
        with running(configure(tmp_path, node, certificate, port, extra), port,
                     tmp_path / "proxy.log"):
            raw = socket.create_connection((HOST, port), timeout=10,
                                           source_address=("127.0.0.77", 0))
            with context.wrap_socket(raw, server_hostname="kv.test") as s:
                s.sendall(b"PUT /key/a HTTP/1.1\r\nHost: kv.test\r\n"
                          b"X-Forwarded-For: 10.6.6.6\r\nContent-Length: 1\r\n\r\nb")
                assert s.recv(65536).startswith(b"HTTP/1.1 201 ")
                s.sendall(b"GET /key/a?raw HTTP/1.1\r\nHost: kv.test\r\n"
                          b"Connection: close\r\n\r\n")
                got = b""
                while data := s.recv(65536):
                    got += data
                assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\nb")
        assert {c.rsplit(":", 1)[0] for c in clients(node)} == {"127.0.0.77"}
    finally:
        node.kill()
