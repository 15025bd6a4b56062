"""The binaries of `make macos`: nothing here can run them, so their headers are
read (mach-o/loader.h)."""
import os
import struct

import pytest

from cluster import BINARY

MACOS = os.path.join(os.path.dirname(BINARY), "macos")
CPU = {"arm64": 0x0100000C, "amd64": 0x01000007}
MAGIC_64 = 0xFEEDFACF
EXECUTE = 2
PIE = 0x200000
SYMTAB, LOAD_DYLIB, CODE_SIGNATURE = 0x2, 0xC, 0x1D


class Program:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        (self.magic, self.cpu, _, self.kind, count, _, self.flags,
         _) = struct.unpack_from("<8I", self.data)
        self.commands = []
        at = 32
        for _ in range(count):
            command, size = struct.unpack_from("<2I", self.data, at)
            self.commands.append((command & 0xFF, at))
            at += size

    def libraries(self):
        return [self.text(at + struct.unpack_from("<I", self.data, at + 8)[0])
                for command, at in self.commands if command == LOAD_DYLIB]

    def imports(self):
        """Undefined symbols, of the table that the dynamic linker reads."""
        at = dict(self.commands)[SYMTAB]
        symbols, count, strings, _ = struct.unpack_from("<4I", self.data, at + 8)
        names = set()
        for i in range(count):
            name, kind = struct.unpack_from("<IB", self.data, symbols + 16 * i)
            if kind & 0x0E == 0:
                names.add(self.text(strings + name))
        return names

    def text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()


@pytest.mark.parametrize("arch", CPU)
def test_a_program_for_macos(arch):
    path = os.path.join(MACOS, "craftd-" + arch)
    if not os.path.exists(path):
        pytest.skip(f"no {path}: make macos builds it (scripts/setup release)")
    program = Program(path)
    assert (program.magic, program.cpu, program.kind) == (MAGIC_64, CPU[arch], EXECUTE)
    assert program.flags & PIE
    # Nothing but what every Mac has.
    assert program.libraries() == ["/usr/lib/libSystem.B.dylib"]
    imports = program.imports()
    assert {"_kqueue", "_kevent", "_getentropy", "_getpeereid"} <= imports
    assert not {name for name in imports if "epoll" in name or "sqlite3" in name}
    # A processor of Apple's runs no program without one.
    if arch == "arm64":
        assert CODE_SIGNATURE in dict(program.commands)
