"""A machine whose only program is the node: a virtual one, with a kernel of the
distribution, and an initramfs with /craftd and /data. `make initramfs` fetches what
it needs; without that it is skipped."""
import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import subprocess

import pytest

from cluster import BINARY, ROOT, die_with_parent, wait_for

KERNEL = os.environ.get("KERNEL", os.path.join(ROOT, "build", "kernel", "vmlinuz"))
PROBE = os.path.join(ROOT, "build", "probe")
MISSING = [what for what, there in (
    ("qemu-system-x86_64", shutil.which("qemu-system-x86_64")),
    (KERNEL, os.path.exists(KERNEL)),
    (PROBE, os.path.exists(PROBE))) if not there]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"make initramfs: no {MISSING}"),
    pytest.mark.seconds(300)]


def archive(entries):
    """In the format of an initramfs (cpio's newc), of (path, mode, content)."""
    out = b""
    for number, (path, mode, content) in enumerate(
            entries + [("TRAILER!!!", 0, b"")], 1):
        name = path.encode() + b"\0"
        head = b"070701" + b"".join(b"%08x" % field for field in (
            number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0))
        out += (head + name).ljust((len(head + name) + 3) & ~3, b"\0")
        out += content.ljust((len(content) + 3) & ~3, b"\0")
    return gzip.compress(out, 1)


def file(path, source):
    with open(source, "rb") as f:
        return path, 0o100755, f.read()


class Machine:
    def __init__(self, folder, action, parameters="", flags=""):
        self.image = str(folder / "initramfs")
        self.console_path = str(folder / "console")
        control = str(folder / "control")
        with open(self.image, "wb") as f:
            f.write(archive([("data", 0o040700, b""), file("craftd", BINARY),
                             file("probe", PROBE)]))
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max",
             "-m", "128", "-rtc", "base=1970-01-01", "-kernel", KERNEL, "-initrd",
             self.image, "-no-reboot", "-display", "none", "-nodefaults", "-serial",
             "file:" + self.console_path, "-qmp", f"unix:{control},server=on,wait=off",
             "-append", f"console=ttyS0 quiet {parameters} rdinit=/probe -- {action} "
             f"/craftd -id n0 -haddr :26000 -raddr :26001 {flags} /data"],
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.control = socket.socket(socket.AF_UNIX)
        wait_for(lambda: self.control.connect(control) is None, 20, "qemu")
        self.lines = self.control.makefile("r")
        self.events = []
        assert "QMP" in json.loads(self.lines.readline())
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.control.sendall(json.dumps(
            {"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := json.loads(self.lines.readline())):
            assert "event" in answer, answer
            self.events.append(answer)

    def press(self, *keys):
        self.do("send-key", keys=[{"type": "qcode", "data": key} for key in keys])

    def console(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.console_path, errors="replace") as f:
                return f.read()
        return ""

    def wait_console(self, text):
        def found():
            assert self.process.poll() is None, self.console()
            return text in self.console()
        wait_for(found, 60, text + " on the console", pause=0.1)

    def wait_end(self):
        """Why the machine has ended: guest-shutdown, guest-reset, guest-panic."""
        self.control.settimeout(90)
        with contextlib.suppress(OSError):
            self.events += [json.loads(line) for line in self.lines]
        self.process.wait(30)
        return [event["data"]["reason"] for event in self.events
                if event["event"] == "SHUTDOWN"]


@pytest.fixture
def machine(tmp_path):
    machines = []

    def start(*args, **kw):
        machines.append(Machine(tmp_path, *args, **kw))
        return machines[-1]
    yield start
    for one in machines:
        one.process.kill()
        one.process.wait()
        print(one.console())


def test_a_machine_of_one_program(machine):
    """Nobody else brings up the loopback interface, reaps orphans, or powers the
    machine down. Its clock has no battery, and is set, twice wrongly, later."""
    here = machine("term")
    assert here.wait_end() == ["guest-shutdown"]
    for seen in ("written", "read", "reaped", "nothing mounted", "clock jumped"):
        assert f"probe: {seen}\n" in here.console().replace("\r", "")
    assert re.search(r"(?m)^1970-01-01T00:\S+ info  n0 start ", here.console())
    assert here.console().count(" n0 role role=") == 1
    assert " stop signal=15" in here.console()
    assert " stopped code=0" in here.console()
    assert "Kernel panic" not in here.console()


def test_ctrl_alt_del_restarts_the_machine(machine):
    """The kernel alone would restart it at once."""
    here = machine("wait")
    here.wait_console("probe: done")
    here.press("ctrl", "alt", "delete")
    assert here.wait_end() == ["guest-reset"]
    assert " stop signal=2" in here.console()
    assert " stopped code=0" in here.console()
    assert "Kernel panic" not in here.console()


def test_a_node_that_ends_by_itself_is_a_panic(machine):
    """What follows is the choice of the kernel's parameter panic=."""
    here = machine("killed", parameters="panic=-1")
    assert here.wait_end() == ["guest-reset"]
    assert 'why="ended by signal 9' in here.console()
    assert "Attempted to kill init! exitcode=0x00008900" in here.console()
