"""Requests as a user types them: the real curl, in a directory of its own.

A row of a table is (line, answer, body). In the line, localhost:11000 is the
node that is asked. The answer is the status and the headers that matter, with
" | " between them; "!Name" is a header that must not be there. Three things in
it, and in the body, are not literal:

    i44     an index: what it is, the table learns where it first comes, and
            later rows, and later lines, must mean the same by it; a greater
            number is a greater index
    ...     anything
    $me     and other names, from the test
"""
import collections
import os
import re
import shlex
import string
import subprocess

from cluster import SLOW_DISK

Answer = collections.namedtuple("Answer", "status headers body blocks")

INDEX = re.compile(r"\bi(\d+)\b")


def run(line, directory, address, timeout=30, stdin=None):
    """The answer, and curl's own exit code."""
    argv = [word.replace("localhost:11000", address) for word in shlex.split(line)]
    assert argv[0] == "curl", line
    head = os.path.join(directory, "head")
    with open(head, "w", encoding="ascii"):
        pass
    done = subprocess.run(
        ["curl", "-sS", "--globoff", "-D", head, "--max-time", str(timeout - 5)] + argv[1:],
        cwd=directory, stdin=stdin or subprocess.DEVNULL, capture_output=True,
        timeout=timeout, check=False)
    with open(head, "rb") as f:
        blocks = parse(f.read())
    status, headers = blocks[-1] if blocks else (0, {})
    body = done.stdout
    if "-I" in argv or "-i" in argv:  # The heads are in front of it.
        body = body.split(b"\r\n\r\n", len(blocks))[-1]
    return Answer(status, headers, body, blocks), done


def parse(data):
    """[(status, {name in lower case: value})], one for each answer."""
    blocks = []
    for block in data.decode("latin-1").split("\r\n\r\n"):
        lines = block.split("\r\n")
        if lines[0].startswith("HTTP/"):
            pairs = (line.split(":", 1) for line in lines[1:])
            blocks.append((int(lines[0].split()[1]),
                           {name.lower(): value.strip() for name, value in pairs}))
    return blocks


class Table:
    """Rows against one node, in order; remembers what indexes are."""

    def __init__(self, directory, node, **names):
        self.directory = str(directory)
        self.node = node
        self.names = names
        self.indexes = {}

    def fill(self, text):
        return string.Template(text).safe_substitute(self.names)

    def line(self, text):
        return INDEX.sub(lambda m: str(self.indexes.get(m[0], m[0])), self.fill(text))

    def pattern(self, text):
        """A regular expression; an index that is not known yet is a group."""
        seen = set()

        def index(match):
            name = match[0]
            if name in self.indexes:
                return str(self.indexes[name])
            if name in seen:
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>[0-9]+)"
        text = re.escape(self.fill(text)).replace(re.escape("..."), "(?:.|\n)*?")
        return re.compile(INDEX.sub(index, text))

    def match(self, text, value, what):
        found = self.pattern(text).fullmatch(value)
        assert found, f"{what}: {value!r} is not {text!r} with {self.indexes}"
        for name, number in found.groupdict().items():
            self.indexes[name] = int(number)

    def row(self, line, answer, body):
        """One row; returns the answer for what a pattern cannot say."""
        got, done = run(self.line(line), self.directory, self.node.http)
        what = f"{self.node.name}: {line}"
        assert done.returncode == 0, f"{what}: {done}"
        expected = answer.split(" | ")
        assert got.status == int(expected[0]), f"{what}: {got}"
        for header in expected[1:]:
            name, _, value = header.partition(": ")
            if name.startswith("!"):
                assert name[1:].lower() not in got.headers, f"{what}: {got}"
                continue
            assert name.lower() in got.headers, f"{what}: no {name}: {got}"
            self.match(value, got.headers[name.lower()], f"{what}: {name}")
        if isinstance(body, bytes):
            assert got.body == body, f"{what}: {got.body[:200]!r}"
        elif body is not None:
            told = got.body.decode().replace(f'"hints":["{SLOW_DISK}"]', '"hints":[]')
            self.match(body, told, f"{what}: body")
        return got

    def in_order(self):
        """Indexes grow as the numbers that stand for them."""
        numbers = sorted(self.indexes, key=lambda name: int(name[1:]))
        values = [self.indexes[name] for name in numbers]
        assert values == sorted(set(values)), self.indexes
