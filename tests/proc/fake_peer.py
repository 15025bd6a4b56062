"""A peer made by hand: frames of the Raft port, right or wrong, as src/wire/
writes them. For tests of what a node believes.

    peer = Peer(node)                   connected, nothing said
    peer.send(hello(cluster, ...))      bytes of a frame
    peer.greet(cluster, 99)             HELLO by a stranger; True: WELCOME
    peer.closed()                       the node has hung up
"""
import contextlib
import socket
import struct
import time

import noise
from cluster import HOST

(HELLO, WELCOME, REFUSE, PING, PONG, RAFT, FORWARD, FORWARD_RESP, SNAPSHOT,
 SNAPSHOT_RESP) = range(1, 11)
(PREVOTE, PREVOTE_RESP, VOTE, VOTE_RESP, APPEND, APPEND_RESP, HEARTBEAT,
 HEARTBEAT_RESP, TIMEOUT_NOW, READ, READ_RESP) = range(1, 12)
GRANTED, TRANSFER = 1, 2
NORMAL, NOOP, CONF = 1, 2, 3
COMMAND, JOIN, REMOVE = 1, 2, 3
NOBODY = bytes(16)

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def head(size):
    """The first eight bytes of a frame of that many bytes behind its header."""
    size = struct.pack("<I", size)
    return size + struct.pack("<I", crc32c(size))


def frame(kind, payload):
    body = struct.pack("<BBH", kind, 1, 0) + payload
    return head(len(body)) + struct.pack("<I", crc32c(body)) + body


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<H", len(value)) + value


def hello(cluster, number, to, *, uuid=bytes(range(16)), start=1, nonce=1,
          name="", to_uuid=NOBODY, to_name="", addr="", http="", kind=HELLO,
          commands=None):
    return frame(kind, b"\1\1" + cluster + struct.pack("<Q", number) + uuid
                 + struct.pack("<QQ", start, nonce) + text(name)
                 + struct.pack("<Q", to) + to_uuid + text(to_name)
                 + text(addr) + text(http)
                 + (b"" if commands is None else bytes([commands])))


def entry(term, payload, kind=NORMAL):
    return struct.pack("<QBI", term, kind, len(payload)) + payload


def message(kind, number, to, term, *, last=0, last_term=0, rnd=0, commit=0,
            match=0, sent=0, flags=0, entries=()):
    payload = struct.pack("<BB9Q", kind, flags, number, to, term, last,
                          last_term, rnd, commit, match, sent)
    if kind == APPEND:
        payload += struct.pack("<I", len(entries)) + b"".join(entries)
    return frame(RAFT, payload)


def put(key, value):
    """A client's write, as the log holds it."""
    return (b"\1" + struct.pack("<I", 1) + b"\1"
            + struct.pack("<HI", len(key), len(value)) + key + value)


def member(number, name, addr, *, suffrage=1, uuid=NOBODY, http=""):
    return (struct.pack("<QB", number, suffrage) + uuid + text(name)
            + text(addr) + text(http))


def conf(members):
    return struct.pack("<BB", 1, len(members)) + b"".join(members)


def forward(kind, body, request=1):
    return frame(FORWARD, struct.pack("<QB", request, kind) + body)


def snapshot(image, term, index, index_term, piece=256 << 10):
    """All frames of one."""
    crc = 0
    for at in range(0, len(image), piece):
        data = image[at:at + piece]
        crc = crc32c(data, crc)
        yield frame(SNAPSHOT, struct.pack("<QQQQQI", term, index, index_term,
                                          len(image), at, crc) + data)


class Peer:
    """One connection to a node's Raft port."""

    def __init__(self, node, source=None, timeout=10):
        self.socket = socket.create_connection(
            (HOST, node.raft_port), timeout,
            source_address=(source, 0) if source else None)
        self.pending = b""

    def send(self, data):
        """False: the other side has hung up."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def receive(self, timeout=5.0):
        """Type and payload of the next frame; None: there is none."""
        end = time.monotonic() + timeout
        while True:
            if len(self.pending) >= 12:
                size = struct.unpack_from("<I", self.pending)[0]
                if len(self.pending) >= 12 + size:
                    body = self.pending[12:12 + size]
                    self.pending = self.pending[12 + size:]
                    return body[0], body[4:]
            data = self.read(max(0.001, end - time.monotonic()))
            if not data:
                return None
            self.pending += data

    def read(self, timeout):
        """Some bytes of frames; none at the end, or after that time."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""

    def await_type(self, kind, timeout=5.0):
        """The payload of the next frame of that type; None."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            got = self.receive(left)
            if got is None:
                return None
            if got[0] == kind:
                return got[1]
        return None

    def greet(self, cluster, number, to, **words):
        """Say HELLO; the WELCOME, or None when it was refused."""
        if not self.send(hello(cluster, number, to, **words)):
            return None
        got = self.receive()
        return got[1] if got and got[0] == WELCOME else None

    def closed(self, timeout=5.0):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                if not self.socket.recv(65536):
                    return True
            except socket.timeout:
                return False
            except OSError:
                return True
        return False

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SealedPeer(Peer):
    """One with a cluster key: what it sends is sealed."""

    def __init__(self, node, key, **words):
        super().__init__(node, **words)
        me = noise.Initiator(bytes.fromhex(key))
        self.socket.sendall(me.first())
        answer = self.read_whole(noise.SECOND_BYTES)
        if answer is None:
            raise ConnectionError("no answer")
        self.channel = me.second(answer)

    def read_whole(self, size, timeout=5.0):
        data = b""
        end = time.monotonic() + timeout
        while len(data) < size:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                more = self.socket.recv(size - len(data))
            except OSError:
                return None
            if not more:
                return None
            data += more
        return data

    def send(self, data):
        return super().send(self.channel.seal(data))

    def read(self, timeout):
        head = self.read_whole(2, timeout)
        if head is None:
            return b""
        rest = self.read_whole(struct.unpack("<H", head)[0], timeout)
        return self.channel.open(head + rest) if rest else b""


class Facts:
    """The facts that a stranger can learn about a cluster: its id, and by trying,
    the numbers of its members. With a cluster key only its owner can try."""

    def __init__(self, cluster, key=None):
        self.key = key
        leader = cluster.wait_leader()
        self.cluster = bytes.fromhex(leader.status()["cluster"])
        self.numbers = {node.name: self.find(node) for node in cluster}

    def find(self, node):
        for number in range(1, 64):
            with SealedPeer(node, self.key) if self.key else Peer(node) as peer:
                if peer.greet(self.cluster, 999, number):
                    return number
        raise AssertionError(f"{node.name} has no number")

    def stranger(self, node, number=99, **words):
        """Let in: a member whose entry has not come yet would be, too."""
        peer = Peer(node)
        assert peer.greet(self.cluster, number, self.numbers[node.name],
                          **words)
        return peer
