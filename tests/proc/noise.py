"""The sealed links of src/peer/channel.h in Python, written from the documents:
Noise revision 34 (NNpsk0), RFC 7748 (X25519), RFC 8439 (ChaCha20-Poly1305).
Slow, and not in constant time: for tests, which hold it against the C code.

    me = Initiator(key)
    socket.sendall(me.first())
    channel = me.second(answer)         ValueError: it does not prove the key
    socket.sendall(channel.seal(data))
    data = channel.open(record)         ValueError: it does not open
"""
import hashlib
import hmac
import os
import struct

MAGIC = b"craftd\0\1"
FIRST_BYTES = 56
SECOND_BYTES = 48
TEXT_BYTES_MAX = 32 << 10
PROTOCOL = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"


# ---- X25519 ----

P = 2**255 - 19


def x25519(secret, point):
    k = int.from_bytes(secret, "little")
    k = k & ~(1 << 255 | 7) | 1 << 254
    u = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for bit in range(254, -1, -1):
        now = k >> bit & 1
        if swap != now:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = now
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb)**2 % P, u * (da - cb)**2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")


# ---- ChaCha20-Poly1305 ----

MASK = 0xFFFFFFFF
ROUND = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def chacha_block(key, counter, nonce):
    start = (list(struct.unpack("<4I", b"expand 32-byte k"))
             + list(struct.unpack("<8I", key)) + [counter]
             + list(struct.unpack("<3I", nonce)))
    x = start[:]
    for _ in range(10):
        for a, b, c, d in ROUND:
            for p, q, r, bits in ((a, b, d, 16), (c, d, b, 12),
                                  (a, b, d, 8), (c, d, b, 7)):
                x[p] = x[p] + x[q] & MASK
                v = x[r] ^ x[p]
                x[r] = (v << bits | v >> 32 - bits) & MASK
    return struct.pack("<16I", *((u + v) & MASK for u, v in zip(x, start)))


def chacha(key, nonce, data):
    stream = b"".join(chacha_block(key, 1 + i, nonce)
                      for i in range((len(data) + 63) // 64))
    return (int.from_bytes(data, "little") ^ int.from_bytes(
        stream[:len(data)], "little")).to_bytes(len(data), "little")


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at:at + 16] + b"\1", "little")) * r
        total %= 2**130 - 5
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(
        16, "little")


def tag_of(key, nonce, ad, sealed):
    def padded(data):
        return data + bytes(-len(data) % 16)
    return poly1305(chacha_block(key, 0, nonce)[:32], padded(ad) + padded(sealed)
                    + struct.pack("<QQ", len(ad), len(sealed)))


def aead_seal(key, nonce, ad, text):
    sealed = chacha(key, nonce, text)
    return sealed + tag_of(key, nonce, ad, sealed)


def aead_open(key, nonce, ad, data):
    sealed, tag = data[:-16], data[-16:]
    if len(data) < 16 or tag_of(key, nonce, ad, sealed) != tag:
        raise ValueError("it does not open")
    return chacha(key, nonce, sealed)


# ---- NNpsk0 ----

def hkdf(chaining_key, material, count):
    secret = hmac.digest(chaining_key, material, "sha256")
    out = [b""]
    for i in range(count):
        out.append(hmac.digest(secret, out[-1] + bytes([i + 1]), "sha256"))
    return out[1:]


class Cipher:
    def __init__(self, key):
        self.key = key
        self.number = 0

    def nonce(self):
        self.number += 1
        return struct.pack("<IQ", 0, self.number - 1)

    def seal(self, ad, text):
        return aead_seal(self.key, self.nonce(), ad, text)

    def open(self, ad, data):
        return aead_open(self.key, self.nonce(), ad, data)


class Channel:
    """Records in both directions."""

    def __init__(self, send, receive):
        self.sending = Cipher(send)
        self.receiving = Cipher(receive)

    def seal(self, data):
        out = b""
        for at in range(0, len(data), TEXT_BYTES_MAX):
            sealed = self.sending.seal(b"", data[at:at + TEXT_BYTES_MAX])
            out += struct.pack("<H", len(sealed)) + sealed
        return out

    def open(self, record):
        return self.receiving.open(b"", record[2:])


class Handshake:
    def __init__(self, key, prologue=MAGIC):
        self.hash = self.chaining_key = hashlib.sha256(PROTOCOL).digest()
        self.mix_hash(prologue)
        self.chaining_key, mixed, self.key = hkdf(self.chaining_key, key, 3)
        self.mix_hash(mixed)
        self.secret = os.urandom(32)

    def mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material):
        self.chaining_key, self.key = hkdf(self.chaining_key, material, 2)

    def mix_public(self, public):
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, text):
        sealed = aead_seal(self.key, bytes(12), self.hash, text)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        text = aead_open(self.key, bytes(12), self.hash, sealed)
        self.mix_hash(sealed)
        return text

    def write(self):
        public = x25519(self.secret, BASE)
        self.mix_public(public)
        return public

    def split(self):
        return hkdf(self.chaining_key, b"", 2)


class Initiator(Handshake):
    def first(self):
        return MAGIC + self.write() + self.seal(b"")

    def second(self, answer):
        self.mix_public(answer[:32])
        self.mix_key(x25519(self.secret, answer[:32]))
        self.open(answer[32:])
        return Channel(*self.split())


class Responder(Handshake):
    """answer() gives the bytes to send and the channel."""

    def answer(self, first):
        if first[:8] != MAGIC:
            raise ValueError("no handshake")
        self.mix_public(first[8:40])
        self.open(first[40:])
        public = self.write()
        self.mix_key(x25519(self.secret, first[8:40]))
        answer = public + self.seal(b"")
        receive, send = self.split()
        return answer, Channel(send, receive)
